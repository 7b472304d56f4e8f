"""The optimizers against their formulas, weight decay, clipping and their state."""

import copy
import inspect
import math
import pickle

import numpy as np
import pytest

import cconv
from cconv import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Lion,
    Momentum,
    Nesterov,
    Optimizer,
    RMSprop,
    clip_gradients_by_norm,
    clip_gradients_by_value,
    global_norm,
    kernels,
)
from cconv.optimizers import are_finite


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


def amsgrad(p, g, s, t):
    s["m"] = s.get("m", 0) + (1 - 0.8) * (g - s.get("m", 0))
    s["v"] = s.get("v", 0) + (1 - 0.95) * (g * g - s.get("v", 0))
    s["h"] = np.maximum(s.get("h", 0), s["v"])
    return p - 0.1 * np.sqrt(1 - 0.95**t) / (1 - 0.8**t) * s["m"] / (np.sqrt(s["h"]) + 1e-7)


def adamw(p, g, s, t):
    """Algorithm 2 of arXiv 1711.05101, line by line, with alpha = 0.1, eta_t = 1, lambda = 0.1 * 0.3, eps = 0.01."""
    alpha, beta1, beta2, eps, decay = 0.1, 0.8, 0.95, 0.01, 0.1 * 0.3
    s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", 0) + (1 - beta2) * g**2
    m_hat = s["m"] / (1 - beta1**t)
    v_hat = s["v"] / (1 - beta2**t)
    eta = 1.0
    return p - eta * (alpha * m_hat / (np.sqrt(v_hat) + eps) + decay * p)


def lion(p, g, s, t):
    """Algorithm 2 of arXiv 2302.06675 with eta = 0.1, lambda = 0.3."""
    m = s.get("m", np.zeros_like(p))
    step = np.sign(0.8 * m + (1 - 0.8) * g)
    s["m"] = 0.95 * m + (1 - 0.95) * g
    return p - 0.1 * (step + 0.3 * p)


