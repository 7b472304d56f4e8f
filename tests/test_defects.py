"""One regression test for each thing the chapter's code gets wrong, in the order of the list in the documentation."""

import pickle
import warnings

import numpy as np
import pytest

import cconv
from cconv import (
    Adam,
    Affine,
    BatchNormalization,
    Convolution,
    Dropout,
    Momentum,
    Nesterov,
    Pooling,
    Relu,
    SimpleConvNet,
    SoftmaxWithLoss,
    Trainer,
)

X = np.array([[1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1]], np.float32)[None, None]
W = np.array([[2, 0, 1], [0, 1, 2], [1, 0, 2]], np.float32)[None, None]
SMALL = {"input_dim": (1, 8, 8), "conv_param": {"filter_num": 2, "filter_size": 3}, "hidden_size": 4, "output_size": 3}


def small_data(n=30):
    rng = np.random.default_rng(0)
    return rng.random((n, 1, 8, 8), np.float32), rng.integers(0, 3, n)


@pytest.mark.parametrize(
    ("stride", "pad", "expected"),
    [
        (1, 0, [[15, 16], [6, 15]]),
        (1, 1, [[7, 12, 10, 2], [4, 15, 16, 10], [10, 6, 15, 6], [8, 10, 4, 3]]),
        (3, 1, [[7, 2], [8, 3]]),
    ],
)
@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
def test_worked_convolutions(stride, pad, expected, algorithm):
    out = Convolution(W, np.zeros(1, np.float32), stride, pad, algorithm=algorithm).forward(X)
    assert out[0, 0].tolist() == expected


def test_worked_pooling():
    assert Pooling(2, 2, 2).forward(X)[0, 0].tolist() == [[2, 3], [3, 2]]


def test_01_step_function_and_relu_grad():
    assert cconv.step_function(np.array([-1.0, 0.0, 2.0])).tolist() == [0, 0, 1]
    assert cconv.relu_grad(np.array([-1.0, 0.0, 2.0])).tolist() == [0, 0, 1]


def test_02_softmax_of_any_ndim_and_quiet_sigmoid():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    y = cconv.softmax(x)
    np.testing.assert_allclose(y.sum(axis=-1), 1)
    np.testing.assert_allclose(y[1, 2, 3], cconv.softmax(x[1, 2, 3]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cconv.sigmoid(np.array([-1000.0, 1000.0])).tolist() == [0, 1]


def test_03_float32_stays_float32():
    col = cconv.im2col(X, 3, 3)
    assert col.dtype == np.float32 and cconv.col2im(col, X.shape, 3, 3).dtype == np.float32
    for layer in (Convolution(W, np.zeros(1, np.float32)), Pooling(2, 2, 2)):
        out = layer.forward(X)
        assert out.dtype == np.float32 and layer.backward(out).dtype == np.float32


def test_04_pooling_counts_its_pad_which_never_wins():
    out = Pooling(2, 2, stride=2, pad=1).forward(-1 - X)
    assert out.shape == (1, 1, 3, 3) and out.max() < 0


def test_05_relu_leaves_dout_alone():
    layer, dout = Relu(), np.ones(3)
    layer.forward(np.array([-1.0, 0.0, 1.0]))
    layer.backward(dout)
    assert dout.tolist() == [1, 1, 1]


def test_06_the_loss_scales_its_gradient_by_dout():
    layer = SoftmaxWithLoss()
    layer.forward(np.array([[1.0, 2.0]]), np.array([0]))
    np.testing.assert_allclose(layer.backward(3), 3 * layer.backward())


def test_07_accuracy_is_measured_outside_training():
    modes = []

    class Watch(Dropout):
        def forward(self, x, train_flg=True):
            modes.append(bool(train_flg))
            return super().forward(x, train_flg)

    network = SimpleConvNet(**SMALL, seed=0)
    network.layers["Dropout"] = Watch(0.5)
    network.layers = type(network.layers)(
        (name, network.layers[name]) for name in ("Conv1", "Relu1", "Pool1", "Affine1", "Relu2", "Dropout", "Affine2")
    )
    x, t = small_data()
    network.gradient(x, t)
    network.accuracy(x, t)
    network.predict(x)
    assert modes == [True, False, False]
    for layer in (Dropout(0.5), BatchNormalization(np.ones(4), np.zeros(4))):
        out = layer.forward(np.ones((3, 4)), train_flg=False)
        assert layer.backward(out).shape == (3, 4)


def test_08_accuracy_counts_the_last_partial_batch():
    network = SimpleConvNet(**SMALL, seed=0)
    x, _ = small_data(15)
    t = network.predict(x).argmax(axis=1)
    assert network.accuracy(x, t, batch_size=10) == 1.0


def test_09_an_epoch_is_a_shuffled_pass_with_every_sample():
    x, t = small_data(25)
    trainer = Trainer(SimpleConvNet(**SMALL, seed=0), x, t, x, t, epochs=3, mini_batch_size=10, verbose=False, seed=0)
    trainer.train()
    assert len(trainer.train_loss_list) == 9
    assert len(trainer.train_acc_list) == len(trainer.test_acc_list) == 3


def test_10_a_step_runs_forward_once():
    network = SimpleConvNet(**SMALL, seed=0)
    calls = []
    conv = network.layers["Conv1"]
    forward = conv.forward
    conv.forward = lambda x: calls.append(1) or forward(x)
    x, t = small_data(10)
    trainer = Trainer(network, x, t, x, t, mini_batch_size=5, verbose=False, seed=0)
    calls.clear()  # it has looked whether data and network fit
    trainer.train_step()
    assert calls == [1]


def test_11_every_optimizer_can_be_chosen_with_its_own_defaults():
    x, t = small_data(10)
    for name in ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"):
        Trainer(SimpleConvNet(**SMALL), x, t, x, t, optimizer=name, verbose=False)
    assert Trainer(SimpleConvNet(**SMALL), x, t, x, t, optimizer="Adam").optimizer.lr == 0.001


@pytest.mark.parametrize("shape", [(1, 9, 14), (3, 11, 7)])
@pytest.mark.parametrize("stride", [1, 2])
def test_12_images_of_any_shape(shape, stride):
    network = SimpleConvNet(shape, {"filter_num": 3, "filter_size": 3, "stride": stride, "pad": 1}, 5, 4, seed=0)
    x = np.random.default_rng(0).random((6, *shape), np.float32)
    assert network.gradient(x, np.zeros(6, int))["W1"].shape == (3, shape[0], 3, 3)


def test_13_another_networks_file_is_refused_and_pickles_run_nothing(tmp_path):
    network = SimpleConvNet(**SMALL, seed=0)
    before = {name: value.copy() for name, value in network.params.items()}
    SimpleConvNet(**(SMALL | {"hidden_size": 5}), seed=1).save_params(tmp_path / "other")
    with pytest.raises(ValueError, match="layers.Affine1.units must be 4, got 5"):
        network.load_params(tmp_path / "other")
    for other in (before | {"W1": print}, before | {"W2": before["W2"][1:]}):
        (tmp_path / "params.pkl").write_bytes(pickle.dumps(other))
        with pytest.raises(ValueError, match=r"(?s)is a pickle.*save_params|W2 must have shape"):
            network.load_params(tmp_path / "params.pkl")
    for name, value in network.params.items():
        np.testing.assert_array_equal(value, before[name])


def test_14_parameters_added_later_are_updated():
    optimizer = Momentum()
    optimizer.update({"a": np.ones(1)}, {"a": np.ones(1)})
    params = {"a": np.ones(1), "b": np.ones(1)}
    optimizer.update(params, {"a": np.ones(1), "b": np.ones(1)})
    assert params["b"] < 1


def test_15_numerical_gradient_refuses_integers_and_is_exact_in_float32():
    with pytest.raises(TypeError, match="x must be an array of floats, got int"):
        cconv.numerical_gradient(lambda x: float((x**2).sum()), np.arange(3))
    x = np.array([1.0, 2.0, 3.0], np.float32)
    gradient = cconv.numerical_gradient(lambda x: (x.astype(np.float64) ** 2).sum(), x)
    np.testing.assert_allclose(gradient, [2, 4, 6], rtol=1e-4)
    assert x.tolist() == [1, 2, 3]


def test_16_mnist_needs_no_ipython_and_pins_its_bytes(tmp_path, monkeypatch):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0]))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 0]))
    with pytest.raises(ValueError, match="not MNIST's train-images"):
        cconv.load_mnist(data_dir=tmp_path)


