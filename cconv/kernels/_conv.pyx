"""Direct convolution: output, input gradient, weight and bias gradient.

    out[n, f, y, z] = b[f] + sum over c, i, j of W[f, c, i, j] * x[n, c, y*sh - pt + i*dh, z*sw - pl + j*dw]

No matrix of patches is built. Each image is copied once into a scratch with its padding (not at all when there is
none), and every pass is the register tile of tile.h over that scratch. A `Gather` says where the tile reads: output
pixel q begins at off[q], tap t lies table[t] further, channel c another c * plane. So stride and dilation cost nothing,
and the three passes are one table read in three ways:

    output            out[q][f]  = sum over c, t of image[off[q] + c*plane + table[t]] * W[c, t][f]
    weight gradient   dW[c, t][f] = sum over q of image[c*plane + table[t] + off[q]] * dout[q][f]
    input gradient    an output pass over dout with the filters turned; with a stride, one such pass for each phase
                      (y + pt) mod sh, (z + pl) mod sw of the input, which only some taps reach

A fourth pass, the output with relu and 2 x 2 maxima, keeps the outputs of one image per thread and writes only the
maxima.

The lanes f are channels: weights are packed as [block of lanes][c][t][lane], dout is transposed to [q][lane], and
results are transposed back when they are stored.

Order of additions: an output is one chain over (c, t) in that order, then the bias. A weight gradient is one chain over
the pixels of a strip, strips and images are added in order, and groups of images (their number depends on the shapes
alone) at the end. Neither the batch nor the number of threads changes a bit of an output.

Edge cases: padding reads zeros; a negative padding of the input gradient's pass (pad beyond the filter) starts inside
dout; an empty batch leaves the output empty and the weight gradient 0; input pixels that no window reads get 0.
"""

cimport numpy as cnp
from cython cimport floating
from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from cconv.kernels.tile cimport (
    TILE_ADD, TILE_BYTES, TILE_MAX_V, TILE_NEW, TILE_RESUME, add_rows, cconv_ftz_on, cconv_ftz_restore, tile, tile_rows,
    turn, turn_biased, turn_padded
)

import numpy as np

from cconv.kernels._memory import empty

cnp.import_array()

cdef extern from "pool.h" nogil:
    void max_of_fours_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*, uint8_t*) noexcept
    void max_of_fours_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*, uint8_t*) noexcept

cdef enum:
    STRIP = 112  # pixels between two transposes: a multiple of every tile's rows and of every vector's lanes
    GRADIENT_STRIP = 16384  # values of a transposed strip of dout, which stays in the first or second cache
    GRADIENT_BLOCK = 256  # weights per lane that share one transposed dout
    GRADIENT_ITEMS = 16  # pieces of work a weight gradient is cut into, where it can be
    GRADIENT_BYTES = 4 << 20  # memory for the sums of groups of images
    ALIGNMENT = 64
    FIRST_CACHE = 16384  # bytes of packed weights that one strip goes through at a time

cdef struct Pass:
    Py_ssize_t pixels  # outputs of one channel
    Py_ssize_t taps
    Py_ssize_t weights  # where its packed weights begin
    Py_ssize_t* off  # where the window of each output begins in the padded image
    Py_ssize_t* table  # how far each tap lies from there
    Py_ssize_t reach  # the farthest tap
    Py_ssize_t* tap  # which value of the filter it is
    Py_ssize_t* at  # the position of each output in its channel, or NULL for 0, 1, 2, ...

