from typing import Any

from numpy.typing import NDArray

def batch_norm(
    x: NDArray[Any],
    out: NDArray[Any],
    mean: NDArray[Any],
    var: NDArray[Any],
    gamma: NDArray[Any],
    beta: NDArray[Any],
    pixels: int,
    eps: float,
    fixed: bool,
    num_threads: int,
    branch: NDArray[Any] | None = None,
    relu: bool = False,
    mask: NDArray[Any] | None = None,
    /,
) -> None: ...
def batch_norm_mask_words(x: NDArray[Any], features: int, pixels: int, /) -> int: ...
def batch_norm_table(
    mean: NDArray[Any],
    var: NDArray[Any],
    gamma: NDArray[Any],
    beta: NDArray[Any],
    eps: float,
    table: NDArray[Any],
    /,
) -> None: ...
def batch_norm_backward(
    dout: NDArray[Any],
    x: NDArray[Any],
    mean: NDArray[Any],
    var: NDArray[Any],
    gamma: NDArray[Any],
    dx: NDArray[Any] | None,
    dgamma: NDArray[Any],
    dbeta: NDArray[Any],
    pixels: int,
    eps: float,
    fixed: bool,
    num_threads: int,
    mask: NDArray[Any] | None = None,
    masked: NDArray[Any] | None = None,
    /,
) -> None: ...
def group_norm(
    x: NDArray[Any],
    out: NDArray[Any],
    mean: NDArray[Any],
    var: NDArray[Any],
    gamma: NDArray[Any],
    beta: NDArray[Any],
    groups: int,
    pixels: int,
    eps: float,
    num_threads: int,
    /,
) -> None: ...
def group_norm_backward(
    dout: NDArray[Any],
    x: NDArray[Any],
    mean: NDArray[Any],
    var: NDArray[Any],
    gamma: NDArray[Any],
    dx: NDArray[Any] | None,
    dgamma: NDArray[Any],
    dbeta: NDArray[Any],
    groups: int,
    pixels: int,
    eps: float,
    num_threads: int,
    /,
) -> None: ...
