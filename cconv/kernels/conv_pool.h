/* What convolution, relu and 2 x 2 maxima need in one kernel, beside the tile: the maxima of two rows of outputs while
 * their lanes are still channels, and a weight gradient that only visits the outputs that were maxima.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_CONV_POOL_H
#define CCONV_CONV_POOL_H

#include <stdint.h>

#include "tile.h"

#define WINDOW_LANES 8 /* the most taps of a filter's row */
#define WINDOW_ROWS 8  /* the most rows of taps, over all channels */

#define T float
#define LANES (TILE_BYTES / 4)
#define NAME(name) name##_float
#include "conv_pool.h"
#undef T
#undef LANES
#undef NAME
#define T double
#define LANES (TILE_BYTES / 8)
#define NAME(name) name##_double
#include "conv_pool.h"
#undef T
#undef LANES
#undef NAME

#elif defined(T)

/* out[z][l] = max(relu(x + bias[l])) over upper and lower, outputs 2z and 2z + 1, and its position 0 to 3; `width` lanes
 * are whole vectors. The first maximum wins, and of several NaN the last. */
static void NAME(max_of_rows)(const T *TILE_RESTRICT upper, const T *TILE_RESTRICT lower, ptrdiff_t n, ptrdiff_t width,
                              const T *TILE_RESTRICT bias, T *TILE_RESTRICT out, T *TILE_RESTRICT where)
{
    for (ptrdiff_t z = 0; z < n; z++)
        for (ptrdiff_t v = 0; v < width; v += LANES) {
            const ptrdiff_t left = 2 * z * width + v, right = left + width, to = z * width + v;
            for (int l = 0; l < LANES; l++) {
                const T b = upper[right + l] + bias[v + l], c = lower[left + l] + bias[v + l];
                const T d = lower[right + l] + bias[v + l];
                T best = upper[left + l] + bias[v + l], place = 0;
                int take = (b > best) | (b != b);
                best = take ? b : best;
                place = take ? (T)1 : place;
                take = (c > best) | (c != c);
                best = take ? c : best;
                place = take ? (T)2 : place;
                take = (d > best) | (d != d);
                best = take ? d : best;
                place = take ? (T)3 : place;
                out[to + l] = best <= 0 ? 0 : best;
                where[to + l] = best <= 0 ? 0 : place;
            }
        }
}

/* Positions, transposed as `turn_biased` does, as bytes. */
static void NAME(turn_places)(const T *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t columns, uint8_t *to,
                              ptrdiff_t to_step)
{
    T line[LANES * LANES];
    for (ptrdiff_t l = 0; l < columns; l += LANES)
        for (ptrdiff_t i = 0; i < rows; i += LANES) {
            const ptrdiff_t n = rows - i < LANES ? rows - i : LANES, m = columns - l < LANES ? columns - l : LANES;
            NAME(turn)(from + i * from_step + l, from_step, LANES, LANES, line, LANES);
            for (ptrdiff_t r = 0; r < m; r++) {
                uint8_t bytes[LANES];
                for (int s = 0; s < LANES; s++) bytes[s] = (uint8_t)(int)line[r * LANES + s];
                if (n == LANES)
                    memcpy(to + (l + r) * to_step + i, bytes, LANES);
                else
                    for (ptrdiff_t s = 0; s < n; s++) to[(l + r) * to_step + i + s] = bytes[s];
            }
        }
}

/* For each of n pooled values: dout where relu passed it, and where the window of its maximum begins in the image. */
static void NAME(find_windows)(const T *TILE_RESTRICT dout, const T *TILE_RESTRICT y, const uint8_t *TILE_RESTRICT where,
                               const int32_t *TILE_RESTRICT base, ptrdiff_t n, int32_t down, int32_t across,
                               T *TILE_RESTRICT value, int32_t *TILE_RESTRICT at)
{
    for (ptrdiff_t k = 0; k < n; k++) {
        const int32_t place = where[k]; /* whatever it holds, one of four */
        value[k] = y[k] <= 0 ? 0 : dout[k];
        at[k] = base[k] + (place >> 1 & 1) * down + (place & 1) * across;
    }
}

