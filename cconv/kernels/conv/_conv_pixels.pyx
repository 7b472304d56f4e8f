"""Convolution with lanes = pixels, and its gradients: depthwise, and in groups of few filters."""

#   out[n, f, y, z] = b[f] + sum over c, i, j of W[f, c, i, j] * x[n, c, y*sh - pt + i*dh, z*sw - pl + j*dw]
#
# where c runs over the channels of f's group. `_conv.pyx` lays the filters of a group along a vector's lanes, which a
# group of one or two leaves empty. Here the lanes are neighbouring pixels of one output channel (conv/pixels.h);
# `suits` is the rule by which a pass is computed here or there.
#
# One image's channels of one group are a piece of work. They are copied into a scratch with their padding, columns and
# rows split by their phase modulo the stride. Then output pixel (y, z) is at y * pitch + z in all of them, and tap (i,
# j) lies a fixed distance further. Vectors are laid over the outputs in one of two ways:
#
#   in rows    each row is cut into vectors, the last of which begins earlier where the row ends; they are stored where
#              they belong. An image without padding or column stride is read where it is.
#   flat       a plane is one long row with a gap of (FW - 1) * dw / sw outputs, computed and dropped, between its rows;
#              vectors go into a scratch, of which rows are copied. Better for rows that do not fill their vectors.
#
# The input gradient is the same with dout for the image and the filters' taps turned; with a stride it is one pass for
# each phase (y + pt) mod sh, (z + pl) mod sw of the input, all flat, whose rows are put together at the end.
#
# The weight gradient multiplies the pixels under each tap with dout, lane by lane, and adds the lanes at the very end.
#
# Order of additions: an output is one chain over (c, i, j) in that order, then the bias, with the bits of _conv.pyx. A
# weight gradient is one chain per lane over the pixels of a plane; planes are added in the order of the images, sets of
# images (their number depends on the shapes alone) at the end, and then the lanes.
#
# Edge cases: padding reads zeros; an empty batch leaves the output empty and the weight gradient 0; input pixels that
# no window reads get 0 (or their bias, in a transposed convolution); NaN and infinity touch only outputs and weights
# that read them.

cimport numpy as cnp
from cython cimport floating
from libc.string cimport memcpy, memset

from cconv.kernels.conv.finish cimport Finish, finish_plane
from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.runtime.arrays cimport copy_of, data, sizes
from cconv.kernels.runtime.calls cimport Call
from cconv.kernels.runtime.division cimport ceil_div, deal, floor_div, quotient, round_up
from cconv.kernels.vector.sums cimport sum_add, sum_parts, sum_row
from cconv.kernels.vector.tile cimport PLANS_CHECKED, TILE_BYTES

import numpy as np

from cconv.kernels.runtime._memory import empty

cnp.import_array()

if PLANS_CHECKED:
    from cconv.kernels.plans import check_pixels

cdef extern from "conv/pixels.h" nogil:
    ctypedef struct Split "split_geometry":
        Py_ssize_t H, W, sh, sw, top, left, rows, pitch
    const int PIXELS_F
    int pixels_side(int F) noexcept
    void split_float(const float*, const float*, const Split*, float*) noexcept
    void split_double(const double*, const double*, const Split*, double*) noexcept
    void merge_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                     float*) noexcept
    void merge_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                      double*) noexcept
    void filter_pixels_float(int, int, const float*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                             const Py_ssize_t*, const float*, Py_ssize_t, const float*, float*, Py_ssize_t,
                             const Py_ssize_t*) noexcept
    void filter_pixels_double(int, int, const double*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                              const Py_ssize_t*, const double*, Py_ssize_t, const double*, double*, Py_ssize_t,
                              const Py_ssize_t*) noexcept
    void weigh_pixels_float(int, int, const float*, const Py_ssize_t*, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t,
                            Py_ssize_t, float*, Py_ssize_t) noexcept
    void weigh_pixels_double(int, int, const double*, const Py_ssize_t*, Py_ssize_t, const double*, Py_ssize_t,
                             Py_ssize_t, Py_ssize_t, double*, Py_ssize_t) noexcept
    float sum_lanes_float(const float*) noexcept
    double sum_lanes_double(const double*) noexcept

cdef extern from "conv/depthwise.h" nogil:
    const int DEPTH_COLUMNS
    ctypedef struct Depth "depth_geometry":
        Py_ssize_t H, W, OH, OW, FH, FW, sh, sw, pt, pl, dh
    void depthwise_float(const Depth*, const float*, const float*, const float*, const Finish*, Py_ssize_t,
                         const float**, float*, Py_ssize_t) noexcept
    void depthwise_double(const Depth*, const double*, const double*, const double*, const Finish*, Py_ssize_t,
                          const double**, double*, Py_ssize_t) noexcept

