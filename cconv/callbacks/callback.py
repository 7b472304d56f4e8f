"""What all callbacks share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._showing import shown

if TYPE_CHECKING:
    from ..trainer import Trainer

__all__ = ["Callback"]


class Callback:
    """Listen to a training: each method is called with the `Trainer`, and does nothing unless it is overridden.

    A Trainer refuses one with a method ``on_...`` that is none of these, or that cannot be called so.

    Callbacks are called in their order; `Checkpoints` come last, so that a checkpoint holds what the others know by
    then. One that keeps something between the calls that a training which is resumed must know returns it from
    `state_dict` and takes it back in `load_state_dict`. An exception out of a callback ends the training; the step or
    the epoch that it belongs to is counted then.

    Examples
    --------
    >>> class PrintLoss(cconv.callbacks.Callback):
    ...     def on_epoch_end(self, trainer):
    ...         print(f"epoch {trainer.current_epoch}: {len(trainer.history.step_loss)} steps")
    >>> (x, t), _ = cconv.load_synthetic_digits(200, 50, flatten=False)
    >>> trainer = cconv.Trainer(cconv.SimpleConvNet(seed=0), x, t, epochs=2, verbose=False, callbacks=[PrintLoss()])
    >>> trainer.train()
    epoch 1: 2 steps
    epoch 2: 4 steps
    """

    def __repr__(self) -> str:
        return shown(self)

    def on_train_begin(self, trainer: Trainer) -> None:
        """Called when `train` begins, also when it goes on."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Called before the first step of an epoch, and of what is left of one that was begun before."""

    def on_step_end(self, trainer: Trainer) -> None:
        """Called after each step: its loss is ``trainer.history.step_loss[-1]``."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Called after an epoch's measures were recorded: they are in `trainer.history`."""

    def on_train_end(self, trainer: Trainer) -> None:
        """Called when `train` has come to its end, or was told to stop."""

    def on_interrupt(self, trainer: Trainer) -> None:
        """Called in place of `on_train_end` when an exception, Ctrl-C among them, ends `train`."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a training that is resumed needs, as a dict of JSON values, arrays and dicts of these."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned.

        Raises
        ------
        TypeError, ValueError
            If it is none of that; nothing changes then.
        """
        if state_dict:
            got = ", ".join(map(str, state_dict))
            raise ValueError(f"state_dict of {type(self).__name__} must be empty, got {got}")
