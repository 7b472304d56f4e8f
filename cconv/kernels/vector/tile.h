/* The register tile: the one loop in which all of cconv's multiply-adds happen.
 *
 *     out[p][l] = sum over c, t of a[offset(p) + c * a_step + table[t]] * b[c * b_jump + t * b_step + l]
 *
 * MR values of `a` are broadcast against NR vectors of `b`; the MR x NR accumulators stay in registers for the whole sum.
 * What p, l, c and t stand for makes it one product or another:
 *
 *     convolution        p output pixels,  l output channels,  c input channels,   t taps of the filter
 *     input gradient     p input pixels,   l input channels,   c output channels,  t taps, filters flipped
 *     weight gradient    p weights,        l output channels,  c output rows,      t output columns
 *     x W                p rows of x,      l columns of W,     c features
 *     x^T dout           p features,       l columns of dout,  c rows
 *
 * There are two of it, in two forms. `tile_run` is for values that lie side by side, offset(p) = p: their addresses are one
 * register and constants. A row's outer pixels may have no value under some taps: where mask[2 * t] is 0, and not all ones,
 * the first p leaves tap t out, where mask[2 * t + 1] is 0, the last. Where `side` taps follow each other,
 * table[t + 1] = table[t] + 1, a value is a factor of as many neighbouring p and is broadcast once for all of them; all rows
 * of such taps leave out the same. `tile` is for values anywhere, offset(p) = off[p]: each needs a register of its own, so it
 * has no more than TILE_MAX_MR. `tile_product` and `tile_rows_product` are the same without tables, for matrix products and
 * 1 x 1 filters; offset(p) = p * row_step in the second.
 *
 * A loop is judged by its instructions for each multiply-add: a core begins two of these in a cycle and four instructions in
 * all, and only half of those while the other thread that its hardware runs is busy, as on most shared machines. So values
 * are broadcast for several multiply-adds, vectors for which no register is left are operands in memory, and what does not
 * change is decided before the loop. And the caches are asked, a few lines at a time between multiply-adds, for what comes
 * next (`tile_prefetch`): asked for together, lines wait for each other.
 *
 * Each output is one chain of fused multiply-adds from 0 in the order of (c, t): MR, NR and whoever computes the
 * neighbouring outputs do not change its bits. With `add`, which not all know, the finished sum is added to what `out`
 * holds.
 *
 * The vector is as wide as the level's registers. It is GCC's and Clang's vector extension; other compilers get an
 * array of the same length and their own vectoriser. The body is compiled twice, for float and for double, by including
 * this file into itself. Names end in _float and _double.
 */
#ifndef CCONV_TILE_H
#define CCONV_TILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/compiler.h"

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define TILE_ACCUMULATORS 28 /* accumulators; the other 4 of 32 hold b, a's broadcast and what the compiler needs */
#define TILE_MAX_NR 4
#define TILE_SIDE 5   /* the most taps side by side that a loop shares values between, */
#define TILE_SIDE_NR 2 /* and the most vectors there */
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#define TILE_ACCUMULATORS 12
#define TILE_MAX_NR 3 /* a fourth vector of b would not find a register */
#elif defined(__aarch64__) || defined(_M_ARM64)
#define VECTOR_BYTES 16
#define TILE_ACCUMULATORS 24
#define TILE_MAX_NR 4
#else
#define VECTOR_BYTES 16
#define TILE_ACCUMULATORS 12
#define TILE_MAX_NR 3
#endif
/* Whether each plan is checked when it is made (plans.py). */
#if defined(CCONV_DEBUG)
#define PLANS_CHECKED 1
#else
#define PLANS_CHECKED 0
#endif

#define TILE_MAX_MR 9
#define TILE_RUN_MR 14
#ifndef TILE_SIDE
#define TILE_SIDE 0
#define TILE_SIDE_NR 0
#endif

/* The most channels in a tile of the weights of `side` taps side by side. */
#define TILE_WEIGHTS 24
static inline int weight_channels(int NR, int side) { return TILE_WEIGHTS / (side * NR); }

/* The most values of `a` in a tile with NR vectors: side by side, the same with taps side by side, and anywhere. A fourth
 * vector of `b` takes the place of accumulators. */
static inline int accumulators(int NR) { return NR < 4 ? TILE_ACCUMULATORS : 24; }
static inline int run_rows(int NR) { return accumulators(NR) / NR < TILE_RUN_MR ? accumulators(NR) / NR : TILE_RUN_MR; }
static inline int side_rows(int NR, int side) { return NR == 1 ? 20 : side == 3 ? 14 : 12; }
static inline int tile_rows(int NR) { return accumulators(NR) / NR < TILE_MAX_MR ? accumulators(NR) / NR : TILE_MAX_MR; }

/* What a tile asks the second cache for while it computes: lines that will soon be read, in the first `reads` rows, and
 * lines that will be written, in the first `writes` of these. It does so for PREFETCH_ROWS rows at a time, when as many steps
 * of its outer loop are left: a core keeps track of about a dozen lines that are on their way, and would wait. Rows are a
 * multiple of PREFETCH_ROWS, and no more than those steps. */
#define PREFETCH_ROWS 4
#define PREFETCH_ACCUMULATORS 16 /* smaller tiles do not ask */
struct tile_prefetch {
    const char *read, *write;
    ptrdiff_t read_step, write_step, reads, writes; /* writes <= reads */
};

