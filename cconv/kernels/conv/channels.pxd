"""Outputs and input gradients of a convolution with lanes = channels: 'channels' in the tables of algorithms."""

# A register tile (register_tile.h) has MR outputs side by side as rows and NR vectors of channels as columns:
#
#     out[y, z][f] = sum over c, t of image[place(y, z) + c * plane + table[t]] * W[c, t][f]
#
# Filters are packed as [block of NR vectors][c][t][lane], each value of the image is broadcast, and results are
# transposed when they are stored. For an input gradient the image is dout and the filters are flipped; with a stride
# there is one such pass for each phase (y + pt) mod sh, (z + pl) mod sw of the input, which only some taps reach, and
# tiles write every sw-th output of a row. The taps of a dilated filter lie side by side once the columns of a copy are
# split by z mod dw; the outputs then have dw phases.
#
# A row is split evenly into tiles. Where rows follow each other without a gap in source and output (1 x 1 filters), the
# image is one long row, cut into pieces of a good length; tiles are then matrix products, and where there are many
# channels, what a tile reads of them is copied next to each other: all blocks of outputs read it again.
#
# Reading the next strip and writing this one take a fifth of the time if the core waits for them. So tiles prefetch the
# lines while they compute, each one line of every channel (`Prefetch`), or the loops around them do, where tiles are
# small or channels few.
#
# Relu and 2 x 2 maxima (pooled.h) join two rows of outputs while their lanes are still channels, so that only the
# maxima are transposed and written.
#
# The calls, from a job to a tile: `channel_pieces` takes parts of images, `compute_rows` or `compute_pooled` goes
# through the strips of one, `compute_row` through the phases of a row, `compute_phase` through the tiles of a phase.

from cython cimport floating
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from cconv.kernels.conv.finish cimport Finish, finish_outputs
from cconv.kernels.conv.padding cimport pad_image
from cconv.kernels.conv.plan cimport ALIGNMENT, STRIP, ChannelPlan, Phase, Source, most_outputs
from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.runtime.division cimport ceil_div, deal, quotient, round_up
from cconv.kernels.vector.layout cimport pad, transpose_padded
from cconv.kernels.vector.prefetch cimport Prefetch, next_prefetch, plan_prefetch, prefetch_read, prefetch_write
from cconv.kernels.vector.register_tile cimport tile, tile_product, tile_run

# Fits: `python -m benchmarks.tune --only few-images`.
cdef enum:
    PART = 28  # outputs of a piece of work, at least, where an image has several
    LOOK = 1024  # values that are packed at a time where they are only compared: whole vectors


cdef extern from "conv/pooled.h" nogil:
    void max_of_rows_float(const float*, const float*, Py_ssize_t, Py_ssize_t, const float*, float*, uint32_t*,
                           Py_ssize_t) noexcept
    void max_of_rows_double(const double*, const double*, Py_ssize_t, Py_ssize_t, const double*, double*, uint64_t*,
                            Py_ssize_t) noexcept
    void transpose_argmax_float(const uint32_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, uint8_t*, Py_ssize_t) noexcept
    void transpose_argmax_double(const uint64_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, uint8_t*, Py_ssize_t) noexcept


cdef struct ChannelJob:
    bint single  # float32; else float64
    bint pooled  # relu and 2 x 2 maxima follow
    const void* x  # IN, (N, groups * C, H, W) of the source
    Finish after  # what follows the sums; of pooled outputs nothing: their biases are packed
    void* out  # OUT, (N, groups * F) planes of outputs, or of their maxima
    uint8_t* argmax  # OUT, the positions of the maxima, 0 to 3, or NULL
    ChannelPlan* g
    Py_ssize_t N
    Py_ssize_t parts  # into which the rows of an image are cut,
    Py_ssize_t splits  # and its blocks of filters: each part of each split is a piece of work
    const void* packed  # IN, weights of all groups; if pooled, then biases with zeros for the lanes beyond F
    void* scratch  # g.private values for each thread

