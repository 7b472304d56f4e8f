"""What follows the sums of a convolution before they are stored (finish.h)."""

from cython cimport floating


cdef extern from "conv/finish.h" nogil:
    ctypedef struct Finish "conv_finish":
        const void* bias
        const void* norm
        Py_ssize_t channels
        const void* branch
        bint relu
    void finish_outputs_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Finish*, Py_ssize_t, float*,
                              Py_ssize_t, Py_ssize_t) noexcept
    void finish_outputs_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Finish*, Py_ssize_t, double*,
                               Py_ssize_t, Py_ssize_t) noexcept
    void finish_plane_float(float*, Py_ssize_t, const Finish*, Py_ssize_t, Py_ssize_t) noexcept
    void finish_plane_double(double*, Py_ssize_t, const Finish*, Py_ssize_t, Py_ssize_t) noexcept


cdef inline bint is_plain(const Finish* after) noexcept nogil:
    """Whether nothing but a bias follows."""
    return after.norm == NULL and after.branch == NULL and not after.relu


cdef inline void finish_outputs(const floating* strip, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t columns,
                                const Finish* after, Py_ssize_t c, floating* out, Py_ssize_t at,
                                Py_ssize_t out_step) noexcept nogil:
    if floating is float:
        finish_outputs_float(strip, step, rows, columns, after, c, out, at, out_step)
    else:
        finish_outputs_double(strip, step, rows, columns, after, c, out, at, out_step)


cdef inline void finish_plane(floating* out, Py_ssize_t count, const Finish* after, Py_ssize_t c,
                              Py_ssize_t at) noexcept nogil:
    if floating is float:
        finish_plane_float(out, count, after, c, at)
    else:
        finish_plane_double(out, count, after, c, at)
