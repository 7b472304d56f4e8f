"""What is done to each value by itself: activations and their gradients, one pass each, dropout, and rescaling."""

#     relu         x if x > 0, else 0                        dout if y > 0, else 0
#     leaky relu   x if x > 0, else a*x                      dout * (1 if x > 0, else a)
#     elu          x if x > 0, else a*(exp(x) - 1)           dout * (1 if x > 0, else a*exp(x))
#     gelu         x * P(x)                                  dout * (P(x) + x * p(x))
#     gelu, tanh   x * s(u), u = 2*C*(x + K*x^3)             dout * (s(u) + x * s'(u) * u')
#     silu         x * s(x)                                  dout * (s(x) + x * s'(x))
#     sigmoid      s(x)                                      dout * y * (1 - y)
#     tanh         tanh(x)                                   dout * (1 - y^2)
#     softplus     log(1 + exp(a*x)) / a                     dout * s(a*x)
#                  x if a*x > b                              dout
#     hard swish   x * min(max(x + 3, 0), 6) / 6             dout * (0 if x <= -3, 1 if x >= 3, else x/3 + 1/2)
#
# s is the logistic function, P and p are the standard normal distribution function and its density; gelu's
# approximation x/2 * (1 + tanh(u/2)) is x * s(u), which does not cancel where x is negative. Gradients that are written
# with y take the output, the others the input.
#
# Relu may leave a bit per value for its gradient, in place of y (relu.h).
#
# Arrays are contiguous, and seen as one row. NaN comes out where NaN goes in, and where a formula multiplies an
# infinity by 0: gelu, silu and hard swish at minus infinity, and the gradients of gelu and silu at both. A new
# activation is a name in `Rule`, a loop in `values` and one in `gradients`, and their two doors at the end. Numbers are
# written with <floating>: Cython makes a double of a literal 1, and C computes all of an expression that has one in it
# in double.
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
from libc.stdlib cimport abort

from cconv.kernels.runtime.arrays cimport data
from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.vector.philox cimport random_words
from cconv.kernels.vector.vmath cimport exp_neg_abs, expm1, log1p, normal_cdf, sigmoid as logistic, tanh as hyperbolic

cnp.import_array()

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

cdef enum Rule:
    RELU, LEAKY_RELU, ELU, GELU, GELU_TANH, SILU, SIGMOID, TANH, SOFTPLUS, HARD_SWISH

cdef struct Activation:
    bint single
    Rule rule
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

cdef double DENSITY = 0.3989422804014327  # 1 / sqrt(2 * pi), what exp(-x^2/2) is multiplied by
cdef double LINEAR = 1.5957691216057308   # 2*C and 2*C*K, with C = sqrt(2 / pi) and K = 0.044715
cdef double CUBIC = 0.07135481627260025


cdef inline floating logistic_slope(floating x, floating* s) noexcept nogil:
    """The derivative of the logistic function at x, without the cancellation in s * (1 - s); its value is left in s."""
    cdef floating power = exp_neg_abs[floating](x)
    cdef floating near = <floating>1 / (<floating>1 + power)
    cdef floating far = power * near
    s[0] = far if x < 0 else near
    return near * far


cdef inline floating gelu_slope(floating x) noexcept nogil:
    cdef floating gaussian = 0
    cdef floating probability = normal_cdf[floating](x, &gaussian)
    return probability + x * <floating>DENSITY * gaussian


cdef inline floating gelu_tanh_slope(floating x) noexcept nogil:
    cdef floating s = 0
    cdef floating slope = logistic_slope[floating](x * (<floating>LINEAR + <floating>CUBIC * x * x), &s)
    # Far out the slope is 0, and must not be multiplied by the infinity that x * x is there.
    cdef floating near = -32 if x < -32 else x
    near = 32 if near > 32 else near
    return s + x * slope * (<floating>LINEAR + <floating>(3 * CUBIC) * near * near)


cdef inline floating silu_slope(floating x) noexcept nogil:
    cdef floating s = 0
    cdef floating slope = logistic_slope[floating](x, &s)
    return s + x * slope


cdef inline floating softplus_of(floating u) noexcept nogil:
    return (u if u > 0 else 0) + log1p[floating](exp_neg_abs[floating](u))


