"""Gradients of a convolution that visit a list of dout's values: those of pooled outputs, or those that are not 0."""

# Where the input's gradient is not wanted, the weight gradient of pooled outputs (conv/pooled.h) visits the maxima alone:
#
#     dW[f, c, i] += dout[n, f, Y, Z] * image[place of the maximum + c*plane + i*dh*PW ...]   lanes = the taps of a row
#
# So does that of any dout with many zeros, as they come from layers that run one by one: in place of the maxima it
# visits the values that are not 0. Few channels and small filters alone make that worth while.
#
# With more channels, both gradients can visit the maxima, or the values that are not 0, alone (conv/list.h): of an
# image with its channels last, what lies under a filter's row of taps follows each other, and is a factor of an
# output's gradient, or its sum, as a whole. Four in five of a dense pass's multiply-adds are with zeros.

from cython cimport floating
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memcpy, memset

from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.conv.gather cimport Gather, pad_image
from cconv.kernels.runtime.division cimport ceil_div
from cconv.kernels.vector.sums cimport sum_add, sum_parts, sum_row
from cconv.kernels.vector.layout cimport transpose_matrix, transpose_padded


cdef extern from "conv/pooled.h" nogil:
    const int WINDOW_BYTES
    const int WINDOW_LANES
    const int WINDOW_ROWS
    Py_ssize_t find_windows_float(const float*, const float*, const uint8_t*, const int32_t*, Py_ssize_t, int32_t,
                                  int32_t, float*, int32_t*) noexcept
    Py_ssize_t find_windows_double(const double*, const double*, const uint8_t*, const int32_t*, Py_ssize_t, int32_t,
                                   int32_t, double*, int32_t*) noexcept
    void add_windows_float(int, int, const float*, const Py_ssize_t*, const int32_t*, const float*, Py_ssize_t,
                           float*) noexcept
    void add_windows_double(int, int, const double*, const Py_ssize_t*, const int32_t*, const double*, Py_ssize_t,
                            double*) noexcept

cdef extern from "conv/list.h" nogil:
    const int LIST_ROWS
    int list_vectors(int R) noexcept
    void add_listed_float(int, int, const float*, Py_ssize_t, const int32_t*, const float*, Py_ssize_t, float*,
                          Py_ssize_t) noexcept
    void add_listed_double(int, int, const double*, Py_ssize_t, const int32_t*, const double*, Py_ssize_t, double*,
                           Py_ssize_t) noexcept
    void channels_last_float(const float*, Py_ssize_t, Py_ssize_t, const Py_ssize_t*, float*) noexcept
    void channels_last_double(const double*, Py_ssize_t, Py_ssize_t, const Py_ssize_t*, double*) noexcept
    void channels_first_float(const float*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, float*) noexcept
    void channels_first_double(const double*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, double*) noexcept
    void spread_listed_float(int, int, float*, Py_ssize_t, const int32_t*, const float*, Py_ssize_t, const float*,
                             Py_ssize_t) noexcept
    void spread_listed_double(int, int, double*, Py_ssize_t, const int32_t*, const double*, Py_ssize_t, const double*,
                              Py_ssize_t) noexcept


cdef enum:
    WINDOWS = 448  # outputs that are listed at a time

cdef struct WindowJob:
    bint single
    const void* dout
    const void* y  # or NULL
    const uint8_t* where
    const void* x
    void* dW
    void* db  # or NULL
    Gather* g
    Py_ssize_t N, area, FW
    const int32_t* base  # where the window of each output begins
    const Py_ssize_t* taps  # and where its rows begin from there
    Py_ssize_t copy, half  # where a second copy of the image lies, and how far it is out of step
    Py_ssize_t sets  # of images, each a piece of work
    void* sums
    void* scratch
    Py_ssize_t private  # values of it for each thread


cdef inline Py_ssize_t find_windows(const floating* dout, const floating* y, const uint8_t* where, const int32_t* base,
                                    Py_ssize_t count, Py_ssize_t down, Py_ssize_t across, floating* value,
                                    int32_t* at) noexcept nogil:
    if floating is float:
        return find_windows_float(dout, y, where, base, count, <int32_t>down, <int32_t>across, value, at)
    else:
        return find_windows_double(dout, y, where, base, count, <int32_t>down, <int32_t>across, value, at)


cdef inline void add_windows(Py_ssize_t R, Py_ssize_t FW, const floating* image, const Py_ssize_t* rows,
                             const int32_t* at, const floating* value, Py_ssize_t n, floating* total) noexcept nogil:
    if floating is float:
        add_windows_float(<int>R, <int>FW, image, rows, at, value, n, total)
    else:
        add_windows_double(<int>R, <int>FW, image, rows, at, value, n, total)


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


