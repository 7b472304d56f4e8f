/* exp and its relatives, without branches or tables, so that a compiler turns a loop over them into vector
 * instructions; and the maximum of an array.
 *
 * exp(x) = 2^n * exp(r) with n = round(x / ln 2) and r = x - n * ln 2, so that |r| <= ln(2) / 2. There exp(r) is 1 + r
 * + r^2 * q(r), where q is a Chebyshev fit (relative error 1.0e-8 for float, 1.7e-17 for double, before rounding).
 * - Adding 1.5 * 2^(mantissa bits) rounds to an integer and leaves it in the low bits, on every CPU level.
 * - ln 2 is split in two. The upper part is short enough for n * upper to be exact without a fused multiply-add.
 * - 2^n is applied as two factors of about 2^(n/2). Each of these is a normal number also where the result is denormal
 * or
 *   overflows. A factor is made by adding the bias of the exponent too and shifting the sum's low bits into place.
 * - The argument is clamped to where the result is 0 or inf already. A NaN fails both comparisons and goes through.
 */
#ifndef CCONV_VMATH_H
#define CCONV_VMATH_H

#include <math.h> /* copysign: a pair of bit operations, no call */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline float power_of_two_float(float n)
{
    float sum = n + (12582912.0f + 127.0f), power;
    uint32_t bits;
    memcpy(&bits, &sum, sizeof bits);
    bits <<= 23;
    memcpy(&power, &bits, sizeof power);
    return power;
}

static inline double power_of_two_double(double n)
{
    double sum = n + (6755399441055744.0 + 1023.0), power;
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    bits <<= 52;
    memcpy(&power, &bits, sizeof power);
    return power;
}

static inline float nearest_float(float x)
{
    const float rounder = 12582912.0f; /* 1.5 * 2^23 */
    return (x + rounder) - rounder;
}

static inline double nearest_double(double x)
{
    const double rounder = 6755399441055744.0; /* 1.5 * 2^52 */
    return (x + rounder) - rounder;
}

/* exp(r) - 1, where r is x less n times ln 2. */
static inline float expm1_rest_float(float x, float n)
{
    float r, q;
    r = x - n * 0.6923828125f;
    r = r - n * 0.000764368044f;
    q = 0.0013926213f;
    q = q * r + 0.0083632031f;
    q = q * r + 0.0416665561f;
    q = q * r + 0.166665763f;
    q = q * r + 0.5f;
    return r + r * r * q;
}

static inline double expm1_rest_double(double x, double n)
{
    double r, q;
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
    return r + r * r * q;
}

static inline float exp_float(float x)
{
    float n, half;
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    n = nearest_float(x * 1.44269502f);
    half = nearest_float(n * 0.5f);
    return (1.0f + expm1_rest_float(x, n)) * power_of_two_float(half) * power_of_two_float(n - half);
}

static inline double exp_double(double x)
{
    double n, half;
    x = x > 710.0 ? 710.0 : x;
    x = x < -746.0 ? -746.0 : x;
    n = nearest_double(x * 1.4426950408889634);
    half = nearest_double(n * 0.5);
    return (1.0 + expm1_rest_double(x, n)) * power_of_two_double(half) * power_of_two_double(n - half);
}

/* exp(-|x|), or 0 where that is not a normal number: one factor does, and where it is 0 the bound leaves n at it. */
static inline float exp_neg_abs_float(float x)
{
    float n;
    x = x < 0 ? x : -x;
    x = x < -88.0f ? -88.0f : x;
    n = nearest_float(x * 1.44269502f);
    return (1.0f + expm1_rest_float(x, n)) * power_of_two_float(n);
}

static inline double exp_neg_abs_double(double x)
{
    double n;
    x = x < 0 ? x : -x;
    x = x < -709.0 ? -709.0 : x;
    n = nearest_double(x * 1.4426950408889634);
    return (1.0 + expm1_rest_double(x, n)) * power_of_two_double(n);
}

/* exp(x) - 1 for x <= 0, without the cancellation: 2^n * (exp(r) - 1) + (2^n - 1). Beyond the bound it is -1. */
static inline float expm1_float(float x)
{
    float n, power;
    x = x < -20.0f ? -20.0f : x;
    n = nearest_float(x * 1.44269502f);
    power = power_of_two_float(n);
    return power * expm1_rest_float(x, n) + (power - 1.0f);
}

