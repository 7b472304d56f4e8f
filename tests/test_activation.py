"""Activations and their gradients against NumPy in extended precision, and softmax."""

import numpy as np
import oracles
import pytest

from cconv import functional, kernels
from cconv.functional import activation as activations

DTYPES = [np.float32, np.float64]
SIZES = [1, 7, 33, 100, 8193]  # around the widths of vectors and the pieces of work

RULES = {rule.name: rule for rule in vars(activations).values() if isinstance(rule, activations.Elementwise)}
FUNCTIONS = [functional.softmax, *(getattr(functional, name) for name in RULES)]


class Activation:
    """An activation with its settings: of the library, and of its oracle."""

    def __init__(self, name):
        self.name = name
        self.settings, *self.oracles, self.special = oracles.ACTIVATIONS[name]
        door = oracles.door_of(name)
        self.takes_output = RULES[door].kept == "y"
        self.function, self.gradient = getattr(functional, door), getattr(functional, f"{door}_backward")

    def __call__(self, x):
        return self.function(x, **self.settings)

    def backward(self, dout, x):
        return self.gradient(dout, self(x) if self.takes_output else x, **self.settings)

    def oracle(self, x, order=0):
        return self.oracles[order](x.astype(np.longdouble), **self.settings)


def test_every_activation_has_its_row():
    assert {oracles.door_of(name) for name in oracles.ACTIVATIONS} == RULES.keys()


@pytest.fixture(params=oracles.ACTIVATIONS)
def activation(request):
    return Activation(request.param)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def softmax(x):
    powers = np.exp(x.astype(np.longdouble) - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


# ---- activations


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients(rng, cpu_level, num_threads, activation, size, dtype):
    x, dout = rng.standard_normal((2, size)).astype(dtype)
    x[::3] *= 2
    x[::5] = 0
    eps = np.finfo(dtype).eps
    y = activation(x)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, activation.oracle(x), rtol=(100 if "gelu" in activation.name else 8) * eps)
    dx = activation.backward(dout, x)
    assert dx.dtype == dtype
    np.testing.assert_allclose(dx, dout * activation.oracle(x, 1), rtol=4 * eps, atol=16 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["elu", "gelu", "silu", "sigmoid", "tanh", "softplus"])
def test_values_near_zero_and_far_below_it_keep_their_relative_precision(cpu_level, name, dtype):
    function, (_, oracle, *_) = getattr(functional, name), oracles.ACTIVATIONS[name]
    info = np.finfo(dtype)
    # As far down as the result is a normal number; for gelu as far as the oracle itself has its digits.
    low = -1 if name == "gelu" else 0.9 * np.log(info.tiny)
    x = np.concatenate([np.linspace(low, 1, 50_001), np.geomspace(1e-30, 1, 2000), -np.geomspace(1e-30, 1, 2000)])
    x = x.astype(dtype)
    np.testing.assert_allclose(function(x), oracle(x.astype(np.longdouble)), rtol=8 * info.eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_far_below_zero(cpu_level, dtype):
    # x and x * P(x), computed with 30 digits.
    table = {
        -0.5: -0.15426876936299347,
        -1.0: -0.15865525393145705,
        -5.0: -1.4332578593959696e-6,
        -8.0: -4.9767684594174273e-15,
        -13.0: -7.9523137194148436e-38,
        -30.0: -1.4720141781444561e-196,
        -37.5: -1.7270073785932331e-306,
    }
    x = np.array(list(table)).astype(dtype)
    expected = np.array(list(table.values()))
    expected[abs(expected / x) < np.finfo(dtype).tiny] = 0  # the share below x is flushed
    np.testing.assert_allclose(functional.gelu(x), expected, rtol=8 * np.finfo(dtype).eps)


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [7, 70])
def test_special_values(cpu_level, activation, size, dtype):
    x = np.resize(np.array([INF, -INF, NAN, 0.0, -0.0, 1e20, -1e20], dtype), size)
    values, slopes = (np.resize(row, size) for row in activation.special)
    np.testing.assert_allclose(activation(x), values, rtol=1e-6)
    np.testing.assert_allclose(activation.backward(np.full(size, 3, dtype), x), 3 * slopes, rtol=1e-6)
    for name in ("tanh", "elu", "leaky_relu"):
        assert np.signbit(getattr(functional, name)(x[3:5])).tolist() == [False, True]


@pytest.mark.parametrize(("x", "slope"), [(-3.0, 0), (3.0, 1), (-2.999999, -0.5), (2.999999, 1.5)])
def test_hard_swish_at_its_corners(cpu_level, x, slope):
    np.testing.assert_allclose(functional.hard_swish_backward(np.ones(40), np.full(40, x)), slope, atol=1e-6)


