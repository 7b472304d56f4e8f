"""The layers: worked numbers, gradients, dtypes, state, and what they refuse."""

import copy
import functools
import pickle

import numpy as np
import oracles
import pytest

from cconv import (
    AdaptiveAveragePooling,
    Affine,
    AveragePooling,
    BatchNormalization,
    Concatenate,
    Convolution,
    Dropout,
    Elu,
    Flatten,
    Gelu,
    GlobalAveragePooling,
    GlobalMaxPooling,
    GroupNormalization,
    Huber,
    Layer,
    LayerNormalization,
    LeakyRelu,
    MeanSquaredError,
    Normalize,
    Pooling,
    Relu,
    Reshape,
    Residual,
    Scale,
    Sigmoid,
    SigmoidWithLoss,
    SoftmaxWithLoss,
    Softplus,
    TransposedConvolution,
    Upsample,
    ZeroPad,
    gradient_check,
    layers,
)

DTYPES = [np.float32, np.float64]

X = np.array([[1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1]], np.float64)[None, None]
W = np.array([[2, 0, 1], [0, 1, 2], [1, 0, 2]], np.float64)[None, None]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


ACTIVATIONS = {
    kind.function.name: kind
    for kind in (getattr(layers, name) for name in layers.__all__)
    if issubclass(kind, layers.activation.Activation)
}

# Each entry makes a layer for input of shape (3, 4, 7, 6); the arguments after it go to forward.
LAYERS = {
    "convolution": (lambda: Convolution(normal(5, 4, 3, 2), normal(5)),),
    "convolution-stride-pad": (lambda: Convolution(normal(5, 4, 3, 2), normal(5), 2, 1),),
    "convolution-no-bias": (lambda: Convolution(normal(5, 4, 3, 3), None, pad="same"),),
    "convolution-uneven": (
        lambda: Convolution(normal(6, 2, 2, 3), normal(6), (3, 1), ((0, 1), (2, 0)), dilation=(2, 1), groups=2),
    ),
    "convolution-im2col": (lambda: Convolution(normal(5, 4, 3, 2), normal(5), 2, 1, algorithm="im2col"),),
    "transposed": (lambda: TransposedConvolution(normal(4, 3, 3, 2), normal(3), 2, 1),),
    "transposed-uneven": (
        lambda: TransposedConvolution(
            normal(4, 3, 2, 3), None, (3, 1), ((0, 1), (2, 0)), dilation=(2, 1), groups=2, output_padding=(2, 0)
        ),
    ),
    "pooling": (lambda: Pooling(2, 2, 2),),
    "pooling-overlapping": (lambda: Pooling(3, 2, 1, 1),),
    "average-pooling": (lambda: AveragePooling(3, 2, stride=2, pad=1),),
    "pooling-options": (lambda: Pooling(2, 2, (2, 1), ((0, 1), (1, 0)), dilation=(2, 1), ceil_mode=True),),
    "average-pooling-options": (lambda: AveragePooling(3, 2, 2, 1, ceil_mode=True, count_include_pad=False),),
    "adaptive-average-pooling": (lambda: AdaptiveAveragePooling((3, 4)),),
    "global-average-pooling": (GlobalAveragePooling,),
    "global-max-pooling": (GlobalMaxPooling,),
    "upsample-nearest": (lambda: Upsample((2, 1.5)),),
    "upsample-bilinear": (lambda: Upsample(2, "bilinear"),),
    "upsample-corners": (lambda: Upsample((1.5, 3), "bilinear", align_corners=True),),
    "zero-pad": (lambda: ZeroPad(((1, 0), (2, 3))),),
    "flatten": (Flatten,),
    "reshape": (lambda: Reshape((6, -1, 4)),),
    "scale": (lambda: Scale(0.7),),
    "normalize": (lambda: Normalize(normal(4), np.abs(normal(4, seed=1)) + 0.1),),
    "residual": (lambda: Residual([Sigmoid(), AveragePooling(3, 3, pad=1)], [Sigmoid()]),),
    "residual-identity": (lambda: Residual([Sigmoid()]),),
    "concatenate": (lambda: Concatenate([Sigmoid()], [], [Reshape((2, 2, 7, 6)), Reshape((4, 7, 6)), Sigmoid()]),),
    "affine": (lambda: Affine(normal(168, 5), normal(5)),),
    "affine-no-bias": (lambda: Affine(normal(168, 5), None),),
    "relu": (Relu,),
    **{
        name.replace("_", "-"): (functools.partial(ACTIVATIONS[oracles.door_of(name)], **settings),)
        for name, (settings, *_) in oracles.ACTIVATIONS.items()
        if name != "relu"
    },
    "dropout": (lambda: Dropout(0.4, seed=1),),
    "dropout-evaluation": (lambda: Dropout(0.4, seed=1), False),
    "dropout-inverted": (lambda: Dropout(0.4, inverted=True, seed=1),),
    "dropout-spatial": (lambda: Dropout(0.4, spatial=True, seed=1),),
    "batch-normalization-channels": (lambda: BatchNormalization(normal(4), normal(4, seed=1)),),
    "batch-normalization-activations": (lambda: BatchNormalization(normal(168), normal(168, seed=1)),),
    "batch-normalization-evaluation": (
        lambda: BatchNormalization(normal(4), normal(4, seed=1), 0.9, normal(4, seed=2), normal(4, seed=3) ** 2),
        False,
    ),
    "layer-normalization": (lambda: LayerNormalization(normal(4, 7, 6), normal(4, 7, 6, seed=1)),),
    "layer-normalization-last-axis": (lambda: LayerNormalization(normal(6), normal(6, seed=1)),),
    "group-normalization": (lambda: GroupNormalization(2, normal(4), normal(4, seed=1)),),
}