cdef inline floating hard_sigmoid(floating x) noexcept nogil:
    cdef floating t = 0 if x < -3 else x + <floating>3
    return (6 if t > 6 else t) / <floating>6


cdef inline floating hard_swish_slope(floating x) noexcept nogil:
    cdef floating slope = 0 if x <= -3 else x / <floating>3 + <floating>0.5
    return 1 if x >= 3 else slope


cdef void values(Rule rule, const floating* x, floating* out, Py_ssize_t n, floating a, floating b) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating gaussian = 0, t
    if rule == RELU:
        for i in range(n):
            out[i] = 0 if x[i] <= 0 else x[i]
    elif rule == LEAKY_RELU:
        for i in range(n):
            out[i] = x[i] if x[i] > 0 else a * x[i]
    elif rule == ELU:
        for i in range(n):
            t = a * expm1[floating](x[i])
            out[i] = t if x[i] < 0 else x[i]
    elif rule == GELU:
        for i in range(n):
            out[i] = x[i] * normal_cdf[floating](x[i], &gaussian)
    elif rule == GELU_TANH:
        for i in range(n):
            out[i] = x[i] * logistic[floating](x[i] * (<floating>LINEAR + <floating>CUBIC * x[i] * x[i]))
    elif rule == SILU:
        for i in range(n):
            out[i] = x[i] * logistic[floating](x[i])
    elif rule == SIGMOID:
        for i in range(n):
            out[i] = logistic[floating](x[i])
    elif rule == TANH:
        for i in range(n):
            out[i] = hyperbolic[floating](x[i])
    elif rule == SOFTPLUS:
        for i in range(n):
            t = softplus_of[floating](a * x[i]) / a
            out[i] = x[i] if a * x[i] > b else t
    elif rule == HARD_SWISH:
        for i in range(n):
            out[i] = x[i] * hard_sigmoid[floating](x[i])
    else:
        abort()


cdef void gradients(Rule rule, const floating* dout, const floating* x, floating* dx, Py_ssize_t n, floating a,
                    floating b) noexcept nogil:
    """Write the gradient into dx; x is the input, or the output where the rule goes by that."""
    cdef Py_ssize_t i
    cdef floating t
    if rule == RELU:
        for i in range(n):
            t = dout[i]  # read in any case: a vector of SSE2 cannot leave values out
            dx[i] = 0 if x[i] <= 0 else t
    elif rule == LEAKY_RELU:
        for i in range(n):
            dx[i] = dout[i] if x[i] > 0 else a * dout[i]
    elif rule == ELU:
        for i in range(n):
            t = a * exp_neg_abs[floating](x[i])
            dx[i] = dout[i] * (1 if x[i] > 0 else t)
    elif rule == GELU:
        for i in range(n):
            dx[i] = dout[i] * gelu_slope[floating](x[i])
    elif rule == GELU_TANH:
        for i in range(n):
            dx[i] = dout[i] * gelu_tanh_slope[floating](x[i])
    elif rule == SILU:
        for i in range(n):
            dx[i] = dout[i] * silu_slope[floating](x[i])
    elif rule == SIGMOID:
        for i in range(n):
            dx[i] = dout[i] * (x[i] * (<floating>1 - x[i]))
    elif rule == TANH:
        for i in range(n):
            dx[i] = dout[i] * (<floating>1 - x[i] * x[i])
    elif rule == SOFTPLUS:
        for i in range(n):
            t = logistic[floating](a * x[i])
            dx[i] = dout[i] * (1 if a * x[i] > b else t)
    elif rule == HARD_SWISH:
        for i in range(n):
            dx[i] = dout[i] * hard_swish_slope[floating](x[i])
    else:
        abort()


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
        elif dout == NULL:
            values(job.rule, x + i, out + i, n, a, b)
        else:
            gradients(job.rule, dout + i, x + i, out + i, n, a, b)


