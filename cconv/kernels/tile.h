/* The register tile: the one loop in which all of cconv's multiply-adds happen.
 *
 *     out[p][l] = sum over c, t of a[off[p] + c * a_step + table[t]] * b[(c * inner + t) * b_step + l]
 *
 * P values of `a` are broadcast against V vectors of `b`; the P x V accumulators stay in registers for the whole sum.
 * What p, l, c and t stand for makes it one product or another:
 *
 *     convolution        p output pixels,  l output channels,  c input channels,   t taps of the filter
 *     input gradient     p input pixels,   l input channels,   c output channels,  t taps, filters turned
 *     weight gradient    p weights,        l output channels,  c output rows,      t output columns
 *     x W                p rows of x,      l columns of W,     c features
 *     x^T dout           p features,       l columns of dout,  c rows
 *
 * Each output is one chain of fused multiply-adds from 0 in the order of (c, t): P, V and whoever computes the
 * neighbouring outputs do not change its bits. `mode` TILE_RESUME goes on with the chain that `out` holds, so that a long
 * one can be computed in pieces that fit the first cache; TILE_ADD adds the finished sum to what `out` holds.
 *
 * The vector is as wide as the level's registers. It is GCC's and Clang's vector extension; other compilers get an
 * array of the same length and their own vectoriser. The body is compiled twice, for float and for double, by including
 * this file into itself. Names end in _float and _double.
 */
#ifndef CCONV_TILE_H
#define CCONV_TILE_H

#include <stddef.h>
#include <string.h>

#if defined(__AVX512F__)
#define TILE_BYTES 64
#define TILE_REGISTERS 28 /* accumulators; the other 4 of 32 hold b, a's broadcast and what the compiler needs */
#elif defined(__AVX__)
#define TILE_BYTES 32
#define TILE_REGISTERS 12
#elif defined(__aarch64__) || defined(_M_ARM64)
#define TILE_BYTES 16
#define TILE_REGISTERS 24
#else
#define TILE_BYTES 16
#define TILE_REGISTERS 12
#endif
#define TILE_MAX_V 4
enum { TILE_NEW, TILE_RESUME, TILE_ADD };

#if defined(__GNUC__)
#define TILE_INLINE static inline __attribute__((always_inline))
#define TILE_UNROLL _Pragma("GCC unroll 32")
#else
#define TILE_INLINE static __forceinline
#define TILE_UNROLL
#endif

/* The most pixels of a tile with V vectors. */
static inline int tile_rows(int V) { return TILE_REGISTERS / V; }

#define T float
#define LANES (TILE_BYTES / 4)
#define NAME(name) name##_float
#include "tile.h"
#undef T
#undef LANES
#undef NAME
#define T double
#define LANES (TILE_BYTES / 8)
#define NAME(name) name##_double
#include "tile.h"
#undef T
#undef LANES
#undef NAME

#elif defined(T)

#if defined(__GNUC__)
typedef T NAME(vec) __attribute__((vector_size(TILE_BYTES), aligned(sizeof(T)), may_alias));
TILE_INLINE NAME(vec) NAME(load)(const T *p) { return *(const NAME(vec) *)p; }
TILE_INLINE void NAME(store)(T *p, NAME(vec) v) { *(NAME(vec) *)p = v; }
TILE_INLINE NAME(vec) NAME(spread)(T a) { return a - (NAME(vec)){0}; }
TILE_INLINE NAME(vec) NAME(add)(NAME(vec) a, NAME(vec) b) { return a + b; }
TILE_INLINE NAME(vec) NAME(multiply_add)(NAME(vec) a, NAME(vec) b, NAME(vec) c) { return a * b + c; }
#else
typedef struct { T lane[LANES]; } NAME(vec);
TILE_INLINE NAME(vec) NAME(load)(const T *p) { NAME(vec) v; memcpy(&v, p, sizeof v); return v; }
TILE_INLINE void NAME(store)(T *p, NAME(vec) v) { memcpy(p, &v, sizeof v); }
TILE_INLINE NAME(vec) NAME(spread)(T a) { NAME(vec) v; for (int l = 0; l < LANES; l++) v.lane[l] = a; return v; }
TILE_INLINE NAME(vec) NAME(add)(NAME(vec) a, NAME(vec) b)
{
    for (int l = 0; l < LANES; l++) a.lane[l] += b.lane[l];
    return a;
}
TILE_INLINE NAME(vec) NAME(multiply_add)(NAME(vec) a, NAME(vec) b, NAME(vec) c)
{
    for (int l = 0; l < LANES; l++) c.lane[l] += a.lane[l] * b.lane[l];
    return c;
}
#endif

