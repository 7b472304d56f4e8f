"""All passes of a convolution with lanes = pixels, for depthwise filters and groups of few: 'pixels' in the tables."""

#   out[n, f, y, z] = b[f] + sum over c, i, j of W[f, c, i, j] * x[n, c, y*sh - pt + i*dh, z*sw - pl + j*dw]
#
# where c runs over the channels of f's group. Lanes of channels hold the filters of a group, which are few or one in a
# depthwise convolution: most lanes would be empty. Here the lanes are neighbouring pixels of one output channel
# (pixels.h).
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
# The input gradient is the same with dout for the image and flipped filters; with a stride it is one pass for each
# phase (y + pt) mod sh, (z + pl) mod sw of the input, all flat, whose rows are put together at the end.
#
# The weight gradient multiplies the pixels under each tap with dout, lane by lane, and adds the lanes at the very end.
#
# Order of additions: an output is one chain over (c, i, j) in that order, then the bias, with the bits of channels.pxd.
# A weight gradient is one chain per lane over the pixels of a plane; planes are added in the order of the images, sets
# of images (their number depends on the shapes alone) at the end, and then the lanes.

from cython cimport floating
from libc.string cimport memcpy, memset

from cconv.kernels.conv.finish cimport Finish, finish_plane, is_plain
from cconv.kernels.conv.plan cimport ALIGNMENT, PACKED_FILTERS, PIXELS_MR, PixelPhase, PixelPlan, Split, pixel_vectors
from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.runtime.division cimport ceil_div, deal, quotient, round_up
from cconv.kernels.vector.sums cimport sum_add, sum_parts, sum_row
from cconv.kernels.vector.vector cimport VECTOR_BYTES


cdef extern from "conv/pixels.h" nogil:
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
    void pixel_weights_float(int, int, const float*, const Py_ssize_t*, Py_ssize_t, const float*, Py_ssize_t,
                             Py_ssize_t, Py_ssize_t, float*, Py_ssize_t) noexcept
    void pixel_weights_double(int, int, const double*, const Py_ssize_t*, Py_ssize_t, const double*, Py_ssize_t,
                              Py_ssize_t, Py_ssize_t, double*, Py_ssize_t) noexcept
    ctypedef struct Row "row_filters":
        const void* image
        const void* W
        void* packed
        Py_ssize_t channels, plane, filters
        const Finish* after
        Py_ssize_t c
        void* out
        Py_ssize_t at, area
    void multiply_row_float(int, const Row*, Py_ssize_t, Py_ssize_t) noexcept
    void multiply_row_double(int, const Row*, Py_ssize_t, Py_ssize_t) noexcept
    float sum_lanes_float(const float*) noexcept
    double sum_lanes_double(const double*) noexcept


cdef struct PixelJob:  # outputs and input gradients
    bint single
    const void* x  # IN
    const void* W  # IN; for an input gradient the flipped filters
    Finish after  # what follows the sums
    void* out  # OUT
    PixelPlan* g
    Py_ssize_t N
    Py_ssize_t parts  # of the filters of one group of one image, each a piece of work
    void* scratch  # g.private values for each thread

cdef struct PixelWeightJob:
    bint single
    const void* dout  # IN
    const void* x  # IN
    void* dW  # OUT
    void* db  # OUT, or NULL
    PixelPlan* g
    Py_ssize_t N, blocks, sets  # blocks of groups, and sets of images: each block in each set is a piece of work
    void* sums
    void* scratch  # g.private values for each thread


cdef inline void split(const floating* x, const floating* end, const PixelPlan* g, floating* to) noexcept nogil:
    """Copy all channels of one group of one image; x is part of an array that ends at `end`."""
    cdef Py_ssize_t c
    for c in range(g.C):
        if floating is float:
            split_float(x + c * g.split.H * g.split.W, end, &g.split, to + c * g.plane)
        else:
            split_double(x + c * g.split.H * g.split.W, end, &g.split, to + c * g.plane)


cdef inline void merge(const floating* strips, Py_ssize_t step, const PixelPlan* g, floating* out) noexcept nogil:
    if floating is float:
        merge_float(strips, step, g.split.pitch, g.th, g.tw, g.H, g.W, out)
    else:
        merge_double(strips, step, g.split.pitch, g.th, g.tw, g.H, g.W, out)


