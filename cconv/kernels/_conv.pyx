"""Direct convolution: output, input gradient, weight and bias gradient.

    out[n, f, y, q] = b[f] + sum over c, i, j of W[f, c, i, j] * x[n, g + c, y*sh - pt + i*dh, q*sw - pl + j*dw]
"""

cimport numpy as cnp
from cython cimport floating
from cython.parallel cimport prange

cnp.import_array()

cdef struct Steps:
    int sh, sw, pt, pl, dh, dw


cdef inline (Py_ssize_t, Py_ssize_t) places(Py_ssize_t size, Py_ssize_t out, Py_ssize_t stride, Py_ssize_t start) noexcept nogil:
    """The outputs for which start + output * stride is inside an image of `size`."""
    cdef Py_ssize_t first = 0 if start >= 0 else (-start + stride - 1) // stride
    cdef Py_ssize_t last = 0 if start >= size else (size - 1 - start) // stride + 1
    return first, min(last, out)


cdef void plane(const floating* x, const floating* w, floating* out, floating* dw, int mode, Py_ssize_t H, Py_ssize_t WD,
                Py_ssize_t FH, Py_ssize_t FW, Py_ssize_t OH, Py_ssize_t OW, Steps s) noexcept nogil:
    cdef Py_ssize_t i, j, y, q, y0, y1, q0, q1, start
    cdef const floating* row
    cdef floating* grad
    cdef floating* o
    cdef floating total, weight
    for i in range(FH):
        y0, y1 = places(H, OH, s.sh, i * s.dh - s.pt)
        for j in range(FW):
            start = j * s.dw - s.pl
            q0, q1 = places(WD, OW, s.sw, start)
            total = 0
            weight = w[i * FW + j]
            for y in range(y0, y1):
                row = x + (y * s.sh - s.pt + i * s.dh) * WD + start
                grad = <floating*>row
                o = out + y * OW
                if mode == 0:
                    for q in range(q0, q1):
                        o[q] += weight * row[q * s.sw]
                elif mode == 1:
                    for q in range(q0, q1):
                        grad[q * s.sw] += weight * o[q]
                else:
                    for q in range(q0, q1):
                        total += o[q] * row[q * s.sw]
            if mode == 2:
                dw[i * FW + j] += total


cdef void body(floating* x, floating* W, floating* b, floating* out, int mode, const cnp.npy_intp* xs,
               const cnp.npy_intp* ws, const cnp.npy_intp* os, Steps s, int groups, int num_threads) noexcept nogil:
    cdef Py_ssize_t N = xs[0], CC = xs[1], HW = xs[2] * xs[3], FN = ws[0], C = ws[1], T = ws[2] * ws[3]
    cdef Py_ssize_t FG = FN // groups, OHW = os[2] * os[3], k, n, f, c, g, q
    cdef floating* o
    if mode == 0:
        for k in prange(N * FN, schedule="static", num_threads=num_threads):
            f = k % FN
            g = f // FG * C
            o = out + k * OHW
            for q in range(OHW):
                o[q] = b[f] if b != NULL else 0
            for c in range(C):
                plane(x + (k // FN * CC + g + c) * HW, W + (f * C + c) * T, o, W, 0, xs[2], xs[3], ws[2], ws[3], os[2], os[3], s)
    elif mode == 1:
        for k in prange(N * CC, schedule="static", num_threads=num_threads):
            c = k % CC
            g = c // C * FG
            o = x + k * HW
            for q in range(HW):
                o[q] = 0
            for f in range(g, g + FG):
                plane(o, W + (f * C + c % C) * T, out + (k // CC * FN + f) * OHW, W, 1, xs[2], xs[3], ws[2], ws[3], os[2], os[3], s)
    else:
        for k in prange(FN * C, schedule="static", num_threads=num_threads):
            f = k // C
            for q in range(T):
                W[k * T + q] = 0
            for n in range(N):
                plane(x + (n * CC + f // FG * C + k % C) * HW, W + k * T, out + (n * FN + f) * OHW, W + k * T, 2, xs[2], xs[3], ws[2], ws[3], os[2], os[3], s)
            if b != NULL and k % C == 0:
                b[f] = 0
                for n in range(N):
                    o = out + (n * FN + f) * OHW
                    for q in range(OHW):
                        b[f] += o[q]


cdef void run(cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out, int mode, Steps s, int groups, int nt):
    cdef void* bias = NULL if b is None else cnp.PyArray_DATA(<cnp.ndarray>b)
    cdef const cnp.npy_intp* xs = cnp.PyArray_DIMS(x)
    cdef const cnp.npy_intp* ws = cnp.PyArray_DIMS(W)
    cdef const cnp.npy_intp* os = cnp.PyArray_DIMS(out)
    cdef void* xd = cnp.PyArray_DATA(x)
    cdef void* wd = cnp.PyArray_DATA(W)
    cdef void* od = cnp.PyArray_DATA(out)
    cdef bint single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    with nogil:
        if single:
            body[float](<float*>xd, <float*>wd, <float*>bias, <float*>od, mode, xs, ws, os, s, groups, nt)
        else:
            body[double](<double*>xd, <double*>wd, <double*>bias, <double*>od, mode, xs, ws, os, s, groups, nt)


def forward(cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out,
            int sh, int sw, int pt, int pl, int dh, int dw, int groups, int num_threads):
    run(x, W, b, out, 0, Steps(sh, sw, pt, pl, dh, dw), groups, num_threads)


def backward_input(cnp.ndarray dout, cnp.ndarray W, cnp.ndarray dx,
                   int sh, int sw, int pt, int pl, int dh, int dw, int groups, int num_threads):
    run(dx, W, None, dout, 1, Steps(sh, sw, pt, pl, dh, dw), groups, num_threads)


def backward_weights(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dW, object db,
                     int sh, int sw, int pt, int pl, int dh, int dw, int groups, int num_threads):
    run(x, dW, db, dout, 2, Steps(sh, sw, pt, pl, dh, dw), groups, num_threads)
