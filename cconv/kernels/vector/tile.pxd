"""The functions of tile.h for Cython: one name for float and double. Everything here is inlined into its user."""

from cython cimport floating
from libc.stdint cimport uint16_t

from cconv.kernels.runtime.division cimport quotient


cdef extern from "runtime/denormals.h" nogil:
    unsigned cconv_ftz_on() noexcept
    void cconv_ftz_restore(unsigned state) noexcept


cdef extern from "vector/tile.h" nogil:
    const bint PLANS_CHECKED
    enum: TILE_ASKED
    const int TILE_ASKING
    const int TILE_BYTES
    const int TILE_MAX_V
    const int TILE_SIDE
    const int TILE_SIDE_V
    enum: TILE_ROWS
    int run_rows(int V) noexcept
    int side_rows(int V, int side) noexcept
    int weight_channels(int V, int side) noexcept
    int tile_rows(int V) noexcept

    struct tile_ahead:
        const char* read
        const char* write
        Py_ssize_t read_step, write_step, reads, writes

    void tile_float(int, int, const float*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Py_ssize_t*,
                    const float*, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t, int) noexcept
    void tile_double(int, int, const double*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Py_ssize_t*,
                     const double*, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t, int) noexcept
    void tile_run_float(int, int, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Py_ssize_t*,
                        const uint16_t*, int, const float*, Py_ssize_t, float*, Py_ssize_t, const tile_ahead*) noexcept
    void tile_run_double(int, int, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Py_ssize_t*,
                         const uint16_t*, int, const double*, Py_ssize_t, double*, Py_ssize_t,
                         const tile_ahead*) noexcept
    void tile_rows_product_float(int, int, const float*, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, float*,
                                 Py_ssize_t, int, const tile_ahead*) noexcept
    void tile_rows_product_double(int, int, const double*, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, double*,
                                  Py_ssize_t, int, const tile_ahead*) noexcept
    void tile_product_float(int, int, const float*, Py_ssize_t, Py_ssize_t, const float*, float*, Py_ssize_t,
                            const tile_ahead*) noexcept
    void tile_product_double(int, int, const double*, Py_ssize_t, Py_ssize_t, const double*, double*, Py_ssize_t,
                             const tile_ahead*) noexcept
    void tile_weights_float(int, int, int, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                            Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t) noexcept
    void tile_weights_double(int, int, int, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                             Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t) noexcept
    void turn_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t) noexcept
    void turn_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t) noexcept
    void turn_padded_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t) noexcept
    void turn_padded_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t) noexcept
    void turn_biased_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, float*,
                           Py_ssize_t) noexcept
    void turn_biased_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, double*,
                            Py_ssize_t) noexcept
    void expect_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    void expect_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    void fetch_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    void fetch_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
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


cdef struct Lines:
    const char* first  # what will be read or written soon:
    Py_ssize_t step, rows, lines  # as many lines of the cache, in each of as many rows
    Py_ssize_t position, pace  # of the next tile, and from tile to tile, in 1/65536 of a line

cdef struct Ahead:
    Lines read, write
    tile_ahead tile  # the next tile's share


cdef inline void plan_lines(Lines* l, const floating* first, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t count,
                            Py_ssize_t tiles) noexcept nogil:
    """Plan to ask for `count` values of each of `rows` rows in the course of so many tiles."""
    l.first = <const char*>first
    l.step = step * sizeof(floating)
    l.rows = rows
    l.lines = count * <Py_ssize_t>sizeof(floating) // CACHE_LINE + 1
    l.position = 0
    l.pace = quotient(l.lines << 16, tiles)


cdef inline const char* next_lines(Lines* l, Py_ssize_t* rows) noexcept nogil:
    """The first of the lines that the next tile asks for, and in how many rows."""
    cdef Py_ssize_t line = (l.position + 0xFFFF) >> 16
    l.position += l.pace
    rows[0] = l.rows if line < min((l.position + 0xFFFF) >> 16, l.lines) else 0
    return l.first + line * CACHE_LINE


cdef inline void look_ahead(Ahead* a) noexcept nogil:
    """Share out the next tile's lines."""
    a.tile.read = next_lines(&a.read, &a.tile.reads)
    a.tile.write = next_lines(&a.write, &a.tile.writes)
    a.tile.read_step = a.read.step if a.tile.reads > 0 else 0
    a.tile.write_step = a.write.step
    a.tile.reads = max(a.tile.reads, a.tile.writes)
    a.tile.reads -= a.tile.reads % TILE_ASKED


