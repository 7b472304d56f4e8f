"""Build of the compiled kernels; everything else about the package stands in pyproject.toml.

Each ``_*.pyx`` in a folder of ``cconv/kernels`` becomes C once. That C is compiled once per CPU level into the sibling
packages ``cconv.kernels_baseline``, ``cconv.kernels_v3`` and ``cconv.kernels_v4``, of which ``cconv.kernels`` picks one
at import. The modules of `ONCE`, which hold state or only copy, are compiled once, for the baseline, and those of
`HIGHEST` up to a level whose build the higher ones use.

Environment
-----------
CCONV_LEVELS : comma-separated levels to build, for quick development builds (``CCONV_LEVELS=v4``); default: all.
CCONV_DEBUG : ``1`` checks every index and memoryview, defines the macro CCONV_DEBUG and keeps debug symbols.
CCONV_SERIAL : ``1`` builds without threads: the kernels are serial.
"""

import copy
import json
import os
import re
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, SetupError

KERNELS = Path("cconv/kernels")
PACKAGE = "cconv.kernels"
# Modules that every level shares, by the names they are imported by.
ONCE = {
    "_cpu": "cconv.kernels.runtime._cpu",
    "_im2col": "cconv.kernels._im2col",
    "_memory": "cconv.kernels.runtime._memory",
    "_program": "cconv.kernels.runtime._program",
    "_reference": "cconv.kernels._reference",
    "_threads": "cconv.kernels.runtime._threads",
}
# The highest level for which they are compiled: their loops wait for memory or for divisions, and wider vectors do not
# make them faster.
HIGHEST = {"_augment": "baseline", "_loss": "v3", "_optimize": "v3", "_resample": "baseline"}
# What brings a C compiler and Python's headers.
INSTALL = (
    "Debian and Ubuntu: apt install gcc libc6-dev python3-dev; Fedora: dnf install gcc python3-devel; macOS: "
    "xcode-select --install; Windows: the Build Tools for Visual Studio with C++"
)
INFO = "build_info.json"  # what cconv.show_config() reports, and the stamp that tells a changed configuration

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": True,
    "auto_pickle": False,
    "autotestdict": False,
    # Functions are built-in ones, with their signature in the docstring: Cython's own type of functions takes 6 KB of
    # each zipped module.
    "binding": False,
    "embedsignature": True,
    "embedsignature.format": "clinic",
}
DEBUG_DIRECTIVES = DIRECTIVES | {"boundscheck": True, "initializedcheck": True}

MACROS = [
    ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
    # Shortcuts through CPython's internals, inlined wherever an argument is read: no call is measurably faster.
    ("CYTHON_USE_PYLONG_INTERNALS", "0"),
    ("CYTHON_FAST_THREAD_STATE", "0"),
]

# Flags per level and compiler family. x86-64-v3 is AVX2 + FMA (2013 on), x86-64-v4 AVX-512 (F, BW, CD, DQ, VL).
LEVEL_FLAGS = {
    "baseline": {"unix": [], "msvc": []},
    "v3": {"unix": ["-march=x86-64-v3"], "msvc": ["/arch:AVX2"]},
    "v4": {"unix": ["-march=x86-64-v4", "-mprefer-vector-width=512"], "msvc": ["/arch:AVX512"]},
}
# Neither -ffast-math (it changes what NaN does, and its start-up code can flush denormals in the whole process) nor
# -march=native (the build must run elsewhere): errno and trapping flags are all that keeps loops from vectorising.
# -O2 with the vectoriser is as fast as -O3, and a tenth smaller. No C++ exception passes through C, which needs no
# tables to unwind it, and calls into Python need no second jump.
FLAGS = {
    "unix": [
        "-O2",
        "-ftree-vectorize",
        "-fvect-cost-model=dynamic",
        "-g0",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fno-asynchronous-unwind-tables",
        "-fno-plt",
    ],
    "msvc": ["/O2", "/std:c11"],
}
# What else single modules take, of the unix family: those that loop over nothing, or need not be fast, are made small;
# those that see an array as one long row, or have vectors of their own where it counts, need no shorter ones for a
# row's end; gelu in float64 is not vectorised unless it is inlined; and what is inline because a .pxd holds it need not
# be inlined.
MODULE_FLAGS = {
    "_conv": ["--param=vect-epilogues-nomask=0", "--param=max-inline-insns-single=30"],
    "_cpu": ["-Os"],
    "_elementwise": ["--param=vect-epilogues-nomask=0", "--param=max-inline-insns-single=400"],
    "_gemm": ["--param=vect-epilogues-nomask=0"],
    "_loss": ["--param=vect-epilogues-nomask=0"],
    "_memory": ["-Os"],
    "_optimize": ["--param=vect-epilogues-nomask=0"],
    "_pool": ["--param=vect-epilogues-nomask=0"],
    "_program": ["-Os"],
    "_reference": ["-Os"],
    "_threads": ["-Os"],
}
DEBUG_FLAGS = {
    "unix": ["-O1", "-g", "-UNDEBUG", "-fno-math-errno", "-fno-trapping-math"],
    "msvc": ["/Od", "/Zi", "/std:c11"],
}


