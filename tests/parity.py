"""What the comparisons with other libraries share: they are skipped where the library is not installed."""

import importlib
import importlib.util
import os

import pytest


def require(name, title):
    """Import a library; skip the module that calls, or fail where CCONV_REQUIRE_PARITY forbids to skip."""
    if importlib.util.find_spec(name) is None:
        if os.environ.get("CCONV_REQUIRE_PARITY"):
            pytest.fail(f"CCONV_REQUIRE_PARITY is set, but {title} is not installed", pytrace=False)
        pytest.skip(f"needs {title}: pip install 'cconv[parity]'", allow_module_level=True)
    return importlib.import_module(name)
