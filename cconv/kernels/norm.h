/* Normalization: what one thread does with a piece of the array. The formulas are in _norm.pyx.
 *
 * Batch normalization sees x as N rows of F * P columns. It works on a block of columns at a time and keeps one sum for
 * each: what belongs to a feature is spread over its columns first, so that every loop runs along a row, whatever P is.
 * Layer and group normalization add up whole rows, a vector of sums side by side; where the compiler has no vector
 * types, a vector is one value.
 *
 * Sums are taken of some thousand values at most before they go on in double precision; squares are those of deviations
 * from the mean of just these values, which is near to them, and are brought together as Chan, Golub and LeVeque do
 * ("Updating formulae and a pairwise algorithm for computing sample variances", 1979): nothing cancels, and x is read
 * from memory once.
 *
 * This is C for `restrict`: without the promise that arrays do not overlap GCC checks each pair of them in each row.
 * The body is compiled twice, for float and for double.
 */
#ifndef CCONV_NORM_H
#define CCONV_NORM_H

#include <math.h>
#include <stddef.h>
#include <string.h>

#if defined(_MSC_VER)
#define NORM_RESTRICT __restrict
#else
#define NORM_RESTRICT restrict
#endif

#define NORM_BYTES 2048 /* of a block of columns: all that a row needs beside x stays in the first cache */
#define NORM_ROWS 64    /* rows whose columns are added up before they go on in double precision */
#define NORM_CHUNK 4096 /* likewise, values of a row */

static inline ptrdiff_t norm_min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static inline double norm_scale(double var, double eps) { return 1 / sqrt(var + eps); }

/* Mean and sum of squared deviations of so many values, as they grow. */
typedef struct {
    double count, mean, squares;
} norm_moments;

/* Add `count` values whose deviations from `mean`, and their squares, add up to `sum` and `squares`. */
static inline void norm_merge(norm_moments *all, double count, double mean, double sum, double squares)
{
    const double total = all->count + count, shift = sum / count, apart = mean + shift - all->mean;
    all->squares += squares - sum * shift;
    if (all->count > 0) all->squares += apart * apart * (all->count * count / total);
    all->mean += apart * (count / total);
    all->count = total;
}

static inline double norm_variance(const norm_moments *all)
{
    return all->squares < 0 ? 0 : all->squares / all->count; /* rounding may leave it just below 0 */
}

#define T float
#define NAME(name) name##_float
#include "norm.h"
#undef T
#undef NAME
#define T double
#define NAME(name) name##_double
#include "norm.h"
#undef T
#undef NAME

#elif defined(T)

#define BLOCK ((ptrdiff_t)(NORM_BYTES / sizeof(T)))
#if defined(__GNUC__)
typedef T NAME(norm_vec) __attribute__((vector_size(64), aligned(sizeof(T)), may_alias));
#else
typedef T NAME(norm_vec);
#endif
#define V NAME(norm_vec)
#define LANES ((ptrdiff_t)(sizeof(V) / sizeof(T)))
#define LOAD(p) (*(const V *)(p))

/* ---- batch normalization: columns */

static inline void NAME(add_row)(const T *NORM_RESTRICT x, ptrdiff_t n, T *NORM_RESTRICT sum)
{
    for (ptrdiff_t i = 0; i < n; i++) sum[i] += x[i];
}

static inline void NAME(add_deviations)(const T *NORM_RESTRICT x, const T *NORM_RESTRICT mean, ptrdiff_t n,
                                        T *NORM_RESTRICT sum, T *NORM_RESTRICT squares)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const T d = x[i] - mean[i];
        sum[i] += d;
        squares[i] += d * d;
    }
}

static inline void NAME(add_products)(const T *NORM_RESTRICT dout, const T *NORM_RESTRICT x,
                                      const T *NORM_RESTRICT mean, ptrdiff_t n, T *NORM_RESTRICT sum,
                                      T *NORM_RESTRICT products)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        sum[i] += dout[i];
        products[i] += dout[i] * (x[i] - mean[i]);
    }
}

static inline void NAME(scale_row)(const T *NORM_RESTRICT x, const T *NORM_RESTRICT mean, const T *NORM_RESTRICT scale,
                                   const T *NORM_RESTRICT shift, ptrdiff_t n, T *NORM_RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) out[i] = (x[i] - mean[i]) * scale[i] + shift[i];
}