/* Ask when so many steps are left, and tell when next. */
static inline ptrdiff_t prefetch_step(const struct tile_prefetch *prefetch, ptrdiff_t left)
{
    const ptrdiff_t row = left - PREFETCH_ROWS;
#if defined(__GNUC__)
    const char *line = prefetch->read + row * prefetch->read_step;
    for (int i = 0; i < PREFETCH_ROWS; i++, line += prefetch->read_step) __builtin_prefetch(line, 0, 2);
    if (left > prefetch->writes) return row;
    line = prefetch->write + row * prefetch->write_step;
    for (int i = 0; i < PREFETCH_ROWS; i++, line += prefetch->write_step) __builtin_prefetch(line, 0, 2);
#endif
    return row;
}

#define T float
#define S "s"
#define LANES (VECTOR_BYTES / 4)
#define NAME(name) name##_float
#include "vector/tile.h"
#undef S
#undef T
#undef LANES
#undef NAME
#define T double
#define S "d"
#define LANES (VECTOR_BYTES / 8)
#define NAME(name) name##_double
#include "vector/tile.h"
#undef S
#undef T
#undef LANES
#undef NAME

#elif defined(T)

#if defined(__GNUC__)
typedef T NAME(vec) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
CCONV_INLINE NAME(vec) NAME(load)(const T *p) { return *(const NAME(vec) *)p; }
CCONV_INLINE void NAME(store)(T *p, NAME(vec) v) { *(NAME(vec) *)p = v; }
CCONV_INLINE NAME(vec) NAME(broadcast)(T a) { return a - (NAME(vec)){0}; }
CCONV_INLINE NAME(vec) NAME(add)(NAME(vec) a, NAME(vec) b) { return a + b; }
CCONV_INLINE NAME(vec) NAME(fma)(NAME(vec) a, NAME(vec) b, NAME(vec) c) { return a * b + c; }
#else
typedef struct { T lane[LANES]; } NAME(vec);
CCONV_INLINE NAME(vec) NAME(load)(const T *p) { NAME(vec) v; memcpy(&v, p, sizeof v); return v; }
CCONV_INLINE void NAME(store)(T *p, NAME(vec) v) { memcpy(p, &v, sizeof v); }
CCONV_INLINE NAME(vec) NAME(broadcast)(T a) { NAME(vec) v; for (int l = 0; l < LANES; l++) v.lane[l] = a; return v; }
CCONV_INLINE NAME(vec) NAME(add)(NAME(vec) a, NAME(vec) b)
{
    for (int l = 0; l < LANES; l++) a.lane[l] += b.lane[l];
    return a;
}
CCONV_INLINE NAME(vec) NAME(fma)(NAME(vec) a, NAME(vec) b, NAME(vec) c)
{
    for (int l = 0; l < LANES; l++) c.lane[l] += a.lane[l] * b.lane[l];
    return c;
}
#endif

#if defined(__GNUC__)
typedef __typeof__((NAME(vec)){0} < (NAME(vec)){0}) NAME(mask);
/* v where `wanted`, else 0, whatever v holds there. */
CCONV_INLINE NAME(vec) NAME(mask_and)(NAME(vec) v, NAME(mask) wanted) { return (NAME(vec))((NAME(mask))v & wanted); }
CCONV_INLINE NAME(mask) NAME(mask_between)(ptrdiff_t first, ptrdiff_t end)
{
    NAME(mask) lane;
    for (int l = 0; l < LANES; l++) lane[l] = l;
    return (lane >= (__typeof__(lane[0]))first) & (lane < (__typeof__(lane[0]))end);
}
/* The lanes whose bits are set. */
CCONV_INLINE NAME(mask) NAME(mask_of_bits)(uint32_t bits)
{
    NAME(mask) lane;
    for (int l = 0; l < LANES; l++) lane[l] = (__typeof__(lane[0]))1 << l;
    return (lane & (__typeof__(lane[0]))bits) != 0;
}
#else
typedef struct { char lane[LANES]; } NAME(mask);
CCONV_INLINE NAME(vec) NAME(mask_and)(NAME(vec) v, NAME(mask) wanted)
{
    for (int l = 0; l < LANES; l++) v.lane[l] = wanted.lane[l] ? v.lane[l] : 0;
    return v;
}
CCONV_INLINE NAME(mask) NAME(mask_between)(ptrdiff_t first, ptrdiff_t end)
{
    NAME(mask) wanted;
    for (int l = 0; l < LANES; l++) wanted.lane[l] = l >= first && l < end;
    return wanted;
}
CCONV_INLINE NAME(mask) NAME(mask_of_bits)(uint32_t bits)
{
    NAME(mask) wanted;
    for (int l = 0; l < LANES; l++) wanted.lane[l] = bits >> l & 1;
    return wanted;
}
#endif

#if defined(__GNUC__) && !defined(__clang__)
/* The values at even places of two vectors. */
CCONV_INLINE NAME(vec) NAME(load_even)(const T *from)
{
    NAME(mask) even;
    for (int l = 0; l < LANES; l++) even[l] = 2 * l;
    return __builtin_shuffle(NAME(load)(from), NAME(load)(from + LANES), even);
}
#else
CCONV_INLINE NAME(vec) NAME(load_even)(const T *from)
{
    T line[LANES];
    for (int l = 0; l < LANES; l++) line[l] = from[2 * l];
    return NAME(load)(line);
}
#endif

/* MR and NR, and below `side`, are constants wherever these are inlined, so that `sum` becomes registers. */
CCONV_INLINE void NAME(store_sums)(const int MR, const int NR, const NAME(vec) *sum, T *out, ptrdiff_t out_step, int add)
{
    CCONV_UNROLL
    for (int p = 0; p < MR; p++) {
        CCONV_UNROLL
        for (int v = 0; v < NR; v++) {
            T *to = out + p * out_step + v * LANES;
            NAME(store)(to, add ? NAME(add)(NAME(load)(to), sum[p * NR + v]) : sum[p * NR + v]);
        }
    }
}

