"""Direct convolution: output, input gradient, weight and bias gradient."""

#     out[n, f, y, z] = b[f] + sum over c, i, j of W[f, c, i, j] * x[n, c, y*sh - pt + i*dh, z*sw - pl + j*dw]
#
# No matrix of patches is built, and every pass is the register tile of tile.h over the image where it is: the outer
# outputs of a row leave out the taps that lie beside the image, whole rows those above and below it. Images are copied
# once into a scratch, with zeros beside them, where more than one output at an end of a row would leave taps out, where
# padded rows have a stride or a dilation, and for weight gradients of few channels; and without zeros where their size
# is bad for the cache. A `Gather` says where the tile reads: the row of outputs y begins at source row y * down // up,
# output z lies z * across further, tap t another table[t], and channel c another c * plane. So the three passes are one
# table read in three ways:
#
#     output            out[y, z][f] = sum over c, t of image[place(y, z) + c*plane + table[t]] * W[c, t][f]
#     weight gradient   dW[c, t][f]  = sum over y, z of image[c*plane + table[t] + place(y, z)] * dout[y, z][f]
#     input gradient    an output pass over dout with the filters turned; with a stride, one such pass for each phase
#                       (y + pt) mod sh, (z + pl) mod sw of the input, which only some taps reach; tiles write every
#                       sw-th output of a row
#
# A tile of weights is any that follow each other where the image has no padding, or its padding was written out; else
# it is one tap in several channels, or a row of 3 or 5 taps (`tile_weights`), for the outputs whose pixels under that
# tap lie within the image.
#
# To one, two or three channels, most lanes would be empty: such an input gradient goes from dout to the input. The
# pixels of dout, as they lie, are the lanes, and a tile's rows are taps in the input's channels:
#
#     sums[c, j][y*sh + i*dh, z] += sum over f of W[f, c, i, j] * dout[f, y, z]
#
# There is a plane of sums for each column of taps j, so that rows of pixels may follow each other without a gap; at
# the end these planes are added up, each moved sideways by its j*dw. Bands of rows, whose sums stay in the cache, take
# those rows of taps that end in them.
#
# The taps of a dilated filter lie side by side once the columns of a copy are split by z mod dw; the outputs then have
# dw phases, a pass each.
#
# A row is split evenly into tiles. Where rows follow each other without a gap in source and output (1 x 1 filters), the
# image is one long row, cut into pieces of a good length; tiles are then matrix products, and where there are many
# channels, what a tile reads of them is copied next to each other: all blocks of outputs read it again.
#
# Reading the next strip and writing this one take a fifth of the time if the core waits for them. So tiles ask for the
# lines while they compute, each for one line of every channel (`Ahead`), or the loops around them do, where tiles are
# small or channels few.
#
# Relu and 2 x 2 maxima (conv_pool.h) join two rows of outputs while their lanes are still channels, so that only the
# maxima are transposed and written. Where the input's gradient is not wanted, their weight gradient visits nothing
# else:
#
#     dW[f, c, i] += dout[n, f, Y, Z] * image[place of the maximum + c*plane + i*dh*PW ...]   lanes = the taps of a row
#
# So does that of any dout with many zeros, as they come from layers that run one by one: in place of the maxima it
# visits the values that are not 0. Few channels and small filters alone make that worth while.
#
# With more channels, both gradients can visit the maxima, or the values that are not 0, alone (conv_list.h): of an
# image with its channels last, what lies under a filter's row of taps follows each other, and is a factor of an
# output's gradient, or its sum, as a whole. Four in five of a dense pass's multiply-adds are with zeros.
#
# The lanes f are channels: weights are packed as [block of lanes][c][t][lane], dout is transposed to [q][lane], and
# results are transposed back when they are stored.
#
# Order of additions: an output is one chain over (c, t) in that order, then the bias; t goes over the source's pixels
# row by row, from left to right. A weight gradient is one chain over the pixels of a strip, strips and images are added
# in order, and groups of images (their number depends on the shapes alone) at the end. From a list, gradients are
# chains in its order (in a first layer's, of every second value), so that zeros in dout may move their last bits. An
# input gradient to few channels is one chain over f for each tap; these are added over i, as the vectors of pixels
# follow each other, and then over j.
# Neither the batch nor the number of threads changes a bit of an output.
#
# Edge cases: padding is zeros, in a copy or by leaving out the taps that lie there; a negative padding of the input
# gradient's pass (pad beyond the filter) starts inside dout; an empty batch leaves the output empty and the weight
# gradient 0; input pixels that no window reads get 0.

cimport numpy as cnp
from cython cimport floating
from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from cconv.kernels.division cimport ceil_div, deal, floor_div, quotient, round_up
from cconv.kernels.pieces cimport deal_pieces, shared_pieces, take_piece
from cconv.kernels.tile cimport (
    CACHE_LINE, TILE_ASKED, TILE_ASKING, TILE_BYTES, TILE_MAX_V, TILE_ROWS, TILE_SIDE, TILE_SIDE_V, Ahead, add_rows,
    add_shifted, cconv_ftz_on, cconv_ftz_restore, expect, fetch, look_ahead, pad, pad_split, plan_lines, run_rows,
    side_rows, tile, tile_cost, tile_product, tile_rows, tile_run, tile_weights, turn, turn_biased, turn_padded,
    weight_channels
)
from cconv.kernels.zeros cimport all_finite, share_nonzero

import numpy as np

from cconv.kernels._memory import empty

cnp.import_array()

cdef extern from "conv_pool.h" nogil:
    const int WINDOW_BYTES
    const int WINDOW_LANES
    const int WINDOW_ROWS
    void max_of_rows_float(const float*, const float*, Py_ssize_t, Py_ssize_t, const float*, float*, uint32_t*,
                           Py_ssize_t) noexcept
    void max_of_rows_double(const double*, const double*, Py_ssize_t, Py_ssize_t, const double*, double*, uint64_t*,
                            Py_ssize_t) noexcept
    void turn_places_float(const uint32_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, uint8_t*, Py_ssize_t) noexcept
    void turn_places_double(const uint64_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, uint8_t*, Py_ssize_t) noexcept
    Py_ssize_t find_windows_float(const float*, const float*, const uint8_t*, const int32_t*, Py_ssize_t, int32_t,
                                  int32_t, float*, int32_t*) noexcept
    Py_ssize_t find_windows_double(const double*, const double*, const uint8_t*, const int32_t*, Py_ssize_t, int32_t,
                                   int32_t, double*, int32_t*) noexcept
    void add_values_float(const float*, Py_ssize_t, float*) noexcept
    void add_values_double(const double*, Py_ssize_t, double*) noexcept
    void add_windows_float(int, int, const float*, const Py_ssize_t*, const int32_t*, const float*, Py_ssize_t,
                           float*) noexcept
    void add_windows_double(int, int, const double*, const Py_ssize_t*, const int32_t*, const double*, Py_ssize_t,
                            double*) noexcept

cdef extern from "conv_list.h" nogil:
    const int LIST_ROWS
    int list_vectors(int R) noexcept
    void add_listed_float(int, int, const float*, Py_ssize_t, const int32_t*, const float*, Py_ssize_t, float*,
                          Py_ssize_t) noexcept
    void add_listed_double(int, int, const double*, Py_ssize_t, const int32_t*, const double*, Py_ssize_t, double*,
                           Py_ssize_t) noexcept
    void channels_last_float(const float*, Py_ssize_t, Py_ssize_t, const Py_ssize_t*, float*) noexcept
    void channels_last_double(const double*, Py_ssize_t, Py_ssize_t, const Py_ssize_t*, double*) noexcept
    void channels_first_float(const float*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, float*) noexcept
    void channels_first_double(const double*, const Py_ssize_t*, Py_ssize_t, Py_ssize_t, double*) noexcept
    void spread_listed_float(int, int, float*, Py_ssize_t, const int32_t*, const float*, Py_ssize_t, const float*,
                             Py_ssize_t) noexcept
    void spread_listed_double(int, int, double*, Py_ssize_t, const int32_t*, const double*, Py_ssize_t, const double*,
                              Py_ssize_t) noexcept

cdef enum:
    STRIP = 112  # outputs between two transposes: a multiple of every tile's rows and of every vector's lanes
    WINDOWS = 448  # outputs that are listed at a time
    GRADIENT_STRIP = 16384  # values of a transposed strip of dout, which stays in the first or second cache
    GRADIENT_BLOCK = 1 << 19  # bytes of sums that share one transposed dout, and the second cache with it
    GRADIENT_ITEMS = 16  # pieces of work a weight gradient is cut into, where it can be
    GRADIENT_BYTES = 4 << 20  # memory for the sums of groups of images
    COMPACT_CHANNELS = 16  # from so many on, 1 x 1 filters read a copy
    LIST_BAND = 16384  # bytes of an image that all filters go over before the next
    LIST_SUMS = 1 << 20  # bytes for the sums of groups of images
    LIST_PERCENT = 35  # of values that are not 0: where there are fewer, a list is faster
    TAP_CHANNELS = 6  # from so many on, the weights of one tap in several channels make a good tile
    SCATTER_CHANNELS = 3  # to so many and no more, input gradients go from dout to the input,
    SCATTER_STRIDE = 8  # over no more rows and columns than these
    SCATTER_SUMS = 1 << 16  # bytes of sums that a band of rows may take
    MANY_VECTORS = 12  # whole tiles of every width
    ALIGNMENT = 64
    TAP_WORDS = 7  # of a tap in the tables of a pass: three, and four pairs of 16 bits in no more than four

WINDOW = WINDOW_LANES, WINDOW_ROWS, CACHE_LINE  # for those who ask whether `backward_windows` can do it

cdef struct Pass:
    Py_ssize_t width  # outputs of one row
    Py_ssize_t taps
    int side  # how many of them lie side by side in each row, or 0
    Py_ssize_t weights  # where its packed weights begin
    Py_ssize_t* table  # how far each tap lies from the output's place,
    Py_ssize_t* row  # how many rows of the source that is,
    uint16_t* kept  # whether a tile's first and last output have a pixel there: `most` pairs for tiles within a row,
    Py_ssize_t most  # then for those at its beginning, at its end, and for those that are the whole of it,
    Py_ssize_t* tap  # and which value of the filter it is

cdef struct Gather:
    Py_ssize_t groups, C, F  # source channels and output channels of one group
    Py_ssize_t H, W  # the source image,
    Py_ssize_t top, left, PH, PW  # and its place in the padded one,
    Py_ssize_t plane  # whose channels lie so far apart
    Py_ssize_t split  # and whose columns are split into so many phases, one behind the other in a row
    bint copied  # into a scratch; else it is read where it is
    bint folded  # whether there is one tap: a product of matrices, where it has a pixel
    bint compact  # whether what a tile then reads is copied next to each other, for all blocks of outputs
    Py_ssize_t most  # outputs of a tile, and how many a channel has room for in such a copy
    Py_ssize_t tiles  # of a row, for all channels of a group
    Py_ssize_t asked  # channels whose lines tiles ask for
    bint by_tap  # whether the tiles of a weight gradient are taps in several channels
    Py_ssize_t area, width  # outputs of one channel, and of one of its rows
    Py_ssize_t rows, row, step  # the rows in which they are computed: how many, how long (the last may be shorter)
    Py_ssize_t down, up  # row y begins y * down // up times `step` into the source
    Py_ssize_t across  # how far apart the places of its outputs are
    Py_ssize_t lowest, highest  # the rows of the first and the last tap from there
    Py_ssize_t ph, pw  # phases of the outputs, with one pass each
    Py_ssize_t lanes, vectors, V  # per vector, for F, and per tile
    Py_ssize_t weights  # packed values of one group
    Pass* each
    Py_ssize_t* taps  # by row and pass, its first tap that reads a row of the image and the end of those that do
    Py_ssize_t* off  # where each output begins; the first ones are those of a tile


