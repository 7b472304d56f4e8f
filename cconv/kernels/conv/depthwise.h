/* Depthwise outputs, each channel by itself, read from the image where it is.
 *
 *     out[y][z] = sum over i, j of w[i][j] * x[y * sh - pt + i * dh][z * sw - pl + j]     lanes = outputs of a row
 *
 * Nothing is copied: what a vector reads is a row of the image, or for a stride of 2 every second value of two vectors.
 * Rows above and below the image are a row of zeros. Columns beside it are masked. A last vector that is not full begins
 * earlier, unless the row is shorter than a vector.
 *
 * There are two ways down a column of vectors:
 *
 *   down    for 3 x 3 and 5 x 5 filters: each row of the image is read once, and multiplied for all rows of outputs that
 *           have it under a tap; their sums are kept in registers.
 *   bands   for all others: the rows of a band have a sum each, so that multiply-adds do not wait for each other. The
 *           last band begins earlier where they do not come out even; what is computed twice has the same bits.
 *
 * Order of additions: one chain over (i, j) for each output, the bits of the other algorithms; then what finish.h says.
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

/* What may follow the sums, as bits: each is a test of one register. */
#define DEPTH_BIAS 1
#define DEPTH_NORM 2
#define DEPTH_BRANCH 4
#define DEPTH_RELU 8

#define BODY "conv/depthwise.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* One channel, and what follows its sums: conv_finish, with the channel's numbers in registers. */
typedef struct {
    const T *x, *zeros, *w; /* IN: the image, a row of zeros and the filter */
    T *out;                 /* OUT */
    const T *branch;        /* IN */
    int after;              /* the steps of DEPTH_... that follow */
    NAME(vec) bias, centre, scale, shift;
} NAME(depth_channel);

/* One column of vectors of a channel's outputs. */
typedef struct {
    ptrdiff_t z, left;              /* its first output, and the column of the image under that one's first tap */
    ptrdiff_t count;                /* of its lanes that are outputs */
    ptrdiff_t whole;                /* outputs of the channel up to this one are stored as a whole vector */
    NAME(mask) mask[DEPTH_COLUMNS]; /* of lanes that lie in the image, for each column of the filter */
} NAME(depth_column);

/* Finish the sums that are a channel's outputs from `to` on, and store them. */
CCONV_INLINE void NAME(depth_store)(NAME(vec) sum, const NAME(depth_channel) *c, const NAME(depth_column) *column,
                                    ptrdiff_t whole, ptrdiff_t to)
{
    if (c->after & DEPTH_BIAS) sum = NAME(add)(sum, c->bias);
    if (c->after & DEPTH_NORM) sum = NAME(normalized)(sum, c->centre, c->scale, c->shift);
    if (c->after & DEPTH_BRANCH) sum = NAME(add)(sum, NAME(load_until)(c->branch + to, c->branch + to + column->count));
    if (c->after & DEPTH_RELU) sum = NAME(rectified)(sum);
    if (to <= whole)
        NAME(store)(c->out + to, sum);
    else
        NAME(store_until)(c->out + to, c->out + to + column->count, sum);
}

/* A column of vectors for K x K filters with strides of S and no dilation: K and S are constants where this is inlined,
 * K is odd. Row S * m + a of the image lies under row S * t + a of the filter for row m - t of outputs, whose sums are
 * sum[t]. What the loop needs are few numbers, for which there are registers. */
CCONV_INLINE void NAME(depth_down)(const int K, const int S, const depth_geometry *g, const NAME(depth_channel) *given,
                                   const NAME(depth_column) *column)
{
    const NAME(depth_channel) channel = *given; /* in registers: nothing that is stored changes it */
    const NAME(depth_channel) *const c = &channel;
    const int older = (K - 1) / S;
    const ptrdiff_t W = g->W, OW = g->OW, end = g->OH * OW, whole = column->whole;
    const size_t area = (size_t)(g->H * W);
    const T *const x = c->x + column->left, *const zeros = c->zeros + column->left;
    NAME(vec) sum[5], weight[25];
    NAME(mask) mask[5];
    CCONV_UNROLL
    for (int j = 0; j < K; j++) mask[j] = column->mask[j];
    CCONV_UNROLL
    for (int k = 0; k < K * K; k++) weight[k] = NAME(broadcast)(c->w[k]);
    CCONV_UNROLL
    for (int t = 0; t <= older; t++) sum[t] = NAME(broadcast)(0);
    /* Where a row begins in the image: beyond it, and before it as size_t, lie rows of zeros. */
    ptrdiff_t row = -g->pt * W, to = column->z - older * OW;
    for (;; to += OW) {
        CCONV_UNROLL
        for (int t = older; t > 0; t--) sum[t] = sum[t - 1];
        sum[0] = NAME(broadcast)(0);
        CCONV_UNROLL
        for (int a = 0; a < S; a++, row += W) {
            const T *const from = (size_t)row < area ? x + row : zeros;
            NAME(vec) pixels[5];
            CCONV_UNROLL
            for (int j = 0; j < K; j++) {
                pixels[j] = S == 1       ? NAME(load)(from + j)
                            : j % 2 == 0 ? NAME(load_even)(from + j)
                                         : NAME(load_odd)(from + j - 1);
                pixels[j] = NAME(mask_and)(pixels[j], mask[j]);
            }
            CCONV_UNROLL
            for (int t = older; t >= 0; t--) {
                if (S * t + a >= K) continue;
                CCONV_UNROLL
                for (int j = 0; j < K; j++) sum[t] = NAME(fma)(pixels[j], weight[(S * t + a) * K + j], sum[t]);
            }
            if (a > 0 || to < 0) continue;
            NAME(depth_store)(sum[older], c, column, whole, to);
            if (to + OW >= end) return;
        }
    }
}

