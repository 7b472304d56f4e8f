"""Upsampling, zero padding, and their gradients."""

#     nearest    out[y, z] = x[row[y], column[z]]
#     linear     out[y, z] = sum over a, b in 0, 1 of  wr[a, y] * wc[b, z] * x[row[a, y], column[b, z]]
#
# Arrays are NCHW; one image plane (n, c) is one piece of work. Where an output reads its image is written down by the
# caller, an axis at a time: two indices and the weight of the second one, that of the first being what is left of 1.
# With no weights only the first index counts, and values are copied. A row of the image is mixed out of two first, in
# one contiguous pass, and then along the row; the gradient goes the same way back. Where more than SUM_BLOCK
# outputs read a row or a column, its gradient is a long sum (sums.h).

cimport numpy as cnp
from cython cimport floating
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.runtime.division cimport ceil_div, round_up
from cconv.kernels.vector.sums cimport SUM_BLOCK, sum_add, sum_whole

from cconv.kernels.runtime._memory import empty

cnp.import_array()

cdef enum:
    ALIGNMENT = 64  # values between two threads' scratch

cdef struct Axis:
    Py_ssize_t size, out          # of the image and of the output
    const int32_t* first          # indices into the image, one for each output
    const int32_t* second
    const double* weight          # of the second; NULL copies the first

cdef struct Job:
    bint single, backward
    bint many                     # whether gradients are long sums
    void* x
    void* out
    void* scratch
    Py_ssize_t private            # values of it for each thread
    Axis rows, columns

cdef struct Copy:
    const char* x                 # planes of H x W values,
    char* out                     # and of OH x OW; the smaller ones begin at `top` and `left` in the larger ones
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


cdef inline void add_row(floating* total, floating* lost, const floating* row, floating weight,
                         Py_ssize_t size) noexcept nogil:
    """Add a row times a weight; in long sums unless lost is NULL."""
    cdef Py_ssize_t z
    if lost != NULL:
        for z in range(size):
            sum_add(total + z, lost + z, weight * row[z])
    else:
        for z in range(size):
            total[z] += weight * row[z]


cdef inline void settle(floating* total, floating* lost, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t z
    if lost != NULL:
        for z in range(size):
            total[z] = sum_whole(total[z], lost[z])
            lost[z] = 0


cdef inline void gather_row(const floating* dout, floating* mixed, floating* lost, Axis columns) noexcept nogil:
    """Add a row of the output to the columns of the image that it was read from; in long sums unless lost is NULL."""
    cdef Py_ssize_t z
    cdef floating w
    memset(mixed, 0, columns.size * sizeof(floating))
    for z in range(columns.out):
        w = 0 if columns.weight == NULL else <floating>columns.weight[z]
        if lost != NULL:
            sum_add(mixed + columns.first[z], lost + columns.first[z], (<floating>1 - w) * dout[z])
            sum_add(mixed + columns.second[z], lost + columns.second[z], w * dout[z])
        elif columns.weight == NULL:
            mixed[columns.first[z]] += dout[z]
        else:
            mixed[columns.first[z]] += (<floating>1 - w) * dout[z]
            mixed[columns.second[z]] += w * dout[z]
    settle(mixed, lost, columns.size)


cdef inline void backward_plane(const floating* dout, floating* dx, floating* mixed, floating* mixed_lost,
                                floating* lost, Axis rows, Axis columns) noexcept nogil:
    """`mixed_lost` has a row and `lost` a plane for what long sums lose, or both are NULL."""
    cdef Py_ssize_t y, upper, lower
    cdef floating w
    memset(dx, 0, rows.size * columns.size * sizeof(floating))
    if lost != NULL:
        memset(mixed_lost, 0, columns.size * sizeof(floating))
        memset(lost, 0, rows.size * columns.size * sizeof(floating))
    for y in range(rows.out):
        gather_row(dout + y * columns.out, mixed, mixed_lost, columns)
        w = 0 if rows.weight == NULL else <floating>rows.weight[y]
        upper = rows.first[y] * columns.size
        add_row(dx + upper, NULL if lost == NULL else lost + upper, <const floating*>mixed, <floating>1 - w,
                columns.size)
        if rows.weight != NULL:
            lower = rows.second[y] * columns.size
            add_row(dx + lower, NULL if lost == NULL else lost + lower, <const floating*>mixed, w, columns.size)
    settle(dx, lost, rows.size * columns.size)


cdef void some_planes(floating* x, floating* out, floating* scratch, Job* job, Pieces* pieces,
                      int slot) noexcept nogil:
    cdef Axis rows = job.rows, columns = job.columns
    cdef Py_ssize_t p, image = rows.size * columns.size, result = rows.out * columns.out
    cdef floating* mixed = scratch + slot * job.private
    cdef floating* mixed_lost = mixed + columns.size if job.many else NULL
    cdef floating* lost = mixed + 2 * columns.size if job.many else NULL
    while (p := take_piece(pieces, slot)) >= 0:
        if job.backward:
            backward_plane(out + p * result, x + p * image, mixed, mixed_lost, lost, rows, columns)
        else:
            forward_plane(x + p * image, out + p * result, mixed, rows, columns)


cdef void planes(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    if job.single:
        some_planes(<float*>job.x, <float*>job.out, <float*>job.scratch, job, pieces, slot)
    else:
        some_planes(<double*>job.x, <double*>job.out, <double*>job.scratch, job, pieces, slot)


cdef inline bint read_often(Axis* a) noexcept:
    """Whether a row or column of the image may be read more than SUM_BLOCK times."""
    return (1 if a.weight == NULL else 2) * (ceil_div(a.out, a.size) + 1) > SUM_BLOCK


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
    cdef bint many = backward and (read_often(&rows) or read_often(&columns))
    cdef Py_ssize_t private = round_up(columns.size + (columns.size * (rows.size + 1) if many else 0), ALIGNMENT)
    cdef cnp.ndarray scratch = empty((private * num_threads,), x.dtype)
    cdef Job job = Job(cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT, backward, many, cnp.PyArray_DATA(x), cnp.PyArray_DATA(out),
                       cnp.PyArray_DATA(scratch), private, rows, columns)
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