cdef inline void max_of_rows(const floating* upper, const floating* lower, Py_ssize_t n, Py_ssize_t width,
                             const floating* bias, floating* out, floating* where, Py_ssize_t first) noexcept nogil:
    if floating is float:
        max_of_rows_float(upper, lower, n, width, bias, out, <uint32_t*>where, first)
    else:
        max_of_rows_double(upper, lower, n, width, bias, out, <uint64_t*>where, first)


cdef inline void turn_places(const floating* places, Py_ssize_t step, Py_ssize_t count, Py_ssize_t columns, uint8_t* to,
                             Py_ssize_t to_step) noexcept nogil:
    if floating is float:
        turn_places_float(<const uint32_t*>places, step, count, columns, to, to_step)
    else:
        turn_places_double(<const uint64_t*>places, step, count, columns, to, to_step)


cdef inline Py_ssize_t find_windows(const floating* dout, const floating* y, const uint8_t* where, const int32_t* base,
                                    Py_ssize_t count, Py_ssize_t down, Py_ssize_t across, floating* value,
                                    int32_t* at) noexcept nogil:
    if floating is float:
        return find_windows_float(dout, y, where, base, count, <int32_t>down, <int32_t>across, value, at)
    else:
        return find_windows_double(dout, y, where, base, count, <int32_t>down, <int32_t>across, value, at)


cdef inline void add_values(const floating* value, Py_ssize_t n, floating* total) noexcept nogil:
    if floating is float:
        add_values_float(value, n, total)
    else:
        add_values_double(value, n, total)


cdef inline void add_windows(Py_ssize_t R, Py_ssize_t FW, const floating* image, const Py_ssize_t* rows,
                             const int32_t* at, const floating* value, Py_ssize_t n, floating* total) noexcept nogil:
    if floating is float:
        add_windows_float(<int>R, <int>FW, image, rows, at, value, n, total)
    else:
        add_windows_double(<int>R, <int>FW, image, rows, at, value, n, total)


cdef inline bint shares(Py_ssize_t V, int side, Py_ssize_t lanes) noexcept nogil:
    """Whether `tile_run` has a loop of its own for these: not for a single vector of float64, for size's sake."""
    return side > 0 and V <= TILE_SIDE_V and (V > 1 or lanes * 4 == TILE_BYTES)


cdef inline int most_outputs(Py_ssize_t V, Py_ssize_t across, int side, Py_ssize_t lanes) noexcept nogil:
    """The most outputs of a tile with V vectors: more when what they read, or taps too, lie side by side."""
    if across != 1:
        return tile_rows(<int>V)
    return side_rows(<int>V, side) if shares(V, side, lanes) else run_rows(<int>V)


cdef double row_cost(Py_ssize_t V, Py_ssize_t width, Py_ssize_t across, int side, Py_ssize_t lanes) noexcept nogil:
    """How much work a tap is for a row of `width` outputs with V vectors."""
    return tile_cost(V, ceil_div(width, most_outputs(V, across, side, lanes)), width,
                     side if shares(V, side, lanes) else 0)


cdef Py_ssize_t tile_width(Py_ssize_t vectors, Py_ssize_t width, Py_ssize_t across, int side, Py_ssize_t lanes,
                           double* work=NULL) noexcept nogil:
    """The number of vectors per tile with the least work, for `vectors` in all and rows of `width` outputs."""
    cdef Py_ssize_t V, best = 1
    cdef double cost, least = -1
    for V in range(1, min(vectors, TILE_MAX_V) + 1):
        cost = vectors // V * row_cost(V, width, across, side, lanes)
        if vectors % V:
            cost += row_cost(vectors % V, width, across, side, lanes)
        if least < 0 or cost < least:
            least = cost
            best = V
    if work != NULL:
        work[0] = least
    return best


cdef bint splits(Gather* g, Py_ssize_t FW, Py_ssize_t sw, Py_ssize_t dw):
    """Whether rows are split by the phases of a dilated filter, whose taps then lie side by side."""
    cdef double whole, split
    if FW not in (3, 5) or sw > 1 or dw == 1 or dw > g.width:
        return False
    tile_width(g.vectors, g.width, 1, 0, g.lanes, &whole)
    tile_width(g.vectors, ceil_div(g.width, dw), 1, <int>FW, g.lanes, &split)
    return dw * split < whole


def plan(Py_ssize_t channels, Py_ssize_t width, Py_ssize_t stride, int side, Py_ssize_t itemsize, /):
    """The tile that a pass with this many output channels and outputs per row uses, as (outputs, vectors, lanes)."""
    cdef Py_ssize_t lanes = TILE_BYTES // itemsize
    cdef Py_ssize_t V = tile_width(ceil_div(channels, lanes), width, stride, side, lanes)
    return ceil_div(width, ceil_div(width, most_outputs(V, stride, side, lanes))), V, lanes


cdef void pad_image(const floating* x, const floating* end, Py_ssize_t channels, Gather* g, Py_ssize_t first,
                    Py_ssize_t last, floating* to) noexcept nogil:
    """Copy rows `first` to `last` of the padded image; x is part of an array that ends at `end`."""
    cdef Py_ssize_t c
    for c in range(channels):
        if g.split > 1:
            pad_split(x + c * g.H * g.W, end, g.H, g.W, g.left, g.split, g.PW, first, last, to + c * g.plane)
        else:
            pad(x + c * g.H * g.W, end, g.H, g.W, g.top, g.left, g.PW, first, last, to + c * g.plane)


cdef void pack(const floating* W, Gather* g, Py_ssize_t group, Py_ssize_t f_step, Py_ssize_t c_step,
               floating* packed) noexcept nogil:
    """Bring one group's filters into the order in which tiles read them; lanes beyond F are 0."""
    cdef Py_ssize_t s, c, t, l, v, vi, V, F, K
    cdef floating* to
    cdef const floating* source
    W = W + group * g.C * g.F * (min(f_step, c_step))
    for s in range(g.ph * g.pw):
        if g.split > 1 and s % g.split > 0:  # the same filters
            continue
        K = g.C * g.each[s].taps
        for vi in range(ceil_div(g.vectors, g.V)):
            v = vi * g.V
            V = min(g.V, g.vectors - v)
            F = min(V * g.lanes, g.F - v * g.lanes)
            to = packed + group * g.weights + g.each[s].weights + K * v * g.lanes
            source = W + v * g.lanes * f_step
            if f_step == K and c_step == g.each[s].taps and g.each[s].tap[c_step - 1] == c_step - 1:
                turn_padded(source, f_step, F, K, to, V * g.lanes)
                continue
            for c in range(g.C):
                for t in range(g.each[s].taps):
                    for l in range(F):
                        to[l] = source[l * f_step + c * c_step + g.each[s].tap[t]]
                    for l in range(F, V * g.lanes):
                        to[l] = 0
                    to += V * g.lanes


cdef inline Py_ssize_t source_row(Gather* g, Py_ssize_t y) noexcept nogil:
    """The source row where output row y begins. Divisions take as long as some tiles, and most rows need none."""
    return y * g.down if g.up == 1 else quotient(y * g.down, g.up)


cdef inline Pass* pass_of(Gather* g, Py_ssize_t y, Py_ssize_t z) noexcept nogil:
    """The pass of row y and column phase z."""
    return g.each + z if g.ph == 1 else g.each + y % g.ph * g.pw + z


cdef inline void gather_phase(const floating* row, const floating* weights, Gather* g, Pass* p, const Py_ssize_t* taps,
                              Py_ssize_t V, Py_ssize_t z, Py_ssize_t count, floating* strip,
                              Ahead* ahead) noexcept nogil:
    """Compute `count` outputs from z on of a phase of a row, the first from what lies at `row`, for V vectors of
    channels."""
    cdef Py_ssize_t step = V * g.lanes, first = taps[0], inner = taps[1] - taps[0], which, i, tiles
    cdef int P, size = 0, larger = 0
    cdef const uint16_t* kept
    if count == 0:
        return
    weights = weights + first * step
    tiles = deal(count, most_outputs(V, g.across, p.side, g.lanes), &size, &larger)
    for i in range(tiles):
        P = size + (i < larger)
        if g.asked > 0:
            look_ahead(ahead)
        if g.across == 1:
            which = (z == 0) | (z + P == p.width) << 1
            kept = p.kept + 2 * (which * p.most + first)
            if g.folded and kept[0] and kept[1]:
                tile_product(P, <int>V, row + p.table[0], g.plane, inner * g.C, weights, strip, step, &ahead.tile)
            else:
                tile_run(P, <int>V, row, g.C, g.plane, inner, p.table + first, kept, p.side, weights, p.taps * step,
                         strip, g.pw * step, &ahead.tile)
        else:
            tile(P, <int>V, row, g.off, g.C, g.plane, inner, p.table + first, weights, p.taps * step, step, strip,
                 g.pw * step, False)
        z += P
        row = row + P * g.across
        strip = strip + P * g.pw * step


cdef void gather_row(const floating* scene, const floating* packed, Gather* g, Py_ssize_t y, Py_ssize_t v, Py_ssize_t V,
                     Py_ssize_t z0, Py_ssize_t z1, floating* strip, Ahead* ahead) noexcept nogil:
    """Compute outputs z0 to z1 of row y for V vectors of channels from v on; each phase begins at z0 or behind it."""
    cdef Py_ssize_t first = z0 if g.pw == 1 else quotient(z0, g.pw), z
    cdef Pass* p
    scene = scene + source_row(g, y) * g.step + first * g.across
    for z in range(min(g.pw, z1 - z0)):
        p = pass_of(g, y, z)
        gather_phase(scene, packed + p.weights + g.C * p.taps * v * g.lanes, g, p, g.taps + 2 * (y * g.pw + z), V,
                     first, z1 - z0 if g.pw == 1 else quotient(z1 - z0 - z + g.pw - 1, g.pw), strip + z * V * g.lanes,
                     ahead)


cdef void compact_row(const floating* row, const floating* end, Gather* g, Py_ssize_t count,
                      floating* to) noexcept nogil:
    """Copy what each tile of a row reads, for 1 x 1 filters, next to each other: [tile][channel][output]."""
    cdef int P, size = 0, larger = 0
    cdef Py_ssize_t i, last = g.C - 1
    for i in range(deal(count, <int>g.most, &size, &larger)):
        P = size + (i < larger)
        pad(row, end, g.C, g.plane, 0, 0, g.most, 0, last, to)  # more than P values, of other channels at the end
        memcpy(to + last * g.most, row + last * g.plane, P * sizeof(floating))
        row = row + P
        to = to + g.most * g.C


