"""The six optimizers against their formulas."""

import numpy as np
import pytest

from cconv import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop, kernels


def sgd(p, g, s, t):
    return p - 0.1 * g


def momentum(p, g, s, t):
    s["v"] = 0.8 * s.get("v", 0) - 0.1 * g
    return p + s["v"]


def nesterov(p, g, s, t):
    old = s.get("v", np.zeros_like(p))
    s["v"] = 0.8 * old - 0.1 * g
    return p + 0.8 * 0.8 * old - (1 + 0.8) * 0.1 * g


def adagrad(p, g, s, t):
    s["h"] = s.get("h", 0) + g * g
    return p - 0.1 * g / (np.sqrt(s["h"]) + 1e-7)


def rmsprop(p, g, s, t):
    s["h"] = 0.9 * s.get("h", 0) + 0.1 * g * g
    return p - 0.1 * g / (np.sqrt(s["h"]) + 1e-7)


def adam(p, g, s, t):
    s["m"] = s.get("m", 0) + (1 - 0.8) * (g - s.get("m", 0))
    s["v"] = s.get("v", 0) + (1 - 0.95) * (g * g - s.get("v", 0))
    return p - 0.1 * np.sqrt(1 - 0.95**t) / (1 - 0.8**t) * s["m"] / (np.sqrt(s["v"]) + 1e-7)


RULES = [
    (lambda: SGD(0.1), sgd),
    (lambda: Momentum(0.1, 0.8), momentum),
    (lambda: Nesterov(0.1, 0.8), nesterov),
    (lambda: AdaGrad(0.1), adagrad),
    (lambda: RMSprop(0.1, 0.9), rmsprop),
    (lambda: Adam(0.1, 0.8, 0.95), adam),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("make", "rule"), RULES, ids=lambda value: getattr(value, "__name__", ""))