CCONV_INLINE void NAME(tile_body)(const int MR, const int NR, const T *a, const ptrdiff_t *off, ptrdiff_t outer,
                                  ptrdiff_t a_step, ptrdiff_t inner, const ptrdiff_t *table, const T *b, ptrdiff_t b_jump,
                                  ptrdiff_t b_step, T *out, ptrdiff_t out_step, int add)
{
    b_jump -= inner * b_step;
    NAME(vec) sum[TILE_ACCUMULATORS];
    const T *at[TILE_MAX_MR];
    CCONV_UNROLL
    for (int p = 0; p < MR; p++) {
        at[p] = a + off[p];
        CCONV_UNROLL
        for (int v = 0; v < NR; v++) sum[p * NR + v] = NAME(broadcast)(0);
    }
    for (ptrdiff_t c = 0; c < outer; c++) {
        for (ptrdiff_t t = 0; t < inner; t++) {
            const ptrdiff_t here = c * a_step + table[t];
            NAME(vec) column[TILE_MAX_NR];
            CCONV_UNROLL
            for (int v = 0; v < NR; v++) column[v] = NAME(load)(b + v * LANES);
            CCONV_UNROLL
            for (int p = 0; p < MR; p++) {
                const NAME(vec) value = NAME(broadcast)(at[p][here]);
                CCONV_UNROLL
                for (int v = 0; v < NR; v++)
                    sum[p * NR + v] = NAME(fma)(value, column[v], sum[p * NR + v]);
            }
            b += b_step;
        }
        b += b_jump;
    }
    NAME(store_sums)(MR, NR, sum, out, out_step, add);
}

/* Where compilers do not fuse multiplications and additions, as in a debug build, no loop may. */
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(CCONV_DEBUG)
/* Multiply-adds as instructions, where the compiler's choice costs more of them: with a vector from memory, for which no
 * register is left; and in lanes that are all computed or all left out, which takes no branch. */
CCONV_INLINE void NAME(fma_from_memory)(NAME(vec) a, const T *b, NAME(vec) *sum)
{
    __asm__("vfmadd231p" S " %2, %1, %0" : "+v"(*sum) : "v"(a), "m"(*(const NAME(vec) *)b));
}
CCONV_INLINE void NAME(fma_broadcast)(const T *a, NAME(vec) b, NAME(vec) *sum)
{
    __asm__("vfmadd231p" S " %2%{1to%c3%}, %1, %0" : "+v"(*sum) : "v"(b), "m"(*a), "i"(LANES));
}
CCONV_INLINE void NAME(fma_masked)(NAME(vec) a, NAME(vec) b, NAME(vec) *sum, uint16_t mask)
{
    __asm__("vfmadd231p" S " %2, %1, %0%{%3%}" : "+v"(*sum) : "v"(a), "v"(b), "Yk"(mask));
}
CCONV_INLINE NAME(vec) NAME(broadcast_masked)(const T *a, uint16_t mask)
{
    NAME(vec) v;
    __asm__("vbroadcasts" S " %1, %0%{%2%}%{z%}" : "=v"(v) : "m"(*a), "Yk"(mask));
    return v;
}
#else
CCONV_INLINE void NAME(fma_from_memory)(NAME(vec) a, const T *b, NAME(vec) *sum)
{
    *sum = NAME(fma)(a, NAME(load)(b), *sum);
}
CCONV_INLINE void NAME(fma_broadcast)(const T *a, NAME(vec) b, NAME(vec) *sum)
{
    *sum = NAME(fma)(NAME(broadcast)(*a), b, *sum);
}
CCONV_INLINE void NAME(fma_masked)(NAME(vec) a, NAME(vec) b, NAME(vec) *sum, uint16_t mask)
{
    if (mask) *sum = NAME(fma)(a, b, *sum);
}
CCONV_INLINE NAME(vec) NAME(broadcast_masked)(const T *a, uint16_t mask) { return NAME(broadcast)(mask ? *a : 0); }
#endif

CCONV_INLINE void NAME(run_body)(const int MR, const int NR, const int side, const T *a, ptrdiff_t outer, ptrdiff_t a_step,
                                 ptrdiff_t inner, const ptrdiff_t *table, const uint16_t *mask, const T *b,
                                 ptrdiff_t b_jump, T *out, ptrdiff_t out_step, const struct tile_prefetch *prefetch)
{
    /* Vectors of b for which there is a register, beside the sums and a's broadcast. */
    const int room = TILE_ACCUMULATORS + 3 - MR * NR, held = room < side * NR ? room : side * NR;
    NAME(vec) sum[TILE_ACCUMULATORS];
    const int ends = !mask[0] + 2 * !mask[2 * side - 1]; /* of rows of taps that have no value */
    ptrdiff_t next = side == 1 || MR * NR < PREFETCH_ACCUMULATORS ? 0 : prefetch->reads;
    b_jump -= inner * NR * LANES;
    CCONV_UNROLL
    for (int i = 0; i < MR * NR; i++) sum[i] = NAME(broadcast)(0);
    for (ptrdiff_t c = outer; c > 0; c--, a += a_step, b += b_jump) {
        if (side > 1 && MR * NR >= PREFETCH_ACCUMULATORS && c == next) next = prefetch_step(prefetch, c);
        for (ptrdiff_t t = 0; t < inner; t += side, b += side * NR * LANES) {
            const T *const row = a + table[t];
            NAME(vec) column[TILE_ACCUMULATORS];
            CCONV_UNROLL
            for (int i = 0; i < held; i++) column[i] = NAME(load)(b + i * LANES);
            CCONV_UNROLL
            for (int q = 0; q < MR + side - 1; q++) {
                if (side > 1 && ((q == 0 && ends & 1) || (q == MR + side - 2 && ends & 2))) continue;
                const int end = side == 1 && (q == 0 || q == MR - 1);
                uint16_t lane_mask = 0xFFFF;
                if (end && q == 0) lane_mask = mask[2 * t];
                if (end && q == MR - 1) lane_mask &= mask[2 * t + 1];
                const NAME(vec) value = end ? NAME(broadcast_masked)(row + q, lane_mask) : NAME(broadcast)(row[q]);
                CCONV_UNROLL
                for (int i = 0; i < side; i++) {
                    const int p = q - i;
                    if (p < 0 || p >= MR) continue;
                    CCONV_UNROLL
                    for (int v = 0; v < NR; v++) {
                        const int k = i * NR + v;
                        if (end)
                            NAME(fma_masked)(value, column[k], &sum[p * NR + v], lane_mask);
                        else if (k < held)
                            sum[p * NR + v] = NAME(fma)(value, column[k], sum[p * NR + v]);
                        else
                            NAME(fma_from_memory)(value, b + k * LANES, &sum[p * NR + v]);
                    }
                }
            }
        }
    }
    NAME(store_sums)(MR, NR, sum, out, out_step, 0);
}

