"""SimpleConvNet: its contract, its gradient, its files, its copies."""

import copy
import json
import pickle
import threading

import numpy as np
import pytest
from safetensors import SafetensorError

from cconv import (
    Adam,
    Affine,
    BatchNormalization,
    Dropout,
    Network,
    Relu,
    Sigmoid,
    SimpleConvNet,
    gradient_check,
)


def network(dtype="float32", seed=0, **options):
    options = {"weight_init_std": "he"} | options
    conv_param = {"filter_num": 3, "filter_size": (3, 2), "pad": 1}
    return SimpleConvNet((2, 9, 7), conv_param, 5, 4, dtype=dtype, seed=seed, **options)


def data(n=6, dtype=np.float32):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, 2, 9, 7)).astype(dtype), rng.integers(0, 4, n)


def test_the_chapters_shapes_and_names():
    net = SimpleConvNet(seed=0)
    shapes = {name: value.shape for name, value in net.params.items()}
    assert shapes == {"W1": (30, 1, 5, 5), "b1": (30,), "W2": (4320, 100), "b2": (100,), "W3": (100, 10), "b3": (10,)}
    assert list(net.layers) == ["Conv1", "Relu1", "Pool1", "Affine1", "Relu2", "Affine2"]
    assert net.layers["Affine1"].W is net.params["W2"] and net.params["W1"].dtype == np.float32
    assert abs(net.params["W2"].std() - 0.01) < 1e-4 and not net.params["b1"].any()


def test_gradient_agrees_with_central_differences():
    x, t = data(3, np.float64)
    assert max(gradient_check(network("float64"), x, t).values()) <= 1e-7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_has_the_parameters_dtype_and_fits_the_loss(dtype):
    net = network(dtype)
    x, t = data()
    grads = net.gradient(x, t)
    assert net.last_layer.loss == pytest.approx(net.loss(x, t))
    assert {name: (g.shape, g.dtype) for name, g in grads.items()} == {
        name: (p.shape, p.dtype) for name, p in net.params.items()
    }
    assert net.predict(x.astype(np.float64)).dtype == dtype


def test_training_lowers_the_loss_and_is_repeatable():
    losses = []
    for _ in range(2):
        net, optimizer = network(), Adam(0.01)
        x, t = data(20)
        first = net.loss(x, t)
        for _ in range(30):
            optimizer.update(net.params, net.gradient(x, t))
        losses.append(net.loss(x, t))
    assert losses[0] == losses[1] < first / 2


@pytest.mark.parametrize("form", ["indices", "column", "one-hot", "one-hot floats", "uint8"])
def test_labels_in_every_form(form):
    net = network()
    x, t = data()
    forms = {
        "indices": t,
        "column": t[:, None],
        "one-hot": np.eye(4, dtype=int)[t],
        "one-hot floats": np.eye(4)[t],
        "uint8": t.astype(np.uint8),
    }
    assert net.loss(x, forms[form]) == pytest.approx(net.loss(x, t), rel=1e-6)
    assert net.accuracy(x, forms[form]) == net.accuracy(x, t)


@pytest.mark.parametrize(("name", "variance"), [("relu", 2), ("He", 2), ("sigmoid", 1), ("xavier", 1)])
def test_weight_scales_by_name(name, variance):
    net = SimpleConvNet(weight_init_std=name, seed=0)
    assert net.params["W2"].var() * 4320 == pytest.approx(variance, rel=0.02)


def share(net):
    places = zip(net.params, [("Conv1", "W"), ("Conv1", "b"), ("Affine1", "W"), ("Affine1", "b"), ("Affine2", "W"),
                              ("Affine2", "b")], strict=True)  # fmt: skip
    return all(getattr(net.layers[layer], name) is net.params[key] for key, (layer, name) in places)


def test_copies_share_arrays_within_but_not_between(tmp_path):
    import joblib

    net = network()
    joblib.dump(net, tmp_path / "net")
    x, _ = data()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), joblib.load(tmp_path / "net")):
        assert share(twin) and twin.params["W1"] is not net.params["W1"]
        np.testing.assert_array_equal(twin.predict(x), net.predict(x))


