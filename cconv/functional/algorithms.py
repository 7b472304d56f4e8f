"""The algorithms of a convolution: one ordered table for each pass.

A row says when its algorithm applies, when it is preferred to the rows below it, how it is run, and what fraction of
the machine's peak it is expected to reach. Where the caller names no algorithm, the first row that is preferred is
taken; the last one always is. All algorithms of 'output' give the same bits.

To add one: write its kernel in `cconv/kernels/conv` (its README says how), and add a row here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import kernels

__all__ = ["TABLES", "Algorithm", "Reason", "Values", "candidates", "choose", "names"]

# Fits: found on a two-core Xeon with AVX-512, and about speed only. Costs are in multiply-adds of vectors.
# `python -m benchmarks.tune --only channels pixels rows scatter list` measures them again.
TRANSPOSING = 8  # to transpose a vector of channels to rows of pixels, when it is stored or dout is packed
PIXEL_PRODUCT = 1.1  # a multiply-add of a vector of pixels, which has to be loaded
PIXEL_STORE = 3  # to store one,
PIXEL_COPY = 2  # and to copy one of the source:
PIXEL_STRIDES = {1: 1, 2: 4}  # so many times that with a column stride of 1, of 2,
PIXEL_STRIDE = 12  # or of more
ROW_PRODUCT = 0.9  # of filters of one tap, over planes read as one row: a multiply-add of a vector of pixels,
ROW_SINGLE = 1.4  # in planes of a single vector,
ROW_STORE = 4  # to store one,
ROW_TRANSPOSING = 20  # and to transpose one of channels in its place
SCATTER_PRODUCT = 1.1  # a multiply-add of a tile of few taps,
SCATTER_ADD = 10  # and to add its sums to those of other taps
SCATTER_CHANNELS = 3  # to so many channels and no more, gradients are scattered,
SCATTER_FILTERS = 8  # from so many filters for each of them, and more,
SCATTER_STRIDE = 8  # over no more rows and columns than these
LIST_PERCENT = 35  # of dout's values that are not 0: where there are fewer, a list is faster,
LIST_CHANNEL_BYTES = 32  # with channels for half a vector of 64 bytes,
LIST_IMAGE_BYTES = 1 << 20  # and where an image, with its gradient, and the filters stay in the cache
LIST_FILTER_BYTES = 1 << 18


class Values:
    """The arrays of one call, and what is asked of their values more than once."""

    __slots__ = ("W", "_few", "dout", "input_gradient", "x")

    def __init__(self, dout, x, W, input_gradient=True):
        self.dout, self.x, self.W = dout, x, W
        self.input_gradient = input_gradient  # whether that of x is wanted
        self._few = None

    def few(self):
        """Return whether gradients from a list of dout's nonzero values are faster, and as good as those of all."""
        if self._few is None:
            conv = kernels.conv
            few = conv.nonzero_fraction(self.dout) * 100 < LIST_PERCENT
            self._few = few and conv.finite(self.x) and conv.finite(self.W)
        return self._few


class Reason(NamedTuple):
    """Why an algorithm is preferred: always, or in calls of whose values `when` is true."""

    text: str
    when: Callable[[Values], bool] | None = None


class Algorithm(NamedTuple):
    """A row of a table. `plan` is the compiled `Plan` of a geometry."""

    name: str
    run: Callable[..., None] | None
    preferred: Callable[[Any], Reason | None] = lambda plan: Reason("the most general")
    refused: Callable[[Any], str] = lambda plan: ""  # why it does not apply to a geometry, or ''
    refused_values: Callable[[Values], str] = lambda values: ""  # nor to a call
    fraction: Callable[[Any], float | None] = lambda plan: None  # of the peak, where it is known


# ---- what a pass costs, in multiply-adds of vectors, for one group of one image


class Sizes(NamedTuple):
    """A pass: channels of a group that are read and written, the plane that is written, products of one value of it."""

    source: int
    target: int
    height: int
    width: int
    products: float


