"""The functions of zeros.h for Cython: one name for float and double."""

from cython cimport floating


cdef extern from "vector/zeros.h" nogil:
    double fraction_nonzero_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    double fraction_nonzero_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    bint all_finite_float(const float*, Py_ssize_t) noexcept
    bint all_finite_double(const double*, Py_ssize_t) noexcept


cdef inline double fraction_nonzero(const floating* a, Py_ssize_t lines, Py_ssize_t step,
                                    Py_ssize_t length) noexcept nogil:
    if floating is float:
        return fraction_nonzero_float(a, lines, step, length)
    else:
        return fraction_nonzero_double(a, lines, step, length)


cdef inline bint all_finite(const floating* a, Py_ssize_t count) noexcept nogil:
    if floating is float:
        return all_finite_float(a, count)
    else:
        return all_finite_double(a, count)
