/* What convolution, relu and 2 x 2 maxima need in one kernel, beside the tile: the maxima of two rows of outputs while
 * their lanes are still channels, and a weight gradient that only visits outputs in a list, which were maxima or whose
 * gradient is not 0.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_CONV_POOL_H
#define CCONV_CONV_POOL_H

#include <stdint.h>

#include "vector/layout.h"
#include "vector/zeros.h"

#define WINDOW_BYTES (VECTOR_BYTES < 32 ? VECTOR_BYTES : 32) /* of a register of taps */
#define WINDOW_LANES 8 /* the most taps of a filter's row */
#define WINDOW_ROWS 8  /* the most rows of taps, over all channels */

#if defined(__AVX512VL__)
/* Which of the first `count` values of a vector are above 0 or not numbers, or with `below` not 0 either way. */
static inline unsigned passed_float(const float *y, int below, ptrdiff_t count)
{
    const __mmask16 there = (__mmask16)(count < 16 ? (1u << count) - 1 : 0xffff);
    const __m512 values = _mm512_maskz_loadu_ps(there, y), zero = _mm512_setzero_ps();
    return below ? _mm512_cmp_ps_mask(values, zero, _CMP_NEQ_UQ) : _mm512_cmp_ps_mask(values, zero, _CMP_NLE_UQ);
}

static inline unsigned passed_double(const double *y, int below, ptrdiff_t count)
{
    const __mmask8 there = (__mmask8)(count < 8 ? (1u << count) - 1 : 0xff);
    const __m512d values = _mm512_maskz_loadu_pd(there, y), zero = _mm512_setzero_pd();
    return below ? _mm512_cmp_pd_mask(values, zero, _CMP_NEQ_UQ) : _mm512_cmp_pd_mask(values, zero, _CMP_NLE_UQ);
}

/* Write those values of a vector that passed next to each other, and where their windows begin; no others are read. */
static inline void compress_float(unsigned passed, const float *dout, const uint8_t *where, const int32_t *base, int32_t down,
                              int32_t across, float *value, int32_t *at)
{
    const __mmask16 mask = (__mmask16)passed;
    __m512i from = _mm512_maskz_loadu_epi32(mask, base);
    if (where) {
        const __m512i place = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, where));
        from = _mm512_mask_add_epi32(from, _mm512_test_epi32_mask(place, _mm512_set1_epi32(2)), from,
                                     _mm512_set1_epi32(down));
        from = _mm512_mask_add_epi32(from, _mm512_test_epi32_mask(place, _mm512_set1_epi32(1)), from,
                                     _mm512_set1_epi32(across));
    }
    _mm512_storeu_ps(value, _mm512_maskz_compress_ps(mask, _mm512_maskz_loadu_ps(mask, dout)));
    _mm512_storeu_si512(at, _mm512_maskz_compress_epi32(mask, from));
}

static inline void compress_double(unsigned passed, const double *dout, const uint8_t *where, const int32_t *base,
                               int32_t down, int32_t across, double *value, int32_t *at)
{
    const __mmask8 mask = (__mmask8)passed;
    __m256i from = _mm256_maskz_loadu_epi32(mask, base);
    if (where) {
        const __m256i place = _mm256_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, where));
        from = _mm256_mask_add_epi32(from, _mm256_test_epi32_mask(place, _mm256_set1_epi32(2)), from,
                                     _mm256_set1_epi32(down));
        from = _mm256_mask_add_epi32(from, _mm256_test_epi32_mask(place, _mm256_set1_epi32(1)), from,
                                     _mm256_set1_epi32(across));
    }
    _mm512_storeu_pd(value, _mm512_maskz_compress_pd(mask, _mm512_maskz_loadu_pd(mask, dout)));
    _mm256_storeu_si256((__m256i *)at, _mm256_maskz_compress_epi32(mask, from));
}
#endif

