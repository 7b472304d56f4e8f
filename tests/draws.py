"""Random cases of every operation, of sizes with heavy tails, each compared with NumPy in float64.

A case is a kind, a seed and an index, and nothing else: the same three give the same arrays. Where all values are small
integers every sum is exact, and results must be too; elsewhere they must lie within K * eps * sum of |a||b|, the bound
of a sum of K products in any order. Sums that no bound is known for have a tolerance.
"""

import contextlib
import copy
import warnings
import zlib

import numpy as np
import oracles
from test_optimizers import RULES

import cconv
from cconv import augment, functional, kernels
from cconv.functional import normalization as norm_doors
from cconv.functional.algorithms import names
from cconv.geometry import padding, pair
from cconv.layers.stack import nested
from cconv.networks import fusion
from cconv.networks import inference as inference_plans

KINDS = {}  # name: (function of a case, how much of the time it is worth)
EXACT = 2**24  # integers below have no rounding error in float32
CHANNELS = [1, 1, 2, 3, 3, 4, 5, 6, 7, 8, 12, 13, 15, 16, 16, 17, 24, 31, 32, 33, 64, 65, 100]


def kind(weight=1):
    def register(function):
        KINDS[function.__name__] = function, weight
        return function

    return register


class Case:
    """Draws arguments, runs kernels on one thread and on several, and collects what is wrong."""

    #: What is done to each array before kernels see it, and called with what is about to run, and with its result.
    place = staticmethod(lambda array, writable=False: array)
    stage = staticmethod(lambda text: None)
    returned = staticmethod(lambda result: None)

    def __init__(self, kind, seed, index):
        self.id = f"{kind}:{seed}:{index}"
        self.rng = np.random.default_rng([zlib.crc32(kind.encode()), seed, index])
        self.threads = self.pick([2, 3])
        self.dtype = np.dtype(self.pick([np.float32, np.float32, np.float64]))
        self.values = self.pick(["integers", "integers", "normal", "normal", "wide"])
        self.budget = 10 ** self.rng.uniform(3, 6.3)
        self.arguments = {}
        self.failures = []
        self.refused = 0

    # ---- draws

    def pick(self, choices):
        return choices[self.rng.integers(len(choices))]

    def chance(self, probability):
        return self.rng.random() < probability

    def axis(self, most=300):
        """A size: often tiny, often near a whole number of vectors, seldom long."""
        r = self.rng.random()
        if r < 0.2:
            size = self.rng.integers(1, 4)
        elif r < 0.6:
            size = self.pick([4, 8, 16]) * self.rng.integers(1, 5) + self.rng.integers(-1, 2)
        elif r < 0.96:
            size = self.rng.integers(1, 41)
        else:
            size = self.rng.integers(41, 301)
        return int(min(size, most))

    def shape(self, size=4000):
        """Of images (N, C, H, W) with no more than `size` values, or one sample of them."""
        shape = [self.pick([0, 1, 1, 2, 3, 5]), self.pick(CHANNELS), self.axis(), self.axis()]
        return self.shrunk(shape, size)

    def shrunk(self, sizes, most):
        sizes = list(sizes)
        while np.prod(sizes, dtype=float) > most:
            axis = self.pick([i for i, size in enumerate(sizes) if size > 1])
            sizes[axis] = max(1, int(sizes[axis] * self.rng.uniform(0.3, 0.9)))
        return tuple(sizes)

    def array(self, name, *shape, zeros=0.0, positive=False, writable=False):
        """An argument: numbers of the case's kind, some of them 0."""
        if self.values == "integers":
            array = self.rng.integers(-3, 4, shape).astype(self.dtype)
        else:
            array = self.rng.standard_normal(shape)
            if self.values == "wide":
                array *= 10 ** self.rng.uniform(-4, 4, shape)
            array = array.astype(self.dtype)
        if zeros:
            array[self.rng.random(shape) < zeros] = 0
        array = np.abs(array) if positive else array
        self.arguments[name] = f"{array.dtype.char}{list(shape)}" + (f" {zeros:.0%} zeros" if zeros else "")
        return self.place(array, writable)

    def activations(self, name, *shape):
        """An argument as an operation before this one leaves it: dense, or of mostly zeros behind relu."""
        relu = self.chance(0.3)
        return self.array(name, *shape, zeros=0.5 if relu else 0.0, positive=relu)

    def gradient(self, *shape):
        return self.array("dout", *shape, zeros=self.pick([0, 0, 0, 0.5, 0.8, 0.97, 1]))

    def say(self, **arguments):
        self.arguments |= arguments

    # ---- running and comparing

    def run(self, name, function, *arguments, **options):
        """The result of a call, which must have the same bits on several threads."""
        first = None
        for threads in (1, self.threads):
            self.stage(f"{name}, {threads} threads")
            with replaced(kernels.cpu, threads_for=lambda work, threads=threads: threads):
                result = function(*arguments, **options)
            if first is None:
                first = result
                self.returned(result)
            else:
                self.same(f"{name} on {threads} threads", result, first)
        return first

    def fail(self, text):
        self.failures.append(text)

    def same(self, name, actual, expected):
        """Compare the bits of arrays and numbers, or of tuples of them."""
        for number, (a, b) in enumerate(zip(flat(actual), flat(expected), strict=True)):
            if (a is None) != (b is None):
                self.fail(f"{name}[{number}] is {'' if a is None else 'not '}None")
            elif a is not None and (a.shape != b.shape or a.dtype != b.dtype or a.tobytes() != b.tobytes()):
                wrong = np.argwhere(a != b) if a.shape == b.shape else []
                self.fail(f"{name}[{number}] has other bits, {len(wrong)} of {a.size} from {list(wrong[:1])}")

    def within(self, name, actual, expected, magnitude, terms):
        """Compare with what NumPy found, within the bound of a sum of that many terms of that magnitude."""
        magnitude = np.asarray(magnitude)
        bound = (terms + 2) * np.finfo(self.dtype).eps * magnitude + terms * np.finfo(self.dtype).tiny
        if self.values == "integers" and (magnitude.size == 0 or magnitude.max() < EXACT):
            bound = np.zeros_like(magnitude)
        self.near(name, actual, expected, bound)

    def near(self, name, actual, expected, bound):
        actual = np.asarray(actual)
        if actual.shape != np.shape(expected):
            return self.fail(f"{name} has shape {actual.shape}, expected {np.shape(expected)}")
        if actual.ndim and actual.dtype != self.dtype:
            return self.fail(f"{name} is {actual.dtype}")
        with np.errstate(invalid="ignore"):
            error = np.abs(actual.astype(np.float64) - expected)
            wrong = ~(error <= bound) & ~(np.isnan(actual) & np.isnan(expected)) & (actual != expected)
        if wrong.any():
            place = tuple(map(int, np.argwhere(wrong)[0]))
            bound = np.broadcast_to(bound, wrong.shape)[place]
            self.fail(
                f"{name}: {wrong.sum()} of {wrong.size} wrong, at {place} {actual[place]!s} for {expected[place]!s} "
                f"(bound {bound:.2g})"
            )

    def equal(self, name, actual, expected):
        self.near(name, actual, expected, 0.0)


def flat(result):
    if isinstance(result, (tuple, list)):
        return [array for item in result for array in flat(item)]
    return [None if result is None else np.asarray(result)]


@contextlib.contextmanager
def replaced(module, **attributes):
    kept = {name: getattr(module, name) for name in attributes}
    for name, value in attributes.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(module, name, value)


def run(kind, seed, index):
    """Draw and run one case; return it, with what failed in it."""
    case = Case(kind, seed, index)
    try:
        KINDS[kind][0](case)
    except Exception as error:  # a failure like any other, and the next case is to run
        case.fail(f"{type(error).__name__}: {error}")
    return case


# ---- convolutions in float64


