/* Prefetching: memory that will soon be read or written is brought into the second cache while a core computes.
 *
 * A core keeps track of about a dozen cache lines that are on their way, and waits when it needs more. So a tile
 * prefetches a few lines at a time, between its multiply-adds, rather than all lines at once.
 *
 *     tile_prefetch          the lines for which one tile asks; `prefetch_step` is the step that the tile makes
 *     prefetch_read/write    all lines of a block at once, for loops around the tiles
 *
 * How the lines of a larger block are distributed over many tiles is in prefetch.pxd. Only GCC and Clang prefetch.
 */
#ifndef CCONV_PREFETCH_H
#define CCONV_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

/* Fits: `python -m benchmarks.tune --only prefetch`. */
#define PREFETCH_ROWS 4          /* lines that are asked for together */
#define PREFETCH_ACCUMULATORS 16 /* tiles with fewer vectors of sums do not prefetch */

/* One line in each of some rows: the first `reads` of them will be read, the first `writes` will be written. */
struct tile_prefetch {
    const char *read, *write;        /* the lines in the first row */
    ptrdiff_t read_step, write_step; /* bytes from row to row */
    ptrdiff_t reads, writes;         /* reads is a multiple of PREFETCH_ROWS, and writes <= reads */
};

/* Ask for the lines of rows left - PREFETCH_ROWS to left - 1, and return the first of these rows. A tile calls this
 * whenever as many steps of its outer loop are left as the last call returned, beginning with `reads`. */
static inline ptrdiff_t prefetch_step(const struct tile_prefetch *prefetch, ptrdiff_t left)
{
    const ptrdiff_t row = left - PREFETCH_ROWS;
#if defined(__GNUC__)
    const char *line = prefetch->read + row * prefetch->read_step;
    for (int i = 0; i < PREFETCH_ROWS; i++, line += prefetch->read_step) __builtin_prefetch(line, 0, 2);
    if (left > prefetch->writes) return row;
    line = prefetch->write + row * prefetch->write_step;
    for (int i = 0; i < PREFETCH_ROWS; i++, line += prefetch->write_step) __builtin_prefetch(line, 0, 2);
#endif
    return row;
}
#define BODY "vector/prefetch.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* Ask for `values` values of each of `rows` rows, `step` values apart, which will be written. */
static inline void NAME(prefetch_write)(const T *to, ptrdiff_t step, ptrdiff_t values, ptrdiff_t rows)
{
#if defined(__GNUC__)
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t i = 0; i < values; i += 64 / T_BYTES) __builtin_prefetch(to + r * step + i, 1);
#endif
}

/* The same for values that will be read. */
static inline void NAME(prefetch_read)(const T *from, ptrdiff_t step, ptrdiff_t values, ptrdiff_t rows)
{
#if defined(__GNUC__)
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t i = 0; i < values; i += 64 / T_BYTES) __builtin_prefetch(from + r * step + i);
#endif
}

#endif