/* Where byte k of a word lies in memory. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define BYTE_SHIFT(word, k) (8 * ((int)sizeof(word) - 1 - (k)))
#else
#define BYTE_SHIFT(word, k) (8 * (k))
#endif

#define BODY "conv/pooled.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* out[z][l] = max(relu(x + bias[l])) over upper and lower, outputs 2z and 2z + 1, and its position 0 to 3; `width` lanes
 * are whole vectors. The first maximum wins, and of several NaN the last. Positions are bytes of words: that of z is byte
 * first + z of those from where[l] on, which lie `width` words apart. */
static void NAME(max_of_rows)(const T *CCONV_RESTRICT upper, const T *CCONV_RESTRICT lower, ptrdiff_t n, ptrdiff_t width,
                              const T *CCONV_RESTRICT bias, T *CCONV_RESTRICT out, WORD *CCONV_RESTRICT where,
                              ptrdiff_t first)
{
    for (ptrdiff_t z = 0; z < n; z++) {
        const int byte = (int)((first + z) % (ptrdiff_t)sizeof(WORD)), shift = BYTE_SHIFT(WORD, byte);
        WORD *const words = where + (first + z) / (ptrdiff_t)sizeof(WORD) * width;
        const WORD keep = byte ? ~(WORD)0 : 0; /* the first byte of a word finds anything in it */
        for (ptrdiff_t v = 0; v < width; v += LANES) {
            const ptrdiff_t left = 2 * z * width + v, right = left + width, to = z * width + v;
            for (int l = 0; l < LANES; l++) {
                const T b = upper[right + l] + bias[v + l], c = lower[left + l] + bias[v + l];
                const T d = lower[right + l] + bias[v + l];
                T best = upper[left + l] + bias[v + l];
                WORD place = 0;
                int take = (b > best) | (b != b);
                best = take ? b : best;
                place = take ? 1 : place;
                take = (c > best) | (c != c);
                best = take ? c : best;
                place = take ? 2 : place;
                take = (d > best) | (d != d);
                best = take ? d : best;
                place = take ? 3 : place;
                out[to + l] = best <= 0 ? 0 : best;
                words[v + l] = (words[v + l] & keep) | (best <= 0 ? 0 : place) << shift;
            }
        }
    }
}

/* `count` positions of each of `columns` lanes, transposed as `transpose_biased` does; whole vectors of words are read. */
static void NAME(turn_places)(const WORD *from, ptrdiff_t from_step, ptrdiff_t count, ptrdiff_t columns, uint8_t *to,
                              ptrdiff_t to_step)
{
    const ptrdiff_t most = LANES * sizeof(WORD);
    T line[LANES * LANES];
    for (ptrdiff_t l = 0; l < columns; l += LANES)
        for (ptrdiff_t i = 0; i < count; i += most) {
            const ptrdiff_t n = count - i < most ? count - i : most, m = columns - l < LANES ? columns - l : LANES;
            /* The same bits, whatever they stand for: these are loaded, shuffled and stored. */
            NAME(transpose_matrix)((const T *)(from + i / (ptrdiff_t)sizeof(WORD) * from_step + l), from_step, LANES, LANES, line, LANES);
            for (ptrdiff_t r = 0; r < m; r++) memcpy(to + (l + r) * to_step + i, line + r * LANES, (size_t)n);
        }
}

/* List the values of dout that count and where the window of each begins in the image; `count` places lie in it at `base`.
 * With y, these are the maxima that relu passed, those with y above 0, at one of the four places that `where` names; without
 * it (NULL), all that are not 0. Returns how many; after them come zeros up to whole WINDOW_LANES. Both lists are written up
 * to a vector further. */