cdef inline double tile_cost(Py_ssize_t V, Py_ssize_t tiles, Py_ssize_t count, int side) noexcept nogil:
    """How much work a step is for `tiles` tiles of V vectors, of `count` values of `a` in all, in multiply-adds.

    A tile of P values and V vectors does P*V multiply-adds, never in less time than they take to come back (about 8 of
    them), nor than it takes to load V vectors, P values and two entries of tables. Where `side` taps lie side by side
    they share the values; but with a single vector the multiply-adds that follow each other then wait for each other.
    """
    cdef double loads = tiles * (V + 2) + count
    cdef double more = 0.5 * tiles
    if side > 0:
        loads = tiles * V + <double>(count + tiles * (side + 1)) / side
        more = 2.0 * tiles if V == 1 else more / side
    return max(count * V, 8 * tiles, 1.4 * loads) + 0.3 * tiles * V + more


cdef inline void tile(int P, int V, const floating* a, const Py_ssize_t* off, Py_ssize_t outer, Py_ssize_t a_step,
                      Py_ssize_t inner, const Py_ssize_t* table, const floating* b, Py_ssize_t b_jump,
                      Py_ssize_t b_step, floating* out, Py_ssize_t out_step, bint add) noexcept nogil:
    if floating is float:
        tile_float(P, V, a, off, outer, a_step, inner, table, b, b_jump, b_step, out, out_step, add)
    else:
        tile_double(P, V, a, off, outer, a_step, inner, table, b, b_jump, b_step, out, out_step, add)


cdef inline void tile_run(int P, int V, const floating* a, Py_ssize_t outer, Py_ssize_t a_step, Py_ssize_t inner,
                          const Py_ssize_t* table, const uint16_t* kept, int side,
                          const floating* b, Py_ssize_t b_jump, floating* out, Py_ssize_t out_step,
                          const tile_ahead* ahead) noexcept nogil:
    if floating is float:
        tile_run_float(P, V, a, outer, a_step, inner, table, kept, side, b, b_jump, out, out_step, ahead)
    else:
        tile_run_double(P, V, a, outer, a_step, inner, table, kept, side, b, b_jump, out, out_step, ahead)


cdef inline void tile_rows_product(int P, int V, const floating* a, Py_ssize_t row_step, Py_ssize_t steps,
                                   const floating* b, Py_ssize_t b_step, floating* out, Py_ssize_t out_step, bint add,
                                   const tile_ahead* ahead) noexcept nogil:
    if floating is float:
        tile_rows_product_float(P, V, a, row_step, steps, b, b_step, out, out_step, add, ahead)
    else:
        tile_rows_product_double(P, V, a, row_step, steps, b, b_step, out, out_step, add, ahead)


cdef inline void tile_product(int P, int V, const floating* a, Py_ssize_t a_step, Py_ssize_t steps, const floating* b,
                              floating* out, Py_ssize_t out_step, const tile_ahead* ahead) noexcept nogil:
    if floating is float:
        tile_product_float(P, V, a, a_step, steps, b, out, out_step, ahead)
    else:
        tile_product_double(P, V, a, a_step, steps, b, out, out_step, ahead)


cdef inline void tile_weights(int P, int V, int side, const floating* x, Py_ssize_t plane, Py_ssize_t rows,
                              Py_ssize_t x_step, Py_ssize_t columns, Py_ssize_t left, Py_ssize_t width,
                              const floating* d, Py_ssize_t d_step, Py_ssize_t lanes, floating* out,
                              Py_ssize_t out_step) noexcept nogil:
    if floating is float:
        tile_weights_float(P, V, side, x, plane, rows, x_step, columns, left, width, d, d_step, lanes, out, out_step)
    else:
        tile_weights_double(P, V, side, x, plane, rows, x_step, columns, left, width, d, d_step, lanes, out, out_step)


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
                             const floating* bias, floating* to, Py_ssize_t to_step) noexcept nogil:
    if floating is float:
        turn_biased_float(a, a_step, rows, columns, bias, to, to_step)
    else:
        turn_biased_double(a, a_step, rows, columns, bias, to, to_step)


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


cdef inline void expect(const floating* to, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    if floating is float:
        expect_float(to, step, rows, columns)
    else:
        expect_double(to, step, rows, columns)


cdef inline void fetch(const floating* a, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    if floating is float:
        fetch_float(a, step, rows, columns)
    else:
        fetch_double(a, step, rows, columns)
