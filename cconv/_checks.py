"""Checks of numbers and of state dicts; each names what it checks."""

import sys

from ._arrays import number
from .geometry import integer

__all__ = ["checked_dict", "count", "fraction", "nonnegative", "optional_positive", "positive", "share"]


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


def count(value, name):
    """Return an int, at least 0 and no larger than counts are: floats can be raised to it."""
    value = integer(value, name, 0)
    if value > sys.maxsize:
        raise ValueError(f"{name} must be at most {sys.maxsize}, got a larger integer")
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
