/* Activations and their gradients: one line of the table each.
 *
 *     out[i] = value(x[i])        dx[i] = gradient(dout[i], x[i])
 *
 * a and b are the numbers that a function takes, or 0. Where the gradient is that of the output, as the Python side
 * says (`kept`), x stands for the output there. s is the logistic function, P and p are the standard normal
 * distribution function and its density:
 *
 *     relu         x if x > 0, else 0                        dout if y > 0, else 0
 *     leaky_relu   x if x > 0, else a*x                      dout * (1 if x > 0, else a)
 *     elu          x if x > 0, else a*(exp(x) - 1)           dout * (1 if x > 0, else a*exp(x))
 *     gelu         x * P(x)                                  dout * (P(x) + x * p(x))
 *     gelu_tanh    x * s(u), u = 2*C*(x + K*x^3)             dout * (s(u) + x * s'(u) * u')
 *     silu         x * s(x)                                  dout * (s(x) + x * s'(x))
 *     sigmoid      s(x)                                      dout * y * (1 - y)
 *     tanh         tanh(x)                                   dout * (1 - y^2)
 *     softplus     log(1 + exp(a*x)) / a                     dout * s(a*x)
 *                  x if a*x > b                              dout
 *     hard_swish   x * min(max(x + 3, 0), 6) / 6             dout * (0 if x <= -3, 1 if x >= 3, else x/3 + 1/2)
 *
 * gelu's approximation x/2 * (1 + tanh(u/2)) is x * s(u), which does not cancel where x is negative. NaN comes out where
 * NaN goes in, and where a formula multiplies an infinity by 0: gelu, silu and hard swish at minus infinity, and the
 * gradients of gelu and silu at both. Numbers are written with (T): C computes all of an expression that has a double
 * in it in double.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_ACTIVATIONS_H
#define CCONV_ACTIVATIONS_H

#include "vector/vector.h"
#include "vector/vmath.h"

#define DENSITY 0.3989422804014327 /* 1 / sqrt(2 * pi), what exp(-x^2/2) is multiplied by */
#define LINEAR 1.5957691216057308  /* 2*C and 2*C*K, with C = sqrt(2 / pi) and K = 0.044715 */
#define CUBIC 0.07135481627260025

/* clang-format off */
#define ACTIVATIONS(ONE)                                                                                               \
    ONE(relu,       x <= 0 ? 0 : x,                  x <= 0 ? 0 : dout)                                                \
    ONE(leaky_relu, x > 0 ? x : a * x,               x > 0 ? dout : a * dout)                                          \
    ONE(elu,        NAME(elu)(x, a),                 dout * NAME(elu_slope)(x, a))                                     \
    ONE(gelu,       NAME(gelu)(x),                   dout * NAME(gelu_slope)(x))                                       \
    ONE(gelu_tanh,  x * NAME(sigmoid)(NAME(gelu_argument)(x)), dout * NAME(gelu_tanh_slope)(x))                        \
    ONE(silu,       x * NAME(sigmoid)(x),            dout * NAME(silu_slope)(x))                                       \
    ONE(sigmoid,    NAME(sigmoid)(x),                dout * (x * ((T)1 - x)))                                          \
    ONE(tanh,       NAME(tanh)(x),                   dout * ((T)1 - x * x))                                            \
    ONE(softplus,   NAME(softplus)(x, a, b),         dout * NAME(softplus_slope)(x, a, b))                             \
    ONE(hard_swish, x * NAME(hard_sigmoid)(x),       dout * NAME(hard_swish_slope)(x))
/* clang-format on */

#define ONE(name, value, gradient) +1
enum { ACTIVATION_COUNT = ACTIVATIONS(ONE) };
#undef ONE

#define BODY "elementwise/activations.h"
#include "vector/both_dtypes.h"

#elif defined(T)