cdef enum:
    ALIGNMENT = 64
    ONE_TAP_CHANNELS = 64  # the most for which an output of one tap is faster here than in _conv.pyx,
    ONE_TAP_VECTORS = 8  # of so many vectors of pixels or more: fits
    ITEMS = 16  # pieces of work a weight gradient is cut into, where it can be
    SETS_BYTES = 4 << 20  # memory for the sums of sets of images

cdef struct Pass:
    Py_ssize_t vectors
    Py_ssize_t* where  # where each vector begins in the split image,
    Py_ssize_t* to  # and in the output
    Py_ssize_t taps
    Py_ssize_t* table  # how far each tap lies from there
    Py_ssize_t* tap  # which value of the filter it is
    Py_ssize_t weights  # where its packed weights begin

cdef struct Gather:
    Py_ssize_t groups, C, F  # source channels and output channels of one group
    Split split
    bint in_place, in_rows
    Py_ssize_t plane, row_step  # values of a split channel, and from one row of outputs to the next
    Py_ssize_t H, W, th, tw  # the outputs of one channel, and how many phases they come from
    Py_ssize_t strip  # room for the flat outputs of one phase
    Py_ssize_t passes
    Pass* each
    bint is_depthwise  # whether outputs are those of depthwise.h, which copies nothing
    Depth depth
    Py_ssize_t behind  # values that it reads behind a row; as many as `depth.pl` before
    Py_ssize_t lines, zeros  # values that pointers to the rows take, and a row of zeros

cdef struct GatherJob:
    bint single
    const void* x
    const void* W
    Finish after  # the sums
    void* out
    Gather* g
    Py_ssize_t N
    Py_ssize_t parts  # of the filters of one group of one image, each a piece of work
    void* scratch
    Py_ssize_t private  # values of it for each thread

cdef struct WeightJob:
    bint single
    const void* dout
    const void* x
    void* dW
    void* db  # or NULL
    Gather* g
    const Py_ssize_t* off
    Py_ssize_t N, blocks, sets  # blocks of groups, and sets of images: each block in each set is a piece of work
    void* sums
    void* scratch
    Py_ssize_t private  # values of it for each thread


cdef inline void split(const floating* x, const floating* end, Gather* g, floating* to) noexcept nogil:
    """Copy all channels of one group of one image; x is part of an array that ends at `end`."""
    cdef Py_ssize_t c
    for c in range(g.C):
        if floating is float:
            split_float(x + c * g.split.H * g.split.W, end, &g.split, to + c * g.plane)
        else:
            split_double(x + c * g.split.H * g.split.W, end, &g.split, to + c * g.plane)


cdef inline void merge(const floating* strips, Py_ssize_t step, Gather* g, floating* out) noexcept nogil:
    if floating is float:
        merge_float(strips, step, g.split.pitch, g.th, g.tw, g.H, g.W, out)
    else:
        merge_double(strips, step, g.split.pitch, g.th, g.tw, g.H, g.W, out)


cdef inline void filter_pixels(int F, int P, const floating* image, Pass* p, Py_ssize_t start, Gather* g,
                               const floating* W, const floating* bias, floating* out,
                               Py_ssize_t out_step) noexcept nogil:
    cdef Py_ssize_t W_step = g.C * p.taps
    if floating is float:
        filter_pixels_float(F, P, image, p.where + start, g.C, g.plane, p.taps, p.table, W, W_step, bias, out, out_step,
                            p.to + start)
    else:
        filter_pixels_double(F, P, image, p.where + start, g.C, g.plane, p.taps, p.table, W, W_step, bias, out,
                             out_step, p.to + start)


cdef inline void weigh_pixels(int F, int K, const floating* image, const Py_ssize_t* off, Gather* g,
                              const floating* dout, floating* totals, Py_ssize_t totals_step) noexcept nogil:
    if floating is float:
        weigh_pixels_float(F, K, image, off, g.row_step, dout, g.H * g.W, g.H, g.W, totals, totals_step)
    else:
        weigh_pixels_double(F, K, image, off, g.row_step, dout, g.H * g.W, g.H, g.W, totals, totals_step)


cdef inline floating sum_lanes(const floating* totals) noexcept nogil:
    if floating is float:
        return sum_lanes_float(totals)
    else:
        return sum_lanes_double(totals)


cdef inline void depthwise(const Depth* g, const floating* x, const floating* zeros, const floating* w,
                           const Finish* after, Py_ssize_t c, void* lines, floating* out,
                           Py_ssize_t at) noexcept nogil:
    if floating is float:
        depthwise_float(g, x, zeros, w, after, c, <const float**>lines, out, at)
    else:
        depthwise_double(g, x, zeros, w, after, c, <const double**>lines, out, at)


