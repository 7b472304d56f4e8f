/* Depthwise outputs, each channel by itself, read from the image where it is.
 *
 *     out[y][z] = sum over i, j of w[i][j] * x[y * sh - pt + i * dh][z * sw - pl + j]     lanes = outputs of a row
 *
 * Nothing is copied: what a vector reads is a row of the image, or for a stride of 2 every second value of two vectors.
 * Rows above and below the image are a row of zeros. Columns beside it are masked. A last vector that is not full begins
 * earlier, unless the row is shorter than a vector.
 *
 * A band of rows has a sum for each, so that multiply-adds do not wait for each other; the last band begins earlier
 * where they do not come out even. What is computed twice has the same bits. Order of additions: one chain over (i, j)
 * for each output, the bits of the other algorithms; then what finish.h says.
 *
 * Rows are read from `pl` values before their first to `behind` values behind their last (depth_geometry): the caller
 * sees to it that they can be.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_CONV_DEPTHWISE_H
#define CCONV_CONV_DEPTHWISE_H

#include "conv/finish.h"

#define DEPTH_COLUMNS 9 /* the most columns of a filter: a mask for each */

typedef struct {
    ptrdiff_t H, W, OH, OW;       /* of one channel */
    ptrdiff_t FH, FW;             /* FW <= DEPTH_COLUMNS */
    ptrdiff_t sh, sw, pt, pl, dh; /* sw is 1 or 2; columns have no dilation */
} depth_geometry;

#define BODY "conv/depthwise.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* What follows the sums of one channel, in registers. */
typedef struct {
    NAME(vec) bias, centre, scale, shift;
} NAME(depth_channel);

/* A vector of each of `rows` rows of outputs. line[r * sh + i * dh] is the row under tap i of output row r; `left` is
 * the column that the first tap of the first lane has. rows, FW and sw are constants where this is inlined. */
CCONV_INLINE void NAME(depth_band)(const int rows, const ptrdiff_t FW, const ptrdiff_t sw, const depth_geometry *g,
                                   const T *const *line, const T *w, ptrdiff_t left, const NAME(mask) *mask,
                                   NAME(vec) *sum)
{
    CCONV_UNROLL
    for (int r = 0; r < rows; r++) sum[r] = NAME(broadcast)(0);
    for (ptrdiff_t i = 0; i < g->FH; i++, w += FW, line += g->dh) {
        CCONV_UNROLL
        for (ptrdiff_t j = 0; j < FW; j++) {
            const NAME(vec) weight = NAME(broadcast)(w[j]);
            CCONV_UNROLL
            for (int r = 0; r < rows; r++) {
                const T *const from = line[r * g->sh] + left + j;
                NAME(vec) pixels = sw == 1 ? NAME(load)(from) : NAME(load_even)(from);
                pixels = NAME(mask_and)(pixels, mask[j]);
                sum[r] = NAME(fma)(pixels, weight, sum[r]);
            }
        }
    }
}

/* A vector of all rows of outputs of a channel, from column z on. */
CCONV_INLINE void NAME(depth_column)(const int rows, const ptrdiff_t FW, const ptrdiff_t sw, const depth_geometry *g,
                                     const T *const *line, const T *w, const conv_finish *after,
                                     const NAME(depth_channel) *c, ptrdiff_t z, const NAME(mask) *mask, T *out,
                                     ptrdiff_t at)
{
    const ptrdiff_t count = g->OW < LANES ? g->OW : LANES;
    for (ptrdiff_t k = 0; k < g->OH; k += rows) {
        const ptrdiff_t y = g->OH - k < rows ? g->OH - rows : k;
        NAME(vec) sum[7];
        NAME(depth_band)(rows, FW, sw, g, line + y * g->sh, w, z * sw - g->pl, mask, sum);
        if (after->bias) {
            CCONV_UNROLL
            for (int r = 0; r < rows; r++) sum[r] = NAME(add)(sum[r], c->bias);
        }
        if (after->norm) {
            CCONV_UNROLL
            for (int r = 0; r < rows; r++) sum[r] = NAME(normalized)(sum[r], c->centre, c->scale, c->shift);
        }
        CCONV_UNROLL
        for (int r = 0; r < rows; r++) {
            const ptrdiff_t to = at + (y + r) * g->OW + z;
            if (after->branch) {
                const T *const branch = (const T *)after->branch + to;
                sum[r] = NAME(add)(sum[r], NAME(load_until)(branch, branch + count));
            }
            if (after->relu) sum[r] = NAME(rectified)(sum[r]);
            if (count == LANES)
                NAME(store)(out + to, sum[r]);
            else
                memcpy(out + to, &sum[r], (size_t)count * sizeof(T));
        }
    }
}

