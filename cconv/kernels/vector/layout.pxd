"""Changes of layout for Cython: the functions of layout.h, under one name for float and double."""

from cython cimport floating


cdef extern from "vector/layout.h" nogil:
    void transpose_matrix_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t) noexcept
    void transpose_matrix_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t) noexcept
    void transpose_padded_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t) noexcept
    void transpose_padded_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t) noexcept
    void pad_float(const float*, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                   Py_ssize_t, float*) noexcept
    void pad_double(const double*, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                    Py_ssize_t, Py_ssize_t, double*) noexcept
    void pad_split_float(const float*, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                         Py_ssize_t, Py_ssize_t, float*) noexcept
    void pad_split_double(const double*, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                          Py_ssize_t, Py_ssize_t, double*) noexcept
    void add_shifted_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*) noexcept
    void add_shifted_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*) noexcept


cdef inline void transpose_matrix(const floating* a, Py_ssize_t a_step, Py_ssize_t rows, Py_ssize_t columns,
                                  floating* to,
                                  Py_ssize_t to_step) noexcept nogil:
    if floating is float:
        transpose_matrix_float(a, a_step, rows, columns, to, to_step)
    else:
        transpose_matrix_double(a, a_step, rows, columns, to, to_step)


cdef inline void transpose_padded(const floating* a, Py_ssize_t a_step, Py_ssize_t rows, Py_ssize_t columns,
                                  floating* to,
                                  Py_ssize_t to_step) noexcept nogil:
    if floating is float:
        transpose_padded_float(a, a_step, rows, columns, to, to_step)
    else:
        transpose_padded_double(a, a_step, rows, columns, to, to_step)


cdef inline void pad(const floating* x, const floating* end, Py_ssize_t H, Py_ssize_t W, Py_ssize_t top,
                     Py_ssize_t left, Py_ssize_t PW, Py_ssize_t y0, Py_ssize_t y1, floating* to) noexcept nogil:
    if floating is float:
        pad_float(x, end, H, W, top, left, PW, y0, y1, to)
    else:
        pad_double(x, end, H, W, top, left, PW, y0, y1, to)


cdef inline void pad_split(const floating* x, const floating* end, Py_ssize_t H, Py_ssize_t W, Py_ssize_t left,
                           Py_ssize_t phases, Py_ssize_t PW, Py_ssize_t y0, Py_ssize_t y1,
                           floating* to) noexcept nogil:
    if floating is float:
        pad_split_float(x, end, H, W, left, phases, PW, y0, y1, to)
    else:
        pad_split_double(x, end, H, W, left, phases, PW, y0, y1, to)


cdef inline void add_shifted(const floating* a, Py_ssize_t count, Py_ssize_t shift, Py_ssize_t width,
                             floating* to) noexcept nogil:
    if floating is float:
        add_shifted_float(a, count, shift, width, to)
    else:
        add_shifted_double(a, count, shift, width, to)
