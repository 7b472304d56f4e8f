"""The weight gradient of a convolution, for a dout of any values."""

# A tile of weights is any that follow each other where the image has no padding, or its padding was written out; else
# it is one tap in several channels, or a row of 3 or 5 taps (`tile_weights`), for the outputs whose pixels under that
# tap lie within the image.
#
# dout is transposed a strip at a time, and each strip goes through all tiles of weights while it is in the cache.

from cython cimport floating
from libc.string cimport memset

from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.conv.gather cimport Gather, Pass, pad_image
from cconv.kernels.runtime.division cimport ceil_div, deal, floor_div, quotient
from cconv.kernels.vector.sums cimport sum_columns, sum_parts
from cconv.kernels.vector.layout cimport transpose_matrix, transpose_padded
from cconv.kernels.vector.prefetch cimport prefetch_read
from cconv.kernels.vector.register_tile cimport tile, tile_rows, tile_weights, weight_channels


cdef struct WeightJob:
    bint single
    const void* dout
    const void* x
    void* dW
    void* db  # or NULL
    Gather* g
    Py_ssize_t N
    Py_ssize_t block, blocks  # channels of a block, and how many of these a group has
    Py_ssize_t sets  # of images: each block of a group in each set is a piece of work
    Py_ssize_t length, together  # outputs of a strip, and images that share one
    const Py_ssize_t* off
    const Py_ssize_t* k_off
    void* sums
    void* scratch
    Py_ssize_t private  # values of it for each thread


cdef inline void add_in_order(const floating* image, const Py_ssize_t* off, Py_ssize_t count, const floating* turned,
                              Gather* g, const Py_ssize_t* weights, Py_ssize_t weights_in_all, const floating* next,
                              Py_ssize_t length, floating* total) noexcept nogil:
    """Add what `count` outputs give to all weights; ask for a part of the next strip before each tile."""
    cdef Py_ssize_t lanes = g.vectors * g.lanes, vi, v, V, F, f, k, i, tiles
    cdef int P, size = 0, larger = 0
    for vi in range(ceil_div(g.vectors, g.V)):
        v = vi * g.V
        V = min(g.V, g.vectors - v)
        F = min(V * g.lanes, g.F - v * g.lanes)
        tiles = deal(weights_in_all, tile_rows(<int>V), &size, &larger)
        k = 0
        for i in range(tiles):
            f = quotient(i * F, tiles)
            prefetch_read(next + (v * g.lanes + f) * g.area, g.area, length, quotient((i + 1) * F, tiles) - f)
            P = size + (i < larger)
            tile(P, <int>V, image, weights + k, 1, 0, count, off, turned + v * g.lanes, lanes, lanes,
                 total + k * lanes + v * g.lanes, lanes, True)
            k += P


