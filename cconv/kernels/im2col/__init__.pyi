from typing import Any

from numpy.typing import NDArray

def im2col(
    x: NDArray[Any],
    col: NDArray[Any],
    OH: int,
    OW: int,
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
def col2im(
    col: NDArray[Any],
    dx: NDArray[Any],
    OH: int,
    OW: int,
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
