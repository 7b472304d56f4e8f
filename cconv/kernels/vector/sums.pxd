"""Long sums; see sums.h."""

from cython cimport floating


cdef extern from "vector/sums.h" nogil:
    enum: SUM_BLOCK
    void sum_add_float(float*, float*, float) noexcept
    void sum_add_double(double*, double*, double) noexcept
    float sum_whole_float(float, float) noexcept
    double sum_whole_double(double, double) noexcept
    float sum_parts_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    double sum_parts_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    float sum_row_float(const float*, Py_ssize_t) noexcept
    double sum_row_double(const double*, Py_ssize_t) noexcept
    void sum_columns_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*, float*) noexcept
    void sum_columns_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*, double*) noexcept


cdef inline void sum_add(floating* total, floating* lost, floating value) noexcept nogil:
    if floating is float:
        sum_add_float(total, lost, value)
    else:
        sum_add_double(total, lost, value)


cdef inline floating sum_whole(floating total, floating lost) noexcept nogil:
    if floating is float:
        return sum_whole_float(total, lost)
    else:
        return sum_whole_double(total, lost)


cdef inline floating sum_parts(const floating* part, Py_ssize_t step, Py_ssize_t count,
                               Py_ssize_t apart) noexcept nogil:
    if floating is float:
        return sum_parts_float(part, step, count, apart)
    else:
        return sum_parts_double(part, step, count, apart)


cdef inline floating sum_row(const floating* x, Py_ssize_t size) noexcept nogil:
    if floating is float:
        return sum_row_float(x, size)
    else:
        return sum_row_double(x, size)


cdef inline void sum_columns(const floating* a, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t columns, floating* total,
                             floating* lost) noexcept nogil:
    if floating is float:
        sum_columns_float(a, step, rows, columns, total, lost)
    else:
        sum_columns_double(a, step, rows, columns, total, lost)
