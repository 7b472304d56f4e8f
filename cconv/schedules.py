"""Schedules of the learning rate: an object whose `step()` sets `optimizer.lr`."""

from __future__ import annotations

import bisect
import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ._arrays import number
from ._checks import checked_dict, choice, fraction, nonnegative, positive, share
from ._showing import shown
from .geometry import integer
from .optimizers import Optimizer

__all__ = ["CosineDecay", "ExponentialDecay", "OneCycle", "ReduceOnPlateau", "Schedule", "StepDecay"]


class Schedule:
    """What all schedules share: they count steps and set the learning rate that belongs to the count.

    The learning rate is that of step 0 as soon as the schedule is made; `step()` goes on by one. It is computed anew
    from the count, so what is assigned to `optimizer.lr` meanwhile lasts until the next step. A subclass names its
    hyperparameters in `setting_names` and writes `learning_rate()`; one that counts more than steps names that in
    `progress`, and sets it back in `reset()`.

    Parameters
    ----------
    optimizer : Optimizer
        Its `lr` when the schedule is made is `base_lr`.
    every : {'epoch', 'step'}, keyword only
        When a `Trainer` calls `step()`: at the end of each epoch, or after each step of the optimizer. Whoever writes
        the loop calls `step()` when it is time.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> class Halving(Schedule):
    ...     def learning_rate(self):
    ...         return self.base_lr / 2**self.count
    >>> optimizer = SGD(lr=1.0)
    >>> Halving(optimizer).step()
    >>> optimizer.lr
    0.5
    """

    setting_names: tuple[str, ...] = ()
    progress: dict[str, type] = {"base_lr": float, "count": int}
    takes_metric = False

    def __init__(self, optimizer: Optimizer, *, every: Literal["epoch", "step"] = "epoch") -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.every = choice(every, "every", ("epoch", "step"))
        self.base_lr = float(optimizer.lr)
        self.count = 0

    def __repr__(self) -> str:
        return shown(self)

    def learning_rate(self) -> float:
        """Return the learning rate after `count` steps."""
        raise NotImplementedError(f"{type(self).__name__} must define learning_rate()")

    def step(self) -> None:
        """Count one step, and set the learning rate of the next."""
        self.count += 1
        self.apply()

    def reset(self) -> None:
        """Begin again: go back to step 0, and set the learning rate of it."""
        self.count = 0
        self.apply()

    def apply(self) -> None:
        """Set what the schedule governs to what belongs to the count."""
        self.optimizer.lr = self.learning_rate()

    def state_dict(self) -> dict[str, Any]:
        """Return where the schedule is, and what it is, as a dict of JSON values."""
        names = ("every", *self.setting_names)
        return {
            "type": type(self).__name__,
            "settings": {name: getattr(self, name) for name in names},
            "progress": {name: getattr(self, name) for name in self.progress},
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, and set the learning rate.

        Raises
        ------
        TypeError, ValueError
            If it is of another kind of schedule or has other settings, or is damaged; nothing changes then.
        """
        self.__dict__.update(self.checked_state(state_dict))
        self.apply()

    def checked_state(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes that `load_state_dict` would set.

        Raises
        ------
        TypeError, ValueError
            As `load_state_dict`.
        """
        found = checked_dict(state_dict, "state_dict", {"type": str, "settings": dict, "progress": dict})
        own = self.state_dict()
        if found["type"] != own["type"]:
            raise ValueError(f"state_dict must be of {own['type']}, got one of {found['type']}")
        settings = checked_dict(found["settings"], "settings", dict.fromkeys(own["settings"], object))
        for name, value in own["settings"].items():
            if not isinstance(settings[name], type(value)) or settings[name] != value:
                raise ValueError(f"{name} must be {value} as here, got {settings[name]}")
        progress = checked_dict(found["progress"], "progress", self.progress)
        for name, kind in self.progress.items():
            if kind is int:
                integer(progress[name], name, 0)
            elif kind is float and math.isnan(progress[name]):
                raise ValueError(f"{name} must be a number, got nan")
        nonnegative(progress["base_lr"], "base_lr")
        twin = copy.copy(self)
        twin.__dict__.update(progress)
        try:
            nonnegative(twin.learning_rate(), "the learning rate")
        except OverflowError as error:  # of a power
            raise ValueError(f"progress must lead to a learning rate, got {progress}: {error}") from None
        return progress


class StepDecay(Schedule):
    r"""Multiply the learning rate by gamma now and then.

    .. math:: lr = base\_lr \cdot \gamma^{k}, \qquad k = \lfloor count / steps \rfloor

    or, for a sequence of steps, k = how many of them are at most count.

    Parameters
    ----------
    optimizer : Optimizer
    steps : int or sequence of ints
        After how many steps each, or after which.
    gamma : float, default 0.1
    every : {'epoch', 'step'}, keyword only
        What a step is for a `Trainer`; 'epoch' when not given.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> optimizer = SGD(lr=1.0)
    >>> schedule = StepDecay(optimizer, [2, 3], gamma=0.5)
    >>> for _ in range(4):
    ...     print(optimizer.lr, end=" ")
    ...     schedule.step()
    1.0 1.0 0.5 0.25
    """

    setting_names = ("steps", "gamma")

    def __init__(
        self,
        optimizer: Optimizer,
        steps: int | Iterable[int],
        gamma: float = 0.1,
        *,
        every: Literal["epoch", "step"] = "epoch",
    ) -> None:
        super().__init__(optimizer, every=every)
        if isinstance(steps, Iterable) and getattr(steps, "ndim", True):
            self.steps: list[int] | int = sorted(integer(step, "steps", 1) for step in steps)
        else:
            self.steps = integer(steps, "steps", 1)
        self.gamma = positive(gamma, "gamma")
        self.apply()

    def learning_rate(self) -> float:
        if isinstance(self.steps, int):
            return self.base_lr * self.gamma ** (self.count // self.steps)
        return self.base_lr * self.gamma ** bisect.bisect_right(self.steps, self.count)


class ExponentialDecay(Schedule):
    r"""Multiply the learning rate by gamma at each step.

    .. math:: lr = base\_lr \cdot \gamma^{count}

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
    every : {'epoch', 'step'}, keyword only
        What a step is for a `Trainer`; 'epoch' when not given.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> optimizer = SGD(lr=1.0)
    >>> schedule = ExponentialDecay(optimizer, 0.5)
    >>> schedule.step()
    >>> optimizer.lr
    0.5
    """

    setting_names = ("gamma",)

    def __init__(self, optimizer: Optimizer, gamma: float, *, every: Literal["epoch", "step"] = "epoch") -> None:
        super().__init__(optimizer, every=every)
        self.gamma = positive(gamma, "gamma")
        self.apply()

    def learning_rate(self) -> float:
        return self.base_lr * self.gamma**self.count


class CosineDecay(Schedule):
    r"""Let the learning rate fall along half a cosine (arXiv 1608.03983), after a linear warm-up (arXiv 1706.02677).

    .. math:: lr = \begin{cases} base\_lr\,(f + (1 - f)\, count / w) & count < w \\
        min\_lr + \frac12 (base\_lr - min\_lr) \left(1 + \cos \pi \frac{count - w}{total - w}\right) & \text{else}
        \end{cases}

    with w = warmup, f = warmup_factor; min_lr after total_steps.

    Parameters
    ----------
    optimizer : Optimizer
    total_steps : int
        More than `warmup`.
    min_lr : float, default 0.0
    warmup : int, default 0, keyword only
        How many steps the learning rate rises.
    warmup_factor : float, default 0.1, keyword only
        Where it begins to, as a share of base_lr.
    every : {'epoch', 'step'}, keyword only
        What a step is for a `Trainer`; 'step' when not given.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> optimizer = SGD(lr=1.0)
    >>> schedule = CosineDecay(optimizer, 6, warmup=2, warmup_factor=0.5)
    >>> for _ in range(7):
    ...     print(round(optimizer.lr, 3), end=" ")
    ...     schedule.step()
    0.5 0.75 1.0 0.854 0.5 0.146 0.0
    """

    setting_names = ("total_steps", "min_lr", "warmup", "warmup_factor")

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int,
        min_lr: float = 0.0,
        *,
        warmup: int = 0,
        warmup_factor: float = 0.1,
        every: Literal["epoch", "step"] = "step",
    ) -> None:
        super().__init__(optimizer, every=every)
        self.warmup = integer(warmup, "warmup", 0)
        self.total_steps = integer(total_steps, "total_steps", self.warmup + 1)
        self.min_lr = nonnegative(min_lr, "min_lr")
        self.warmup_factor = nonnegative(warmup_factor, "warmup_factor")
        self.apply()

    def learning_rate(self) -> float:
        if self.count < self.warmup:
            return self.base_lr * (self.warmup_factor + (1 - self.warmup_factor) * self.count / self.warmup)
        share = (self.count - self.warmup) / (self.total_steps - self.warmup)
        return _cosine(self.base_lr, self.min_lr, min(share, 1.0))


class OneCycle(Schedule):
    r"""Let the learning rate rise to its highest and fall far below where it began, once (arXiv 1708.07120).

    It goes along half a cosine from max_lr / start_divisor at step 0 to max_lr at step rise * total_steps - 1, and
    along another to max_lr / (start_divisor * end_divisor) at step total_steps - 1, where it stays. The momentum goes
    the other way round.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float
    total_steps : int
    rise : float, default 0.3, keyword only
        The share of the steps during which the learning rate rises.
    start_divisor : float, default 25.0, keyword only
    end_divisor : float, default 1e4, keyword only
    momentum : pair of floats, optional, keyword only
        The lowest and the highest momentum: of `optimizer.momentum`, or of `optimizer.beta1`. Left alone if not given.
    every : {'epoch', 'step'}, keyword only
        What a step is for a `Trainer`; 'step' when not given.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> optimizer = SGD()
    >>> schedule = OneCycle(optimizer, 1.0, 5, rise=0.6, start_divisor=2, end_divisor=5)
    >>> for _ in range(5):
    ...     print(round(optimizer.lr, 3), end=" ")
    ...     schedule.step()
    0.5 0.75 1.0 0.55 0.1
    """

    setting_names = ("max_lr", "total_steps", "rise", "start_divisor", "end_divisor", "momentum")

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int,
        *,
        rise: float = 0.3,
        start_divisor: float = 25.0,
        end_divisor: float = 1e4,
        momentum: tuple[float, float] | None = None,
        every: Literal["epoch", "step"] = "step",
    ) -> None:
        super().__init__(optimizer, every=every)
        self.max_lr = positive(max_lr, "max_lr")
        self.total_steps = integer(total_steps, "total_steps", 1)
        self.rise = share(rise, "rise")
        self.start_divisor = positive(start_divisor, "start_divisor")
        self.end_divisor = positive(end_divisor, "end_divisor")
        self.momentum = None
        if momentum is not None:
            if not isinstance(momentum, (tuple, list)) or len(momentum) != 2:
                raise TypeError(f"momentum must be a pair of numbers or None, got {momentum!r}")
            low, high = momentum
            self.momentum = [fraction(low, "momentum"), fraction(high, "momentum")]
            if self._momentum_name() is None:
                raise ValueError(f"momentum must be None, as {type(optimizer).__name__} has none; got {momentum}")
        self.apply()

    def _momentum_name(self):
        return next((name for name in ("momentum", "beta1") if hasattr(self.optimizer, name)), None)

    def learning_rate(self) -> float:
        start = self.max_lr / self.start_divisor
        return self._between(start, self.max_lr, start / self.end_divisor)

    def _between(self, start, top, end):
        """Return where the cycle is on the way from start to top to end."""
        turn, last = self.rise * self.total_steps - 1, self.total_steps - 1
        count = min(self.count, last)
        if count <= turn:
            return _cosine(start, top, count / turn if turn else 1.0)
        return _cosine(top, end, (count - turn) / (last - turn))

    def apply(self) -> None:
        super().apply()
        if self.momentum is not None:
            low, high = self.momentum
            setattr(self.optimizer, self._momentum_name(), self._between(high, low, high))