cdef struct Part:  # of one image's outputs, or with maxima of theirs: some rows of one group, for some blocks
    Py_ssize_t group, first, end
    Py_ssize_t v0, v1  # the vectors of these blocks

cdef struct Strip:  # of a part, between two transposes: some rows, or a piece of one
    Py_ssize_t group, first, rows, z0, z1  # the outputs z0 to z1 of each row
    Py_ssize_t v0, v1
    Py_ssize_t begin  # where the first of them begins in the source
    const void* coming  # what is read after it, to be prefetched, or NULL,
    Py_ssize_t coming_size  # and how many values of each channel

cdef struct Row:  # some outputs of a row, for some vectors of channels
    Py_ssize_t y, z0, z1
    Py_ssize_t v, NR  # from which vector on, and how many

cdef struct Run:  # the outputs of a row that are of one phase
    const Phase* phase
    const Py_ssize_t* taps  # those that read rows of the image, from the first to the end
    Py_ssize_t NR, z, count


cdef inline void max_of_rows(const floating* upper, const floating* lower, Py_ssize_t n, Py_ssize_t width,
                             const floating* bias, floating* out, floating* argmax, Py_ssize_t first) noexcept nogil:
    """Take the 2 x 2 maxima of relu(outputs + bias): see pooled.h, which explains each argument."""
    if floating is float:
        max_of_rows_float(upper, lower, n, width, bias, out, <uint32_t*>argmax, first)
    else:
        max_of_rows_double(upper, lower, n, width, bias, out, <uint64_t*>argmax, first)


cdef inline void transpose_argmax(const floating* argmax, Py_ssize_t step, Py_ssize_t count, Py_ssize_t columns,
                                  uint8_t* to, Py_ssize_t to_step) noexcept nogil:
    if floating is float:
        transpose_argmax_float(<const uint32_t*>argmax, step, count, columns, to, to_step)
    else:
        transpose_argmax_double(<const uint64_t*>argmax, step, count, columns, to, to_step)


cdef inline bint pack_group(const floating* W, const ChannelPlan* g, Py_ssize_t group, floating* packed,
                            bint look) noexcept nogil:
    """Copy one group's filters into the order in which tiles read them; lanes beyond F are 0.

    With `look`, nothing is copied: the result says whether anything would change, bit by bit. Filters whose taps are
    not all taken in order, as only gradients have them, count as changed.
    """
    cdef Py_ssize_t s, c, t, l, k, v, vi, NR, F, K, rows, lanes = g.tiling.lanes, f_step = g.f_step, c_step = g.c_step
    cdef const Phase* p
    cdef floating* to
    cdef const floating* source
    cdef floating[LOOK] strip
    W = W + group * g.source.C * g.result.F * min(f_step, c_step)
    for s in range(g.result.ph * g.result.pw):
        if g.source.split > 1 and s % g.source.split > 0:  # the same filters
            continue
        p = g.result.phases + s
        K = g.source.C * p.taps
        for vi in range(ceil_div(g.tiling.vectors, g.tiling.NR)):
            v = vi * g.tiling.NR
            NR = min(g.tiling.NR, g.tiling.vectors - v)
            F = min(NR * lanes, g.result.F - v * lanes)
            to = packed + group * g.weights + p.weights + K * v * lanes
            source = W + v * lanes * f_step
            if f_step == K and c_step == p.taps and p.tap[c_step - 1] == c_step - 1:
                if not look:
                    transpose_padded(source, f_step, F, K, to, NR * lanes)
                    continue
                rows = LOOK // (NR * lanes)
                for k in range(ceil_div(K, rows)):
                    t = min(rows, K - k * rows)
                    transpose_padded(source + k * rows, f_step, F, t, strip, NR * lanes)
                    if memcmp(strip, to + k * rows * NR * lanes, t * NR * lanes * sizeof(floating)) != 0:
                        return True
                continue
            if look:
                return True
            for c in range(g.source.C):
                for t in range(p.taps):
                    for l in range(F):
                        to[l] = source[l * f_step + c * c_step + p.tap[t]]
                    for l in range(F, NR * lanes):
                        to[l] = 0
                    to += NR * lanes
    return False


