"""The activations and their gradients, and softmax, checked at the door and computed by compiled kernels."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import as_array, as_input, number, promote
from .._checks import choice, flag
from .._typing import Array, Floats

__all__ = [
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "hard_swish",
    "hard_swish_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softplus",
    "softplus_backward",
    "tanh",
    "tanh_backward",
]

UINT64 = np.dtype(np.uint64)
MASK_BITS = 64  # in one value of a mask

# Nanoseconds that one thread takes for one value, roughly: it only decides when a second thread pays.
# A fit: `python -m benchmarks.tune --only costs`.
COST = 0.2
EXP_COST = 1.0

FLOAT32_MAX = float(np.finfo(np.float32).max)


class Elementwise:
    """A function of each value on its own: what `cconv.functional` and the layers have in common of it.

    Parameters
    ----------
    name : str
        Of its line in the table of the kernels, `cconv/kernels/elementwise/activations.h`.
    cost : float
        Nanoseconds that one thread takes for one value, roughly: it only decides when a second thread pays.
    settings : callable, optional
        Takes the settings in their order, and returns the one or two numbers that the kernel takes; what does not fit
        is an error. Left out where there are none.
    kept : {'x', 'y'}
        Whether the gradient is taken from the input or from the output.
    """

    def __init__(
        self,
        name: str,
        cost: float,
        settings: Callable[..., tuple[Any, ...]] = tuple,
        kept: Literal["x", "y"] = "x",
    ) -> None:
        self.name, self.cost, self.settings, self.kept = name, cost, settings, kept

    def line(self, dtype: np.dtype[Any], *settings: Any) -> tuple[Any, ...]:
        """Return the kernel's name, and the two numbers that it takes for arrays of a dtype and these settings."""
        if not settings:
            return self.name, 0.0, 0.0
        numbers = self.settings(*settings)
        if dtype == np.float32 and abs(numbers[0]) > FLOAT32_MAX:
            name = next(iter(signature(self.settings).parameters))
            raise ValueError(f"{name} must be finite in float32, as x is, got {settings[0]!r}")
        return (self.name, *numbers, 0.0, 0.0)[:3]

    def run(self, x: Array, *settings: Any) -> Floats:
        """Return the function of x, which is as kernels take it."""
        out, threads = kernels.memory.empty(x.shape, x.dtype), kernels.cpu.threads_for(self.cost * x.size)
        name, a, b = self.line(x.dtype, *settings)
        kernels.elementwise.activate(name, x, out, a, b, threads)
        return out

    def run_backward(self, dout: Array, kept: Array, *settings: Any) -> Floats:
        """Return dout times the derivative, from what was kept; both are as kernels take them."""
        dout, kept = promote(dout, kept)
        if dout.shape != kept.shape:
            raise ValueError(f"dout must have the output's shape {kept.shape}, got {dout.shape} beside {self.kept}")
        dx, threads = kernels.memory.empty(kept.shape, kept.dtype), kernels.cpu.threads_for(self.cost * kept.size)
        name, a, b = self.line(kept.dtype, *settings)
        kernels.elementwise.activate_backward(name, dout, kept, dx, a, b, threads)
        return dx


class ApproximateElementwise(Elementwise):
    """One that has an approximation by tanh, a line of its own in the table."""

    def line(self, dtype: np.dtype[Any], *settings: Any) -> tuple[Any, ...]:
        (approximate,) = settings
        by_tanh = choice(approximate, "approximate", ("none", "tanh")) == "tanh"
        return f"{self.name}_tanh" if by_tanh else self.name, 0.0, 0.0