cdef struct FilterTile:  # some filters at some vectors of outputs
    int MR, NR
    const PixelPhase* phase
    Py_ssize_t first  # vector
    Py_ssize_t out_step  # from one filter's outputs to the next


cdef inline void filter_pixels(const FilterTile* tile, const floating* image, const PixelPlan* g, const floating* W,
                               const floating* bias, floating* out) noexcept nogil:
    cdef const PixelPhase* p = tile.phase
    cdef Py_ssize_t W_step = g.C * p.taps
    if floating is float:
        filter_pixels_float(tile.MR, tile.NR, image, p.where + tile.first, g.C, g.plane, p.taps, p.table, W, W_step,
                            bias, out, tile.out_step, p.to + tile.first)
    else:
        filter_pixels_double(tile.MR, tile.NR, image, p.where + tile.first, g.C, g.plane, p.taps, p.table, W, W_step,
                             bias, out, tile.out_step, p.to + tile.first)


cdef inline void pixel_weights(int MR, int K, const floating* image, const Py_ssize_t* k_off, const PixelPlan* g,
                               const floating* dout, floating* totals, Py_ssize_t totals_step) noexcept nogil:
    """Add to the totals of MR filters and K of their weights each: see pixels.h, which explains each argument."""
    if floating is float:
        pixel_weights_float(MR, K, image, k_off, g.row_step, dout, g.H * g.W, g.H, g.W, totals, totals_step)
    else:
        pixel_weights_double(MR, K, image, k_off, g.row_step, dout, g.H * g.W, g.H, g.W, totals, totals_step)


cdef inline floating sum_lanes(const floating* totals) noexcept nogil:
    if floating is float:
        return sum_lanes_float(totals)
    else:
        return sum_lanes_double(totals)


cdef inline void flip_filters(const floating* W, const PixelPlan* g, floating* to) noexcept nogil:
    """Exchange source and output channels of filters and sort their taps by phases."""
    cdef Py_ssize_t s, group, f, c, t
    for s in range(g.phases):
        for group in range(g.groups):
            for f in range(g.F):
                for c in range(g.C):
                    for t in range(g.phase[s].taps):
                        to[0] = W[((group * g.C + c) * g.F + f) * g.taps + g.phase[s].tap[t]]
                        to += 1


cdef inline Py_ssize_t first_filter(const PixelPlan* g, Py_ssize_t block, Py_ssize_t blocks) noexcept nogil:
    """The first filter of a block, of which a group has so many; of the block behind the last, the end."""
    if block == 0 or block == blocks:  # most groups are one block, whose pieces take no longer than a few divisions
        return 0 if block == 0 else g.F
    return quotient(block * g.F, blocks)


cdef inline void multiply_row(const floating* image, floating* outs, const PixelJob* job, Py_ssize_t c, Py_ssize_t at,
                              Py_ssize_t first, Py_ssize_t end, floating* mine) noexcept nogil:
    """Compute filters of a group whose plan is a `product`, from the first one to before the end.

    What a tile reads of all channels stays in the first cache for all of them; many filters have it packed.

    c   the first channel of the group
    at  where its outputs begin
    """
    cdef const PixelPlan* g = job.g
    cdef const floating* W = <const floating*>job.W + (c + first) * g.C
    cdef const Finish* after = &job.after
    cdef Py_ssize_t v = 0, i, to = at + first * g.W
    cdef int larger = 0, wide = 0, NR
    cdef floating* packed = mine if g.packs and end - first >= PACKED_FILTERS else NULL
    cdef Row row = Row(image, W, packed, g.C, g.plane, end - first, after, c + first, outs, to, g.W)
    for i in range(deal(g.phase.vectors, pixel_vectors(PIXELS_MR), &wide, &larger)):
        NR = wide + (i < larger)
        if floating is float:
            multiply_row_float(NR, &row, g.phase.to[v], g.phase.to[v + NR - 1])
        else:
            multiply_row_double(NR, &row, g.phase.to[v], g.phase.to[v + NR - 1])
        v += NR


