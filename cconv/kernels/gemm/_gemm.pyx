"""The three matrix products of an affine layer, on the register tiles of register_tile.h."""

#     output            out[n, m] = b[m] + sum over d of x[n, d] * W[d, m]
#     input gradient    dx[n, d]  = sum over m of dout[n, m] * W[d, m]
#     weight gradient   dW[d, m]  = sum over n of x[n, d] * dout[n, m],  db[m] = sum over n of dout[n, m]
#
# All three are one product, rows times columns, in which the tile broadcasts values of the left factor (`row_step` and
# `k_step` say where they lie) against vectors of the right one. Of that a block of columns is copied into the order in
# which tiles read it, [k][lane], a chunk of k at a time. x and dout are read where they are; of x^T, whose rows lie
# side by side but whose steps k are whole samples apart, a block is copied closer together. Sums of several chunks grow
# in rows of whole vectors, and are moved to the result when they are finished; others are stored there at once, and
# those that end beyond it come by way of a strip.
#
# Order of additions: k is cut evenly into chunks of up to CHUNK; each is one chain of multiply-adds, and their sums are
# added in order; then come the bias, and what the next layers do outside training (finish_row.h). A row's bits depend
# on nothing but the row and W. With a handful of rows the work is reading W: then threads share the chunks, and the
# same sums are added in the same order at the end. One row alone (row.h) reads W from end to end.
#
# Where a few rows of the left factor show that most of its values are 0, as relu leaves them, those are left out
# (sparse.h): at a quarter of the values a product takes half the time. That changes no bit.
#
# Threads begin with the same rows or chunks in every call (pieces.h), for a batch of usual size with chunks: so each
# core reads, in all three products, and writes, in the optimizer, about the same part of W. From another core's cache
# it would come slowly, and on a processor whose cores do not share one, more slowly than it is multiplied.

cimport numpy as cnp
from cython cimport floating
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.runtime.arrays cimport data
from cconv.kernels.runtime.division cimport ceil_div, deal, round_up
from cconv.kernels.vector.sums cimport sum_add, sum_columns, sum_row, sum_whole
from cconv.kernels.runtime.compiler cimport PLANS_CHECKED
from cconv.kernels.vector.finish_row cimport finish_row
from cconv.kernels.vector.layout cimport pad, transpose_matrix, transpose_padded
from cconv.kernels.vector.prefetch cimport Prefetch, next_prefetch, plan_prefetch, tile_prefetch
from cconv.kernels.vector.register_tile cimport (
    TILE_MAX_NR, run_rows, tile_cost, tile_product, tile_rows, tile_rows_product
)
from cconv.kernels.vector.vector cimport VECTOR_BYTES
from cconv.kernels.vector.zeros cimport fraction_nonzero

import numpy as np

from cconv.kernels.runtime._memory import empty

cnp.import_array()

if PLANS_CHECKED:
    from cconv.kernels.plans import check_product

cdef extern from "gemm/row.h" nogil:
    const int ROW_MAX_NR
    void row_float(int, const float*, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, float*) noexcept
    void row_double(int, const double*, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, double*) noexcept

cdef extern from "gemm/sparse.h" nogil:
    enum: SPARSE_STEPS
    const int SPARSE_MAX_NR
    void find_bits_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, uint64_t*) noexcept
    void find_bits_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, uint64_t*) noexcept
    void sparse_rows_float(int, Py_ssize_t, const float*, Py_ssize_t, const uint64_t*, Py_ssize_t, const float*,
                           const float*, float*, Py_ssize_t, Py_ssize_t, bint) noexcept
    void sparse_rows_double(int, Py_ssize_t, const double*, Py_ssize_t, const uint64_t*, Py_ssize_t, const double*,
                            const double*, double*, Py_ssize_t, Py_ssize_t, bint) noexcept
    bint pack_finite_float(int, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, float*) noexcept
    bint pack_finite_double(int, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, double*) noexcept

# Laws: they follow from tiles and words.
cdef enum:
    ROWS = 112  # rows of the result that share a block of the right factor, at most: whole tiles of every width
    WORDS = 4  # of SPARSE_STEPS bits, for a chunk

