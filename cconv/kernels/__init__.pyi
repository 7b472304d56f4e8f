from types import SimpleNamespace

from . import _augment as augment
from . import _conv as conv
from . import _conv_pixels as conv_pixels
from .runtime import _cpu as cpu
from . import _elementwise as elementwise
from . import _gemm as gemm
from . import _im2col as im2col
from . import _loss as loss
from .runtime import _memory as memory
from . import _norm as norm
from . import _optimize as optimize
from . import _pool as pool
from . import _reference as reference
from . import _resample as resample
from .runtime import _threads as threads

__all__ = [
    "LEVEL",
    "augment",
    "conv",
    "conv_pixels",
    "cpu",
    "elementwise",
    "gemm",
    "im2col",
    "levels",
    "load",
    "loss",
    "memory",
    "norm",
    "optimize",
    "pool",
    "reference",
    "resample",
    "threads",
]

LEVEL: str

def levels() -> tuple[str, ...]: ...
def load(level: str) -> SimpleNamespace: ...
