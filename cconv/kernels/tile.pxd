"""The functions of tile.h for Cython: one name for float and double. Everything here is inlined into its user."""

from cython cimport floating


cdef extern from "denormals.h" nogil:
    unsigned cconv_ftz_on() noexcept
    void cconv_ftz_restore(unsigned state) noexcept


cdef extern from "tile.h" nogil:
    const int TILE_BYTES
    const int TILE_MAX_V
    const int TILE_NEW
    const int TILE_RESUME
    const int TILE_ADD
    int tile_rows(int V) noexcept

    void tile_float(int, int, const float*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Py_ssize_t*,
                    const float*, Py_ssize_t, float*, Py_ssize_t, int) noexcept
    void tile_double(int, int, const double*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Py_ssize_t*,
                     const double*, Py_ssize_t, double*, Py_ssize_t, int) noexcept
    void turn_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t) noexcept
    void turn_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t) noexcept
    void turn_padded_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t) noexcept
    void turn_padded_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t) noexcept
    void turn_biased_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, int, float*,
                           Py_ssize_t) noexcept
    void turn_biased_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, int, double*,
                            Py_ssize_t) noexcept
    void add_rows_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*) noexcept
    void add_rows_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*) noexcept


cdef inline void tile(int P, int V, const floating* a, const Py_ssize_t* off, Py_ssize_t outer, Py_ssize_t a_step,
                      Py_ssize_t inner, const Py_ssize_t* table, const floating* b, Py_ssize_t b_step, floating* out,
                      Py_ssize_t out_step, int mode) noexcept nogil:
    if floating is float:
        tile_float(P, V, a, off, outer, a_step, inner, table, b, b_step, out, out_step, mode)
    else:
        tile_double(P, V, a, off, outer, a_step, inner, table, b, b_step, out, out_step, mode)


cdef inline void turn(const floating* a, Py_ssize_t a_step, Py_ssize_t rows, Py_ssize_t columns, floating* to,
                      Py_ssize_t to_step) noexcept nogil:
    if floating is float:
        turn_float(a, a_step, rows, columns, to, to_step)
    else:
        turn_double(a, a_step, rows, columns, to, to_step)


cdef inline void turn_padded(const floating* a, Py_ssize_t a_step, Py_ssize_t rows, Py_ssize_t columns, floating* to,
                             Py_ssize_t to_step) noexcept nogil:
    if floating is float:
        turn_padded_float(a, a_step, rows, columns, to, to_step)
    else:
        turn_padded_double(a, a_step, rows, columns, to, to_step)


cdef inline void turn_biased(const floating* a, Py_ssize_t a_step, Py_ssize_t rows, Py_ssize_t columns,
                             const floating* bias, int relu, floating* to, Py_ssize_t to_step) noexcept nogil:
    if floating is float:
        turn_biased_float(a, a_step, rows, columns, bias, relu, to, to_step)
    else:
        turn_biased_double(a, a_step, rows, columns, bias, relu, to, to_step)


cdef inline void add_rows(const floating* a, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t vectors,
                          floating* total) noexcept nogil:
    if floating is float:
        add_rows_float(a, step, rows, vectors, total)
    else:
        add_rows_double(a, step, rows, vectors, total)