/* One value times NR vectors. With `embedded`, each multiply-add spreads it: one instruction less, and NR - 1 loads more. */
CCONV_INLINE void NAME(fma_row)(const int NR, const int embedded, const T *a, const NAME(vec) *column, NAME(vec) *sum)
{
    const NAME(vec) value = embedded ? column[0] : NAME(broadcast)(*a);
    CCONV_UNROLL
    for (int v = 0; v < NR; v++)
        if (embedded)
            NAME(fma_broadcast)(a, column[v], &sum[v]);
        else
            sum[v] = NAME(fma)(value, column[v], sum[v]);
}

/* The same where a step of the sum is a fixed way further, and every p has a value: nothing is looked up. A core loads two
 * values or vectors in a cycle, which is enough for every third value to be spread within the multiply-adds. In smaller
 * tiles GCC would put copies of sums between these. */
#define TILE_EMBEDDED(MR, NR) ((MR) * (NR) >= 24)
CCONV_INLINE void NAME(product_body)(const int MR, const int NR, const T *a, ptrdiff_t a_step, ptrdiff_t steps, const T *b,
                                     T *out, ptrdiff_t out_step, const struct tile_prefetch *prefetch)
{
    NAME(vec) sum[TILE_ACCUMULATORS];
    ptrdiff_t next = MR * NR < PREFETCH_ACCUMULATORS ? 0 : prefetch->reads;
    CCONV_UNROLL
    for (int i = 0; i < MR * NR; i++) sum[i] = NAME(broadcast)(0);
    for (ptrdiff_t left = steps; left > 0; left--, a += a_step, b += NR * LANES) {
        if (MR * NR >= PREFETCH_ACCUMULATORS && left == next) next = prefetch_step(prefetch, left);
        NAME(vec) column[TILE_MAX_NR];
        CCONV_UNROLL
        for (int v = 0; v < NR; v++) column[v] = NAME(load)(b + v * LANES);
        CCONV_UNROLL
        for (int p = 0; p < MR; p++) NAME(fma_row)(NR, TILE_EMBEDDED(MR, NR) && p % 3 == 0, a + p, column, sum + p * NR);
    }
    NAME(store_sums)(MR, NR, sum, out, out_step, 0);
}

/* The same for values `row_step` apart, whose steps lie side by side, and with what `tile` does to the sum. Of every three
 * rows one is addressed by a register alone, which is moved on, and spread within the multiply-adds. */
CCONV_INLINE void NAME(rows_body)(const int MR, const int NR, const T *a, ptrdiff_t row_step, ptrdiff_t steps, const T *b,
                                  ptrdiff_t b_step, T *out, ptrdiff_t out_step, int add, const struct tile_prefetch *prefetch)
{
    const T *base[TILE_MAX_MR / 3];
    ptrdiff_t one = row_step * sizeof(T), two = 2 * one, next = MR * NR < PREFETCH_ACCUMULATORS ? 0 : prefetch->reads;
    CCONV_ONE_REGISTER(two); /* that it is a multiple need not be known */
    NAME(vec) sum[TILE_ACCUMULATORS];
    CCONV_UNROLL
    for (int i = 0; i < MR * NR; i++) sum[i] = NAME(broadcast)(0);
    CCONV_UNROLL
    for (int i = 0; i < (MR + 2) / 3; i++) base[i] = a + 3 * i * row_step;
    for (ptrdiff_t left = steps; left > 0; left--, b += b_step) {
        if (MR * NR >= PREFETCH_ACCUMULATORS && left == next) next = prefetch_step(prefetch, left);
        NAME(vec) column[TILE_MAX_NR];
        CCONV_UNROLL
        for (int v = 0; v < NR; v++) column[v] = NAME(load)(b + v * LANES);
        CCONV_UNROLL
        for (int p = 0; p < MR; p++) {
            const char *const third = (const char *)base[p / 3];
            NAME(fma_row)(NR, TILE_EMBEDDED(MR, NR) && p % 3 == 0, (const T *)(third + (p % 3 == 2 ? two : p % 3 * one)), column,
                          sum + p * NR);
        }
        CCONV_UNROLL
        for (int i = 0; i < (MR + 2) / 3; i++) base[i]++;
    }
    NAME(store_sums)(MR, NR, sum, out, out_step, add);
}

#define TILE(MR_, NR_)                                                                                                   \
    case (NR_) * 64 + (MR_):                                                                                             \
        NAME(tile_body)(MR_, NR_, a, off, outer, a_step, inner, table, b, b_jump, b_step, out, out_step, add);           \
        return;
#define RUN(MR_, NR_)                                                                                                    \
    case (NR_) * 64 + (MR_):                                                                                             \
        NAME(run_body)(MR_, NR_, 1, a, outer, a_step, inner, table, mask, b, b_jump, out, out_step, prefetch);       \
        return;
