"""The tables of algorithms: all that apply agree, one is chosen with a reason, and any can be forced."""

import itertools

import numpy as np
import pytest
from test_plans import geometries

import cconv
from cconv import Convolution, functional, kernels
from cconv.functional import algorithms
from cconv.functional.algorithms import TABLES, candidates, names
from cconv.functional.convolution import plan_of
from cconv.functional.normalization import normalization_table


def drawn(seed, count):
    """Yield arrays and settings of random geometries that are quickly computed."""
    rng = np.random.default_rng(seed)
    small = (g for g in geometries(seed) if g[0] * g[1] // g[7] * g[4] * g[5] * g[8][0] * g[8][1] < 3e5)
    for n, geometry in enumerate(itertools.islice(small, count)):
        C, F, height, width, filter_h, filter_w, steps, groups, outputs = geometry
        dtype = np.float32 if n % 2 else np.float64
        x, W = rng.standard_normal((2, C, height, width)), rng.standard_normal((F, C // groups, filter_h, filter_w))
        arrays = [array.astype(dtype) for array in (x, W, rng.standard_normal(F))]
        plan = kernels.conv.Plan(x.shape[1:], W.shape, (F, *outputs), steps, groups, arrays[0].itemsize)
        yield *arrays, plan


def test_all_algorithms_give_the_same_bits_of_output(cpu_level):
    pooled = 0
    for x, W, b, plan in drawn(1, 120):
        outs = []
        for row in TABLES["output"]:
            if row.refused(plan):
                continue
            out = kernels.memory.empty((len(x), *plan.outputs), x.dtype)
            row.run(plan, x, W, b, out, 2)
            outs.append(out)
        assert len({out.tobytes() for out in outs}) == 1
        F, height, width = plan.outputs
        if min(height, width) >= 2:
            expected = functional.max_pool(functional.relu(outs[0]), 2)
            for row in TABLES["pooled_output"]:
                out = kernels.memory.empty((len(x), F, height // 2, width // 2), x.dtype)
                row.run(plan, x, W, b, out, None, 2)
                np.testing.assert_array_equal(out, expected)
                pooled += 1
    assert pooled > 40


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "filters", "groups", "pad"),
    [
        ((3, 1, 1), (20, 3, 1, 1), 1, 0),  # fewer outputs than lanes
        ((2, 4, 5), (35, 2, 2, 2), 1, 0),
        ((4, 3, 3), (6, 2, 3, 3), 2, 1),
        ((5, 9, 7), (5, 1, 3, 3), 5, 1),
        ((20, 7, 7), (17, 20, 1, 1), 1, 0),
    ],
)
def test_what_follows_an_output_has_the_bits_of_the_operations(shape, filters, groups, pad, dtype, cpu_level):
    rng = np.random.default_rng(3)
    tiny = np.sqrt(np.finfo(dtype).tiny) / 4  # minus its square is -0, and so is a sum where multiply-adds are fused
    x, W = rng.standard_normal((2, *shape)).astype(dtype), rng.standard_normal(filters).astype(dtype)
    b, gamma, beta, mean = rng.standard_normal((4, len(W))).astype(dtype)
    var = rng.uniform(0.1, 2, len(W))
    if not pad:  # whose zeros may make -0 to 0, or not, as an algorithm adds or leaves them out
        x[0], W[-1] = -tiny, tiny
    plan = plan_of(x, W, b, 1, pad, 1, groups)
    branch = rng.standard_normal((2, *plan.outputs)).astype(dtype)
    branch[0] = -0.0
    for biased, normalized, branched, relu in itertools.product([False, True], repeat=4):
        bias = b if biased else None
        expected = functional.convolution(x, W, bias, pad=pad, groups=groups)
        if normalized:
            expected = functional.batch_normalization(expected, gamma, beta, mean, var)
        if branched:
            expected = functional.add(expected, branch)
        if relu:
            expected = functional.relu(expected)
        table = normalization_table(gamma, beta, mean, var, 10e-7) if normalized else None
        for row in TABLES["output"]:
            if not row.refused(plan):
                run = kernels.conv.Prepared(plan, row.name, W, bias, table, False, None)
                out = kernels.memory.empty(expected.shape, x.dtype)
                run(x, branch if branched else None, relu, out, 2)
                assert out.tobytes() == expected.tobytes(), row.name


@pytest.mark.parametrize("which", TABLES)
def test_the_last_algorithm_of_a_pass_always_applies_and_each_choice_has_a_reason(which, cpu_level):
    for *_, plan in drawn(2, 40):
        assert TABLES[which][-1].refused(plan) == ""
        *maybe, (_, last) = candidates(plan, which)
        assert last.text and last.when is None
        for row, reason in maybe:
            assert row.refused(plan) == "" and reason.text and reason.when is not None


@pytest.mark.parametrize("which", TABLES)
def test_names_are_there_once_and_fractions_are_of_the_peak(which, cpu_level):
    assert len(set(names(which))) == len(names(which))
    for *_, plan in drawn(3, 40):
        for row in TABLES[which]:
            fraction = row.fraction(plan)
            assert fraction is None or 0 < fraction <= 1.01


def test_many_filters_of_one_channel_are_not_depthwise(cpu_level):
    x_shape = (100, 1, 28, 28)
    for filters, is_depthwise in ((64, False), (1, True)):
        layer = Convolution(np.ones((filters, 1, 5, 5), np.float32))
        (row,) = (row for row in cconv.explain(layer, x_shape) if row[0] == "output")
        assert (row[1] == "depthwise") is is_depthwise


def test_a_choice_is_made_once_for_a_geometry(monkeypatch):
    x, W = np.ones((2, 3, 8, 8)), np.ones((4, 3, 3, 3))
    asked = []

    def watched(row):
        return row._replace(preferred=lambda plan: asked.append(row) or row.preferred(plan))

    rows = tuple(map(watched, TABLES["output"]))
    monkeypatch.setitem(algorithms.TABLES, "output", rows)
    for N in (1, 2, 3):
        functional.convolution(x[:1].repeat(N, 0), W, pad=((2, 1), (0, 1)))
    assert 1 <= len(asked) <= len(rows)


@pytest.mark.parametrize("algorithm", names("output"))
def test_a_layer_that_is_forced_takes_that_algorithm_for_each_pass(algorithm, cpu_level, monkeypatch):
    rng = np.random.default_rng(0)
    groups = 4 if algorithm == "depthwise" else 2
    W, x = rng.standard_normal((8, 4 // groups, 3, 3)), rng.standard_normal((2, 4, 7, 9))
    forced = Convolution(W, np.ones(8), pad=1, groups=groups, algorithm=algorithm)
    free = Convolution(W, np.ones(8), pad=1, groups=groups)
    out = free.forward(x)
    assert forced.forward(x).tobytes() == out.tobytes()
    dx = free.backward(out)
    for pass_name in ("output", "input_gradient", "weight_gradient"):
        for other in set(names(pass_name)) & {"depthwise", "pixels", "channels"} - {algorithm}:
            if algorithm in names(pass_name):
                monkeypatch.setattr(kernels.conv, f"{other}_{pass_name}", None)
    monkeypatch.setattr(kernels.conv, "scattered_input_gradient", None)
    forced.forward(x)
    np.testing.assert_allclose(forced.backward(out), dx, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(forced.dW, free.dW, rtol=1e-10, atol=1e-10)
    assert forced.describe()["algorithm"] == algorithm


def test_an_algorithm_that_a_layer_does_not_have_is_refused_with_those_it_has():
    known = "'direct', 'im2col', 'depthwise', 'pixels' or 'channels'"
    with pytest.raises(ValueError, match=f"algorithm must be {known}, got 'fft'"):
        Convolution(np.ones((1, 1, 3, 3)), None, algorithm="fft")
    layer = Convolution(np.ones((2, 1, 3, 3)), None, groups=2, algorithm="im2col")
    with pytest.raises(ValueError, match=r"'depthwise', 'pixels', 'channels' here, got 'im2col' \(it knows no groups"):
        layer.forward(np.ones((1, 2, 5, 5)))