class ReduceOnPlateau(Schedule):
    r"""Multiply the learning rate by a factor when a measure has not become better for a while.

    Better is below best - threshold * abs(best), or above best + threshold * abs(best) where higher is better: a
    measure that stays the same is not better, whatever its sign.

    Parameters
    ----------
    optimizer : Optimizer
    factor : float, default 0.1
        Below 1.
    patience : int, default 10
        How many steps without betterment are put up with.
    mode : {'min', 'max'}, keyword only
        Whether a lower or a higher measure is better; 'min' when not given.
    threshold : float, default 1e-4, keyword only
    cooldown : int, default 0, keyword only
        How many steps after a reduction do not count.
    min_lr : float, default 0.0, keyword only

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Notes
    -----
    A `Trainer` calls ``step(metric)`` at the end of each epoch with the mean of its training losses.

    Examples
    --------
    >>> optimizer = SGD(lr=1.0)
    >>> schedule = ReduceOnPlateau(optimizer, 0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.5, 2.5):
    ...     schedule.step(loss)
    >>> optimizer.lr
    0.5
    """

    setting_names = ("factor", "patience", "mode", "threshold", "cooldown", "min_lr")
    progress = {"base_lr": float, "count": int, "best": float, "bad": int, "resting": int, "reductions": int}
    takes_metric = True

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 0.1,
        patience: int = 10,
        *,
        mode: Literal["min", "max"] = "min",
        threshold: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(optimizer)
        self.factor = fraction(factor, "factor")
        self.patience = integer(patience, "patience", 0)
        self.mode = choice(mode, "mode", ("min", "max"))
        self.threshold = nonnegative(threshold, "threshold")
        self.cooldown = integer(cooldown, "cooldown", 0)
        self.min_lr = nonnegative(min_lr, "min_lr")
        self.reset()

    def reset(self) -> None:
        self.best = math.inf if self.mode == "min" else -math.inf
        self.bad = 0
        self.resting = 0
        self.reductions = 0
        super().reset()

    def learning_rate(self) -> float:
        if self.reductions == 0:
            return self.base_lr
        return max(self.base_lr * self.factor**self.reductions, self.min_lr)

    def step(self, metric: float) -> None:  # type: ignore[override]  # which `takes_metric` says
        """Take note of a measure; a NaN is no betterment."""
        metric = number(metric, "metric", finite=False)
        margin = self.threshold * abs(self.best) if math.isfinite(self.best) else 0.0
        better = metric < self.best - margin if self.mode == "min" else metric > self.best + margin
        self.bad = 0 if better else self.bad + 1
        self.best = metric if better else self.best
        if self.resting:
            self.resting -= 1
            self.bad = 0
        if self.bad > self.patience:
            self.reductions += 1
            self.resting = self.cooldown
            self.bad = 0
        super().step()


def _cosine(start, end, share):
    """Return where half a cosine is after this share of its way."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
