/* The register tile: an MR x NR micro-kernel. All multiply-adds of convolutions and matrix products happen here.
 *
 *     out[p][l] = sum over c, t of a[offset(p) + c * a_step + table[t]] * b[c * b_jump + t * b_step + l]
 *
 * MR values of `a`, the rows p, are each broadcast and multiplied with NR vectors of `b`, the columns l. NR counts
 * vectors, of LANES columns each. The MR * NR vectors of sums, the accumulators, stay in registers for the whole sum.
 * What the indices stand for makes the tile one operation or another:
 *
 *     operation          p                l                c                 t
 *     convolution        output pixels    output channels  input channels    taps of the filter
 *     input gradient     input pixels     input channels   output channels   taps, filters flipped
 *     weight gradient    weights          output channels  rows of outputs   columns of outputs
 *     x W                rows of x        columns of W     features
 *     x^T dout           features         columns of dout  rows
 *
 * There are five micro-kernels. They differ in where the MR values of one step lie:
 *
 *     tile                 anywhere, offset(p) = off[p]: each takes a register for its address, so MR <= TILE_MAX_MR
 *     tile_run             next to each other, offset(p) = p: one address for all; so this has the largest tiles
 *     tile_product         the same without a table: 1 x 1 filters, and x^T dout
 *     tile_rows_product    row_step apart, offset(p) = p * row_step, steps next to each other: x W
 *     tile_weights         the weight gradient of 3 or 5 taps that are neighbours, in MR channels
 *
 * What limits MR x NR is the number of vector registers: 16 of them on SSE and AVX2, 32 on AVX-512 and NEON. Beside the
 * accumulators there must be room for NR vectors of `b` and a broadcast value. A tile loads MR + NR values and vectors
 * for MR * NR multiply-adds: the larger it is, the fewer loads there are for each.
 *
 * A tile_run at the border of an image: the first and the last output of a row may have no pixel under some taps. The
 * table `mask` holds two entries for each tap t. Where mask[2 * t] is 0, the first output leaves tap t out; where
 * mask[2 * t + 1] is 0, the last one does; other entries are 0xFFFF. Where `side` taps are neighbours in memory,
 * table[t + 1] = table[t] + 1, a value is a factor of as many outputs that follow each other, and is broadcast once for
 * all of them; all rows of such taps must leave out the same.
 *
 * Speed. The measure of a loop is the number of its instructions per multiply-add. A core begins two multiply-adds and
 * four instructions in a cycle; half as many while the other thread of its hardware runs, as on most shared machines.
 * So a value is broadcast for several multiply-adds, vectors for which no register is left are operands in memory, and
 * what does not change is decided before the loop. Tiles prefetch what comes next (prefetch.h).
 *
 * Bits. Each output is one chain of fused multiply-adds from 0 in the order of (c, t). MR, NR and whoever computes the
 * neighbouring outputs do not change its bits. With `add`, which only some micro-kernels have, the finished sum is
 * added to what `out` holds.
 *
 * Each micro-kernel is a body, inlined with constant MR and NR so that its arrays become registers, and a function that
 * chooses among these by a switch. The parameters of all:
 *
 *     MR, NR        rows and vectors of the tile, IN
 *     a             IN, where the values of row 0 lie at step 0
 *     off           IN, (MR,) offsets of the rows' values from `a`
 *     row_step      from row to row of `a`
 *     outer         how many c there are, a_step apart in `a`, b_jump apart in `b`
 *     inner         how many t there are
 *     table         IN, (inner,) offset of each t in `a`
 *     mask          IN, (inner, 2), see above
 *     side          taps that are neighbours, 3 or 5; else 0
 *     steps         how many c there are, where there is no t, a_step apart in `a` and b_step apart in `b`
 *     b             IN, the vectors; those of one t and the next lie b_step apart, or else NR * LANES
 *     out           OUT, (MR, NR * LANES) sums, rows out_step apart
 *     add           whether sums are added to what `out` holds
 *     prefetch      IN, lines to ask for meanwhile; its `reads` must not exceed the steps of the outer loop
 *
 * All steps, jumps and offsets count values, not bytes.
 */