def test_predict_from_several_threads():
    net = network()
    x, _ = data(50)
    expected = [net.predict(x[n : n + 10]) for n in range(0, 50, 10)]
    wrong = []

    def work(n):
        for _ in range(50):
            if not np.array_equal(net.predict(x[10 * n : 10 * n + 10]), expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_files_hold_the_parameters_exactly(tmp_path):
    net, other = network(), network(seed=1)
    net.save_params(tmp_path / "params.pkl")
    arrays = dict(other.params)
    other.load_params(tmp_path / "params.pkl")
    for name, value in net.params.items():
        np.testing.assert_array_equal(other.params[name], value)
        assert other.params[name] is arrays[name]
    assert [path.name for path in tmp_path.iterdir()] == ["params.pkl"]
    data = (tmp_path / "params.pkl").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    assert header["version"] == "2" and json.loads(header["architecture"])["input_shape"] == [2, 9, 7]


@pytest.mark.parametrize("damage", [b"", b"garbage", "truncated", "other version"])
def test_damaged_files_change_nothing(tmp_path, damage):
    net = network()
    net.save_params(tmp_path / "params")
    data = (tmp_path / "params").read_bytes()
    if damage == "truncated":
        damage = data[:-10]
    elif damage == "other version":
        damage = data.replace(b'"version":"2"', b'"version":"9"')
        assert damage != data
    (tmp_path / "params").write_bytes(damage)
    before = copy.deepcopy(net.params)
    with pytest.raises(ValueError, match="params"):
        net.load_params(tmp_path / "params")
    for name, value in net.params.items():
        np.testing.assert_array_equal(value, before[name])


def test_a_failed_save_leaves_the_old_file(tmp_path):
    net = network()
    net.save_params(tmp_path / "params")
    before = (tmp_path / "params").read_bytes()
    net.layers["Conv1"].W = np.zeros(3, dtype=object)
    with pytest.raises((TypeError, SafetensorError), match="object"):
        net.save_params(tmp_path / "params")
    assert (tmp_path / "params").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((3, 2, 9, 6), np.float32), ValueError, r"x must have shape \(N, 2, 9, 7\)"),
        (np.zeros((3, 2, 9, 7), np.uint8), TypeError, "255"),
        (np.zeros(126), ValueError, "x must have shape"),
    ],
)
def test_images_that_do_not_fit(x, error, message):
    with pytest.raises(error, match=message):
        network().predict(x)


def test_empty_batches_and_bad_labels():
    net = network()
    x, t = data()
    assert net.predict(x[:0]).shape == (0, 4)
    with pytest.raises(ValueError, match="no images"):
        net.accuracy(x[:0], t[:0])
    with pytest.raises(ValueError, match="0 to 3"):
        net.loss(x, t + 4)
    with pytest.raises(ValueError, match="batch_size"):
        net.accuracy(x, t, batch_size=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"conv_param": {"filters": 3}}, ValueError, "conv_param must have keys"),
        ({"conv_param": 3}, TypeError, "conv_param must be a dict, got 3"),
        ({"conv_param": {"filter_num": 0}}, ValueError, "filter_num"),
        ({"conv_param": {"filter_size": 40}}, ValueError, "larger than the padded input"),
        ({"conv_param": {"filter_size": 28}}, ValueError, "larger than the padded input"),
        ({"hidden_size": 1.5}, TypeError, "hidden_size must be an integer, got 1.5"),
        ({"weight_init_std": "normal"}, ValueError, "weight_init_std"),
        ({"weight_init_std": -1}, ValueError, "weight_init_std"),
        ({"weight_init_std": None}, TypeError, "weight_init_std"),
        ({"dtype": "int8"}, ValueError, "dtype"),
        ({"input_dim": (28, 28)}, ValueError, "input_dim"),
        ({"seed": 1, "rng": np.random.default_rng(0)}, ValueError, "rng or seed"),
    ],
)
def test_arguments_that_do_not_fit(options, error, message):
    with pytest.raises(error, match=message):
        SimpleConvNet(**options)