static inline void NAME(gradient_row)(const T *NORM_RESTRICT dout, const T *NORM_RESTRICT x,
                                      const T *NORM_RESTRICT mean, const T *NORM_RESTRICT scale,
                                      const T *NORM_RESTRICT slope, const T *NORM_RESTRICT shift, ptrdiff_t n,
                                      T *NORM_RESTRICT dx)
{
    for (ptrdiff_t i = 0; i < n; i++) dx[i] = dout[i] * scale[i] + ((x[i] - mean[i]) * slope[i] + shift[i]);
}

/* Repeat one value per feature over its `span` columns, and add these up again. */
static inline void NAME(repeat)(const double *values, ptrdiff_t features, ptrdiff_t span, T *row)
{
    for (ptrdiff_t f = 0; f < features; f++, row += span)
        for (ptrdiff_t i = 0; i < span; i++) row[i] = (T)values[f];
}

static inline void NAME(collect)(const T *row, ptrdiff_t features, ptrdiff_t span, double *sums)
{
    for (ptrdiff_t f = 0; f < features; f++, row += span) {
        double total = 0;
        for (ptrdiff_t i = 0; i < span; i++) total += row[i];
        sums[f] = total;
    }
}

/* How many features are one piece of work. */
static inline ptrdiff_t NAME(piece)(ptrdiff_t P) { return P < BLOCK ? BLOCK / P : 1; }

/* Mean and variance of so many features, x being the first one's first value. */
static void NAME(measure)(const T *x, ptrdiff_t N, ptrdiff_t pitch, ptrdiff_t features, ptrdiff_t P, double *mean,
                          double *var)
{
    T sum[BLOCK], squares[BLOCK], centre[BLOCK];
    double first[BLOCK], second[BLOCK];
    norm_moments all[BLOCK];
    memset(all, 0, (size_t)features * sizeof *all);
    for (ptrdiff_t n = 0; n < N; n += NORM_ROWS)
        for (ptrdiff_t c = 0; c < P; c += BLOCK) {
            const ptrdiff_t rows = norm_min(NORM_ROWS, N - n), span = norm_min(BLOCK, P - c), width = features * span;
            const T *const at = x + n * pitch + c;
            const double count = (double)(rows * span);
            memset(sum, 0, (size_t)width * sizeof(T));
            for (ptrdiff_t r = 0; r < rows; r++) NAME(add_row)(at + r * pitch, width, sum);
            NAME(collect)(sum, features, span, first);
            for (ptrdiff_t f = 0; f < features; f++) first[f] = (T)(first[f] / count);
            NAME(repeat)(first, features, span, centre);
            memcpy(mean, first, (size_t)features * sizeof *first);
            memset(sum, 0, (size_t)width * sizeof(T));
            memset(squares, 0, (size_t)width * sizeof(T));
            for (ptrdiff_t r = 0; r < rows; r++) NAME(add_deviations)(at + r * pitch, centre, width, sum, squares);
            NAME(collect)(sum, features, span, first);
            NAME(collect)(squares, features, span, second);
            for (ptrdiff_t f = 0; f < features; f++) norm_merge(all + f, count, mean[f], first[f], second[f]);
        }
    for (ptrdiff_t f = 0; f < features; f++) {
        mean[f] = all[f].mean;
        var[f] = norm_variance(all + f);
    }
}

/* Normalise a piece of features; x, out and what belongs to features begin with the first one. */
static void NAME(batch_forward)(const T *x, T *out, const double *mean, const double *var, const T *gamma,
                                const T *beta, ptrdiff_t N, ptrdiff_t pitch, ptrdiff_t features, ptrdiff_t P,
                                double eps)
{
    T centre[BLOCK], scale[BLOCK], shift[BLOCK];
    double scales[BLOCK], shifts[BLOCK];
    for (ptrdiff_t f = 0; f < features; f++) {
        scales[f] = gamma[f] * norm_scale(var[f], eps);
        shifts[f] = beta[f];
    }
    for (ptrdiff_t c = 0; c < P; c += BLOCK) {
        const ptrdiff_t span = norm_min(BLOCK, P - c), width = features * span;
        NAME(repeat)(mean, features, span, centre);
        NAME(repeat)(scales, features, span, scale);
        NAME(repeat)(shifts, features, span, shift);
        for (ptrdiff_t n = 0; n < N; n++)
            NAME(scale_row)(x + n * pitch + c, centre, scale, shift, width, out + n * pitch + c);
    }
}

/* The gradients of a piece of features; those of x if there is room for them. Where `fixed`, mean and var do not depend
 * on x. */
