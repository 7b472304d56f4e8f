/* The inner loops of max pooling, one row of outputs at a time.
 *
 * They are here, and not in _pool.pyx, for `restrict`: a byte pointer may alias everything, and without the promise that
 * it does not GCC leaves the loops scalar. Positions are counted in the values' own type while a row is computed, so
 * that a comparison's mask selects both; they are exact up to 2^24.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_POOL_H
#define CCONV_POOL_H

#include <stddef.h>
#include <stdint.h>

#if defined(_MSC_VER)
#define POOL_RESTRICT __restrict
#else
#define POOL_RESTRICT restrict
#endif

#define POOL_BUFFER 512 /* positions */

/* Rows are short and memory is the limit: vectors of 32 bytes leave fewer values to the scalar end of each loop. */
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#define POOL_FUNCTION static __attribute__((noinline, target("prefer-vector-width=256")))
#else
#define POOL_FUNCTION static
#endif

#define T float
#define NAME(name) name##_float
#include "pool.h"
#undef T
#undef NAME
#define T double
#define NAME(name) name##_double
#include "pool.h"
#undef T
#undef NAME

#elif defined(T)

/* 2 x 2 windows side by side over two rows: maxima and their positions 0 to 3. */
POOL_FUNCTION void NAME(max_of_four)(const T *POOL_RESTRICT upper, const T *POOL_RESTRICT lower, ptrdiff_t n,
                              T *POOL_RESTRICT out, T *POOL_RESTRICT at)
{
    for (ptrdiff_t q = 0; q < n; q++) {
        const T b = upper[2 * q + 1], c = lower[2 * q], d = lower[2 * q + 1];
        T best = upper[2 * q], where = 0;
        int take = (b > best) | (b != b);
        best = take ? b : best;
        where = take ? (T)1 : where;
        take = (c > best) | (c != c);
        best = take ? c : best;
        where = take ? (T)2 : where;
        take = (d > best) | (d != d);
        best = take ? d : best;
        where = take ? (T)3 : where;
        out[q] = best;
        at[q] = where;
    }
}

/* Its gradient: every output writes its four inputs. */
POOL_FUNCTION void NAME(spread_to_four)(const T *POOL_RESTRICT dout, const T *POOL_RESTRICT at, ptrdiff_t n,
                                 T *POOL_RESTRICT upper, T *POOL_RESTRICT lower)
{
    for (ptrdiff_t q = 0; q < n; q++) {
        const T d = dout[q], where = at[q];
        upper[2 * q] = where == 0 ? d : 0;
        upper[2 * q + 1] = where == 1 ? d : 0;
    }
    for (ptrdiff_t q = 0; q < n; q++) {
        const T d = dout[q], where = at[q];
        lower[2 * q] = where == 2 ? d : 0;
        lower[2 * q + 1] = where == 3 ? d : 0;
    }
}

/* Positions between the values' type, in which rows are computed, and the byte in which they are kept. */
POOL_FUNCTION void NAME(to_bytes)(const T *POOL_RESTRICT at, ptrdiff_t n, uint8_t *POOL_RESTRICT bytes)
{
    for (ptrdiff_t q = 0; q < n; q++) bytes[q] = (uint8_t)(int)at[q];
}

POOL_FUNCTION void NAME(from_bytes)(const uint8_t *POOL_RESTRICT bytes, ptrdiff_t n, T *POOL_RESTRICT at)
{
    for (ptrdiff_t q = 0; q < n; q++) at[q] = (T)(int)bytes[q];
}

/* A plane of 2 x 2 windows, in groups of rows whose positions fit a buffer that stays in the first cache. */
POOL_FUNCTION void NAME(max_of_fours)(const T *x, ptrdiff_t width, ptrdiff_t rows, ptrdiff_t n, T *out, uint8_t *where)
{
    T at[POOL_BUFFER];
    const ptrdiff_t columns = n < POOL_BUFFER ? n : POOL_BUFFER, group = POOL_BUFFER / columns;
    for (ptrdiff_t z = 0; z < n; z += columns) {
        const ptrdiff_t count = n - z < columns ? n - z : columns;
        for (ptrdiff_t y = 0; y < rows; y += group) {
            const ptrdiff_t height = rows - y < group ? rows - y : group;
            for (ptrdiff_t r = 0; r < height; r++) {
                const T *upper = x + 2 * (y + r) * width + 2 * z;
                NAME(max_of_four)(upper, upper + width, count, out + (y + r) * n + z, at + r * count);
            }
            if (where && count == n)
                NAME(to_bytes)(at, height * n, where + y * n);
            else if (where)
                for (ptrdiff_t r = 0; r < height; r++) NAME(to_bytes)(at + r * count, count, where + (y + r) * n + z);
        }
    }
}

POOL_FUNCTION void NAME(spread_to_fours)(const T *dout, const uint8_t *where, ptrdiff_t width, ptrdiff_t rows, ptrdiff_t n,
                                  T *dx)
{
    T at[POOL_BUFFER];
    const ptrdiff_t columns = n < POOL_BUFFER ? n : POOL_BUFFER, group = POOL_BUFFER / columns;
    for (ptrdiff_t z = 0; z < n; z += columns) {
        const ptrdiff_t count = n - z < columns ? n - z : columns;
        for (ptrdiff_t y = 0; y < rows; y += group) {
            const ptrdiff_t height = rows - y < group ? rows - y : group;
            if (count == n)
                NAME(from_bytes)(where + y * n, height * n, at);
            else
                for (ptrdiff_t r = 0; r < height; r++) NAME(from_bytes)(where + (y + r) * n + z, count, at + r * count);
            for (ptrdiff_t r = 0; r < height; r++) {
                T *upper = dx + 2 * (y + r) * width + 2 * z;
                NAME(spread_to_four)(dout + (y + r) * n + z, at + r * count, count, upper, upper + width);
            }
        }
    }
}

#define TAP(STRIDE)                                                                                                    \
    for (ptrdiff_t q = 0; q < n; q++) {                                                                                \
        const T v = row[q * (STRIDE)];                                                                                 \
        const int take = (v > best[q]) | (v != v) | (at[q] < 0);                                                       \
        best[q] = take ? v : best[q];                                                                                  \
        at[q] = take ? tap : at[q];                                                                                    \
    }

/* One tap of n windows: keep what is greater, NaN, or the first there is. */
POOL_FUNCTION void NAME(max_of_tap)(const T *POOL_RESTRICT row, ptrdiff_t stride, ptrdiff_t n, T tap, T *POOL_RESTRICT best,
                             T *POOL_RESTRICT at)
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
