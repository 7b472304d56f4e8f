from typing import Any

from numpy.typing import NDArray

# The passes are called as those of conv are, so that the door can take either.
from .conv import backward_input as backward_input
from .conv import backward_weights as backward_weights
from .conv import forward as forward
from .conv import plan as plan
from .conv import prepare as prepare

def suits(
    source: NDArray[Any],
    W: NDArray[Any],
    target: NDArray[Any],
    steps: tuple[int, ...],
    groups: int,
    backward: bool = False,
    weights: bool = False,
) -> bool: ...

class Prepared:
    def pack(self) -> None: ...
    def __call__(
        self,
        source: NDArray[Any],
        branch: NDArray[Any] | None,
        relu: bool,
        target: NDArray[Any],
        argmax: None,
        num_threads: int,
        /,
    ) -> None: ...
