"""Input gradients of a convolution to few channels, from dout to the input."""

# To one, two or three channels, most lanes would be empty: such an input gradient goes from dout to the input. The
# pixels of dout, as they lie, are the lanes, and a tile's rows are taps in the input's channels:
#
#     sums[c, j][y*sh + i*dh, z] += sum over f of W[f, c, i, j] * dout[f, y, z]
#
# There is a plane of sums for each column of taps j, so that rows of pixels may follow each other without a gap; at
# the end these planes are added up, each moved sideways by its j*dw. Bands of rows, whose sums stay in the cache, take
# those rows of taps that end in them.

from cython cimport floating
from libc.string cimport memcpy, memset

from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.runtime.division cimport ceil_div, deal, quotient, round_up
from cconv.kernels.vector.layout cimport add_shifted
from cconv.kernels.vector.prefetch cimport prefetch_read
from cconv.kernels.vector.register_tile cimport tile


cdef struct Scatter:
    Py_ssize_t groups, C, F  # channels of the gradient and of dout in one group
    Py_ssize_t H, W, OH, OW
    Py_ssize_t FH, FW, sh, sw, pt, pl, dh, dw
    Py_ssize_t first, rows, bands  # rows of the gradient's phases: where they begin, how many, in how many bands
    Py_ssize_t phase, line  # values of a band of one phase, and of a row of the result's phases
    Py_ssize_t lanes, V, most  # vectors and taps of a tile
    Py_ssize_t* table  # of a tile, whose weights follow each other,
    Py_ssize_t* off  # and those of its taps
    Py_ssize_t* down  # where the sums of each row of taps begin
    Py_ssize_t* shift  # how far each tap of a row moves its sums,
    Py_ssize_t* place  # which phase of the result's row it moves them to

cdef struct ScatterJob:
    bint single
    const void* dout
    const void* W
    void* bias  # or NULL
    void* dx
    Scatter* g
    Py_ssize_t N
    void* packed  # weights
    void* scratch
    Py_ssize_t private  # values of it for each thread


cdef inline Py_ssize_t tap_row(Scatter* g, Py_ssize_t rows) noexcept nogil:
    """The first row of taps that lies `rows` rows of the gradient's phases, or more, below the output."""
    return min(ceil_div(max(rows, 0) * g.sh, g.dh), g.FH)


cdef inline void scatter_pixels(const floating* dout, const floating* end_of_dout, const floating* weights, Scatter* g,
                                Py_ssize_t first, Py_ssize_t end, Py_ssize_t count, floating* strip,
                                floating* sums) noexcept nogil:
    """Multiply `count` values of every channel with the rows of taps `first` to `end`, and add that to the sums."""
    cdef Py_ssize_t q = 0, t, v, i, j, k, f, n, tiles, area = g.OH * g.OW, step = g.sh * g.phase, b_step
    cdef Py_ssize_t share = ceil_div(g.F, (end - first) * ceil_div(g.C * g.FW, g.most))
    cdef int V, P, wide = 0, wider = 0, size = 0, larger = 0
    cdef const floating* pixels
    cdef floating* to
    cdef floating* copy = strip + g.most * g.V * g.lanes
    for v in range(deal(ceil_div(count, g.lanes), <int>g.V, &wide, &wider)):
        V = wide + (v < wider)
        n = min(V * g.lanes, count - q)
        pixels = dout + q
        b_step = area
        if end_of_dout - (pixels + (g.F - 1) * area) < V * g.lanes:
            b_step = V * g.lanes
            for k in range(g.F):
                memcpy(copy + k * b_step, pixels + k * area, n * sizeof(floating))
            pixels = copy
        tiles = deal(g.C * g.FW, <int>g.most, &size, &larger)
        f = 0
        for i in range(first, end):
            t = 0
            for j in range(tiles):
                # The next pixels are asked for a few channels at a time.
                k = min(f + share, g.F)
                prefetch_read(dout + q + n + f * area, area, V * g.lanes, k - f)
                f = k
                P = size + (j < larger)
                to = sums + t * step + g.down[i] + q
                tile(P, V, weights + (i * g.C * g.FW + t) * g.F, g.off, 1, 0, g.F, g.table, pixels, 0, b_step, strip,
                     V * g.lanes, False)
                for k in range(P):
                    add_shifted(<const floating*>strip + k * V * g.lanes, n, 0, n, to + k * step)
                t += P
        q += n


