"""relu, softmax cross-entropy and their gradients.

    relu                    out = x where x > 0 or x is NaN, else 0;  dx = dout where out > 0 or out is NaN, else 0
    softmax                 y[n, m] = exp(x[n, m] - max x[n]) / sum over m of exp(x[n, m] - max x[n])
    cross-entropy           loss[n] = log(sum over m of exp(x[n, m] - max x[n])) + max x[n] - x[n, t[n]]
    its gradient            dx[n, m] = (y[n, m] - [m = t[n]]) * scale

Arrays are contiguous; relu sees them as one row. The loss is the exact log-softmax: no constant is added inside the
logarithm, and the largest score is subtracted first, so that nothing overflows. A row that holds NaN or +inf gives NaN.
Probabilities `t` of the same shape as x may stand for class indices: loss[n] = -sum over m of t[n, m] * log y[n, m].
"""

cimport numpy as cnp
from cython cimport floating
from cython.parallel cimport parallel, prange
from libc.math cimport exp, expf, log, logf
from libc.stdint cimport int64_t

from cconv.kernels.tile cimport cconv_ftz_on, cconv_ftz_restore

cnp.import_array()

cdef enum:
    CHUNK = 8192  # values in one piece of work


cdef inline floating exponential(floating x) noexcept nogil:
    if floating is float:
        return expf(x)
    else:
        return exp(x)


cdef inline floating logarithm(floating x) noexcept nogil:
    if floating is float:
        return logf(x)
    else:
        return log(x)


