"""Records of a training in files that other programs read."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._checks import checked_dict
from .._extras import require
from .._files import expect_writable, path_of, write
from .._typing import FileName
from .callback import Callback

if TYPE_CHECKING:
    from ..trainer import Trainer

__all__ = ["CSVLog", "JSONLinesLog", "LearningRateLog", "TensorBoardLog"]


class CSVLog(Callback):
    """Keep a CSV file of the training's history: a line for each epoch.

    The file is written whole after each epoch, so that a training that is resumed leaves no line twice.

    Parameters
    ----------
    file_name : str, bytes or path

    Raises
    ------
    TypeError, ValueError
        If no file can have that name.
    OSError
        If the file cannot be written: where that is plain, when the training begins.

    Examples
    --------
    >>> cconv.callbacks.CSVLog("history.csv").file_name
    'history.csv'
    """

    def __init__(self, file_name: FileName) -> None:
        self.file_name = path_of(file_name)

    def on_train_begin(self, trainer: Trainer) -> None:
        expect_writable(self.file_name)

    def on_epoch_end(self, trainer: Trainer) -> None:
        trainer.history.to_csv(self.file_name)


class JSONLinesLog(Callback):
    """Keep a file with a JSON object in a line for each epoch.

    The file is written whole after each epoch, so that a training that is resumed leaves no line twice. A measure that
    is not finite is null.

    Parameters
    ----------
    file_name : str, bytes or path

    Raises
    ------
    TypeError, ValueError
        If no file can have that name.
    OSError
        If the file cannot be written: where that is plain, when the training begins.

    Examples
    --------
    >>> cconv.callbacks.JSONLinesLog("history.jsonl").file_name
    'history.jsonl'
    """

    def __init__(self, file_name: FileName) -> None:
        self.file_name = path_of(file_name)

    def on_train_begin(self, trainer: Trainer) -> None:
        expect_writable(self.file_name)

    def on_epoch_end(self, trainer: Trainer) -> None:
        rows = trainer.history.rows()
        lines = [{name: value if abs(value) < float("inf") else None for name, value in row.items()} for row in rows]
        write(self.file_name, "".join(f"{json.dumps(line)}\n" for line in lines).encode())


class LearningRateLog(Callback):
    """Keep the learning rate of each step.

    Attributes
    ----------
    lr : list of float

    Examples
    --------
    >>> (x, t), _ = cconv.load_synthetic_digits(200, 50, flatten=False)
    >>> log = cconv.callbacks.LearningRateLog()
    >>> halving = lambda optimizer: cconv.StepDecay(optimizer, steps=1, gamma=0.5)
    >>> trainer = cconv.Trainer(cconv.SimpleConvNet(seed=0), x, t, epochs=2, schedule=halving, verbose=False,
    ...                         callbacks=[log])
    >>> trainer.train()
    >>> log.lr
    [0.01, 0.01, 0.005, 0.005]
    """

    def __init__(self) -> None:
        self.lr: list[float] = []

    def on_train_begin(self, trainer: Trainer) -> None:
        if not trainer.current_iter:  # what it knows is of another training
            self.lr = []

    def on_step_end(self, trainer: Trainer) -> None:
        self.lr.append(trainer.step_lr)

    def state_dict(self) -> dict[str, Any]:
        return {"lr": list(self.lr)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        found = checked_dict(state_dict, "state_dict", {"lr": list})
        if not all(isinstance(value, float) for value in found["lr"]):
            raise TypeError("lr must be a list of float")
        self.lr = found["lr"]


class TensorBoardLog(Callback):
    """Write a training's measures for TensorBoard, with tensorboardX: losses of steps, and the history of epochs.

    Parameters
    ----------
    folder : str, bytes or path
        Where the event files go, which TensorBoard is shown by ``--logdir``.

    Raises
    ------
    TypeError, ValueError
        If no folder can have that name.
    ImportError
        Without tensorboardX, when the training begins: ``pip install 'cconv[tensorboard]'``.

    Examples
    --------
    >>> cconv.callbacks.TensorBoardLog("runs").folder
    'runs'
    """

    _files = itertools.count()

    def __init__(self, folder: FileName) -> None:
        self.folder = path_of(folder, "folder")
        self._writer: Any = None
        self._process: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_writer": None}  # a copy, or what comes out of a pickle, has no thread that writes

    def on_train_begin(self, trainer: Trainer) -> None:
        # What a training that was killed has written past its last checkpoint is not shown.
        self._open(purge_step=trainer.current_iter + 1 if trainer.current_iter else None)

    def on_step_end(self, trainer: Trainer) -> None:
        writer = self._open()
        writer.add_scalar("step/loss", trainer.history.step_loss[-1], trainer.current_iter)
        writer.add_scalar("step/lr", trainer.step_lr, trainer.current_iter)

    def on_epoch_end(self, trainer: Trainer) -> None:
        writer = self._open()
        for name, value in trainer.history.rows()[-1].items():
            if name != "epoch":
                writer.add_scalar(f"epoch/{name}", value, trainer.current_iter)

    def on_train_end(self, trainer: Trainer) -> None:
        self._close()

    on_interrupt = on_train_end

    def _open(self, purge_step=None):
        """Return the writer; a new one where there is none, or that of the process from which this one was forked."""
        if self._writer is None or self._process != os.getpid():
            writer = require("tensorboardX", "TensorBoardLog", extra="tensorboard").SummaryWriter
            # tensorboardX calls a file after the second, and writes over one that has that name already.
            suffix = f".{os.getpid()}.{next(self._files):06}"
            self._writer = writer(self.folder, purge_step=purge_step, filename_suffix=suffix)
            self._process = os.getpid()
        return self._writer

    def _close(self):
        if self._writer is not None and self._process == os.getpid():
            self._writer.close()
        self._writer = None
