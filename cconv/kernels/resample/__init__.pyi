from typing import Any

from numpy.typing import NDArray

def upsample(
    x: NDArray[Any],
    out: NDArray[Any],
    rows: tuple[Any, ...],
    columns: tuple[Any, ...],
    num_threads: int,
    /,
) -> None: ...
def upsample_backward(
    dout: NDArray[Any],
    dx: NDArray[Any],
    rows: tuple[Any, ...],
    columns: tuple[Any, ...],
    num_threads: int,
    /,
) -> None: ...
def zero_pad(x: NDArray[Any], out: NDArray[Any], top: int, left: int, num_threads: int, /) -> None: ...
def crop(x: NDArray[Any], out: NDArray[Any], top: int, left: int, num_threads: int, /) -> None: ...
