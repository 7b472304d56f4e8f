"""The weight gradient of a convolution with lanes = channels: 'channels' in the tables of algorithms."""

#     dW[c, t][f] = sum over y, z of image[c * plane + table[t] + place(y, z)] * dout[y, z][f]
#
# The lanes are channels of dout, which is transposed a strip at a time; the rows of a register tile are weights, and
# its sums run over pixels. A tile of weights is any that follow each other where the image has no padding, or its
# padding was written out; else it is one tap in several channels, or a row of 3 or 5 taps (`tile_weights`), for the
# outputs whose pixels under that tap lie within the image. Each strip goes through all tiles while it is in the cache.
#
# The order of additions: one chain over the pixels of a strip; strips and images in order; sets of images, whose number
# depends on the shapes alone, at the end.

from cython cimport floating
from libc.string cimport memset

from cconv.kernels.conv.padding cimport pad_image
from cconv.kernels.conv.plan cimport BY_ROW, BY_TAP, Phase, Source, WeightPlan
from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.runtime.division cimport ceil_div, deal, floor_div, quotient
from cconv.kernels.vector.sums cimport sum_columns, sum_parts
from cconv.kernels.vector.layout cimport transpose_matrix, transpose_padded
from cconv.kernels.vector.prefetch cimport prefetch_read
from cconv.kernels.vector.register_tile cimport tile, tile_rows, tile_weights, weight_channels


cdef struct WeightJob:
    bint single
    const void* dout  # IN, (N, groups * F, g.area)
    const void* x  # IN
    void* dW  # OUT
    void* db  # OUT, or NULL
    WeightPlan* g
    Py_ssize_t N
    Py_ssize_t sets  # of images: each block of a group in each set is a piece of work
    Py_ssize_t images  # that share a strip
    void* sums  # of each set, g.sums values
    void* scratch
    Py_ssize_t private  # values of it for each thread

cdef struct Strip:  # of dout, transposed: [image][output][lane]
    const void* dout  # the strip,
    const void* next  # and the one after it, to be prefetched
    Py_ssize_t images, first, count  # outputs of each image, from which one on
    Py_ssize_t channels  # of the block of weights

cdef struct Block:  # NR vectors of channels of dout
    Py_ssize_t v, NR  # from which vector on, and how many
    Py_ssize_t f, F  # from which channel on


cdef inline Block block_of(const WeightPlan* g, Py_ssize_t i) noexcept nogil:
    """The i-th block of vectors."""
    cdef Block b
    b.v = i * g.NR
    b.NR = min(g.NR, g.vectors - b.v)
    b.f = b.v * g.lanes
    b.F = min(b.NR * g.lanes, g.F - b.f)
    return b


cdef inline void prefetch(const floating* next, const WeightPlan* g, const Block* b, Py_ssize_t part,
                          Py_ssize_t parts) noexcept nogil:
    """Prefetch one of several parts of the channels of a block of the next strip."""
    cdef Py_ssize_t f = quotient(part * b.F, parts)
    prefetch_read(next + (b.f + f) * g.area, g.area, g.length, quotient((part + 1) * b.F, parts) - f)


cdef inline void rows_under(const WeightPlan* g, Py_ssize_t row, const Strip* strip, Py_ssize_t* top,
                            Py_ssize_t* bottom) noexcept nogil:
    """The rows of outputs of a strip that have a row of the image under a tap which lies `row` rows below them."""
    top[0] = max(quotient(strip.first, g.width), -floor_div(row, g.source.down))
    bottom[0] = min(quotient(strip.first + strip.count, g.width), floor_div(g.source.H - 1 - row, g.source.down) + 1)


cdef inline void add_in_order(const floating* image, const WeightPlan* g, const Strip* strip,
                              floating* total) noexcept nogil:
    """Add what a strip gives to all weights of a block of channels; prefetch a part of the next before each tile.

    image  IN, the block's channels, or their copies
    total  IN and OUT, the block's sums: [weight][lane]
    """
    cdef Py_ssize_t lanes = g.vectors * g.lanes, weights = strip.channels * g.phase.taps, i, k, n, tiles
    cdef const floating* dout = <const floating*>strip.dout
    cdef int MR, size = 0, larger = 0
    cdef Block b
    for i in range(ceil_div(g.vectors, g.NR)):
        b = block_of(g, i)
        tiles = deal(weights, tile_rows(<int>b.NR), &size, &larger)
        k = 0
        for n in range(tiles):
            prefetch(<const floating*>strip.next, g, &b, n, tiles)
            MR = size + (n < larger)
            tile(MR, <int>b.NR, image, g.k_off + k, 1, 0, strip.count * strip.images, g.off + strip.first, dout + b.f,
                 lanes, lanes, total + k * lanes + b.f, lanes, True)
            k += MR


