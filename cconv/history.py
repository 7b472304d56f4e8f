"""What a training has recorded, epoch by epoch and step by step."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ._checks import checked_dict, choice
from ._files import path_of, write
from ._typing import FileName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["History"]

COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy", "test_accuracy", "lr", "seconds")


class History:
    """The record of a training: a list per measure, with a value for each epoch.

    A list stays empty where there is nothing to measure: `val_loss` without validation data, or the accuracies of a
    regression.

    Attributes
    ----------
    loss : list of float
        The mean of the losses of an epoch's steps, each counted by the number of its samples, or the sum of their
        weights.
    accuracy, test_accuracy : list of float
        On training and test data, at the end of the epoch.
    val_loss, val_accuracy : list of float
        On the validation data.
    lr : list of float
        The learning rate of the epoch's last step.
    seconds : list of float
        How long the epoch took, measuring included.
    step_loss : list of float
        The loss of each step.

    Examples
    --------
    >>> history = History()
    >>> history.record(loss=0.7, lr=0.1, seconds=2.0)
    >>> history.record(loss=0.5, lr=0.1, seconds=2.5)
    >>> len(history), history.loss, history.last("loss")
    (2, [0.7, 0.5], 0.5)
    """

    loss: list[float]
    accuracy: list[float]
    test_accuracy: list[float]
    val_loss: list[float]
    val_accuracy: list[float]
    lr: list[float]
    seconds: list[float]
    step_loss: list[float]

    def __init__(self) -> None:
        for name in (*COLUMNS, "step_loss"):
            setattr(self, name, [])

    def __len__(self) -> int:
        return len(self.lr)

    def __repr__(self) -> str:
        if not len(self):
            return f"History({len(self.step_loss)} steps)"
        measures = [f"{name} {value:.4g}" for name, value in self.rows()[-1].items() if name != "epoch"]
        return f"History({len(self)} epochs: {', '.join(measures)})"

    def _repr_html_(self):
        """Return the curves for a notebook; without matplotlib there are none, and it shows the repr."""
        from .plotting import plot_history
        from .plotting._figures import headless, inline

        try:
            with headless():
                return inline(plot_history(self), repr(self), "svg")
        except ImportError:
            return None

    def record(self, **values: float) -> None:
        """Append the measures of an epoch.

        Raises
        ------
        TypeError
            If there is no list for one of them.
        """
        unknown = values.keys() - set(COLUMNS)
        if unknown:
            raise TypeError(f"values must be of {', '.join(COLUMNS)}, got {', '.join(sorted(unknown))}")
        for name, value in values.items():
            getattr(self, name).append(float(value))

    def last(self, name: str) -> float | Any:
        """Return the latest value of a measure, None where there is none.

        Raises
        ------
        ValueError
            If there is no list of that name.
        """
        choice(name, "name", (*COLUMNS, "step_loss"))
        values = getattr(self, name)
        return values[-1] if values else None

    def rows(self) -> list[dict[str, Any]]:
        """Return a dict for each epoch: its number, counted from 1, and what was measured."""
        names = [name for name in COLUMNS if len(getattr(self, name)) == len(self)]
        return [{"epoch": n + 1, **{name: getattr(self, name)[n] for name in names}} for n in range(len(self))]

    def to_csv(self, file_name: FileName) -> None:
        """Write a line for each epoch, under a line of names; all of it or nothing.

        Parameters
        ----------
        file_name : str, bytes or path

        Raises
        ------
        TypeError, ValueError
            If no file can have that name.
        OSError
            If the file cannot be written.
        """
        path = path_of(file_name)
        rows = self.rows()
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else ["epoch"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write(path, text.getvalue().encode())

    @classmethod
    def from_csv(cls, file_name: FileName) -> Self:
        """Return the history that a file of `to_csv` holds; the losses of steps are not in it.

        Parameters
        ----------
        file_name : str, bytes or path

        Returns
        -------
        History

        Raises
        ------
        OSError
            If the file cannot be read.
        TypeError, ValueError
            If no file can have that name, or it is none of a history.
        """
        path, history = path_of(file_name), cls()
        with open(path, encoding="utf-8", newline="") as file:
            try:
                reader = csv.DictReader(file, strict=True)
                names = reader.fieldnames or []
                unknown = set(names) - {"epoch", *COLUMNS}
                if names[:1] != ["epoch"] or unknown or (names[1:] and "lr" not in names):
                    raise ValueError(f"its columns are {names}")
                for number, row in enumerate(reader, 1):
                    if None in row or int(row.pop("epoch")) != number:
                        raise ValueError(f"line {number + 1} is not that of epoch {number}")
                    history.record(**row)  # type: ignore[arg-type]  # which makes numbers of them
            except (TypeError, ValueError, csv.Error) as error:
                raise ValueError(f"{path} does not hold a history: {error}") from None
        return history

    def plot(self, *, file_name: FileName | None = None) -> Figure:
        """Draw the losses and the accuracies over the epochs, side by side.

        Parameters
        ----------
        file_name : str or path, keyword only
            Where to save the picture. Without it, it is shown as `plot_accuracy` shows one.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from .plotting import plot_history

        return plot_history(self, file_name=file_name)

    def state_dict(self) -> dict[str, Any]:
        """Return the lists as arrays of float64."""
        return {name: np.array(values, np.float64) for name, values in vars(self).items()}

    def checked_state(self, state_dict: Mapping[str, Any], steps: int, epochs: int, measured: Iterable[str]) -> Any:
        """Return the lists that `state_dict` holds, of so many steps and epochs; only `measured` ones have values.

        Raises
        ------
        TypeError, ValueError
            If it holds something else.
        """
        found = checked_dict(state_dict, "history", dict.fromkeys(vars(self), np.ndarray))
        for name, values in found.items():
            length = steps if name == "step_loss" else epochs * (name in measured)
            if values.shape != (length,) or values.dtype != np.float64:
                raise ValueError(
                    f"history must have recorded {length} values of {name}, in float64, got {values.dtype} of shape "
                    f"{values.shape}"
                )
        return {name: values.tolist() for name, values in found.items()}
