/* What follows the sums of a convolution before they are stored: its bias, and outside training what the next layers
 * do.
 *
 *     out = sum + bias                           where there is one,
 *     out = (out - centre) * scale + shift       normalization with given statistics; one value of each per channel,
 *     out = out + branch                         the other branch of a residual block,
 *     out = 0 where out <= 0                     relu; not a number stays
 *
 * as finish_row.h has it for one row, but with one value of each number for a whole channel: the bits are those of the
 * layers one by one. `finish_outputs` takes strips [output][channel] from registers of channels and transposes them,
 * `finish_plane` takes outputs that are stored already.
 *
 * The body is compiled twice, for float and for double, by including this file into itself.
 */
#ifndef CCONV_CONV_FINISH_H
#define CCONV_CONV_FINISH_H

#include "vector/finish_row.h"

/* Arrays of T; each may be NULL. */
typedef struct {
    const void *bias;   /* one value for each channel */
    const void *norm;   /* centre, scale and shift, one after the other, each with `channels` values */
    ptrdiff_t channels; /* of the output, over all groups */
    const void *branch; /* of the output's shape */
    int relu;
} conv_finish;

#define BODY "conv/finish.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* Finish a vector of outputs of channel c, of which the first `count` count; the first is output `at` of the array. */
CCONV_INLINE NAME(vec) NAME(finished)(NAME(vec) x, const conv_finish *after, ptrdiff_t c, ptrdiff_t at, ptrdiff_t count)
{
    const T *const norm = (const T *)after->norm + c, *const branch = (const T *)after->branch + at;
    const ptrdiff_t channels = after->channels;
    if (after->norm)
        x = NAME(normalized)(x, NAME(broadcast)(norm[0]), NAME(broadcast)(norm[channels]),
                             NAME(broadcast)(norm[2 * channels]));
    if (after->branch) x = NAME(add)(x, NAME(load_until)(branch, branch + count));
    return after->relu ? NAME(rectified)(x) : x;
}

/* What is one value for a channel, for a vector of channels. */
typedef struct {
    NAME(vec) bias, centre, scale, shift;
} NAME(finish_lanes);

/* The values of channels c to c + m. Where there are none: x + -0 and (x - 0) * 1 + -0 are x, and -0 where x is. */
CCONV_INLINE NAME(finish_lanes) NAME(finish_lanes_of)(const conv_finish *after, ptrdiff_t c, ptrdiff_t m)
{
    const T *const bias = (const T *)after->bias, *const norm = (const T *)after->norm;
    const ptrdiff_t scale = c + after->channels, shift = scale + after->channels;
    NAME(finish_lanes) lanes = {NAME(broadcast)((T)-0.0), NAME(broadcast)(0), NAME(broadcast)(1),
                                NAME(broadcast)((T)-0.0)};
    if (after->bias) lanes.bias = NAME(load_until)(bias + c, bias + c + m);
    if (after->norm) {
        lanes.centre = NAME(load_until)(norm + c, norm + c + m);
        lanes.scale = NAME(load_until)(norm + scale, norm + scale + m);
        lanes.shift = NAME(load_until)(norm + shift, norm + shift + m);
    }
    return lanes;
}

/* Finish and transpose a block of outputs. Nothing is asked before the transpose, so that the block stays in registers:
 * what is one value for a channel is applied there, while lanes are channels.
 *
 * from, from_step  IN, LANES rows of LANES channels
 * lanes, after     what follows; with `plain` only the bias
 * m                how many of the channels are outputs,
 * rows             and of the rows
 * at, to_step      the first output of the block in `out`, and from a channel to the next
 */
CCONV_INLINE void NAME(finish_block)(const T *from, ptrdiff_t from_step, const NAME(finish_lanes) *lanes,
                                     const conv_finish *after, ptrdiff_t m, ptrdiff_t rows, T *out, ptrdiff_t at,
                                     ptrdiff_t to_step, const int plain)
{
    const T *const branch = (const T *)after->branch;
    NAME(vec) block[LANES];
    CCONV_UNROLL
    for (int r = 0; r < LANES; r++) {
        block[r] = NAME(add)(NAME(load)(from + r * from_step), lanes->bias);
        if (!plain) block[r] = NAME(normalized)(block[r], lanes->centre, lanes->scale, lanes->shift);
    }
    NAME(transpose)(block);
    CCONV_UNROLL
    for (int r = 0; r < LANES; r++) {
        if (r == m) break;
        const ptrdiff_t to = at + r * to_step;
        NAME(vec) line = block[r];
        if (!plain && branch) line = NAME(add)(line, NAME(load_until)(branch + to, branch + to + rows));
        if (!plain && after->relu) line = NAME(rectified)(line);
        if (rows >= LANES)
            NAME(store)(out + to, line);
        else
            memcpy(out + to, &line, (size_t)rows * sizeof(T));
    }
}

/* out[at + l * to_step + i] = from[i * from_step + l], finished, for i < rows and l < columns; l = 0 is channel c.
 * `from` may be read up to a whole vector of rows. The last vector of rows overlaps the one before it, where there is
 * one. */
static void NAME(finish_outputs)(const T *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t columns,
                                 const conv_finish *after, ptrdiff_t c, T *out, ptrdiff_t at, ptrdiff_t to_step)
{
    const int plain = !after->norm && !after->branch && !after->relu;
    for (ptrdiff_t l = 0; l < columns; l += LANES) {
        const ptrdiff_t m = columns - l < LANES ? columns - l : LANES;
        const NAME(finish_lanes) lanes = NAME(finish_lanes_of)(after, c + l, m);
        for (ptrdiff_t k = 0; k < rows; k += LANES) {
            const ptrdiff_t i = k > 0 && rows - k < LANES ? rows - LANES : k, to = at + l * to_step + i;
            if (plain)
                NAME(finish_block)(from + i * from_step + l, from_step, &lanes, after, m, rows, out, to, to_step, 1);
            else
                NAME(finish_block)(from + i * from_step + l, from_step, &lanes, after, m, rows, out, to, to_step, 0);
        }
    }
}

/* Finish `count` outputs of channel c from out[at] on, which have their bias. */
static void NAME(finish_plane)(T *out, ptrdiff_t count, const conv_finish *after, ptrdiff_t c, ptrdiff_t at)
{
    ptrdiff_t k = 0;
    for (; count - k >= LANES; k += LANES)
        NAME(store)(out + at + k, NAME(finished)(NAME(load)(out + at + k), after, c, at + k, LANES));
    if (k < count) {
        NAME(vec) rest = NAME(load_until)(out + at + k, out + at + count);
        rest = NAME(finished)(rest, after, c, at + k, count - k);
        memcpy(out + at + k, &rest, (size_t)(count - k) * sizeof(T));
    }
}

#endif
