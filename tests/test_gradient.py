"""Central differences against derivatives known in closed form; gradient_check on right and wrong layers."""

import numpy as np
import pytest

from cconv.gradient import gradient_check, numerical_gradient, numerical_gradient_2d


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 1, 3), (0, 2)])
def test_matches_the_derivative_for_any_shape(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    x = np.asarray(x)
    before = x.copy()
    gradient = numerical_gradient(lambda x: np.sum(np.sin(x) + x**2), x)
    np.testing.assert_allclose(gradient, np.cos(x) + 2 * x, rtol=0, atol=1e-7)
    assert gradient.dtype == np.float64
    assert gradient.shape == shape
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("layout", [lambda x: x[::2, ::-1], np.asfortranarray, lambda x: x.astype(">f8")])
def test_perturbs_in_place_whatever_the_layout(layout):
    x = layout(np.random.default_rng(1).standard_normal((4, 6)))
    np.testing.assert_allclose(numerical_gradient(lambda _: np.sum(x**3), x), 3 * x**2, atol=1e-6)


def test_float32_divides_by_the_step_it_could_take():
    x = np.array([100.0, 3.7, 1e6], np.float32)
    gradient = numerical_gradient(lambda x: 2.0 * x.astype(np.float64).sum(), x)
    np.testing.assert_allclose(gradient, 2.0, rtol=1e-9)


def test_restores_x_when_f_raises():
    x = np.array([0.1, 0.2, 0.3])
    before = x.copy()

    def fails_late(x):
        if x[1] != before[1]:
            raise ArithmeticError
        return x.sum()

    with pytest.raises(ArithmeticError):
        numerical_gradient(fails_late, x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("x", [np.array([1, 2]), [1.0, 2.0], 3.0, np.array([1j]), np.array([None])])
def test_refuses_what_a_small_step_cannot_change(x):
    with pytest.raises(TypeError, match="x must be an array of floats"):
        numerical_gradient(np.sum, x)


def test_refuses_read_only_input_and_a_vector_valued_function():
    x = np.ones(3)
    with pytest.raises(ValueError, match="f must return one real number, got float64"):
        numerical_gradient(lambda x: x, x)
    np.testing.assert_array_equal(x, 1.0)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="x is read-only"):
        numerical_gradient(np.sum, x)


def test_2d_applies_f_to_each_row_on_its_own():
    X = np.random.default_rng(2).standard_normal((3, 4))
    seen = []

    def f(row):
        seen.append(row.shape)
        return np.prod(row)

    expected = np.prod(X, axis=1, keepdims=True) / X
    np.testing.assert_allclose(numerical_gradient_2d(f, X), expected, rtol=1e-6)
    assert set(seen) == {(4,)}
    np.testing.assert_allclose(numerical_gradient_2d(np.prod, X[0]), expected[0], rtol=1e-6)
    assert numerical_gradient_2d(np.prod, np.zeros((0, 4))).shape == (0, 4)
    with pytest.raises(ValueError, match="1 or 2 dimensions, got 3"):
        numerical_gradient_2d(f, X[None])
    with pytest.raises(TypeError, match="array of floats"):
        numerical_gradient_2d(f, [[1, 2], [3, 4]])


class Scale:
    """y = w * x**2; `wrong` spoils one gradient."""

    param_names = ("w",)

    def __init__(self, wrong=None):
        self.w, self.wrong = np.array([1.5, -0.5]), wrong

    def forward(self, x):
        self.x = x
        return self.w * x**2

    def backward(self, dout):
        self.dw = (dout * self.x**2).sum(axis=0) * (1.001 if self.wrong == "w" else 1)
        return 2 * self.w * self.x * dout * (1.001 if self.wrong == "x" else 1)


def test_gradient_check_passes_a_right_layer_and_finds_a_wrong_one():
    x = np.random.default_rng(3).standard_normal((5, 2))
    assert max(gradient_check(Scale(), x).values()) < 1e-8
    assert gradient_check(Scale("w"), x) == pytest.approx({"x": 0, "w": 1e-3}, abs=1e-6)
    assert gradient_check(Scale("x"), x) == pytest.approx({"x": 1e-3, "w": 0}, abs=1e-6)
    layer = Scale()
    gradient_check(layer, x)
    assert vars(layer).keys() == {"w", "wrong"}  # left as it was


def test_gradient_check_refuses_float32():
    with pytest.raises(TypeError, match="x must be a float64 array"):
        gradient_check(Scale(), np.ones((2, 2), np.float32))
    layer = Scale()
    layer.w = layer.w.astype(np.float32)
    with pytest.raises(TypeError, match="w must be a float64 array"):
        gradient_check(layer, np.ones((2, 2)))
