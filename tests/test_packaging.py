"""What is built, shipped and imported: source distribution, wheel, stubs, configuration errors, a missing build."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

import cconv
from cconv import kernels

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(cconv.__file__).resolve().parent

needs_source_tree = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="needs the source tree")


def run(*arguments, cwd, **variables):
    """Run Python with these arguments in cwd, without this process's configuration of cconv."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CCONV_")} | variables
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )


def sources(suffix, package=ROOT / "cconv"):
    return {path.relative_to(package.parent).as_posix() for path in package.rglob(f"*{suffix}")}


# Import


def test_version_is_the_installed_one():
    try:
        installed = importlib.metadata.version("cconv")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("built in place, not installed")
    assert cconv.__version__ == installed
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", cconv.__version__)


def test_everything_public_is_there():
    assert len(set(cconv.__all__)) == len(cconv.__all__)
    for name in cconv.__all__:
        assert getattr(cconv, name) is not None


def test_import_leaves_extras_alone(run_python):
    code = (
        "import sys, numpy\n"
        "before = set(sys.modules)\n"
        "import cconv\n"
        "names = ('matplotlib', 'pooch', 'tqdm', 'torch', 'safetensors', 'PIL', 'numpy.random')\n"
        "print([m for m in names if m in sys.modules.keys() - before])"
    )
    result = run_python(code)
    assert result.stdout.strip() == "[]", result.stderr


def test_import_without_a_build_says_what_to_run(tmp_path):
    for name in sources(".py", PACKAGE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE.parent / name, tmp_path / name)
    result = run("-c", "import cconv", cwd=tmp_path)
    assert result.returncode != 0
    message = (
        "ImportError: the compiled kernels of cconv cannot be imported (No module named 'cconv.kernels.runtime._cpu')"
    )
    assert message in result.stderr
    assert "pip install -e ." in result.stderr


# Stubs


@needs_source_tree
def test_stubs_describe_the_compiled_modules(tmp_path):
    pytest.importorskip("mypy")
    variables = {"PYTHONPATH": str(ROOT), "MYPYPATH": str(ROOT)} if PACKAGE.parent == ROOT else {}
    arguments = ("-m", "mypy.stubtest", "--mypy-config-file", ROOT / "pyproject.toml", "cconv.kernels")
    result = run(*arguments, cwd=tmp_path, **variables)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_compiled_module_has_a_stub():
    folder = PACKAGE / "kernels"
    once = [f"runtime/_{name}.pyi" for name in ("cpu", "memory", "program", "threads")]
    for name in (*vars(kernels.load(kernels.LEVEL)), "im2col", "reference"):
        once.append(f"{name}/__init__.pyi" if (folder / name).is_dir() else f"{name}.pyi")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.pyi")} == {"__init__.pyi", *once}


