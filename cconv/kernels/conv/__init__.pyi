from typing import Any, Final

from numpy.typing import NDArray

# Of `backward_windows`: the most taps in a row, the most rows of them, more values than rows of pixels are filled by.
WINDOW: Final[tuple[int, int, int]]

# The passes that have a plan.
PASSES: Final[tuple[str, ...]]

def algorithms(which: str, /) -> tuple[str, ...]: ...
def plan(
    which: str,
    source: tuple[int, int, int],
    filters: tuple[int, int, int, int],
    target: tuple[int, int, int],
    steps: tuple[int, ...],
    groups: int,
    itemsize: int,
    /,
) -> dict[str, Any]: ...
def finite(array: NDArray[Any], /) -> bool: ...
class Prepared:
    def pack(self) -> None: ...
    def __call__(
        self,
        source: NDArray[Any],
        branch: NDArray[Any] | None,
        relu: bool,
        target: NDArray[Any],
        argmax: NDArray[Any] | None,
        num_threads: int,
        /,
    ) -> None: ...

def prepare(
    source: tuple[int, int, int],
    W: NDArray[Any],
    b: NDArray[Any] | None,
    target: tuple[int, int, int],
    steps: tuple[int, ...],
    groups: int,
    norm: NDArray[Any] | None,
    /,
) -> Prepared: ...
def prepare_pooled(
    source: tuple[int, int, int],
    W: NDArray[Any],
    b: NDArray[Any] | None,
    target: tuple[int, int, int],
    steps: tuple[int, ...],
    groups: int,
    /,
) -> Prepared: ...
def forward(
    x: NDArray[Any],
    W: NDArray[Any],
    b: NDArray[Any] | None,
    out: NDArray[Any],
    steps: tuple[int, ...],
    groups: int,
    num_threads: int,
    /,
) -> None: ...
def forward_pooled(
    x: NDArray[Any],
    W: NDArray[Any],
    b: NDArray[Any] | None,
    out: NDArray[Any],
    argmax: NDArray[Any] | None,
    OH: int,
    OW: int,
    steps: tuple[int, ...],
    groups: int,
    num_threads: int,
    /,
) -> None: ...
def backward_input(
    dout: NDArray[Any],
    W: NDArray[Any],
    dx: NDArray[Any],
    steps: tuple[int, ...],
    groups: int,
    num_threads: int,
    bias: NDArray[Any] | None = None,
    /,
) -> None: ...
def scatters(W: NDArray[Any], steps: tuple[int, ...], groups: int, /) -> bool: ...
def backward_scattered(
    dout: NDArray[Any],
    W: NDArray[Any],
    dx: NDArray[Any],
    steps: tuple[int, ...],
    groups: int,
    num_threads: int,
    bias: NDArray[Any] | None = None,
    /,
) -> None: ...
def backward_weights(
    dout: NDArray[Any],
    x: NDArray[Any],
    dW: NDArray[Any],
    db: NDArray[Any] | None,
    steps: tuple[int, ...],
    groups: int,
    num_threads: int,
    /,
) -> None: ...
def few_windows(dout: NDArray[Any], x: NDArray[Any], W: NDArray[Any], /) -> bool: ...
def few_values(dout: NDArray[Any], x: NDArray[Any], W: NDArray[Any], /) -> bool: ...
def backward_listed(
    dout: NDArray[Any],
    y: NDArray[Any] | None,
    argmax: NDArray[Any] | None,
    x: NDArray[Any],
    W: NDArray[Any],
    dW: NDArray[Any] | None,
    db: NDArray[Any] | None,
    dx: NDArray[Any] | None,
    OH: int,
    OW: int,
    steps: tuple[int, ...],
    num_threads: int,
    /,
) -> None: ...
def backward_windows(
    dout: NDArray[Any],
    y: NDArray[Any] | None,
    argmax: NDArray[Any] | None,
    x: NDArray[Any],
    dW: NDArray[Any],
    db: NDArray[Any] | None,
    OH: int,
    OW: int,
    steps: tuple[int, ...],
    num_threads: int,
    /,
) -> None: ...
