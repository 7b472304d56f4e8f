"""A running mean of parameters, which often does better than the last of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import kernels
from ._arrays import is_parameter, made_ready
from ._checks import checked_dict, flag, fraction, mapping
from ._showing import shown
from ._typing import Array
from .geometry import integer
from .optimizers import Numbers

__all__ = ["ExponentialMovingAverage"]

# Nanoseconds that one thread takes for one value, roughly: it only decides when a second thread pays.
# A fit: `python -m benchmarks.tune --only costs`.
COST = 0.15


class ExponentialMovingAverage:
    r"""An exponential moving average of parameters (Polyak and Juditsky, SIAM J. Control Optim. 30, 1992).

    .. math:: a \leftarrow a + (1 - d_n)(p - a), \qquad d_n = \min\left(decay, \frac{1 + n}{10 + n}\right)

    where n updates went before, so that an average is not the initial parameters for long; without warm-up,
    :math:`d_n = decay`.

    It begins at the parameters as they are; one that comes later, or comes back with another shape or dtype, begins at
    its value then. What layers accumulate beside their parameters (running statistics) is not averaged.

    Parameters
    ----------
    params : mapping of str to ndarray
        A network's `params`, for instance.
    decay : float, default 0.999
    warmup : bool, default True, keyword only
        Whether the first updates decay faster.

    Attributes
    ----------
    averages : dict of str to ndarray
    count : int
        How many updates there were.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not an array of float32 or float64, or the decay is not at least 0 and below 1.

    Examples
    --------
    >>> params = {"W": np.array([1.0, 2.0])}
    >>> average = ExponentialMovingAverage(params, decay=0.75, warmup=False)
    >>> params["W"] += 4
    >>> average.update()
    >>> with average.swapped():
    ...     print(params["W"])
    [2. 3.]
    >>> params["W"]
    array([5., 6.])
    """

    def __init__(self, params: Mapping[str, Array], decay: float = 0.999, *, warmup: bool = True) -> None:
        self.params = mapping(params, "params")
        self.decay = fraction(decay, "decay")
        self.warmup = flag(warmup, "warmup")
        self.reset()

    def __repr__(self) -> str:
        return shown(self, hidden=["params"])

    def reset(self) -> None:
        """Begin again at the parameters as they are.

        Raises
        ------
        TypeError
            If a parameter is not an array of float32 or float64; nothing changes then.
        """
        self.averages = {name: _native(name, value).copy() for name, value in self.params.items()}
        self.count = 0

    def update(self) -> None:
        """Lead the averages towards the parameters: to be called after each step of the optimizer.

        Raises
        ------
        TypeError, ValueError
            If a parameter is not an array of float32 or float64, or an average is read-only; nothing changes then.
        """
        values = {name: _native(name, value) for name, value in self.params.items()}
        averages, means, targets = {}, [], []
        for name, value in values.items():
            mean = self.averages.get(name)
            if mean is None or (mean.shape, mean.dtype) != (value.shape, value.dtype):
                mean = value.copy()
            else:
                if not mean.flags.writeable:
                    raise ValueError(f"averages[{name!r}] must be writeable, got a read-only array")
                mean = made_ready(mean, value.dtype)
                means.append(mean)
                targets.append(value)
            averages[name] = mean
        threads = kernels.cpu.threads_for(COST * sum(mean.size for mean in means))
        decay = min(self.decay, (1 + self.count) / (10 + self.count)) if self.warmup else self.decay
        numbers: list[Any] = [Numbers(lr=0.0, a=1 - decay)] * len(means)
        # The kernel sets the attributes too: no interrupt comes between an update and its count.
        kept = vars(self), ["averages", "count"]
        states = [averages, self.count + 1]
        kernels.optimize.update("average", means, targets, states, numbers, 1.0, math.inf, threads, *kept)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Put the averages in the place of the parameters for the time of a ``with`` block, in the same arrays.

        Raises
        ------
        ValueError
            If a parameter is read-only, or none that was averaged; nothing changes then.
        """
        held = {}
        for name, value in self.params.items():
            if not value.flags.writeable:
                raise ValueError(f"params[{name!r}] must be writeable, got a read-only array")
            if name not in self.averages or self.averages[name].shape != value.shape:
                raise ValueError(f"params[{name!r}] has no average of its shape {value.shape}: call update() first")
            held[name] = value, value.copy()
        try:
            for name, (value, _) in held.items():
                value[...] = self.averages[name]
            yield
        finally:
            for value, old in held.values():
                value[...] = old

    def state_dict(self) -> dict[str, Any]:
        """Return the settings, the count, and copies of the averages."""
        averages = {name: mean.copy() for name, mean in self.averages.items()}
        return {"decay": self.decay, "warmup": self.warmup, "count": self.count, "averages": averages}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken.

        Raises
        ------
        TypeError, ValueError
            If it does not hold an average for each parameter, of its shape and dtype; nothing changes then.
        """
        self.__dict__.update(self.checked_state(state_dict))

    def checked_state(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes that `load_state_dict` would set.

        Raises
        ------
        TypeError, ValueError
            As `load_state_dict`.
        """
        entries = {"decay": float, "warmup": bool, "count": int, "averages": dict}
        found = checked_dict(state_dict, "state_dict", entries)
        decay, count = fraction(found["decay"], "decay"), integer(found["count"], "count", 0)
        kinds = dict.fromkeys(self.params, np.ndarray)
        averages = checked_dict(found["averages"], "averages", kinds)
        for name, value in self.params.items():
            mean, value = averages[name], _native(name, value)
            if mean.shape != value.shape or mean.dtype != value.dtype:
                raise ValueError(
                    f"averages[{name!r}] must have shape {value.shape} and hold {value.dtype}, got {mean.shape} of "
                    f"{mean.dtype}"
                )
            averages[name] = np.array(mean, order="C")
        return {"decay": decay, "warmup": found["warmup"], "count": count, "averages": averages}


def _native(name, value):
    """Return a parameter, or a copy of it, as the kernels take it."""
    dtype = getattr(value, "dtype", None)
    if not is_parameter(value) or dtype.kind != "f" or dtype.itemsize not in (4, 8):
        raise TypeError(f"params[{name!r}] must be a float32 or float64 array, got {dtype or type(value).__name__}")
    return made_ready(value, dtype.newbyteorder("="))
