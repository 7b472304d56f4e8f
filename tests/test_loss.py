"""The losses and their gradients against NumPy in extended precision."""

import itertools

import numpy as np
import pytest

from cconv import (
    Affine,
    Huber,
    MeanSquaredError,
    Network,
    SigmoidWithLoss,
    SoftmaxWithLoss,
    gradient_check,
    kernels,
    numerical_gradient,
)
from cconv.functional import (
    huber,
    huber_backward,
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
    squared_error,
    squared_error_backward,
)

DTYPES = [np.float32, np.float64]
SHAPES = [(1, 1), (1, 10), (100, 10), (3, 33), (7, 1000), (2, 5000), (700, 3)]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def log_softmax(x):
    x = x.astype(np.longdouble)
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def oracle(x, t):
    """The loss, the softmax and the gradient for one row of targets per sample."""
    logs = log_softmax(x)
    y = np.exp(logs)
    terms = np.multiply(t, logs, where=t != 0, out=np.zeros_like(logs))
    return -terms.sum() / len(x), y, (y * t.sum(axis=1, keepdims=True) - t) / len(x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dense", [False, True], ids=["indices", "probabilities"])
def test_against_numpy(rng, cpu_level, num_threads, shape, dense, dtype):
    N, M = shape
    x = (5 * rng.standard_normal(shape)).astype(dtype)
    labels = rng.integers(0, M, N)
    rows = rng.random(shape) if dense else np.eye(M)[labels]
    t = rows if dense else labels
    loss, y = softmax_cross_entropy(x, t)
    dx = softmax_cross_entropy_backward(y, t)
    expected_loss, expected_y, expected_dx = oracle(x, rows)
    eps = np.finfo(dtype).eps
    assert type(loss) is float and y.dtype == dx.dtype == dtype
    scale = 40 * eps * max(1, rows.sum(axis=1).max())
    np.testing.assert_allclose(loss, float(expected_loss), rtol=20 * eps, atol=scale)
    np.testing.assert_allclose(y, expected_y, rtol=80 * eps, atol=eps)
    np.testing.assert_allclose(dx, expected_dx, rtol=80 * eps, atol=scale / N)
    np.testing.assert_array_equal(softmax_cross_entropy_backward(y, t, dout=0), np.zeros(shape))
    twice = softmax_cross_entropy_backward(y, t, 2)
    np.testing.assert_allclose(twice, 2 * dx, rtol=4 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_is_the_numerical_one_for_any_targets(rng, cpu_level, dtype):
    x, t = rng.standard_normal((4, 5)), rng.random((4, 5))  # rows of t do not add up to 1
    _, y = softmax_cross_entropy(x.astype(dtype), t)
    dx = softmax_cross_entropy_backward(y, t)
    for n, m in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[n, m] = 1e-5
        slope = (softmax_cross_entropy(x + step, t)[0] - softmax_cross_entropy(x - step, t)[0]) / 2e-5
        assert dx[n, m] == pytest.approx(slope, abs=1e-6 if dtype is np.float32 else 1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("error")
def test_large_scores_neither_overflow_nor_cancel(cpu_level, dtype):
    eps = np.finfo(dtype).eps
    loss, y = softmax_cross_entropy(np.full((1, 2), 1e6, dtype), [0])
    assert loss == pytest.approx(np.log(2), rel=float(2 * eps))  # log(2) + 1e6 - 1e6 would keep one digit of it
    np.testing.assert_array_equal(y, [[0.5, 0.5]])
    assert softmax_cross_entropy(np.array([[1e4, 0]], dtype), [1])[0] == 1e4  # -log(0 + 1e-7) would be 16
    assert softmax_cross_entropy(np.array([[1e4, 0]], dtype), [0])[0] == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("error")
def test_nan_and_infinity(cpu_level, dtype):
    inf = np.inf
    loss, y = softmax_cross_entropy(np.array([[0, -inf, 0]], dtype), [1])
    assert loss == inf and y[0, 1] == 0
    # A class that has probability 0 adds nothing, even where its logarithm is infinite.
    loss, _ = softmax_cross_entropy(np.array([[0, -inf, 0]], dtype), np.array([[0.5, 0, 0.5]]))
    assert loss == pytest.approx(np.log(2))
    for bad in ([0, np.nan, 0], [np.nan, 0, 0], [inf, 0, 0], [-inf] * 3):
        x = np.array([[0, 1, 2], bad], dtype)
        loss, y = softmax_cross_entropy(x, [0, 2])
        assert np.isnan(loss)
        assert np.isfinite(y[0]).all() and np.isnan(y[1]).any()


@pytest.mark.parametrize(
    "form", ["uint8", "int32", ">i8", "column", "one-hot", "bool", "float one-hot", "list", "strided"]
)
def test_forms_of_the_targets(rng, form):
    x, labels = rng.standard_normal((6, 4)), np.array([3, 0, 1, 1, 2, 3])
    rows = np.eye(4, dtype=np.int64)[labels]
    t = {
        "column": labels[:, None],
        "one-hot": rows,
        "bool": rows == 1,
        "float one-hot": rows.astype(np.float32),
        "list": labels.tolist(),
        "strided": np.repeat(labels, 2)[::2],
    }.get(form)
    t = labels.astype(form) if t is None else t
    expected_loss, expected_y, expected_dx = oracle(x, rows)
    loss, y = softmax_cross_entropy(x, t)
    assert loss == pytest.approx(float(expected_loss), rel=1e-13)
    np.testing.assert_allclose(y, expected_y, rtol=1e-13)
    np.testing.assert_allclose(softmax_cross_entropy_backward(y, t), expected_dx, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_and_inputs_left_alone(rng, dtype):
    x, t = rng.standard_normal((8, 5)).astype(dtype), np.arange(8) % 5
    loss, y = softmax_cross_entropy(x, t)
    dx = softmax_cross_entropy_backward(y, t)
    for a in (x, t, y):
        a.flags.writeable = False
    for turned in (x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x.astype(x.dtype.newbyteorder())):
        other, other_y = softmax_cross_entropy(turned, t)
        assert other == loss
        np.testing.assert_array_equal(other_y, y)
    np.testing.assert_array_equal(softmax_cross_entropy_backward(np.asfortranarray(y), t), dx)


@pytest.mark.parametrize("shape", [(0, 10), (0, 0), (3, 0)])
def test_an_empty_batch_has_no_mean_loss(shape):
    with pytest.raises(ValueError, match="empty batch"):
        softmax_cross_entropy(np.zeros(shape), np.zeros(shape[0], np.int64))
    assert softmax_cross_entropy_backward(np.zeros((0, 10)), np.zeros(0, np.int64)).shape == (0, 10)


@pytest.mark.parametrize(
    ("x", "t", "error", "message"),
    [
        (np.zeros((2, 3)), [0, 3], ValueError, "from 0 to 2, got 3 for sample 1"),
        (np.zeros((2, 3)), [-1, 0], ValueError, "from 0 to 2, got -1 for sample 0"),
        (np.zeros((2, 3)), [0, 1, 2], ValueError, "shape"),
        (np.zeros((2, 3)), [0.0, 1.0], TypeError, "integers"),
        (np.zeros((2, 3), np.int64), [0, 1], TypeError, "x must be float32 or float64"),
        (np.zeros(3), [0], ValueError, "x must have 2 dimensions"),
    ],
)
def test_what_is_refused(x, t, error, message):
    with pytest.raises(error, match=message):
        softmax_cross_entropy(x, t)


@pytest.mark.parametrize("weighted", [False, True])
def test_same_bits_on_any_number_of_threads(rng, cpu_level, weighted):
    x, t = rng.standard_normal((3000, 11)).astype(np.float32), rng.integers(0, 11, 3000)
    weights = rng.random(3000).astype(np.float32) if weighted else None
    results = []
    for threads in (1, 2, 3, 5):
        y, dx = np.empty_like(x), np.empty_like(x)
        loss = kernels.loss.softmax_cross_entropy(x, t, weights, y, threads)
        kernels.loss.softmax_cross_entropy_backward(y, t, weights, 0.5, dx, threads)
        results.append((y, loss, dx))
        for got, expected in zip(results[-1], results[0], strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_labels_may_change_between_forward_and_backward(shape):
    layer, t = SoftmaxWithLoss(), np.zeros(shape, np.int64)
    layer.forward(np.zeros((2, 2)), t)
    t[...] = 1 << 40
    np.testing.assert_array_equal(layer.backward(), [[-0.25, 0.25]] * 2)


OPTIONS = [
    {"label_smoothing": smoothing, "class_weight": weight, "ignore_index": ignored}
    for smoothing, weight, ignored in itertools.product((0.0, 0.2, 1.0), (None, [1, 0, 0.5, 2, 1]), (None, 3, -9, 99))
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_options_of_softmax_cross_entropy(rng, cpu_level, num_threads, options, dtype):
    x, labels = (3 * rng.standard_normal((9, 5))).astype(dtype), np.array([0, 3, 1, 2, 2, 4, 0, 1, 3])
    ignored = options["ignore_index"]
    if ignored is not None:
        labels[[2, 5]] = ignored
    smoothing = options["label_smoothing"]
    weight = np.ones(5) if options["class_weight"] is None else np.array(options["class_weight"], float)
    rows, total = np.zeros((9, 5)), 0
    for n, label in enumerate(labels):
        if label != ignored:
            rows[n] = weight * smoothing / 5
            rows[n, label] += weight[label] * (1 - smoothing)
            total += weight[label]
    logs = log_softmax(x)
    expected = -(rows * logs).sum() / total
    gradient = (np.exp(logs) * rows.sum(axis=1, keepdims=True) - rows) / total
    eps = np.finfo(dtype).eps
    for t in (labels, labels[:, None], labels.tolist()):
        loss, y = softmax_cross_entropy(x, t, **options)
        dx = softmax_cross_entropy_backward(y, t, 2, **options)
        assert type(loss) is float and y.dtype == dx.dtype == dtype
        assert loss == pytest.approx(float(expected), rel=20 * float(eps))
        np.testing.assert_allclose(dx, 2 * gradient, rtol=0, atol=40 * eps)


def test_rows_of_floats_are_averaged_over_all_samples_whatever_their_weight(rng):
    x, labels = rng.standard_normal((4, 3)), np.array([0, 2, 2, 1])
    options = {"class_weight": [3.0, 1.0, 0.5]}
    by_rows = softmax_cross_entropy(x, np.eye(3)[labels], **options)[0]
    by_class = softmax_cross_entropy(x, labels, **options)[0]
    assert by_rows * 4 == pytest.approx(by_class * (3 + 0.5 + 0.5 + 1))
    assert softmax_cross_entropy(x, np.eye(3, dtype=int)[labels], **options)[0] == by_class


def test_ignored_samples_in_every_form_of_labels(rng):
    x, labels = rng.standard_normal((4, 3)), np.array([0, 2, 2, 1])
    expected = softmax_cross_entropy(x[[0, 3]], labels[[0, 3]])[0]
    for t in (labels, labels.astype(np.uint8), labels[:, None], np.eye(3, dtype=int)[labels], np.eye(3)[labels] == 1):
        loss, y = softmax_cross_entropy(x, t, ignore_index=2)
        assert loss == pytest.approx(expected, rel=1e-14)
        dx = softmax_cross_entropy_backward(y, t, ignore_index=2)
        assert not dx[[1, 2]].any() and dx[[0, 3]].all()
    bad = x.copy()
    bad[1] = np.inf
    assert softmax_cross_entropy(bad, labels, ignore_index=2)[0] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("t", "options", "error", "message"),
    [
        ([0, 1], {"label_smoothing": 1.5}, ValueError, "label_smoothing must be from 0 to 1, got 1.5"),
        ([0, 1], {"label_smoothing": np.nan}, ValueError, "label_smoothing"),
        ([0, 1], {"class_weight": [1, 2]}, ValueError, "class_weight must have one number for each of the 3"),
        ([0, 1], {"class_weight": [1, 2, -1]}, ValueError, "not negative"),
        ([0, 1], {"class_weight": [1, 2, np.inf]}, ValueError, "finite"),
        ([0, 1], {"class_weight": ["a", "b", "c"]}, TypeError, "class_weight"),
        ([0, 1], {"ignore_index": 0.5}, TypeError, "integer"),
        ([0, 7], {"ignore_index": 8}, ValueError, "from 0 to 2, got 7"),
        ([0, 0], {"ignore_index": 0}, ValueError, "all 2 samples are ignored"),
        ([1, 1], {"class_weight": [1, 0, 1]}, ValueError, "of classes of weight 0"),
        (np.full((2, 3), 1 / 3), {"ignore_index": 0}, ValueError, "ignore_index needs class indices"),
    ],
)
def test_options_that_are_refused(t, options, error, message):
    with pytest.raises(error, match=message):
        softmax_cross_entropy(np.zeros((2, 3)), t, **options)


def test_where_no_sample_counts_the_gradient_is_0():
    assert not softmax_cross_entropy_backward(np.full((2, 2), 0.5), [1, 1], ignore_index=1).any()


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid_oracle(x, t, p=1):
    y = np.exp(-softplus(-x))
    return p * t * softplus(-x) + (1 - t) * softplus(x), (p * t + 1 - t) * y - p * t


def huber_oracle(x, t, delta=1.0):
    r = x - t
    return np.where(abs(r) <= delta, r * r / 2, delta * (abs(r) - delta / 2)), np.clip(r, -delta, delta)


def squared_oracle(x, t):
    return (x - t) ** 2, 2 * (x - t)


SIZES = [(1,), (7,), (3, 33), (2, 3, 4, 5), (511,), (513,), (40000,), (3, 20001)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SIZES)
def test_losses_of_values(rng, cpu_level, num_threads, shape, dtype):
    x, t = (4 * rng.standard_normal(shape)).astype(dtype), rng.random(shape).astype(dtype)
    wide, wide_t, K = x.astype(np.longdouble), t.astype(np.longdouble), x.size
    p = rng.random(shape[-1]) * 3
    eps = float(np.finfo(dtype).eps)

    def compare(loss, dx, oracle, divisor=K):
        losses, gradient = oracle
        assert type(loss) is float and dx.dtype == dtype and dx.shape == shape
        assert loss == pytest.approx(float(losses.sum() / divisor), rel=20 * eps)
        np.testing.assert_allclose(dx, (gradient / divisor).astype(np.float64), rtol=20 * eps, atol=20 * eps / divisor)

    loss, y = sigmoid_cross_entropy(x, t)
    np.testing.assert_allclose(y, np.exp(-softplus(-wide)).astype(np.float64), rtol=20 * eps)
    compare(loss, sigmoid_cross_entropy_backward(y, t), sigmoid_oracle(wide, wide_t))
    loss, y = sigmoid_cross_entropy(x, t, pos_weight=p)
    compare(loss, sigmoid_cross_entropy_backward(y, t, pos_weight=p), sigmoid_oracle(wide, wide_t, p))
    compare(squared_error(x, t), squared_error_backward(x, t), squared_oracle(wide, wide_t))
    for reduction, divisor in (("sum", 1), ("half_sum", 2)):
        loss, dx = squared_error(x, t, reduction=reduction), squared_error_backward(x, t, reduction=reduction)
        compare(loss, dx, squared_oracle(wide, wide_t), divisor)
    for delta in (0.25, 1.0, 5.0):
        compare(huber(x, t, delta=delta), huber_backward(x, t, delta=delta), huber_oracle(wide, wide_t, delta))
    np.testing.assert_array_equal(huber_backward(x, t, dout=0), np.zeros(shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("error")
def test_losses_of_values_at_the_ends(cpu_level, dtype):
    inf = np.inf
    x = np.array([1e4, -1e4, 1e4, -1e4, inf, -inf, inf, -inf], dtype)
    t = np.array([1, 0, 0, 1, 1, 0, 0, 1])
    losses = [sigmoid_cross_entropy(x[n : n + 1], t[n : n + 1])[0] for n in range(8)]
    assert losses == [0, 0, 1e4, 1e4, 0, 0, inf, inf]
    small = np.array([-80.0], dtype)  # log(1 + exp(-80)) is far below eps, and all the loss there is
    assert sigmoid_cross_entropy(small, [0])[0] == pytest.approx(np.exp(-80), rel=1e-5)
    for function in (sigmoid_cross_entropy, squared_error, huber):
        for bad in ((np.array([0, np.nan], dtype), [0, 1]), (np.zeros(2, dtype), [0, np.nan])):
            loss = function(*bad)
            assert np.isnan(loss[0] if function is sigmoid_cross_entropy else loss)
    assert huber(np.array([-inf], dtype), [0]) == inf
    np.testing.assert_array_equal(huber_backward(np.array([-inf, np.nan], dtype), [0, 0]), [-0.5, np.nan])


@pytest.mark.parametrize("dtype", DTYPES)
def test_forms_of_targets_and_layouts(rng, dtype):
    x, t = rng.standard_normal((6, 1)).astype(dtype), rng.integers(0, 2, 6)
    for function in (lambda x, t: sigmoid_cross_entropy(x, t)[0], squared_error, huber):
        expected = function(x, t[:, None].astype(dtype))
        for form in (t, t == 1, t.astype(np.uint8), t.tolist(), t[:, None], t.astype(">f8"), np.repeat(t, 2)[::2]):
            assert function(x, form) == expected
        for turned in (np.repeat(x, 2, axis=1)[:, ::2], x.astype(x.dtype.newbyteorder()), x[::-1].copy()[::-1]):
            turned.flags.writeable = False
            assert function(turned, t) == expected


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_an_empty_batch_of_values_has_no_loss(shape):
    x = np.zeros(shape)
    for function in (sigmoid_cross_entropy, squared_error, huber):
        with pytest.raises(ValueError, match="empty batch"):
            function(x, x)
    for function in (sigmoid_cross_entropy_backward, squared_error_backward, huber_backward):
        assert function(x, x).shape == shape


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: squared_error(x, np.zeros(3)), ValueError, r"t must have the shape of x, \(2, 2\), got \(3,\)"),
        (lambda x: squared_error(x, np.zeros(2)), ValueError, "t must have the shape"),
        (lambda x: squared_error(x, x, reduction="none"), ValueError, "reduction must be one of mean, sum, half_sum"),
        (lambda x: huber(x, x, delta=0), ValueError, "delta must be a positive number"),
        (lambda x: huber_backward(x, x, delta=np.inf), ValueError, "delta must be a positive number"),
        (lambda x: huber(x.astype(int), x), TypeError, "x must be float32 or float64"),
        (lambda x: huber(x, x.astype(complex)), TypeError, "t must be an array of real numbers"),
        (lambda x: sigmoid_cross_entropy(x, x - 1), ValueError, "t must hold numbers from 0 to 1, got -1.0 to -1.0"),
        (lambda x: sigmoid_cross_entropy(x, x, pos_weight=[1, 2, 3]), ValueError, "pos_weight must broadcast"),
        (lambda x: sigmoid_cross_entropy(x, x, pos_weight=-1), ValueError, "not negative"),
    ],
)
def test_what_the_losses_of_values_refuse(call, error, message):
    with pytest.raises(error, match=message):
        call(np.zeros((2, 2)))


@pytest.mark.parametrize("samples", [None, 1, 2, 33, 66, 100_056])
@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "squared_error", "huber"])
def test_totals_have_the_same_bits_on_any_number_of_threads(rng, cpu_level, name, samples):
    x, t = rng.standard_normal((2, 100_056)).astype(np.float32)
    weights = None if samples is None else rng.random(samples).astype(np.float32)
    extra = {"sigmoid_cross_entropy": (t, weights, np.empty_like(x)), "huber": (weights, 0.5)}.get(name, (weights,))
    assert len({getattr(kernels.loss, name)(x, t, *extra, threads) for threads in (1, 2, 3, 5)}) == 1


WEIGHTED = {
    "softmax": (softmax_cross_entropy, softmax_cross_entropy_backward, {}),
    "softmax with options": (
        softmax_cross_entropy,
        softmax_cross_entropy_backward,
        {"label_smoothing": 0.2, "class_weight": [1, 0.25, 2, 3, 0.5, 1, 1]},
    ),
    "sigmoid": (sigmoid_cross_entropy, sigmoid_cross_entropy_backward, {}),
    "sigmoid with pos_weight": (sigmoid_cross_entropy, sigmoid_cross_entropy_backward, {"pos_weight": 3}),
    "squared error": (squared_error, squared_error_backward, {}),
    "huber": (huber, huber_backward, {"delta": 0.5}),
}


def loss_of(name, x, t, **options):
    """The loss and its gradient."""
    forward, backward, settings = WEIGHTED[name]
    loss = forward(x, t, **settings, **options)
    loss, y = loss if isinstance(loss, tuple) else (loss, x)
    return loss, backward(y, t, **settings, **options)


def batch_for(name, rng, N, dtype):
    x = (2 * rng.standard_normal((N, 7))).astype(dtype)
    return x, rng.integers(0, 7, N) if name.startswith("softmax") else rng.random((N, 7)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N", [1, 5, 700])
@pytest.mark.parametrize("name", WEIGHTED)
def test_sample_weights(rng, cpu_level, num_threads, name, N, dtype):
    x, t = batch_for(name, rng, N, dtype)
    weight = rng.random(N) + 0.1
    weight[N // 2 + 1 :: 3] = 0
    # Of one sample at a time, the loss is the mean of its own values; the class's weight divides it again.
    ones = [loss_of(name, x[n : n + 1].astype(np.float64), t[n : n + 1]) for n in range(N)]
    share = weight * (np.array([1, 0.25, 2, 3, 0.5, 1, 1])[t] if name == "softmax with options" else 1)
    expected = sum(s * loss for s, (loss, _) in zip(share, ones, strict=True)) / share.sum()
    gradient = np.concatenate([s * dx for s, (_, dx) in zip(share, ones, strict=True)]) / share.sum()
    loss, dx = loss_of(name, x, t, sample_weight=weight)
    eps = float(np.finfo(dtype).eps)
    assert type(loss) is float and dx.dtype == dtype
    assert loss == pytest.approx(expected, rel=60 * eps)
    np.testing.assert_allclose(dx, gradient, rtol=60 * eps, atol=60 * eps / N)


@pytest.mark.parametrize("name", [name for name in WEIGHTED if "options" not in name])
def test_weights_of_many_samples_are_their_own(rng, cpu_level, num_threads, name):
    x, t = batch_for(name, rng, 30_000, np.float64)  # more than one piece has
    weight = rng.random(len(x)) + 0.1
    _, plain = loss_of(name, x, t)
    _, dx = loss_of(name, x, t, sample_weight=weight)
    scale = (weight * len(x) / weight.sum()).reshape(-1, *[1] * (x.ndim - 1))
    np.testing.assert_allclose(dx, plain * scale, rtol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_of_1_change_no_bit_and_counts_are_weights(rng, cpu_level, name, dtype):
    x, t = batch_for(name, rng, 100, dtype)
    plain = loss_of(name, x, t)
    for ones in (np.ones(100), np.ones(100, dtype), np.ones(100, int), np.ones(100, bool), [1] * 100):
        loss, dx = loss_of(name, x, t, sample_weight=ones)
        assert loss == plain[0]
        np.testing.assert_array_equal(dx, plain[1])
    counts = rng.integers(0, 4, 100)
    loss, dx = loss_of(name, x, t, sample_weight=counts)
    repeated, dx_repeated = loss_of(name, np.repeat(x, counts, axis=0), np.repeat(t, counts, axis=0))
    eps = float(np.finfo(dtype).eps)
    assert loss == pytest.approx(repeated, rel=60 * eps)
    first = np.cumsum(counts)[counts > 0] - 1
    np.testing.assert_allclose(dx[counts > 0], counts[counts > 0, None] * dx_repeated[first], rtol=60 * eps, atol=eps)
    assert not dx[counts == 0].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WEIGHTED)
def test_a_sample_of_weight_0_adds_nothing_whatever_its_scores_are(rng, cpu_level, name, dtype):
    x, t = batch_for(name, rng, 6, dtype)
    weight = [1, 0, 2, 0, 0, 0.5]
    expected, dx = loss_of(name, x, t, sample_weight=weight)
    x[1], x[3, 2], x[4, 0] = np.nan, np.inf, -np.inf
    loss, found = loss_of(name, x, t, sample_weight=weight)
    assert loss == expected
    np.testing.assert_array_equal(found, dx)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 2, 3), (1, 9), ()])
@pytest.mark.parametrize("reduction", ["mean", "sum", "half_sum"])
def test_weights_are_along_the_first_axis(rng, shape, reduction):
    x, t = rng.standard_normal((2, *shape))
    weight = rng.random(shape[:1] or 1)
    spread = np.broadcast_to(weight.reshape(-1, *[1] * (len(shape) - 1)), shape) if shape else weight[0]
    factor = {"mean": 1 / spread.sum(), "sum": 1.0, "half_sum": 0.5}[reduction]
    options = {"reduction": reduction, "sample_weight": weight}
    assert squared_error(x, t, **options) == pytest.approx(factor * (spread * (x - t) ** 2).sum())
    np.testing.assert_allclose(squared_error_backward(x, t, **options), factor * 2 * spread * (x - t))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_rows_of_probabilities_with_and_without_weights(rng, cpu_level, smoothing, dtype):
    x = rng.standard_normal((5, 4)).astype(dtype)
    share = rng.random((5, 1))
    rows = (share * np.eye(4)[[0, 1, 2, 3, 0]] + (1 - share) * np.eye(4)[[2, 1, 3, 0, 1]]).astype(dtype)
    weight, classes = np.array([1, 2, 0, 0.5, 3]), np.array([1, 2, 0.5, 4])
    eps = float(np.finfo(dtype).eps)
    for sample_weight, class_weight in itertools.product((None, weight), (None, classes)):
        options = {"label_smoothing": smoothing, "class_weight": class_weight, "sample_weight": sample_weight}
        v = np.ones(5) if sample_weight is None else sample_weight
        q = ((1 - smoothing) * rows + smoothing / 4) * (1 if class_weight is None else class_weight) * v[:, None]
        logs = log_softmax(x)
        loss, y = softmax_cross_entropy(x, rows, **options)
        assert loss == pytest.approx(float(-(q * logs).sum() / v.sum()), rel=40 * eps)
        expected = (np.exp(logs) * q.sum(axis=1, keepdims=True) - q) / v.sum()
        np.testing.assert_allclose(softmax_cross_entropy_backward(y, rows, **options), expected, atol=40 * eps)


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        ([1.0, 2.0], ValueError, r"sample_weight must have one number for each of the 3 samples of \w, got"),
        (2.0, ValueError, r"sample_weight must have one number .* got shape \(\)"),
        (np.ones((3, 1)), ValueError, r"sample_weight .* got shape \(3, 1\)"),
        ([1.0, -1.0, 1.0], ValueError, "sample_weight must hold finite numbers that are not negative"),
        ([1.0, np.nan, 1.0], ValueError, "sample_weight must hold finite numbers"),
        ([1.0, np.inf, 1.0], ValueError, "sample_weight must hold finite numbers"),
        ([1e200, 1.0, 1.0], ValueError, "sample_weight must hold finite numbers"),  # in float32, which the scores are
        ([0, 0, 0], ValueError, "sample_weight must have a sum that is positive and finite, got 0.0"),
        ([False] * 3, ValueError, "sample_weight must have a sum that is positive"),
        (["a", "b", "c"], TypeError, "sample_weight must be an array of real numbers"),
        ([1j, 1, 1], TypeError, "sample_weight must be an array of real numbers"),
        ([[1], [2, 3], 4], ValueError, "sample_weight must be an array of numbers"),
    ],
)
def test_weights_that_are_refused(rng, name, weight, error, message):
    x, t = batch_for(name, rng, 3, np.float32)
    forward, backward, settings = WEIGHTED[name]
    for function in (forward, backward):
        with pytest.raises(error, match=message):
            function(x, t, **settings, sample_weight=weight)