#ifndef CCONV_REGISTER_TILE_H
#define CCONV_REGISTER_TILE_H

#include "vector/prefetch.h"
#include "vector/vector.h"

/* Laws: they follow from the number of registers. TILE_ACCUMULATORS is the most vectors of sums, TILE_MAX_NR the most
 * vectors of b. */
#if defined(__AVX512F__)
#define TILE_ACCUMULATORS 28 /* the other 4 of 32 registers hold b, a's broadcast and what the compiler needs */
#define TILE_MAX_NR 4
#define TILE_SIDE 5    /* the most neighbouring taps that have a loop of their own, */
#define TILE_SIDE_NR 2 /* and the most vectors of b there */
#elif defined(__AVX__)
#define TILE_ACCUMULATORS 12 /* of 16 registers */
#define TILE_MAX_NR 3        /* there is no register for a fourth vector of b */
#elif defined(__aarch64__) || defined(_M_ARM64)
#define TILE_ACCUMULATORS 24
#define TILE_MAX_NR 4
#else
#define TILE_ACCUMULATORS 12
#define TILE_MAX_NR 3
#endif

#define TILE_MAX_MR 9  /* the most rows whose values lie anywhere, */
#define TILE_RUN_MR 14 /* and whose values are neighbours */
#ifndef TILE_SIDE
#define TILE_SIDE 0
#define TILE_SIDE_NR 0
#endif

/* A fit: `python -m benchmarks.tune --only weight-tiles`. */
#define TILE_WEIGHTS 24 /* accumulators of tile_weights */

/* The most channels of tile_weights. */
static inline int weight_channels(int NR, int side) { return TILE_WEIGHTS / (side * NR); }

/* Accumulators of a tile: a fourth vector of b takes the place of some. */
static inline int accumulators(int NR) { return NR < 4 ? TILE_ACCUMULATORS : 24; }

/* The most rows MR of tile_run and tile_product, of tile_run with neighbouring taps, and of the others. */
static inline int run_rows(int NR)
{
    const int rows = accumulators(NR) / NR;
    return rows < TILE_RUN_MR ? rows : TILE_RUN_MR;
}
static inline int side_rows(int NR, int side) { return NR == 1 ? 20 : side == 3 ? 14 : 12; }
static inline int tile_rows(int NR)
{
    const int rows = accumulators(NR) / NR;
    return rows < TILE_MAX_MR ? rows : TILE_MAX_MR;
}

#define BODY "vector/register_tile.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* Store the accumulators, or add them to `out`. */
CCONV_INLINE void NAME(store_sums)(const int MR, const int NR, const NAME(vec) *sum, T *out, ptrdiff_t out_step,
                                   int add)
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
                                  ptrdiff_t a_step, ptrdiff_t inner, const ptrdiff_t *table, const T *b,
                                  ptrdiff_t b_jump, ptrdiff_t b_step, T *out, ptrdiff_t out_step, int add)
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
                for (int v = 0; v < NR; v++) sum[p * NR + v] = NAME(fma)(value, column[v], sum[p * NR + v]);
            }
            b += b_step;
        }
        b += b_jump;
    }
    NAME(store_sums)(MR, NR, sum, out, out_step, add);
}

