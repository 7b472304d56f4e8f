/* Normalization: what one thread does with a piece of the array. The formulas are in _norm.pyx.
 *
 * Batch normalization sees x as N rows of F * P columns, P columns for each feature. It works on a block of columns at
 * a time and keeps one sum for each column. A number that belongs to a feature is repeated over the feature's columns
 * first, so that every loop runs along a row, whatever P is. Layer and group normalization add up whole rows, in a
 * vector of sums.
 *
 * Sums are long ones (sums.h); after some thousand values at most they go on in double precision. Squares are squared
 * deviations from the mean of these few values, so that nothing cancels. They are brought together as Chan, Golub and
 * LeVeque do ("Updating formulae and a pairwise algorithm for computing sample variances", 1979), and x is read from
 * memory once.
 *
 * Vectors have 64 bytes at every level, whatever the registers are: the order of additions, and so the bits, are those
 * of 64 / sizeof(T) sums side by side.
 *
 * Relu may follow batch normalization, and another array, `branch`, may be added in between: in the same pass, while a
 * row is in registers. A bit for each value then says where the gradient passes. Each piece of features has `words`
 * words of 64 bits for each sample, which begin with its first value.
 *
 * Batch normalization has its buffers in `scratch`: NORM_ROOM doubles that belong to one thread.
 *
 * This is C for `restrict`: without the promise that arrays do not overlap GCC checks each pair of them in each row.
 *
 * Parameters that several functions share:
 *
 *     x, dout       IN, arrays of N samples, `pitch` values apart; the first value is that of the first feature here
 *     out, dx       OUT, the same; dx may be NULL in the functions that say so
 *     features, P   features that are worked on, and the values that each has in a sample
 *     K, P          features of a group, and the values of each
 *     mean, var     float64, one for each feature or group: OUT where they are measured, else IN
 *     gamma, beta   IN, one for each feature
 *     dgamma, dbeta OUT, one for each feature
 *     eps           what is added to a variance
 *     branch        IN, as x; NULL where there is none
 *     mask          bits of the first sample, OUT in forward and IN in backward; NULL where nobody asks, or no relu
 *     mask_pitch    words from one sample to the next
 */
#ifndef CCONV_NORM_H
#define CCONV_NORM_H

#include <math.h>

#include "vector/finish_row.h"
#include "vector/sums.h"

/* Laws: they follow from the first cache, and from the lengths of sums. */
#define NORM_BYTES 2048 /* of a block of columns: all that a row needs beside x stays in the first cache */
#define NORM_ROWS (SUM_BLOCK * SUM_BLOCK) /* rows whose columns are added up before they go on in double precision, */
#define NORM_CHUNK ((ptrdiff_t)(8192 / sizeof(T))) /* and values of a row: SUM_BLOCK blocks of pairs of vectors */
#define NORM_COLUMNS (NORM_BYTES / 4)              /* the most columns of a block */
#define NORM_ROOM (11 * NORM_COLUMNS) /* in double precision: five numbers for each column, and rows beside them */

static inline ptrdiff_t norm_min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static inline double norm_scale(double var, double eps) { return 1 / sqrt(var + eps); }

/* Mean and sum of squared deviations of so many values, as they grow, and what rounding took from them. */
typedef struct {
    double count, mean, squares, mean_lost, squares_lost;
} norm_moments;

/* Numbers of double precision lose too little to be settled in between (sums.h).
 *
 * Add `count` values whose deviations from `mean`, and their squares, add up to `sum` and `squares`. */
static inline void norm_merge(norm_moments *all, double count, double mean, double sum, double squares)
{
    const double total = all->count + count, shift = sum / count, apart = mean + shift - all->mean;
    SUM_ADD(double, all->squares, all->squares_lost, squares - sum * shift);
    if (all->count > 0) SUM_ADD(double, all->squares, all->squares_lost, apart * apart * (all->count * count / total));
    SUM_ADD(double, all->mean, all->mean_lost, (count / total) * apart);
    all->count = total;
}

static inline double norm_mean(const norm_moments *all) { return sum_whole_double(all->mean, all->mean_lost); }

static inline double norm_variance(const norm_moments *all)
{
    const double squares = sum_whole_double(all->squares, all->squares_lost);
    return squares < 0 ? 0 : squares / all->count; /* rounding may leave it just below 0 */
}

