"""Outputs and input gradients of a convolution, by the plan of its geometry: what `_conv.pyx` runs for both."""

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
# Relu and 2 x 2 maxima (conv/pooled.h) join two rows of outputs while their lanes are still channels, so that only the
# maxima are transposed and written.

from cython cimport floating
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from cconv.kernels.conv.finish cimport Finish, finish_outputs
from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.runtime.division cimport ceil_div, deal, quotient, round_up
from cconv.kernels.vector.tile cimport (
    TILE_BYTES, TILE_MAX_V, TILE_SIDE_V, Ahead, expect, fetch, look_ahead, pad, pad_split, plan_lines, run_rows,
    side_rows, tile, tile_cost, tile_product, tile_rows, tile_run, turn_padded
)


cdef extern from "conv/pooled.h" nogil:
    void max_of_rows_float(const float*, const float*, Py_ssize_t, Py_ssize_t, const float*, float*, uint32_t*,
                           Py_ssize_t) noexcept
    void max_of_rows_double(const double*, const double*, Py_ssize_t, Py_ssize_t, const double*, double*, uint64_t*,
                            Py_ssize_t) noexcept
    void turn_places_float(const uint32_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, uint8_t*, Py_ssize_t) noexcept
    void turn_places_double(const uint64_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, uint8_t*, Py_ssize_t) noexcept


cdef enum:
    STRIP = 112  # outputs between two transposes: a multiple of every tile's rows and of every vector's lanes
    ALIGNMENT = 64


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

cdef struct GatherJob:
    bint single
    bint pooled  # whether relu and 2 x 2 maxima follow
    const void* x
    Finish after  # the sums; of pooled outputs no more than the bias
    void* out
    uint8_t* where  # where the maxima lie, or NULL
    Gather* g
    Py_ssize_t N
    Py_ssize_t parts  # into which the rows of an image are cut: each a piece of work
    void* packed  # weights, and biases with zeros for the lanes beyond F
    void* scratch
    Py_ssize_t private  # values of it for each thread


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


cdef inline bint shares(Py_ssize_t V, int side, Py_ssize_t lanes) noexcept nogil:
    """Whether `tile_run` has a loop of its own for these: not for a single vector of float64, for size's sake."""
    return side > 0 and V <= TILE_SIDE_V and (V > 1 or lanes * 4 == TILE_BYTES)


cdef inline int most_outputs(Py_ssize_t V, Py_ssize_t across, int side, Py_ssize_t lanes) noexcept nogil:
    """The most outputs of a tile with V vectors: more when what they read, or taps too, lie side by side."""
    if across != 1:
        return tile_rows(<int>V)
    return side_rows(<int>V, side) if shares(V, side, lanes) else run_rows(<int>V)


cdef inline double row_cost(Py_ssize_t V, Py_ssize_t width, Py_ssize_t across, int side,
                            Py_ssize_t lanes) noexcept nogil:
    """How much work a tap is for a row of `width` outputs with V vectors."""
    return tile_cost(V, ceil_div(width, most_outputs(V, across, side, lanes)), width,
                     side if shares(V, side, lanes) else 0)


