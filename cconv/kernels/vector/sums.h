/* Long sums: of pixels, rows, classes, or a batch.
 *
 * One chain of n additions can lose n / 2 units of its last place, and for equal values it loses nearly as much: the mean of
 * a million equal floats was wrong in the fourth digit. So no chain is longer than SUM_BLOCK: values are added up in blocks,
 * and up to SUM_BLOCK blocks' sums again. What is longer goes to a total that comes in two numbers: `lost` holds what rounding
 * took from `total`, which two more additions and four subtractions find exactly (Knuth's two-sum, as in Neumaier's
 * summation). It would grow to a long sum itself: so it moves to the total after SUM_BLOCKS additions at most. The error stays
 * that of a block, a few units of the last place, whatever n is. What overflowed, or is not a number, is what it would be in
 * one chain.
 *
 * Blocks begin where the caller begins, at places that the shapes give: no thread moves them.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_SUMS_H
#define CCONV_SUMS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "runtime/compiler.h"

#define SUM_BLOCK 8
#define SUM_BLOCKS 512

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

/* Add a value to a total in two numbers; all three are of type V, numbers or vectors. */
#define SUM_ADD(V, total, lost, value)                                                                                 \
    do {                                                                                                               \
        const V added_ = (value), sum_ = (total) + added_, back_ = sum_ - (total);                                     \
        (lost) += ((total) - (sum_ - back_)) + (added_ - back_);                                                       \
        (total) = sum_;                                                                                                \
    } while (0)

#define T float
#define INT int32_t
#define NAME(name) name##_float
#include "vector/sums.h"
#undef T
#undef INT
#undef NAME
#define T double
#define INT int64_t
#define NAME(name) name##_double
#include "vector/sums.h"
#undef T
#undef INT
#undef NAME

#elif defined(T)

#if defined(__GNUC__)
typedef T NAME(sum_vec) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
typedef INT NAME(sum_mask) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
#else
typedef T NAME(sum_vec); /* vectors of one value */
typedef INT NAME(sum_mask);
#endif
#define V NAME(sum_vec)
#define LANES ((ptrdiff_t)(sizeof(V) / sizeof(T)))
#define LOAD(p) (*(const V *)(p))

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

/* Add up the lanes of a vector. */
static inline T NAME(reduce_add)(V v)
{
#if defined(__GNUC__)
    typedef T quarter __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));
    quarter sum = *(const quarter *)&v;
    for (int i = 1; i < VECTOR_BYTES / 16; i++) sum += ((const quarter *)&v)[i];
    return sizeof(T) == 8 ? sum[0] + sum[1] : (sum[0] + sum[1]) + (sum[2 % (16 / sizeof(T))] + sum[3 % (16 / sizeof(T))]);
#else
    return v;
#endif
}

/* A vector read at p, no further than `end`. */
CCONV_COLD V NAME(load_part)(const T *p, const T *end)
{
    V v = {0};
    if (p < end) memcpy(&v, p, (size_t)(end - p) * sizeof(T));
    return v;
}

static inline V NAME(load_until)(const T *p, const T *end)
{
    return end - p >= LANES ? LOAD(p) : NAME(load_part)(p, end);
}

/* The sum of up to SUM_BLOCK vectors, `step` apart; where they may run `over` the end, they are read so far. */
CCONV_INLINE V NAME(sum_few)(const T *x, ptrdiff_t step, ptrdiff_t count, const T *end, const int over)
{
    V sum = {0};
    for (ptrdiff_t k = 0; k < count; k++, x += step) sum += over ? NAME(load_until)(x, end) : LOAD(x);
    return sum;
}

/* The same for up to SUM_BLOCK * SUM_BLOCK. */
CCONV_INLINE V NAME(sum_blocks)(const T *x, ptrdiff_t step, ptrdiff_t count, const T *end, const int over)
{
    V total = {0};
    for (; count >= SUM_BLOCK; count -= SUM_BLOCK, x += SUM_BLOCK * step)
        total += NAME(sum_few)(x, step, SUM_BLOCK, end, over);
    return total + NAME(sum_few)(x, step, count, end, over);
}

