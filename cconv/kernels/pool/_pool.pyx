"""Max pooling with its argmax, average pooling, and their gradients."""

#     max      out[n, c, y, z] = max over i, j of  x[n, c, y*sh - pt + i*dh, z*sw - pl + j*dw]
#     average  out[n, c, y, z] = 1/size * sum over the same window
#
# Arrays are NCHW; the output's shape decides how far the windows go. One image plane (n, c), or some that fill a part
# of the cache, are one piece of work. Maxima over up to 255 values, and averages, go through window.h, a vector of
# outputs at a time; windows of 2 x 2 and 3 x 3 that are two apart, also for the gradients, through loops of their own
# there. What these leave is computed here: maxima a row of outputs tap by tap, so that the inner loop runs along the
# row, which waits with its positions in two small arrays; their gradients one by one, into a plane that stays in the
# cache. Sums of rows, of columns and of windows that overlap are long ones (sums.h).
#
# Edge cases: padding is left out of a maximum (as -inf would be); a NaN in a window is its maximum; of equal values the
# first, in the order of (i, j), wins; `argmax` is its i*FW + j. An average counts padding as zeros in `size`, or leaves
# it out of `size` when count_include_pad is False; what lies beyond the padding (ceil_mode) never counts.

cimport numpy as cnp
from cython cimport floating
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memset

from cconv.kernels.runtime._threads cimport Pieces, run_job, shared_word, take_piece, word_or
from cconv.kernels.runtime.arrays cimport data
from cconv.kernels.runtime.division cimport ceil_div, round_up
from cconv.kernels.vector.sums cimport SUM_BLOCK, sum_add, sum_row, sum_whole

from cconv.kernels.runtime._memory import empty

cnp.import_array()

# Laws: they follow from vectors and lines of the cache.
cdef enum:
    SPARE = 16     # divisors beyond the last output: a vector of them may be read
    ALIGNMENT = 64  # values between two threads' scratch

# Fits: `python -m benchmarks.tune --only pool-pieces`.
cdef enum:
    SEGMENT = 128  # outputs of a row that are computed together
    GROUP = 32768  # values of planes that are scattered together

ctypedef fused position:
    uint8_t
    int32_t

cdef extern from "pool/pool.h" nogil:
    void max_of_tap_float(const float*, Py_ssize_t, Py_ssize_t, int32_t, float*, int32_t*) noexcept
    void max_of_tap_double(const double*, Py_ssize_t, Py_ssize_t, int64_t, double*, int64_t*) noexcept

cdef extern from "pool/window.h" nogil:
    ctypedef struct Geometry "window_geometry":
        Py_ssize_t planes, H, W, OH, OW
        int fh, fw, sh, sw, pt, pl, dh, dw
    const int WINDOW_ROOM
    Py_ssize_t window_rows(const Geometry*) noexcept
    bint max_windows_float(const float*, const Geometry*, float*, uint8_t*, float*) noexcept
    bint max_windows_double(const double*, const Geometry*, double*, uint8_t*, double*) noexcept
    void sum_windows_float(const float*, Py_ssize_t, const Geometry*, const float*, const float*, float*,
                           float*) noexcept
    void sum_windows_double(const double*, Py_ssize_t, const Geometry*, const double*, const double*, double*,
                            double*) noexcept
    void sum_windows_backward_float(const float*, Py_ssize_t, const Geometry*, const float*, const float*, float*,
                                    float*) noexcept
    void sum_windows_backward_double(const double*, Py_ssize_t, const Geometry*, const double*, const double*, double*,
                                     double*) noexcept
    bint window_sums() noexcept
    Py_ssize_t window_room(const Geometry*, bint backward) noexcept
    bint window_quarters(const Geometry*) noexcept
    void average_pairs_float(const float*, Py_ssize_t, Py_ssize_t, const Geometry*, float*) noexcept
    void average_pairs_double(const double*, Py_ssize_t, Py_ssize_t, const Geometry*, double*) noexcept
    void average_pairs_backward_float(const float*, Py_ssize_t, Py_ssize_t, const Geometry*, float*) noexcept
    void average_pairs_backward_double(const double*, Py_ssize_t, Py_ssize_t, const Geometry*, double*) noexcept
    bint window_pairs(const Geometry*, bint backward) noexcept
    void max_pairs_float(const float*, Py_ssize_t, Py_ssize_t, const Geometry*, float*, uint8_t*, float*) noexcept
    void max_pairs_double(const double*, Py_ssize_t, Py_ssize_t, const Geometry*, double*, uint8_t*, double*) noexcept
    void scatter_pairs_float(const float*, const uint8_t*, Py_ssize_t, Py_ssize_t, const Geometry*, float*,
                             float*) noexcept
    void scatter_pairs_double(const double*, const uint8_t*, Py_ssize_t, Py_ssize_t, const Geometry*, double*,
                              double*) noexcept

