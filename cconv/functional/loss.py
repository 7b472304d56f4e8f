"""The losses and their gradients, checked at the door and computed by `cconv.kernels.loss`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from .. import kernels
from .._arrays import as_array, as_float, as_input, as_labels, number
from .._checks import positive, share
from .._typing import Array, Floats
from ..geometry import integer

__all__ = [
    "huber",
    "huber_backward",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "squared_error",
    "squared_error_backward",
]

# Nanoseconds that one thread takes for one score, roughly: it only decides when a second thread pays.
# A fit: `python -m benchmarks.tune --only costs`.
COST = 2.0
SIGMOID_COST = 5.0
RESIDUAL_COST = 0.2

REDUCTIONS = ("mean", "sum", "half_sum")


def softmax_cross_entropy(
    x: ArrayLike,
    t: ArrayLike,
    *,
    label_smoothing: float = 0.0,
    class_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    sample_weight: ArrayLike | None = None,
) -> tuple[float, Floats]:
    r"""Return the mean cross-entropy of the softmax of `x` against the targets `t`, and the softmax itself.

    .. math:: loss = -\frac1N \sum_n \log y_{n,t_n}, \qquad y_{n,m} = \frac{e^{x_{n,m}}}{\sum_k e^{x_{n,k}}}

    computed as an exact log-softmax, which neither overflows nor needs a constant inside the logarithm. With label
    smoothing s, class weights w, a class i to ignore, as in PyTorch, and sample weights v,

    .. math:: loss = -\frac{\sum_n v_n [t_n \ne i] \sum_m w_m\,((1 - s)[m = t_n] + s / M) \log y_{n,m}}
        {\sum_n v_n [t_n \ne i]\, w_{t_n}}

    and where t gives each class a probability, t[n, m] stands for [m = t_n], and the divisor is the sum of v, or N.

    Parameters
    ----------
    x : ndarray, float32 or float64, shape (N, M)
        Scores.
    t : array_like
        Class indices (any integer dtype, shape (N,) or (N, 1)), or one row per sample of shape (N, M): one-hot of
        any dtype, or a probability for each class. One-hot rows of integers or bools are class indices written
        otherwise, rows of floats are probabilities: it matters for the divisor if there are class weights.
    label_smoothing : float, keyword only
        How much of each target is spread evenly over all classes, from 0 to 1 (Szegedy et al., arXiv 1512.00567).
    class_weight : array_like, shape (M,), keyword only
        A finite weight for each class, at least 0.
    ignore_index : int, keyword only
        Samples of this class, which need not be one of the M, do not count. Only for class indices.
    sample_weight : array_like, shape (N,), keyword only
        A finite weight for each sample, at least 0 and not all of them 0, of numbers or bools; 1 when not given. A
        sample of weight 0 adds nothing to the loss or the gradient, whatever its scores are.

    Returns
    -------
    loss : float
    y : ndarray, shape (N, M), of x's dtype

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, a class index is out of range, or the batch is empty: also if all samples are
        ignored, or of weight 0, their classes' or their own.

    Examples
    --------
    >>> import numpy as np
    >>> loss, y = softmax_cross_entropy(np.array([[0.0, 0.0]]), [1])
    >>> round(loss, 4), y
    (0.6931, array([[0.5, 0.5]]))
    >>> x = np.array([[0.0, 0.0], [9.0, 0.0]])
    >>> round(softmax_cross_entropy(x, [1, -1], ignore_index=-1)[0], 4)
    0.6931
    """
    x = as_input(x, "x", 2)
    not_empty(x)
    return mean_cross_entropy(x, *class_targets(t, x, label_smoothing, class_weight, ignore_index, sample_weight))


def softmax_cross_entropy_backward(
    y: ArrayLike,
    t: ArrayLike,
    dout: float = 1,
    *,
    label_smoothing: float = 0.0,
    class_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    sample_weight: ArrayLike | None = None,
) -> Floats:
    r"""Return the gradient of `softmax_cross_entropy` with respect to the scores.

    .. math:: dx_{n,m} = \frac{dout}{N} (y_{n,m} - [m = t_n])

    or, where the options make of a target the row q and of N the divisor Q, with sample weights v,

    .. math:: dx_{n,m} = \frac{dout}{Q} v_n \left(y_{n,m} \sum_k q_{n,k} - q_{n,m}\right)

    Parameters
    ----------
    y : ndarray, shape (N, M)
        The softmax that `softmax_cross_entropy` returned.
    t : array_like, shape (N,), (N, 1) or (N, M)
        The targets it was given.
    dout : float, default 1
        Gradient with respect to the loss.
    label_smoothing, class_weight, ignore_index, sample_weight : keyword only
        The options it was given.

    Returns
    -------
    ndarray of y's shape and dtype

    Raises
    ------
    TypeError, ValueError
        As `softmax_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> softmax_cross_entropy_backward(np.array([[0.5, 0.5]]), [1])
    array([[ 0.5, -0.5]])
    """
    y = as_input(y, "y", 2)
    targets, weights, total = class_targets(t, y, label_smoothing, class_weight, ignore_index, sample_weight, "y")
    return mean_cross_entropy_backward(y, targets, weights, total, dout)


def mean_cross_entropy(x, targets, weights, total):
    """Return the loss and the softmax of scores for what `class_targets` returned."""
    if total == 0:
        reasons = "ignored, of weight 0 or of classes of weight 0"
        raise ValueError(f"the mean loss is not defined: all {len(x)} samples are {reasons}")
    y = kernels.memory.empty(x.shape, x.dtype)
    return kernels.loss.softmax_cross_entropy(x, targets, weights, y, kernels.cpu.threads_for(COST * x.size)) / total, y


def mean_cross_entropy_backward(y, targets, weights, total, dout):
    """Return the gradient with respect to the scores."""
    dx = kernels.memory.empty(y.shape, y.dtype)
    scale = number(dout, "dout", finite=False) / total if total else 0.0
    kernels.loss.softmax_cross_entropy_backward(y, targets, weights, scale, dx, kernels.cpu.threads_for(COST * y.size))
    return dx


def class_labels(
    t: Any, num_samples: int, num_classes: int, ignore_index: int | None, name: str = "x"
) -> tuple[Array, Array]:
    """Return what `as_labels` does, and a mask of the samples that are of the class to ignore; theirs becomes 0."""
    ignored = np.zeros(num_samples, bool)
    if ignore_index is not None:
        ignore_index = integer(ignore_index, "ignore_index")
        t = as_array(t, "t")
        if t.size == num_samples and t.dtype.kind in "iu":  # class indices, which may be out of range
            ignored = (t == ignore_index).reshape(num_samples)
            t = np.where(t == ignore_index, 0, t)
    t = as_labels(t, num_samples, num_classes, scores=name)
    if ignore_index is not None:
        if t.ndim == 2:
            raise ValueError("ignore_index needs class indices, but t holds rows of floats")
        ignored |= t == ignore_index  # one-hot rows were class indices after all
    return t, ignored


def class_targets(t, scores, label_smoothing, class_weight, ignore_index, sample_weight, name="x"):
    """Return what the kernels take, and the losses' divisor.

    These are the targets, class indices or a row for each sample, and the samples' weights or None. What the other
    options ask for is a weight for each class's logarithm: the kernels need not know of it.
    """
    N, M = scores.shape
    label_smoothing = share(label_smoothing, "label_smoothing")
    weights, total = sample_weights(sample_weight, scores, name)
    if label_smoothing == 0 and class_weight is None and ignore_index is None:
        t = as_labels(t, N, M, scores=name)
        return t if t.ndim == 1 else t.astype(scores.dtype, copy=False), weights, total
    t, ignored = class_labels(t, N, M, ignore_index, name)
    weight = np.ones(M) if class_weight is None else checked_weights(class_weight, "class_weight").astype(np.float64)
    if weight.shape != (M,):
        raise ValueError(f"class_weight must have one number for each of the {M} classes, got shape {weight.shape}")
    if t.ndim == 2:
        rows = t
    else:
        rows = np.zeros((N, M))
        rows[np.arange(N), t] = 1
        counts = weight[t] if weights is None else weight[t] * weights
        total = float(counts[~ignored].sum())
    rows = ((1 - label_smoothing) * rows + label_smoothing / M) * weight
    rows[ignored] = 0
    return rows.astype(scores.dtype), weights, total


def sample_weights(sample_weight, x, name="x"):
    """Return the weights of the samples in x's dtype, or None, and their sum: N where all of them are 1."""
    samples = len(x) if x.ndim else 1
    if sample_weight is None:
        return None, samples
    with np.errstate(over="ignore"):  # to infinity, which is refused
        weights = checked_weights(sample_weight, "sample_weight", x.dtype)
        total = float(weights.sum(dtype=np.float64))
    if weights.shape != (samples,):
        raise ValueError(
            f"sample_weight must have one number for each of the {samples} samples of {name}, got shape {weights.shape}"
        )
    if samples and not 0 < total < np.inf:
        raise ValueError(f"sample_weight must have a sum that is positive and finite, got {total}")
    return weights, total


def value_weights(sample_weight, x, name="x"):
    """Return the weights of the samples as `sample_weights` does, and the sum of the weights of all values of x."""
    weights, total = sample_weights(sample_weight, x, name)
    return weights, (x.size if weights is None else total * (x.size // max(len(weights), 1))) or 1


def sigmoid_cross_entropy(
    x: ArrayLike, t: ArrayLike, *, pos_weight: ArrayLike | None = None, sample_weight: ArrayLike | None = None
) -> tuple[float, Floats]:
    r"""Return the mean cross-entropy of the sigmoid of `x` against targets from 0 to 1, and the sigmoid itself.

    .. math:: loss = -\frac1K \sum_k p_k t_k \log y_k + (1 - t_k) \log (1 - y_k), \qquad y_k = \frac{1}{1 + e^{-x_k}}

    over all K values, each logarithm computed from the score, so that none overflows or loses what is small.

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape
        Scores, positive where the sample is rather a 1.
    t : array_like
        0 and 1, bools, or probabilities, in x's shape; (N,) will do for an x of shape (N, 1).
    pos_weight : array_like, keyword only
        p, the weight of the 1s: finite, at least 0, of a shape that broadcasts to x's; 1 when not given.
    sample_weight : array_like, shape (N,), keyword only
        A weight for each sample, as in `softmax_cross_entropy`: its values' losses are multiplied by it, and the mean
        divides by the sum of the weights of all values.

    Returns
    -------
    loss : float
    y : ndarray of x's shape and dtype

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, a target is not from 0 to 1, or the batch is empty.

    Examples
    --------
    >>> import numpy as np
    >>> loss, y = sigmoid_cross_entropy(np.array([0.0, -800.0]), [1, 1])
    >>> round(loss, 4), y
    (400.3466, array([0.5, 0. ]))
    """
    return run_sigmoid_cross_entropy(as_input(x, "x"), t, pos_weight, sample_weight)


def run_sigmoid_cross_entropy(
    x: Array, t: ArrayLike, pos_weight: ArrayLike | None, sample_weight: ArrayLike | None
) -> tuple[float, Floats]:
    """Return what `sigmoid_cross_entropy` does; x is as kernels take it."""
    t, a = _weighted_targets(t, x, pos_weight)
    weights, divisor = value_weights(sample_weight, x)
    not_empty(x)
    y = kernels.memory.empty(x.shape, x.dtype)
    total = kernels.loss.sigmoid_cross_entropy(x, t, a, weights, y, kernels.cpu.threads_for(SIGMOID_COST * x.size))
    return total / divisor, y


def sigmoid_cross_entropy_backward(
    y: ArrayLike,
    t: ArrayLike,
    dout: float = 1,
    *,
    pos_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> Floats:
    r"""Return the gradient of `sigmoid_cross_entropy` with respect to the scores.

    .. math:: dx_k = \frac{dout}{K} ((p_k t_k + 1 - t_k)\, y_k - p_k t_k)

    times the weight of its sample, with the sum of weights for K, where there are weights.

    Parameters
    ----------
    y : ndarray, any shape
        The sigmoid that `sigmoid_cross_entropy` returned.
    t : array_like
        The targets it was given, in y's shape.
    dout : float, default 1
        Gradient with respect to the loss.
    pos_weight, sample_weight : keyword only
        The options it was given.

    Returns
    -------
    ndarray of y's shape and dtype

    Raises
    ------
    TypeError, ValueError
        As `sigmoid_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid_cross_entropy_backward(np.array([0.5, 0.0]), [1, 1])
    array([-0.25, -0.5 ])
    """
    return run_sigmoid_cross_entropy_backward(as_input(y, "y"), t, dout, pos_weight, sample_weight)


def run_sigmoid_cross_entropy_backward(
    y: Array, t: ArrayLike, dout: float, pos_weight: ArrayLike | None, sample_weight: ArrayLike | None
) -> Floats:
    """Return what `sigmoid_cross_entropy_backward` does; y is as kernels take it."""
    t, a = _weighted_targets(t, y, pos_weight, "y")
    weights, divisor = value_weights(sample_weight, y, "y")
    dx = kernels.memory.empty(y.shape, y.dtype)
    scale = number(dout, "dout", finite=False) / divisor
    threads = kernels.cpu.threads_for(RESIDUAL_COST * y.size)
    kernels.loss.sigmoid_cross_entropy_backward(y, t, a, weights, scale, dx, threads)
    return dx


def checked_weights(weight, name, dtype=None):
    """Return weights as floats, of a dtype if it is given; they must be finite there and not negative.

    Those that are less than the least normal number of that dtype are 0, as they are to the kernels.
    """
    weight = as_float(weight, name)
    if dtype is not None:
        weight = weight.astype(dtype, copy=False)
        weight = np.where((weight > 0) & (weight < np.finfo(dtype).tiny), 0, weight).astype(dtype, copy=False)
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError(f"{name} must hold finite numbers that are not negative, got {weight}")
    return weight


def _weighted_targets(t: Any, scores: Array, pos_weight: Any, name: str = "x") -> tuple[Array, Any]:
    """Return the targets, and the targets times their weight."""
    t = value_targets(t, scores, name)
    if t.size and (t.min() < 0 or t.max() > 1):
        raise ValueError(f"t must hold numbers from 0 to 1, got {t.min()} to {t.max()}")
    if pos_weight is None:
        return t, t
    weight = checked_weights(pos_weight, "pos_weight")
    try:
        weight = np.broadcast_to(weight, t.shape)
    except ValueError:
        raise ValueError(f"pos_weight must broadcast to x's shape {t.shape}, got shape {weight.shape}") from None
    return t, np.ascontiguousarray(t * weight, t.dtype).reshape(t.shape)


def squared_error(
    x: ArrayLike,
    t: ArrayLike,
    *,
    reduction: Literal["mean", "sum", "half_sum"] = "mean",
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Return the mean squared error.

    .. math:: loss = \frac1K \sum_k (x_k - t_k)^2

    over all K values.

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape
    t : array_like
        Numbers in x's shape; (N,) will do for an x of shape (N, 1).
    reduction : {'mean', 'sum', 'half_sum'}, keyword only
        'sum' leaves out the division by K; 'half_sum' halves that, as the chapter's `mean_squared_error` does.
    sample_weight : array_like, shape (N,), keyword only
        A weight for each sample, as in `sigmoid_cross_entropy`; sums are not divided by their sum.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit or the batch is empty.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0])
    >>> squared_error(x, [1, 4]), squared_error(x, [1, 4], reduction="half_sum")
    (2.0, 2.0)
    """
    return run_squared_error(as_input(x, "x"), t, reduction, sample_weight)