/* Multiply-adds as instructions, where the compiler's choice costs more of them. fma_from_memory takes a vector for
 * which no register is left. fma_broadcast broadcasts a value within the instruction. fma_masked and broadcast_masked
 * work in all lanes or in none, by `mask`, without a branch. A debug build does not fuse multiplications and additions
 * anywhere, and so must not here. */
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(CCONV_DEBUG)
CCONV_INLINE void NAME(fma_from_memory)(NAME(vec) a, const T *b, NAME(vec) *sum)
{
    __asm__("vfmadd231p" LETTER " %2, %1, %0" : "+v"(*sum) : "v"(a), "m"(*(const NAME(vec) *)b));
}
CCONV_INLINE void NAME(fma_broadcast)(const T *a, NAME(vec) b, NAME(vec) *sum)
{
    __asm__("vfmadd231p" LETTER " %2%{1to%c3%}, %1, %0" : "+v"(*sum) : "v"(b), "m"(*a), "i"(LANES));
}
CCONV_INLINE void NAME(fma_masked)(NAME(vec) a, NAME(vec) b, NAME(vec) *sum, uint16_t mask)
{
    __asm__("vfmadd231p" LETTER " %2, %1, %0%{%3%}" : "+v"(*sum) : "v"(a), "v"(b), "Yk"(mask));
}
CCONV_INLINE NAME(vec) NAME(broadcast_masked)(const T *a, uint16_t mask)
{
    NAME(vec) v;
    __asm__("vbroadcasts" LETTER " %1, %0%{%2%}%{z%}" : "=v"(v) : "m"(*a), "Yk"(mask));
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

CCONV_INLINE void NAME(run_body)(const int MR, const int NR, const int side, const T *a, ptrdiff_t outer,
                                 ptrdiff_t a_step, ptrdiff_t inner, const ptrdiff_t *table, const uint16_t *mask,
                                 const T *b, ptrdiff_t b_jump, T *out, ptrdiff_t out_step,
                                 const struct tile_prefetch *prefetch)
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

/* One value times NR vectors. With `embedded`, each multiply-add broadcasts the value itself: that saves an instruction
 * and costs NR - 1 loads. */
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

/* A core loads two values or vectors in a cycle: enough for every third value to be broadcast within the multiply-adds.
 * In smaller tiles GCC would copy sums between these. */
#define TILE_EMBEDDED(MR, NR) ((MR) * (NR) >= 24)
CCONV_INLINE void NAME(product_body)(const int MR, const int NR, const T *a, ptrdiff_t a_step, ptrdiff_t steps,
                                     const T *b, T *out, ptrdiff_t out_step, const struct tile_prefetch *prefetch)
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
        for (int p = 0; p < MR; p++)
            NAME(fma_row)(NR, TILE_EMBEDDED(MR, NR) && p % 3 == 0, a + p, column, sum + p * NR);
    }
    NAME(store_sums)(MR, NR, sum, out, out_step, 0);
}

/* Of every three rows, one is addressed by a register alone, which moves on, and is broadcast within the multiply-adds:
 * an operand whose address is a sum of two registers makes a multiply-add two operations on many cores. */
CCONV_INLINE void NAME(rows_body)(const int MR, const int NR, const T *a, ptrdiff_t row_step, ptrdiff_t steps,
                                  const T *b, ptrdiff_t b_step, T *out, ptrdiff_t out_step, int add,
                                  const struct tile_prefetch *prefetch)
{
    const T *base[TILE_MAX_MR / 3];
    ptrdiff_t one = row_step * sizeof(T), two = 2 * one, next = MR * NR < PREFETCH_ACCUMULATORS ? 0 : prefetch->reads;
    CCONV_ONE_REGISTER(two); /* the compiler need not know that it is a multiple of `one` */
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
            NAME(fma_row)(NR, TILE_EMBEDDED(MR, NR) && p % 3 == 0,
                          (const T *)(third + (p % 3 == 2 ? two : p % 3 * one)), column, sum + p * NR);
        }
        CCONV_UNROLL
        for (int i = 0; i < (MR + 2) / 3; i++) base[i]++;
    }
    NAME(store_sums)(MR, NR, sum, out, out_step, add);
}

#define TILE(MR_, NR_)                                                                                                 \
    case (NR_) * 64 + (MR_):                                                                                           \
        NAME(tile_body)(MR_, NR_, a, off, outer, a_step, inner, table, b, b_jump, b_step, out, out_step, add);         \
        return;
#define RUN(MR_, NR_)                                                                                                  \
    case (NR_) * 64 + (MR_):                                                                                           \
        NAME(run_body)(MR_, NR_, 1, a, outer, a_step, inner, table, mask, b, b_jump, out, out_step, prefetch);         \
        return;
#define PRODUCT(MR_, NR_)                                                                                              \
    case (NR_) * 64 + (MR_):                                                                                           \
        NAME(product_body)(MR_, NR_, a, a_step, steps, b, out, out_step, prefetch);                                    \
        return;