cdef inline void merge_band(const floating* sums, floating* bias, Scatter* g, Py_ssize_t first, Py_ssize_t end,
                            floating* lines, floating* dx) noexcept nogil:
    """Add up the sums of each row of taps and write them, with a bias, into rows of the gradient."""
    cdef Py_ssize_t c, y, s, x, j, step = g.sh * g.phase
    cdef floating b
    cdef floating* to
    cdef const floating* row
    for c in range(g.C):
        b = 0 if bias == NULL else bias[c]
        for y in range(max(first * g.sh - g.pt, 0), min(end * g.sh - g.pt, g.H)):
            to = dx + (c * g.H + y) * g.W
            s = quotient(y + g.pt, g.sh)
            row = sums + c * g.FW * step + (y + g.pt - s * g.sh) * g.phase + (s - first) * g.OW
            memset(lines, 0, g.sw * g.line * sizeof(floating))
            for j in range(g.FW):
                add_shifted(row + j * step, g.OW, g.shift[j], g.line, lines + g.place[j] * g.line)
            if g.sw == 1 and bias == NULL:
                memcpy(to, lines, g.W * sizeof(floating))
                continue
            for s in range(min(g.sw, g.W)):
                for x in range(quotient(g.W - s + g.sw - 1, g.sw)):
                    to[s + x * g.sw] = lines[s * g.line + x] + b


cdef inline void scatter_band(const floating* dout, const floating* end_of_dout, const floating* weights,
                              floating* bias, floating* dx, Scatter* g, Py_ssize_t band,
                              floating* mine) noexcept nogil:
    """Compute a band of rows of one group of one image's gradient."""
    cdef Py_ssize_t first = g.first + band * g.rows // g.bands, end = g.first + (band + 1) * g.rows // g.bands
    cdef Py_ssize_t y = max(first - (g.FH - 1) * g.dh // g.sh, 0), z, i, j
    cdef floating* sums = mine + g.lanes
    cdef floating* lines = sums + round_up(g.C * g.FW * g.sh * g.phase + g.lanes, g.lanes)
    cdef floating* strip = lines + g.sw * g.line
    memset(sums, 0, g.C * g.FW * g.sh * g.phase * sizeof(floating))
    while y < min(end, g.OH):
        # Which rows of taps lie in this band; rows of outputs with the same ones are one.
        i = tap_row(g, first - y)
        j = tap_row(g, end - y)
        z = y + 1
        while z < min(end, g.OH) and tap_row(g, first - z) == i and tap_row(g, end - z) == j:
            z += 1
        if i < j:
            scatter_pixels(dout + y * g.OW, end_of_dout, weights, g, i, j, (z - y) * g.OW, strip,
                           sums + (y - first) * g.OW)
        y = z
    merge_band(<const floating*>sums, bias, g, first, end, lines, dx)


cdef inline void some_bands(const floating* dout, floating* bias, floating* dx, const floating* packed,
                            floating* scratch, ScatterJob* job, Pieces* pieces, int slot) noexcept nogil:
    cdef Scatter* g = job.g
    cdef Py_ssize_t item, image, group
    while (item := take_piece(pieces, slot)) >= 0:
        image = item // g.bands
        group = image % g.groups
        scatter_band(dout + image * g.F * g.OH * g.OW, dout + job.N * g.groups * g.F * g.OH * g.OW,
                     packed + group * g.FH * g.C * g.FW * g.F, NULL if bias == NULL else bias + group * g.C,
                     dx + image * g.C * g.H * g.W, g, item % g.bands, scratch + slot * job.private)


cdef inline void scatter_bands(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef ScatterJob* job = <ScatterJob*>given
    if job.single:
        some_bands(<const float*>job.dout, <float*>job.bias, <float*>job.dx, <const float*>job.packed,
                   <float*>job.scratch, job, pieces, slot)
    else:
        some_bands(<const double*>job.dout, <double*>job.bias, <double*>job.dx, <const double*>job.packed,
                   <double*>job.scratch, job, pieces, slot)


cdef inline void pack_rows(const floating* W, floating* to, Scatter* g) noexcept nogil:
    """Order weights by rows of taps, those of all source channels next to each other."""
    cdef Py_ssize_t group, i, c, j, f
    for group in range(g.groups):
        for i in range(g.FH):
            for c in range(g.C):
                for j in range(g.FW):
                    for f in range(g.F):
                        to[0] = W[(((group * g.F + f) * g.C + c) * g.FH + i) * g.FW + j]
                        to += 1


cdef inline void scatter(ScatterJob* job, int num_threads) noexcept nogil:
    if job.single:
        pack_rows(<const float*>job.W, <float*>job.packed, job.g)
    else:
        pack_rows(<const double*>job.W, <double*>job.packed, job.g)
    run_job(scatter_bands, job, job.N * job.g.groups * job.g.bands, num_threads)
