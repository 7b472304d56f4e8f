/* Changes of layout: what lies in memory in one order is packed in the order in which a kernel reads or writes it.
 *
 *     transpose_matrix      rows become columns
 *     transpose_padded      the same, filled up with zeros to whole vectors: packs filters and gradients
 *     pad                   rows of an image, with the padding written out
 *     pad_split             the same, with the columns split by their phase: neighbours of a stride become neighbours
 *     add_shifted           adds a row to another one, moved sideways
 *
 * A function writes nothing outside of its result but what it says: some write whole vectors, and so up to a vector
 * beyond the end.
 */
#ifndef CCONV_LAYOUT_H
#define CCONV_LAYOUT_H

#include "vector/vector.h"

#define BODY "vector/layout.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* to[l * to_step + i] = from[i * from_step + l] for i < rows, l < columns. */
static void NAME(transpose_matrix)(const T *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t columns, T *to,
                                   ptrdiff_t to_step)
{
    for (ptrdiff_t i = 0; i < rows; i += LANES)
        for (ptrdiff_t l = 0; l < columns; l += LANES) {
            const ptrdiff_t n = rows - i < LANES ? rows - i : LANES, m = columns - l < LANES ? columns - l : LANES;
            const T *source = from + i * from_step + l;
            T *target = to + l * to_step + i;
            if (n == LANES && m == LANES) {
                NAME(vec) block[LANES];
                CCONV_UNROLL
                for (int r = 0; r < LANES; r++) block[r] = NAME(load)(source + r * from_step);
                NAME(transpose)(block);
                CCONV_UNROLL
                for (int r = 0; r < LANES; r++) NAME(store)(target + r * to_step, block[r]);
            } else {
                for (ptrdiff_t r = 0; r < m; r++)
                    for (ptrdiff_t s = 0; s < n; s++) target[r * to_step + s] = source[s * from_step + r];
            }
        }
}

/* The same with each row of `to` filled up with zeros to whole vectors, for which to_step leaves room. The last vector
 * of columns overlaps the one before it, where there is one. */
static void NAME(transpose_padded)(const T *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t columns, T *to,
                                   ptrdiff_t to_step)
{
    for (ptrdiff_t i = 0; i < rows; i += LANES) {
        const ptrdiff_t n = rows - i < LANES ? rows - i : LANES;
        for (ptrdiff_t k = 0; k < columns; k += LANES) {
            const ptrdiff_t l = k > 0 && columns - k < LANES ? columns - LANES : k;
            const ptrdiff_t m = columns - l < LANES ? columns - l : LANES;
            const T *const source = from + i * from_step + l;
            T *const target = to + l * to_step + i;
            NAME(vec) block[LANES];
            if (m == LANES) {
                CCONV_UNROLL
                for (int r = 0; r < LANES; r++)
                    block[r] = r < n ? NAME(load)(source + r * from_step) : NAME(broadcast)(0);
                NAME(transpose)(block);
                CCONV_UNROLL
                for (int r = 0; r < LANES; r++) NAME(store)(target + r * to_step, block[r]);
            } else {
                for (ptrdiff_t r = 0; r < m; r++)
                    for (ptrdiff_t s = 0; s < LANES; s++)
                        target[r * to_step + s] = s < n ? source[s * from_step + r] : 0;
            }
        }
    }
}

/* Write rows y0 to before y1 of a padded image.
 *
 *     x         IN, (H, W), the image
 *     end       how far the array may be read in which x lies: whole vectors are
 *     top       the image's first row and
 *     left      column in the padded one; both may be negative
 *     PW        columns of the padded image
 *     to        OUT, the padded image; whole vectors are written, up to a vector beyond the last row
 */