#define ROWS_PRODUCT(MR_, NR_)                                                                                         \
    case (NR_) * 64 + (MR_):                                                                                           \
        NAME(rows_body)(MR_, NR_, a, row_step, steps, b, b_step, out, out_step, add, prefetch);                        \
        return;
#define SIDE(side, MR_, NR_)                                                                                           \
    case (NR_) * 64 + (MR_):                                                                                           \
        NAME(run_body)(MR_, NR_, side, a, outer, a_step, inner, table, mask, b, b_jump, out, out_step, prefetch);      \
        return;
/* The sizes of tiles that exist. SMALL fit any registers, MEDIUM 24 accumulators, LARGE 28. ANYWHERE are those of
 * `tile` and tile_rows_product, RUNS those of tile_run and tile_product, SIDES and SINGLES those with neighbouring
 * taps. */
/* clang-format off */
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
#define ANYWHERE(KIND) SMALL(KIND) MEDIUM(KIND) LARGE(KIND)
#define RUNS(KIND)                                                                                                     \
    SMALL(KIND) MEDIUM(KIND) LARGE(KIND) KIND(10, 1) KIND(11, 1) KIND(12, 1) KIND(13, 1) KIND(14, 1) KIND(10, 2)       \
    KIND(11, 2) KIND(12, 2) KIND(13, 2) KIND(14, 2)
#elif TILE_ACCUMULATORS >= 24
#define ANYWHERE(KIND) SMALL(KIND) MEDIUM(KIND)
#define RUNS(KIND)                                                                                                     \
    SMALL(KIND) MEDIUM(KIND) KIND(10, 1) KIND(11, 1) KIND(12, 1) KIND(13, 1) KIND(14, 1) KIND(10, 2) KIND(11, 2)       \
    KIND(12, 2)
#else
#define ANYWHERE(KIND) SMALL(KIND)
#define RUNS(KIND) SMALL(KIND) KIND(10, 1) KIND(11, 1) KIND(12, 1)
#endif
/* clang-format on */

/* 1 <= MR <= tile_rows(NR). */
CCONV_ONCE void NAME(tile)(int MR, int NR, const T *a, const ptrdiff_t *off, ptrdiff_t outer, ptrdiff_t a_step,
                           ptrdiff_t inner, const ptrdiff_t *table, const T *b, ptrdiff_t b_jump, ptrdiff_t b_step,
                           T *out, ptrdiff_t out_step, int add)
{
    switch (NR * 64 + MR) {
        ANYWHERE(TILE)
        default:
            abort();
    }
}

/* 1 <= MR <= tile_rows(NR). */
CCONV_ONCE void NAME(tile_rows_product)(int MR, int NR, const T *a, ptrdiff_t row_step, ptrdiff_t steps, const T *b,
                                        ptrdiff_t b_step, T *out, ptrdiff_t out_step, int add,
                                        const struct tile_prefetch *prefetch)
{
    switch (NR * 64 + MR) {
        ANYWHERE(ROWS_PRODUCT)
        default:
            abort();
    }
}

/* 1 <= MR <= run_rows(NR). Where there is a loop for `side` neighbouring taps, 1 <= MR <= side_rows(NR, side): that is
 * for NR <= TILE_SIDE_NR, in float64 for NR = 2 alone. */
CCONV_ONCE void NAME(tile_run)(int MR, int NR, const T *a, ptrdiff_t outer, ptrdiff_t a_step, ptrdiff_t inner,
                               const ptrdiff_t *table, const uint16_t *mask, int side, const T *b, ptrdiff_t b_jump,
                               T *out, ptrdiff_t out_step, const struct tile_prefetch *prefetch)
{
#if TILE_SIDE
    /* clang-format off */
    if (side == 3) switch (NR * 64 + MR) { SIDES(3) SIDE(3, 4, 2) SIDE(3, 13, 2) SIDE(3, 14, 2) }
    if (side == 5) switch (NR * 64 + MR) { SIDES(5) }
#if T_BYTES == 4
    if (side == 3) switch (NR * 64 + MR) { SINGLES(3) }
    if (side == 5) switch (NR * 64 + MR) { SINGLES(5) }
#endif
/* clang-format on */
#endif
    switch (NR * 64 + MR) {
        RUNS(RUN)
        default:
            abort();
    }
}

