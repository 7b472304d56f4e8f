"""A step is finished or undone: what errors and interrupts leave of networks, optimizers and averages."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest

import cconv
from cconv import (
    SGD,
    Adam,
    Affine,
    BatchNormalization,
    Concatenate,
    Convolution,
    Dropout,
    ExponentialMovingAverage,
    Momentum,
    Network,
    Optimizer,
    Pooling,
    Relu,
    Residual,
    kernels,
)

PACKAGE = str(Path(cconv.__file__).parent)


def interrupted_at(line, action):
    """Run an action, ended by a KeyboardInterrupt at its n-th line of cconv's Python; say whether there was one."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            count += 1
            if count == line:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


class Counting:
    """A user's own layer that counts in place and in an attribute."""

    takes_train_flg = True
    buffer_names = ("count",)

    def __init__(self):
        self.count = np.zeros(1)
        self.calls = 0

    def forward(self, x, train_flg):
        self.count += train_flg
        self.calls += 1
        return x

    def backward(self, dout):
        return dout


def network():
    block = Residual([("inner", Affine(units=6)), BatchNormalization(), Dropout(0.3, seed=1)])
    layers = [
        Convolution(filters=3, size=3),
        Relu(),
        Pooling(2, 2, stride=2),
        BatchNormalization(),
        Affine(units=6),
        Relu(),
        Concatenate([block], [Counting()]),
        Affine(units=3),
    ]
    return Network(layers, (2, 6, 6), dtype="float64", seed=0)


def samples():
    return np.random.default_rng(0).standard_normal((5, 2, 6, 6)), np.array([0, 2, 1, 1, 0])


def held(network):
    """Return copies of all that a later step depends on, and of what the last one left."""
    found = {name: value.copy() for name, value in network.state_dict().items()}
    found["loss"] = network.last_layer.loss
    found["calls"] = network.layers["concatenate1"].branches["branch2"]["counting1"].calls
    gradients = {f"d{name}": value for name, value in network.params.gradients().items()}
    return found | copy.deepcopy(gradients)


def test_labels_that_are_refused_move_nothing():
    net, (x, t) = network(), samples()
    for _ in range(2):  # before any step, and after one
        before = held(net)
        for wrong in (t + 1, t[:3], t.astype(float), "no"):
            with pytest.raises((TypeError, ValueError)):
                net.gradient(x, wrong)
            np.testing.assert_equal(held(net), before)
        net.gradient(x, t)
    assert net.layers["norm1"].running_mean.any()


def test_an_interrupt_anywhere_in_a_gradient_leaves_the_step_undone():
    net, (x, t) = network(), samples()
    net.gradient(x, t)
    before = held(net)
    twin = copy.deepcopy(net)
    expected = twin.gradient(x, t)
    line = 1
    while interrupted_at(line, lambda: net.gradient(x, t)):
        after = held(net)
        np.testing.assert_equal(after, before, err_msg=f"line {line}")
        line += 9  # all of them take a minute on a slow machine
    assert line > 100
    np.testing.assert_equal(held(net), held(twin))
    np.testing.assert_equal(copy.deepcopy(net).gradient(x, t), copy.deepcopy(twin).gradient(x, t))
    assert expected.keys() == net.params.keys()


def test_an_error_of_a_layer_of_ones_own_undoes_the_step():
    net, (x, t) = network(), samples()
    net.gradient(x, t)
    before = held(net)

    def broken(dout):
        raise ZeroDivisionError

    net.layers["concatenate1"].branches["branch2"]["counting1"].backward = broken
    with pytest.raises(ZeroDivisionError):
        net.gradient(x, t)
    np.testing.assert_equal(held(net), before)
    with pytest.raises(RuntimeError, match="before forward"):
        net.layers["conv1"].backward(x)


def test_read_only_running_statistics_are_no_hindrance():
    norm = BatchNormalization(np.ones(3), np.zeros(3), running_mean=np.broadcast_to(1.0, 3))
    net = Network([norm, Affine(units=2)], (3,), dtype="float64", seed=0)
    with pytest.raises(ValueError, match="t must"):
        net.gradient(np.eye(3), [0, 1, 2])
    np.testing.assert_array_equal(norm.running_mean, 1)
    net.gradient(np.eye(3), [0, 1, 1])
    assert (norm.running_mean != 1).all()


class Moving(Optimizer):
    """A user's own optimizer, in steps that an interrupt may come between."""

    state_names = ("last",)

    def _step(self, params, grads, states, decays, scale, limit):
        for p, g, state in zip(params, grads, states, strict=True):
            p -= self.lr * g
            state["last"][...] = p


def plain():
    return {"a": np.ones((2, 3)), "b": np.full(4, 2.0)}


def mixed():
    tied = np.ones((2, 3))
    return {"a": tied, "tied": tied.T, "strided": np.ones(8)[::2], "swapped": np.ones(3, ">f4"), "number": 1.0}