#define BODY "norm/norm.h"
#include "vector/both_dtypes.h"

#elif defined(T)

#define VEC(name) NAME(wide_##name)
#define VEC_BYTES 64
#define VEC_GROUP 4
#include "vector/vector.h"
#undef LANES
#define LANES (VEC_BYTES / T_BYTES)
#define STEP (VECTOR_BYTES / T_BYTES) /* lanes of the level's registers: NAME(vec) */

#define BLOCK (NORM_BYTES / T_BYTES) /* columns of a block, */
#define ROOM (BLOCK + LANES)         /* and what a row of it has room for: whole vectors are read and written */

/* ---- batch normalization: columns */

/* These add up to SUM_BLOCK rows of n columns to the sums of the columns. Whole vectors are read, up to the end of the
 * array, and added to: buffers have room for a vector more. */

/* sum += x */
CCONV_NOINLINE void NAME(add_rows)(const T *x, const T *end, ptrdiff_t pitch, ptrdiff_t rows, ptrdiff_t n, T *sum)
{
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        VEC(vec) s = VEC(broadcast)(0);
        for (ptrdiff_t r = 0; r < rows; r++) s = VEC(add)(s, VEC(load_until)(x + r * pitch + i, end));
        VEC(store)(sum + i, VEC(add)(VEC(load)(sum + i), s));
    }
}

/* sum += x - mean, squares += (x - mean)^2; x ends at `end`. */
CCONV_NOINLINE void NAME(add_deviations)(const T *x, const T *end, ptrdiff_t pitch, ptrdiff_t rows, const T *mean,
                                         ptrdiff_t n, T *sum, T *squares)
{
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const VEC(vec) centre = VEC(load)(mean + i);
        VEC(vec) s = VEC(broadcast)(0), q = VEC(broadcast)(0);
        for (ptrdiff_t r = 0; r < rows; r++) {
            const VEC(vec) d = VEC(sub)(VEC(load_until)(x + r * pitch + i, end), centre);
            s = VEC(add)(s, d);
            q = VEC(fma)(d, d, q);
        }
        VEC(store)(sum + i, VEC(add)(VEC(load)(sum + i), s));
        VEC(store)(squares + i, VEC(add)(VEC(load)(squares + i), q));
    }
}

/* The bits of a mask from bit i on; i is a multiple of a vector's lanes. */
CCONV_INLINE uint32_t NAME(bits_at)(const uint64_t *mask, ptrdiff_t i)
{
    return (uint32_t)(mask[i / FINISH_WORD] >> i % FINISH_WORD);
}

/* sum += dout, products += dout * (x - mean); dout ends at `dout_end` and x at `end`. dout is what a mask leaves of it,
 * which is written to `masked`, an array like dout; both may be NULL. */
CCONV_INLINE void NAME(add_some_products)(const T *dout, const T *dout_end, const uint64_t *mask, ptrdiff_t mask_pitch,
                                          T *masked, const T *x, const T *end, ptrdiff_t pitch, ptrdiff_t rows,
                                          const T *mean, ptrdiff_t n, T *sum, T *products)
{
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const VEC(vec) centre = VEC(load)(mean + i);
        VEC(vec) s = VEC(broadcast)(0), p = VEC(broadcast)(0);
        for (ptrdiff_t r = 0; r < rows; r++) {
            VEC(vec) d = VEC(load_until)(dout + r * pitch + i, dout_end);
            if (mask) d = VEC(bits_and)(d, NAME(bits_at)(mask + r * mask_pitch, i));
            if (masked) VEC(store_until)(masked + r * pitch + i, masked + r * pitch + n, d);
            s = VEC(add)(s, d);
            p = VEC(fma)(d, VEC(sub)(VEC(load_until)(x + r * pitch + i, end), centre), p);
        }
        VEC(store)(sum + i, VEC(add)(VEC(load)(sum + i), s));
        VEC(store)(products + i, VEC(add)(VEC(load)(products + i), p));
    }
}

/* Without a mask, with one, and with both. */
CCONV_NOINLINE void NAME(add_products)(const T *dout, const T *dout_end, const T *x, const T *end, ptrdiff_t pitch,
                                       ptrdiff_t rows, const T *mean, ptrdiff_t n, T *sum, T *products)
{
    NAME(add_some_products)(dout, dout_end, NULL, 0, NULL, x, end, pitch, rows, mean, n, sum, products);
}

