"""Checkpoints of a training in a folder, of which the latest are kept."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from .._files import expect_writable, path_of, remove_leftovers
from .._typing import FileName
from ..geometry import integer
from .callback import Callback

if TYPE_CHECKING:
    from ..trainer import Trainer

__all__ = ["Checkpoints"]

NAME = re.compile(r"checkpoint-(\d{9,})\.safetensors")


class Checkpoints(Callback):
    """Write a checkpoint now and then, and keep the latest of them, and that of the best epoch.

    A file is called after its number of steps: ``checkpoint-000001200.safetensors``. It appears under its name only
    when it is complete, so that a training that is killed at any instant goes on from the latest one. One is also
    written when Ctrl-C or another exception ends the training between two of them.

    Parameters
    ----------
    folder : str, bytes or path
        Made when it is not there.
    every : int, optional, keyword only
        Steps between two checkpoints. Each epoch ends with one when not given.
    keep : int, default 3, keyword only
        How many of the latest stay, beside that of the best epoch.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> cconv.callbacks.Checkpoints("run1", keep=2).latest() is None
    True
    """

    def __init__(self, folder: FileName, *, every: int | None = None, keep: int = 3) -> None:
        self.folder = path_of(folder, "folder")
        self.every = every if every is None else integer(every, "every", 1)
        self.keep = integer(keep, "keep", 1)

    def latest(self) -> str | None:
        """Return the path of the checkpoint with the most steps, None where there is none."""
        steps = self._steps()
        return self._path(steps[-1]) if steps else None

    def on_train_begin(self, trainer: Trainer) -> None:
        os.makedirs(self.folder, exist_ok=True)
        expect_writable(self._path(trainer.current_iter))
        remove_leftovers(self.folder)

    def on_step_end(self, trainer: Trainer) -> None:
        # At the end of an epoch on_epoch_end follows, and knows more.
        if self.every is not None and trainer.current_iter % self.every == 0 and not trainer.epoch_is_complete:
            self.save(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        is_best = trainer.best_epoch == trainer.current_epoch
        if self.every is None or trainer.current_iter % self.every == 0 or is_best:
            self.save(trainer)

    def on_interrupt(self, trainer: Trainer) -> None:
        if trainer.current_iter and not os.path.exists(self._path(trainer.current_iter)):
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write a checkpoint, and remove those that are not kept any more."""
        trainer.save_checkpoint(self._path(trainer.current_iter))
        best = trainer.best_epoch * trainer.iter_per_epoch
        for step in self._steps()[: -self.keep]:
            if step != best:
                with suppress(FileNotFoundError):
                    os.unlink(self._path(step))

    def _path(self, step):
        return os.path.join(self.folder, f"checkpoint-{step:09}.safetensors")

    def _steps(self):
        """Return the numbers of steps of the checkpoints that are there, in order."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return sorted(int(match[1]) for match in map(NAME.fullmatch, names) if match)
