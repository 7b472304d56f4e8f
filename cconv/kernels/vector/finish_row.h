/* What follows a row of values before it is stored.
 *
 *     out = x + bias                             where there is one,
 *     out = (out - centre) * scale + shift       normalization with known statistics, where there are any,
 *     out = out + branch                         the other branch of a residual block, where there is one,
 *     out = 0 where out <= 0                     relu; not a number stays
 *
 * in this order, value by value: the bits are those of the layers one by one. `out` may be `x`.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_FINISH_ROW_H
#define CCONV_FINISH_ROW_H

#include "vector/vector.h"
#include "vector/zeros.h"

#define FINISH_WORD 64 /* bits of a word of a mask */

#define BODY "vector/finish_row.h"
#include "vector/both_dtypes.h"

#elif defined(T)

CCONV_INLINE NAME(vec) NAME(normalized)(NAME(vec) x, NAME(vec) centre, NAME(vec) scale, NAME(vec) shift)
{
    return NAME(fma)(NAME(sub)(x, centre), scale, shift);
}

/* The vector from value i on; `whole` tells whether all of it lies before the end n. */
CCONV_INLINE NAME(vec) NAME(row_part)(const T *row, ptrdiff_t i, ptrdiff_t n, int whole)
{
    return whole ? NAME(load)(row + i) : NAME(load_until)(row + i, row + n);
}

/* Finish the vector from value i on. */
CCONV_INLINE NAME(vec) NAME(finish_vector)(const T *x, const T *bias, const T *centre, const T *scale, const T *shift,
                                           const T *branch, int relu, ptrdiff_t i, ptrdiff_t n, const int whole)
{
    NAME(vec) v = NAME(row_part)(x, i, n, whole);
    if (bias) v = NAME(add)(v, NAME(row_part)(bias, i, n, whole));
    if (centre)
        v = NAME(normalized)(v, NAME(row_part)(centre, i, n, whole), NAME(row_part)(scale, i, n, whole),
                             NAME(row_part)(shift, i, n, whole));
    if (branch) v = NAME(add)(v, NAME(row_part)(branch, i, n, whole));
    return relu ? NAME(rectified)(v) : v;
}

/* Finish n values. `mask` takes a bit for each that is not 0, where it is not NULL: whole words. */
CCONV_INLINE void NAME(finish_row)(const T *x, const T *bias, const T *centre, const T *scale, const T *shift,
                                   const T *branch, int relu, ptrdiff_t n, T *out, uint64_t *mask)
{
    for (ptrdiff_t first = 0; first < n; first += FINISH_WORD) {
        const ptrdiff_t count = n - first < FINISH_WORD ? n - first : FINISH_WORD;
        uint64_t word = 0;
        for (ptrdiff_t i = first; i < first + count; i += LANES) {
            NAME(vec) v;
            if (n - i >= LANES) {
                v = NAME(finish_vector)(x, bias, centre, scale, shift, branch, relu, i, n, 1);
                NAME(store)(out + i, v);
            } else {
                v = NAME(finish_vector)(x, bias, centre, scale, shift, branch, relu, i, n, 0);
                NAME(store_until)(out + i, out + n, v);
            }
            if (!mask) continue;
            T lanes[LANES];
            NAME(store)(lanes, v);
            word |= NAME(nonzero)(lanes) << (i - first);
        }
        if (mask) mask[first / FINISH_WORD] = word & (~(uint64_t)0 >> (FINISH_WORD - count));
    }
}

#endif
