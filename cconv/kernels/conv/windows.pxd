"""Weight gradients over a list of outputs, to few channels: 'windows' in the tables of algorithms."""

# Where the input's gradient is not wanted, the weight gradient of pooled outputs visits the maxima alone:
#
#     dW[f, c, i] += dout[n, f, Y, Z] * image[place of the maximum + c*plane + i*dh*PW ...]   lanes = the taps of a row
#
# So does that of any dout with many zeros, as they come from layers that run one by one: in place of the maxima it
# visits the values that are not 0. Few channels and small filters alone make that worth while.
#
# Windows begin at any value of a line of the cache and would often end in the next one: so there is a second copy of
# the image, half a line out of step, and `base` names the one in which they do not.

from cython cimport floating
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memcpy, memset

from cconv.kernels.conv.padding cimport pad_image
from cconv.kernels.conv.plan cimport WINDOW_LANES, WINDOWS, WindowPlan
from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.runtime.division cimport ceil_div
from cconv.kernels.vector.sums cimport sum_add, sum_parts, sum_row


cdef extern from "conv/windows.h" nogil:
    Py_ssize_t list_windows_float(const float*, const float*, const uint8_t*, const int32_t*, Py_ssize_t, int32_t,
                                  int32_t, float*, int32_t*) noexcept
    Py_ssize_t list_windows_double(const double*, const double*, const uint8_t*, const int32_t*, Py_ssize_t, int32_t,
                                   int32_t, double*, int32_t*) noexcept
    void add_windows_float(int, int, const float*, const Py_ssize_t*, const int32_t*, const float*, Py_ssize_t,
                           float*) noexcept
    void add_windows_double(int, int, const double*, const Py_ssize_t*, const int32_t*, const double*, Py_ssize_t,
                            double*) noexcept


cdef struct WindowJob:
    bint single
    const void* dout  # IN, (N, F, g.area)
    const void* y  # IN, the maxima, or NULL: dout is the gradient of the convolution's own output
    const uint8_t* argmax  # IN, where they lie, or NULL
    const void* x  # IN
    void* dW  # OUT
    void* db  # OUT, or NULL
    WindowPlan* g
    Py_ssize_t N, sets  # images, and sets of them: each is a piece of work
    void* sums
    void* scratch  # g.private values for each thread


cdef inline Py_ssize_t list_windows(const floating* dout, const floating* y, const uint8_t* argmax, const int32_t* base,
                                    Py_ssize_t count, int32_t down, int32_t across, floating* value,
                                    int32_t* at) noexcept nogil:
    """List the outputs that count: see windows.h, which explains each argument."""
    if floating is float:
        return list_windows_float(dout, y, argmax, base, count, down, across, value, at)
    else:
        return list_windows_double(dout, y, argmax, base, count, down, across, value, at)


cdef inline void add_windows(const floating* image, const WindowPlan* g, const int32_t* at, const floating* value,
                             Py_ssize_t n, floating* total) noexcept nogil:
    if floating is float:
        add_windows_float(<int>g.rows, <int>g.FW, image, g.row, at, value, n, total)
    else:
        add_windows_double(<int>g.rows, <int>g.FW, image, g.row, at, value, n, total)


cdef inline void finish_filter(floating* sums, Py_ssize_t f, Py_ssize_t F, Py_ssize_t size, Py_ssize_t sets,
                               floating* db) noexcept nogil:
    """Add up the sets' `size` sums of filter f, in order; of the last WINDOW_LANES two are dout's, for the bias."""
    cdef Py_ssize_t m, j
    cdef floating* total = sums + f * size
    for m in range(1, sets):
        for j in range(size - WINDOW_LANES):
            total[j] += sums[(m * F + f) * size + j]
    if db != NULL:
        db[f] = sum_parts(total + size - WINDOW_LANES, F * size, sets, 1)


cdef inline void sum_sets(const floating* dout, const floating* y, const floating* x, const WindowJob* job,
                          Pieces* pieces, int slot) noexcept nogil:
    """Add up the windows of listed outputs, image by image."""
    cdef const WindowPlan* g = job.g
    cdef Py_ssize_t size = (g.rows + 1) * WINDOW_LANES, N = job.N, area = g.area, sets = job.sets
    cdef Py_ssize_t image_size = g.source.C * g.source.H * g.source.W, set_, n, f, k, count, m, c
    cdef floating* mine = <floating*>job.scratch + slot * g.private
    cdef floating* image = mine + 2 * WINDOWS
    cdef floating* sums
    cdef floating* total
    cdef int32_t* at = <int32_t*>(mine + WINDOWS)
    while (set_ := take_piece(pieces, slot)) >= 0:
        sums = <floating*>job.sums + set_ * g.sums
        memset(sums, 0, g.sums * sizeof(floating))
        for n in range(set_ * N // sets, (set_ + 1) * N // sets):
            pad_image(x + n * image_size, x + N * image_size, g.source.C, &g.source, 0, g.source.PH, image)
            memcpy(image + g.copy, image + g.half, g.source.C * g.source.plane * sizeof(floating))
            for f in range(g.F):
                for c in range(ceil_div(area, WINDOWS)):
                    k = (n * g.F + f) * area + c * WINDOWS
                    count = min(WINDOWS, area - c * WINDOWS)
                    m = k if y != NULL else 0
                    count = list_windows(dout + k, y + m, job.argmax + m, g.base + c * WINDOWS, count, g.down, g.across,
                                         mine, at)
                    total = sums + f * size + g.rows * WINDOW_LANES
                    sum_add(total, total + 1, sum_row(<const floating*>mine, count))
                    add_windows(<const floating*>image, g, at, <const floating*>mine, count + count % 2,
                                sums + f * size)


cdef inline void window_sets(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef WindowJob* job = <WindowJob*>given
    if job.single:
        sum_sets(<const float*>job.dout, <const float*>job.y, <const float*>job.x, job, pieces, slot)
    else:
        sum_sets(<const double*>job.dout, <const double*>job.y, <const double*>job.x, job, pieces, slot)


cdef inline void finish_filters(floating* sums, floating* dW, floating* db, const WindowJob* job, Pieces* pieces,
                                int slot) noexcept nogil:
    cdef Py_ssize_t R = job.g.rows, FW = job.g.FW, size = (R + 1) * WINDOW_LANES, f, r
    while (f := take_piece(pieces, slot)) >= 0:
        finish_filter(sums, f, job.g.F, size, job.sets, db)
        for r in range(R):
            memcpy(dW + (f * R + r) * FW, sums + f * size + r * WINDOW_LANES, FW * sizeof(floating))


cdef inline void window_filters(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef WindowJob* job = <WindowJob*>given
    if job.single:
        finish_filters(<float*>job.sums, <float*>job.dW, <float*>job.db, job, pieces, slot)
    else:
        finish_filters(<double*>job.sums, <double*>job.dW, <double*>job.db, job, pieces, slot)


cdef inline void run_windows(WindowJob* job, int num_threads) noexcept nogil:
    run_job(window_sets, job, job.sets, num_threads)
    run_job(window_filters, job, job.g.F, num_threads)
