"""Direct convolution: output, input gradient, weight and bias gradient."""

#     out[n, f, y, z] = b[f] + sum over c, i, j of W[f, c, i, j] * x[n, c, y*sh - pt + i*dh, z*sw - pl + j*dw]
#
# This module is the face of the room: the `Plan` of a convolution, and one function for each algorithm and pass, which
# `cconv/functional/algorithms.py` chooses between. README.md beside this file says what each other file is.
#
# Order of additions: an output is one chain over (c, i, j) in that order, then the bias, by every algorithm. A weight
# gradient is one chain over the pixels of a strip (or, with lanes of pixels, one for each lane over those of a plane),
# strips and images are added in order, and sets of images (their number depends on the shapes alone) at the end. From a
# list, gradients are chains in its order (in a first layer's, of every second value), so that zeros in dout may move
# their last bits. An input gradient that is scattered is one chain over f for each tap; these are added over i, as the
# vectors of pixels follow each other, and then over j. Neither the batch nor the number of threads changes a bit of an
# output.
#
# Edge cases: padding is zeros, in a copy or by leaving out the taps that lie there; a negative padding of the input
# gradient's pass (pad beyond the filter) starts inside dout; an empty batch leaves the output empty and the weight
# gradient 0; input pixels that no window reads get 0.
#
# Of the arguments: `plan` is that of the convolution whose image is x, or in a transposed convolution its output. x is
# (N, C, H, W), W (FN, C / groups, FH, FW), dout and out (N, FN, OH, OW); biases and what is marked so may be None.

cimport cython
cimport numpy as cnp
from libc.stdint cimport uint8_t

from cconv.kernels.conv.channels cimport ChannelJob, pack_filters, packed_values, run_channels
from cconv.kernels.conv.depthwise cimport DepthJob, run_depthwise
from cconv.kernels.conv.describe cimport describe_channels, describe_pixels, describe_weights, describe_windows
from cconv.kernels.conv.finish cimport Finish
from cconv.kernels.conv.list cimport ListJob, run_list
from cconv.kernels.conv.pixels cimport PixelJob, PixelWeightJob, flip_filters, run_pixel_weights, run_pixels
from cconv.kernels.conv.plan cimport (
    ALIGNMENT, CACHE_LINE as LINE, GRADIENT_BYTES as BYTES, WINDOW_BYTES as TAP_BYTES, ChannelPlan, DepthPlan, Geometry,
    ListPlan, PixelPlan, ScatterPlan, WeightPlan, WindowPlan, addressable, as_one_row, depthwise_refused, is_one_row,
    list_refused, list_values, make_channels, make_depthwise, make_list, make_pixels, make_scatter, make_weights,
    make_windows, tile_width, weight_scratch, windows_refused
)
from cconv.kernels.conv.scatter cimport ScatterJob, run_scatter
from cconv.kernels.conv.weights cimport WeightJob, run_weights
from cconv.kernels.conv.windows cimport WindowJob, run_windows
from cconv.kernels.runtime.arrays cimport data
from cconv.kernels.runtime.calls cimport Call
from cconv.kernels.runtime.division cimport ceil_div, round_up
from cconv.kernels.runtime.compiler cimport PLANS_CHECKED
from cconv.kernels.runtime.denormals cimport cconv_ftz_on, cconv_ftz_restore
from cconv.kernels.vector.vector cimport VECTOR_BYTES as VECTOR
from cconv.kernels.vector.zeros cimport all_finite, fraction_nonzero

import math

from cconv.kernels.runtime._memory import empty

cnp.import_array()

if PLANS_CHECKED:
    from cconv.kernels.plans import check

# What the choice of an algorithm depends on, in bytes.
CACHE_LINE = LINE
VECTOR_BYTES = VECTOR
WINDOW_BYTES = TAP_BYTES  # of a register of taps
GRADIENT_BYTES = BYTES  # for the sums of sets of images


cdef enum Kind:
    CHANNEL_OUTPUT, CHANNEL_POOLED, CHANNEL_INPUT, CHANNEL_WEIGHTS, PIXEL_OUTPUT, PIXEL_ROW_OUTPUT, PIXEL_INPUT,
    DEPTHWISE, SCATTER, WINDOW, POOLED_WINDOW, LIST, POOLED_LIST

