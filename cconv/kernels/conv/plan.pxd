"""The plan of a convolution: all that follows from its geometry, computed here and nowhere else.

A `Geometry` holds the sizes and settings of one convolution. Each algorithm has a struct of its own that says, for one
pass, what lies where (`Source`), where results go (`Result`), and how the work is cut (`Tiling`); a `make_...` function
below fills it. A plan is made once and never changed: see `Plan` in `_conv.pyx`, which keeps it. The algorithms read
it.

Each safety condition is checked here, where the numbers are computed: that offsets fit 32 bits, and that a scratch can
be addressed. What cannot be checked by one comparison (each tap of each output reads its own pixel) is checked by
`cconv/kernels/plans.py`, which walks a plan as data.

A pass reads through tables: the row of outputs y begins at source row y * down // up, output z lies z * across further,
tap t another table[t], and channel c another c * plane. An output at the border of an image has no pixel under some of
its taps. These read zeros of a copy, or are masked out:

    rows       the first and the last tap of each row of outputs, in `row_taps`
    columns    what the first and the last output of a tile leave out, in `mask`
"""

cimport numpy as cnp
from libc.stdint cimport INT32_MAX, int32_t, uint16_t
from libc.string cimport memset

from cconv.kernels.runtime.division cimport ceil_div, floor_div, round_up
from cconv.kernels.vector.prefetch cimport CACHE_LINE, PREFETCH_ACCUMULATORS, PREFETCH_ROWS
from cconv.kernels.vector.register_tile cimport (
    TILE_MAX_MR, TILE_MAX_NR, TILE_SIDE, TILE_SIDE_NR, run_rows, side_rows, tile_cost, tile_rows
)
from cconv.kernels.vector.vector cimport VECTOR_BYTES

cdef extern from "conv/depthwise.h" nogil:
    const int DEPTH_COLUMNS
    ctypedef struct Depth "depth_geometry":
        Py_ssize_t H, W, OH, OW, FH, FW, sh, sw, pt, pl, dh

cdef extern from "conv/list.h" nogil:
    const int LIST_MR
    int list_vectors(int MR) noexcept

cdef extern from "conv/pixels.h" nogil:
    ctypedef struct Split "split_geometry":
        Py_ssize_t H, W, sh, sw, top, left, rows, pitch
    const int PIXELS_MR
    int pixel_vectors(int MR) noexcept

cdef extern from "conv/windows.h" nogil:
    const int WINDOW_BYTES
    const int WINDOW_LANES
    const int WINDOW_ROWS

# Laws: they follow from registers, lines of the cache or the layout of a table.
cdef enum:
    ALIGNMENT = 64  # values: scratches of threads share no line of the cache
    STRIP = 112  # outputs between two transposes: a multiple of every tile's rows and of every vector's lanes
    MANY_VECTORS = 12  # whole tiles of every width
    TAP_WORDS = 7  # of a tap in the tables of a phase: three, and four pairs of 16 bits in no more than four
    WINDOWS = 448  # outputs that are listed at a time: a multiple of every vector's lanes

# Fits: found on a two-core Xeon with AVX-512, and about speed alone, except for those marked with *, which also cut
# sums: another value moves the last bits of weight gradients. How to measure them again says `python -m
# benchmarks.tune --only compact taps cache gradient list-bands scatter-bands pixel-rows pixel-packing`.
cdef enum:
    COMPACT_CHANNELS = 16  # from so many on, 1 x 1 filters read a compact copy
    TAP_CHANNELS = 6  # * from so many on, the weights of one tap in several channels make a good tile
    CACHE_SETS = 4096  # bytes: channels that lie a multiple of much of this apart, of more than four times as much,
    CACHE_SHARED = 512  # drive each other out of the cache
    GRADIENT_STRIP = 16384  # * values of a transposed strip of dout, which stays in the first or second cache
    GRADIENT_BLOCK = 1 << 19  # * bytes of sums that share one transposed dout, and the second cache with it
    GRADIENT_ITEMS = 16  # * pieces of work a weight gradient is cut into, where it can be
    GRADIENT_BYTES = 4 << 20  # * memory for the sums of groups of images
    LIST_BAND = 16384  # bytes of an image that all filters go over before the next
    LIST_SUMS = 1 << 20  # * bytes for the sums of groups of images
    SCATTER_SUMS = 1 << 16  # bytes of sums that a band of rows may take
    SCATTER_SETS = 1024  # bytes: planes of sums that lie a multiple of it apart share a few sets of the cache
    ROW_STORE = 6  # operations beside the products, of which a tap has two, for a vector of a row of pixels,
    FLAT_STORE = 12  # and for one of a plane read as one long row, which has to get where it belongs
    PACKED_FILTERS = 64  # so many filters of one tap have the pixels of a tile packed, where a channel does not begin
    PACKED_PLANE = 2048  # with a vector, or has more than so many bytes
    PIECE_VECTORS = 64  # of depthwise outputs and more are a piece of work


cdef struct Geometry:
    Py_ssize_t groups
    Py_ssize_t C, H, W  # channels of one group of the image x, its rows and its columns
    Py_ssize_t F, OH, OW  # filters of one group, and rows and columns of the output
    Py_ssize_t FH, FW
    Py_ssize_t sh, sw, pt, pl, dh, dw  # stride, padding at the top and at the left, dilation
    Py_ssize_t itemsize, lanes  # bytes of a value, and values of a vector


cdef struct Source:
    Py_ssize_t C, H, W  # channels of one group of the image that is read, its rows and its columns
    bint copied  # into a scratch; else it is read where it is, and the next five fields are those of the image
    Py_ssize_t top, left  # where the image begins in the padded one,
    Py_ssize_t PH, PW  # the rows and columns of that,
    Py_ssize_t plane  # and values from one channel to the next
    Py_ssize_t split  # phases of the columns, which lie one behind the other in each row; 1: columns as they are
    Py_ssize_t down, up  # row y of outputs begins y * down // up times `row_step` into the source,
    Py_ssize_t row_step
    Py_ssize_t across  # and its outputs are so far apart
    Py_ssize_t lowest, highest  # the rows of the first and of the last tap from there

cdef struct Phase:  # outputs y % sh, z % sw of an input gradient, or z % dw of split columns, which have the same taps
    Py_ssize_t width  # outputs of one row
    Py_ssize_t taps
    int side  # how many of them lie side by side in each row, or 0
    Py_ssize_t weights  # where its packed weights begin
    Py_ssize_t* table  # how far each tap lies from where the output begins,
    Py_ssize_t* row  # how many rows of the source that is,
    uint16_t* mask  # whether a tile's first and last output have a pixel there: `room` pairs for tiles within a row,
    Py_ssize_t room  # then for those at its beginning, at its end, and for those that are the whole of it,
    Py_ssize_t* tap  # and which value of the filter it is

