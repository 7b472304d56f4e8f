from typing import Any, Final, final

from numpy.typing import NDArray

# What the choice of an algorithm depends on, in bytes.
CACHE_LINE: Final[int]
VECTOR_BYTES: Final[int]
WINDOW_BYTES: Final[int]
GRADIENT_BYTES: Final[int]

@final
class Plan:
    def __init__(
        self,
        image: tuple[int, ...],
        filters: tuple[int, ...],
        outputs: tuple[int, ...],
        steps: tuple[int, ...],
        groups: int,
        itemsize: int,
    ) -> None: ...
    @property
    def image(self) -> tuple[int, ...]: ...
    @property
    def filters(self) -> tuple[int, ...]: ...
    @property
    def outputs(self) -> tuple[int, ...]: ...
    @property
    def steps(self) -> tuple[int, ...]: ...
    @property
    def groups(self) -> int: ...
    @property
    def itemsize(self) -> int: ...
    @property
    def lanes(self) -> int: ...
    @property
    def multiply_adds(self) -> int: ...
    @property
    def around(self) -> tuple[tuple[int, int], ...]: ...
    @property
    def windows_refused(self) -> str: ...
    @property
    def list_refused(self) -> str: ...
    @property
    def depthwise_refused(self) -> str: ...
    @property
    def one_row(self) -> bool: ...
    @property
    def list_bytes(self) -> float: ...
    @property
    def filter_bytes(self) -> int: ...
    @property
    def choices(self) -> dict[str, Any]: ...
    def describe(self, which: str, algorithm: str, /) -> dict[str, Any] | None: ...
    def tile_work(self, which: str, /) -> float: ...

@final
class Prepared:
    def __init__(
        self,
        plan: Plan,
        algorithm: str,
        W: NDArray[Any],
        b: NDArray[Any] | None,
        norm: NDArray[Any] | None,
        pooled: bool,
        finite: bool | None,
        /,
    ) -> None: ...
    @property
    def call(self) -> int: ...
    def pack(self) -> None: ...
    def __call__(
        self,
        x: NDArray[Any],
        branch: NDArray[Any] | None,
        relu: bool,
        out: NDArray[Any],
        num_threads: int,
        /,
    ) -> None: ...

def channels_output(
    plan: Plan,
    x: NDArray[Any],
    W: NDArray[Any],
    b: NDArray[Any] | None,
    out: NDArray[Any],
    num_threads: int,
    /,
) -> None: ...
def depthwise_output(
    plan: Plan,
    x: NDArray[Any],
    W: NDArray[Any],
    b: NDArray[Any] | None,
    out: NDArray[Any],
    num_threads: int,
    /,
) -> None: ...
def channels_pooled_output(
    plan: Plan,
    x: NDArray[Any],
    W: NDArray[Any],
    b: NDArray[Any] | None,
    out: NDArray[Any],
    argmax: NDArray[Any] | None,
    num_threads: int,
    /,
) -> None: ...
def channels_input_gradient(
    plan: Plan,
    dout: NDArray[Any],
    W: NDArray[Any],
    b: NDArray[Any] | None,
    dx: NDArray[Any],
    num_threads: int,
    /,
) -> None: ...
def channels_weight_gradient(
    plan: Plan,
    dout: NDArray[Any],
    x: NDArray[Any],
    dW: NDArray[Any],
    db: NDArray[Any] | None,
    num_threads: int,
    /,
) -> None: ...
def pixels_output(
    plan: Plan,
    x: NDArray[Any],
    W: NDArray[Any],
    b: NDArray[Any] | None,
    out: NDArray[Any],
    num_threads: int,
    /,
) -> None: ...
def pixels_input_gradient(
    plan: Plan,
    dout: NDArray[Any],
    W: NDArray[Any],
    b: NDArray[Any] | None,
    dx: NDArray[Any],
    num_threads: int,
    /,
) -> None: ...
def pixels_weight_gradient(
    plan: Plan,
    dout: NDArray[Any],
    x: NDArray[Any],
    dW: NDArray[Any],
    db: NDArray[Any] | None,
    num_threads: int,
    /,
) -> None: ...
def scattered_input_gradient(
    plan: Plan,
    dout: NDArray[Any],
    W: NDArray[Any],
    b: NDArray[Any] | None,
    dx: NDArray[Any],
    num_threads: int,
    /,
) -> None: ...
def windows_weight_gradient(
    plan: Plan,
    dout: NDArray[Any],
    y: NDArray[Any] | None,
    argmax: NDArray[Any] | None,
    x: NDArray[Any],
    dW: NDArray[Any],
    db: NDArray[Any] | None,
    num_threads: int,
    /,
) -> None: ...
def listed_gradients(
    plan: Plan,
    dout: NDArray[Any],
    y: NDArray[Any] | None,
    argmax: NDArray[Any] | None,
    x: NDArray[Any],
    W: NDArray[Any],
    dW: NDArray[Any] | None,
    db: NDArray[Any] | None,
    dx: NDArray[Any] | None,
    num_threads: int,
    /,
) -> None: ...
def finite(array: NDArray[Any], /) -> bool: ...
def nonzero_fraction(dout: NDArray[Any], /) -> float: ...