CCONV_INLINE T NAME(elu)(T x, T a)
{
    const T below = a * NAME(expm1)(x);
    return x < 0 ? below : x;
}

CCONV_INLINE T NAME(elu_slope)(T x, T a)
{
    const T below = a * NAME(exp_neg_abs)(x);
    return x > 0 ? 1 : below;
}

CCONV_INLINE T NAME(gelu)(T x)
{
    T gaussian;
    return x * NAME(normal_cdf)(x, &gaussian);
}

CCONV_INLINE T NAME(gelu_slope)(T x)
{
    T gaussian;
    const T probability = NAME(normal_cdf)(x, &gaussian);
    return probability + x * (T)DENSITY * gaussian;
}

/* The derivative of the logistic function, without the cancellation in s * (1 - s); its value is left in s. */
CCONV_INLINE T NAME(logistic_slope)(T x, T *s)
{
    const T power = NAME(exp_neg_abs)(x), near = (T)1 / ((T)1 + power), far = power * near;
    *s = x < 0 ? far : near;
    return near * far;
}

CCONV_INLINE T NAME(gelu_argument)(T x) { return x * ((T)LINEAR + (T)CUBIC * x * x); }

CCONV_INLINE T NAME(gelu_tanh_slope)(T x)
{
    T s;
    const T slope = NAME(logistic_slope)(NAME(gelu_argument)(x), &s);
    /* Far out the slope is 0, and must not be multiplied by the infinity that x * x is there. */
    T near = x < -32 ? -32 : x;
    near = near > 32 ? 32 : near;
    return s + x * slope * ((T)LINEAR + (T)(3 * CUBIC) * near * near);
}

CCONV_INLINE T NAME(silu_slope)(T x)
{
    T s;
    const T slope = NAME(logistic_slope)(x, &s);
    return s + x * slope;
}

CCONV_INLINE T NAME(softplus)(T x, T a, T b)
{
    const T u = a * x, soft = ((u > 0 ? u : 0) + NAME(log1p)(NAME(exp_neg_abs)(u))) / a;
    return u > b ? x : soft;
}

CCONV_INLINE T NAME(softplus_slope)(T x, T a, T b)
{
    const T u = a * x, soft = NAME(sigmoid)(u);
    return u > b ? 1 : soft;
}

CCONV_INLINE T NAME(hard_sigmoid)(T x)
{
    const T t = x < -3 ? 0 : x + (T)3;
    return (t > 6 ? 6 : t) / (T)6;
}

CCONV_INLINE T NAME(hard_swish_slope)(T x)
{
    const T slope = x <= -3 ? 0 : x / (T)3 + (T)0.5;
    return x >= 3 ? 1 : slope;
}

/* What is read is read in any case: a vector of SSE2 cannot leave values out. */
#define ONE(name, value, gradient)                                                                                     \
    static void NAME(name##_values)(const T *xs, T *out, ptrdiff_t n, T a, T b)                                        \
    {                                                                                                                  \
        (void)a, (void)b;                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                            \
            const T x = xs[i];                                                                                         \
            out[i] = value;                                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    static void NAME(name##_gradients)(const T *douts, const T *xs, T *dx, ptrdiff_t n, T a, T b)                      \
    {                                                                                                                  \
        (void)a, (void)b;                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                            \
            const T dout = douts[i], x = xs[i];                                                                        \
            dx[i] = gradient;                                                                                          \
        }                                                                                                              \
    }
ACTIVATIONS(ONE)
#undef ONE

typedef struct {
    const char *name;
    void (*values)(const T *x, T *out, ptrdiff_t n, T a, T b);
    void (*gradients)(const T *dout, const T *x, T *dx, ptrdiff_t n, T a, T b);
} NAME(activation);

#define ONE(name, value, gradient) {#name, NAME(name##_values), NAME(name##_gradients)},
static const NAME(activation) NAME(activations)[] = {ACTIVATIONS(ONE)};
#undef ONE

#endif
