"""The register tiles for Cython: the functions of register_tile.h, under one name for float and double."""

from cython cimport floating
from libc.stdint cimport uint16_t

from cconv.kernels.vector.prefetch cimport tile_prefetch


cdef extern from "vector/register_tile.h" nogil:
    const int TILE_MAX_NR
    const int TILE_SIDE
    const int TILE_SIDE_NR
    enum: TILE_MAX_MR
    int run_rows(int NR) noexcept
    int side_rows(int NR, int side) noexcept
    int weight_channels(int NR, int side) noexcept
    int tile_rows(int NR) noexcept

    void tile_float(int, int, const float*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Py_ssize_t*,
                    const float*, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t, int) noexcept
    void tile_double(int, int, const double*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Py_ssize_t*,
                     const double*, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t, int) noexcept
    void tile_run_float(int, int, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Py_ssize_t*,
                        const uint16_t*, int, const float*, Py_ssize_t, float*, Py_ssize_t,
                        const tile_prefetch*) noexcept
    void tile_run_double(int, int, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Py_ssize_t*,
                         const uint16_t*, int, const double*, Py_ssize_t, double*, Py_ssize_t,
                         const tile_prefetch*) noexcept
    void tile_rows_product_float(int, int, const float*, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, float*,
                                 Py_ssize_t, int, const tile_prefetch*) noexcept
    void tile_rows_product_double(int, int, const double*, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, double*,
                                  Py_ssize_t, int, const tile_prefetch*) noexcept
    void tile_product_float(int, int, const float*, Py_ssize_t, Py_ssize_t, const float*, float*, Py_ssize_t,
                            const tile_prefetch*) noexcept
    void tile_product_double(int, int, const double*, Py_ssize_t, Py_ssize_t, const double*, double*, Py_ssize_t,
                             const tile_prefetch*) noexcept
    void tile_weights_float(int, int, int, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                            Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t) noexcept
    void tile_weights_double(int, int, int, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                             Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t) noexcept


cdef inline double tile_cost(Py_ssize_t NR, Py_ssize_t tiles, Py_ssize_t count, int side) noexcept nogil:
    """The time of one step of `tiles` tiles of NR vectors, with `count` rows in all, in vector multiply-adds.

    A tile does MR * NR multiply-adds. It takes no less than their latency, about 8 of them, and no less than the loads
    of NR vectors, MR values and two entries of tables. `side` taps that are neighbours share the values; but with a
    single vector, multiply-adds that follow each other then wait for each other. The numbers are fits:
    `python -m benchmarks.tune --only tile-cost`.
    """
    cdef double loads = tiles * (NR + 2) + count
    cdef double more = 0.5 * tiles
    if side > 0:
        loads = tiles * NR + <double>(count + tiles * (side + 1)) / side
        more = 2.0 * tiles if NR == 1 else more / side
    return max(count * NR, 8 * tiles, 1.4 * loads) + 0.3 * tiles * NR + more


cdef inline void tile(int MR, int NR, const floating* a, const Py_ssize_t* off, Py_ssize_t outer, Py_ssize_t a_step,
                      Py_ssize_t inner, const Py_ssize_t* table, const floating* b, Py_ssize_t b_jump,
                      Py_ssize_t b_step, floating* out, Py_ssize_t out_step, bint add) noexcept nogil:
    if floating is float:
        tile_float(MR, NR, a, off, outer, a_step, inner, table, b, b_jump, b_step, out, out_step, add)
    else:
        tile_double(MR, NR, a, off, outer, a_step, inner, table, b, b_jump, b_step, out, out_step, add)


cdef inline void tile_run(int MR, int NR, const floating* a, Py_ssize_t outer, Py_ssize_t a_step, Py_ssize_t inner,
                          const Py_ssize_t* table, const uint16_t* mask, int side,
                          const floating* b, Py_ssize_t b_jump, floating* out, Py_ssize_t out_step,
                          const tile_prefetch* prefetch) noexcept nogil:
    if floating is float:
        tile_run_float(MR, NR, a, outer, a_step, inner, table, mask, side, b, b_jump, out, out_step, prefetch)
    else:
        tile_run_double(MR, NR, a, outer, a_step, inner, table, mask, side, b, b_jump, out, out_step, prefetch)


cdef inline void tile_rows_product(int MR, int NR, const floating* a, Py_ssize_t row_step, Py_ssize_t steps,
                                   const floating* b, Py_ssize_t b_step, floating* out, Py_ssize_t out_step, bint add,
                                   const tile_prefetch* prefetch) noexcept nogil:
    if floating is float:
        tile_rows_product_float(MR, NR, a, row_step, steps, b, b_step, out, out_step, add, prefetch)
    else:
        tile_rows_product_double(MR, NR, a, row_step, steps, b, b_step, out, out_step, add, prefetch)


cdef inline void tile_product(int MR, int NR, const floating* a, Py_ssize_t a_step, Py_ssize_t steps, const floating* b,
                              floating* out, Py_ssize_t out_step, const tile_prefetch* prefetch) noexcept nogil:
    if floating is float:
        tile_product_float(MR, NR, a, a_step, steps, b, out, out_step, prefetch)
    else:
        tile_product_double(MR, NR, a, a_step, steps, b, out, out_step, prefetch)


cdef inline void tile_weights(int MR, int NR, int side, const floating* x, Py_ssize_t plane, Py_ssize_t rows,
                              Py_ssize_t x_step, Py_ssize_t columns, Py_ssize_t left, Py_ssize_t width,
                              const floating* d, Py_ssize_t d_step, Py_ssize_t lanes, floating* out,
                              Py_ssize_t out_step) noexcept nogil:
    if floating is float:
        tile_weights_float(MR, NR, side, x, plane, rows, x_step, columns, left, width, d, d_step, lanes, out, out_step)
    else:
        tile_weights_double(MR, NR, side, x, plane, rows, x_step, columns, left, width, d, d_step, lanes, out, out_step)
