"""What of cconv.sklearn needs no scikit-learn: how it is reached, and what networks answer to its clone."""

import importlib
import sys

import pytest

import cconv


def test_the_module_is_imported_when_it_is_first_used(run_python):
    result = run_python("import sys, cconv\nprint([name for name in sys.modules if 'sklearn' in name])")
    assert result.stdout.split() == ["[]"], result.stderr


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "cconv.sklearn", raising=False)
    monkeypatch.delitem(vars(cconv), "sklearn", raising=False)
    with pytest.raises(ImportError, match=r"cconv\.sklearn needs sklearn, .*pip install 'cconv\[sklearn\]'"):
        importlib.import_module("cconv.sklearn")
    with pytest.raises(ImportError, match=r"pip install 'cconv\[sklearn\]'"):
        cconv.sklearn  # noqa: B018


def test_a_network_says_what_is_an_estimator_and_what_copies_it():
    with pytest.raises(TypeError, match=r"no estimator of scikit-learn: copy\.deepcopy\(network\).*ConvNetClassifier"):
        cconv.LeNet5(seed=0).__sklearn_clone__()