# Which plan an algorithm takes for a pass.
cdef dict KIND_OF = {
    ("output", "channels"): CHANNEL_OUTPUT,
    ("output", "pixels"): PIXEL_OUTPUT,  # or PIXEL_ROW_OUTPUT
    ("output", "depthwise"): DEPTHWISE,
    ("pooled_output", "channels"): CHANNEL_POOLED,
    ("input_gradient", "channels"): CHANNEL_INPUT,
    ("input_gradient", "pixels"): PIXEL_INPUT,
    ("input_gradient", "scattered"): SCATTER,
    ("input_gradient", "listed"): LIST,
    ("weight_gradient", "channels"): CHANNEL_WEIGHTS,
    ("weight_gradient", "pixels"): PIXEL_OUTPUT,
    ("weight_gradient", "windows"): WINDOW,
    ("weight_gradient", "listed"): LIST,
    ("pooled_gradients", "windows"): POOLED_WINDOW,
    ("pooled_gradients", "listed"): POOLED_LIST,
}


@cython.final
cdef class Tables:
    """A struct of plan.pxd, and the memory that it and its tables lie in."""

    cdef void* plan
    cdef list owned


@cython.final
cdef class Plan:
    """All that follows from the geometry of a convolution, for images of any number.

    Its attributes never change. What one algorithm needs for one pass is made when that is first asked for.
    """

    cdef Geometry g
    cdef readonly tuple image, filters, outputs, steps
    cdef readonly Py_ssize_t groups, itemsize, lanes
    cdef readonly object multiply_adds  # of one image
    cdef readonly tuple around  # padding that the filters reach, as np.pad takes it; () where there is none
    cdef readonly str windows_refused  # why the weight gradient cannot come from windows, or '',
    cdef readonly str list_refused  # and both gradients from a list
    cdef readonly str depthwise_refused  # why outputs cannot be depthwise ones, or ''
    cdef readonly bint one_row  # whether a plane of an image is one row, to filters of one tap
    cdef readonly double list_bytes  # of an image with its channels last, each in whole lines of the cache,
    cdef readonly object filter_bytes  # and of the filters, likewise
    cdef readonly dict choices  # what has been chosen by this plan; see algorithms.py
    cdef dict made  # the tables of each kind

    def __init__(self, tuple image, tuple filters, tuple outputs, tuple steps, Py_ssize_t groups, Py_ssize_t itemsize):
        cdef Geometry* g = &self.g
        self.image, self.filters, self.outputs, self.steps = image, filters, outputs, steps
        self.groups = g.groups = groups
        self.itemsize = g.itemsize = itemsize
        self.lanes = g.lanes = VECTOR // itemsize
        g.C, g.H, g.W = image[0] // groups, image[1], image[2]
        g.F, g.OH, g.OW = filters[0] // groups, outputs[1], outputs[2]
        g.FH, g.FW = filters[2:]
        g.sh, g.sw, g.pt, g.pl, g.dh, g.dw = steps
        self.multiply_adds = math.prod(outputs) * math.prod(filters[1:])
        bottom = max((g.OH - 1) * g.sh + (g.FH - 1) * g.dh + 1 - g.pt - g.H, 0)
        right = max((g.OW - 1) * g.sw + (g.FW - 1) * g.dw + 1 - g.pl - g.W, 0)
        self.around = ((0, 0), (0, 0), (g.pt, bottom), (g.pl, right)) if g.pt or g.pl or bottom or right else ()
        self.windows_refused = windows_refused(g)
        self.list_refused = list_refused(g)
        self.depthwise_refused = depthwise_refused(g)
        self.one_row = is_one_row(g)
        pixel = round_up(g.C * itemsize, LINE)
        self.list_bytes = list_values(g) // round_up(g.C, g.lanes) * pixel
        self.filter_bytes = math.prod(filters) // g.C * pixel
        self.choices = {}
        self.made = {}

    cdef void* find(self, Kind kind) except NULL:
        tables = self.made.get(kind)
        if tables is None:
            # Another thread may have made them meanwhile, and computes with them: the first ones stay.
            tables = self.made.setdefault(kind, self.make(kind))
        return (<Tables>tables).plan

    cdef Kind kind_of(self, str which, str algorithm) except *:
        """Which plan an algorithm takes for a pass of this geometry."""
        if which == "output" and algorithm == "pixels" and self.one_row:
            return PIXEL_ROW_OUTPUT
        return KIND_OF[which, algorithm]

    cdef bint has_row(self, Kind kind) noexcept:
        """Whether the plan of a kind has planes as one row. Weight gradients have rows, whose sums they keep apart."""
        return kind == PIXEL_ROW_OUTPUT or (kind == PIXEL_INPUT and self.one_row)

    cdef Tables make(self, Kind kind):
        cdef Geometry* g = &self.g
        cdef Geometry row
        cdef Tables tables = Tables()
        cdef bytearray memory = bytearray(
            max(sizeof(ChannelPlan), sizeof(WeightPlan), sizeof(WindowPlan), sizeof(ListPlan), sizeof(ScatterPlan),
                sizeof(PixelPlan), sizeof(DepthPlan))
        )
        cdef void* plan = <char*>memory
        if kind in (CHANNEL_OUTPUT, CHANNEL_POOLED, CHANNEL_INPUT):
            owned = make_channels(<ChannelPlan*>plan, g, kind == CHANNEL_POOLED, kind == CHANNEL_INPUT)
        elif kind == CHANNEL_WEIGHTS:
            owned = make_weights(<WeightPlan*>plan, g)
        elif kind in (PIXEL_OUTPUT, PIXEL_ROW_OUTPUT, PIXEL_INPUT):
            row = as_one_row(g) if self.has_row(kind) else g[0]
            owned = make_pixels(<PixelPlan*>plan, &row, kind == PIXEL_INPUT)
        elif kind == DEPTHWISE:
            owned = make_depthwise(<DepthPlan*>plan, g)
        elif kind == SCATTER:
            owned = make_scatter(<ScatterPlan*>plan, g)
        elif kind in (WINDOW, POOLED_WINDOW):
            owned = make_windows(<WindowPlan*>plan, g, 2 if kind == POOLED_WINDOW else 1)
        else:
            owned = make_list(<ListPlan*>plan, g, 2 if kind == POOLED_LIST else 1)
        tables.plan = plan
        tables.owned = [memory, *owned]
        if PLANS_CHECKED:
            for which, algorithm in KIND_OF:
                if self.kind_of(which, algorithm) == kind:
                    self.check(which, algorithm, tables)
        return tables

    cdef int check(self, str which, str algorithm, Tables tables) except -1:
        described = self.described(which, algorithm, tables)
        if described is not None:
            check(described)
        return 0

    def describe(self, str which, str algorithm, /):
        """The plan of a pass by an algorithm as a dict of numbers and arrays, or None where none describes it."""
        if (which, algorithm) not in KIND_OF:
            raise ValueError(f"pass and algorithm must be one of {list(KIND_OF)}, got {(which, algorithm)}")
        kind = self.kind_of(which, algorithm)
        self.find(kind)
        return self.described(which, algorithm, self.made[kind])

    cdef dict described(self, str which, str algorithm, Tables tables):
        cdef Kind kind = self.kind_of(which, algorithm)
        if kind == CHANNEL_WEIGHTS:
            made = describe_weights(<WeightPlan*>tables.plan)
        elif kind in (CHANNEL_OUTPUT, CHANNEL_POOLED, CHANNEL_INPUT):
            made = describe_channels(<ChannelPlan*>tables.plan, kind == CHANNEL_POOLED)
        elif kind in (WINDOW, POOLED_WINDOW):
            made = describe_windows(<WindowPlan*>tables.plan, self.g.lanes)
        elif kind in (PIXEL_OUTPUT, PIXEL_ROW_OUTPUT, PIXEL_INPUT):
            made = describe_pixels(<PixelPlan*>tables.plan, self.g.lanes)
        else:
            return None
        source, target = self.image, self.outputs
        if which == "input_gradient":
            source, target = target, source
        if self.has_row(kind):
            source, target = ((channels, 1, H * W) for channels, H, W in (source, target))
        return {
            "pass": which, "algorithm": algorithm, "source": source, "filters": self.filters, "target": target,
            "steps": self.steps, "groups": self.groups, "itemsize": self.itemsize, **made,
        }

    def tile_work(self, str which, /):
        """How much work a tap of one channel is for all outputs of a group, in multiply-adds of vectors of channels.

        The least that it could be are the products over a vector's lanes. For weight gradients the outputs are weights,
        and a tap is a pixel of dout.
        """
        cdef ChannelPlan* c
        cdef WeightPlan* w
        cdef Py_ssize_t rows
        cdef double work
        if which == "weight_gradient":
            w = <WeightPlan*>self.find(CHANNEL_WEIGHTS)
            rows = w.source.C * w.phase.taps
            tile_width(w.vectors, rows, 0, 0, w.lanes, &work)
            return work
        c = <ChannelPlan*>self.find(KIND_OF[which, "channels"])
        tile_width(c.tiling.vectors, ceil_div(c.tiling.row, c.result.pw), c.source.across, c.result.phases.side,
                   c.tiling.lanes, &work)
        return work * c.result.pw * c.tiling.rows