RULES = [
    (lambda: SGD(0.1), sgd),
    (lambda: Momentum(0.1, 0.8), momentum),
    (lambda: Nesterov(0.1, 0.8), nesterov),
    (lambda: AdaGrad(0.1), adagrad),
    (lambda: RMSprop(0.1, 0.9), rmsprop),
    (lambda: Adam(0.1, 0.8, 0.95), adam),
    (lambda: Adam(0.1, 0.8, 0.95, amsgrad=True), amsgrad),
    (lambda: AdamW(0.1, 0.8, 0.95, eps=0.01, weight_decay=0.3, exclude=()), adamw),
    (lambda: Lion(0.1, 0.8, 0.95, weight_decay=0.3, exclude=()), lion),
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
    monkeypatch.setattr(kernels.optimize, "update", lambda rule, params, grads, *rest: seen.extend(params + grads))
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


@pytest.mark.parametrize(("dtype", "other"), [(np.float32, np.float64), (np.float64, np.float32)])
@pytest.mark.parametrize("make", [make for make, _ in RULES])
def test_any_number_of_threads_and_parameters_gives_the_same_bits(make, dtype, other, cpu_level, monkeypatch):
    rng = np.random.default_rng(2)
    sizes = {"large": 50_003, "none": 0, "one": 1, "piece": 4096, "more": 4097, "wide": 9000}
    dtypes = dict.fromkeys(sizes, dtype) | {"wide": other, "one": other}
    start = {key: rng.standard_normal(size).astype(dtypes[key]) for key, size in sizes.items()}
    grads = {key: rng.standard_normal(size).astype(dtypes[key]) for key, size in sizes.items()}
    results = []
    for threads in (1, 2, 3, 16):
        monkeypatch.setattr(kernels.cpu, "threads_for", lambda work, threads=threads: threads)
        params, optimizer = copy.deepcopy(start), make()
        for _ in range(3):
            optimizer.update(params, grads)
        results.append([value.tobytes() for value in params.values()])
    alone = copy.deepcopy(start)
    for key, value in alone.items():
        optimizer = make()
        for _ in range(3):
            optimizer.update({key: value}, {key: grads[key]})
    results.append([value.tobytes() for value in alone.values()])
    assert all(result == results[0] for result in results)


def test_a_step_for_which_there_is_no_memory_is_not_counted(monkeypatch):
    optimizer, params, grads = Adam(), {"a": np.ones(2)}, {"a": np.ones(2)}
    optimizer.update(params, grads)
    before = optimizer.state_dict()

    def fail(array):
        raise MemoryError

    monkeypatch.setattr(kernels.memory, "copy", fail)
    with pytest.raises(MemoryError):
        optimizer.update(params | {"b": np.ones(2)}, grads | {"b": np.ones(2)})
    np.testing.assert_equal(optimizer.state_dict(), before)


def test_another_dtype_starts_afresh():
    optimizer = Momentum(0.25)
    optimizer.update({"p": np.ones(2)}, {"p": np.ones(2)})
    params = {"p": np.ones(2, np.float32)}
    optimizer.update(params, {"p": np.ones(2)})
    np.testing.assert_array_equal(params["p"], np.full(2, 0.75, np.float32))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD(0), ValueError, "lr must be a positive number"),
        (lambda: SGD("fast"), TypeError, "lr must be a number, got 'fast'"),
        (lambda: Adam(beta1=1.0), ValueError, "beta1"),
        (lambda: AdamW(eps=0), ValueError, "eps must be a positive number"),
        (lambda: SGD(weight_decay=-1), ValueError, "weight_decay must be a number that is not negative"),
        (lambda: Lion(clip_norm=0), ValueError, "clip_norm must be a positive number"),
        (lambda: SGD(clip_value=math.inf), ValueError, "clip_value must be a positive number"),
        (lambda: SGD(clip_value=1, clip_norm=1), ValueError, "give clip_value or clip_norm, not both"),
        (lambda: Momentum(nesterov=True), TypeError, "nesterov"),
        (lambda: clip_gradients_by_norm({}, -1), ValueError, "max_norm must be a positive number"),
        (lambda: clip_gradients_by_value({"W": "no"}, 1), TypeError, r"grads\['W'\] must be an array of real numbers"),
    ],
)
def test_hyperparameters_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()


SIX = [SGD, Momentum, Nesterov, AdaGrad, RMSprop, Adam]


def arrays(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"W": (3, 1001), "b": (7,), "gamma": (5,)}
    return {key: rng.standard_normal(shape).astype(dtype) for key, shape in shapes.items()}


@pytest.mark.parametrize("make", SIX)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("exclude", "decayed"),
    [
        (None, {"W"}),
        ((), {"W", "b", "gamma"}),
        (["W", "b"], {"gamma"}),
        ("W", {"b", "gamma"}),
        (lambda name, value: name.startswith("g") or value.size > 1000, {"b"}),
    ],
    ids=["default", "none", "names", "name", "predicate"],
)
def test_weight_decay_is_a_gradient(make, exclude, decayed, dtype, cpu_level, num_threads):
    params, expected = arrays(dtype), arrays(dtype)
    optimizer, plain = make(weight_decay=0.25, exclude=exclude), make()
    for step in range(3):
        grads = arrays(dtype, step + 1)
        optimizer.update(params, grads)
        plain.update(expected, {key: grads[key] + dtype(0.25 * (key in decayed)) * expected[key] for key in grads})
    for key in params:
        # Where a fused multiply-add rounds once, NumPy rounds twice.
        tolerance = 1e-4 if dtype is np.float32 else 1e-12
        np.testing.assert_allclose(params[key], expected[key], rtol=tolerance, atol=tolerance)
        assert np.array_equal(params[key], expected[key]) or key in decayed


