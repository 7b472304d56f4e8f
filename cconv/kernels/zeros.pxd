"""The functions of zeros.h for Cython: one name for float and double."""

from cython cimport floating


cdef extern from "zeros.h" nogil:
    Py_ssize_t count_nonzero_float(const float*, Py_ssize_t) noexcept
    Py_ssize_t count_nonzero_double(const double*, Py_ssize_t) noexcept
    bint all_finite_float(const float*, Py_ssize_t) noexcept
    bint all_finite_double(const double*, Py_ssize_t) noexcept


cdef inline Py_ssize_t count_nonzero(const floating* a, Py_ssize_t count) noexcept nogil:
    if floating is float:
        return count_nonzero_float(a, count)
    else:
        return count_nonzero_double(a, count)


cdef inline bint all_finite(const floating* a, Py_ssize_t count) noexcept nogil:
    if floating is float:
        return all_finite_float(a, count)
    else:
        return all_finite_double(a, count)
