"""im2col and its adjoint col2im, for floats and integers."""

#     col[(n, y, z), (c, i, j)] = x[n, c, y*sh - pt + i*dh, z*sw - pl + j*dw]
#
# col is C-contiguous, (N*OH*OW, C*FH*FW); positions in the padding read 0. col2im adds every value of col to the pixel
# it was read from: the adjoint, not the inverse, because pixels that several windows cover receive several values. One
# image is one piece of work, so that a pixel's additions always happen in the order of (y, z, i, j).

cimport numpy as cnp
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece

cnp.import_array()

cdef struct Geometry:
    Py_ssize_t N, C, H, W, OH, OW
    int fh, fw, sh, sw, pt, pl, dh, dw

# Integers are copied and added as unsigned ones of their size, which wrap around as NumPy's do.
ctypedef fused value:
    float
    double
    uint8_t
    uint16_t
    uint32_t
    uint64_t

cdef enum Kind:
    SINGLE, DOUBLE, ONE_BYTE, TWO_BYTES, FOUR_BYTES, EIGHT_BYTES

cdef struct Job:
    Kind kind
    bint back
    void* x
    void* col
    Geometry g


cdef inline void image(value* x, value* col, Geometry g, bint back) noexcept nogil:
    cdef Py_ssize_t y, z, c, i, j, r, q
    cdef value* row
    for y in range(g.OH):
        for z in range(g.OW):
            for c in range(g.C):
                for i in range(g.fh):
                    r = y * g.sh - g.pt + i * g.dh
                    row = x + (c * g.H + r) * g.W
                    for j in range(g.fw):
                        q = z * g.sw - g.pl + j * g.dw
                        if r >= 0 and r < g.H and q >= 0 and q < g.W:
                            if back:
                                row[q] += col[j]
                            else:
                                col[j] = row[q]
                        elif not back:
                            col[j] = 0
                    col += g.fw


cdef void some_images(value* x, value* col, Job* job, Pieces* pieces, int slot) noexcept nogil:
    cdef Geometry g = job.g
    cdef Py_ssize_t n, pixels = g.C * g.H * g.W, values = g.OH * g.OW * g.C * g.fh * g.fw
    while (n := take_piece(pieces, slot)) >= 0:
        if job.back:
            memset(x + n * pixels, 0, pixels * sizeof(value))
            image(x + n * pixels, col + n * values, g, True)
        else:
            image(x + n * pixels, col + n * values, g, False)


cdef void images(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    if job.kind == SINGLE:
        some_images(<float*>job.x, <float*>job.col, job, pieces, slot)
    elif job.kind == DOUBLE:
        some_images(<double*>job.x, <double*>job.col, job, pieces, slot)
    elif job.kind == ONE_BYTE:
        some_images(<uint8_t*>job.x, <uint8_t*>job.col, job, pieces, slot)
    elif job.kind == TWO_BYTES:
        some_images(<uint16_t*>job.x, <uint16_t*>job.col, job, pieces, slot)
    elif job.kind == FOUR_BYTES:
        some_images(<uint32_t*>job.x, <uint32_t*>job.col, job, pieces, slot)
    else:
        some_images(<uint64_t*>job.x, <uint64_t*>job.col, job, pieces, slot)


cdef Kind kind_of(cnp.ndarray x) noexcept:
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        return SINGLE
    if cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE:
        return DOUBLE
    if cnp.PyArray_ITEMSIZE(x) == 1:
        return ONE_BYTE
    if cnp.PyArray_ITEMSIZE(x) == 2:
        return TWO_BYTES
    return FOUR_BYTES if cnp.PyArray_ITEMSIZE(x) == 4 else EIGHT_BYTES


cdef void dispatch(cnp.ndarray x, cnp.ndarray col, Geometry g, bint back, int num_threads):
    cdef Job job
    job.kind, job.back, job.g = kind_of(x), back, g
    job.x, job.col = cnp.PyArray_DATA(x), cnp.PyArray_DATA(col)
    job.g.N, job.g.C, job.g.H, job.g.W = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    with nogil:
        run_job(images, &job, job.g.N, num_threads)


def im2col(cnp.ndarray x, cnp.ndarray col, Py_ssize_t OH, Py_ssize_t OW, int fh, int fw, int sh, int sw, int pt,
           int pl, int dh, int dw, int num_threads, /):
    """Write the patches of x (N, C, H, W) into the rows of col."""
    dispatch(x, col, Geometry(0, 0, 0, 0, OH, OW, fh, fw, sh, sw, pt, pl, dh, dw), False, num_threads)


def col2im(cnp.ndarray col, cnp.ndarray dx, Py_ssize_t OH, Py_ssize_t OW, int fh, int fw, int sh, int sw, int pt,
           int pl, int dh, int dw, int num_threads, /):
    """Write the sum of the patches in col's rows into dx (N, C, H, W)."""
    dispatch(dx, col, Geometry(0, 0, 0, 0, OH, OW, fh, fw, sh, sw, pt, pl, dh, dw), True, num_threads)
