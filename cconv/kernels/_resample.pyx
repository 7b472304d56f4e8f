"""Upsampling, zero padding, and their gradients."""

#     nearest    out[y, z] = x[row[y], column[z]]
#     linear     out[y, z] = sum over a, b in 0, 1 of  wr[a, y] * wc[b, z] * x[row[a, y], column[b, z]]
#
# Arrays are NCHW; one image plane (n, c) is one piece of work. Where an output reads its image is written down by the
# caller, an axis at a time: two indices and the weight of the second one, that of the first being what is left of 1.
# With no weights only the first index counts, and values are copied. A row of the image is mixed out of two first, in
# one contiguous pass, and spread along the row then; the gradient goes the same way back.

cimport numpy as cnp
from cython cimport floating
from cython.parallel cimport parallel, prange
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from cconv.kernels.tile cimport cconv_ftz_on, cconv_ftz_restore

from cconv.kernels._memory import empty

cnp.import_array()

cdef struct Axis:
    Py_ssize_t size, out          # of the image and of the output
    const int32_t* first          # indices into the image, one for each output
    const int32_t* second
    const double* weight          # of the second; NULL copies the first


cdef inline void forward_plane(const floating* x, floating* out, floating* mixed, Axis rows,
                               Axis columns) noexcept nogil:
    cdef Py_ssize_t y, z
    cdef const floating* upper
    cdef const floating* lower
    cdef floating w
    for y in range(rows.out):
        upper = x + rows.first[y] * columns.size
        if columns.weight == NULL:
            for z in range(columns.out):
                out[y * columns.out + z] = upper[columns.first[z]]
            continue
        lower = x + rows.second[y] * columns.size
        w = <floating>rows.weight[y]
        for z in range(columns.size):
            mixed[z] = (<floating>1 - w) * upper[z] + w * lower[z]
        for z in range(columns.out):
            w = <floating>columns.weight[z]
            out[y * columns.out + z] = (<floating>1 - w) * mixed[columns.first[z]] + w * mixed[columns.second[z]]


cdef inline void backward_plane(const floating* dout, floating* dx, floating* mixed, Axis rows,
                                Axis columns) noexcept nogil:
    cdef Py_ssize_t y, z
    cdef floating* upper
    cdef floating* lower
    cdef floating w
    memset(dx, 0, rows.size * columns.size * sizeof(floating))
    for y in range(rows.out):
        upper = dx + rows.first[y] * columns.size
        if columns.weight == NULL:
            for z in range(columns.out):
                upper[columns.first[z]] += dout[y * columns.out + z]
            continue
        memset(mixed, 0, columns.size * sizeof(floating))
        for z in range(columns.out):
            w = <floating>columns.weight[z]
            mixed[columns.first[z]] += (<floating>1 - w) * dout[y * columns.out + z]
            mixed[columns.second[z]] += w * dout[y * columns.out + z]
        lower = dx + rows.second[y] * columns.size
        w = <floating>rows.weight[y]
        for z in range(columns.size):
            upper[z] += (<floating>1 - w) * mixed[z]
        for z in range(columns.size):
            lower[z] += w * mixed[z]


