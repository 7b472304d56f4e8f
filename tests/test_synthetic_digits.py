"""Digits drawn from fonts: shapes, repeatability, and how hard they are."""

import numpy as np
import pytest

from cconv import Adam, Affine, SimpleConvNet, SoftmaxWithLoss, Trainer, load_synthetic_digits
from cconv.datasets import synthetic_digits


def test_forms_and_seeds():
    (x, t), (x_test, t_test) = load_synthetic_digits(300, 50, flatten=False)
    assert x.shape == (300, 1, 28, 28) and x.dtype == np.float32 and 0 <= x.min() < x.max() <= 1
    assert t.shape == (300,) and set(t) == set(range(10)) and x_test.shape == (50, 1, 28, 28)
    same = load_synthetic_digits(300, 50, flatten=False)
    np.testing.assert_array_equal(same[0][0], x)
    np.testing.assert_array_equal(same[1][1], t_test)
    np.testing.assert_array_equal(load_synthetic_digits(10, 0, flatten=False)[0][0], x[:10])
    assert not np.array_equal(load_synthetic_digits(300, 50, seed=1, flatten=False)[0][0], x)
    (raw, hot), _ = load_synthetic_digits(20, 1, normalize=False, one_hot_label=True)
    assert raw.shape == (20, 784) and raw.dtype == np.uint8 and hot.shape == (20, 10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_train": -1}, ValueError, "n_train must be at least 0"),
        ({"n_test": -1}, ValueError, "n_test must be at least 0"),
        ({"n_train": 1.5}, TypeError, "n_train must be an integer"),
        ({"n_test": True}, TypeError, "n_test must be an integer"),
        ({"n_train": "7"}, TypeError, "n_train must be an integer"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": None}, TypeError, "seed must be an integer"),
        ({"distortion": -1}, ValueError, "distortion must be a number that is not negative"),
        ({"distortion": np.inf}, ValueError, "distortion must be a finite number"),
        ({"noise": np.nan}, ValueError, "noise must be a finite number"),
        ({"noise": "x"}, TypeError, "noise must be a number"),
        ({"distortion": 1e30}, ValueError, "distortion must be at most 100, got 1e"),
        ({"noise": 1e300}, ValueError, "noise must be at most 100, got 1e"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        load_synthetic_digits(**arguments)


def test_the_most_distortion_and_noise():
    (x, _), _ = load_synthetic_digits(10, 0, distortion=100, noise=100)
    assert np.isfinite(x).all()


@pytest.mark.parametrize("name", ["n_train", "n_test"])
@pytest.mark.parametrize("n", [2**40, 2**52, 2**62 // 784, 2**63 // 784, 2**63, 2**70, np.iinfo(np.uint64).max])
@pytest.mark.parametrize("normalize", [True, False])
def test_more_images_than_memory_holds_are_refused_before_one_is_drawn(monkeypatch, name, n, normalize):
    monkeypatch.setattr(synthetic_digits, "_draw_block", lambda *arguments: pytest.fail("nothing should be drawn"))
    with pytest.raises(MemoryError, match=f"{name} must be a number of images that fit in memory, got {n}"):
        load_synthetic_digits(**{name: n}, normalize=normalize)


def test_a_convolution_reads_what_a_linear_model_cannot():
    (x, t), (x_test, t_test) = load_synthetic_digits(flatten=False)
    network = SimpleConvNet(seed=0)
    options = {"epochs": 5, "optimizer": "Adam", "evaluate_sample_num_per_epoch": 2000}
    trainer = Trainer(network, x, t, x_test, t_test, **options, verbose=False, seed=0)
    trainer.train()
    assert trainer.test_acc_list[-1] > 0.97
    params = {"W": np.zeros((784, 10), np.float32), "b": np.zeros(10, np.float32)}
    linear, loss, optimizer = Affine(params["W"], params["b"]), SoftmaxWithLoss(), Adam()
    rng = np.random.default_rng(0)
    for _ in range(10):
        for batch in rng.permutation(len(x)).reshape(-1, 100):
            loss.forward(linear.forward(x[batch]), t[batch])
            linear.backward(loss.backward(), input_gradient=False)
            optimizer.update(params, {"W": linear.dW, "b": linear.db})
    assert np.mean(linear.forward(x_test).argmax(axis=1) == t_test) < 0.9
