"""Both gradients of a convolution over a list of outputs: 'listed' in the tables of algorithms."""

# Of pooled outputs the maxima alone have a gradient, and of many others the values that are not 0: four in five of a
# dense pass's multiply-adds would be with zeros. Both gradients visit the outputs that are listed, filter by filter
# (list.h). Of an image with its channels last, what lies under a filter's row of taps follows each other, and is a
# factor of an output's gradient, or its sum, as a whole.

from cython cimport floating
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memset

from cconv.kernels.conv.plan cimport WINDOW_LANES, ListPlan, WindowPiece
from cconv.kernels.conv.windows cimport finish_filter, list_windows
from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.vector.sums cimport sum_add, sum_row
from cconv.kernels.vector.layout cimport transpose_matrix, transpose_padded


cdef extern from "conv/list.h" nogil:
    void add_listed_float(int, int, const float*, Py_ssize_t, const int32_t*, const float*, Py_ssize_t, float*,
                          Py_ssize_t) noexcept
    void add_listed_double(int, int, const double*, Py_ssize_t, const int32_t*, const double*, Py_ssize_t, double*,
                           Py_ssize_t) noexcept
    void channels_last_float(const float*, Py_ssize_t, Py_ssize_t, const Py_ssize_t*, float*) noexcept
    void channels_last_double(const double*, Py_ssize_t, Py_ssize_t, const Py_ssize_t*, double*) noexcept
    void channels_first_float(const float*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, float*) noexcept
    void channels_first_double(const double*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, double*) noexcept
    void scatter_listed_float(int, int, float*, Py_ssize_t, const int32_t*, const float*, Py_ssize_t, const float*,
                              Py_ssize_t) noexcept
    void scatter_listed_double(int, int, double*, Py_ssize_t, const int32_t*, const double*, Py_ssize_t, const double*,
                               Py_ssize_t) noexcept

cdef struct ListJob:
    bint single
    const void* dout  # IN, (N, F, rows, columns) of the plan
    const void* y  # IN, the maxima, or NULL: dout is the gradient of the convolution's own output
    const uint8_t* argmax  # IN, where they lie, or NULL
    const void* x  # IN
    const void* W  # IN
    void* dW  # OUT, or NULL
    void* db  # OUT, or NULL
    void* dx  # OUT, or NULL
    ListPlan* g
    Py_ssize_t N, sets  # images, and sets of them: each is a piece of work
    void* weights  # with channels last, whole vectors of them
    void* sums  # of each set, g.F * g.size values
    void* scratch  # g.private values for each thread

cdef struct FilterLists:  # of one thread: g.room values of each filter
    void* value
    int32_t* at
    Py_ssize_t* count  # how many there are


cdef inline void add_listed(int MR, int NR, const floating* image, Py_ssize_t row, const int32_t* at,
                            const floating* value, Py_ssize_t n, floating* total, Py_ssize_t step) noexcept nogil:
    """Add the products to sums: see list.h, which explains each argument."""
    if floating is float:
        add_listed_float(MR, NR, image, row, at, value, n, total, step)
    else:
        add_listed_double(MR, NR, image, row, at, value, n, total, step)


cdef inline void scatter_listed(int MR, int NR, floating* image, Py_ssize_t row, const int32_t* at,
                                const floating* value, Py_ssize_t n, const floating* weights,
                                Py_ssize_t step) noexcept nogil:
    """Add the products to an image: see list.h, which explains each argument."""
    if floating is float:
        scatter_listed_float(MR, NR, image, row, at, value, n, weights, step)
    else:
        scatter_listed_double(MR, NR, image, row, at, value, n, weights, step)


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


cdef inline void visit(const floating* image, floating* gradient, const ListPlan* g, const int32_t* at,
                       const floating* value, Py_ssize_t n, const floating* weights, floating* total) noexcept nogil:
    """Add what a filter's list gives to its weights' sums, or unless `gradient` is NULL to the image's gradient.

    image           IN, with its channels last
    gradient        IN and OUT, as the image, or NULL
    at, value, n    IN, the list and its length
    weights, total  of the filter, with its channels last: IN, and IN and OUT
    """
    cdef Py_ssize_t step = g.FW * g.pixel, i
    cdef const WindowPiece* p
    for i in range(g.pieces):
        p = g.piece + i
        if gradient == NULL:
            add_listed(p.MR, p.NR, image + p.pixels, g.down, at, value, n, total + p.weights, step)
        else:
            scatter_listed(p.MR, p.NR, gradient + p.pixels, g.down, at, value, n, weights + p.weights, step)