# Source distribution and wheel


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution, unpacked where nothing else of the source tree is."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("sdist")
    result = run("setup.py", "-q", "egg_info", "--egg-base", folder, "sdist", "--dist-dir", folder, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    (tree,) = (path.parent for path in folder.glob("*/setup.py"))
    return tree


@pytest.fixture(scope="module")
def serial_wheel(sdist, tmp_path_factory):
    """A wheel built from the source distribution alone: without threads, for one level."""
    pytest.importorskip("Cython")
    folder = tmp_path_factory.mktemp("wheel")
    arguments = ("setup.py", "bdist_wheel", "--dist-dir", folder)
    result = run(*arguments, cwd=sdist, CCONV_LEVELS="baseline", CCONV_SERIAL="1")
    assert result.returncode == 0, result.stderr
    assert "the kernels will be serial" in result.stdout + result.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@needs_source_tree
def test_sdist_holds_every_source_and_nothing_built(sdist):
    files = {path.relative_to(sdist).as_posix() for path in sdist.rglob("*") if path.is_file()}
    for suffix in (".py", ".pyx", ".pxd", ".h", ".pyi"):
        assert sources(suffix) <= files
    pages = {"LICENSE", "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"}
    assert pages | {"pyproject.toml", "cconv/py.typed"} <= files
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").glob("*.py")} <= files
    built = (".so", ".pyd", ".pyc", ".o", "build_info.json")
    assert not [name for name in files if name.endswith(built) or re.fullmatch(r"cconv/.*\.c", name)]


@needs_source_tree
def test_wheel_holds_modules_and_stubs_but_no_sources(serial_wheel):
    with zipfile.ZipFile(serial_wheel) as archive:
        files = set(archive.namelist())
    assert sources(".py") | sources(".pyi") | {"cconv/py.typed", "cconv/kernels/build_info.json"} <= files
    assert "cconv_command.py" in files and not [name for name in files if name.endswith((".png", ".svg"))]
    assert not [name for name in files if name.endswith((".pyx", ".pxd", ".h", ".c")) or name.startswith("tests")]
    compiled = {name.split(".")[0] for name in files if name.endswith((".so", ".pyd"))}
    names = "_im2col", "_reference", "runtime/_cpu", "runtime/_memory", "runtime/_program", "runtime/_threads"
    once = {f"cconv/kernels/{name}" for name in names}
    assert compiled == once | {f"cconv/kernels_baseline/_{name}" for name in vars(kernels.load(kernels.LEVEL))}


def test_package_is_small(tmp_path):
    """What a wheel of this build holds, zipped: at most 1.995 megabytes, for all levels of Linux on x86-64.

    15 KB of that are for its metadata, which are not here.
    """
    info = json.loads((PACKAGE / "kernels" / "build_info.json").read_text())
    if sys.platform != "linux" or info["debug"] or set(info["levels"]) != {"baseline", "v3", "v4"}:
        pytest.skip("a build of another kind")
    with zipfile.ZipFile(tmp_path / "package.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in PACKAGE.rglob("*"):
            if path.suffix in (".py", ".pyi", ".so"):
                archive.write(path, path.relative_to(PACKAGE))
    assert (tmp_path / "package.zip").stat().st_size <= 1_980_000


@needs_source_tree
def test_serial_wheel_works(serial_wheel, tmp_path):
    with zipfile.ZipFile(serial_wheel) as archive:
        archive.extractall(tmp_path)
    code = """
import numpy as np
import cconv
from cconv import functional

config = cconv.show_config(mode="dicts")
out = functional.convolution(np.ones((2, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32))
print(cconv.__file__, config["threads"], config["cpu"]["levels"], bool((out == 27).all()), sep="\\n")
"""
    result = run("-c", code, cwd=tmp_path)
    assert result.stdout.splitlines() == [
        str(tmp_path / "cconv" / "__init__.py"),
        "{'pool': False, 'num_threads': 1}",
        "['baseline']",
        "True",
    ], result.stderr


@needs_source_tree
def test_what_comes_out_of_cython_as_it_was_is_not_compiled_again(serial_wheel, sdist):
    """pip builds with a NumPy of its own each time, which is newer than all that was built before."""
    (compiled,) = sdist.glob(f"build/lib*/cconv/kernels/_im2col{sysconfig.get_config_var('EXT_SUFFIX')}")
    source = sdist / "cconv/kernels/im2col/_im2col.pyx"

    def built_again():
        before = compiled.stat().st_mtime_ns
        result = run("setup.py", "build_ext", cwd=sdist, CCONV_LEVELS="baseline", CCONV_SERIAL="1")
        assert result.returncode == 0, result.stderr
        assert "Cythonizing cconv/kernels/im2col/_im2col.pyx" in result.stdout
        return compiled.stat().st_mtime_ns != before

    later = time.time() + 5
    os.utime(source, (later, later))
    assert not built_again()
    text = source.read_text()
    source.write_text(text + "\n\ndef added():\n    pass\n")
    os.utime(source, (later, later))
    assert built_again()
    source.write_text(text)


# Configuration of the build


@needs_source_tree
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"CCONV_LEVELS": "v7"}, r"CCONV_LEVELS: expected a comma-separated list out of \[.*\], got \['v7'\]"),
        ({"CCONV_DEBUG": "yes"}, "CCONV_DEBUG must be one of 0, 1 or unset, got 'yes'"),
        ({"CCONV_SERIAL": "on"}, "CCONV_SERIAL must be one of 0, 1 or unset, got 'on'"),
    ],
)
def test_wrong_environment_is_refused(variables, message, tmp_path):
    pytest.importorskip("setuptools")
    result = run("setup.py", "build_ext", "-b", tmp_path, "-t", tmp_path, cwd=ROOT, **variables)
    assert result.returncode != 0
    assert re.search(message, result.stderr)


