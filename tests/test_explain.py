"""What `cconv.explain` says is what a layer does."""

import numpy as np
import pytest

import cconv
from cconv import Convolution, TransposedConvolution, functional, kernels

NAMES = ["output", "input gradient", "weight gradient"]


def layer_of(FN=30, C=1, size=5, kind=Convolution, dtype=np.float32, **settings):
    return kind(np.ones((FN, C, size, size), dtype), None, **settings)


@pytest.mark.parametrize(
    ("layer", "channels"),
    [
        (layer_of(), 1),
        (layer_of(64, 64, 3, pad=1), 64),
        (layer_of(16, 1, 3, pad=1, groups=16), 16),
        (layer_of(16, 3, 3, stride=2, dtype=np.float64), 3),
        (layer_of(12, 8, 3, kind=TransposedConvolution, stride=2), 12),
        (layer_of(24, 1, 3, kind=TransposedConvolution), 24),
    ],
)
def test_what_is_explained_is_what_runs(layer, channels, cpu_level, monkeypatch):
    x = np.random.default_rng(0).standard_normal((2, channels, 28, 28)).astype(layer.W.dtype)
    rows = cconv.explain(layer, x.shape)
    called = []

    def watch(name):
        kernel = getattr(kernels.conv, name)
        monkeypatch.setattr(kernels.conv, name, lambda *arguments: called.append(name) or kernel(*arguments))

    for name in dir(kernels.conv):
        if name.endswith(("_output", "_gradient")):
            watch(name)
    out = layer.forward(x)
    layer.backward(np.ones_like(out))
    passes = ["output", "input_gradient", "weight_gradient"]
    if type(layer) is TransposedConvolution:  # a convolution's passes with their roles exchanged
        passes[:2] = passes[1::-1]
    assert called == [f"{row.algorithm}_{name}" for row, name in zip(rows, passes, strict=False)]
    for row in rows:
        assert row.reason and (row.fraction is None or 0 < row.fraction <= 1)


def test_the_passes_that_networks_run_as_one_are_explained_too():
    rows = cconv.explain(layer_of(), (100, 1, 28, 28))
    assert [row.name for row in rows] == [*NAMES, "pooled output", "pooled gradients"]
    assert "'windows' where x needs no gradient" in rows[4].reason
    assert [row.name for row in cconv.explain(layer_of(), (100, 1, 5, 5))] == NAMES


def test_it_prints_as_a_table():
    rows = cconv.explain(layer_of(8, 1, 3, groups=8), (1, 8, 9, 9))
    head, *lines = str(rows).splitlines()
    assert head.split("  ")[0] == "pass" and "algorithm" in head and "of the peak" in head and len(lines) == 5
    assert repr(rows) == str(rows)
    for line, row in zip(lines, rows, strict=True):
        assert line.startswith(row.name) and line.endswith(row.reason)


def test_a_forced_algorithm_is_explained():
    layer = layer_of(16, 3, 3, algorithm="channels")
    assert [row[:3] for row in cconv.explain(layer, (1, 3, 9, 9))] == [(n, "channels", "asked for") for n in NAMES]
    layer = layer_of(16, 3, 3, algorithm="im2col")
    rows = cconv.explain(layer, (1, 3, 9, 9))
    assert [tuple(row) for row in rows] == [(name, "im2col", "asked for", None) for name in NAMES]


def test_a_layer_that_is_still_to_be_built_is_explained():
    built, unbuilt = layer_of(30, 2), Convolution(filters=30, size=5)
    assert cconv.explain(unbuilt, (1, 2, 28, 28)) == cconv.explain(built, (9, 2, 28, 28))
    built, unbuilt = layer_of(2, 30, 5, kind=TransposedConvolution), TransposedConvolution(filters=30, size=5)
    assert cconv.explain(unbuilt, (1, 2, 8, 8)) == cconv.explain(built, (9, 2, 8, 8))


def test_layers_without_algorithms_and_wrong_shapes_are_refused():
    for layer in (cconv.Relu(), cconv.Affine(units=3), "Convolution", None):
        with pytest.raises(TypeError, match="layer must be a Convolution or a TransposedConvolution"):
            cconv.explain(layer, (1, 1, 28, 28))
    with pytest.raises(ValueError, match=r"x_shape must be \(N, C, H, W\)"):
        cconv.explain(layer_of(), (1, 28, 28))
    with pytest.raises(TypeError, match="x_shape"):
        cconv.explain(layer_of(), 28)
    with pytest.raises(ValueError, match="expects 1 channels, gets 2"):
        cconv.explain(layer_of(), (1, 2, 28, 28))


def test_values_choose_what_is_said_to_depend_on_them(cpu_level, monkeypatch):
    """Of a dout of zeros the gradients come from a list, as the reason says."""
    layer = layer_of(8, 16, 3, pad=1)
    assert "'listed' where under 35% of dout are not 0" in cconv.explain(layer, (1, 16, 9, 9))[1].reason
    called = []
    kernel = kernels.conv.listed_gradients
    monkeypatch.setattr(kernels.conv, "listed_gradients", lambda *given: called.append(1) or kernel(*given))
    x = np.ones((1, 16, 9, 9), np.float32)
    functional.convolution_backward(np.zeros((1, 8, 9, 9), np.float32), x, layer.W, pad=1)
    assert called == [1]
