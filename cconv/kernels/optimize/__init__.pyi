from typing import Any, TypeAlias

from numpy.typing import NDArray

_Array: TypeAlias = NDArray[Any]

RULES: dict[str, tuple[int, tuple[str, ...]]]

def update(
    rule: str,
    params: list[_Array],
    grads: list[_Array],
    states: list[Any],
    numbers: list[tuple[float, float, float, float, float, float]],
    scale: float,
    limit: float,
    num_threads: int,
    kept: dict[Any, Any] | None = None,
    keys: list[Any] | None = None,
    /,
) -> None: ...
def sum_of_squares(g: _Array, num_threads: int, /) -> float: ...
def is_finite(g: _Array, /) -> bool: ...