def test_every_layer_is_there():
    others = {"SoftmaxWithLoss", "SigmoidWithLoss", "MeanSquaredError", "Huber", "Layer", "Branches"}
    assert {type(make()).__name__ for make, *_ in LAYERS.values()} == set(layers.__all__) - others


@pytest.fixture(params=LAYERS.values(), ids=LAYERS.keys())
def made(request):
    """A layer and the arguments that its forward takes after x."""
    make, *args = request.param
    return make(), args


def sample(dtype=np.float64):
    return normal(3, 4, 7, 6, seed=9).astype(dtype)


def cast(layer, dtype):
    for name in (*layer.param_names, *layer.buffer_names):
        array = getattr(layer, name)
        if array is not None and array.dtype.kind == "f":
            setattr(layer, name, array.astype(dtype))
    return layer


def run(layer, x, args):
    """Return the output, the gradient of x and those of the parameters, for a dout of fixed values."""
    out = layer.forward(x, *args)
    dx = layer.backward(normal(*out.shape, seed=5).astype(out.dtype))
    return [out, dx, *(getattr(layer, "d" + name) for name in layer.param_names)]


# ---- worked numbers


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("stride", "pad", "expected"),
    [
        (1, 0, [[15, 16], [6, 15]]),
        (1, 1, [[7, 12, 10, 2], [4, 15, 16, 10], [10, 6, 15, 6], [8, 10, 4, 3]]),
        (3, 1, [[7, 2], [8, 3]]),
    ],
)
def test_convolution_of_the_chapter(stride, pad, expected, dtype, algorithm, cpu_level):
    layer = Convolution(W.astype(dtype), np.zeros(1, dtype), stride, pad, algorithm=algorithm)
    out = layer.forward(X.astype(dtype))
    assert out.dtype == dtype
    np.testing.assert_array_equal(out[0, 0], expected)
    layer.b = np.full(1, 3, dtype)
    np.testing.assert_array_equal(layer.forward(X.astype(dtype))[0, 0], np.add(expected, 3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_pooling_of_the_chapter(dtype, cpu_level):
    out = Pooling(2, 2, stride=2).forward(X.astype(dtype))
    assert out.dtype == dtype
    np.testing.assert_array_equal(out[0, 0], [[2, 3], [3, 2]])
    np.testing.assert_array_equal(AveragePooling(2, 2, 2).forward(X.astype(dtype))[0, 0], [[1, 2], [2, 1]])


def test_pooling_has_the_chapters_default_stride():
    assert Pooling(2, 2).forward(X).shape == AveragePooling(2, 2).forward(X).shape == (1, 1, 3, 3)


def test_average_pooling_counts_its_padding():
    out = AveragePooling(2, 2, 2, 1).forward(np.full((1, 1, 2, 2), 4.0))
    np.testing.assert_array_equal(out, np.ones((1, 1, 2, 2)))


def test_affine():
    layer = Affine(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([10.0, 20.0]))
    np.testing.assert_array_equal(layer.forward(np.array([[1.0, 0.0, 2.0]])), [[21, 34]])
    np.testing.assert_array_equal(layer.backward(np.array([[1.0, 10.0]])), [[21, 43, 65]])
    np.testing.assert_array_equal(layer.dW, [[1, 10], [0, 0], [2, 20]])
    np.testing.assert_array_equal(layer.db, [1, 10])


def test_affine_restores_the_shape_of_its_input():
    layer = Affine(normal(24, 5), normal(5))
    x = normal(3, 4, 2, 3)
    np.testing.assert_allclose(layer.forward(x), x.reshape(3, 24) @ layer.W + layer.b, rtol=1e-12)
    assert layer.backward(normal(3, 5)).shape == x.shape
    assert layer.forward(normal(24)).shape == (1, 5)
    assert layer.backward(normal(1, 5)).shape == (24,)


def test_softmax_with_loss():
    x = normal(4, 5)
    labels = np.array([3, 0, 1, 1])
    log_y = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    layer = SoftmaxWithLoss()
    for t in (labels, labels[:, None], labels.astype(np.uint8), np.eye(5)[labels], np.eye(5, dtype=bool)[labels]):
        loss = layer.forward(x, t)
        assert loss == layer.loss == pytest.approx(-log_y[np.arange(4), labels].mean(), rel=1e-14)
        assert layer.t is t
        np.testing.assert_allclose(layer.y, np.exp(log_y), rtol=1e-14)
        np.testing.assert_allclose(layer.backward(), (np.exp(log_y) - np.eye(5)[labels]) / 4, atol=1e-16)
    single = layer.forward(x[0], 3)
    assert single == pytest.approx(-log_y[0, 3], rel=1e-14)
    assert layer.y.shape == layer.backward().shape == (5,)


def test_softmax_with_loss_is_exact_where_probabilities_vanish():
    layer = SoftmaxWithLoss()
    assert layer.forward(np.array([[0.0, 2000.0]]), [0]) == 2000.0
    np.testing.assert_array_equal(layer.backward(), [[-1, 1]])


@pytest.mark.parametrize("shape", [(30, 4), (30, 4, 3, 5)])
def test_batch_normalization(shape):
    gamma, beta, x = normal(4, seed=1), normal(4, seed=2), 3 * normal(*shape) + 7
    layer = BatchNormalization(gamma, beta)
    per_feature = (1, 4, *[1] * (len(shape) - 2))
    axes = tuple(axis for axis in range(len(shape)) if axis != 1)
    mean, var = x.mean(axes), x.var(axes)
    expected = (x - mean.reshape(per_feature)) / np.sqrt(var.reshape(per_feature) + 10e-7)
    expected = gamma.reshape(per_feature) * expected + beta.reshape(per_feature)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.running_mean, 0.1 * mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, 0.1 * var, rtol=1e-12)
    layer.forward(x, train_flg=True)
    np.testing.assert_allclose(layer.running_mean, 0.19 * mean, rtol=1e-12)
    out = layer.forward(x, train_flg=False)
    np.testing.assert_allclose(layer.running_mean, 0.19 * mean, rtol=1e-12)  # evaluation does not move them
    expected = (x - 0.19 * mean.reshape(per_feature)) / np.sqrt(0.19 * var.reshape(per_feature) + 10e-7)
    np.testing.assert_allclose(out, gamma.reshape(per_feature) * expected + beta.reshape(per_feature), rtol=1e-10)


def test_batch_normalization_per_activation_is_that_of_the_flattened_input():
    gamma, beta, x = normal(24, seed=1), normal(24, seed=2), normal(5, 2, 3, 4)
    per_activation, flat = BatchNormalization(gamma, beta), BatchNormalization(gamma, beta)
    dout = normal(*x.shape, seed=3)
    np.testing.assert_array_equal(per_activation.forward(x).reshape(5, 24), flat.forward(x.reshape(5, 24)))
    np.testing.assert_array_equal(per_activation.backward(dout).reshape(5, 24), flat.backward(dout.reshape(5, 24)))


def test_batch_normalization_does_not_write_into_the_arrays_it_was_given():
    mean, var = np.zeros(4), np.ones(4)
    BatchNormalization(np.ones(4), np.zeros(4), 0.5, mean, var).forward(normal(8, 4))
    np.testing.assert_array_equal([mean, var], [np.zeros(4), np.ones(4)])


def test_batch_normalization_of_float32_does_not_cancel():
    x = (1000 + normal(4000, 2)).astype(np.float32)
    out = BatchNormalization(np.ones(2, np.float32), np.zeros(2, np.float32)).forward(x)
    np.testing.assert_allclose(out, (x - x.mean(0, np.float64)) / x.std(0, dtype=np.float64), atol=1e-3)


def test_im2col_and_direct_convolution_agree():
    x, options = sample(), {"stride": (2, 1), "pad": ((1, 0), (2, 1)), "dilation": (1, 2)}
    layers = [Convolution(normal(5, 4, 3, 2), normal(5), **options, algorithm=a) for a in ("direct", "im2col")]
    for direct, matrix in zip(*(run(layer, x, ()) for layer in layers), strict=True):
        np.testing.assert_allclose(direct, matrix, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        layers[0].forward(x),
        oracles.convolution(x, layers[0].W, layers[0].b, (2, 1), ((1, 0), (2, 1)), (1, 2)),
        rtol=1e-11,
        atol=1e-12,
    )


# ---- gradients


def test_gradients_agree_with_central_differences(made, cpu_level):
    layer, args = made
    errors = gradient_check(layer, normal(5, 4, 7, 6, seed=9), *args)
    assert errors.keys() == {"x", *(name for name in layer.param_names if getattr(layer, name) is not None)}
    assert max(errors.values()) <= 1e-7, errors


@pytest.mark.parametrize(
    "t", [np.array([4, 0, 2]), np.eye(5)[[4, 0, 2]], np.full((3, 5), 0.2)], ids=["1d", "2d", "soft"]
)
def test_gradient_of_the_loss(t):
    assert gradient_check(SoftmaxWithLoss(), normal(3, 5), t)["x"] <= 1e-7


# ---- dtypes, layouts, and what is not touched


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_in_is_dtype_out_and_nothing_is_written(made, dtype):
    layer, args = made
    cast(layer, dtype)
    x = sample(dtype)
    x.flags.writeable = False
    for array in (getattr(layer, name) for name in layer.param_names if getattr(layer, name) is not None):
        array.flags.writeable = False
    out = layer.forward(x, *args)
    dout = normal(*out.shape, seed=5).astype(dtype)
    dout.flags.writeable = False
    dx = layer.backward(dout)
    assert out.dtype == dx.dtype == dtype
    assert dx.shape == x.shape
    for name in layer.param_names:
        parameter, gradient = getattr(layer, name), getattr(layer, "d" + name)
        assert (gradient is None) == (parameter is None)
        if gradient is not None:
            assert gradient.dtype == dtype
            assert gradient.shape == parameter.shape


def test_float32_is_near_float64(made):
    layer, args = made
    other = cast(copy.deepcopy(layer), np.float32)  # before the first forward: dropout draws another mask after it
    wide, narrow = run(layer, sample(), args), run(other, sample(np.float32), args)
    for expected, actual in zip(wide, narrow, strict=True):
        assert (actual is None) == (expected is None)
        if expected is not None:
            assert actual.dtype == np.float32
            np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(("x_dtype", "param_dtype"), [DTYPES, DTYPES[::-1]])
def test_mixed_dtypes_promote_and_gradients_come_back_in_their_own(made, x_dtype, param_dtype):
    layer, args = made
    cast(layer, param_dtype)
    out = layer.forward(sample(x_dtype), *args)
    assert out.dtype == (np.float64 if layer.param_names else x_dtype)
    dx = layer.backward(np.ones(out.shape, np.float64))
    assert dx.dtype == x_dtype
    for name in layer.param_names:
        if getattr(layer, name) is not None:
            assert getattr(layer, "d" + name).dtype == param_dtype


@pytest.mark.parametrize("dtypes", [DTYPES, DTYPES[::-1]])
@pytest.mark.parametrize("algorithm", ["direct", "im2col", "affine"])
def test_each_gradient_has_the_dtype_of_its_own_parameter(dtypes, algorithm):
    W, b = normal(4, 4, 3, 3).astype(dtypes[0]), normal(4).astype(dtypes[1])
    layer = Affine(W.reshape(36, 4), b) if algorithm == "affine" else Convolution(W, b, algorithm=algorithm)
    x = normal(2, 4, 3, 3).astype(np.float32)
    dx = layer.backward(layer.forward(x))
    assert [dx.dtype, layer.dW.dtype, layer.db.dtype] == [x.dtype, W.dtype, b.dtype]


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        lambda a: a[::-1].copy()[::-1],
        lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    ],
    ids=["fortran", "swapped", "strided", "reversed", "unaligned"],
)
def test_any_layout_gives_the_same_bits(made, layout):
    layer, args = made
    same = copy.deepcopy(layer)
    expected = run(layer, sample(), args)
    x = layout(sample())
    out = same.forward(x, *args)
    dx = same.backward(layout(normal(*out.shape, seed=5)))
    np.testing.assert_array_equal(out, expected[0])
    np.testing.assert_array_equal(dx, expected[1])


