"""Find a learning rate: train with ever larger ones for some steps, and look at the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ._arrays import number
from ._checks import positive
from ._files import path_of
from ._typing import FileName
from .geometry import integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .trainer import Trainer

__all__ = ["LearningRates", "find_learning_rate"]

SMOOTHING = 0.9  # of the moving mean of losses
DIVERGED = 4.0  # times the least loss


class LearningRates:
    """What `find_learning_rate` has found.

    Parameters
    ----------
    lr : list of float
        The learning rate of each step.
    loss : list of float
        The loss of each step, before it was taken.

    Attributes
    ----------
    lr, loss : list of float
    smoothed : list of float
        An exponential moving mean of the losses.
    suggestion : float
        The learning rate at which the smoothed loss falls fastest, over the logarithm of the learning rate.

    Raises
    ------
    TypeError, ValueError
        If lr and loss are not lists of as many numbers, the learning rates positive.

    Examples
    --------
    >>> LearningRates([0.001, 0.01, 0.1], [2.3, 2.0, 1.1]).suggestion
    0.1
    """

    def __init__(self, lr: Sequence[float], loss: Sequence[float]) -> None:
        self.lr = [positive(value, "lr") for value in _list(lr, "lr")]
        self.loss = [number(value, "loss") for value in _list(loss, "loss")]
        if len(self.lr) != len(self.loss) or not self.lr:
            raise ValueError(f"lr and loss must be of one length, above 0, got {len(self.lr)} and {len(self.loss)}")
        self.smoothed, mean = [], 0.0
        for step, value in enumerate(self.loss, 1):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * value
            self.smoothed.append(mean / (1 - SMOOTHING**step))
        slopes = np.gradient(self.smoothed, np.log(self.lr)) if len(self.lr) > 1 else [0.0]
        self.suggestion = self.lr[int(np.argmin(slopes))]

    def __repr__(self) -> str:
        return f"LearningRates({len(self.lr)} steps, suggestion {self.suggestion:.3g})"

    def plot(self, *, file_name: FileName | None = None) -> Figure:
        """Draw the losses over the learning rate, and the suggestion.

        Parameters
        ----------
        file_name : str or path, keyword only
            Where to save the picture. Without it, it is shown as `plot_accuracy` shows one.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from .plotting._figures import figure_of, present

        file_name = None if file_name is None else path_of(file_name)
        figure = figure_of(6.4, 4.0, file_name, "LearningRates.plot")
        axes = figure.add_subplot(xlabel="learning rate", ylabel="loss", xscale="log")
        axes.plot(self.lr, self.loss, alpha=0.4, label="of a step")
        axes.plot(self.lr, self.smoothed, label="smoothed")
        axes.axvline(self.suggestion, color="0.5", linestyle="--", label=f"suggestion {self.suggestion:.2g}")
        axes.grid(alpha=0.3)
        axes.legend()
        return present(figure, file_name, 120, "LearningRates.plot")


def _list(values, name):
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{name} must be a list of numbers, got {type(values).__name__}")
    return values


def find_learning_rate(
    trainer: Trainer, *, lowest: float = 1e-7, highest: float = 1.0, steps: int = 100
) -> LearningRates:
    """Train for some steps with a learning rate that grows from step to step, and see where the loss falls fastest.

    The trainer, its network and its optimizer are afterwards as they were. It ends before `steps` where the loss is no
    number any more, or four times the least.

    Parameters
    ----------
    trainer : Trainer
        One that has begun or not; its data, augmentation and optimizer are used, its schedule is not.
    lowest, highest : float, keyword only
        The learning rates of the first and the last step; those between grow by a constant factor.
    steps : int, default 100, keyword only
        At least 2.

    Returns
    -------
    LearningRates

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.
    FloatingPointError
        If the very first loss is not finite.

    References
    ----------
    L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, arXiv 1506.01186.

    Examples
    --------
    >>> (x, t), _ = cconv.load_synthetic_digits(1000, 100, flatten=False)
    >>> trainer = cconv.Trainer(cconv.SimpleConvNet(seed=0), x, t, optimizer="Adam", seed=0)
    >>> found = cconv.find_learning_rate(trainer, steps=30)
    >>> len(found.lr), trainer.current_iter
    (30, 0)
    """
    from .trainer import Trainer

    if not isinstance(trainer, Trainer):
        raise TypeError(f"trainer must be a Trainer, got {type(trainer).__name__}")
    lowest, highest = positive(lowest, "lowest"), positive(highest, "highest")
    if lowest >= highest:
        raise ValueError(f"lowest must be below highest, got {lowest} and {highest}")
    steps = integer(steps, "steps", 2)
    rates = np.geomspace(lowest, highest, steps).tolist()
    with trainer.trial() as step:
        found: list[float] = []
        losses: list[float] = []
        for lr in rates:
            loss = step(lr)
            if not math.isfinite(loss) or (losses and loss > DIVERGED * min(losses)):
                break
            found.append(lr)
            losses.append(loss)
    if not losses:
        raise FloatingPointError(f"the first loss is {loss}: no learning rate can be found")
    return LearningRates(found, losses)
