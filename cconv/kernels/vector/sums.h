/* Long sums: of pixels, rows, classes, or a batch.
 *
 * One chain of n additions can lose n / 2 units in its last place, and for equal values it loses nearly as much: the
 * mean of a million equal floats was wrong in the fourth digit. So no chain is longer than SUM_BLOCK. Values are added
 * up in blocks of SUM_BLOCK, and up to SUM_BLOCK sums of blocks again. What is longer goes to a total that is two
 * numbers, `total` and `lost`: what the rounding of an addition takes from `total` is found exactly, by two more
 * additions and four subtractions (Knuth's two-sum, as in Neumaier's summation), and added to `lost`. That would become
 * a long sum itself, so it is moved to `total` after SUM_BLOCKS additions at most. The error is then that of a block, a
 * few units in the last place, for any n. A sum that overflows, or holds a NaN, is what it would be in one chain.
 *
 * Blocks begin where the caller begins, at indices that follow from the shapes: no thread moves them.
 */
#ifndef CCONV_SUMS_H
#define CCONV_SUMS_H

#include "vector/vector.h"

#define SUM_BLOCK 8
#define SUM_BLOCKS 512

/* Add a value to a total in two numbers; all three are of one type. */
#define SUM_ADD(type, total, lost, value)                                                                              \
    do {                                                                                                               \
        const type added_ = (value), sum_ = (total) + added_, back_ = sum_ - (total);                                  \
        (lost) += ((total) - (sum_ - back_)) + (added_ - back_);                                                       \
        (total) = sum_;                                                                                                \
    } while (0)

#define BODY "vector/sums.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* A total's two numbers as one: beside what is infinite or not a number, what it lost says nothing. */
static inline T NAME(sum_whole)(T total, T lost) { return lost - lost == 0 ? total + lost : total; }

/* Move what `n` totals lost to them, as far as they can hold it. */
static inline void NAME(sum_settle)(T *CCONV_RESTRICT total, T *CCONV_RESTRICT lost, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const T whole = NAME(sum_whole)(total[i], lost[i]);
        lost[i] += total[i] - whole;
        total[i] = whole;
    }
}

static inline void NAME(sum_add)(T *total, T *lost, T value)
{
    SUM_ADD(T, *total, *lost, value);
    NAME(sum_settle)(total, lost, 1);
}

/* The total of `count` parts, `step` apart, whose second numbers lie `apart` behind the first. */
static inline T NAME(sum_parts)(const T *part, ptrdiff_t step, ptrdiff_t count, ptrdiff_t apart)
{
    T total = 0, lost = 0;
    for (ptrdiff_t i = 0; i < count; i++, part += step) {
        SUM_ADD(T, total, lost, *part);
        lost += part[apart];
    }
    return NAME(sum_whole)(total, lost);
}

/* SUM_ADD for vectors. */
CCONV_INLINE void NAME(sum_add_lanes)(NAME(vec) *total, NAME(vec) *lost, NAME(vec) value)
{
    const NAME(vec) sum = NAME(add)(*total, value), back = NAME(sub)(sum, *total);
    const NAME(vec) rounded = NAME(add)(NAME(sub)(*total, NAME(sub)(sum, back)), NAME(sub)(value, back));
    *lost = NAME(add)(*lost, rounded);
    *total = sum;
}

/* The sum of `count` vectors, `step` values apart, from x on. With `over`, vectors may run over `end`, as far as which
 * they are read. Of up to SUM_BLOCK vectors, */
CCONV_INLINE NAME(vec) NAME(sum_few)(const T *x, ptrdiff_t step, ptrdiff_t count, const T *end, const int over)
{
    NAME(vec) sum = NAME(broadcast)(0);
    for (ptrdiff_t k = 0; k < count; k++, x += step)
        sum = NAME(add)(sum, over ? NAME(load_until)(x, end) : NAME(load)(x));
    return sum;
}

/* of up to SUM_BLOCK * SUM_BLOCK, */
CCONV_INLINE NAME(vec) NAME(sum_blocks)(const T *x, ptrdiff_t step, ptrdiff_t count, const T *end, const int over)
{
    NAME(vec) total = NAME(broadcast)(0);
    for (; count >= SUM_BLOCK; count -= SUM_BLOCK, x += SUM_BLOCK * step)
        total = NAME(add)(total, NAME(sum_few)(x, step, SUM_BLOCK, end, over));
    return NAME(add)(total, NAME(sum_few)(x, step, count, end, over));
}

