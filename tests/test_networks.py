"""SimpleConvNet: its contract, its gradient, its files, its copies."""

import copy
import json
import pickle
import threading

import numpy as np
import pytest

from cconv import Adam, SimpleConvNet, gradient_check


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
    return all(getattr(net.layers[layer], name) is net.params[key] for key, (layer, name) in net._owners.items())


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
    assert header["version"] == "1" and json.loads(header["architecture"])["input_shape"] == [2, 9, 7]


@pytest.mark.parametrize("damage", [b"", b"garbage", "truncated", "other version"])
def test_damaged_files_change_nothing(tmp_path, damage):
    net = network()
    net.save_params(tmp_path / "params")
    data = (tmp_path / "params").read_bytes()
    if damage == "truncated":
        damage = data[:-10]
    elif damage == "other version":
        damage = data.replace(b'"version":"1"', b'"version":"9"')
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
    with pytest.raises(Exception):  # noqa: B017 - whatever safetensors raises
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
        ({"conv_param": {"filter_num": 0}}, ValueError, "filter_num"),
        ({"conv_param": {"filter_size": 40}}, ValueError, "larger than the padded input"),
        ({"conv_param": {"filter_size": 28}}, ValueError, "larger than the padded input"),
        ({"hidden_size": 1.5}, TypeError, "hidden_size must be an integer, got 1.5"),
        ({"weight_init_std": "normal"}, ValueError, "weight_init_std"),
        ({"weight_init_std": -1}, ValueError, "weight_init_std"),
        ({"dtype": "int8"}, ValueError, "dtype"),
        ({"input_dim": (28, 28)}, ValueError, "input_dim"),
        ({"seed": 1, "rng": np.random.default_rng(0)}, ValueError, "rng or seed"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit(options, error, message):
    with pytest.raises(error, match=message):
        SimpleConvNet(**options)
