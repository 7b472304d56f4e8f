"""What of cconv.onnx needs no other package: how it is reached, what it says it reads, and where Resize reads."""

import re
import sys

import numpy as np
import pytest

import cconv
from cconv import layers
from cconv.onnx import exporting, folding, loading, operators, resizing
from cconv.onnx.expressions import EXPRESSIONS


def test_the_module_is_imported_when_it_is_first_used(run_python):
    code = (
        "import sys, cconv\n"
        "before = [name for name in sys.modules if 'onnx' in name]\n"
        "print(before, cconv.onnx.export.__name__, 'onnx' in sys.modules)"
    )
    result = run_python(code)
    assert result.stdout.split() == ["[]", "export", "False"], result.stderr


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'cconv' has no attribute 'nothing'"):
        cconv.nothing  # noqa: B018


@pytest.mark.parametrize("call", [lambda: cconv.onnx.load("x"), lambda: cconv.onnx.export(None, "x")])
def test_a_missing_package_is_named_with_the_extra(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"needs onnx, .*pip install 'cconv\[onnx\]'"):
        call()


def rows():
    """The rows of the docstring's table: operator and layers."""
    text = cconv.onnx.__doc__
    _, _, body, _ = re.split(r"^=+  =+  =+$", text, flags=re.M)
    cells = [re.split(r"\s{2,}", line) for line in body.strip().splitlines()]
    return {operator: names.split(", ") for operator, names, *_ in cells}


def test_the_table_names_the_operators_that_are_read():
    assert list(rows()) == sorted(operators.OPERATORS)


def test_the_table_names_the_layers_that_are_written():
    named = {name for names in rows().values() for name in names} - {"none"}
    assert named == {kind.__name__ for kind in exporting.LAYERS}


def test_every_layer_can_be_written_but_losses_and_what_is_none_itself():
    ends = {"Huber", "MeanSquaredError", "SigmoidWithLoss", "SoftmaxWithLoss"}
    assert {kind.__name__ for kind in exporting.LAYERS} == set(layers.__all__) - ends - {"Layer", "Branches"}


def test_the_text_names_what_is_recognised_and_what_is_computed():
    text = " ".join(cconv.onnx.__doc__.split())
    composed = re.search(r"each value that (.*?) compose", text).group(1)
    computed = re.search(r"(Constant, .*?) of constants", text).group(1)
    assert set(re.findall(r"\w+", composed)) - {"and"} == set(EXPRESSIONS)
    assert set(re.findall(r"\w+", computed)) - {"and"} == set(folding.FOLDED)
    assert set(loading.COMPOSED) <= set(EXPRESSIONS) & set(operators.OPERATORS)


def test_places_of_resize_are_those_that_the_standard_names():
    nearest = {"round_prefer_floor": [0, 0, 1], "round_prefer_ceil": [0, 1, 1], "floor": [0, 0, 1], "ceil": [0, 1, 1]}
    for rounding, expected in nearest.items():
        assert resizing.places(2, 3, 1.5, "half_pixel", rounding)[1] == expected[1], rounding
    linear = {
        "half_pixel": [0, 0.5, 1],
        "pytorch_half_pixel": [0, 0.5, 1],
        "asymmetric": [0, 2 / 3, 1],
        "align_corners": [0, 0.5, 1],
        "half_pixel_symmetric": [0, 0.5, 1],
    }
    for coordinates, expected in linear.items():
        np.testing.assert_allclose(resizing.places(2, 3, 1.5, coordinates), expected, atol=1e-12)
    assert resizing.places(4, 1, 0.25, "pytorch_half_pixel") == [0]
    assert resizing.places(4, 1, 0.25, "half_pixel") == [1.5]
    with pytest.raises(ValueError, match="'tf_crop_and_resize' is none of Upsample's"):
        resizing.places(2, 4, 2, "tf_crop_and_resize")


@pytest.mark.parametrize("linear, align_corners", [(False, False), (True, False), (True, True)])
def test_each_scale_of_a_layer_is_found_again(linear, align_corners):
    rng = np.random.default_rng(0)
    refused = 0
    for scale in [*rng.uniform(0.3, 4, 60), 0.5, 1, 1.2, 1.3, 1.5, 2, 2.3, 3]:
        length = int(rng.integers(4, 40))
        out = int(length * scale)
        found = resizing.node_scale(length, out, scale, linear, align_corners)
        if found is None:
            refused += 1
            continue
        coordinates = "align_corners" if align_corners else "half_pixel" if linear else "asymmetric"
        wanted = resizing.places(length, out, found, coordinates, None if linear else "floor")
        again = resizing.layer_scale(length, out, float(found), wanted, linear, align_corners)
        places = resizing.layer_places(length, out, again, linear, align_corners)
        np.testing.assert_allclose(places, resizing.layer_places(length, out, scale, linear, align_corners), atol=1e-4)
    assert refused <= 3
