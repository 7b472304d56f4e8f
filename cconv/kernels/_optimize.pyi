from typing import Any, TypeAlias

from numpy.typing import NDArray

_Array: TypeAlias = NDArray[Any]
_Change: TypeAlias = tuple[float, float, float]

def sgd(p: _Array, g: _Array, lr: float, change: _Change, num_threads: int, /) -> None: ...
def momentum(
    p: _Array, g: _Array, v: _Array, lr: float, momentum: float, change: _Change, num_threads: int, /
) -> None: ...
def nesterov(
    p: _Array, g: _Array, v: _Array, lr: float, momentum: float, change: _Change, num_threads: int, /
) -> None: ...
def adagrad(p: _Array, g: _Array, h: _Array, lr: float, eps: float, change: _Change, num_threads: int, /) -> None: ...
def rmsprop(
    p: _Array, g: _Array, h: _Array, lr: float, decay_rate: float, eps: float, change: _Change, num_threads: int, /
) -> None: ...
def adam(
    p: _Array,
    g: _Array,
    m: _Array,
    v: _Array,
    h: _Array | None,
    lr_t: float,
    beta1: float,
    beta2: float,
    eps: float,
    keep: float,
    change: _Change,
    num_threads: int,
    /,
) -> None: ...
def lion(
    p: _Array,
    g: _Array,
    m: _Array,
    lr: float,
    beta1: float,
    beta2: float,
    keep: float,
    change: _Change,
    num_threads: int,
    /,
) -> None: ...
def average(mean: _Array, p: _Array, weight: float, num_threads: int, /) -> None: ...
def sum_of_squares(g: _Array, num_threads: int, /) -> float: ...
