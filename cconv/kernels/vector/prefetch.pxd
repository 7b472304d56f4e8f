"""Prefetching for Cython: prefetch.h, and how the lines of a block are distributed over many tiles."""

# What the next strip reads and where this one's results go are blocks of rows. `plan_prefetch`, called once for a
# block, plans to ask for all its lines in the course of so many tiles. `next_prefetch`, called before each tile, sets
# what this one asks for: one line in each row, or none.

from cython cimport floating

from cconv.kernels.runtime.division cimport quotient


cdef extern from "vector/prefetch.h" nogil:
    enum: PREFETCH_ROWS
    const int PREFETCH_ACCUMULATORS

    struct tile_prefetch:
        const char* read
        const char* write
        Py_ssize_t read_step, write_step, reads, writes

    void prefetch_write_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    void prefetch_write_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    void prefetch_read_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept
    void prefetch_read_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept


cdef enum:
    CACHE_LINE = 64


cdef struct PrefetchLines:
    const char* first  # the block's first value
    Py_ssize_t step, rows, lines  # bytes from row to row; rows; lines of the cache in each row
    Py_ssize_t position, pace  # where the next tile goes on, and how far each tile goes, in 1/65536 of a line

cdef struct Prefetch:
    PrefetchLines read, write
    tile_prefetch tile  # what the next tile asks for


cdef inline void plan_prefetch(PrefetchLines* l, const floating* first, Py_ssize_t step, Py_ssize_t rows,
                               Py_ssize_t count, Py_ssize_t tiles) noexcept nogil:
    """Plan to ask for `count` values of each of `rows` rows, `step` values apart, in the course of `tiles` tiles."""
    l.first = <const char*>first
    l.step = step * sizeof(floating)
    l.rows = rows
    l.lines = count * <Py_ssize_t>sizeof(floating) // CACHE_LINE + 1
    l.position = 0
    l.pace = quotient(l.lines << 16, tiles)


cdef inline const char* next_line(PrefetchLines* l, Py_ssize_t* rows) noexcept nogil:
    """The first of the lines that the next tile asks for; leave in `rows` in how many rows there is one."""
    cdef Py_ssize_t line = (l.position + 0xFFFF) >> 16
    l.position += l.pace
    rows[0] = l.rows if line < min((l.position + 0xFFFF) >> 16, l.lines) else 0
    return l.first + line * CACHE_LINE


cdef inline void next_prefetch(Prefetch* a) noexcept nogil:
    """Set what the next tile asks for."""
    a.tile.read = next_line(&a.read, &a.tile.reads)
    a.tile.write = next_line(&a.write, &a.tile.writes)
    a.tile.read_step = a.read.step if a.tile.reads > 0 else 0
    a.tile.write_step = a.write.step
    a.tile.reads = max(a.tile.reads, a.tile.writes)
    a.tile.reads -= a.tile.reads % PREFETCH_ROWS


cdef inline void prefetch_write(const floating* to, Py_ssize_t step, Py_ssize_t values, Py_ssize_t rows) noexcept nogil:
    if floating is float:
        prefetch_write_float(to, step, values, rows)
    else:
        prefetch_write_double(to, step, values, rows)


cdef inline void prefetch_read(const floating* a, Py_ssize_t step, Py_ssize_t values, Py_ssize_t rows) noexcept nogil:
    if floating is float:
        prefetch_read_float(a, step, values, rows)
    else:
        prefetch_read_double(a, step, values, rows)
