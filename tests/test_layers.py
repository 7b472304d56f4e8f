"""The layers: gradients in float64, dtypes, shapes, errors, and that they survive pickling."""

import copy
import pickle

import numpy as np
import pytest

from cconv import (
    Affine,
    AveragePooling,
    BatchNormalization,
    Convolution,
    Dropout,
    Pooling,
    Relu,
    Sigmoid,
    SoftmaxWithLoss,
    gradient_check,
)


def draw(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


LAYERS = {
    "convolution": (lambda: Convolution(draw(3, 2, 3, 2), draw(3), (2, 1), 1), (2, 2, 7, 5)),
    "convolution without bias": (lambda: Convolution(draw(3, 2, 2, 3), None, pad=((0, 1), (2, 0))), (2, 2, 6, 5)),
    "grouped": (lambda: Convolution(draw(4, 1, 2, 2), draw(4), dilation=(1, 2), groups=2), (2, 2, 5, 6)),
    "by matrix": (lambda: Convolution(draw(3, 2, 3, 2), draw(3), 2, 1, algorithm="im2col"), (2, 2, 7, 5)),
    "affine": (lambda: Affine(draw(30, 4), draw(4)), (3, 2, 3, 5)),
    "affine without bias": (lambda: Affine(draw(6, 4), None), (3, 6)),
    "relu": (Relu, (3, 4, 2)),
    "sigmoid": (Sigmoid, (3, 4)),
    "pooling": (lambda: Pooling(2, 3, 2, 1), (2, 2, 7, 5)),
    "average pooling": (lambda: AveragePooling(3, 2, (1, 2), (1, 0)), (2, 2, 5, 6)),
    "dropout": (lambda: Dropout(0.4, rng=0), (5, 6)),
    "batch normalization": (lambda: BatchNormalization(draw(5), draw(5)), (7, 5)),
    "per channel": (lambda: BatchNormalization(draw(2), draw(2)), (3, 2, 4, 5)),
    "per activation": (lambda: BatchNormalization(draw(12), draw(12)), (6, 2, 3, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_agree_with_central_differences(name):
    make, shape = LAYERS[name]
    errors = gradient_check(make(), draw(*shape))
    assert max(errors.values()) <= 1e-7, errors


@pytest.mark.parametrize("t", [np.array([0, 3, 2]), np.eye(4)[[0, 3, 2]]], ids=["indices", "one-hot"])
def test_the_loss_has_the_right_gradient(t):
    assert gradient_check(SoftmaxWithLoss(), draw(3, 4), t)["x"] <= 1e-7


def test_frozen_layers_have_the_gradient_of_evaluation():
    layer = BatchNormalization(draw(5), draw(5), running_mean=draw(5), running_var=draw(5) ** 2)
    assert max(gradient_check(layer, draw(7, 5), False).values()) <= 1e-7
    assert gradient_check(Dropout(0.4), draw(7, 5), False)["x"] <= 1e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_dtype_in_is_dtype_out(name, dtype):
    make, shape = LAYERS[name]
    layer = make()
    for parameter in layer.param_names:
        if getattr(layer, parameter) is not None:
            setattr(layer, parameter, getattr(layer, parameter).astype(dtype))
    x = draw(*shape).astype(dtype)
    before = x.copy()
    out = layer.forward(x)
    assert out.dtype == dtype
    dout = np.ones_like(out)
    dx = layer.backward(dout)
    assert dx.dtype == dtype and dx.shape == x.shape
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(dout, 1)
    for parameter in layer.param_names:
        if getattr(layer, parameter) is not None:
            assert getattr(layer, "d" + parameter).dtype == dtype
    assert layer.backward(dout, input_gradient=False) is None


@pytest.mark.parametrize("name", ["convolution", "by matrix", "affine", "batch normalization"])
def test_mixed_dtypes(name):
    """float64 weights, float32 images: NumPy's promotion forwards, each array's own dtype backwards."""
    make, shape = LAYERS[name]
    layer = make()
    out = layer.forward(draw(*shape).astype(np.float32))
    assert out.dtype == np.float64
    assert layer.backward(out).dtype == np.float32
    assert getattr(layer, "d" + layer.param_names[0]).dtype == np.float64


@pytest.mark.parametrize("name", LAYERS)
def test_backward_needs_a_forward(name):
    with pytest.raises(RuntimeError, match="before forward"):
        LAYERS[name][0]().backward(np.zeros((1, 1, 1, 1)))


@pytest.mark.parametrize("name", LAYERS)
def test_copies_and_pickles_work_alone(name):
    make, shape = LAYERS[name]
    layer = make()
    x = draw(*shape)
    twins = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    out = layer.forward(x)
    for twin in twins:
        np.testing.assert_array_equal(twin.forward(x), out)


@pytest.mark.parametrize("name", LAYERS)
def test_integer_images_are_refused(name):
    make, shape = LAYERS[name]
    with pytest.raises(TypeError, match="255"):
        make().forward(np.ones(shape, np.uint8))


def test_a_written_or_assigned_weight_takes_effect():
    layer = Convolution(np.ones((1, 1, 2, 2)), np.zeros(1))
    x = np.ones((1, 1, 2, 2))
    assert layer.forward(x).item() == 4
    layer.W[...] = 2
    assert layer.forward(x).item() == 8
    layer.W = np.full((1, 1, 2, 2), 3.0)
    assert layer.forward(x).item() == 12


def test_the_matrix_method_agrees_with_the_direct_one():
    x, W, b = draw(2, 3, 9, 8), draw(5, 3, 3, 2), draw(5)
    options = {"stride": (2, 1), "pad": ((1, 0), (2, 1)), "dilation": (1, 2)}
    layers = [Convolution(W, b, algorithm=algorithm, **options) for algorithm in ("direct", "im2col")]
    out, other = (layer.forward(x) for layer in layers)
    np.testing.assert_allclose(out, other, rtol=1e-12, atol=1e-12)
    dx, dx2 = (layer.backward(out) for layer in layers)
    np.testing.assert_allclose(dx, dx2, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(layers[0].dW, layers[1].dW, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(layers[0].db, layers[1].db, rtol=1e-11)


def test_batch_normalization_keeps_running_statistics_of_its_own():
    given = np.zeros(2), np.zeros(2)
    layer = BatchNormalization(np.ones(2), np.zeros(2), 0.9, *given)
    x = np.array([[1.0, 2.0], [3.0, 6.0]])
    layer.forward(x)
    np.testing.assert_allclose(layer.running_mean, 0.1 * x.mean(axis=0))
    np.testing.assert_allclose(layer.running_var, 0.1 * x.var(axis=0))
    assert not given[0].any() and not given[1].any()
    with pytest.raises(ValueError, match="more than one value per feature"):
        layer.forward(x[:1])
    with pytest.raises(ValueError, match="one value per feature of x"):
        layer.forward(np.ones((4, 3)))


def test_dropout_is_repeatable_and_keeps_its_share():
    x = np.ones((100, 100), np.float32)
    first, second = (Dropout(0.3, rng=1).forward(x) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert abs(first.mean() - 0.7) < 0.02 and set(np.unique(first)) == {0, 1}
    np.testing.assert_allclose(Dropout(0.3).forward(x, train_flg=False), 0.7)
    with pytest.raises(ValueError, match="dropout_ratio"):
        Dropout(1)


def test_softmax_with_loss_of_one_sample_and_of_none():
    layer = SoftmaxWithLoss()
    assert layer.forward(np.zeros(4), 2) == pytest.approx(np.log(4))
    assert layer.y.shape == (4,) and layer.backward().shape == (4,)
    with pytest.raises(ValueError, match="empty batch"):
        layer.forward(np.zeros((0, 4)), np.zeros(0, int))
    with pytest.raises(ValueError, match="0 to 3"):
        layer.forward(np.zeros((1, 4)), [4])