#define PRODUCT(MR_, NR_)                                                                                                \
    case (NR_) * 64 + (MR_):                                                                                             \
        NAME(product_body)(MR_, NR_, a, a_step, steps, b, out, out_step, prefetch);                                         \
        return;
#define ROWS_PRODUCT(MR_, NR_)                                                                                           \
    case (NR_) * 64 + (MR_):                                                                                             \
        NAME(rows_body)(MR_, NR_, a, row_step, steps, b, b_step, out, out_step, add, prefetch);                             \
        return;
#define SIDE(side, MR_, NR_)                                                                                             \
    case (NR_) * 64 + (MR_):                                                                                             \
        NAME(run_body)(MR_, NR_, side, a, outer, a_step, inner, table, mask, b, b_jump, out, out_step, prefetch);    \
        return;
#define SIDES(side)                                                                                                    \
    SIDE(side, 5, 2) SIDE(side, 6, 2) SIDE(side, 7, 2) SIDE(side, 8, 2) SIDE(side, 9, 2) SIDE(side, 10, 2)             \
    SIDE(side, 11, 2) SIDE(side, 12, 2)
#define SINGLES(side)                                                                                                  \
    SIDE(side, 10, 1) SIDE(side, 11, 1) SIDE(side, 12, 1) SIDE(side, 13, 1) SIDE(side, 14, 1) SIDE(side, 15, 1)        \
    SIDE(side, 16, 1) SIDE(side, 17, 1) SIDE(side, 18, 1) SIDE(side, 19, 1) SIDE(side, 20, 1)
#define SMALL(KIND)                                                                                                    \
    KIND(1, 1) KIND(2, 1) KIND(3, 1) KIND(4, 1) KIND(5, 1) KIND(6, 1) KIND(7, 1) KIND(8, 1) KIND(9, 1)                 \
    KIND(1, 2) KIND(2, 2) KIND(3, 2) KIND(4, 2) KIND(5, 2) KIND(6, 2) KIND(1, 3) KIND(2, 3) KIND(3, 3) KIND(4, 3)
#define MEDIUM(KIND)                                                                                                   \
    KIND(7, 2) KIND(8, 2) KIND(9, 2) KIND(5, 3) KIND(6, 3) KIND(7, 3) KIND(8, 3)                                       \
    KIND(1, 4) KIND(2, 4) KIND(3, 4) KIND(4, 4) KIND(5, 4) KIND(6, 4)
#define LARGE(KIND) KIND(9, 3)
#if TILE_ACCUMULATORS >= 28
#define PLACES(KIND) SMALL(KIND) MEDIUM(KIND) LARGE(KIND)
#define RUNS(KIND)                                                                                                     \
    SMALL(KIND) MEDIUM(KIND) LARGE(KIND) KIND(10, 1) KIND(11, 1) KIND(12, 1) KIND(13, 1) KIND(14, 1) KIND(10, 2)       \
    KIND(11, 2) KIND(12, 2) KIND(13, 2) KIND(14, 2)
#elif TILE_ACCUMULATORS >= 24
#define PLACES(KIND) SMALL(KIND) MEDIUM(KIND)
#define RUNS(KIND)                                                                                                     \
    SMALL(KIND) MEDIUM(KIND) KIND(10, 1) KIND(11, 1) KIND(12, 1) KIND(13, 1) KIND(14, 1) KIND(10, 2) KIND(11, 2)       \
    KIND(12, 2)
#else
#define PLACES(KIND) SMALL(KIND)
#define RUNS(KIND) SMALL(KIND) KIND(10, 1) KIND(11, 1) KIND(12, 1)
#endif

/* The tile of `MR` values anywhere and `NR` vectors; 1 <= MR <= tile_rows(NR). */
CCONV_ONCE void NAME(tile)(int MR, int NR, const T *a, const ptrdiff_t *off, ptrdiff_t outer, ptrdiff_t a_step,
                           ptrdiff_t inner, const ptrdiff_t *table, const T *b, ptrdiff_t b_jump, ptrdiff_t b_step,
                           T *out, ptrdiff_t out_step, int add)
{
    switch (NR * 64 + MR) {
        PLACES(TILE)
        default: abort();
    }
}

/* The same for p that are row_step apart, each with `steps` values side by side, times vectors that are b_step apart. */
CCONV_ONCE void NAME(tile_rows_product)(int MR, int NR, const T *a, ptrdiff_t row_step, ptrdiff_t steps, const T *b,
                                        ptrdiff_t b_step, T *out, ptrdiff_t out_step, int add,
                                        const struct tile_prefetch *prefetch)
{
    switch (NR * 64 + MR) {
        PLACES(ROWS_PRODUCT)
        default: abort();
    }
}

/* The tile of `MR` values side by side and `NR` vectors; 1 <= MR <= run_rows(NR), or where there is a loop for
 * `side` side_rows(NR, side): for NR <= TILE_SIDE_NR, in float64 for 2 alone. */
CCONV_ONCE void NAME(tile_run)(int MR, int NR, const T *a, ptrdiff_t outer, ptrdiff_t a_step, ptrdiff_t inner,
                               const ptrdiff_t *table, const uint16_t *mask, int side, const T *b,
                               ptrdiff_t b_jump, T *out, ptrdiff_t out_step, const struct tile_prefetch *prefetch)
{
#if TILE_SIDE
    if (side == 3) switch (NR * 64 + MR) { SIDES(3) SIDE(3, 4, 2) SIDE(3, 13, 2) SIDE(3, 14, 2) }
    if (side == 5) switch (NR * 64 + MR) { SIDES(5) }
#if LANES * 4 == VECTOR_BYTES
    if (side == 3) switch (NR * 64 + MR) { SINGLES(3) }
    if (side == 5) switch (NR * 64 + MR) { SINGLES(5) }
#endif
#endif
    switch (NR * 64 + MR) {
        RUNS(RUN)
        default: abort();
    }
}

