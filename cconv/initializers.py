"""Where weights begin: objects called as ``init(shape, fan_in, fan_out, rng, dtype)`` that return a new array.

Layers take one as `init`, or one of these names: 'he' (also 'relu'), 'he_uniform', 'xavier', 'xavier_uniform',
'sigmoid' (the chapter's sqrt(1 / fan_in)), 'orthogonal', 'zeros' and 'ones'; a number is the standard deviation of
`Normal`. One's own needs no base class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from ._arrays import number
from ._checks import choice, nonnegative
from ._typing import Floats, Gain, Init, Rng, Shape

__all__ = ["Constant", "He", "Initializer", "Normal", "Orthogonal", "TruncatedNormal", "Xavier", "get"]

# Keeps the variance of the activations behind each function, as a factor of the standard deviation; as in PyTorch.
GAINS = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "leaky_relu": math.sqrt(2 / (1 + 0.01**2)),  # with a slope of 0.01
}


def _gain(activation):
    """Return the gain of an activation's name, or a number as it is."""
    if isinstance(activation, str):
        if activation not in GAINS:
            raise ValueError(f"gain must be a number or one of {sorted(GAINS)}, got {activation!r}")
        return GAINS[activation]
    return nonnegative(activation, "gain")


class Initializer:
    """What all initializers share: a subclass writes ``__call__(shape, fan_in, fan_out, rng, dtype)``.

    It returns a new array of that shape and dtype, drawn by the generator rng. fan_in and fan_out say how many values
    each output is a sum of, and how many outputs each input goes into.
    """

    def __call__(self, shape: Shape, fan_in: int, fan_out: int, rng: Rng, dtype: DTypeLike) -> Floats:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape, fan_in, fan_out, rng, dtype)")

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"