static inline double expm1_double(double x)
{
    double n, power;
    x = x < -40.0 ? -40.0 : x;
    n = nearest_double(x * 1.4426950408889634);
    power = power_of_two_double(n);
    return power * expm1_rest_double(x, n) + (power - 1.0);
}

/* From m = exp(-2|x|) - 1, tanh|x| = -m / (2 + m). */
static inline float tanh_float(float x)
{
    float m = expm1_float(x < 0 ? 2.0f * x : -2.0f * x);
    return copysignf(m / (2.0f + m), x);
}

static inline double tanh_double(double x)
{
    double m = expm1_double(x < 0 ? 2.0 * x : -2.0 * x);
    return copysign(m / (2.0 + m), x);
}

/* 1 / (1 + exp(-x)), from exp(-|x|): it cannot overflow, and keeps its relative precision at both ends. */
static inline float sigmoid_float(float x)
{
    float power = exp_neg_abs_float(x);
    return (x < 0 ? power : 1.0f) / (1.0f + power);
}

static inline double sigmoid_double(double x)
{
    double power = exp_neg_abs_double(x);
    return (x < 0 ? power : 1.0) / (1.0 + power);
}

/* log(1 + x) for 0 <= x <= 1: with s = x / (2 + x) it is 2 atanh(s) = 2s + 2s * w * p(w), w = s^2, p a Chebyshev fit
 * (relative error 1.5e-8 and 5e-18). */
static inline float log1p_float(float x)
{
    float s = x / (2.0f + x), w = s * s, p;
    p = 0.1342575f;
    p = p * w + 0.1411831f;
    p = p * w + 0.2000378f;
    p = p * w + 0.3333332f;
    return 2.0f * s + 2.0f * s * (w * p);
}

static inline double log1p_double(double x)
{
    double s = x / (2.0 + x), w = s * s, p;
    p = 0.08082022805971766;
    p = p * w + 0.04400369243072337;
    p = p * w + 0.06000536404795356;
    p = p * w + 0.06657072104827468;
    p = p * w + 0.07692785032479312;
    p = p * w + 0.09090894718066429;
    p = p * w + 0.11111111358713932;
    p = p * w + 0.1428571428355438;
    p = p * w + 0.20000000000007292;
    p = p * w + 0.3333333333333333;
    return 2.0 * s + 2.0 * s * (w * p);
}

/* log(x) for normal positive numbers: the exponent's part and log(1 + fraction). */
static inline float log_float(float x)
{
    uint32_t bits, fraction;
    float m;
    memcpy(&bits, &x, sizeof bits);
    fraction = (bits & 0x007fffffu) | 0x3f800000u;
    memcpy(&m, &fraction, sizeof m);
    return (float)((int)(bits >> 23) - 127) * 0.693147181f + log1p_float(m - 1.0f);
}

/* The u for which erf gives x, -1 < x < 1, by the polynomials of Giles ("Approximating the erfinv function", GPU
 * Computing Gems 2, 2011) in w = -log(1 - x^2), near the centre and in the tails. */
static inline float erfinv_float(float x)
{
    float w = -log_float((1.0f - x) * (1.0f + x)), near = w - 2.5f, far = sqrtf(w) - 3.0f, p, q;
    p = 2.81022636e-08f;
    p = p * near + 3.43273939e-07f;
    p = p * near - 3.5233877e-06f;
    p = p * near - 4.39150654e-06f;
    p = p * near + 0.00021858087f;
    p = p * near - 0.00125372503f;
    p = p * near - 0.00417768164f;
    p = p * near + 0.246640727f;
    p = p * near + 1.50140941f;
    q = -0.000200214257f;
    q = q * far + 0.000100950558f;
    q = q * far + 0.00134934322f;
    q = q * far - 0.00367342844f;
    q = q * far + 0.00573950773f;
    q = q * far - 0.0076224613f;
    q = q * far + 0.00943887047f;
    q = q * far + 1.00167406f;
    q = q * far + 2.83297682f;
    return x * (w < 5.0f ? p : q);
}

/* exp(-z^2/2). The rounding error of z^2 would be multiplied by z^2 / 2, so it is computed, from the upper half of z's
 * digits, whose square is exact, and the rest, and put right. */