static void NAME(batch_backward)(const T *dout, const T *x, const double *mean, const double *var, const T *gamma,
                                 T *dx, double *dgamma, double *dbeta, ptrdiff_t N, ptrdiff_t pitch,
                                 ptrdiff_t features, ptrdiff_t P, double eps, int fixed)
{
    T centre[BLOCK], scale[BLOCK], slope[BLOCK], shift[BLOCK];
    double scales[BLOCK], slopes[BLOCK], shifts[BLOCK];
    const double count = (double)N * (double)P;
    memset(dgamma, 0, (size_t)features * sizeof *dgamma);
    memset(dbeta, 0, (size_t)features * sizeof *dbeta);
    for (ptrdiff_t c = 0; c < P; c += BLOCK) {
        const ptrdiff_t span = norm_min(BLOCK, P - c), width = features * span;
        T *const sum = scale, *const products = slope;
        NAME(repeat)(mean, features, span, centre);
        for (ptrdiff_t n = 0; n < N; n += NORM_ROWS) {
            memset(sum, 0, (size_t)width * sizeof(T));
            memset(products, 0, (size_t)width * sizeof(T));
            for (ptrdiff_t r = n; r < norm_min(n + NORM_ROWS, N); r++)
                NAME(add_products)(dout + r * pitch + c, x + r * pitch + c, centre, width, sum, products);
            NAME(collect)(sum, features, span, scales);
            NAME(collect)(products, features, span, slopes);
            for (ptrdiff_t f = 0; f < features; f++) {
                dbeta[f] += scales[f];
                dgamma[f] += slopes[f];
            }
        }
    }
    for (ptrdiff_t f = 0; f < features; f++) {
        const double root = norm_scale(var[f], eps);
        dgamma[f] *= root;
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
            if (fixed) /* x may be infinite: it has no part in this; slope and shift are 0 */
                NAME(scale_row)(dout + at, slope, scale, shift, width, dx + at);
            else
                NAME(gradient_row)(dout + at, x + at, centre, scale, slope, shift, width, dx + at);
        }
    }
}

/* ---- layer and group normalization: rows */

/* Add up the lanes of a vector. */
static inline T NAME(fold)(const V *v)
{
    T lane[LANES], total[4] = {0};
    memcpy(lane, v, sizeof lane);
    for (int k = 0; k < LANES; k++) total[k % 4] += lane[k];
    return (total[0] + total[1]) + (total[2] + total[3]);
}

/* The sums of a - from and of its product with b - from: for squares, a and b are one array. */
static void NAME(sum_products)(const T *a, T a_from, const T *b, T b_from, ptrdiff_t n, double *sum, double *products)
{
    V s = {0}, p = {0}, s2 = {0}, p2 = {0};
    T rest = 0, rest_products = 0;
    ptrdiff_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        const V d = LOAD(a + i) - a_from, e = LOAD(a + i + LANES) - a_from;
        s += d;
        s2 += e;
        p += d * (LOAD(b + i) - b_from);
        p2 += e * (LOAD(b + i + LANES) - b_from);
    }
    if (i + LANES <= n) {
        const V d = LOAD(a + i) - a_from;
        s += d;
        p += d * (LOAD(b + i) - b_from);
        i += LANES;
    }
    for (; i < n; i++) {
        const T d = a[i] - a_from;
        rest += d;
        rest_products += d * (b[i] - b_from);
    }
    s += s2;
    p += p2;
    *sum = (double)NAME(fold)(&s) + rest;
    *products = (double)NAME(fold)(&p) + rest_products;
}

static inline void NAME(scale_run)(const T *NORM_RESTRICT x, T mean, T scale, T shift, ptrdiff_t n,
                                   T *NORM_RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) out[i] = (x[i] - mean) * scale + shift;
}

static inline void NAME(scale_along)(const T *NORM_RESTRICT x, T mean, T scale, const T *NORM_RESTRICT gamma,
                                     const T *NORM_RESTRICT beta, ptrdiff_t n, T *NORM_RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) out[i] = (x[i] - mean) * scale * gamma[i] + beta[i];
}

static inline void NAME(gradient_run)(const T *NORM_RESTRICT dout, const T *NORM_RESTRICT x, T mean, T scale, T slope,
                                      T shift, ptrdiff_t n, T *NORM_RESTRICT dx)
{
    for (ptrdiff_t i = 0; i < n; i++) dx[i] = dout[i] * scale + ((x[i] - mean) * slope + shift);
}