def test_params_and_layers_are_one(tmp_path):
    net = network()
    params = net.params
    assert list(params) == ["W1", "b1", "W2", "b2", "W3", "b3"] and len(params) == 6
    assert "W1: " not in repr(params) and "'W1': float32 array of shape (3, 2, 3, 2)" in repr(params)
    params["b2"] = np.ones(5, np.float32)
    assert net.layers["Affine1"].b is net.params["b2"] is params["b2"]
    net.layers["Conv1"].W = np.zeros((3, 2, 3, 2), np.float32)
    assert not params["W1"].any()
    assert params.copy()["W1"] is net.layers["Conv1"].W and type(params.copy()) is dict
    for name, value, error, message in (
        ("W4", np.ones(2), KeyError, "'W4' is not one of this network's W1, b1"),
        ("b1", np.ones(4), ValueError, r"b1 must be an array of floats of shape \(3,\), got float64 of shape \(4,\)"),
        ("b1", np.ones(3, int), ValueError, "got int64"),
        ("b1", [1.0, 2.0, 3.0], TypeError, "got list"),
    ):
        with pytest.raises(error, match=message):
            params[name] = value
        with pytest.raises(error, match=message):
            params.update({"b2": np.zeros(5), name: value})
    assert params["b2"].all()
    params.update({"b2": np.zeros(5)})
    assert not net.layers["Affine1"].b.any()


@pytest.mark.parametrize("assign", ["layer", "params"])
def test_an_assigned_parameter_is_what_everything_sees(assign, tmp_path):
    import joblib

    net = network("float64")
    x, t = data(3, np.float64)
    changed = np.random.default_rng(5).standard_normal((5, 4))
    before = net.predict(x)
    if assign == "layer":
        net.layers["Affine2"].W = changed
    else:
        net.params["W3"] = changed
    out = net.predict(x)
    assert not np.allclose(out, before)
    joblib.dump(net, tmp_path / "net")
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), joblib.load(tmp_path / "net")):
        np.testing.assert_array_equal(twin.predict(x), out)
        np.testing.assert_array_equal(twin.params["W3"], changed)
    assert max(gradient_check(net, x, t).values()) <= 1e-7
    Adam(0.1).update(net.params, net.gradient(x, t))
    assert not np.allclose(net.predict(x), out)


def test_copies_do_not_carry_the_last_batch():
    net = network()
    bare = len(pickle.dumps(net))
    net.gradient(*data(500))
    assert len(pickle.dumps(net)) < bare + 20_000  # the loss layer's y and t and the gradients, no images


def with_modes():
    """A network in float64 whose layers behave otherwise in training."""
    rng = np.random.default_rng(0)
    layers = {
        "Affine1": Affine(rng.standard_normal((12, 6)), rng.standard_normal(6)),
        "Norm1": BatchNormalization(rng.standard_normal(6), rng.standard_normal(6)),
        "Sigmoid1": Sigmoid(),
        "Dropout1": Dropout(0.4, seed=3),
        "Affine2": Affine(rng.standard_normal((6, 3)), rng.standard_normal(3)),
    }
    return Network(layers, (3, 2, 2), dtype=np.float64)


def test_gradient_is_training_and_the_rest_is_not():
    net = with_modes()
    x, t = np.random.default_rng(1).standard_normal((20, 3, 2, 2)), np.arange(20) % 3
    for measure in (lambda: net.predict(x), lambda: net.loss(x, t), lambda: net.accuracy(x, t)):
        assert np.array_equal(measure(), measure())
        assert not net.layers["Norm1"].running_mean.any()
    net.gradient(x, t)
    assert net.layers["Norm1"].running_mean.any()
    assert net.last_layer.loss != net.loss(x, t)


def test_gradient_agrees_with_central_differences_through_batch_normalization_and_dropout():
    net = with_modes()
    x, t = np.random.default_rng(1).standard_normal((20, 3, 2, 2)), np.arange(20) % 3
    errors = gradient_check(net, x, t)
    errors.pop("b1")  # batch normalization takes it out again: both gradients are zero but for rounding
    assert max(errors.values()) <= 1e-7, errors


def test_both_gradients_are_those_of_evaluation_after_eval():
    net = with_modes()
    x, t = np.random.default_rng(1).standard_normal((20, 3, 2, 2)), np.arange(20) % 3
    net.gradient(x, t)
    net.eval()
    assert max(gradient_check(net, x, t).values()) <= 1e-7


def test_numerical_gradient_works_on_a_float64_copy():
    net = network()
    x, t = data(2)
    before = {name: value.copy() for name, value in net.params.items()}
    numerical = net.numerical_gradient(x, t)
    for name, value in net.params.items():
        assert value.dtype == np.float32 and numerical[name].dtype == np.float64
        np.testing.assert_array_equal(value, before[name])
    analytic = net.gradient(x, t)
    for name, value in numerical.items():
        np.testing.assert_allclose(analytic[name], value, atol=1e-5 * abs(value).max())