def environment(name, choices):
    value = os.environ.get(name) or None
    if value not in (None, *choices):
        raise SetupError(f"{name} must be one of {', '.join(choices)} or unset, got {value!r}")
    return value


def target_levels():
    """The levels of the target CPU family, lowest first, as far as CCONV_LEVELS asks for them."""
    x86_64 = sysconfig.get_platform().endswith(("x86_64", "amd64"))
    levels = list(LEVEL_FLAGS) if x86_64 else ["baseline"]
    wanted = [name.strip() for name in os.environ.get("CCONV_LEVELS", "").split(",") if name.strip()]
    unknown = set(wanted) - set(levels)
    if unknown:
        raise SetupError(f"CCONV_LEVELS: expected a comma-separated list out of {levels}, got {sorted(unknown)}")
    return [level for level in levels if not wanted or level in wanted]


def refuse_unknown(settings, modules):
    """Refuse settings, by their names, of modules that do not exist: they would say nothing of any other."""
    for name, named in settings.items():
        unknown = sorted(set(named) - modules)
        if unknown:
            raise SetupError(f"{name} must name modules out of {sorted(modules)}, got {unknown}")


def make_extensions(levels):
    """One Extension per module and level; sources are the .pyx files until `BuildExt` puts their C in their place."""
    headers = [path.as_posix() for path in sorted(KERNELS.rglob("*.h"))]

    def extension(name, source, level):
        module = Extension(name, [source.as_posix()], depends=[*headers, "setup.py"])
        module.level = level
        return module

    sources = sorted(KERNELS.rglob("_*.pyx"))
    settings = {"ONCE": ONCE, "HIGHEST": HIGHEST, "MODULE_FLAGS": MODULE_FLAGS}
    refuse_unknown(settings, {source.stem for source in sources})
    modules = []
    for source in sources:
        if source.stem in ONCE:
            modules.append(extension(ONCE[source.stem], source, "baseline"))
        else:
            names = list(LEVEL_FLAGS)
            highest = names.index(HIGHEST.get(source.stem, names[-1]))
            useful = [level for level in levels if names.index(level) <= highest] or levels[:1]
            modules += [extension(f"{PACKAGE}_{level}.{source.stem}", source, level) for level in useful]
    return modules


