"""Plans of convolutions and affine products, compared with their formulas without being run."""

import itertools

import numpy as np
import pytest

from cconv import kernels
from cconv.geometry import window
from cconv.kernels import plans

DESCRIBED = [  # (pass, algorithm)
    ("output", "channels"),
    ("output", "pixels"),
    ("pooled_output", "channels"),
    ("input_gradient", "channels"),
    ("input_gradient", "pixels"),
    ("weight_gradient", "channels"),
    ("weight_gradient", "pixels"),
]
SIZES = 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 16, 17, 28, 31, 33, 64
CHANNELS = 1, 1, 2, 3, 5, 6, 7, 8, 12, 13, 15, 16, 17, 30, 33, 64, 65, 100
TAPS = 1, 1, 2, 3, 3, 4, 5, 6, 7, 9, 10, 12, 15, 17, 33


def geometries(seed):
    """Yield (channels, filters, height, width, FH, FW, steps, groups, outputs) for ever, with heavy tails."""
    rng = np.random.default_rng(seed)
    while True:
        height, width = (int(rng.choice(SIZES)) for _ in range(2))
        filter_h, filter_w = int(rng.choice(TAPS[:-2])), int(rng.choice(TAPS))
        stride, dilation = ([int(n) for n in rng.choice([1, 1, 1, 2, 3, 5], 2)] for _ in range(2))
        pads = [[0, 0], [0, 0]]
        for pad, size in zip(pads, (filter_h, filter_w), strict=True):
            if rng.random() < 0.6:
                pad[:] = rng.integers(0, size + 1 + (rng.random() < 0.2) * 9, 2)  # a few beyond the filter
        if rng.random() < 0.3:
            pads = [[d * (size - 1) // 2] * 2 for d, size in zip(dilation, (filter_h, filter_w), strict=True)]
        groups, C, F = (int(rng.choice(choices)) for choices in ((1, 1, 1, 2, 3), CHANNELS, CHANNELS))
        try:
            out_h, out_w, steps = window(height, width, filter_h, filter_w, stride, pads, dilation)
        except ValueError:
            continue  # larger than the padded image
        yield groups * C, groups * F, height, width, filter_h, filter_w, steps, groups, (out_h, out_w)


def plan_of(geometry, itemsize=4):
    C, F, height, width, filter_h, filter_w, steps, groups, outputs = geometry
    filters = F, C // groups, filter_h, filter_w
    return kernels.conv.Plan((C, height, width), filters, (F, *outputs), steps, groups, itemsize)


@pytest.mark.parametrize(("which", "algorithm"), DESCRIBED)
def test_plans_of_convolutions_are_the_formula(which, algorithm, cpu_level):
    for n, geometry in enumerate(itertools.islice(geometries(DESCRIBED.index((which, algorithm))), 200)):
        if which != "pooled_output" or min(geometry[8]) >= 2:
            plans.check(plan_of(geometry, 4 + n % 2 * 4).describe(which, algorithm))


@pytest.mark.parametrize("which", ["weight_gradient", "pooled_gradients"])
def test_plans_of_windows_are_the_formula(which, cpu_level):
    checked = 0
    for n, geometry in enumerate(itertools.islice(geometries(8), 1200)):
        plan = plan_of(geometry, 4 + n % 2 * 4)
        if not plan.windows_refused and min(geometry[8]) >= 2:
            plans.check(plan.describe(which, "windows"))
            checked += 1
    assert checked > 30


@pytest.mark.parametrize(("transposed", "turned"), [(False, False), (False, True), (True, False)])
def test_plans_of_products_write_each_value_once(transposed, turned, cpu_level):
    sizes = 1, 2, 3, 4, 7, 15, 16, 17, 28, 64, 65, 100, 112, 113, 256, 257, 300, 1025, 4320
    for n, shape in enumerate(itertools.product(sizes, repeat=3)):
        if n % 29 == 0:
            for threads in (1, 2, 3, 16):
                plans.check_product(kernels.gemm.plan(*shape, transposed, turned, 4 + n % 2 * 4, threads))


GEOMETRY = (16, 20, 9, 12, 3, 3, (1, 1, 1, 1, 1, 1), 1, (9, 12))
SPOILED = {
    "phases.table": "reads another pixel|padding should be|beyond the image|do not lie side by side",
    "phases.mask": "is left out|padding should be|leave out different|beyond the image",
    "phases.tap": "another pixel|a tap twice|padding should be|is left out|beyond the image",
    "row_taps": "is left out|beyond the image|taps beyond the table|row of taps is cut",
    "tiles": "written exactly once|beyond the image",
    "PH": "another form",
    "plane": "overlap|another form",
}


@pytest.mark.parametrize("which", ["output", "input_gradient"])
@pytest.mark.parametrize("name", SPOILED)
def test_a_plan_that_is_spoiled_anywhere_is_found(name, which, cpu_level):
    rng = np.random.default_rng(0)
    for _ in range(20):
        plan = plan_of(GEOMETRY).describe(which, "channels")
        plans.check(plan)
        place, _, entry = name.rpartition(".")
        holder = plan["phases"][0] if place else plan
        value = holder[entry]
        if isinstance(value, int):
            holder[entry] = value - 1
        elif entry == "tiles":
            value[rng.integers(len(value)), rng.integers(1, 5)] += rng.choice([-1, 1])
        elif entry == "mask":
            value[:, rng.integers(value.shape[1]), rng.integers(2)] ^= True
        else:
            value.flat[rng.integers(value.size)] += rng.choice([-1, 1])
        with pytest.raises(RuntimeError, match=SPOILED[name]):
            plans.check(plan)


def test_a_product_that_is_spoiled_is_found(cpu_level):
    changes = {"chunk": 7, "row_step": 1, "b_step": -1, "right": -10_000_000, "apart": -1, "strip": -10_000_000}
    for name, change in changes.items():
        plan = kernels.gemm.plan(100, 1000, 70, False, False, 4, 2)
        plans.check_product(plan)
        plan[name] += change
        with pytest.raises(RuntimeError, match="a plan of the kernels is wrong"):
            plans.check_product(plan)


@pytest.mark.parametrize("entry", ["base", "row", "half", "pool_down"])
def test_windows_that_are_spoiled_are_found(entry, cpu_level):
    plan = plan_of((2, 5, 12, 11, 3, 4, (1, 1, 1, 1, 1, 1), 1, (12, 10))).describe("pooled_gradients", "windows")
    plans.check(plan)
    if isinstance(plan[entry], int):
        plan[entry] += 1
    else:
        plan[entry][1] += 1
    with pytest.raises(RuntimeError, match="a plan of the kernels is wrong"):
        plans.check(plan)


def test_a_plan_is_frozen(cpu_level):
    plan = plan_of(GEOMETRY)
    for name in ("image", "filters", "outputs", "steps", "groups", "windows_refused"):
        with pytest.raises(AttributeError):
            setattr(plan, name, getattr(plan, name))


def test_a_pass_that_is_unknown_has_no_plan(cpu_level):
    for which, algorithm in (("sideways", "channels"), ("output", "windows")):
        with pytest.raises(ValueError, match="pass and algorithm must be one of"):
            plan_of(GEOMETRY).describe(which, algorithm)
    with pytest.raises(ValueError, match="rows, K and columns must be at least 1"):
        kernels.gemm.plan(0, 3, 3, False, False, 4, 1)