def test_weights_whose_sum_is_infinite_are_refused():
    with pytest.raises(ValueError, match="sum that is positive and finite, got inf"):
        squared_error(np.ones(2), np.ones(2), sample_weight=[1e308, 1e308])


@pytest.mark.parametrize("name", WEIGHTED)
def test_an_empty_batch_with_weights(rng, name):
    x, t = batch_for(name, rng, 0, np.float64)
    forward, backward, settings = WEIGHTED[name]
    with pytest.raises(ValueError, match="empty batch"):
        forward(x, t, **settings, sample_weight=[])
    assert backward(x, t, **settings, sample_weight=[]).shape == (0, 7)
    with pytest.raises(ValueError, match="sample_weight must have one number for each of the 0 samples"):
        backward(x, t, **settings, sample_weight=[1.0])


def test_weights_of_samples_that_are_ignored_or_of_classes_without_weight_do_not_count(rng):
    x, t = rng.standard_normal((4, 3)), np.array([0, 2, 1, 1])
    weight = [1, 5, 2, 0.5]
    expected = softmax_cross_entropy(x[[0, 2, 3]], t[[0, 2, 3]], sample_weight=[1, 2, 0.5])[0]
    for options in ({"ignore_index": 2}, {"class_weight": [1, 1, 0]}):
        assert softmax_cross_entropy(x, t, sample_weight=weight, **options)[0] == pytest.approx(expected, rel=1e-14)
        with pytest.raises(ValueError, match="all 4 samples are ignored, of weight 0 or of classes of weight 0"):
            softmax_cross_entropy(x, t, sample_weight=[0, 1, 0, 0], **options)