cdef inline bint pack_filters(const floating* W, const floating* bias, const ChannelPlan* g, bint pooled,
                              floating* packed, bint look) noexcept nogil:
    """Pack the filters of all groups, and if maxima follow the biases, of which there may be none.

    With `look`, nothing is copied: the result says whether anything would change, bit by bit.
    """
    cdef Py_ssize_t group, F = g.result.F
    cdef floating* biases = packed + g.groups * g.weights
    for group in range(g.groups):
        if pack_group(W, g, group, packed, look):
            return True
    if pooled and not look:
        memset(biases, 0, g.groups * g.biases * sizeof(floating))
    if pooled and bias != NULL:
        for group in range(g.groups):
            if not look:
                memcpy(biases + group * g.biases, bias + group * F, F * sizeof(floating))
            elif memcmp(bias + group * F, biases + group * g.biases, F * sizeof(floating)) != 0:
                return True
    return False


cdef inline Py_ssize_t source_row(const Source* s, Py_ssize_t y) noexcept nogil:
    """The source row where output row y begins. Divisions take as long as some tiles, and most rows need none."""
    return y * s.down if s.up == 1 else quotient(y * s.down, s.up)


cdef inline void compute_phase(const floating* row, const floating* weights, const ChannelPlan* g, const Run* run,
                               floating* strip, Prefetch* ahead) noexcept nogil:
    """Compute the outputs of a run, tile by tile.

    row      IN, where the first output of the run begins in the source
    weights  IN, those of the phase, packed for run.NR vectors
    strip    OUT, [output][lane]: outputs of one phase are g.result.pw apart
    """
    cdef const Phase* p = run.phase
    cdef Py_ssize_t NR = run.NR, step = NR * g.tiling.lanes, first = run.taps[0], inner = run.taps[1] - first
    cdef Py_ssize_t z = run.z, C = g.source.C, plane = g.source.plane, pw = g.result.pw, which, i, tiles
    cdef int MR, size = 0, larger = 0
    cdef const uint16_t* mask
    if run.count == 0:
        return
    weights = weights + first * step
    tiles = deal(run.count, most_outputs(NR, g.source.across, p.side, g.tiling.lanes), &size, &larger)
    for i in range(tiles):
        MR = size + (i < larger)
        if g.tiling.prefetched > 0:
            next_prefetch(ahead)
        if g.source.across == 1:
            which = (z == 0) | (z + MR == p.width) << 1
            mask = p.mask + 2 * (which * p.room + first)
            if g.tiling.product and mask[0] and mask[1]:
                tile_product(MR, <int>NR, row + p.table[0], plane, inner * C, weights, strip, step, &ahead.tile)
            else:
                tile_run(MR, <int>NR, row, C, plane, inner, p.table + first, mask, p.side, weights, p.taps * step,
                         strip, pw * step, &ahead.tile)
        else:
            tile(MR, <int>NR, row, g.tiling.off, C, plane, inner, p.table + first, weights, p.taps * step, step, strip,
                 pw * step, False)
        z += MR
        row = row + MR * g.source.across
        strip = strip + MR * pw * step


