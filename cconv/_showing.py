"""How objects show themselves: as the call that makes them, with the settings that differ from their defaults."""

import inspect
from collections.abc import Mapping
from reprlib import Repr

import numpy as np

from . import initializers

__all__ = ["SHORT", "Word", "arguments_of", "in_lines", "settings_of", "shown"]

SHORT = Repr()  # long lists and names end in ...
SHORT.maxlist = SHORT.maxtuple = SHORT.maxdict = 12
SHORT.maxstring = SHORT.maxother = SHORT.maxlong = 200

PAIRS = {"dilation", "output_size", "pad", "scale", "size", "stride"}  # pairs for which one number may stand


class Word(str):
    """A setting that is shown as it stands, without quotation marks."""

    def __repr__(self):
        return str(self)


def arguments_of(kind):
    """Return the parameters of a constructor by name, with those of its bases where it hands options on to them.

    Examples
    --------
    >>> class Base:
    ...     def __init__(self, *, size=3): ...
    >>> class Derived(Base):
    ...     def __init__(self, name, **options): ...
    >>> list(arguments_of(Derived))
    ['name', 'size']
    """
    found = {}
    for base in kind.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        found |= {one.name: one for one in named if one.name not in found}
        if not any(one.kind == one.VAR_KEYWORD for one in parameters):
            break
    return found


def shown(thing, settings=(), hidden=()):
    """Return an object as the call of its constructor, without what is as it is by default: as `settings_of` has it.

    Examples
    --------
    >>> shown(cconv.Adam(lr=0.001, beta1=0.8))
    'Adam(beta1=0.8)'
    """
    return f"{type(thing).__name__}({', '.join(settings_of(thing, settings, hidden))})"


def settings_of(thing, settings=(), hidden=()):
    """Return an object's settings that are not as they are by default, as ``name=value``.

    Parameters
    ----------
    thing : object
    settings : mapping of str to object
        What constructor arguments were, shown in this order. Others are shown where the object has an attribute of
        their name, unless that is an array or a dict of arrays.
    hidden : iterable of str
        Arguments that are not shown.

    Examples
    --------
    >>> settings_of(cconv.Adam(beta1=0.8), {"lr": 0.5})
    ['lr=0.5', 'beta1=0.8']
    """
    parameters = arguments_of(type(thing))
    values = dict(settings)
    for name in parameters:
        if name not in values and _is_setting(value := getattr(thing, name, inspect.Parameter.empty)):
            values[name] = value
    parts = []
    for name, value in values.items():
        value = _plain(name, value)
        default = parameters[name].default if name in parameters else inspect.Parameter.empty
        if name not in hidden and not _is_default(value, default):
            parts.append(f"{name}={_form(value)}")
    return parts


def in_lines(head, lines):
    """Return what an object is, and in lines of their own the things inside of it, each under its name.

    Examples
    --------
    >>> print(in_lines("Stack", [("", "size=2"), ("relu1", "Relu()")]))
    Stack(
      size=2
      (relu1): Relu()
    )
    """
    texts = [f"({name}): {text}" if name else text for name, text in lines]
    body = "\n".join(texts).replace("\n", "\n  ")
    return f"{head}(\n  {body}\n)"


def _is_setting(value):
    arrays = value.values() if isinstance(value, Mapping) else (value,)
    return value is not inspect.Parameter.empty and not any(isinstance(array, np.ndarray) for array in arrays)


def _plain(name, value):
    """Return sizes in the shortest form that means the same, and a set as a list."""
    if name in PAIRS and isinstance(value, tuple):
        inner = [_plain(name, one) for one in value]
        if not any(isinstance(one, tuple) for one in inner):
            value = inner[0] if inner[0] == inner[1] else tuple(inner)
    return sorted(map(str, value)) if isinstance(value, frozenset | set) else value


def _is_default(value, default):
    if isinstance(value, initializers.Initializer) and isinstance(default, str):
        value, default = repr(value), repr(initializers.get(default))
    return value is default or (type(value) in (bool, int, float, str, list, tuple, dict) and value == default)


def _form(value):
    if inspect.isroutine(value):
        return value.__qualname__
    return SHORT.repr(value)
