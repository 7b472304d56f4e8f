"""What modules export: each lists its names itself, packages gather them, and type checkers follow."""

import ast
import importlib
import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import cconv

FOLDER = Path(cconv.__file__).parent
PARENT = FOLDER.parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(cconv.__path__, "cconv.")
    if not module.ispkg and not module.name.endswith("__main__") and ".kernels" not in module.name
)
PACKAGES = "callbacks data datasets functional layers networks plotting".split()
GATHERED = [f"cconv.{name}" for name in PACKAGES]


def listed(name):
    """The literal list of names in a module's source, or None."""
    spec = importlib.util.find_spec(name)
    for node in ast.parse(Path(spec.origin).read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return ast.literal_eval(node.value) if isinstance(node.value, ast.List) else None
    return None


# The modules of the book hand on whatever those of the book do.
@pytest.mark.parametrize("name", [name for name in MODULES if ".book." not in name])
def test_a_module_lists_its_own_names(name):
    names = listed(name)
    assert names is not None and len(set(names)) == len(names)
    for package in ("onnx", "sklearn"):
        if name.startswith(f"cconv.{package}"):
            pytest.importorskip(package)
    module = importlib.import_module(name)
    assert [each for each in names if not hasattr(module, each)] == []


@pytest.mark.parametrize("name", GATHERED)
def test_a_package_has_the_names_of_its_modules(name):
    package = importlib.import_module(name)
    assert len(set(package.__all__)) == len(package.__all__)
    owners = {getattr(package, each).__module__ for each in package.__all__}
    for owner in owners:
        assert set(listed(owner)) <= set(package.__all__), owner


def test_the_top_has_all_layers_networks_optimizers_and_schedules():
    for name in "layers networks optimizers schedules datasets functions".split():
        assert set(importlib.import_module(f"cconv.{name}").__all__) <= set(cconv.__all__)
    assert {"functional", "initializers"} <= set(cconv.__all__)


@pytest.fixture
def script(tmp_path):
    """A script that uses each public name, in the ways that people import them."""
    lines = ["import cconv", *(f"import {name}" for name in GATHERED), "from cconv import *"]
    lines += [f"cconv.{name}" for name in cconv.__all__]
    lines += [name for name in cconv.__all__ if name != "__version__"]  # which checkers leave out of a star import
    for package in PACKAGES:
        module = importlib.import_module(f"cconv.{package}")
        lines += [f"cconv.{package}.{name}" for name in module.__all__]
    path = tmp_path / "script.py"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(*command, **variables):
    command = [sys.executable, "-m", *map(str, command)]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=300)


def test_mypy_knows_each_name(script, tmp_path):
    pytest.importorskip("mypy")
    variables = {} if "site-packages" in PARENT.parts else {"MYPYPATH": str(PARENT)}
    result = run("mypy", "--config-file=", "--follow-imports=silent", f"--cache-dir={tmp_path}", script, **variables)
    assert result.returncode == 0, result.stdout + result.stderr


def test_basedpyright_knows_each_name(script, tmp_path):
    pytest.importorskip("basedpyright")
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"include": [str(script)], "extraPaths": [str(PARENT)]}))
    result = run("basedpyright", "--level", "error", "--project", tmp_path, "--pythonpath", sys.executable)
    assert result.returncode == 0, result.stdout + result.stderr