cdef struct Result:
    Py_ssize_t F, area, width  # channels of one group of the result, and values of a channel and of its rows
    Py_ssize_t ph, pw  # phases of rows and of columns
    Phase* phases

cdef struct Tiling:
    Py_ssize_t lanes, vectors, NR  # values of a vector; vectors that hold F channels, and those of a register tile
    Py_ssize_t MR  # the most outputs of a tile
    Py_ssize_t rows, row  # the rows in which outputs are computed: how many, how long (the last may be shorter)
    Py_ssize_t tiles  # of a row, for all channels of a group
    Py_ssize_t prefetched  # channels whose lines tiles ask for
    bint product  # there is one tap: a product of matrices, where it has a pixel
    bint compact  # what a tile of it reads is copied next to each other, MR outputs of each channel
    Py_ssize_t* row_taps  # by row and phase, the first tap that reads a row of the image and the end of those that do
    Py_ssize_t* off  # how far the outputs of a tile lie from its first

cdef struct ChannelPlan:  # outputs and input gradients whose lanes are channels: channels.pxd
    Py_ssize_t groups
    Source source
    Result result
    Tiling tiling
    Py_ssize_t weights, biases  # packed values of one group
    Py_ssize_t f_step, c_step  # between the filters of W, by channels of the result and of the source
    Py_ssize_t strips  # values of one thread's strips, behind which its copy of the image lies,
    Py_ssize_t private  # and of both


cdef enum Tile:
    IN_ORDER, BY_TAP, BY_ROW  # weights that follow each other; one tap in several channels; a row of taps in several

cdef struct WeightPlan:  # weight gradients whose lanes are channels: weights.pxd
    Py_ssize_t groups, F
    Source source
    Phase phase
    Tile tile
    Py_ssize_t area, width  # values of a channel of dout, and of its rows
    Py_ssize_t lanes, vectors, NR  # as in `Tiling`
    Py_ssize_t channels, blocks  # source channels of a block, and how many blocks a group has
    Py_ssize_t length, strips  # outputs of a strip, and how many an image has
    Py_ssize_t images  # the most that share a strip
    Py_ssize_t sums  # values of the sums of one set of images
    Py_ssize_t sets  # the most sets of images
    Py_ssize_t* off  # where each output of `images` images begins
    Py_ssize_t* k_off  # and how far each weight of a block lies from there, or with BY_TAP each channel


cdef struct WindowPlan:  # weight gradients over listed outputs, to few channels: windows.pxd
    Source source  # always copied, and twice
    Py_ssize_t F, FW, rows  # filters, taps of a row, and rows of taps of a filter
    Py_ssize_t area  # outputs of a channel that may be listed
    Py_ssize_t copy, half  # where the second copy begins, and how far it is out of step
    Py_ssize_t[8] row  # where each row of taps begins in a window
    int32_t* base  # where the window of each output begins
    int32_t down, across  # from the first place of a pooling window to the others
    Py_ssize_t sums, sets  # values of the sums of one set of images, and the most sets
    Py_ssize_t private


cdef struct WindowPiece:
    int MR, NR  # rows and vectors of a window,
    Py_ssize_t pixels, weights  # and where they begin in an image and in a filter

cdef struct ListPlan:  # both gradients over listed outputs: list.pxd
    Py_ssize_t C, F, H, W, FH, FW
    Py_ssize_t PH, PW, pixel  # the padded image with its channels last; a pixel has so many values: whole vectors
    Py_ssize_t image  # values of it, and of one more pixel, where those lie that no window reads
    Py_ssize_t down  # how far apart the rows of a window are,
    Py_ssize_t pool_down, pool_across  # and the places of a pooling window
    Py_ssize_t rows, columns  # of the outputs that may be listed
    Py_ssize_t bands  # into which the rows are cut; all filters visit one before the next
    Py_ssize_t lanes, room  # values of a vector, and of a filter's list
    Py_ssize_t size, sets  # sums of one filter, and the most sets of images that have sums of their own
    Py_ssize_t pieces
    WindowPiece* piece
    Py_ssize_t* off  # where each pixel lies in the padded image
    int32_t* base  # where the window of each output begins
    Py_ssize_t weights, private


cdef struct ScatterPlan:  # input gradients to few channels, from dout to the input: scatter.pxd
    Py_ssize_t groups, C, F, H, W, OH, OW, FH, FW, sh, sw, pt, dh
    Py_ssize_t first, rows, bands  # rows of the gradient's phases: where they begin, how many, in how many bands
    Py_ssize_t phase, line  # values of a band of one phase, and of a row of the result's phases
    Py_ssize_t lanes, NR, MR  # values of a vector, and vectors and taps of a register tile
    Py_ssize_t* table  # where the weights of a tap lie, which follow each other,
    Py_ssize_t* off  # and those of a tile's taps
    Py_ssize_t* down  # where the sums of each row of taps begin
    Py_ssize_t* shift  # how far each tap of a row moves its sums,
    Py_ssize_t* place  # and to which phase of the result's row
    Py_ssize_t private


cdef struct PixelPhase:  # outputs y % sh, z % sw of an input gradient, which have the same taps
    Py_ssize_t vectors
    Py_ssize_t* where  # where each vector begins in the split image,
    Py_ssize_t* to  # and in the output
    Py_ssize_t taps
    Py_ssize_t* table  # how far each tap lies from there
    Py_ssize_t* tap  # which value of the filter it is
    Py_ssize_t weights  # where its packed weights begin

cdef struct PixelPlan:  # all passes whose lanes are pixels: pixels.pxd
    Py_ssize_t groups, C, F, taps  # channels of one group of the source and of the result, and taps of a filter
    Split split  # the image, and its copy with rows and columns split by phases
    bint in_place  # the image is read where it is
    bint in_rows  # vectors are laid over each row of outputs; else over the plane as one row, with gaps
    bint product  # filters of one tap over planes that are one row, in place: a product of matrices
    bint packs  # its tiles read packed pixels, where they have PACKED_FILTERS
    Py_ssize_t plane, row_step  # values of a split channel, and from one row of outputs to the next
    Py_ssize_t H, W, th, tw  # the outputs of one channel, and how many phases they come from
    Py_ssize_t strip  # room for the outputs of one phase, where they are not in rows
    Py_ssize_t phases
    PixelPhase* phase
    Py_ssize_t* k_off  # where the pixels under each weight of a filter begin, for weight gradients
    Py_ssize_t sums  # values of the sums of one set of images,
    Py_ssize_t blocks, sets  # blocks of groups, and the most sets
    Py_ssize_t private


