/* The inner loop of max pooling, one row of outputs at a time.
 *
 * It is here, and not in _pool.pyx, for `restrict`: a byte pointer may alias everything, and without the promise that
 * it does not GCC leaves the loop scalar. Positions are integers as wide as the values while a row is computed, so that a
 * comparison's mask selects both.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
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

#define T float
#define INT int32_t
#define NAME(name) name##_float
#include "pool/pool.h"
#undef T
#undef INT
#undef NAME
#define T double
#define INT int64_t
#define NAME(name) name##_double
#include "pool/pool.h"
#undef T
#undef INT
#undef NAME

#elif defined(T)

#define TAP(STRIDE)                                                                                                    \
    for (ptrdiff_t q = 0; q < n; q++) {                                                                                \
        const T v = row[q * (STRIDE)];                                                                                 \
        const int replaces = (v > best[q]) | (v != v);                                                                     \
        best[q] = replaces ? v : best[q];                                                                                  \
        at[q] = replaces ? tap : at[q];                                                                                    \
    }

/* One tap of n windows: keep what is greater, or NaN. */
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