cdef void resample(floating* x, floating* out, Py_ssize_t planes, Axis rows, Axis columns, bint backward,
                   floating* mixed, int num_threads) noexcept nogil:
    """Run either way; mixed has room for a row per thread."""
    cdef Py_ssize_t p, t, image = rows.size * columns.size, result = rows.out * columns.out
    cdef unsigned state = 0
    with parallel(num_threads=num_threads):
        state = cconv_ftz_on()
        for t in prange(num_threads, schedule="static"):
            for p in range(t * planes // num_threads, (t + 1) * planes // num_threads):
                if backward:
                    backward_plane(out + p * result, x + p * image, mixed + t * columns.size, rows, columns)
                else:
                    forward_plane(x + p * image, out + p * result, mixed + t * columns.size, rows, columns)
        cconv_ftz_restore(state)


cdef Axis axis(Py_ssize_t size, Py_ssize_t out, tuple table):
    cdef Axis a
    cdef cnp.ndarray first = table[0], second = table[1], weight = table[2]
    a.size, a.out = size, out
    a.first = <const int32_t*>cnp.PyArray_DATA(first)
    a.second = <const int32_t*>cnp.PyArray_DATA(second)
    a.weight = NULL if weight is None else <double*>cnp.PyArray_DATA(weight)
    return a


cdef run(cnp.ndarray x, cnp.ndarray out, tuple row_table, tuple column_table, bint backward, int num_threads):
    cdef Axis rows = axis(x.shape[2], out.shape[2], row_table)
    cdef Axis columns = axis(x.shape[3], out.shape[3], column_table)
    cdef Py_ssize_t planes = x.shape[0] * x.shape[1]
    cdef void* image = cnp.PyArray_DATA(x)
    cdef void* result = cnp.PyArray_DATA(out)
    cdef cnp.ndarray scratch = empty((num_threads * columns.size,), x.dtype)
    cdef void* mixed = cnp.PyArray_DATA(scratch)
    cdef bint single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    with nogil:
        if single:
            resample[float](<float*>image, <float*>result, planes, rows, columns, backward, <float*>mixed, num_threads)
        else:
            resample[double](<double*>image, <double*>result, planes, rows, columns, backward, <double*>mixed,
                             num_threads)


def upsample(cnp.ndarray x, cnp.ndarray out, tuple rows, tuple columns, int num_threads, /):
    """Write the upsampled images into out; rows and columns are (first, second, weight): int32, int32, float64/None."""
    run(x, out, rows, columns, False, num_threads)


def upsample_backward(cnp.ndarray dout, cnp.ndarray dx, tuple rows, tuple columns, int num_threads, /):
    """Write the gradient of `upsample` into dx."""
    run(dx, dout, rows, columns, True, num_threads)


def zero_pad(cnp.ndarray x, cnp.ndarray out, Py_ssize_t top, Py_ssize_t left, int num_threads, /):
    """Write x into out, `top` rows down and `left` columns in, between zeros."""
    cdef Py_ssize_t H = x.shape[2], W = x.shape[3], OH = out.shape[2], OW = out.shape[3]
    cdef Py_ssize_t p, r, size = x.itemsize, planes = x.shape[0] * x.shape[1]
    cdef const char* source = <const char*>cnp.PyArray_DATA(x)
    cdef char* target = <char*>cnp.PyArray_DATA(out)
    cdef char* plane
    for p in prange(planes, schedule="static", num_threads=num_threads, nogil=True):
        plane = target + p * OH * OW * size
        memset(plane, 0, (top * OW + left) * size)
        for r in range(H):
            plane = target + ((p * OH + top + r) * OW + left) * size
            memcpy(plane, source + (p * H + r) * W * size, W * size)
            # What follows a row, up to where the next one begins; after the last row, up to the plane's end.
            memset(plane + W * size, 0, ((OW - W) if r < H - 1 else (OH - top - r) * OW - left - W) * size)


def crop(cnp.ndarray x, cnp.ndarray out, Py_ssize_t top, Py_ssize_t left, int num_threads, /):
    """Write the part of x that begins at row `top` and column `left` into out: the gradient of `zero_pad`."""
    cdef Py_ssize_t H = x.shape[2], W = x.shape[3], OH = out.shape[2], OW = out.shape[3]
    cdef Py_ssize_t p, r, size = x.itemsize, planes = x.shape[0] * x.shape[1]
    cdef const char* source = <const char*>cnp.PyArray_DATA(x)
    cdef char* target = <char*>cnp.PyArray_DATA(out)
    for p in prange(planes, schedule="static", num_threads=num_threads, nogil=True):
        for r in range(OH):
            memcpy(target + (p * OH + r) * OW * size, source + ((p * H + top + r) * W + left) * size, OW * size)