static inline void NAME(gradient_along)(const T *NORM_RESTRICT dout, const T *NORM_RESTRICT x, T mean, T scale,
                                        const T *NORM_RESTRICT gamma, T slope, T shift, ptrdiff_t n,
                                        T *NORM_RESTRICT dx)
{
    for (ptrdiff_t i = 0; i < n; i++) dx[i] = dout[i] * gamma[i] * scale + ((x[i] - mean) * slope + shift);
}

/* The sums over a row of dout * gamma and of its product with (x - mean) * scale; dgamma and dbeta grow meanwhile. */
static void NAME(sum_along)(const T *NORM_RESTRICT dout, const T *NORM_RESTRICT x, T mean, T scale,
                            const T *NORM_RESTRICT gamma, ptrdiff_t n, T *NORM_RESTRICT dgamma,
                            T *NORM_RESTRICT dbeta, double *sum, double *products)
{
    V s = {0}, p = {0};
    T rest = 0, rest_products = 0;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const V d = LOAD(dout + i), y = (LOAD(x + i) - mean) * scale, g = d * LOAD(gamma + i);
        *(V *)(dbeta + i) += d;
        *(V *)(dgamma + i) += d * y;
        s += g;
        p += g * y;
    }
    for (; i < n; i++) {
        const T d = dout[i], y = (x[i] - mean) * scale, g = d * gamma[i];
        dbeta[i] += d;
        dgamma[i] += d * y;
        rest += g;
        rest_products += g * y;
    }
    *sum = (double)NAME(fold)(&s) + rest;
    *products = (double)NAME(fold)(&p) + rest_products;
}

/* Normalise one group: K channels of P values, with one mean and variance. */
static void NAME(group_forward)(const T *x, T *out, double *mean, double *var, const T *gamma, const T *beta,
                                ptrdiff_t K, ptrdiff_t P, double eps)
{
    norm_moments all = {0, 0, 0};
    for (ptrdiff_t i = 0; i < K * P; i += NORM_CHUNK) {
        const ptrdiff_t count = norm_min(NORM_CHUNK, K * P - i);
        double sum, squares;
        NAME(sum_products)(x + i, 0, x + i, 0, count, &sum, &squares);
        const T centre = (T)(sum / (double)count);
        NAME(sum_products)(x + i, centre, x + i, centre, count, &sum, &squares);
        norm_merge(&all, (double)count, centre, sum, squares);
    }
    *mean = all.mean;
    *var = norm_variance(&all);
    const double scale = norm_scale(*var, eps);
    if (P == 1)
        NAME(scale_along)(x, (T)*mean, (T)scale, gamma, beta, K, out);
    else
        for (ptrdiff_t k = 0; k < K; k++)
            NAME(scale_run)(x + k * P, (T)*mean, (T)(gamma[k] * scale), beta[k], P, out + k * P);
}

/* Its gradients: dgamma and dbeta grow, dx is written if there is room for it. */
static void NAME(group_backward)(const T *dout, const T *x, double mean, double var, const T *gamma, T *dx, T *dgamma,
                                 T *dbeta, ptrdiff_t K, ptrdiff_t P, double eps)
{
    const double scale = norm_scale(var, eps), count = (double)K * (double)P;
    double sum, products, total = 0, total_products = 0;
    for (ptrdiff_t k = 0; P > 1 && k < K; k++) {
        NAME(sum_products)(dout + k * P, 0, x + k * P, (T)mean, P, &sum, &products);
        products *= scale;
        dbeta[k] += (T)sum;
        dgamma[k] += (T)products;
        total += gamma[k] * sum;
        total_products += gamma[k] * products;
    }
    for (ptrdiff_t i = 0; P == 1 && i < K; i += NORM_CHUNK) {
        const ptrdiff_t n = norm_min(NORM_CHUNK, K - i);
        NAME(sum_along)
        (dout + i, x + i, (T)mean, (T)scale, gamma + i, n, dgamma + i, dbeta + i, &sum, &products);
        total += sum;
        total_products += products;
    }
    if (!dx) return;
    const T slope = (T)(-scale * scale * total_products / count), shift = (T)(-scale * total / count);
    if (P == 1)
        NAME(gradient_along)(dout, x, (T)mean, (T)scale, gamma, slope, shift, K, dx);
    else
        for (ptrdiff_t k = 0; k < K; k++)
            NAME(gradient_run)
            (dout + k * P, x + k * P, (T)mean, (T)(gamma[k] * scale), slope, shift, P, dx + k * P);
}

#undef BLOCK
#undef V
#undef LANES
#undef LOAD
#endif
