from collections.abc import Sequence
from typing import Any, final

from numpy.typing import NDArray

def changed(calls: NDArray[Any], num_threads: int, /) -> list[int]: ...

@final
class Program:
    size: int
    def __new__(cls, steps: Sequence[tuple[Any, int, int, int, bool]], /) -> Program: ...
    def __call__(self, x: NDArray[Any], out: NDArray[Any], turns: int, threads: int | Sequence[int], /) -> None: ...