def test_norms_of_whole_images_do_not_decay():
    layers = [cconv.LayerNormalization(), cconv.Affine(units=2), cconv.LayerNormalization()]
    network = cconv.Network(layers, (2, 3, 4), seed=0)
    before = {name: value.copy() for name, value in network.params.items()}
    grads = {name: np.zeros_like(value) for name, value in before.items()}
    SGD(0.1, weight_decay=0.5).update(network.params, grads)
    changed = {name for name, value in network.params.items() if not np.array_equal(value, before[name])}
    assert network.params["gamma1"].ndim == 3 and changed == {"W1"}


class Gate(cconv.Layer):
    """A user's own layer, whose parameters have the names of others and two dimensions or one."""

    param_names = ("gamma", "W", "slope")
    no_decay_names = ("W",)

    def __init__(self):
        self.gamma, self.W, self.slope = np.ones(3), np.ones((3, 3)), np.ones(1)

    def forward(self, x):
        return x


class Bare:
    """One without a base class, with its parameters in a dict."""

    def __init__(self):
        self.params = {"b": np.ones((2, 2)), "W": np.ones(2)}

    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


@pytest.mark.parametrize("nest", [lambda layers: layers, lambda layers: [cconv.Residual([cconv.Concatenate(layers)])]])
def test_what_does_not_decay_is_what_layers_say(nest):
    network = cconv.Network(nest([cconv.Affine(units=3), cconv.LayerNormalization(), Gate(), Bare()]), (3,), seed=0)
    assert list(network.params) == ["W1", "b1", "gamma1", "beta1", "gamma2", "W2", "slope1", "b2", "W3"]
    assert network.params.no_decay == {"b1", "gamma1", "beta1", "W2", "b2"}
    network.freeze(next(iter(network.layers)))
    assert network.trainable_params.no_decay <= network.params.no_decay
    network.unfreeze()
    grads = {name: np.zeros_like(value) for name, value in network.params.items()}
    for exclude, same in ((None, network.params.no_decay), ("W1", {"W1"}), ((), set())):
        for value in network.params.values():
            value[...] = 1
        SGD(0.1, weight_decay=0.5, exclude=exclude).update(network.params, grads)
        assert {name for name, value in network.params.items() if (value == 1).all()} == same
    plain = {"gamma1": np.ones((2, 2)), "W1": np.ones(2)}
    SGD(0.1, weight_decay=0.5).update(plain, {name: np.zeros_like(value) for name, value in plain.items()})
    assert (plain["gamma1"] == 0.95).all() and (plain["W1"] == 1).all()


@pytest.mark.parametrize("make", [AdamW, Lion])
def test_decoupled_weight_decay_is_none_of_the_gradients(make):
    params, expected, grads = arrays(), arrays(), arrays(seed=1)
    make(0.125, weight_decay=0.5).update(params, grads)
    make(0.125, weight_decay=0).update(expected, grads)
    np.testing.assert_allclose(params["W"], expected["W"] - 0.0625 * arrays()["W"], rtol=1e-13, atol=1e-15)
    for key in ("b", "gamma"):
        np.testing.assert_array_equal(params[key], expected[key])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [make for make, _ in RULES])
@pytest.mark.parametrize(
    ("options", "clip"),
    [
        ({"clip_value": 0.5}, lambda grads: clip_gradients_by_value(grads, 0.5)),
        ({"clip_norm": 2.0}, lambda grads: clip_gradients_by_norm(grads, 2.0)),
        ({"clip_norm": 1e6}, lambda grads: grads),
    ],
    ids=["value", "norm", "large norm"],
)
def test_clipping_is_that_of_the_functions(make, options, clip, dtype, cpu_level, num_threads):
    params, expected = arrays(dtype), arrays(dtype)
    optimizer, plain = make(), make()
    vars(optimizer).update(options)
    for step in range(3):
        grads = arrays(dtype, step + 1)
        kept = copy.deepcopy(grads)
        optimizer.update(params, grads)
        plain.update(expected, clip(grads))
        for key in grads:
            np.testing.assert_array_equal(grads[key], kept[key])
            np.testing.assert_array_equal(params[key], expected[key])