def run_squared_error(
    x: Array, t: ArrayLike, reduction: Literal["mean", "sum", "half_sum"], sample_weight: ArrayLike | None
) -> float:
    """Return what `squared_error` does; x is as kernels take it."""
    t = value_targets(t, x)
    weights, divisor = value_weights(sample_weight, x)
    factor = _factor(reduction, divisor)
    not_empty(x)
    return factor * kernels.loss.squared_error(x, t, weights, kernels.cpu.threads_for(RESIDUAL_COST * x.size))


def squared_error_backward(
    x: ArrayLike,
    t: ArrayLike,
    dout: float = 1,
    *,
    reduction: Literal["mean", "sum", "half_sum"] = "mean",
    sample_weight: ArrayLike | None = None,
) -> Floats:
    r"""Return the gradient of `squared_error` with respect to `x`.

    .. math:: dx_k = \frac{2\, dout}{K} (x_k - t_k)

    times the weight of its sample, with the sum of weights for K, where there are weights.

    Parameters
    ----------
    x, t
        What `squared_error` was given.
    dout : float, default 1
        Gradient with respect to the loss.
    reduction, sample_weight : keyword only
        The options it was given.

    Returns
    -------
    ndarray of x's shape and dtype

    Raises
    ------
    TypeError, ValueError
        As `squared_error`.

    Examples
    --------
    >>> import numpy as np
    >>> squared_error_backward(np.array([1.0, 2.0]), [1, 4])
    array([ 0., -2.])
    """
    return run_squared_error_backward(as_input(x, "x"), t, dout, reduction, sample_weight)


