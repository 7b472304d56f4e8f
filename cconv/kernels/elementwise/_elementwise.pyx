"""What is done to each value by itself: activations and their gradients, one pass each, dropout, and rescaling."""

#     activations  out[i] = f(x[i]) and dx[i] = dout[i] * f'(x[i]); activations.h has a line for each
#
# Relu may leave a bit per value for its gradient, in place of y (relu.h). Arrays are contiguous, and seen as one row.
#
#     dropout      out[r, i] = x[r, i] * (scale if word[r] >= threshold, else 0)
#
# Here x is seen as rows of `inner` values that share their fate: single values, or whole channels of images. The 32-bit
# words are those of philox.pxd. The key is the generator's seed, the counter is made of a block's number and the number
# of the draw: so the gradient is the same call on dout, without a mask that would have to be kept. BLOCKS blocks, which
# become one vector loop, give the words of one group of rows.
#
#     rescale      out[n, c, i] = (x[n, c, i] - shift[c]) * factor[c]
#
# x may be of uint8. The arithmetic is in double, and rounded once: a pixel gives the same bits whether it comes as an
# integer or as a float, and pixels times 1/255 are, in float32, what their division by 255 gives. The difference comes
# first, so that nothing cancels where a mean is large beside its deviation.

cimport numpy as cnp
from cython cimport floating
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cconv.kernels.runtime.arrays cimport data
from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.vector.philox cimport random_words

cnp.import_array()

cdef extern from "elementwise/activations.h" nogil:
    const int ACTIVATION_COUNT
    ctypedef struct ActivationFloat "activation_float":
        const char* name
        void (*values)(const float*, float*, Py_ssize_t, float, float) noexcept nogil
        void (*gradients)(const float*, const float*, float*, Py_ssize_t, float, float) noexcept nogil
    ctypedef struct ActivationDouble "activation_double":
        void (*values)(const double*, double*, Py_ssize_t, double, double) noexcept nogil
        void (*gradients)(const double*, const double*, double*, Py_ssize_t, double, double) noexcept nogil
    const ActivationFloat* activations_float
    const ActivationDouble* activations_double

cdef extern from "elementwise/relu.h" nogil:
    const int MASK_BITS
    void relu_masked_float(const float*, Py_ssize_t, float*, uint64_t*) noexcept
    void relu_masked_double(const double*, Py_ssize_t, double*, uint64_t*) noexcept
    void relu_masked_backward_float(const float*, const uint64_t*, Py_ssize_t, float*) noexcept
    void relu_masked_backward_double(const double*, const uint64_t*, Py_ssize_t, double*) noexcept

# A fit: `python -m benchmarks.tune --only elementwise-pieces`.
cdef enum:
    CHUNK = 8192  # values in one piece of work, whole words of a mask

# Laws: they say which random words belong to which values.
cdef enum:
    BLOCKS = 16  # of random words, which are drawn side by side
    GROUP = 4 * BLOCKS

# The lines of the table by their names.
cdef dict LINES = {activations_float[i].name.decode(): i for i in range(ACTIVATION_COUNT)}

cdef struct Activation:
    bint single
    Py_ssize_t line  # of the table
    const void* dout
    const void* x
    void* out
    uint64_t* mask
    Py_ssize_t size
    double a, b

cdef struct Dropout:
    bint single
    const void* x
    void* out
    Py_ssize_t rows, inner
    uint64_t key, draw
    uint32_t threshold
    double scale

cdef struct Rescaling:
    bint pixels, single
    const void* x
    void* out
    const double* shift
    const double* factor
    Py_ssize_t size, channels, inner

cdef struct Sum:
    bint single
    const void* first
    const void* second
    void* out
    Py_ssize_t size

# What rescaling reads; it writes a floating.
ctypedef fused value_t:
    uint8_t
    float
    double

cdef inline void masked_relu(const floating* dout, const floating* x, floating* out, uint64_t* mask, Py_ssize_t i,
                             Py_ssize_t n) noexcept nogil:
    """Values i to i + n; i begins a word of the mask."""
    mask += i // MASK_BITS
    if floating is float:
        if dout == NULL:
            relu_masked_float(x + i, n, out + i, mask)
        else:
            relu_masked_backward_float(dout + i, mask, n, out + i)
    elif dout == NULL:
        relu_masked_double(x + i, n, out + i, mask)
    else:
        relu_masked_backward_double(dout + i, mask, n, out + i)