def test_norms_and_clipped_gradients(cpu_level, num_threads):
    grads = arrays(np.float32) | {"list": [3, 4], "strided": np.arange(20.0)[::3], "none": np.empty(0)}
    expected = np.sqrt(sum(np.square(np.asarray(g, np.longdouble)).sum() for g in grads.values()))
    assert global_norm(grads) == pytest.approx(float(expected), rel=1e-14)
    clipped = clip_gradients_by_norm(grads, 5.0)
    assert global_norm(clipped) == pytest.approx(5.0, rel=1e-6)
    assert clipped["W"].dtype == np.float32 and clipped["W"] is not grads["W"]
    assert np.array_equal(clip_gradients_by_norm(grads, 1e9)["W"], grads["W"])
    limited = clip_gradients_by_value(grads | {"nan": np.array([np.nan, np.inf])}, 1.5)
    np.testing.assert_array_equal(limited["list"], [1.5, 1.5])
    np.testing.assert_array_equal(limited["nan"], [np.nan, 1.5])
    assert np.abs(limited["W"]).max() == 1.5 and limited["W"].dtype == np.float32


def test_a_norm_beyond_float32_and_a_norm_that_is_no_number():
    grads = {"W": np.full(4, 1e30, np.float32)}
    assert global_norm(grads) == pytest.approx(2e30)
    np.testing.assert_allclose(clip_gradients_by_norm(grads, 1.0)["W"], 0.5, rtol=1e-6)
    params = {"W": np.ones(2)}
    SGD(clip_norm=1.0).update(params, {"W": np.array([np.nan, 1.0])})
    assert np.isnan(params["W"]).all()  # as in PyTorch: nothing hides that training has failed


@pytest.mark.parametrize("size", [1, 15, 16, 17, 1023, 1024, 1025, 65_536, 100_003])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_of_squares_have_the_same_bits_on_any_number_of_threads(size, dtype, cpu_level):
    g = np.random.default_rng(3).standard_normal(size).astype(dtype)
    sums = {kernels.optimize.sum_of_squares(g, threads) for threads in (1, 2, 3, 5)}
    assert len(sums) == 1
    assert sums.pop() == pytest.approx(float(np.square(g.astype(np.longdouble)).sum()), rel=1e-14)


@pytest.mark.parametrize("make", [make for make, _ in RULES])
def test_nan_reaches_the_parameter_and_an_infinite_parameter_stays(make):
    params = {"W": np.array([[1.0, np.inf]])}
    optimizer = make()
    optimizer.update(params, {"W": np.array([[np.nan, 1.0]])})
    assert np.isnan(params["W"][0, 0])
    assert params["W"][0, 1] == np.inf


@pytest.mark.parametrize("make", [make for make, _ in RULES])
def test_going_on_from_a_state_dict_gives_the_same_bits(make):
    params, optimizer = arrays(np.float32), make()
    for step in range(3):
        optimizer.update(params, arrays(np.float32, step))
    saved, other, fresh = optimizer.state_dict(), copy.deepcopy(params), make()
    kept = copy.deepcopy(saved)
    fresh.lr = 77.0
    fresh.load_state_dict(saved)
    for step in range(3, 6):
        optimizer.lr = fresh.lr = 0.5 / step
        optimizer.update(params, arrays(np.float32, step))
        fresh.update(other, arrays(np.float32, step))
    for key in params:
        np.testing.assert_array_equal(params[key], other[key])
    np.testing.assert_equal(saved, kept)  # a snapshot, and loading it shares nothing with it
    np.testing.assert_equal(pickle.loads(pickle.dumps(fresh)).state_dict(), optimizer.state_dict())