static ptrdiff_t NAME(find_windows)(const T *dout, const T *y, const uint8_t *where, const int32_t *base, ptrdiff_t count,
                                    int32_t down, int32_t across, T *value, int32_t *at)
{
    ptrdiff_t n = 0, k = 0;
#if defined(__AVX512VL__)
    for (; k < count; k += LANES) {
        const unsigned passed = NAME(passed)((y ? y : dout) + k, !y, count - k);
        NAME(compress)(passed, dout + k, where ? where + k : NULL, base + k, down, across, value + n, at + n);
        n += _mm_popcnt_u32(passed);
    }
#endif
    for (; k < count; k++) {
        const int32_t place = where ? where[k] : 0; /* whatever it holds, one of four */
        value[n] = dout[k];
        at[n] = base[k] + (place >> 1 & 1) * down + (place & 1) * across;
        n += y ? !(y[k] <= 0) : dout[k] != 0;
    }
    for (k = n; k % WINDOW_LANES; k++) {
        value[k] = 0;
        at[k] = 0;
    }
    return n;
}

#define WIDTH (WINDOW_BYTES / T_BYTES) /* values of a register of taps */
#define VEC(name) NAME(taps_##name)
#define VEC_BYTES WINDOW_BYTES
#define VEC_GROUP (16 / T_BYTES)
#include "vector/vector.h"

/* sum[r][j] += value[k] * image[at[k] + rows[r] + j] over k < n, which is even: a chain each for even and odd k. Q is the
 * number of registers that j, the taps of a filter's row, fills. */
CCONV_INLINE void NAME(add_rows_of_windows)(const int R, const int Q, const T *image, const ptrdiff_t *rows,
                                            const int32_t *at, const T *value, ptrdiff_t n, T *sum)
{
    VEC(vec) even[WINDOW_ROWS * WINDOW_LANES / WIDTH], odd[WINDOW_ROWS * WINDOW_LANES / WIDTH];
    const T *row[WINDOW_ROWS];
    CCONV_UNROLL
    for (int r = 0; r < R; r++) {
        row[r] = image + rows[r];
        CCONV_UNROLL
        for (int q = 0; q < Q; q++) {
            even[r * Q + q] = VEC(load)(sum + r * WINDOW_LANES + q * WIDTH);
            memset(&odd[r * Q + q], 0, sizeof odd[0]);
        }
    }
    for (ptrdiff_t k = 0; k < n; k += 2) {
        const ptrdiff_t here = at[k], there = at[k + 1];
        CCONV_UNROLL
        for (int r = 0; r < R; r++) {
            CCONV_UNROLL
            for (int q = 0; q < Q; q++) {
                const int i = r * Q + q;
                even[i] = VEC(fma)(VEC(load)(row[r] + here + q * WIDTH), VEC(broadcast)(value[k]), even[i]);
                odd[i] = VEC(fma)(VEC(load)(row[r] + there + q * WIDTH), VEC(broadcast)(value[k + 1]), odd[i]);
            }
        }
    }
    CCONV_UNROLL
    for (int r = 0; r < R; r++) {
        CCONV_UNROLL
        for (int q = 0; q < Q; q++) {
            const VEC(vec) total = VEC(add)(even[r * Q + q], odd[r * Q + q]);
            memcpy(sum + r * WINDOW_LANES + q * WIDTH, &total, sizeof total);
        }
    }
}

#define WINDOWS(R_)                                                                                                    \
    case R_:                                                                                                           \
        if (FW <= WIDTH)                                                                                               \
            NAME(add_rows_of_windows)(R_, 1, image, rows, at, value, n, sum);                                          \
        else                                                                                                           \
            NAME(add_rows_of_windows)(R_, WINDOW_LANES / WIDTH, image, rows, at, value, n, sum);                       \
        return;

/* The windows for any number of rows up to WINDOW_ROWS, of FW taps. */
static void NAME(add_windows)(int R, int FW, const T *image, const ptrdiff_t *rows, const int32_t *at, const T *value,
                              ptrdiff_t n, T *sum)
{
    switch (R) {
        WINDOWS(1) WINDOWS(2) WINDOWS(3) WINDOWS(4) WINDOWS(5) WINDOWS(6) WINDOWS(7) WINDOWS(8)
        default: abort();
    }
}
#undef WINDOWS
#undef WIDTH
#undef VEC
#undef VEC_BYTES
#undef VEC_GROUP

#endif