/* of more than SUM_BLOCK, which may run over the end, */
CCONV_NOINLINE NAME(vec) NAME(sum_many)(const T *x, ptrdiff_t step, ptrdiff_t count, const T *end)
{
    NAME(vec) total = NAME(broadcast)(0), lost = NAME(broadcast)(0);
    if (count <= SUM_BLOCK * SUM_BLOCK)
        return end - (x + (count - 1) * step) >= LANES ? NAME(sum_blocks)(x, step, count, end, 0)
                                                       : NAME(sum_blocks)(x, step, count, end, 1);
    for (ptrdiff_t i = 0; i < count; i += SUM_BLOCK * SUM_BLOCK) {
        const ptrdiff_t some = count - i < SUM_BLOCK * SUM_BLOCK ? count - i : SUM_BLOCK * SUM_BLOCK;
        NAME(sum_add_lanes)(&total, &lost, NAME(sum_blocks)(x + i * step, step, some, end, 1));
        if (i + some == count || i / (SUM_BLOCK * SUM_BLOCK) % SUM_BLOCKS == SUM_BLOCKS - 1)
            NAME(sum_settle)((T *)&total, (T *)&lost, LANES);
    }
    return total;
}

/* and of any number. */
CCONV_INLINE NAME(vec) NAME(sum_vectors)(const T *x, ptrdiff_t step, ptrdiff_t count, const T *end, const int over)
{
    return count <= SUM_BLOCK ? NAME(sum_few)(x, step, count, end, over) : NAME(sum_many)(x, step, count, end);
}

/* The sum of a row of a vector or more. The last vector ends with the row, and leaves out the lanes that it has in
 * common with the one before it. */
CCONV_NOINLINE T NAME(sum_long)(const T *x, ptrdiff_t size)
{
    NAME(vec) total = NAME(sum_vectors)(x, LANES, size / LANES, x + size, 0);
    if (size % LANES) {
        const NAME(vec) last = NAME(mask_and)(NAME(load)(x + size - LANES), NAME(mask_last)(size % LANES));
        total = NAME(add)(total, last);
    }
    return NAME(reduce_add)(total);
}

/* The sum of a row of values. */
static inline T NAME(sum_row)(const T *x, ptrdiff_t size)
{
    T first = 0, second = 0;
    ptrdiff_t i = 0;
    if (size >= 2 * SUM_BLOCK) return NAME(sum_long)(x, size);
    for (; i < size / 2; i++) first += x[i];
    for (; i < size; i++) second += x[i];
    return first + second;
}

/* Add rows to the totals of up to LANES of their columns.
 *
 *     from      IN, the first row; rows are `step` values apart
 *     end       how far rows may be read
 *     total     IN and OUT, (columns,)
 *     lost      IN and OUT, (columns,)
 */
static void NAME(sum_strip)(const T *from, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t columns, const T *end, T *total,
                            T *lost)
{
    NAME(vec) all = NAME(load_until)(total, total + columns), rest = NAME(load_until)(lost, lost + columns);
    for (ptrdiff_t r = 0; r < rows; r += SUM_BLOCK * SUM_BLOCK) {
        const ptrdiff_t some = rows - r < SUM_BLOCK * SUM_BLOCK ? rows - r : SUM_BLOCK * SUM_BLOCK;
        const T *const first = from + r * step;
        NAME(vec) sum;
        if (end - (first + (some - 1) * step) >= LANES)
            sum = NAME(sum_blocks)(first, step, some, end, 0);
        else
            sum = NAME(sum_blocks)(first, step, some, end, 1);
        NAME(sum_add_lanes)(&all, &rest, sum);
        if (r + some == rows || r / (SUM_BLOCK * SUM_BLOCK) % SUM_BLOCKS == SUM_BLOCKS - 1)
            NAME(sum_settle)((T *)&all, (T *)&rest, LANES);
    }
    if (columns == LANES) {
        NAME(store)(total, all);
        NAME(store)(lost, rest);
    } else {
        memcpy(total, &all, (size_t)columns * sizeof(T));
        memcpy(lost, &rest, (size_t)columns * sizeof(T));
    }
}

/* Add rows, `step` values apart, to the totals of their columns. */
static void NAME(sum_columns)(const T *from, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t columns, T *total, T *lost)
{
    const T *const end = from + (rows - 1) * step + columns;
    /* Few rows at a time, so that what all strips read of them stays in the cache. */
    const ptrdiff_t band = columns <= LANES ? rows : SUM_BLOCK * SUM_BLOCK;
    for (ptrdiff_t r = 0; r < rows; r += band)
        for (ptrdiff_t c = 0; c < columns; c += LANES) {
            const ptrdiff_t some = rows - r < band ? rows - r : band, width = columns - c < LANES ? columns - c : LANES;
            NAME(sum_strip)(from + r * step + c, step, some, width, end, total + c, lost + c);
        }
}

#endif