@pytest.mark.parametrize("make", [make for make, _ in RULES])
def test_beginning_again_forgets_the_state_and_no_setting(make):
    params, optimizer, fresh = arrays(np.float32), make(), make()
    for step in range(3):
        optimizer.update(params, arrays(np.float32, step))
    optimizer.lr = fresh.lr = 0.25
    optimizer.reset()
    assert optimizer.state == {} and optimizer.state_dict() == fresh.state_dict()
    other = copy.deepcopy(params)
    optimizer.update(params, arrays(np.float32, 3))
    fresh.update(other, arrays(np.float32, 3))
    np.testing.assert_equal(params, other)


def test_what_a_state_dict_holds():
    optimizer = Adam(0.5, clip_norm=3.0)
    optimizer.update({"W": np.ones(2)}, {"W": np.ones(2)})
    state = optimizer.state_dict()
    settings = {"lr": 0.5, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "clip_value": None, "clip_norm": 3.0}
    assert (state["type"], state["settings"]) == ("Adam", settings)
    assert list(state["state"]["W"]) == ["step", "m", "v"]


def test_a_learning_rate_of_0_can_be_loaded():
    optimizer = SGD()
    optimizer.lr = 0.0
    other = SGD()
    other.load_state_dict(optimizer.state_dict())
    assert other.lr == 0


def broken(**changes):
    optimizer = Adam()
    optimizer.update({"W": np.ones(2)}, {"W": np.ones(2)})
    state = optimizer.state_dict()
    for place, value in changes.items():
        *path, last = place.split("__")
        target = state
        for name in path:
            target = target[name]
        target[last] = value
    return state


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ([], TypeError, "state_dict must be a dict, got list"),
        ({"type": "Adam"}, ValueError, "state_dict must have the keys type, settings, state, got type"),
        (SGD().state_dict(), ValueError, "state_dict must be of Adam, got one of SGD"),
        (broken(settings__lr=-1), ValueError, "lr"),
        (broken(settings__beta1="x"), TypeError, "beta1 must be a number"),
        (broken(settings__momentum=1), ValueError, "settings must have the keys lr, beta1"),
        (broken(state__W={"step": 1, "m": np.ones(2)}), ValueError, r"state\['W'\] must have the keys step, m, v"),
        (broken(state__W__step=1.5), TypeError, "must be int, got float"),
        (broken(state__W__step=True), TypeError, "must be int, got bool"),
        (broken(state__W__step=-1), ValueError, r"state\['W'\]\['step'\] must be at least 0"),
        (broken(state__W__step=2**1100), ValueError, r"state\['W'\]\['step'\] must be at most"),
        (broken(settings__lr=2**1100), ValueError, "lr must be a finite number"),
        (broken(settings__clip_norm=1.0, settings__clip_value=1.0), ValueError, "clip_value or clip_norm, not both"),
        (broken(state__W__v=np.ones(3)), ValueError, "arrays of one shape and dtype"),
        (broken(state__W__m=np.ones(2, int)), ValueError, "float32 or float64 arrays"),
        (broken(state__W__m=[1.0, 2.0]), TypeError, "must be ndarray, got list"),
        (broken(state__W__v=np.array([1.0, -1.0])), ValueError, r"state\['W'\]\['v'\] must hold squares, got -1.0"),
        (Adam(amsgrad=True), TypeError, "must be a dict"),
    ],
)
def test_a_state_dict_that_does_not_fit_changes_nothing(state, error, message):
    optimizer = Adam(0.25)
    optimizer.update({"W": np.ones(2)}, {"W": np.ones(2)})
    before = optimizer.state_dict()
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(state)
    np.testing.assert_equal(optimizer.state_dict(), before)


