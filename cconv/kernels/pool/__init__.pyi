from typing import Any

from numpy.typing import NDArray

def max_pool(
    x: NDArray[Any],
    out: NDArray[Any],
    argmax: NDArray[Any] | None,
    fh: int,
    fw: int,
    sh: int,
    sw: int,
    pt: int,
    pl: int,
    dh: int,
    dw: int,
    num_threads: int,
    /,
) -> None: ...
def max_pool_backward(
    dout: NDArray[Any],
    argmax: NDArray[Any],
    dx: NDArray[Any],
    fh: int,
    fw: int,
    sh: int,
    sw: int,
    pt: int,
    pl: int,
    dh: int,
    dw: int,
    num_threads: int,
    /,
) -> bool: ...
def average_pool(
    x: NDArray[Any],
    out: NDArray[Any],
    fh: int,
    fw: int,
    sh: int,
    sw: int,
    pt: int,
    pl: int,
    pb: int,
    pr: int,
    count_include_pad: bool,
    num_threads: int,
    /,
) -> None: ...
def average_pool_backward(
    dout: NDArray[Any],
    dx: NDArray[Any],
    fh: int,
    fw: int,
    sh: int,
    sw: int,
    pt: int,
    pl: int,
    pb: int,
    pr: int,
    count_include_pad: bool,
    num_threads: int,
    /,
) -> None: ...
def adaptive_average_pool(x: NDArray[Any], out: NDArray[Any], num_threads: int, /) -> None: ...
def adaptive_average_pool_backward(dout: NDArray[Any], dx: NDArray[Any], num_threads: int, /) -> None: ...