/* P and V are constants wherever this is inlined, so that `sum` becomes registers. */
TILE_INLINE void NAME(tile_body)(const int P, const int V, const T *a, const ptrdiff_t *off, ptrdiff_t outer,
                                 ptrdiff_t a_step, ptrdiff_t inner, const ptrdiff_t *table, const T *b,
                                 ptrdiff_t b_step, T *out, ptrdiff_t out_step, int mode)
{
    NAME(vec) sum[TILE_REGISTERS];
    const T *at[TILE_REGISTERS];
    TILE_UNROLL
    for (int p = 0; p < P; p++) {
        at[p] = a + off[p];
        TILE_UNROLL
        for (int v = 0; v < V; v++)
            sum[p * V + v] = mode == TILE_RESUME ? NAME(load)(out + p * out_step + v * LANES) : NAME(spread)(0);
    }
    for (ptrdiff_t c = 0; c < outer; c++) {
        for (ptrdiff_t t = 0; t < inner; t++) {
            const ptrdiff_t here = c * a_step + table[t];
            NAME(vec) column[TILE_MAX_V];
            TILE_UNROLL
            for (int v = 0; v < V; v++) column[v] = NAME(load)(b + v * LANES);
            TILE_UNROLL
            for (int p = 0; p < P; p++) {
                const NAME(vec) value = NAME(spread)(at[p][here]);
                TILE_UNROLL
                for (int v = 0; v < V; v++)
                    sum[p * V + v] = NAME(multiply_add)(value, column[v], sum[p * V + v]);
            }
            b += b_step;
        }
    }
    TILE_UNROLL
    for (int p = 0; p < P; p++) {
        TILE_UNROLL
        for (int v = 0; v < V; v++) {
            T *to = out + p * out_step + v * LANES;
            NAME(store)(to, mode == TILE_ADD ? NAME(add)(NAME(load)(to), sum[p * V + v]) : sum[p * V + v]);
        }
    }
}

#define TILE(P_, V_)                                                                                                   \
    case (V_) * 64 + (P_):                                                                                             \
        NAME(tile_body)(P_, V_, a, off, outer, a_step, inner, table, b, b_step, out, out_step, mode);            \
        return;

/* The tile of `P` rows and `V` vectors; 1 <= P <= tile_rows(V). */
static void NAME(tile)(int P, int V, const T *a, const ptrdiff_t *off, ptrdiff_t outer, ptrdiff_t a_step,
                       ptrdiff_t inner, const ptrdiff_t *table, const T *b, ptrdiff_t b_step, T *out,
                       ptrdiff_t out_step, int mode)
{
    switch (V * 64 + P) {
        TILE(1, 1) TILE(2, 1) TILE(3, 1) TILE(4, 1) TILE(5, 1) TILE(6, 1) TILE(7, 1) TILE(8, 1) TILE(9, 1) TILE(10, 1)
        TILE(11, 1) TILE(12, 1) TILE(1, 2) TILE(2, 2) TILE(3, 2) TILE(4, 2) TILE(5, 2) TILE(6, 2)
        TILE(1, 3) TILE(2, 3) TILE(3, 3) TILE(4, 3) TILE(1, 4) TILE(2, 4) TILE(3, 4)
#if TILE_REGISTERS >= 24
        TILE(13, 1) TILE(14, 1) TILE(15, 1) TILE(16, 1) TILE(17, 1) TILE(18, 1) TILE(19, 1) TILE(20, 1) TILE(21, 1)
        TILE(22, 1) TILE(23, 1) TILE(24, 1) TILE(7, 2) TILE(8, 2) TILE(9, 2) TILE(10, 2) TILE(11, 2) TILE(12, 2)
        TILE(5, 3) TILE(6, 3) TILE(7, 3) TILE(8, 3) TILE(4, 4) TILE(5, 4) TILE(6, 4)
#endif
#if TILE_REGISTERS >= 28
        TILE(25, 1) TILE(26, 1) TILE(27, 1) TILE(28, 1) TILE(13, 2) TILE(14, 2) TILE(9, 3) TILE(7, 4)
#endif
    }
}
#undef TILE