cdef struct DepthPlan:  # depthwise outputs: depthwise.pxd
    Depth size
    Py_ssize_t groups, F  # channels of the image, and filters for each of them
    Py_ssize_t blocks  # of the channels of an image, each a piece of work
    Py_ssize_t behind  # values that are read behind a row; size.pl values are read before one
    Py_ssize_t lines, zeros  # values that pointers to an image's rows take, and a row of zeros
    Py_ssize_t private  # values of scratch for each thread


# ---- memory


cdef inline cnp.ndarray new_table(Py_ssize_t count, int kind=cnp.NPY_INTP):
    """Memory for a plan's tables, which lives as long as the plan."""
    from cconv.kernels.runtime._memory import empty
    return empty((count,), cnp.PyArray_DescrFromType(kind))


cdef inline Py_ssize_t addressable(double values) except -1:
    """Refuse a scratch whose size in bytes would leave a machine word."""
    if values > 2.0**56:
        raise MemoryError(f"padded images would take {values:.0f} values of scratch")
    return <Py_ssize_t>values


# ---- lanes = channels: what a tile is


cdef inline bint shares(Py_ssize_t NR, int side, Py_ssize_t lanes) noexcept nogil:
    """Whether `tile_run` has a loop of its own for these: not for a single vector of float64, for size's sake."""
    return side > 0 and NR <= TILE_SIDE_NR and (NR > 1 or lanes * 4 == VECTOR_BYTES)


cdef inline int most_outputs(Py_ssize_t NR, Py_ssize_t across, int side, Py_ssize_t lanes) noexcept nogil:
    """The most outputs of a tile with NR vectors: more when what they read, or taps too, lie side by side."""
    if across != 1:
        return tile_rows(<int>NR)
    return side_rows(<int>NR, side) if shares(NR, side, lanes) else run_rows(<int>NR)


cdef inline double row_cost(Py_ssize_t NR, Py_ssize_t width, Py_ssize_t across, int side,
                            Py_ssize_t lanes) noexcept nogil:
    """How much work a tap is for a row of `width` outputs with NR vectors, in multiply-adds of vectors."""
    return tile_cost(NR, ceil_div(width, most_outputs(NR, across, side, lanes)), width,
                     side if shares(NR, side, lanes) else 0)


cdef inline Py_ssize_t tile_width(Py_ssize_t vectors, Py_ssize_t width, Py_ssize_t across, int side, Py_ssize_t lanes,
                                  double* work=NULL) noexcept nogil:
    """The number of vectors per tile with the least work, for `vectors` in all and rows of `width` outputs."""
    cdef Py_ssize_t NR, best = 1
    cdef double cost, least = -1
    for NR in range(1, min(vectors, TILE_MAX_NR) + 1):
        cost = vectors // NR * row_cost(NR, width, across, side, lanes)
        if vectors % NR:
            cost += row_cost(vectors % NR, width, across, side, lanes)
        if least < 0 or cost < least:
            least = cost
            best = NR
    if work != NULL:
        work[0] = least
    return best


# ---- lanes = channels: where the image lies, and its taps


cdef inline bint splits(Py_ssize_t vectors, Py_ssize_t width, Py_ssize_t lanes, const Geometry* c,
                        Py_ssize_t stride) noexcept nogil:
    """Whether rows of `width` outputs are split by the phases of a dilated filter, whose taps then lie side by side."""
    cdef double whole, split
    if c.FW not in (3, 5) or stride > 1 or c.dw == 1 or c.dw > width:
        return False
    tile_width(vectors, width, 1, 0, lanes, &whole)
    tile_width(vectors, ceil_div(width, c.dw), 1, <int>c.FW, lanes, &split)
    return c.dw * split < whole