cdef void pack(const floating* W, floating* to, Gather* g, Py_ssize_t taps) noexcept nogil:
    """Turn filters (source channel, output channel) round and sort their taps by passes."""
    cdef Py_ssize_t s, group, f, c, t
    for s in range(g.passes):
        for group in range(g.groups):
            for f in range(g.F):
                for c in range(g.C):
                    for t in range(g.each[s].taps):
                        to[0] = W[((group * g.C + c) * g.F + f) * taps + g.each[s].tap[t]]
                        to += 1


cdef void filter_channel(const floating* x, const floating* begin, const floating* end, const floating* W,
                         const Finish* after, floating* outs, Py_ssize_t at, Gather* g, Py_ssize_t group,
                         floating* mine) noexcept nogil:
    """Compute a depthwise group of one image, which lies in an array from `begin` to `end`: that may not be left."""
    cdef Py_ssize_t area = g.depth.H * g.depth.W, taps = g.depth.FH * g.depth.FW, f
    cdef const floating* image = x
    cdef void* lines = mine  # pointers first, which are aligned so
    cdef const floating* zeros = <const floating*>mine + g.lines + g.depth.pl
    cdef floating* copied = mine + g.lines + g.zeros + g.depth.pl
    if x - begin < g.depth.pl or end - (x + area) < g.behind:
        memcpy(copied, x, area * sizeof(floating))
        image = copied
    for f in range(g.F):
        depthwise(&g.depth, image, zeros, W + (group * g.F + f) * taps, after, group * g.F + f, lines, outs,
                  at + f * g.depth.OH * g.depth.OW)


cdef void filter_group(const floating* x, const floating* end, const floating* W, const Finish* after, floating* outs,
                       Py_ssize_t at, Gather* g, Py_ssize_t group, Py_ssize_t first, Py_ssize_t last,
                       floating* mine) noexcept nogil:
    """Compute the blocks of filters `first` to `last` of one group of one image, whose outputs begin at `at`."""
    cdef Py_ssize_t area = g.H * g.W, blocks = ceil_div(g.F, PIXELS_F), c = group * g.F, b, f, l, s, q, qi
    cdef int F, P, size = 0, larger = 0
    cdef const floating* image = x
    cdef const floating* bias = <const floating*>after.bias
    cdef bint plain = after.norm == NULL and after.branch == NULL and not after.relu
    cdef floating* strips = mine
    cdef floating* out = outs + at
    cdef Pass* p
    if not g.in_place:
        split(x, end, g, mine)
        image = mine
        strips = mine + round_up(g.C * g.plane, ALIGNMENT) + ALIGNMENT
    if g.in_rows and g.passes == g.each.taps == 1:
        # What a tile reads of all channels stays in the first cache for all filters.
        p = g.each
        q = 0
        for qi in range(deal(p.vectors, pixels_side(<int>ceil_div(g.F, blocks)), &size, &larger)):
            P = size + (qi < larger)
            for b in range(first, last):
                f = quotient(b * g.F, blocks) if b > 0 else 0
                F = (quotient((b + 1) * g.F, blocks) if b + 1 < blocks else g.F) - f
                filter_pixels(F, P, image, p, q, g, W + (c + f) * g.C, NULL if bias == NULL else bias + c + f,
                              out + f * area, area)
            q += P
        if not plain:
            f = quotient(first * g.F, blocks)
            l = quotient(last * g.F, blocks) if last < blocks else g.F
            for f in range(f, l):
                finish_plane(outs, area, after, c + f, at + f * area)
        return
    for b in range(first, last):
        f = quotient(b * g.F, blocks) if b > 0 else 0
        F = (quotient((b + 1) * g.F, blocks) if b + 1 < blocks else g.F) - f
        for s in range(g.passes):
            p = g.each + s
            if p.vectors == 0:
                continue
            q = 0
            for qi in range(deal(p.vectors, pixels_side(F), &size, &larger)):
                P = size + (qi < larger)
                filter_pixels(F, P, image, p, q, g,
                              W + p.weights + (c + f) * g.C * p.taps, NULL if bias == NULL else bias + c + f,
                              out + f * area if g.in_rows else strips + s * F * g.strip,
                              area if g.in_rows else g.strip)
                q += P
        if not g.in_rows:
            for l in range(F):
                merge(strips + l * g.strip, F * g.strip, g, out + (f + l) * area)
        if not plain:  # while they are in the first cache
            for l in range(F):
                finish_plane(outs, area, after, c + f + l, at + (f + l) * area)


