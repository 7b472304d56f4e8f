"""The function of finish_row.h for Cython: one name for float and double."""

from cython cimport floating
from libc.stdint cimport uint64_t


cdef extern from "vector/finish_row.h" nogil:
    void finish_row_float(const float*, const float*, const float*, const float*, const float*, const float*, bint,
                          Py_ssize_t, float*, uint64_t*) noexcept
    void finish_row_double(const double*, const double*, const double*, const double*, const double*, const double*,
                           bint, Py_ssize_t, double*, uint64_t*) noexcept


cdef inline void finish_row(const floating* x, const floating* bias, const floating* centre, const floating* scale,
                            const floating* shift, const floating* branch, bint relu, Py_ssize_t n, floating* out,
                            uint64_t* mask) noexcept nogil:
    if floating is float:
        finish_row_float(x, bias, centre, scale, shift, branch, relu, n, out, mask)
    else:
        finish_row_double(x, bias, centre, scale, shift, branch, relu, n, out, mask)
