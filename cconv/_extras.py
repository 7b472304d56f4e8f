"""Packages that only some functions need: imported when used."""

import importlib

__all__ = ["require"]


def require(module, purpose, extra="train"):
    """Import `module` for `purpose`, or raise an ImportError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {module.partition('.')[0]}, which cannot be imported ({error}): "
            f"pip install 'cconv[{extra}]'"
        ) from error
