/* Convolution with lanes = pixels: for depthwise filters, and wherever a group has too few filters to fill a vector.
 *
 *     out[f][q] = bias[f] + sum over c, t of W[f][c, t] * image[c * plane + table[t] + from(q)]
 *
 * A vector holds LANES outputs that lie side by side, read side by side at every tap; the filters' weights are
 * broadcast. That needs images whose columns are split by their phase, column q + left of phase (q + left) % stride, so
 * that the taps of neighbouring outputs are neighbours whatever the stride; rows are split likewise. `split` makes such
 * a copy, in whose zeros the padding is written out once; `merge` is the way back, for the input gradient of a strided
 * convolution.
 *
 * Four filters of one tap at a time, over a plane that is one row, have tiles of their own (`multiply_row`): they go through
 * two channels a round, with few addresses, and finish their sums in registers.
 *
 * Each output is one chain of fused multiply-adds from 0 in the order of (c, t), then the bias: the bits of
 * register_tile.h.
 *
 * The primitives are those of register_tile.h. The body is compiled twice, for float and for double.
 */
#ifndef CCONV_CONV_PIXELS_H
#define CCONV_CONV_PIXELS_H

#include "conv/finish.h"
#include "vector/register_tile.h"

typedef struct {
    ptrdiff_t H, W;        /* the plane, */
    ptrdiff_t sh, sw;      /* the number of its phases, */
    ptrdiff_t top, left;   /* its place in the padded plane, */
    ptrdiff_t rows, pitch; /* and the size of each phase */
} split_geometry;

/* Filters of one tap over a plane that is one row; arrays of T. */
typedef struct {
    const void *image, *W; /* IN, [channels][plane] and [filters][channels] */
    void *packed;          /* room for [channels][NR][LANES] pixels of a tile, or NULL: they are read where they are */
    ptrdiff_t channels, plane;
    ptrdiff_t filters;        /* PIXELS_MR and more: the last ones begin earlier where they do not come out even */
    const conv_finish *after; /* what follows their sums */
    ptrdiff_t c;              /* the first filter's channel among all of the output, */
    void *out;                /* OUT, the whole output, */
    ptrdiff_t at, area;       /* where the first filter's begin there, and how many each has */
} row_filters;

#define PIXELS_MR 4 /* filters that share what is loaded */

/* How many vectors of pixels, or weights of a gradient, go with MR filters: their products, MR weights and a vector of
 * pixels fit the registers, and their addresses the others. */
static inline int pixel_vectors(int MR)
{
    const int vectors = TILE_ACCUMULATORS / MR - 1;
    return vectors < 9 ? vectors : 9;
}

/* a / b for a >= 0: divisions take longer than what they count, and most strides are 1 or 2. */
static inline ptrdiff_t over(ptrdiff_t a, ptrdiff_t b) { return b == 1 ? a : b == 2 ? a >> 1 : a / b; }

#define BODY "conv/pixels.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* Store the first n lanes, and zeros beside them as far as there is room for them. */
CCONV_INLINE void NAME(put)(NAME(vec) v, ptrdiff_t n, NAME(mask) rest, T *to, const T *end)
{
    if (n >= LANES)
        NAME(store)(to, v);
    else if (end - to >= LANES)
        NAME(store)(to, NAME(mask_and)(v, rest));
    else
        memcpy(to, &v, (size_t)n * sizeof(T));
}

/* `split` for two column phases: each row is read once for both. */
static void NAME(split_pairs)(const T *x, const T *end, const split_geometry *g, T *to)
{
    const ptrdiff_t phase = g->rows * g->pitch, odd = g->left & 1;
    /* Every second column goes to one phase, from place `left` / 2 on, the others to the other. */
    const ptrdiff_t first[2] = {g->left / 2 + odd * phase, (g->left + 1) / 2 + (1 - odd) * phase};
    const ptrdiff_t room[2] = {g->pitch - g->left / 2, g->pitch - (g->left + 1) / 2};
    const ptrdiff_t found[2] = {(g->W + 1) / 2, g->W / 2};
    const ptrdiff_t count[2] = {found[0] < room[0] ? found[0] : room[0], found[1] < room[1] ? found[1] : room[1]};
    const NAME(mask) rest[2] = {NAME(mask_between)(0, count[0] % LANES), NAME(mask_between)(0, count[1] % LANES)};
    T line[2 * LANES] = {0};
    for (ptrdiff_t r = 0; r < g->H; r++) {
        const ptrdiff_t Y = over(r + g->top, g->sh), a = r + g->top - Y * g->sh;
        T *const row = to + 2 * a * phase + Y * g->pitch, *const even = row + first[0], *const other = row + first[1];
        const T *const even_end = to + (2 * a + odd + 1) * phase, *const other_end = to + (2 * a + 2 - odd) * phase;
        if (Y >= g->rows) continue;
        for (ptrdiff_t k = 0; k < count[0] || k < count[1]; k += LANES) {
            const T *from = x + r * g->W + 2 * k;
            if (end - from < 2 * LANES) {
                memcpy(line, from, (size_t)(end - from) * sizeof(T));
                from = line;
            }
            if (k < count[0]) NAME(put)(NAME(load_even)(from), count[0] - k, rest[0], even + k, even_end);
            if (k < count[1]) NAME(put)(NAME(load_odd)(from), count[1] - k, rest[1], other + k, other_end);
        }
    }
}