def test_an_optimizer_of_ones_own():
    class Halving(Optimizer):
        state_names = ("last",)
        setting_names = ("share",)

        def __init__(self, lr=1.0, share=0.5, **options):
            super().__init__(lr, **options)
            self.share = share

        def _step(self, params, grads, states, decays, scale, limit):
            for p, g, state in zip(params, grads, states, strict=True):
                p *= self.share
                state["last"][...] = g

    params, optimizer = {"W": np.ones(2)}, Halving(share=0.25)
    optimizer.update(params, {"W": np.ones(2)})
    np.testing.assert_array_equal(params["W"], 0.25)
    other = Halving()
    other.load_state_dict(optimizer.state_dict())
    assert other.share == 0.25
    np.testing.assert_array_equal(other.state["W"]["last"], 1)


def test_a_subclass_may_keep_more_arrays_than_its_rule():
    class Traced(Adam):
        state_names = ("m", "v", "first", "second", "third")

    params, expected = {"W": np.ones(5)}, {"W": np.ones(5)}
    optimizer = Traced()
    optimizer.update(params, {"W": np.ones(5)})
    Adam().update(expected, {"W": np.ones(5)})
    np.testing.assert_array_equal(params["W"], expected["W"])
    np.testing.assert_array_equal(optimizer.state["W"]["third"], 0)


def test_gradients_in_the_memory_of_parameters_are_read_before_these_change():
    flat = np.arange(12.0)
    params = {"a": flat[:4], "b": flat[4:8], "c": np.ones(4)}
    grads = {"a": flat[8:], "b": flat[2:6].copy(), "c": flat[1:5]}
    expected = {key: params[key] - grads[key] for key in params}
    SGD(1.0).update(params, grads)
    for key, values in params.items():
        np.testing.assert_array_equal(values, expected[key])


def test_state_of_unpickled_arrays_goes_on():
    params = {"p": np.ones(3, np.float32)}
    optimizer = Momentum(0.5)
    optimizer.update(params, {"p": np.ones(3, np.float32)})
    optimizer, params = pickle.loads(pickle.dumps((optimizer, params)))
    optimizer.update(params, {"p": np.ones(3, np.float32)})
    assert optimizer.state["p"]["step"] == 2
    np.testing.assert_allclose(params["p"], 1 - 0.5 - 0.95)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 17, 4095, 4096, 4097, 9000])
def test_a_number_that_is_not_finite_is_found_wherever_it_is(dtype, size, cpu_level):
    limits = np.finfo(dtype)
    g = np.resize(np.array([limits.max, limits.min, limits.tiny, -0.0, limits.smallest_subnormal], dtype), size)
    assert are_finite({"W": np.ones(3, dtype), "b": g})
    for place in {0, size // 2, size - 1} if size else ():
        for value in (np.nan, -np.nan, np.inf, -np.inf):
            other = g.copy()
            other[place] = value
            assert not are_finite({"W": np.ones(3, dtype), "b": other})


@pytest.mark.parametrize("kind", [SGD, AdaGrad, Adam, AdamW, Lion, Momentum, Nesterov, RMSprop])
def test_what_an_optimizer_is_given_is_declared_once_and_by_name(kind):
    parameters = inspect.signature(kind).parameters
    assert all(one.kind is not one.VAR_KEYWORD for one in parameters.values())
    assert {"weight_decay", "exclude", "clip_value", "clip_norm"} <= parameters.keys()
    assert kind.hyperparameters.keys() == set(kind.setting_names) <= parameters.keys()
    assert kind.state_names == kernels.optimize.RULES[kind.rule][1]
    optimizer = kind()
    for number, (name, own) in enumerate(kind.hyperparameters.items(), 1):
        setattr(optimizer, name, 0.5 / number)
        with pytest.raises(ValueError, match=f"{name} must be"):
            own.check(-1.0, name)
        with pytest.raises(ValueError, match=f"{name} must be"):
            kind(**{name: -1.0})
    numbers = optimizer._numbers(1, 0.0)
    for number, own in enumerate(kind.hyperparameters.values(), 1):
        assert own.number == "eps" or getattr(numbers, own.number) == 0.5 / number
