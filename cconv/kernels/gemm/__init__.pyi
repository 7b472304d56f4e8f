from typing import Any

from numpy.typing import NDArray

def plan(
    rows: int, K: int, columns: int, a_transposed: bool, b_transposed: bool, itemsize: int, num_threads: int, /
) -> dict[str, Any]: ...
def affine(
    x: NDArray[Any],
    W: NDArray[Any],
    b: NDArray[Any] | None,
    out: NDArray[Any],
    relu: bool,
    num_threads: int,
    norm: NDArray[Any] | None = None,
    /,
) -> None: ...
def channel_sums(a: NDArray[Any], out: NDArray[Any], /) -> None: ...
def affine_backward(
    dout: NDArray[Any],
    x: NDArray[Any],
    W: NDArray[Any],
    dx: NDArray[Any] | None,
    dW: NDArray[Any] | None,
    db: NDArray[Any] | None,
    num_threads: int,
    /,
) -> None: ...