LAYERS = [
    (lambda: SoftmaxWithLoss(label_smoothing=0.1, class_weight=[1, 2, 0.5], ignore_index=1), np.array([0, 1, 2, 2])),
    (lambda: SoftmaxWithLoss(label_smoothing=0.1, class_weight=[1, 2, 0.5]), np.full((4, 3), [0.2, 0.5, 0.3])),
    (SigmoidWithLoss, np.eye(4, 3)),
    (lambda: SigmoidWithLoss(pos_weight=[1, 2, 0.5]), np.eye(4, 3)),
    (MeanSquaredError, np.eye(4, 3)),
    (lambda: MeanSquaredError(reduction="sum"), np.eye(4, 3)),
    (lambda: MeanSquaredError(reduction="half_sum"), np.eye(4, 3)),
    (lambda: Huber(0.7), np.eye(4, 3)),
]


@pytest.mark.parametrize(("make", "t"), LAYERS)
def test_layers(rng, make, t):
    x = rng.standard_normal((4, 3))
    assert gradient_check(make(), x, t)["x"] <= 1e-7
    layer = make()
    loss = layer.forward(x, t)
    assert layer.loss == loss and layer.t is t and layer.y.shape == x.shape
    assert layer.backward(input_gradient=False) is None
    np.testing.assert_allclose(layer.backward(3), 3 * layer.backward(), rtol=1e-15)
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        make().backward()


