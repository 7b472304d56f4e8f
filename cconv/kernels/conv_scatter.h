/* What the input gradient to few channels needs beside the tile: rows of its sums are added up, each moved sideways.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_CONV_SCATTER_H
#define CCONV_CONV_SCATTER_H

#include "tile.h"

#define T float
#define LANES (TILE_BYTES / 4)
#define NAME(name) name##_float
#include "conv_scatter.h"
#undef T
#undef LANES
#undef NAME
#define T double
#define LANES (TILE_BYTES / 8)
#define NAME(name) name##_double
#include "conv_scatter.h"
#undef T
#undef LANES
#undef NAME

#elif defined(T)

/* to[k + shift] += from[k] for those of `count` values that fall on one of the `width` values of `to`. Whole vectors are
 * written, and read up to one beyond either end of `from`. */
static void NAME(add_shifted)(const T *from, ptrdiff_t count, ptrdiff_t shift, ptrdiff_t width, T *to)
{
    const ptrdiff_t first = shift > 0 ? shift : 0, end = count + shift < width ? count + shift : width;
    from -= shift;
    for (ptrdiff_t k = first / LANES * LANES; k < end; k += LANES) {
        NAME(vec) values = NAME(load)(from + k);
        if (k < first || end - k < LANES) values = NAME(keep)(values, NAME(between)(first - k, end - k));
        NAME(store)(to + k, NAME(add)(NAME(load)(to + k), values));
    }
}

#endif