cdef inline void add_by_tap(const floating* image, const Py_ssize_t* off, Py_ssize_t together, const floating* turned,
                            Gather* g, Py_ssize_t y0, Py_ssize_t y1, const Py_ssize_t* planes, Py_ssize_t channels,
                            const floating* next, Py_ssize_t length, floating* total) noexcept nogil:
    """The same for rows y0 to y1 of outputs: a tile is one tap in several channels, which see the image together."""
    cdef Pass* p = g.each
    cdef Py_ssize_t lanes = g.vectors * g.lanes, area = (y1 - y0) * g.width, vi, v, V, F, f, t, ci, c, i, tiles
    cdef Py_ssize_t column, top, bottom, left, right, first
    cdef int P, size = 0, larger = 0
    for vi in range(ceil_div(g.vectors, g.V)):
        v = vi * g.V
        V = min(g.V, g.vectors - v)
        F = min(V * g.lanes, g.F - v * g.lanes)
        tiles = deal(channels, tile_rows(<int>V), &size, &larger)
        for t in range(p.taps):
            f = t * F // p.taps
            prefetch_read(next + (v * g.lanes + f) * g.area, g.area, length, (t + 1) * F // p.taps - f)
            column = p.table[t] - p.row[t] * g.PW
            top = max(y0, -floor_div(p.row[t], g.down))
            bottom = min(y1, floor_div(g.H - 1 - p.row[t], g.down) + 1)
            left = max(0, -floor_div(column, g.across))
            right = min(g.width, floor_div(g.W - 1 - column, g.across) + 1)
            if top >= bottom or left >= right:
                continue
            first = p.table[t] + top * g.down * g.PW + left * g.across
            c = 0
            for ci in range(tiles):
                P = size + (ci < larger)
                for i in range(together):
                    tile(P, <int>V, image + off[i * g.area] + first, planes + c,
                         bottom - top, g.down * g.PW, right - left, g.off,
                         turned + (i * area + (top - y0) * g.width + left) * lanes + v * g.lanes, g.width * lanes,
                         lanes, total + (c * p.taps + t) * lanes + v * g.lanes, p.taps * lanes, True)
                c += P


cdef inline void add_by_row(const floating* image, const Py_ssize_t* off, Py_ssize_t together, const floating* turned,
                            Gather* g, Py_ssize_t y0, Py_ssize_t y1, Py_ssize_t channels, const floating* next,
                            Py_ssize_t length, floating* total) noexcept nogil:
    """The same, where taps lie side by side: a tile is a row of taps in several channels."""
    cdef Pass* p = g.each
    cdef Py_ssize_t lanes = g.vectors * g.lanes, area = (y1 - y0) * g.width, rows = p.taps // p.side, vi, v, V, F, f, t
    cdef Py_ssize_t ti, ci, c, i, tiles, top, bottom
    cdef int P, size = 0, larger = 0
    for vi in range(ceil_div(g.vectors, g.V)):
        v = vi * g.V
        V = min(g.V, g.vectors - v)
        F = min(V * g.lanes, g.F - v * g.lanes)
        tiles = deal(channels, weight_channels(<int>V, p.side), &size, &larger)
        for ti in range(rows):
            f = ti * F // rows
            prefetch_read(next + (v * g.lanes + f) * g.area, g.area, length, (ti + 1) * F // rows - f)
            t = ti * p.side
            top = max(y0, -floor_div(p.row[t], g.down))
            bottom = min(y1, floor_div(g.H - 1 - p.row[t], g.down) + 1)
            if top >= bottom:
                continue
            c = 0
            for ci in range(tiles):
                P = size + (ci < larger)
                for i in range(together):
                    tile_weights(P, <int>V, p.side,
                                 image + off[i * g.area] + c * g.plane + (top * g.down + p.row[t]) * g.PW, g.plane,
                                 bottom - top, g.down * g.PW, g.W, p.row[t] * g.PW - p.table[t], g.width,
                                 turned + (i * area + (top - y0) * g.width) * lanes + v * g.lanes, g.width * lanes,
                                 lanes, total + (c * p.taps + t) * lanes + v * g.lanes, p.taps * lanes)
                c += P


cdef inline void weigh_images(const floating* dout, const floating* x, Py_ssize_t N, Gather* g, Py_ssize_t group,
                              Py_ssize_t c, Py_ssize_t block, Py_ssize_t first, Py_ssize_t last, Py_ssize_t length,
                              Py_ssize_t together, const Py_ssize_t* off, const Py_ssize_t* k_off, floating* sums,
                              floating* turned, floating* copies) noexcept nogil:
    """Compute what images `first` to `last` give to the weights of a block of a group's channels, from c on.

    The block that begins with channel 0 computes what they give to the biases: a total in two rows.
    """
    cdef Pass* p = g.each
    cdef Py_ssize_t lanes = g.vectors * g.lanes, strips = ceil_div(g.area, length), K = g.C * p.taps
    cdef Py_ssize_t n, ni, q, qi, i, f, count, ahead, channels = min(block, g.C - c), size = channels * p.taps
    cdef Py_ssize_t images = g.groups * g.C * g.H * g.W, gradients = g.groups * g.F * g.area
    cdef floating* weights = sums + c * p.taps * lanes
    cdef const floating* image
    cdef const floating* gradient
    memset(weights, 0, size * lanes * sizeof(floating))
    if c == 0:
        memset(sums + K * lanes, 0, 2 * lanes * sizeof(floating))
    for ni in range(ceil_div(last - first, together)):
        n = first + ni * together
        i = min(together, last - n)
        image = x + n * images + (group * g.C + c) * g.H * g.W
        if g.copied:
            for f in range(i):
                pad_image(image + f * images, x + N * images, channels, g, 0, g.PH, copies + f * block * g.plane)
            image = copies
        for qi in range(strips):
            q = qi * length
            count = min(length, g.area - q)
            gradient = dout + n * gradients + group * g.F * g.area + q
            for f in range(i):
                transpose_padded(gradient + f * gradients, g.area, g.F, count, turned + f * count * lanes, lanes)
            # The next strip is asked for while this one is worked on.
            ahead = length if qi + 1 < strips else together * gradients - q
            if c == 0:
                sum_columns(<const floating*>turned, lanes, count * i, lanes, sums + K * lanes, sums + (K + 1) * lanes)
            if g.by_tap and p.side > 0:
                add_by_row(image, off, i, <const floating*>turned, g, q // g.width, (q + count) // g.width, channels,
                           gradient + ahead, length, weights)
            elif g.by_tap:
                add_by_tap(image, off, i, <const floating*>turned, g, q // g.width, (q + count) // g.width, k_off,
                           channels, gradient + ahead, length, weights)
            else:
                add_in_order(image, off + q, count * i, <const floating*>turned, g, k_off, size, gradient + ahead,
                             length, weights)


cdef inline void some_weight_sets(const floating* dout, const floating* x, floating* sums, floating* scratch,
                                  WeightJob* job, Pieces* pieces, int slot) noexcept nogil:
    cdef Gather* g = job.g
    cdef Py_ssize_t lanes = g.vectors * g.lanes, rows = g.C * g.each.taps + 2, N = job.N, item, c, group, m
    cdef floating* mine = scratch + slot * job.private
    while (item := take_piece(pieces, slot)) >= 0:
        group = item % g.groups
        c = item // g.groups % job.blocks * job.block
        m = item // (g.groups * job.blocks)
        weigh_images(dout, x, N, g, group, c, job.block, m * N // job.sets, (m + 1) * N // job.sets, job.length,
                     job.together, job.off, job.k_off, sums + (m * g.groups + group) * rows * lanes, mine,
                     mine + job.together * job.length * lanes)


cdef inline void weight_sets(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef WeightJob* job = <WeightJob*>given
    if job.single:
        some_weight_sets(<const float*>job.dout, <const float*>job.x, <float*>job.sums, <float*>job.scratch, job,
                         pieces, slot)
    else:
        some_weight_sets(<const double*>job.dout, <const double*>job.x, <double*>job.sums, <double*>job.scratch, job,
                         pieces, slot)


cdef inline void some_weights(floating* sums, floating* dW, floating* db, WeightJob* job, Pieces* pieces,
                              int slot) noexcept nogil:
    cdef Gather* g = job.g
    cdef Py_ssize_t lanes = g.vectors * g.lanes, K = g.C * g.each.taps, total = g.groups * (K + 2) * lanes
    cdef Py_ssize_t parts = ceil_div(K, g.lanes), k, c, group, rows, m, i
    cdef floating* mine
    while (k := take_piece(pieces, slot)) >= 0:
        group = k // parts
        c = k % parts * g.lanes
        rows = min(g.lanes, K - c)
        mine = sums + (group * (K + 2) + c) * lanes
        for m in range(1, job.sets):
            for i in range(rows * lanes):
                mine[i] += mine[m * total + i]
        transpose_matrix(mine, lanes, rows, g.F, dW + group * g.F * K + c, K)
        if db != NULL and c == 0:
            for i in range(g.F):
                db[group * g.F + i] = sum_parts(mine + K * lanes + i, total, job.sets, lanes)


cdef inline void weights(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef WeightJob* job = <WeightJob*>given
    if job.single:
        some_weights(<float*>job.sums, <float*>job.dW, <float*>job.db, job, pieces, slot)
    else:
        some_weights(<double*>job.sums, <double*>job.dW, <double*>job.db, job, pieces, slot)


cdef inline void weight_gradient(WeightJob* job, int num_threads) noexcept nogil:
    run_job(weight_sets, job, job.sets * job.blocks * job.g.groups, num_threads)
    run_job(weights, job, job.g.groups * ceil_div(job.g.C * job.g.each.taps, job.g.lanes), num_threads)