/* Each apart from the others: together they would want more registers. */
#define DOWN(K, S)                                                                                                     \
    CCONV_NOINLINE void NAME(depth_down_##K##_##S)(const depth_geometry *g, const NAME(depth_channel) *given,          \
                                                   const NAME(depth_column) *column)                                   \
    {                                                                                                                  \
        NAME(depth_down)(K, S, g, given, column);                                                                      \
    }
DOWN(3, 1)
DOWN(3, 2)
DOWN(5, 1)
DOWN(5, 2)
#undef DOWN

/* The sums of a vector of each of `rows` rows of outputs. line[r * sh + i * dh] is the row under tap i of output row r.
 * rows and sw are constants where this is inlined. */
CCONV_INLINE void NAME(depth_band)(const int rows, const ptrdiff_t sw, const depth_geometry *g, const T *const *line,
                                   const T *w, const NAME(depth_column) *column, NAME(vec) *sum)
{
    CCONV_UNROLL
    for (int r = 0; r < rows; r++) sum[r] = NAME(broadcast)(0);
    for (ptrdiff_t i = 0; i < g->FH; i++, w += g->FW, line += g->dh) {
        for (ptrdiff_t j = 0; j < g->FW; j++) {
            const NAME(vec) weight = NAME(broadcast)(w[j]);
            CCONV_UNROLL
            for (int r = 0; r < rows; r++) {
                const T *const from = line[r * g->sh] + column->left + j;
                NAME(vec) pixels = sw == 1 ? NAME(load)(from) : NAME(load_even)(from);
                pixels = NAME(mask_and)(pixels, column->mask[j]);
                sum[r] = NAME(fma)(pixels, weight, sum[r]);
            }
        }
    }
}

/* A column of vectors for any filter. */
CCONV_INLINE void NAME(depth_bands)(const int rows, const ptrdiff_t sw, const depth_geometry *g, const T *const *line,
                                    const NAME(depth_channel) *c, const NAME(depth_column) *column)
{
    for (ptrdiff_t k = 0; k < g->OH; k += rows) {
        const ptrdiff_t y = g->OH - k < rows ? g->OH - rows : k;
        NAME(vec) sum[4];
        NAME(depth_band)(rows, sw, g, line + y * g->sh, c->w, column, sum);
        CCONV_UNROLL
        for (int r = 0; r < rows; r++) NAME(depth_store)(sum[r], c, column, column->whole, (y + r) * g->OW + column->z);
    }
}

/* Compute the outputs of one channel c, which begin at out[at], from its image x and its filter w. There is room in
 * `line` for the rows that an image has with its padding: (OH - 1) * sh + (FH - 1) * dh + 1. */
static void NAME(depthwise)(const depth_geometry *g, const T *x, const T *zeros, const T *w, const conv_finish *after,
                            ptrdiff_t c, const T **line, T *out, ptrdiff_t at)
{
    NAME(depth_channel) channel = {x, zeros, w, out + at};
    NAME(depth_column) column;
    channel.after = (after->bias ? DEPTH_BIAS : 0) | (after->norm ? DEPTH_NORM : 0) |
                    (after->branch ? DEPTH_BRANCH : 0) | (after->relu ? DEPTH_RELU : 0);
    if (after->branch) channel.branch = (const T *)after->branch + at;
    if (after->bias) channel.bias = NAME(broadcast)(((const T *)after->bias)[c]);
    if (after->norm) {
        const T *const norm = (const T *)after->norm + c;
        channel.centre = NAME(broadcast)(norm[0]);
        channel.scale = NAME(broadcast)(norm[after->channels]);
        channel.shift = NAME(broadcast)(norm[2 * after->channels]);
    }

    const int down = g->FH == g->FW && (g->FW == 3 || g->FW == 5) && g->sh == g->sw && g->dh == 1;
    if (!down)
        for (ptrdiff_t r = 0, end = (g->OH - 1) * g->sh + (g->FH - 1) * g->dh + 1; r < end; r++)
            line[r] = r >= g->pt && r - g->pt < g->H ? x + (r - g->pt) * g->W : zeros;

    /* Of a vector that is longer than a row the lanes beyond it are stored too, where they are outputs of the channel
     * that are stored later. */
    column.count = g->OW < LANES ? g->OW : LANES;
    column.whole = g->OH * g->OW - LANES;
    for (ptrdiff_t k = 0; k < g->OW; k += LANES) {
        column.z = k > 0 && g->OW - k < LANES ? g->OW - LANES : k;
        column.left = column.z * g->sw - g->pl;
        for (ptrdiff_t j = 0; j < g->FW; j++) {
            const ptrdiff_t before = -column.left - j, inside = g->W - column.left - j; /* in columns of the image */
            const ptrdiff_t more = g->sw - 1;                                           /* 0 or 1 */
            column.mask[j] =
                NAME(mask_between)(before > 0 ? (before + more) >> more : 0, inside > 0 ? (inside + more) >> more : 0);
        }
        if (down && g->sw == 1)
            (g->FW == 3 ? NAME(depth_down_3_1) : NAME(depth_down_5_1))(g, &channel, &column);
        else if (down)
            (g->FW == 3 ? NAME(depth_down_3_2) : NAME(depth_down_5_2))(g, &channel, &column);
        else if (g->OH >= 4 && g->sw == 1)
            NAME(depth_bands)(4, 1, g, line, &channel, &column);
        else if (g->OH >= 4)
            NAME(depth_bands)(4, 2, g, line, &channel, &column);
        else if (g->sw == 1)
            NAME(depth_bands)(1, 1, g, line, &channel, &column);
        else
            NAME(depth_bands)(1, 2, g, line, &channel, &column);
    }
}

#endif