cdef inline void compute_row(const floating* image, const floating* packed, const ChannelPlan* g, const Row* row,
                             floating* strip, Prefetch* ahead) noexcept nogil:
    """Compute outputs of a row, phase by phase; each phase begins at row.z0 or behind it."""
    cdef Py_ssize_t pw = g.result.pw, lanes = g.tiling.lanes, width = row.z1 - row.z0, z
    cdef Run run
    run.NR = row.NR
    run.z = row.z0 if pw == 1 else quotient(row.z0, pw)
    image = image + source_row(&g.source, row.y) * g.source.row_step + run.z * g.source.across
    for z in range(min(pw, width)):
        run.phase = g.result.phases + z if g.result.ph == 1 else g.result.phases + row.y % g.result.ph * pw + z
        run.taps = g.tiling.row_taps + 2 * (row.y * pw + z)
        run.count = width if pw == 1 else quotient(width - z + pw - 1, pw)
        compute_phase(image, packed + run.phase.weights + g.source.C * run.phase.taps * row.v * lanes, g, &run,
                      strip + z * row.NR * lanes, ahead)


cdef inline void compact_row(const floating* row, const floating* end, const ChannelPlan* g, Py_ssize_t count,
                             floating* to) noexcept nogil:
    """Copy what each tile of a row reads, for 1 x 1 filters, next to each other: [tile][channel][output]."""
    cdef int MR, size = 0, larger = 0
    cdef Py_ssize_t i, last = g.source.C - 1, room = g.tiling.MR
    for i in range(deal(count, <int>room, &size, &larger)):
        MR = size + (i < larger)
        pad(row, end, g.source.C, g.source.plane, 0, 0, room, 0, last, to)  # more than MR values, of other channels
        memcpy(to + last * room, row + last * g.source.plane, MR * sizeof(floating))
        row = row + MR
        to = to + room * g.source.C


