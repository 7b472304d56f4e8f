"""Stop after some time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._checks import checked_dict, nonnegative, positive
from .callback import Callback

if TYPE_CHECKING:
    from ..trainer import Trainer

__all__ = ["TimeLimit"]


class TimeLimit(Callback):
    """Stop the training after the step in which so much time has passed.

    The time of a training that was interrupted and resumed counts as one; that between does not count.

    Parameters
    ----------
    seconds : float

    Raises
    ------
    TypeError, ValueError
        If seconds is not a number above 0.

    Examples
    --------
    >>> (x, t), _ = cconv.load_synthetic_digits(200, 50, flatten=False)
    >>> limit = cconv.callbacks.TimeLimit(1e-9)
    >>> trainer = cconv.Trainer(cconv.SimpleConvNet(seed=0), x, t, verbose=False, callbacks=[limit])
    >>> trainer.train()
    >>> trainer.current_iter
    1
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = positive(seconds, "seconds")
        self._before = 0.0
        self._begun: float | None = None

    def elapsed(self) -> float:
        """Return how many seconds of training there were."""
        return self._before + (0.0 if self._begun is None else time.monotonic() - self._begun)

    def on_train_begin(self, trainer: Trainer) -> None:
        if not trainer.current_iter:  # what has passed was of another training
            self._before = 0.0
        self._judge(trainer)
        self._begun = time.monotonic()

    def on_step_end(self, trainer: Trainer) -> None:
        self._judge(trainer)

    def on_train_end(self, trainer: Trainer) -> None:
        self._before, self._begun = self.elapsed(), None

    on_interrupt = on_train_end

    def _judge(self, trainer):
        if self.elapsed() >= self.seconds:
            trainer.stop(f"the time limit of {self.seconds:g} s is reached")

    def state_dict(self) -> dict[str, Any]:
        return {"elapsed": self.elapsed()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        found = checked_dict(state_dict, "state_dict", {"elapsed": float})
        self._before = nonnegative(found["elapsed"], "elapsed")
        self._begun = None