cdef inline void filter_group(const floating* x, floating* outs, const PixelJob* job, Py_ssize_t item,
                              floating* mine) noexcept nogil:
    """Compute some blocks of filters of one group of one image: piece of work `item`."""
    cdef const PixelPlan* g = job.g
    cdef Py_ssize_t area = g.H * g.W, blocks = ceil_div(g.F, PIXELS_MR), size = g.C * g.split.H * g.split.W
    cdef Py_ssize_t image_group = quotient(item, job.parts), part = item - image_group * job.parts
    cdef Py_ssize_t group = image_group - quotient(image_group, g.groups) * g.groups, b, f, l, s, i
    cdef int larger, wide
    cdef const floating* W = <const floating*>job.W
    cdef Py_ssize_t c = group * g.F, at = image_group * g.F * area  # its first channel, and where that begins
    cdef const Finish* after = &job.after
    cdef const floating* bias = <const floating*>after.bias
    cdef const floating* image = x + image_group * size
    cdef floating* out = outs + at
    cdef floating* strips = mine
    cdef FilterTile tile
    if g.product:
        multiply_row(image, outs, job, c, at, quotient(part * g.F, job.parts), quotient((part + 1) * g.F, job.parts),
                     mine)
        return
    if bias != NULL:
        bias = bias + c
    if not g.in_place:
        split(image, x + job.N * g.groups * size, g, mine)
        image = mine
        strips = mine + round_up(g.C * g.plane, ALIGNMENT) + ALIGNMENT
    for b in range(quotient(part * blocks, job.parts), quotient((part + 1) * blocks, job.parts)):
        f = first_filter(g, b, blocks)
        tile.MR = <int>(first_filter(g, b + 1, blocks) - f)
        for s in range(g.phases):
            tile.phase = g.phase + s
            if tile.phase.vectors == 0:
                continue
            tile.out_step = area if g.in_rows else g.strip
            tile.first = wide = larger = 0
            for i in range(deal(tile.phase.vectors, pixel_vectors(tile.MR), &wide, &larger)):
                tile.NR = wide + (i < larger)
                filter_pixels(&tile, image, g, W + tile.phase.weights + (c + f) * g.C * tile.phase.taps,
                              NULL if bias == NULL else bias + f,
                              out + f * area if g.in_rows else strips + s * tile.MR * g.strip)
                tile.first += tile.NR
        if not g.in_rows:
            for l in range(tile.MR):
                merge(strips + l * g.strip, tile.MR * g.strip, g, out + (f + l) * area)
        if not is_plain(after):  # while they are in the first cache
            for l in range(tile.MR):
                finish_plane(outs, area, after, c + f + l, at + (f + l) * area)


cdef inline void filter_pieces(const floating* x, floating* out, const PixelJob* job, Pieces* pieces,
                               int slot) noexcept nogil:
    cdef floating* mine = <floating*>job.scratch + slot * job.g.private
    cdef Py_ssize_t item
    if not job.g.in_place:
        memset(mine, 0, job.g.private * sizeof(floating))
    while (item := take_piece(pieces, slot)) >= 0:
        filter_group(x, out, job, item, mine)


