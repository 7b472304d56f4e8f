"""The plain NumPy method that benchmarks compare with computes the same network."""

import importlib.util
from pathlib import Path

import numpy as np

import cconv

# Loaded by its path: with the source tree on sys.path, an unbuilt cconv would hide the installed one.
PATH = Path(__file__).parents[1] / "benchmarks" / "numpy_chapter.py"
SPEC = importlib.util.spec_from_file_location("numpy_chapter", PATH)
numpy_chapter = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(numpy_chapter)


def test_the_chapters_network_has_the_same_gradients_and_steps():
    rng = np.random.default_rng(0)
    network = cconv.SimpleConvNet(dtype="float64", seed=0)
    chapter = numpy_chapter.SimpleConvNet({name: value.copy() for name, value in network.params.items()})
    x, t = rng.random((4, 1, 28, 28)), rng.integers(0, 10, 4)
    ours, theirs = cconv.Adam(), numpy_chapter.Adam()
    for _ in range(3):
        grads, expected = network.gradient(x, t), chapter.gradient(x, t)
        for name, value in expected.items():
            np.testing.assert_allclose(grads[name], value, rtol=1e-9, atol=1e-12)
        ours.update(network.params, grads)
        theirs.update(chapter.params, expected)
    np.testing.assert_allclose(network.predict(x), chapter.predict(x), rtol=1e-9)