def test_against_the_formula(make, rule, dtype, cpu_level, num_threads):
    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((7, 5003)).astype(dtype), "b": rng.standard_normal(3).astype(dtype)}
    expected = {key: value.astype(np.float64) for key, value in params.items()}
    states = {"W": {}, "b": {}}
    kept = dict(params)
    optimizer = make()
    for t in range(1, 5):
        grads = {key: rng.standard_normal(value.shape).astype(dtype) for key, value in params.items()}
        optimizer.update(params, grads)
        for key in params:
            expected[key] = rule(expected[key], grads[key].astype(np.float64), states[key], t)
    for key in params:
        assert params[key] is kept[key]
        tolerance = 2e-6 if dtype == np.float32 else 1e-13
        np.testing.assert_allclose(params[key], expected[key], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("make", [make for make, _ in RULES])
def test_any_layout_and_python_floats(make):
    rng = np.random.default_rng(1)
    start, gradient = rng.standard_normal((4, 6)), rng.standard_normal((4, 6))
    unaligned = np.zeros(start.nbytes + 1, np.uint8)[1:].view(np.float64).reshape(start.shape)
    unaligned[...] = start
    layouts = {
        "plain": start.copy(),
        "unaligned": unaligned,
        "fortran": np.asfortranarray(start),
        "strided": np.repeat(start, 2, axis=1)[:, ::2],
        "swapped": start.astype(">f8"),
        "reversed": start[::-1].copy()[::-1],
    }
    optimizer = make()
    for _ in range(3):
        optimizer.update(layouts, dict.fromkeys(layouts, gradient))
    for array in layouts.values():
        np.testing.assert_array_equal(array, layouts["plain"])
    params = {"x": float(start[0, 0])}
    optimizer = make()
    for _ in range(3):
        optimizer.update(params, {"x": float(gradient[0, 0])})
    assert isinstance(params["x"], float)
    assert params["x"] == pytest.approx(layouts["plain"][0, 0], rel=1e-12)


def test_a_parameter_added_later_starts_afresh():
    optimizer = Adam(0.1)
    params, grads = {"a": np.ones(2)}, {"a": np.ones(2)}
    optimizer.update(params, grads)
    params["b"], grads["b"] = np.ones(2), np.ones(2)
    optimizer.update(params, grads)
    np.testing.assert_allclose(params["b"], 0.9, rtol=1e-6)  # Adam's first step is lr, whatever the gradient
    params["a"], grads["a"] = np.ones(3), np.ones(3)
    optimizer.update(params, grads)
    np.testing.assert_allclose(params["a"], 0.9, rtol=1e-6)


@pytest.mark.parametrize(
    ("bad", "gradient", "error", "message"),
    [
        (np.ones(3), np.ones(2), ValueError, "must have the shape"),
        (np.ones(2, int), np.ones(2), TypeError, "float32 or float64"),
        ([1.0, 2.0], np.ones(2), TypeError, "float32 or float64"),
        (np.broadcast_to(1.0, 2), np.ones(2), ValueError, "writeable"),
        (np.ones(2), np.ones(2, complex), TypeError, "real numbers"),
        (1.0, np.ones(2), ValueError, "must be a number"),
        (1.0, None, TypeError, "real numbers"),
    ],
)
def test_errors_change_nothing(bad, gradient, error, message):
    params = {"good": np.ones(2), "bad": bad}
    with pytest.raises(error, match=message):
        Momentum().update(params, {"good": np.ones(2), "bad": gradient})
    np.testing.assert_array_equal(params["good"], 1)


def test_keys_must_agree():
    with pytest.raises(KeyError, match="only one of them has W2"):
        SGD().update({"W1": np.ones(2)}, {"W1": np.ones(2), "W2": np.ones(2)})


def test_a_gradient_that_is_the_parameter_itself():
    p = np.array([1.0, 2.0])
    Momentum(0.5).update({"p": p}, {"p": p})
    np.testing.assert_array_equal(p, [0.5, 1.0])


def test_kernels_see_aligned_arrays(monkeypatch):
    seen = []
    monkeypatch.setattr(kernels.optimize, "sgd", lambda p, g, *rest: seen.extend([p, g]))
    unaligned = np.zeros(17, np.uint8)[1:].view(np.float64)
    SGD().update({"p": unaligned}, {"p": unaligned.copy()})
    SGD().update({"p": np.ones(2)}, {"p": unaligned})
    assert len(seen) == 4
    assert all(array.flags.aligned and array.flags.c_contiguous for array in seen)


def test_parameters_that_share_memory_take_both_steps():
    W = np.ones((2, 3))
    SGD(0.25).update({"W": W, "tied": W.T}, {"W": np.ones((2, 3)), "tied": np.ones((3, 2))})
    np.testing.assert_array_equal(W, 0.5)


def test_a_gradient_that_is_another_parameter():
    a, b = np.ones(4), np.ones(2)
    SGD(0.25).update({"a": a, "b": b}, {"a": np.ones(4), "b": a[1:3]})
    np.testing.assert_array_equal(b, 0.75)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [make for make, _ in RULES])
def test_any_number_of_threads_gives_the_same_bits(make, dtype, cpu_level, monkeypatch):
    rng = np.random.default_rng(2)
    start, gradient = rng.standard_normal((2, 50_003)).astype(dtype)
    results = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(kernels.cpu, "threads_for", lambda work, threads=threads: threads)
        params, optimizer = {"p": start.copy()}, make()
        for _ in range(3):
            optimizer.update(params, {"p": gradient})
        results.append(params["p"].tobytes())
    assert results[0] == results[1] == results[2]


def test_another_dtype_starts_afresh():
    optimizer = Momentum(0.25)
    optimizer.update({"p": np.ones(2)}, {"p": np.ones(2)})
    params = {"p": np.ones(2, np.float32)}
    optimizer.update(params, {"p": np.ones(2)})
    np.testing.assert_array_equal(params["p"], np.full(2, 0.75, np.float32))


@pytest.mark.parametrize(("make", "message"), [(lambda: SGD(0), "lr"), (lambda: Adam(beta1=1.0), "beta1")])
def test_hyperparameters_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
