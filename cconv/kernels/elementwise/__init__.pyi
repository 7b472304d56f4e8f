from typing import Any

from numpy.typing import NDArray

def relu_masked(x: NDArray[Any], out: NDArray[Any], mask: NDArray[Any], num_threads: int, /) -> None: ...
def relu_masked_backward(dout: NDArray[Any], dx: NDArray[Any], mask: NDArray[Any], num_threads: int, /) -> None: ...
def activate(name: str, x: NDArray[Any], out: NDArray[Any], a: float, b: float, num_threads: int, /) -> None: ...
def activate_backward(
    name: str, dout: NDArray[Any], x: NDArray[Any], dx: NDArray[Any], a: float, b: float, num_threads: int, /
) -> None: ...
def dropout(
    x: NDArray[Any],
    out: NDArray[Any],
    inner: int,
    key: int,
    draw: int,
    threshold: int,
    scale: float,
    num_threads: int,
    /,
) -> None: ...
def rescale(
    x: NDArray[Any],
    out: NDArray[Any],
    shift: NDArray[Any],
    factor: NDArray[Any],
    inner: int,
    num_threads: int,
    /,
) -> None: ...
def add(first: NDArray[Any], second: NDArray[Any], out: NDArray[Any], num_threads: int, /) -> None: ...