def test_a_layer_of_ones_own_drops_in():
    class Scale:
        """Knows nothing of cconv: no base class, no input_gradient."""

        def forward(self, x):
            return 2 * x

        def backward(self, dout):
            return 2 * dout

    net = network("float64")
    x, t = data(3, np.float64)
    before = net.predict(x)
    net.layers["Scale"] = Scale()
    np.testing.assert_allclose(net.predict(x), 2 * before, rtol=1e-12)
    assert max(gradient_check(net, x, t).values()) <= 1e-7
    net.layers.move_to_end("Scale", last=False)
    assert max(gradient_check(net, x, t).values()) <= 1e-7


def test_an_overridden_layer_is_honoured_at_the_next_call():
    net = network()
    x, t = data()
    net.predict(x)
    calls = []
    pool = net.layers["Pool1"]
    forward, backward = pool.forward, pool.backward
    pool.forward = lambda x: calls.append("forward") or forward(x)
    pool.backward = lambda dout: calls.append("backward") or backward(dout)
    net.predict(x)
    net.accuracy(x, t)
    net.gradient(x, t)
    assert calls == ["forward", "forward", "forward", "backward"]
    del pool.forward, pool.backward

    class Louder(Relu):
        def forward(self, x):
            return 3 * super().forward(x)

    plain = net.predict(x)
    net.layers["Relu2"] = Louder()
    bias = net.params["b3"]
    np.testing.assert_allclose(net.predict(x) - bias, 3 * (plain - bias), rtol=1e-4, atol=1e-5)


def test_accuracy_by_batches_counts_every_image_once():
    net = network()
    x, _ = data(25)
    t = net.predict(x).argmax(axis=1)
    t[[3, 24]] = (t[[3, 24]] + 1) % 4
    for batch_size in (1, 7, 25, 100, np.int64(10)):
        assert net.accuracy(x, t, batch_size) == 23 / 25
    assert net.accuracy(x.astype(">f8"), t.tolist()) == net.accuracy(x[::-1], t[::-1]) == 23 / 25
    assert net.accuracy(x[0], t[:1]) == 1.0
    with pytest.raises(ValueError, match="t must be class indices"):
        net.accuracy(x, t[:24])


def test_one_image_may_leave_its_batch_out():
    net = network()
    x, _ = data(2)
    np.testing.assert_array_equal(net.predict(x[0]), net.predict(x)[:1])


def test_an_image_does_not_feel_its_batch():
    net = network()
    x, _ = data(13)
    whole = net.predict(x)
    for n in range(13):
        np.testing.assert_array_equal(net.predict(x[n : n + 1])[0], whole[n])


@pytest.mark.parametrize("draw", [{"seed": 3}, {"rng": 3}, "random.seed"])
def test_weights_are_repeatable(draw):
    weights = []
    for _ in range(2):
        np.random.seed(3)
        options = {} if draw == "random.seed" else draw
        weights.append([value.copy() for value in SimpleConvNet(**options).params.values()])
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)
    assert (SimpleConvNet(seed=4).params["W1"] != weights[0][0]).any()


def test_the_callers_images_are_not_written_to():
    net = network()
    x, t = data()
    x.flags.writeable = False
    net.predict(x)
    net.gradient(x, t)
    net.accuracy(x, t)


def test_the_default_conv_param_is_the_chapters_and_stays_it():
    import inspect

    default = inspect.signature(SimpleConvNet).parameters["conv_param"].default
    assert default == {"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1}
    SimpleConvNet(conv_param={"filter_num": 2, "filter_size": 3})
    assert default["filter_num"] == 30


def test_parameters_are_numbered_by_their_name_and_layers_may_come_later():
    net = with_modes()
    assert list(net.params) == ["W1", "b1", "gamma1", "beta1", "W2", "b2"]
    net.layers["Affine2"].b = None
    net.layers["Affine3"] = Affine(np.eye(3), np.zeros(3))
    assert list(net.params) == ["W1", "b1", "gamma1", "beta1", "W2", "W3", "b3"]
    x, t = np.random.default_rng(1).standard_normal((20, 3, 2, 2)), np.arange(20) % 3
    assert net.gradient(x, t).keys() == net.params.keys()
    assert net.params["W3"] is net.layers["Affine3"].W
