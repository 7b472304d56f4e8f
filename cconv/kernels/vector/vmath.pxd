"""The functions of vmath.h for Cython: one name for float and double. Everything here is inlined into its user."""

from cython cimport floating


cdef extern from "vector/vmath.h" nogil:
    float exp_float(float) noexcept
    double exp_double(double) noexcept
    float log1p_float(float) noexcept
    double log1p_double(double) noexcept
    float erfinv_float(float) noexcept


cdef inline floating exp(floating x) noexcept nogil:
    if floating is float:
        return exp_float(x)
    else:
        return exp_double(x)


cdef inline floating log1p(floating x) noexcept nogil:
    """log(1 + x) for 0 <= x <= 1."""
    if floating is float:
        return log1p_float(x)
    else:
        return log1p_double(x)
