from typing import Any

from numpy.typing import NDArray

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