def test_17_the_first_layers_input_gradient_is_not_computed():
    network = SimpleConvNet(**SMALL, seed=0)
    asked = []

    class Watch(Convolution):
        def backward(self, dout, *, input_gradient=True):
            asked.append(input_gradient)
            return super().backward(dout, input_gradient=input_gradient)

    network.layers["Conv1"] = Watch(network.params["W1"], network.params["b1"])
    network.gradient(*small_data(4))
    assert asked == [False]


def test_18_nesterov_uses_the_velocity_before_the_step():
    params = {"p": np.zeros(1)}
    optimizer = Nesterov(lr=0.1, momentum=0.5)
    for gradient in (1.0, 2.0):
        optimizer.update(params, {"p": np.array([gradient])})
    # v: 0, -0.1;  p: -(1.5)(0.1) = -0.15, then 0.25 * -0.1 - 1.5 * 0.1 * 2 = -0.325 more
    np.testing.assert_allclose(params["p"], -0.475)


def test_a_chapter_script_runs_with_its_imports_changed():
    from collections import OrderedDict

    rng = np.random.RandomState(0)
    params = {"W1": 0.1 * rng.randn(3, 1, 3, 3), "b1": np.zeros(3), "W2": 0.1 * rng.randn(27, 3), "b2": np.zeros(3)}
    layers = OrderedDict()
    layers["Conv1"] = Convolution(params["W1"], params["b1"], 1, 0)
    layers["Relu1"] = Relu()
    layers["Pool1"] = Pooling(pool_h=2, pool_w=2, stride=2)
    layers["Affine1"] = Affine(params["W2"], params["b2"])
    last_layer, optimizer = SoftmaxWithLoss(), Adam(lr=0.02)
    x, t = small_data()
    losses = []
    for _ in range(40):
        out = x
        for layer in layers.values():
            out = layer.forward(out)
        losses.append(last_layer.forward(out, t))
        dout = last_layer.backward(1)
        for layer in reversed(list(layers.values())):
            dout = layer.backward(dout)
        conv, affine = layers["Conv1"], layers["Affine1"]
        optimizer.update(params, {"W1": conv.dW, "b1": conv.db, "W2": affine.dW, "b2": affine.db})
    assert losses[-1] < losses[0] - 0.05 and layers["Conv1"].W is params["W1"]
