/* The gradients of a convolution from a list of outputs: those whose gradient is not 0, maxima or what relu passed.
 *
 *     total[r][j]             += sum over k of value[k] * image[at[k] + r * row + j]     weight gradient of one filter
 *     image[at[k] + r * row + j] += value[k] * weights[r][j]  for each k                   input gradient of one filter
 *
 * for MR rows of NR whole vectors. Images lie with their channels last, whole vectors of them: the pixels under
 * a row of taps follow each other: j goes over taps and channels, and nothing but what is in the list is touched. What
 * stays in registers are the sums, or the weights; MR * NR is limited by their number.
 *
 * Order of additions: that of the list, one chain of fused multiply-adds.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_CONV_LIST_H
#define CCONV_CONV_LIST_H

#include <stdint.h>

#include "vector/register_tile.h"

#define LIST_MR 3
#define LIST_NR 8
/* The most vectors per row for so many rows. */
static inline int list_vectors(int MR)
{
    const int most = (TILE_ACCUMULATORS - 2) / MR;
    return most < LIST_NR ? most : LIST_NR;
}

#define BODY "conv/list.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* The sums of a piece of a window.
 *
 *     MR, NR       rows and vectors of it; constants wherever this is inlined
 *     image, row   IN, rows `row` values apart
 *     at, value    IN, [n]: the list
 *     total, step  IN and OUT, [MR][NR vectors]: rows `step` values apart */
CCONV_INLINE void NAME(add_listed_body)(const int MR, const int NR, const T *image, ptrdiff_t row, const int32_t *at,
                                        const T *value, ptrdiff_t n, T *total, ptrdiff_t step)
{
    NAME(vec) sum[LIST_MR * LIST_NR];
    CCONV_UNROLL
    for (int i = 0; i < MR * NR; i++) sum[i] = NAME(load)(total + i / NR * step + i % NR * LANES);
    for (ptrdiff_t k = 0; k < n; k++) {
        const NAME(vec) factor = NAME(broadcast)(value[k]);
        const T *line = image + at[k];
        CCONV_UNROLL
        for (int r = 0; r < MR; r++, line += row) {
            CCONV_ONE_REGISTER(line);
            CCONV_UNROLL
            for (int j = 0; j < NR; j++)
                sum[r * NR + j] = NAME(fma)(factor, NAME(load)(line + j * LANES), sum[r * NR + j]);
        }
    }
    CCONV_UNROLL
    for (int i = 0; i < MR * NR; i++) NAME(store)(total + i / NR * step + i % NR * LANES, sum[i]);
}

/* The same with what is added to the image: `weights` are IN, and `image` is IN and OUT. */
CCONV_INLINE void NAME(scatter_listed_body)(const int MR, const int NR, T *image, ptrdiff_t row, const int32_t *at,
                                            const T *value, ptrdiff_t n, const T *weights, ptrdiff_t step)
{
    NAME(vec) weight[LIST_MR * LIST_NR];
    CCONV_UNROLL
    for (int i = 0; i < MR * NR; i++) weight[i] = NAME(load)(weights + i / NR * step + i % NR * LANES);
    for (ptrdiff_t k = 0; k < n; k++) {
        const NAME(vec) factor = NAME(broadcast)(value[k]);
        T *line = image + at[k];
        CCONV_UNROLL
        for (int r = 0; r < MR; r++, line += row) {
            CCONV_ONE_REGISTER(line);
            CCONV_UNROLL
            for (int j = 0; j < NR; j++) {
                T *const to = line + j * LANES;
                NAME(store)(to, NAME(fma)(factor, weight[r * NR + j], NAME(load)(to)));
            }
        }
    }
}

/* to[off[q] + c] = from[c * count + q] for c < C and q < count; channels beyond C, up to whole vectors, are 0. The last
 * vector of q overlaps the one before it, where there is one. */