def run_squared_error_backward(
    x: Array, t: ArrayLike, dout: float, reduction: Literal["mean", "sum", "half_sum"], sample_weight: ArrayLike | None
) -> Floats:
    """Return what `squared_error_backward` does; x is as kernels take it."""
    t = value_targets(t, x)
    weights, divisor = value_weights(sample_weight, x)
    scale = number(dout, "dout", finite=False) * _factor(reduction, divisor)
    dx = kernels.memory.empty(x.shape, x.dtype)
    threads = kernels.cpu.threads_for(RESIDUAL_COST * x.size)
    kernels.loss.squared_error_backward(x, t, weights, scale, dx, threads)
    return dx


def huber(x: ArrayLike, t: ArrayLike, *, delta: float = 1.0, sample_weight: ArrayLike | None = None) -> float:
    r"""Return Huber's loss: quadratic near the target, linear beyond `delta` (Ann. Math. Statist. 35, 1964).

    .. math:: loss = \frac1K \sum_k \begin{cases} \frac12 r_k^2 & |r_k| \le \delta \\
        \delta (|r_k| - \frac12 \delta) & \text{else} \end{cases}, \qquad r_k = x_k - t_k

    over all K values.

    Parameters
    ----------
    x : ndarray, float32 or float64, any shape
    t : array_like
        Numbers in x's shape; (N,) will do for an x of shape (N, 1).
    delta : float, keyword only
        Positive.
    sample_weight : array_like, shape (N,), keyword only
        A weight for each sample, as in `sigmoid_cross_entropy`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit or the batch is empty.

    Examples
    --------
    >>> import numpy as np
    >>> huber(np.array([1.0, 2.0]), [1.5, 5.0])
    1.3125
    """
    return run_huber(as_input(x, "x"), t, delta, sample_weight)


