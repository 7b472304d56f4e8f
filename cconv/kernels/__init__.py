"""The compiled kernels, in the build for this CPU.

A kernel source ``_name.pyx``, in one of the folders here, is compiled once per CPU level, into
``cconv.kernels_baseline``, ``cconv.kernels_v3`` (AVX2) and ``cconv.kernels_v4`` (AVX-512). This package picks the best
one that the CPU and the operating system support, once, at import, and hands its modules on as ``cconv.kernels.name``,
beside the few that every level shares: ``im2col``, ``reference``, and of ``runtime`` ``cpu``, ``memory``, ``program``
and ``threads``. The environment variable ``CCONV_CPU`` (``baseline``, ``v3`` or ``v4``) forces a lower level; a higher
one is refused.

Kernels trust their arguments: the checked functions are those of `cconv.functional`. Callers write
``kernels.pool.max_pool(...)``, through the attribute, so that a test can put another level's module there.
"""

import functools
import importlib
import os
import pkgutil
import sys
from types import SimpleNamespace

try:
    cpu = importlib.import_module(f"{__name__}.runtime._cpu")
    im2col = importlib.import_module(f"{__name__}._im2col")
    memory = importlib.import_module(f"{__name__}.runtime._memory")
    program = importlib.import_module(f"{__name__}.runtime._program")
    reference = importlib.import_module(f"{__name__}._reference")
    threads = importlib.import_module(f"{__name__}.runtime._threads")
except ImportError as error:
    raise ImportError(
        f"the compiled kernels of cconv cannot be imported ({error}). In a source tree, build them with "
        "'pip install -e .' (or 'python setup.py build_ext --inplace'); otherwise reinstall cconv with "
        "'pip install --force-reinstall cconv'"
    ) from error


@functools.cache
def _names(level: str) -> tuple[str, ...]:
    """The names of a level's modules, without their underscores; none where it was not built."""
    package = importlib.import_module(f"{__name__}_{level}")
    return tuple(sorted(module.name.removeprefix("_") for module in pkgutil.iter_modules(package.__path__)))


def levels() -> tuple[str, ...]:
    """The levels that were built and that this machine can run, best last."""
    return tuple(level for level in cpu.levels() if _names(level))


def load(level: str) -> SimpleNamespace:
    """The kernel modules of one of `levels`, by the names they have here (``conv``, ``pool``, ...).

    A module that was not built for that level is the one of the best level below.
    """
    built = levels()
    places = {name: lower for lower in built[: built.index(level) + 1] for name in _names(lower)}
    return SimpleNamespace(
        **{name: importlib.import_module(f"{__name__}_{place}._{name}") for name, place in places.items()}
    )


def _choose(wanted: str | None) -> str:
    runnable = levels()
    if not runnable:
        raise ImportError(
            f"cconv was built without kernels that this machine can run: it runs {', '.join(cpu.levels())}. "
            "Rebuild with CCONV_LEVELS unset ('pip install -e .')"
        )
    if not wanted:
        return runnable[-1]
    if wanted not in runnable:
        raise ImportError(
            f"CCONV_CPU must name a level that was built and that this machine can run, out of "
            f"{', '.join(runnable)}; got {wanted!r}"
        )
    return wanted


def _publish(modules: SimpleNamespace) -> None:
    for name, module in vars(modules).items():
        globals()[name] = module
        # Their functions call themselves cconv.kernels._name at every level: so pickle finds them there.
        sys.modules[f"{__name__}._{name}"] = module
        # An import of cconv.kernels.name must not take the folder of the sources for a package.
        sys.modules[f"{__name__}.{name}"] = module


LEVEL = _choose(os.environ.get("CCONV_CPU"))
_modules = load(LEVEL)
_publish(_modules)
sys.modules |= {f"{__name__}.im2col": im2col, f"{__name__}.reference": reference}

__all__ = ["LEVEL", "cpu", "im2col", "levels", "load", "memory", "program", "reference", "threads", *vars(_modules)]
