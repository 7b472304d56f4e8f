"""Where weights begin."""

import math

import numpy as np
import pytest

from cconv import initializers
from cconv.initializers import Constant, He, Normal, Orthogonal, TruncatedNormal, Xavier


def draw(init, shape=(300, 200), fan_in=200, fan_out=300, dtype=np.float64):
    return init(shape, fan_in, fan_out, np.random.default_rng(0), dtype)


@pytest.mark.parametrize(
    ("init", "std"),
    [
        (He(), math.sqrt(2 / 200)),
        (He(distribution="uniform"), math.sqrt(2 / 200)),
        (He("fan_out"), math.sqrt(2 / 300)),
        (He(gain="linear"), math.sqrt(1 / 200)),
        (He(gain="leaky_relu"), math.sqrt(2 / 1.0001 / 200)),
        (Xavier(), math.sqrt(2 / 500)),
        (Xavier("fan_in", "uniform"), math.sqrt(1 / 200)),
        (Xavier(gain="tanh"), 5 / 3 * math.sqrt(2 / 500)),
        (Normal(0.3), 0.3),
        (TruncatedNormal(1), 0.8796),  # sqrt(1 - 4 phi(2) / (2 Phi(2) - 1))
    ],
    ids=repr,
)
def test_the_spread_is_that_of_the_paper(init, std):
    values = draw(init)
    assert abs(values.mean()) < 5 * std / math.sqrt(values.size)
    assert values.std() == pytest.approx(std, rel=0.02)


def test_bounds():
    assert np.abs(draw(TruncatedNormal(0.5))).max() <= 1
    assert np.abs(draw(He(distribution="uniform"))).max() <= math.sqrt(6 / 200)
    assert (draw(Constant(3)) == 3).all()


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (6, 2, 3, 3)])
def test_orthogonal_weights_are_orthonormal(shape):
    matrix = draw(Orthogonal(2), shape).reshape(shape[0], -1)
    product = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


def test_dtype_and_repeatability():
    for init in initializers.NAMES.values():
        values = draw(init, (4, 3), dtype=np.float32)
        assert values.dtype == np.float32
        assert (values == draw(init, (4, 3), dtype=np.float32)).all()


def test_names_numbers_and_errors():
    assert isinstance(initializers.get("He"), He)
    assert initializers.get(0.5).std == 0.5
    own = Orthogonal()
    assert initializers.get(own) is own
    with pytest.raises(ValueError, match="init must be a number, an initializer or one of"):
        initializers.get("best")
    with pytest.raises(TypeError, match="got NoneType"):
        initializers.get(None)
    with pytest.raises(ValueError, match="std must be a number that is not negative, got -1"):
        Normal(-1)
    with pytest.raises(ValueError, match="mode must be"):
        He("fan")
    with pytest.raises(ValueError, match="distribution must be"):
        He(distribution="cauchy")
    with pytest.raises(ValueError, match="gain must be"):
        Orthogonal("swish")
    with pytest.raises(TypeError, match="value must be a number, got 'a'"):
        Constant("a")
