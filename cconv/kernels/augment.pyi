from typing import Any

import numpy as np
from numpy.typing import NDArray

def uniform(out: NDArray[np.float64], key: int, indices: NDArray[np.int64], /) -> None: ...
def move(
    maps: NDArray[np.float64],
    key: int,
    indices: NDArray[np.int64],
    kind: int,
    probability: float,
    ranges: tuple[Any, ...],
    sizes: tuple[Any, ...],
    /,
) -> None: ...
def warp(
    x: NDArray[Any],
    out: NDArray[Any],
    maps: NDArray[np.float64],
    border: int,
    fill: float,
    nearest: bool,
    elastic: tuple[Any, ...] | None,
    num_threads: int,
    /,
) -> None: ...
def change(
    x: NDArray[Any],
    out: NDArray[Any],
    rule: int,
    factor: NDArray[np.float64],
    low: float,
    high: float,
    partner: NDArray[np.int64],
    key: int,
    indices: NDArray[np.int64],
    num_threads: int,
    /,
) -> None: ...