def run_masked_relu(x: Array) -> tuple[Floats, Array]:
    """Return relu of x and its mask; see `relu`."""
    mask = kernels.memory.empty((-(-x.size // MASK_BITS),), UINT64)
    out = kernels.memory.empty(x.shape, x.dtype)
    kernels.elementwise.relu_masked(x, out, mask, kernels.cpu.threads_for(COST * x.size))
    return out, mask


def run_masked_relu_backward(dout: Array, mask: Array) -> Floats:
    """Return dout where the mask of `run_masked_relu` says so, else 0."""
    dx = kernels.memory.empty(dout.shape, dout.dtype)
    kernels.elementwise.relu_masked_backward(dout, dx, mask, kernels.cpu.threads_for(COST * dout.size))
    return dx


def _negative_slope(negative_slope: Any) -> tuple[float]:
    return (number(negative_slope, "negative_slope"),)


def _alpha(alpha: Any) -> tuple[float]:
    return (number(alpha, "alpha"),)


def _softened(beta: Any, threshold: Any) -> tuple[float, float]:
    return number(beta, "beta", positive=True), number(threshold, "threshold")


RELU = Elementwise("relu", COST, kept="y")
LEAKY_RELU = Elementwise("leaky_relu", COST, _negative_slope)
ELU = Elementwise("elu", EXP_COST, _alpha)
GELU = ApproximateElementwise("gelu", EXP_COST)
SILU = Elementwise("silu", EXP_COST)
SIGMOID = Elementwise("sigmoid", EXP_COST, kept="y")
TANH = Elementwise("tanh", EXP_COST, kept="y")
SOFTPLUS = Elementwise("softplus", EXP_COST, _softened)
HARD_SWISH = Elementwise("hard_swish", COST)


@overload
def relu(x: ArrayLike, *, return_mask: Literal[False] = False) -> Floats: ...
@overload
def relu(x: ArrayLike, *, return_mask: Literal[True]) -> tuple[Floats, Array]: ...
def relu(x: ArrayLike, *, return_mask: bool = False) -> Floats | tuple[Floats, Array]:
    r"""Replace negative values by 0.

    .. math:: out = \max(x, 0)

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape
    return_mask : bool, default False, keyword only
        Return also what `relu_backward` can do with in place of the output, in 1/32 of its memory (1/64 in float64).

    Returns
    -------
    out : ndarray of x's shape and dtype
        NaN stays NaN.
    mask : ndarray of uint64, shape (ceil(x.size / 64),)
        If asked for: bit i % 64 of value i // 64 says whether value i of x, in C order, is positive or NaN.

    Raises
    ------
    TypeError
        If x is not of floats.

    Examples
    --------
    >>> import numpy as np
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    if not flag(return_mask, "return_mask"):
        return RELU.run(as_input(x, "x"))
    return run_masked_relu(as_input(x, "x"))


def relu_backward(dout: ArrayLike, y: ArrayLike | None = None, *, mask: Array | None = None) -> Floats:
    """Return the gradient of `relu`: `dout` where relu's output (or input) `y` is positive or NaN, else 0.

    Parameters
    ----------
    dout, y : ndarray of one shape
    mask : ndarray of uint64, shape (ceil(dout.size / 64),), keyword only
        What `relu` returned, in place of y.

    Returns
    -------
    ndarray of that shape

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of floats, their shapes differ, or not one of y and mask is given.

    Examples
    --------
    >>> import numpy as np
    >>> relu_backward(np.ones(3), np.array([0.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    if (y is None) == (mask is None):
        raise ValueError(f"relu_backward takes one of y and mask, got {'none' if y is None else 'both'}")
    if mask is None:
        return RELU.run_backward(as_input(dout, "dout"), as_input(y, "y"))
    dout = as_input(dout, "dout")
    words = (-(-dout.size // MASK_BITS),)
    mask = as_array(mask, "mask")
    if mask.dtype != UINT64 or mask.shape != words:
        raise ValueError(
            f"mask must be uint64 of shape {words}, got {mask.dtype} of shape {mask.shape} for dout of shape "
            f"{dout.shape}"
        )
    return run_masked_relu_backward(dout, np.ascontiguousarray(mask, UINT64))


def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> Floats:
    r"""Multiply negative values by a small slope.

    .. math:: out = \max(x, 0) + slope \cdot \min(x, 0)

    (Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.)

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape
    negative_slope : float, default 0.01

    Returns
    -------
    ndarray of x's shape and dtype
        NaN stays NaN.

    Raises
    ------
    TypeError, ValueError
        If x is not of floats, or `negative_slope` is not a finite number.

    Examples
    --------
    >>> import numpy as np
    >>> leaky_relu(np.array([-1.0, 0.0, 2.0]))
    array([-0.01,  0.  ,  2.  ])
    """
    return LEAKY_RELU.run(as_input(x, "x"), negative_slope)


def leaky_relu_backward(dout: ArrayLike, x: ArrayLike, negative_slope: float = 0.01) -> Floats:
    """Return the gradient of `leaky_relu`: `dout` where its input `x` is positive, else `negative_slope` times `dout`.

    Parameters
    ----------
    dout, x : ndarray of one shape
    negative_slope : float, default 0.01

    Returns
    -------
    ndarray of that shape

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of floats or their shapes differ, or a setting does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> leaky_relu_backward(np.ones(3), np.array([-1.0, 0.0, 2.0]))
    array([0.01, 0.01, 1.  ])
    """
    return LEAKY_RELU.run_backward(as_input(dout, "dout"), as_input(x, "x"), negative_slope)


def elu(x: ArrayLike, alpha: float = 1.0) -> Floats:
    r"""Bend negative values towards minus alpha.

    .. math:: out = x \text{ where } x > 0, \qquad out = \alpha (e^x - 1) \text{ elsewhere}

    (Clevert, Unterthiner and Hochreiter, arXiv 1511.07289.)

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape
    alpha : float, default 1

    Returns
    -------
    ndarray of x's shape and dtype
        NaN stays NaN.

    Raises
    ------
    TypeError, ValueError
        If x is not of floats, or `alpha` is not a finite number.

    Examples
    --------
    >>> import numpy as np
    >>> elu(np.array([-1000.0, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """
    return ELU.run(as_input(x, "x"), alpha)


def elu_backward(dout: ArrayLike, x: ArrayLike, alpha: float = 1.0) -> Floats:
    """Return the gradient of `elu`: `dout` where its input `x` is positive, else alpha * exp(x) times `dout`.

    Parameters
    ----------
    dout, x : ndarray of one shape
    alpha : float, default 1

    Returns
    -------
    ndarray of that shape

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of floats or their shapes differ, or a setting does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> elu_backward(np.ones(3), np.array([-1000.0, 0.0, 2.0]), 0.5)
    array([0. , 0.5, 1. ])
    """
    return ELU.run_backward(as_input(dout, "dout"), as_input(x, "x"), alpha)


def gelu(x: ArrayLike, approximate: Literal["none", "tanh"] = "none") -> Floats:
    r"""Weigh each value with the share of the standard normal distribution below it.

    .. math:: out = x \, \Phi(x) = \frac{x}{2} \left(1 + \operatorname{erf} \frac{x}{\sqrt 2}\right)

    (Hendrycks and Gimpel, arXiv 1606.08415.)

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape
    approximate : {'none', 'tanh'}
        'tanh' puts (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2 in the place of that share.

    Returns
    -------
    ndarray of x's shape and dtype
        NaN stays NaN, and minus infinity gives NaN.

    Raises
    ------
    TypeError, ValueError
        If x is not of floats, or `approximate` is neither of the two.

    Examples
    --------
    >>> import numpy as np
    >>> gelu(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    return GELU.run(as_input(x, "x"), approximate)


def gelu_backward(dout: ArrayLike, x: ArrayLike, approximate: Literal["none", "tanh"] = "none") -> Floats:
    """Return the gradient of `gelu` at its input `x`; NaN where x is infinite.

    Parameters
    ----------
    dout, x : ndarray of one shape
    approximate : {'none', 'tanh'}
        'tanh' puts (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2 in the place of that share.

    Returns
    -------
    ndarray of that shape

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of floats or their shapes differ, or a setting does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> gelu_backward(np.ones(3), np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.0833,  0.5   ,  1.0833])
    """
    return GELU.run_backward(as_input(dout, "dout"), as_input(x, "x"), approximate)


def silu(x: ArrayLike) -> Floats:
    r"""Weigh each value with its own sigmoid; also known as swish.

    .. math:: out = x \, \sigma(x) = \frac{x}{1 + e^{-x}}

    (Elfwing, Uchibe and Doya, arXiv 1702.03118; Ramachandran, Zoph and Le, arXiv 1710.05941.)

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape

    Returns
    -------
    ndarray of x's shape and dtype
        NaN stays NaN, and minus infinity gives NaN.

    Raises
    ------
    TypeError
        If x is not of floats.

    Examples
    --------
    >>> import numpy as np
    >>> silu(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.2689,  0.    ,  0.7311])
    """
    return SILU.run(as_input(x, "x"))


def silu_backward(dout: ArrayLike, x: ArrayLike) -> Floats:
    """Return the gradient of `silu` at its input `x`; NaN where x is infinite.

    Parameters
    ----------
    dout, x : ndarray of one shape

    Returns
    -------
    ndarray of that shape

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of floats or their shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> silu_backward(np.ones(3), np.array([-1.0, 0.0, 1.0])).round(4)
    array([0.0723, 0.5   , 0.9277])
    """
    return SILU.run_backward(as_input(dout, "dout"), as_input(x, "x"))


def sigmoid(x: ArrayLike) -> Floats:
    r"""Return the logistic function.

    .. math:: out = \frac{1}{1 + e^{-x}}

    computed from exp(-abs(x)), which cannot overflow and keeps its relative precision at both ends. Results below the
    smallest normal number of the dtype are 0.

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape

    Returns
    -------
    ndarray of x's shape and dtype
        1 at infinity, 0 at minus infinity; NaN stays NaN.

    Raises
    ------
    TypeError
        If x is not of floats.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return SIGMOID.run(as_input(x, "x"))


def sigmoid_backward(dout: ArrayLike, y: ArrayLike) -> Floats:
    """Return the gradient of `sigmoid`, y * (1 - y) times `dout`, where `y` is its output.

    Parameters
    ----------
    dout, y : ndarray of one shape

    Returns
    -------
    ndarray of that shape

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of floats or their shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid_backward(np.ones(3), np.array([0.0, 0.5, 1.0]))
    array([0.  , 0.25, 0.  ])
    """
    return SIGMOID.run_backward(as_input(dout, "dout"), as_input(y, "y"))


def tanh(x: ArrayLike) -> Floats:
    r"""Return the hyperbolic tangent.

    .. math:: out = \frac{e^x - e^{-x}}{e^x + e^{-x}}

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape

    Returns
    -------
    ndarray of x's shape and dtype
        NaN stays NaN.

    Raises
    ------
    TypeError
        If x is not of floats.

    Examples
    --------
    >>> import numpy as np
    >>> tanh(np.array([-1000.0, 0.0, 1000.0]))
    array([-1.,  0.,  1.])
    """
    return TANH.run(as_input(x, "x"))


def tanh_backward(dout: ArrayLike, y: ArrayLike) -> Floats:
    """Return the gradient of `tanh`, 1 - y**2 times `dout`, where `y` is its output.

    Parameters
    ----------
    dout, y : ndarray of one shape

    Returns
    -------
    ndarray of that shape

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of floats or their shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> tanh_backward(np.ones(3), np.array([-1.0, 0.0, 0.5]))
    array([0.  , 1.  , 0.75])
    """
    return TANH.run_backward(as_input(dout, "dout"), as_input(y, "y"))


def softplus(x: ArrayLike, beta: float = 1.0, threshold: float = 20.0) -> Floats:
    r"""Return a smooth version of relu.

    .. math:: out = \frac{\log(1 + e^{\beta x})}{\beta}, \qquad out = x \text{ where } \beta x > threshold

    (Dugas, Bengio, Bélisle, Nadeau and Garcia, "Incorporating second-order functional knowledge", 2000.)

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape
    beta : float, default 1
        Positive.
    threshold : float, default 20

    Returns
    -------
    ndarray of x's shape and dtype
        NaN stays NaN. Values below about twice the smallest normal number of the dtype are 0.

    Raises
    ------
    TypeError, ValueError
        If x is not of floats, or a setting is not such a number, or beta is infinite in x's dtype.

    Examples
    --------
    >>> import numpy as np
    >>> softplus(np.array([-1000.0, 0.0, 30.0])).round(4)
    array([ 0.    ,  0.6931, 30.    ])
    """
    return SOFTPLUS.run(as_input(x, "x"), beta, threshold)


def softplus_backward(dout: ArrayLike, x: ArrayLike, beta: float = 1.0, threshold: float = 20.0) -> Floats:
    """Return the gradient of `softplus` at its input `x`: sigmoid(beta * x) times `dout`.

    Parameters
    ----------
    dout, x : ndarray of one shape
    beta : float, default 1
        Positive.
    threshold : float, default 20

    Returns
    -------
    ndarray of that shape

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of floats or their shapes differ, or a setting does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> softplus_backward(np.ones(3), np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return SOFTPLUS.run_backward(as_input(dout, "dout"), as_input(x, "x"), beta, threshold)


def hard_swish(x: ArrayLike) -> Floats:
    r"""Weigh each value with a piecewise linear sigmoid.

    .. math:: out = x \, \frac{\min(\max(x + 3, 0), 6)}{6}

    (Howard et al., "Searching for MobileNetV3", arXiv 1905.02244.)

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape

    Returns
    -------
    ndarray of x's shape and dtype
        NaN stays NaN, and minus infinity gives NaN.

    Raises
    ------
    TypeError
        If x is not of floats.

    Examples
    --------
    >>> import numpy as np
    >>> hard_swish(np.array([-4.0, -1.5, 0.0, 4.0]))
    array([-0.   , -0.375,  0.   ,  4.   ])
    """
    return HARD_SWISH.run(as_input(x, "x"))


def hard_swish_backward(dout: ArrayLike, x: ArrayLike) -> Floats:
    """Return the gradient of `hard_swish` at its input `x`: 0 up to -3, x / 3 + 1/2, and 1 from 3 on.

    Parameters
    ----------
    dout, x : ndarray of one shape

    Returns
    -------
    ndarray of that shape

    Raises
    ------
    TypeError, ValueError
        If the arrays are not of floats or their shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> hard_swish_backward(np.ones(3), np.array([-3.0, 0.0, 3.0]))
    array([0. , 0.5, 1. ])
    """
    return HARD_SWISH.run_backward(as_input(dout, "dout"), as_input(x, "x"))


def softmax(x: ArrayLike) -> Floats:
    r"""Return the exponentials of `x`, scaled so that they add up to 1 along the last axis.

    .. math:: out_m = \frac{e^{x_m - \max_k x_k}}{\sum_j e^{x_j - \max_k x_k}}

    (Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990.) Results below the
    smallest normal number of the dtype are 0.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (..., M)
        Scores, at least one along the last axis.

    Returns
    -------
    ndarray of x's shape and dtype
        A row that holds NaN or plus infinity, or nothing but minus infinity, is NaN.

    Raises
    ------
    TypeError, ValueError
        If x is not of floats, or has no last axis or nothing along it.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    x = as_input(x, "x")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"x must have at least one score along its last axis, got shape {x.shape}")
    out = kernels.memory.empty(x.shape, x.dtype)
    kernels.loss.softmax(x, out, kernels.cpu.threads_for(EXP_COST * x.size))
    return out
