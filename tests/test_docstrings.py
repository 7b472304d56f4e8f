"""Docstrings: complete, and their examples run and give what they say."""

import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import cconv
from cconv import functional

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(cconv.__path__, "cconv.")
    if module.name != "cconv.__main__" and not module.name.startswith("cconv.kernels_")
)
PUBLIC = {
    name: value
    for module in (cconv, functional)
    for name, value in ((f"{module.__name__}.{name}", getattr(module, name)) for name in module.__all__)
    if callable(value)
}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if not inspect.isclass(value)}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    names = {key: getattr(cconv, key) for key in cconv.__all__} | vars(module) | {"np": np, "cconv": cconv}
    result = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def without(section, names):
    return sorted(name for name in names if f"\n{section}\n{'-' * len(section)}\n" not in inspect.getdoc(PUBLIC[name]))


def parameters(value):
    try:
        return [name for name in inspect.signature(value).parameters if name not in ("args", "kwargs")]
    except ValueError:  # an exception, which has no signature
        return []


def test_everything_public_has_a_docstring():
    assert [name for name, value in PUBLIC.items() if not inspect.getdoc(value)] == []
    for name, value in PUBLIC.items():
        if inspect.isclass(value):
            methods = inspect.getmembers(value, lambda method: inspect.isfunction(method))
            assert [key for key, method in methods if key[0] != "_" and not documented(value, key)] == [], name


def documented(cls, name):
    """Whether a method, or the one that it overrides, has a docstring."""
    return any(vars(base)[name].__doc__ for base in cls.__mro__ if name in vars(base))


def test_parameters_are_described():
    having = [name for name, value in PUBLIC.items() if parameters(value)]
    assert without("Parameters", having) == []
    for name in having:
        text = inspect.getdoc(PUBLIC[name])
        assert [parameter for parameter in parameters(PUBLIC[name]) if parameter not in text] == [], name


def test_what_functions_return_and_raise_is_described():
    silent = {"cconv.empty_cache", "cconv.set_num_threads"}
    assert without("Returns", FUNCTIONS.keys() - silent) == []
    never = {"cconv.identity_function"}
    assert without("Raises", [name for name in FUNCTIONS.keys() - never if parameters(PUBLIC[name])]) == []


def test_everything_has_an_example():
    abstract = {"cconv.Layer", "cconv.Optimizer", "cconv.Branches", "cconv.DatasetNotFoundError"}
    assert without("Examples", PUBLIC.keys() - abstract) == []
