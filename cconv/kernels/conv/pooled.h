/* 2 x 2 maxima of two rows of outputs while their lanes are still channels, and their positions: what relu and pooling
 * in the same kernel as a convolution need beside the register tile.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_CONV_POOLED_H
#define CCONV_CONV_POOLED_H

#include <stdint.h>

#include "vector/layout.h"
#include "vector/register_tile.h"

/* Where byte k of a word lies in memory. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define BYTE_SHIFT(word, k) (8 * ((int)sizeof(word) - 1 - (k)))
#else
#define BYTE_SHIFT(word, k) (8 * (k))
#endif

#define BODY "conv/pooled.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* out[z][l] = max(relu(x + bias[l])) over two rows of outputs, of which each maximum takes 2z and 2z + 1, and its
 * position, 0 to 3. The first maximum wins, and of several NaN the last.
 *
 *     upper, lower  IN, [2 * n][width]: the rows
 *     n             maxima
 *     width         lanes, whole vectors
 *     bias          IN, [width]
 *     out           OUT, [n][width]
 *     argmax        OUT, positions as bytes of words: that of z is byte first + z of those from argmax[l] on, which lie
 *                   `width` words apart
 *     first         maxima of this strip that came before
 */
static void NAME(max_of_rows)(const T *CCONV_RESTRICT upper, const T *CCONV_RESTRICT lower, ptrdiff_t n,
                              ptrdiff_t width, const T *CCONV_RESTRICT bias, T *CCONV_RESTRICT out,
                              WORD *CCONV_RESTRICT argmax, ptrdiff_t first)
{
    for (ptrdiff_t z = 0; z < n; z++) {
        const int byte = (int)((first + z) % (ptrdiff_t)sizeof(WORD)), shift = BYTE_SHIFT(WORD, byte);
        WORD *const words = argmax + (first + z) / (ptrdiff_t)sizeof(WORD) * width;
        const WORD keep = byte ? ~(WORD)0 : 0; /* the first byte of a word finds anything in it */
        for (ptrdiff_t v = 0; v < width; v += LANES) {
            const ptrdiff_t left = 2 * z * width + v, right = left + width, to = z * width + v;
            for (int l = 0; l < LANES; l++) {
                const T b = upper[right + l] + bias[v + l], c = lower[left + l] + bias[v + l];
                const T d = lower[right + l] + bias[v + l];
                T best = upper[left + l] + bias[v + l];
                WORD place = 0;
                int take = (b > best) | (b != b);
                best = take ? b : best;
                place = take ? 1 : place;
                take = (c > best) | (c != c);
                best = take ? c : best;
                place = take ? 2 : place;
                take = (d > best) | (d != d);
                best = take ? d : best;
                place = take ? 3 : place;
                out[to + l] = best <= 0 ? 0 : best;
                words[v + l] = (words[v + l] & keep) | (best <= 0 ? 0 : place) << shift;
            }
        }
    }
}

/* Transpose `count` positions of each of `columns` lanes to rows of bytes; whole vectors of words are read. */
static void NAME(transpose_argmax)(const WORD *from, ptrdiff_t from_step, ptrdiff_t count, ptrdiff_t columns,
                                   uint8_t *to, ptrdiff_t to_step)
{
    const ptrdiff_t most = LANES * sizeof(WORD);
    T line[LANES * LANES];
    for (ptrdiff_t l = 0; l < columns; l += LANES)
        for (ptrdiff_t i = 0; i < count; i += most) {
            const ptrdiff_t n = count - i < most ? count - i : most, m = columns - l < LANES ? columns - l : LANES;
            /* The same bits, whatever they stand for: these are loaded, shuffled and stored. */
            const T *const words = (const T *)(from + i / (ptrdiff_t)sizeof(WORD) * from_step + l);
            NAME(transpose_matrix)(words, from_step, LANES, LANES, line, LANES);
            for (ptrdiff_t r = 0; r < m; r++) memcpy(to + (l + r) * to_step + i, line + r * LANES, (size_t)n);
        }
}

#endif
