from typing import Any

from numpy.typing import NDArray

def sgd(p: NDArray[Any], g: NDArray[Any], lr: float, num_threads: int) -> None: ...
def momentum(
    p: NDArray[Any], g: NDArray[Any], v: NDArray[Any], lr: float, momentum: float, num_threads: int
) -> None: ...
def nesterov(
    p: NDArray[Any], g: NDArray[Any], v: NDArray[Any], lr: float, momentum: float, num_threads: int
) -> None: ...
def adagrad(p: NDArray[Any], g: NDArray[Any], h: NDArray[Any], lr: float, eps: float, num_threads: int) -> None: ...
def rmsprop(
    p: NDArray[Any], g: NDArray[Any], h: NDArray[Any], lr: float, decay_rate: float, eps: float, num_threads: int
) -> None: ...
def adam(
    p: NDArray[Any],
    g: NDArray[Any],
    m: NDArray[Any],
    v: NDArray[Any],
    lr_t: float,
    beta1: float,
    beta2: float,
    eps: float,
    num_threads: int,
) -> None: ...