/* 1 <= MR <= run_rows(NR); the vectors of b follow each other. */
CCONV_ONCE void NAME(tile_product)(int MR, int NR, const T *a, ptrdiff_t a_step, ptrdiff_t steps, const T *b, T *out,
                                   ptrdiff_t out_step, const struct tile_prefetch *prefetch)
{
    switch (NR * 64 + MR) {
        RUNS(PRODUCT)
        default:
            abort();
    }
}

#if TILE_SIDE
/* See tile_weights. Here MR, NR and `side` are constants. */
CCONV_INLINE void NAME(weights_body)(const int MR, const int NR, const int side, const T *x, ptrdiff_t plane,
                                     ptrdiff_t rows, ptrdiff_t x_step, ptrdiff_t columns, ptrdiff_t left,
                                     ptrdiff_t width, const T *d, ptrdiff_t d_step, ptrdiff_t lanes, T *out,
                                     ptrdiff_t out_step)
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
            /* The outputs under a pixel's taps are those under the pixel before it, moved on by one: each is loaded
             * once, and stays in its register for `side` pixels. */
            const T *line = d + (s + left) * lanes;
            NAME(vec) column[TILE_SIDE * TILE_SIDE_NR];
            CCONV_UNROLL
            for (int i = NR; i < side * NR; i++)
                column[i] = NAME(load)(line - (side - i / NR) * lanes + i % NR * LANES);
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

#define WEIGHTS(side_, MR_, NR_)                                                                                       \
    case (side_) * 64 + (NR_) * 16 + (MR_):                                                                            \
        NAME(weights_body)(MR_, NR_, side_, x, plane, rows, x_step, columns, left, width, d, d_step, lanes, out,       \
                           out_step);                                                                                  \
        return;
#endif

/* The weight gradient of `side` neighbouring taps in MR channels, for some rows of outputs of stride 1:
 *
 *     out[p][i][l] += sum over r, q of x[p * plane + r * x_step + q + i - left] * d[r * d_step + q * lanes + l]
 *
 * without the pixels that lie beside the image. Each pixel is broadcast once for all taps, and each output loaded once
 * for all channels; 1 <= MR <= weight_channels(NR, side).
 *
 *     x          IN, the row of the first channel with which the first row of outputs begins
 *     plane      from channel to channel of x
 *     rows       rows of outputs, each x_step further in x and d_step further in d
 *     columns    pixels in a row of the image
 *     left       padding: output q begins `left` pixels before pixel q
 *     width      outputs in a row
 *     d          IN, (rows, width, lanes), the outputs' gradients, transposed: lanes are output channels
 *     lanes      from output to output of d, and from tap to tap of out
 *     out        IN and OUT, (MR, side, NR * LANES) sums, channels out_step apart
 */
CCONV_ONCE void NAME(tile_weights)(int MR, int NR, int side, const T *x, ptrdiff_t plane, ptrdiff_t rows,
                                   ptrdiff_t x_step, ptrdiff_t columns, ptrdiff_t left, ptrdiff_t width, const T *d,
                                   ptrdiff_t d_step, ptrdiff_t lanes, T *out, ptrdiff_t out_step)
{
#if TILE_SIDE
    switch (side * 64 + NR * 16 + MR) {
        /* clang-format off */
        WEIGHTS(3, 1, 1) WEIGHTS(3, 4, 1) WEIGHTS(3, 5, 1) WEIGHTS(3, 6, 1) WEIGHTS(3, 7, 1) WEIGHTS(3, 8, 1)
        WEIGHTS(3, 1, 2) WEIGHTS(3, 3, 2) WEIGHTS(3, 4, 2)
        WEIGHTS(5, 1, 1) WEIGHTS(5, 3, 1) WEIGHTS(5, 4, 1) WEIGHTS(5, 1, 2) WEIGHTS(5, 2, 2)
        /* clang-format on */
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
#undef ANYWHERE
#undef RUNS
#undef PRODUCT
#undef ROWS_PRODUCT
#endif