@pytest.mark.parametrize(("make", "t"), LAYERS)
def test_layers_with_weights(rng, make, t):
    x, weight = rng.standard_normal((4, 3)), np.array([1, 0.5, 0, 3])

    def loss(x):
        return make().forward(x, t, sample_weight=weight)

    layer = make()
    assert layer.forward(x, t, sample_weight=weight) == layer.loss != make().forward(x, t)
    np.testing.assert_allclose(layer.backward(2), 2 * numerical_gradient(loss, x), rtol=1e-7, atol=1e-9)
    layer.forward(x, t)  # weights are those of one forward
    other = make()
    other.forward(x, t)
    np.testing.assert_array_equal(layer.backward(), other.backward())


@pytest.mark.parametrize(("make", "t"), LAYERS)
def test_a_network_ends_in_any_loss(rng, make, t):
    x = rng.standard_normal((4, 5))
    network = Network([Affine(units=3)], input_shape=(5,), dtype="float64", seed=0, last_layer=make())
    assert max(gradient_check(network, x, t).values()) < 1e-6
    network.gradient(x, t)
    assert network.last_layer.loss == pytest.approx(network.loss(x, t), rel=1e-14)
    weight = [1, 0.5, 0, 3]
    plain, weighted = network.gradient(x, t), network.gradient(x, t, sample_weight=weight)
    numerical = network.numerical_gradient(x, t, sample_weight=weight)
    for name, expected in numerical.items():
        np.testing.assert_allclose(weighted[name], expected, rtol=1e-6, atol=1e-9)
    assert not np.allclose(weighted["W1"], plain["W1"])


