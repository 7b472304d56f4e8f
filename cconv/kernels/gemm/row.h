/* A row times a matrix that lies in memory as it is read, from end to end: what limits it is the reading.
 *
 *     out[l] = sum over k of a[k] * b[k * b_step + l]
 *
 * for NR whole vectors of l, of which the last begins at l = `last` and may overlap the one before it: so the lines of a
 * matrix need not be whole vectors. Each sum is one chain of fused multiply-adds from 0, as in tile.h, whose accumulators
 * bound the tile by far fewer vectors than one row needs.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_ROW_H
#define CCONV_ROW_H

#include "vector/tile.h"

#define ROW_MAX_NR 8

#define T float
#define LANES (VECTOR_BYTES / 4)
#define NAME(name) name##_float
#include "vector/row.h"
#undef T
#undef LANES
#undef NAME
#define T double
#define LANES (VECTOR_BYTES / 8)
#define NAME(name) name##_double
#include "vector/row.h"
#undef T
#undef LANES
#undef NAME

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
        for (int v = 0; v < NR; v++)
            sum[v] = NAME(fma)(value, NAME(load)(b + (v < NR - 1 ? v * LANES : last)), sum[v]);
        b += b_step;
    }
    CCONV_UNROLL
    for (int v = 0; v < NR; v++) NAME(store)(out + (v < NR - 1 ? v * LANES : last), sum[v]);
}

#define ROW(NR_)                                                                                                        \
    case NR_:                                                                                                           \
        NAME(row_body)(NR_, a, count, b, b_step, last, out);                                                            \
        return;

static void NAME(row)(int NR, const T *a, ptrdiff_t count, const T *b, ptrdiff_t b_step, ptrdiff_t last, T *out)
{
    switch (NR) {
        ROW(1) ROW(2) ROW(3) ROW(4) ROW(5) ROW(6) ROW(7) ROW(8)
        default: abort();
    }
}
#undef ROW

#endif