/* The same for `steps` values of each p, a_step apart, times vectors that follow each other: 1 <= MR <= run_rows(NR). */
CCONV_ONCE void NAME(tile_product)(int MR, int NR, const T *a, ptrdiff_t a_step, ptrdiff_t steps, const T *b, T *out,
                                   ptrdiff_t out_step, const struct tile_prefetch *prefetch)
{
    switch (NR * 64 + MR) {
        RUNS(PRODUCT)
        default: abort();
    }
}
#if TILE_SIDE
/* MR channels and `side` taps side by side, for which a value is broadcast once: see `tile_weights`. */
CCONV_INLINE void NAME(weights_body)(const int MR, const int NR, const int side, const T *x, ptrdiff_t plane, ptrdiff_t rows,
                                     ptrdiff_t x_step, ptrdiff_t columns, ptrdiff_t left, ptrdiff_t width, const T *d,
                                     ptrdiff_t d_step, ptrdiff_t lanes, T *out, ptrdiff_t out_step)
{
    /* Pixels from `first` to `end` lie under all taps of some outputs. */
    const ptrdiff_t stop = width + side - 1 - left, last = columns < stop ? columns : stop;
    ptrdiff_t first = left < side - 1 ? side - 1 - left : 0, end = width - left < columns ? width - left : columns;
    NAME(vec) sum[TILE_WEIGHTS];
    const T *at[TILE_WEIGHTS];
    if (first > last) first = last; /* a row may end before a pixel lies under all taps */
    if (end < first) end = first;
    CCONV_UNROLL
    for (int i = 0; i < MR * side * NR; i++) sum[i] = NAME(broadcast)(0);
    CCONV_UNROLL
    for (int p = 0; p < MR; p++) at[p] = x + p * plane;
    for (ptrdiff_t r = 0; r < rows; r++, d += d_step) {
        ptrdiff_t s = 0;
        for (;;) {
            for (; s < last && (s < first || s >= end); s++) {
                CCONV_UNROLL
                for (int i = 0; i < side; i++) {
                    const ptrdiff_t q = s + left - i;
                    if (q < 0 || q >= width) continue;
                    CCONV_UNROLL
                    for (int p = 0; p < MR; p++) {
                        const NAME(vec) value = NAME(broadcast)(at[p][s]);
                        CCONV_UNROLL
                        for (int v = 0; v < NR; v++) {
                            NAME(vec) *const to = &sum[(p * side + i) * NR + v];
                            *to = NAME(fma)(value, NAME(load)(d + q * lanes + v * LANES), *to);
                        }
                    }
                }
            }
            if (s >= end) break;
            /* The outputs under a pixel's taps are those under the pixel before it, moved on by one: each is loaded once,
             * and stays in its register for `side` pixels. */
            const T *line = d + (s + left) * lanes;
            NAME(vec) column[TILE_SIDE * TILE_SIDE_NR];
            CCONV_UNROLL
            for (int i = NR; i < side * NR; i++) column[i] = NAME(load)(line - (side - i / NR) * lanes + i % NR * LANES);
            do {
                CCONV_UNROLL
                for (int j = 0; j < side; j++) {
                    CCONV_UNROLL
                    for (int v = 0; v < NR; v++) column[j * NR + v] = NAME(load)(line + v * LANES);
                    CCONV_UNROLL
                    for (int p = 0; p < MR; p++) {
                        const NAME(vec) value = NAME(broadcast)(at[p][s]);
                        CCONV_UNROLL
                        for (int i = 0; i < side * NR; i++) {
                            NAME(vec) *const to = &sum[p * side * NR + i];
                            *to = NAME(fma)(value, column[(j + side - i / NR) % side * NR + i % NR], *to);
                        }
                    }
                    line += lanes;
                    if (++s == end) break;
                }
            } while (s < end);
        }
        CCONV_UNROLL
        for (int p = 0; p < MR; p++) at[p] += x_step;
    }
    CCONV_UNROLL
    for (int p = 0; p < MR; p++) {
        CCONV_UNROLL
        for (int i = 0; i < side * NR; i++) {
            T *const to = out + p * out_step + i / NR * lanes + i % NR * LANES;
            NAME(store)(to, NAME(add)(NAME(load)(to), sum[p * side * NR + i]));
        }
    }
}

#define WEIGHTS(side_, MR_, NR_)                                                                                         \
    case (side_) * 64 + (NR_) * 16 + (MR_):                                                                              \
        NAME(weights_body)(MR_, NR_, side_, x, plane, rows, x_step, columns, left, width, d, d_step, lanes, out,         \
                           out_step);                                                                                  \
        return;
#endif

/* The weight gradient of `side` taps side by side in MR channels, for some rows of outputs of stride 1:
 *
 *     out[p][i][l] += sum over r, q of x[p * plane + r * x_step + q + i - left] * d[r * d_step + q * lanes + l]
 *
 * without the pixels that lie beside the image's `columns`. So each pixel is broadcast once for all taps, and each output
 * loaded for all channels; 1 <= MR <= weight_channels(NR, side). Rows of a tap, of weights and of outputs, are `lanes` apart.
 */