def run_huber(x: Array, t: ArrayLike, delta: float, sample_weight: ArrayLike | None) -> float:
    """Return what `huber` does; x is as kernels take it."""
    t = value_targets(t, x)
    delta = positive(delta, "delta")
    weights, divisor = value_weights(sample_weight, x)
    not_empty(x)
    return kernels.loss.huber(x, t, weights, delta, kernels.cpu.threads_for(RESIDUAL_COST * x.size)) / divisor


def huber_backward(
    x: ArrayLike, t: ArrayLike, dout: float = 1, *, delta: float = 1.0, sample_weight: ArrayLike | None = None
) -> Floats:
    r"""Return the gradient of `huber` with respect to `x`.

    .. math:: dx_k = \frac{dout}{K} \min(\max(x_k - t_k, -\delta), \delta)

    times the weight of its sample, with the sum of weights for K, where there are weights.

    Parameters
    ----------
    x, t
        What `huber` was given.
    dout : float, default 1
        Gradient with respect to the loss.
    delta, sample_weight : keyword only
        The options it was given.

    Returns
    -------
    ndarray of x's shape and dtype

    Raises
    ------
    TypeError, ValueError
        As `huber`.

    Examples
    --------
    >>> import numpy as np
    >>> huber_backward(np.array([1.0, 2.0]), [1.5, 5.0])
    array([-0.25, -0.5 ])
    """
    return run_huber_backward(as_input(x, "x"), t, dout, delta, sample_weight)