CCONV_NOINLINE V NAME(sum_many)(const T *x, ptrdiff_t step, ptrdiff_t count, const T *end)
{
    V total = {0}, lost = {0};
    if (count <= SUM_BLOCK * SUM_BLOCK)
        return end - (x + (count - 1) * step) >= LANES ? NAME(sum_blocks)(x, step, count, end, 0)
                                                       : NAME(sum_blocks)(x, step, count, end, 1);
    for (ptrdiff_t i = 0; i < count; i += SUM_BLOCK * SUM_BLOCK) {
        const ptrdiff_t some = count - i < SUM_BLOCK * SUM_BLOCK ? count - i : SUM_BLOCK * SUM_BLOCK;
        const V sum = NAME(sum_blocks)(x + i * step, step, some, end, 1);
        SUM_ADD(V, total, lost, sum);
        if (i + some == count || i / (SUM_BLOCK * SUM_BLOCK) % SUM_BLOCKS == SUM_BLOCKS - 1)
            NAME(sum_settle)((T *)&total, (T *)&lost, LANES);
    }
    return total;
}

/* The same for any number of vectors. */
CCONV_INLINE V NAME(sum_vectors)(const T *x, ptrdiff_t step, ptrdiff_t count, const T *end, const int over)
{
    return count <= SUM_BLOCK ? NAME(sum_few)(x, step, count, end, over) : NAME(sum_many)(x, step, count, end);
}

/* The sum of a row of a vector or more. */
CCONV_NOINLINE T NAME(sum_long)(const T *x, ptrdiff_t size)
{
    V total = NAME(sum_vectors)(x, LANES, size / LANES, x + size, 0);
#if defined(__GNUC__)
    if (size % LANES) { /* the last vector, without what it has in common with the one before */
        static const INT mask_of_rest[32] = {0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                                             -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
        const NAME(sum_mask) mask = *(const NAME(sum_mask) *)(mask_of_rest + 16 - LANES + size % LANES);
        total += (V)((NAME(sum_mask))LOAD(x + size - LANES) & mask);
    }
#endif
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

/* Add rows, `step` apart, to the totals of their columns, up to a vector of these; rows are read up to `end`. */
static void NAME(sum_strip)(const T *from, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t columns, const T *end, T *total,
                            T *lost)
{
    V all = NAME(load_until)(total, total + columns), rest = NAME(load_until)(lost, lost + columns);
    for (ptrdiff_t r = 0; r < rows; r += SUM_BLOCK * SUM_BLOCK) {
        const ptrdiff_t some = rows - r < SUM_BLOCK * SUM_BLOCK ? rows - r : SUM_BLOCK * SUM_BLOCK;
        const T *const first = from + r * step;
        V sum;
        if (end - (first + (some - 1) * step) >= LANES)
            sum = NAME(sum_blocks)(first, step, some, end, 0);
        else
            sum = NAME(sum_blocks)(first, step, some, end, 1);
        SUM_ADD(V, all, rest, sum);
        if (r + some == rows || r / (SUM_BLOCK * SUM_BLOCK) % SUM_BLOCKS == SUM_BLOCKS - 1)
            NAME(sum_settle)((T *)&all, (T *)&rest, LANES);
    }
    if (columns == LANES) {
        *(V *)total = all;
        *(V *)lost = rest;
    } else {
        memcpy(total, &all, (size_t)columns * sizeof(T));
        memcpy(lost, &rest, (size_t)columns * sizeof(T));
    }
}

/* Add rows, `step` apart, to the totals of their columns. */
static void NAME(sum_columns)(const T *from, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t columns, T *total, T *lost)
{
    const T *const end = from + (rows - 1) * step + columns;
    /* Few rows at a time, so that what all strips read of them stays in the cache. */
    const ptrdiff_t band = columns <= LANES ? rows : SUM_BLOCK * SUM_BLOCK;
    for (ptrdiff_t r = 0; r < rows; r += band)
        for (ptrdiff_t c = 0; c < columns; c += LANES)
            NAME(sum_strip)
            (from + r * step + c, step, rows - r < band ? rows - r : band, columns - c < LANES ? columns - c : LANES, end,
             total + c, lost + c);
}

#undef V
#undef LANES
#undef LOAD
#endif