/* Copy a plane, of an array that ends at `end`, into its split form. Zeros may run over the end of a row, into padding
 * and into what is written later, up to a vector beyond the last phase; other padding is left as it is. */
static void NAME(split)(const T *x, const T *end, const split_geometry *g, T *to)
{
    if (g->sw == 2) {
        NAME(split_pairs)(x, end, g, to);
        return;
    }
    for (ptrdiff_t a = 0; a < g->sh; a++)
        for (ptrdiff_t b = 0; b < g->sw; b++, to += g->rows * g->pitch) {
            const ptrdiff_t from = b - g->left, first = from >= 0 ? 0 : over(-from + g->sw - 1, g->sw);
            ptrdiff_t count = (from < g->W ? over(g->W - 1 - from, g->sw) + 1 : 0);
            if (count > g->pitch) count = g->pitch;
            count -= first;
            const NAME(mask) rest = NAME(mask_between)(0, count % LANES);
            for (ptrdiff_t Y = 0; Y < g->rows; Y++) {
                const ptrdiff_t r = Y * g->sh + a - g->top;
                if (r < 0 || r >= g->H) continue;
                const T *const row = x + r * g->W + from + first * g->sw;
                T *const line = to + Y * g->pitch + first;
                ptrdiff_t k = 0;
                if (g->sw == 1)
                    for (; k < count && end - (row + k) >= LANES; k += LANES) {
                        const NAME(vec) v = NAME(load)(row + k);
                        NAME(store)(line + k, count - k < LANES ? NAME(mask_and)(v, rest) : v);
                    }
                for (; k < count; k++) line[k] = row[k * g->sw];
            }
        }
}

/* The way back: gather a plane H x W from phases. Stores may run over the end of a row, into one that is written later.
 * Up to 2 vectors beyond a phase are read.
 *
 *     from, step, pitch  IN, sh * sw phases, `step` apart, with rows `pitch` apart
 *     to                 OUT, [H][W] */
static void NAME(merge)(const T *from, ptrdiff_t step, ptrdiff_t pitch, ptrdiff_t sh, ptrdiff_t sw, ptrdiff_t H,
                        ptrdiff_t W, T *to)
{
    const T *const end = to + H * W;
    for (ptrdiff_t y = 0; y < H; y++, to += W) {
        const ptrdiff_t Y = over(y, sh);
        const T *const row = from + (y - Y * sh) * sw * step + Y * pitch;
        ptrdiff_t z = 0;
        if (sw == 1) {
            for (; z < W && end - (to + z) >= LANES; z += LANES) NAME(store)(to + z, NAME(load)(row + z));
            if (z < W) memcpy(to + z, row + z, (size_t)(W - z) * sizeof(T));
            continue;
        }
        if (sw == 2)
            for (; z < W && end - (to + z) >= 2 * LANES; z += 2 * LANES) {
                const NAME(vec) even = NAME(load)(row + z / 2), odd = NAME(load)(row + step + z / 2);
                NAME(store)(to + z, NAME(interleave_low)(even, odd));
                NAME(store)(to + z + LANES, NAME(interleave_high)(even, odd));
            }
        for (ptrdiff_t b = 0; b < sw; b++)
            for (ptrdiff_t k = z / 2; b + k * sw < W; k++) to[b + k * sw] = row[b * step + k]; /* z is 0, or sw 2 */
    }
}