/* LANES x LANES transposed in registers: in log2(LANES) rounds, pairs of rows swap halves, quarters, ... */
TILE_INLINE void NAME(transpose)(NAME(vec) *row)
{
#if defined(__GNUC__) && !defined(__clang__)
    typedef __typeof__((NAME(vec)){0} < (NAME(vec)){0}) index;
    index lane, low, high;
    for (int l = 0; l < LANES; l++) lane[l] = l;
    TILE_UNROLL
    for (int half = LANES / 2; half > 0; half /= 2) {
        const index upper = (lane & half) != 0;
        low = (upper & (lane - half + LANES)) | (~upper & lane);
        high = (upper & (lane + LANES)) | (~upper & (lane + half));
        TILE_UNROLL
        for (int i = 0; i < LANES; i++)
            if (!(i & half)) {
                const NAME(vec) x = row[i], y = row[i + half];
                row[i] = __builtin_shuffle(x, y, low);
                row[i + half] = __builtin_shuffle(x, y, high);
            }
    }
#else
    T in[LANES][LANES], turned[LANES][LANES];
    memcpy(in, row, sizeof in);
    for (int i = 0; i < LANES; i++)
        for (int l = 0; l < LANES; l++) turned[l][i] = in[i][l];
    memcpy(row, turned, sizeof turned);
#endif
}

/* to[l * to_step + i] = from[i * from_step + l] for i < rows, l < columns. */
static void NAME(turn)(const T *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t columns, T *to, ptrdiff_t to_step)
{
    for (ptrdiff_t i = 0; i < rows; i += LANES)
        for (ptrdiff_t l = 0; l < columns; l += LANES) {
            const ptrdiff_t n = rows - i < LANES ? rows - i : LANES, m = columns - l < LANES ? columns - l : LANES;
            const T *source = from + i * from_step + l;
            T *target = to + l * to_step + i;
            if (n == LANES && m == LANES) {
                NAME(vec) block[LANES];
                TILE_UNROLL
                for (int r = 0; r < LANES; r++) block[r] = NAME(load)(source + r * from_step);
                NAME(transpose)(block);
                TILE_UNROLL
                for (int r = 0; r < LANES; r++) NAME(store)(target + r * to_step, block[r]);
            } else {
                for (ptrdiff_t r = 0; r < m; r++)
                    for (ptrdiff_t s = 0; s < n; s++) target[r * to_step + s] = source[s * from_step + r];
            }
        }
}

/* The same with each row of `to` filled up with zeros to whole vectors, which `to_step` leaves room for. */
static void NAME(turn_padded)(const T *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t columns, T *to,
                              ptrdiff_t to_step)
{
    for (ptrdiff_t i = 0; i < rows; i += LANES)
        for (ptrdiff_t l = 0; l < columns; l += LANES) {
            const ptrdiff_t n = rows - i < LANES ? rows - i : LANES, m = columns - l < LANES ? columns - l : LANES;
            const T *source = from + i * from_step + l;
            T *target = to + l * to_step + i;
            NAME(vec) block[LANES];
            for (ptrdiff_t r = 0; r < LANES; r++) {
                block[r] = NAME(spread)(0);
                if (r < n && m == LANES)
                    block[r] = NAME(load)(source + r * from_step);
                else if (r < n)
                    memcpy(block + r, source + r * from_step, m * sizeof(T));
            }
            NAME(transpose)(block);
            for (ptrdiff_t r = 0; r < m; r++) NAME(store)(target + r * to_step, block[r]);
        }
}

/* The same from a full strip of vectors, `rows` of them wanted, with a bias per column and an optional relu. */
static void NAME(turn_biased)(const T *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t columns, const T *bias,
                              int relu, T *to, ptrdiff_t to_step)
{
    for (ptrdiff_t i = 0; i < rows; i += LANES)
        for (ptrdiff_t l = 0; l < columns; l += LANES) {
            const ptrdiff_t n = rows - i < LANES ? rows - i : LANES, m = columns - l < LANES ? columns - l : LANES;
            NAME(vec) block[LANES];
            TILE_UNROLL
            for (int r = 0; r < LANES; r++) block[r] = NAME(load)(from + (i + r) * from_step + l);
            NAME(transpose)(block);
            for (ptrdiff_t r = 0; r < m; r++) {
                T *target = to + (l + r) * to_step + i;
                T line[LANES];
                NAME(store)(line, bias ? NAME(add)(block[r], NAME(spread)(bias[l + r])) : block[r]);
                if (relu)
                    for (int s = 0; s < LANES; s++) line[s] = line[s] <= 0 ? 0 : line[s];
                if (n == LANES)
                    memcpy(target, line, sizeof line);
                else
                    for (ptrdiff_t s = 0; s < n; s++) target[s] = line[s];
            }
        }
}

/* sum[l] += from[i * step + l] over i < rows, for `vectors` vectors. */
static void NAME(add_rows)(const T *from, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t vectors, T *sum)
{
    for (ptrdiff_t v = 0; v < vectors; v++) {
        NAME(vec) total = NAME(load)(sum + v * LANES);
        for (ptrdiff_t i = 0; i < rows; i++) total = NAME(add)(total, NAME(load)(from + i * step + v * LANES));
        NAME(store)(sum + v * LANES, total);
    }
}

#endif