cdef void chunks(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Activation* job = <Activation*>given
    if job.single:
        some_chunks(<const float*>job.dout, <const float*>job.x, <float*>job.out, job, pieces, slot)
    else:
        some_chunks(<const double*>job.dout, <const double*>job.x, <double*>job.out, job, pieces, slot)


cdef run(Rule rule, cnp.ndarray dout, cnp.ndarray x, cnp.ndarray out, double a, double b, int num_threads,
         cnp.ndarray mask=None):
    """Write the values of x into out or, with a dout, the gradient; a mask goes with them, or stands for x."""
    cdef Activation job
    job.single, job.rule = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT, rule
    job.dout = data(dout)
    job.x, job.out = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out)
    job.mask = <uint64_t*>data(mask)
    job.size, job.a, job.b = cnp.PyArray_SIZE(x), a, b
    with nogil:
        run_job(chunks, &job, (job.size + CHUNK - 1) // CHUNK, num_threads)


def relu_masked(cnp.ndarray x, cnp.ndarray out, cnp.ndarray mask, int num_threads, /):
    """Write which values pass into mask, too."""
    run(RELU, None, x, out, 0, 0, num_threads, mask)


def relu_masked_backward(cnp.ndarray dout, cnp.ndarray dx, cnp.ndarray mask, int num_threads, /):
    run(RELU, dout, dout, dx, 0, 0, num_threads, mask)


def relu(cnp.ndarray x, cnp.ndarray out, int num_threads, /):
    run(RELU, None, x, out, 0, 0, num_threads)


def relu_backward(cnp.ndarray dout, cnp.ndarray y, cnp.ndarray dx, int num_threads, /):
    run(RELU, dout, y, dx, 0, 0, num_threads)  # y may be the input just as well


def leaky_relu(cnp.ndarray x, cnp.ndarray out, double negative_slope, int num_threads, /):
    run(LEAKY_RELU, None, x, out, negative_slope, 0, num_threads)


def leaky_relu_backward(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dx, double negative_slope, int num_threads, /):
    run(LEAKY_RELU, dout, x, dx, negative_slope, 0, num_threads)


def elu(cnp.ndarray x, cnp.ndarray out, double alpha, int num_threads, /):
    run(ELU, None, x, out, alpha, 0, num_threads)


def elu_backward(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dx, double alpha, int num_threads, /):
    run(ELU, dout, x, dx, alpha, 0, num_threads)


def gelu(cnp.ndarray x, cnp.ndarray out, bint by_tanh, int num_threads, /):
    run(GELU_TANH if by_tanh else GELU, None, x, out, 0, 0, num_threads)


def gelu_backward(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dx, bint by_tanh, int num_threads, /):
    run(GELU_TANH if by_tanh else GELU, dout, x, dx, 0, 0, num_threads)


def silu(cnp.ndarray x, cnp.ndarray out, int num_threads, /):
    run(SILU, None, x, out, 0, 0, num_threads)


def silu_backward(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dx, int num_threads, /):
    run(SILU, dout, x, dx, 0, 0, num_threads)


def sigmoid(cnp.ndarray x, cnp.ndarray out, int num_threads, /):
    run(SIGMOID, None, x, out, 0, 0, num_threads)


def sigmoid_backward(cnp.ndarray dout, cnp.ndarray y, cnp.ndarray dx, int num_threads, /):
    run(SIGMOID, dout, y, dx, 0, 0, num_threads)


def tanh(cnp.ndarray x, cnp.ndarray out, int num_threads, /):
    run(TANH, None, x, out, 0, 0, num_threads)


def tanh_backward(cnp.ndarray dout, cnp.ndarray y, cnp.ndarray dx, int num_threads, /):
    run(TANH, dout, y, dx, 0, 0, num_threads)


def softplus(cnp.ndarray x, cnp.ndarray out, double beta, double threshold, int num_threads, /):
    run(SOFTPLUS, None, x, out, beta, threshold, num_threads)


def softplus_backward(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dx, double beta, double threshold,
                      int num_threads, /):
    run(SOFTPLUS, dout, x, dx, beta, threshold, num_threads)


def hard_swish(cnp.ndarray x, cnp.ndarray out, int num_threads, /):
    run(HARD_SWISH, None, x, out, 0, 0, num_threads)


def hard_swish_backward(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dx, int num_threads, /):
    run(HARD_SWISH, dout, x, dx, 0, 0, num_threads)


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