cdef void gather_rows(const floating* scene, const floating* end_of_x, const floating* packed, floating* bias,
                      Gather* g, Py_ssize_t group, Py_ssize_t y0, Py_ssize_t y1, const floating* next_image,
                      floating* strip, floating* room, floating* out) noexcept nogil:
    """Compute rows y0 to y1 of outputs for all channels of one group.

    What the next strip reads, unless it lies in a copy, and where this one's outputs go is asked for bit by bit: within
    tiles, or before each row or tile of a copy. After the last strip comes `next_image`, if any.
    """
    cdef Py_ssize_t v, vi, V, f, F, i, n, k, step, steps, first, rows, z0, z1, here, size = 0, asked, given, end
    cdef Py_ssize_t units = ceil_div(g.row, g.pw), blocks = ceil_div(g.vectors, g.V)
    cdef Py_ssize_t together = max(STRIP // g.row, 1), pieces = ceil_div(units, max(STRIP // g.pw, 1))
    cdef Py_ssize_t strips = ceil_div(y1 - y0, together) * pieces
    cdef Py_ssize_t tiles = max(min(together, y1 - y0) * g.tiles // pieces, 1)  # of a strip
    cdef int P = 0, larger = 0
    cdef const floating* coming
    cdef Ahead ahead
    scene = scene + group * g.C * g.plane
    packed = packed + group * g.weights
    if next_image != NULL:
        next_image = next_image + group * g.C * g.H * g.W
    memset(&ahead, 0, sizeof(ahead))
    # Short rows share a strip, long ones are cut into pieces of all phases.
    for i in range(strips):
        first = y0 + i // pieces * together
        rows = min(first + together, y1) - first
        z0 = i % pieces * units // pieces
        here = source_row(g, first) * g.step + z0 * g.across
        z0 = z0 * g.pw
        z1 = min((i % pieces + 1) * units // pieces * g.pw, g.row)
        if i + 1 < strips:
            coming = scene + (source_row(g, y0 + (i + 1) // pieces * together) * g.step
                              + (i + 1) % pieces * units // pieces * g.across)
            size = coming - (scene + here)
        else:
            coming = next_image
            size = source_row(g, rows) * g.step if strips == 1 else size
        if g.copied:
            coming = NULL
        asked = g.C if coming == NULL else g.asked
        if g.asked > 0:
            if coming != NULL:
                plan_lines(&ahead.read, coming, g.plane, g.asked, size, tiles)
            else:  # lines that are there: to look for those that are not takes longer
                plan_lines(&ahead.read, scene + here, 0, 0, 0, tiles)
            plan_lines(&ahead.write, out + group * g.F * g.area + first * g.row + z0, g.area, min(g.asked, g.F),
                       rows * (z1 - z0), tiles)
        steps = rows
        if g.compact:
            n = min(z1, g.area - first * g.row) - z0
            compact_row(scene + here, end_of_x, g, n, room)
            steps = deal(n, <int>g.most, &P, &larger)
        for vi in range(blocks):
            v = vi * g.V
            V = min(g.V, g.vectors - v)
            f = group * g.F + v * g.lanes
            F = min(V * g.lanes, g.F - v * g.lanes)
            given = min(max(g.asked - v * g.lanes, 0), F)
            n = 0
            for step in range(steps):
                if asked < g.C:
                    end = max(asked, quotient((vi * steps + step + 1) * g.C, blocks * steps))
                    fetch(coming + asked * g.plane, g.plane, size, end - asked)
                    asked = end
                if given < F:
                    end = max(given, quotient((step + 1) * F, steps))
                    expect(out + (f + given) * g.area + first * g.row + z0, g.area, rows * (z1 - z0), end - given)
                    given = end
                if g.compact:
                    k = P + (step < larger)
                    look_ahead(&ahead)
                    tile_product(<int>k, <int>V, <const floating*>room + step * g.most * g.C, g.most, g.C,
                                 packed + g.C * v * g.lanes, strip + n * V * g.lanes, V * g.lanes, &ahead.tile)
                else:
                    k = min(z1, g.area - (first + step) * g.row) - z0
                    gather_row(scene, packed, g, first + step, v, V, z0, z0 + k, strip + n * V * g.lanes, &ahead)
                n += k
            turn_biased(strip, V * g.lanes, n, F, NULL if bias == NULL else bias + f,
                        out + f * g.area + first * g.row + z0, g.area)


cdef void gather_pooled(const floating* scene, const floating* packed, const floating* bias, Gather* g,
                        Py_ssize_t group, Py_ssize_t y0, Py_ssize_t y1, const floating* next_image, floating* strip,
                        floating* out, uint8_t* where) noexcept nogil:
    """Compute rows y0 to y1 of the 2 x 2 maxima of relu(outputs) for all channels of one group."""
    cdef Py_ssize_t v, vi, V, f, F, y, i, n, first, last, r, given, end, columns = g.width // 2
    cdef Py_ssize_t area = g.area // g.width // 2 * columns, together = max(STRIP // columns, 1)
    cdef Py_ssize_t room = (max(STRIP, columns) + g.lanes) * g.V * g.lanes
    cdef floating* places = strip + room
    cdef floating* rows = places + room
    cdef Ahead ahead
    scene = scene + group * g.C * g.plane
    packed = packed + group * g.weights
    bias = bias + group * g.vectors * g.lanes
    memset(&ahead, 0, sizeof(ahead))
    if next_image != NULL:
        plan_lines(&ahead.read, next_image + group * g.C * g.H * g.W, g.H * g.W, g.asked, g.H * g.W,
                   2 * (y1 - y0) * g.tiles)
    for i in range(ceil_div(y1 - y0, together)):
        first = y0 + i * together
        last = min(first + together, y1)
        for vi in range(ceil_div(g.vectors, g.V)):
            v = vi * g.V
            V = min(g.V, g.vectors - v)
            f = group * g.F + v * g.lanes
            F = min(V * g.lanes, g.F - v * g.lanes)
            n = given = 0
            for y in range(first, last):
                end = quotient((y - first + 1) * F, last - first)
                expect(out + (f + given) * area + first * columns, area, (last - first) * columns, end - given)
                given = end
                for r in range(2):
                    gather_row(scene, packed, g, 2 * y + r, v, V, 0, 2 * columns,
                               rows + r * 2 * columns * V * g.lanes, &ahead)
                max_of_rows(<const floating*>rows, <const floating*>rows + 2 * columns * V * g.lanes, columns,
                            V * g.lanes, bias + v * g.lanes, strip + n * V * g.lanes, places, n)
                n += columns
            turn_biased(strip, V * g.lanes, n, F, <const floating*>NULL, out + f * area + first * columns, area)
            if where != NULL:
                turn_places(places, V * g.lanes, n, F, where + f * area + first * columns, area)


cdef Py_ssize_t strip_size(Gather* g, bint pooled) noexcept nogil:
    """Values that a thread needs for strips, beside the image."""
    cdef Py_ssize_t length = max(STRIP, g.pw) + g.lanes
    if pooled:
        length = 2 * (max(STRIP, g.width // 2) + g.lanes) + 2 * g.width
    return round_up(length * g.V * g.lanes, ALIGNMENT)


cdef void gather_parts(const floating* x, const floating* packed, floating* bias, floating* out, uint8_t* where,
                       bint pooled, Py_ssize_t N, Gather* g, Py_ssize_t parts, shared_pieces* shared,
                       Py_ssize_t thread, floating* scratch) noexcept nogil:
    """Compute parts into which the rows of the images are cut, as long as there are some; pad the rows each needs."""
    cdef Py_ssize_t rows = g.rows // 2 if pooled else g.rows, channels = g.groups * g.C, group, item, n, y0, y1, s0, s1
    cdef Py_ssize_t area = rows * (g.width // 2) if pooled else g.area  # of one channel of the result
    cdef Py_ssize_t size = g.groups * g.F * area, image = channels * g.H * g.W
    cdef const floating* scene
    cdef const floating* next_image
    cdef floating* room = scratch + strip_size(g, pooled)
    cdef unsigned state = cconv_ftz_on()
    while (item := take_piece(shared, thread)) >= 0:
        n = item // parts
        y0 = item % parts * rows // parts
        y1 = (item % parts + 1) * rows // parts
        s0 = 2 * y0 if pooled else y0
        s1 = 2 * y1 if pooled else y1
        scene = x + n * image
        next_image = scene + image if parts == 1 and n + 1 < N else NULL
        if g.copied:
            pad_image(scene, x + N * image, channels, g, max(s0 * g.down // g.up + g.lowest, 0),
                      min((s1 - 1) * g.down // g.up + g.highest + 1, g.PH), room)
            scene = room
        for group in range(g.groups):
            if pooled:
                gather_pooled(scene, packed, packed + g.groups * g.weights, g, group, y0, y1, next_image, scratch,
                              out + n * size, NULL if where == NULL else where + n * size)
            else:
                gather_rows(scene, x + N * image, packed, bias, g, group, y0, y1, next_image, scratch, room,
                            out + n * size)
    cconv_ftz_restore(state)


cdef void gather(const floating* x, const floating* W, Py_ssize_t f_step, Py_ssize_t c_step, floating* bias,
                 floating* out, uint8_t* where, bint pooled, Py_ssize_t N, Gather* g, floating* packed,
                 floating* scratch, Py_ssize_t private, int num_threads) noexcept nogil:
    cdef Py_ssize_t parts, f, group, t
    cdef shared_pieces shared
    cdef floating* biases = packed + g.groups * g.weights  # with zeros for the lanes beyond F
    for group in range(g.groups):
        pack(W, g, group, f_step, c_step, packed)
    if pooled:
        memset(biases, 0, g.groups * g.vectors * g.lanes * sizeof(floating))
        if bias != NULL:
            for f in range(g.groups * g.F):
                biases[f // g.F * g.vectors * g.lanes + f % g.F] = bias[f]
    # Threads begin with the same images in every call, and with few images the same parts of each: what a core wrote
    # in one call it finds in its cache in the next, and from another core's cache it comes slowly. One thread alone
    # needs no barriers, which cost as much as a small image.
    parts = 1 if num_threads == 1 or N >= 4 * num_threads else ceil_div(4 * num_threads, N)
    parts = max(min(parts, g.area // STRIP, g.rows // 2 if pooled else g.rows), 1)
    if parts > num_threads:
        parts -= parts % num_threads
    deal_pieces(&shared, N * parts, num_threads)
    if num_threads == 1:
        gather_parts(x, packed, bias, out, where, pooled, N, g, parts, &shared, 0, scratch)
    else:
        for t in prange(num_threads, num_threads=num_threads, schedule="static"):
            gather_parts(x, packed, bias, out, where, pooled, N, g, parts, &shared, t, scratch + t * private)


cdef void add_in_order(const floating* image, const Py_ssize_t* off, Py_ssize_t count, const floating* turned,
                       Gather* g, const Py_ssize_t* weights, Py_ssize_t weights_in_all, const floating* next,
                       Py_ssize_t length, floating* total) noexcept nogil:
    """Add what `count` outputs give to all weights; ask for a part of the next strip before each tile."""
    cdef Py_ssize_t lanes = g.vectors * g.lanes, vi, v, V, F, f, k, i, tiles
    cdef int P, size = 0, larger = 0
    for vi in range(ceil_div(g.vectors, g.V)):
        v = vi * g.V
        V = min(g.V, g.vectors - v)
        F = min(V * g.lanes, g.F - v * g.lanes)
        tiles = deal(weights_in_all, tile_rows(<int>V), &size, &larger)
        k = 0
        for i in range(tiles):
            f = quotient(i * F, tiles)
            fetch(next + (v * g.lanes + f) * g.area, g.area, length, quotient((i + 1) * F, tiles) - f)
            P = size + (i < larger)
            tile(P, <int>V, image, weights + k, 1, 0, count, off, turned + v * g.lanes, lanes, lanes,
                 total + k * lanes + v * g.lanes, lanes, True)
            k += P


cdef void add_by_tap(const floating* image, const Py_ssize_t* off, Py_ssize_t together, const floating* turned,
                     Gather* g, Py_ssize_t y0, Py_ssize_t y1, const Py_ssize_t* planes, Py_ssize_t channels,
                     const floating* next, Py_ssize_t length, floating* total) noexcept nogil:
    """The same for rows y0 to y1 of outputs: a tile is one tap in several channels, which see the image together."""
    cdef Pass* p = g.each
    cdef Py_ssize_t lanes = g.vectors * g.lanes, area = (y1 - y0) * g.width, vi, v, V, F, f, t, ci, c, i, tiles
    cdef Py_ssize_t column, top, bottom, left, right, first
    cdef int P, size = 0, larger = 0
    for vi in range(ceil_div(g.vectors, g.V)):
        v = vi * g.V
        V = min(g.V, g.vectors - v)
        F = min(V * g.lanes, g.F - v * g.lanes)
        tiles = deal(channels, tile_rows(<int>V), &size, &larger)
        for t in range(p.taps):
            f = t * F // p.taps
            fetch(next + (v * g.lanes + f) * g.area, g.area, length, (t + 1) * F // p.taps - f)
            column = p.table[t] - p.row[t] * g.PW
            top = max(y0, -floor_div(p.row[t], g.down))
            bottom = min(y1, floor_div(g.H - 1 - p.row[t], g.down) + 1)
            left = max(0, -floor_div(column, g.across))
            right = min(g.width, floor_div(g.W - 1 - column, g.across) + 1)
            if top >= bottom or left >= right:
                continue
            first = p.table[t] + top * g.down * g.PW + left * g.across
            c = 0
            for ci in range(tiles):
                P = size + (ci < larger)
                for i in range(together):
                    tile(P, <int>V, image + off[i * g.area] + first, planes + c,
                         bottom - top, g.down * g.PW, right - left, g.off,
                         turned + (i * area + (top - y0) * g.width + left) * lanes + v * g.lanes, g.width * lanes,
                         lanes, total + (c * p.taps + t) * lanes + v * g.lanes, p.taps * lanes, True)
                c += P


cdef void add_by_row(const floating* image, const Py_ssize_t* off, Py_ssize_t together, const floating* turned,
                     Gather* g, Py_ssize_t y0, Py_ssize_t y1, Py_ssize_t channels, const floating* next,
                     Py_ssize_t length, floating* total) noexcept nogil:
    """The same, where taps lie side by side: a tile is a row of taps in several channels."""
    cdef Pass* p = g.each
    cdef Py_ssize_t lanes = g.vectors * g.lanes, area = (y1 - y0) * g.width, rows = p.taps // p.side, vi, v, V, F, f, t
    cdef Py_ssize_t ti, ci, c, i, tiles, top, bottom
    cdef int P, size = 0, larger = 0
    for vi in range(ceil_div(g.vectors, g.V)):
        v = vi * g.V
        V = min(g.V, g.vectors - v)
        F = min(V * g.lanes, g.F - v * g.lanes)
        tiles = deal(channels, weight_channels(<int>V, p.side), &size, &larger)
        for ti in range(rows):
            f = ti * F // rows
            fetch(next + (v * g.lanes + f) * g.area, g.area, length, (ti + 1) * F // rows - f)
            t = ti * p.side
            top = max(y0, -floor_div(p.row[t], g.down))
            bottom = min(y1, floor_div(g.H - 1 - p.row[t], g.down) + 1)
            if top >= bottom:
                continue
            c = 0
            for ci in range(tiles):
                P = size + (ci < larger)
                for i in range(together):
                    tile_weights(P, <int>V, p.side,
                                 image + off[i * g.area] + c * g.plane + (top * g.down + p.row[t]) * g.PW, g.plane,
                                 bottom - top, g.down * g.PW, g.W, p.row[t] * g.PW - p.table[t], g.width,
                                 turned + (i * area + (top - y0) * g.width) * lanes + v * g.lanes, g.width * lanes,
                                 lanes, total + (c * p.taps + t) * lanes + v * g.lanes, p.taps * lanes)
                c += P


cdef void weigh_images(const floating* dout, const floating* x, Py_ssize_t N, Gather* g, Py_ssize_t group,
                       Py_ssize_t c, Py_ssize_t block, Py_ssize_t first, Py_ssize_t last, Py_ssize_t length,
                       Py_ssize_t together, const Py_ssize_t* off, const Py_ssize_t* k_off, floating* sums,
                       floating* turned, floating* copies) noexcept nogil:
    """Compute what images `first` to `last` give to the weights of a block of a group's channels, from c on.

    The block that begins with channel 0 computes what they give to the biases.
    """
    cdef Pass* p = g.each
    cdef Py_ssize_t lanes = g.vectors * g.lanes, strips = ceil_div(g.area, length), K = g.C * p.taps
    cdef Py_ssize_t n, ni, q, qi, i, f, count, ahead, channels = min(block, g.C - c), size = channels * p.taps
    cdef Py_ssize_t images = g.groups * g.C * g.H * g.W, gradients = g.groups * g.F * g.area
    cdef floating* weights = sums + c * p.taps * lanes
    cdef const floating* image
    cdef const floating* gradient
    memset(weights, 0, size * lanes * sizeof(floating))
    if c == 0:
        memset(sums + K * lanes, 0, lanes * sizeof(floating))
    for ni in range(ceil_div(last - first, together)):
        n = first + ni * together
        i = min(together, last - n)
        image = x + n * images + (group * g.C + c) * g.H * g.W
        if g.copied:
            for f in range(i):
                pad_image(image + f * images, x + N * images, channels, g, 0, g.PH, copies + f * block * g.plane)
            image = copies
        for qi in range(strips):
            q = qi * length
            count = min(length, g.area - q)
            gradient = dout + n * gradients + group * g.F * g.area + q
            for f in range(i):
                turn_padded(gradient + f * gradients, g.area, g.F, count, turned + f * count * lanes, lanes)
            # The next strip is asked for while this one is worked on.
            ahead = length if qi + 1 < strips else together * gradients - q
            if c == 0:
                add_rows(turned, lanes, count * i, g.vectors, sums + K * lanes)
            if g.by_tap and p.side > 0:
                add_by_row(image, off, i, <const floating*>turned, g, q // g.width, (q + count) // g.width, channels,
                           gradient + ahead, length, weights)
            elif g.by_tap:
                add_by_tap(image, off, i, <const floating*>turned, g, q // g.width, (q + count) // g.width, k_off,
                           channels, gradient + ahead, length, weights)
            else:
                add_in_order(image, off + q, count * i, <const floating*>turned, g, k_off, size, gradient + ahead,
                             length, weights)


cdef void weight_gradient(const floating* dout, const floating* x, floating* dW, floating* db, Py_ssize_t N, Gather* g,
                          Py_ssize_t block, Py_ssize_t blocks, Py_ssize_t sets, Py_ssize_t length, Py_ssize_t together,
                          const Py_ssize_t* off, const Py_ssize_t* k_off, floating* sums, floating* scratch,
                          Py_ssize_t private, int num_threads) noexcept nogil:
    cdef Py_ssize_t lanes = g.vectors * g.lanes, K = g.C * g.each.taps, rows = K + 1, total = g.groups * rows * lanes
    cdef Py_ssize_t item, k, c, group, m, f, t
    cdef floating* mine = NULL
    cdef shared_pieces shared
    cdef unsigned state = 0
    deal_pieces(&shared, sets * blocks * g.groups, num_threads)
    with parallel(num_threads=num_threads):
        mine = scratch + threadid() * private
        state = cconv_ftz_on()
        for t in prange(num_threads, schedule="static"):
            while (item := take_piece(&shared, t)) >= 0:
                group = item % g.groups
                c = item // g.groups % blocks * block
                m = item // (g.groups * blocks)
                weigh_images(dout, x, N, g, group, c, block, m * N // sets, (m + 1) * N // sets, length, together,
                             off, k_off, sums + m * total + group * rows * lanes, mine,
                             mine + together * length * lanes)
        for k in prange(g.groups * rows, schedule="static"):
            for m in range(1, sets):
                for f in range(k * lanes, (k + 1) * lanes):
                    sums[f] += sums[m * total + f]
        for k in prange(g.groups * ceil_div(K, g.lanes), schedule="static"):
            group = k // ceil_div(K, g.lanes)
            c = k % ceil_div(K, g.lanes) * g.lanes
            turn(sums + (group * rows + c) * lanes, lanes, min(g.lanes, K - c), g.F, dW + group * g.F * K + c, K)
            if db != NULL and c == 0:
                memcpy(db + group * g.F, sums + (group * rows + K) * lanes, g.F * sizeof(floating))
        cconv_ftz_restore(state)


cdef inline void finish_filter(floating* sums, Py_ssize_t f, Py_ssize_t F, Py_ssize_t size, Py_ssize_t sets,
                               floating* db) noexcept nogil:
    """Add up the sets' `size` sums of filter f, in order; the last WINDOW_LANES are those of dout, for the bias."""
    cdef Py_ssize_t m, j
    cdef floating* total = sums + f * size
    for m in range(1, sets):
        for j in range(size):
            total[j] += sums[(m * F + f) * size + j]
    if db != NULL:
        db[f] = 0
        for j in range(size - WINDOW_LANES, size):
            db[f] += total[j]


cdef void window_gradient(const floating* dout, const floating* y, const uint8_t* where, const floating* x,
                          floating* dW, floating* db, Py_ssize_t N, Gather* g, Py_ssize_t area, Py_ssize_t FW,
                          const int32_t* base, const Py_ssize_t* taps, Py_ssize_t copy, Py_ssize_t half,
                          Py_ssize_t sets, floating* sums, floating* scratch, Py_ssize_t private,
                          int num_threads) noexcept nogil:
    """Add up the windows of listed outputs, image by image.

    Windows begin at any value of a line of the cache and would often end in the next one: so there is a second copy of
    the image, `copy` values further, half a line out of step, and `base` names the one in which they do not.
    """
    cdef Py_ssize_t R = g.C * (g.each.taps // FW), size = (R + 1) * WINDOW_LANES, item, n, f, k, count, r, m, c, t
    cdef floating* mine = NULL
    cdef floating* image = NULL
    cdef int32_t* at = NULL
    cdef shared_pieces shared
    cdef unsigned state = 0
    deal_pieces(&shared, sets, num_threads)
    with parallel(num_threads=num_threads):
        mine = scratch + threadid() * private
        at = <int32_t*>(mine + WINDOWS)
        image = mine + 2 * WINDOWS
        state = cconv_ftz_on()
        for t in prange(num_threads, schedule="static"):
            while (item := take_piece(&shared, t)) >= 0:
                memset(sums + item * g.F * size, 0, g.F * size * sizeof(floating))
                for n in range(item * N // sets, (item + 1) * N // sets):
                    pad_image(x + n * g.C * g.H * g.W, x + N * g.C * g.H * g.W, g.C, g, 0, g.PH, image)
                    memcpy(image + copy, image + half, g.C * g.plane * sizeof(floating))
                    for f in range(g.F):
                        for c in range(ceil_div(area, WINDOWS)):
                            k = (n * g.F + f) * area + c * WINDOWS
                            count = min(WINDOWS, area - c * WINDOWS)
                            m = k if y != NULL else 0
                            count = find_windows(dout + k, y + m, where + m, base + c * WINDOWS, count, g.down * g.PW,
                                                 g.across, mine, at)
                            add_values(mine, count, sums + (item * g.F + f) * size + R * WINDOW_LANES)
                            add_windows(R, FW, <const floating*>image, taps, at, <const floating*>mine,
                                        count + count % 2, sums + (item * g.F + f) * size)
        for f in prange(g.F, schedule="static"):
            finish_filter(sums, f, g.F, size, sets, db)
            for r in range(R):
                memcpy(dW + (f * R + r) * FW, sums + f * size + r * WINDOW_LANES, FW * sizeof(floating))
        cconv_ftz_restore(state)


cdef struct Piece:
    int R, J  # rows and vectors of a window,
    Py_ssize_t pixels, weights  # and where they begin in an image and in a filter

cdef struct List:
    Py_ssize_t N, C, F, H, W, FH, FW
    Py_ssize_t PH, PW, pixel  # the padded image, of which a pixel has so many values: whole vectors
    Py_ssize_t down, up  # how far apart the rows of a window are, and those of windows below each other
    Py_ssize_t across
    Py_ssize_t rows, columns  # of the list
    Py_ssize_t bands  # into which the rows are cut; all filters visit one before the next
    Py_ssize_t lanes, room  # and for how many values of a filter there is room
    Py_ssize_t sets, size  # of images, that have sums of their own: so many for each filter
    Py_ssize_t pieces
    Piece* piece
    const Py_ssize_t* off  # where each pixel lies in the padded image; those that no window reads behind it


cdef inline void add_listed(int R, int J, const floating* image, Py_ssize_t row, const int32_t* at,
                            const floating* value, Py_ssize_t n, floating* total, Py_ssize_t step) noexcept nogil:
    if floating is float:
        add_listed_float(R, J, image, row, at, value, n, total, step)
    else:
        add_listed_double(R, J, image, row, at, value, n, total, step)


cdef inline void spread_listed(int R, int J, floating* image, Py_ssize_t row, const int32_t* at, const floating* value,
                               Py_ssize_t n, const floating* weights, Py_ssize_t step) noexcept nogil:
    if floating is float:
        spread_listed_float(R, J, image, row, at, value, n, weights, step)
    else:
        spread_listed_double(R, J, image, row, at, value, n, weights, step)


cdef inline void channels_last(const floating* x, Py_ssize_t C, Py_ssize_t count, const Py_ssize_t* off,
                               floating* to) noexcept nogil:
    if floating is float:
        channels_last_float(x, C, count, off, to)
    else:
        channels_last_double(x, C, count, off, to)


cdef inline void channels_first(const floating* image, const Py_ssize_t* off, Py_ssize_t C, Py_ssize_t count,
                                floating* to) noexcept nogil:
    if floating is float:
        channels_first_float(image, off, C, count, to)
    else:
        channels_first_double(image, off, C, count, to)


cdef inline void visit(const floating* image, floating* gradient, List* g, const int32_t* at, const floating* value,
                       Py_ssize_t n, const floating* weights, floating* total) noexcept nogil:
    """Add what a filter's list gives to its weights' sums, or unless `gradient` is NULL to the image's gradient."""
    cdef Py_ssize_t step = g.FW * g.pixel, i
    cdef Piece* p
    for i in range(g.pieces):
        p = g.piece + i
        if gradient == NULL:
            add_listed(p.R, p.J, image + p.pixels, g.down, at, value, n, total + p.weights, step)
        else:
            spread_listed(p.R, p.J, gradient + p.pixels, g.down, at, value, n, weights + p.weights, step)


cdef bytearray cut_windows(List* g):
    """Cut a window into pieces of rows and vectors that registers hold."""
    cdef Py_ssize_t vectors = g.FW * g.pixel // g.lanes, parts = ceil_div(g.FH, LIST_ROWS), i, j, r, v
    cdef Py_ssize_t across = ceil_div(vectors, list_vectors(<int>ceil_div(g.FH, parts)))
    cdef bytearray pieces = bytearray(parts * across * sizeof(Piece))
    cdef Piece* p = <Piece*><char*>pieces
    g.pieces = parts * across
    g.piece = p
    for i in range(parts):
        r = i * g.FH // parts
        for j in range(across):
            v = j * vectors // across
            p.R = <int>((i + 1) * g.FH // parts - r)
            p.J = <int>((j + 1) * vectors // across - v)
            p.pixels = r * g.down + v * g.lanes
            p.weights = r * g.FW * g.pixel + v * g.lanes
            p += 1
    return pieces


cdef void visit_image(const floating* dout, const floating* y, const uint8_t* where, const int32_t* base,
                      const floating* image, floating* gradient, const floating* weights, floating* sums,
                      List* g, floating* value, int32_t* at, Py_ssize_t* count) noexcept nogil:
    """Visit the list of one image, band by band: first for the weights, unless `sums` is NULL, then for the image."""
    cdef Py_ssize_t band, f, first, size, k, K = g.FH * g.FW * g.pixel
    for band in range(g.bands):
        first = band * g.rows // g.bands * g.columns
        size = (band + 1) * g.rows // g.bands * g.columns - first
        for f in range(g.F):
            k = f * g.rows * g.columns + first
            count[f] = find_windows(dout + k, y + k if y != NULL else y, where + k if y != NULL else where,
                                    base + first, size, g.up, g.across, value + f * g.room, at + f * g.room)
        if sums != NULL:
            for f in range(g.F):
                add_values(value + f * g.room, count[f], sums + (f + 1) * g.size - WINDOW_LANES)
                visit(image, <floating*>NULL, g, at + f * g.room, <const floating*>value + f * g.room, count[f],
                      weights, sums + f * g.size)
        if gradient != NULL:
            for f in range(g.F):
                visit(image, gradient, g, at + f * g.room, <const floating*>value + f * g.room, count[f],
                      weights + f * K, sums)


cdef void list_gradient(const floating* dout, const floating* y, const uint8_t* where, const floating* x,
                        const floating* W, floating* dW, floating* db, floating* dx, const int32_t* base, List* g,
                        floating* weights, floating* sums, floating* scratch, Py_ssize_t private,
                        int num_threads) noexcept nogil:
    """Both gradients from a list; dW and dx may be NULL."""
    cdef Py_ssize_t taps = g.FH * g.FW, K = taps * g.pixel, total = g.F * g.size, item, f, n, m, t
    cdef Py_ssize_t area = (g.PH * g.PW + 1) * g.pixel, image = g.C * g.H * g.W
    cdef floating* mine = NULL
    cdef floating* gradient = NULL
    cdef floating* value = NULL
    cdef floating* mysum = NULL
    cdef shared_pieces shared
    cdef unsigned state = 0
    deal_pieces(&shared, g.sets, num_threads)
    with parallel(num_threads=num_threads):
        mine = scratch + threadid() * private
        gradient = mine + area if dx != NULL else NULL
        value = mine + 2 * area
        state = cconv_ftz_on()
        memset(mine, 0, area * sizeof(floating))  # what lies beside the images stays 0
        if dx != NULL:
            for f in prange(g.F, schedule="static"):
                turn_padded(W + f * g.C * taps, taps, g.C, taps, weights + f * K, g.pixel)
        for t in prange(num_threads, schedule="static"):
            while (item := take_piece(&shared, t)) >= 0:
                mysum = sums + item * total
                if dW != NULL:
                    memset(mysum, 0, total * sizeof(floating))
                for n in range(item * g.N // g.sets, (item + 1) * g.N // g.sets):
                    if dW != NULL:
                        channels_last(x + n * image, g.C, g.H * g.W, g.off, mine)
                    if dx != NULL:
                        memset(gradient, 0, area * sizeof(floating))
                    m = n * g.F * g.rows * g.columns
                    visit_image(dout + m, y + m if y != NULL else y, where + m if y != NULL else where, base,
                                <const floating*>mine, gradient, <const floating*>weights,
                                mysum if dW != NULL else <floating*>NULL, g, value,
                                <int32_t*>(value + g.F * g.room), <Py_ssize_t*>(value + 2 * g.F * g.room))
                    if dx != NULL:
                        channels_first(<const floating*>gradient, g.off, g.C, g.H * g.W, dx + n * image)
        if dW != NULL:
            for f in prange(g.F, schedule="static"):
                finish_filter(sums, f, g.F, g.size, g.sets, db)
                turn(sums + f * g.size, g.pixel, taps, g.C, dW + f * g.C * taps, taps)
        cconv_ftz_restore(state)


cdef enum Kind:
    OUTPUT, POOLED_OUTPUT, INPUT_GRADIENT, WEIGHT_GRADIENT, WINDOW_GRADIENT


cdef class Plan:
    """The tables of one geometry for one kind of pass."""

    cdef Gather g
    cdef object tables
    cdef object each
    cdef Py_ssize_t itemsize
    cdef Kind kind

    def __init__(self, tuple source, tuple filters, tuple target, Py_ssize_t sh, Py_ssize_t sw, Py_ssize_t pt,
                 Py_ssize_t pl, Py_ssize_t dh, Py_ssize_t dw, Py_ssize_t groups, Py_ssize_t itemsize, Kind kind):
        cdef Gather* g = &self.g
        cdef Py_ssize_t FH = filters[2], FW = filters[3], H = target[1], W = target[2], y, z, passes, rows
        cdef Py_ssize_t* room
        self.itemsize = itemsize
        self.kind = kind
        g.groups = groups
        g.C = source[0] // groups
        g.F = target[0] // groups
        g.H = source[1]
        g.W = source[2]
        g.area = H * W
        g.width = W
        g.rows = H
        g.row = W
        g.lanes = TILE_BYTES // itemsize
        g.vectors = ceil_div(g.F, g.lanes)
        g.split = dw if kind in (OUTPUT, POOLED_OUTPUT, INPUT_GRADIENT) and splits(g, FW, sw, dw) else 1
        g.ph = sh if kind == INPUT_GRADIENT else 1
        g.pw = sw if kind == INPUT_GRADIENT else 1
        g.pw = max(g.pw, g.split)
        passes = g.ph * g.pw
        g.folded = FH == FW == passes == sw == 1 and kind in (OUTPUT, POOLED_OUTPUT, INPUT_GRADIENT)
        rows = max(H, ceil_div(g.area, STRIP))
        self.each = bytearray(passes * sizeof(Pass))
        g.each = <Pass*><char*>self.each
        self.tables = np.empty(g.area + TAP_WORDS * FH * FW * passes + 2 * rows * g.pw, np.intp)
        g.off = <Py_ssize_t*>cnp.PyArray_DATA(self.tables)
        g.taps = g.off + g.area
        room = g.taps + 2 * rows * g.pw
        if kind == INPUT_GRADIENT:
            self.plan_input_gradient(FH, FW, sh, sw, pt, pl, dh, dw, room)
        else:
            self.plan_output(FH, FW, sh, sw, pt, pl, dh, dw, room)
        g.step = g.PW
        for y in range(H):
            for z in range(W):
                g.off[y * W + z] = y * g.down // g.up * g.PW + z * g.across
        g.compact = (g.folded and g.down == 1 and g.PW == W and g.PH == H and g.C >= COMPACT_CHANNELS
                     and kind != POOLED_OUTPUT)
        if g.compact:
            g.copied = False
            g.plane = g.PH * g.PW
        if (g.PW == W and not g.copied and FW == passes == g.down == g.across == 1 and g.lowest == 0
                and H + g.highest <= g.H and kind in (OUTPUT, INPUT_GRADIENT)):
            # No gap between the rows: the image is one long row, cut into pieces of a good length.
            g.row = min(g.area, STRIP)
            g.rows = ceil_div(g.area, g.row)
            g.step = g.row
        for y in range(g.rows):
            for z in range(g.pw):
                find_taps(g, y, g.each + y % g.ph * g.pw + z, g.taps + 2 * (y * g.pw + z))
        for y in range(passes):
            find_side(g, g.each + y)
        if g.by_tap and g.each.side > 0:
            g.V = min(g.vectors, TILE_SIDE_V)
        elif kind == WEIGHT_GRADIENT:  # tiles of weights, which lie anywhere
            g.V = tile_width(g.vectors, g.C if g.by_tap else g.C * FH * FW, 0, 0, g.lanes)
        else:
            g.V = tile_width(g.vectors, ceil_div(g.row, g.pw), g.across, g.each.side, g.lanes)
        g.most = most_outputs(g.V, g.across, g.each.side, g.lanes)
        set_tiles(g)

    cdef void plan_output(self, Py_ssize_t FH, Py_ssize_t FW, Py_ssize_t sh, Py_ssize_t sw, Py_ssize_t pt,
                          Py_ssize_t pl, Py_ssize_t dh, Py_ssize_t dw, Py_ssize_t* room):
        cdef Gather* g = &self.g
        cdef Pass* p = g.each
        cdef Py_ssize_t high = (g.rows - 1) * sh + (FH - 1) * dh + 1, i, j
        cdef Py_ssize_t wide = (g.width - 1) * sw + (FW - 1) * dw + 1, z
        cdef bint outside = pt > 0 or pl > 0 or high > g.H or wide > g.W, whole, padded
        # A weight gradient leaves out the taps outside of the image where there are enough channels for a tile of one
        # tap, and else needs the image with all its padding. An output needs no rows of it, nor one column: the outer
        # outputs of a row leave that out.
        g.by_tap = (self.kind == WEIGHT_GRADIENT and g.C >= TAP_CHANNELS
                    and (outside or TILE_SIDE > 0 and sw == dw == 1 and FW in (3, 5)))
        whole = self.kind in (WEIGHT_GRADIENT, WINDOW_GRADIENT) and not g.by_tap
        if g.split > 1:
            padded = True
            wide = round_up(wide, g.split)
        elif whole or g.by_tap:
            padded = whole and outside
        elif sw == 1:
            padded = pl > 1 or wide - pl > g.W + 1
        else:
            padded = pl > 0 or wide > g.W
        g.top = pt if whole else 0
        g.left = pl if padded else 0
        g.PH = high if whole and padded else g.H
        g.PW = wide if padded else g.W
        if self.kind == WINDOW_GRADIENT:
            g.PW = round_up(g.PW, CACHE_LINE // self.itemsize)
        set_planes(g, padded, whole)
        g.down = sh
        g.up = 1
        g.across = sw
        g.lowest = g.top - pt
        g.highest = g.lowest + (FH - 1) * dh
        for z in range(g.split):
            p = g.each + z
            p.width = ceil_div(g.width - z, g.split)
            p.weights = 0
            give_taps(p, room + TAP_WORDS * FH * FW * z, FH * FW)
            for i in range(FH):
                for j in range(FW):
                    add_tap(g, p, g.lowest + i * dh, z + j * dw - pl, i * FW + j)
        g.weights = g.C * FH * FW * g.vectors * g.lanes

    cdef void plan_input_gradient(self, Py_ssize_t FH, Py_ssize_t FW, Py_ssize_t sh, Py_ssize_t sw, Py_ssize_t pt,
                                  Py_ssize_t pl, Py_ssize_t dh, Py_ssize_t dw, Py_ssize_t* room):
        cdef Gather* g = &self.g
        cdef Pass* p
        cdef Py_ssize_t i, j, y, py, pz
        g.top = 0
        g.left = max(ceil_div(max((FW - 1) * dw - pl, 0), sw), 0)
        g.PH = g.H
        g.PW = g.left + max((g.width - 1 + pl) // sw + 1, 1)
        cdef bint padded = g.split > 1 or g.left > 1 or g.PW - g.left > g.W + 1
        g.PW = round_up(g.PW, g.split)
        if not padded:
            g.left = 0
            g.PW = g.W
        set_planes(g, padded, False)
        g.down = 1
        g.up = sh
        g.across = 1
        g.lowest = 0
        g.highest = 0
        g.weights = 0
        for py in range(sh):
            for pz in range(g.pw):
                p = g.each + py * g.pw + pz
                p.weights = g.weights
                p.width = max(ceil_div(g.width - pz, g.pw), 0)
                give_taps(p, room, FH * FW)
                room += TAP_WORDS * FH * FW
                # The smallest input position of this phase fixes how far each tap lies in dout.
                for i in range(FH):
                    if (py + pt - i * dh) % sh != 0:
                        continue
                    y = floor_div(py + pt - i * dh, sh)
                    for j in range(FW - 1, -1, -1):  # the pixels under them in order, from left to right
                        if (pz + pl - j * dw) % sw != 0:
                            continue
                        add_tap(g, p, y, floor_div(pz + pl - j * dw, sw), i * FW + j)
                        g.lowest = min(g.lowest, y)
                        g.highest = max(g.highest, y)
                if g.split == 1 or pz == g.split - 1:
                    g.weights += g.C * p.taps * g.vectors * g.lanes


cdef void set_planes(Gather* g, bint padded, bint whole):
    """Find out whether images are copied, and how far apart their channels lie.

    A tile reads a few pixels of every channel. Where channels lie a power of two apart, these fall in few of the first
    cache's sets (4 KiB in 8 ways, at least) and would drive each other out; an odd number of cache lines spreads them.
    """
    cdef Py_ssize_t itemsize = TILE_BYTES // g.lanes, size = g.PH * g.PW * itemsize, shared = gcd(size, 4096)
    g.copied = padded or not whole and shared >= 512 and g.C * shared > 4 * 4096
    g.plane = (ceil_div(size, 64) | 1) * 64 // itemsize if g.copied else g.PH * g.PW


cdef void set_tiles(Gather* g):
    """Find out how many tiles a row is, and for how many channels they ask: large ones with rows of taps, or none."""
    cdef Py_ssize_t width = ceil_div(g.row, g.pw), tiles = ceil_div(width, g.most)
    g.tiles = max(tiles * g.pw * ceil_div(g.vectors, g.V), 1)
    g.asked = 0
    if (g.across == 1 and tiles > 0 and width // tiles * g.V >= TILE_ASKING
            and (g.folded or shares(g.V, g.each.side, g.lanes))):
        g.asked = g.C - g.C % TILE_ASKED


cdef Py_ssize_t gcd(Py_ssize_t a, Py_ssize_t b):
    while b:
        a, b = b, a % b
    return a


cdef void give_taps(Pass* p, Py_ssize_t* room, Py_ssize_t most):
    """Give a pass the tables of `most` taps, none of them filled."""
    p.taps = 0
    p.table = room
    p.row = room + most
    p.tap = room + 2 * most
    p.kept = <uint16_t*>(room + 3 * most)
    p.most = most


cdef void add_tap(Gather* g, Pass* p, Py_ssize_t row, Py_ssize_t column, Py_ssize_t tap):
    """Add a tap that lies so many rows below the outputs' places, and for the first output of the pass on a column."""
    cdef Py_ssize_t at = g.left + column, which
    cdef uint16_t* kept
    p.table[p.taps] = row * g.PW + (at if g.split == 1 else at % g.split * (g.PW // g.split) + at // g.split)
    p.row[p.taps] = row
    for which in range(4):
        kept = p.kept + 2 * (which * p.most + p.taps)
        kept[0] = 0 if which & 1 and column < 0 else 0xFFFF
        kept[1] = 0 if which & 2 and (p.width - 1) * g.split + column >= g.W else 0xFFFF
    p.tap[p.taps] = tap
    p.taps += 1


cdef void find_side(Gather* g, Pass* p):
    """Find out whether taps lie side by side, as many in each row as `tile_run` has a loop for."""
    cdef Py_ssize_t t
    cdef int side
    p.side = 0
    for side in range(3, TILE_SIDE + 1, 2):
        if g.across == 1 and p.taps % side == 0:
            for t in range(p.taps):
                if p.table[t] != p.table[t - t % side] + t % side:
                    break
            else:
                p.side = side


cdef void find_taps(Gather* g, Py_ssize_t y, Pass* p, Py_ssize_t* taps):
    """Find which taps of row y read rows of the image: they follow each other."""
    cdef Py_ssize_t t, at
    taps[0] = taps[1] = 0
    for t in range(p.taps):
        at = y * g.down // g.up + p.row[t]
        if g.row != g.width or 0 <= at < g.PH:
            if taps[1] == 0:
                taps[0] = t
            taps[1] = t + 1


cdef dict plans = {}


cdef inline tuple sizes(cnp.ndarray images):
    """The channels, height and width of one image."""
    return images.shape[1], images.shape[2], images.shape[3]


cdef Plan find_plan(cnp.ndarray source, cnp.ndarray W, tuple target, tuple steps, Py_ssize_t groups, Kind kind):
    """Return the plan of a geometry, from the last few that were used."""
    cdef tuple key = (source.shape[1], source.shape[2], source.shape[3], W.shape[0], W.shape[2], W.shape[3],
                      target, steps, groups, cnp.PyArray_ITEMSIZE(W), kind)
    found = plans.get(key)
    if found is None:
        found = Plan(sizes(source), (<object>W).shape, target, *steps, groups, cnp.PyArray_ITEMSIZE(W), kind)
        if len(plans) >= 256:
            plans.clear()
        plans[key] = found
    return <Plan>found


cdef void check_scratch(double values):
    """Refuse a scratch whose size in bytes would leave a machine word."""
    if values > 2.0**56:
        raise MemoryError(f"padded images would take {values:.0f} values of scratch")


cdef void run_gather(cnp.ndarray source, cnp.ndarray W, object b, cnp.ndarray target, Plan plan, object argmax,
                     int num_threads):
    cdef Gather* g = &plan.g
    cdef bint pooled = plan.kind == POOLED_OUTPUT
    cdef Py_ssize_t taps = W.shape[2] * W.shape[3], N = source.shape[0]
    cdef Py_ssize_t packed = round_up(g.groups * (g.weights + g.vectors * g.lanes), ALIGNMENT)
    cdef Py_ssize_t private = strip_size(g, pooled)
    cdef Py_ssize_t f_step = taps * g.C, c_step = taps
    cdef cnp.ndarray scratch
    cdef void* bias = NULL if b is None else cnp.PyArray_DATA(<cnp.ndarray>b)
    cdef void* xs = cnp.PyArray_DATA(source)
    cdef void* ws = cnp.PyArray_DATA(W)
    cdef void* out = cnp.PyArray_DATA(target)
    cdef uint8_t* where = NULL if argmax is None else <uint8_t*>cnp.PyArray_DATA(<cnp.ndarray>argmax)
    cdef void* work
    if target.shape[0] == 0:
        return
    if plan.kind == INPUT_GRADIENT:
        f_step = taps
        c_step = taps * g.F
    if g.copied:
        check_scratch(<double>g.groups * g.C * g.plane * num_threads)
        private += round_up(g.groups * g.C * g.plane + g.lanes, ALIGNMENT)
        if g.split > 1:
            private += round_up(g.PW + (2 * g.split + 1) * g.lanes, ALIGNMENT)
    elif g.compact:
        private += round_up(ceil_div(g.row, g.most) * g.most * g.C + g.lanes, ALIGNMENT)
    scratch = empty((packed + private * num_threads,), W.dtype)
    work = cnp.PyArray_DATA(scratch)
    if cnp.PyArray_TYPE(W) == cnp.NPY_FLOAT:
        with nogil:
            gather[float](<float*>xs, <float*>ws, f_step, c_step, <float*>bias, <float*>out, where, pooled, N, g,
                          <float*>work, <float*>work + packed, private, num_threads)
    else:
        with nogil:
            gather[double](<double*>xs, <double*>ws, f_step, c_step, <double*>bias, <double*>out, where, pooled,
                           N, g, <double*>work, <double*>work + packed, private, num_threads)


def forward(cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out, tuple steps, int groups, int num_threads, /):
    """Write the convolution of x (N, C, H, W) with W (FN, C / groups, FH, FW), plus b (FN,) or None, into out."""
    cdef Plan plan = find_plan(x, W, sizes(out), steps, groups, OUTPUT)
    run_gather(x, W, b, out, plan, None, num_threads)


def forward_pooled(cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out, object argmax, int OH, int OW,
                   tuple steps, int groups, int num_threads, /):
    """Write the 2 x 2 maxima, stride 2, of relu(convolution) into out, and where they lie into argmax unless None.

    OH and OW are the size of the convolution's own output, of which a thread holds two rows at a time.
    """
    cdef Plan plan = find_plan(x, W, (W.shape[0], OH, OW), steps, groups, POOLED_OUTPUT)
    run_gather(x, W, b, out, plan, argmax, num_threads)


def backward_input(cnp.ndarray dout, cnp.ndarray W, cnp.ndarray dx, tuple steps, int groups, int num_threads,
                   object bias=None, /):
    """Write the gradient with respect to the input, plus a bias per input channel or None, into dx."""
    cdef Plan plan = find_plan(dout, W, sizes(dx), steps, groups, INPUT_GRADIENT)
    run_gather(dout, W, bias, dx, plan, None, num_threads)


cdef struct Scatter:
    Py_ssize_t groups, C, F  # channels of the gradient and of dout in one group
    Py_ssize_t H, W, OH, OW
    Py_ssize_t FH, FW, sh, sw, pt, pl, dh, dw
    Py_ssize_t first, rows, bands  # rows of the gradient's phases: where they begin, how many, in how many bands
    Py_ssize_t phase, line  # values of a band of one phase, and of a row of the result's phases
    Py_ssize_t lanes, V, most  # vectors and taps of a tile
    Py_ssize_t* table  # of a tile, whose weights follow each other,
    Py_ssize_t* off  # and those of its taps
    Py_ssize_t* down  # where the sums of each row of taps begin
    Py_ssize_t* shift  # how far each tap of a row moves its sums,
    Py_ssize_t* place  # which phase of the result's row it moves them to


cdef inline Py_ssize_t tap_row(Scatter* g, Py_ssize_t rows) noexcept nogil:
    """The first row of taps that lies `rows` rows of the gradient's phases, or more, below the output."""
    return min(ceil_div(max(rows, 0) * g.sh, g.dh), g.FH)


cdef void scatter_pixels(const floating* dout, const floating* end_of_dout, const floating* weights, Scatter* g,
                         Py_ssize_t first, Py_ssize_t end, Py_ssize_t count, floating* strip,
                         floating* sums) noexcept nogil:
    """Multiply `count` values of every channel with the rows of taps `first` to `end`, and add that to the sums."""
    cdef Py_ssize_t q = 0, t, v, i, j, k, f, n, tiles, area = g.OH * g.OW, step = g.sh * g.phase, b_step
    cdef Py_ssize_t share = ceil_div(g.F, (end - first) * ceil_div(g.C * g.FW, g.most))
    cdef int V, P, wide = 0, wider = 0, size = 0, larger = 0
    cdef const floating* pixels
    cdef floating* to
    cdef floating* copy = strip + g.most * g.V * g.lanes
    for v in range(deal(ceil_div(count, g.lanes), <int>g.V, &wide, &wider)):
        V = wide + (v < wider)
        n = min(V * g.lanes, count - q)
        pixels = dout + q
        b_step = area
        if end_of_dout - (pixels + (g.F - 1) * area) < V * g.lanes:
            b_step = V * g.lanes
            for k in range(g.F):
                memcpy(copy + k * b_step, pixels + k * area, n * sizeof(floating))
            pixels = copy
        tiles = deal(g.C * g.FW, <int>g.most, &size, &larger)
        f = 0
        for i in range(first, end):
            t = 0
            for j in range(tiles):
                # The next pixels are asked for a few channels at a time.
                k = min(f + share, g.F)
                fetch(dout + q + n + f * area, area, V * g.lanes, k - f)
                f = k
                P = size + (j < larger)
                to = sums + t * step + g.down[i] + q
                tile(P, V, weights + (i * g.C * g.FW + t) * g.F, g.off, 1, 0, g.F, g.table, pixels, 0, b_step, strip,
                     V * g.lanes, False)
                for k in range(P):
                    add_shifted(<const floating*>strip + k * V * g.lanes, n, 0, n, to + k * step)
                t += P
        q += n


cdef void merge_band(const floating* sums, floating* bias, Scatter* g, Py_ssize_t first, Py_ssize_t end,
                     floating* lines, floating* dx) noexcept nogil:
    """Add up the sums of each row of taps and write them, with a bias, into rows of the gradient."""
    cdef Py_ssize_t c, y, s, x, j, step = g.sh * g.phase
    cdef floating b
    cdef floating* to
    cdef const floating* row
    for c in range(g.C):
        b = 0 if bias == NULL else bias[c]
        for y in range(max(first * g.sh - g.pt, 0), min(end * g.sh - g.pt, g.H)):
            to = dx + (c * g.H + y) * g.W
            s = quotient(y + g.pt, g.sh)
            row = sums + c * g.FW * step + (y + g.pt - s * g.sh) * g.phase + (s - first) * g.OW
            memset(lines, 0, g.sw * g.line * sizeof(floating))
            for j in range(g.FW):
                add_shifted(row + j * step, g.OW, g.shift[j], g.line, lines + g.place[j] * g.line)
            if g.sw == 1 and bias == NULL:
                memcpy(to, lines, g.W * sizeof(floating))
                continue
            for s in range(min(g.sw, g.W)):
                for x in range(quotient(g.W - s + g.sw - 1, g.sw)):
                    to[s + x * g.sw] = lines[s * g.line + x] + b


cdef void scatter_band(const floating* dout, const floating* end_of_dout, const floating* weights, floating* bias,
                       floating* dx, Scatter* g, Py_ssize_t band, floating* mine) noexcept nogil:
    """Compute a band of rows of one group of one image's gradient."""
    cdef Py_ssize_t first = g.first + band * g.rows // g.bands, end = g.first + (band + 1) * g.rows // g.bands
    cdef Py_ssize_t y = max(first - (g.FH - 1) * g.dh // g.sh, 0), z, i, j
    cdef floating* sums = mine + g.lanes
    cdef floating* lines = sums + round_up(g.C * g.FW * g.sh * g.phase + g.lanes, g.lanes)
    cdef floating* strip = lines + g.sw * g.line
    memset(sums, 0, g.C * g.FW * g.sh * g.phase * sizeof(floating))
    while y < min(end, g.OH):
        # Which rows of taps lie in this band; rows of outputs with the same ones are one.
        i = tap_row(g, first - y)
        j = tap_row(g, end - y)
        z = y + 1
        while z < min(end, g.OH) and tap_row(g, first - z) == i and tap_row(g, end - z) == j:
            z += 1
        if i < j:
            scatter_pixels(dout + y * g.OW, end_of_dout, weights, g, i, j, (z - y) * g.OW, strip,
                           sums + (y - first) * g.OW)
        y = z
    merge_band(<const floating*>sums, bias, g, first, end, lines, dx)


cdef void scatter_all(const floating* dout, const floating* W, floating* bias, floating* dx, Py_ssize_t N, Scatter* g,
                      floating* packed, Py_ssize_t private, int num_threads) noexcept nogil:
    cdef Py_ssize_t i, c, j, f, t, item, image, group, size = g.groups * g.F * g.OH * g.OW
    cdef floating* mine = NULL
    cdef floating* to = packed
    cdef shared_pieces shared
    cdef unsigned state = 0
    for group in range(g.groups):
        for i in range(g.FH):
            for c in range(g.C):
                for j in range(g.FW):
                    for f in range(g.F):
                        to[0] = W[(((group * g.F + f) * g.C + c) * g.FH + i) * g.FW + j]
                        to += 1
    deal_pieces(&shared, N * g.groups * g.bands, num_threads)
    with parallel(num_threads=num_threads):
        mine = packed + round_up(to - packed, ALIGNMENT) + threadid() * private
        state = cconv_ftz_on()
        for t in prange(num_threads, schedule="static"):
            while (item := take_piece(&shared, t)) >= 0:
                image = item // g.bands
                group = image % g.groups
                scatter_band(dout + image * g.F * g.OH * g.OW, dout + N * size,
                             <const floating*>packed + group * g.FH * g.C * g.FW * g.F,
                             NULL if bias == NULL else bias + group * g.C, dx + image * g.C * g.H * g.W, g,
                             item % g.bands, mine)
        cconv_ftz_restore(state)


def scatters(cnp.ndarray W, tuple steps, int groups, /):
    """Whether `backward_scattered` is the fastest of the input gradients: few channels from many.

    A tile of few taps costs a multiply-add and a tenth, and ten more where its sums are added to those of other taps;
    lanes of pixels (`_conv_pixels.pyx`) 1.4 / channels more to be loaded.
    """
    cdef Py_ssize_t C = W.shape[1], F = W.shape[0] // groups
    return C <= SCATTER_CHANNELS and F >= 8 * C and W.shape[2] * W.shape[3] > 1 and max(steps[:2]) <= SCATTER_STRIDE


def backward_scattered(cnp.ndarray dout, cnp.ndarray W, cnp.ndarray dx, tuple steps, int groups, int num_threads,
                       object bias=None, /):
    """Write what `backward_input` does, from dout's pixels to the input's: for few channels and strides."""
    cdef Scatter g
    cdef Py_ssize_t i, taps, private, room, itemsize = cnp.PyArray_ITEMSIZE(W)
    cdef cnp.ndarray tables, scratch
    cdef void* ds = cnp.PyArray_DATA(dout)
    cdef void* ws = cnp.PyArray_DATA(W)
    cdef void* bs = NULL if bias is None else cnp.PyArray_DATA(<cnp.ndarray>bias)
    cdef void* out = cnp.PyArray_DATA(dx)
    cdef void* work
    if dx.size == 0:
        return
    g.groups, g.C, g.F = groups, W.shape[1], W.shape[0] // groups
    g.H, g.W, g.OH, g.OW = dx.shape[2], dx.shape[3], dout.shape[2], dout.shape[3]
    g.FH, g.FW = W.shape[2], W.shape[3]
    g.sh, g.sw, g.pt, g.pl, g.dh, g.dw = steps
    g.lanes = TILE_BYTES // itemsize
    g.first = g.pt // g.sh
    g.rows = (g.H - 1 + g.pt) // g.sh + 1 - g.first
    taps = g.C * g.FW
    room = min(max(SCATTER_SUMS // (taps * g.sh * g.OW * itemsize), 1), g.rows)
    g.bands = ceil_div(g.rows, room)
    g.phase = round_up(ceil_div(g.rows, g.bands) * g.OW, g.lanes)
    if g.sh * g.phase * itemsize % 1024 == 0:
        g.phase += g.lanes  # the sums of a tile's taps do not share a few sets of the cache
    g.line = round_up(ceil_div(g.W, g.sw), g.lanes)
    g.V = tile_width(MANY_VECTORS, taps, 0, 0, g.lanes)  # bands cut pixels into runs of any length; taps lie anywhere
    g.most = min(tile_rows(<int>g.V), taps)
    tables = np.arange(g.F + TILE_ROWS + g.FH + 2 * g.FW)
    g.table = <Py_ssize_t*>cnp.PyArray_DATA(tables)
    g.off = g.table + g.F
    g.down = g.off + TILE_ROWS
    g.shift = g.down + g.FH
    g.place = g.shift + g.FW
    for i in range(TILE_ROWS):
        g.off[i] = i * g.F
    for i in range(g.FH):
        g.down[i] = i * g.dh % g.sh * g.phase + i * g.dh // g.sh * g.OW
    for i in range(g.FW):
        g.shift[i] = floor_div(i * g.dw - g.pl, g.sw)
        g.place[i] = i * g.dw - g.pl - g.shift[i] * g.sw
    private = round_up(2 * g.lanes + taps * g.sh * g.phase + g.lanes + g.sw * g.line
                       + (g.most + g.F) * g.V * g.lanes, ALIGNMENT)
    scratch = empty((round_up(W.size, ALIGNMENT) + private * num_threads,), W.dtype)
    work = cnp.PyArray_DATA(scratch)
    if cnp.PyArray_TYPE(W) == cnp.NPY_FLOAT:
        with nogil:
            scatter_all[float](<float*>ds, <float*>ws, <float*>bs, <float*>out, dx.shape[0], &g, <float*>work, private,
                               num_threads)
    else:
        with nogil:
            scatter_all[double](<double*>ds, <double*>ws, <double*>bs, <double*>out, dx.shape[0], &g, <double*>work,
                                private, num_threads)


cdef void run_windows(cnp.ndarray dout, object y, object argmax, cnp.ndarray x, cnp.ndarray dW, object db,
                      Py_ssize_t OH, Py_ssize_t OW, tuple steps, int num_threads):
    """Compute the weight gradient from a list: the maxima of y, two outputs apart, or without it dout's nonzeros."""
    cdef Plan plan = find_plan(x, dW, (dW.shape[0], OH, OW), steps, 1, WINDOW_GRADIENT)
    cdef Gather* g = &plan.g
    cdef Py_ssize_t N = x.shape[0], FH = dW.shape[2], FW = dW.shape[3], apart = 1 if y is None else 2
    cdef Py_ssize_t columns = OW // apart, area = OH // apart * columns, k, private, start, dh = steps[4]
    cdef Py_ssize_t size = g.F * (g.C * FH + 1) * WINDOW_LANES, sets = max(min(GRADIENT_ITEMS, N), 1)
    cdef Py_ssize_t line = CACHE_LINE // plan.itemsize, half = line // 2
    cdef Py_ssize_t copy = round_up(g.C * g.plane + g.lanes + WINDOW_LANES, line)
    cdef Py_ssize_t[8] taps
    cdef cnp.ndarray bases = empty((area,), np.int32), scratch
    cdef int32_t* base = <int32_t*>cnp.PyArray_DATA(bases)
    cdef void* ds = cnp.PyArray_DATA(dout)
    cdef void* ys = NULL if y is None else cnp.PyArray_DATA(<cnp.ndarray>y)
    cdef uint8_t* where = NULL if y is None else <uint8_t*>cnp.PyArray_DATA(<cnp.ndarray>argmax)
    cdef void* xs = cnp.PyArray_DATA(x)
    cdef void* ws = cnp.PyArray_DATA(dW)
    cdef void* bias = NULL if db is None else cnp.PyArray_DATA(<cnp.ndarray>db)
    cdef void* work
    for k in range(area):
        start = apart * (k % columns) * g.across
        start += copy - half if start % line >= half else 0
        base[k] = <int32_t>(apart * (k // columns) * g.down * g.PW + start)
    for k in range(g.C * FH):
        taps[k] = k // FH * g.plane + k % FH * dh * g.PW
    check_scratch(<double>2 * g.C * g.plane * num_threads)
    private = round_up(2 * WINDOWS + 2 * copy, ALIGNMENT)
    size = round_up(size * sets, ALIGNMENT)
    scratch = empty((size + private * num_threads,), dW.dtype)
    work = cnp.PyArray_DATA(scratch)
    if cnp.PyArray_TYPE(dW) == cnp.NPY_FLOAT:
        with nogil:
            window_gradient[float](<float*>ds, <float*>ys, where, <float*>xs, <float*>ws, <float*>bias, N, g, area, FW,
                                   base, taps, copy, half, sets, <float*>work, <float*>work + size, private,
                                   num_threads)
    else:
        with nogil:
            window_gradient[double](<double*>ds, <double*>ys, where, <double*>xs, <double*>ws, <double*>bias, N, g,
                                    area, FW, base, taps, copy, half, sets, <double*>work, <double*>work + size,
                                    private, num_threads)


def backward_weights(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dW, object db, tuple steps, int groups,
                     int num_threads, /):
    """Write the gradient with respect to the filters into dW and, unless db is None, that of the bias into db."""
    cdef Plan plan = find_plan(x, dW, sizes(dout), steps, groups, WEIGHT_GRADIENT)
    cdef Gather* g = &plan.g
    cdef Pass* p = g.each
    cdef Py_ssize_t N = x.shape[0], lanes = g.vectors * g.lanes, rows = g.C * p.taps + 1
    cdef Py_ssize_t blocks = ceil_div(g.C * p.taps * lanes * plan.itemsize, GRADIENT_BLOCK)
    cdef Py_ssize_t block = ceil_div(g.C, min(blocks, g.C))
    cdef Py_ssize_t total = g.groups * rows * lanes, length, strips, sets, k, private, summed, together = 1
    cdef Py_ssize_t step = block * g.plane if g.copied else g.groups * g.C * g.H * g.W
    cdef Py_ssize_t unit = g.width if g.by_tap else g.lanes  # strips are whole ones of these
    cdef cnp.ndarray scratch, offsets
    cdef void* bias = NULL if db is None else cnp.PyArray_DATA(<cnp.ndarray>db)
    cdef void* xs = cnp.PyArray_DATA(x)
    cdef void* ds = cnp.PyArray_DATA(dout)
    cdef void* ws = cnp.PyArray_DATA(dW)
    cdef void* work
    cdef Py_ssize_t* off
    cdef Py_ssize_t* k_off
    if N == 0:
        dW[...] = 0
        if db is not None:
            db[...] = 0
        return
    blocks = ceil_div(g.C, block)
    sets = min(ceil_div(GRADIENT_ITEMS, blocks * g.groups), GRADIENT_BYTES // (total * plan.itemsize))
    sets = max(min(sets, N), 1)
    strips = ceil_div(g.area, max(GRADIENT_STRIP // lanes // unit, 1) * unit)
    length = round_up(ceil_div(g.area, strips), unit) if strips > 1 else g.area
    if strips == 1:
        # Small images share a strip, so that each tile has a long chain.
        together = max(min(GRADIENT_STRIP // lanes // g.area, N // sets), 1)
    private = round_up(together * length * lanes, ALIGNMENT)
    if g.copied:
        check_scratch(<double>block * g.plane * num_threads * together)
        private += round_up(together * block * g.plane + g.lanes, ALIGNMENT)
    summed = round_up(total * sets, ALIGNMENT)
    scratch = empty((summed + private * num_threads,), dW.dtype)
    work = cnp.PyArray_DATA(scratch)
    offsets = empty((block * p.taps + together * g.area,), np.intp)
    k_off = <Py_ssize_t*>cnp.PyArray_DATA(offsets)
    for k in range(block * p.taps):
        k_off[k] = k * g.plane if g.by_tap else k // p.taps * g.plane + p.table[k % p.taps]
    off = k_off + block * p.taps
    for k in range(together * g.area):
        off[k] = k // g.area * step + g.off[k % g.area]
    if cnp.PyArray_TYPE(dW) == cnp.NPY_FLOAT:
        with nogil:
            weight_gradient[float](<float*>ds, <float*>xs, <float*>ws, <float*>bias, N, g, block, blocks, sets, length,
                                   together, off, k_off, <float*>work, <float*>work + summed, private, num_threads)
    else:
        with nogil:
            weight_gradient[double](<double*>ds, <double*>xs, <double*>ws, <double*>bias, N, g, block, blocks, sets,
                                    length, together, off, k_off, <double*>work, <double*>work + summed, private,
                                    num_threads)


cdef bint all_numbers(cnp.ndarray array):
    """Whether no value is infinite or not a number."""
    if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT:
        return all_finite(<const float*>cnp.PyArray_DATA(array), cnp.PyArray_SIZE(array))
    return all_finite(<const double*>cnp.PyArray_DATA(array), cnp.PyArray_SIZE(array))


cdef double share(cnp.ndarray dout):
    """The share of values that are not 0, as a few channels of a few images show it."""
    cdef Py_ssize_t lines = dout.shape[0] * dout.shape[1], area = dout.shape[2] * dout.shape[3]
    if lines * area == 0:
        return 1
    if cnp.PyArray_TYPE(dout) == cnp.NPY_FLOAT:
        return share_nonzero(<const float*>cnp.PyArray_DATA(dout), lines, area, area)
    return share_nonzero(<const double*>cnp.PyArray_DATA(dout), lines, area, area)


def few_windows(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray W, /):
    """Whether a weight gradient is faster that visits the values of dout that are not 0, and as good as one of all.

    A register of taps takes about the time in which all values of a cache line are multiplied where every output
    counts.
    """
    cdef Py_ssize_t bytes = W.shape[3] * cnp.PyArray_ITEMSIZE(W)  # of a row of taps
    cdef unsigned state = cconv_ftz_on()
    cdef bint few = share(dout) * ceil_div(bytes, WINDOW_BYTES) * CACHE_LINE < bytes and all_numbers(x)
    cconv_ftz_restore(state)
    return few


def few_values(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray W, /):
    """Whether gradients from a list of dout's values that are not 0 are faster than, and as good as, those of all."""
    cdef unsigned state = cconv_ftz_on()
    cdef bint few = share(dout) * 100 < LIST_PERCENT and all_numbers(x) and all_numbers(W)
    cconv_ftz_restore(state)
    return few


def backward_listed(cnp.ndarray dout, object y, object argmax, cnp.ndarray x, cnp.ndarray W, object dW, object db,
                    object dx, int OH, int OW, tuple steps, int num_threads, /):
    """Write the gradients of a convolution with OH x OW outputs into dW, db and dx, of which any may be None.

    dout and y are what `backward_windows` takes; without y, dout is the gradient of the convolution's own output. Only
    the maxima that relu passed, or the values of dout that are not 0, are visited. Offsets in a padded image with its
    channels last, whole vectors of them, must fit 32 bits.
    """
    cdef List g
    cdef Py_ssize_t sh, sw, pt, pl, dh, k, itemsize = cnp.PyArray_ITEMSIZE(W), apart = 1 if y is None else 2
    cdef Py_ssize_t K, total, private, weights, area, y_at, x_at
    cdef Py_ssize_t* off
    cdef cnp.ndarray bases, places, scratch
    cdef bytearray _pieces
    cdef int32_t* base
    cdef void* ds = cnp.PyArray_DATA(dout)
    cdef void* ys = NULL if y is None else cnp.PyArray_DATA(<cnp.ndarray>y)
    cdef uint8_t* where = NULL if y is None else <uint8_t*>cnp.PyArray_DATA(<cnp.ndarray>argmax)
    cdef void* xs = cnp.PyArray_DATA(x)
    cdef void* ws = cnp.PyArray_DATA(W)
    cdef void* out = NULL if dW is None else cnp.PyArray_DATA(<cnp.ndarray>dW)
    cdef void* bias = NULL if db is None else cnp.PyArray_DATA(<cnp.ndarray>db)
    cdef void* back = NULL if dx is None else cnp.PyArray_DATA(<cnp.ndarray>dx)
    cdef void* work
    sh, sw, pt, pl, dh, _ = steps
    g.N, g.C, g.H, g.W = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    g.F, g.FH, g.FW = W.shape[0], W.shape[2], W.shape[3]
    g.lanes = TILE_BYTES // itemsize
    g.pixel = round_up(g.C, g.lanes)
    g.PH = (OH - 1) * sh + (g.FH - 1) * dh + 1
    g.PW = (OW - 1) * sw + g.FW
    g.down = dh * g.PW * g.pixel
    g.up = sh * g.PW * g.pixel
    g.across = sw * g.pixel
    g.rows = OH // apart
    g.columns = OW // apart
    g.bands = max(ceil_div(g.rows, max(LIST_BAND // (g.PW * g.pixel * itemsize * sh * apart), 1)), 1)
    g.room = round_up(ceil_div(g.rows, g.bands) * g.columns, g.lanes) + max(g.lanes, WINDOW_LANES)
    _pieces = cut_windows(&g)  # g points into it
    K = g.FH * g.FW * g.pixel
    g.size = K + round_up(WINDOW_LANES, g.lanes)  # whole vectors, the last values for the bias
    total = g.F * g.size
    g.sets = max(min(min(GRADIENT_ITEMS, max(LIST_SUMS // (total * itemsize), 4)), g.N), 1)
    places = empty((g.H * g.W,), np.intp)
    off = <Py_ssize_t*>cnp.PyArray_DATA(places)
    for k in range(g.H * g.W):
        y_at = k // g.W + pt
        x_at = k % g.W + pl
        off[k] = (y_at * g.PW + x_at if y_at < g.PH and x_at < g.PW else g.PH * g.PW) * g.pixel
    g.off = off
    bases = empty((g.rows * g.columns,), np.int32)
    base = <int32_t*>cnp.PyArray_DATA(bases)
    for k in range(g.rows * g.columns):
        base[k] = <int32_t>(apart * (k // g.columns) * g.up + apart * (k % g.columns) * g.across)
    area = (g.PH * g.PW + 1) * g.pixel
    check_scratch(<double>2 * area * num_threads)
    weights = round_up(g.F * K, ALIGNMENT)
    private = round_up(2 * area + 2 * g.F * g.room + g.F * <Py_ssize_t>(sizeof(Py_ssize_t) // 4), ALIGNMENT)
    total = round_up(total * g.sets, ALIGNMENT)
    scratch = empty((weights + total + private * num_threads,), W.dtype)
    work = cnp.PyArray_DATA(scratch)
    if cnp.PyArray_TYPE(W) == cnp.NPY_FLOAT:
        with nogil:
            list_gradient[float](<float*>ds, <float*>ys, where, <float*>xs, <float*>ws, <float*>out, <float*>bias,
                                 <float*>back, base, &g, <float*>work, <float*>work + weights,
                                 <float*>work + weights + total, private, num_threads)
    else:
        with nogil:
            list_gradient[double](<double*>ds, <double*>ys, where, <double*>xs, <double*>ws, <double*>out,
                                  <double*>bias, <double*>back, base, &g, <double*>work, <double*>work + weights,
                                  <double*>work + weights + total, private, num_threads)


def backward_windows(cnp.ndarray dout, object y, object argmax, cnp.ndarray x, cnp.ndarray dW, object db, int OH,
                     int OW, tuple steps, int num_threads, /):
    """Write the weight gradient of a convolution with OH x OW outputs into dW and, unless None, the bias's into db.

    dout is the gradient of y, the output of `forward_pooled`, and argmax where the maxima lie; without y, that of the
    convolution's own output. Only these maxima, or the values of dout that are not 0, are visited. A row of taps must
    fit WINDOW_LANES, and the rows of all channels WINDOW_ROWS; places in two padded images must fit 32 bits.
    """
    run_windows(dout, y, argmax, x, dW, db, OH, OW, steps, num_threads)