cdef struct Taps:
    # For each position: how far across its window it is, and how far in memory.
    Py_ssize_t[255] across
    Py_ssize_t[255] offset
    # Windows of rows from `top` to before `bottom`, and of columns likewise, lie inside the image.
    Py_ssize_t top, bottom, left, right

cdef struct Job:
    bint single
    bint byte            # whether positions are bytes
    bint backward
    void* x              # images, or their gradients,
    void* out            # and what is pooled of them, or its gradients
    void* argmax
    Geometry g
    bint pairs           # whether the windows have a loop of their own
    Py_ssize_t groups    # of planes, each a piece of work
    Taps taps
    shared_word outside  # whether a position is not in the image
    void* rows           # divisors of an average, by rows
    void* columns        # and by columns
    void* scratch
    Py_ssize_t private   # values of it for each thread


cdef inline Py_ssize_t first_inside(Py_ssize_t start, Py_ssize_t stride) noexcept nogil:
    """The first output whose tap, at start + output * stride, is not before the image."""
    return 0 if start >= 0 else (-start + stride - 1) // stride


cdef inline Py_ssize_t end_inside(Py_ssize_t start, Py_ssize_t stride, Py_ssize_t size) noexcept nogil:
    """One more than the last output whose tap is not beyond the image."""
    return 0 if start >= size else (size - 1 - start) // stride + 1


cdef inline bint max_windows(const floating* x, const Geometry* g, floating* out, uint8_t* where,
                             floating* scratch) noexcept nogil:
    if floating is float:
        return max_windows_float(x, g, out, where, scratch)
    else:
        return max_windows_double(x, g, out, where, scratch)


cdef inline void sum_windows_backward(const floating* dout, Py_ssize_t planes, const Geometry* g, const floating* rows,
                                      const floating* columns, floating* dx, floating* scratch) noexcept nogil:
    if floating is float:
        sum_windows_backward_float(dout, planes, g, rows, columns, dx, scratch)
    else:
        sum_windows_backward_double(dout, planes, g, rows, columns, dx, scratch)


cdef inline void max_pairs(const floating* x, Py_ssize_t rest, Py_ssize_t planes, const Geometry* g, floating* out,
                           uint8_t* where, floating* scratch) noexcept nogil:
    if floating is float:
        max_pairs_float(x, rest, planes, g, out, where, scratch)
    else:
        max_pairs_double(x, rest, planes, g, out, where, scratch)


cdef inline void scatter_pairs(const floating* dout, const uint8_t* where, Py_ssize_t rest, Py_ssize_t planes,
                               const Geometry* g, floating* dx, floating* scratch) noexcept nogil:
    if floating is float:
        scatter_pairs_float(dout, where, rest, planes, g, dx, scratch)
    else:
        scatter_pairs_double(dout, where, rest, planes, g, dx, scratch)


cdef inline void sum_windows(const floating* x, Py_ssize_t planes, const Geometry* g, const floating* rows,
                             const floating* columns, floating* out, floating* scratch) noexcept nogil:
    if floating is float:
        sum_windows_float(x, planes, g, rows, columns, out, scratch)
    else:
        sum_windows_double(x, planes, g, rows, columns, out, scratch)


cdef inline void average_pairs(const floating* x, Py_ssize_t rest, Py_ssize_t planes, const Geometry* g,
                               floating* out) noexcept nogil:
    if floating is float:
        average_pairs_float(x, rest, planes, g, out)
    else:
        average_pairs_double(x, rest, planes, g, out)


