"""The examples in the docstrings run and give what they say."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import cconv

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(cconv.__path__, "cconv.")
    if module.name != "cconv.__main__" and not module.name.startswith("cconv.kernels_")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    names = {key: getattr(cconv, key) for key in cconv.__all__} | vars(module) | {"np": np, "cconv": cconv}
    result = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_every_public_name_has_a_docstring():
    missing = [name for name in cconv.__all__ if not getattr(getattr(cconv, name), "__doc__", None)]
    assert missing == []
