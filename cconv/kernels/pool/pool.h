/* The inner loop of max pooling, one row of outputs at a time: for windows that window.h refuses.
 *
 * This is C for `restrict`: without the promise that they do not overlap GCC leaves the loop scalar. Positions are
 * integers as wide as the values while a row is computed, so that the mask of a comparison selects both.
 */
#ifndef CCONV_POOL_H
#define CCONV_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/compiler.h"

/* Rows are short and memory is the limit: vectors of 32 bytes leave fewer values to the scalar end of each loop. */
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#define POOL_FUNCTION static __attribute__((noinline, target("prefer-vector-width=256")))
#else
#define POOL_FUNCTION static
#endif

#define BODY "pool/pool.h"
#include "vector/both_dtypes.h"

#elif defined(T)

#define TAP(STRIDE)                                                                                                    \
    for (ptrdiff_t q = 0; q < n; q++) {                                                                                \
        const T v = row[q * (STRIDE)];                                                                                 \
        const int replaces = (v > best[q]) | (v != v);                                                                 \
        best[q] = replaces ? v : best[q];                                                                              \
        at[q] = replaces ? tap : at[q];                                                                                \
    }

/* One tap of n windows, whose values lie `stride` apart in `row`.
 *
 *     tap       the tap's number
 *     best      IN and OUT, (n,) the maxima so far: replaced by what is greater or NaN
 *     at        IN and OUT, (n,) the taps that they come from
 */
POOL_FUNCTION void NAME(max_of_tap)(const T *CCONV_RESTRICT row, ptrdiff_t stride, ptrdiff_t n, INT tap,
                                    T *CCONV_RESTRICT best, INT *CCONV_RESTRICT at)
{
    if (stride == 1) {
        TAP(1)
    } else if (stride == 2) {
        TAP(2)
    } else {
        TAP(stride)
    }
}
#undef TAP

#endif
