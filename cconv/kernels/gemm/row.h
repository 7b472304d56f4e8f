/* One row times a matrix that is read where it lies, from end to end. Reading it is what takes the time.
 *
 *     out[l] = sum over k of a[k] * b[k * b_step + l]          for l < NR vectors
 *
 *     a         IN, (count,)
 *     b         IN, `count` rows, b_step values apart
 *     last      where the last vector begins in a row. It may overlap the one before it: rows need not be whole vectors
 *     out       OUT, the sums
 *
 * Each sum is one chain of fused multiply-adds from 0, as in register_tile.h. Of a single row more vectors fit the
 * registers than of a tile.
 */
#ifndef CCONV_ROW_H
#define CCONV_ROW_H

#include "vector/vector.h"

#define ROW_MAX_NR 8

#define BODY "gemm/row.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* NR is a constant wherever this is inlined, so that `sum` becomes registers. */
CCONV_INLINE void NAME(row_body)(const int NR, const T *a, ptrdiff_t count, const T *b, ptrdiff_t b_step,
                                 ptrdiff_t last, T *out)
{
    NAME(vec) sum[ROW_MAX_NR];
    CCONV_UNROLL
    for (int v = 0; v < NR; v++) sum[v] = NAME(broadcast)(0);
    for (ptrdiff_t k = 0; k < count; k++) {
        const NAME(vec) value = NAME(broadcast)(a[k]);
        CCONV_UNROLL
        for (int v = 0; v < NR; v++) sum[v] = NAME(fma)(value, NAME(load)(b + (v < NR - 1 ? v * LANES : last)), sum[v]);
        b += b_step;
    }
    CCONV_UNROLL
    for (int v = 0; v < NR; v++) NAME(store)(out + (v < NR - 1 ? v * LANES : last), sum[v]);
}

#define ROW(NR_)                                                                                                       \
    case NR_:                                                                                                          \
        NAME(row_body)(NR_, a, count, b, b_step, last, out);                                                           \
        return;

static void NAME(row)(int NR, const T *a, ptrdiff_t count, const T *b, ptrdiff_t b_step, ptrdiff_t last, T *out)
{
    switch (NR) {
        /* clang-format off */
        ROW(1) ROW(2) ROW(3) ROW(4) ROW(5) ROW(6) ROW(7) ROW(8)
            /* clang-format on */
            default : abort();
    }
}
#undef ROW

#endif