def test_a_network_gives_weights_only_to_a_loss_that_takes_them(rng):
    x, t = rng.standard_normal((4, 5)), np.array([0, 1, 2, 2])

    class Plain:
        def forward(self, x, t):
            self.layer = SoftmaxWithLoss()
            return self.layer.forward(x, t)

        def backward(self):
            return self.layer.backward()

    class Weighing(SoftmaxWithLoss):
        def forward(self, x, t, **options):
            self.options = options
            return super().forward(x, t, **options)

    plain, weighing = (
        Network([Affine(units=3)], (5,), dtype="float64", seed=0, last_layer=loss) for loss in (Plain(), Weighing())
    )
    np.testing.assert_equal(plain.gradient(x, t), weighing.gradient(x, t))
    assert weighing.last_layer.options == {}
    weighing.gradient(x, t, sample_weight=[1, 2, 3, 4])
    assert weighing.last_layer.options == {"sample_weight": [1, 2, 3, 4]}
    for method in (plain.gradient, plain.numerical_gradient):
        with pytest.raises(TypeError, match=r"sample_weight must be None, as Plain.forward\(x, t\) does not take it"):
            method(x, t, sample_weight=[1, 2, 3, 4])


def test_what_accuracy_is_after_each_loss():
    def network(last_layer, units):
        return Network([("only", Affine(np.eye(units), np.zeros(units)))], (units,), dtype=float, last_layer=last_layer)

    x = np.array([[2.0, -1.0], [0.5, 1.0], [-1.0, 0.0], [3.0, 4.0]])
    assert network(SigmoidWithLoss(), 2).accuracy(x, [[1, 0], [1, 1], [0, 1], [1, 0]], batch_size=3) == 6 / 8
    assert network(SigmoidWithLoss(), 1).accuracy(x[:, :1], [1, 0, 0, 1]) == 3 / 4
    assert network(SoftmaxWithLoss(ignore_index=-1), 2).accuracy(x, [0, -1, 1, 0]) == 2 / 3
    with pytest.raises(ValueError, match="all 4 are ignored"):
        network(SoftmaxWithLoss(ignore_index=-1), 2).accuracy(x, [-1] * 4)
    for loss in (MeanSquaredError(), Huber()):
        with pytest.raises(TypeError, match=f"accuracy is not defined for {type(loss).__name__}"):
            network(loss, 2).accuracy(x, x)

    class Own:
        def forward(self, x, t):
            return 0.0

    assert network(Own(), 2).accuracy(x, [0, 1, 1, 0]) == 3 / 4


