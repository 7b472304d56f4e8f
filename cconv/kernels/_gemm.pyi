from typing import Any

from numpy.typing import NDArray

def affine(
    x: NDArray[Any], W: NDArray[Any], b: NDArray[Any] | None, out: NDArray[Any], relu: bool, num_threads: int, /
) -> None: ...
def affine_backward_input(dout: NDArray[Any], W: NDArray[Any], dx: NDArray[Any], num_threads: int, /) -> None: ...
def affine_backward_weights(
    x: NDArray[Any], dout: NDArray[Any], dW: NDArray[Any], db: NDArray[Any] | None, num_threads: int, /
) -> None: ...
