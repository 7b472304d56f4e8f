"""Measure again what was fitted to a machine, beside what stands in the code: `python -m benchmarks.tune`.

The code has constants of two kinds. A law follows from registers, lines of the cache or a layout, and is the same on
every machine of that kind. A fit was found by measurement: what a pass costs, from which size on one algorithm is
faster than another. A fit's comment gives the names here, after `--only`, of what finds it:

    python -m benchmarks.tune --only list rows

Each measurement takes seconds, on a machine that is idle otherwise, and goes by medians of calls in turns, on one
thread unless it is about threads. Fits decide about speed alone (those of plan.pxd with a * also move the last bits of
weight gradients), so no figure has to be met: one that is far from what stands in the code, on the machines that
matter, is worth a change, which `python -m benchmarks --against` then judges. The measurements are on float32. A
constant that is compiled in, and cannot be found by timing what there is, takes two builds: its name prints what to run
on them.
"""

import argparse
import contextlib
import itertools
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import cconv
import cconv.functional as F
from cconv import kernels
from cconv.functional import algorithms
from cconv.functional.fused import PreparedConvolution
from cconv.networks import inference

TREE = Path(__file__).resolve().parents[1] / "cconv"
ALGORITHMS = "functional/algorithms.py"
PLAN = "kernels/conv/plan.pxd"
SECONDS = 0.1  # for the median of each call
LEAST = 5  # calls
STEP = 0.02  # of a fraction of values that are not 0


class Measurement(NamedTuple):
    """`run` returns a value for each constant, by (file, name): a number, or a text where none was found."""

    run: Callable[[], dict]
    about: str
    constants: tuple  # pairs (file, name)


class Rebuild(NamedTuple):
    """Constants that are compiled in: which benchmarks show the effect of other values, and in which rows."""

    constants: tuple  # pairs (file, name)
    sections: str
    rows: str


MEASUREMENTS = {}
seconds = SECONDS


def measures(name, **files):
    """Register a measurement of the constants, names in a text, that each file has."""

    def register(function):
        constants = tuple(pair for file, names in files.items() for pair in of_file(file, names))
        MEASUREMENTS[name] = Measurement(function, function.__doc__.splitlines()[0], constants)
        return function

    return register


def of_file(file, names):
    return ((file, name) for name in names.split())


# ---- the code


def source_value(file, name):
    """Return the value that a constant has in the source."""
    text = (TREE / file).read_text("utf-8")
    found = re.findall(rf"^[ \t]*(?:(?:cdef )?(?:\w+ )?{name} = |#define {name} )([^#/\n]*(?:/ [^#/\n]*)?)", text, re.M)
    if len(found) != 1:
        raise LookupError(f"{file} must have one line that sets {name}, found {len(found)}")
    return eval(found[0], {"__builtins__": {}})  # a number, or a dict of numbers


# ---- time


def medians(*calls):
    """Return the median nanoseconds of each call; they take turns."""
    times = [[] for _ in calls]
    for call in calls:
        call()
    end = time.perf_counter() + seconds * len(calls)
    while len(times[0]) < LEAST or time.perf_counter() < end:
        for call, of_call in zip(calls, times, strict=True):
            begin = time.perf_counter_ns()
            call()
            of_call.append(time.perf_counter_ns() - begin)
    return [statistics.median(of_call) for of_call in times]


def wins(case, sizes):
    """Return for each size whether the first call of `case(size)` is faster than all others."""
    found = []
    for size in sizes:
        first, *others = medians(*case(size))
        found.append(first < min(others))
    return found


def lowest(case, sizes):
    """Return the size from which on the first call of `case(size)` is always the fastest."""
    found = len(list(itertools.takewhile(bool, reversed(wins(case, sizes)))))
    if found == len(sizes):
        return f"at most {sizes[0]}"
    return sizes[-found] if found else f"above {sizes[-1]}"


def highest(case, sizes):
    """Return the size up to which the first call of `case(size)` is always the fastest."""
    found = len(list(itertools.takewhile(bool, wins(case, sizes))))
    if found == len(sizes):
        return f"at least {sizes[-1]}"
    return sizes[found - 1] if found else f"below {sizes[0]}"