cdef void some_chunks(const floating* dout, const floating* x, floating* out, Activation* job, Pieces* pieces,
                      int slot) noexcept nogil:
    cdef Py_ssize_t c, i, n
    cdef floating a = <floating>job.a, b = <floating>job.b
    while (c := take_piece(pieces, slot)) >= 0:
        i = c * CHUNK
        n = min(CHUNK, job.size - i)
        if job.mask != NULL:
            masked_relu(dout, x, out, job.mask, i, n)
        elif floating is float:
            if dout == NULL:
                activations_float[job.line].values(x + i, out + i, n, a, b)
            else:
                activations_float[job.line].gradients(dout + i, x + i, out + i, n, a, b)
        elif dout == NULL:
            activations_double[job.line].values(x + i, out + i, n, a, b)
        else:
            activations_double[job.line].gradients(dout + i, x + i, out + i, n, a, b)


cdef void chunks(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Activation* job = <Activation*>given
    if job.single:
        some_chunks(<const float*>job.dout, <const float*>job.x, <float*>job.out, job, pieces, slot)
    else:
        some_chunks(<const double*>job.dout, <const double*>job.x, <double*>job.out, job, pieces, slot)


cdef object run(Py_ssize_t line, cnp.ndarray dout, cnp.ndarray x, cnp.ndarray out, double a, double b,
                int num_threads, cnp.ndarray mask=None):
    """Write the values of x into out or, with a dout, the gradient; a mask goes with them, or stands for x."""
    cdef Activation job
    job.single, job.line = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT, line
    job.dout = data(dout)
    job.x, job.out = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out)
    job.mask = <uint64_t*>data(mask)
    job.size, job.a, job.b = cnp.PyArray_SIZE(x), a, b
    with nogil:
        run_job(chunks, &job, (job.size + CHUNK - 1) // CHUNK, num_threads)


def activate(str name, cnp.ndarray x, cnp.ndarray out, double a, double b, int num_threads, /):
    """Write the function of the table with this name, and the numbers a and b, of x into out."""
    run(LINES[name], None, x, out, a, b, num_threads)


def activate_backward(str name, cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dx, double a, double b,
                      int num_threads, /):
    """Write its gradient into dx; x is its input, or its output where the gradient goes by that."""
    run(LINES[name], dout, x, dx, a, b, num_threads)


def relu_masked(cnp.ndarray x, cnp.ndarray out, cnp.ndarray mask, int num_threads, /):
    """Write relu of x into out, and which values pass into mask."""
    run(0, None, x, out, 0, 0, num_threads, mask)


def relu_masked_backward(cnp.ndarray dout, cnp.ndarray dx, cnp.ndarray mask, int num_threads, /):
    run(0, dout, dout, dx, 0, 0, num_threads, mask)


cdef void drop_group(const floating* x, floating* out, Py_ssize_t rows, Py_ssize_t inner, uint64_t key, uint64_t draw,
                     uint64_t group, uint32_t threshold, floating scale) noexcept nogil:
    cdef uint32_t words[GROUP]
    cdef Py_ssize_t r, i
    cdef floating factor
    random_words(key, draw, group * BLOCKS, BLOCKS, words)
    if inner == 1:
        for r in range(rows):
            factor = scale if words[r] >= threshold else 0
            out[r] = x[r] * factor
        return
    for r in range(rows):
        factor = scale if words[r] >= threshold else 0
        for i in range(r * inner, (r + 1) * inner):
            out[i] = x[i] * factor


cdef void some_groups(const floating* x, floating* out, Dropout* job, Pieces* pieces, int slot) noexcept nogil:
    cdef Py_ssize_t g, first
    while (g := take_piece(pieces, slot)) >= 0:
        first = g * GROUP
        drop_group(x + first * job.inner, out + first * job.inner, min(GROUP, job.rows - first), job.inner, job.key,
                   job.draw, g, job.threshold, <floating>job.scale)


cdef void groups(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Dropout* job = <Dropout*>given
    if job.single:
        some_groups(<const float*>job.x, <float*>job.out, job, pieces, slot)
    else:
        some_groups(<const double*>job.x, <double*>job.out, job, pieces, slot)


def dropout(cnp.ndarray x, cnp.ndarray out, Py_ssize_t inner, uint64_t key, uint64_t draw, uint32_t threshold,
            double scale, int num_threads, /):
    """Write x, in rows of `inner` values, with some rows dropped and the others scaled, into out."""
    cdef Py_ssize_t rows = cnp.PyArray_SIZE(x) // inner
    cdef Dropout job = Dropout(cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT, cnp.PyArray_DATA(x), cnp.PyArray_DATA(out), rows,
                               inner, key, draw, threshold, scale)
    with nogil:
        run_job(groups, &job, (rows + GROUP - 1) // GROUP, num_threads)


cdef void rescaled(const value_t* x, floating* out, Py_ssize_t n, double shift, double factor) noexcept nogil:
    """Values of one channel."""
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = <floating>((<double>x[i] - shift) * factor)


cdef void rescaled_features(const value_t* x, floating* out, Py_ssize_t n, const double* shift,
                            const double* factor) noexcept nogil:
    """Values of one channel each."""
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = <floating>((<double>x[i] - shift[i]) * factor[i])


cdef void some_rescaled(const value_t* x, floating* out, Rescaling* job, Pieces* pieces, int slot) noexcept nogil:
    cdef Py_ssize_t piece, i, end, n, row, c
    while (piece := take_piece(pieces, slot)) >= 0:
        i = piece * CHUNK
        end = min(i + CHUNK, job.size)
        while i < end:
            if job.inner == 1:
                c = i % job.channels
                n = min(end - i, job.channels - c)
                rescaled_features(x + i, out + i, n, job.shift + c, job.factor + c)
            else:
                row = i // job.inner
                n = min(end, (row + 1) * job.inner) - i
                c = row % job.channels
                rescaled(x + i, out + i, n, job.shift[c], job.factor[c])
            i += n


cdef void rescale_pieces(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Rescaling* job = <Rescaling*>given
    if job.pixels and job.single:
        some_rescaled(<const uint8_t*>job.x, <float*>job.out, job, pieces, slot)
    elif job.pixels:
        some_rescaled(<const uint8_t*>job.x, <double*>job.out, job, pieces, slot)
    elif job.single:
        some_rescaled(<const float*>job.x, <float*>job.out, job, pieces, slot)
    else:
        some_rescaled(<const double*>job.x, <double*>job.out, job, pieces, slot)


def rescale(cnp.ndarray x, cnp.ndarray out, cnp.ndarray shift, cnp.ndarray factor, Py_ssize_t inner, int num_threads,
            /):
    """Write x, in rows of `inner` values that belong to one channel after the other, rescaled into out.

    x is of uint8 or of out's dtype; shift and factor hold a double for each channel.
    """
    cdef Rescaling job = Rescaling(
        cnp.PyArray_TYPE(x) == cnp.NPY_UBYTE, cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT, cnp.PyArray_DATA(x),
        cnp.PyArray_DATA(out), <const double*>cnp.PyArray_DATA(shift), <const double*>cnp.PyArray_DATA(factor),
        cnp.PyArray_SIZE(x), cnp.PyArray_SIZE(shift), inner
    )
    with nogil:
        run_job(rescale_pieces, &job, (job.size + CHUNK - 1) // CHUNK, num_threads)


cdef void some_sums(const floating* first, const floating* second, floating* out, Sum* job, Pieces* pieces,
                    int slot) noexcept nogil:
    cdef Py_ssize_t piece, i
    while (piece := take_piece(pieces, slot)) >= 0:
        for i in range(piece * CHUNK, min((piece + 1) * CHUNK, job.size)):
            out[i] = first[i] + second[i]


cdef void sum_pieces(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Sum* job = <Sum*>given
    if job.single:
        some_sums(<const float*>job.first, <const float*>job.second, <float*>job.out, job, pieces, slot)
    else:
        some_sums(<const double*>job.first, <const double*>job.second, <double*>job.out, job, pieces, slot)


def add(cnp.ndarray first, cnp.ndarray second, cnp.ndarray out, int num_threads, /):
    """Write first + second, three arrays of one size and dtype, into out."""
    cdef Sum job = Sum(cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT, cnp.PyArray_DATA(first), cnp.PyArray_DATA(second),
                       cnp.PyArray_DATA(out), cnp.PyArray_SIZE(out))
    with nogil:
        run_job(sum_pieces, &job, (job.size + CHUNK - 1) // CHUNK, num_threads)