@needs_source_tree
def test_a_missing_compiler_is_one_line_that_says_what_to_install(tmp_path):
    pytest.importorskip("setuptools")
    result = run("setup.py", "build_ext", "-b", tmp_path, "-t", tmp_path, cwd=ROOT, CC="/nonexistent/cc")
    assert result.returncode != 0
    assert "Cythonizing" not in result.stdout  # which takes its time
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: building cconv needs a C compiler and Python's headers")
    assert "/nonexistent/cc" in line and "apt install gcc libc6-dev python3-dev" in line
    assert "Traceback" not in result.stderr


@needs_source_tree
def test_missing_headers_of_python_are_one_line_too(tmp_path):
    pytest.importorskip("setuptools")
    hidden = "-nostdinc -DPY_SSIZE_T_CLEAN"  # no header is found
    result = run("setup.py", "build_ext", "-b", tmp_path, "-t", tmp_path, cwd=ROOT, CFLAGS=hidden)
    assert result.returncode != 0
    assert result.stderr.splitlines()[-1].startswith("error: building cconv needs a C compiler and Python's headers")


@needs_source_tree
def test_directives_in_a_source_file_are_refused(sdist, tmp_path):
    pytest.importorskip("Cython")
    tree = tmp_path / "tree"
    shutil.copytree(sdist, tree, ignore=shutil.ignore_patterns("build", "dist"))
    (tree / "cconv/kernels/im2col/_misspelt.pyx").write_text("# cython: boundschek=False\n")
    result = run("setup.py", "build_ext", cwd=tree)
    assert result.returncode != 0
    assert "_misspelt.pyx: directives belong in setup.py" in result.stderr


@needs_source_tree
def test_an_unknown_directive_in_setup_is_an_error(sdist, tmp_path):
    pytest.importorskip("Cython")
    tree = tmp_path / "tree"
    shutil.copytree(sdist, tree, ignore=shutil.ignore_patterns("build", "dist"))
    setup = tree / "setup.py"
    setup.write_text(setup.read_text().replace('"boundscheck": False', '"boundschek": False', 1))
    result = run("setup.py", "build_ext", cwd=tree)
    assert result.returncode != 0
    assert "boundschek" in result.stderr


@needs_source_tree
@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("ONCE", "ONCE = {\n", 'ONCE = {\n    "_missing": "cconv.kernels._missing",\n'),
        ("HIGHEST", "HIGHEST = {", 'HIGHEST = {"_missing": "v3", '),
        ("MODULE_FLAGS", "MODULE_FLAGS = {\n", 'MODULE_FLAGS = {\n    "_missing": ["-Os"],\n'),
    ],
)
def test_what_is_set_for_a_module_that_does_not_exist_is_an_error(name, before, after, sdist, tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(sdist, tree, ignore=shutil.ignore_patterns("build", "dist"))
    setup = tree / "setup.py"
    text = setup.read_text()
    assert before in text
    setup.write_text(text.replace(before, after, 1))
    result = run("setup.py", "build_ext", cwd=tree)
    assert result.returncode != 0
    assert re.search(rf"{name} must name modules out of \[.*\], got \['_missing'\]", result.stderr)