cdef cnp.ndarray scratch_of(cnp.ndarray like, Py_ssize_t shared, Py_ssize_t private, int num_threads):
    """Memory for what threads share, and behind that for each of them."""
    return empty((addressable(shared + <double>private * num_threads),), like.dtype)


cdef inline void* behind(cnp.ndarray scratch, Py_ssize_t values) noexcept:
    return <char*>cnp.PyArray_DATA(scratch) + values * cnp.PyArray_ITEMSIZE(scratch)


cdef inline bint is_single(cnp.ndarray array) noexcept:
    return cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT


# ---- lanes = channels


cdef object run_channel_pass(Plan plan, Kind kind, cnp.ndarray source, cnp.ndarray W, object b, cnp.ndarray target,
                             object argmax, int num_threads):
    """Run what computes outputs, their maxima with or without `argmax`, or input gradients."""
    cdef ChannelPlan* g = <ChannelPlan*>plan.find(kind)
    cdef Py_ssize_t packed = packed_values(g)
    cdef cnp.ndarray scratch
    cdef ChannelJob job
    cdef void* bias = data(b)
    if target.shape[0] == 0:
        return
    if kind == CHANNEL_POOLED:
        bias = NULL  # it is packed
    scratch = scratch_of(W, packed, g.private, num_threads)
    job = ChannelJob(is_single(W), kind == CHANNEL_POOLED, data(source),
                     Finish(bias, NULL, 0, NULL, False), data(target),
                     <uint8_t*>data(argmax), g, source.shape[0], 1, 1, data(scratch), behind(scratch, packed))
    pack_for(g, is_single(W), data(W), data(b), kind == CHANNEL_POOLED, data(scratch), False)
    with nogil:
        run_channels(&job, num_threads)


