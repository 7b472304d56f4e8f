/* Weight gradients over listed outputs, with lanes = the taps of a filter's row: the list, and what its windows give.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_CONV_WINDOWS_H
#define CCONV_CONV_WINDOWS_H

#include <stdint.h>

#include "vector/zeros.h"

#define WINDOW_BYTES (VECTOR_BYTES < 32 ? VECTOR_BYTES : 32) /* of a register of taps */
#define WINDOW_LANES 8                                       /* the most taps of a filter's row */
#define WINDOW_ROWS 8                                        /* the most rows of taps, over all channels */

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

/* Write those values of a vector that passed next to each other, and where their windows begin; no others are read. The
 * arguments are those of `list_windows`. */
static inline void compress_float(unsigned passed, const float *dout, const uint8_t *argmax, const int32_t *base,
                                  int32_t down, int32_t across, float *value, int32_t *at)
{
    const __mmask16 mask = (__mmask16)passed;
    __m512i from = _mm512_maskz_loadu_epi32(mask, base);
    if (argmax) {
        const __m512i place = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, argmax));
        from = _mm512_mask_add_epi32(from, _mm512_test_epi32_mask(place, _mm512_set1_epi32(2)), from,
                                     _mm512_set1_epi32(down));
        from = _mm512_mask_add_epi32(from, _mm512_test_epi32_mask(place, _mm512_set1_epi32(1)), from,
                                     _mm512_set1_epi32(across));
    }
    _mm512_storeu_ps(value, _mm512_maskz_compress_ps(mask, _mm512_maskz_loadu_ps(mask, dout)));
    _mm512_storeu_si512(at, _mm512_maskz_compress_epi32(mask, from));
}

static inline void compress_double(unsigned passed, const double *dout, const uint8_t *argmax, const int32_t *base,
                                   int32_t down, int32_t across, double *value, int32_t *at)
{
    const __mmask8 mask = (__mmask8)passed;
    __m256i from = _mm256_maskz_loadu_epi32(mask, base);
    if (argmax) {
        const __m256i place = _mm256_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, argmax));
        from = _mm256_mask_add_epi32(from, _mm256_test_epi32_mask(place, _mm256_set1_epi32(2)), from,
                                     _mm256_set1_epi32(down));
        from = _mm256_mask_add_epi32(from, _mm256_test_epi32_mask(place, _mm256_set1_epi32(1)), from,
                                     _mm256_set1_epi32(across));
    }
    _mm512_storeu_pd(value, _mm512_maskz_compress_pd(mask, _mm512_maskz_loadu_pd(mask, dout)));
    _mm256_storeu_si256((__m256i *)at, _mm256_maskz_compress_epi32(mask, from));
}
#endif

#define BODY "conv/windows.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* List the values of dout that count, and where the window of each begins in the image. With y, those count that are
 * maxima that relu passed: y is above 0, and the window is one of four. Without it (NULL) all that are not 0 count.
 * Returns how many.
 *
 *     dout, y, argmax  IN, [count]; argmax: which of the four windows, 2 * row + column, or NULL
 *     base             IN, [count]: where the window of each output begins, the first of four
 *     down, across     from there to the windows below and beside it
 *     value, at        OUT, the lists; after them come zeros up to whole WINDOW_LANES, and both are written up to a
 *                      vector further
 */
