"""The chapter's six optimizers. `update(params, grads)` takes two dicts with the same keys and works in place."""

import math

import numpy as np

from . import kernels
from ._arrays import is_ready

__all__ = ["SGD", "AdaGrad", "Adam", "Momentum", "Nesterov", "Optimizer", "RMSprop"]

# Nanoseconds that one thread takes for one value, roughly: it only decides when a second thread pays.
COST = 0.25


class Optimizer:
    """Updates parameters in place; keeps its state per parameter.

    A subclass names its state arrays in `state_names` and writes `_step`, which calls a compiled kernel for one
    parameter. State begins at 0 when a parameter is seen first, and again when it comes back with another shape or
    dtype. A parameter that is a Python float is replaced in the dict.
    """

    state_names: tuple[str, ...] = ()

    def __init__(self, lr):
        self.lr = _positive(lr, "lr")
        self.state = {}

    def update(self, params, grads):
        """Take one step.

        Parameters
        ----------
        params : dict of str to ndarray or float
            Updated in place (arrays of any layout and byte order), so that whoever shares the arrays sees it.
        grads : dict
            The gradient of each parameter under the same key.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the keys differ, a shape or dtype does not fit or a parameter is read-only: before anything changes.
        """
        if params.keys() != grads.keys():
            missing = sorted(map(str, params.keys() ^ grads.keys()))
            raise KeyError(f"params and grads must have the same keys, only one of them has {', '.join(missing)}")
        # Everything is checked, and each gradient made safe from the updates, before the first parameter changes.
        owners = {id(_owner(p)) for p in params.values()}
        prepared = [(key, _prepare(key, params[key], grads[key], owners)) for key in params]
        for key, gradient in prepared:
            target = params[key]
            # Copied only now: a parameter under an earlier key may share its memory (tied weights).
            values = _ready(target, gradient.dtype)
            state = self._state_of(key, values)
            self._step(values, gradient, state, kernels.cpu.threads_for(COST * values.size))
            if not isinstance(target, np.ndarray):
                params[key] = float(values)
            elif target is not values:
                target[...] = values

    def _state_of(self, key, values):
        state = self.state.get(key)
        if state is None or state["shape"] != values.shape or state["dtype"] != values.dtype:
            state = {"shape": values.shape, "dtype": values.dtype, "step": 0}
            state.update((name, np.zeros_like(values)) for name in self.state_names)
            self.state[key] = state
        return state

    def _step(self, p, g, state, threads):
        raise NotImplementedError(f"{type(self).__name__} must define _step(p, g, state, threads)")


def _prepare(key, p, g, owners):
    """Check a parameter and its gradient; return the gradient in the parameter's dtype, as the kernels take it."""
    name = f"params[{key!r}]"
    g = np.asarray(g)
    if g.dtype.kind not in "iubf":
        raise TypeError(f"grads[{key!r}] must hold real numbers, got {g.dtype}")
    if isinstance(p, float):
        if g.ndim:
            raise ValueError(f"grads[{key!r}] must be a number like {name}, got shape {g.shape}")
        return np.array(g, np.float64)  # a copy: it may be an element of another parameter
    if not isinstance(p, np.ndarray) or p.dtype.kind != "f" or p.dtype.itemsize not in (4, 8):
        raise TypeError(f"{name} must be a float32 or float64 array or a float, got {getattr(p, 'dtype', type(p))}")
    if not p.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")
    if g.shape != p.shape:
        raise ValueError(f"grads[{key!r}] must have the shape {p.shape} of {name}, got {g.shape}")
    if id(_owner(g)) in owners or np.may_share_memory(p, g):
        g = g.copy()
    return _ready(g, p.dtype.newbyteorder("="))


def _ready(array, dtype):
    """Return `array`, or a copy of it, in the form that the kernels take."""
    if is_ready(array) and array.dtype == dtype:
        return array
    return np.require(array, dtype, "CA")