def break_even(sparse, dense):
    """Return the percentage of values that are not 0 at which `sparse(fraction)`, a line, takes as long as `dense`.

    The line goes through the times at a tenth and at a quarter of the values, where the code takes it by itself too.
    """
    few, some, all_values = medians(sparse(0.1), sparse(0.25), dense)
    slope = (some - few) / 0.15
    return round(100 * (0.1 + (all_values - few) / slope)) if slope > 0 else "no line"


def solved(features, times):
    """Return the costs of features whose sums come nearest to the times, by least squares relative to these."""
    times = np.asarray(times, dtype=float)
    features = np.asarray(features, dtype=float) / times[:, None]
    return np.linalg.lstsq(features, np.ones(len(times)), rcond=None)[0]


# ---- convolutions


class Case:
    """The arrays of a convolution of float32, and how its passes are run."""

    def __init__(self, N, C, H, filters, size, *, stride=1, pad=0, groups=1, fraction=1.0, W=None):
        width, rng = H if W is None else W, np.random.default_rng(0)
        outputs = tuple((n + 2 * pad - size) // stride + 1 for n in (H, width))
        steps = stride, stride, pad, pad, 1, 1
        taps, made = (filters, C // groups, size, size), (filters, *outputs)
        self.plan, self.N = kernels.conv.Plan((C, H, width), taps, made, steps, groups, 4), N
        self.x, self.W = values(rng, N, C, H, width), values(rng, *self.plan.filters)
        self.dx, self.dW, self.db = (np.empty_like(like) for like in (self.x, self.W, self.W[:, 0, 0, 0]))
        dense = values(rng, N, *made)
        self.dout, self.out = np.where(rng.random(dense.shape) < fraction, dense, np.float32(0)), np.empty_like(dense)

    def call(self, which, name, threads=1):
        """Return a function that runs an algorithm of a pass."""
        run = next(row.run for row in algorithms.TABLES[which] if row.name == name)
        if which == "output":
            return lambda: run(self.plan, self.x, self.W, None, self.out, threads)
        dx = self.dx if which == "input_gradient" else None
        dW, db = (self.dW, self.db) if which == "weight_gradient" else (None, None)
        return lambda: run(self.plan, self.dout, self.x, self.W, dx, dW, db, threads)

    def listed(self):
        """Return a function that computes both gradients from a list."""
        kernel = kernels.conv.listed_gradients
        return lambda: kernel(self.plan, self.dout, None, None, self.x, self.W, self.dW, self.db, self.dx, 1)

    def dense(self):
        """Return a function that computes both from all values."""
        first, second = self.call("input_gradient", "channels"), self.call("weight_gradient", "channels")
        return lambda: (first(), second())


def values(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


@contextlib.contextmanager
def changed(module, **constants):
    """Give constants of a module other values for the time of a ``with`` block."""
    before = {name: getattr(module, name) for name in constants}
    vars(module).update(constants)
    try:
        yield
    finally:
        vars(module).update(before)


def shares(names, cost, plan, **others):
    """Return how often each constant counts in `cost(plan)`, which is linear in them, and what is left without them."""
    zeros = dict.fromkeys(names, 0)
    with changed(algorithms, **zeros, **others):
        rest = cost(plan)
    found = []
    for name in names:
        with changed(algorithms, **zeros | {name: 1}, **others):
            found.append(cost(plan) - rest)
    return [*found, rest]


def channel_costs():
    """Return the nanoseconds of a multiply-add of vectors, and TRANSPOSING in such multiply-adds."""
    features, times = [], []
    for channels in (1, 2, 4, 8, 16, 32):
        case = Case(2, channels, 28, 32, 3, pad=1)
        features.append([case.N * share for share in shares(["TRANSPOSING"], algorithms.channel_cost, case.plan)])
        times += medians(case.call("output", "channels"))
    transposing, unit = solved(features, times)
    return unit, transposing / unit


@measures("channels", **{ALGORITHMS: "TRANSPOSING"})
def measure_channels():
    """What lanes of channels cost: outputs of 1 to 32 channels, by the least squares of their times."""
    return {(ALGORITHMS, "TRANSPOSING"): channel_costs()[1]}


def pixel_cases(stride):
    for channels, filters in itertools.product((1, 2, 4, 8), (1, 2, 4, 8)):
        yield Case(2, channels, 28 * stride, filters, 3, stride=stride, pad=1)


@measures("pixels", **{ALGORITHMS: "PIXEL_PRODUCT PIXEL_STORE PIXEL_COPY PIXEL_STRIDES PIXEL_STRIDE"})
def measure_pixels():
    """What lanes of pixels cost: outputs of 1 to 8 channels and filters, with strides of 1 to 3, by least squares."""
    unit, _ = channel_costs()
    names = ["PIXEL_PRODUCT", "PIXEL_STORE", "PIXEL_COPY"]
    features, times = [], []
    for case in pixel_cases(1):
        features.append([*shares(names, algorithms.pixel_cost, case.plan)[:-1], 1])  # and what each image takes
        times += medians(case.call("output", "pixels"))
    product, store, copy, image = solved(features, times) / unit / case.N
    found = {(ALGORITHMS, name): cost for name, cost in zip(names, (product, store, copy), strict=True)}
    factors = []
    for stride in (2, 3):
        each = []
        for case in pixel_cases(stride):
            share = shares(names, algorithms.pixel_cost, case.plan, PIXEL_STRIDES={1: 1, 2: 1}, PIXEL_STRIDE=1)
            (taken,) = medians(case.call("output", "pixels"))
            copying = taken / unit / case.N - product * share[0] - store * share[1] - image
            each.append(copying / (copy * share[2]))
        factors.append(statistics.median(each))
    found[ALGORITHMS, "PIXEL_STRIDES"] = {1: 1, 2: round(float(factors[0]), 1)}
    found[ALGORITHMS, "PIXEL_STRIDE"] = factors[1]
    return found


@measures("rows", **{ALGORITHMS: "ROW_PRODUCT ROW_SINGLE ROW_STORE ROW_TRANSPOSING"})
def measure_rows():
    """What filters of one tap cost over planes that are one row, and in lanes of channels, by least squares."""
    lanes = kernels.conv.VECTOR_BYTES // 4
    found, features = {"pixels": [], "channels": []}, []
    for channels, filters in itertools.product((4, 16, 64, 128), (2 * lanes, 4 * lanes)):
        case = Case(8, channels, 8, filters, 1, W=lanes)  # planes of 8 vectors
        values = case.N * filters * 8
        features.append([values * channels, values])
        for name, times in found.items():
            times += medians(case.call("output", name))
    product, store = solved(features, found["pixels"])
    unit, transposing = solved(features, found["channels"])
    single = Case(8, 128, 1, 4 * lanes, 1, W=lanes)
    (taken,) = medians(single.call("output", "pixels"))
    alone = taken / (single.N * 4 * lanes) - store
    return {
        (ALGORITHMS, "ROW_PRODUCT"): product / unit,
        (ALGORITHMS, "ROW_SINGLE"): alone / 128 / unit,
        (ALGORITHMS, "ROW_STORE"): store / unit,
        (ALGORITHMS, "ROW_TRANSPOSING"): transposing / unit,
    }


@measures("scatter", **{ALGORITHMS: "SCATTER_PRODUCT SCATTER_ADD SCATTER_CHANNELS SCATTER_FILTERS SCATTER_STRIDE"})
def measure_scatter():
    """What scattered input gradients cost, and where they are faster than gathered ones."""
    unit, _ = channel_costs()
    features, times = [], []
    for filters in (8, 16, 32, 64):
        case = Case(8, 1, 28, filters, 5)
        products = case.N * algorithms.products_of(case.plan, backward=True)
        features.append([products, products / filters])
        times += medians(case.call("input_gradient", "scattered"))
    product, add = solved(features, times) / unit

    def of(channels, filters, stride=1):
        case = Case(4, channels, 8 * (stride + 2), filters, 5, stride=stride)
        return [case.call("input_gradient", name) for name in ("scattered", "pixels", "channels")]

    return {
        (ALGORITHMS, "SCATTER_PRODUCT"): product,
        (ALGORITHMS, "SCATTER_ADD"): add,
        (ALGORITHMS, "SCATTER_CHANNELS"): highest(lambda C: of(C, 64), (1, 2, 3, 4, 6, 8, 12, 16)),
        (ALGORITHMS, "SCATTER_FILTERS"): lowest(lambda filters: of(1, filters), (2, 4, 6, 8, 12, 16, 32)),
        (ALGORITHMS, "SCATTER_STRIDE"): highest(lambda stride: of(3, 64, stride), (1, 2, 4, 6, 8, 12, 16)),
    }


@measures("list", **{ALGORITHMS: "LIST_PERCENT LIST_CHANNEL_BYTES LIST_IMAGE_BYTES LIST_FILTER_BYTES"})
def measure_list():
    """Where both gradients come faster from a list: of so few values, and at a quarter of them up to which sizes."""

    def of(channels, filters, side, fraction=0.25):
        return Case(2, channels, side, filters, 3, pad=1, fraction=fraction)

    def pair(case):
        return case.listed(), case.dense()

    def largest(attribute, cases):  # by what the plan says of them
        by_bytes = {int(getattr(case.plan, attribute)): case for case in cases}
        return highest(lambda size: pair(by_bytes[size]), sorted(by_bytes))

    sides, filters = (14, 28, 42, 56, 80, 112, 160), (32, 64, 128, 192, 256, 384, 512, 768)
    return {
        (ALGORITHMS, "LIST_PERCENT"): break_even(lambda part: of(32, 64, 14, part).listed(), of(32, 64, 14).dense()),
        (ALGORITHMS, "LIST_CHANNEL_BYTES"): lowest(lambda n: pair(of(n // 4, 32, 14)), (4, 8, 16, 24, 32, 48, 64)),
        (ALGORITHMS, "LIST_IMAGE_BYTES"): largest("list_bytes", [of(16, 16, side) for side in sides]),
        (ALGORITHMS, "LIST_FILTER_BYTES"): largest("filter_bytes", [of(32, count, 14) for count in filters]),
    }


@measures("sparse", **{"kernels/gemm/_gemm.pyx": "SPARSE_PERCENT"})
def measure_sparse():
    """Up to what part of values that are not 0 a product that leaves out the others is faster."""
    rng = np.random.default_rng(0)
    W, b = values(rng, 512, 128), values(rng, 128)

    def of(fraction):
        x = np.where(rng.random((256, 512)) < fraction, values(rng, 256, 512), np.float32(0))
        return lambda: F.affine(x, W, b)

    return {("kernels/gemm/_gemm.pyx", "SPARSE_PERCENT"): break_even(of, of(1.0))}


# ---- what a value costs, in nanoseconds


def cost_calls():
    """Yield (file, name, call, how many values it is about, what is not about them in nanoseconds)."""
    rng = np.random.default_rng(0)
    x = values(rng, 8, 16, 28, 28)
    size, rows = x.size, values(rng, 1024, 10)
    W, gamma, beta = values(rng, 32, 16, 3, 3), np.ones(16, np.float32), np.zeros(16, np.float32)
    labels, ones = rng.integers(0, 10, 1024), (rng.random((1024, 10)) < 0.5).astype(np.float32)
    pixels = rng.integers(0, 256, x.shape, dtype=np.uint8)
    yield "functional/patches.py", "COST", lambda: F.im2col(x, 3, 3), 9 * 8 * 16 * 26 * 26
    yield "functional/resampling.py", "COST", lambda: F.upsample(x, 2, mode="bilinear"), 4 * size
    yield "functional/resampling.py", "COPY_COST", lambda: F.zero_pad(x, 1), 8 * 16 * 30 * 30
    yield "functional/joining.py", "COST", lambda: F.add(x, x), size
    yield "functional/pooling.py", "COST", lambda: F.max_pool(x, 2), size
    image, filters = values(rng, 32, 1, 28, 28), values(rng, 30, 1, 5, 5)
    pooled, argmax = F.convolution_relu_max_pool(image, filters, return_argmax=True)
    yield (
        "functional/fused.py",
        "WINDOW_COST",
        lambda: F.convolution_relu_max_pool_backward(pooled, pooled, argmax, image, filters, input_gradient=False),
        pooled.size * 5,
    )
    prepared = PreparedConvolution((64, 8, 8), values(rng, 64, 64, 3, 3))
    call = np.array([prepared.run.call], np.uintp)
    yield "functional/fused.py", "LOOK_COST", lambda: kernels.program.changed(call, 1), 64 * 64 * 9
    yield "functional/activation.py", "COST", lambda: F.relu(x), size
    yield "functional/activation.py", "EXP_COST", lambda: F.sigmoid(x), size
    products = 8 * 32 * 26 * 26 * 16 * 9
    yield "functional/convolution.py", "COST", lambda: F.convolution(x, W), products
    own = values(rng, 16, 1, 3, 3)
    yield (
        "functional/convolution.py",
        "DEPTHWISE_COST",
        lambda: F.convolution(x, own, pad=1, groups=16),
        8 * 16 * 28 * 28 * 9,
    )
    left, right = values(rng, 100, 512), values(rng, 512, 128)
    yield "functional/affine.py", "COST", lambda: F.affine(left, right), 100 * 512 * 128
    yield "functional/normalization.py", "COST", lambda: F.batch_normalization(x, gamma, beta), size
    yield "functional/preprocessing.py", "COST", lambda: F.rescale(pixels, 0.0, 1 / 255), size
    yield "functional/loss.py", "COST", lambda: F.softmax_cross_entropy(rows, labels), rows.size
    yield "functional/loss.py", "SIGMOID_COST", lambda: F.sigmoid_cross_entropy(rows, ones), rows.size
    yield "functional/loss.py", "RESIDUAL_COST", lambda: F.squared_error(x, x), size
    yield "functional/dropout.py", "COST", lambda: F.dropout(x, spatial=True), size
    yield "functional/dropout.py", "WORD_COST", lambda: F.dropout(x), size, lambda: F.dropout(x, spatial=True)
    t, given = np.zeros(len(x), np.int64), {"seed": 0, "epoch": 0, "indices": np.arange(len(x))}
    rotate, distort = cconv.augment.RandomRotation(10), cconv.augment.ElasticDistortion(8.0, 4.0)
    brighten, noise = cconv.augment.RandomBrightness(0.2), cconv.augment.GaussianNoise(0.1)
    yield "augment.py", "WARP_COST", lambda: rotate(x, t, **given), size
    image_t, per_image = np.zeros(32, np.int64), given | {"indices": np.arange(32)}
    yield (
        "augment.py",
        "FIELD_COST",
        lambda: distort(image, image_t, **per_image),
        image.size,
        lambda: rotate(image, image_t, **per_image),
    )
    yield "augment.py", "CHANGE_COST", lambda: brighten(x, t, **given), size
    yield "augment.py", "NOISE_COST", lambda: noise(x, t, **given), size
    params, grads = {"W": values(rng, 1 << 17)}, {"W": values(rng, 1 << 17)}
    adam, average = cconv.Adam(), cconv.ExponentialMovingAverage(params)
    yield "optimizers.py", "COST", lambda: adam.update(params, grads), 1 << 17
    yield "optimizers.py", "NORM_COST", lambda: cconv.global_norm(grads), 1 << 17
    yield "averaging.py", "COST", average.update, 1 << 17


@measures(
    "costs",
    **{f"functional/{name}.py": "COST" for name in ("patches", "joining", "pooling", "affine")},
    **{f"functional/{name}.py": "COST" for name in ("normalization", "preprocessing")},
    **{
        "functional/resampling.py": "COST COPY_COST",
        "functional/convolution.py": "COST DEPTHWISE_COST",
        "functional/fused.py": "WINDOW_COST LOOK_COST",
        "functional/activation.py": "COST EXP_COST",
        "functional/loss.py": "COST SIGMOID_COST RESIDUAL_COST",
        "functional/dropout.py": "COST WORD_COST",
        "augment.py": "WARP_COST FIELD_COST CHANGE_COST NOISE_COST",
        "optimizers.py": "COST NORM_COST",
        "averaging.py": "COST",
    },
)
def measure_costs():
    """How many nanoseconds an operation takes one thread for each value."""
    found = {}
    for file, name, call, count, *without in cost_calls():
        taken, *rest = medians(call, *without)
        found[file, name] = max(taken - sum(rest), 0.0) / count
    return found


# ---- threads and turns


@measures("threads", **{"kernels/runtime/_cpu.pyx": "WORK_PER_THREAD"})
def measure_threads():
    """How long the work of one thread must be for a second one to pay: half of the least that two share faster."""
    name = "kernels/runtime/_cpu.pyx", "WORK_PER_THREAD"
    if cconv.get_num_threads() < 2:
        return {name: "needs two threads"}

    def pair(count):  # images of some two microseconds
        case = Case(count, 16, 8, 16, 3, pad=1)
        return case.call("output", "channels", threads=2), case.call("output", "channels")

    count = lowest(pair, (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64))
    return {name: f"{count} images" if isinstance(count, str) else medians(pair(count)[1])[0] / 2}


@measures("turns", **{"networks/inference.py": "TURN_BYTES"})
def measure_turns():
    """How many bytes the images of a turn may take, of the powers of two with which a network predicts fastest."""
    x = values(np.random.default_rng(0), 64, 1, 28, 28)
    sizes, calls = [1 << k for k in range(15, 24)], []
    for size in sizes:
        network = cconv.DeepConvNet(seed=0)
        with changed(inference, TURN_BYTES=size):
            network.predict(x)
        calls.append(lambda network=network: network.predict(x))
    taken = medians(*calls)
    return {("networks/inference.py", "TURN_BYTES"): sizes[taken.index(min(taken))]}


@measures("order", **{"networks/inference.py": "SHARED_WORK"})
def measure_order():
    """How long operations on one image must take for a second thread to pay: half of the least that two do faster."""
    name = "networks/inference.py", "SHARED_WORK"
    if cconv.get_num_threads() < 2:
        return {name: "needs two threads"}

    def predict(side, shared_work):
        network, x = cconv.MobileNet((3, side, side), seed=0), values(np.random.default_rng(0), 1, 3, side, side)
        with changed(inference, SHARED_WORK=shared_work):
            network.predict(x)
        # Several in a row: a thread that has nothing to do while the other call runs goes to sleep.
        return network, lambda: [network.predict(x) for _ in range(20)]

    def pair(side):
        return predict(side, 1.0)[1], predict(side, np.inf)[1]  # as many threads as operations are worth, and one

    side = lowest(pair, (12, 16, 20, 24, 28, 32, 40, 48, 64))
    if isinstance(side, str):
        return {name: f"{side} pixels a side"}
    (program, *_) = predict(side, 1.0)[0]._kept_plans()[0]._runs
    return {name: statistics.mean(program._costs) / 2}


# ---- what is compiled in


def rebuild(sections, rows, **files):
    return Rebuild(tuple(pair for file, names in files.items() for pair in of_file(file, names)), sections, rows)


REBUILDS = {
    "compact": rebuild("layers-of", "filters 1 x 1, on one thread", **{PLAN: "COMPACT_CHANNELS"}),
    "taps": rebuild("convolution layers-of", "gradients of filters of 3 to 12 channels", **{PLAN: "TAP_CHANNELS"}),
    "cache": rebuild("layers-of", "planes of a power of two, many channels", **{PLAN: "CACHE_SETS CACHE_SHARED"}),
    "gradient": rebuild(
        "step convolution layers-of",
        "gradients of large planes, of many channels, and of few images on all threads",
        **{PLAN: "GRADIENT_STRIP GRADIENT_BLOCK GRADIENT_ITEMS GRADIENT_BYTES"},
    ),
    "few-images": rebuild("networks-forward", "one image", **{"kernels/conv/channels.pxd": "PART LOOK"}),
    "list-bands": rebuild("step networks-step", "SimpleConvNet and DeepConvNet", **{PLAN: "LIST_BAND LIST_SUMS"}),
    "scatter-bands": rebuild(
        "convolution-kinds", "transposed convolution to few channels", **{PLAN: "SCATTER_SUMS SCATTER_SETS"}
    ),
    "pixel-rows": rebuild(
        "convolution-kinds", "depthwise, rows of 7 to 56", **{PLAN: "ROW_STORE FLAT_STORE PIECE_VECTORS"}
    ),
    "pixel-packing": rebuild("layers-of", "filters 1 x 1, on one thread", **{PLAN: "PACKED_FILTERS PACKED_PLANE"}),
    "product-pieces": rebuild(
        "step layers forward",
        "affine layers, of 1 to 1000 images, with one thread and more",
        **{"kernels/gemm/_gemm.pyx": "CHUNK CHUNKS LEAST_ROWS PIECES FEW_ROWS SUMS_BYTES"},
    ),
    "norm-pieces": rebuild("batch-normalization", "all", **{"kernels/norm/_norm.pyx": "SETS LEAST_SAMPLES"}),
    "loss-pieces": rebuild("layers", "the loss", **{"kernels/loss/_loss.pyx": "ROWS PIECES BLOCK CHUNK"}),
    "pool-pieces": rebuild("pooling", "all", **{"kernels/pool/_pool.pyx": "SEGMENT GROUP"}),
    "window-scratch": rebuild("pooling", "all", **{"kernels/pool/window.h": "WINDOW_SCRATCH WINDOW_COLUMNS"}),
    "update-pieces": rebuild("optimizers", "all", **{"kernels/optimize/_optimize.pyx": "CHUNK BLOCK PIECES"}),
    "elementwise-pieces": rebuild("activations dropout", "all", **{"kernels/elementwise/_elementwise.pyx": "CHUNK"}),
    "smallest-block": rebuild("overhead latency", "all", **{"kernels/runtime/_memory.pyx": "SMALLEST_BLOCK"}),
    "prefetch": rebuild("convolution", "all", **{"kernels/vector/prefetch.h": "PREFETCH_ROWS PREFETCH_ACCUMULATORS"}),
    "zeros-sample": rebuild("step", "all", **{"kernels/vector/zeros.h": "ZEROS_SAMPLE"}),
    "weight-tiles": rebuild("convolution", "gradients", **{"kernels/vector/register_tile.h": "TILE_WEIGHTS"}),
    "tile-cost": rebuild("convolution odd-convolution", "all; the numbers of `tile_cost` in register_tile.pxd"),
    "waiting": rebuild(
        "step company latency",
        "all, with as many threads as cores and with fewer",
        **{
            "kernels/runtime/threads.h": "LONGEST_SPIN SHORTEST_SPIN LONGEST_PIECE CALLER_SPIN WAKE_AFTER LATE "
            "CROWDED_FOR RETRY SHORTEST_ALONE LONGEST_ALONE GONE_WELL"
        },
    ),
}
HOW = """
What is compiled in is found by two builds. Change its line in a copy of the tree, and compare the copy with this tree:

    cp -r . ../changed && (cd ../changed && python setup.py build_ext --inplace)
    python -m benchmarks --contestants cconv --against ../changed --repeat 3 --section SECTION

A row below 1 is faster with the change. Where sums are cut otherwise, hashes of results differ: see
tests/result_hashes.py.
"""


def shown(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def print_constant(file, name, *more):
    print(f"    {file:34} {name:20} {shown(source_value(file, name)):>12}", *more, flush=True)


def parsed(arguments=None):
    known = [*MEASUREMENTS, *REBUILDS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=known, default=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for the median of each call")
    return parser.parse_args(arguments)


def main(arguments=None):
    global seconds
    options = parsed(arguments)
    seconds = options.seconds
    for name in filter(MEASUREMENTS.get, options.only):
        run, about, constants = MEASUREMENTS[name]
        print(f"{name}: {about}", flush=True)
        with contextlib.nullcontext() if name in ("threads", "turns", "order") else cconv.threads(1):
            found = run()
        for constant in constants:
            print_constant(*constant, "measured", shown(found[constant]))
    builds = [name for name in options.only if name in REBUILDS]
    if builds:
        print(HOW)
    for name in builds:
        constants, sections, rows = REBUILDS[name]
        print(f"{name}: --section {sections} (rows: {rows})")
        for constant in constants:
            print_constant(*constant)


if __name__ == "__main__":
    main()