/* MR filters at NR vectors of pixels; MR and NR are constants wherever this is inlined.
 *
 *     image            IN, channels of a group, `plane` apart
 *     from             IN, [NR]: where each vector's pixels begin in a channel
 *     taps, table      IN, [taps]: how far the pixels under each tap lie from there
 *     W, W_step        IN, [channels][taps] of each filter, the next one W_step further
 *     bias             IN, [MR], or NULL
 *     out, out_step    OUT, the outputs of each filter, those of the next one out_step further
 *     to               IN, [NR]: where each vector of outputs lies there */
CCONV_INLINE void NAME(filter_body)(const int MR, const int NR, const T *image, const ptrdiff_t *from,
                                    ptrdiff_t channels, ptrdiff_t plane, ptrdiff_t taps, const ptrdiff_t *table,
                                    const T *W, ptrdiff_t W_step, const T *bias, T *out, ptrdiff_t out_step,
                                    const ptrdiff_t *to)
{
    NAME(vec) sum[TILE_ACCUMULATORS];
    const T *at[9];
    CCONV_UNROLL
    for (int p = 0; p < NR; p++) at[p] = image + from[p];
    CCONV_UNROLL
    for (int i = 0; i < MR * NR; i++) sum[i] = NAME(broadcast)(0);
    for (ptrdiff_t c = 0; c < channels; c++)
        for (ptrdiff_t t = 0; t < taps; t++, W++) {
            const ptrdiff_t here = c * plane + table[t];
            NAME(vec) weight[PIXELS_MR];
            CCONV_UNROLL
            for (int f = 0; f < MR; f++) weight[f] = NAME(broadcast)(W[f * W_step]);
            CCONV_UNROLL
            for (int p = 0; p < NR; p++) {
                const NAME(vec) pixels = NAME(load)(at[p] + here);
                CCONV_UNROLL
                for (int f = 0; f < MR; f++) sum[f * NR + p] = NAME(fma)(pixels, weight[f], sum[f * NR + p]);
            }
        }
    CCONV_UNROLL
    for (int f = 0; f < MR; f++) {
        if (bias) {
            CCONV_UNROLL
            for (int p = 0; p < NR; p++) sum[f * NR + p] = NAME(add)(sum[f * NR + p], NAME(broadcast)(bias[f]));
        }
        CCONV_UNROLL
        for (int p = 0; p < NR; p++) NAME(store)(out + f * out_step + to[p], sum[f * NR + p]);
    }
}

/* The products of one channel at NR vectors of pixels, of which the last one begins at `last`. */
CCONV_INLINE void NAME(row_products)(const int NR, const T *x, const T *last, const T *W, ptrdiff_t W_step,
                                     NAME(vec) *sum)
{
    NAME(vec) weight[PIXELS_MR];
    CCONV_UNROLL
    for (int f = 0; f < PIXELS_MR; f++) weight[f] = NAME(broadcast)(W[f * W_step]);
    CCONV_UNROLL
    for (int p = 0; p < NR; p++) {
        const NAME(vec) pixels = NAME(load)(p < NR - 1 ? x + p * LANES : last);
        CCONV_UNROLL
        for (int f = 0; f < PIXELS_MR; f++) sum[f * NR + p] = NAME(fma)(pixels, weight[f], sum[f * NR + p]);
    }
}

/* All filters at NR vectors of pixels, from `first` on; the last vector begins at `last`. NR is a constant wherever this
 * is inlined. */
