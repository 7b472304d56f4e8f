from typing import Any

from numpy.typing import NDArray

def suits(
    source: NDArray[Any],
    W: NDArray[Any],
    target: NDArray[Any],
    sh: int,
    sw: int,
    pt: int,
    pl: int,
    dh: int,
    dw: int,
    groups: int,
    backward: bool = False,
    weights: bool = False,
) -> bool: ...
def forward(
    x: NDArray[Any],
    W: NDArray[Any],
    b: NDArray[Any] | None,
    out: NDArray[Any],
    sh: int,
    sw: int,
    pt: int,
    pl: int,
    dh: int,
    dw: int,
    groups: int,
    num_threads: int,
) -> None: ...
def backward_input(
    dout: NDArray[Any],
    W: NDArray[Any],
    dx: NDArray[Any],
    sh: int,
    sw: int,
    pt: int,
    pl: int,
    dh: int,
    dw: int,
    groups: int,
    num_threads: int,
    bias: NDArray[Any] | None = None,
) -> None: ...
def backward_weights(
    dout: NDArray[Any],
    x: NDArray[Any],
    dW: NDArray[Any],
    db: NDArray[Any] | None,
    sh: int,
    sw: int,
    pt: int,
    pl: int,
    dh: int,
    dw: int,
    groups: int,
    num_threads: int,
) -> None: ...
