"""The three matrix products of an affine layer: x W + b, dout W^T and x^T dout."""

cimport numpy as cnp
from cython cimport floating
from cython.parallel cimport prange

cnp.import_array()


cdef void affine_body(const floating[:, ::1] x, const floating[:, ::1] W, const floating* b, floating[:, ::1] out,
                      bint relu, int num_threads) noexcept nogil:
    cdef Py_ssize_t N = x.shape[0], D = x.shape[1], M = W.shape[1], n, d, m
    for n in prange(N, schedule="static", num_threads=num_threads):
        for m in range(M):
            out[n, m] = 0
        for d in range(D):
            for m in range(M):
                out[n, m] += x[n, d] * W[d, m]
        if b != NULL:
            for m in range(M):
                out[n, m] += b[m]
        if relu:
            for m in range(M):
                if out[n, m] <= 0:
                    out[n, m] = 0


cdef void input_body(const floating[:, ::1] dout, const floating[:, ::1] W, floating[:, ::1] dx,
                     int num_threads) noexcept nogil:
    cdef Py_ssize_t N = dout.shape[0], D = W.shape[0], M = W.shape[1], n, d, m
    cdef floating total
    for n in prange(N, schedule="static", num_threads=num_threads):
        for d in range(D):
            total = 0
            for m in range(M):
                total = total + dout[n, m] * W[d, m]
            dx[n, d] = total


cdef void weights_body(const floating[:, ::1] x, const floating[:, ::1] dout, floating[:, ::1] dW, floating* db,
                       int num_threads) noexcept nogil:
    cdef Py_ssize_t N = dout.shape[0], D = dW.shape[0], M = dW.shape[1], n, d, m
    for d in prange(D, schedule="static", num_threads=num_threads):
        for m in range(M):
            dW[d, m] = 0
        for n in range(N):
            for m in range(M):
                dW[d, m] += x[n, d] * dout[n, m]
    if db != NULL:
        for m in range(M):
            db[m] = 0
        for n in range(N):
            for m in range(M):
                db[m] += dout[n, m]


cdef inline void* data_or_null(object array):
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray>array)


def affine(cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out, bint relu, int num_threads):
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        affine_body[float](x, W, <const float*>data_or_null(b), out, relu, num_threads)
    else:
        affine_body[double](x, W, <const double*>data_or_null(b), out, relu, num_threads)


def affine_backward_input(cnp.ndarray dout, cnp.ndarray W, cnp.ndarray dx, int num_threads):
    if cnp.PyArray_TYPE(dx) == cnp.NPY_FLOAT:
        input_body[float](dout, W, dx, num_threads)
    else:
        input_body[double](dout, W, dx, num_threads)


def affine_backward_weights(cnp.ndarray x, cnp.ndarray dout, cnp.ndarray dW, object db, int num_threads):
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        weights_body[float](x, dout, dW, <float*>data_or_null(db), num_threads)
    else:
        weights_body[double](x, dout, dW, <double*>data_or_null(db), num_threads)