CCONV_INLINE void NAME(row_body)(const int NR, const row_filters *r, ptrdiff_t first, ptrdiff_t last)
{
    const ptrdiff_t channels = r->channels, plane = r->packed ? NR * LANES : r->plane;
    const T *const image = (const T *)r->image;
    T *const packed = (T *)r->packed;
    const T *const pixels = packed ? packed : image + first;
    const T *const last_pixels = packed ? packed + (NR - 1) * LANES : image + last;
    const T *const bias = (const T *)r->after->bias, *const norm = (const T *)r->after->norm;
    if (packed)
        for (ptrdiff_t c = 0; c < channels; c++) {
            const T *const from = image + c * r->plane;
            CCONV_UNROLL
            for (int p = 0; p < NR; p++)
                NAME(store)(packed + c * plane + p * LANES, NAME(load)(from + (p < NR - 1 ? first + p * LANES : last)));
        }
    for (ptrdiff_t k = 0; k < r->filters; k += PIXELS_MR) {
        const ptrdiff_t done = r->filters - k < PIXELS_MR ? r->filters - PIXELS_MR : k;
        const ptrdiff_t c = r->c + done, at = r->at + done * r->area;
        const T *W = (const T *)r->W + done * channels, *x = pixels, *end = last_pixels;
        NAME(vec) sum[TILE_ACCUMULATORS];
        CCONV_UNROLL
        for (int i = 0; i < PIXELS_MR * NR; i++) sum[i] = NAME(broadcast)(0);
        ptrdiff_t left = channels;
        for (; left >= 2; left -= 2, W += 2, x += 2 * plane, end += 2 * plane) {
            const T *next = x + plane;
            CCONV_ONE_REGISTER(next);
            NAME(row_products)(NR, x, end, W, channels, sum);
            NAME(row_products)(NR, next, end + plane, W + 1, channels, sum);
        }
        if (left) NAME(row_products)(NR, x, end, W, channels, sum);
        CCONV_UNROLL
        for (int f = 0; f < PIXELS_MR; f++) {
            NAME(vec) *const line = sum + f * NR;
            if (bias) {
                CCONV_UNROLL
                for (int p = 0; p < NR; p++) line[p] = NAME(add)(line[p], NAME(broadcast)(bias[c + f]));
            }
            if (norm) {
                const NAME(vec) centre = NAME(broadcast)(norm[c + f]);
                const NAME(vec) scale = NAME(broadcast)(norm[r->after->channels + c + f]);
                const NAME(vec) shift = NAME(broadcast)(norm[2 * r->after->channels + c + f]);
                CCONV_UNROLL
                for (int p = 0; p < NR; p++) line[p] = NAME(normalized)(line[p], centre, scale, shift);
            }
            if (r->after->branch) {
                const T *const branch = (const T *)r->after->branch + at + f * r->area;
                CCONV_UNROLL
                for (int p = 0; p < NR; p++)
                    line[p] = NAME(add)(line[p], NAME(load)(branch + (p < NR - 1 ? first + p * LANES : last)));
            }
            if (r->after->relu) {
                CCONV_UNROLL
                for (int p = 0; p < NR; p++) line[p] = NAME(rectified)(line[p]);
            }
            CCONV_UNROLL
            for (int p = 0; p < NR; p++)
                NAME(store)((T *)r->out + at + f * r->area + (p < NR - 1 ? first + p * LANES : last), line[p]);
        }
    }
}

/* MR filters and K of their weights: the products of dout with the pixels under each weight, lane by lane. A last
 * vector of a row that is not full begins earlier, and leaves out the lanes that it has in common with the one before;
 * rows shorter than a vector are read beyond.
 *
 *     image                IN, channels of a group
 *     off                  IN, [K]: where the pixels under each weight begin
 *     row_step             from one row of these to the next
 *     dout, dout_step      IN, [rows][width] of each filter, the next one dout_step further
 *     totals, totals_step  IN and OUT, [K][LANES] of each filter, the next one totals_step further */
CCONV_INLINE void NAME(pixel_weights_body)(const int MR, const int K, const T *image, const ptrdiff_t *off,
                                           ptrdiff_t row_step, const T *dout, ptrdiff_t dout_step, ptrdiff_t rows,
                                           ptrdiff_t width, T *totals, ptrdiff_t totals_step)
{
    const ptrdiff_t full = width / LANES * LANES, last = width < LANES ? 0 : width - LANES;
    const NAME(mask) wanted = NAME(mask_between)(full - last, width - last);
    NAME(vec) sum[TILE_ACCUMULATORS];
    const T *at[9];
    CCONV_UNROLL
    for (int k = 0; k < K; k++) at[k] = image + off[k];
    CCONV_UNROLL
    for (int i = 0; i < MR * K; i++) sum[i] = NAME(broadcast)(0);
    for (ptrdiff_t y = 0; y < rows; y++) {
        const ptrdiff_t here = y * row_step;
        const T *const row = dout + y * width;
        for (ptrdiff_t z = 0; z < full; z += LANES) {
            NAME(vec) d[PIXELS_MR];
            CCONV_UNROLL
            for (int f = 0; f < MR; f++) d[f] = NAME(load)(row + f * dout_step + z);
            CCONV_UNROLL
            for (int k = 0; k < K; k++) {
                const NAME(vec) pixels = NAME(load)(at[k] + here + z);
                CCONV_UNROLL
                for (int f = 0; f < MR; f++) sum[f * K + k] = NAME(fma)(pixels, d[f], sum[f * K + k]);
            }
        }
        if (full < width) {
            NAME(vec) d[PIXELS_MR];
            CCONV_UNROLL
            for (int f = 0; f < MR; f++) d[f] = NAME(mask_and)(NAME(load)(row + f * dout_step + last), wanted);
            CCONV_UNROLL
            for (int k = 0; k < K; k++) {
                const NAME(vec) pixels = NAME(mask_and)(NAME(load)(at[k] + here + last), wanted);
                CCONV_UNROLL
                for (int f = 0; f < MR; f++) sum[f * K + k] = NAME(fma)(pixels, d[f], sum[f * K + k]);
            }
        }
    }
    CCONV_UNROLL
    for (int f = 0; f < MR; f++) {
        CCONV_UNROLL
        for (int k = 0; k < K; k++) {
            T *const total = totals + f * totals_step + k * LANES;
            NAME(store)(total, NAME(add)(NAME(load)(total), sum[f * K + k]));
        }
    }
}

