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
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from cconv.kernels._threads cimport Pieces, run_job, take_piece

from cconv.kernels._memory import empty

cnp.import_array()

cdef struct Axis:
    Py_ssize_t size, out          # of the image and of the output
    const int32_t* first          # indices into the image, one for each output
    const int32_t* second
    const double* weight          # of the second; NULL copies the first

cdef struct Job:
    bint single, backward
    void* x
    void* out
    void* mixed                   # a row for each thread
    Axis rows, columns

cdef struct Copy:
    const char* x                 # planes of H x W values,
    char* out                     # and of OH x OW; `top` and `left` tell where the smaller ones begin in the larger ones
    Py_ssize_t size               # of a value, in bytes
    Py_ssize_t H, W, OH, OW, top, left


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


cdef void some_planes(floating* x, floating* out, floating* mixed, Job* job, Pieces* pieces, int slot) noexcept nogil:
    cdef Axis rows = job.rows, columns = job.columns
    cdef Py_ssize_t p, image = rows.size * columns.size, result = rows.out * columns.out
    mixed += slot * columns.size
    while (p := take_piece(pieces, slot)) >= 0:
        if job.backward:
            backward_plane(out + p * result, x + p * image, mixed, rows, columns)
        else:
            forward_plane(x + p * image, out + p * result, mixed, rows, columns)


cdef void planes(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    if job.single:
        some_planes(<float*>job.x, <float*>job.out, <float*>job.mixed, job, pieces, slot)
    else:
        some_planes(<double*>job.x, <double*>job.out, <double*>job.mixed, job, pieces, slot)


cdef Axis axis(Py_ssize_t size, Py_ssize_t out, tuple table):
    cdef Axis a
    cdef cnp.ndarray first = table[0], second = table[1], weight = table[2]
    a.size, a.out = size, out
    a.first = <const int32_t*>cnp.PyArray_DATA(first)
    a.second = <const int32_t*>cnp.PyArray_DATA(second)
    a.weight = NULL if weight is None else <double*>cnp.PyArray_DATA(weight)
    return a


cdef run(cnp.ndarray x, cnp.ndarray out, tuple row_table, tuple column_table, bint backward, int num_threads):
    cdef cnp.ndarray scratch = empty((num_threads * x.shape[3],), x.dtype)
    cdef Job job
    job.single, job.backward = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT, backward
    job.x, job.out, job.mixed = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out), cnp.PyArray_DATA(scratch)
    job.rows = axis(x.shape[2], out.shape[2], row_table)
    job.columns = axis(x.shape[3], out.shape[3], column_table)
    with nogil:
        run_job(planes, &job, x.shape[0] * x.shape[1], num_threads)


def upsample(cnp.ndarray x, cnp.ndarray out, tuple rows, tuple columns, int num_threads, /):
    """Write the upsampled images into out; rows and columns are (first, second, weight): int32, int32, float64/None."""
    run(x, out, rows, columns, False, num_threads)


def upsample_backward(cnp.ndarray dout, cnp.ndarray dx, tuple rows, tuple columns, int num_threads, /):
    """Write the gradient of `upsample` into dx."""
    run(dx, dout, rows, columns, True, num_threads)


cdef void frame_planes(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Copy* f = <Copy*>given
    cdef Py_ssize_t p, r
    cdef char* row
    while (p := take_piece(pieces, slot)) >= 0:
        memset(f.out + p * f.OH * f.OW * f.size, 0, (f.top * f.OW + f.left) * f.size)
        for r in range(f.H):
            row = f.out + ((p * f.OH + f.top + r) * f.OW + f.left) * f.size
            memcpy(row, f.x + (p * f.H + r) * f.W * f.size, f.W * f.size)
            # What follows a row, up to where the next one begins; after the last row, up to the plane's end.
            memset(row + f.W * f.size, 0,
                   (f.OW - f.W if r < f.H - 1 else (f.OH - f.top - r) * f.OW - f.left - f.W) * f.size)


def zero_pad(cnp.ndarray x, cnp.ndarray out, Py_ssize_t top, Py_ssize_t left, int num_threads, /):
    """Write x into out, `top` rows down and `left` columns in, between zeros."""
    cdef Copy job = Copy(<const char*>cnp.PyArray_DATA(x), <char*>cnp.PyArray_DATA(out), x.itemsize, x.shape[2],
                         x.shape[3], out.shape[2], out.shape[3], top, left)
    with nogil:
        run_job(frame_planes, &job, x.shape[0] * x.shape[1], num_threads)


cdef void crop_planes(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Copy* c = <Copy*>given
    cdef Py_ssize_t p, r
    while (p := take_piece(pieces, slot)) >= 0:
        for r in range(c.OH):
            memcpy(c.out + (p * c.OH + r) * c.OW * c.size, c.x + ((p * c.H + c.top + r) * c.W + c.left) * c.size,
                   c.OW * c.size)


def crop(cnp.ndarray x, cnp.ndarray out, Py_ssize_t top, Py_ssize_t left, int num_threads, /):
    """Write the part of x that begins at row `top` and column `left` into out: the gradient of `zero_pad`."""
    cdef Copy job = Copy(<const char*>cnp.PyArray_DATA(x), <char*>cnp.PyArray_DATA(out), x.itemsize, x.shape[2],
                         x.shape[3], out.shape[2], out.shape[3], top, left)
    with nogil:
        run_job(crop_planes, &job, x.shape[0] * x.shape[1], num_threads)
