"""The exponential moving average of parameters."""

import copy

import numpy as np
import pytest

from cconv import Adam, Affine, ExponentialMovingAverage, Network, Relu


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_the_formula(dtype, cpu_level, num_threads):
    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((3, 20_001)).astype(dtype), "b": rng.standard_normal(3).astype(dtype)}
    average = ExponentialMovingAverage(params, 0.8)
    expected = {name: value.astype(np.float64) for name, value in params.items()}
    for _ in range(4):
        for name, value in params.items():
            value += rng.standard_normal(value.shape).astype(dtype)
            expected[name] += 0.2 * (value - expected[name])
        average.update()
    assert average.averages.keys() == expected.keys()
    for name, mean in average.averages.items():
        assert mean.dtype == dtype
        tolerance = 8 * np.finfo(dtype).eps
        np.testing.assert_allclose(mean, expected[name], rtol=tolerance, atol=tolerance)


def test_any_layout():
    start = np.random.default_rng(1).standard_normal((4, 6))
    layouts = {
        "plain": start.copy(),
        "fortran": np.asfortranarray(start),
        "strided": np.repeat(start, 2, axis=1)[:, ::2],
        "swapped": start.astype(">f8"),
    }
    average = ExponentialMovingAverage(layouts, 0.5)
    for value in layouts.values():
        value *= 2
    average.update()
    for name, value in layouts.items():
        np.testing.assert_array_equal(average.averages[name], 1.5 * start)
        np.testing.assert_array_equal(value, 2 * start)


def test_swapping_in_and_out_of_a_network():
    network = Network([Affine(units=4), Relu(), Affine(units=2)], (3,), dtype="float64", seed=0)
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((6, 3)), rng.integers(0, 2, 6)
    average, optimizer = ExponentialMovingAverage(network.params, 0.9), Adam(0.1)
    for _ in range(3):
        optimizer.update(network.params, network.gradient(x, t))
        average.update()
    arrays, before = dict(network.params), copy.deepcopy(dict(network.params))
    scores = network.predict(x)
    twin = Network([Affine(units=4), Relu(), Affine(units=2)], (3,), dtype="float64", seed=1)
    for name, mean in average.averages.items():
        twin.params[name][...] = mean
    with pytest.raises(ZeroDivisionError), average.swapped():
        np.testing.assert_array_equal(network.predict(x), twin.predict(x))
        raise ZeroDivisionError
    for name, value in network.params.items():
        assert value is arrays[name]
        np.testing.assert_array_equal(value, before[name])
    np.testing.assert_array_equal(network.predict(x), scores)


def test_a_parameter_that_comes_later_or_changes_begins_at_its_value():
    params = {"a": np.zeros(2)}
    average = ExponentialMovingAverage(params, 0.5)
    params["a"], params["b"] = np.ones(3), np.ones(2, np.float32)
    with pytest.raises(ValueError, match=r"params\['a'\] has no average of its shape"), average.swapped():
        pass
    average.update()
    np.testing.assert_array_equal(average.averages["a"], 1)
    assert average.averages["b"].dtype == np.float32
    del params["a"]
    average.update()
    assert list(average.averages) == ["b"]


def test_state():
    params = {"a": np.zeros(2), "b": np.zeros(1, np.float32)}
    average, other = ExponentialMovingAverage(params, 0.5), ExponentialMovingAverage(params, 0.9)
    params["a"] += 1
    average.update()
    state = average.state_dict()
    other.load_state_dict(state)
    state["averages"]["a"][...] = 7
    assert other.decay == 0.5
    np.testing.assert_array_equal(other.averages["a"], 0.5)


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({"decay": 0.5}, ValueError, "state_dict must have the keys decay, averages"),
        ({"decay": 1.5, "averages": {"a": np.zeros(2)}}, ValueError, "decay"),
        ({"decay": 0.5, "averages": {}}, ValueError, "averages must have the keys a, got"),
        ({"decay": 0.5, "averages": {"a": np.zeros(3)}}, ValueError, r"averages\['a'\] must have shape \(2,\)"),
        ({"decay": 0.5, "averages": {"a": np.zeros(2, "f4")}}, ValueError, "hold float64"),
        ({"decay": 0.5, "averages": {"a": [0, 0]}}, TypeError, "must be ndarray, got list"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(state, error, message):
    average = ExponentialMovingAverage({"a": np.ones(2)}, 0.25)
    with pytest.raises(error, match=message):
        average.load_state_dict(state)
    assert average.decay == 0.25
    np.testing.assert_array_equal(average.averages["a"], 1)


def test_errors():
    with pytest.raises(TypeError, match=r"params\['a'\] must be a float32 or float64 array, got int64"):
        ExponentialMovingAverage({"a": np.ones(2, np.int64)})
    with pytest.raises(TypeError, match="got float"):
        ExponentialMovingAverage({"a": 1.0})
    with pytest.raises(ValueError, match="decay"):
        ExponentialMovingAverage({}, 1.0)
    params = {"a": np.ones(2), "b": np.broadcast_to(1.0, 2)}
    average = ExponentialMovingAverage(params)
    params["a"] += 1
    with pytest.raises(ValueError, match="writeable"), average.swapped():
        pass
    np.testing.assert_array_equal(params["a"], 2)