static ptrdiff_t NAME(list_windows)(const T *dout, const T *y, const uint8_t *argmax, const int32_t *base,
                                    ptrdiff_t count, int32_t down, int32_t across, T *value, int32_t *at)
{
    ptrdiff_t n = 0, k = 0;
#if defined(__AVX512VL__)
    for (; k < count; k += LANES) {
        const unsigned passed = NAME(passed)((y ? y : dout) + k, !y, count - k);
        NAME(compress)(passed, dout + k, argmax ? argmax + k : NULL, base + k, down, across, value + n, at + n);
        n += _mm_popcnt_u32(passed);
    }
#endif
    for (; k < count; k++) {
        const int32_t place = argmax ? argmax[k] : 0; /* whatever it holds, one of four */
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

#define WIDTH (WINDOW_BYTES / (int)sizeof(T)) /* values of a register of taps */
#if defined(__GNUC__)
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi" /* about passing wide vectors to functions; these are all inlined */
#endif
typedef T NAME(taps) __attribute__((vector_size(WINDOW_BYTES), aligned(sizeof(T)), may_alias));
CCONV_INLINE NAME(taps) NAME(load_taps)(const T *p) { return *(const NAME(taps) *)p; }
CCONV_INLINE NAME(taps) NAME(add_taps)(NAME(taps) a, NAME(taps) b) { return a + b; }
CCONV_INLINE NAME(taps) NAME(scale_taps)(NAME(taps) a, T b, NAME(taps) c) { return a * b + c; }
#else
typedef struct {
    T lane[WIDTH];
} NAME(taps);
CCONV_INLINE NAME(taps) NAME(load_taps)(const T *p)
{
    NAME(taps) v;
    memcpy(&v, p, sizeof v);
    return v;
}
CCONV_INLINE NAME(taps) NAME(add_taps)(NAME(taps) a, NAME(taps) b)
{
    for (int l = 0; l < WIDTH; l++) a.lane[l] += b.lane[l];
    return a;
}
CCONV_INLINE NAME(taps) NAME(scale_taps)(NAME(taps) a, T b, NAME(taps) c)
{
    for (int l = 0; l < WIDTH; l++) c.lane[l] += a.lane[l] * b;
    return c;
}
#endif

/* sum[r][j] += value[k] * image[at[k] + rows[r] + j] over k < n: one chain for even k, one for odd k.
 *
 *     MR, NR      rows of taps, and registers that the taps j of a row fill; constants wherever this is inlined
 *     image       IN
 *     rows        IN, [MR]: where each row of taps begins in a window
 *     at, value   IN, [n]: the list; n is even
 *     sum         IN and OUT, [MR][WINDOW_LANES]
 */
CCONV_INLINE void NAME(add_rows_of_windows)(const int MR, const int NR, const T *image, const ptrdiff_t *rows,
                                            const int32_t *at, const T *value, ptrdiff_t n, T *sum)
{
    NAME(taps) even[WINDOW_ROWS * WINDOW_LANES / WIDTH], odd[WINDOW_ROWS * WINDOW_LANES / WIDTH];
    const T *row[WINDOW_ROWS];
    CCONV_UNROLL
    for (int r = 0; r < MR; r++) {
        row[r] = image + rows[r];
        CCONV_UNROLL
        for (int q = 0; q < NR; q++) {
            even[r * NR + q] = NAME(load_taps)(sum + r * WINDOW_LANES + q * WIDTH);
            memset(&odd[r * NR + q], 0, sizeof odd[0]);
        }
    }
    for (ptrdiff_t k = 0; k < n; k += 2) {
        const ptrdiff_t here = at[k], there = at[k + 1];
        CCONV_UNROLL
        for (int r = 0; r < MR; r++) {
            CCONV_UNROLL
            for (int q = 0; q < NR; q++) {
                const int i = r * NR + q;
                even[i] = NAME(scale_taps)(NAME(load_taps)(row[r] + here + q * WIDTH), value[k], even[i]);
                odd[i] = NAME(scale_taps)(NAME(load_taps)(row[r] + there + q * WIDTH), value[k + 1], odd[i]);
            }
        }
    }
    CCONV_UNROLL
    for (int r = 0; r < MR; r++) {
        CCONV_UNROLL
        for (int q = 0; q < NR; q++) {
            const NAME(taps) total = NAME(add_taps)(even[r * NR + q], odd[r * NR + q]);
            memcpy(sum + r * WINDOW_LANES + q * WIDTH, &total, sizeof total);
        }
    }
}

#define WINDOWS(MR_)                                                                                                   \
    case MR_:                                                                                                          \
        if (FW <= WIDTH)                                                                                               \
            NAME(add_rows_of_windows)(MR_, 1, image, rows, at, value, n, sum);                                         \
        else                                                                                                           \
            NAME(add_rows_of_windows)(MR_, WINDOW_LANES / WIDTH, image, rows, at, value, n, sum);                      \
        return;

/* The windows for any number of rows up to WINDOW_ROWS, of FW taps. */
static void NAME(add_windows)(int MR, int FW, const T *image, const ptrdiff_t *rows, const int32_t *at, const T *value,
                              ptrdiff_t n, T *sum)
{
    switch (MR) {
        /* clang-format off */
        WINDOWS(1) WINDOWS(2) WINDOWS(3) WINDOWS(4) WINDOWS(5) WINDOWS(6) WINDOWS(7) WINDOWS(8)
        default:
            abort();
        /* clang-format on */
    }
}
#undef WINDOWS
#undef WIDTH

#endif
