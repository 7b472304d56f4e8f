"""relu, its gradient, and sigmoid.

    relu                    out = x where x > 0 or x is NaN, else 0;  dx = dout where out > 0 or out is NaN, else 0
    sigmoid                 out = 1 / (1 + exp(-x)), from exp(-|x|), which does not overflow

Arrays are contiguous, and seen as one row.
"""

cimport numpy as cnp
from cython cimport floating
from cython.parallel cimport parallel, prange

from cconv.kernels.tile cimport cconv_ftz_on, cconv_ftz_restore

cdef extern from "vmath.h" nogil:
    float sigmoid_float(float x) noexcept
    double sigmoid_double(double x) noexcept

cnp.import_array()

cdef enum:
    CHUNK = 8192  # values in one piece of work


cdef inline floating logistic(floating x) noexcept nogil:
    if floating is float:
        return sigmoid_float(x)
    else:
        return sigmoid_double(x)


cdef void relu_values(const floating* x, floating* out, Py_ssize_t size, int num_threads) noexcept nogil:
    cdef Py_ssize_t c, i
    cdef unsigned state = 0
    with parallel(num_threads=num_threads):
        state = cconv_ftz_on()
        for c in prange((size + CHUNK - 1) // CHUNK, schedule="static"):
            for i in range(c * CHUNK, min((c + 1) * CHUNK, size)):
                out[i] = 0 if x[i] <= 0 else x[i]
        cconv_ftz_restore(state)


cdef void relu_gradient(const floating* dout, const floating* y, floating* dx, Py_ssize_t size,
                        int num_threads) noexcept nogil:
    cdef Py_ssize_t c, i
    cdef unsigned state = 0
    with parallel(num_threads=num_threads):
        state = cconv_ftz_on()
        for c in prange((size + CHUNK - 1) // CHUNK, schedule="static"):
            for i in range(c * CHUNK, min((c + 1) * CHUNK, size)):
                dx[i] = 0 if y[i] <= 0 else dout[i]
        cconv_ftz_restore(state)


cdef void sigmoid_values(const floating* x, floating* out, Py_ssize_t size, int num_threads) noexcept nogil:
    cdef Py_ssize_t c, i
    cdef unsigned state = 0
    with parallel(num_threads=num_threads):
        state = cconv_ftz_on()
        for c in prange((size + CHUNK - 1) // CHUNK, schedule="static"):
            for i in range(c * CHUNK, min((c + 1) * CHUNK, size)):
                out[i] = logistic[floating](x[i])
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


def sigmoid(cnp.ndarray x, cnp.ndarray out, int num_threads):
    """Write 1 / (1 + exp(-x)) into out."""
    cdef Py_ssize_t size = cnp.PyArray_SIZE(x)
    cdef void* source = cnp.PyArray_DATA(x)
    cdef void* target = cnp.PyArray_DATA(out)
    cdef bint single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    with nogil:
        if single:
            sigmoid_values[float](<float*>source, <float*>target, size, num_threads)
        else:
            sigmoid_values[double](<double*>source, <double*>target, size, num_threads)