class BuildExt(build_ext):
    """Cythonizes once, compiles once per level, in parallel, each module with its own directory of objects."""

    def finalize_options(self):
        super().finalize_options()
        if self.parallel is None:
            self.parallel = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self.debug_build = environment("CCONV_DEBUG", "01") == "1"
        self.serial = environment("CCONV_SERIAL", "01") == "1"
        self.info_path = Path(self.build_lib) / KERNELS / INFO

    def build_extensions(self):
        import numpy

        self.expect_compiler()
        family = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        compile_flags = (DEBUG_FLAGS if self.debug_build else FLAGS)[family]
        stripped = sys.platform == "linux" and not self.debug_build
        link_flags = ["-Wl,--strip-all", "-Wl,--build-id=none"] if stripped else []
        if self.serial:
            self.warn("CCONV_SERIAL=1: building without threads, the kernels will be serial")
        threads = [] if self.serial or family == "msvc" else ["-pthread"]
        compile_flags, link_flags = compile_flags + threads, link_flags + threads
        macros = MACROS + [("CCONV_DEBUG", "1")] * self.debug_build + [("CCONV_SERIAL", "1")] * self.serial
        self.start_afresh_if_changed(
            {
                "compiler": " ".join(getattr(self.compiler, "compiler_so", None) or [self.compiler.compiler_type]),
                "options": " ".join(compile_flags),
                "levels": {level: " ".join(LEVEL_FLAGS[level][family]) for level in target_levels()},
                "pool": not self.serial,
                "debug": self.debug_build,
                "numpy": numpy.__version__,
            }
        )
        c_sources = self.cythonize()
        for module in self.extensions:
            module.sources = [c_sources[module.sources[0]]]
            module.include_dirs = [KERNELS.as_posix(), numpy.get_include()]
            module.extra_compile_args = compile_flags + LEVEL_FLAGS[module.level][family]
            if family == "unix" and not self.debug_build:
                module.extra_compile_args += MODULE_FLAGS.get(module.name.rpartition(".")[2], [])
            module.extra_link_args = link_flags
            module.define_macros = macros
        super().build_extensions()

    def expect_compiler(self):
        """Compile what includes Python's headers, before Cython takes its time; where that fails, say what to do."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text("#include <Python.h>\n#include <math.h>\n")
            try:
                self.compiler.compile([str(source)], folder, include_dirs=self.include_dirs)
            except (BaseError, CCompilerError) as error:
                raise SetupError(
                    f"building cconv needs a C compiler and Python's headers, and a test of them failed ({error}): "
                    f"install them ({INSTALL}), or name a compiler in the environment variable CC"
                ) from error

    def build_extension(self, ext):
        # Levels share their C files, and distutils names objects after them: without directories of their own they
        # would overwrite each other's objects, at random when built in parallel.
        builder = copy.copy(self)
        builder.build_temp = os.path.join(self.build_temp, ext.name)
        super(BuildExt, builder).build_extension(ext)

    def cythonize(self):
        """Translate every .pyx to C, once, under build/; return {source: C file}."""
        from Cython.Build import cythonize
        from Cython.Compiler import Options

        Options.warning_errors = True
        unique = {module.sources[0]: module.name for module in self.extensions}
        modules = []
        for source in unique:
            if source.endswith(".pyx") and re.search(
                r"^#\s*(cython|distutils):", Path(source).read_text("utf-8"), re.M
            ):
                raise SetupError(f"{source}: directives belong in setup.py (Cython ignores a misspelt one in a file)")
            stem = Path(source).stem
            modules.append(Extension(ONCE.get(stem, f"{PACKAGE}.{stem}"), [source]))
        build_dir = Path("build") / ("cython-debug" if self.debug_build else "cython")
        setup_time = Path(__file__).stat().st_mtime
        before = {path: (path.stat(), path.read_bytes()) for path in build_dir.rglob("*.c")}
        afresh = self.force or any(status.st_mtime < setup_time for status, _ in before.values())
        modules = cythonize(
            modules,
            build_dir=str(build_dir),
            nthreads=self.parallel,
            force=afresh,
            compiler_directives=DEBUG_DIRECTIVES if self.debug_build else DIRECTIVES,
        )
        # pip gives each build a NumPy of its own, whose declarations are always newer than our C. C that came out as it
        # was keeps its time, and is not compiled again.
        for path, (status, text) in before.items():
            if not afresh and path.read_bytes() == text:
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return dict(zip(unique, (module.sources[0] for module in modules), strict=True))

    def start_afresh_if_changed(self, info):
        """Compiled files of another configuration must never end up in this build: timestamps do not tell them."""
        text = json.dumps(info, indent=2) + "\n"
        if not self.info_path.exists() or self.info_path.read_text() != text:
            for folder in Path(self.build_lib, "cconv").glob("kernels*"):
                self.remove_compiled(folder)
            self.info_path.parent.mkdir(parents=True, exist_ok=True)
            self.info_path.write_text(text)

    def copy_extensions_to_source(self):
        for folder in Path("cconv").glob("kernels*"):
            self.remove_compiled(folder)
        super().copy_extensions_to_source()
        shutil.copyfile(self.info_path, KERNELS / INFO)

    @staticmethod
    def remove_compiled(folder):
        for pattern in ("*.so", "*.pyd"):
            for path in folder.rglob(pattern):
                path.unlink()

    def get_outputs(self):
        return [*super().get_outputs(), str(self.info_path)]

    def get_output_mapping(self):
        mapping = super().get_output_mapping()
        return mapping | {str(self.info_path): str(KERNELS / INFO)} if self.inplace else mapping


if __name__ == "__main__":
    setup(ext_modules=make_extensions(target_levels()), cmdclass={"build_ext": BuildExt})
