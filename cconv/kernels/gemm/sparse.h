/* Rows times a matrix without the zeros of the rows. After relu, and in the gradients that pass it, most values are 0.
 *
 *     to[r][l] = from[r][l] + sum over the k whose bit is set in bits[r] of a[r * a_step + k] * b[k][l]
 *
 * for NR whole vectors of l. A product with 0 leaves a sum as it is, unless the other factor is infinite or not a
 * number. `pack_finite` finds such factors; the caller then sets all bits. So the sums have the bits of
 * register_tile.h: one chain of fused multiply-adds in the order of k.
 *
 * A vector of b is loaded for every multiply-add. So `pack_finite` packs SPARSE_STEPS rows of b next to each other:
 * they fit the first cache, and no vector lies across two of its lines.
 */
#ifndef CCONV_SPARSE_H
#define CCONV_SPARSE_H

#include "vector/zeros.h"

#if defined(_MSC_VER)
#include <intrin.h>
#endif

#define SPARSE_STEPS 64 /* bits of a word; so many rows of SPARSE_MAX_NR vectors fill 28 KiB at most */
#define SPARSE_MAX_NR 7

/* The number of the lowest bit that is set, of which there is one. */
static inline int lowest_bit(uint64_t bits)
{
#if defined(__GNUC__)
    return __builtin_ctzll(bits);
#elif defined(_MSC_VER) && defined(_WIN64)
    unsigned long k;
    _BitScanForward64(&k, bits);
    return (int)k;
#else
    int k = 0;
    while (!(bits >> k & 1)) k++;
    return k;
#endif
}

#define BODY "gemm/sparse.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* bits[r * words + w]: which of the values 64 w, 64 w + 1, ... of row r, `count` in all, are not 0. */
static void NAME(find_bits)(const T *a, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t count, uint64_t *bits)
{
    for (ptrdiff_t r = 0; r < rows; r++, a += step)
        for (ptrdiff_t first = 0; first < count; first += SPARSE_STEPS) {
            const ptrdiff_t n = count - first < SPARSE_STEPS ? count - first : SPARSE_STEPS;
            uint64_t word = 0;
            ptrdiff_t k = 0;
            for (; k + LANES <= n; k += LANES) word |= NAME(nonzero)(a + first + k) << k;
            for (; k < n; k++) word |= (uint64_t)(a[first + k] != 0) << k;
            *bits++ = word;
        }
}

/* NR is a constant wherever this is inlined, so that `sum` becomes registers.
 *
 *     a         IN, rows of values, a_step apart
 *     bits      IN, a word for each row, `words` apart: which of its first SPARSE_STEPS values count
 *     b         IN, (SPARSE_STEPS, NR * LANES), packed
 *     from      IN, (rows, NR * LANES), or NULL for zeros
 *     to        OUT, rows to_step apart
 *     last      where the last vector of a row of `to` begins; it may overlap the one before it
 *     add       whether the sums are added to what `to` holds
 */
CCONV_INLINE void NAME(sparse_body)(const int NR, ptrdiff_t rows, const T *a, ptrdiff_t a_step, const uint64_t *bits,
                                    ptrdiff_t words, const T *b, const T *from, T *to, ptrdiff_t to_step,
                                    ptrdiff_t last, int add)
{
    ptrdiff_t step = NR * LANES * sizeof(T);
    CCONV_ONE_REGISTER(step); /* a multiplication is one instruction, what a compiler puts in its place four */
    for (ptrdiff_t r = 0; r < rows; r++) {
        NAME(vec) sum[SPARSE_MAX_NR];
        CCONV_UNROLL
        for (int v = 0; v < NR; v++) sum[v] = from ? NAME(load)(from + v * LANES) : NAME(broadcast)(0);
        for (uint64_t word = bits[r * words]; word; word &= word - 1) {
            const ptrdiff_t k = lowest_bit(word);
            const NAME(vec) value = NAME(broadcast)(a[k]);
            const T *line = (const T *)((const char *)b + k * step);
            CCONV_ONE_REGISTER(line);
            CCONV_UNROLL
            for (int v = 0; v < NR; v++) sum[v] = NAME(fma)(value, NAME(load)(line + v * LANES), sum[v]);
        }
        if (add) {
            CCONV_UNROLL
            for (int v = 0; v < NR; v++) sum[v] = NAME(add)(NAME(load)(to + (v < NR - 1 ? v * LANES : last)), sum[v]);
        }
        CCONV_UNROLL
        for (int v = 0; v < NR; v++) NAME(store)(to + (v < NR - 1 ? v * LANES : last), sum[v]);
        a += a_step;
        if (from) from += NR * LANES;
        to += to_step;
    }
}

#define SPARSE(NR_)                                                                                                    \
    case NR_:                                                                                                          \
        NAME(sparse_body)(NR_, rows, a, a_step, bits, words, b, from, to, to_step, last, add);                         \
        return;

static void NAME(sparse_rows)(int NR, ptrdiff_t rows, const T *a, ptrdiff_t a_step, const uint64_t *bits,
                              ptrdiff_t words, const T *b, const T *from, T *to, ptrdiff_t to_step, ptrdiff_t last,
                              int add)
{
    switch (NR) {
        /* clang-format off */
        SPARSE(1) SPARSE(2) SPARSE(3) SPARSE(4) SPARSE(5) SPARSE(6) SPARSE(7)
            /* clang-format on */
            default : abort();
    }
}
#undef SPARSE

/* Pack `count` rows of NR vectors, of which the last begins at `last`, and return whether all values are finite: only
 * infinities and NaNs times 0 are not 0. `to` may be b. */
static int NAME(pack_finite)(int NR, ptrdiff_t count, const T *b, ptrdiff_t b_step, ptrdiff_t last, T *to)
{
    NAME(vec) sum = NAME(broadcast)(0);
    T lane[LANES];
    int found = 0;
    for (ptrdiff_t k = 0; k < count; k++, b += b_step, to += NR * LANES) {
        NAME(vec) line = NAME(broadcast)(0);
        for (int v = 0; v < NR; v++) {
            const NAME(vec) values = NAME(load)(b + (v < NR - 1 ? v * LANES : last));
            line = NAME(fma)(values, NAME(broadcast)(0), line);
            NAME(store)(to + v * LANES, values);
        }
        sum = NAME(add)(sum, line);
    }
    memcpy(lane, &sum, sizeof lane);
    for (int l = 0; l < LANES; l++) found |= lane[l] != 0;
    return !found;
}

#endif