def test_an_empty_batch_gives_empty_output_and_zero_gradients(made):
    layer, args = made
    if isinstance(layer, BatchNormalization) and not args:
        pytest.skip("training on an empty batch is an error")
    out = layer.forward(sample()[:0], *args)
    assert out.shape == (0, *layer.forward(sample(), *args).shape[1:])
    layer.forward(sample()[:0], *args)
    dx = layer.backward(out)
    assert dx.shape == (0, 4, 7, 6)
    for name in layer.param_names:
        parameter, gradient = getattr(layer, name), getattr(layer, "d" + name)
        if parameter is None:
            assert gradient is None
        else:
            assert gradient.shape == parameter.shape and not gradient.any()


@pytest.mark.parametrize("size", [(0, 4), (1, 4)])
def test_batch_normalization_cannot_train_on_less_than_two(size):
    with pytest.raises(ValueError, match=f"two values per feature in training, got {size[0]}"):
        BatchNormalization(np.ones(4), np.zeros(4)).forward(np.zeros(size))


def test_nan_passes_through(made):
    layer, args = made
    x = sample()
    x[0, 1, 2, 2] = np.nan
    if isinstance(layer, Dropout):
        args = [False]
    assert np.isnan(layer.forward(x, *args)).any()


# ---- state


def test_backward_before_forward_is_an_error(made):
    layer, _ = made
    with pytest.raises(RuntimeError, match=f"{type(layer).__name__}.backward was called before forward"):
        layer.backward(sample())
    with pytest.raises(RuntimeError, match="SoftmaxWithLoss.backward was called before forward"):
        SoftmaxWithLoss().backward()