def sizes_of(plan, backward=False):
    """Return the sizes of an output or, with `backward`, of one phase of an input gradient."""
    (FN, own, FH, FW), groups = plan.filters, plan.groups
    if backward:
        (_, height, width), (sh, sw, *_) = plan.image, plan.steps
        return Sizes(FN // groups, own, -(-height // sh), -(-width // sw), FN // groups * FH * FW / (sh * sw))
    return Sizes(own, FN // groups, *plan.outputs[1:], float(own * FH * FW))


def products_of(plan, backward=False):
    """Return the least that a pass can cost."""
    sizes = sizes_of(plan, backward)
    return sizes.products * sizes.target * sizes.height * sizes.width / plan.lanes


def channel_cost(plan, backward=False, transposing=None):
    """Return what lanes of channels cost."""
    sizes = sizes_of(plan, backward)
    each = sizes.products + (TRANSPOSING if transposing is None else transposing)
    return each * -(-sizes.target // plan.lanes) * (sizes.height * sizes.width)


def row_cost(plan, backward=False):
    """Return what lanes of pixels cost for filters of one tap, over planes read as one row."""
    sizes = sizes_of(plan, backward)
    vectors = -(-sizes.height * sizes.width // plan.lanes)
    product = ROW_PRODUCT if vectors > 1 else ROW_SINGLE
    return (product * sizes.products + ROW_STORE) * vectors * sizes.target


def pixel_cost(plan, backward=False, weights=False):
    """Return what lanes of pixels cost."""
    sizes = sizes_of(plan, backward)
    sh, sw, _, _, _, dw = plan.steps
    height, width, copies = sizes.height, sizes.width, sizes.source
    if not backward:
        copies *= sh * sw * PIXEL_STRIDES.get(sw, PIXEL_STRIDE)
    vectors = height * -(-width // plan.lanes)
    if not weights:  # a plane may be one long row, with gaps
        gap = (plan.filters[3] - 1) * dw // sw
        vectors = min(vectors, -(-((height - 1) * (width + gap) + width) // plan.lanes))
    each = PIXEL_PRODUCT * sizes.products + PIXEL_STORE + PIXEL_COPY * copies / sizes.target
    return each * vectors * sizes.target


def channel_fraction(which):
    def fraction(plan):
        # The work of real tiles in place of full ones; a weight gradient's outputs are weights, and its taps pixels.
        work, (FN, own, FH, FW) = plan.tile_work(which), plan.filters
        (_, height, width), (_, OH, OW) = plan.image, plan.outputs
        products, channels, area = own * FH * FW, FN // plan.groups, OH * OW
        if which == "input_gradient":
            products = channels * FH * FW / (plan.steps[0] * plan.steps[1])
            channels, area = own, height * width
        vectors = -(-channels // plan.lanes)
        work *= area if which == "weight_gradient" else products
        return products * channels * area / plan.lanes / (work + TRANSPOSING * vectors * area)

    return fraction


def pixel_fraction(**which):
    return lambda plan: products_of(plan, which.get("backward", False)) / pixel_cost(plan, **which)


def scatter_fraction(plan):
    filters = plan.filters[0] // plan.groups
    return filters / (SCATTER_PRODUCT * filters + SCATTER_ADD)


# ---- when an algorithm is preferred


def depthwise_preferred(plan):
    """Return the reason for depthwise outputs, or None: many filters of a single channel fill vectors of channels."""
    fills = plan.groups == 1 and plan.filters[0] * plan.itemsize >= kernels.conv.VECTOR_BYTES
    return None if plan.depthwise_refused or fills else Reason("each channel by itself, read where it is")


def pixels_preferred(backward=False, weights=False):
    """Return the rule by which a pass has lanes of pixels: always if depthwise, else by the lanes that stay empty."""

    def preferred(plan):
        FN, own, FH, FW = plan.filters
        if own == 1 < plan.groups:
            return Reason("depthwise: a vector of channels would hold a single filter")
        if FH * FW == 1:  # a product of matrices, where nothing pays for a copy
            faster = plan.one_row and row_cost(plan, backward) < channel_cost(plan, backward, ROW_TRANSPOSING)
            if faster and not weights:
                return Reason("a product of matrices over planes read as one row, which are not transposed")
            return None
        sums = FN * (own * FH * FW + 1) * kernels.conv.VECTOR_BYTES
        if weights and sums > kernels.conv.GRADIENT_BYTES:
            return None
        target = own if backward else FN // plan.groups
        if pixel_cost(plan, backward, weights) < channel_cost(plan, backward):
            return Reason(f"{target} channels would leave lanes of their vectors empty")
        return None

    return preferred


def scatter_preferred(plan):
    FN, own, FH, FW = plan.filters
    few = own <= SCATTER_CHANNELS and FN // plan.groups >= SCATTER_FILTERS * own
    if few and FH * FW > 1 and max(plan.steps[:2]) <= SCATTER_STRIDE:
        return Reason(f"few channels, {own}, from many filters")
    # Each of its products is one of the formula's: no infinite weight meets a zero beside dout.
    return Reason("where a weight is not finite", lambda values: not kernels.conv.finite(values.W))


def list_worth(plan):
    """Whether there are channels enough for a list, and all that it is about stays in the cache."""
    return (
        not plan.list_refused
        and plan.filters[1] * plan.itemsize >= LIST_CHANNEL_BYTES
        and plan.list_bytes <= LIST_IMAGE_BYTES
        and plan.filter_bytes <= LIST_FILTER_BYTES
    )


def list_preferred(plan):
    return Reason(f"where under {LIST_PERCENT}% of dout are not 0", Values.few) if list_worth(plan) else None


def windows_preferred(plan):
    """A register of taps takes about the time of all values of a cache line, where every output counts."""
    if plan.windows_refused:
        return None
    conv = kernels.conv
    taps = plan.filters[3] * plan.itemsize  # bytes of a row
    cost = -(-taps // conv.WINDOW_BYTES)

    def few(values):
        return conv.nonzero_fraction(values.dout) * cost * conv.CACHE_LINE < taps and conv.finite(values.x)

    return Reason(f"where under {taps / cost / conv.CACHE_LINE:.0%} of dout are not 0", few)


def pooled_windows_preferred(plan):
    if plan.windows_refused:
        return None
    return Reason("where x needs no gradient", lambda values: not values.input_gradient)


def pooled_list_preferred(plan):
    return Reason("only maxima have a gradient, a quarter of the outputs") if list_worth(plan) else None


# ---- when one does not apply


def infinite(values):
    conv = kernels.conv
    return "" if conv.finite(values.x) and conv.finite(values.W) else "x and W must be finite"


def needs_input(values):
    return "it gives the gradients of parameters alone" if values.input_gradient else ""


# ---- how one is run. Through `kernels.conv`, where a test may put another level's module


def run_list(plan, dout, x, W, dx, dW, db, threads):
    kernels.conv.listed_gradients(plan, dout, None, None, x, W, dW, db, dx, threads)


def run_windows(plan, dout, x, W, dx, dW, db, threads):
    kernels.conv.windows_weight_gradient(plan, dout, None, None, x, dW, db, threads)


def run_pooled_list(plan, dout, out, argmax, x, W, dx, dW, db, threads):
    kernels.conv.listed_gradients(plan, dout, out, argmax, x, W, dW, db, dx, threads)


def run_pooled_windows(plan, dout, out, argmax, x, W, dx, dW, db, threads):
    kernels.conv.windows_weight_gradient(plan, dout, out, argmax, x, dW, db, threads)


def run_pooled_output(plan, x, W, b, out, argmax, threads):
    kernels.conv.channels_pooled_output(plan, x, W, b, out, argmax, threads)


def input_kernel(name):
    """Return how a kernel of input gradients is run; `b` is a transposed convolution's bias."""
    return lambda plan, dout, x, W, dx, dW, db, threads, b=None: getattr(kernels.conv, name)(
        plan, dout, W, b, dx, threads
    )


def weight_kernel(name):
    return lambda plan, dout, x, W, dx, dW, db, threads: getattr(kernels.conv, name)(plan, dout, x, dW, db, threads)


# ---- the tables

OUTPUT = (
    Algorithm(
        "depthwise",
        run=lambda plan, x, W, b, out, threads: kernels.conv.depthwise_output(plan, x, W, b, out, threads),
        preferred=depthwise_preferred,
        refused=lambda plan: plan.depthwise_refused,
    ),
    Algorithm(
        "pixels",
        run=lambda plan, x, W, b, out, threads: kernels.conv.pixels_output(plan, x, W, b, out, threads),
        preferred=pixels_preferred(),
        fraction=pixel_fraction(),
    ),
    Algorithm(
        "channels",
        run=lambda plan, x, W, b, out, threads: kernels.conv.channels_output(plan, x, W, b, out, threads),
        fraction=channel_fraction("output"),
    ),
)
POOLED_OUTPUT = (
    Algorithm(
        "channels",
        run=run_pooled_output,
        fraction=channel_fraction("pooled_output"),
    ),
)
TRANSPOSED_OUTPUT = (
    Algorithm(
        "scattered",
        run=input_kernel("scattered_input_gradient"),
        preferred=scatter_preferred,
        fraction=scatter_fraction,
    ),
    Algorithm(
        "pixels",
        run=input_kernel("pixels_input_gradient"),
        preferred=pixels_preferred(backward=True),
        fraction=pixel_fraction(backward=True),
    ),
    Algorithm(
        "channels",
        run=input_kernel("channels_input_gradient"),
        fraction=channel_fraction("input_gradient"),
    ),
)
LISTED = Algorithm(
    "listed",
    run=run_list,
    preferred=list_preferred,
    refused=lambda plan: plan.list_refused,
    refused_values=infinite,
)
PIXEL_WEIGHTS, CHANNEL_WEIGHTS = TRANSPOSED_WEIGHT_GRADIENT = (
    Algorithm(
        "pixels",
        run=weight_kernel("pixels_weight_gradient"),
        preferred=pixels_preferred(weights=True),
        fraction=pixel_fraction(weights=True),
    ),
    Algorithm(
        "channels",
        run=weight_kernel("channels_weight_gradient"),
        fraction=channel_fraction("weight_gradient"),
    ),
)
INPUT_GRADIENT = (LISTED, *TRANSPOSED_OUTPUT)
WEIGHT_GRADIENT = (
    LISTED,
    PIXEL_WEIGHTS,
    Algorithm(
        "windows",
        run=run_windows,
        preferred=windows_preferred,
        refused=lambda plan: plan.windows_refused,
        refused_values=infinite,
    ),
    CHANNEL_WEIGHTS,
)
POOLED_GRADIENTS = (
    Algorithm(
        "windows",
        run=run_pooled_windows,
        preferred=pooled_windows_preferred,
        refused=lambda plan: plan.windows_refused,
        refused_values=needs_input,
    ),
    Algorithm(
        "listed",
        run=run_pooled_list,
        preferred=pooled_list_preferred,
        refused=lambda plan: plan.list_refused,
    ),
    # The gradient of the convolution's own output, and from there the algorithms of the other tables.
    Algorithm("unpooled", run=None),
)
TABLES = {
    "output": OUTPUT,
    "pooled_output": POOLED_OUTPUT,
    "input_gradient": INPUT_GRADIENT,
    "weight_gradient": WEIGHT_GRADIENT,
    "pooled_gradients": POOLED_GRADIENTS,
    "transposed_output": TRANSPOSED_OUTPUT,
    "transposed_weight_gradient": TRANSPOSED_WEIGHT_GRADIENT,
}


def names(which):
    """Return the names of the algorithms of a pass."""
    return tuple(algorithm.name for algorithm in TABLES[which])


def candidates(plan, which):
    """Return the rows that may be taken, and why: up to the first that is preferred whatever the values are."""
    found = []
    for algorithm in TABLES[which]:
        reason = algorithm.preferred(plan)
        if reason is not None:
            found.append((algorithm, reason))
            if reason.when is None:
                break
    plan.choices[which] = found  # for all calls of this geometry
    return found


def choose(plan, which, name=None, argument="algorithm", values=None):
    """Return the row of a pass: that which the caller's argument names, if it applies, or the first preferred one."""
    if name is not None:
        return named(plan, which, name, argument, values)
    for algorithm, reason in plan.choices.get(which) or candidates(plan, which):
        if reason.when is None or reason.when(values):
            return algorithm  # the last row always is


def named(plan, which, name, argument, values=None):
    """Return the row that an argument names; a ValueError says why it does not apply, and which ones do."""
    applying, why = [], ""
    asked = name if isinstance(name, str) else None
    for algorithm in TABLES[which]:
        refused = algorithm.refused(plan) or (algorithm.refused_values(values) if values is not None else "")
        if algorithm.name != asked:
            applying += [] if refused else [repr(algorithm.name)]
        elif not refused:
            return algorithm
        else:
            why = f" ({refused})"
    raise ValueError(f"{argument} must be one of {', '.join(applying)} here, or None, got {name!r}{why}")