def run_huber_backward(x: Array, t: ArrayLike, dout: float, delta: float, sample_weight: ArrayLike | None) -> Floats:
    """Return what `huber_backward` does; x is as kernels take it."""
    t = value_targets(t, x)
    delta = positive(delta, "delta")
    weights, divisor = value_weights(sample_weight, x)
    dx = kernels.memory.empty(x.shape, x.dtype)
    scale = number(dout, "dout", finite=False) / divisor
    kernels.loss.huber_backward(x, t, weights, delta, scale, dx, kernels.cpu.threads_for(RESIDUAL_COST * x.size))
    return dx


def value_targets(t: Any, x: Array, name: str = "x") -> Array:
    """Return targets in the shape and the dtype of x, which an error calls by its name."""
    t = as_float(t, "t")
    if t.shape != x.shape:
        if x.shape != (*t.shape, 1):
            raise ValueError(f"t must have the shape of {name}, {x.shape}, got {t.shape}")
        t = t.reshape(x.shape)
    return t.astype(x.dtype, copy=False)


def not_empty(x):
    if x.size == 0:
        raise ValueError(f"the loss of an empty batch is not defined: x has shape {x.shape}")


def checked_reduction(reduction):
    """Return a name that is one of REDUCTIONS."""
    if not isinstance(reduction, str) or reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    return reduction


def _factor(reduction, divisor):
    """Return what the sum of squares is multiplied by, where the mean divides by this."""
    return {"mean": 1 / divisor, "sum": 1.0, "half_sum": 0.5}[checked_reduction(reduction)]
