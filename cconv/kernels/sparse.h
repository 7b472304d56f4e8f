/* Rows times a matrix without the zeros of the rows. After relu and in the gradients that pass it, most values are 0.
 *
 *     to[r][l] = from[r][l] + sum over the k whose bit is set in bits[r] of a[r * a_step + k] * b[k][l]
 *
 * for V whole vectors of l. A product with 0 leaves a sum as it is, unless the other factor is infinite or not a number,
 * which `bring` finds: then the bits to pass are all set. So the sums are those of tile.h, bit for bit: one chain of fused
 * multiply-adds in the order of k.
 *
 * Here a vector of b is loaded for every multiply-add, so `bring` puts SPARSE_STEPS rows of it next to each other, where
 * they fit the first cache and no vector shares two of its lines.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_SPARSE_H
#define CCONV_SPARSE_H

#include <stdint.h>

#include "tile.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif
#if defined(_MSC_VER)
#include <intrin.h>
#endif

#define SPARSE_STEPS 64 /* bits of a word; so many rows of SPARSE_MAX_V vectors fill 28 KiB at most */
#define SPARSE_MAX_V 7

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

/* Which of the values of a vector are not 0, as bits. */
static inline uint64_t nonzero_float(const float *a)
{
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(_mm512_loadu_ps(a), _mm512_setzero_ps(), _CMP_NEQ_UQ);
#elif defined(__AVX__)
    return (uint64_t)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(a), _mm256_setzero_ps(), _CMP_NEQ_UQ));
#elif defined(__SSE2__)
    return (uint64_t)_mm_movemask_ps(_mm_cmpneq_ps(_mm_loadu_ps(a), _mm_setzero_ps()));
#else
    return (uint64_t)((a[0] != 0) | (a[1] != 0) << 1 | (a[2] != 0) << 2 | (a[3] != 0) << 3);
#endif
}

static inline uint64_t nonzero_double(const double *a)
{
#if defined(__AVX512F__)
    return _mm512_cmp_pd_mask(_mm512_loadu_pd(a), _mm512_setzero_pd(), _CMP_NEQ_UQ);
#elif defined(__AVX__)
    return (uint64_t)_mm256_movemask_pd(_mm256_cmp_pd(_mm256_loadu_pd(a), _mm256_setzero_pd(), _CMP_NEQ_UQ));
#elif defined(__SSE2__)
    return (uint64_t)_mm_movemask_pd(_mm_cmpneq_pd(_mm_loadu_pd(a), _mm_setzero_pd()));
#else
    return (uint64_t)((a[0] != 0) | (a[1] != 0) << 1);
#endif
}

#define T float
#define LANES (TILE_BYTES / 4)
#define NAME(name) name##_float
#include "sparse.h"
#undef T
#undef LANES
#undef NAME
#define T double
#define LANES (TILE_BYTES / 8)
#define NAME(name) name##_double
#include "sparse.h"
#undef T
#undef LANES
#undef NAME

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

static ptrdiff_t NAME(count_nonzero)(const T *a, ptrdiff_t count)
{
    ptrdiff_t found = 0;
    for (ptrdiff_t k = 0; k < count; k++) found += a[k] != 0;
    return found;
}

/* V is a constant wherever this is inlined, so that `sum` becomes registers. `from`, NULL for zeros, has rows of V vectors;
 * the last vector of `to` begins at l = `last` and may overlap the one before it. With `add`, the sum is added to what
 * `to` holds. */
TILE_INLINE void NAME(sparse_body)(const int V, ptrdiff_t rows, const T *a, ptrdiff_t a_step, const uint64_t *bits,
                                   ptrdiff_t words, const T *b, const T *from, T *to, ptrdiff_t to_step, ptrdiff_t last,
                                   int add)
{
    for (ptrdiff_t r = 0; r < rows; r++) {
        NAME(vec) sum[SPARSE_MAX_V];
        TILE_UNROLL
        for (int v = 0; v < V; v++) sum[v] = from ? NAME(load)(from + v * LANES) : NAME(spread)(0);
        for (uint64_t word = bits[r * words]; word; word &= word - 1) {
            const ptrdiff_t k = lowest_bit(word);
            const NAME(vec) value = NAME(spread)(a[k]);
            TILE_UNROLL
            for (int v = 0; v < V; v++)
                sum[v] = NAME(multiply_add)(value, NAME(load)(b + (k * V + v) * LANES), sum[v]);
        }
        if (add) {
            TILE_UNROLL
            for (int v = 0; v < V; v++) sum[v] = NAME(add)(NAME(load)(to + (v < V - 1 ? v * LANES : last)), sum[v]);
        }
        TILE_UNROLL
        for (int v = 0; v < V; v++) NAME(store)(to + (v < V - 1 ? v * LANES : last), sum[v]);
        a += a_step;
        if (from) from += V * LANES;
        to += to_step;
    }
}

#define SPARSE(V_)                                                                                                     \
    case V_:                                                                                                           \
        NAME(sparse_body)(V_, rows, a, a_step, bits, words, b, from, to, to_step, last, add);                          \
        return;

static void NAME(sparse_rows)(int V, ptrdiff_t rows, const T *a, ptrdiff_t a_step, const uint64_t *bits, ptrdiff_t words,
                              const T *b, const T *from, T *to, ptrdiff_t to_step, ptrdiff_t last, int add)
{
    switch (V) { SPARSE(1) SPARSE(2) SPARSE(3) SPARSE(4) SPARSE(5) SPARSE(6) SPARSE(7) }
}
#undef SPARSE

/* Copy `count` rows of V vectors, of which the last begins at `last`, next to each other, and find out whether no value is
 * infinite or not a number: only these times 0 are not 0. `to` may be b. */
static int NAME(bring)(int V, ptrdiff_t count, const T *b, ptrdiff_t b_step, ptrdiff_t last, T *to)
{
    NAME(vec) sum = NAME(spread)(0);
    T lane[LANES];
    int found = 0;
    for (ptrdiff_t k = 0; k < count; k++, b += b_step, to += V * LANES) {
        NAME(vec) line = NAME(spread)(0);
        for (int v = 0; v < V; v++) {
            const NAME(vec) values = NAME(load)(b + (v < V - 1 ? v * LANES : last));
            line = NAME(multiply_add)(values, NAME(spread)(0), line);
            NAME(store)(to + v * LANES, values);
        }
        sum = NAME(add)(sum, line);
    }
    memcpy(lane, &sum, sizeof lane);
    for (int l = 0; l < LANES; l++) found |= lane[l] != 0;
    return !found;
}

#endif