def test_softplus_is_the_identity_above_its_threshold_and_never_overflows(cpu_level):
    x = np.linspace(-50, 5000, 1001)
    y = functional.softplus(x, 2.0, 30.0)
    np.testing.assert_array_equal(y[2 * x > 30], x[2 * x > 30])
    np.testing.assert_allclose(functional.softplus(x, 1.0, 1e6), np.logaddexp(0, x), rtol=1e-14)


def test_relu_gradient_is_taken_not_multiplied():
    # An infinite gradient does not become NaN where relu was closed; input and output mark the same places.
    assert functional.relu_backward(np.array([np.inf]), np.zeros(1)) == 0
    x = np.array([-1.0, 0.0, 2.0, np.nan])
    for kept in (x, functional.relu(x)):
        np.testing.assert_array_equal(functional.relu_backward(np.full(4, np.inf), kept), [0, 0, np.inf, np.inf])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 3, 15, 16, 17, 63, 64, 65, 200, 8191, 20001])
def test_masks_of_relu(rng, cpu_level, num_threads, size, dtype):
    x, dout = rng.standard_normal((2, size)).astype(dtype)
    x[::5], x[3::7], x[4::11], dout[::3] = 0, np.nan, -0.0, np.inf
    out, mask = functional.relu(x, return_mask=True)
    np.testing.assert_array_equal(out, functional.relu(x))
    bits = np.unpackbits(mask.astype("<u8").view(np.uint8), bitorder="little")
    np.testing.assert_array_equal(bits[:size], ~(x <= 0))
    assert not bits[size:].any()
    dx = functional.relu_backward(dout, mask=mask)
    assert dx.dtype == dtype
    np.testing.assert_array_equal(dx, functional.relu_backward(dout, x))


def test_masks_that_do_not_fit():
    x = np.ones((3, 50))
    _, mask = functional.relu(x, return_mask=True)
    for wrong in (mask[:-1], mask.astype(np.int64), mask.reshape(1, -1), [1, 2, 3]):
        with pytest.raises(ValueError, match=r"mask must be uint64 of shape \(3,\), got"):
            functional.relu_backward(x, mask=wrong)
    np.testing.assert_array_equal(functional.relu_backward(x, mask=np.repeat(mask, 2)[::2]), x)
    for arguments in ({}, {"y": x, "mask": mask}):
        with pytest.raises(ValueError, match="takes one of y and mask"):
            functional.relu_backward(x, **arguments)


def test_gradients_take_two_dtypes_and_refuse_two_shapes(activation):
    assert activation.gradient(np.ones(3), np.ones(3, np.float32), **activation.settings).dtype == np.float64
    with pytest.raises(ValueError, match=r"dout must have the output's shape \(3,\), got \(1, 3\)"):
        activation.gradient(np.ones((1, 3)), np.ones(3), **activation.settings)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [6, 48])
@pytest.mark.filterwarnings("error")
def test_sigmoid_at_the_ends(cpu_level, size, dtype):
    x = np.resize(np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e4], dtype), size)
    np.testing.assert_array_equal(functional.sigmoid(x), np.resize([0.5, 0.5, 1, 0, np.nan, 1], size))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_denormal_is_flushed(cpu_level, dtype):
    low = np.log(np.finfo(dtype).tiny)
    assert functional.sigmoid(np.array([low - 1], dtype)) == 0


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda x: functional.leaky_relu(x, "steep"), TypeError, "negative_slope must be a number, got 'steep'"),
        (lambda x: functional.leaky_relu_backward(x, x, np.inf), ValueError, "negative_slope must be a finite number"),
        (lambda x: functional.elu(x, np.nan), ValueError, "alpha must be a finite number, got nan"),
        (lambda x: functional.elu(x, 2**1100), ValueError, "alpha must be a finite number, got 135"),
        (lambda x: functional.elu(x, np.ones(1)), TypeError, "alpha must be a number, got array"),
        (lambda x: functional.elu_backward(x, x, None), TypeError, "alpha must be a number, got None"),
        (lambda x: functional.gelu(x, "erf"), ValueError, "approximate must be 'none' or 'tanh', got 'erf'"),
        (lambda x: functional.gelu_backward(x, x, None), ValueError, "approximate must be 'none' or 'tanh', got None"),
        (lambda x: functional.softplus(x, 0), ValueError, "beta must be a positive number, got 0"),
        (lambda x: functional.softplus_backward(x, x, 1, np.inf), ValueError, "threshold must be a finite number"),
        (
            lambda x: functional.softplus(np.float32(x), 1e39),
            ValueError,
            "beta must be finite in float32, as x is, got",
        ),
        (lambda x: functional.leaky_relu(np.float32(x), 1e39), ValueError, "negative_slope must be finite in float32"),
        (
            lambda x: functional.elu_backward(x[:1].astype("f"), np.float32(x[:1]), -1e39),
            ValueError,
            "alpha must be fin",
        ),
    ],
)
def test_settings_that_do_not_fit(act, error, words):
    with pytest.raises(error, match=words):
        act(np.ones(3))


