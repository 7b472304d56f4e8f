"""Packages that only some functions need: imported when used."""

import importlib
import sys

from ._interrupts import Interrupts

__all__ = ["require"]


def require(module, purpose, extra="train"):
    """Import `module` for `purpose`, or raise an ImportError that says how to install it."""
    if sys.modules.get(module) is not None:
        return sys.modules[module]
    gate = Interrupts()
    try:
        with gate, gate.held():  # compiled modules may abort, or fail, where an exception comes while they begin
            return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {module.partition('.')[0]}, which cannot be imported ({error}): "
            f"pip install 'cconv[{extra}]'"
        ) from error