CCONV_NOINLINE void NAME(add_masked_products)(const T *dout, const T *dout_end, const uint64_t *mask,
                                              ptrdiff_t mask_pitch, T *masked, const T *x, const T *end,
                                              ptrdiff_t pitch, ptrdiff_t rows, const T *mean, ptrdiff_t n, T *sum,
                                              T *products)
{
    if (masked)
        NAME(add_some_products)(dout, dout_end, mask, mask_pitch, masked, x, end, pitch, rows, mean, n, sum, products);
    else
        NAME(add_some_products)(dout, dout_end, mask, mask_pitch, NULL, x, end, pitch, rows, mean, n, sum, products);
}

/* What a mask leaves of a row of n values. */
static inline void NAME(mask_row)(const T *dout, const uint64_t *mask, ptrdiff_t n, T *row)
{
    for (ptrdiff_t i = 0; i < n; i += STEP)
        NAME(store_until)(row + i, row + n,
                          NAME(bits_and)(NAME(load_until)(dout + i, dout + n), NAME(bits_at)(mask, i)));
}

/* out = (x - mean) * scale + shift, column by column */
static inline void NAME(scale_row)(const T *CCONV_RESTRICT x, const T *CCONV_RESTRICT mean,
                                   const T *CCONV_RESTRICT scale, const T *CCONV_RESTRICT shift, ptrdiff_t n,
                                   T *CCONV_RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) out[i] = (x[i] - mean[i]) * scale[i] + shift[i];
}

/* dx = dout * scale + ((x - mean) * slope + shift), column by column */
static inline void NAME(gradient_row)(const T *CCONV_RESTRICT dout, const T *CCONV_RESTRICT x,
                                      const T *CCONV_RESTRICT mean, const T *CCONV_RESTRICT scale,
                                      const T *CCONV_RESTRICT slope, const T *CCONV_RESTRICT shift, ptrdiff_t n,
                                      T *CCONV_RESTRICT dx)
{
    for (ptrdiff_t i = 0; i < n; i++) dx[i] = dout[i] * scale[i] + ((x[i] - mean[i]) * slope[i] + shift[i]);
}

/* Repeat one value per feature over its `span` columns, */
static inline void NAME(repeat)(const double *values, ptrdiff_t features, ptrdiff_t span, T *row)
{
    for (ptrdiff_t f = 0; f < features; f++, row += span)
        for (ptrdiff_t i = 0; i < span; i++) row[i] = (T)values[f];
}

/* and add these up again. */
static inline void NAME(collect)(const T *row, ptrdiff_t features, ptrdiff_t span, double *wide, double *sums)
{
    double *const values = span == 1 ? sums : wide;
    for (ptrdiff_t i = 0; i < features * span; i++) values[i] = row[i];
    for (ptrdiff_t f = 0; f < features && span > 1; f++) sums[f] = sum_row_double(wide + f * span, span);
}

/* How many features are one piece of work. */
static inline ptrdiff_t NAME(piece)(ptrdiff_t P) { return P < BLOCK ? BLOCK / P : 1; }

/* How many words the mask of a piece has for a sample. */
static inline ptrdiff_t NAME(piece_words)(ptrdiff_t P) { return (NAME(piece)(P) * P + FINISH_WORD - 1) / FINISH_WORD; }