def test_settings_beyond_float32_do_for_float64():
    assert functional.leaky_relu(np.zeros(2), 1e39).tolist() == [0, 0]
    assert functional.softplus(np.ones(2, np.float32), 1, 1e39).round(4).tolist() == [np.float32(1.3133)] * 2


def test_same_bits_on_any_number_of_threads(rng, cpu_level, activation):
    x, dout = rng.standard_normal((2, 33_000)).astype(np.float32)
    numbers = [value for value in activation.settings.values() if not isinstance(value, str)]
    a, b = (*numbers, 0, 0)[:2]
    results = [np.empty_like(dout) for _ in range(8)]
    for threads in range(1, 5):
        values, gradients = results[2 * threads - 2 : 2 * threads]
        kernels.elementwise.activate(activation.name, x, values, a, b, threads)
        kernels.elementwise.activate_backward(activation.name, dout, x, gradients, a, b, threads)
        np.testing.assert_array_equal(values, results[0])
        np.testing.assert_array_equal(gradients, results[1])


# ---- softmax


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (7,), (100, 10), (3, 33), (2, 5, 17), (4, 3000), (700, 3)])
def test_softmax(rng, cpu_level, num_threads, shape, dtype):
    x = (5 * rng.standard_normal(shape)).astype(dtype)
    y = functional.softmax(x)
    assert y.dtype == dtype and y.shape == shape
    eps = np.finfo(dtype).eps
    # The argument's rounding error, up to half a unit in the last place of 40, is what exp passes on.
    np.testing.assert_allclose(y, softmax(x), rtol=80 * eps, atol=eps)
    np.testing.assert_allclose(y.sum(axis=-1, dtype=np.float64), 1, rtol=10 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [4, 35, 100])
@pytest.mark.filterwarnings("error")
def test_softmax_of_extreme_scores(cpu_level, size, dtype):
    large = np.finfo(dtype).max
    x = np.zeros((6, size), dtype)
    x[0] = large
    x[1, 0], x[1, 1:] = large, -large
    x[2, -1] = np.nan
    x[3, 0] = np.nan
    x[4, 1] = np.inf
    x[5, 1:] = -np.inf
    y = functional.softmax(x)
    np.testing.assert_allclose(y[0], 1 / size, rtol=1e-6)
    np.testing.assert_array_equal(y[[1, 5]], np.eye(size)[[0, 0]])
    assert np.isnan(y[2:4]).all() and np.isnan(y[4, 1])
    assert np.isnan(functional.softmax(np.full((1, size), -np.inf, dtype))).all()
    # A bad row stays alone.
    np.testing.assert_array_equal(functional.softmax(x[[1, 2, 5]])[[0, 2]], y[[1, 5]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_a_row_does_not_depend_on_the_batch(rng, cpu_level, num_threads, dtype):
    x = rng.standard_normal((401, 13)).astype(dtype)
    y = functional.softmax(x)
    for n in (0, 1, 157, 158, 400):
        np.testing.assert_array_equal(functional.softmax(x[n]), y[n])


# ---- both


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_layout(rng, function, dtype):
    x = rng.standard_normal((6, 4, 10)).astype(dtype)
    expected = function(x)
    x.flags.writeable = False
    np.testing.assert_array_equal(function(x), expected)
    swapped = x.astype(x.dtype.newbyteorder())
    for other in (np.asfortranarray(x), np.repeat(x, 2, axis=2)[..., ::2], x[::-1].copy()[::-1], swapped):
        before = other.copy()
        np.testing.assert_array_equal(function(other), expected)
        np.testing.assert_array_equal(other, before)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_empty_and_single(function):
    assert function(np.empty((0, 3), np.float32)).shape == (0, 3)
    assert function(np.zeros((2, 1))).shape == (2, 1)


@pytest.mark.parametrize("function", FUNCTIONS[1:])
def test_no_dimension_and_an_empty_last_axis(function):
    assert function(np.array(0.0)).shape == ()
    assert function(np.empty((3, 0))).shape == (3, 0)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_softmax_needs_a_score(shape):
    with pytest.raises(ValueError, match="at least one score along its last axis"):
        functional.softmax(np.zeros(shape))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_integers_are_refused(function):
    with pytest.raises(TypeError, match="x must be float32 or float64, got uint8; scale it first"):
        function(np.ones((2, 2), np.uint8))


def test_softmax_has_the_same_bits_on_any_number_of_threads(rng, cpu_level):
    x = rng.standard_normal((3000, 11)).astype(np.float32)
    results = [np.empty_like(x) for _ in range(4)]
    for threads, out in enumerate(results, 1):
        kernels.loss.softmax(x, out, threads)
        np.testing.assert_array_equal(out, results[0])