@pytest.mark.parametrize("params", [plain, mixed])
@pytest.mark.parametrize(
    "make", [SGD, lambda: Momentum(weight_decay=0.1), lambda: Adam(clip_norm=1.0), lambda: Moving(1.0)]
)
def test_an_interrupt_anywhere_in_an_update_leaves_it_finished_or_undone(params, make):
    start, optimizer = params(), make()
    grads = {key: np.full(np.shape(value), 0.5) for key, value in start.items()}
    optimizer.update(start, grads)

    def of(optimizer, params):
        return copy.deepcopy(optimizer.state_dict()), copy.deepcopy(params)

    before = of(optimizer, start)
    finished_optimizer, finished = copy.deepcopy((optimizer, start))
    finished_optimizer.update(finished, grads)
    after, line, undone = of(finished_optimizer, finished), 1, 0
    while True:
        twin, values = copy.deepcopy((optimizer, start))
        if not interrupted_at(line, lambda twin=twin, values=values: twin.update(values, grads)):
            break
        same = [_equal(of(twin, values), one) for one in (before, after)]
        assert any(same), f"line {line}"
        undone += same[0]
        line += 1
    assert undone > 10
    assert _equal(of(twin, values), after)


def _equal(first, second):
    try:
        np.testing.assert_equal(first, second)
    except AssertionError:
        return False
    return True


def test_an_update_that_fails_begins_no_state(monkeypatch):
    optimizer = Adam()

    def fail(*_):
        raise ZeroDivisionError

    optimizer._numbers = fail
    params = plain()
    with pytest.raises(ZeroDivisionError):
        optimizer.update(params, plain())
    np.testing.assert_equal((optimizer.state, params), ({}, plain()))
    del optimizer._numbers
    optimizer.update(params, plain())
    before = optimizer.state_dict()
    monkeypatch.setattr(kernels.optimize, "update", fail)
    for others in (plain(), {"a": np.ones(2), "b": np.full(4, 2.0, np.float32)}):
        with pytest.raises(ZeroDivisionError):
            optimizer.update(others, others)
        np.testing.assert_equal(optimizer.state_dict(), before)


def read_only(folder):
    """Return two read-only arrays of (2, 3) ones: a view, and one in a file that is mapped into memory."""
    np.save(folder / "ones.npy", np.ones((2, 3)))
    return np.broadcast_to(1.0, (2, 3)).copy(), np.load(folder / "ones.npy", mmap_mode="r")


@pytest.mark.parametrize("place", [0, 1], ids=["view", "file"])
@pytest.mark.parametrize("strided", [False, True])
def test_state_that_is_read_only_is_refused_before_anything_changes(place, strided, tmp_path):
    bad = np.asarray(read_only(tmp_path)[place]).view()
    bad.flags.writeable = False
    optimizer = Adam()
    params = {"b": np.ones(4), "a": np.ones((4, 3))[::2] if strided else np.ones((2, 3))}
    grads = {"b": np.ones(4), "a": np.ones((2, 3))}
    optimizer.update(params, grads)
    optimizer.state["a"]["v"] = bad
    before = copy.deepcopy((optimizer.state_dict(), params))
    with pytest.raises(ValueError, match=r"state\['a'\]\['v'\] must be writeable, got a read-only array"):
        optimizer.update(params, grads)
    np.testing.assert_equal((optimizer.state_dict(), params), before)


@pytest.mark.parametrize("place", [0, 1], ids=["view", "file"])
def test_an_average_that_is_read_only_is_refused_before_anything_changes(place, tmp_path):
    bad = np.asarray(read_only(tmp_path)[place]).view()
    bad.flags.writeable = False
    params = {"b": np.ones(4), "a": np.full((2, 3), 3.0)}
    average = ExponentialMovingAverage(params, 0.5)
    params["b"] += 1
    average.averages["a"] = bad
    with pytest.raises(ValueError, match=r"averages\['a'\] must be writeable, got a read-only array"):
        average.update()
    np.testing.assert_equal(average.averages, {"b": np.ones(4), "a": np.ones((2, 3))})


def test_state_and_averages_in_other_layouts_go_on(tmp_path):
    np.save(tmp_path / "ones.npy", np.ones((2, 3)))
    mapped = np.load(tmp_path / "ones.npy", mmap_mode="r+")
    for held in (np.ones((3, 2)).T, mapped):
        params, optimizer = {"a": np.ones((2, 3))}, Momentum(0.5, 0.5)
        optimizer.state["a"] = {"step": 3, "v": held}
        optimizer.update(params, {"a": np.zeros((2, 3))})
        assert optimizer.state["a"]["step"] == 4
        np.testing.assert_array_equal(params["a"], 1.5)
        average = ExponentialMovingAverage(params, 0.5, warmup=False)
        average.averages["a"] = held + 0.5
        params["a"][...] = 0
        average.update()
        np.testing.assert_array_equal(average.averages["a"], (held + 0.5) / 2)


class Failing(np.ndarray):
    """A parameter whose first assignment is interrupted."""

    def __setitem__(self, place, value):
        if not getattr(self, "failed", False):
            self.failed = True
            raise KeyboardInterrupt
        super().__setitem__(place, value)


def test_an_interrupt_while_averages_are_put_in_place_puts_the_parameters_back():
    params = {"a": np.ones(2), "b": np.ones(3).view(Failing)}
    average = ExponentialMovingAverage(params, 0.5)
    average.averages = {name: value + 1 for name, value in average.averages.items()}
    with pytest.raises(KeyboardInterrupt), average.swapped():
        raise AssertionError("not reached")
    assert all((value == 1).all() for value in params.values())