cdef inline Py_ssize_t tile_width(Py_ssize_t vectors, Py_ssize_t width, Py_ssize_t across, int side, Py_ssize_t lanes,
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


cdef inline bint splits(Gather* g, Py_ssize_t FW, Py_ssize_t sw, Py_ssize_t dw):
    """Whether rows are split by the phases of a dilated filter, whose taps then lie side by side."""
    cdef double whole, split
    if FW not in (3, 5) or sw > 1 or dw == 1 or dw > g.width:
        return False
    tile_width(g.vectors, g.width, 1, 0, g.lanes, &whole)
    tile_width(g.vectors, ceil_div(g.width, dw), 1, <int>FW, g.lanes, &split)
    return dw * split < whole


cdef inline void pad_image(const floating* x, const floating* end, Py_ssize_t channels, Gather* g, Py_ssize_t first,
                           Py_ssize_t last, floating* to) noexcept nogil:
    """Copy rows `first` to `last` of the padded image; x is part of an array that ends at `end`."""
    cdef Py_ssize_t c
    for c in range(channels):
        if g.split > 1:
            pad_split(x + c * g.H * g.W, end, g.H, g.W, g.left, g.split, g.PW, first, last, to + c * g.plane)
        else:
            pad(x + c * g.H * g.W, end, g.H, g.W, g.top, g.left, g.PW, first, last, to + c * g.plane)


cdef inline void pack(const floating* W, Gather* g, Py_ssize_t group, Py_ssize_t f_step, Py_ssize_t c_step,
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


cdef inline void gather_row(const floating* scene, const floating* packed, Gather* g, Py_ssize_t y, Py_ssize_t v,
                            Py_ssize_t V, Py_ssize_t z0, Py_ssize_t z1, floating* strip, Ahead* ahead) noexcept nogil:
    """Compute outputs z0 to z1 of row y for V vectors of channels from v on; each phase begins at z0 or behind it."""
    cdef Py_ssize_t first = z0 if g.pw == 1 else quotient(z0, g.pw), z
    cdef Pass* p
    scene = scene + source_row(g, y) * g.step + first * g.across
    for z in range(min(g.pw, z1 - z0)):
        p = pass_of(g, y, z)
        gather_phase(scene, packed + p.weights + g.C * p.taps * v * g.lanes, g, p, g.taps + 2 * (y * g.pw + z), V,
                     first, z1 - z0 if g.pw == 1 else quotient(z1 - z0 - z + g.pw - 1, g.pw), strip + z * V * g.lanes,
                     ahead)


cdef inline void compact_row(const floating* row, const floating* end, Gather* g, Py_ssize_t count,
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


cdef inline void gather_rows(const floating* scene, const floating* end_of_x, const floating* packed,
                             const Finish* after, Gather* g, Py_ssize_t group, Py_ssize_t y0, Py_ssize_t y1,
                             const floating* next_image, floating* strip, floating* room, floating* outs,
                             Py_ssize_t image) noexcept nogil:
    """Compute rows y0 to y1 of outputs for all channels of one group, of the image that begins at `image` in `outs`.

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
    cdef floating* out = outs + image
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
            finish_outputs(<const floating*>strip, V * g.lanes, n, F, after, f, outs,
                           image + f * g.area + first * g.row + z0, g.area)


cdef inline void gather_pooled(const floating* scene, const floating* packed, const floating* bias, Gather* g,
                               Py_ssize_t group, Py_ssize_t y0, Py_ssize_t y1, const floating* next_image,
                               floating* strip, floating* out, uint8_t* where) noexcept nogil:
    """Compute rows y0 to y1 of the 2 x 2 maxima of relu(outputs) for all channels of one group."""
    cdef Py_ssize_t v, vi, V, f, F, y, i, n, first, last, r, given, end, columns = g.width // 2
    cdef Py_ssize_t area = g.area // g.width // 2 * columns, together = max(STRIP // columns, 1)
    cdef Py_ssize_t room = (max(STRIP, columns) + g.lanes) * g.V * g.lanes
    cdef floating* places = strip + room
    cdef floating* rows = places + room
    cdef Ahead ahead
    cdef Finish nothing
    memset(&nothing, 0, sizeof(nothing))
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
            finish_outputs(<const floating*>strip, V * g.lanes, n, F, &nothing, f, out, f * area + first * columns, area)
            if where != NULL:
                turn_places(places, V * g.lanes, n, F, where + f * area + first * columns, area)


cdef inline Py_ssize_t strip_size(Gather* g, bint pooled) noexcept nogil:
    """Values that a thread needs for strips, beside the image."""
    cdef Py_ssize_t length = max(STRIP, g.pw) + g.lanes
    if pooled:
        length = 2 * (max(STRIP, g.width // 2) + g.lanes) + 2 * g.width
    return round_up(length * g.V * g.lanes, ALIGNMENT)


cdef inline void some_parts(const floating* x, floating* out, const floating* packed, floating* scratch,
                            GatherJob* job, Pieces* pieces, int slot) noexcept nogil:
    """Compute parts into which the rows of the images are cut, as long as there are some; pad the rows each needs."""
    cdef Gather* g = job.g
    cdef bint pooled = job.pooled
    cdef uint8_t* where = job.where
    cdef Py_ssize_t parts = job.parts, N = job.N
    cdef Py_ssize_t rows = g.rows // 2 if pooled else g.rows, channels = g.groups * g.C, group, item, n, y0, y1, s0, s1
    cdef Py_ssize_t area = rows * (g.width // 2) if pooled else g.area  # of one channel of the result
    cdef Py_ssize_t size = g.groups * g.F * area, image = channels * g.H * g.W
    cdef const floating* scene
    cdef const floating* next_image
    cdef floating* strips = scratch + slot * job.private
    cdef floating* room = strips + strip_size(g, pooled)
    while (item := take_piece(pieces, slot)) >= 0:
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
                gather_pooled(scene, packed, packed + g.groups * g.weights, g, group, y0, y1, next_image, strips,
                              out + n * size, NULL if where == NULL else where + n * size)
            else:
                gather_rows(scene, x + N * image, packed, &job.after, g, group, y0, y1, next_image, strips, room, out,
                            n * size)


cdef inline void gather_parts(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef GatherJob* job = <GatherJob*>given
    if job.single:
        some_parts(<const float*>job.x, <float*>job.out, <const float*>job.packed, <float*>job.scratch, job, pieces,
                   slot)
    else:
        some_parts(<const double*>job.x, <double*>job.out, <const double*>job.packed, <double*>job.scratch, job, pieces,
                   slot)


cdef inline void pack_weights(const floating* W, const floating* bias, Gather* g, bint pooled, Py_ssize_t f_step,
                              Py_ssize_t c_step, floating* packed) noexcept nogil:
    """Pack the filters of all groups, and behind them for pooled outputs the bias, or zeros without one."""
    cdef Py_ssize_t group, f
    cdef floating* biases = packed + g.groups * g.weights
    for group in range(g.groups):
        pack(W, g, group, f_step, c_step, packed)
    if pooled:
        memset(biases, 0, g.groups * g.vectors * g.lanes * sizeof(floating))
        if bias != NULL:
            for f in range(g.groups * g.F):
                biases[f // g.F * g.vectors * g.lanes + f % g.F] = bias[f]


cdef inline void gather(GatherJob* job, int num_threads) noexcept nogil:
    """Fill in `parts` of a job whose filters are packed, and run it."""
    cdef Gather* g = job.g
    cdef Py_ssize_t parts
    # Threads begin with the same images in every call, and with few images the same parts of each: what a core wrote
    # in one call it finds in its cache in the next, and from another core's cache it comes slowly.
    parts = 1 if num_threads == 1 or job.N >= 4 * num_threads else ceil_div(4 * num_threads, job.N)
    parts = max(min(parts, g.area // STRIP, g.rows // 2 if job.pooled else g.rows), 1)
    if parts > num_threads:
        parts -= parts % num_threads
    job.parts = parts
    run_job(gather_parts, job, job.N * parts, num_threads)
