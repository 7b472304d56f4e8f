"""Dropout: random zeros from a generator that is a function of its counter."""

#     out[r, i] = x[r, i] * (scale if word[r] >= threshold, else 0)
#
# x is seen as rows of `inner` values that share their fate: single values, or whole channels of images. The 32-bit
# words come from Philox4x32-7 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011),
# which turns a counter of four words, under a key of two, into four random ones. The key is the generator's seed, the
# counter is made of a block's number and the number of the draw: so nothing depends on the order in which blocks are
# computed, and the gradient is the same call on dout, without a mask that would have to be kept.
#
# LANES blocks, which become one vector loop, give the words of one group of rows, a block's four words LANES apart.

cimport numpy as cnp
from cython cimport floating
from cython.parallel cimport parallel, prange
from libc.stdint cimport uint32_t, uint64_t

from cconv.kernels.tile cimport cconv_ftz_on, cconv_ftz_restore

cnp.import_array()

cdef enum:
    LANES = 16
    GROUP = 4 * LANES  # words
    ROUNDS = 7


cdef inline void random_words(uint64_t key, uint64_t draw, uint64_t group, uint32_t* words) noexcept nogil:
    """Write the GROUP words of a group."""
    cdef uint32_t* first = words
    cdef uint32_t* second = words + LANES
    cdef uint32_t* third = words + 2 * LANES
    cdef uint32_t* fourth = words + 3 * LANES
    cdef uint32_t key_low = <uint32_t>key, key_high = <uint32_t>(key >> 32)
    cdef uint64_t a, b
    cdef int i, _round
    for i in range(LANES):
        first[i] = <uint32_t>(group * LANES + i)
        second[i] = <uint32_t>((group * LANES + i) >> 32)
        third[i] = <uint32_t>draw
        fourth[i] = <uint32_t>(draw >> 32)
    for _round in range(ROUNDS):
        for i in range(LANES):
            a = <uint64_t>first[i] * <uint64_t>0xD2511F53u
            b = <uint64_t>third[i] * <uint64_t>0xCD9E8D57u
            first[i] = <uint32_t>(b >> 32) ^ second[i] ^ key_low
            second[i] = <uint32_t>b
            third[i] = <uint32_t>(a >> 32) ^ fourth[i] ^ key_high
            fourth[i] = <uint32_t>a
        key_low += 0x9E3779B9u
        key_high += 0xBB67AE85u


cdef void drop_group(const floating* x, floating* out, Py_ssize_t rows, Py_ssize_t inner, uint64_t key, uint64_t draw,
                     uint64_t group, uint32_t threshold, floating scale) noexcept nogil:
    cdef uint32_t words[GROUP]
    cdef Py_ssize_t r, i
    cdef floating factor
    random_words(key, draw, group, words)
    if inner == 1:
        for r in range(rows):
            factor = scale if words[r] >= threshold else 0
            out[r] = x[r] * factor
        return
    for r in range(rows):
        factor = scale if words[r] >= threshold else 0
        for i in range(r * inner, (r + 1) * inner):
            out[i] = x[i] * factor


cdef void drop(const floating* x, floating* out, Py_ssize_t rows, Py_ssize_t inner, uint64_t key, uint64_t draw,
               uint32_t threshold, floating scale, int num_threads) noexcept nogil:
    cdef Py_ssize_t g, first
    cdef unsigned state = 0
    with parallel(num_threads=num_threads):
        state = cconv_ftz_on()
        for g in prange((rows + GROUP - 1) // GROUP, schedule="static"):
            first = g * GROUP
            drop_group(x + first * inner, out + first * inner, min(GROUP, rows - first), inner, key, draw, g, threshold,
                       scale)
        cconv_ftz_restore(state)


def dropout(cnp.ndarray x, cnp.ndarray out, Py_ssize_t inner, uint64_t key, uint64_t draw, uint32_t threshold,
            double scale, int num_threads, /):
    """Write x, in rows of `inner` values, with some rows dropped and the others scaled, into out."""
    cdef Py_ssize_t rows = cnp.PyArray_SIZE(x) // inner
    cdef void* source = cnp.PyArray_DATA(x)
    cdef void* target = cnp.PyArray_DATA(out)
    cdef bint single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    with nogil:
        if single:
            drop[float](<float*>source, <float*>target, rows, inner, key, draw, threshold, <float>scale, num_threads)
        else:
            drop[double](<double*>source, <double*>target, rows, inner, key, draw, threshold, scale, num_threads)