cdef inline Py_ssize_t window_rows(WindowJob* job) noexcept nogil:
    """The rows of taps of a filter, which have WINDOW_LANES sums each."""
    return job.g.C * (job.g.each.taps // job.FW)


cdef inline void some_window_sets(const floating* dout, const floating* y, const floating* x, floating* sums,
                                  floating* scratch, WindowJob* job, Pieces* pieces, int slot) noexcept nogil:
    """Add up the windows of listed outputs, image by image.

    Windows begin at any value of a line of the cache and would often end in the next one: so there is a second copy of
    the image, `copy` values further, half a line out of step, and `base` names the one in which they do not.
    """
    cdef Gather* g = job.g
    cdef Py_ssize_t R = window_rows(job), size = (R + 1) * WINDOW_LANES, N = job.N, area = job.area, sets = job.sets
    cdef Py_ssize_t item, n, f, k, count, m, c
    cdef floating* mine = scratch + slot * job.private
    cdef floating* image = mine + 2 * WINDOWS
    cdef floating* total
    cdef int32_t* at = <int32_t*>(mine + WINDOWS)
    while (item := take_piece(pieces, slot)) >= 0:
        memset(sums + item * g.F * size, 0, g.F * size * sizeof(floating))
        for n in range(item * N // sets, (item + 1) * N // sets):
            pad_image(x + n * g.C * g.H * g.W, x + N * g.C * g.H * g.W, g.C, g, 0, g.PH, image)
            memcpy(image + job.copy, image + job.half, g.C * g.plane * sizeof(floating))
            for f in range(g.F):
                for c in range(ceil_div(area, WINDOWS)):
                    k = (n * g.F + f) * area + c * WINDOWS
                    count = min(WINDOWS, area - c * WINDOWS)
                    m = k if y != NULL else 0
                    count = find_windows(dout + k, y + m, job.where + m, job.base + c * WINDOWS, count, g.down * g.PW,
                                         g.across, mine, at)
                    total = sums + (item * g.F + f) * size + R * WINDOW_LANES
                    sum_add(total, total + 1, sum_row(<const floating*>mine, count))
                    add_windows(R, job.FW, <const floating*>image, job.taps, at, <const floating*>mine,
                                count + count % 2, sums + (item * g.F + f) * size)


cdef inline void window_sets(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef WindowJob* job = <WindowJob*>given
    if job.single:
        some_window_sets(<const float*>job.dout, <const float*>job.y, <const float*>job.x, <float*>job.sums,
                         <float*>job.scratch, job, pieces, slot)
    else:
        some_window_sets(<const double*>job.dout, <const double*>job.y, <const double*>job.x, <double*>job.sums,
                         <double*>job.scratch, job, pieces, slot)


cdef inline void some_window_filters(floating* sums, floating* dW, floating* db, WindowJob* job, Pieces* pieces,
                                     int slot) noexcept nogil:
    cdef Py_ssize_t R = window_rows(job), FW = job.FW, size = (R + 1) * WINDOW_LANES, f, r
    while (f := take_piece(pieces, slot)) >= 0:
        finish_filter(sums, f, job.g.F, size, job.sets, db)
        for r in range(R):
            memcpy(dW + (f * R + r) * FW, sums + f * size + r * WINDOW_LANES, FW * sizeof(floating))


cdef inline void window_filters(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef WindowJob* job = <WindowJob*>given
    if job.single:
        some_window_filters(<float*>job.sums, <float*>job.dW, <float*>job.db, job, pieces, slot)
    else:
        some_window_filters(<double*>job.sums, <double*>job.dW, <double*>job.db, job, pieces, slot)


cdef inline void window_gradient(WindowJob* job, int num_threads) noexcept nogil:
    run_job(window_sets, job, job.sets, num_threads)
    run_job(window_filters, job, job.g.F, num_threads)


cdef struct Piece:
    int R, J  # rows and vectors of a window,
    Py_ssize_t pixels, weights  # and where they begin in an image and in a filter

cdef struct List:
    Py_ssize_t N, C, F, H, W, FH, FW
    Py_ssize_t PH, PW, pixel  # the padded image, of which a pixel has so many values: whole vectors
    Py_ssize_t down, up  # how far apart the rows of a window are, and those of windows below each other
    Py_ssize_t across
    Py_ssize_t rows, columns  # of the list
    Py_ssize_t bands  # into which the rows are cut; all filters visit one before the next
    Py_ssize_t lanes, room  # and for how many values of a filter there is room
    Py_ssize_t sets, size  # of images, that have sums of their own: so many for each filter
    Py_ssize_t pieces
    Piece* piece
    const Py_ssize_t* off  # where each pixel lies in the padded image; those that no window reads behind it

cdef struct ListJob:
    bint single
    const void* dout
    const void* y  # or NULL
    const uint8_t* where
    const void* x
    const void* W
    void* dW  # or NULL,
    void* db
    void* dx
    const int32_t* base  # where the window of each output begins
    List* g
    void* weights  # with channels last, whole vectors of them
    void* sums
    void* scratch
    Py_ssize_t private  # values of it for each thread


cdef inline void add_listed(int R, int J, const floating* image, Py_ssize_t row, const int32_t* at,
                            const floating* value, Py_ssize_t n, floating* total, Py_ssize_t step) noexcept nogil:
    if floating is float:
        add_listed_float(R, J, image, row, at, value, n, total, step)
    else:
        add_listed_double(R, J, image, row, at, value, n, total, step)


cdef inline void spread_listed(int R, int J, floating* image, Py_ssize_t row, const int32_t* at, const floating* value,
                               Py_ssize_t n, const floating* weights, Py_ssize_t step) noexcept nogil:
    if floating is float:
        spread_listed_float(R, J, image, row, at, value, n, weights, step)
    else:
        spread_listed_double(R, J, image, row, at, value, n, weights, step)


cdef inline void channels_last(const floating* x, Py_ssize_t C, Py_ssize_t count, const Py_ssize_t* off,
                               floating* to) noexcept nogil:
    if floating is float:
        channels_last_float(x, C, count, off, to)
    else:
        channels_last_double(x, C, count, off, to)


cdef inline void channels_first(const floating* image, const Py_ssize_t* off, Py_ssize_t C, Py_ssize_t count,
                                floating* to) noexcept nogil:
    if floating is float:
        channels_first_float(image, off, C, count, to)
    else:
        channels_first_double(image, off, C, count, to)


cdef inline void visit(const floating* image, floating* gradient, List* g, const int32_t* at, const floating* value,
                       Py_ssize_t n, const floating* weights, floating* total) noexcept nogil:
    """Add what a filter's list gives to its weights' sums, or unless `gradient` is NULL to the image's gradient."""
    cdef Py_ssize_t step = g.FW * g.pixel, i
    cdef Piece* p
    for i in range(g.pieces):
        p = g.piece + i
        if gradient == NULL:
            add_listed(p.R, p.J, image + p.pixels, g.down, at, value, n, total + p.weights, step)
        else:
            spread_listed(p.R, p.J, gradient + p.pixels, g.down, at, value, n, weights + p.weights, step)


cdef inline bytearray cut_windows(List* g):
    """Cut a window into pieces of rows and vectors that registers hold."""
    cdef Py_ssize_t vectors = g.FW * g.pixel // g.lanes, parts = ceil_div(g.FH, LIST_ROWS), i, j, r, v
    cdef Py_ssize_t across = ceil_div(vectors, list_vectors(<int>ceil_div(g.FH, parts)))
    cdef bytearray pieces = bytearray(parts * across * sizeof(Piece))
    cdef Piece* p = <Piece*><char*>pieces
    g.pieces = parts * across
    g.piece = p
    for i in range(parts):
        r = i * g.FH // parts
        for j in range(across):
            v = j * vectors // across
            p.R = <int>((i + 1) * g.FH // parts - r)
            p.J = <int>((j + 1) * vectors // across - v)
            p.pixels = r * g.down + v * g.lanes
            p.weights = r * g.FW * g.pixel + v * g.lanes
            p += 1
    return pieces


cdef inline void visit_image(const floating* dout, const floating* y, const uint8_t* where, const int32_t* base,
                             const floating* image, floating* gradient, const floating* weights, floating* sums,
                             List* g, floating* value, int32_t* at, Py_ssize_t* count) noexcept nogil:
    """Visit the list of one image, band by band: first for the weights, unless `sums` is NULL, then for the image."""
    cdef Py_ssize_t band, f, first, size, k, K = g.FH * g.FW * g.pixel
    cdef floating* total
    for band in range(g.bands):
        first = band * g.rows // g.bands * g.columns
        size = (band + 1) * g.rows // g.bands * g.columns - first
        for f in range(g.F):
            k = f * g.rows * g.columns + first
            count[f] = find_windows(dout + k, y + k if y != NULL else y, where + k if y != NULL else where,
                                    base + first, size, g.up, g.across, value + f * g.room, at + f * g.room)
        if sums != NULL:
            for f in range(g.F):
                total = sums + (f + 1) * g.size - WINDOW_LANES
                sum_add(total, total + 1, sum_row(<const floating*>value + f * g.room, count[f]))
                visit(image, <floating*>NULL, g, at + f * g.room, <const floating*>value + f * g.room, count[f],
                      weights, sums + f * g.size)
        if gradient != NULL:
            for f in range(g.F):
                visit(image, gradient, g, at + f * g.room, <const floating*>value + f * g.room, count[f],
                      weights + f * K, sums)


cdef inline void some_list_weights(const floating* W, floating* weights, ListJob* job, Pieces* pieces,
                                   int slot) noexcept nogil:
    cdef List* g = job.g
    cdef Py_ssize_t taps = g.FH * g.FW, f
    while (f := take_piece(pieces, slot)) >= 0:
        transpose_padded(W + f * g.C * taps, taps, g.C, taps, weights + f * taps * g.pixel, g.pixel)


cdef inline void list_weights(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef ListJob* job = <ListJob*>given
    if job.single:
        some_list_weights(<const float*>job.W, <float*>job.weights, job, pieces, slot)
    else:
        some_list_weights(<const double*>job.W, <double*>job.weights, job, pieces, slot)


cdef inline void some_list_sets(const floating* dout, const floating* y, const floating* x, const floating* weights,
                                floating* dx, floating* sums, floating* scratch, ListJob* job, Pieces* pieces,
                                int slot) noexcept nogil:
    cdef List* g = job.g
    cdef const uint8_t* where = job.where
    cdef Py_ssize_t total = g.F * g.size, image = g.C * g.H * g.W, area = (g.PH * g.PW + 1) * g.pixel, item, n, m
    cdef floating* mine = scratch + slot * job.private
    cdef floating* gradient = mine + area if dx != NULL else NULL
    cdef floating* value = mine + 2 * area
    cdef floating* mysum = NULL
    memset(mine, 0, area * sizeof(floating))  # what lies beside the images stays 0
    while (item := take_piece(pieces, slot)) >= 0:
        if job.dW != NULL:
            mysum = sums + item * total
            memset(mysum, 0, total * sizeof(floating))
        for n in range(item * g.N // g.sets, (item + 1) * g.N // g.sets):
            if job.dW != NULL:
                channels_last(x + n * image, g.C, g.H * g.W, g.off, mine)
            if dx != NULL:
                memset(gradient, 0, area * sizeof(floating))
            m = n * g.F * g.rows * g.columns
            visit_image(dout + m, y + m if y != NULL else y, where + m if y != NULL else where, job.base,
                        <const floating*>mine, gradient, weights, mysum, g, value, <int32_t*>(value + g.F * g.room),
                        <Py_ssize_t*>(value + 2 * g.F * g.room))
            if dx != NULL:
                channels_first(<const floating*>gradient, g.off, g.C, g.H * g.W, dx + n * image)


cdef inline void list_sets(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef ListJob* job = <ListJob*>given
    if job.single:
        some_list_sets(<const float*>job.dout, <const float*>job.y, <const float*>job.x, <const float*>job.weights,
                       <float*>job.dx, <float*>job.sums, <float*>job.scratch, job, pieces, slot)
    else:
        some_list_sets(<const double*>job.dout, <const double*>job.y, <const double*>job.x, <const double*>job.weights,
                       <double*>job.dx, <double*>job.sums, <double*>job.scratch, job, pieces, slot)


cdef inline void some_list_filters(floating* sums, floating* dW, floating* db, ListJob* job, Pieces* pieces,
                                   int slot) noexcept nogil:
    cdef List* g = job.g
    cdef Py_ssize_t taps = g.FH * g.FW, f
    while (f := take_piece(pieces, slot)) >= 0:
        finish_filter(sums, f, g.F, g.size, g.sets, db)
        transpose_matrix(sums + f * g.size, g.pixel, taps, g.C, dW + f * g.C * taps, taps)


cdef inline void list_filters(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef ListJob* job = <ListJob*>given
    if job.single:
        some_list_filters(<float*>job.sums, <float*>job.dW, <float*>job.db, job, pieces, slot)
    else:
        some_list_filters(<double*>job.sums, <double*>job.dW, <double*>job.db, job, pieces, slot)


cdef inline void list_gradient(ListJob* job, int num_threads) noexcept nogil:
    """Both gradients from a list; dW and dx may be NULL."""
    if job.dx != NULL:
        run_job(list_weights, job, job.g.F, num_threads)
    run_job(list_sets, job, job.g.sets, num_threads)
    if job.dW != NULL:
        run_job(list_filters, job, job.g.F, num_threads)