cdef inline void visit_image(const floating* dout, const floating* y, const uint8_t* argmax, const floating* image,
                             floating* gradient, floating* sums, const ListJob* job,
                             const FilterLists* lists) noexcept nogil:
    """Visit the listed outputs of one image, band by band: first for the weights, then for the image.

    dout, y, argmax  IN, those of the image; y and argmax may be NULL
    image            IN, with its channels last
    gradient         OUT, of the image, added up, or NULL
    sums             OUT, of the weights, added up, or NULL
    job              with the weights
    lists            scratch
    """
    cdef const ListPlan* g = job.g
    cdef const floating* weights = <const floating*>job.weights
    cdef floating* value = <floating*>lists.value
    cdef Py_ssize_t band, f, first, size, k, K = g.FH * g.FW * g.pixel
    cdef floating* total
    for band in range(g.bands):
        first = band * g.rows // g.bands * g.columns
        size = (band + 1) * g.rows // g.bands * g.columns - first
        for f in range(g.F):
            k = f * g.rows * g.columns + first
            lists.count[f] = list_windows(dout + k, y + k if y != NULL else y, argmax + k if y != NULL else argmax,
                                          g.base + first, size, <int32_t>g.pool_down, <int32_t>g.pool_across,
                                          value + f * g.room, lists.at + f * g.room)
        if sums != NULL:
            for f in range(g.F):
                total = sums + (f + 1) * g.size - WINDOW_LANES
                sum_add(total, total + 1, sum_row(<const floating*>value + f * g.room, lists.count[f]))
                visit(image, <floating*>NULL, g, lists.at + f * g.room, <const floating*>value + f * g.room,
                      lists.count[f], weights, sums + f * g.size)
        if gradient != NULL:
            for f in range(g.F):
                visit(image, gradient, g, lists.at + f * g.room, <const floating*>value + f * g.room, lists.count[f],
                      weights + f * K, sums)


cdef inline void pack_filters(const floating* W, floating* weights, const ListJob* job, Pieces* pieces,
                              int slot) noexcept nogil:
    cdef const ListPlan* g = job.g
    cdef Py_ssize_t taps = g.FH * g.FW, f
    while (f := take_piece(pieces, slot)) >= 0:
        transpose_padded(W + f * g.C * taps, taps, g.C, taps, weights + f * taps * g.pixel, g.pixel)


cdef inline void list_weights(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef ListJob* job = <ListJob*>given
    if job.single:
        pack_filters(<const float*>job.W, <float*>job.weights, job, pieces, slot)
    else:
        pack_filters(<const double*>job.W, <double*>job.weights, job, pieces, slot)


cdef inline void visit_sets(const floating* dout, const floating* x, floating* dx, const ListJob* job, Pieces* pieces,
                            int slot) noexcept nogil:
    cdef const ListPlan* g = job.g
    cdef const floating* y = <const floating*>job.y
    cdef const uint8_t* argmax = job.argmax
    cdef Py_ssize_t total = g.F * g.size, image_size = g.C * g.H * g.W, set_, n, m
    cdef floating* image = <floating*>job.scratch + slot * g.private
    cdef floating* gradient = image + g.image if dx != NULL else NULL
    cdef floating* value = image + 2 * g.image
    cdef floating* sums = NULL
    cdef FilterLists lists
    lists.value = value
    lists.at = <int32_t*>(value + g.F * g.room)
    lists.count = <Py_ssize_t*>(value + 2 * g.F * g.room)
    memset(image, 0, g.image * sizeof(floating))  # what lies beside the images stays 0
    while (set_ := take_piece(pieces, slot)) >= 0:
        if job.dW != NULL:
            sums = <floating*>job.sums + set_ * total
            memset(sums, 0, total * sizeof(floating))
        for n in range(set_ * job.N // job.sets, (set_ + 1) * job.N // job.sets):
            if job.dW != NULL:
                channels_last(x + n * image_size, g.C, g.H * g.W, g.off, image)
            if dx != NULL:
                memset(gradient, 0, g.image * sizeof(floating))
            m = n * g.F * g.rows * g.columns
            visit_image(dout + m, y + m if y != NULL else y, argmax + m if y != NULL else argmax,
                        <const floating*>image, gradient, sums, job, &lists)
            if dx != NULL:
                channels_first(<const floating*>gradient, g.off, g.C, g.H * g.W, dx + n * image_size)


cdef inline void list_sets(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef ListJob* job = <ListJob*>given
    if job.single:
        visit_sets(<const float*>job.dout, <const float*>job.x, <float*>job.dx, job, pieces, slot)
    else:
        visit_sets(<const double*>job.dout, <const double*>job.x, <double*>job.dx, job, pieces, slot)


cdef inline void finish_list(floating* sums, floating* dW, floating* db, const ListJob* job, Pieces* pieces,
                             int slot) noexcept nogil:
    cdef const ListPlan* g = job.g
    cdef Py_ssize_t taps = g.FH * g.FW, f
    while (f := take_piece(pieces, slot)) >= 0:
        finish_filter(sums, f, g.F, g.size, job.sets, db)
        transpose_matrix(sums + f * g.size, g.pixel, taps, g.C, dW + f * g.C * taps, taps)


cdef inline void list_filters(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef ListJob* job = <ListJob*>given
    if job.single:
        finish_list(<float*>job.sums, <float*>job.dW, <float*>job.db, job, pieces, slot)
    else:
        finish_list(<double*>job.sums, <double*>job.dW, <double*>job.db, job, pieces, slot)


cdef inline void run_list(ListJob* job, int num_threads) noexcept nogil:
    """Both gradients from a list; dW and dx may be NULL."""
    if job.dx != NULL:
        run_job(list_weights, job, job.g.F, num_threads)
    run_job(list_sets, job, job.sets, num_threads)
    if job.dW != NULL:
        run_job(list_filters, job, job.g.F, num_threads)
