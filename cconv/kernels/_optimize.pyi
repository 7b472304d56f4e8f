from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Change: TypeAlias = tuple[float, float, float]

def sgd(p: Array, g: Array, lr: float, change: Change, num_threads: int) -> None: ...
def momentum(p: Array, g: Array, v: Array, lr: float, momentum: float, change: Change, num_threads: int) -> None: ...
def nesterov(p: Array, g: Array, v: Array, lr: float, momentum: float, change: Change, num_threads: int) -> None: ...
def adagrad(p: Array, g: Array, h: Array, lr: float, eps: float, change: Change, num_threads: int) -> None: ...
def rmsprop(
    p: Array, g: Array, h: Array, lr: float, decay_rate: float, eps: float, change: Change, num_threads: int
) -> None: ...
def adam(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    h: Array | None,
    lr_t: float,
    beta1: float,
    beta2: float,
    eps: float,
    keep: float,
    change: Change,
    num_threads: int,
) -> None: ...
def lion(
    p: Array,
    g: Array,
    m: Array,
    lr: float,
    beta1: float,
    beta2: float,
    keep: float,
    change: Change,
    num_threads: int,
) -> None: ...
def average(mean: Array, p: Array, weight: float, num_threads: int) -> None: ...
def sum_of_squares(g: Array, num_threads: int) -> float: ...