CCONV_ONCE void NAME(tile_weights)(int MR, int NR, int side, const T *x, ptrdiff_t plane, ptrdiff_t rows, ptrdiff_t x_step,
                                   ptrdiff_t columns, ptrdiff_t left, ptrdiff_t width, const T *d, ptrdiff_t d_step,
                                   ptrdiff_t lanes, T *out, ptrdiff_t out_step)
{
#if TILE_SIDE
    switch (side * 64 + NR * 16 + MR) {
        WEIGHTS(3, 1, 1) WEIGHTS(3, 4, 1) WEIGHTS(3, 5, 1) WEIGHTS(3, 6, 1) WEIGHTS(3, 7, 1) WEIGHTS(3, 8, 1)
        WEIGHTS(3, 1, 2) WEIGHTS(3, 3, 2) WEIGHTS(3, 4, 2)
        WEIGHTS(5, 1, 1) WEIGHTS(5, 3, 1) WEIGHTS(5, 4, 1) WEIGHTS(5, 1, 2) WEIGHTS(5, 2, 2)
    }
    if (MR < 2 || MR > weight_channels(NR, side)) abort();
    for (int p = 0; p < MR; p++) /* few channels, which are rare: see TAP_CHANNELS */
        NAME(tile_weights)(1, NR, side, x + p * plane, plane, rows, x_step, columns, left, width, d, d_step, lanes,
                           out + p * out_step, out_step);
#else
    abort(); /* where TILE_SIDE is 0, no plan has taps side by side */
#endif
}
#undef WEIGHTS
#undef TILE
#undef RUN
#undef SIDE
#undef SIDES
#undef SINGLES
#undef SMALL
#undef MEDIUM
#undef LARGE
#undef PLACES
#undef RUNS
#undef PRODUCT
#undef ROWS_PRODUCT

/* Ask for `rows` values of each of `columns` lines `step` apart, which will be written soon. */
static inline void NAME(prefetch_write)(const T *to, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t columns)
{
#if defined(__GNUC__)
    for (ptrdiff_t l = 0; l < columns; l++)
        for (ptrdiff_t i = 0; i < rows; i += 64 / sizeof(T)) __builtin_prefetch(to + l * step + i, 1);
#endif
}

/* Ask for the same, to be read. */
static inline void NAME(prefetch_read)(const T *from, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t columns)
{
#if defined(__GNUC__)
    for (ptrdiff_t l = 0; l < columns; l++)
        for (ptrdiff_t i = 0; i < rows; i += 64 / sizeof(T)) __builtin_prefetch(from + l * step + i);
#endif
}

/* LANES x LANES transposed in registers: in log2(LANES) rounds, pairs of rows swap halves, quarters, ... */
CCONV_INLINE void NAME(transpose)(NAME(vec) *row)
{
#if defined(__GNUC__) && !defined(__clang__)
    typedef __typeof__((NAME(vec)){0} < (NAME(vec)){0}) index;
    index lane, low, high;
    for (int l = 0; l < LANES; l++) lane[l] = l;
    CCONV_UNROLL
    for (int half = LANES / 2; half > 0; half /= 2) {
        const index upper = (lane & half) != 0;
        low = (upper & (lane - half + LANES)) | (~upper & lane);
        high = (upper & (lane + LANES)) | (~upper & (lane + half));
        CCONV_UNROLL
        for (int i = 0; i < LANES; i++)
            if (!(i & half)) {
                const NAME(vec) x = row[i], y = row[i + half];
                row[i] = __builtin_shuffle(x, y, low);
                row[i + half] = __builtin_shuffle(x, y, high);
            }
    }
#else
    T in[LANES][LANES], transposed[LANES][LANES];
    memcpy(in, row, sizeof in);
    for (int i = 0; i < LANES; i++)
        for (int l = 0; l < LANES; l++) transposed[l][i] = in[i][l];
    memcpy(row, transposed, sizeof transposed);
#endif
}

/* to[l * to_step + i] = from[i * from_step + l] for i < rows, l < columns. */
static void NAME(transpose_matrix)(const T *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t columns, T *to, ptrdiff_t to_step)
{
    for (ptrdiff_t i = 0; i < rows; i += LANES)
        for (ptrdiff_t l = 0; l < columns; l += LANES) {
            const ptrdiff_t n = rows - i < LANES ? rows - i : LANES, m = columns - l < LANES ? columns - l : LANES;
            const T *source = from + i * from_step + l;
            T *target = to + l * to_step + i;
            if (n == LANES && m == LANES) {
                NAME(vec) block[LANES];
                CCONV_UNROLL
                for (int r = 0; r < LANES; r++) block[r] = NAME(load)(source + r * from_step);
                NAME(transpose)(block);
                CCONV_UNROLL
                for (int r = 0; r < LANES; r++) NAME(store)(target + r * to_step, block[r]);
            } else {
                for (ptrdiff_t r = 0; r < m; r++)
                    for (ptrdiff_t s = 0; s < n; s++) target[r * to_step + s] = source[s * from_step + r];
            }
        }
}

/* The same with each row of `to` filled up with zeros to whole vectors, which `to_step` leaves room for. The last vector
 * of columns overlaps the one before it, where there is one. */
static void NAME(transpose_padded)(const T *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t columns, T *to,
                                   ptrdiff_t to_step)
{
    for (ptrdiff_t i = 0; i < rows; i += LANES) {
        const ptrdiff_t n = rows - i < LANES ? rows - i : LANES;
        for (ptrdiff_t k = 0; k < columns; k += LANES) {
            const ptrdiff_t l = k > 0 && columns - k < LANES ? columns - LANES : k;
            const ptrdiff_t m = columns - l < LANES ? columns - l : LANES;
            const T *const source = from + i * from_step + l;
            T *const target = to + l * to_step + i;
            NAME(vec) block[LANES];
            if (m == LANES) {
                CCONV_UNROLL
                for (int r = 0; r < LANES; r++) block[r] = r < n ? NAME(load)(source + r * from_step) : NAME(broadcast)(0);
                NAME(transpose)(block);
                CCONV_UNROLL
                for (int r = 0; r < LANES; r++) NAME(store)(target + r * to_step, block[r]);
            } else {
                for (ptrdiff_t r = 0; r < m; r++)
                    for (ptrdiff_t s = 0; s < LANES; s++) target[r * to_step + s] = s < n ? source[s * from_step + r] : 0;
            }
        }
    }
}

