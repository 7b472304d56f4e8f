"""Optimizers: `update(params, grads)` takes two dicts with the same keys and works in place."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from . import kernels
from ._arrays import as_array, as_float, is_parameter, made_ready
from ._checks import checked_dict, flag, fraction, mapping, nonnegative, optional_positive, positive
from ._showing import shown
from ._typing import Array, ArrayDict
from .geometry import integer

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Lion",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "RMSprop",
    "clip_gradients_by_norm",
    "clip_gradients_by_value",
    "global_norm",
]

# Nanoseconds that one thread takes for one value, roughly: it only decides when a second thread pays.
# A fit: `python -m benchmarks.tune --only costs`.
COST = 0.25
NORM_COST = 0.05


# How the settings are checked that all optimizers have; a schedule may have led the learning rate to 0.
CHECKS = {
    "lr": nonnegative,
    "weight_decay": nonnegative,
    "clip_value": optional_positive,
    "clip_norm": optional_positive,
}


class Numbers(NamedTuple):
    """What a rule of the kernel multiplies with, for one parameter: see its formulas, of which some have no eps."""

    lr: float
    a: float = 0.0
    b: float = 0.0
    eps: float = 1e-7
    keep: float = 1.0
    decay: float = 0.0


class Hyperparameter(NamedTuple):
    """A number of an optimizer's own: what checks it, and which of the `Numbers` of its rule it is."""

    check: Callable[[Any, str], float]
    number: str


BETAS = {"beta1": Hyperparameter(fraction, "a"), "beta2": Hyperparameter(fraction, "b")}

# Names, or a function of a parameter's name and array: see `Optimizer`.
Exclude: TypeAlias = "Callable[[str, Array], bool] | Iterable[str] | None"