cdef inline void add_by_tap(const floating* image, const WeightPlan* g, const Strip* strip,
                            floating* total) noexcept nogil:
    """The same with tiles of one tap in several channels, for the outputs that have a pixel under it."""
    cdef const Phase* p = &g.phase
    cdef const Source* s = &g.source
    cdef const floating* dout = <const floating*>strip.dout
    cdef Py_ssize_t lanes = g.vectors * g.lanes, y0 = quotient(strip.first, g.width), i, t, n, c, m, tiles
    cdef Py_ssize_t column, top, bottom, left, right, first
    cdef int MR, size = 0, larger = 0
    cdef Block b
    for i in range(ceil_div(g.vectors, g.NR)):
        b = block_of(g, i)
        tiles = deal(strip.channels, tile_rows(<int>b.NR), &size, &larger)
        for t in range(p.taps):
            prefetch(<const floating*>strip.next, g, &b, t, p.taps)
            column = p.table[t] - p.row[t] * s.PW
            rows_under(g, p.row[t], strip, &top, &bottom)
            left = max(0, -floor_div(column, s.across))
            right = min(g.width, floor_div(s.W - 1 - column, s.across) + 1)
            if top >= bottom or left >= right:
                continue
            first = p.table[t] + top * s.down * s.PW + left * s.across
            c = 0
            for n in range(tiles):
                MR = size + (n < larger)
                for m in range(strip.images):
                    tile(MR, <int>b.NR, image + g.off[m * g.area] + first, g.k_off + c,
                         bottom - top, s.down * s.PW, right - left, g.off,
                         dout + (m * strip.count + (top - y0) * g.width + left) * lanes + b.f, g.width * lanes,
                         lanes, total + (c * p.taps + t) * lanes + b.f, p.taps * lanes, True)
                c += MR


cdef inline void add_by_row(const floating* image, const WeightPlan* g, const Strip* strip,
                            floating* total) noexcept nogil:
    """The same where taps lie side by side, with tiles of a row of taps in several channels."""
    cdef const Phase* p = &g.phase
    cdef const Source* s = &g.source
    cdef const floating* dout = <const floating*>strip.dout
    cdef Py_ssize_t lanes = g.vectors * g.lanes, y0 = quotient(strip.first, g.width), rows = p.taps // p.side
    cdef Py_ssize_t i, r, t, n, c, m, tiles, top, bottom
    cdef int MR, size = 0, larger = 0
    cdef Block b
    for i in range(ceil_div(g.vectors, g.NR)):
        b = block_of(g, i)
        tiles = deal(strip.channels, weight_channels(<int>b.NR, p.side), &size, &larger)
        for r in range(rows):
            prefetch(<const floating*>strip.next, g, &b, r, rows)
            t = r * p.side
            rows_under(g, p.row[t], strip, &top, &bottom)
            if top >= bottom:
                continue
            c = 0
            for n in range(tiles):
                MR = size + (n < larger)
                for m in range(strip.images):
                    tile_weights(MR, <int>b.NR, p.side,
                                 image + g.off[m * g.area] + c * s.plane + (top * s.down + p.row[t]) * s.PW, s.plane,
                                 bottom - top, s.down * s.PW, s.W, p.row[t] * s.PW - p.table[t], g.width,
                                 dout + (m * strip.count + (top - y0) * g.width) * lanes + b.f, g.width * lanes,
                                 lanes, total + (c * p.taps + t) * lanes + b.f, p.taps * lanes)
                c += MR


