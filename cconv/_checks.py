"""Checks of numbers, choices, flags and dicts; each names what it checks."""

from collections.abc import Mapping
from contextlib import contextmanager

import numpy as np

from ._arrays import number

__all__ = [
    "argument",
    "checked_dict",
    "choice",
    "flag",
    "fraction",
    "mapping",
    "nonnegative",
    "optional_positive",
    "positive",
    "share",
    "wanted_gradients",
]


def flag(value, name):
    """Return True or False, for which NumPy's own and the numbers 1 and 0 may stand.

    Examples
    --------
    >>> flag(np.True_, "bias"), flag(0, "bias")
    (True, False)
    """
    if value is True or value is False:
        return value
    if isinstance(value, (int, np.integer, np.bool_)) and value in (0, 1):
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {value!r}")


@contextmanager
def argument(demand):
    """Put what an argument must be, with its name, before the error of what looks closer.

    Examples
    --------
    >>> with argument("average must be an average or a decay"):
    ...     fraction(2, "decay")
    Traceback (most recent call last):
        ...
    ValueError: average must be an average or a decay: decay must be at least 0 and below 1, got 2.0
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{demand}: {error}") from None


def wanted_gradients(bias, input_gradient, parameter_gradient):
    """Return the flags of what an operation's backward is to compute."""
    return (
        flag(bias, "bias"),
        flag(input_gradient, "input_gradient"),
        flag(parameter_gradient, "parameter_gradient"),
    )


def choice(value, name, choices):
    """Return a name that is one of several.

    Examples
    --------
    >>> choice("min", "mode", ("min", "max"))
    'min'
    """
    if not isinstance(value, str) or value not in choices:
        *others, last = map(repr, choices)
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, got {value!r}")
    return value


def mapping(value, name):
    """Return a mapping as it is."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, got {type(value).__name__}")
    return value


def positive(value, name):
    """Return a finite float above 0."""
    return number(value, name, positive=True)


def nonnegative(value, name):
    """Return a finite float, at least 0."""
    value = number(value, name)
    if value < 0:
        raise ValueError(f"{name} must be a number that is not negative, got {value}")
    return value


def fraction(value, name):
    """Return a float, at least 0 and below 1."""
    value = number(value, name)
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
    return value


def share(value, name):
    """Return a float from 0 to 1."""
    value = number(value, name)
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1, got {value}")
    return value


def optional_positive(value, name):
    """Return None or a finite float above 0."""
    return None if value is None else positive(value, name)


def checked_dict(value, name, kinds):
    """Return a copy of a dict that must have just these keys, its values of these types.

    Parameters
    ----------
    value : object
    name : str
        What it is called, for the error message.
    kinds : dict of str to type

    Examples
    --------
    >>> checked_dict({"step": 3}, "state", {"step": int})
    {'step': 3}
    """
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dict, got {type(value).__name__}")
    if value.keys() != kinds.keys():
        raise ValueError(f"{name} must have the keys {', '.join(kinds)}, got {', '.join(map(str, value))}")
    for key, kind in kinds.items():
        if not isinstance(value[key], kind) or (kind is int and isinstance(value[key], bool)):
            raise TypeError(f"{name}[{key!r}] must be {kind.__name__}, got {type(value[key]).__name__}")
    return dict(value)