def test_accuracy_of_rows_of_probabilities_and_of_scores_that_are_no_number():
    scores = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0], [0.0, 1.0, 0.5], [0.0, 2.0, 1.0]])
    rows = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3], [0.5, 0.5, 0.0]])
    assert SoftmaxWithLoss().accuracy(scores, rows) == 2 / 4
    assert SoftmaxWithLoss().accuracy(scores, [0, 2, 1, 1]) == 1
    scores[0] = scores[2, 0] = np.nan
    assert SoftmaxWithLoss().accuracy(scores, [0, 2, 1, 1]) == 2 / 4
    assert SoftmaxWithLoss().accuracy(np.full((4, 3), np.nan), [0, 0, 0, 1]) == 0
    assert SoftmaxWithLoss(ignore_index=0).accuracy(scores, [0, 2, 1, 1]) == 2 / 3
    scores = np.array([[np.nan, 1.0], [-1.0, np.nan]])
    assert SigmoidWithLoss().accuracy(scores, [[0, 1], [0, 0]]) == 2 / 4


@pytest.mark.parametrize("dout", [np.ones((2, 3)), None, "a"])
def test_dout_must_be_a_number(dout):
    with pytest.raises(TypeError, match="dout must be a number, got"):
        softmax_cross_entropy_backward(np.full((2, 3), 1 / 3), [0, 1], dout)