/* The mean and the variance of some features. */
static void NAME(measure)(const T *x, ptrdiff_t N, ptrdiff_t pitch, ptrdiff_t features, ptrdiff_t P, double *mean,
                          double *var, double *scratch)
{
    T *const sum = (T *)scratch, *const squares = sum + ROOM, *const centre = squares + ROOM;
    double *const first = (double *)(centre + ROOM), *const second = first + BLOCK, *const wide = second + BLOCK;
    const T *const end = x + (N - 1) * pitch + features * P;
    norm_moments *const all = (norm_moments *)(wide + BLOCK);
    memset(all, 0, (size_t)features * sizeof *all);
    for (ptrdiff_t n = 0; n < N; n += NORM_ROWS)
        for (ptrdiff_t c = 0; c < P; c += BLOCK) {
            const ptrdiff_t rows = norm_min(NORM_ROWS, N - n), span = norm_min(BLOCK, P - c), width = features * span;
            const T *const at = x + n * pitch + c;
            const double count = (double)(rows * span);
            memset(sum, 0, ROOM * sizeof(T));
            for (ptrdiff_t r = 0; r < rows; r += SUM_BLOCK)
                NAME(add_rows)(at + r * pitch, end, pitch, norm_min(SUM_BLOCK, rows - r), width, sum);
            NAME(collect)(sum, features, span, wide, first);
            for (ptrdiff_t f = 0; f < features; f++) first[f] = (T)(first[f] / count);
            NAME(repeat)(first, features, span, centre);
            memcpy(mean, first, (size_t)features * sizeof *first);
            memset(sum, 0, 2 * ROOM * sizeof(T)); /* and squares */
            for (ptrdiff_t r = 0; r < rows; r += SUM_BLOCK)
                NAME(add_deviations)(at + r * pitch, end, pitch, norm_min(SUM_BLOCK, rows - r), centre, width, sum,
                                     squares);
            NAME(collect)(sum, features, span, wide, first);
            NAME(collect)(squares, features, span, wide, second);
            for (ptrdiff_t f = 0; f < features; f++) norm_merge(all + f, count, mean[f], first[f], second[f]);
        }
    for (ptrdiff_t f = 0; f < features; f++) {
        mean[f] = norm_mean(all + f);
        var[f] = norm_variance(all + f);
    }
}

/* Normalise some features, and add the branch and apply relu where they follow. */
static void NAME(batch_forward)(const T *x, T *out, const double *mean, const double *var, const T *gamma,
                                const T *beta, const T *branch, int relu, uint64_t *mask, ptrdiff_t mask_pitch,
                                ptrdiff_t N, ptrdiff_t pitch, ptrdiff_t features, ptrdiff_t P, double eps,
                                double *scratch)
{
    T *const centre = (T *)scratch, *const scale = centre + BLOCK, *const shift = scale + BLOCK;
    double *const scales = (double *)(shift + BLOCK), *const shifts = scales + BLOCK;
    for (ptrdiff_t f = 0; f < features; f++) {
        scales[f] = gamma[f] * norm_scale(var[f], eps);
        shifts[f] = beta[f];
    }
    for (ptrdiff_t c = 0; c < P; c += BLOCK) {
        const ptrdiff_t span = norm_min(BLOCK, P - c), width = features * span;
        NAME(repeat)(mean, features, span, centre);
        NAME(repeat)(scales, features, span, scale);
        NAME(repeat)(shifts, features, span, shift);
        for (ptrdiff_t n = 0; n < N; n++) {
            const ptrdiff_t at = n * pitch + c;
            if (branch || relu)
                NAME(finish_row)(x + at, NULL, centre, scale, shift, branch ? branch + at : NULL, relu, width, out + at,
                                 mask ? mask + n * mask_pitch + c / FINISH_WORD : NULL);
            else
                NAME(scale_row)(x + at, centre, scale, shift, width, out + at);
        }
    }
}

/* The gradients of some features. dx may be NULL. With `fixed`, mean and var do not depend on x. What the mask leaves
 * of dout is written to `masked`, an array like dout, unless that is NULL. */
