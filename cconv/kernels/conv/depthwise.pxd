"""Depthwise outputs, each channel by itself, lanes = pixels, read from the image where it is: depthwise.h."""

from cython cimport floating
from libc.string cimport memcpy, memset

from cconv.kernels.conv.finish cimport Finish
from cconv.kernels.conv.plan cimport Depth, DepthPlan
from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.runtime.division cimport quotient


cdef extern from "conv/depthwise.h" nogil:
    void depthwise_float(const Depth*, const float*, const float*, const float*, const Finish*, Py_ssize_t,
                         const float**, float*, Py_ssize_t) noexcept
    void depthwise_double(const Depth*, const double*, const double*, const double*, const Finish*, Py_ssize_t,
                          const double**, double*, Py_ssize_t) noexcept


cdef struct DepthJob:
    bint single
    const void* x  # IN, (N, groups, H, W)
    const void* W  # IN, (groups * F, 1, FH, FW)
    Finish after  # what follows the sums
    void* out  # OUT
    DepthPlan* g
    Py_ssize_t N
    void* scratch  # g.private values for each thread


cdef inline void compute_channel(const floating* x, floating* out, const DepthJob* job, Py_ssize_t item,
                                 floating* mine) noexcept nogil:
    """Compute the outputs of one channel of one image, the item-th of the batch.

    What lies before the batch or behind it may not be read: channels next to its ends are copied.
    """
    cdef const DepthPlan* g = job.g
    cdef const Depth* d = &g.size
    cdef Py_ssize_t area = d.H * d.W, group = item - quotient(item, g.groups) * g.groups, f, c
    cdef const floating* image = x + item * area
    cdef const floating* W = <const floating*>job.W
    cdef const floating* zeros = <const floating*>mine + g.lines + d.pl
    cdef floating* copied = mine + g.lines + g.zeros + d.pl
    if item * area < d.pl or (job.N * g.groups - item - 1) * area < g.behind:
        memcpy(copied, image, area * sizeof(floating))
        image = copied
    for f in range(g.F):
        c = group * g.F + f
        if floating is float:
            depthwise_float(d, image, zeros, W + c * d.FH * d.FW, &job.after, c, <const float**>mine, out,
                            (item * g.F + f) * d.OH * d.OW)
        else:
            depthwise_double(d, image, zeros, W + c * d.FH * d.FW, &job.after, c, <const double**>mine, out,
                             (item * g.F + f) * d.OH * d.OW)


cdef inline void compute_blocks(const floating* x, floating* out, const DepthJob* job, Pieces* pieces,
                                int slot) noexcept nogil:
    """Compute blocks of channels of images, each a piece of work."""
    cdef const DepthPlan* g = job.g
    cdef floating* mine = <floating*>job.scratch + slot * g.private
    cdef Py_ssize_t piece, n, block, k
    memset(mine, 0, g.private * sizeof(floating))
    while (piece := take_piece(pieces, slot)) >= 0:
        n = quotient(piece, g.blocks)
        block = piece - n * g.blocks
        for k in range(quotient(block * g.groups, g.blocks), quotient((block + 1) * g.groups, g.blocks)):
            compute_channel(x, out, job, n * g.groups + k, mine)


cdef inline void depthwise_pieces(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef DepthJob* job = <DepthJob*>given
    if job.single:
        compute_blocks(<const float*>job.x, <float*>job.out, job, pieces, slot)
    else:
        compute_blocks(<const double*>job.x, <double*>job.out, job, pieces, slot)


cdef inline void run_depthwise(DepthJob* job, int num_threads) noexcept nogil:
    run_job(depthwise_pieces, job, job.N * job.g.blocks, num_threads)