cdef inline void pixel_pieces(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef PixelJob* job = <PixelJob*>given
    if job.single:
        filter_pieces(<const float*>job.x, <float*>job.out, job, pieces, slot)
    else:
        filter_pieces(<const double*>job.x, <double*>job.out, job, pieces, slot)


cdef inline void run_pixels(PixelJob* job, int num_threads) noexcept nogil:
    """Fill in `parts` of a job, and run it; the filters of an input gradient are flipped."""
    cdef const PixelPlan* g = job.g
    cdef Py_ssize_t blocks = g.F // PIXELS_MR if g.product else ceil_div(g.F, PIXELS_MR)
    job.parts = 1
    # With few pieces of work, threads share one; each splits the image for itself.
    if num_threads > 1:
        job.parts = max(min(ceil_div(4 * num_threads, job.N * g.groups), blocks), 1)
    run_job(pixel_pieces, job, job.N * g.groups * job.parts, num_threads)


cdef inline void add_group(const floating* dout, const floating* x, const PixelWeightJob* job, Py_ssize_t image_group,
                           floating* totals, floating* mine) noexcept nogil:
    """Add what one group of one image gives to its sums."""
    cdef const PixelPlan* g = job.g
    cdef Py_ssize_t area = g.H * g.W, lanes = VECTOR_BYTES // <Py_ssize_t>sizeof(floating), K = g.C * g.taps
    cdef Py_ssize_t step = (K + 1) * lanes, size = g.C * g.split.H * g.split.W, blocks = ceil_div(g.F, PIXELS_MR)
    cdef Py_ssize_t b, f, k, i
    cdef int MR, NR, wide = 0, larger = 0
    cdef const floating* image = x + image_group * size
    cdef const floating* gradient = dout + image_group * g.F * area
    cdef floating* copied = mine
    cdef floating* total
    if not g.in_place:
        split(image, x + job.N * g.groups * size, g, mine)
        image = mine
        copied = mine + round_up(g.C * g.plane, ALIGNMENT) + ALIGNMENT
    if g.W < lanes:
        # Short rows are read a whole vector at a time.
        memcpy(copied, gradient, g.F * area * sizeof(floating))
        gradient = copied
    for b in range(blocks):
        f = first_filter(g, b, blocks)
        MR = <int>(first_filter(g, b + 1, blocks) - f)
        k = 0
        for i in range(deal(K, pixel_vectors(MR), &wide, &larger)):
            NR = wide + (i < larger)
            pixel_weights(MR, NR, image, g.k_off + k, g, gradient + f * area, totals + f * step + k * lanes, step)
            k += NR
    if job.db != NULL:
        for f in range(g.F):
            total = totals + f * step + K * lanes
            sum_add(total, total + 1, sum_row(gradient + f * area, area))


cdef inline void sum_pieces(const floating* dout, const floating* x, const PixelWeightJob* job, Pieces* pieces,
                            int slot) noexcept nogil:
    cdef const PixelPlan* g = job.g
    cdef Py_ssize_t lanes = VECTOR_BYTES // <Py_ssize_t>sizeof(floating), rows = g.F * (g.C * g.taps + 1)
    cdef Py_ssize_t N = job.N, blocks = job.blocks, sets = job.sets, item, first, last, group, m, n
    cdef floating* mine = <floating*>job.scratch + slot * g.private
    cdef floating* totals
    memset(mine, 0, g.private * sizeof(floating))
    while (item := take_piece(pieces, slot)) >= 0:
        m = item // blocks
        first = item % blocks * g.groups // blocks
        last = (item % blocks + 1) * g.groups // blocks
        totals = <floating*>job.sums + m * g.groups * rows * lanes
        memset(totals + first * rows * lanes, 0, (last - first) * rows * lanes * sizeof(floating))
        # Neighbouring channels of one image follow each other in memory.
        for n in range(m * N // sets, (m + 1) * N // sets):
            for group in range(first, last):
                add_group(dout, x, job, n * g.groups + group, totals + group * rows * lanes, mine)


cdef inline void pixel_sets(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef PixelWeightJob* job = <PixelWeightJob*>given
    if job.single:
        sum_pieces(<const float*>job.dout, <const float*>job.x, job, pieces, slot)
    else:
        sum_pieces(<const double*>job.dout, <const double*>job.x, job, pieces, slot)


cdef inline void finish_pixel_weights(floating* sums, floating* dW, floating* db, const PixelWeightJob* job,
                                      Pieces* pieces, int slot) noexcept nogil:
    cdef const PixelPlan* g = job.g
    cdef Py_ssize_t lanes = VECTOR_BYTES // <Py_ssize_t>sizeof(floating), K = g.C * g.taps, f, m, k
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


cdef inline void pixel_filters(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef PixelWeightJob* job = <PixelWeightJob*>given
    if job.single:
        finish_pixel_weights(<float*>job.sums, <float*>job.dW, <float*>job.db, job, pieces, slot)
    else:
        finish_pixel_weights(<double*>job.sums, <double*>job.dW, <double*>job.db, job, pieces, slot)


cdef inline void run_pixel_weights(PixelWeightJob* job, int num_threads) noexcept nogil:
    run_job(pixel_sets, job, job.sets * job.blocks, num_threads)
    run_job(pixel_filters, job, job.g.groups * job.g.F, num_threads)