static void NAME(batch_backward)(const T *dout, const T *x, const double *mean, const double *var, const T *gamma,
                                 const uint64_t *mask, ptrdiff_t mask_pitch, T *masked, T *dx, double *dgamma,
                                 double *dbeta, ptrdiff_t N, ptrdiff_t pitch, ptrdiff_t features, ptrdiff_t P,
                                 double eps, int fixed, double *scratch)
{
    T *const centre = (T *)scratch, *const scale = centre + ROOM, *const slope = scale + ROOM;
    T *const shift = slope + ROOM, *const row = shift + ROOM;
    double *const scales = (double *)(row + ROOM), *const slopes = scales + BLOCK;
    double *const shifts = slopes + BLOCK, *const wide = shifts + BLOCK, *const dgamma_lost = wide + BLOCK;
    double *const dbeta_lost = dgamma_lost + BLOCK;
    const double count = (double)N * (double)P;
    const ptrdiff_t size = (N - 1) * pitch + features * P; /* of what x and dout have of these features */
    memset(dgamma, 0, (size_t)features * sizeof *dgamma);
    memset(dbeta, 0, (size_t)features * sizeof *dbeta);
    memset(dgamma_lost, 0, 2 * (size_t)BLOCK * sizeof *dgamma_lost);
    for (ptrdiff_t c = 0; c < P; c += BLOCK) {
        const ptrdiff_t span = norm_min(BLOCK, P - c), width = features * span;
        T *const sum = scale, *const products = slope;
        NAME(repeat)(mean, features, span, centre);
        for (ptrdiff_t n = 0; n < N; n += NORM_ROWS) {
            memset(sum, 0, 2 * ROOM * sizeof(T)); /* and products */
            for (ptrdiff_t r = n; r < norm_min(n + NORM_ROWS, N); r += SUM_BLOCK) {
                const ptrdiff_t at = r * pitch + c, rows = norm_min(SUM_BLOCK, norm_min(n + NORM_ROWS, N) - r);
                if (mask)
                    NAME(add_masked_products)(dout + at, dout + size, mask + r * mask_pitch + c / FINISH_WORD,
                                              mask_pitch, masked ? masked + at : NULL, x + at, x + size, pitch, rows,
                                              centre, width, sum, products);
                else
                    NAME(add_products)(dout + at, dout + size, x + at, x + size, pitch, rows, centre, width, sum,
                                       products);
            }
            NAME(collect)(sum, features, span, wide, scales);
            NAME(collect)(products, features, span, wide, slopes);
            for (ptrdiff_t f = 0; f < features; f++) {
                SUM_ADD(double, dbeta[f], dbeta_lost[f], scales[f]);
                SUM_ADD(double, dgamma[f], dgamma_lost[f], slopes[f]);
            }
        }
    }
    for (ptrdiff_t f = 0; f < features; f++) {
        const double root = norm_scale(var[f], eps);
        dbeta[f] = sum_whole_double(dbeta[f], dbeta_lost[f]);
        dgamma[f] = sum_whole_double(dgamma[f], dgamma_lost[f]) * root;
        scales[f] = gamma[f] * root;
        slopes[f] = fixed ? 0 : -scales[f] * root * dgamma[f] / count;
        shifts[f] = fixed ? 0 : -scales[f] * dbeta[f] / count;
    }
    for (ptrdiff_t c = 0; dx && c < P; c += BLOCK) {
        const ptrdiff_t span = norm_min(BLOCK, P - c), width = features * span;
        NAME(repeat)(mean, features, span, centre);
        NAME(repeat)(scales, features, span, scale);
        NAME(repeat)(slopes, features, span, slope);
        NAME(repeat)(shifts, features, span, shift);
        for (ptrdiff_t n = 0; n < N; n++) {
            const ptrdiff_t at = n * pitch + c;
            const T *from = masked ? masked + at : dout + at;
            if (mask && !masked) {
                NAME(mask_row)(from, mask + n * mask_pitch + c / FINISH_WORD, width, row);
                from = row;
            }
            if (fixed) /* x may be infinite: it has no part in this; slope and shift are 0 */
                NAME(scale_row)(from, slope, scale, shift, width, dx + at);
            else
                NAME(gradient_row)(from, x + at, centre, scale, slope, shift, width, dx + at);
        }
    }
}

/* ---- layer and group normalization: rows */

/* The sums over up to NORM_CHUNK values of a - a_from, and of its product with b - b_from. For squares, a and b are one
 * array. Vectors go in pairs, each with sums of its own, so that additions need not wait for each other. */