cdef void relu_values(const floating* x, floating* out, Py_ssize_t size, int num_threads) noexcept nogil:
    cdef Py_ssize_t c, i
    cdef unsigned state
    with parallel(num_threads=num_threads):
        state = 0
        state = cconv_ftz_on()
        for c in prange((size + CHUNK - 1) // CHUNK, schedule="static"):
            for i in range(c * CHUNK, min((c + 1) * CHUNK, size)):
                out[i] = 0 if x[i] <= 0 else x[i]
        cconv_ftz_restore(state)


cdef void relu_gradient(const floating* dout, const floating* y, floating* dx, Py_ssize_t size,
                        int num_threads) noexcept nogil:
    cdef Py_ssize_t c, i
    cdef unsigned state
    with parallel(num_threads=num_threads):
        state = 0
        state = cconv_ftz_on()
        for c in prange((size + CHUNK - 1) // CHUNK, schedule="static"):
            for i in range(c * CHUNK, min((c + 1) * CHUNK, size)):
                dx[i] = 0 if y[i] <= 0 else dout[i]
        cconv_ftz_restore(state)


cdef inline floating softmax_row(const floating* x, floating* y, Py_ssize_t M) noexcept nogil:
    """Write the softmax of one row; return the logarithm of its sum of exponentials."""
    cdef Py_ssize_t m
    cdef floating most = x[0], total = 0
    for m in range(1, M):
        # A NaN is never greater; it reaches the sum through its own exponential.
        most = x[m] if x[m] > most else most
    for m in range(M):
        y[m] = exponential[floating](x[m] - most)
        total += y[m]
    for m in range(M):
        y[m] = y[m] / total
    return most + logarithm[floating](total)


cdef void cross_entropy_rows(const floating* x, const int64_t* labels, const floating* targets, floating* y,
                             floating* losses, Py_ssize_t N, Py_ssize_t M, int num_threads) noexcept nogil:
    cdef Py_ssize_t n, m
    cdef floating level, loss
    cdef unsigned state
    with parallel(num_threads=num_threads):
        state = 0
        state = cconv_ftz_on()
        for n in prange(N, schedule="static"):
            level = softmax_row(x + n * M, y + n * M, M)
            if losses == NULL:
                continue
            if labels != NULL:
                losses[n] = level - x[n * M + labels[n]]
            else:
                loss = 0
                for m in range(M):
                    loss = loss + (0 if targets[n * M + m] == 0 else targets[n * M + m] * (level - x[n * M + m]))
                losses[n] = loss
        cconv_ftz_restore(state)


cdef void cross_entropy_gradient(const floating* y, const int64_t* labels, const floating* targets, floating scale,
                                 floating* dx, Py_ssize_t N, Py_ssize_t M, int num_threads) noexcept nogil:
    cdef Py_ssize_t n, m
    cdef floating weight
    cdef unsigned state
    with parallel(num_threads=num_threads):
        state = 0
        state = cconv_ftz_on()
        for n in prange(N, schedule="static"):
            if labels != NULL:
                for m in range(M):
                    dx[n * M + m] = y[n * M + m] * scale
                m = labels[n]
                dx[n * M + m] = (y[n * M + m] - 1) * scale
            else:
                # Rows of targets that do not add up to one weigh their sample.
                weight = 0
                for m in range(M):
                    weight = weight + targets[n * M + m]
                for m in range(M):
                    dx[n * M + m] = (y[n * M + m] * weight - targets[n * M + m]) * scale
        cconv_ftz_restore(state)


def relu(cnp.ndarray x, cnp.ndarray out, int num_threads):
    """Write max(x, 0) into out."""
    cdef Py_ssize_t size = cnp.PyArray_SIZE(x)
    cdef void* source = cnp.PyArray_DATA(x)
    cdef void* target = cnp.PyArray_DATA(out)
    cdef bint single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    with nogil:
        if single:
            relu_values[float](<float*>source, <float*>target, size, num_threads)
        else:
            relu_values[double](<double*>source, <double*>target, size, num_threads)


def relu_backward(cnp.ndarray dout, cnp.ndarray y, cnp.ndarray dx, int num_threads):
    """Write dout where y, relu's output or input, is positive, and 0 elsewhere, into dx."""
    cdef Py_ssize_t size = cnp.PyArray_SIZE(y)
    cdef void* gradient = cnp.PyArray_DATA(dout)
    cdef void* output = cnp.PyArray_DATA(y)
    cdef void* target = cnp.PyArray_DATA(dx)
    cdef bint single = cnp.PyArray_TYPE(y) == cnp.NPY_FLOAT
    with nogil:
        if single:
            relu_gradient[float](<float*>gradient, <float*>output, <float*>target, size, num_threads)
        else:
            relu_gradient[double](<double*>gradient, <double*>output, <double*>target, size, num_threads)


def softmax_cross_entropy(cnp.ndarray x, cnp.ndarray t, cnp.ndarray y, cnp.ndarray losses, int num_threads):
    """Write the softmax of x (N, M) into y and each row's loss for t (int64 (N,) or x's dtype (N, M)) into losses.

    Without t and losses it is the softmax alone.
    """
    cdef Py_ssize_t N = x.shape[0], M = x.shape[1]
    cdef void* source = cnp.PyArray_DATA(x)
    cdef void* target = cnp.PyArray_DATA(y)
    cdef void* loss = NULL if losses is None else cnp.PyArray_DATA(losses)
    cdef bint indices = t is not None and cnp.PyArray_NDIM(t) == 1
    cdef void* truth = NULL if t is None else cnp.PyArray_DATA(t)
    cdef bint single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    cdef int64_t* labels = <int64_t*>truth if indices else NULL
    with nogil:
        if single:
            cross_entropy_rows[float](<float*>source, labels, <float*>truth, <float*>target, <float*>loss, N, M,
                                      num_threads)
        else:
            cross_entropy_rows[double](<double*>source, labels, <double*>truth, <double*>target, <double*>loss, N, M,
                                       num_threads)


def softmax_cross_entropy_backward(cnp.ndarray y, cnp.ndarray t, double scale, cnp.ndarray dx, int num_threads):
    """Write the gradient of the sum of the losses, times scale, into dx."""
    cdef Py_ssize_t N = y.shape[0], M = y.shape[1]
    cdef void* source = cnp.PyArray_DATA(y)
    cdef void* target = cnp.PyArray_DATA(dx)
    cdef void* truth = cnp.PyArray_DATA(t)
    cdef int64_t* labels = <int64_t*>truth if cnp.PyArray_NDIM(t) == 1 else NULL
    cdef bint single = cnp.PyArray_TYPE(y) == cnp.NPY_FLOAT
    with nogil:
        if single:
            cross_entropy_gradient[float](<float*>source, labels, <float*>truth, <float>scale, <float*>target, N, M,
                                          num_threads)
        else:
            cross_entropy_gradient[double](<double*>source, labels, <double*>truth, scale, <double*>target, N, M,
                                           num_threads)