cdef inline Py_ssize_t gcd(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a


cdef inline int set_planes(Source* s, bint padded, bint whole, Py_ssize_t itemsize) except -1:
    """Find out whether images are copied, and how far apart their channels lie.

    A tile reads a few pixels of every channel. Where channels lie a power of two apart, these fall in few of the first
    cache's sets (4 KiB in 8 ways, at least) and would drive each other out; an odd number of cache lines spreads them.
    """
    cdef Py_ssize_t size = s.PH * s.PW * itemsize, shared = gcd(size, CACHE_SETS)
    s.copied = padded or not whole and shared >= CACHE_SHARED and s.C * shared > 4 * CACHE_SETS
    s.plane = (ceil_div(size, CACHE_LINE) | 1) * CACHE_LINE // itemsize if s.copied else s.PH * s.PW
    addressable(<double>s.C * s.plane)
    return 0


cdef inline int place_image(Source* s, const Geometry* c, bint whole, bint padded, Py_ssize_t multiple) except -1:
    """Lay out the image x for outputs in its order.

    With `padded` it has columns of padding beside it, up to a multiple, and if `whole` rows of padding too.
    """
    cdef Py_ssize_t high = (c.OH - 1) * c.sh + (c.FH - 1) * c.dh + 1, wide = (c.OW - 1) * c.sw + (c.FW - 1) * c.dw + 1
    s.C, s.H, s.W = c.C, c.H, c.W
    s.top = c.pt if whole else 0
    s.left = c.pl if padded else 0
    s.PH = high if whole and padded else c.H
    s.PW = round_up(wide if padded else c.W, multiple)
    s.row_step = s.PW
    s.down, s.up, s.across = c.sh, 1, c.sw
    s.lowest = s.top - c.pt
    s.highest = s.lowest + (c.FH - 1) * c.dh
    set_planes(s, padded, whole, c.itemsize)
    return 0


cdef inline bint reads_padding(const Geometry* c) noexcept nogil:
    """Whether a filter reaches beyond the image anywhere."""
    return (c.pt > 0 or c.pl > 0 or (c.OH - 1) * c.sh + (c.FH - 1) * c.dh + 1 > c.H
            or (c.OW - 1) * c.sw + (c.FW - 1) * c.dw + 1 > c.W)


cdef inline void give_taps(Phase* p, Py_ssize_t* memory, Py_ssize_t room) noexcept nogil:
    """Give a phase the tables of `room` taps, none of them filled: TAP_WORDS words each."""
    p.taps = 0
    p.table = memory
    p.row = memory + room
    p.tap = memory + 2 * room
    p.mask = <uint16_t*>(memory + 3 * room)
    p.room = room


cdef inline void add_tap(const Source* s, Phase* p, Py_ssize_t row, Py_ssize_t column, Py_ssize_t tap) noexcept nogil:
    """Add a tap that lies `row` rows below where outputs begin, and for the first output of the phase on a column."""
    cdef Py_ssize_t at = s.left + column, which
    cdef uint16_t* mask
    p.table[p.taps] = row * s.PW + (at if s.split == 1 else at % s.split * (s.PW // s.split) + at // s.split)
    p.row[p.taps] = row
    for which in range(4):
        mask = p.mask + 2 * (which * p.room + p.taps)
        mask[0] = 0 if which & 1 and column < 0 else 0xFFFF
        mask[1] = 0 if which & 2 and (p.width - 1) * s.split + column >= s.W else 0xFFFF
    p.tap[p.taps] = tap
    p.taps += 1


cdef inline bint same_ends(const Phase* p, Py_ssize_t t, Py_ssize_t place, int side) noexcept nogil:
    """Whether tap t, at a place of its row, is left out by a tile's first and last output as that of the first row."""
    cdef Py_ssize_t which
    cdef const uint16_t* mask
    for which in range(4):
        mask = p.mask + 2 * which * p.room
        if mask[2 * t] != mask[2 * place] or mask[2 * t + 1] != mask[2 * place + 1]:
            return False
        if place > 0 and mask[2 * t] == 0 or place < side - 1 and mask[2 * t + 1] == 0:
            return False
    return True


cdef inline void find_side(const Source* s, Phase* p) noexcept nogil:
    """Find out whether taps lie side by side, as many in each row as `tile_run` has a loop for.

    Such a loop decides once, by the first row of taps, what the first and the last output of a tile leave out: all rows
    must leave out the same, and of a row's taps no more than the outer ones.
    """
    cdef Py_ssize_t t
    cdef int side
    p.side = 0
    for side in range(3, TILE_SIDE + 1, 2):
        if s.across == 1 and p.taps > 0 and p.taps % side == 0:
            for t in range(p.taps):
                if (p.table[t] != p.table[t - t % side] + t % side or p.row[t] != p.row[t - t % side]
                        or not same_ends(p, t, t % side, side)):
                    break
            else:
                p.side = side


cdef inline void lay_taps(Source* s, Phase* p, const Geometry* c, Py_ssize_t phase) noexcept nogil:
    """Add all taps of a filter over x, for a phase of split columns, or 0."""
    cdef Py_ssize_t i, j
    for i in range(c.FH):
        for j in range(c.FW):
            add_tap(s, p, s.lowest + i * c.dh, phase + j * c.dw - c.pl, i * c.FW + j)


# ---- lanes = channels: outputs and input gradients


cdef inline list make_channels(ChannelPlan* g, const Geometry* c, bint pooled, bint backward):
    """Plan outputs, with relu and 2 x 2 maxima after them if `pooled`, or with `backward` input gradients.

    Returns what owns the tables.
    """
    cdef Source* s = &g.source
    cdef Result* r = &g.result
    cdef Tiling* t = &g.tiling
    cdef Py_ssize_t H = c.H if backward else c.OH, taps = c.FH * c.FW, y, z, phases, rows
    cdef cnp.ndarray tables
    cdef bytearray phase_memory
    cdef Py_ssize_t* memory
    g.groups = c.groups
    r.F = c.C if backward else c.F
    r.width = c.W if backward else c.OW
    r.area = H * r.width
    t.lanes = c.lanes
    t.vectors = ceil_div(r.F, t.lanes)
    s.split = c.dw if splits(t.vectors, r.width, t.lanes, c, c.sw) else 1
    r.ph = c.sh if backward else 1
    r.pw = max(c.sw if backward else 1, s.split)
    phases = r.ph * r.pw
    g.f_step, g.c_step = (taps, taps * c.C) if backward else (taps * c.C, taps)
    # Rows: those of the result, or of a good length where they are joined.
    t.rows, t.row = H, r.width
    rows = max(H, ceil_div(r.area, STRIP))
    phase_memory = bytearray(phases * sizeof(Phase))
    r.phases = <Phase*><char*>phase_memory
    tables = new_table(TILE_MAX_MR + 2 * rows * r.pw + TAP_WORDS * taps * phases)
    t.off = <Py_ssize_t*>cnp.PyArray_DATA(tables)
    t.row_taps = t.off + TILE_MAX_MR
    memory = t.row_taps + 2 * rows * r.pw
    for y in range(phases):
        give_taps(r.phases + y, memory + TAP_WORDS * taps * y, taps)
    if backward:
        lay_input_gradient(g, c)
    else:
        lay_output(g, c)
    for z in range(TILE_MAX_MR):
        t.off[z] = z * s.across
    # Outputs begin in the column of the source that they have themselves: no padding lies before it.
    cdef bint aligned = (phases == 1 and s.across == 1 and s.PW == s.W == r.width and s.left == 0
                         and r.phases.table[0] == r.phases.row[0] * s.PW)
    t.product = c.FH == c.FW == phases == c.sw == 1
    t.compact = (t.product and aligned and s.down == 1 and s.PH == s.H == H and s.lowest == s.highest == 0
                 and s.C >= COMPACT_CHANNELS and not pooled)
    if t.compact:
        s.copied = False
        s.plane = s.PH * s.PW
    if (aligned and not s.copied and c.FW == s.down == 1 and s.lowest == 0 and H + s.highest <= s.H and not pooled):
        # No gap between the rows: the image is one long row, cut into pieces of a good length.
        t.row = min(r.area, STRIP)
        t.rows = ceil_div(r.area, t.row)
        s.row_step = t.row
    for y in range(t.rows):
        for z in range(r.pw):
            find_row_taps(g, y, r.phases + y % r.ph * r.pw + z, t.row_taps + 2 * (y * r.pw + z))
    for y in range(phases):
        find_side(s, r.phases + y)
    t.NR = tile_width(t.vectors, ceil_div(t.row, r.pw), s.across, r.phases.side, t.lanes)
    t.MR = most_outputs(t.NR, s.across, r.phases.side, t.lanes)
    set_tiles(g)
    set_scratch(g, pooled)
    return [phase_memory, tables]


cdef inline int lay_output(ChannelPlan* g, const Geometry* c) except -1:
    """Lay out the image, of whose padding one column may be left out, and the taps of an output pass."""
    cdef Source* s = &g.source
    cdef Phase* p
    cdef Py_ssize_t wide = (c.OW - 1) * c.sw + (c.FW - 1) * c.dw + 1, z
    cdef bint padded
    # An output needs no rows of the padding, nor one column of it: the outer outputs of a row leave that out.
    if s.split > 1:
        padded = True
    elif c.sw == 1:
        padded = c.pl > 1 or wide - c.pl > c.W + 1
    else:
        padded = c.pl > 0 or wide > c.W
    place_image(s, c, False, padded, s.split)
    for z in range(s.split):
        p = g.result.phases + z
        p.width = ceil_div(c.OW - z, s.split)
        p.weights = 0
        lay_taps(s, p, c, z)
    g.weights = c.C * c.FH * c.FW * g.tiling.vectors * c.lanes
    return 0


cdef inline int lay_input_gradient(ChannelPlan* g, const Geometry* c) except -1:
    """Lay out dout, which is read as an output pass reads x, and the flipped taps of each phase of the input."""
    cdef Source* s = &g.source
    cdef Result* r = &g.result
    cdef Phase* p
    cdef Py_ssize_t i, j, y, py, pz
    cdef bint padded
    s.C, s.H, s.W = c.F, c.OH, c.OW
    s.top = 0
    s.left = max(ceil_div(max((c.FW - 1) * c.dw - c.pl, 0), c.sw), 0)
    s.PH = s.H
    s.PW = s.left + max((r.width - 1 + c.pl) // c.sw + 1, 1)
    padded = s.split > 1 or s.left > 1 or s.PW - s.left > s.W + 1
    s.PW = round_up(s.PW, s.split)
    if not padded:
        s.left = 0
        s.PW = s.W
    set_planes(s, padded, False, c.itemsize)
    s.row_step = s.PW
    s.down, s.up, s.across = 1, c.sh, 1
    s.lowest = s.highest = 0
    g.weights = 0
    for py in range(r.ph):
        for pz in range(r.pw):
            p = r.phases + py * r.pw + pz
            p.weights = g.weights
            p.width = max(ceil_div(r.width - pz, r.pw), 0)
            # The smallest input position of this phase fixes how far each tap lies in dout.
            for i in range(c.FH):
                if (py + c.pt - i * c.dh) % c.sh != 0:
                    continue
                y = floor_div(py + c.pt - i * c.dh, c.sh)
                for j in range(c.FW - 1, -1, -1):  # the pixels under them in order, from left to right
                    if (pz + c.pl - j * c.dw) % c.sw != 0:
                        continue
                    add_tap(s, p, y, floor_div(pz + c.pl - j * c.dw, c.sw), i * c.FW + j)
                    s.lowest = min(s.lowest, y)
                    s.highest = max(s.highest, y)
            if s.split == 1 or pz == s.split - 1:  # the phases of split columns have the same weights
                g.weights += s.C * p.taps * g.tiling.vectors * c.lanes
    return 0


cdef inline void find_row_taps(const ChannelPlan* g, Py_ssize_t y, const Phase* p, Py_ssize_t* ends) noexcept nogil:
    """Find which taps of row y read rows of the image: they follow each other."""
    cdef Py_ssize_t t, at
    ends[0] = ends[1] = 0
    for t in range(p.taps):
        at = y * g.source.down // g.source.up + p.row[t]
        if g.tiling.row != g.result.width or 0 <= at < g.source.PH:
            if ends[1] == 0:
                ends[0] = t
            ends[1] = t + 1


cdef inline void set_tiles(ChannelPlan* g) noexcept nogil:
    """Find out how many tiles a row is, and for how many channels they ask: large ones with rows of taps, or none."""
    cdef Tiling* t = &g.tiling
    cdef Py_ssize_t width = ceil_div(t.row, g.result.pw), tiles = ceil_div(width, t.MR)
    t.tiles = max(tiles * g.result.pw * ceil_div(t.vectors, t.NR), 1)
    t.prefetched = 0
    if (g.source.across == 1 and tiles > 0 and width // tiles * t.NR >= PREFETCH_ACCUMULATORS
            and (t.product or shares(t.NR, g.result.phases.side, t.lanes))):
        t.prefetched = g.source.C - g.source.C % PREFETCH_ROWS


cdef inline int set_scratch(ChannelPlan* g, bint pooled) except -1:
    """Find out how many values packed weights and biases take, and what one thread needs."""
    cdef Source* s = &g.source
    cdef Tiling* t = &g.tiling
    cdef Py_ssize_t length = max(STRIP, g.result.pw) + t.lanes
    if pooled:
        length = 2 * (max(STRIP, g.result.width // 2) + t.lanes) + 2 * g.result.width
    g.biases = t.vectors * t.lanes
    g.strips = round_up(length * t.NR * t.lanes, ALIGNMENT)
    g.private = g.strips
    if s.copied:
        g.private += round_up(addressable(<double>g.groups * s.C * s.plane) + t.lanes, ALIGNMENT)
        if s.split > 1:
            g.private += round_up(s.PW + (2 * s.split + 1) * t.lanes, ALIGNMENT)
    elif t.compact:
        g.private += round_up(ceil_div(t.row, t.MR) * t.MR * s.C + t.lanes, ALIGNMENT)
    return 0


# ---- lanes = channels: weight gradients


cdef inline list make_weights(WeightPlan* g, const Geometry* c):
    """Plan the weight gradient; return what owns the tables."""
    cdef Source* s = &g.source
    cdef Phase* p = &g.phase
    cdef Py_ssize_t taps = c.FH * c.FW, lanes, blocks, step, unit, k
    cdef cnp.ndarray tables
    cdef bint outside = reads_padding(c)
    # Taps outside of the image are left out where there are enough channels for a tile of one tap; else the image is
    # needed with all its padding.
    cdef bint by_tap = c.C >= TAP_CHANNELS and (outside or TILE_SIDE > 0 and c.sw == c.dw == 1 and c.FW in (3, 5))
    g.groups, g.F = c.groups, c.F
    g.area, g.width = c.OH * c.OW, c.OW
    g.lanes = c.lanes
    g.vectors = ceil_div(c.F, c.lanes)
    s.split = 1
    place_image(s, c, not by_tap, not by_tap and outside, 1)
    lanes = g.vectors * g.lanes
    blocks = ceil_div(c.C * taps * lanes * c.itemsize, GRADIENT_BLOCK)
    g.channels = ceil_div(c.C, min(blocks, c.C))
    g.blocks = ceil_div(c.C, g.channels)
    g.sums = g.groups * (c.C * taps + 2) * lanes  # two rows for the biases
    g.sets = min(ceil_div(GRADIENT_ITEMS, g.blocks * g.groups), GRADIENT_BYTES // (g.sums * c.itemsize))
    unit = g.width if by_tap else g.lanes  # strips are whole ones of these
    g.strips = ceil_div(g.area, max(GRADIENT_STRIP // lanes // unit, 1) * unit)
    g.length = round_up(ceil_div(g.area, g.strips), unit) if g.strips > 1 else g.area
    # Small images share a strip, so that each tile has a long chain.
    g.images = max(GRADIENT_STRIP // lanes // g.area, 1) if g.strips == 1 else 1
    tables = new_table(TAP_WORDS * taps + g.channels * taps + g.images * g.area)
    give_taps(p, <Py_ssize_t*>cnp.PyArray_DATA(tables), taps)
    p.width = c.OW
    lay_taps(s, p, c, 0)
    find_side(s, p)
    g.tile = IN_ORDER if not by_tap else BY_TAP if p.side == 0 else BY_ROW
    if g.tile == BY_ROW:
        g.NR = min(g.vectors, TILE_SIDE_NR)
    else:  # tiles of weights, which lie anywhere
        g.NR = tile_width(g.vectors, c.C if by_tap else c.C * taps, 0, 0, g.lanes)
    g.k_off = p.table + TAP_WORDS * taps
    for k in range(g.channels * taps):
        g.k_off[k] = k * s.plane if by_tap else k // taps * s.plane + p.table[k % taps]
    g.off = g.k_off + g.channels * taps
    step = g.channels * s.plane if s.copied else g.groups * s.C * s.H * s.W  # to the next image
    for k in range(g.images * g.area):
        g.off[k] = k // g.area * step + k % g.area // g.width * s.down * s.PW + k % g.area % g.width * s.across
    return [tables]


cdef inline Py_ssize_t weight_scratch(const WeightPlan* g, Py_ssize_t images) except -1:
    """The values of scratch of one thread for strips of so many images: of dout, and of their copies behind it."""
    cdef Py_ssize_t values = round_up(images * g.length * g.vectors * g.lanes, ALIGNMENT)
    if g.source.copied:
        values += round_up(addressable(<double>images * g.channels * g.source.plane) + g.lanes, ALIGNMENT)
    return values


# ---- listed outputs


cdef inline str windows_refused(const Geometry* c):
    """Why a row of taps, or all rows of a window, do not fit registers, or offsets 32 bits; '' if they do."""
    cdef WindowPlan g
    if not c.groups == c.dw == 1:
        return "groups and the dilation of columns must be 1"
    if c.FW > WINDOW_LANES or c.C * c.FH > WINDOW_ROWS:
        return f"filters must have at most {WINDOW_LANES} columns, and {WINDOW_ROWS} rows over all channels"
    memset(&g, 0, sizeof(g))
    place_windows(&g, c)
    return "" if 2 * g.copy <= INT32_MAX else "offsets in two padded images must fit 32 bits"


cdef inline int place_windows(WindowPlan* g, const Geometry* c) except -1:
    """Lay out the image and its second copy."""
    cdef Py_ssize_t line = CACHE_LINE // c.itemsize
    g.source.split = 1
    place_image(&g.source, c, True, reads_padding(c), line)
    g.source.copied = True
    g.half = line // 2
    g.copy = round_up(g.source.C * g.source.plane + c.lanes + WINDOW_LANES, line)
    return 0


cdef inline list make_windows(WindowPlan* g, const Geometry* c, Py_ssize_t apart):
    """Plan a weight gradient over a list of outputs, of a pooled output `apart` = 2; return what owns the tables."""
    cdef Source* s = &g.source
    cdef Py_ssize_t columns = c.OW // apart, line = CACHE_LINE // c.itemsize, k, start
    cdef cnp.ndarray bases
    place_windows(g, c)
    g.F, g.FW, g.rows = c.F, c.FW, c.C * c.FH
    g.area = c.OH // apart * columns
    g.down = <int32_t>(s.down * s.PW)
    g.across = <int32_t>s.across
    bases = new_table(g.area, cnp.NPY_INT32)
    g.base = <int32_t*>cnp.PyArray_DATA(bases)
    for k in range(g.area):
        # Of the two copies the one in which the window ends in the line where it begins.
        start = apart * (k % columns) * s.across
        start += g.copy - g.half if start % line >= g.half else 0
        g.base[k] = <int32_t>(apart * (k // columns) * s.down * s.PW + start)
    for k in range(g.rows):
        g.row[k] = k // c.FH * s.plane + k % c.FH * c.dh * s.PW
    g.sums = g.F * (g.rows + 1) * WINDOW_LANES  # one more row for the bias
    g.sets = GRADIENT_ITEMS
    g.private = round_up(2 * WINDOWS + 2 * g.copy, ALIGNMENT)
    return [bases]


cdef inline str list_refused(const Geometry* c):
    """Why gradients cannot come from a list of outputs; '' if they can."""
    if not c.groups == c.dw == 1:
        return "groups and the dilation of columns must be 1"
    return "" if list_values(c) <= INT32_MAX else "offsets in the padded image must fit 32 bits"


cdef inline double list_values(const Geometry* c) noexcept nogil:
    """The values of a padded image with its channels last, whole vectors of them."""
    return (<double>((c.OH - 1) * c.sh + (c.FH - 1) * c.dh + 1) * ((c.OW - 1) * c.sw + c.FW)
            * round_up(c.C, c.lanes))


cdef inline list make_list(ListPlan* g, const Geometry* c, Py_ssize_t apart):
    """Plan both gradients over a list of outputs, of a pooled output `apart` = 2; return what owns the tables."""
    cdef Py_ssize_t K, area, y, x, k
    cdef cnp.ndarray places, bases
    cdef bytearray pieces
    g.C, g.F, g.H, g.W, g.FH, g.FW = c.C, c.F, c.H, c.W, c.FH, c.FW
    g.lanes = c.lanes
    g.pixel = round_up(g.C, g.lanes)
    g.PH = (c.OH - 1) * c.sh + (g.FH - 1) * c.dh + 1
    g.PW = (c.OW - 1) * c.sw + g.FW
    g.image = (g.PH * g.PW + 1) * g.pixel
    g.down = c.dh * g.PW * g.pixel
    g.pool_down = c.sh * g.PW * g.pixel
    g.pool_across = c.sw * g.pixel
    g.rows = c.OH // apart
    g.columns = c.OW // apart
    g.bands = max(ceil_div(g.rows, max(LIST_BAND // (g.PW * g.pixel * c.itemsize * c.sh * apart), 1)), 1)
    g.room = round_up(ceil_div(g.rows, g.bands) * g.columns, g.lanes) + max(g.lanes, WINDOW_LANES)
    pieces = cut_window(g)
    K = g.FH * g.FW * g.pixel
    g.size = K + round_up(WINDOW_LANES, g.lanes)  # whole vectors, the last values for the bias
    g.sets = min(GRADIENT_ITEMS, max(LIST_SUMS // (g.F * g.size * c.itemsize), 4))
    places = new_table(g.H * g.W)
    g.off = <Py_ssize_t*>cnp.PyArray_DATA(places)
    for k in range(g.H * g.W):
        y = k // g.W + c.pt
        x = k % g.W + c.pl
        g.off[k] = (y * g.PW + x if y < g.PH and x < g.PW else g.PH * g.PW) * g.pixel
    area = g.rows * g.columns
    bases = new_table(area, cnp.NPY_INT32)
    g.base = <int32_t*>cnp.PyArray_DATA(bases)
    for k in range(area):
        g.base[k] = <int32_t>(apart * (k // g.columns) * g.pool_down + apart * (k % g.columns) * g.pool_across)
    g.weights = round_up(g.F * K, ALIGNMENT)
    # A copy of the image and its gradient; values and offsets of each filter's list, and how many these are.
    g.private = round_up(2 * g.image + 2 * g.F * g.room + g.F * <Py_ssize_t>(sizeof(Py_ssize_t) // 4), ALIGNMENT)
    return [pieces, places, bases]


cdef inline bytearray cut_window(ListPlan* g):
    """Cut a window into pieces of rows and vectors that registers hold."""
    cdef Py_ssize_t vectors = g.FW * g.pixel // g.lanes, parts = ceil_div(g.FH, LIST_MR), i, j, r, v
    cdef Py_ssize_t across = ceil_div(vectors, list_vectors(<int>ceil_div(g.FH, parts)))
    cdef bytearray pieces = bytearray(parts * across * sizeof(WindowPiece))
    cdef WindowPiece* p = <WindowPiece*><char*>pieces
    g.pieces = parts * across
    g.piece = p
    for i in range(parts):
        r = i * g.FH // parts
        for j in range(across):
            v = j * vectors // across
            p.MR = <int>((i + 1) * g.FH // parts - r)
            p.NR = <int>((j + 1) * vectors // across - v)
            p.pixels = r * g.down + v * g.lanes
            p.weights = r * g.FW * g.pixel + v * g.lanes
            p += 1
    return pieces


# ---- from dout to the input


cdef inline list make_scatter(ScatterPlan* g, const Geometry* c):
    """Plan an input gradient that adds what each value of dout gives; return what owns the tables."""
    cdef Py_ssize_t i, taps, band
    cdef cnp.ndarray tables
    g.groups, g.C, g.F = c.groups, c.C, c.F
    g.H, g.W, g.OH, g.OW, g.FH, g.FW = c.H, c.W, c.OH, c.OW, c.FH, c.FW
    g.sh, g.sw, g.pt, g.dh = c.sh, c.sw, c.pt, c.dh
    g.lanes = c.lanes
    g.first = c.pt // c.sh
    g.rows = (c.H - 1 + c.pt) // c.sh + 1 - g.first
    taps = c.C * c.FW
    band = min(max(SCATTER_SUMS // (taps * c.sh * c.OW * c.itemsize), 1), g.rows)
    g.bands = ceil_div(g.rows, band)
    g.phase = round_up(ceil_div(g.rows, g.bands) * c.OW, g.lanes)
    if c.sh * g.phase * c.itemsize % SCATTER_SETS == 0:
        g.phase += g.lanes
    g.line = round_up(ceil_div(c.W, c.sw), g.lanes)
    g.NR = tile_width(MANY_VECTORS, taps, 0, 0, g.lanes)  # bands cut pixels into runs of any length; taps lie anywhere
    g.MR = min(tile_rows(<int>g.NR), taps)
    tables = new_table(g.F + TILE_MAX_MR + c.FH + 2 * c.FW)
    g.table = <Py_ssize_t*>cnp.PyArray_DATA(tables)
    g.off = g.table + g.F
    g.down = g.off + TILE_MAX_MR
    g.shift = g.down + c.FH
    g.place = g.shift + c.FW
    for i in range(g.F):
        g.table[i] = i
    for i in range(TILE_MAX_MR):
        g.off[i] = i * g.F
    for i in range(c.FH):
        g.down[i] = i * c.dh % c.sh * g.phase + i * c.dh // c.sh * c.OW
    for i in range(c.FW):
        g.shift[i] = floor_div(i * c.dw - c.pl, c.sw)
        g.place[i] = i * c.dw - c.pl - g.shift[i] * c.sw
    g.private = round_up(addressable(2 * g.lanes + <double>taps * c.sh * g.phase + g.lanes + c.sw * g.line
                                     + (g.MR + g.F) * g.NR * g.lanes), ALIGNMENT)
    return [tables]


# ---- lanes = pixels


cdef inline list make_pixels(PixelPlan* g, const Geometry* c, bint backward):
    """Plan outputs and weight gradients, or with `backward` input gradients; return what owns the tables."""
    cdef Split* s = &g.split
    cdef Py_ssize_t a, b, across, flat, products, vectors, k
    cdef cnp.ndarray tables
    cdef bytearray phase_memory
    cdef Py_ssize_t* memory
    g.groups = c.groups
    g.taps = c.FH * c.FW
    place_pixels(g, c, backward)
    across = ceil_div(g.W, c.lanes)
    flat = ceil_div((ceil_div(g.H, g.th) - 1) * s.pitch + ceil_div(g.W, g.tw), c.lanes)
    products = 2 * g.C * g.taps
    g.in_rows = (g.tw == 1 and g.W >= c.lanes
                 and g.H * across * (products + ROW_STORE) <= g.th * flat * (products + FLAT_STORE))
    g.in_place = (g.in_rows and s.sw == 1 and s.top == 0 and s.left == 0 and s.pitch <= s.W
                  and (s.rows - 1) * s.sh + (c.FH - 1) * c.dh % s.sh < s.H)
    g.product = is_one_row(c) and c.H == 1 and g.in_place and g.F >= PIXELS_MR
    g.row_step = s.sh * s.W if g.in_place else s.pitch
    g.plane = s.H * s.W if g.in_place else s.sh * s.sw * s.rows * s.pitch
    g.packs = (g.product and g.F >= PACKED_FILTERS
               and (g.plane % c.lanes != 0 or g.plane * c.itemsize > PACKED_PLANE))
    g.strip = 0 if g.in_rows else flat * c.lanes
    g.phases = g.th * g.tw
    vectors = g.H * across if g.in_rows else flat
    phase_memory = bytearray(g.phases * sizeof(PixelPhase))
    g.phase = <PixelPhase*><char*>phase_memory
    tables = new_table(g.phases * 2 * (vectors + g.taps) + g.C * g.taps)
    g.k_off = <Py_ssize_t*>cnp.PyArray_DATA(tables)
    memory = g.k_off + g.C * g.taps
    k = 0
    for a in range(g.th):
        for b in range(g.tw):
            memory = lay_pixel_phase(g, c, a, b, backward, vectors, memory)
            g.phase[a * g.tw + b].weights = k
            k += g.groups * g.F * g.C * g.phase[a * g.tw + b].taps
    if not backward:
        for k in range(g.C * g.taps):
            g.k_off[k] = k // g.taps * g.plane + g.phase.table[k % g.taps]
        g.sums = g.groups * g.F * (g.C * g.taps + 1) * c.lanes
        g.blocks = min(g.groups, GRADIENT_ITEMS)
        g.sets = min(GRADIENT_ITEMS // g.blocks, GRADIENT_BYTES // (g.sums * c.itemsize))
    set_pixel_scratch(g, c, backward)
    return [phase_memory, tables]


cdef inline void place_pixels(PixelPlan* g, const Geometry* c, bint backward) noexcept nogil:
    """Lay out the split copy of x, or of dout."""
    cdef Split* s = &g.split
    s.sh = s.sw = g.th = g.tw = 1
    if backward:
        g.C, g.F, g.H, g.W = c.F, c.C, c.H, c.W
        s.H, s.W = c.OH, c.OW
        g.th, g.tw = c.sh, c.sw
        s.top = ceil_div(max((c.FH - 1) * c.dh - c.pt, 0), c.sh)
        s.left = ceil_div(max((c.FW - 1) * c.dw - c.pl, 0), c.sw)
        s.rows = s.top + (g.H - 1 + c.pt) // c.sh + 1
        s.pitch = s.left + (g.W - 1 + c.pl) // c.sw + 1
    else:
        g.C, g.F, g.H, g.W = c.C, c.F, c.OH, c.OW
        s.H, s.W = c.H, c.W
        s.sh, s.sw, s.top, s.left = c.sh, c.sw, c.pt, c.pl
        s.rows = g.H + (c.FH - 1) * c.dh // c.sh
        s.pitch = g.W + (c.FW - 1) * c.dw // c.sw
        if c.sw == 2:  # a vector's zeros find room behind the last row of each phase
            s.rows += ceil_div(c.lanes, s.pitch)


cdef inline Py_ssize_t* lay_pixel_phase(PixelPlan* g, const Geometry* c, Py_ssize_t a, Py_ssize_t b, bint backward,
                                        Py_ssize_t vectors, Py_ssize_t* memory) noexcept nogil:
    """Lay the taps and the vectors of phase (a, b) into memory for so many vectors; return the end of that."""
    cdef PixelPhase* p = g.phase + a * g.tw + b
    cdef Py_ssize_t height = (g.H - a + g.th - 1) // g.th, width = (g.W - b + g.tw - 1) // g.tw, Y, Z, z
    p.table = memory
    p.tap = p.table + g.taps
    p.where = p.tap + g.taps
    p.to = p.where + vectors
    lay_pixel_taps(g, p, c, a, b, backward)
    p.vectors = 0
    if height > 0 and width > 0 and not g.in_rows:
        p.vectors = ceil_div((height - 1) * g.split.pitch + width, c.lanes)
        for Z in range(p.vectors):
            p.where[Z] = p.to[Z] = Z * c.lanes
    elif height > 0 and width > 0:
        for Y in range(height):
            for Z in range(ceil_div(g.W, c.lanes)):
                z = min(Z * c.lanes, g.W - c.lanes)
                p.where[p.vectors] = Y * g.row_step + z
                p.to[p.vectors] = (Y * g.th + a) * g.W + z
                p.vectors += 1
    return p.to + vectors


cdef inline void lay_pixel_taps(PixelPlan* g, PixelPhase* p, const Geometry* c, Py_ssize_t a, Py_ssize_t b,
                                bint backward) noexcept nogil:
    """Find the taps that the outputs of phase (a, b) have, and where."""
    cdef Split* s = &g.split
    cdef Py_ssize_t i, j, k, y, z
    p.taps = 0
    for i in range(c.FH):
        for k in range(c.FW):
            # The pixels under them in order, from left to right.
            j = c.FW - 1 - k if backward else k
            y = i * c.dh
            z = j * c.dw
            if not backward and g.in_place:
                p.table[p.taps] = y * s.W + z
            elif not backward:
                p.table[p.taps] = ((y % c.sh * c.sw + z % c.sw) * s.rows + y // c.sh) * s.pitch + z // c.sw
            else:
                y = a + c.pt - y
                z = b + c.pl - z
                if y % c.sh != 0 or z % c.sw != 0:
                    continue
                y = floor_div(y, c.sh) + s.top
                z = floor_div(z, c.sw) + s.left
                p.table[p.taps] = y * g.row_step + z
            p.tap[p.taps] = i * c.FW + j
            p.taps += 1


cdef inline int set_pixel_scratch(PixelPlan* g, const Geometry* c, bint backward) except -1:
    """Find out what one thread needs: the split image or a tile's pixels, strips of outputs, a copy of short rows."""
    cdef Py_ssize_t image = round_up(addressable(<double>g.C * g.plane), ALIGNMENT)
    g.private = 0
    if g.packs:
        g.private = addressable(<double>g.C * pixel_vectors(PIXELS_MR) * c.lanes)
    if not g.in_place:
        g.private = image + ALIGNMENT
    if not g.in_rows:
        g.private += g.phases * PIXELS_MR * g.strip + ALIGNMENT
    if not backward and g.W < c.lanes:
        g.private = max(g.private, image + g.F * g.H * g.W + 2 * ALIGNMENT)
    g.private = round_up(g.private, ALIGNMENT)
    return 0


# ---- depthwise


cdef inline str depthwise_refused(const Geometry* c):
    """Why outputs cannot be those of depthwise.pxd, or ''."""
    if c.C != 1:
        return "groups must have one channel each"
    if c.dw != 1 or c.sw > 2:
        return "the dilation of columns must be 1, and their stride 1 or 2"
    return "" if c.FW <= DEPTH_COLUMNS else f"filters must have at most {DEPTH_COLUMNS} columns"


cdef inline list make_depthwise(DepthPlan* g, const Geometry* c):
    """Plan depthwise outputs; there are no tables."""
    cdef Py_ssize_t rows = (c.OH - 1) * c.sh + (c.FH - 1) * c.dh + 1  # of an image with its padding
    cdef Py_ssize_t last = (max(c.OW - c.lanes, 0)) * c.sw - c.pl  # the column where the last vector of a row begins
    g.size = Depth(c.H, c.W, c.OH, c.OW, c.FH, c.FW, c.sh, c.sw, c.pt, c.pl, c.dh)
    g.groups, g.F = c.groups, c.F
    g.blocks = max(min(c.groups * c.F * c.OH * ceil_div(c.OW, c.lanes) // PIECE_VECTORS, c.groups), 1)
    g.behind = max(last + c.FW - 1 + c.lanes * c.sw - c.W, 0)
    g.lines = round_up(rows * <Py_ssize_t>sizeof(void*) // c.itemsize, ALIGNMENT)
    g.zeros = round_up(c.pl + c.W + g.behind, ALIGNMENT)
    g.private = round_up(addressable(<double>g.lines + g.zeros + c.pl + <double>c.H * c.W + g.behind), ALIGNMENT)
    return []


# ---- images as one row


cdef inline bint is_one_row(const Geometry* c) noexcept nogil:
    """Whether an output's pixel is that of the image, for filters of one tap: planes are rows without gaps."""
    return c.FH == c.FW == c.sh == c.sw == 1 and c.pt == c.pl == 0 and c.OH == c.H and c.OW == c.W


cdef inline Geometry as_one_row(const Geometry* c) noexcept nogil:
    cdef Geometry row = c[0]
    row.W = row.OW = c.H * c.W
    row.H = row.OH = 1
    return row
