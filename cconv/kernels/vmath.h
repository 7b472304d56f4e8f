/* exp and sigmoid without branches or tables, so that a compiler turns a loop over them into vector instructions; and
 * two reductions over a row that it would not vectorise by itself, since that changes the order of the operations.
 *
 * exp(x) = 2^n * exp(r) with n = round(x / ln 2), r = x - n*ln 2 and so |r| <= ln(2)/2, where exp(r) is
 * 1 + r + r^2 * q(r), q a Chebyshev fit (relative error 1.0e-8 for float, 1.7e-17 for double, before rounding).
 * - Adding 1.5 * 2^(mantissa bits) rounds to an integer and leaves it in the low bits, on every CPU level.
 * - ln 2 is split in two, the upper part short enough for n * upper to be exact without a fused multiply-add.
 * - 2^n is applied as two factors of about 2^(n/2): each exists as a number also where the result is a denormal or
 *   overflows. A factor is made by adding the exponent's bias too and shifting the sum's low bits into place.
 * - The argument is clamped to where the result is 0 or inf already. A NaN fails both comparisons and goes through.
 */
#ifndef CCONV_VMATH_H
#define CCONV_VMATH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline float power_of_two_float(float n) {
    float sum = n + (12582912.0f + 127.0f), power;
    uint32_t bits;
    memcpy(&bits, &sum, sizeof bits);
    bits <<= 23;
    memcpy(&power, &bits, sizeof power);
    return power;
}

static inline double power_of_two_double(double n) {
    double sum = n + (6755399441055744.0 + 1023.0), power;
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    bits <<= 52;
    memcpy(&power, &bits, sizeof power);
    return power;
}

static inline float exp_float(float x) {
    const float rounder = 12582912.0f; /* 1.5 * 2^23 */
    float n, half, r, q;
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    n = (x * 1.44269502f + rounder) - rounder;
    half = (n * 0.5f + rounder) - rounder;
    r = x - n * 0.6923828125f;
    r = r - n * 0.000764368044f;
    q = 0.0013926213f;
    q = q * r + 0.0083632031f;
    q = q * r + 0.0416665561f;
    q = q * r + 0.166665763f;
    q = q * r + 0.5f;
    return (1.0f + (r + r * r * q)) * power_of_two_float(half) * power_of_two_float(n - half);
}

static inline double exp_double(double x) {
    const double rounder = 6755399441055744.0; /* 1.5 * 2^52 */
    double n, half, r, q;
    x = x > 710.0 ? 710.0 : x;
    x = x < -746.0 ? -746.0 : x;
    n = (x * 1.4426950408889634 + rounder) - rounder;
    half = (n * 0.5 + rounder) - rounder;
    r = x - n * 0.69314718036912382;
    r = r - n * 1.9082149292705877e-10;
    q = 2.5100424157005067e-08;
    q = q * r + 2.7620138719733994e-07;
    q = q * r + 2.7557268378684192e-06;
    q = q * r + 2.480152119021773e-05;
    q = q * r + 0.00019841269863105968;
    q = q * r + 0.0013888888917281794;
    q = q * r + 0.008333333333330051;
    q = q * r + 0.04166666666662399;
    q = q * r + 0.16666666666666669;
    q = q * r + 0.5;
    return (1.0 + (r + r * r * q)) * power_of_two_double(half) * power_of_two_double(n - half);
}

/* 1 / (1 + exp(-x)), from exp(-|x|): it cannot overflow, and keeps its relative precision at both ends. */
static inline float sigmoid_float(float x) {
    float decay = exp_float(x < 0 ? x : -x);
    return (x < 0 ? decay : 1.0f) / (1.0f + decay);
}

static inline double sigmoid_double(double x) {
    double decay = exp_double(x < 0 ? x : -x);
    return (x < 0 ? decay : 1.0) / (1.0 + decay);
}

/* VMATH_LANES results are kept side by side, whatever the width of a vector. */
#define VMATH_LANES 16
#define VMATH_ROWS(type)                                                                              \
    /* The largest of a row, NaNs aside. */                                                           \
    static inline type largest_##type(const type *x, ptrdiff_t size) {                                \
        type lane[VMATH_LANES], most = x[0];                                                          \
        ptrdiff_t i = 0;                                                                              \
        int k;                                                                                        \
        if (size >= 2 * VMATH_LANES) {                                                                \
            for (k = 0; k < VMATH_LANES; k++) lane[k] = x[k];                                         \
            for (i = VMATH_LANES; i + VMATH_LANES <= size; i += VMATH_LANES)                          \
                for (k = 0; k < VMATH_LANES; k++) lane[k] = x[i + k] > lane[k] ? x[i + k] : lane[k];  \
            for (k = 0; k < VMATH_LANES; k++) most = lane[k] > most ? lane[k] : most;                 \
        }                                                                                             \
        for (; i < size; i++) most = x[i] > most ? x[i] : most;                                       \
        return most;                                                                                  \
    }                                                                                                 \
    /* The sum of a row. */                                                                           \
    static inline type sum_##type(const type *x, ptrdiff_t size) {                                    \
        type lane[VMATH_LANES], total = 0;                                                            \
        ptrdiff_t i = 0;                                                                              \
        int k;                                                                                        \
        if (size >= 2 * VMATH_LANES) {                                                                \
            for (k = 0; k < VMATH_LANES; k++) lane[k] = x[k];                                         \
            for (i = VMATH_LANES; i + VMATH_LANES <= size; i += VMATH_LANES)                          \
                for (k = 0; k < VMATH_LANES; k++) lane[k] += x[i + k];                                \
            for (k = 0; k < VMATH_LANES; k++) total += lane[k];                                       \
        }                                                                                             \
        for (; i < size; i++) total += x[i];                                                          \
        return total;                                                                                 \
    }
VMATH_ROWS(float)
VMATH_ROWS(double)

#endif
