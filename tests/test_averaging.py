"""The exponential moving average of parameters."""

import copy
import sys

import numpy as np
import pytest

from cconv import Adam, Affine, ExponentialMovingAverage, Network, Relu


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_the_formula(dtype, warmup, cpu_level, num_threads):
    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((3, 20_001)).astype(dtype), "b": rng.standard_normal(3).astype(dtype)}
    average = ExponentialMovingAverage(params, 0.25, warmup=warmup)
    expected = {name: value.astype(np.float64) for name, value in params.items()}
    for decay in [1 / 10, 2 / 11, 0.25, 0.25] if warmup else [0.25] * 4:
        for name, value in params.items():
            value += rng.standard_normal(value.shape).astype(dtype)
            expected[name] += (1 - decay) * (value - expected[name])
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
    average = ExponentialMovingAverage(layouts, 0.5, warmup=False)
    for value in layouts.values():
        value *= 2
    average.update()
    for name, value in layouts.items():
        np.testing.assert_array_equal(average.averages[name], 1.5 * start)
        np.testing.assert_array_equal(value, 2 * start)


def test_the_initial_values_are_soon_forgotten():
    params = {"W": np.zeros(2)}
    average, slow = ExponentialMovingAverage(params), ExponentialMovingAverage(params, warmup=False)
    params["W"] += 1
    for _ in range(40):
        average.update()
        slow.update()
    assert average.averages["W"][0] > 0.999 and slow.averages["W"][0] < 0.05


def test_an_update_that_is_interrupted_is_counted_or_not_at_all():
    params = {"W": np.zeros(2)}
    average = ExponentialMovingAverage(params, 0.5)
    params["W"] += 1
    code = ExponentialMovingAverage.update.__code__
    lines = sorted({line for _, _, line in code.co_lines() if line is not None and line > code.co_firstlineno})

    def interrupted_at(line):
        def trace(frame, event, arg):
            if event == "line" and frame.f_code is code and frame.f_lineno == line:
                raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            average.update()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(None)
        return False

    interrupts = 0
    for line in lines:
        count, before = average.count, average.averages["W"].copy()
        interrupts += interrupted_at(line)
        assert np.array_equal(average.averages["W"], before) == (average.count == count)
    assert interrupts > 10


def test_beginning_again():
    params = {"W": np.zeros(2)}
    average = ExponentialMovingAverage(params, 0.5)
    params["W"] += 1
    average.update()
    params["W"] += 1
    average.reset()
    assert average.count == 0 and average.averages["W"] is not params["W"]
    np.testing.assert_array_equal(average.averages["W"], 2)
    params["W"] = np.ones(2, int)
    with pytest.raises(TypeError, match="must be a float32 or float64 array"):
        average.reset()
    np.testing.assert_array_equal(average.averages["W"], 2)


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
    average, other = ExponentialMovingAverage(params, 0.5), ExponentialMovingAverage(params, 0.9, warmup=False)
    params["a"] += 1
    average.update()
    state = average.state_dict()
    other.load_state_dict(state)
    state["averages"]["a"][...] = 7
    assert (other.decay, other.warmup, other.count) == (0.5, True, 1)
    np.testing.assert_array_equal(other.averages["a"], 0.9)
    params["a"] += 1
    for one in (average, other):
        one.update()
    np.testing.assert_array_equal(other.averages["a"], average.averages["a"])


STATE = {"decay": 0.5, "warmup": True, "count": 3, "averages": {"a": np.zeros(2)}}


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({"decay": 0.5}, ValueError, "state_dict must have the keys decay, warmup, count, averages"),
        (STATE | {"decay": 1.5}, ValueError, "decay"),
        (STATE | {"warmup": 1}, TypeError, r"state_dict\['warmup'\] must be bool, got int"),
        (STATE | {"count": -1}, ValueError, "count must be at least 0, got -1"),
        (STATE | {"count": 1.0}, TypeError, r"state_dict\['count'\] must be int, got float"),
        (STATE | {"averages": {}}, ValueError, "averages must have the keys a, got"),
        (STATE | {"averages": {"a": np.zeros(3)}}, ValueError, r"averages\['a'\] must have shape \(2,\)"),
        (STATE | {"averages": {"a": np.zeros(2, "f4")}}, ValueError, "hold float64"),
        (STATE | {"averages": {"a": [0, 0]}}, TypeError, "must be ndarray, got list"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(state, error, message):
    average = ExponentialMovingAverage({"a": np.ones(2)}, 0.25, warmup=False)
    before = copy.deepcopy(average.state_dict())
    with pytest.raises(error, match=message):
        average.load_state_dict(state)
    np.testing.assert_equal(average.state_dict(), before)


def test_errors():
    with pytest.raises(TypeError, match=r"params\['a'\] must be a float32 or float64 array, got int64"):
        ExponentialMovingAverage({"a": np.ones(2, np.int64)})
    with pytest.raises(TypeError, match="got float"):
        ExponentialMovingAverage({"a": 1.0})
    with pytest.raises(ValueError, match="decay"):
        ExponentialMovingAverage({}, 1.0)
    with pytest.raises(TypeError, match="warmup must be True or False, got 2"):
        ExponentialMovingAverage({}, warmup=2)
    params = {"a": np.ones(2), "b": np.broadcast_to(1.0, 2)}
    average = ExponentialMovingAverage(params)
    params["a"] += 1
    with pytest.raises(ValueError, match="writeable"), average.swapped():
        pass
    np.testing.assert_array_equal(params["a"], 2)
