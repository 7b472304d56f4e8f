from typing import Any

from numpy.typing import NDArray

def softmax(x: NDArray[Any], out: NDArray[Any], num_threads: int) -> None: ...
def softmax_cross_entropy(
    x: NDArray[Any], t: NDArray[Any], y: NDArray[Any], losses: NDArray[Any], num_threads: int
) -> None: ...
def softmax_cross_entropy_backward(
    y: NDArray[Any], t: NDArray[Any], scale: float, dx: NDArray[Any], num_threads: int
) -> None: ...
