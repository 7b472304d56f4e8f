"""cconv: convolutional-network layers for Python, compiled."""

from cconv._config import show_config
from cconv._version import __version__
from cconv.kernels._cpu import get_num_threads, set_num_threads
from cconv.kernels._memory import empty_cache

__all__ = [
    "__version__",
    "empty_cache",
    "get_num_threads",
    "set_num_threads",
    "show_config",
]
