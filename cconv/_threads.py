"""The number of threads for a block of code, and for threadpoolctl."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, SupportsIndex

from cconv import kernels
from cconv._version import __version__

__all__ = ["threads"]


def threads(n: SupportsIndex) -> AbstractContextManager[None]:
    """Return a context in which kernels that this Python thread calls use n threads.

    The calls of other Python threads keep the number they had. Contexts nest: the innermost number holds, and the one
    outside comes back when a block ends, also by an error. Results do not depend on the number of threads.

    Parameters
    ----------
    n : int
        At least 1; no more than 1024 are used.

    Returns
    -------
    context manager
        To be used once, in a ``with`` statement.

    Raises
    ------
    TypeError
        If n is not an integer.
    ValueError
        If n is less than 1.

    See Also
    --------
    set_num_threads : The same for the whole process.

    Examples
    --------
    >>> import cconv
    >>> with cconv.threads(1):
    ...     cconv.get_num_threads()
    1
    """
    return _use(kernels.cpu.check_count(n))


@contextlib.contextmanager
def _use(n: int) -> Iterator[None]:
    before = kernels.cpu.set_own_count(n)
    try:
        yield
    finally:
        kernels.cpu.set_own_count(before)


def _register(threadpoolctl: ModuleType) -> None:
    """Let threadpoolctl know of the pool, which it finds among the process's shared objects by two names in it."""

    class CconvController(threadpoolctl.LibController):  # type: ignore[misc, name-defined]
        # "blas", for those who limit what multiplies matrices beneath their own threads.
        user_api = "blas"
        internal_api = "cconv"
        filename_prefixes = ("_threads",)
        check_symbols = ("cconv_get_num_threads", "cconv_set_num_threads")

        def get_num_threads(self) -> int:
            return int(self.dynlib.cconv_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.cconv_set_num_threads(num_threads)

        def get_version(self) -> str:
            return __version__

    threadpoolctl.register(CconvController)


class _Watch(MetaPathFinder):
    """Registers with threadpoolctl once somebody imports it: an import of its own would slow that of cconv."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "threadpoolctl":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register(module)

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


if not kernels.cpu.pool:
    pass  # nothing to limit
elif "threadpoolctl" in sys.modules:
    _register(sys.modules["threadpoolctl"])
else:
    sys.meta_path.insert(0, _Watch())