class Constant(Initializer):
    """Every value is the same.

    Parameters
    ----------
    value : float, default 0

    Raises
    ------
    TypeError, ValueError
        If `value` is not a finite number.

    Examples
    --------
    >>> Constant(0.5)((2,), 1, 1, None, np.float32)
    array([0.5, 0.5], dtype=float32)
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = number(value, "value")

    def __call__(self, shape: Shape, fan_in: int, fan_out: int, rng: Rng, dtype: DTypeLike) -> Floats:
        return np.full(shape, self.value, dtype)


class Normal(Initializer):
    """Independent normal values of mean 0, as the chapter's networks begin.

    Parameters
    ----------
    std : float, default 0.01

    Raises
    ------
    TypeError, ValueError
        If `std` is not a finite number, or negative.

    Examples
    --------
    >>> Normal(0.0)((2,), 1, 1, np.random.default_rng(0), np.float32).shape
    (2,)
    """

    def __init__(self, std: float = 0.01) -> None:
        self.std = nonnegative(std, "std")

    def __call__(self, shape: Shape, fan_in: int, fan_out: int, rng: Rng, dtype: DTypeLike) -> Floats:
        return (self.std * rng.standard_normal(shape)).astype(dtype)


class TruncatedNormal(Normal):
    """Normal values of mean 0, drawn again where they lie beyond two standard deviations.

    Parameters
    ----------
    std : float, default 0.01
        Before the truncation, which leaves 0.88 of it.

    Raises
    ------
    TypeError, ValueError
        If `std` is not a finite number, or negative.

    Examples
    --------
    >>> bool(np.abs(TruncatedNormal(1.0)((1000,), 1, 1, np.random.default_rng(0), np.float64)).max() <= 2)
    True
    """

    def __call__(self, shape: Shape, fan_in: int, fan_out: int, rng: Rng, dtype: DTypeLike) -> Floats:
        values = rng.standard_normal(shape)
        while (beyond := np.abs(values) > 2).any():
            values[beyond] = rng.standard_normal(int(beyond.sum()))
        return (self.std * values).astype(dtype)


class _Scaled(Initializer):
    """Normal or uniform values whose variance follows the number of inputs, of outputs or both."""

    def __init__(
        self, gain: Gain, mode: Literal["fan_in", "fan_out", "fan_avg"], distribution: Literal["normal", "uniform"]
    ) -> None:
        self.gain = _gain(gain)
        self.mode = choice(mode, "mode", ("fan_in", "fan_out", "fan_avg"))
        self.distribution = choice(distribution, "distribution", ("normal", "uniform"))

    def __call__(self, shape: Shape, fan_in: int, fan_out: int, rng: Rng, dtype: DTypeLike) -> Floats:
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        std = self.gain / math.sqrt(fan)
        if self.distribution == "normal":
            return (std * rng.standard_normal(shape)).astype(dtype)
        bound = math.sqrt(3) * std
        return rng.uniform(-bound, bound, shape).astype(dtype)


class He(_Scaled):
    r"""For relu (He et al., arXiv 1502.01852): standard deviation :math:`gain / \sqrt{fan}`.

    Parameters
    ----------
    mode : {'fan_in', 'fan_out', 'fan_avg'}
    distribution : {'normal', 'uniform'}
    gain : float or {'linear', 'sigmoid', 'tanh', 'relu', 'leaky_relu'}, default 'relu', which is sqrt(2)

    Raises
    ------
    TypeError, ValueError
        If `mode`, `distribution` or `gain` is none of these.

    Examples
    --------
    >>> He()((2, 8), 8, 2, np.random.default_rng(0), np.float32).shape
    (2, 8)
    """

    def __init__(
        self,
        mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in",
        distribution: Literal["normal", "uniform"] = "normal",
        gain: Gain = "relu",
    ) -> None:
        super().__init__(gain, mode, distribution)


class Xavier(_Scaled):
    r"""For sigmoid and tanh (Glorot and Bengio, AISTATS 2010): :math:`gain \sqrt{2 / (fan_{in} + fan_{out})}`.

    Parameters
    ----------
    mode : {'fan_avg', 'fan_in', 'fan_out'}
        'fan_in' is the chapter's sqrt(1 / fan_in).
    distribution : {'normal', 'uniform'}
    gain : float or {'linear', 'sigmoid', 'tanh', 'relu', 'leaky_relu'}, default 1

    Raises
    ------
    TypeError, ValueError
        If `mode`, `distribution` or `gain` is none of these.

    Examples
    --------
    >>> Xavier(distribution="uniform")
    Xavier(gain=1.0, mode='fan_avg', distribution='uniform')
    """

    def __init__(
        self,
        mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_avg",
        distribution: Literal["normal", "uniform"] = "normal",
        gain: Gain = 1.0,
    ) -> None:
        super().__init__(gain, mode, distribution)


class Orthogonal(Initializer):
    """Orthonormal rows or columns, whichever are fewer, times a gain (Saxe et al., arXiv 1312.6120).

    Parameters
    ----------
    gain : float or {'linear', 'sigmoid', 'tanh', 'relu', 'leaky_relu'}, default 1

    Raises
    ------
    TypeError, ValueError
        If `gain` is none of these.

    Notes
    -----
    Weights of more than two dimensions are read as a matrix with one row per filter.

    Examples
    --------
    >>> W = Orthogonal()((2, 3), 3, 2, np.random.default_rng(0), np.float64)
    >>> np.allclose(W @ W.T, np.eye(2))
    True
    """

    def __init__(self, gain: Gain = 1.0) -> None:
        self.gain = _gain(gain)

    def __call__(self, shape: Shape, fan_in: int, fan_out: int, rng: Rng, dtype: DTypeLike) -> Floats:
        rows = shape[0]
        columns = math.prod(shape[1:])
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.sign(np.diag(r))  # makes the distribution uniform over all such matrices
        return (self.gain * (q if rows >= columns else q.T)).reshape(shape).astype(dtype)


NAMES = {
    "he": He(),
    "relu": He(),
    "he_uniform": He(distribution="uniform"),
    "xavier": Xavier(),
    "sigmoid": Xavier("fan_in"),
    "xavier_uniform": Xavier(distribution="uniform"),
    "orthogonal": Orthogonal(),
    "zeros": Constant(0.0),
    "ones": Constant(1.0),
}


def get(init: Init) -> Callable[..., Floats]:
    """Return the initializer of a name, of a standard deviation, or the object as it is.

    Parameters
    ----------
    init : str, float or callable

    Returns
    -------
    Initializer, or the callable

    Raises
    ------
    TypeError, ValueError
        If it is neither, or an unknown name.

    Examples
    --------
    >>> get("he"), get(0.01)
    (He(gain=1.4142135623730951, mode='fan_in', distribution='normal'), Normal(std=0.01))
    """
    if isinstance(init, str):
        if init.lower() not in NAMES:
            raise ValueError(f"init must be a number, an initializer or one of {sorted(NAMES)}, got {init!r}")
        return NAMES[init.lower()]
    if isinstance(init, int | float | np.number) and not isinstance(init, bool):
        return Normal(nonnegative(init, "init"))
    if not callable(init) or isinstance(init, type):
        got = f"the class {init.__name__}" if isinstance(init, type) else type(init).__name__
        raise TypeError(f"init must be a number, a name or an initializer, got {got}")
    return init