# Fits: `python -m benchmarks.tune --only sparse product-pieces`. Those marked with * also cut sums: another value moves
# the last bits.
cdef enum:
    SPARSE_PERCENT = 55  # of values that are not 0: where there are fewer, leaving out the others saves time
    CHUNK = 256  # * multiply-adds in one chain, at most
    CHUNKS = 4  # * of which there are so many, or twice, three times, ... as many: threads can share them evenly
    LEAST_ROWS = 28  # of a piece of work, where both factors are long
    PIECES = 8  # of work for each thread, where there are enough rows and blocks
    FEW_ROWS = 4  # up to so many rows, the right factor is read in place
    SUMS_BYTES = 2 << 20  # memory for the sums of all chunks, where threads share them

cdef struct Product:
    Py_ssize_t rows, K, columns
    Py_ssize_t chunk, chunks  # steps of k in a chunk, and how many of these there are
    Py_ssize_t row_step, k_step  # of the left factor
    bint a_transposed  # whether that is x^T: its rows lie side by side, its steps k whole samples apart
    Py_ssize_t b_step  # from row to row of the right factor; with `b_transposed`, from column to column
    bint b_transposed
    bint whole  # whether all blocks of the right factor are packed one behind the other, for several parts of the rows
    Py_ssize_t lanes, vectors, blocks  # the vectors of all columns are dealt out to so many blocks
    Py_ssize_t parts, items  # of the rows and of the blocks: each part in each item is a piece of work
    Py_ssize_t step  # from row to row of sums: where these are added up, whole vectors
    Py_ssize_t strip, right  # values of scratch for a strip of sums and for a block of the right factor,
    Py_ssize_t apart  # and where in it sums begin that do not lie in the result
    Py_ssize_t private  # values of scratch for one thread
    bint few  # whether the right factor is read in place, for a few rows,
    bint by_chunks  # or threads share the chunks

cdef struct Job:
    bint single
    const void* a
    const void* b
    void* bias  # or NULL
    const void* norm  # (3, columns): what is subtracted, multiplied and added after that; or NULL
    bint relu
    void* out
    Product* g
    void* sums  # of all chunks,
    void* scratch
    Py_ssize_t parts, groups, blocks  # of chunks and of blocks, for a few rows: each part in each group is a piece
    Py_ssize_t units  # blocks, or one less where the last two overlap, which one thread computes then
    Py_ssize_t row_parts  # of the rows whose chunks are added up


cdef inline Py_ssize_t vectors_of(Product* g, Py_ssize_t block) noexcept nogil:
    return (block + 1) * g.vectors // g.blocks - block * g.vectors // g.blocks


cdef inline Py_ssize_t most_rows(Product* g, Py_ssize_t NR) noexcept nogil:
    """The most rows of a tile with NR vectors."""
    return run_rows(<int>NR) if g.a_transposed else tile_rows(<int>NR)


cdef inline void pack_right(const floating* b, Product* g, Py_ssize_t k, Py_ssize_t count, Py_ssize_t first,
                            Py_ssize_t width, floating* packed) noexcept nogil:
    """Copy rows k to k + count of columns first to first + width; columns beyond the last hold anything."""
    if g.b_transposed:
        transpose_padded(b + first * g.b_step + k, g.b_step, min(width, g.columns - first), count, packed, width)
    else:
        pad(b + k * g.b_step, b + g.K * g.b_step, count, g.b_step, 0, -first, width, 0, count, packed)


cdef inline void add_strip(const floating* strip, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t columns, bint add,
                           floating* out, Py_ssize_t out_step) noexcept nogil:
    """Copy a strip's sums to the result, or add them."""
    cdef Py_ssize_t c
    for _ in range(rows):
        if add:
            for c in range(columns):
                out[c] += strip[c]
        else:
            memcpy(out, strip, columns * sizeof(floating))
        strip = strip + step
        out = out + out_step


cdef inline void finish(const floating* sums, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t first, Py_ssize_t columns,
                        Job* job, floating* out) noexcept nogil:
    """Move finished sums of columns from `first` on to the result, unless they are there, with what follows."""
    cdef Py_ssize_t r, M = job.g.columns
    cdef const floating* bias = <const floating*>job.bias
    cdef const floating* norm = <const floating*>job.norm
    cdef const floating* scale = NULL
    cdef const floating* shift = NULL
    if bias == NULL and norm == NULL and not job.relu and sums == out:
        return
    if bias != NULL:
        bias = bias + first
    if norm != NULL:
        norm, scale, shift = norm + first, norm + M + first, norm + 2 * M + first
    for r in range(rows):
        finish_row(sums + r * step, bias, norm, scale, shift, <const floating*>NULL, job.relu, columns, out + r * M,
                   NULL)