def patches(x, size, stride, pad, dilation, out=None, fill=0.0):
    """A view (N, C, FH, FW, OH, OW) of padded images: what each tap reads for each output."""
    (top, bottom), (left, right) = pad
    spans = [d * (f - 1) + 1 for f, d in zip(size, dilation, strict=True)]
    if out is None:
        padded = x.shape[2] + top + bottom, x.shape[3] + left + right
        out = [(n - span) // s + 1 for n, span, s in zip(padded, spans, stride, strict=True)]
    # As long as the last window needs, which may be shorter than the padded image, or with ceil_mode longer.
    last = [(n - 1) * s + span for n, s, span in zip(out, stride, spans, strict=True)]
    rows, columns = max(last[0], top + x.shape[2]), max(last[1], left + x.shape[3])
    padded = np.full((*x.shape[:2], rows, columns), fill)
    padded[:, :, top : top + x.shape[2], left : left + x.shape[3]] = x
    n, c, h, w = padded.strides
    strides = n, c, h * dilation[0], w * dilation[1], h * stride[0], w * stride[1]
    return np.lib.stride_tricks.as_strided(padded, (*x.shape[:2], *size, *out), strides)


def unpatched(cols, shape, stride, pad, dilation):
    """The adjoint of `patches`: every value of (N, C, FH, FW, OH, OW) added to the pixel it was read from."""
    N, C, FH, FW, OH, OW = cols.shape
    (top, _), (left, _) = pad
    rows = max((OH - 1) * stride[0] + dilation[0] * (FH - 1) + 1, top + shape[2])
    columns = max((OW - 1) * stride[1] + dilation[1] * (FW - 1) + 1, left + shape[3])
    padded = np.zeros((N, C, rows, columns))
    for i in range(FH):
        for j in range(FW):
            y, z = i * dilation[0], j * dilation[1]
            padded[:, :, y : y + OH * stride[0] : stride[0], z : z + OW * stride[1] : stride[1]] += cols[:, :, i, j]
    return padded[:, :, top : top + shape[2], left : left + shape[3]]


class Convolution:
    """The three maps of one geometry."""

    def __init__(self, x_shape, W_shape, stride, pad, dilation, groups):
        self.x_shape, self.W_shape, self.groups = x_shape, W_shape, groups
        self.steps = stride, pad, dilation

    def columns(self, x):
        cols = patches(x, self.W_shape[2:], *self.steps)
        self.out = cols.shape[4:]
        return cols.reshape(len(x), self.groups, int(np.prod(self.W_shape[1:])), self.out[0] * self.out[1])

    def filters(self, W):
        return W.astype(np.float64).reshape(self.groups, self.W_shape[0] // self.groups, -1)

    def output(self, x, W, b=None):
        out = self.filters(W) @ self.columns(x)
        out = out.reshape(len(x), self.W_shape[0], *self.out)
        return out if b is None else out + b.astype(np.float64)[:, None, None]

    def input_gradient(self, dout, W):
        N, _, OH, OW = dout.shape
        dout = dout.astype(np.float64).reshape(N, self.groups, self.W_shape[0] // self.groups, OH * OW)
        cols = (self.filters(W).transpose(0, 2, 1) @ dout).reshape(N, self.x_shape[1], *self.W_shape[2:], OH, OW)
        return unpatched(cols, self.x_shape, *self.steps)

    def weight_gradient(self, dout, x):
        cols = self.columns(x)
        dout = dout.astype(np.float64).reshape(*cols.shape[:2], self.W_shape[0] // self.groups, cols.shape[-1])
        return (dout @ cols.transpose(0, 1, 3, 2)).sum(axis=0).reshape(self.W_shape)


# The order in which algorithms are run, which hashes of their results depend on.
ALGORITHMS = "channels", "pixels", "scattered", "windows", "listed", "unpooled", "depthwise"


def by_algorithm(case, pass_name, argument, name, function, *arguments, **options):
    """Yield (algorithm, result) for the library's own choice of a pass, and for each algorithm that applies."""
    yield "own choice", case.run(name, function, *arguments, **options)
    for algorithm in sorted(names(pass_name), key=ALGORITHMS.index):
        try:
            result = case.run(f"{name} by {algorithm}", function, *arguments, **options, **{argument: algorithm})
        except ValueError as error:
            if f"{argument} must be one of" not in str(error) or f"got {algorithm!r} (" not in str(error):
                raise
            case.refused += 1
        else:
            yield algorithm, result


# ---- convolution


def drawn_convolution(case, transposed=False):
    """Shapes of x (of the larger images) and W, and settings."""
    r = case.rng.random()
    groups = 1 if r < 0.6 else case.pick([2, 2, 3, 4]) if r < 0.8 else case.pick(CHANNELS)
    own, filters = case.pick(CHANNELS), case.pick(CHANNELS)
    if r >= 0.8:  # depthwise
        own, filters = 1, case.pick([1, 1, 1, 2, 3])
    if case.chance(0.8):
        size = [case.pick([1, 2, 3, 3, 3, 4, 5, 5, 7]) for _ in range(2)]
    else:
        size = [case.pick([1, 2, 3, case.rng.integers(1, 18)]), case.pick([1, 3, *case.rng.integers(1, 34, 3)])]
    size = [int(n) for n in size]
    stride = [1, 1] if case.chance(0.6) else [int(n) for n in case.rng.integers(1, 6, 2)]
    dilation = [1, 1] if case.chance(0.7) else [int(n) for n in case.rng.integers(1, 6, 2)]
    pads, image = [], []
    form = case.pick(["none", "none", "same", "even", "any"])
    for f, d in zip(size, dilation, strict=True):
        extent = d * (f - 1) + 1
        most = extent + 9 * case.chance(0.2)  # a few pads are beyond the filter
        before, after = (int(n) for n in case.rng.integers(0, most + 1, 2))
        pads.append(
            {"none": (0, 0), "same": ((extent - 1) // 2, extent // 2), "even": (before,) * 2}.get(form, (before, after))
        )
        image.append(max(case.axis(), extent - sum(pads[-1])))
    N = case.pick([0, 1, 1, 1, 2, 2, 3, 5]) if case.chance(0.3) else case.pick([1, 1, 2, 3, 5])

    def cost():
        return N * groups * filters * own * size[0] * size[1] * np.prod(
            [(n + sum(p) - d * (f - 1) - 1) // s + 1 for n, p, d, f, s in zip(
                image, pads, dilation, size, stride, strict=True)], dtype=float)  # fmt: skip

    for _ in range(60):
        if cost() <= case.budget:
            break
        less = case.rng.uniform(0.3, 0.9)
        what = case.rng.integers(6)
        if what == 0:
            N = max(1, int(N * less))
        elif what == 1:
            own = max(1, int(own * less))
        elif what == 2:
            filters = max(1, int(filters * less))
        elif what == 3:
            groups = max(1, int(groups * less))
        else:
            axis = what - 4
            least = max(1, dilation[axis] * (size[axis] - 1) + 1 - sum(pads[axis]))
            image[axis] = max(least, int(image[axis] * less))
    settings = {"stride": tuple(stride), "pad": tuple(pads), "dilation": tuple(dilation), "groups": groups}
    case.say(**settings)
    return (N, own * groups, *image), (filters * groups, own, *size), settings


@kind(weight=6)
def conv(case):
    x_shape, W_shape, settings = drawn_convolution(case)
    x, W = case.activations("x", *x_shape), case.array("W", *W_shape)
    b = case.array("b", W_shape[0]) if case.chance(0.7) else None
    oracle = Convolution(x_shape, W_shape, **settings)
    expected = oracle.output(x, W, b)
    magnitude = oracle.output(abs(x), abs(W), None if b is None else abs(b))
    dout = case.gradient(*expected.shape)
    terms = W[0].size, W.size // W.shape[1], dout.size // W.shape[0]

    first = None
    for name, out in by_algorithm(case, "output", "algorithm", "output", functional.convolution, x, W, b, **settings):
        if first is None:
            first = out
            case.within("output", out, expected, magnitude, terms[0] + 1)
        case.same(f"output by {name}", out, first)
    if len(x) > 1:
        n = case.rng.integers(len(x))
        alone = case.place(x[n : n + 1].copy())
        alone = case.run("output of one image", functional.convolution, alone, W, b, **settings)
        case.same(f"output of image {n} alone", alone[0], first[n])

    dx = oracle.input_gradient(dout, W), oracle.input_gradient(abs(dout), abs(W))
    dW = oracle.weight_gradient(dout, x), oracle.weight_gradient(abs(dout), abs(x))
    wide = dout.astype(np.float64)
    db = wide.sum(axis=(0, 2, 3)), abs(wide).sum(axis=(0, 2, 3))
    backward = functional.convolution_backward
    for name, (got, *_) in by_algorithm(
        case, "input_gradient", "input_algorithm", "dx", backward, dout, x, W, **settings, parameter_gradient=False
    ):
        case.within(f"dx by {name}", got, *dx, terms[1])
    for name, (_, *got) in by_algorithm(
        case, "weight_gradient", "weight_algorithm", "dW", backward, dout, x, W, **settings, input_gradient=False
    ):
        case.within(f"dW by {name}", got[0], *dW, terms[2])
        case.within(f"db by {name}", got[1], *db, terms[2])
    grads = case.run("both gradients", backward, dout, x, W, **settings)
    for name, got, wanted, count in zip(("dx", "dW", "db"), grads, (dx, dW, db), terms[1:] + terms[-1:], strict=True):
        case.within(f"{name} of both", got, *wanted, count)
    if b is None:
        adjoint(case, first, x, W, dout, grads, terms, np.sum(magnitude * abs(dout)))


def adjoint(case, out, x, W, dout, grads, terms, total):
    """<conv(x), d> = <x, dx> = <W, dW>, each within the error of its elements."""
    products = [np.vdot(a.astype(np.float64), b) for a, b in ((out, dout), (x, grads[0]), (W, grads[1]))]
    for name, product, count in zip(("<x, dx>", "<W, dW>"), products[1:], terms[1:], strict=True):
        case.within(f"{name} beside <out, dout>", product, products[0], total, count + terms[0] + 4)


@kind(weight=2)
def transposed(case):
    out_shape, W_shape, settings = drawn_convolution(case)
    oracle = Convolution(out_shape, W_shape, **settings)
    small = oracle.output(np.zeros((0, *out_shape[1:])), np.zeros(W_shape)).shape
    x, W = case.activations("x", out_shape[0], *small[1:]), case.array("W", *W_shape)
    b = case.array("b", out_shape[1]) if case.chance(0.7) else None
    (top, bottom), (left, right) = settings["pad"]
    more = [
        n + p - ((o - 1) * s + d * (f - 1) + 1)
        for n, p, o, s, d, f in zip(
            out_shape[2:], (top + bottom, left + right), small[2:], settings["stride"], settings["dilation"],
            W_shape[2:], strict=True)
    ]  # fmt: skip
    case.say(output_padding=more)
    options = settings | {"output_padding": tuple(more)}
    bias = 0 if b is None else b.astype(np.float64)[:, None, None]
    expected = oracle.input_gradient(x, W) + bias, oracle.input_gradient(abs(x), abs(W)) + abs(bias)
    dout = case.gradient(*out_shape)
    terms = W.size // W.shape[1], W[0].size, x.size // max(W.shape[0], 1)

    first = None
    for name, out in by_algorithm(
        case, "transposed_output", "algorithm", "output", functional.transposed_convolution, x, W, b, **options
    ):
        case.within(f"output by {name}", out, *expected, terms[0] + 1)
        first = out if first is None else first
    if len(x) > 1:
        alone = case.place(x[:1].copy())
        alone = case.run("output of one image", functional.transposed_convolution, alone, W, b, **options)
        case.same("output of one image", alone[0], first[0])
    dx = oracle.output(dout, W), oracle.output(abs(dout), abs(W))
    dW = oracle.weight_gradient(x, dout), oracle.weight_gradient(abs(x), abs(dout))
    wide = dout.astype(np.float64)
    db = wide.sum(axis=(0, 2, 3)), abs(wide).sum(axis=(0, 2, 3))
    backward, bits = functional.transposed_convolution_backward, None
    for name, (got, *_) in by_algorithm(
        case, "output", "input_algorithm", "dx", backward, dout, x, W, **options, parameter_gradient=False
    ):
        case.within(f"dx by {name}", got, *dx, terms[1])
        bits = got if bits is None else bits
        case.same(f"dx by {name}", got, bits)
    options["input_gradient"] = False
    for name, (_, *got) in by_algorithm(
        case, "transposed_weight_gradient", "weight_algorithm", "dW", backward, dout, x, W, **options
    ):
        case.within(f"dW by {name}", got[0], *dW, terms[2])
        case.within(f"db by {name}", got[1], *db, dout.size // dout.shape[1])


@kind(weight=3)
def conv_pool(case):
    x_shape, W_shape, settings = drawn_convolution(case)
    if case.chance(0.7):
        settings |= {"groups": 1}
        x_shape = x_shape[0], W_shape[1], *x_shape[2:]
    oracle = Convolution(x_shape, (W_shape[0], *W_shape[1:]), **settings)
    full = oracle.output(np.zeros((0, *x_shape[1:])), np.zeros(W_shape)).shape[1:]
    grown = [n + (2 - o) * s if o < 2 else n for n, o, s in zip(x_shape[2:], full[1:], settings["stride"], strict=True)]
    x_shape = *x_shape[:2], *grown
    oracle.x_shape = x_shape
    case.say(groups=settings["groups"])
    x, W = case.activations("x", *x_shape), case.array("W", *W_shape)
    b = case.array("b", W_shape[0]) if case.chance(0.7) else None
    plain = case.run("convolution", functional.convolution, x, W, b, **settings)
    magnitude = oracle.output(abs(x), abs(W), None if b is None else abs(b))
    case.within("output", plain, oracle.output(x, W, b), magnitude, W[0].size + 1)
    expected = first_maxima(np.maximum(plain, 0), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), None)
    function, out, argmax = functional.convolution_relu_max_pool, None, None
    for name, (got, where) in by_algorithm(
        case, "pooled_output", "algorithm", "pooled output", function, x, W, b, **settings, return_argmax=True
    ):
        out, argmax = (got, where) if out is None else (out, argmax)
        case.equal(f"pooled output by {name}", got, expected[0])
        case.same(f"argmax by {name}", where, expected[1].astype(np.uint8))
    case.same("pooled output without argmax", case.run("without argmax", function, x, W, b, **settings), out)

    dout = case.gradient(*out.shape)
    spread = np.zeros(plain.shape)
    n, f, y, z = np.indices(out.shape)
    spread[n, f, 2 * y + argmax // 2, 2 * z + argmax % 2] = np.where(out > 0, dout, 0)
    dx = oracle.input_gradient(spread, W), oracle.input_gradient(abs(spread), abs(W))
    dW = oracle.weight_gradient(spread, x), oracle.weight_gradient(abs(spread), abs(x))
    db = spread.sum(axis=(0, 2, 3)), abs(spread).sum(axis=(0, 2, 3))
    terms = W.size // W.shape[1], dout.size // W.shape[0]
    back = functional.convolution_relu_max_pool_backward
    out, argmax = case.place(out), case.place(argmax)
    for wanted in ({}, {"input_gradient": False}, {"parameter_gradient": False}):
        label, options = f"pooled gradients {wanted}", settings | wanted
        for name, got in by_algorithm(
            case, "pooled_gradients", "algorithm", label, back, dout, out, argmax, x, W, **options
        ):
            if got[0] is not None:
                case.within(f"dx by {name} {wanted}", got[0], *dx, terms[0])
            if got[1] is not None:
                case.within(f"dW by {name} {wanted}", got[1], *dW, terms[1])
                case.within(f"db by {name} {wanted}", got[2], *db, terms[1])


@kind()
def conv_norm(case):
    """A convolution that normalises its output, adds a branch and applies relu: the bits of one after the other."""
    x_shape, W_shape, settings = drawn_convolution(case)
    x, W = case.activations("x", *x_shape), case.array("W", *W_shape)
    b = case.array("b", W_shape[0]) if case.chance(0.3) else None
    gamma, beta, mean = (case.array(name, W_shape[0]) for name in ("gamma", "beta", "mean"))
    var, eps = case.array("var", W_shape[0], positive=True), case.pick([1e-6, 1e-5, 0.5])
    plain = case.run("convolution", functional.convolution, x, W, b, **settings)
    out = case.run("normalization", functional.batch_normalization, plain, gamma, beta, mean, var, eps=eps)
    branch = case.array("branch", *out.shape) if case.chance(0.5) else None
    rectify = case.chance(0.6)
    case.say(eps=eps, relu=rectify)
    if branch is not None:
        out = case.run("sum", functional.add, out, branch)
    out = case.run("relu", functional.relu, out) if rectify else out
    joined = case.run("all in one", functional.convolution_batch_normalization, x, W, b, gamma, beta, mean, var,
                      eps=eps, branch=branch, relu=rectify, **settings)  # fmt: skip
    case.same("all in one", joined, out)


@kind()
def im2col(case):
    x_shape, W_shape, settings = drawn_convolution(case)
    pad, dilation = settings["pad"], settings["dilation"]
    x_shape = case.shrunk(x_shape[:2], 64) + x_shape[2:]
    x = case.activations("x", *x_shape)
    arguments = *W_shape[2:], settings["stride"], pad
    cols = patches(x, W_shape[2:], settings["stride"], pad, dilation)
    expected = cols.transpose(0, 4, 5, 1, 2, 3)
    expected = expected.reshape(int(np.prod(expected.shape[:3])), int(np.prod(expected.shape[3:])))
    case.say(size=W_shape[2:])
    case.equal("im2col", case.run("im2col", functional.im2col, x, *arguments, dilation=dilation), expected)
    col = case.array("col", *expected.shape)

    def back(col):
        col = col.astype(np.float64).reshape(len(x), *cols.shape[4:], *cols.shape[1:4]).transpose(0, 3, 4, 5, 1, 2)
        return unpatched(col, x_shape, settings["stride"], pad, dilation)

    got = case.run("col2im", functional.col2im, col, x_shape, *arguments, dilation=dilation)
    case.within("col2im", got, back(col), back(abs(col)), W_shape[2] * W_shape[3])


# ---- affine products


@kind(weight=4)
def affine(case):
    r = case.rng.random()
    sizes = [case.pick([1, 1, case.axis(), case.axis(), int(case.rng.integers(1, 301))]) for _ in range(3)]
    if r < 0.1:
        sizes[1] = int(case.rng.integers(300, 2500))
    N, D, M = sizes
    while N * D * M > 20 * case.budget:
        N, D, M = case.shrunk((N, D, M), 20 * case.budget)
    N = 0 if case.chance(0.02) else N
    x, W = case.activations("x", N, D), case.array("W", D, M)
    b = case.array("b", M) if case.chance(0.7) else None
    dout = case.gradient(N, M)
    X, Y, G = (array.astype(np.float64) for array in (x, W, dout))
    bias = 0 if b is None else b.astype(np.float64)
    magnitude = abs(X) @ abs(Y) + abs(bias)
    out = case.run("output", functional.affine, x, W, b)
    case.within("output", out, X @ Y + bias, magnitude, D + 1)
    rectified = case.run("relu", functional.affine, x, W, b, relu=True)
    case.same("relu", rectified, functional.relu(out))
    for n in case.rng.integers(0, max(N, 1), 2 if N > 1 else 0):
        alone = case.run("a row", functional.affine, case.place(x[n : n + 1].copy()), W, b)
        case.same(f"row {n} alone", alone[0], out[n])
    expected = (
        (G @ Y.T, abs(G) @ abs(Y).T, M),
        (X.T @ G, abs(X).T @ abs(G), N),
        (G.sum(axis=0), abs(G).sum(axis=0), N),
    )
    for wanted in ({}, {"input_gradient": False}, {"parameter_gradient": False}, {"bias": False}):
        grads = case.run(f"gradients {wanted}", functional.affine_backward, dout, x, W, **wanted)
        for name, got, values in zip(("dx", "dW", "db"), grads, expected, strict=True):
            if got is not None:
                case.within(f"{name} {wanted}", got, *values)


# ---- pooling


def first_maxima(x, window, stride, pad, dilation, out):
    """The maxima of windows and where the first one lies; NaN is larger than any number."""
    cols = patches(x, window, stride, pad, dilation, out, fill=-np.inf)
    cols = cols.transpose(0, 1, 4, 5, 2, 3)
    values = cols.reshape(*cols.shape[:4], window[0] * window[1])
    inside = patches(np.ones_like(x), window, stride, pad, dilation, out).transpose(0, 1, 4, 5, 2, 3) > 0
    best = values.max(axis=-1, keepdims=True, initial=-np.inf)
    # The first place inside the image: where there is nothing but minus infinity, padding equals it.
    found = ((values == best) | np.isnan(values) & np.isnan(best)) & inside.reshape(values.shape)
    return best[..., 0], found.argmax(axis=-1)


def drawn_pooling(case, dilated):
    shape = case.shape()
    if case.chance(0.5):
        window = [2, 2] if case.chance(0.5) else [3, 3]
    else:
        window = [int(n) for n in case.rng.integers(1, 8, 2)]
    if case.chance(0.05):
        window = [int(n) for n in case.rng.integers(10, 25, 2)]
    dilation = [int(n) for n in case.rng.integers(1, 5, 2)] if dilated and case.chance(0.3) else [1, 1]
    stride = case.pick([None, [1, 1], [2, 2], [int(n) for n in case.rng.integers(1, 6, 2)]])
    ceil = case.chance(0.4)
    extents = [d * (w - 1) + 1 for w, d in zip(window, dilation, strict=True)]
    pads = [tuple(int(n) for n in case.rng.integers(0, extent // 2 + 1, 2)) for extent in extents]
    pads = pads if case.chance(0.5) else [(0, 0), (0, 0)]
    shape = *shape[:2], *(max(n, e - sum(p)) for n, e, p in zip(shape[2:], extents, pads, strict=True))
    settings = {"stride": stride and tuple(stride), "pad": tuple(pads), "ceil_mode": ceil}
    if dilated:
        settings["dilation"] = tuple(dilation)
    case.say(window=tuple(window), **settings)
    steps = stride or window
    out = []
    for n, p, e, s in zip(shape[2:], pads, extents, steps, strict=True):
        room = n + sum(p) - e
        places = room // s + 1
        if ceil and room % s and places * s < n + p[0]:
            places += 1
        out.append(places)
    return shape, tuple(window), settings, (tuple(window), tuple(steps), tuple(pads), tuple(dilation), out)


@kind(weight=3)
def max_pool(case):
    shape, window, settings, steps = drawn_pooling(case, dilated=True)
    x = case.activations("x", *shape).copy()
    special = case.pick([None, None, np.nan, -np.inf, np.inf])
    if special is not None:
        x[case.rng.random(shape) < case.pick([0.02, 0.5, 1])] = special
        case.say(special=special)
    x = case.place(x)
    # Windows that hold no pixel, as dilation can make them, are refused, whatever the number of images.
    if not patches(np.ones((1, 1, *shape[2:])), *steps).any(axis=(2, 3)).all():
        try:
            functional.max_pool(x, window, **settings)
        except ValueError as error:
            if "each pooling window must hold a value of the image" in str(error):
                case.refused += 1
                return
        case.fail("a window without a pixel is accepted")
        return
    expected, where = first_maxima(x, *steps)
    out, argmax = case.run("maxima", functional.max_pool, x, window, **settings, return_argmax=True)
    case.equal("maxima", out, expected)
    case.equal("maxima alone", case.run("maxima alone", functional.max_pool, x, window, **settings), expected)
    if argmax.dtype != (np.uint8 if window[0] * window[1] <= 255 else np.int32):
        case.fail(f"argmax is {argmax.dtype}")
    if np.isnan(expected).any():  # of several NaNs any may be named
        values = patches(x, *steps, fill=0.0).transpose(0, 1, 4, 5, 2, 3).reshape(*out.shape, -1)
        named = np.isnan(np.take_along_axis(values, argmax[..., None].astype(int), axis=-1)[..., 0])
        where = np.where(np.isnan(expected) & named, argmax, where)
    if not np.array_equal(argmax, where):
        n = np.argwhere(argmax != where)[0]
        case.fail(f"argmax at {n} is {argmax[tuple(n)]} for {where[tuple(n)]}")
    dout = case.gradient(*out.shape)

    def back(dout):
        values = np.zeros((dout.size, window[0] * window[1]))
        values[np.arange(dout.size), where.ravel()] = dout.ravel()
        values = values.reshape(*out.shape, *window).transpose(0, 1, 4, 5, 2, 3)
        return unpatched(values, shape, *steps[1:4])

    got = case.run("gradient", functional.max_pool_backward, dout, case.place(argmax), shape, window, **settings)
    case.within("gradient", got, back(dout), back(abs(dout)), window[0] * window[1])


@kind(weight=2)
def average_pool(case):
    shape, window, settings, steps = drawn_pooling(case, dilated=False)
    settings["count_include_pad"] = count = case.chance(0.5)
    case.say(count_include_pad=count)
    x = case.activations("x", *shape)
    (top, bottom), (left, right) = steps[2]
    ones = np.ones((1, 1, *shape[2:]))
    if count:
        ones = np.ones((1, 1, top + shape[2] + bottom, left + shape[3] + right))
        sizes = patches(ones, window, steps[1], ((0, 0), (0, 0)), (1, 1), steps[4]).sum(axis=(2, 3))
    else:
        sizes = patches(ones, *steps).sum(axis=(2, 3))

    def mean(x):
        return patches(x, *steps).sum(axis=(2, 3)) / sizes

    def back(dout):
        values = np.broadcast_to((dout / sizes)[:, :, None, None], (*dout.shape[:2], *window, *dout.shape[2:]))
        return unpatched(values, shape, *steps[1:4])

    case.values = "normal" if case.values == "integers" else case.values  # quotients are rounded
    area = window[0] * window[1]
    out = case.run("means", functional.average_pool, x, window, **settings)
    case.within("means", out, mean(x), mean(abs(x)), area + 2)
    dout = case.gradient(*out.shape).astype(np.float64).astype(case.dtype)
    got = case.run("gradient", functional.average_pool_backward, case.place(dout), shape, window, **settings)
    case.within("gradient", got, back(dout), back(abs(dout)), area + 2)


@kind()
def adaptive_pool(case):
    shape = case.shape()
    size = case.pick([(1, 1), tuple(int(n) for n in case.rng.integers(1, 12, 2)), (case.axis(20), case.axis(20))])
    x = case.activations("x", *shape)
    case.say(output_size=size)
    case.values = "normal" if case.values == "integers" else case.values
    rows, columns = (
        np.array([[y * n // o <= k < -(-(y + 1) * n // o) for k in range(n)] for y in range(o)], float)
        for n, o in zip(shape[2:], size, strict=True)
    )
    rows, columns = (table / table.sum(axis=1, keepdims=True) for table in (rows, columns))
    out = case.run("means", functional.adaptive_average_pool, x, size)
    terms = int((rows > 0).sum(axis=1).max() * (columns > 0).sum(axis=1).max()) + 4
    case.within("means", out, rows @ x @ columns.T, rows @ abs(x) @ columns.T, terms)
    dout = case.gradient(*out.shape)
    got = case.run("gradient", functional.adaptive_average_pool_backward, dout, shape, size)
    terms = int((rows > 0).sum(axis=0).max() * (columns > 0).sum(axis=0).max()) + 4
    case.within("gradient", got, rows.T @ dout @ columns, rows.T @ abs(dout) @ columns, terms)
    pool = cconv.GlobalMaxPooling()
    case.same("global maxima", case.run("global maxima", pool.forward, x)[..., 0, 0], x.max(axis=(2, 3)))
    d = case.gradient(*shape[:2], 1, 1)
    expected = np.zeros((shape[0] * shape[1], shape[2] * shape[3]), case.dtype)
    expected[np.arange(len(expected)), x.reshape(expected.shape).argmax(axis=1)] = d.ravel()
    case.same("gradient of global maxima", case.run("gradient of maxima", pool.backward, d), expected.reshape(shape))


# ---- resampling


def weights_of(length, scale, mode, align_corners):
    """The matrix (outputs, inputs) of one axis, by PyTorch's formulas, and which inputs are read at all."""
    out = int(np.floor(length * scale))
    table, read = np.zeros((out, length)), np.zeros((out, length))
    for y in range(out):
        if out == length or mode == "nearest":
            # A size that stays is copied, and nearest pixels of twice the size are repeated, whatever the scale.
            exact = out in (length, 2 * length)
            first = y * length // out if exact else min(int(np.float32(y) * np.float32(1 / scale)), length - 1)
            table[y, first] = read[y, first] = 1
            continue
        s = y * ((length - 1) / (out - 1) if out > 1 else 0) if align_corners else max((y + 0.5) / scale - 0.5, 0)
        first = min(int(s), length - 1)
        share = min(s - first, 1.0)
        table[y, first] += 1 - share
        table[y, min(first + 1, length - 1)] += share
        read[y, first : first + 2] = 1
    return table, read


@kind(weight=2)
def resample(case):
    shape = case.shape(2000)
    mode = case.pick(["nearest", "bilinear"])
    align = mode == "bilinear" and case.chance(0.5)
    scale = [case.pick([1, 2, 3, 2.5, 1.5, 0.5, float(case.rng.uniform(0.3, 4))]) for _ in range(2)]
    scale = tuple(s if n * s >= 1 else 1 for s, n in zip(scale, shape[2:], strict=True))
    x = case.activations("x", *shape)
    options = {"mode": mode, "align_corners": align}
    case.say(scale=scale, **options)
    # Weights are rounded as 1 - w is: in the worst case by one rounding of 1, however small they are.
    (rows, near_rows), (columns, near_columns) = (
        weights_of(n, s, mode, align) for n, s in zip(shape[2:], scale, strict=True)
    )
    if mode == "bilinear" and case.values == "integers":
        case.values = "normal"
    out = case.run("output", functional.upsample, x, scale, **options)
    case.within("output", out, rows @ x @ columns.T, near_rows @ abs(x) @ near_columns.T, 8)
    dout = case.gradient(*out.shape)
    got = case.run("gradient", functional.upsample_backward, dout, shape, scale, **options)
    terms = int(near_rows.sum(axis=0).max() * near_columns.sum(axis=0).max()) + 8
    case.within("gradient", got, rows.T @ dout @ columns, near_rows.T @ abs(dout) @ near_columns, terms)

    pad = tuple(tuple(int(n) for n in case.rng.integers(0, case.pick([1, 3, 20]), 2)) for _ in range(2))
    case.say(zero_pad=pad)
    padded = case.run("zero_pad", functional.zero_pad, x, pad)
    case.same("zero_pad", padded, np.pad(x, ((0, 0), (0, 0), *pad)))
    case.same("crop", case.run("crop", functional.zero_pad_backward, case.place(padded), pad), x)


@kind()
def augmentation(case):
    shape = case.shape(3000)
    N, size = shape[0], shape[2:]
    border = case.pick([0.0, 2.5, "edge", "reflect"])
    nearest = case.chance(0.2)
    same = {"fill": border, "interpolation": "nearest" if nearest else "bilinear"}
    x = case.array("x", *shape)
    as_bytes = case.chance(0.3)
    if as_bytes:
        x = case.place(np.clip(np.abs(x) * 40, 0, 255).astype(np.uint8))
    seed, indices = int(case.rng.integers(0, 2**40)), case.place(case.rng.integers(0, 2**40, N))
    case.say(fill=border, nearest=nearest, uint8=as_bytes, seed=seed)
    arguments = {"seed": seed, "epoch": 3, "indices": indices}

    def near(name, out, exact, noise=0.0):
        if as_bytes:
            if out.dtype != np.uint8 or (np.abs(out - np.clip(exact, 0, 255)) > 0.501).any():
                case.fail(f"{name}: a value is more than half a level away")
        else:
            case.near(name, out, exact, (32 * np.finfo(case.dtype).eps + noise) * np.abs(x).max(initial=1))

    # Geometry: a move, a crop, and an elastic distortion whose fields, in single precision, move what is seen a little.
    crop = tuple(int(case.rng.integers(1, length + 3)) for length in size)
    steps = [augment.RandomShift(pixels=case.pick([0.0, 1.5, 1000.0]), **same), augment.RandomFlip()]
    steps += [augment.RandomCrop(crop, 1, fill=border)]
    sigma = case.pick([0.2, 1.0, 2.3, 50.0])
    elastic = not nearest and case.chance(0.5)
    if elastic:
        steps.append(augment.ElasticDistortion(case.pick([0.0, 1.0, 20.0]), sigma, **same))
    case.say(steps=steps)
    maps, fields = np.empty((N, 6)), None
    keys = [step._key(augment._key(seed, place), 3) for place, step in enumerate(steps)]
    maps[:] = augment.IDENTITY
    for step, key in zip(steps[:3], keys, strict=False):
        sizes = (size, step._size(size))
        case.stage("maps")
        kernels.augment.move(maps, key, indices, *step._move(size), sizes)
        size = sizes[1]
    if elastic:
        alpha = steps[3].alpha
        fields = [oracles.elastic_fields(size, sigma, alpha, keys[3], index) for index in indices]
    t = np.zeros(N, int)
    out = case.run("geometry", lambda: augment.Compose(steps)(x, t, **arguments)[0])
    exact = oracles.warped(x, maps.reshape(-1, 2, 3), size, border, nearest, fields)
    near("geometry", out, exact, 1e-4 if elastic else 0.0)

    step = case.pick([augment.RandomBrightness((0, 2)), augment.RandomContrast((0, 2))])
    u = oracles.four_uniform(step._key(seed, 3), indices)[:, 1].reshape(-1, 1, 1, 1)
    mean = x.mean(axis=(1, 2, 3), keepdims=True, dtype=float) if isinstance(step, augment.RandomContrast) else 0.0
    out = case.run("values", lambda: step(x, t, **arguments)[0])
    near("values", out, 2 * u * x + (1 - 2 * u) * mean)

    step = augment.GaussianNoise(1)
    out = case.run("noise", lambda: step(x, t, **arguments)[0])
    noise = [oracles.normal_noise(x[0].size, step._key(seed, 3), index) for index in indices]
    near("noise", out, x + np.array(noise).reshape(shape), 1e-5)

    out, rows = case.run("mixture", lambda: augment.Mixup(1.0)(x, np.eye(N), **arguments))
    near("mixture", out, np.tensordot(rows, x, 1) if N else x)


# ---- normalization


@kind(weight=3)
def normalization(case):
    which = case.pick(["batch", "batch", "batch", "layer", "group"])
    shape = case.shape(8000)
    shape = shape if case.chance(0.8) else (shape[0] + shape[2], shape[1])
    groups = case.pick([g for g in range(1, shape[1] + 1) if shape[1] % g == 0])
    fixed = which == "batch" and case.chance(0.4)
    each = which == "batch" and len(shape) == 4 and case.chance(0.3)  # per activation
    eps = case.pick([1e-5, 10e-7, 0.1])
    case.say(which=which, groups=groups, fixed=fixed, per_activation=each, eps=eps)
    case.values = "normal"
    offset = case.pick([0, 0, 1, 100])
    x = case.place((case.array("x", *shape) + offset).astype(case.dtype))
    case.say(offset=offset)
    if which == "batch":
        axes = (0,) if each or len(shape) == 2 else (0, 2, 3)
        features = shape[1:] if each else shape[1:2]
        count = x.size // max(int(np.prod(features)), 1)
        if count < 2 and not fixed:
            return
    elif which == "layer":
        depth = case.rng.integers(1, len(shape))
        axes, features = tuple(range(depth, len(shape))), shape[depth:]
    else:
        axes, features = None, shape[1:2]
    gamma, beta, dout = case.array("gamma", *features), case.array("beta", *features), case.gradient(*shape)
    g, b, d, wide = (array.astype(np.float64) for array in (gamma, beta, dout, x))
    if which == "batch" and not each and len(shape) == 4:
        g, b = g[:, None, None], b[:, None, None]
    given = ()
    if which == "group":
        grouped = len(x), groups, shape[1] // groups, int(np.prod(shape[2:]))
        wide, d = wide.reshape(grouped), d.reshape(grouped)
        g, b = (v.reshape(groups, -1, 1) for v in (g, b))
        axes = 2, 3
    statistics = {}
    if fixed:
        features = int(np.prod(features))
        given = case.rng.standard_normal(features), case.rng.random(features) + 0.1
        wanted = gamma.shape if each or len(shape) == 2 else (-1, 1, 1)
        statistics = dict(zip(("mean", "var"), (v.reshape(wanted) for v in given), strict=True))
    expected, mean, var = oracles.normalization(wide, g, b, axes, eps, **statistics)
    dx, y_terms, b_terms = oracles.normalization_backward(d, wide, g, axes, eps, **statistics)
    forward = getattr(functional, f"{which}_normalization")
    backward = getattr(functional, f"{which}_normalization_backward")
    extra = (groups,) if which == "group" else ()
    more = {"eps": eps} | ({"fixed": fixed} if which == "batch" else {})
    if not x.size and not fixed:
        return
    out, *found = case.run("output", forward, x, gamma, beta, *given, *extra, eps=eps, return_statistics=True)
    # Beside the rounding of x itself, which the deviation makes larger, a few roundings of the result.
    unit = np.finfo(case.dtype).eps
    root = 1 / np.sqrt(var + eps)
    if not fixed:
        size = np.abs(wide).max(initial=0)
        case.near("mean", found[0].astype(case.dtype), mean.reshape(found[0].shape), 8 * unit * size)
    bound = 16 * unit * (abs(g) * (np.abs(wide) + np.abs(mean) + 1) * root * (1 + np.abs(mean) * root) + abs(b) + 1e-30)
    case.near("output", out, expected.reshape(shape), bound.reshape(shape) if bound.shape != shape else bound)
    mean_var = [case.place(v) for v in found]
    got = case.run("gradients", backward, dout, x, gamma, *mean_var, *extra, **more)
    y = np.abs(wide - mean) * root
    scale = (np.abs(d) * abs(g)).max(initial=0) * (1 + y.max(initial=0)) ** 2 * root
    roundings = 64 * unit * (1 + (np.abs(mean) * root).max(initial=0))
    case.near("dx", got[0], dx.reshape(shape), np.broadcast_to(roundings * scale, dx.shape).reshape(shape))
    if which == "group":
        y_terms, b_terms = (t.reshape(shape) for t in (y_terms, b_terms))
    over = {"batch": axes, "layer": tuple(range(x.ndim - gamma.ndim)), "group": (0, *range(2, x.ndim))}[which]
    for name, array, terms in (("dgamma", got[1], y_terms), ("dbeta", got[2], b_terms)):
        size = np.abs(d).sum() * (1 + y.max(initial=0))
        case.near(name, array, terms.sum(axis=over).reshape(gamma.shape), roundings * size)
    if which == "batch":
        normalization_and_relu(case, eps, fixed, x, gamma, beta, mean_var, dout, out, got)


def normalization_and_relu(case, eps, fixed, x, gamma, beta, statistics, dout, out, gradients):
    """Batch normalization that adds a branch and applies relu has the bits of one after the other, forth and back."""
    door, given = norm_doors.batch_door(eps, fixed), statistics if fixed else None
    branch, rectify = case.array("branch", *x.shape) if case.chance(0.5) else None, case.chance(0.8)
    case.say(relu=rectify)
    joined = out if branch is None else functional.add(out, branch)
    part = dout
    if rectify:
        joined = functional.relu(joined)
        part = functional.relu_backward(dout, joined)
        gradients = functional.batch_normalization_backward(part, x, gamma, *statistics, eps=eps, fixed=fixed)

    def whole(keep=True):
        return norm_doors.run_normalization_and_relu(door, x, gamma, beta, given, branch, rectify, keep)

    mask = whole()[3]  # whose last words nobody may have written
    if (mask is None) == rectify or whole(keep=False)[3] is not None:
        case.fail("a mask where none is wanted, or none where one is")
    for keep in (True, False):
        found = case.run("norm, sum and relu", lambda keep=keep: whole(keep)[:3])
        case.same("norm, sum and relu", found, [joined, *statistics])

    def back(input_gradient, hands_on):
        masked = np.full_like(dout, np.nan) if hands_on and rectify else None
        found = norm_doors.run_normalization_backward(door, dout, x, gamma, *statistics, input_gradient, mask, masked)
        return [*found, masked]

    for hands_on in (False, True):
        dx, dgamma, dbeta, masked = case.run("gradients at once", back, True, hands_on)
        case.same("gradients at once", [dx, dgamma, dbeta], gradients)
        if masked is not None:
            case.same("gradient of the branch", masked, part)
    case.same("without dx", back(False, False)[:3], [None, *gradients[1:]])


# ---- single values and losses


@kind(weight=2)
def activation(case):
    name = case.pick(sorted(oracles.ACTIVATIONS))
    settings, value, slope, _ = oracles.ACTIVATIONS[name]
    door = oracles.door_of(name)
    size = int(case.pick([case.axis(), case.rng.integers(1, 400), case.rng.integers(4000, 9000)]))
    if name == "gelu":
        size = min(size, 400)
    case.values = "normal"
    x, dout = case.array("x", size, zeros=case.pick([0, 0.3])), case.gradient(size)
    case.say(name=name)
    eps = np.finfo(case.dtype).eps
    y = case.run("values", getattr(functional, door), x, **settings)
    wide = x.astype(np.longdouble)
    expected = value(wide, **settings).astype(np.float64)
    case.near("values", y, expected, (100 if "gelu" in name else 8) * eps * np.abs(expected))
    kept = case.place(y if getattr(functional.activation, door.upper()).kept == "y" else x)
    dx = case.run("gradient", getattr(functional, f"{door}_backward"), dout, kept, **settings)
    expected = (dout * slope(wide, **settings)).astype(np.float64)
    case.near("gradient", dx, expected, 8 * eps * np.abs(expected) + 16 * eps * np.maximum(np.abs(dout), 1))
    if name == "relu":
        out, mask = case.run("mask", functional.relu, x, return_mask=True)
        case.same("masked relu", out, y)
        if not np.array_equal(np.unpackbits(mask.view(np.uint8), bitorder="little")[:size], x > 0):
            case.fail("the mask is not that of positive values")
        dx = case.run("masked gradient", functional.relu_backward, dout, mask=case.place(mask))
        case.same("masked gradient", dx, np.where(x > 0, dout, case.dtype.type(0)))
    classes = int(case.rng.integers(1, 80))
    scores = 5 * case.array("scores", case.rng.integers(0, 40), classes)
    powers = np.exp(scores.astype(np.longdouble) - scores.max(axis=-1, keepdims=True))
    expected = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float64)
    got = case.run("softmax", functional.softmax, case.place(scores))
    case.near("softmax", got, expected, (classes + 40) * eps * expected + np.finfo(case.dtype).tiny)


@kind()
def dropout(case):
    spatial = case.chance(0.4)
    shape = case.shape() if spatial or case.chance(0.5) else (int(case.rng.integers(0, 6000)),)
    ratio, scale = case.pick([0.0, 0.1, 0.5, 0.9, float(case.rng.random())]), case.pick([1.0, 2.0, 1.25])
    key, draw = (int(case.rng.integers(0, 2**63)) for _ in range(2))
    x = case.activations("x", *shape)
    case.say(ratio=ratio, scale=scale, key=key, draw=draw, spatial=spatial)
    out = case.run("output", functional.dropout, x, ratio, key=key, draw=draw, scale=scale, spatial=spatial)
    rows = x.reshape(shape[0] * shape[1], -1) if spatial and x.size else x.reshape(x.size, 1)
    known = min(len(rows), 640)  # the oracle works on Python's integers
    kept = oracles.dropout_mask(known, ratio, key, draw)
    product = rows * case.dtype.type(scale)
    got = out.reshape(rows.shape)
    case.same("output", got[:known] != 0, kept[:, None] & (product[:known] != 0))
    case.same("kept values", got[got != 0], product[got != 0])
    if len(rows) >= 2000 and np.all(rows != 0):
        share = np.mean(got[:, 0] == 0)
        if abs(share - ratio) > 6 * np.sqrt(ratio * (1 - ratio) / len(rows)) + 1e-9:
            case.fail(f"a share of {share} is dropped")
    if len(rows) > 1 and not spatial:  # a value's mask does not depend on how many follow it
        less = case.run("fewer", functional.dropout, case.place(x.reshape(-1)[: len(rows) // 2].copy()), ratio, key=key,
                        draw=draw, scale=scale)  # fmt: skip
        case.same("fewer values", less, out.reshape(-1)[: len(rows) // 2])


@kind()
def rescale(case):
    shape = case.shape()
    channels = case.pick([(), shape[1:2]])
    shift, factor = case.rng.uniform(-300, 300, channels), case.rng.uniform(-2, 2, case.pick([(), channels]))
    if case.chance(0.5):
        x = case.place(case.rng.integers(0, 256, shape).astype(np.uint8))
        case.say(x="pixels", shape=shape)
    else:
        x = case.array("x", *shape)
    case.say(shift=shift.shape, factor=factor.shape)
    out = case.run("rescaled", functional.rescale, x, shift, factor, dtype=case.dtype)
    shift, factor = (v.reshape(-1, 1, 1) if v.ndim else v for v in (shift, factor))
    case.same("rescaled", out, ((x.astype(np.float64) - shift) * factor).astype(case.dtype))


@kind()
def losses(case):
    case.values = "normal"
    N, M = int(case.pick([1, 2, 3, case.axis()])), int(case.pick([1, 2, 10, case.axis(150)]))
    eps = np.finfo(case.dtype).eps
    x = case.place(case.array("x", N, M) * case.dtype.type(case.pick([1, 10])))
    wide = x.astype(np.float64)
    labels = case.place(case.rng.integers(0, M, N))
    dout = case.pick([1, 0.5, -3])
    soft = case.chance(0.3)
    rows = case.rng.random((N, M)) if soft else np.eye(M)[labels]
    t = case.place(rows.astype(case.dtype)) if soft else labels
    rows = t.astype(np.float64) if soft else rows
    v = None
    if case.chance(0.4):
        v = (case.rng.random(N) + 0.1).astype(case.dtype)
        v[1 + int(case.rng.integers(N)) :: 2] = 0
    spread = np.ones((N, 1)) if v is None else v.astype(np.float64)[:, None]
    options, q, total = {"sample_weight": v}, rows, spread.sum()
    if case.chance(0.4):
        weight = case.rng.random(M) + 0.1
        smoothing = float(case.rng.random() * 0.5)
        options |= {"label_smoothing": smoothing, "class_weight": weight}
        q = ((1 - smoothing) * rows + smoothing / M) * weight
        total = total if soft else (weight[labels] * spread[:, 0]).sum()
    q = q * spread
    case.say(soft=soft, M=M, smoothing=options.get("label_smoothing"), weights=v is not None)
    shifted = wide - wide.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss, y = case.run("softmax", functional.softmax_cross_entropy, x, t, **options)
    magnitude = (q * (np.abs(shifted) + np.log(M) + 1)).sum() / total
    case.near("softmax loss", loss, -(q * logs).sum() / total, (M + 32) * eps * magnitude)
    roundings = (M + 40 + 2 * np.abs(shifted)) * eps
    case.near("softmax", y, np.exp(logs), roundings * np.exp(logs) + np.finfo(case.dtype).tiny)
    got = case.run("softmax gradient", functional.softmax_cross_entropy_backward, case.place(y), t, dout, **options)
    sums = q.sum(axis=1, keepdims=True)
    expected = dout / total * (y.astype(np.float64) * sums - q)
    case.near("softmax gradient", got, expected, (M + 8) * eps * abs(dout) / total * (y * sums + q))

    t = case.place(case.rng.random((N, M)).astype(case.dtype))
    target = t.astype(np.float64)
    p = case.rng.random(M) + 0.5 if case.chance(0.5) else None
    weighted = target if p is None else target * p
    K = spread.sum() * M
    loss, y = case.run("sigmoid", functional.sigmoid_cross_entropy, x, t, pos_weight=p, sample_weight=v)
    terms = weighted * np.logaddexp(0, -wide) + (1 - target) * np.logaddexp(0, wide)
    bound = 32 * eps * (spread * (np.abs(wide) + terms + 1)).sum() / K
    case.near("sigmoid loss", loss, (spread * terms).sum() / K, bound)
    case.near("sigmoid", y, oracles.logistic(wide), 16 * eps * oracles.logistic(wide) + np.finfo(case.dtype).tiny)
    backward, options = functional.sigmoid_cross_entropy_backward, {"pos_weight": p, "sample_weight": v}
    got = case.run("sigmoid gradient", backward, case.place(y), t, dout, **options)
    expected = dout / K * spread * ((weighted + 1 - target) * y.astype(np.float64) - weighted)
    case.near("sigmoid gradient", got, expected, 16 * eps * abs(dout) / K * spread * (weighted + 1))

    t = case.array("t", N, M)
    r = wide - t.astype(np.float64)
    reduction = case.pick(["mean", "sum", "half_sum"])
    factor = {"mean": 1 / K, "sum": 1.0, "half_sum": 0.5}[reduction] * spread
    options = {"reduction": reduction, "sample_weight": v}
    loss = case.run("squares", functional.squared_error, x, t, **options)
    squares = (factor * r * r).sum()
    rounding = eps * (np.abs(wide) + np.abs(t))  # of the difference
    bound = (factor * ((x.size + 8) * eps * (r * r) + 4 * np.abs(r) * rounding)).sum()
    case.near("squares", loss, squares, bound)
    got = case.run("squares gradient", functional.squared_error_backward, x, t, dout, **options)
    case.near("squares gradient", got, 2 * dout * factor * r, 8 * abs(dout) * factor * (eps * np.abs(r) + rounding))
    delta = case.pick([1.0, 0.1, 3.0])
    inner = np.clip(r, -delta, delta)
    terms = np.where(np.abs(r) <= delta, r * r / 2, delta * (np.abs(r) - delta / 2))
    options = {"delta": delta, "sample_weight": v}
    loss = case.run("huber", functional.huber, x, t, **options)
    bound = (x.size + 8) * eps * (terms + delta * delta) + 4 * (np.abs(inner) + eps * delta) * rounding
    case.near("huber", loss, (spread * terms).sum() / K, (spread * bound).sum() / K)
    got = case.run("huber gradient", functional.huber_backward, x, t, dout, **options)
    bound = 8 * abs(dout) / K * spread * (eps * np.abs(inner) + rounding)
    case.near("huber gradient", got, dout / K * spread * inner, bound)


@kind()
def joining(case):
    shape = case.shape()
    x, y = case.array("x", *shape), case.array("y", *shape)
    case.same("add", case.run("add", functional.add, x, y), x + y)
    arrays = [case.place(x[:, : case.rng.integers(1, shape[1] + 1)].copy()) for _ in range(case.rng.integers(1, 4))]
    case.same("concatenate", case.run("concatenate", functional.concatenate, arrays), np.concatenate(arrays, axis=1))


# ---- optimizers


@kind(weight=2)
def optimizer(case):
    make, rule = case.pick(RULES)
    decay = case.pick([0.0, 0.0, 0.1])
    clip = case.pick([None, None, 0.5])
    case.values = "normal"
    sizes = [(case.axis(), case.axis()), (case.axis(),), (int(case.rng.integers(1, 9000)),)][: case.rng.integers(1, 4)]
    decay = 0.0 if rule.__name__ in ("adamw", "lion") else decay  # theirs is in the rule
    case.say(rule=rule.__name__, weight_decay=decay, clip_value=clip)
    made = [case.array(f"W{i}", *size, writable=True) for i, size in enumerate(sizes)]
    runs = []
    steps = [[case.array(f"g{i}", *size) for i, size in enumerate(sizes)] for _ in range(3)]
    for threads in (1, case.threads):
        case.stage(f"update, {threads} threads")
        optimizer = make()
        optimizer.clip_value = clip
        if decay:
            optimizer.weight_decay, optimizer.exclude = decay, ()
        params = {f"W{i}": case.place(array.copy(), True) for i, array in enumerate(made)}
        with replaced(kernels.cpu, threads_for=lambda work, threads=threads: threads):
            for step in steps:
                optimizer.update(params, {f"W{i}": g for i, g in enumerate(step)})
        runs.append(list(params.values()))
    case.same(f"parameters on {case.threads} threads", runs[1], runs[0])
    eps = np.finfo(case.dtype).eps
    for i, array in enumerate(made):
        expected, state = array.astype(np.float64), {}
        for t, step in enumerate(steps, 1):
            g = step[i].astype(np.float64)
            g = (np.clip(g, -clip, clip) if clip else g) + decay * expected
            expected = rule(expected, g, state, t)
        # Where a first gradient is tiny beside eps, g / (|g| + eps) magnifies its rounding.
        case.near(f"W{i}", runs[0][i], expected, 200 * eps * (1 + np.abs(expected)) * (100 if decay else 1))
    case.stage("global norm")
    norm = cconv.global_norm({str(i): g for i, g in enumerate(steps[0])})
    exact = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in steps[0]))
    case.near("global norm", norm, exact, 64 * np.finfo(np.float64).eps * (exact + 1))


# ---- networks


class Twin:
    """A network in NumPy: float64, one step after the other, each kept with its way back."""

    def __init__(self, network):
        self.network = network
        self.grads = {}  # by layer: those of its two parameters, and the sums of their terms' magnitudes
        self.scale = 0.0  # of what cancels in a normalization of few values
        self.gap = np.inf  # how near the values are to a corner of relu or to a tie of maxima, beside their size

    def near_corner(self, distances, values):
        if np.size(distances):
            self.gap = min(self.gap, np.min(distances) / (np.max(np.abs(values)) + 1e-300))

    def forward(self, x):
        self.steps = []
        for name, layer in self.network.layers.items():
            x, back = getattr(self, type(layer).__name__)(name, layer, x)
            self.steps.append(back)
        return x

    def backward(self, dout):
        for back in reversed(self.steps):
            dout = back(dout)
        return dout

    def Convolution(self, name, layer, x):
        W, b = layer.W.astype(np.float64), layer.b
        stride = pair(layer.stride, "stride")
        pad = padding(layer.pad, x.shape[2:], W.shape[2:], stride)
        oracle = Convolution(x.shape, W.shape, stride, pad, (1, 1), layer.groups)

        def back(dout):
            sizes = oracle.weight_gradient(abs(dout), abs(x)), abs(dout).sum(axis=(0, 2, 3))
            self.grads[name] = (oracle.weight_gradient(dout, x), dout.sum(axis=(0, 2, 3))), sizes
            return oracle.input_gradient(dout, W)

        return oracle.output(x, W, b), back

    def Scale(self, name, layer, x):
        return x * layer.factor, lambda dout: dout * layer.factor

    def Normalize(self, name, layer, x):
        mean, std = (np.broadcast_to(v, x.shape[1]).reshape(-1, *[1] * (x.ndim - 2)) for v in (layer.mean, layer.std))
        return (x - mean) / std, lambda dout: dout / std

    def Relu(self, name, layer, x):
        self.near_corner(np.abs(x), x)
        return np.maximum(x, 0), lambda dout: dout * (x > 0)

    def Tanh(self, name, layer, x):
        y = np.tanh(x)
        return y, lambda dout: dout * (1 - y * y)

    def Sigmoid(self, name, layer, x):
        y = oracles.logistic(x)
        return y, lambda dout: dout * y * (1 - y)

    def Pooling(self, name, layer, x):
        steps = (layer.pool_h, layer.pool_w), pair(layer.stride, "stride"), ((0, 0), (0, 0)), (1, 1)
        out, where = first_maxima(x, *steps, None)
        cols = patches(x, *steps).transpose(0, 1, 4, 5, 2, 3).reshape(*out.shape, layer.pool_h * layer.pool_w)
        if cols.shape[-1] > 1 and cols.size:
            top = np.partition(cols, -2, axis=-1)
            ties = top[..., -1] - top[..., -2]
            # Zeros that relu made equal have no gradient.
            self.near_corner(ties[top[..., -1] > 0] if (x >= 0).all() else ties, x)

        def back(dout):
            values = np.zeros((dout.size, layer.pool_h * layer.pool_w))
            values[np.arange(dout.size), where.ravel()] = dout.ravel()
            values = values.reshape(*out.shape, layer.pool_h, layer.pool_w).transpose(0, 1, 4, 5, 2, 3)
            return unpatched(values, x.shape, *steps[1:])

        return out, back

    def GlobalAveragePooling(self, name, layer, x):
        area = x.shape[2] * x.shape[3]
        return x.mean(axis=(2, 3), keepdims=True), lambda dout: np.broadcast_to(dout / area, x.shape)

    def BatchNormalization(self, name, layer, x):
        axes, shape = ((0, 2, 3), (-1, 1, 1)) if x.ndim == 4 else ((0,), (-1,))
        gamma, beta = (v.astype(np.float64).reshape(shape) for v in (layer.gamma, layer.beta))
        out, _, var = oracles.normalization(x, gamma, beta, axes, layer.eps)

        def back(dout):
            self.scale = max(self.scale, (abs(dout * gamma) / np.sqrt(var + layer.eps)).sum())
            dx, *terms = oracles.normalization_backward(dout, x, gamma, axes, layer.eps)
            self.grads[name] = [t.sum(axis=axes) for t in terms], [abs(t).sum(axis=axes) for t in terms]
            return dx

        return out, back

    def Affine(self, name, layer, x):
        rows, W = x.reshape(len(x), -1), layer.W.astype(np.float64)

        def back(dout):
            sizes = abs(rows).T @ abs(dout), abs(dout).sum(axis=0)
            self.grads[name] = (rows.T @ dout, dout.sum(axis=0)), sizes
            return (dout @ W.T).reshape(x.shape)

        return rows @ W + (0 if layer.b is None else layer.b), back


def loss_of(last, scores, t):
    """The loss, its gradient and the size of what the gradient is a difference of, in float64."""
    N, name = len(scores), type(last).__name__
    if name == "SoftmaxWithLoss":
        shifted = scores - scores.max(axis=1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        rows = np.eye(scores.shape[1])[t]
        return -(rows * logs).sum() / N, (np.exp(logs) - rows) / N, 1 / N
    t = t.reshape(scores.shape)
    if name == "SigmoidWithLoss":
        return (np.logaddexp(0, scores) - t * scores).mean(), (oracles.logistic(scores) - t) / scores.size, 1 / t.size
    r = scores - t
    if name == "Huber":
        d, size = last.delta, (np.abs(scores) + np.abs(t)).max()
        terms = np.where(np.abs(r) <= d, r * r / 2, d * (np.abs(r) - d / 2))
        return terms.mean(), np.clip(r, -d, d) / r.size, size / r.size
    factor = {"mean": 1 / r.size, "sum": 1.0, "half_sum": 0.5}[last.reduction]
    return factor * (r * r).sum(), 2 * factor * r, 2 * factor * (np.abs(scores) + np.abs(t)).max()


def drawn_network(case):
    """Convolutions and what is between them, then affine layers; layers often stand where a network fuses them."""
    layers, size = [], [case.rng.integers(1, 25), case.rng.integers(1, 25)]
    channels = case.pick([1, 2, 3, 9])
    shape = channels, *map(int, size)
    if case.chance(0.2):
        shape = (int(case.axis(60)),)
    if case.chance(0.2):
        layers.append(cconv.Scale())
    if case.chance(0.2):
        mean, std = case.rng.random(shape[0]), case.rng.uniform(0.2, 0.5, shape[0])
        unit = 1 if layers else 255
        layers.append(cconv.Normalize(unit * mean, unit * std) if case.chance(0.8) else cconv.Normalize(unit / 2, unit))
    for _ in range(case.rng.integers(0, 4) if len(shape) == 3 else 0):
        k = [int(min(case.pick([1, 2, 3, 5]), n)) for n in size]
        stride = case.pick([1, 1, 1, 2])
        same = case.chance(0.5)
        groups = channels if case.chance(0.15) else 1
        filters = int(case.pick([1, 2, 5, 8, 16, 17])) * groups
        layers.append(cconv.Convolution(filters=filters, size=tuple(k), stride=stride, pad="same" if same else 0,
                                        groups=groups, bias=bool(case.chance(0.8))))  # fmt: skip
        size = [-(-n // stride) if same else (n - f) // stride + 1 for n, f in zip(size, k, strict=True)]
        channels = filters
        if case.chance(0.2):
            layers.append(cconv.BatchNormalization())
        layers += [cconv.Relu()] if case.chance(0.7) else [cconv.Tanh()] if case.chance(0.5) else []
        if min(size) >= 2 and case.chance(0.6):
            window, step = case.pick([(2, 2), (2, 2), (2, 1)])
            layers.append(cconv.Pooling(window, window, stride=step))
            size = [(n - window) // step + 1 for n in size]
    if len(shape) == 3 and layers and case.chance(0.3):
        layers.append(cconv.GlobalAveragePooling())
    for _ in range(case.rng.integers(0, 3)):
        layers.append(cconv.Affine(units=int(case.pick([1, 2, case.axis(70)])), bias=bool(case.chance(0.8))))
        if case.chance(0.15):
            layers.append(cconv.BatchNormalization())
        layers += [cconv.Relu()] if case.chance(0.7) else [cconv.Sigmoid()] if case.chance(0.5) else []
    units = int(case.pick([1, 1, 2, 10]))
    layers.append(cconv.Affine(units=units, bias=bool(case.chance(0.8))))
    last = case.pick(["SoftmaxWithLoss", "MeanSquaredError", "MeanSquaredError", "Huber", "SigmoidWithLoss"])
    options = {"MeanSquaredError": {"reduction": case.pick(["mean", "sum", "half_sum"])},
               "Huber": {"delta": case.pick([1.0, 0.2])}}.get(last, {})  # fmt: skip
    case.say(input=shape, layers=" ".join(describe(layer) for layer in layers), last=last, **options)
    return layers, shape, units, getattr(cconv, last)(**options)


def describe(layer):
    settings = {k: v for k, v in layer.describe().items() if k in ("filters", "size", "stride", "groups", "units")}
    return type(layer).__name__ + (str(settings) if settings else "")


@kind(weight=3)
def network(case):
    layers, shape, units, last = drawn_network(case)
    case.values = "normal"
    net = cconv.Network(layers, shape, dtype=case.dtype.name, seed=int(case.rng.integers(1000)), last_layer=last)
    for value in net.params.values():  # biases and scales that are not 0 and 1
        value += (0.1 * case.rng.standard_normal(value.shape)).astype(case.dtype)
    N = case.pick([1, 2, 3, 7])
    normed = any(isinstance(layer, cconv.BatchNormalization) for layer in layers)
    N = max(N, 3) if normed else N
    x = case.array("x", N, *shape)
    if net.takes_integers:
        x = case.rng.integers(0, 256, x.shape).astype(np.uint8 if case.chance(0.7) else case.dtype)
        x = case.place(x)
        case.say(x=f"{x.dtype} pixels")
    if type(last).__name__ == "SoftmaxWithLoss":
        t = case.rng.integers(0, units, N)
    else:
        t = case.rng.random((N, units)).astype(case.dtype)
        t = t[:, 0].copy() if units == 1 and case.chance(0.5) else t

    # Layer by layer: in training, for the gradient; outside, for what `predict` gives.
    by_hand, trained = copy.deepcopy(net), copy.deepcopy(net)
    out = x
    case.stage("layers outside training")
    for layer in by_hand.layers.values():
        out = layer.forward(out, False) if getattr(layer, "takes_train_flg", False) else layer.forward(out)
    case.same("predict", case.run("predict", net.predict, x), out)
    case.near("loss", net.loss(x, t), by_hand.last_layer.forward(out, t), 0)
    y = x
    case.stage("layers in training")
    for layer in by_hand.layers.values():
        y = layer.forward(y)
    loss = by_hand.last_layer.forward(y, t)
    dout = by_hand.last_layer.backward()
    for layer in reversed(by_hand.layers.values()):
        dout = layer.backward(dout)
    loop = {name: np.asarray(value) for name, value in by_hand.params.gradients().items()}

    def gradients():
        fresh = copy.deepcopy(trained)
        grads = fresh.gradient(x, t)
        return [fresh.last_layer.loss, *(grads[name] for name in loop)]

    fused_loss, *fused = case.run("gradient", gradients)
    case.same("loss in training", fused_loss, loss)

    twin = Twin(net)
    scores = twin.forward(x.astype(np.float64))
    expected_loss, dscores, size = loss_of(last, scores, t)
    twin.backward(dscores)
    places = [(name, attribute) for name, layer in net.layers.items()
              for attribute in getattr(layer, "param_names", ()) if getattr(layer, attribute) is not None]  # fmt: skip
    single = case.dtype == np.float32
    tolerance = 2e-3 if single else 1e-8
    case.near("loss", loss, expected_loss, tolerance * (1 + abs(expected_loss)))
    if twin.gap < (1e-4 if single else 1e-11):
        return  # the gradient jumps here
    # What cancels, in the loss or in a normalization of few values, has the rounding of what it was made of.
    scale = max(terms.max() for _, sizes in twin.grads.values() for terms in sizes)
    scale = max(scale * max(size / (np.abs(dscores).max() + 1e-300), 1), twin.scale)
    for (name, attribute), got, slow in zip(places, fused, loop.values(), strict=True):
        wanted, terms = (arrays[attribute in ("b", "beta")] for arrays in twin.grads[name])
        bound = tolerance * max(terms.max(), 0.01 * scale)
        case.near(f"d{attribute} of {name}, fused", got, wanted.reshape(got.shape), bound)
        case.near(f"d{attribute} of {name}, layer by layer", slow, wanted.reshape(got.shape), bound)


def drawn_blocks(case):
    """A network with normalization, branches, depthwise and 1 x 1 convolutions."""
    channels, size = int(case.pick(CHANNELS)), [int(min(case.axis(40), 40)) for _ in range(2)]

    def unit(channels, stride=1):
        filters, groups = int(case.pick(CHANNELS)), 1
        if case.chance(0.3):
            groups = filters = channels
        k = case.pick([1, 1, 3, 3, 5])
        layers = [cconv.Convolution(filters=filters, size=k, stride=stride, pad="same", groups=groups,
                                    bias=bool(case.chance(0.3)))]  # fmt: skip
        layers += [cconv.BatchNormalization()] if case.chance(0.8) else []
        layers += [cconv.Relu()] if case.chance(0.7) else [cconv.Tanh()] if case.chance(0.2) else []
        return layers, filters

    def block(channels):
        body, filters = unit(channels)
        more, filters = unit(filters)
        more = [layer for layer in more if case.chance(0.9) or not isinstance(layer, cconv.Relu)]
        if case.chance(0.3):
            return [cconv.Concatenate(body + more, [])], channels + filters
        shortcut = [] if filters == channels and case.chance(0.8) else unit(channels)[0][:1]
        if shortcut:
            shortcut = [cconv.Convolution(filters=filters, size=1, bias=False), cconv.BatchNormalization()]
        return [cconv.Residual(body + more, shortcut)] + [cconv.Relu()] * case.chance(0.7), filters

    shape, layers = (channels, *size), []
    for _ in range(case.rng.integers(1, 5)):
        more, channels = block(channels) if case.chance(0.4) else unit(channels, case.pick([1, 1, 1, 2]))
        layers += more
        layers += [cconv.Pooling(2, 2, stride=2, pad=1)] if case.chance(0.1) else []
    layers += [cconv.GlobalAveragePooling()] if case.chance(0.6) else []
    layers += [cconv.Affine(units=3), cconv.Relu(), cconv.Affine(units=2)][case.rng.integers(0, 3) :]
    if case.chance(0.3):
        layers += [cconv.Affine(units=int(case.pick([1, 7, 30])), bias=bool(case.chance(0.5)))]
        layers += [cconv.BatchNormalization(), *([cconv.Relu()] if case.chance(0.6) else [])]
    case.say(input=shape, layers=" ".join(map(str, layers)))
    with warnings.catch_warnings():  # of shapes that look like (H, W, C)
        warnings.simplefilter("ignore", UserWarning)
        net = cconv.Network(layers, shape, dtype=case.dtype.name, seed=int(case.rng.integers(1000)))
    for name, value in net.state_dict().items():
        value[...] = case.rng.uniform(0.2, 2, value.shape) if "var" in name else case.rng.standard_normal(value.shape)
    return net


@kind()
def training(case):
    """Normalization runs with the branch and the relu that follow it: the bits of a step are those of it alone."""
    net = drawn_blocks(case)
    net.last_layer = cconv.MeanSquaredError()
    norms = [name for name, layer in nested(net.layers) if isinstance(layer, cconv.BatchNormalization)]
    frozen = [name for name in norms if case.chance(0.2)]
    if frozen:
        net.freeze(*frozen)
    x = case.array("x", case.pick([2, 3, 5, 13]), *net.input_shape)
    t = case.rng.standard_normal(net.predict(x).shape).astype(case.dtype)
    case.say(frozen=frozen)

    def step():
        network = copy.deepcopy(net)
        gradients = network.gradient(x, t).values()
        return [network.last_layer.loss, *gradients, *network.state_dict().values()]

    apart = {kind: run for kind, run in fusion.FUSED.items() if kind not in (cconv.BatchNormalization, cconv.Residual)}
    with replaced(fusion, FUSED=apart):
        expected = case.run("step, norm by norm", step)
    case.same("step", case.run("step", step), expected)


@kind()
def inference(case):
    """`predict` has the bits of the layers."""
    net = drawn_blocks(case)
    x = case.array("x", case.pick([0, 1, 2, 5, 13]), *net.input_shape)
    out = x
    for layer in copy.deepcopy(net).layers.values():
        out = layer.forward(out, False) if getattr(layer, "takes_train_flg", False) else layer.forward(out)
    case.same("predict", case.run("predict", net.predict, x), out)
    awkward = case.pick([x[::-1], np.asfortranarray(x), x.astype(x.dtype.newbyteorder()), np.repeat(x, 2, 3)[..., ::2]])
    flipped = awkward.strides[:1] == (-x.strides[0],)
    case.same("predict, another layout", case.run("layout", net.predict, awkward), out[::-1] if flipped else out)
    images = case.pick([1, 2, 3])
    case.same(f"predict, {images} at a time", case.run("batches", net.predict, x, batch_size=images), out)
    with replaced(inference_plans, TURN_BYTES=int(10 ** case.rng.uniform(2, 6))):
        case.same("predict in turns", case.run("turns", net.predict, x), out)


def check_oracles():
    """Compare the fast maps with the loops of oracles.py, on a few drawn geometries."""
    for index in range(20):
        case = Case("oracles", 0, index)
        case.budget = 3000
        x_shape, W_shape, settings = drawn_convolution(case)
        x_shape = max(x_shape[0], 1), *x_shape[1:]
        x, W, b = case.array("x", *x_shape), case.array("W", *W_shape), case.array("b", W_shape[0])
        fast, steps = Convolution(x_shape, W_shape, **settings), settings.values()
        out = oracles.convolution(x, W, b, *steps)
        np.testing.assert_allclose(fast.output(x, W, b), out, rtol=1e-9, atol=1e-9 * np.abs(out).max(initial=1))
        dout = case.array("dout", *out.shape)
        dx, dW, _ = oracles.convolution_backward(dout, x, W, *steps)
        for got, wanted in ((fast.input_gradient(dout, W), dx), (fast.weight_gradient(dout, x), dW)):
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max(initial=1))