cdef inline void average_pairs_backward(const floating* dout, Py_ssize_t rest, Py_ssize_t planes, const Geometry* g,
                                        floating* dx) noexcept nogil:
    if floating is float:
        average_pairs_backward_float(dout, rest, planes, g, dx)
    else:
        average_pairs_backward_double(dout, rest, planes, g, dx)


cdef inline void max_plane(const floating* x, floating* out, position* argmax, Geometry g,
                           floating* scratch) noexcept nogil:
    cdef Py_ssize_t y, z, r, q, i, j, start, lo, hi, count, segment
    cdef floating* best = scratch
    cdef int32_t* narrow = <int32_t*>(scratch + SEGMENT)
    cdef int64_t* wide = <int64_t*>(scratch + SEGMENT)
    if ((position is uint8_t or argmax == NULL) and window_rows(&g) > 0
            and max_windows(x, &g, out, <uint8_t*>argmax, scratch)):
        return
    for y in range(g.OH):
        for segment in range((g.OW + SEGMENT - 1) // SEGMENT):
            z = segment * SEGMENT
            count = min(g.OW - z, SEGMENT)
            i = first_inside(y * g.sh - g.pt, g.dh) * g.fw
            for q in range(count):
                # Where nothing is above -inf the first value of the window is its maximum.
                best[q] = -INFINITY
                j = first_inside((z + q) * g.sw - g.pl, g.dw)
                if floating is float:
                    narrow[q] = <int32_t>(i + j)
                else:
                    wide[q] = i + j
            for i in range(g.fh):
                r = y * g.sh - g.pt + i * g.dh
                if r < 0 or r >= g.H:
                    continue
                for j in range(g.fw):
                    start = z * g.sw - g.pl + j * g.dw
                    lo = min(first_inside(start, g.sw), count)
                    hi = max(min(end_inside(start, g.sw, g.W), count), lo)
                    if floating is float:
                        max_of_tap_float(x + r * g.W + start + lo * g.sw, g.sw, hi - lo, <int32_t>(i * g.fw + j),
                                         best + lo, narrow + lo)
                    else:
                        max_of_tap_double(x + r * g.W + start + lo * g.sw, g.sw, hi - lo, i * g.fw + j, best + lo,
                                          wide + lo)
            for q in range(count):
                out[y * g.OW + z + q] = best[q]
            if argmax != NULL:
                for q in range(count):
                    if floating is float:
                        argmax[y * g.OW + z + q] = <position>narrow[q]
                    else:
                        argmax[y * g.OW + z + q] = <position>wide[q]


cdef void some_maxima(const floating* x, floating* out, position* argmax, floating* mine, Job* job, Pieces* pieces,
                      int slot) noexcept nogil:
    cdef Geometry g = job.g
    cdef Py_ssize_t size = g.H * g.W, pooled = g.OH * g.OW, c, p, first, last
    cdef position* where
    mine += slot * job.private
    while (c := take_piece(pieces, slot)) >= 0:
        first = c * g.planes // job.groups
        last = (c + 1) * g.planes // job.groups
        where = NULL if argmax == NULL else argmax + first * pooled
        if job.pairs:
            # Such windows have positions of one byte, if these are wanted at all.
            max_pairs(x + first * size, (g.planes - first) * size, last - first, &g, out + first * pooled,
                      <uint8_t*>where, mine)
            continue
        for p in range(first, last):
            max_plane[floating, position](x + p * size, out + p * pooled,
                                          NULL if argmax == NULL else argmax + p * pooled, g, mine)


cdef void maxima(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    if job.single and job.byte:
        some_maxima(<const float*>job.x, <float*>job.out, <uint8_t*>job.argmax, <float*>job.scratch, job, pieces, slot)
    elif job.single:
        some_maxima(<const float*>job.x, <float*>job.out, <int32_t*>job.argmax, <float*>job.scratch, job, pieces, slot)
    elif job.byte:
        some_maxima(<const double*>job.x, <double*>job.out, <uint8_t*>job.argmax, <double*>job.scratch, job, pieces,
                    slot)
    else:
        some_maxima(<const double*>job.x, <double*>job.out, <int32_t*>job.argmax, <double*>job.scratch, job, pieces,
                    slot)


cdef inline bint all_between(const uint8_t* argmax, Py_ssize_t size, Py_ssize_t least, Py_ssize_t end) noexcept nogil:
    """Whether no position is below `least`, or `end` or above it."""
    cdef Py_ssize_t k
    cdef uint8_t below = <uint8_t>least, count = <uint8_t>(end - least), outside = 0
    for k in range(size):
        outside |= <uint8_t>(<uint8_t>(argmax[k] - below) >= count)
    return not outside


cdef inline bint points_inside(const uint8_t* argmax, const Geometry* g, const Taps* taps) noexcept nogil:
    """Whether all positions of a plane are in their window and in the image."""
    cdef Py_ssize_t y, z, r, q
    cdef bint outside = not all_between(argmax + taps.top * g.OW, (taps.bottom - taps.top) * g.OW, 0, g.fh * g.fw)
    for y in range(g.OH):
        if y < taps.top or y >= taps.bottom:
            r = y * g.sh - g.pt
            outside |= not all_between(argmax + y * g.OW, g.OW, first_inside(r, g.dh) * g.fw,
                                       min(end_inside(r, g.dh, g.H), g.fh) * g.fw)
    if outside:
        return False
    for z in range(g.OW):
        if z < taps.left or z >= taps.right:
            for y in range(g.OH):
                q = z * g.sw - g.pl + taps.across[argmax[y * g.OW + z]]
                outside |= q < 0 or q >= g.W
    return not outside


cdef inline void scatter_bytes(const floating* dout, const uint8_t* argmax, floating* dx, const Geometry* g,
                               const Taps* taps, int planes) noexcept nogil:
    """Scatter one plane, or two: additions to one may have to wait for each other, those to another need not."""
    cdef Py_ssize_t y, z, sw = g.sw, out = g.OH * g.OW, size = g.H * g.W
    cdef floating* at
    cdef floating* beside
    for y in range(g.OH):
        at = dx + (y * g.sh - g.pt) * g.W - g.pl
        beside = at + size
        for z in range(g.OW):
            at[taps.offset[argmax[z]]] += dout[z]
            at += sw
            if planes == 2:
                beside[taps.offset[argmax[out + z]]] += dout[out + z]
                beside += sw
        dout += g.OW
        argmax += g.OW


cdef inline bint scatter_wide(const floating* dout, const int32_t* argmax, floating* dx,
                              const Geometry* g) noexcept nogil:
    """Scatter one plane whose windows are too large for bytes; return whether all positions are in the image."""
    cdef Py_ssize_t y, z, r, q
    cdef bint inside = True
    for y in range(g.OH):
        for z in range(g.OW):
            r = y * g.sh - g.pt + argmax[z] // g.fw * g.dh
            q = z * g.sw - g.pl + argmax[z] % g.fw * g.dw
            if r < 0 or r >= g.H or q < 0 or q >= g.W:
                inside = False
            else:
                dx[r * g.W + q] += dout[z]
        dout += g.OW
        argmax += g.OW
    return inside


cdef bint scatter_planes(const floating* dout, const position* argmax, floating* dx, const Geometry* g,
                         const Taps* taps, Py_ssize_t planes) noexcept nogil:
    """Scatter some planes; return whether all positions are in the image."""
    cdef Py_ssize_t p, k, count, out = g.OH * g.OW, size = g.H * g.W
    if position is uint8_t:
        for p in range(planes):
            if not points_inside(argmax + p * out, g, taps):
                return False
    for p in range(0, planes, 2):
        count = min(2, planes - p)
        memset(dx + p * size, 0, count * size * sizeof(floating))
        if position is uint8_t:
            scatter_bytes(dout + p * out, argmax + p * out, dx + p * size, g, taps, count)
        else:
            for k in range(p, p + count):
                if not scatter_wide(dout + k * out, argmax + k * out, dx + k * size, g):
                    return False
    return True


cdef void some_max_gradients(const floating* dout, const position* argmax, floating* dx, floating* mine, Job* job,
                             Pieces* pieces, int slot) noexcept nogil:
    """Leave in `outside` whether a position is seen not to be in the image."""
    cdef Geometry g = job.g
    cdef Py_ssize_t size = g.H * g.W, out = g.OH * g.OW, c, first, last
    mine += slot * job.private
    while (c := take_piece(pieces, slot)) >= 0:
        first = c * g.planes // job.groups
        last = (c + 1) * g.planes // job.groups
        if job.pairs:
            scatter_pairs(dout + first * out, <const uint8_t*>argmax + first * out, (g.planes - first) * out,
                          last - first, &g, dx + first * size, mine)
        elif not scatter_planes[floating, position](dout + first * out, argmax + first * out, dx + first * size, &g,
                                                    &job.taps, last - first):
            word_or(&job.outside, 1)


cdef void max_gradients(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    if job.single and job.byte:
        some_max_gradients(<const float*>job.out, <const uint8_t*>job.argmax, <float*>job.x, <float*>job.scratch, job,
                           pieces, slot)
    elif job.single:
        some_max_gradients(<const float*>job.out, <const int32_t*>job.argmax, <float*>job.x, <float*>job.scratch, job,
                           pieces, slot)
    elif job.byte:
        some_max_gradients(<const double*>job.out, <const uint8_t*>job.argmax, <double*>job.x, <double*>job.scratch,
                           job, pieces, slot)
    else:
        some_max_gradients(<const double*>job.out, <const int32_t*>job.argmax, <double*>job.x, <double*>job.scratch,
                           job, pieces, slot)


cdef void find_taps(const Geometry* g, bint byte, Taps* taps) noexcept nogil:
    cdef Py_ssize_t k
    taps.top = min(first_inside(-g.pt, g.sh), g.OH)
    taps.bottom = max(taps.top, min(g.OH, end_inside((g.fh - 1) * g.dh - g.pt, g.sh, g.H)))
    taps.left = min(first_inside(-g.pl, g.sw), g.OW)
    taps.right = max(taps.left, min(g.OW, end_inside((g.fw - 1) * g.dw - g.pl, g.sw, g.W)))
    if byte:
        for k in range(g.fh * g.fw):
            taps.across[k] = k % g.fw * g.dw
            taps.offset[k] = k // g.fw * g.dh * g.W + taps.across[k]


cdef inline Py_ssize_t covered(Py_ssize_t start, Py_ssize_t size, Py_ssize_t extent) noexcept nogil:
    """How many of the positions start ... start + extent - 1 lie within 0 ... size - 1."""
    return max(min(start + extent, size) - max(start, 0), 0)


cdef inline floating sum_of_part(const floating* plane, Py_ssize_t W, Py_ssize_t top, Py_ssize_t bottom,
                                 Py_ssize_t left, Py_ssize_t right) noexcept nogil:
    """The sum of the rows from top to before bottom, and of their columns likewise."""
    cdef Py_ssize_t r, q
    cdef floating total = 0, lost = 0
    if right - left == W:  # whole rows are one piece
        return sum_row(plane + top * W, (bottom - top) * W)
    if max(bottom - top, right - left) <= SUM_BLOCK:
        for r in range(top, bottom):
            lost = 0
            for q in range(r * W + left, r * W + right):
                lost += plane[q]
            total += lost
        return total
    for r in range(top, bottom):
        sum_add(&total, &lost, sum_row(plane + r * W + left, right - left))
    return sum_whole(total, lost)


cdef inline void add_to_part(floating* plane, floating* lost, Py_ssize_t W, Py_ssize_t top, Py_ssize_t bottom,
                             Py_ssize_t left, Py_ssize_t right, floating value) noexcept nogil:
    """Add a value to rows from top to before bottom, in their columns likewise; in long sums unless lost is NULL."""
    cdef Py_ssize_t r, q
    for r in range(top, bottom):
        if lost != NULL:
            for q in range(r * W + left, r * W + right):
                sum_add(plane + q, lost + q, value)
        else:
            for q in range(r * W + left, r * W + right):
                plane[q] += value


cdef inline void begin_plane(floating* plane, floating* lost, Py_ssize_t size) noexcept nogil:
    memset(plane, 0, size * sizeof(floating))
    if lost != NULL:
        memset(lost, 0, size * sizeof(floating))


cdef inline void end_plane(floating* plane, const floating* lost, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t q
    if lost != NULL:
        for q in range(size):
            plane[q] = sum_whole(plane[q], lost[q])


cdef inline void average_plane(floating* x, floating* out, Geometry g, const floating* rows, const floating* columns,
                               floating* lost, bint backward) noexcept nogil:
    """The averages of one plane where window.h has no sums, or their gradients."""
    cdef Py_ssize_t y, z, top, left, bottom, right
    cdef floating size
    if backward:
        begin_plane(x, lost, g.H * g.W)
    for y in range(g.OH):
        top = max(y * g.sh - g.pt, 0)
        bottom = min(y * g.sh - g.pt + g.fh, g.H)
        for z in range(g.OW):
            left = max(z * g.sw - g.pl, 0)
            right = min(z * g.sw - g.pl + g.fw, g.W)
            size = columns[z] * rows[y]
            if backward:
                add_to_part(x, lost, g.W, top, bottom, left, right, out[y * g.OW + z] / size)
            else:
                out[y * g.OW + z] = sum_of_part(<const floating*>x, g.W, top, bottom, left, right) / size
    if backward:
        end_plane(x, <const floating*>lost, g.H * g.W)


cdef void divisors(const Geometry* g, Py_ssize_t below, Py_ssize_t right, bint count_include_pad, floating* rows,
                   floating* columns) noexcept nogil:
    """How many rows, and how many columns, count in each output's average."""
    cdef Py_ssize_t y, z, top, left
    for y in range(g.OH):
        top = y * g.sh - g.pt
        if count_include_pad:
            rows[y] = covered(top + g.pt, g.H + g.pt + below, g.fh)
        else:
            rows[y] = covered(top, g.H, g.fh)
    for z in range(g.OW):
        left = z * g.sw - g.pl
        if count_include_pad:
            columns[z] = covered(left + g.pl, g.W + g.pl + right, g.fw)
        else:
            columns[z] = covered(left, g.W, g.fw)
    for z in range(g.OW, g.OW + SPARE):
        columns[z] = 1


cdef void some_averages(floating* x, floating* out, floating* rows, floating* columns, floating* mine, Job* job,
                        Pieces* pieces, int slot) noexcept nogil:
    cdef Geometry g = job.g
    cdef Py_ssize_t size = g.H * g.W, part = g.OH * g.OW, c, p, first, last
    cdef floating* image
    cdef floating* pooled
    cdef bint quarters = window_quarters(&g)
    mine += slot * job.private
    while (c := take_piece(pieces, slot)) >= 0:
        first = c * g.planes // job.groups
        last = (c + 1) * g.planes // job.groups
        image = x + first * size
        pooled = out + first * part
        if quarters and job.backward:
            average_pairs_backward(pooled, (g.planes - first) * part, last - first, &g, image)
        elif quarters:
            average_pairs(image, (g.planes - first) * size, last - first, &g, pooled)
        elif not window_sums():
            for p in range(last - first):
                average_plane(image + p * size, pooled + p * part, g, <const floating*>rows, <const floating*>columns,
                              mine, job.backward)
        elif job.backward:
            sum_windows_backward(pooled, last - first, &g, rows, columns, image, mine)
        else:
            sum_windows(image, last - first, &g, rows, columns, pooled, mine)


cdef void averages(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    if job.single:
        some_averages(<float*>job.x, <float*>job.out, <float*>job.rows, <float*>job.columns, <float*>job.scratch, job,
                      pieces, slot)
    else:
        some_averages(<double*>job.x, <double*>job.out, <double*>job.rows, <double*>job.columns, <double*>job.scratch,
                      job, pieces, slot)


cdef void adaptive_plane(floating* x, floating* out, floating* lost, Geometry g, bint backward) noexcept nogil:
    """Windows that cut the image into OH x OW parts; part y begins at floor(y H / OH), ends at ceil((y + 1) H / OH)."""
    cdef Py_ssize_t y, z, top, bottom, left, right, size
    if backward:
        begin_plane(x, lost, g.H * g.W)
    for y in range(g.OH):
        top, bottom = y * g.H // g.OH, ((y + 1) * g.H + g.OH - 1) // g.OH
        for z in range(g.OW):
            left, right = z * g.W // g.OW, ((z + 1) * g.W + g.OW - 1) // g.OW
            size = (bottom - top) * (right - left)
            if backward:
                add_to_part(x, lost, g.W, top, bottom, left, right, out[y * g.OW + z] / size)
            else:
                out[y * g.OW + z] = sum_of_part(<const floating*>x, g.W, top, bottom, left, right) / size
    if backward:
        end_plane(x, <const floating*>lost, g.H * g.W)


cdef inline void whole_plane(floating* x, floating* out, Py_ssize_t size, bint backward) noexcept nogil:
    """The same for one part, which is the whole image."""
    cdef Py_ssize_t q
    if backward:
        for q in range(size):
            x[q] = 0 + out[0] / size
    else:
        out[0] = sum_row(<const floating*>x, size) / size


cdef void some_adaptive_planes(floating* x, floating* out, floating* lost, Job* job, Pieces* pieces,
                               int slot) noexcept nogil:
    """`lost` has a plane for each thread, or is NULL."""
    cdef Geometry g = job.g
    cdef Py_ssize_t c, p, size = g.H * g.W, part = g.OH * g.OW
    if lost != NULL:
        lost += slot * job.private
    while (c := take_piece(pieces, slot)) >= 0:
        for p in range(c * g.planes // job.groups, (c + 1) * g.planes // job.groups):
            if part == 1:
                whole_plane(x + p * size, out + p, size, job.backward)
            else:
                adaptive_plane(x + p * size, out + p * part, lost, g, job.backward)


cdef void adaptive_planes(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    if job.single:
        some_adaptive_planes(<float*>job.x, <float*>job.out, <float*>job.scratch, job, pieces, slot)
    else:
        some_adaptive_planes(<double*>job.x, <double*>job.out, <double*>job.scratch, job, pieces, slot)


cdef Geometry geometry(cnp.ndarray x, cnp.ndarray out, int fh, int fw, int sh, int sw, int pt, int pl, int dh, int dw):
    cdef Geometry g
    g.planes = x.shape[0] * x.shape[1]
    g.H, g.W, g.OH, g.OW = x.shape[2], x.shape[3], out.shape[2], out.shape[3]
    g.fh, g.fw, g.sh, g.sw, g.pt, g.pl, g.dh, g.dw = fh, fw, sh, sw, pt, pl, dh, dw
    return g


cdef inline Py_ssize_t parts_of(Py_ssize_t size, Py_ssize_t out) noexcept:
    """The most parts that one of `size` rows belongs to, where these are cut into `out` parts."""
    return ceil_div(out, size) + 1


cdef void set_arrays(Job* job, cnp.ndarray x, cnp.ndarray out):
    """Fill in the arrays of a job on planes whose geometry is known."""
    job.single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    job.x, job.out = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out)
    job.groups = ceil_div(job.g.planes * max(job.g.H * job.g.W, job.g.OH * job.g.OW), GROUP)


def max_pool(cnp.ndarray x, cnp.ndarray out, cnp.ndarray argmax, int fh, int fw, int sh, int sw, int pt, int pl,
             int dh, int dw, int num_threads, /):
    """Write the maxima into out and their positions in the window into argmax (uint8 or int32, or None)."""
    cdef Job job
    cdef cnp.ndarray scratch
    job.g = geometry(x, out, fh, fw, sh, sw, pt, pl, dh, dw)
    set_arrays(&job, x, out)
    job.argmax = data(argmax)
    job.byte = argmax is not None and cnp.PyArray_ITEMSIZE(argmax) == 1
    job.pairs = window_pairs(&job.g, False)
    job.private = WINDOW_ROOM
    scratch = empty((job.private * num_threads,), x.dtype)
    job.scratch = cnp.PyArray_DATA(scratch)
    with nogil:
        run_job(maxima, &job, job.groups, num_threads)


def max_pool_backward(cnp.ndarray dout, cnp.ndarray argmax, cnp.ndarray dx, int fh, int fw, int sh, int sw, int pt,
                      int pl, int dh, int dw, int num_threads, /):
    """Add each value of dout to the input that argmax names, in dx; return whether all of those are in the image."""
    cdef Job job
    cdef cnp.ndarray scratch
    job.g = geometry(dx, dout, fh, fw, sh, sw, pt, pl, dh, dw)
    set_arrays(&job, dx, dout)
    job.argmax = cnp.PyArray_DATA(argmax)
    job.byte = cnp.PyArray_ITEMSIZE(argmax) == 1
    job.pairs = job.byte and window_pairs(&job.g, True)
    job.private = WINDOW_ROOM if job.pairs else 0
    job.outside = 0
    scratch = empty((job.private * num_threads,), dx.dtype)
    job.scratch = cnp.PyArray_DATA(scratch)
    find_taps(&job.g, job.byte, &job.taps)
    with nogil:
        run_job(max_gradients, &job, job.groups, num_threads)
    return not job.outside


cdef void run_average(cnp.ndarray x, cnp.ndarray out, Geometry g, Py_ssize_t below, Py_ssize_t right,
                      bint count_include_pad, bint backward, int num_threads):
    cdef Py_ssize_t shared = round_up(g.OH + g.OW + SPARE, ALIGNMENT), itemsize = cnp.PyArray_ITEMSIZE(x)
    cdef bint quarters = window_quarters(&g)
    cdef cnp.ndarray scratch
    cdef Job job
    job.g, job.backward, job.private = g, backward, 0
    set_arrays(&job, x, out)
    if quarters:
        shared = 0
    elif window_sums():
        job.private = round_up(window_room(&g, backward), ALIGNMENT)
    elif backward:
        job.private = round_up(g.H * g.W, ALIGNMENT)
    scratch = empty((shared + job.private * num_threads,), x.dtype)
    job.rows = cnp.PyArray_DATA(scratch)
    job.columns = <char*>job.rows + g.OH * itemsize
    job.scratch = <char*>job.rows + shared * itemsize
    with nogil:
        if quarters:
            pass
        elif job.single:
            divisors(&g, below, right, count_include_pad, <float*>job.rows, <float*>job.columns)
        else:
            divisors(&g, below, right, count_include_pad, <double*>job.rows, <double*>job.columns)
        run_job(averages, &job, job.groups, num_threads)


def average_pool(cnp.ndarray x, cnp.ndarray out, int fh, int fw, int sh, int sw, int pt, int pl, int pb, int pr,
                 bint count_include_pad, int num_threads, /):
    """Write the averages of the windows into out."""
    run_average(x, out, geometry(x, out, fh, fw, sh, sw, pt, pl, 1, 1), pb, pr, count_include_pad, False, num_threads)


def average_pool_backward(cnp.ndarray dout, cnp.ndarray dx, int fh, int fw, int sh, int sw, int pt, int pl, int pb,
                          int pr, bint count_include_pad, int num_threads, /):
    """Divide each value of dout evenly among the inputs of its window in dx."""
    run_average(dx, dout, geometry(dx, dout, fh, fw, sh, sw, pt, pl, 1, 1), pb, pr, count_include_pad, True,
                num_threads)


cdef void run_adaptive(cnp.ndarray x, cnp.ndarray out, bint backward, int num_threads):
    cdef Geometry g = geometry(x, out, 1, 1, 1, 1, 0, 0, 1, 1)
    # A pixel's gradient is a long sum where it belongs to many parts.
    cdef bint many = backward and parts_of(g.H, g.OH) * parts_of(g.W, g.OW) > SUM_BLOCK
    cdef object scratch = empty((g.H * g.W * num_threads,), x.dtype) if many else None
    cdef Job job
    job.g, job.backward, job.private, job.scratch = g, backward, g.H * g.W, data(scratch)
    set_arrays(&job, x, out)
    with nogil:
        run_job(adaptive_planes, &job, job.groups, num_threads)


def adaptive_average_pool(cnp.ndarray x, cnp.ndarray out, int num_threads, /):
    """Write the averages of the parts that out's shape cuts the images into."""
    run_adaptive(x, out, False, num_threads)


def adaptive_average_pool_backward(cnp.ndarray dout, cnp.ndarray dx, int num_threads, /):
    """Divide each value of dout evenly among the inputs of its part in dx."""
    run_adaptive(dx, dout, True, num_threads)