cdef struct Gather:
    Py_ssize_t groups, C, F  # source channels and output channels of one group
    Py_ssize_t H, W  # the source image,
    Py_ssize_t top, left, PH, PW  # and its place in the padded one
    bint padded
    Py_ssize_t area, width  # values of one output channel, and of one of its rows
    Py_ssize_t lanes, vectors, V  # per vector, for F, and the most per tile
    Py_ssize_t weights  # packed values of one group
    Py_ssize_t passes
    Pass* each


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline Py_ssize_t round_up(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b * b


cdef inline void max_of_fours(const floating* x, Py_ssize_t width, Py_ssize_t rows, Py_ssize_t columns, floating* out,
                              uint8_t* where) noexcept nogil:
    if floating is float:
        max_of_fours_float(x, width, rows, columns, out, where)
    else:
        max_of_fours_double(x, width, rows, columns, out, where)


cdef Py_ssize_t tile_width(Py_ssize_t vectors, Py_ssize_t pixels) noexcept nogil:
    """The number of vectors per tile with the least work, for `vectors` in all and strips of `pixels`.

    A tile of P pixels and V vectors does P*V multiply-adds per tap, never in less time than they take to come back
    (about 8 of them), for P broadcasts, V loads and the loop's own few instructions, which mostly hide behind.
    """
    cdef Py_ssize_t V, P, tiles, blocks, best = 1
    cdef double cost, least = -1
    pixels = min(pixels, STRIP)
    for V in range(1, min(vectors, TILE_MAX_V) + 1):
        blocks = ceil_div(vectors, V)
        tiles = ceil_div(pixels, tile_rows(V))
        P = ceil_div(pixels, tiles)
        cost = blocks * tiles * (max(P * V, 8) + 0.25 * (P + V) + 2)
        if least < 0 or cost < least:
            least = cost
            best = V
    return best


def plan(Py_ssize_t channels, Py_ssize_t pixels, Py_ssize_t itemsize):
    """The tile that a pass with this many output channels and pixels uses, as (pixels, vectors, lanes)."""
    cdef Py_ssize_t lanes = TILE_BYTES // itemsize
    cdef Py_ssize_t V = tile_width(ceil_div(channels, lanes), pixels)
    cdef Py_ssize_t n = min(pixels, STRIP)
    return ceil_div(n, ceil_div(n, tile_rows(V))), V, lanes


cdef void pad_image(const floating* x, Py_ssize_t channels, Gather* g, Py_ssize_t first, Py_ssize_t last,
                    floating* to) noexcept nogil:
    """Copy rows `first` to `last` of the padded image; `top` and `left` may be negative."""
    cdef Py_ssize_t c, y, r, start = max(g.left, 0), skip = max(-g.left, 0)
    cdef Py_ssize_t count = max(min(g.W - skip, g.PW - start), 0)
    cdef floating* row
    for c in range(channels):
        for y in range(first, last):
            row = to + (c * g.PH + y) * g.PW
            r = y - g.top
            if r < 0 or r >= g.H:
                memset(row, 0, g.PW * sizeof(floating))
                continue
            memset(row, 0, start * sizeof(floating))
            memcpy(row + start, x + (c * g.H + r) * g.W + skip, count * sizeof(floating))
            memset(row + start + count, 0, (g.PW - start - count) * sizeof(floating))


cdef void pack(const floating* W, Gather* g, Py_ssize_t group, Py_ssize_t f_step, Py_ssize_t c_step,
               floating* packed) noexcept nogil:
    """Bring one group's filters into the order in which tiles read them; lanes beyond F are 0."""
    cdef Py_ssize_t s, c, t, l, v, vi, V, F, K
    cdef floating* to
    cdef const floating* source
    W = W + group * g.C * g.F * (min(f_step, c_step))
    for s in range(g.passes):
        K = g.C * g.each[s].taps
        for vi in range(ceil_div(g.vectors, g.V)):
            v = vi * g.V
            V = min(g.V, g.vectors - v)
            F = min(V * g.lanes, g.F - v * g.lanes)
            to = packed + group * g.weights + g.each[s].weights + K * v * g.lanes
            source = W + v * g.lanes * f_step
            if f_step == K and c_step == g.each[s].taps:
                turn_padded(source, f_step, F, K, to, V * g.lanes)
                continue
            for c in range(g.C):
                for t in range(g.each[s].taps):
                    for l in range(F):
                        to[l] = source[l * f_step + c * c_step + g.each[s].tap[t]]
                    for l in range(F, V * g.lanes):
                        to[l] = 0
                    to += V * g.lanes


cdef void gather_strip(const floating* image, const floating* packed, floating* bias, bint relu, Gather* g,
                       Pass* p, Py_ssize_t group, Py_ssize_t start, Py_ssize_t n, floating* strip,
                       floating* out) noexcept nogil:
    """Compute outputs `start` to `start + n` of one pass for all channels of one group."""
    cdef Py_ssize_t plane = g.PH * g.PW, K = g.C * p.taps, v, vi, V, P, q, qi, f, l, F, step, c, ci, block
    image = image + group * g.C * plane
    for vi in range(ceil_div(g.vectors, g.V)):
        v = vi * g.V
        V = min(g.V, g.vectors - v)
        step = V * g.lanes
        P = ceil_div(n, ceil_div(n, tile_rows(V)))
        block = max(FIRST_CACHE // (max(p.taps, 1) * step * <Py_ssize_t>sizeof(floating)), 1)
        for ci in range(ceil_div(g.C, block)):
            c = ci * block
            for qi in range(ceil_div(n, P)):
                q = qi * P
                tile(min(P, n - q), V, image + c * plane, p.off + start + q, min(block, g.C - c), plane, p.taps,
                     p.table, packed + group * g.weights + p.weights + (K * v + c * p.taps * V) * g.lanes, step,
                     strip + q * step, step, TILE_NEW if c == 0 else TILE_RESUME)
        F = min(step, g.F - v * g.lanes)
        f = group * g.F + v * g.lanes
        if p.at == NULL:
            turn_biased(strip, step, n, F, NULL if bias == NULL else bias + f, relu, out + f * g.area + start, g.area)
        else:
            for l in range(F):
                for q in range(n):
                    out[(f + l) * g.area + p.at[start + q]] = strip[q * step + l] + (
                        <floating>0 if bias == NULL else bias[f + l])


cdef void gather(const floating* x, const floating* W, Py_ssize_t f_step, Py_ssize_t c_step, floating* bias,
                 bint relu, floating* out, uint8_t* where, bint pooled, Py_ssize_t N, Gather* g, floating* packed,
                 floating* scratch, Py_ssize_t private, int num_threads) noexcept nogil:
    cdef Py_ssize_t channels_out = g.groups * g.F, rows = g.area // g.width // 2, columns = g.width // 2, f
    cdef floating* target
    cdef Py_ssize_t n, s, group, item, parts, part, first, last, start, si, strips, y0, y1
    cdef Py_ssize_t channels = g.groups * g.C, pixels = 0
    cdef floating* mine
    cdef const floating* image
    cdef const floating* scene
    cdef unsigned state
    cdef Pass* p
    for s in range(g.passes):
        pixels = max(pixels, g.each[s].pixels)
    # With few images, threads share one; each pads the rows it needs.
    parts = 1 if num_threads == 1 or N >= 4 * num_threads else ceil_div(4 * num_threads, N)
    parts = 1 if pooled else max(min(parts, pixels // STRIP), 1)
    with parallel(num_threads=num_threads):
        mine = scratch + threadid() * private
        state = cconv_ftz_on()
        for group in prange(g.groups, schedule="static"):
            pack(W, g, group, f_step, c_step, packed)
        for item in prange(N * parts, schedule="dynamic"):
            n = item // parts
            part = item % parts
            image = x + n * channels * g.H * g.W
            target = mine + private - round_up(channels_out * g.area, ALIGNMENT) if pooled else (
                out + n * channels_out * g.area)
            scene = image
            if g.padded:
                scene = mine + TILE_MAX_V * STRIP * g.lanes
            for s in range(g.passes):
                p = g.each + s
                strips = ceil_div(p.pixels, STRIP)
                first = part * strips // parts * STRIP
                last = min((part + 1) * strips // parts * STRIP, p.pixels)
                if last <= first:
                    continue
                if g.padded and (s == 0 or parts > 1):
                    y0 = 0
                    y1 = g.PH
                    if parts > 1:
                        y0 = p.off[first] // g.PW
                        y1 = (p.off[last - 1] + p.reach) // g.PW + 1
                    pad_image(image, channels, g, y0, y1, mine + TILE_MAX_V * STRIP * g.lanes)
                for si in range(ceil_div(last - first, STRIP)):
                    start = first + si * STRIP
                    for group in range(g.groups):
                        gather_strip(scene, packed, bias, relu,
                                     g, p, group, start, min(STRIP, last - start), mine, target)
            if pooled:
                for f in range(n * channels_out, (n + 1) * channels_out):
                    max_of_fours(target, g.width, rows, columns, out + f * rows * columns,
                                 NULL if where == NULL else where + f * rows * columns)
                    target = target + g.area
        cconv_ftz_restore(state)


cdef void weight_gradient(const floating* dout, const floating* x, floating* dW, floating* db, Py_ssize_t N, Gather* g,
                          Py_ssize_t block, Py_ssize_t blocks, Py_ssize_t sets, Py_ssize_t length,
                          const Py_ssize_t* k_off, floating* sums, floating* scratch, Py_ssize_t private,
                          int num_threads) noexcept nogil:
    cdef Pass* p = g.each
    cdef Py_ssize_t lanes = g.vectors * g.lanes, K = g.C * p.taps, rows = K + 1
    cdef Py_ssize_t item, n, k, q, qi, b, c, channels, group, v, vi, V, P, m, size, count, total, f, fi
    cdef floating* mine
    cdef floating* turned
    cdef floating* mysum
    cdef const floating* image
    cdef const floating* gradient
    cdef unsigned state
    total = g.groups * rows * lanes
    with parallel(num_threads=num_threads):
        mine = scratch + threadid() * private
        state = cconv_ftz_on()
        for item in prange(sets * blocks * g.groups, schedule="dynamic"):
            group = item % g.groups
            b = item // g.groups % blocks
            m = item // (g.groups * blocks)
            c = b * block
            channels = min(block, g.C - c)
            k = c * p.taps
            size = channels * p.taps
            mysum = sums + m * total + group * rows * lanes
            memset(mysum + k * lanes, 0, size * lanes * sizeof(floating))
            if b == 0:
                memset(mysum + K * lanes, 0, lanes * sizeof(floating))
            turned = mine
            for n in range(m * N // sets, (m + 1) * N // sets):
                image = x + ((n * g.groups + group) * g.C + c) * g.H * g.W
                gradient = dout + (n * g.groups + group) * g.F * g.area
                if g.padded:
                    pad_image(image, channels, g, 0, g.PH, mine + length * lanes)
                    image = mine + length * lanes
                for qi in range(ceil_div(p.pixels, length)):
                    q = qi * length
                    count = min(length, p.pixels - q)
                    turn_padded(gradient + q, g.area, g.F, count, turned, lanes)
                    if b == 0:
                        add_rows(turned, lanes, count, g.vectors, mysum + K * lanes)
                    for vi in range(ceil_div(g.vectors, g.V)):
                        v = vi * g.V
                        V = min(g.V, g.vectors - v)
                        P = ceil_div(size, ceil_div(size, tile_rows(V)))
                        for fi in range(ceil_div(size, P)):
                            f = fi * P
                            tile(min(P, size - f), V, image, k_off + f, 1, 0, count, p.off + q,
                                 turned + v * g.lanes, lanes, mysum + (k + f) * lanes + v * g.lanes, lanes, TILE_ADD)
        for k in prange(g.groups * rows, schedule="static"):
            for m in range(1, sets):
                for f in range(k * lanes, (k + 1) * lanes):
                    sums[f] += sums[m * total + f]
        for k in prange(g.groups * ceil_div(K, g.lanes), schedule="static"):
            group = k // ceil_div(K, g.lanes)
            c = k % ceil_div(K, g.lanes) * g.lanes
            turn(sums + (group * rows + c) * lanes, lanes, min(g.lanes, K - c), g.F, dW + group * g.F * K + c, K)
            if db != NULL and c == 0:
                memcpy(db + group * g.F, sums + (group * rows + K) * lanes, g.F * sizeof(floating))
        cconv_ftz_restore(state)


cdef class Plan:
    """The tables of one geometry: a forward pass (also the weight gradient's) or an input gradient's."""

    cdef Gather g
    cdef object tables
    cdef object each
    cdef Py_ssize_t itemsize
    cdef bint backward

    def __init__(self, tuple source, tuple filters, tuple target, Py_ssize_t sh, Py_ssize_t sw, Py_ssize_t pt,
                 Py_ssize_t pl, Py_ssize_t dh, Py_ssize_t dw, Py_ssize_t groups, Py_ssize_t itemsize, bint backward):
        cdef Gather* g = &self.g
        cdef Py_ssize_t FH = filters[2], FW = filters[3], H = target[1], W = target[2], y, z, i, j, py, pz, end
        cdef Py_ssize_t below, right
        cdef Pass* p
        cdef Py_ssize_t* room
        self.itemsize = itemsize
        self.backward = backward
        g.groups = groups
        g.C = source[0] // groups
        g.F = target[0] // groups
        g.H = source[1]
        g.W = source[2]
        g.area = H * W
        g.width = W
        if not backward:
            g.top = pt
            g.left = pl
            g.PH = max((H - 1) * sh + (FH - 1) * dh + 1, 1)
            g.PW = max((W - 1) * sw + (FW - 1) * dw + 1, 1)
            # Without padding the image is read where it is, however much of it the windows leave out.
            g.padded = pt > 0 or pl > 0 or g.PH > g.H or g.PW > g.W
            if not g.padded:
                g.PH = g.H
                g.PW = g.W
            g.passes = 1
        else:
            g.top = max(ceil_div(max((FH - 1) * dh - pt, 0), sh), 0)
            g.left = max(ceil_div(max((FW - 1) * dw - pl, 0), sw), 0)
            below = (H - 1 + pt) // sh
            right = (W - 1 + pl) // sw
            g.PH = g.top + max(below + 1, 1)
            g.PW = g.left + max(right + 1, 1)
            g.padded = not (g.top == 0 and g.left == 0 and g.PH <= g.H and g.PW <= g.W)
            if not g.padded:
                g.PH = g.H
                g.PW = g.W
            g.passes = sh * sw
        g.lanes = TILE_BYTES // itemsize
        g.vectors = ceil_div(g.F, g.lanes)
        self.each = bytearray(g.passes * sizeof(Pass))
        g.each = <Pass*><char*>self.each
        self.tables = np.empty(2 * g.area + 2 * FH * FW * g.passes + 1, np.intp)
        room = <Py_ssize_t*>cnp.PyArray_DATA(self.tables)
        g.weights = 0
        end = 0
        if not backward:
            p = g.each
            p.off = room
            p.table = room + g.area
            p.tap = p.table + FH * FW
            p.at = NULL
            p.pixels = g.area
            p.taps = FH * FW
            p.weights = 0
            for y in range(H):
                for z in range(W):
                    p.off[y * W + z] = y * sh * g.PW + z * sw
            for i in range(FH):
                for j in range(FW):
                    p.table[i * FW + j] = i * dh * g.PW + j * dw
                    p.tap[i * FW + j] = i * FW + j
            p.reach = p.table[FH * FW - 1]
        else:
            for py in range(sh):
                for pz in range(sw):
                    p = g.each + py * sw + pz
                    p.weights = g.weights
                    p.taps = 0
                    p.reach = 0
                    p.table = room
                    p.tap = room + FH * FW
                    room += 2 * FH * FW
                    # The smallest input position of this phase fixes how far each tap lies in dout.
                    for i in range(FH):
                        if (py + pt - i * dh) % sh != 0:
                            continue
                        for j in range(FW):
                            if (pz + pl - j * dw) % sw != 0:
                                continue
                            y = floor_div(py + pt - i * dh, sh) + g.top
                            z = floor_div(pz + pl - j * dw, sw) + g.left
                            p.table[p.taps] = y * g.PW + z
                            p.reach = max(p.reach, p.table[p.taps])
                            p.tap[p.taps] = i * FW + j
                            p.taps += 1
                    p.off = room
                    p.pixels = 0
                    for y in range(py, H, sh):
                        for z in range(pz, W, sw):
                            p.off[p.pixels] = (y // sh) * g.PW + z // sw
                            p.pixels += 1
                    room += p.pixels
                    p.at = NULL
                    if g.passes > 1:
                        p.at = room
                        end = 0
                        for y in range(py, H, sh):
                            for z in range(pz, W, sw):
                                p.at[end] = y * W + z
                                end += 1
                        room += p.pixels
                    g.weights += g.C * p.taps * g.vectors * g.lanes
        if not backward:
            g.weights = g.C * FH * FW * g.vectors * g.lanes
        g.V = tile_width(g.vectors, ceil_div(g.area, g.passes))


cdef inline Py_ssize_t floor_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a // b if a >= 0 else -((-a + b - 1) // b)


cdef dict plans = {}


cdef inline tuple sizes(cnp.ndarray images):
    """The channels, height and width of one image."""
    return images.shape[1], images.shape[2], images.shape[3]


cdef Plan find_plan(cnp.ndarray source, cnp.ndarray W, tuple target, tuple steps, bint backward):
    """Return the plan of a geometry, from the last few that were used."""
    cdef tuple key = (source.shape[1], source.shape[2], source.shape[3], W.shape[0], W.shape[2], W.shape[3],
                      target, steps, cnp.PyArray_ITEMSIZE(W), backward)
    found = plans.get(key)
    if found is None:
        found = Plan(sizes(source), (<object>W).shape, target, *steps, cnp.PyArray_ITEMSIZE(W), backward)
        if len(plans) >= 256:
            plans.clear()
        plans[key] = found
    return <Plan>found


cdef void check_scratch(double values):
    """Refuse a scratch whose size in bytes would leave a machine word."""
    if values > 2.0**56:
        raise MemoryError(f"padded images would take {values:.0f} values of scratch")


cdef void run_gather(cnp.ndarray source, cnp.ndarray W, object b, cnp.ndarray target, Plan plan, bint relu,
                     bint pooled, object argmax, int num_threads):
    cdef Gather* g = &plan.g
    cdef Py_ssize_t taps = W.shape[2] * W.shape[3], N = source.shape[0]
    cdef Py_ssize_t packed = round_up(g.groups * g.weights, ALIGNMENT)
    cdef Py_ssize_t private = TILE_MAX_V * STRIP * g.lanes
    cdef Py_ssize_t f_step = taps * g.C, c_step = taps
    cdef cnp.ndarray scratch
    cdef void* bias = NULL if b is None else cnp.PyArray_DATA(<cnp.ndarray>b)
    cdef void* xs = cnp.PyArray_DATA(source)
    cdef void* ws = cnp.PyArray_DATA(W)
    cdef void* out = cnp.PyArray_DATA(target)
    cdef uint8_t* where = NULL if argmax is None else <uint8_t*>cnp.PyArray_DATA(<cnp.ndarray>argmax)
    cdef void* work
    if target.shape[0] == 0:
        return
    if plan.backward:
        f_step = taps
        c_step = taps * g.F
    if g.padded:
        check_scratch(<double>g.groups * g.C * g.PH * g.PW * num_threads)
        private += round_up(g.groups * g.C * g.PH * g.PW, ALIGNMENT)
    if pooled:
        private += round_up(g.groups * g.F * g.area, ALIGNMENT)
    scratch = empty((packed + private * num_threads,), W.dtype)
    work = cnp.PyArray_DATA(scratch)
    if cnp.PyArray_TYPE(W) == cnp.NPY_FLOAT:
        with nogil:
            gather[float](<float*>xs, <float*>ws, f_step, c_step, <float*>bias, relu, <float*>out, where, pooled, N, g,
                          <float*>work, <float*>work + packed, private, num_threads)
    else:
        with nogil:
            gather[double](<double*>xs, <double*>ws, f_step, c_step, <double*>bias, relu, <double*>out, where, pooled,
                           N, g, <double*>work, <double*>work + packed, private, num_threads)


def forward(cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out,
            int sh, int sw, int pt, int pl, int dh, int dw, int groups, int num_threads):
    """Write the convolution of x (N, C, H, W) with W (FN, C / groups, FH, FW), plus b (FN,) or None, into out."""
    cdef Plan plan = find_plan(x, W, sizes(out), (sh, sw, pt, pl, dh, dw, groups), False)
    run_gather(x, W, b, out, plan, False, False, None, num_threads)


def forward_pooled(cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out, object argmax, int OH, int OW,
                   int sh, int sw, int pt, int pl, int dh, int dw, int groups, int num_threads):
    """Write the 2 x 2 maxima, stride 2, of relu(convolution) into out, and where they lie into argmax unless None.

    OH and OW are the size of the convolution's own output, of which a thread holds one image at a time.
    """
    cdef tuple steps = (sh, sw, pt, pl, dh, dw, groups)
    cdef Plan plan = find_plan(x, W, (W.shape[0], OH, OW), steps, False)
    run_gather(x, W, b, out, plan, True, True, argmax, num_threads)


def backward_input(cnp.ndarray dout, cnp.ndarray W, cnp.ndarray dx,
                   int sh, int sw, int pt, int pl, int dh, int dw, int groups, int num_threads, object bias=None):
    """Write the gradient with respect to the input, plus a bias per input channel or None, into dx."""
    cdef Plan plan = find_plan(dout, W, sizes(dx), (sh, sw, pt, pl, dh, dw, groups), True)
    run_gather(dout, W, bias, dx, plan, False, False, None, num_threads)


def backward_weights(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dW, object db,
                     int sh, int sw, int pt, int pl, int dh, int dw, int groups, int num_threads):
    """Write the gradient with respect to the filters into dW and, unless db is None, that of the bias into db."""
    cdef Plan plan = find_plan(x, dW, sizes(dout), (sh, sw, pt, pl, dh, dw, groups), False)
    cdef Gather* g = &plan.g
    cdef Pass* p = g.each
    cdef Py_ssize_t N = x.shape[0], lanes = g.vectors * g.lanes, rows = g.C * p.taps + 1
    cdef Py_ssize_t block = min(ceil_div(GRADIENT_BLOCK, p.taps), g.C), blocks = ceil_div(g.C, block)
    cdef Py_ssize_t total = g.groups * rows * lanes, length, strips, sets, k, private, summed
    cdef cnp.ndarray scratch, offsets
    cdef void* bias = NULL if db is None else cnp.PyArray_DATA(<cnp.ndarray>db)
    cdef void* xs = cnp.PyArray_DATA(x)
    cdef void* ds = cnp.PyArray_DATA(dout)
    cdef void* ws = cnp.PyArray_DATA(dW)
    cdef void* work
    cdef Py_ssize_t* off
    if N == 0:
        dW[...] = 0
        if db is not None:
            db[...] = 0
        return
    sets = min(ceil_div(GRADIENT_ITEMS, blocks * g.groups), GRADIENT_BYTES // (total * plan.itemsize))
    sets = max(min(sets, N), 1)
    strips = ceil_div(p.pixels, max(GRADIENT_STRIP // lanes, g.lanes))
    length = round_up(ceil_div(p.pixels, strips), g.lanes)
    private = round_up(length * lanes, ALIGNMENT)
    if g.padded:
        check_scratch(<double>block * g.PH * g.PW * num_threads)
        private += round_up(block * g.PH * g.PW, ALIGNMENT)
    summed = round_up(total * sets, ALIGNMENT)
    scratch = empty((summed + private * num_threads,), dW.dtype)
    work = cnp.PyArray_DATA(scratch)
    offsets = empty((block * p.taps,), np.intp)
    off = <Py_ssize_t*>cnp.PyArray_DATA(offsets)
    for k in range(block * p.taps):
        off[k] = k // p.taps * g.PH * g.PW + p.table[k % p.taps]
    if cnp.PyArray_TYPE(dW) == cnp.NPY_FLOAT:
        with nogil:
            weight_gradient[float](<float*>ds, <float*>xs, <float*>ws, <float*>bias, N, g, block, blocks, sets, length,
                                   off, <float*>work, <float*>work + summed, private, num_threads)
    else:
        with nogil:
            weight_gradient[double](<double*>ds, <double*>xs, <double*>ws, <double*>bias, N, g, block, blocks, sets,
                                    length, off, <double*>work, <double*>work + summed, private, num_threads)