def test_input_gradient_can_be_left_out(made):
    layer, args = made
    same = copy.deepcopy(layer)
    out, _, *gradients = run(layer, sample(), args)
    same.forward(sample(), *args)
    assert same.backward(normal(*out.shape, seed=5), input_gradient=False) is None
    for name, gradient in zip(layer.param_names, gradients, strict=True):
        np.testing.assert_array_equal(getattr(same, "d" + name), gradient)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_does_the_same_and_does_not_carry_the_last_batch(made, duplicate):
    layer, args = made
    fresh = duplicate(layer)
    layer.forward(sample(), *args)
    later = duplicate(layer)
    with pytest.raises(RuntimeError, match="before forward"):
        later.backward(sample())
    if not isinstance(layer, (Dropout, BatchNormalization)):  # whose state has moved on
        np.testing.assert_array_equal(fresh.forward(sample()), layer.forward(sample()))
    layer.backward(normal(*layer.forward(sample(), *args).shape))  # the original keeps its own


def test_layers_hold_the_arrays_they_were_given():
    weights, bias = normal(5, 4, 3, 2), normal(5)
    layer = Convolution(weights, bias)
    assert layer.W is weights
    assert layer.b is bias
    affine = Affine(normal(168, 5), bias)
    assert affine.b is bias


