"""Stop when a measure has not become better for a while."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from .._checks import checked_dict, choice, nonnegative
from ..geometry import integer
from .callback import Callback

if TYPE_CHECKING:
    from ..trainer import Trainer

__all__ = ["EarlyStopping"]


class EarlyStopping(Callback):
    """Stop the training when a measure has not become better in so many epochs.

    Parameters
    ----------
    patience : int, default 10
        After how many epochs without betterment it stops; 0 and 1 both stop at the first.
    monitor : str, keyword only
        A list of `History`; what the Trainer monitors when not given.
    min_delta : float, default 0, keyword only
        How much better counts as better.
    mode : {'min', 'max'}, keyword only
        Whether lower or higher is better; higher for accuracies and lower for losses when not given.

    Attributes
    ----------
    best : float
    best_epoch : int
        The epoch, counted from 1, of the best measure; 0 before the first.
    waited : int
        How many epochs have passed since.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> cconv.callbacks.EarlyStopping(patience=3, monitor="val_accuracy").patience
    3
    """

    def __init__(
        self,
        patience: int = 10,
        *,
        monitor: str | None = None,
        min_delta: float = 0.0,
        mode: Literal["min", "max"] | None = None,
    ) -> None:
        self.patience = integer(patience, "patience", 0)
        self.monitor = monitor if monitor is None else measure(monitor)
        self.min_delta = nonnegative(min_delta, "min_delta")
        self.mode = mode if mode is None else choice(mode, "mode", ("min", "max"))
        self.reset()

    def reset(self) -> None:
        """Forget what was measured, so that a training that was stopped can go on."""
        self.best = math.nan
        self.best_epoch = 0
        self.waited = 0

    def on_train_begin(self, trainer: Trainer) -> None:
        if not trainer.current_iter:  # what it knows is of another training
            self.reset()
        trainer.expect_measured(self._monitored(trainer))
        self._judge(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        name = self._monitored(trainer)
        value = trainer.history.last(name)
        if is_better(value, self.best, self.mode or direction(name), self.min_delta):
            self.best, self.best_epoch, self.waited = value, trainer.current_epoch, 0
        else:
            self.waited += 1
        self._judge(trainer)

    def _judge(self, trainer):
        if self.waited >= max(self.patience, 1):
            trainer.stop(
                f"{self._monitored(trainer)} has not become better than {self.best:.4f}, of epoch {self.best_epoch}, "
                f"in {self.waited} epochs"
            )

    def _monitored(self, trainer):
        return self.monitor or trainer.monitor

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        found = checked_dict(state_dict, "state_dict", {"best": float, "best_epoch": int, "waited": int})
        for name in ("best_epoch", "waited"):
            integer(found[name], name, 0)
        self.__dict__.update(found)


MONITORED = ("loss", "accuracy", "val_loss", "val_accuracy", "test_accuracy")


def measure(name, argument="monitor"):
    """Return the name of a measure that can be monitored."""
    return choice(name, argument, MONITORED)


def direction(name):
    """Return whether lower ('min') or higher ('max') is better."""
    return "max" if name.endswith("accuracy") else "min"


def is_better(value, best, mode, min_delta=0.0):
    """Say whether a measure is better than the best, which is NaN before the first; NaN is never better."""
    if math.isnan(value):
        return False
    return math.isnan(best) or (value < best - min_delta if mode == "min" else value > best + min_delta)
