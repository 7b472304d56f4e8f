from typing import Any

from numpy.typing import NDArray

def convolution(
    x: NDArray[Any],
    W: NDArray[Any],
    b: NDArray[Any],
    out: NDArray[Any],
    steps: tuple[int, ...],
    groups: int,
    /,
) -> None: ...
def convolution_input_gradient(
    dout: NDArray[Any], W: NDArray[Any], dx: NDArray[Any], steps: tuple[int, ...], groups: int, /
) -> None: ...
def convolution_weight_gradient(
    dout: NDArray[Any],
    x: NDArray[Any],
    dW: NDArray[Any],
    db: NDArray[Any],
    steps: tuple[int, ...],
    groups: int,
    /,
) -> None: ...
def max_pool(
    x: NDArray[Any],
    out: NDArray[Any],
    argmax: NDArray[Any],
    FH: int,
    FW: int,
    steps: tuple[int, ...],
    /,
) -> None: ...
def max_pool_backward(
    dout: NDArray[Any],
    argmax: NDArray[Any],
    dx: NDArray[Any],
    FW: int,
    steps: tuple[int, ...],
    /,
) -> bool: ...
def average_pool(
    x: NDArray[Any],
    out: NDArray[Any],
    FH: int,
    FW: int,
    steps: tuple[int, ...],
    counted: tuple[int, ...],
    /,
) -> None: ...
def average_pool_backward(
    dout: NDArray[Any],
    dx: NDArray[Any],
    FH: int,
    FW: int,
    steps: tuple[int, ...],
    counted: tuple[int, ...],
    /,
) -> None: ...