#if defined(__GNUC__)
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi" /* about passing wide vectors to functions; these are all inlined */
#endif
typedef T NAME(taps) __attribute__((vector_size(WINDOW_LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
TILE_INLINE NAME(taps) NAME(load_taps)(const T *p) { return *(const NAME(taps) *)p; }
TILE_INLINE NAME(taps) NAME(add_taps)(NAME(taps) a, NAME(taps) b) { return a + b; }
TILE_INLINE NAME(taps) NAME(scale_taps)(NAME(taps) a, T b, NAME(taps) c) { return a * b + c; }
#else
typedef struct { T lane[WINDOW_LANES]; } NAME(taps);
TILE_INLINE NAME(taps) NAME(load_taps)(const T *p) { NAME(taps) v; memcpy(&v, p, sizeof v); return v; }
TILE_INLINE NAME(taps) NAME(add_taps)(NAME(taps) a, NAME(taps) b)
{
    for (int l = 0; l < WINDOW_LANES; l++) a.lane[l] += b.lane[l];
    return a;
}
TILE_INLINE NAME(taps) NAME(scale_taps)(NAME(taps) a, T b, NAME(taps) c)
{
    for (int l = 0; l < WINDOW_LANES; l++) c.lane[l] += a.lane[l] * b;
    return c;
}
#endif

/* sum[r][j] += value[k] * image[at[k] + rows[r] + j] over k < n, which is even: a chain each for even and odd k. */
TILE_INLINE void NAME(add_rows_of_windows)(const int R, const T *image, const ptrdiff_t *rows, const int32_t *at,
                                           const T *value, ptrdiff_t n, T *sum)
{
    NAME(taps) even[WINDOW_ROWS], odd[WINDOW_ROWS];
    const T *row[WINDOW_ROWS];
    TILE_UNROLL
    for (int r = 0; r < R; r++) {
        row[r] = image + rows[r];
        even[r] = NAME(load_taps)(sum + r * WINDOW_LANES);
        memset(&odd[r], 0, sizeof odd[r]);
    }
    for (ptrdiff_t k = 0; k < n; k += 2) {
        const ptrdiff_t here = at[k], there = at[k + 1];
        TILE_UNROLL
        for (int r = 0; r < R; r++) {
            even[r] = NAME(scale_taps)(NAME(load_taps)(row[r] + here), value[k], even[r]);
            odd[r] = NAME(scale_taps)(NAME(load_taps)(row[r] + there), value[k + 1], odd[r]);
        }
    }
    TILE_UNROLL
    for (int r = 0; r < R; r++) {
        const NAME(taps) total = NAME(add_taps)(even[r], odd[r]);
        memcpy(sum + r * WINDOW_LANES, &total, sizeof total);
    }
}

/* The same for any number of rows up to WINDOW_ROWS, and sum[R][j] += the sum of value[8 i + j] over i. */
static void NAME(add_windows)(int R, const T *image, const ptrdiff_t *rows, const int32_t *at, const T *value,
                              ptrdiff_t n, T *sum)
{
    NAME(taps) total = NAME(load_taps)(sum + R * WINDOW_LANES);
    for (ptrdiff_t k = 0; k < n; k += WINDOW_LANES) total = NAME(add_taps)(total, NAME(load_taps)(value + k));
    memcpy(sum + R * WINDOW_LANES, &total, sizeof total);
    switch (R) {
    case 1: NAME(add_rows_of_windows)(1, image, rows, at, value, n, sum); return;
    case 2: NAME(add_rows_of_windows)(2, image, rows, at, value, n, sum); return;
    case 3: NAME(add_rows_of_windows)(3, image, rows, at, value, n, sum); return;
    case 4: NAME(add_rows_of_windows)(4, image, rows, at, value, n, sum); return;
    case 5: NAME(add_rows_of_windows)(5, image, rows, at, value, n, sum); return;
    case 6: NAME(add_rows_of_windows)(6, image, rows, at, value, n, sum); return;
    case 7: NAME(add_rows_of_windows)(7, image, rows, at, value, n, sum); return;
    case 8: NAME(add_rows_of_windows)(8, image, rows, at, value, n, sum); return;
    }
}

#endif