@pytest.mark.parametrize(
    "make", [lambda: Convolution(normal(5, 4, 3, 2), normal(5)), lambda: Affine(normal(168, 5), normal(5))]
)
def test_a_changed_parameter_takes_effect_at_the_next_call(make):
    layer = make()
    before = layer.forward(sample())
    layer.W[...] *= 2
    layer.b[...] *= 2
    np.testing.assert_allclose(layer.forward(sample()), 2 * before, rtol=1e-12)
    layer.W, layer.b = layer.W * 3, layer.b * 3
    np.testing.assert_allclose(layer.forward(sample()), 6 * before, rtol=1e-12)
    dx = layer.backward(np.ones_like(before))
    layer.W *= -1
    np.testing.assert_allclose(layer.backward(np.ones_like(before)), -dx, rtol=1e-12)


def test_relu_needs_its_output_no_longer():
    layer = Relu()
    out = layer.forward(np.array([[-1.0, 2.0]]))
    out[...] = 0
    np.testing.assert_array_equal(layer.backward(np.ones((1, 2), np.float32)), [[0, 1]])
    assert layer.backward(np.ones((1, 2), np.float32)).dtype == np.float64
    with pytest.raises(ValueError, match=r"output's shape \(1, 2\), got \(2, 1\)"):
        layer.backward(np.ones((2, 1)))