cdef inline void add_images(const floating* dout, const floating* x, const WeightJob* job, Py_ssize_t item,
                            floating* scratch) noexcept nogil:
    """Compute what a set of images gives to the weights of a block of a group's channels: piece of work `item`.

    The block that begins with channel 0 computes what they give to the biases: a total in two rows.
    """
    cdef const WeightPlan* g = job.g
    cdef const Source* s = &g.source
    cdef Py_ssize_t group = item % g.groups, c = item // g.groups % g.blocks * g.channels
    cdef Py_ssize_t m = item // (g.groups * g.blocks), N = job.N, first = m * N // job.sets
    cdef Py_ssize_t last = (m + 1) * N // job.sets, taps = g.phase.taps, K = s.C * taps, lanes = g.vectors * g.lanes
    cdef Py_ssize_t images = g.groups * s.C * s.H * s.W, gradients = g.groups * g.F * g.area, n, i, q, f, ahead
    cdef floating* sums = <floating*>job.sums + m * g.sums + group * (K + 2) * lanes
    cdef floating* weights = sums + c * taps * lanes
    cdef floating* strip_dout = scratch
    cdef floating* copies = scratch + job.images * g.length * lanes
    cdef const floating* image
    cdef const floating* gradient
    cdef Strip strip
    strip.dout = strip_dout
    strip.channels = min(g.channels, s.C - c)
    memset(weights, 0, strip.channels * taps * lanes * sizeof(floating))
    if c == 0:
        memset(sums + K * lanes, 0, 2 * lanes * sizeof(floating))
    for i in range(ceil_div(last - first, job.images)):
        n = first + i * job.images
        strip.images = min(job.images, last - n)
        image = x + n * images + (group * s.C + c) * s.H * s.W
        if s.copied:
            for f in range(strip.images):
                pad_image(image + f * images, x + N * images, strip.channels, s, 0, s.PH,
                          copies + f * g.channels * s.plane)
            image = copies
        for q in range(g.strips):
            strip.first = q * g.length
            strip.count = min(g.length, g.area - strip.first)
            gradient = dout + n * gradients + group * g.F * g.area + strip.first
            for f in range(strip.images):
                transpose_padded(gradient + f * gradients, g.area, g.F, strip.count,
                                 strip_dout + f * strip.count * lanes,
                                 lanes)
            # The next strip is prefetched while this one is worked on.
            ahead = g.length if q + 1 < g.strips else job.images * gradients - strip.first
            strip.next = gradient + ahead
            if c == 0:
                sum_columns(<const floating*>strip_dout, lanes, strip.count * strip.images, lanes, sums + K * lanes,
                            sums + (K + 1) * lanes)
            if g.tile == BY_ROW:
                add_by_row(image, g, &strip, weights)
            elif g.tile == BY_TAP:
                add_by_tap(image, g, &strip, weights)
            else:
                add_in_order(image, g, &strip, weights)


cdef inline void add_pieces(const floating* dout, const floating* x, const WeightJob* job, Pieces* pieces,
                            int slot) noexcept nogil:
    cdef Py_ssize_t item
    while (item := take_piece(pieces, slot)) >= 0:
        add_images(dout, x, job, item, <floating*>job.scratch + slot * job.private)


cdef inline void weight_sets(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef WeightJob* job = <WeightJob*>given
    if job.single:
        add_pieces(<const float*>job.dout, <const float*>job.x, job, pieces, slot)
    else:
        add_pieces(<const double*>job.dout, <const double*>job.x, job, pieces, slot)


cdef inline void finish_weights(floating* sums, floating* dW, floating* db, const WeightJob* job, Pieces* pieces,
                                int slot) noexcept nogil:
    """Add up the sets' sums, some rows of weights of a group at a time, and transpose them."""
    cdef const WeightPlan* g = job.g
    cdef Py_ssize_t lanes = g.vectors * g.lanes, K = g.source.C * g.phase.taps, parts = ceil_div(K, g.lanes)
    cdef Py_ssize_t item, c, group, rows, m, i
    cdef floating* mine
    while (item := take_piece(pieces, slot)) >= 0:
        group = item // parts
        c = item % parts * g.lanes
        rows = min(g.lanes, K - c)
        mine = sums + (group * (K + 2) + c) * lanes
        for m in range(1, job.sets):
            for i in range(rows * lanes):
                mine[i] += mine[m * g.sums + i]
        transpose_matrix(mine, lanes, rows, g.F, dW + group * g.F * K + c, K)
        if db != NULL and c == 0:
            for i in range(g.F):
                db[group * g.F + i] = sum_parts(mine + K * lanes + i, g.sums, job.sets, lanes)


cdef inline void weights(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef WeightJob* job = <WeightJob*>given
    if job.single:
        finish_weights(<float*>job.sums, <float*>job.dW, <float*>job.db, job, pieces, slot)
    else:
        finish_weights(<double*>job.sums, <double*>job.dW, <double*>job.db, job, pieces, slot)


cdef inline void run_weights(WeightJob* job, int num_threads) noexcept nogil:
    cdef const WeightPlan* g = job.g
    run_job(weight_sets, job, job.sets * g.blocks * g.groups, num_threads)
    run_job(weights, job, g.groups * ceil_div(g.source.C * g.phase.taps, g.lanes), num_threads)
