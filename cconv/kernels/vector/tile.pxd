"""The functions of tile.h for Cython: one name for float and double. Everything here is inlined into its user."""

from cython cimport floating
from libc.stdint cimport uint16_t

from cconv.kernels.runtime.division cimport quotient


cdef extern from "runtime/denormals.h" nogil:
    unsigned cconv_ftz_on() noexcept
    void cconv_ftz_restore(unsigned state) noexcept


cdef extern from "vector/tile.h" nogil:
    const bint PLANS_CHECKED
    enum: PREFETCH_ROWS
    const int PREFETCH_ACCUMULATORS
    const int VECTOR_BYTES
    const int TILE_MAX_NR
    const int TILE_SIDE
    const int TILE_SIDE_NR
    enum: TILE_MAX_MR
    int run_rows(int NR) noexcept
    int side_rows(int NR, int side) noexcept
    int weight_channels(int NR, int side) noexcept
    int tile_rows(int NR) noexcept

    struct tile_prefetch:
        const char* read
        const char* write
        Py_ssize_t read_step, write_step, reads, writes

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
    void transpose_matrix_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t) noexcept
    void transpose_matrix_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t) noexcept
    void transpose_padded_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t) noexcept
    void transpose_padded_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t) noexcept
    void transpose_biased_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, float*,
                                Py_ssize_t) noexcept
    void transpose_biased_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, double*,
                                 Py_ssize_t) noexcept
    void prefetch_write_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    void prefetch_write_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    void prefetch_read_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    void prefetch_read_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
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


cdef enum:
    CACHE_LINE = 64


cdef struct PrefetchLines:
    const char* first  # what will be read or written soon:
    Py_ssize_t step, rows, lines  # as many lines of the cache, in each of as many rows
    Py_ssize_t position, pace  # of the next tile, and from tile to tile, in 1/65536 of a line

cdef struct Prefetch:
    PrefetchLines read, write
    tile_prefetch tile  # the next tile's share


cdef inline void plan_prefetch(PrefetchLines* l, const floating* first, Py_ssize_t step, Py_ssize_t rows,
                               Py_ssize_t count,                               Py_ssize_t tiles) noexcept nogil:
    """Plan to ask for `count` values of each of `rows` rows in the course of so many tiles."""
    l.first = <const char*>first
    l.step = step * sizeof(floating)
    l.rows = rows
    l.lines = count * <Py_ssize_t>sizeof(floating) // CACHE_LINE + 1
    l.position = 0
    l.pace = quotient(l.lines << 16, tiles)


cdef inline const char* next_line(PrefetchLines* l, Py_ssize_t* rows) noexcept nogil:
    """The first of the lines that the next tile asks for, and in how many rows."""
    cdef Py_ssize_t line = (l.position + 0xFFFF) >> 16
    l.position += l.pace
    rows[0] = l.rows if line < min((l.position + 0xFFFF) >> 16, l.lines) else 0
    return l.first + line * CACHE_LINE


cdef inline void next_prefetch(Prefetch* a) noexcept nogil:
    """Share out the next tile's lines."""
    a.tile.read = next_line(&a.read, &a.tile.reads)
    a.tile.write = next_line(&a.write, &a.tile.writes)
    a.tile.read_step = a.read.step if a.tile.reads > 0 else 0
    a.tile.write_step = a.write.step
    a.tile.reads = max(a.tile.reads, a.tile.writes)
    a.tile.reads -= a.tile.reads % PREFETCH_ROWS


cdef inline double tile_cost(Py_ssize_t NR, Py_ssize_t tiles, Py_ssize_t count, int side) noexcept nogil:
    """How much work a step is for `tiles` tiles of NR vectors, of `count` values of `a` in all, in multiply-adds.

    A tile of MR values and NR vectors does MR*NR multiply-adds, never in less time than they take to come back (about 8
    of them), nor than it takes to load NR vectors, MR values and two entries of tables. Where `side` taps lie side by side
    they share the values; but with a single vector the multiply-adds that follow each other then wait for each other.
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


cdef inline void transpose_biased(const floating* a, Py_ssize_t a_step, Py_ssize_t rows, Py_ssize_t columns,
                                  const floating* bias, floating* to, Py_ssize_t to_step) noexcept nogil:
    if floating is float:
        transpose_biased_float(a, a_step, rows, columns, bias, to, to_step)
    else:
        transpose_biased_double(a, a_step, rows, columns, bias, to, to_step)


cdef inline void add_shifted(const floating* a, Py_ssize_t count, Py_ssize_t shift, Py_ssize_t width,
                             floating* to) noexcept nogil:
    if floating is float:
        add_shifted_float(a, count, shift, width, to)
    else:
        add_shifted_double(a, count, shift, width, to)


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


cdef inline void prefetch_write(const floating* to, Py_ssize_t step, Py_ssize_t rows,
                                Py_ssize_t columns) noexcept nogil:
    if floating is float:
        prefetch_write_float(to, step, rows, columns)
    else:
        prefetch_write_double(to, step, rows, columns)


cdef inline void prefetch_read(const floating* a, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    if floating is float:
        prefetch_read_float(a, step, rows, columns)
    else:
        prefetch_read_double(a, step, rows, columns)