def test_relu_has_gradient_zero_at_zero():
    layer = Relu()
    layer.forward(np.array([[-1.0, -0.0, 0.0, 1e-30]]))
    np.testing.assert_array_equal(layer.backward(np.full((1, 4), 5.0)), [[0, 0, 0, 5]])


def test_pooling_sends_the_gradient_to_the_first_maximum():
    layer = Pooling(2, 2, 2)
    layer.forward(np.full((1, 1, 2, 2), 7.0))
    np.testing.assert_array_equal(layer.backward(np.ones((1, 1, 1, 1)))[0, 0], [[1, 0], [0, 0]])


# ---- what is refused


def test_integer_images_are_refused(made):
    layer, args = made
    if layer.takes_integers:
        pytest.skip("it takes them")
    with pytest.raises(TypeError, match=r"x must be float32 or float64, got uint8; scale it first.*/ 255"):
        layer.forward(np.ones((3, 4, 7, 6), np.uint8), *args)


IMAGES = np.zeros((2, 3, 6, 6))


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda: Convolution(np.ones((1, 3, 3, 3)), None, 0), ValueError, "stride must be at least 1, got 0"),
        (lambda: Convolution(np.ones((1, 3, 3, 3)), None, 1.5), TypeError, "stride must be an integer, got 1.5"),
        (lambda: Convolution(np.ones((1, 3, 3, 3)), None, 1, -1), ValueError, "pad must be at least 0, got -1"),
        (lambda: Convolution(np.ones((1, 3, 3, 3)), None, pad="full"), ValueError, "'same' or 'valid', got 'full'"),
        (lambda: Convolution(np.ones((1, 3, 3, 3)), None, algorithm="fft"), ValueError, "algorithm must be"),
        (lambda: Convolution(np.ones((1, 3, 3, 3)), None, groups=0), ValueError, "groups must be at least 1"),
        (lambda: Convolution(np.ones((1, 3, 7, 7)), None).forward(IMAGES), ValueError, "7 is larger than the padded"),
        (lambda: Convolution(np.ones((1, 4, 3, 3)), None).forward(IMAGES), ValueError, "W must have x's channels"),
        (lambda: Convolution(np.ones((3, 3, 3)), None).forward(IMAGES), ValueError, "W must have 4 dimensions"),
        (lambda: Convolution(np.ones((2, 3, 3, 3)), np.ones(3)).forward(IMAGES), ValueError, "b must have one value"),
        (lambda: Convolution(np.ones((1, 3, 3, 3)), None).forward(IMAGES[0]), ValueError, "x must have 4 dimensions"),
        (lambda: Convolution(np.ones((1, 3, 3, 3)), None).forward(IMAGES.astype(np.uint8)), TypeError, r"/ 255"),
        (lambda: Convolution(np.ones((1, 3, 3, 3), int), None).forward(IMAGES), TypeError, "W must be float32"),
        (lambda: Pooling(0, 2), ValueError, "pool_h must be at least 1, got 0"),
        (lambda: Pooling(2, 2, 0), ValueError, "stride must be at least 1, got 0"),
        (lambda: Pooling(2, 2, 2, 2).forward(IMAGES), ValueError, "at most half the pooling window"),
        (lambda: Pooling(7, 2).forward(IMAGES), ValueError, "7 is larger than the padded input"),
        (lambda: AveragePooling(2, 2, 2, 2).forward(IMAGES), ValueError, "at most half the pooling window"),
        (lambda: Pooling(2, 2).forward(IMAGES.astype(int)), TypeError, "x must be float32 or float64, got int64"),
        (lambda: Affine(np.ones((5, 2)), np.ones(2)).forward(IMAGES), ValueError, "108 features"),
        (lambda: Affine(np.ones((108, 2)), np.ones(3)).forward(IMAGES), ValueError, "b must have one value"),
        (lambda: Affine(np.ones((1, 2)), None).forward(np.float64(3)), ValueError, "at least 1 dimension"),
        (lambda: Relu().forward(np.array([1j])), TypeError, "got complex128"),
        (lambda: Sigmoid().forward(np.array([None])), TypeError, "got object"),
        (lambda: LeakyRelu(None), TypeError, "negative_slope must be a number, got None"),
        (lambda: Elu(np.inf), ValueError, "alpha must be a finite number, got inf"),
        (lambda: Gelu("erf"), ValueError, "approximate must be 'none' or 'tanh', got 'erf'"),
        (lambda: Softplus(-1), ValueError, "beta must be a positive number, got -1"),
        (lambda: Softplus(1, np.nan), ValueError, "threshold must be a finite number, got nan"),
        (lambda: Elu("1"), TypeError, "alpha must be a number, got '1'"),
        (lambda: Elu(True), TypeError, "alpha must be a number, got True"),
        (lambda: BatchNormalization(momentum=1.5), ValueError, "momentum must be from 0 to 1, got 1.5"),
        (lambda: BatchNormalization(np.ones(2), np.ones(2), 0.9, np.ones(3)), ValueError, "running_mean must have one"),
        (lambda: BatchNormalization(np.ones(2, int), np.ones(2)), TypeError, "gamma must be float32 or float64"),
        (lambda: Huber(0), ValueError, "delta must be a positive number, got 0"),
        (lambda: MeanSquaredError(reduction="none"), ValueError, "reduction must be one of mean, sum, half_sum"),
        (lambda: SoftmaxWithLoss(label_smoothing="a"), TypeError, "label_smoothing must be a number, got 'a'"),
        (lambda: SoftmaxWithLoss(class_weight=[1, -1]), ValueError, "class_weight must hold finite numbers"),
        (lambda: SoftmaxWithLoss(ignore_index=0.5), TypeError, "ignore_index must be an integer, got 0.5"),
        (lambda: SigmoidWithLoss(pos_weight=[-1]), ValueError, "pos_weight must hold finite numbers"),
        (lambda: Dropout(1.0), ValueError, "dropout_ratio must be at least 0 and below 1, got 1.0"),
        (lambda: Dropout(-0.1), ValueError, "dropout_ratio"),
        (lambda: BatchNormalization(np.ones(5), np.zeros(5)).forward(IMAGES), ValueError, "got 5 values"),
        (lambda: BatchNormalization(np.ones(3), np.zeros(4)).forward(IMAGES), ValueError, "beta must have gamma"),
        (lambda: SoftmaxWithLoss().forward(np.zeros((2, 3)), [0, 3]), ValueError, "from 0 to 2, got 3 for sample 1"),
        (lambda: SoftmaxWithLoss().forward(np.zeros((2, 3)), [0, -1]), ValueError, "got -1"),
        (lambda: SoftmaxWithLoss().forward(np.zeros((2, 3)), [0, 1, 2]), ValueError, "t must be class indices"),
        (lambda: SoftmaxWithLoss().forward(np.zeros((0, 3)), np.zeros(0, int)), ValueError, "empty batch"),
        (lambda: SoftmaxWithLoss().forward(np.zeros((2, 3, 1)), [0, 1]), ValueError, "1 or 2 dimensions"),
        (lambda: Layer().forward(IMAGES), NotImplementedError, r"Layer must define forward"),
    ],
)  # fmt: skip
def test_errors_name_the_argument_and_what_came(act, error, words):
    with pytest.raises(error, match=words):
        act()


def test_backward_refuses_a_dout_of_another_shape(made):
    layer, args = made
    out = layer.forward(sample(), *args)
    with pytest.raises(ValueError, match="dout must have"):
        layer.backward(np.ones((*out.shape[:-1], out.shape[-1] + 1)))