cdef inline Py_ssize_t pieces_of_a_row(const ChannelPlan* g) noexcept nogil:
    """Pieces, of all phases, into which a long row is cut."""
    return ceil_div(ceil_div(g.tiling.row, g.result.pw), max(STRIP // g.result.pw, 1))


cdef inline Strip strip_of(const ChannelPlan* g, const Part* part, Py_ssize_t i) noexcept nogil:
    """The i-th strip of a part: short rows share one, long ones are cut into pieces."""
    cdef Py_ssize_t pw = g.result.pw, units = ceil_div(g.tiling.row, pw), pieces = pieces_of_a_row(g)
    cdef Py_ssize_t together = max(STRIP // g.tiling.row, 1), z = i % pieces * units // pieces
    cdef Strip strip
    strip.group = part.group
    strip.v0 = part.v0
    strip.v1 = part.v1
    strip.first = part.first + i // pieces * together
    strip.rows = min(strip.first + together, part.end) - strip.first
    strip.z0 = z * pw
    strip.z1 = min((i % pieces + 1) * units // pieces * pw, g.tiling.row)
    strip.begin = source_row(&g.source, strip.first) * g.source.row_step + z * g.source.across
    strip.coming = NULL
    strip.coming_size = 0
    return strip


cdef inline void compute_strip(const floating* image, floating* out, const ChannelJob* job, const Strip* strip,
                               floating* scratch, Prefetch* ahead) noexcept nogil:
    """Compute a strip for some channels of its group, block by block of them.

    What tiles do not prefetch of the next strip and of where this one goes, the loops here do: a part before each row.
    """
    cdef const ChannelPlan* g = job.g
    cdef Py_ssize_t lanes = g.tiling.lanes, area = g.result.area, width = g.tiling.row, C = g.source.C
    cdef Py_ssize_t prefetched = g.tiling.prefetched, room = g.tiling.MR, size = strip.rows * (strip.z1 - strip.z0)
    cdef Py_ssize_t blocks = ceil_div(strip.v1 - strip.v0, g.tiling.NR), steps = strip.rows
    cdef Py_ssize_t reads = C if strip.coming == NULL else prefetched  # channels that have been prefetched,
    cdef Py_ssize_t i, f, F, n, k, step, writes, end  # and those of the block where outputs go
    cdef int MR = 0, larger = 0
    cdef const floating* coming = <const floating*>strip.coming
    cdef const floating* packed = <const floating*>job.packed + strip.group * g.weights
    cdef floating* compact = scratch + g.strips
    cdef floating* to
    cdef Row row
    if g.tiling.compact:
        n = min(strip.z1, area - strip.first * width) - strip.z0
        compact_row(image + strip.begin, <const floating*>job.x + job.N * g.groups * C * g.source.H * g.source.W, g, n,
                    compact)
        steps = deal(n, <int>room, &MR, &larger)
    for i in range(blocks):
        row.v = strip.v0 + i * g.tiling.NR
        row.NR = min(g.tiling.NR, strip.v1 - row.v)
        f = strip.group * g.result.F + row.v * lanes
        F = min(row.NR * lanes, g.result.F - row.v * lanes)
        to = out + f * area + strip.first * width + strip.z0
        writes = min(max(prefetched - i * g.tiling.NR * lanes, 0), F)
        n = 0
        for step in range(steps):
            if reads < C:
                end = max(reads, quotient((i * steps + step + 1) * C, blocks * steps))
                prefetch_read(coming + reads * g.source.plane, g.source.plane, strip.coming_size, end - reads)
                reads = end
            if writes < F:
                end = max(writes, quotient((step + 1) * F, steps))
                prefetch_write(to + writes * area, area, size, end - writes)
                writes = end
            if g.tiling.compact:
                k = MR + (step < larger)
                next_prefetch(ahead)
                tile_product(<int>k, <int>row.NR, <const floating*>compact + step * room * C, room, C,
                             packed + C * row.v * lanes, scratch + n * row.NR * lanes, row.NR * lanes, &ahead.tile)
            else:
                row.y = strip.first + step
                row.z0 = strip.z0
                k = min(strip.z1, area - row.y * width) - strip.z0
                row.z1 = strip.z0 + k
                compute_row(image, packed, g, &row, scratch + n * row.NR * lanes, ahead)
            n += k
        finish_outputs(<const floating*>scratch, row.NR * lanes, n, F, &job.after, f, <floating*>job.out,
                       to - <floating*>job.out, area)


cdef inline void compute_rows(const floating* image, const floating* next_image, floating* out, const ChannelJob* job,
                              const Part* part, floating* scratch) noexcept nogil:
    """Compute some rows of outputs for some channels of one group, strip by strip.

    What the next strip reads, unless it lies in a copy, and where this one's outputs go is prefetched bit by bit: by
    tiles, if the plan says so, or by the loops around them.

    image       IN, the image that is computed, or its copy
    next_image  IN, what follows the last strip, or NULL
    out         OUT, of that image
    scratch     of this thread: g.strips values, then the compact copy
    """
    cdef const ChannelPlan* g = job.g
    cdef const Source* s = &g.source
    cdef Py_ssize_t prefetched = g.tiling.prefetched, area = g.result.area, i, size = 0
    cdef Py_ssize_t pieces = pieces_of_a_row(g), together = min(max(STRIP // g.tiling.row, 1), part.end - part.first)
    cdef Py_ssize_t strips = ceil_div(part.end - part.first, max(STRIP // g.tiling.row, 1)) * pieces
    cdef Py_ssize_t tiles = max(together * g.tiling.tiles // pieces, 1)  # of a strip
    cdef Py_ssize_t f = part.group * g.result.F + part.v0 * g.tiling.lanes  # the first channel
    cdef const floating* coming
    cdef Prefetch ahead
    cdef Strip strip, following = strip_of(g, part, 0)
    image = image + part.group * s.C * s.plane
    if next_image != NULL:
        next_image = next_image + part.group * s.C * s.H * s.W
    memset(&ahead, 0, sizeof(ahead))
    for i in range(strips):
        strip = following
        if i + 1 < strips:
            following = strip_of(g, part, i + 1)
            coming = image + following.begin
            size = following.begin - strip.begin
        else:
            coming = next_image
            size = source_row(s, strip.rows) * s.row_step if strips == 1 else size
        if s.copied:
            coming = NULL
        strip.coming = coming
        strip.coming_size = size
        if prefetched > 0:
            if coming != NULL:
                plan_prefetch(&ahead.read, coming, s.plane, prefetched, size, tiles)
            else:  # lines that are there: to look for those that are not takes longer
                plan_prefetch(&ahead.read, image + strip.begin, 0, 0, 0, tiles)
            plan_prefetch(&ahead.write, out + f * area + strip.first * g.tiling.row + strip.z0, area,
                          min(prefetched, (part.group + 1) * g.result.F - f), strip.rows * (strip.z1 - strip.z0), tiles)
        compute_strip(image, out, job, &strip, scratch, &ahead)


cdef inline void compute_pooled(const floating* image, const floating* next_image, floating* out, uint8_t* argmax,
                                const ChannelJob* job, const Part* part, floating* scratch) noexcept nogil:
    """Compute some rows of the 2 x 2 maxima of relu(outputs) for some channels of one group.

    image       IN, the image that is computed, or its copy
    next_image  IN, the one after it, or NULL
    out         OUT, the maxima of that image
    argmax      OUT, their positions, or NULL
    job, part   what is computed; part.first and part.end are rows of maxima
    scratch     of this thread
    """
    cdef const ChannelPlan* g = job.g
    cdef Py_ssize_t lanes = g.tiling.lanes, vi, f, F, y, r, i, n, first, last, given, end, step
    cdef Py_ssize_t columns = g.result.width // 2, area = g.result.area // g.result.width // 2 * columns
    cdef Py_ssize_t together = max(STRIP // columns, 1), y0 = part.first, y1 = part.end
    cdef Py_ssize_t room = (max(STRIP, columns) + lanes) * g.tiling.NR * lanes
    cdef const floating* packed = <const floating*>job.packed + part.group * g.weights
    cdef const floating* bias = <const floating*>job.packed + g.groups * g.weights + part.group * g.biases
    cdef floating* strip = scratch
    cdef floating* positions = strip + room
    cdef floating* rows = positions + room
    cdef Prefetch ahead
    cdef Row row
    image = image + part.group * g.source.C * g.source.plane
    memset(&ahead, 0, sizeof(ahead))
    if next_image != NULL:
        step = g.source.H * g.source.W
        plan_prefetch(&ahead.read, next_image + part.group * g.source.C * step, step, g.tiling.prefetched, step,
                      2 * (y1 - y0) * g.tiling.tiles)
    row.z0 = 0
    row.z1 = 2 * columns
    for i in range(ceil_div(y1 - y0, together)):
        first = y0 + i * together
        last = min(first + together, y1)
        for vi in range(ceil_div(part.v1 - part.v0, g.tiling.NR)):
            row.v = part.v0 + vi * g.tiling.NR
            row.NR = min(g.tiling.NR, part.v1 - row.v)
            step = row.NR * lanes
            f = part.group * g.result.F + row.v * lanes
            F = min(step, g.result.F - row.v * lanes)
            n = given = 0
            for y in range(first, last):
                end = quotient((y - first + 1) * F, last - first)
                prefetch_write(out + (f + given) * area + first * columns, area, (last - first) * columns, end - given)
                given = end
                for r in range(2):
                    row.y = 2 * y + r
                    compute_row(image, packed, g, &row, rows + r * 2 * columns * step, &ahead)
                max_of_rows(<const floating*>rows, <const floating*>rows + 2 * columns * step, columns, step,
                            bias + row.v * lanes, strip + n * step, positions, n)
                n += columns
            finish_outputs(<const floating*>strip, step, n, F, &job.after, f, out, f * area + first * columns, area)
            if argmax != NULL:
                transpose_argmax(positions, step, n, F, argmax + f * area + first * columns, area)


cdef inline void compute_pieces(const floating* x, floating* out, floating* scratch, const ChannelJob* job,
                                Pieces* pieces, int slot) noexcept nogil:
    """Compute parts of the images and of the filters, as long as there are some; pad the rows that each needs."""
    cdef const ChannelPlan* g = job.g
    cdef const Source* s = &g.source
    cdef Py_ssize_t blocks = ceil_div(g.tiling.vectors, g.tiling.NR), splits = job.splits, split
    cdef Py_ssize_t parts = job.parts, N = job.N, rows = g.tiling.rows // 2 if job.pooled else g.tiling.rows
    cdef Py_ssize_t area = rows * (g.result.width // 2) if job.pooled else g.result.area  # of one channel of the result
    cdef Py_ssize_t channels = g.groups * s.C, image_size = channels * s.H * s.W, size = g.groups * g.result.F * area
    cdef Py_ssize_t item, group, n, s0, s1, padded = -1  # which rows of which image lie in the copy
    cdef const floating* image
    cdef const floating* next_image
    cdef floating* mine = scratch + slot * g.private
    cdef Part part
    while (item := take_piece(pieces, slot)) >= 0:
        n = item // (parts * splits)
        split = item // parts % splits
        part.v0 = split * blocks // splits * g.tiling.NR
        part.v1 = min((split + 1) * blocks // splits * g.tiling.NR, g.tiling.vectors)
        part.first = item % parts * rows // parts
        part.end = (item % parts + 1) * rows // parts
        s0 = 2 * part.first if job.pooled else part.first
        s1 = 2 * part.end if job.pooled else part.end
        image = x + n * image_size
        next_image = image + image_size if parts == splits == 1 and n + 1 < N else NULL
        if s.copied:
            if padded != n * parts + item % parts:
                padded = n * parts + item % parts
                pad_image(image, x + N * image_size, channels, s, max(s0 * s.down // s.up + s.lowest, 0),
                          min((s1 - 1) * s.down // s.up + s.highest + 1, s.PH), mine + g.strips)
            image = mine + g.strips
        for group in range(g.groups):
            part.group = group
            if job.pooled:
                compute_pooled(image, next_image, out + n * size, NULL if job.argmax == NULL else job.argmax + n * size,
                               job, &part, mine)
            else:
                compute_rows(image, next_image, out + n * size, job, &part, mine)


cdef inline void channel_pieces(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef ChannelJob* job = <ChannelJob*>given
    if job.single:
        compute_pieces(<const float*>job.x, <float*>job.out, <float*>job.scratch, job, pieces, slot)
    else:
        compute_pieces(<const double*>job.x, <double*>job.out, <double*>job.scratch, job, pieces, slot)


cdef inline Py_ssize_t packed_values(const ChannelPlan* g) noexcept nogil:
    """Values of the packed weights and biases of all groups."""
    return round_up(g.groups * (g.weights + g.biases), ALIGNMENT)


cdef inline void run_channels(ChannelJob* job, int num_threads) noexcept nogil:
    """Fill in `parts` and `splits` of a job, whose filters are packed, and run it.

    Threads begin with the same pieces in every call: what a core wrote in one call it finds in its cache in the next,
    and from another core's cache it comes slowly.
    """
    cdef const ChannelPlan* g = job.g
    cdef Py_ssize_t blocks = ceil_div(g.tiling.vectors, g.tiling.NR), wanted = 1
    job.splits = 1
    if job.N < num_threads <= blocks and g.weights > g.source.C * g.source.plane:
        # Threads that share an image cut what is larger, its filters: each reads its own, and all of the image.
        job.splits = num_threads
        if blocks < 4 * num_threads and blocks % num_threads > 0:
            wanted = 4  # some have more blocks than others, which can help them
    elif num_threads > 1 and job.N < 4 * num_threads:
        wanted = ceil_div(4 * num_threads, job.N)
    job.parts = max(min(wanted, g.result.area // PART, g.tiling.rows // 2 if job.pooled else g.tiling.rows), 1)
    if job.parts > num_threads:
        job.parts -= job.parts % num_threads
    run_job(channel_pieces, job, job.N * job.parts * job.splits, num_threads)
