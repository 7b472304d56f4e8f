"""The functions of vmath.h for Cython: one name for float and double. Everything here is inlined into its user."""

from cython cimport floating


cdef extern from "vector/vmath.h" nogil:
    float exp_float(float) noexcept
    double exp_double(double) noexcept
    float exp_neg_abs_float(float) noexcept
    double exp_neg_abs_double(double) noexcept
    float expm1_float(float) noexcept
    double expm1_double(double) noexcept
    float log1p_float(float) noexcept
    double log1p_double(double) noexcept
    float erfinv_float(float) noexcept
    float sigmoid_float(float) noexcept
    double sigmoid_double(double) noexcept
    float tanh_float(float) noexcept
    double tanh_double(double) noexcept
    float normal_cdf_float(float, float*) noexcept
    double normal_cdf_double(double, double*) noexcept


cdef inline floating exp(floating x) noexcept nogil:
    if floating is float:
        return exp_float(x)
    else:
        return exp_double(x)


cdef inline floating exp_neg_abs(floating x) noexcept nogil:
    """exp(-|x|), or 0 where that is not a normal number."""
    if floating is float:
        return exp_neg_abs_float(x)
    else:
        return exp_neg_abs_double(x)


cdef inline floating expm1(floating x) noexcept nogil:
    """exp(x) - 1 for x <= 0."""
    if floating is float:
        return expm1_float(x)
    else:
        return expm1_double(x)


cdef inline floating log1p(floating x) noexcept nogil:
    """log(1 + x) for 0 <= x <= 1."""
    if floating is float:
        return log1p_float(x)
    else:
        return log1p_double(x)


cdef inline floating sigmoid(floating x) noexcept nogil:
    if floating is float:
        return sigmoid_float(x)
    else:
        return sigmoid_double(x)


cdef inline floating tanh(floating x) noexcept nogil:
    if floating is float:
        return tanh_float(x)
    else:
        return tanh_double(x)


cdef inline floating normal_cdf(floating x, floating* gaussian) noexcept nogil:
    """The standard normal distribution function at x; exp(-x^2/2) is left in gaussian."""
    if floating is float:
        return normal_cdf_float(x, gaussian)
    else:
        return normal_cdf_double(x, gaussian)