#define COLUMN(rows, FW, sw) NAME(depth_column)(rows, FW, sw, g, line, w, after, &channel, z, mask, out, at)
#define ROWS(FW, sw)                                                                                                   \
    if (rows == 7)                                                                                                     \
        COLUMN(7, FW, sw);                                                                                             \
    else if (rows == 4)                                                                                                \
        COLUMN(4, FW, sw);                                                                                             \
    else                                                                                                               \
        COLUMN(1, FW, sw)

/* Compute the outputs of one channel c, which begin at out[at], from its image x and its filter w. There is room in
 * `line` for the rows that an image has with its padding: (OH - 1) * sh + (FH - 1) * dh + 1. */
static void NAME(depthwise)(const depth_geometry *g, const T *x, const T *zeros, const T *w, const conv_finish *after,
                            ptrdiff_t c, const T **line, T *out, ptrdiff_t at)
{
    const NAME(vec) zero = NAME(broadcast)(0);
    NAME(depth_channel) channel = {zero, zero, zero, zero};
    if (after->bias) channel.bias = NAME(broadcast)(((const T *)after->bias)[c]);
    if (after->norm) {
        const T *const norm = (const T *)after->norm + c;
        channel.centre = NAME(broadcast)(norm[0]);
        channel.scale = NAME(broadcast)(norm[after->channels]);
        channel.shift = NAME(broadcast)(norm[2 * after->channels]);
    }
    for (ptrdiff_t r = 0, end = (g->OH - 1) * g->sh + (g->FH - 1) * g->dh + 1; r < end; r++)
        line[r] = r >= g->pt && r - g->pt < g->H ? x + (r - g->pt) * g->W : zeros;

    /* Bands of 7 or 4 rows, whichever compute fewer rows twice. */
    const ptrdiff_t sevens = (g->OH + 6) / 7 * 7, fours = (g->OH + 3) / 4 * 4;
    const int rows = g->OH >= 7 && sevens <= fours ? 7 : g->OH >= 4 ? 4 : 1;
    for (ptrdiff_t k = 0; k < g->OW; k += LANES) {
        const ptrdiff_t z = k > 0 && g->OW - k < LANES ? g->OW - LANES : k, left = z * g->sw - g->pl;
        NAME(mask) mask[DEPTH_COLUMNS];
        for (ptrdiff_t j = 0; j < g->FW; j++) {
            const ptrdiff_t before = -left - j, inside = g->W - left - j; /* in columns of the image */
            mask[j] = NAME(mask_between)(before > 0 ? (before + g->sw - 1) / g->sw : 0,
                                         inside > 0 ? (inside + g->sw - 1) / g->sw : 0);
        }
        if (g->FW == 3 && g->sw == 1) {
            ROWS(3, 1);
        } else if (g->FW == 3) {
            ROWS(3, 2);
        } else if (rows >= 4) {
            if (g->sw == 1)
                COLUMN(4, g->FW, 1);
            else
                COLUMN(4, g->FW, 2);
        } else {
            if (g->sw == 1)
                COLUMN(1, g->FW, 1);
            else
                COLUMN(1, g->FW, 2);
        }
    }
}
#undef COLUMN
#undef ROWS

#endif