cdef inline void find_bits(const floating* a, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t count,
                           uint64_t* bits) noexcept nogil:
    if floating is float:
        find_bits_float(a, step, rows, count, bits)
    else:
        find_bits_double(a, step, rows, count, bits)


cdef inline void sparse_rows(Py_ssize_t NR, Py_ssize_t rows, const floating* a, Py_ssize_t a_step, const uint64_t* bits,
                             Py_ssize_t words, const floating* b, const floating* start, floating* to,
                             Py_ssize_t to_step, Py_ssize_t last, bint add) noexcept nogil:
    if floating is float:
        sparse_rows_float(<int>NR, rows, a, a_step, bits, words, b, start, to, to_step, last, add)
    else:
        sparse_rows_double(<int>NR, rows, a, a_step, bits, words, b, start, to, to_step, last, add)


cdef inline bint pack_finite(Py_ssize_t NR, Py_ssize_t count, const floating* b, Py_ssize_t b_step, Py_ssize_t last,
                             floating* to) noexcept nogil:
    if floating is float:
        return pack_finite_float(<int>NR, count, b, b_step, last, to)
    else:
        return pack_finite_double(<int>NR, count, b, b_step, last, to)


cdef bint mostly_zero(const floating* a, Product* g, Py_ssize_t rows, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    """Whether leaving out the zeros of `rows` rows of the left factor, at steps `first` to `end`, saves time."""
    cdef double fraction
    a = a + first * g.k_step
    if g.a_transposed:
        fraction = fraction_nonzero(a, end - first, g.k_step, rows)
    else:
        fraction = fraction_nonzero(a, rows, g.row_step, end - first)
    return fraction * 100 < SPARSE_PERCENT


cdef void some_sparse_rows(const floating* a, const floating* b, Product* g, Py_ssize_t row, Py_ssize_t rows,
                           Py_ssize_t first_column, Py_ssize_t end_column, Py_ssize_t first_chunk,
                           Py_ssize_t end_chunk, floating* sums, Py_ssize_t sums_step,
                           floating* scratch) noexcept nogil:
    """The same as `some_rows`, for a vector or more of columns, without the zeros of the left factor."""
    cdef Py_ssize_t vectors = ceil_div(end_column - first_column, g.lanes), blocks = ceil_div(vectors, SPARSE_MAX_NR)
    cdef Py_ssize_t ki, k, count, words, w, steps, block, c, NR, last, i, step, a_step, b_step
    cdef uint64_t[ROWS * WORDS] bits
    cdef floating* packed = scratch + g.strip
    cdef floating* left_packed = packed + g.right
    cdef const floating* left
    cdef const floating* right
    cdef const floating* start
    for ki in range(first_chunk, end_chunk):
        k = ki * g.chunk
        count = min(g.chunk, g.K - k)
        words = ceil_div(count, SPARSE_STEPS)
        left = a + row * g.row_step + k * g.k_step
        a_step = g.row_step
        if g.a_transposed:
            transpose_matrix(left, g.k_step, count, rows, left_packed, count)
            left = left_packed
            a_step = count
        find_bits(left, a_step, rows, count, bits)
        for block in range(blocks):
            c = block * vectors // blocks
            NR = (block + 1) * vectors // blocks - c
            c = first_column + c * g.lanes
            last = min(c + NR * g.lanes, end_column) - g.lanes - c
            step = NR * g.lanes
            start = NULL
            for w in range(words):
                steps = min(SPARSE_STEPS, count - w * SPARSE_STEPS)
                if g.b_transposed:
                    pack_right(b, g, k + w * SPARSE_STEPS, steps, c, step, packed)
                    right = packed
                    b_step = step
                else:
                    right = b + (k + w * SPARSE_STEPS) * g.b_step + c
                    b_step = g.b_step
                if not pack_finite(NR, steps, right, b_step, last, packed):
                    for i in range(rows):
                        bits[i * words + w] = ~(<uint64_t>0) >> (SPARSE_STEPS - steps)
                if w + 1 < words:
                    sparse_rows(NR, rows, left + w * SPARSE_STEPS, a_step, bits + w, words, <const floating*>packed,
                                start, scratch, step, step - g.lanes, False)
                    start = scratch
                else:
                    sparse_rows(NR, rows, left + w * SPARSE_STEPS, a_step, bits + w, words, <const floating*>packed,
                                start, sums + c, sums_step, last, ki > first_chunk)


cdef bint some_rows(const floating* a, const floating* b, Product* g, Py_ssize_t row, Py_ssize_t rows,
                    Py_ssize_t first_block, Py_ssize_t end_block, Py_ssize_t first_chunk, Py_ssize_t end_chunk,
                    bint ready, floating* sums, Py_ssize_t sums_step, floating* scratch) noexcept nogil:
    """Compute the sums of `rows` rows of some blocks of columns, as far as some chunks go.

    `ready` tells that the whole right factor was packed by an earlier call; the result, whether it is now.
    """
    cdef Py_ssize_t block, r, ri, k, ki, i, count, first, NR, tiles, calls, width, valid, to_step
    cdef int MR, size = 0, larger = 0
    cdef Py_ssize_t own = first_block * g.vectors // g.blocks * g.lanes
    cdef Py_ssize_t end = min(end_block * g.vectors // g.blocks * g.lanes, g.columns)
    cdef Prefetch prefetch
    cdef floating* packed = scratch + g.strip
    cdef floating* left_packed = packed + g.right
    cdef floating* to
    cdef floating* right
    cdef const floating* left
    k = first_chunk * g.chunk
    if end - own >= g.lanes and mostly_zero(a + row * g.row_step, g, rows, k, min(end_chunk * g.chunk, g.K)):
        some_sparse_rows(a, b, g, row, rows, own, end, first_chunk, end_chunk, sums, sums_step, scratch)
        return False
    calls = 0
    for block in range(first_block, end_block):
        calls += ceil_div(rows, most_rows(g, vectors_of(g, block)))
    memset(&prefetch, 0, sizeof(prefetch))
    for ki in range(first_chunk, end_chunk):
        k = ki * g.chunk
        count = min(g.chunk, g.K - k)
        left = a + row * g.row_step + k * g.k_step
        # Tiles ask for what comes next: the next rows of a left factor that is copied, and their results; the next
        # chunk of the right one; or its next block and the results there.
        if g.a_transposed:
            pad(a + k * g.k_step, a + g.K * g.k_step, count, g.k_step, 0, -row, rows, 0, count, left_packed)
            left = left_packed
            i = min(rows, g.rows - row - rows)
            if i > 0:
                plan_prefetch(&prefetch.read, a + row + rows + k * g.k_step, g.k_step, count, i, calls)
                i = ceil_div(i * g.columns, count)
                plan_prefetch(&prefetch.write, sums + rows * sums_step, i, count, i, calls)
        elif not g.b_transposed:
            plan_prefetch(&prefetch.read, b + (k + count) * g.b_step + own, g.b_step, min(g.chunk, g.K - k - count),
                          end - own, calls)
        for block in range(first_block, end_block):
            first = block * g.vectors // g.blocks * g.lanes
            NR = vectors_of(g, block)
            width = NR * g.lanes
            valid = min(width, sums_step - first)
            tiles = deal(rows, <int>most_rows(g, NR), &size, &larger)
            if g.b_transposed and first + width < g.columns:
                i = min(width, g.columns - first - width)
                plan_prefetch(&prefetch.read, b + (first + width) * g.b_step + k, g.b_step, min(i, count), count, tiles)
                plan_prefetch(&prefetch.write, sums + first + width, sums_step, min(rows, count), i, tiles)
            right = packed + (first * count if g.whole else 0)
            if valid < width <= g.columns and g.chunks == g.items == 1:
                first = g.columns - width  # the last block computes some of the columns before it again
                valid = width
            if not ready:
                pack_right(b, g, k, count, first, width, right)
            r = 0
            for ri in range(tiles):
                MR = size + (ri < larger)
                to = sums + r * sums_step + first
                to_step = sums_step
                if valid < width or g.a_transposed and ki > first_chunk:
                    to = scratch
                    to_step = width
                next_prefetch(&prefetch)
                if g.a_transposed:
                    tile_product(MR, <int>NR, left + r, rows, count, <const floating*>right, to, to_step,
                                 &prefetch.tile)
                else:
                    tile_rows_product(MR, <int>NR, left + r * g.row_step, g.row_step, count, <const floating*>right,
                                      width, to, to_step, ki > first_chunk and valid == width, &prefetch.tile)
                if to == scratch:
                    add_strip(<const floating*>scratch, width, MR, valid, ki > first_chunk,
                              sums + r * sums_step + first, sums_step)
                r += MR
    return g.whole


cdef void some_parts(const floating* a, const floating* b, floating* out, floating* scratch, Job* job,
                     Pieces* pieces, int slot) noexcept nogil:
    """Compute pieces of work as long as there are some, each one part of the rows in some of the blocks."""
    cdef Product* g = job.g
    cdef Py_ssize_t piece, item, part, row, rows, first, own, end, last = -1
    cdef bint ready = False
    cdef floating* to
    cdef floating* sums
    scratch += slot * g.private
    while (piece := take_piece(pieces, slot)) >= 0:
        part = piece % g.parts
        item = piece // g.parts
        row = part * g.rows // g.parts
        rows = (part + 1) * g.rows // g.parts - row
        first = item * g.blocks // g.items
        end = (item + 1) * g.blocks // g.items
        to = out + row * g.columns
        sums = to if g.step == g.columns else scratch + g.apart
        ready = some_rows(a, b, g, row, rows, first, end, 0, g.chunks, ready and item == last, sums, g.step, scratch)
        own = first * g.vectors // g.blocks * g.lanes
        end = min(end * g.vectors // g.blocks * g.lanes, g.columns)
        finish(<const floating*>(sums + own), g.step, rows, own, end - own, job, to + own)
        last = item


cdef void multiply_parts(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    if job.single:
        some_parts(<const float*>job.a, <const float*>job.b, <float*>job.out, <float*>job.scratch, job, pieces, slot)
    else:
        some_parts(<const double*>job.a, <const double*>job.b, <double*>job.out, <double*>job.scratch, job, pieces,
                   slot)


cdef void some_sums(floating* sums, floating* out, Job* job, Pieces* pieces, int slot) noexcept nogil:
    """Add the chunks' sums of some rows in order, and finish them."""
    cdef Product* g = job.g
    cdef Py_ssize_t chunk, i, item, first, end
    while (item := take_piece(pieces, slot)) >= 0:
        first = item * g.rows // job.row_parts
        end = (item + 1) * g.rows // job.row_parts
        for chunk in range(1, g.chunks):
            for i in range(first * g.step, end * g.step):
                sums[i] += sums[chunk * g.rows * g.step + i]
        finish(<const floating*>(sums + first * g.step), g.step, end - first, 0, g.columns, job,
               out + first * g.columns)


cdef void add_chunks(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    if job.single:
        some_sums(<float*>job.sums, <float*>job.out, job, pieces, slot)
    else:
        some_sums(<double*>job.sums, <double*>job.out, job, pieces, slot)


cdef void some_whole_chunks(const floating* a, const floating* b, floating* sums, floating* scratch, Job* job,
                            Pieces* pieces, int slot) noexcept nogil:
    cdef Product* g = job.g
    cdef Py_ssize_t chunk
    while (chunk := take_piece(pieces, slot)) >= 0:
        some_rows(a, b, g, 0, g.rows, 0, g.blocks, chunk, chunk + 1, False, sums + chunk * g.rows * g.step, g.step,
                  scratch + slot * g.private)


cdef void multiply_chunks(void* given, Pieces* pieces, int slot) noexcept nogil:
    """The same, for up to ROWS rows: threads share the chunks, so that each reads a part of the right factor alone.

    That is a matrix of parameters, which an optimizer is about to write: what several cores have read takes long to.
    """
    cdef Job* job = <Job*>given
    if job.single:
        some_whole_chunks(<const float*>job.a, <const float*>job.b, <float*>job.sums, <float*>job.scratch, job, pieces,
                          slot)
    else:
        some_whole_chunks(<const double*>job.a, <const double*>job.b, <double*>job.sums, <double*>job.scratch, job,
                          pieces, slot)


cdef inline void row(int NR, const floating* a, Py_ssize_t count, const floating* b, Py_ssize_t b_step, Py_ssize_t last,
                     floating* out) noexcept nogil:
    if floating is float:
        row_float(NR, a, count, b, b_step, last, out)
    else:
        row_double(NR, a, count, b, b_step, last, out)


cdef void some_chunks(const floating* a, const floating* b, floating* sums, Job* job, Pieces* pieces,
                      int slot) noexcept nogil:
    """Compute the sums of some chunks, for all of few rows and some blocks of columns."""
    cdef Product* g = job.g
    cdef Py_ssize_t piece, p, q, item, block, k, count, v, NR, c
    cdef floating* to
    cdef tile_prefetch prefetch
    memset(&prefetch, 0, sizeof(prefetch))
    while (piece := take_piece(pieces, slot)) >= 0:
        p = piece // job.groups
        q = piece % job.groups
        for item in range(p * g.chunks // job.parts, (p + 1) * g.chunks // job.parts):
            k = item * g.chunk
            count = min(g.chunk, g.K - k)
            to = sums + item * g.rows * g.step
            for block in range(q * job.units // job.groups,
                               job.blocks if q + 1 == job.groups else (q + 1) * job.units // job.groups):
                v = block * g.vectors // job.blocks
                NR = (block + 1) * g.vectors // job.blocks - v
                if g.rows == 1:
                    c = v * g.lanes
                    row(<int>NR, a + k, count, b + k * g.b_step + c, g.b_step,
                        min((v + NR) * g.lanes, g.columns) - g.lanes - c, to + c)
                else:
                    c = min(v * g.lanes, g.columns - NR * g.lanes)
                    tile_rows_product(<int>g.rows, <int>NR, a + k, g.row_step, count, b + k * g.b_step + c, g.b_step,
                                      to + c, g.step, False, &prefetch)


cdef void multiply_few_rows(void* given, Pieces* pieces, int slot) noexcept nogil:
    """The same, for up to FEW_ROWS rows and a right factor that is read in place: threads share the chunks."""
    cdef Job* job = <Job*>given
    if job.single:
        some_chunks(<const float*>job.a, <const float*>job.b, <float*>job.sums, job, pieces, slot)
    else:
        some_chunks(<const double*>job.a, <const double*>job.b, <double*>job.sums, job, pieces, slot)


cdef void lay_out(Product* g, Py_ssize_t rows, Py_ssize_t K, Py_ssize_t columns, bint a_transposed, bint b_transposed,
                  Py_ssize_t itemsize, int num_threads):
    """Find out how a product of these positive sizes is cut into chunks, blocks and parts, and its scratch."""
    cdef Py_ssize_t NR, width = 0, few_rows = min(rows, ROWS), blocks, wide
    cdef double cost, least = 0
    g.rows, g.K, g.columns, g.a_transposed, g.b_transposed = rows, K, columns, a_transposed, b_transposed
    g.row_step = 1 if a_transposed else K
    g.k_step = rows if a_transposed else 1
    g.b_step = K if b_transposed else columns
    g.lanes = VECTOR_BYTES // itemsize
    g.vectors = ceil_div(columns, g.lanes)
    g.blocks = 1
    for NR in range(1, min(g.vectors, TILE_MAX_NR) + 1):
        blocks = ceil_div(g.vectors, NR)
        wide = g.vectors - blocks * (NR - 1)  # blocks of NR vectors; the others have one less
        cost = wide * tile_cost(NR, ceil_div(few_rows, most_rows(g, NR)), few_rows, 0)
        if wide < blocks:
            cost += (blocks - wide) * tile_cost(NR - 1, ceil_div(few_rows, most_rows(g, NR - 1)), few_rows, 0)
        if cost < least or NR == 1:
            least = cost
            g.blocks = blocks
            width = NR * g.lanes
    g.few = rows <= FEW_ROWS and not b_transposed and not a_transposed and columns >= g.lanes
    g.chunks = ceil_div(K, CHUNK)
    if g.chunks > CHUNKS:
        g.chunks = round_up(g.chunks, CHUNKS)
    g.chunk = ceil_div(K, g.chunks)
    g.chunks = ceil_div(K, g.chunk)
    g.step = g.vectors * g.lanes if g.chunks > 1 and not a_transposed and not g.few else columns
    g.by_chunks = (not g.few and not b_transposed and not a_transposed and rows <= ROWS and 1 < num_threads
                   and K >= 4 * num_threads * CHUNK
                   and <double>g.chunks * rows * g.step * itemsize <= SUMS_BYTES)
    # Rows share what is copied of the right factor, blocks of columns what is copied of the left one.
    g.parts, g.items = ceil_div(rows, ROWS), 1
    if num_threads > 1 and a_transposed:
        g.parts = max(g.parts, min(rows // LEAST_ROWS, PIECES * num_threads))
        g.parts = min(round_up(g.parts, num_threads), rows)
    elif g.parts < PIECES * num_threads and num_threads > 1:
        g.items = min(g.blocks, ceil_div(PIECES * num_threads, g.parts))
        if g.parts * g.items < 4 * num_threads:
            g.parts = max(g.parts, min(ceil_div(rows, LEAST_ROWS), num_threads))
    g.strip = few_rows * max(width, SPARSE_MAX_NR * g.lanes)
    g.whole = not b_transposed and K <= CHUNK and g.parts > 1 and columns <= 4 * width
    # `pad` and `transpose_padded` write up to a vector too much.
    g.right = max(g.chunk * (g.vectors * g.lanes if g.whole else width),
                  SPARSE_STEPS * SPARSE_MAX_NR * g.lanes) + g.lanes
    g.apart = g.strip + g.right + (g.chunk * ROWS + g.lanes if a_transposed else 0)
    g.private = g.apart + (few_rows * g.step if g.step > columns and not g.by_chunks else 0)


def plan(Py_ssize_t rows, Py_ssize_t K, Py_ssize_t columns, bint a_transposed, bint b_transposed, Py_ssize_t itemsize,
         int num_threads, /):
    """How a product is cut, as a dict of numbers and arrays, which `cconv.kernels.plans` checks without running it."""
    cdef Product g
    cdef Py_ssize_t part, row, end, block, NR, first, r, size = 0
    cdef int MR = 0, larger = 0
    if min(rows, K, columns) < 1:
        raise ValueError(f"rows, K and columns must be at least 1, got {rows}, {K} and {columns}")
    lay_out(&g, rows, K, columns, a_transposed, b_transposed, itemsize, num_threads)
    tiles = []
    for part in range(1 if g.by_chunks or g.few else g.parts):
        row = 0 if g.by_chunks or g.few else part * g.rows // g.parts
        end = rows if g.by_chunks or g.few else (part + 1) * g.rows // g.parts
        for block in range(g.blocks):
            first, NR = block * g.vectors // g.blocks * g.lanes, vectors_of(&g, block)
            for r in range(deal(end - row, <int>most_rows(&g, NR), &MR, &larger)):
                size = MR + (r < larger)
                tiles.append((row, size, first, NR, most_rows(&g, NR), part, block * g.items // g.blocks))
                row += size
            row = 0 if g.by_chunks or g.few else part * g.rows // g.parts
    return {
        "pass": "product", "source": (rows, K), "filters": (K, columns), "target": (rows, columns),
        "steps": (a_transposed, b_transposed), "groups": num_threads, "itemsize": itemsize, "few": g.few,
        "by_chunks": g.by_chunks, "whole": g.whole, "chunk": g.chunk, "chunks": g.chunks, "lanes": g.lanes,
        "vectors": g.vectors, "blocks": g.blocks, "parts": g.parts, "items": g.items, "step": g.step,
        "row_step": g.row_step, "k_step": g.k_step, "b_step": g.b_step, "strip": g.strip, "right": g.right,
        "apart": g.apart, "private": g.private, "tiles": np.array(tiles, np.intp),
        "longest": CHUNK, "most_rows": ROWS, "most_vectors": TILE_MAX_NR,
    }


cdef void run(cnp.ndarray a, cnp.ndarray b, object bias, object norm, bint relu, cnp.ndarray out, bint a_transposed,
              bint b_transposed, int num_threads):
    """Write a times b, either of them transposed, into out, with a bias and normalized where these are not None."""
    cdef Product g
    cdef Py_ssize_t rows = a.shape[1 if a_transposed else 0], K = a.shape[0 if a_transposed else 1]
    cdef Py_ssize_t columns = b.shape[0 if b_transposed else 1], itemsize = cnp.PyArray_ITEMSIZE(a), summed
    cdef cnp.ndarray scratch
    cdef Job job
    if rows == 0 or columns == 0:
        return
    if K == 0:
        out[...] = 0  # the weight gradient of an empty batch
        return
    lay_out(&g, rows, K, columns, a_transposed, b_transposed, itemsize, num_threads)
    if PLANS_CHECKED:
        check_product(plan(rows, K, columns, a_transposed, b_transposed, itemsize, num_threads))
    summed = g.chunks * rows * g.step * (g.few or g.by_chunks)
    scratch = empty((g.private * num_threads * (not g.few) + summed,), a.dtype)
    job.single, job.relu, job.g = cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT, relu, &g
    job.a, job.b, job.out = cnp.PyArray_DATA(a), cnp.PyArray_DATA(b), cnp.PyArray_DATA(out)
    job.bias, job.norm = data(bias), data(norm)
    job.scratch = cnp.PyArray_DATA(scratch)
    job.sums = <char*>job.scratch + (cnp.PyArray_SIZE(scratch) - summed) * itemsize
    with nogil:
        if g.few:
            # Vectors, of which the last may overlap the one before, are dealt out evenly; no block is wider than the
            # matrix.
            job.blocks = ceil_div(g.vectors, ROW_MAX_NR if rows == 1 else min(TILE_MAX_NR, columns // g.lanes))
            job.parts = g.chunks if num_threads > 1 else 1
            job.units = max(job.blocks - (columns % g.lanes > 0), 1)
            job.groups = min(job.units, ceil_div(num_threads, job.parts))
            job.row_parts = 1
            run_job(multiply_few_rows, &job, job.parts * job.groups, num_threads)
            run_job(add_chunks, &job, 1, 1)
        elif g.by_chunks:
            job.row_parts = num_threads
            run_job(multiply_chunks, &job, g.chunks, num_threads)
            run_job(add_chunks, &job, job.row_parts, num_threads)
        else:
            run_job(multiply_parts, &job, g.parts * g.items, num_threads)


cdef struct Channels:
    bint single
    const void* a
    void* total
    void* lost
    Py_ssize_t N, channels, pixels


cdef void add_channels(const floating* a, floating* total, floating* lost, Channels* job) noexcept nogil:
    cdef Py_ssize_t n, c, channels = job.channels, pixels = job.pixels
    memset(total, 0, channels * sizeof(floating))
    memset(lost, 0, channels * sizeof(floating))
    if pixels == 1:
        sum_columns(a, channels, job.N, channels, total, lost)
    else:
        for n in range(job.N):
            for c in range(channels):
                sum_add(total + c, lost + c, sum_row(a + (n * channels + c) * pixels, pixels))
    for c in range(channels):
        total[c] = sum_whole(total[c], lost[c])


cdef void add_all_channels(void* given, Pieces* _pieces, int _slot) noexcept nogil:
    cdef Channels* job = <Channels*>given
    if job.single:
        add_channels(<const float*>job.a, <float*>job.total, <float*>job.lost, job)
    else:
        add_channels(<const double*>job.a, <double*>job.total, <double*>job.lost, job)


def channel_sums(cnp.ndarray a, cnp.ndarray out, /):
    """Write the sums of a (N, C) or (N, C, H, W) over all axes but the second into out (C,): a bias's gradient."""
    cdef cnp.ndarray lost = empty((a.shape[1],), out.dtype)
    cdef Channels job = Channels(cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT, cnp.PyArray_DATA(a), cnp.PyArray_DATA(out),
                                 cnp.PyArray_DATA(lost), a.shape[0], a.shape[1],
                                 1 if a.ndim == 2 else a.shape[2] * a.shape[3])
    with nogil:
        run_job(add_all_channels, &job, 1, 1)


def affine(cnp.ndarray x, cnp.ndarray W, cnp.ndarray b, cnp.ndarray out, bint relu, int num_threads,
           cnp.ndarray norm=None, /):
    """Write x (N, D) times W (D, M), plus b (M,) or None, into out (N, M).

    Where `norm` (3, M) is not None, its first row is subtracted from that, the second multiplied and the third added.
    """
    run(x, W, b, norm, relu, out, False, False, num_threads)


def affine_backward(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray W, cnp.ndarray dx, cnp.ndarray dW, cnp.ndarray db,
                    int num_threads, /):
    """Write dout (N, M) times the transpose of W (D, M) into dx (N, D), the transpose of x times dout into dW, and
    dout's column sums into db; what is None is left out."""
    if dx is not None:
        run(dout, W, None, None, False, dx, False, True, num_threads)
    if dW is not None:
        run(x, dout, None, None, False, dW, True, False, num_threads)
    if db is not None:
        channel_sums(dout, db)