cdef void some_parts(const floating* x, const floating* W, floating* out, floating* mine, GatherJob* job,
                     Pieces* pieces, int slot) noexcept nogil:
    cdef Gather* g = job.g
    cdef Py_ssize_t blocks = ceil_div(g.F, PIXELS_F), parts = job.parts, item, image, part, group
    cdef Py_ssize_t size = g.C * g.split.H * g.split.W  # of one group of one image
    mine += slot * job.private
    memset(mine, 0, job.private * sizeof(floating))
    while (item := take_piece(pieces, slot)) >= 0:
        image = quotient(item, parts)
        part = item - image * parts
        group = image - quotient(image, g.groups) * g.groups
        if g.is_depthwise:
            filter_channel(x + image * size, x, x + job.N * g.groups * size, W, &job.after, out,
                           image * g.F * g.H * g.W, g, group, mine)
            continue
        filter_group(x + image * size, x + job.N * g.groups * size, W, &job.after, out, image * g.F * g.H * g.W, g, group,
                     quotient(part * blocks, parts), quotient((part + 1) * blocks, parts), mine)


cdef void gather_parts(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef GatherJob* job = <GatherJob*>given
    if job.single:
        some_parts(<const float*>job.x, <const float*>job.W, <float*>job.out, <float*>job.scratch, job, pieces, slot)
    else:
        some_parts(<const double*>job.x, <const double*>job.W, <double*>job.out, <double*>job.scratch, job, pieces,
                   slot)


cdef void weigh_group(const floating* dout, const floating* x, const floating* end, Gather* g, const Py_ssize_t* off,
                      bint bias, floating* totals, floating* mine) noexcept nogil:
    """Add one image's share in the sums of one group."""
    cdef Py_ssize_t area = g.H * g.W, lanes = TILE_BYTES // <Py_ssize_t>sizeof(floating), K = g.C * g.each.taps, step
    cdef Py_ssize_t blocks = ceil_div(g.F, PIXELS_F), b, f, k, ki
    cdef int F, P, size = 0, larger = 0
    cdef const floating* image = x
    cdef const floating* gradient = dout
    cdef floating* copied = mine
    cdef floating* total
    step = (K + 1) * lanes
    if not g.in_place:
        split(x, end, g, mine)
        image = mine
        copied = mine + round_up(g.C * g.plane, ALIGNMENT) + ALIGNMENT
    if g.W < lanes:
        # Short rows are read a whole vector at a time.
        memcpy(copied, dout, g.F * area * sizeof(floating))
        gradient = copied
    for b in range(blocks):
        f = quotient(b * g.F, blocks) if b > 0 else 0
        F = (quotient((b + 1) * g.F, blocks) if b + 1 < blocks else g.F) - f
        k = 0
        for ki in range(deal(K, pixels_side(F), &size, &larger)):
            P = size + (ki < larger)
            weigh_pixels(F, P, image, off + k, g, gradient + f * area, totals + f * step + k * lanes, step)
            k += P
    if bias:
        for f in range(g.F):
            total = totals + f * step + K * lanes
            sum_add(total, total + 1, sum_row(gradient + f * area, area))


cdef void some_sums(const floating* dout, const floating* x, floating* sums, floating* mine, WeightJob* job,
                    Pieces* pieces, int slot) noexcept nogil:
    cdef Gather* g = job.g
    cdef Py_ssize_t lanes = TILE_BYTES // <Py_ssize_t>sizeof(floating), rows = g.F * (g.C * g.each.taps + 1)
    cdef Py_ssize_t N = job.N, blocks = job.blocks, sets = job.sets, item, first, last, group, m, n
    cdef Py_ssize_t size = g.C * g.split.H * g.split.W  # of one group of one image
    cdef floating* totals
    mine += slot * job.private
    memset(mine, 0, job.private * sizeof(floating))
    while (item := take_piece(pieces, slot)) >= 0:
        m = item // blocks
        first = item % blocks * g.groups // blocks
        last = (item % blocks + 1) * g.groups // blocks
        totals = sums + m * g.groups * rows * lanes
        memset(totals + first * rows * lanes, 0, (last - first) * rows * lanes * sizeof(floating))
        # Neighbouring channels of one image follow each other in memory.
        for n in range(m * N // sets, (m + 1) * N // sets):
            for group in range(first, last):
                weigh_group(dout + (n * g.groups + group) * g.F * g.H * g.W, x + (n * g.groups + group) * size,
                            x + N * g.groups * size, g, job.off, job.db != NULL, totals + group * rows * lanes, mine)


cdef void weigh_sets(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef WeightJob* job = <WeightJob*>given
    if job.single:
        some_sums(<const float*>job.dout, <const float*>job.x, <float*>job.sums, <float*>job.scratch, job, pieces, slot)
    else:
        some_sums(<const double*>job.dout, <const double*>job.x, <double*>job.sums, <double*>job.scratch, job, pieces,
                  slot)


cdef void some_weights(floating* sums, floating* dW, floating* db, WeightJob* job, Pieces* pieces,
                       int slot) noexcept nogil:
    cdef Gather* g = job.g
    cdef Py_ssize_t lanes = TILE_BYTES // <Py_ssize_t>sizeof(floating), K = g.C * g.each.taps, f, m, k
    cdef Py_ssize_t total = g.groups * g.F * (K + 1) * lanes
    cdef floating* totals
    while (f := take_piece(pieces, slot)) >= 0:
        totals = sums + f * (K + 1) * lanes
        for m in range(1, job.sets):
            for k in range(K * lanes):
                totals[k] += totals[m * total + k]
        for k in range(K):
            dW[f * K + k] = sum_lanes(totals + k * lanes)
        if db != NULL:
            db[f] = sum_parts(totals + K * lanes, total, job.sets, 1)


cdef void add_sets(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef WeightJob* job = <WeightJob*>given
    if job.single:
        some_weights(<float*>job.sums, <float*>job.dW, <float*>job.db, job, pieces, slot)
    else:
        some_weights(<double*>job.sums, <double*>job.dW, <double*>job.db, job, pieces, slot)


cdef class Plan:
    """The tables of one geometry: a forward pass (also the weight gradient's) or an input gradient's."""

    cdef Gather g
    cdef object tables
    cdef object each
    cdef Py_ssize_t private  # values of scratch for one thread
    cdef Py_ssize_t itemsize

    def __init__(self, tuple source, tuple filters, tuple target, Py_ssize_t sh, Py_ssize_t sw, Py_ssize_t pt,
                 Py_ssize_t pl, Py_ssize_t dh, Py_ssize_t dw, Py_ssize_t groups, Py_ssize_t itemsize, bint backward):
        cdef Gather* g = &self.g
        cdef Split* place = &g.split
        cdef Py_ssize_t FH = filters[2], FW = filters[3], lanes = TILE_BYTES // itemsize
        cdef Py_ssize_t a, b, i, y, z, k, Y, Z, height, width, across, flat
        cdef Pass* p
        cdef Py_ssize_t* room
        self.itemsize = itemsize
        g.groups = groups
        g.C = source[0] // groups
        g.F = target[0] // groups
        place.H, place.W = source[1], source[2]
        g.H, g.W = target[1], target[2]
        place.sh = place.sw = g.th = g.tw = 1
        if not backward:
            place.sh, place.sw, place.top, place.left = sh, sw, pt, pl
            place.rows = g.H + (FH - 1) * dh // sh
            place.pitch = g.W + (FW - 1) * dw // sw
            if sw == 2:  # a vector's zeros find room behind the last row of each phase
                place.rows += ceil_div(lanes, place.pitch)
        else:
            g.th, g.tw = sh, sw
            place.top = ceil_div(max((FH - 1) * dh - pt, 0), sh)
            place.left = ceil_div(max((FW - 1) * dw - pl, 0), sw)
            place.rows = place.top + (g.H - 1 + pt) // sh + 1
            place.pitch = place.left + (g.W - 1 + pl) // sw + 1
        across = ceil_div(g.W, lanes)
        flat = ceil_div((ceil_div(g.H, g.th) - 1) * place.pitch + ceil_div(g.W, g.tw), lanes)
        # A vector of either kind costs about 2 operations per tap, and a flat one some more to get where it belongs.
        k = 2 * g.C * FH * FW
        g.in_rows = g.tw == 1 and g.W >= lanes and g.H * across * (k + 6) <= g.th * flat * (k + 12)
        g.in_place = (g.in_rows and place.sw == 1 and place.top == 0 and place.left == 0 and place.pitch <= place.W
                      and (place.rows - 1) * place.sh + (FH - 1) * dh % place.sh < place.H)
        g.row_step = place.sh * place.W if g.in_place else place.pitch
        g.plane = place.H * place.W if g.in_place else place.sh * place.sw * place.rows * place.pitch
        g.passes = g.th * g.tw
        self.each = bytearray(g.passes * sizeof(Pass))
        g.each = <Pass*><char*>self.each
        g.strip = 0 if g.in_rows else flat * lanes
        k = g.H * across if g.in_rows else flat
        self.tables = empty((g.passes * 2 * (k + FH * FW),), np.intp)
        room = <Py_ssize_t*>cnp.PyArray_DATA(self.tables)
        i = 0
        for a in range(g.th):
            for b in range(g.tw):
                p = g.each + a * g.tw + b
                p.table = room
                p.tap = room + FH * FW
                p.where = room + 2 * FH * FW
                p.to = p.where + k
                room = p.to + k
                self.lay_taps(p, a, b, filters, sh, sw, pt, pl, dh, dw, backward)
                p.weights = i
                i += groups * g.F * g.C * p.taps
                height = (g.H - a + g.th - 1) // g.th
                width = (g.W - b + g.tw - 1) // g.tw
                p.vectors = 0
                if height <= 0 or width <= 0:
                    continue
                if not g.in_rows:
                    p.vectors = ceil_div((height - 1) * place.pitch + width, lanes)
                    for y in range(p.vectors):
                        p.where[y] = p.to[y] = y * lanes
                    continue
                for Y in range(height):
                    for Z in range(across):
                        z = min(Z * lanes, g.W - lanes)
                        p.where[p.vectors] = Y * g.row_step + z
                        p.to[p.vectors] = (Y * g.th + a) * g.W + z
                        p.vectors += 1
        self.private = 0
        if not g.in_place:
            self.private = round_up(g.C * g.plane, ALIGNMENT) + ALIGNMENT
        if not g.in_rows:
            self.private += g.passes * PIXELS_F * g.strip + ALIGNMENT
        if not backward and g.W < lanes:
            self.private = max(self.private, round_up(g.C * g.plane, ALIGNMENT) + g.F * g.H * g.W + 2 * ALIGNMENT)
        g.is_depthwise = not backward and g.C == 1 and sw <= 2 and dw == 1 and FW <= DEPTH_COLUMNS
        if g.is_depthwise:
            g.depth = Depth(place.H, place.W, g.H, g.W, FH, FW, sh, sw, pt, pl, dh)
            g.behind = max((g.W - lanes if g.W >= lanes else 0) * sw - pl + FW - 1 + lanes * sw - place.W, 0)
            g.zeros = round_up(pl + place.W + g.behind, ALIGNMENT)
            g.lines = round_up(((g.H - 1) * sh + (FH - 1) * dh + 1) * <Py_ssize_t>sizeof(void*) // itemsize, ALIGNMENT)
            self.private = max(self.private, g.lines + g.zeros + pl + place.H * place.W + g.behind)
        self.private = round_up(self.private, ALIGNMENT)

    cdef void lay_taps(self, Pass* p, Py_ssize_t a, Py_ssize_t b, tuple filters, Py_ssize_t sh, Py_ssize_t sw,
                       Py_ssize_t pt, Py_ssize_t pl, Py_ssize_t dh, Py_ssize_t dw, bint backward):
        """Find the taps that the outputs of phase (a, b) have, and where."""
        cdef Gather* g = &self.g
        cdef Py_ssize_t FH = filters[2], FW = filters[3], i, j, k, y, z
        p.taps = 0
        for i in range(FH):
            for k in range(FW):
                # The pixels under them in order, from left to right.
                j = FW - 1 - k if backward else k
                y = i * dh
                z = j * dw
                if not backward and g.in_place:
                    p.table[p.taps] = y * g.split.W + z
                elif not backward:
                    p.table[p.taps] = ((y % sh * sw + z % sw) * g.split.rows + y // sh) * g.split.pitch + z // sw
                else:
                    y = a + pt - y
                    z = b + pl - z
                    if y % sh != 0 or z % sw != 0:
                        continue
                    y = floor_div(y, sh) + g.split.top
                    z = floor_div(z, sw) + g.split.left
                    p.table[p.taps] = y * g.row_step + z
                p.tap[p.taps] = i * FW + j
                p.taps += 1

    cdef dict describe(self, str which, tuple source, tuple filters, tuple target, tuple steps, Py_ssize_t itemsize):
        """The tables as arrays, for those who check them: see plans.py."""
        cdef Gather* g = &self.g
        cdef Pass* p
        cdef Py_ssize_t s
        each = []
        for s in range(g.passes):
            p = g.each + s
            each.append({"where": copy_of(p.where, p.vectors), "to": copy_of(p.to, p.vectors),
                         "table": copy_of(p.table, p.taps), "tap": copy_of(p.tap, p.taps), "weights": p.weights})
        return {
            "pass": which, "source": source, "filters": filters, "target": target, "steps": steps, "groups": g.groups,
            "itemsize": itemsize, "C": g.C, "F": g.F, "sh": g.split.sh, "sw": g.split.sw, "top": g.split.top,
            "left": g.split.left, "split_rows": g.split.rows, "pitch": g.split.pitch, "in_place": g.in_place,
            "in_rows": g.in_rows, "plane": g.plane, "row_step": g.row_step, "th": g.th, "tw": g.tw, "strip": g.strip,
            "lanes": TILE_BYTES // itemsize, "spare": 0 if g.in_place else ALIGNMENT, "each": each,
        }


def plan(str which, tuple source, tuple filters, tuple target, tuple steps, Py_ssize_t groups, Py_ssize_t itemsize, /):
    """The tables of a pass as a dict of numbers and arrays, as those of `kernels.conv.plan`."""
    if which not in ("output", "input_gradient", "weight_gradient"):
        raise ValueError(f"pass must be output, input_gradient or weight_gradient, got {which!r}")
    cdef Plan made = Plan(source, filters, target, *steps, groups, itemsize, which == "input_gradient")
    return made.describe(which, source, filters, target, steps, itemsize)


cdef dict found_plans = {}


cdef Plan find_plan(tuple source, cnp.ndarray W, tuple target, tuple steps, Py_ssize_t groups, bint backward):
    """Return the plan of a geometry, from the last few that were used."""
    cdef Py_ssize_t itemsize = cnp.PyArray_ITEMSIZE(W)
    cdef tuple key = (source, W.shape[2], W.shape[3], target, steps, groups, itemsize, backward)
    found = found_plans.get(key)
    if found is None:
        found = Plan(source, (<object>W).shape, target, *steps, groups, itemsize, backward)
        if PLANS_CHECKED:
            which = "input_gradient" if backward else "output"
            check_pixels((<Plan>found).describe(which, source, (<object>W).shape, target, steps, itemsize))
        if len(found_plans) >= 256:
            found_plans.clear()
        found_plans[key] = found
    return <Plan>found


cdef Plan output_plan(tuple source, cnp.ndarray W, tuple target, tuple steps, Py_ssize_t groups):
    """Return the plan of an output pass; to filters of one tap an image without padding or stride is one long row."""
    if W.shape[2] == W.shape[3] == 1 and source[1:] == target[1:] and steps[:4] == (1, 1, 0, 0):
        area = source[1] * source[2]
        return find_plan((source[0], 1, area), W, (target[0], 1, area), steps, groups, False)
    return find_plan(source, W, target, steps, groups, False)


cdef struct Output:
    Gather* g
    bint single
    const void* weights
    const void* bias
    const void* norm
    Py_ssize_t private  # values of scratch for each thread


cdef void run_output(void* given, const void* x, const void* branch, bint relu, void* out, Py_ssize_t N, void* scratch,
                     int num_threads) noexcept nogil:
    """Compute the outputs of N images."""
    cdef Output* output = <Output*>given
    cdef Gather* g = output.g
    cdef Py_ssize_t parts = 1
    # With few pieces of work, threads share one; each splits the image for itself.
    if num_threads > 1 and not g.is_depthwise:
        parts = max(min(ceil_div(4 * num_threads, N * g.groups), ceil_div(g.F, PIXELS_F)), 1)
    cdef GatherJob job = GatherJob(
        output.single, x, output.weights, Finish(output.bias, output.norm, g.groups * g.F, branch, relu), out, g, N,
        parts, scratch, output.private
    )
    run_job(gather_parts, &job, N * g.groups * parts, num_threads)


cdef class Prepared:
    """An output pass of one geometry: what does not change from one batch to the next."""

    cdef Plan plan
    cdef cnp.ndarray W
    cdef object bias
    cdef object norm
    cdef cnp.ndarray packed
    cdef Output output
    cdef Call shown

    @property
    def call(self):
        """Where what a program runs is described."""
        return <size_t>&self.shown

    def pack(self):
        """Pack the filters of an input gradient, which may have changed in place; those of an output need not be."""
        cdef Py_ssize_t taps = self.W.shape[2] * self.W.shape[3]
        cdef bint single = self.output.single
        cdef const void* filters = data(self.W)
        cdef void* to = data(self.packed)
        if self.packed is self.W:
            return
        with nogil:
            if single:
                pack(<const float*>filters, <float*>to, &self.plan.g, taps)
            else:
                pack(<const double*>filters, <double*>to, &self.plan.g, taps)

    def __call__(self, cnp.ndarray source, object branch, bint relu, cnp.ndarray target, object argmax,
                 int num_threads, /):
        """Write the outputs into target; `branch` is added unless None. There are no pooled outputs: argmax is None."""
        cdef cnp.ndarray scratch
        cdef const void* added = data(branch)
        cdef const void* x = data(source)
        cdef void* out = data(target)
        cdef void* work
        if target.size == 0:
            return
        scratch = empty((self.output.private * num_threads,), self.W.dtype)
        work = data(scratch)
        with nogil:
            run_output(&self.output, x, added, relu, out, source.shape[0], work, num_threads)


cdef Prepared prepared(Plan plan, cnp.ndarray W, object b, bint backward, object norm=None):
    """Prepare a plan's pass with filters W."""
    cdef Prepared made = Prepared.__new__(Prepared)
    cdef Gather* g = &plan.g
    cdef Py_ssize_t itemsize = plan.itemsize
    made.plan, made.W, made.bias, made.norm = plan, W, b, norm
    made.packed = empty((W.size,), W.dtype) if backward else W
    made.output = Output(g, itemsize == 4, data(made.packed), data(b), data(norm), plan.private)
    made.shown = Call(run_output, &made.output, plan.private * itemsize,
                      g.groups * g.C * g.split.H * g.split.W * itemsize, g.groups * g.F * g.H * g.W * itemsize)
    made.pack()
    return made


def prepare(tuple source, cnp.ndarray W, object b, tuple target, tuple steps, int groups, object norm, /):
    """Prepare the convolution of images, as `kernels.conv.prepare` does."""
    return prepared(output_plan(source, W, target, steps, groups), W, b, False, norm)


def suits(cnp.ndarray source, cnp.ndarray W, cnp.ndarray target, tuple steps, int groups, bint backward=False,
          bint weights=False):
    """Whether a pass is faster here than in `_conv.pyx`: always if depthwise, else by the lanes that stay empty.

    `source` and `target` are those of the forward pass (also the weight gradient's, with `weights`) or, with
    `backward`, of the input gradient's. Per vector of outputs and in multiply-adds, as measured: lanes of channels need
    8 more to be transposed, lanes of pixels a tenth more to be loaded, 3 to be stored, and 2 for each vector of source
    that is copied, or many more where its columns have to be sorted. Filters of one tap are matrix products, where
    nothing pays for a copy: here where few channels are summed, over images of many pixels that are read where they are.
    """
    cdef Py_ssize_t taps = W.shape[2] * W.shape[3], lanes = TILE_BYTES // cnp.PyArray_ITEMSIZE(W)
    cdef Py_ssize_t C = source.shape[1] // groups, F = target.shape[1] // groups
    cdef Py_ssize_t height = target.shape[2], width = target.shape[3], vectors
    cdef Py_ssize_t sh = steps[0], sw = steps[1], dw = steps[5]
    cdef double products = C * taps, copies = C
    if W.shape[1] == 1 < groups:
        return True
    if target.size == 0:
        return False
    if taps == 1:
        return (not backward and not weights and C <= ONE_TAP_CHANNELS and steps[:4] == (1, 1, 0, 0)
                and height * width >= ONE_TAP_VECTORS * lanes)
    if backward:
        products /= sh * sw
        height, width = ceil_div(height, sh), ceil_div(width, sw)
    else:
        copies *= sh * sw * (1 if sw == 1 else 4 if sw == 2 else 12)
    vectors = height * ceil_div(width, lanes)
    if not weights:
        vectors = min(vectors, ceil_div((height - 1) * (width + (W.shape[3] - 1) * dw // sw) + width, lanes))
    elif groups * F * (C * taps + 1) * TILE_BYTES > SETS_BYTES:
        return False
    return ((1.1 * products + 3 + 2 * copies / F) * vectors * F
            < (products + 8) * ceil_div(F, lanes) * (height * width))


def forward(cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out, tuple steps, int groups, int num_threads, /):
    """Write the convolution of x (N, C, H, W) with W (FN, C / groups, FH, FW), plus b (FN,) or None, into out."""
    prepared(output_plan(sizes(x), W, sizes(out), steps, groups), W, b, False)(x, None, False, out, None, num_threads)


def backward_input(cnp.ndarray dout, cnp.ndarray W, cnp.ndarray dx, tuple steps, int groups, int num_threads,
                   object bias=None, /):
    """Write the gradient with respect to the input, plus a bias per input channel or None, into dx."""
    prepared(find_plan(sizes(dout), W, sizes(dx), steps, groups, True), W, bias, True)(
        dout, None, False, dx, None, num_threads)


def backward_weights(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dW, object db, tuple steps, int groups,
                     int num_threads, /):
    """Write the gradient with respect to the filters into dW and, unless db is None, that of the bias into db."""
    cdef Plan plan = find_plan(sizes(x), dW, sizes(dout), steps, groups, False)
    cdef Gather* g = &plan.g
    cdef Py_ssize_t N = x.shape[0], itemsize = cnp.PyArray_ITEMSIZE(dW), taps = g.each.taps, K = g.C * taps, k
    cdef Py_ssize_t total = groups * g.F * (K + 1) * TILE_BYTES // itemsize
    cdef Py_ssize_t blocks = min(groups, ITEMS), sets, summed
    cdef cnp.ndarray scratch, offsets
    cdef Py_ssize_t* off
    cdef WeightJob job
    sets = max(min(ITEMS // blocks, SETS_BYTES // (total * itemsize), N), 1)
    summed = round_up(total * sets, ALIGNMENT)
    scratch = empty((summed + plan.private * num_threads,), dW.dtype)
    offsets = empty((K,), np.intp)
    off = <Py_ssize_t*>data(offsets)
    for k in range(K):
        off[k] = k // taps * g.plane + g.each.table[k % taps]
    job = WeightJob(cnp.PyArray_TYPE(dW) == cnp.NPY_FLOAT, data(dout), data(x), data(dW), data(db), g, off, N, blocks,
                    sets, data(scratch), <char*>data(scratch) + summed * itemsize, plan.private)
    with nogil:
        run_job(weigh_sets, &job, sets * blocks, num_threads)
        run_job(add_sets, &job, groups * g.F, num_threads)
