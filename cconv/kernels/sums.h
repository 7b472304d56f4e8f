/* Long sums: of pixels, rows, classes, or a batch.
 *
 * One chain of n additions can lose n / 2 units of its last place, and for equal values it loses nearly as much: the mean of
 * a million equal floats was wrong in the fourth digit. So values are added up in blocks of SUM_BLOCK, each a chain of its
 * own, and blocks' sums go to a total that comes in two numbers: `lost` holds what rounding took from `total`, which two more
 * additions and four subtractions find exactly (Knuth's two-sum, as in Neumaier's summation). It would grow to a long sum
 * itself: so it moves to the total after SUM_BLOCKS blocks at most. The error stays that of a block, a few units of the last
 * place, whatever n is. What overflowed, or is not a number, is what it would be in one chain.
 *
 * Blocks begin where the caller begins, at places that the shapes give: no thread moves them.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_SUMS_H
#define CCONV_SUMS_H

#include <stddef.h>
#include <string.h>

#define SUM_BLOCK 8
#define SUM_BLOCKS 512

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#if defined(_MSC_VER)
#define SUM_RESTRICT __restrict
#else
#define SUM_RESTRICT restrict
#endif

/* Add a value to a total in two numbers; all three are of type V, numbers or vectors. */
#define SUM_ADD(V, total, lost, value)                                                                                 \
    do {                                                                                                               \
        const V added_ = (value), sum_ = (total) + added_, back_ = sum_ - (total);                                     \
        (lost) += ((total) - (sum_ - back_)) + (added_ - back_);                                                       \
        (total) = sum_;                                                                                                \
    } while (0)

#define T float
#define NAME(name) name##_float
#include "sums.h"
#undef T
#undef NAME
#define T double
#define NAME(name) name##_double
#include "sums.h"
#undef T
#undef NAME

#elif defined(T)

#if defined(__GNUC__)
typedef T NAME(sum_vec) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
#else
typedef T NAME(sum_vec); /* a vector of one value */
#endif
#define V NAME(sum_vec)
#define LANES ((ptrdiff_t)(sizeof(V) / sizeof(T)))
#define LOAD(p) (*(const V *)(p))

/* A total's two numbers as one: beside what is infinite or not a number, what it lost says nothing. */
static inline T NAME(sum_whole)(T total, T lost) { return lost - lost == 0 ? total + lost : total; }

/* Move what `n` totals lost to them, as far as they can hold it. */
static inline void NAME(sum_settle)(T *SUM_RESTRICT total, T *SUM_RESTRICT lost, ptrdiff_t n)
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

/* Add up the lanes of a vector: halves are added to halves. */
static inline T NAME(sum_reduce)(V v)
{
    T lane[LANES];
    memcpy(lane, &v, sizeof lane);
    for (ptrdiff_t half = LANES / 2; half > 0; half /= 2)
        for (ptrdiff_t l = 0; l < half; l++) lane[l] += lane[l + half];
    return lane[0];
}

/* The sum of a row of up to SUM_BLOCKS blocks. */
static T NAME(sum_short)(const T *x, ptrdiff_t size)
{
    V total = {0}, lost = {0}, block = {0};
    T few[4] = {0};
    ptrdiff_t i = 0;
    for (; size - i > SUM_BLOCK * LANES; i += SUM_BLOCK * LANES) {
        V sum = LOAD(x + i);
        for (ptrdiff_t k = 1; k < SUM_BLOCK; k++) sum += LOAD(x + i + k * LANES);
        SUM_ADD(V, total, lost, sum);
    }
    for (; size - i >= LANES; i += LANES) block += LOAD(x + i);
    for (; size - i >= 4; i += 4)
        for (ptrdiff_t k = 0; k < 4; k++) few[k] += x[i + k];
    for (ptrdiff_t k = 0; i < size; i++, k++) few[k] += x[i];
    few[0] = (few[0] + few[1]) + (few[2] + few[3]);
    if (size < LANES) return few[0];
    SUM_ADD(V, total, lost, block);
    return NAME(sum_whole)(NAME(sum_reduce)(total) + few[0], NAME(sum_reduce)(lost));
}

/* The sum of a row of values. */
static T NAME(sum_row)(const T *x, ptrdiff_t size)
{
    const ptrdiff_t most = SUM_BLOCKS * SUM_BLOCK * LANES;
    T total = 0, lost = 0;
    if (size <= most) return NAME(sum_short)(x, size);
    for (ptrdiff_t i = 0; i < size; i += most)
        NAME(sum_add)(&total, &lost, NAME(sum_short)(x + i, size - i < most ? size - i : most));
    return NAME(sum_whole)(total, lost);
}

/* Add rows, `step` apart, to the totals of their columns. */
static void NAME(sum_columns)(const T *from, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t columns, T *SUM_RESTRICT total,
                              T *SUM_RESTRICT lost)
{
    for (ptrdiff_t r = 0; r < rows; r += SUM_BLOCK, from += SUM_BLOCK * step) {
        const ptrdiff_t count = rows - r < SUM_BLOCK ? rows - r : SUM_BLOCK;
        ptrdiff_t c = 0;
        for (; columns - c >= LANES; c += LANES) {
            V sum = LOAD(from + c), all = LOAD(total + c), rest = LOAD(lost + c);
            for (ptrdiff_t k = 1; k < count; k++) sum += LOAD(from + k * step + c);
            SUM_ADD(V, all, rest, sum);
            memcpy(total + c, &all, sizeof all);
            memcpy(lost + c, &rest, sizeof rest);
        }
        for (; c < columns; c++) {
            T sum = from[c];
            for (ptrdiff_t k = 1; k < count; k++) sum += from[k * step + c];
            SUM_ADD(T, total[c], lost[c], sum);
        }
        if (r + SUM_BLOCK >= rows || r / SUM_BLOCK % SUM_BLOCKS == SUM_BLOCKS - 1)
            NAME(sum_settle)(total, lost, columns);
    }
}

#undef V
#undef LANES
#undef LOAD
#endif