/* The same from a strip of whole vectors, with a bias per column. The strip may be read up to a
 * whole vector of rows. The last vector overlaps the one before it, where there is one. */
static void NAME(transpose_biased)(const T *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t columns, const T *bias,
                                   T *to, ptrdiff_t to_step)
{
    for (ptrdiff_t l = 0; l < columns; l += LANES)
        for (ptrdiff_t k = 0; k < rows; k += LANES) {
            const ptrdiff_t i = k > 0 && rows - k < LANES ? rows - LANES : k;
            const ptrdiff_t m = columns - l < LANES ? columns - l : LANES;
            NAME(vec) block[LANES];
            CCONV_UNROLL
            for (int r = 0; r < LANES; r++) block[r] = NAME(load)(from + (i + r) * from_step + l);
            NAME(transpose)(block);
            T *const target = to + l * to_step + i;
            CCONV_UNROLL
            for (int r = 0; r < LANES; r++) {
                if (r == m) break;
                const NAME(vec) line = bias ? NAME(add)(block[r], NAME(broadcast)(bias[l + r])) : block[r];
                if (rows >= LANES)
                    NAME(store)(target + r * to_step, line);
                else
                    memcpy(target + r * to_step, &line, (size_t)rows * sizeof(T));
            }
        }
}

/* Rows y0 to y1 of an image (H, W) that begins at row `top` and column `left` of a padded one with PW columns; both may
 * be negative. Whole vectors are read, no further than `end`, and written, up to a vector beyond the last row. */
static void NAME(pad)(const T *x, const T *end, ptrdiff_t H, ptrdiff_t W, ptrdiff_t top, ptrdiff_t left, ptrdiff_t PW,
                      ptrdiff_t y0, ptrdiff_t y1, T *to)
{
    const ptrdiff_t skip = left < 0 ? -left : 0, start = left < 0 ? 0 : left < PW ? left : PW;
    ptrdiff_t count = W - skip < PW - start ? W - skip : PW - start;
    if (count < 0) count = 0;
    for (ptrdiff_t y = y0; y < y1; y++) {
        T *const line = to + y * PW;
        ptrdiff_t k = 0;
        for (; k < start; k += LANES) NAME(store)(line + k, NAME(broadcast)(0));
        k = start;
        if (y >= top && y - top < H) {
            const T *const row = x + (y - top) * W + skip - start;
            /* What a whole vector writes too much, the zeros and the next row write over. */
            for (; k < start + count && end - (row + k) >= LANES; k += LANES) NAME(store)(line + k, NAME(load)(row + k));
            for (; k < start + count; k++) line[k] = row[k];
            k = start + count;
        }
        for (; k < PW; k += LANES) NAME(store)(line + k, NAME(broadcast)(0));
    }
}

/* Every second of W values, from `from` on, which may be negative; zeros where there is none. Whole vectors are read on
 * both sides. */
CCONV_INLINE void NAME(pad_even)(const T *x, ptrdiff_t from, ptrdiff_t W, ptrdiff_t count, T *to)
{
    for (ptrdiff_t k = 0; k < count; k += LANES) {
        const ptrdiff_t at = from + 2 * k;
        NAME(store)(to + k, NAME(mask_and)(NAME(load_even)(x + at), NAME(mask_between)(at < 0 ? (1 - at) / 2 : 0, (W - at + 1) / 2)));
    }
}

/* The same for rows split into `phases`: column q is value q / phases of phase q % phases, and these lie side by side.
 * A row may first be written whole, behind its place; that takes room for another row and 2 * phases + 1 vectors. */
static void NAME(pad_split)(const T *x, const T *end, ptrdiff_t H, ptrdiff_t W, ptrdiff_t left, ptrdiff_t phases,
                            ptrdiff_t PW, ptrdiff_t y0, ptrdiff_t y1, T *to)
{
    const ptrdiff_t pitch = PW / phases, rounded = (pitch + LANES - 1) / LANES * LANES;
    for (ptrdiff_t y = y0; y < y1; y++) {
        const T *const row = x + y * W;
        T *const split = to + y * PW, *const line = split + PW + LANES;
        if (phases == 2 && y > 0 && left <= W && end - row > 2 * rounded - left) {
            NAME(pad_even)(row, -left, W, pitch, split);
            NAME(pad_even)(row, 1 - left, W, pitch, split + pitch);
            continue;
        }
        NAME(pad)(x, end, H, W, 0, left, PW, y, y + 1, line - y * PW);
        for (ptrdiff_t z = 0; z < phases; z++)
            for (ptrdiff_t k = 0; k < pitch; k++) split[z * pitch + k] = line[k * phases + z];
    }
}

/* to[k + shift] += from[k] for those of `count` values that fall on one of the `width` values of `to`. Whole vectors are
 * written, and read up to one beyond either end of `from`. */
static void NAME(add_shifted)(const T *from, ptrdiff_t count, ptrdiff_t shift, ptrdiff_t width, T *to)
{
    const ptrdiff_t first = shift > 0 ? shift : 0, end = count + shift < width ? count + shift : width;
    from -= shift;
    for (ptrdiff_t k = first / LANES * LANES; k < end; k += LANES) {
        NAME(vec) values = NAME(load)(from + k);
        if (k < first || end - k < LANES) values = NAME(mask_and)(values, NAME(mask_between)(first - k, end - k));
        NAME(store)(to + k, NAME(add)(NAME(load)(to + k), values));
    }
}

#endif