def _owner(array):
    """Return the object that holds an array's memory: views of one array have one owner."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


def _positive(value, name):
    value = float(value)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value}")
    return value


def _fraction(value, name):
    value = float(value)
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
    return value


class SGD(Optimizer):
    r"""Stochastic gradient descent (Robbins and Monro, Ann. Math. Statist. 22, 1951).

    .. math:: p \leftarrow p - lr \cdot g

    Parameters
    ----------
    lr : float, default 0.01

    Examples
    --------
    >>> params = {"W": np.array([1.0, 2.0])}
    >>> SGD(lr=0.1).update(params, {"W": np.array([1.0, 1.0])})
    >>> params["W"]
    array([0.9, 1.9])
    """

    def __init__(self, lr=0.01):
        super().__init__(lr)

    def _step(self, p, g, state, threads):
        kernels.optimize.sgd(p, g, self.lr, threads)


class Momentum(Optimizer):
    r"""Gradient descent with momentum (Polyak, USSR Comput. Math. Math. Phys. 4, 1964).

    .. math:: v \leftarrow m v - lr \cdot g, \qquad p \leftarrow p + v

    Parameters
    ----------
    lr : float, default 0.01
    momentum : float, default 0.9
    """

    state_names = ("v",)

    def __init__(self, lr=0.01, momentum=0.9):
        super().__init__(lr)
        self.momentum = _fraction(momentum, "momentum")

    def _step(self, p, g, state, threads):
        kernels.optimize.momentum(p, g, state["v"], self.lr, self.momentum, threads)


class Nesterov(Optimizer):
    r"""Nesterov's accelerated gradient, in the form of Bengio et al., arXiv 1212.0901, eq. 7.

    .. math:: p \leftarrow p + m^2 v - (1 + m)\, lr \cdot g, \qquad v \leftarrow m v - lr \cdot g

    with v before the step in the first formula.

    Parameters
    ----------
    lr : float, default 0.01
    momentum : float, default 0.9
    """

    state_names = ("v",)

    def __init__(self, lr=0.01, momentum=0.9):
        super().__init__(lr)
        self.momentum = _fraction(momentum, "momentum")

    def _step(self, p, g, state, threads):
        kernels.optimize.nesterov(p, g, state["v"], self.lr, self.momentum, threads)


class AdaGrad(Optimizer):
    r"""Steps divided by the root of all squared gradients so far (Duchi et al., JMLR 12, 2011).

    .. math:: h \leftarrow h + g^2, \qquad p \leftarrow p - lr \cdot g / (\sqrt h + 10^{-7})

    Parameters
    ----------
    lr : float, default 0.01
    """

    state_names = ("h",)

    def __init__(self, lr=0.01):
        super().__init__(lr)

    def _step(self, p, g, state, threads):
        kernels.optimize.adagrad(p, g, state["h"], self.lr, 1e-7, threads)


class RMSprop(Optimizer):
    r"""Steps divided by the root of a running mean of squared gradients (Hinton, Coursera lecture 6, 2012).

    .. math:: h \leftarrow \rho h + (1 - \rho) g^2, \qquad p \leftarrow p - lr \cdot g / (\sqrt h + 10^{-7})

    Parameters
    ----------
    lr : float, default 0.01
    decay_rate : float, default 0.99
    """

    state_names = ("h",)

    def __init__(self, lr=0.01, decay_rate=0.99):
        super().__init__(lr)
        self.decay_rate = _fraction(decay_rate, "decay_rate")

    def _step(self, p, g, state, threads):
        kernels.optimize.rmsprop(p, g, state["h"], self.lr, self.decay_rate, 1e-7, threads)


class Adam(Optimizer):
    r"""Adam (Kingma and Ba, arXiv 1412.6980), with its bias correction folded into the step size.

    .. math::
        m &\leftarrow m + (1 - \beta_1)(g - m), \qquad v \leftarrow v + (1 - \beta_2)(g^2 - v) \\
        p &\leftarrow p - lr \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} \cdot \frac{m}{\sqrt v + 10^{-7}}

    t counts the steps of each parameter on its own, so that one added later is corrected from its own first step.

    Parameters
    ----------
    lr : float, default 0.001
    beta1 : float, default 0.9
    beta2 : float, default 0.999
    """

    state_names = ("m", "v")

    def __init__(self, lr=0.001, beta1=0.9, beta2=0.999):
        super().__init__(lr)
        self.beta1 = _fraction(beta1, "beta1")
        self.beta2 = _fraction(beta2, "beta2")

    def _step(self, p, g, state, threads):
        state["step"] += 1
        step = state["step"]
        lr_t = self.lr * math.sqrt(1 - self.beta2**step) / (1 - self.beta1**step)
        kernels.optimize.adam(p, g, state["m"], state["v"], lr_t, self.beta1, self.beta2, 1e-7, threads)
