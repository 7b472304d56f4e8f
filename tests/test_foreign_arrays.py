"""Arrays of other libraries are read through `__array__` and DLPack; what is updated in place is NumPy's own."""

import copy

import numpy as np
import pytest

import cconv
from cconv import functional
from cconv._arrays import as_array, as_input, in_dtype_of
from cconv.kernels import memory

RNG = np.random.default_rng(0)


class Frame:
    """What has `__array__`, and names its dtype in its own way."""

    dtype = "float of a frame"

    def __init__(self, values):
        self.values = np.asarray(values)
        self.shape = list(self.values.shape)

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype, copy=copy)


class Tensor:
    """What has DLPack alone."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


class OnDevice(Tensor):
    """What lies on a device, as DLPack says."""

    def __dlpack__(self, **options):
        raise BufferError("the memory is not the CPU's")

    def __dlpack_device__(self):
        return 2, 0


class OfGradient(Frame):
    """What refuses as PyTorch's tensors do that require a gradient."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on a tensor that requires grad.")


class ElsewhereWithArray(Frame):
    """What refuses as PyTorch's tensors on a device do."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert a device's tensor to numpy.")


FOREIGN = [Frame, Tensor]
UNREADABLE = [OnDevice, OfGradient, ElsewhereWithArray]
DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("kind", FOREIGN)
def test_one_place_reads_them(kind):
    x = RNG.random((2, 3))
    np.testing.assert_array_equal(as_input(kind(x), "x", 2), x)
    assert np.shares_memory(as_array(Tensor(x), "x"), x)
    with pytest.raises(TypeError, match="x must be float32 or float64, got int64"):
        as_input(kind(np.arange(3)), "x")
    assert in_dtype_of(Frame(np.ones(2, np.float32)), np.ones(2)).dtype == np.float32


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_tensor_that_numpy_cannot_read(kind):
    x = RNG.random((2, 3))
    message = rf"x must be .* passed as x\.detach\(\)\.cpu\(\)\), got {kind.__name__}: "
    for call in (as_array, as_input):
        with pytest.raises(TypeError, match=message):
            call(kind(x), "x")
    with pytest.raises(TypeError, match=r"t\.detach\(\)"):
        cconv.SoftmaxWithLoss().forward(x, kind(np.array([0, 1])))


def test_a_list_of_tensors_that_numpy_cannot_read():
    with pytest.raises(TypeError, match=r"x\.detach\(\)\.cpu\(\)\), got list"):
        as_array([OfGradient([1.0]), OfGradient([2.0])], "x")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", FOREIGN)
def test_layers_take_them_as_x_and_dout(kind, dtype):
    layers = [
        (cconv.Convolution(RNG.random((2, 3, 3, 3)), np.zeros(2)), (2, 3, 5, 5)),
        (cconv.Convolution(RNG.random((2, 3, 3, 3)), np.zeros(2), algorithm="im2col"), (2, 3, 5, 5)),
        (cconv.TransposedConvolution(RNG.random((3, 2, 2, 2)), np.zeros(2)), (2, 3, 4, 4)),
        (cconv.Affine(RNG.random((3, 2)), np.zeros(2)), (4, 3)),
        (cconv.BatchNormalization(np.ones(3), np.zeros(3)), (4, 3)),
        (cconv.LayerNormalization(np.ones(3), np.zeros(3)), (4, 3)),
        (cconv.GroupNormalization(2, np.ones(4), np.zeros(4)), (2, 4, 3, 3)),
        (cconv.Pooling(2, 2), (1, 1, 4, 4)),
        (cconv.AveragePooling(2, 2), (1, 1, 4, 4)),
        (cconv.Relu(), (2, 3)),
        (cconv.Sigmoid(), (2, 3)),
        (cconv.Dropout(0.5, seed=0), (2, 3)),
        (cconv.Flatten(), (2, 3, 1)),
        (cconv.Upsample(2), (1, 1, 2, 2)),
        (cconv.ZeroPad(1), (1, 1, 2, 2)),
        (cconv.GlobalAveragePooling(), (2, 3, 2, 2)),
        (cconv.Residual([cconv.Relu()]), (2, 3)),
    ]
    for layer, shape in layers:
        x = RNG.random(shape).astype(dtype)
        other = copy.deepcopy(layer)
        out = other.forward(kind(x))
        np.testing.assert_array_equal(out, layer.forward(x))
        dout = RNG.random(out.shape).astype(dtype)
        dx, expected = other.backward(kind(dout)), layer.backward(dout)
        assert dx.dtype == expected.dtype == dtype, type(layer)
        np.testing.assert_array_equal(dx, expected)


@pytest.mark.parametrize("kind", FOREIGN)
def test_operations_return_gradients_in_their_dtype(kind):
    x, W = RNG.random((1, 2, 4, 4)).astype(np.float32), RNG.random((3, 2, 3, 3))
    dout = RNG.random((1, 3, 2, 2)).astype(np.float32)
    pairs = [
        (functional.convolution_backward, (dout, x, W)),
        (functional.affine_backward, (dout[0, 0], x[0, 0, :2], W[0, 0, :2].T.repeat(2, 0)[:4, :2])),
        (functional.transposed_convolution_backward, (RNG.random((1, 2, 6, 6)), x, W.reshape(2, 3, 3, 3)[:, :2])),
    ]
    for operation, arrays in pairs:
        for plain, foreign in zip(operation(*arrays), operation(*map(kind, arrays)), strict=True):
            assert plain.dtype == foreign.dtype
            np.testing.assert_array_equal(plain, foreign)


@pytest.mark.parametrize("kind", FOREIGN)
def test_losses_networks_and_trainers_take_them(kind):
    x, t = RNG.random((6, 4)).astype(np.float32), np.arange(6) % 3
    for loss, target in (
        (cconv.SoftmaxWithLoss(), t),
        (cconv.SigmoidWithLoss(), (x > 0.5).astype(np.float32)),
        (cconv.MeanSquaredError(), x[::-1].copy()),
        (cconv.Huber(), x[::-1].copy()),
    ):
        other = copy.deepcopy(loss)
        assert other.forward(kind(x), kind(target)) == loss.forward(x, target)
        np.testing.assert_array_equal(other.backward(), loss.backward())
    network = cconv.Network([cconv.Affine(units=5), cconv.Relu(), cconv.Affine(units=3)], (4,), seed=0)
    other = copy.deepcopy(network)
    np.testing.assert_array_equal(other.predict(kind(x)), network.predict(x))
    assert other.loss(kind(x), kind(t)) == network.loss(x, t)
    assert other.accuracy(kind(x), kind(t)) == network.accuracy(x, t)
    for name, value in network.gradient(x, t).items():
        np.testing.assert_array_equal(other.gradient(kind(x), kind(t))[name], value)
    trainer = cconv.Trainer(other, kind(x), kind(t), kind(x), kind(t), epochs=1, verbose=False)
    trainer.train()
    assert len(trainer.train_loss_list) == len(trainer.test_acc_list) == 1
    assert cconv.softmax(kind(x)).shape == x.shape and cconv.cross_entropy_error(kind(x), kind(t)) > 0
    assert cconv.im2col(kind(x.reshape(1, 1, 4, 6)), 2, 2).shape == (15, 4)


# Masked arrays


def masked(values, dtype=np.float32):
    return np.ma.array(np.asarray(values, dtype), mask=np.zeros(np.shape(values), bool))


def test_masked_arrays_are_refused():
    x = masked(np.ones((2, 3)))
    assert not memory.is_ready(x)
    with pytest.raises(TypeError, match=r"x must not be masked.*x\.filled\(value\)"):
        as_input(x, "x")
    for call, name in (
        (lambda: cconv.Affine(np.ones((3, 2))).forward(x), "x"),
        (lambda: cconv.softmax(x), "x"),
        (lambda: cconv.SoftmaxWithLoss().forward(np.ones((2, 3)), masked([0, 1], int)), "t"),
        (lambda: cconv.Network([cconv.Affine(units=2)], (3,)).accuracy(x, [0, 1]), "x"),
        (lambda: cconv.Trainer(cconv.Network([cconv.Affine(units=2)], (3,)), x, [0, 1], x, [0, 1]), "x_train"),
        (lambda: cconv.SGD().update({"W": np.ones(2)}, {"W": masked(np.ones(2))}), r"grads\['W'\]"),
    ):
        with pytest.raises(TypeError, match=f"{name} must not be masked"):
            call()


# What is updated in place


@pytest.mark.parametrize("kind", [Frame, Tensor, masked, np.ndarray.tolist])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda array: cconv.Affine(array(np.ones((3, 2)))), "W"),
        (lambda array: cconv.Affine(np.ones((3, 2)), array(np.ones(2))), "b"),
        (lambda array: cconv.Convolution(array(np.ones((1, 1, 2, 2))), np.ones(1)), "W"),
        (lambda array: cconv.Convolution(np.ones((1, 1, 2, 2)), array(np.ones(1))), "b"),
        (lambda array: cconv.TransposedConvolution(array(np.ones((1, 1, 2, 2)))), "W"),
        (lambda array: cconv.BatchNormalization(array(np.ones(2)), np.ones(2)), "gamma"),
        (lambda array: cconv.BatchNormalization(np.ones(2), array(np.ones(2))), "beta"),
        (lambda array: cconv.LayerNormalization(array(np.ones(2)), np.ones(2)), "gamma"),
        (lambda array: cconv.GroupNormalization(1, np.ones(2), array(np.ones(2))), "beta"),
    ],
)
def test_parameters_are_numpys_own(kind, make, name):
    with pytest.raises(TypeError, match=f"{name} must be an ndarray, as it is updated in place, got"):
        make(kind)


@pytest.mark.parametrize("kind", [Frame, Tensor, masked, np.ndarray.tolist])
@pytest.mark.parametrize("in_dict", [True, False])
def test_a_network_refuses_other_parameters_of_a_layer_of_ones_own(kind, in_dict):
    class Shift:
        def __init__(self, value):
            if in_dict:
                self.params, self.grads = {"s": value}, {}
            else:
                self.param_names, self.s = ("s",), value

        def forward(self, x):
            return x

        def backward(self, dout):
            return dout

    affine = cconv.Affine(units=2)
    with pytest.raises(TypeError, match="s must be an ndarray, as it is updated in place"):
        cconv.Network([affine, Shift(kind(np.ones(2)))], (3,))
    assert affine.W is None
    cconv.Network([affine, Shift(np.ones(2))], (3,))


@pytest.mark.parametrize("kind", [Frame, Tensor, masked, np.ndarray.tolist])
def test_assigned_parameters_are_refused_by_the_next_forward(kind):
    for layer, name, x in (
        (cconv.Affine(np.ones((3, 2)), np.ones(2)), "W", np.ones((1, 3))),
        (cconv.Affine(np.ones((3, 2)), np.ones(2)), "b", np.ones((1, 3))),
        (cconv.Convolution(np.ones((1, 1, 2, 2)), np.ones(1)), "W", np.ones((1, 1, 3, 3))),
        (cconv.BatchNormalization(np.ones(2), np.ones(2)), "beta", np.ones((2, 2))),
        (cconv.LayerNormalization(np.ones(2), np.ones(2)), "gamma", np.ones((2, 2))),
    ):
        setattr(layer, name, kind(getattr(layer, name)))
        with pytest.raises(TypeError, match=f"{name} must be an ndarray, as it is updated in place"):
            layer.forward(x)
    network = cconv.Network([cconv.Affine(units=2), cconv.Relu()], (3,), seed=0)
    before = network.params["W1"]
    with pytest.raises(TypeError, match="W1 must be an ndarray"):
        network.params["W1"] = kind(before)
    assert network.params["W1"] is before
    network.layers["affine1"].W = kind(before)
    for call in (network.predict, lambda x: network.gradient(x, [0])):
        with pytest.raises(TypeError, match="W must be an ndarray"):
            call(np.ones((1, 3), np.float32))
    with pytest.raises(TypeError, match=r"params\['W'\] must be a float32 or float64 array"):
        cconv.SGD().update({"W": kind(before)}, {"W": np.ones_like(before)})
    with pytest.raises(TypeError, match=r"params\['W'\] must be a float32 or float64 array"):
        cconv.ExponentialMovingAverage({"W": kind(before)}, 0.9)
    with pytest.raises(TypeError, match="x must be an array of floats"):
        cconv.numerical_gradient(lambda _: 0.0, kind(before))