static void NAME(sum_products)(const T *a, T a_from, const T *b, T b_from, ptrdiff_t n, double *sum, double *products)
{
    const VEC(vec) a_centre = VEC(broadcast)(a_from), b_centre = VEC(broadcast)(b_from);
    VEC(vec) all = VEC(broadcast)(0), all_products = VEC(broadcast)(0);
    T rest = 0, rest_products = 0;
    ptrdiff_t i = 0;
    while (i + LANES <= n) {
        const ptrdiff_t end = norm_min(n, i + 2 * SUM_BLOCK * LANES);
        VEC(vec) s = VEC(broadcast)(0), p = VEC(broadcast)(0), s2 = VEC(broadcast)(0), p2 = VEC(broadcast)(0);
        for (; i + 2 * LANES <= end; i += 2 * LANES) {
            const VEC(vec) d = VEC(sub)(VEC(load)(a + i), a_centre), e = VEC(sub)(VEC(load)(a + i + LANES), a_centre);
            s = VEC(add)(s, d);
            s2 = VEC(add)(s2, e);
            p = VEC(fma)(d, VEC(sub)(VEC(load)(b + i), b_centre), p);
            p2 = VEC(fma)(e, VEC(sub)(VEC(load)(b + i + LANES), b_centre), p2);
        }
        if (i + LANES <= end) {
            const VEC(vec) d = VEC(sub)(VEC(load)(a + i), a_centre);
            s = VEC(add)(s, d);
            p = VEC(fma)(d, VEC(sub)(VEC(load)(b + i), b_centre), p);
            i += LANES;
        }
        all = VEC(add)(all, VEC(add)(s, s2));
        all_products = VEC(add)(all_products, VEC(add)(p, p2));
    }
    for (; i < n; i++) {
        const T d = a[i] - a_from;
        rest += d;
        rest_products += d * (b[i] - b_from);
    }
    *sum = (double)VEC(reduce_add)(all) + rest;
    *products = (double)VEC(reduce_add)(all_products) + rest_products;
}

/* The loops along a row of one feature, and along a row in which each value has a gamma and beta of its own. */
static inline void NAME(scale_run)(const T *CCONV_RESTRICT x, T mean, T scale, T shift, ptrdiff_t n,
                                   T *CCONV_RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) out[i] = (x[i] - mean) * scale + shift;
}

static inline void NAME(scale_along)(const T *CCONV_RESTRICT x, T mean, T scale, const T *CCONV_RESTRICT gamma,
                                     const T *CCONV_RESTRICT beta, ptrdiff_t n, T *CCONV_RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) out[i] = (x[i] - mean) * scale * gamma[i] + beta[i];
}

static inline void NAME(gradient_run)(const T *CCONV_RESTRICT dout, const T *CCONV_RESTRICT x, T mean, T scale, T slope,
                                      T shift, ptrdiff_t n, T *CCONV_RESTRICT dx)
{
    for (ptrdiff_t i = 0; i < n; i++) dx[i] = dout[i] * scale + ((x[i] - mean) * slope + shift);
}

static inline void NAME(gradient_along)(const T *CCONV_RESTRICT dout, const T *CCONV_RESTRICT x, T mean, T scale,
                                        const T *CCONV_RESTRICT gamma, T slope, T shift, ptrdiff_t n,
                                        T *CCONV_RESTRICT dx)
{
    for (ptrdiff_t i = 0; i < n; i++) dx[i] = dout[i] * gamma[i] * scale + ((x[i] - mean) * slope + shift);
}

/* The sums over a row of dout * gamma, and of its product with y = (x - mean) * scale; dgamma += dout * y and
 * dbeta += dout meanwhile. All arrays have n values, one for each feature. */
static void NAME(sum_along)(const T *CCONV_RESTRICT dout, const T *CCONV_RESTRICT x, T mean, T scale,
                            const T *CCONV_RESTRICT gamma, ptrdiff_t n, T *CCONV_RESTRICT dgamma,
                            T *CCONV_RESTRICT dbeta, double *sum, double *products)
{
    const VEC(vec) centre = VEC(broadcast)(mean), factor = VEC(broadcast)(scale);
    VEC(vec) all = VEC(broadcast)(0), all_products = VEC(broadcast)(0);
    T rest = 0, rest_products = 0;
    ptrdiff_t i = 0;
    while (i + LANES <= n) {
        const ptrdiff_t end = norm_min(n, i + SUM_BLOCK * LANES);
        VEC(vec) s = VEC(broadcast)(0), p = VEC(broadcast)(0);
        for (; i + LANES <= end; i += LANES) {
            const VEC(vec) d = VEC(load)(dout + i), y = VEC(mul)(VEC(sub)(VEC(load)(x + i), centre), factor);
            const VEC(vec) g = VEC(mul)(d, VEC(load)(gamma + i));
            VEC(store)(dbeta + i, VEC(add)(VEC(load)(dbeta + i), d));
            VEC(store)(dgamma + i, VEC(fma)(d, y, VEC(load)(dgamma + i)));
            s = VEC(add)(s, g);
            p = VEC(fma)(g, y, p);
        }
        all = VEC(add)(all, s);
        all_products = VEC(add)(all_products, p);
    }
    for (; i < n; i++) {
        const T d = dout[i], y = (x[i] - mean) * scale, g = d * gamma[i];
        dbeta[i] += d;
        dgamma[i] += d * y;
        rest += g;
        rest_products += g * y;
    }
    *sum = (double)VEC(reduce_add)(all) + rest;
    *products = (double)VEC(reduce_add)(all_products) + rest_products;
}