#define FILTERS(MR_, NR_)                                                                                              \
    case (MR_) * 16 + (NR_):                                                                                           \
        NAME(filter_body)(MR_, NR_, image, from, channels, plane, taps, table, W, W_step, bias, out, out_step, to);    \
        return;
#define WEIGHTS(MR_, NR_)                                                                                              \
    case (MR_) * 16 + (NR_):                                                                                           \
        NAME(pixel_weights_body)(MR_, NR_, image, off, row_step, dout, dout_step, rows, width, totals, totals_step);   \
        return;
/* All tiles up to pixel_vectors(MR). */
#if TILE_ACCUMULATORS >= 24
#define MORE_TILES(X) X(2, 6) X(2, 7) X(2, 8) X(2, 9) X(3, 4) X(3, 5) X(3, 6) X(3, 7) X(4, 3) X(4, 4) X(4, 5)
#else
#define MORE_TILES(X)
#endif
#if TILE_ACCUMULATORS >= 28
#define MOST_TILES(X) X(3, 8) X(4, 6)
#else
#define MOST_TILES(X)
#endif
/* clang-format off */
#define ALL_TILES(X)                                                                                                   \
    X(1, 1) X(1, 2) X(1, 3) X(1, 4) X(1, 5) X(1, 6) X(1, 7) X(1, 8) X(1, 9)                                            \
    X(2, 1) X(2, 2) X(2, 3) X(2, 4) X(2, 5) X(3, 1) X(3, 2) X(3, 3) X(4, 1) X(4, 2) MORE_TILES(X) MOST_TILES(X)
/* clang-format on */

static void NAME(filter_pixels)(int MR, int NR, const T *image, const ptrdiff_t *from, ptrdiff_t channels,
                                ptrdiff_t plane, ptrdiff_t taps, const ptrdiff_t *table, const T *W, ptrdiff_t W_step,
                                const T *bias, T *out, ptrdiff_t out_step, const ptrdiff_t *to)
{
    switch (MR * 16 + NR) {
        ALL_TILES(FILTERS)
        default:
            abort();
    }
}

#define ROW(NR_)                                                                                                       \
    case NR_:                                                                                                          \
        NAME(row_body)(NR_, r, first, last);                                                                           \
        return;
/* All tiles up to pixel_vectors(PIXELS_MR). */
#if TILE_ACCUMULATORS >= 28
#define ALL_ROWS ROW(1) ROW(2) ROW(3) ROW(4) ROW(5) ROW(6)
#elif TILE_ACCUMULATORS >= 24
#define ALL_ROWS ROW(1) ROW(2) ROW(3) ROW(4) ROW(5)
#else
#define ALL_ROWS ROW(1) ROW(2)
#endif
static void NAME(multiply_row)(int NR, const row_filters *r, ptrdiff_t first, ptrdiff_t last)
{
    switch (NR) {
        ALL_ROWS
        default:
            abort();
    }
}
#undef ROW
#undef ALL_ROWS

static void NAME(pixel_weights)(int MR, int K, const T *image, const ptrdiff_t *off, ptrdiff_t row_step, const T *dout,
                                ptrdiff_t dout_step, ptrdiff_t rows, ptrdiff_t width, T *totals, ptrdiff_t totals_step)
{
    switch (MR * 16 + K) {
        ALL_TILES(WEIGHTS)
        default:
            abort();
    }
}
#undef FILTERS
#undef WEIGHTS
#undef ALL_TILES
#undef MORE_TILES
#undef MOST_TILES

/* The sum of the lanes: halves are added to halves. */
static T NAME(sum_lanes)(const T *totals)
{
    T lane[LANES];
    memcpy(lane, totals, sizeof lane);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    return lane[0];
}

#endif