class Optimizer:
    r"""What all optimizers share: updates of parameters in place, state for each of them, weight decay and clipping.

    A subclass that has a rule in the kernel names it in `rule`, and its hyperparameters beside lr in `hyperparameters`,
    each with what checks it and which number of the rule it is; where that is not all that goes into the rule, it says
    so in `_numbers`. Another one names its state arrays in `state_names`, its hyperparameters in `setting_names`, and
    writes `_step`. Arrays that hold squares stand in `square_names` too. State begins at 0 when a parameter is seen
    first, and again when it comes back with another shape or dtype. A parameter that is a Python float is replaced in
    the dict.

    Parameters
    ----------
    lr : float
        The learning rate, an attribute that may be changed at any time.
    weight_decay : float, keyword only
        Adds weight_decay * p to the gradient of each parameter p (after clipping), which is the gradient of
        weight_decay / 2 times the sum of squares; AdamW and Lion make p smaller by lr * weight_decay * p instead.
    exclude : callable or names, keyword only
        The parameters without weight decay: an iterable of names, or a function of a parameter's name and array that
        says True. When not given, those that a network's layers name in their `no_decay_names` (biases, and scales and
        shifts of normalizations), which `params` of a network says in its `no_decay`; of a plain dict, what has fewer
        than two dimensions. ``exclude=()`` lets all decay.
    clip_value : float, keyword only
        Takes each gradient's values no further than this from 0, as `clip_gradients_by_value` does.
    clip_norm : float, keyword only
        Scales all gradients down to this norm, as `clip_gradients_by_norm` does. One of the two may be given. The
        caller's gradients are not changed.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.
    """

    rule = ""
    state_names: tuple[str, ...] = ()
    square_names: tuple[str, ...] = ()
    hyperparameters: dict[str, Hyperparameter] = {}
    setting_names: tuple[str, ...] = ()

    state: dict[str, Any]
    _seen: dict[str, weakref.ref] = {}  # the arrays that were updated first, by their keys

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "rule" in vars(cls):
            cls.state_names = vars(cls).get("state_names", kernels.optimize.RULES[cls.rule][1])
        if "hyperparameters" in vars(cls):
            cls.setting_names = tuple(cls.hyperparameters)

    def __init__(
        self,
        lr: float,
        *,
        weight_decay: float = 0.0,
        exclude: Exclude = None,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        self.lr = positive(lr, "lr")
        self.weight_decay = nonnegative(weight_decay, "weight_decay")
        self.exclude = exclude if exclude is None or callable(exclude) else _names(exclude)
        self.clip_value = optional_positive(clip_value, "clip_value")
        self.clip_norm = optional_positive(clip_norm, "clip_norm")
        _check_clipping(clip_value, clip_norm)
        self.reset()

    def update(self, params: Mapping[str, Any], grads: Mapping[str, ArrayLike]) -> None:
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
            If the keys differ, a shape or dtype does not fit, or a parameter or its state is read-only: before anything
            changes. Whatever else ends a step early, an interrupt too, leaves parameters and state as they were.
        """
        self._check_settings()
        arrays = dict(mapping(params, "params"))  # a network looks each of its parameters up
        mapping(grads, "grads")
        if arrays.keys() != grads.keys():
            missing = sorted(map(str, arrays.keys() ^ grads.keys()))
            raise KeyError(f"params and grads must have the same keys, only one of them has {', '.join(missing)}")
        # Everything is checked, and each gradient made safe from the updates, before the first parameter changes.
        values = list(arrays.values())
        gradients: list[Any] = [grads[key] for key in arrays]
        together = kernels.memory.are_updatable(values, gradients)
        if not together:
            owners = {id(_owner(p)) for p in values}
            gradients = [_prepare(key, arrays[key], grads[key], owners) for key in arrays]
        scale = 1.0 if self.clip_norm is None else _scale(_norm(gradients), self.clip_norm)
        limit = math.inf if self.clip_value is None else self.clip_value
        decays = self._decays(params, arrays)
        keys, states = list(arrays), self._states_of(arrays, gradients)
        if self._seen.keys() != arrays.keys():
            self._seen = {key: weakref.ref(p) for key, p in arrays.items() if isinstance(p, np.ndarray)}
        if together and getattr(self._step, "__func__", None) is Optimizer._step:
            self._step(values, gradients, states, decays, scale, limit, self.state, keys)
            return
        # What is not one call of the kernel may be ended within: copies are put back then.
        held = self.state.copy()
        copies = [(array, array.copy()) for array in values if isinstance(array, np.ndarray)]
        copies += [(state[name], state[name].copy()) for state in states for name in self.state_names]
        try:
            if together:
                self._step(values, gradients, states, decays, scale, limit)
            else:
                for key, target, gradient, state, decay in zip(keys, values, gradients, states, decays, strict=True):
                    # Copied only now: a parameter under an earlier key may share its memory (tied weights).
                    value = made_ready(target, gradient.dtype)
                    self._step([value], [gradient], [state], [decay], scale, limit)
                    if not isinstance(target, np.ndarray):
                        params[key] = float(value)  # type: ignore[index]  # then it is a dict
                    elif target is not value:
                        target[...] = value
            self.state.update(zip(keys, states, strict=True))
        except BaseException:
            self.state = held
            for array, copied in copies:
                array[...] = copied
            for key, value in arrays.items():
                if not isinstance(value, np.ndarray):
                    params[key] = value  # type: ignore[index]
            raise

    def reset(self) -> None:
        """Begin again: forget the state of all parameters. Settings, the learning rate too, stay as they are."""
        self.state, self._seen = {}, {}

    def _set(self, **hyperparameters):
        """Make attributes of hyperparameters, checked."""
        for name, value in hyperparameters.items():
            setattr(self, name, self._check_of(name)(value, name))

    def _check_of(self, name):
        """Return what checks a setting, or None."""
        return self.hyperparameters[name].check if name in self.hyperparameters else CHECKS.get(name)

    def is_of(self, params: Mapping[str, Any]) -> bool:
        """Say whether the state, if there is one, is of these parameters as far as is known: not of other arrays.

        State that came out of a `state_dict` is taken for that of any parameters of its shapes.
        """
        for key, state in self.state.items():
            seen = self._seen.get(key)
            if key not in params or (seen is not None and seen() is not params[key]):
                return False
            if any(np.shape(state[name]) != np.shape(params[key]) for name in self.state_names):
                return False
        return True

    def __repr__(self) -> str:
        return shown(self)

    def __getstate__(self) -> dict[str, Any]:
        # Whose state it is does not outlast a pickle, or a copy.
        return {name: value for name, value in self.__dict__.items() if name != "_seen"}

    def _check_settings(self):
        """Refuse what was assigned to an attribute and is no setting. A float between 0 and 1 is good for any."""
        for name in self._all_settings():
            value = getattr(self, name)
            if not (type(value) is float and 0 < value < 1) and (check := self._check_of(name)) is not None:
                check(value, name)
        _check_clipping(self.clip_value, self.clip_norm)

    def _decays(self, params, arrays):
        """Return the weight decay of each parameter."""
        if not self.weight_decay:
            return [0.0] * len(arrays)
        no_decay = getattr(params, "no_decay", None)
        return [0.0 if self._excludes(*item, no_decay) else self.weight_decay for item in arrays.items()]

    def _excludes(self, key, values, no_decay):
        if self.exclude is None:
            return np.ndim(values) < 2 if no_decay is None else key in no_decay
        return self.exclude(key, values) if callable(self.exclude) else key in self.exclude

    def _states_of(self, keys, arrays):
        """Return the state of each parameter, like the array at its place, in new dicts that count this step."""
        states = [self.state.get(key) for key in keys]
        if not kernels.memory.hold_alike(states, self.state_names, arrays):
            states = [self._state_of(*one) for one in zip(keys, states, arrays, strict=True)]
        return [state | {"step": state["step"] + 1} for state in states]

    def _state_of(self, key, state, array):
        """Return the state of a parameter as kernels take it, one that begins where it was of another array."""
        held = {} if state is None else {name: state[name] for name in self.state_names}
        form = array.shape, array.dtype
        if state is None or any((np.shape(value), getattr(value, "dtype", None)) != form for value in held.values()):
            zeros = np.zeros_like(array)
            return {"step": 0} | {name: kernels.memory.copy(zeros) for name in self.state_names}
        for name, value in held.items():
            if not value.flags.writeable:
                raise ValueError(f"state[{key!r}][{name!r}] must be writeable, got a read-only array")
        return state | {name: made_ready(value, array.dtype) for name, value in held.items()}

    def _step(self, params, grads, states, decays, scale, limit, *kept):
        """Update parameters, contiguous arrays that share no memory, in place.

        scale, limit and decays (one for each) are what becomes of the gradients first: they are multiplied by scale,
        taken no further than limit from 0, and decay times the parameter is added. states hold the arrays by their
        names, and under "step" which step of this parameter it is. kept is for the kernel: the dict that states are put
        into once all is done, and their keys.
        """
        kinds = [(state["step"], decay) for state, decay in zip(states, decays, strict=True)]
        of_kind = {kind: self._numbers(*kind) for kind in set(kinds)}  # there is one, most often
        numbers = [of_kind[kind] for kind in kinds]
        threads = kernels.cpu.threads_for(COST * sum([p.size for p in params]))
        kernels.optimize.update(self.rule, params, grads, states, numbers, scale, limit, threads, *kept)

    def _numbers(self, step, decay):
        """Return the rule's numbers for a parameter's `step`, from 1, and its weight decay."""
        if not self.rule:
            raise NotImplementedError(f"{type(self).__name__} must name its rule, or define _step")
        given = {own.number: getattr(self, name) for name, own in self.hyperparameters.items()}
        return Numbers(self.lr, decay=decay, **given)

    def state_dict(self) -> dict[str, Any]:
        """Return what the next step depends on, but for `exclude`: a dict of JSON values and copies of the arrays.

        Returns
        -------
        dict
            ``{"type": "Adam", "settings": {"lr": 0.001, ...}, "state": {"W1": {"step": 3, "m": ..., "v": ...}, ...}}``
        """
        settings = {name: getattr(self, name) for name in self._all_settings()}
        return {"type": type(self).__name__, "settings": settings, "state": copy.deepcopy(self.state)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, with its settings too.

        Raises
        ------
        TypeError, ValueError
            If it is of another kind of optimizer, or damaged; nothing changes then.
        """
        self.__dict__.update(self.checked_state(state_dict))

    def checked_state(self, state_dict: Mapping[str, Any]) -> Any:
        """Return the attributes that `load_state_dict` would set.

        Raises
        ------
        TypeError, ValueError
            As `load_state_dict`.
        """
        found = checked_dict(state_dict, "state_dict", {"type": str, "settings": dict, "state": dict})
        kind = type(self).__name__
        if found["type"] != kind:
            raise ValueError(f"state_dict must be of {kind}, got one of {found['type']}")
        settings = checked_dict(found["settings"], "settings", dict.fromkeys(self._all_settings(), object))
        for name, value in settings.items():
            if (check := self._check_of(name)) is not None:
                settings[name] = check(value, name)
        _check_clipping(settings["clip_value"], settings["clip_norm"])
        return settings | {"state": {key: self._checked_entry(key, entry) for key, entry in found["state"].items()}}

    def _checked_entry(self, key, entry):
        place = f"state[{key!r}]"
        entry = checked_dict(entry, place, {"step": int} | dict.fromkeys(self.state_names, np.ndarray))
        integer(entry["step"], f"{place}['step']", 0)
        arrays = {name: np.array(entry[name], order="C") for name in self.state_names}
        first = next(iter(arrays.values()), None)
        for name, array in arrays.items():
            if array.dtype not in (np.float32, np.float64) or not kernels.memory.are_alike(first, array):
                raise ValueError(
                    f"{place} must hold float32 or float64 arrays of one shape and dtype, got {array.dtype} of shape "
                    f"{array.shape} for {name}"
                )
            if name in self.square_names and (array < 0).any():
                raise ValueError(f"{place}[{name!r}] must hold squares, got {array.min()}")
        return entry | arrays

    def _all_settings(self):
        return ("lr", *self.setting_names, "weight_decay", "clip_value", "clip_norm")


def _names(exclude):
    """Return the names of parameters without weight decay as a set."""
    try:
        if isinstance(exclude, bytes):
            raise TypeError
        return frozenset([exclude] if isinstance(exclude, str) else exclude)
    except TypeError:
        raise TypeError(f"exclude must be a function, a name or an iterable of names, got {exclude!r}") from None


def _check_clipping(clip_value, clip_norm):
    if clip_value is not None and clip_norm is not None:
        raise ValueError(f"give clip_value or clip_norm, not both; got {clip_value} and {clip_norm}")


def _prepare(key, p, g, owners):
    """Check a parameter and its gradient; return the gradient in the parameter's dtype, as the kernels take it."""
    name = f"params[{key!r}]"
    g = as_array(g, f"grads[{key!r}]")
    if g.dtype.kind not in "iubf":
        raise TypeError(f"grads[{key!r}] must hold real numbers, got {g.dtype}")
    if isinstance(p, float):
        if g.ndim:
            raise ValueError(f"grads[{key!r}] must be a number like {name}, got shape {g.shape}")
        return np.array(g, np.float64)  # a copy: it may be an element of another parameter
    if not is_parameter(p) or p.dtype.kind != "f" or p.dtype.itemsize not in (4, 8):
        raise TypeError(f"{name} must be a float32 or float64 array or a float, got {getattr(p, 'dtype', type(p))}")
    if not p.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")
    if g.shape != p.shape:
        raise ValueError(f"grads[{key!r}] must have the shape {p.shape} of {name}, got {g.shape}")
    if _overlaps(p, g, owners):
        g = g.copy()
    return made_ready(g, p.dtype.newbyteorder("="))


def _overlaps(p, g, owners):
    """Say whether a gradient may lie in the memory of a parameter; one that has its own may not."""
    if g.base is None:
        return id(g) in owners
    return id(_owner(g)) in owners or np.may_share_memory(p, g)


def _owner(array):
    """Return the object that holds an array's memory: views of one array have one owner."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


def global_norm(grads: Mapping[str, ArrayLike]) -> float:
    r"""Return the norm of all gradients taken as one vector, in float64.

    .. math:: \sqrt{\sum_k \sum_i g_{k,i}^2}

    Parameters
    ----------
    grads : mapping of str to array_like

    Returns
    -------
    float
        With the same bits for any number of threads.

    Raises
    ------
    TypeError
        If a gradient does not hold real numbers.

    Examples
    --------
    >>> global_norm({"W": np.array([[3.0, 0.0]]), "b": np.array([4.0])})
    5.0
    """
    return _norm([as_float(g, f"grads[{key!r}]") for key, g in mapping(grads, "grads").items()])


def are_finite(grads):
    """Return whether all numbers of all gradients are finite."""
    return all(kernels.optimize.is_finite(as_float(g, f"grads[{key!r}]")) for key, g in grads.items())


def _norm(gradients):
    total = 0.0
    for g in gradients:
        total += kernels.optimize.sum_of_squares(g, kernels.cpu.threads_for(NORM_COST * g.size))
    return math.sqrt(total)


def _scale(norm, max_norm):
    """Return what brings a norm down to max_norm; a NaN stays one."""
    scale = max_norm / (norm + 1e-6)
    return 1.0 if scale > 1 else scale


def clip_gradients_by_norm(grads: Mapping[str, ArrayLike], max_norm: float) -> ArrayDict:
    r"""Return gradients scaled down together to a global norm of at most `max_norm` (arXiv 1211.5063).

    .. math:: g \cdot \min\left(1, \frac{max\_norm}{norm + 10^{-6}}\right)

    with the norm of `global_norm`, as `torch.nn.utils.clip_grad_norm_` does, but into new arrays.

    Parameters
    ----------
    grads : mapping of str to array_like
    max_norm : float

    Returns
    -------
    dict
        Of new arrays, each of its gradient's dtype.

    Raises
    ------
    TypeError, ValueError
        If a gradient does not hold real numbers, or `max_norm` is not a positive number.

    Examples
    --------
    >>> clip_gradients_by_norm({"W": np.array([3.0, 0.0]), "b": np.array([4.0])}, 1.0)["W"].round(4)
    array([0.6, 0. ])
    """
    scale = _scale(global_norm(grads), positive(max_norm, "max_norm"))
    return {key: as_float(g, f"grads[{key!r}]") * scale for key, g in grads.items()}


def clip_gradients_by_value(grads: Mapping[str, ArrayLike], limit: float) -> ArrayDict:
    """Return gradients whose values lie between -limit and limit.

    Parameters
    ----------
    grads : mapping of str to array_like
    limit : float

    Returns
    -------
    dict
        Of new arrays, each of its gradient's dtype; NaN stays NaN.

    Raises
    ------
    TypeError, ValueError
        If a gradient does not hold real numbers, or `limit` is not a positive number.

    Examples
    --------
    >>> clip_gradients_by_value({"W": np.array([3.0, -0.5])}, 1.0)["W"]
    array([ 1. , -0.5])
    """
    limit = positive(limit, "limit")
    found = mapping(grads, "grads").items()
    return {key: np.clip(as_float(g, f"grads[{key!r}]"), -limit, limit) for key, g in found}


class SGD(Optimizer):
    r"""Stochastic gradient descent (Robbins and Monro, Ann. Math. Statist. 22, 1951).

    .. math:: p \leftarrow p - lr \cdot g

    Parameters
    ----------
    lr : float, default 0.01
    weight_decay, exclude, clip_value, clip_norm : keyword only
        As in `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> params = {"W": np.array([1.0, 2.0])}
    >>> SGD(lr=0.1).update(params, {"W": np.array([1.0, 1.0])})
    >>> params["W"]
    array([0.9, 1.9])
    """

    rule = "sgd"

    def __init__(
        self,
        lr: float = 0.01,
        *,
        weight_decay: float = 0.0,
        exclude: Exclude = None,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay, exclude=exclude, clip_value=clip_value, clip_norm=clip_norm)


class Momentum(Optimizer):
    r"""Gradient descent with momentum (Polyak, USSR Comput. Math. Math. Phys. 4, 1964).

    .. math:: v \leftarrow m v - lr \cdot g, \qquad p \leftarrow p + v

    Parameters
    ----------
    lr : float, default 0.01
    momentum : float, default 0.9
    weight_decay, exclude, clip_value, clip_norm : keyword only
        As in `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> params = {"W": np.array([1.0, 2.0])}
    >>> Momentum(lr=0.1).update(params, {"W": np.array([1.0, -1.0])})
    >>> params["W"].round(3)
    array([0.9, 2.1])
    """

    rule = "momentum"
    hyperparameters = {"momentum": Hyperparameter(fraction, "a")}
    momentum: float

    def __init__(
        self,
        lr: float = 0.01,
        momentum: float = 0.9,
        *,
        weight_decay: float = 0.0,
        exclude: Exclude = None,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay, exclude=exclude, clip_value=clip_value, clip_norm=clip_norm)
        self._set(momentum=momentum)


class Nesterov(Momentum):
    r"""Nesterov's accelerated gradient, in the form of Bengio et al., arXiv 1212.0901, eq. 7.

    .. math:: p \leftarrow p + m^2 v - (1 + m)\, lr \cdot g, \qquad v \leftarrow m v - lr \cdot g

    with v before the step in the first formula.

    Parameters
    ----------
    lr : float, default 0.01
    momentum : float, default 0.9
    weight_decay, exclude, clip_value, clip_norm : keyword only
        As in `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> params = {"W": np.array([1.0, 2.0])}
    >>> Nesterov(lr=0.1).update(params, {"W": np.array([1.0, -1.0])})
    >>> params["W"].round(3)
    array([0.81, 2.19])
    """

    rule = "nesterov"


class AdaGrad(Optimizer):
    r"""Steps divided by the root of all squared gradients so far (Duchi et al., JMLR 12, 2011).

    .. math:: h \leftarrow h + g^2, \qquad p \leftarrow p - lr \cdot g / (\sqrt h + 10^{-7})

    Parameters
    ----------
    lr : float, default 0.01
    weight_decay, exclude, clip_value, clip_norm : keyword only
        As in `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> params = {"W": np.array([1.0, 2.0])}
    >>> AdaGrad(lr=0.1).update(params, {"W": np.array([1.0, -1.0])})
    >>> params["W"].round(3)
    array([0.9, 2.1])
    """

    rule = "adagrad"
    square_names = ("h",)

    def __init__(
        self,
        lr: float = 0.01,
        *,
        weight_decay: float = 0.0,
        exclude: Exclude = None,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay, exclude=exclude, clip_value=clip_value, clip_norm=clip_norm)


class RMSprop(Optimizer):
    r"""Steps divided by the root of a running mean of squared gradients (Hinton, Coursera lecture 6, 2012).

    .. math:: h \leftarrow \rho h + (1 - \rho) g^2, \qquad p \leftarrow p - lr \cdot g / (\sqrt h + 10^{-7})

    Parameters
    ----------
    lr : float, default 0.01
    decay_rate : float, default 0.99
    weight_decay, exclude, clip_value, clip_norm : keyword only
        As in `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> params = {"W": np.array([1.0, 2.0])}
    >>> RMSprop(lr=0.1).update(params, {"W": np.array([1.0, -1.0])})
    >>> params["W"].round(3)
    array([0., 3.])
    """

    rule = "rmsprop"
    square_names = ("h",)
    hyperparameters = {"decay_rate": Hyperparameter(fraction, "a")}
    decay_rate: float

    def __init__(
        self,
        lr: float = 0.01,
        decay_rate: float = 0.99,
        *,
        weight_decay: float = 0.0,
        exclude: Exclude = None,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay, exclude=exclude, clip_value=clip_value, clip_norm=clip_norm)
        self._set(decay_rate=decay_rate)


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
    amsgrad : bool, default False, keyword only
        Put the largest v so far under the root (AMSGrad; Reddi et al., arXiv 1904.09237), with the bias correction as
        above, as PyTorch does.
    weight_decay, exclude, clip_value, clip_norm : keyword only
        As in `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> params = {"W": np.array([1.0, 2.0])}
    >>> Adam(lr=0.1).update(params, {"W": np.array([1.0, -1.0])})
    >>> params["W"].round(3)
    array([0.9, 2.1])
    """

    rule = "adam"
    square_names = ("v", "h")
    hyperparameters = BETAS
    beta1: float
    beta2: float

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        *,
        amsgrad: bool = False,
        weight_decay: float = 0.0,
        exclude: Exclude = None,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay, exclude=exclude, clip_value=clip_value, clip_norm=clip_norm)
        self._set(beta1=beta1, beta2=beta2)
        if flag(amsgrad, "amsgrad"):
            self.rule = "amsgrad"
            self.state_names = kernels.optimize.RULES[self.rule][1]

    @property
    def amsgrad(self) -> bool:
        return self.rule == "amsgrad"

    def _numbers(self, step, decay):
        lr_t = self.lr * self._correction(step) / (1 - self.beta1**step)
        return super()._numbers(step, decay)._replace(lr=lr_t)

    def _correction(self, step):
        """Return the root of v's bias correction."""
        return math.sqrt(1 - self.beta2**step)


class AdamW(Adam):
    r"""Adam with weight decay decoupled from the gradient (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2).

    .. math::
        m &\leftarrow m + (1 - \beta_1)(g - m), \qquad v \leftarrow v + (1 - \beta_2)(g^2 - v) \\
        p &\leftarrow p - lr \left(\frac{\hat m}{\sqrt{\hat v} + \epsilon} + weight\_decay \cdot p\right), \qquad
        \hat m = \frac{m}{1 - \beta_1^t}, \quad \hat v = \frac{v}{1 - \beta_2^t}

    In the paper's symbols lr is the product of the schedule's multiplier and alpha, and lr * weight_decay that of the
    multiplier and lambda: the decay follows the learning rate, as in PyTorch. Biases and normalizations do not decay,
    unless `exclude` says otherwise.

    Parameters
    ----------
    lr : float, default 0.001
    beta1 : float, default 0.9
    beta2 : float, default 0.999
    eps : float, default 1e-8, keyword only
    amsgrad : bool, default False, keyword only
        As in `Adam`.
    weight_decay : float, default 0.01, keyword only
    exclude, clip_value, clip_norm : keyword only
        As in `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> params = {"W": np.ones((1, 1)), "b": np.ones(1)}
    >>> AdamW(lr=0.1, weight_decay=0.5).update(params, {"W": np.zeros((1, 1)), "b": np.zeros(1)})
    >>> params["W"], params["b"]
    (array([[0.95]]), array([1.]))
    """

    hyperparameters = BETAS | {"eps": Hyperparameter(positive, "eps")}
    eps: float

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        *,
        eps: float = 1e-8,
        amsgrad: bool = False,
        weight_decay: float = 0.01,
        exclude: Exclude = None,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        options: dict[str, Any] = {"exclude": exclude, "clip_value": clip_value, "clip_norm": clip_norm}
        super().__init__(lr, beta1, beta2, amsgrad=amsgrad, weight_decay=weight_decay, **options)
        self._set(eps=eps)

    def _numbers(self, step, decay):
        # Both sides of the fraction are multiplied by the correction.
        eps = self.eps * self._correction(step)
        return super()._numbers(step, 0.0)._replace(eps=eps, keep=1 - self.lr * decay)


class Lion(Optimizer):
    r"""Steps of one size, in the direction of a mean gradient's sign (Chen et al., arXiv 2302.06675, algorithm 2).

    .. math::
        p &\leftarrow p - lr\, (\operatorname{sign}(\beta_1 m + (1 - \beta_1) g) + weight\_decay \cdot p) \\
        m &\leftarrow \beta_2 m + (1 - \beta_2) g

    with m before the step in the first formula. Its lr is best 3 to 10 times smaller than Adam's, its weight decay as
    many times larger. Biases and normalizations do not decay, unless `exclude` says otherwise.

    Parameters
    ----------
    lr : float, default 0.0001
    beta1 : float, default 0.9
    beta2 : float, default 0.99
    weight_decay, exclude, clip_value, clip_norm : keyword only
        As in `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> params = {"W": np.array([1.0, 2.0])}
    >>> Lion(lr=0.25).update(params, {"W": np.array([0.001, -5.0])})
    >>> params["W"]
    array([0.75, 2.25])
    """

    rule = "lion"
    hyperparameters = BETAS
    beta1: float
    beta2: float

    def __init__(
        self,
        lr: float = 0.0001,
        beta1: float = 0.9,
        beta2: float = 0.99,
        *,
        weight_decay: float = 0.0,
        exclude: Exclude = None,
        clip_value: float | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay, exclude=exclude, clip_value=clip_value, clip_norm=clip_norm)
        self._set(beta1=beta1, beta2=beta2)

    def _numbers(self, step, decay):
        return super()._numbers(step, 0.0)._replace(keep=1 - self.lr * decay)