cdef bint pack_for(const ChannelPlan* g, bint single, const void* W, const void* bias, bint pooled, void* packed,
                   bint look) noexcept nogil:
    """Pack the filters of a plan, and the bias of pooled outputs; or only look whether they would change."""
    if single:
        return pack_filters(<const float*>W, <const float*>bias, g, pooled, <float*>packed, look)
    return pack_filters(<const double*>W, <const double*>bias, g, pooled, <double*>packed, look)


def channels_output(Plan plan, cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out, int num_threads, /):
    """Write the convolution of x with W, plus b, into out."""
    run_channel_pass(plan, CHANNEL_OUTPUT, x, W, b, out, None, num_threads)


def channels_pooled_output(Plan plan, cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out, object argmax,
                           int num_threads, /):
    """Write the 2 x 2 maxima, stride 2, of relu(convolution) into out, and their positions into argmax unless None."""
    run_channel_pass(plan, CHANNEL_POOLED, x, W, b, out, argmax, num_threads)


def channels_input_gradient(Plan plan, cnp.ndarray dout, cnp.ndarray W, object b, cnp.ndarray dx, int num_threads, /):
    """Write the gradient with respect to the input, plus a bias per input channel or None, into dx."""
    run_channel_pass(plan, CHANNEL_INPUT, dout, W, b, dx, None, num_threads)