static void NAME(pad)(const T *x, const T *end, ptrdiff_t H, ptrdiff_t W, ptrdiff_t top, ptrdiff_t left, ptrdiff_t PW,
                      ptrdiff_t y0, ptrdiff_t y1, T *to)
{
    const ptrdiff_t skip = left < 0 ? -left : 0, start = left < 0 ? 0 : left < PW ? left : PW;
    ptrdiff_t count = W - skip < PW - start ? W - skip : PW - start;
    if (count < 0) count = 0;
    for (ptrdiff_t y = y0; y < y1; y++) {
        T *const line = to + y * PW;
        ptrdiff_t k = 0;
        for (; k < start; k += LANES) NAME(store)(line + k, NAME(broadcast)(0));
        k = start;
        if (y >= top && y - top < H) {
            const T *const row = x + (y - top) * W + skip - start;
            /* What a whole vector writes too much, the zeros and the next row write over. */
            for (; k < start + count && end - (row + k) >= LANES; k += LANES)
                NAME(store)(line + k, NAME(load)(row + k));
            for (; k < start + count; k++) line[k] = row[k];
            k = start + count;
        }
        for (; k < PW; k += LANES) NAME(store)(line + k, NAME(broadcast)(0));
    }
}

/* Write `count` of every second value of a row of W, from index `from` on, which may be negative; zeros where there is
 * no value. Whole vectors are read on both sides. */
CCONV_INLINE void NAME(pad_even)(const T *x, ptrdiff_t from, ptrdiff_t W, ptrdiff_t count, T *to)
{
    for (ptrdiff_t k = 0; k < count; k += LANES) {
        const ptrdiff_t at = from + 2 * k;
        NAME(store)(to + k, NAME(mask_and)(NAME(load_even)(x + at),
                                           NAME(mask_between)(at < 0 ? (1 - at) / 2 : 0, (W - at + 1) / 2)));
    }
}

/* As `pad`, with top = 0, but with each row split into `phases`: column q is value q / phases of phase q % phases, and
 * the phases follow each other. A row may first be written whole, behind where it belongs: that takes room for another
 * row and 2 * phases + 1 vectors. */
static void NAME(pad_split)(const T *x, const T *end, ptrdiff_t H, ptrdiff_t W, ptrdiff_t left, ptrdiff_t phases,
                            ptrdiff_t PW, ptrdiff_t y0, ptrdiff_t y1, T *to)
{
    const ptrdiff_t pitch = PW / phases, rounded = (pitch + LANES - 1) / LANES * LANES;
    for (ptrdiff_t y = y0; y < y1; y++) {
        const T *const row = x + y * W;
        T *const split = to + y * PW, *const line = split + PW + LANES;
        if (phases == 2 && y > 0 && left <= W && end - row > 2 * rounded - left) {
            NAME(pad_even)(row, -left, W, pitch, split);
            NAME(pad_even)(row, 1 - left, W, pitch, split + pitch);
            continue;
        }
        NAME(pad)(x, end, H, W, 0, left, PW, y, y + 1, line - y * PW);
        for (ptrdiff_t z = 0; z < phases; z++)
            for (ptrdiff_t k = 0; k < pitch; k++) split[z * pitch + k] = line[k * phases + z];
    }
}

/* to[k + shift] += from[k] for those k < count for which k + shift is an index of `to`, which has `width` values. Whole
 * vectors are written, and read up to one beyond either end of `from`. */
static void NAME(add_shifted)(const T *from, ptrdiff_t count, ptrdiff_t shift, ptrdiff_t width, T *to)
{
    const ptrdiff_t first = shift > 0 ? shift : 0, end = count + shift < width ? count + shift : width;
    from -= shift;
    for (ptrdiff_t k = first / LANES * LANES; k < end; k += LANES) {
        NAME(vec) values = NAME(load)(from + k);
        if (k < first || end - k < LANES) values = NAME(mask_and)(values, NAME(mask_between)(first - k, end - k));
        NAME(store)(to + k, NAME(add)(NAME(load)(to + k), values));
    }
}

#endif