/* Normalise one group: K channels of P values, with one mean and variance. */
static void NAME(group_forward)(const T *x, T *out, double *mean, double *var, const T *gamma, const T *beta,
                                ptrdiff_t K, ptrdiff_t P, double eps)
{
    norm_moments all = {0, 0, 0, 0, 0};
    for (ptrdiff_t i = 0; i < K * P; i += NORM_CHUNK) {
        const ptrdiff_t count = norm_min(NORM_CHUNK, K * P - i);
        double sum, squares;
        const T centre = NAME(sum_row)(x + i, count) / (T)count;
        NAME(sum_products)(x + i, centre, x + i, centre, count, &sum, &squares);
        norm_merge(&all, (double)count, centre, sum, squares);
    }
    *mean = norm_mean(&all);
    *var = norm_variance(&all);
    const double scale = norm_scale(*var, eps);
    if (P == 1)
        NAME(scale_along)(x, (T)*mean, (T)scale, gamma, beta, K, out);
    else
        for (ptrdiff_t k = 0; k < K; k++)
            NAME(scale_run)(x + k * P, (T)*mean, (T)(gamma[k] * scale), beta[k], P, out + k * P);
}

/* Its gradients. dgamma and dbeta are added to, no more than SUM_BLOCK times. dx may be NULL. */
static void NAME(group_backward)(const T *dout, const T *x, double mean, double var, const T *gamma, T *dx, T *dgamma,
                                 T *dbeta, ptrdiff_t K, ptrdiff_t P, double eps)
{
    const double scale = norm_scale(var, eps), count = (double)K * (double)P;
    double sum, products, total = 0, total_products = 0, lost = 0, lost_products = 0;
    for (ptrdiff_t k = 0; P > 1 && k < K; k++) {
        double rest = 0, rest_products = 0;
        sum = products = 0;
        for (ptrdiff_t i = k * P; i < (k + 1) * P; i += NORM_CHUNK) {
            double some, some_products;
            NAME(sum_products)(dout + i, 0, x + i, (T)mean, norm_min(NORM_CHUNK, (k + 1) * P - i), &some,
                               &some_products);
            SUM_ADD(double, sum, rest, some);
            SUM_ADD(double, products, rest_products, some_products);
        }
        sum = sum_whole_double(sum, rest);
        products = sum_whole_double(products, rest_products) * scale;
        dbeta[k] += (T)sum;
        dgamma[k] += (T)products;
        SUM_ADD(double, total, lost, gamma[k] * sum);
        SUM_ADD(double, total_products, lost_products, gamma[k] * products);
    }
    for (ptrdiff_t i = 0; P == 1 && i < K; i += NORM_CHUNK / 2) {
        const ptrdiff_t n = norm_min(NORM_CHUNK / 2, K - i);
        NAME(sum_along)(dout + i, x + i, (T)mean, (T)scale, gamma + i, n, dgamma + i, dbeta + i, &sum, &products);
        SUM_ADD(double, total, lost, sum);
        SUM_ADD(double, total_products, lost_products, products);
    }
    if (!dx) return;
    total = sum_whole_double(total, lost);
    total_products = sum_whole_double(total_products, lost_products);
    const T slope = (T)(-scale * scale * total_products / count), shift = (T)(-scale * total / count);
    if (P == 1)
        NAME(gradient_along)(dout, x, (T)mean, (T)scale, gamma, slope, shift, K, dx);
    else
        for (ptrdiff_t k = 0; k < K; k++)
            NAME(gradient_run)(dout + k * P, x + k * P, (T)mean, (T)(gamma[k] * scale), slope, shift, P, dx + k * P);
}

#undef BLOCK
#undef ROOM
#undef STEP
#undef VEC
#undef VEC_BYTES
#undef VEC_GROUP
#endif