static void NAME(channels_last)(const T *from, ptrdiff_t C, ptrdiff_t count, const ptrdiff_t *off, T *to)
{
    for (ptrdiff_t c = 0; c < C; c += LANES, from += LANES * count, to += LANES) {
        const ptrdiff_t n = C - c < LANES ? C - c : LANES;
        for (ptrdiff_t k = 0; k < count; k += LANES) {
            const ptrdiff_t q = k > 0 && count - k < LANES ? count - LANES : k;
            const ptrdiff_t m = count - q < LANES ? count - q : LANES;
            NAME(vec) block[LANES];
            CCONV_UNROLL
            for (int r = 0; r < LANES; r++) {
                block[r] = NAME(broadcast)(0);
                if (r < n && m == LANES) block[r] = NAME(load)(from + r * count + q);
                if (r < n && m < LANES) memcpy(&block[r], from + r * count + q, (size_t)m * sizeof(T));
            }
            NAME(transpose)(block);
            CCONV_UNROLL
            for (int r = 0; r < LANES; r++)
                if (r < m) NAME(store)(to + off[q + r], block[r]);
        }
    }
}

/* The way back: to[c * count + q] = from[off[q] + c]. */
static void NAME(channels_first)(const T *from, const ptrdiff_t *off, ptrdiff_t C, ptrdiff_t count, T *to)
{
    for (ptrdiff_t c = 0; c < C; c += LANES, to += LANES * count, from += LANES) {
        const ptrdiff_t n = C - c < LANES ? C - c : LANES;
        for (ptrdiff_t k = 0; k < count; k += LANES) {
            const ptrdiff_t q = k > 0 && count - k < LANES ? count - LANES : k;
            const ptrdiff_t m = count - q < LANES ? count - q : LANES;
            NAME(vec) block[LANES];
            CCONV_UNROLL
            for (int r = 0; r < LANES; r++) block[r] = NAME(load)(from + off[q + (r < m ? r : 0)]);
            NAME(transpose)(block);
            CCONV_UNROLL
            for (int r = 0; r < LANES; r++) {
                if (r < n && m == LANES) NAME(store)(to + r * count + q, block[r]);
                if (r < n && m < LANES) memcpy(to + r * count + q, &block[r], (size_t)m * sizeof(T));
            }
        }
    }
}

#define ADD(MR_, NR_)                                                                                                  \
    case MR_ * 16 + NR_:                                                                                               \
        NAME(add_listed_body)(MR_, NR_, image, row, at, value, n, total, step);                                        \
        return;
#define SCATTER(MR_, NR_)                                                                                              \
    case MR_ * 16 + NR_:                                                                                               \
        NAME(scatter_listed_body)(MR_, NR_, image, row, at, value, n, weights, step);                                  \
        return;
/* clang-format off */
#define FEW(KIND)                                                                                                      \
    KIND(1, 1) KIND(1, 2) KIND(1, 3) KIND(1, 4) KIND(1, 5) KIND(1, 6) KIND(1, 7) KIND(1, 8)                            \
    KIND(2, 1) KIND(2, 2) KIND(2, 3) KIND(2, 4) KIND(2, 5) KIND(3, 1) KIND(3, 2) KIND(3, 3)
/* clang-format on */
#define MANY(KIND) KIND(2, 6) KIND(2, 7) KIND(2, 8) KIND(3, 4) KIND(3, 5) KIND(3, 6) KIND(3, 7)
#define MOST(KIND) KIND(3, 8)

/* The weight gradient; 1 <= NR <= list_vectors(MR). */
static void NAME(add_listed)(int MR, int NR, const T *image, ptrdiff_t row, const int32_t *at, const T *value,
                             ptrdiff_t n, T *total, ptrdiff_t step)
{
    switch (MR * 16 + NR) {
        FEW(ADD)
#if TILE_ACCUMULATORS >= 24
        MANY(ADD)
#endif
#if TILE_ACCUMULATORS >= 26
        MOST(ADD)
#endif
        default:
            abort();
    }
}

/* The input gradient; 1 <= NR <= list_vectors(MR). */
static void NAME(scatter_listed)(int MR, int NR, T *image, ptrdiff_t row, const int32_t *at, const T *value,
                                 ptrdiff_t n, const T *weights, ptrdiff_t step)
{
    switch (MR * 16 + NR) {
        FEW(SCATTER)
#if TILE_ACCUMULATORS >= 24
        MANY(SCATTER)
#endif
#if TILE_ACCUMULATORS >= 26
        MOST(SCATTER)
#endif
        default:
            abort();
    }
}
#undef ADD
#undef SCATTER
#undef FEW
#undef MANY
#undef MOST

#endif