def channels_weight_gradient(Plan plan, cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dW, object db, int num_threads, /):
    """Write the gradient with respect to the filters into dW and, unless db is None, that of the bias into db."""
    cdef WeightPlan* g = <WeightPlan*>plan.find(CHANNEL_WEIGHTS)
    cdef Py_ssize_t N = x.shape[0], sets = max(min(g.sets, N), 1), summed = round_up(g.sums * sets, ALIGNMENT)
    cdef Py_ssize_t images = max(min(g.images, N // sets), 1), private
    cdef cnp.ndarray scratch
    cdef WeightJob job
    if N == 0:
        dW[...] = 0
        if db is not None:
            db[...] = 0
        return
    private = weight_scratch(g, images)
    scratch = scratch_of(dW, summed, private, num_threads)
    job = WeightJob(is_single(dW), data(dout), data(x), data(dW), data(db), g, N, sets, images, data(scratch),
                    behind(scratch, summed), private)
    with nogil:
        run_weights(&job, num_threads)


# ---- lanes = pixels


cdef object run_pixel_pass(Plan plan, Kind kind, cnp.ndarray source, cnp.ndarray W, object b, cnp.ndarray target,
                           int num_threads):
    cdef PixelPlan* g = <PixelPlan*>plan.find(kind)
    cdef Py_ssize_t flipped = round_up(W.size, ALIGNMENT) if kind == PIXEL_INPUT else 0
    cdef cnp.ndarray scratch
    cdef PixelJob job
    cdef const void* filters = data(W)
    cdef const void* read = filters
    if target.size == 0:
        return
    scratch = scratch_of(W, flipped, g.private, num_threads)
    if flipped > 0:
        read = data(scratch)
    job = PixelJob(is_single(W), data(source), read,
                   Finish(data(b), NULL, 0, NULL, False), data(target), g, source.shape[0], 1,
                   behind(scratch, flipped))
    with nogil:
        if flipped > 0 and job.single:
            flip_filters(<const float*>filters, g, <float*>job.W)
        elif flipped > 0:
            flip_filters(<const double*>filters, g, <double*>job.W)
        run_pixels(&job, num_threads)


def pixels_output(Plan plan, cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out, int num_threads, /):
    """Write the convolution of x with W, plus b, into out."""
    run_pixel_pass(plan, PIXEL_ROW_OUTPUT if plan.one_row else PIXEL_OUTPUT, x, W, b, out, num_threads)


def pixels_input_gradient(Plan plan, cnp.ndarray dout, cnp.ndarray W, object b, cnp.ndarray dx, int num_threads, /):
    """Write the gradient with respect to the input, plus a bias per input channel or None, into dx."""
    run_pixel_pass(plan, PIXEL_INPUT, dout, W, b, dx, num_threads)


def pixels_weight_gradient(Plan plan, cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dW, object db, int num_threads, /):
    """Write the gradient with respect to the filters into dW and, unless db is None, that of the bias into db."""
    cdef PixelPlan* g = <PixelPlan*>plan.find(PIXEL_OUTPUT)
    cdef Py_ssize_t N = x.shape[0], sets = max(min(g.sets, N), 1), summed = round_up(g.sums * sets, ALIGNMENT)
    cdef cnp.ndarray scratch = scratch_of(dW, summed, g.private, num_threads)
    cdef PixelWeightJob job = PixelWeightJob(is_single(dW), data(dout), data(x), data(dW), data(db), g, N, g.blocks,
                                             sets, data(scratch), behind(scratch, summed))
    with nogil:
        run_pixel_weights(&job, num_threads)


# ---- depthwise


def depthwise_output(Plan plan, cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out, int num_threads, /):
    """Write the convolution of x with W, plus b, into out."""
    cdef DepthPlan* g = <DepthPlan*>plan.find(DEPTHWISE)
    cdef cnp.ndarray scratch
    cdef DepthJob job
    if out.size == 0:
        return
    scratch = scratch_of(W, 0, g.private, num_threads)
    job = DepthJob(is_single(W), data(x), data(W), Finish(data(b), NULL, 0, NULL, False), data(out), g, x.shape[0],
                   data(scratch))
    with nogil:
        run_depthwise(&job, num_threads)


# ---- outputs prepared for many batches, with what follows


cdef struct Output:
    Kind kind
    void* g
    bint single
    void* filters  # packed, for lanes of channels
    const void* bias
    const void* norm
    Py_ssize_t channels
    const void* W  # what the filters were packed from,
    const void* packed_bias  # and the bias of pooled outputs
    Py_ssize_t weights
    int finite  # whether all weights were finite, or -1 where that does not matter


cdef inline bint values_finite(bint single, const void* values, Py_ssize_t count) noexcept nogil:
    return all_finite(<const float*>values, count) if single else all_finite(<const double*>values, count)


cdef bint output_changed(void* given) noexcept nogil:
    cdef Output* output = <Output*>given
    if output.kind in (CHANNEL_OUTPUT, CHANNEL_POOLED):
        return pack_for(<ChannelPlan*>output.g, output.single, output.W, output.packed_bias,
                        output.kind == CHANNEL_POOLED, output.filters, True)
    return output.finite >= 0 and values_finite(output.single, output.W, output.weights) != output.finite


cdef void run_output(void* given, const void* x, const void* branch, bint relu, void* out, Py_ssize_t N, void* scratch,
                     int num_threads) noexcept nogil:
    cdef Output* output = <Output*>given
    cdef Finish after = Finish(output.bias, output.norm, output.channels, branch, relu)
    cdef ChannelJob channels
    cdef PixelJob pixels
    cdef DepthJob depth
    if output.kind in (CHANNEL_OUTPUT, CHANNEL_POOLED):
        channels = ChannelJob(output.single, output.kind == CHANNEL_POOLED, x, after, out, NULL,
                              <ChannelPlan*>output.g, N, 1, 1, output.filters, scratch)
        run_channels(&channels, num_threads)
    elif output.kind == DEPTHWISE:
        depth = DepthJob(output.single, x, output.filters, after, out, <DepthPlan*>output.g, N, scratch)
        run_depthwise(&depth, num_threads)
    else:
        pixels = PixelJob(output.single, x, output.filters, after, out, <PixelPlan*>output.g, N, 1, scratch)
        run_pixels(&pixels, num_threads)


@cython.final
cdef class Prepared:
    """An output pass with its filters packed: what does not change from one batch to the next.

    `algorithm` is one of those of the pass; `pooled` has relu and 2 x 2 maxima follow. `norm` is None or (3, FN): what
    is subtracted from each channel, multiplied and added. W, b and norm may change in place: `pack` takes that in.
    `finite` is whether all weights are finite, or None where that does not matter.
    """

    cdef Plan plan
    cdef cnp.ndarray W
    cdef object b
    cdef object norm
    cdef cnp.ndarray packed
    cdef Output output
    cdef Call shown

    def __init__(self, Plan plan, str algorithm, cnp.ndarray W, object b, object norm, bint pooled, object finite, /):
        cdef Kind kind = plan.kind_of("pooled_output" if pooled else "output", algorithm)
        cdef void* g = plan.find(kind)
        cdef Py_ssize_t private, itemsize = plan.itemsize
        cdef Py_ssize_t area = plan.g.OH // 2 * (plan.g.OW // 2) if pooled else plan.g.OH * plan.g.OW
        self.plan, self.W, self.b, self.norm, self.packed = plan, W, b, norm, W
        if kind in (CHANNEL_OUTPUT, CHANNEL_POOLED):
            private = (<ChannelPlan*>g).private
            # Vectors that begin within a line of the cache lie in two: from this size on, arrays begin with a line.
            self.packed = empty((max(packed_values(<ChannelPlan*>g), 4096 // itemsize),), W.dtype)
        elif kind == DEPTHWISE:
            private = (<DepthPlan*>g).private
        else:
            private = (<PixelPlan*>g).private
        self.output = Output(kind, g, is_single(W), data(self.packed), data(b), data(norm), plan.g.groups * plan.g.F,
                             data(W), NULL, W.size, -1 if finite is None else finite)
        if pooled:
            self.output.bias, self.output.packed_bias = NULL, self.output.bias
        self.shown = Call(run_output, output_changed, &self.output, private * itemsize,
                          plan.g.groups * plan.g.C * plan.g.H * plan.g.W * itemsize,
                          plan.g.groups * plan.g.F * area * itemsize)
        self.pack()

    @property
    def call(self):
        """Where its `Call` is, for programs (`cconv.kernels.program`)."""
        return <size_t>&self.shown

    def pack(self):
        """Pack the filters, where lanes are channels."""
        if self.output.kind in (CHANNEL_OUTPUT, CHANNEL_POOLED):
            pack_for(<ChannelPlan*>self.output.g, self.output.single, self.output.W, self.output.packed_bias,
                     self.output.kind == CHANNEL_POOLED, self.output.filters, False)

    def __call__(self, cnp.ndarray x, object branch, bint relu, cnp.ndarray out, int num_threads, /):
        """Write the outputs of a batch into out; `branch`, of its shape, is added unless None, and relu applied."""
        cdef cnp.ndarray scratch
        cdef const void* source = data(x)
        cdef const void* added = data(branch)
        cdef void* target = data(out)
        cdef void* work
        if out.size == 0:
            return
        scratch = scratch_of(self.W, 0, self.shown.scratch // self.plan.itemsize, num_threads)
        work = data(scratch)
        with nogil:
            run_output(&self.output, source, added, relu, target, x.shape[0], work, num_threads)


# ---- from dout to the input, and over listed outputs


def scattered_input_gradient(Plan plan, cnp.ndarray dout, cnp.ndarray W, object b, cnp.ndarray dx, int num_threads, /):
    """Write the gradient with respect to the input, plus a bias per input channel or None, into dx."""
    cdef ScatterPlan* g = <ScatterPlan*>plan.find(SCATTER)
    cdef Py_ssize_t packed = round_up(W.size, ALIGNMENT)
    cdef cnp.ndarray scratch
    cdef ScatterJob job
    if dx.size == 0:
        return
    scratch = scratch_of(W, packed, g.private, num_threads)
    job = ScatterJob(is_single(W), data(dout), data(W), data(b), data(dx), g, dx.shape[0], data(scratch),
                     behind(scratch, packed))
    with nogil:
        run_scatter(&job, num_threads)


def windows_weight_gradient(Plan plan, cnp.ndarray dout, object y, object argmax, cnp.ndarray x, cnp.ndarray dW,
                            object db, int num_threads, /):
    """Write the gradient with respect to the filters into dW and, unless db is None, that of the bias into db.

    dout is the gradient of y, the maxima of `channels_pooled_output`, and argmax their positions; without y, it is that
    of the convolution's own output. Only these maxima, or the values of dout that are not 0, are visited.
    """
    cdef WindowPlan* g = <WindowPlan*>plan.find(WINDOW if y is None else POOLED_WINDOW)
    cdef Py_ssize_t N = x.shape[0], sets = max(min(g.sets, N), 1), summed = round_up(g.sums * sets, ALIGNMENT)
    cdef cnp.ndarray scratch = scratch_of(dW, summed, g.private, num_threads)
    cdef WindowJob job = WindowJob(is_single(dW), data(dout), data(y), <uint8_t*>data(argmax), data(x), data(dW),
                                   data(db), g, N, sets, data(scratch), behind(scratch, summed))
    with nogil:
        run_windows(&job, num_threads)


def listed_gradients(Plan plan, cnp.ndarray dout, object y, object argmax, cnp.ndarray x, cnp.ndarray W, object dW,
                     object db, object dx, int num_threads, /):
    """Write the gradients into dW, db and dx, of which any may be None.

    dout, y and argmax are what `windows_weight_gradient` takes.
    """
    cdef ListPlan* g = <ListPlan*>plan.find(LIST if y is None else POOLED_LIST)
    cdef Py_ssize_t N = x.shape[0], sets = max(min(g.sets, N), 1), total = round_up(g.F * g.size * sets, ALIGNMENT)
    cdef cnp.ndarray scratch = scratch_of(W, g.weights + total, g.private, num_threads)
    cdef ListJob job = ListJob(is_single(W), data(dout), data(y), <uint8_t*>data(argmax), data(x), data(W), data(dW),
                               data(db), data(dx), g, N, sets, data(scratch), behind(scratch, g.weights),
                               behind(scratch, g.weights + total))
    with nogil:
        run_list(&job, num_threads)


# ---- what is looked at before one of these is chosen


def finite(cnp.ndarray array, /):
    """Whether no value is infinite or not a number."""
    cdef unsigned state = cconv_ftz_on()
    cdef bint found
    found = values_finite(is_single(array), data(array), cnp.PyArray_SIZE(array))
    cconv_ftz_restore(state)
    return found


def nonzero_fraction(cnp.ndarray dout, /):
    """The fraction of values that are not 0, as a few channels of a few images show it."""
    cdef Py_ssize_t lines = dout.shape[0] * dout.shape[1], area = dout.shape[2] * dout.shape[3]
    cdef unsigned state
    cdef double found
    if lines * area == 0:
        return 1.0
    state = cconv_ftz_on()
    if is_single(dout):
        found = fraction_nonzero(<const float*>cnp.PyArray_DATA(dout), lines, area, area)
    else:
        found = fraction_nonzero(<const double*>cnp.PyArray_DATA(dout), lines, area, area)
    cconv_ftz_restore(state)
    return found