static inline float gaussian_float(float z)
{
    float square = z * z, upper, power;
    uint32_t bits;
    memcpy(&bits, &z, sizeof bits);
    bits &= 0xfffff000u;
    memcpy(&upper, &bits, sizeof upper);
    power = exp_neg_abs_float(0.5f * square);
    return power + power * (0.5f * ((square - upper * upper) - (z - upper) * (z + upper)));
}

static inline double gaussian_double(double z)
{
    double square = z * z, upper, power;
    uint64_t bits;
    memcpy(&bits, &z, sizeof bits);
    bits &= 0xfffffffff8000000u;
    memcpy(&upper, &bits, sizeof upper);
    power = exp_neg_abs_double(0.5 * square);
    return power + power * (0.5 * ((square - upper * upper) - (z - upper) * (z + upper)));
}

/* The standard normal distribution function, (1 + erf(x / sqrt 2)) / 2, and exp(-x^2/2), of which the density is a
 * multiple. Both tails are z = |x| standard deviations out, at exp(-z^2/2) * p(t) / (z + k), t = (z - k) / (z + k), p a
 * Chebyshev fit (relative error 1.2e-8 and 8e-18); so the lower one keeps its relative precision down to where it
 * vanishes, just before the bound on z. */
static inline float normal_cdf_float(float x, float *gaussian)
{
    float z = x < 0 ? -x : x, u, t, p;
    z = z > 14.0f ? 14.0f : z;
    u = 1.0f / (z + 4.0f);
    t = (z - 4.0f) * u;
    p = -0.000115843635f;
    p = p * t + 0.00021157929f;
    p = p * t + 0.0015777092f;
    p = p * t - 0.0035297603f;
    p = p * t - 0.007532521f;
    p = p * t + 0.06040685f;
    p = p * t - 0.1865222f;
    p = p * t + 0.3871367f;
    p = p * t - 0.6078966f;
    p = p * t + 0.75528514f;
    *gaussian = gaussian_float(z);
    p = p * u * *gaussian;
    return x < 0 ? p : 1.0f - p;
}

static inline double normal_cdf_double(double x, double *gaussian)
{
    double z = x < 0 ? -x : x, u, t, p;
    z = z > 39.0 ? 39.0 : z;
    u = 1.0 / (z + 5.5);
    t = (z - 5.5) * u;
    p = -2.6013491487333843e-09;
    p = p * t - 5.7284834863226475e-09;
    p = p * t + 2.2906842090881908e-08;
    p = p * t + 5.0415987571369435e-08;
    p = p * t - 1.7742309493703738e-07;
    p = p * t - 2.67907852310452e-07;
    p = p * t + 1.4836426875354915e-06;
    p = p * t + 4.463913797116435e-07;
    p = p * t - 1.2118753690630753e-05;
    p = p * t + 1.6319986542941117e-05;
    p = p * t + 7.141479569296946e-05;
    p = p * t - 0.0003245226591098758;
    p = p * t + 0.0002696040135425089;
    p = p * t + 0.0024429826767521775;
    p = p * t - 0.013923510567397067;
    p = p * t + 0.0450975808145843;
    p = p * t - 0.10970308995858995;
    p = p * t + 0.21787243285797905;
    p = p * t - 0.36704906529362424;
    p = p * t + 0.5355964890624942;
    p = p * t - 0.6851834205743381;
    p = p * t + 0.7737696342764068;
    *gaussian = gaussian_double(z);
    p = p * u * *gaussian;
    return x < 0 ? p : 1.0 - p;
}

#define VMATH_LANES 16 /* maxima that are kept side by side, whatever the width of a vector */

#define BODY "vector/vmath.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* The maximum of x (size,), NaNs aside. A compiler does not vectorise that by itself: it changes the order. */
static inline T NAME(array_max)(const T *x, ptrdiff_t size)
{
    T lane[VMATH_LANES], max = x[0];
    ptrdiff_t i = 0;
    int k;
    if (size >= 2 * VMATH_LANES) {
        for (k = 0; k < VMATH_LANES; k++) lane[k] = x[k];
        for (i = VMATH_LANES; i + VMATH_LANES <= size; i += VMATH_LANES)
            for (k = 0; k < VMATH_LANES; k++) lane[k] = x[i + k] > lane[k] ? x[i + k] : lane[k];
        for (k = 0; k < VMATH_LANES; k++) max = lane[k] > max ? lane[k] : max;
    }
    for (; i < size; i++) max = x[i] > max ? x[i] : max;
    return max;
}

#endif
