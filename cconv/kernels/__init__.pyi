from types import SimpleNamespace

from . import augment as augment
from . import conv as conv
from . import elementwise as elementwise
from . import gemm as gemm
from . import im2col as im2col
from . import loss as loss
from . import norm as norm
from . import optimize as optimize
from . import pool as pool
from . import reference as reference
from . import resample as resample
from .runtime import _cpu as cpu
from .runtime import _memory as memory
from .runtime import _program as program
from .runtime import _threads as threads

__all__ = [
    "LEVEL",
    "augment",
    "conv",
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
    "program",
    "reference",
    "resample",
    "threads",
]

LEVEL: str

def levels() -> tuple[str, ...]: ...
def load(level: str) -> SimpleNamespace: ...
