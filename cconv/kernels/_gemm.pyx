"""The three matrix products of an affine layer, on the register tile of tile.h.

    output            out[n, m] = b[m] + sum over d of x[n, d] * W[d, m]
    input gradient    dx[n, d]  = sum over m of dout[n, m] * W[d, m]
    weight gradient   dW[d, m]  = sum over n of x[n, d] * dout[n, m],  db[m] = sum over n of dout[n, m]

All three are one product, rows times columns, in which the tile broadcasts values of the left factor, wherever they lie
(`row_step`, `k_step`), against vectors of the right one. Neither factor is packed as a whole: the right one is read in
place when its columns are contiguous (x W, x^T dout), the last vector overlapping the one before; only W^T, and
matrices narrower than a vector, are brought into that form, a block of columns at a time. Of x^T, whose rows lie side
by side but whose steps k are whole samples apart, a block is copied closer together. Sums grow in their place in the
result; those of the last columns, which may overlap others or end beyond the result, grow in a strip.

Order of additions: k is cut into chunks of CHUNK; each is one chain of multiply-adds, and their sums are added in
order; then comes the bias. A row's bits depend on nothing but the row and W. With a handful of rows the work is
reading W: then threads share the chunks, and the same sums are added in the same order at the end. One row alone
(row.h) reads W from end to end.

Where a few rows of the left factor show that most of its values are 0, as relu leaves them, those are left out
(sparse.h): at a quarter of the values a product takes half the time. That changes no bit.

Threads take the same rows or chunks in every call, for a batch of usual size the chunks: so each core reads, in all
three products, and writes, in the optimizer, about the same part of W. From another core's cache it would come slowly,
and on a processor whose cores do not share one, more slowly than it is multiplied.
"""

cimport numpy as cnp
from cython cimport floating
from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from cconv.kernels.division cimport ceil_div
from cconv.kernels.tile cimport (
    TILE_BYTES, TILE_MAX_V, TILE_ROWS, cconv_ftz_on, cconv_ftz_restore, expect, pad, tile, tile_rows, turn, turn_padded
)
from cconv.kernels.zeros cimport share_nonzero

from cconv.kernels._memory import empty

cnp.import_array()

cdef extern from "row.h" nogil:
    const int ROW_MAX_V
    void row_float(int, const float*, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, float*) noexcept
    void row_double(int, const double*, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t,
                    double*) noexcept

cdef extern from "sparse.h" nogil:
    enum: SPARSE_STEPS
    const int SPARSE_MAX_V
    void find_bits_float(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, uint64_t*) noexcept
    void find_bits_double(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, uint64_t*) noexcept
    void sparse_rows_float(int, Py_ssize_t, const float*, Py_ssize_t, const uint64_t*, Py_ssize_t, const float*,
                           const float*, float*, Py_ssize_t, Py_ssize_t, bint) noexcept
    void sparse_rows_double(int, Py_ssize_t, const double*, Py_ssize_t, const uint64_t*, Py_ssize_t, const double*,
                            const double*, double*, Py_ssize_t, Py_ssize_t, bint) noexcept
    bint bring_float(int, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, float*) noexcept
    bint bring_double(int, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, double*) noexcept

cdef enum:
    CHUNK = 256  # multiply-adds in one chain
    ROWS = 112  # rows of the result that share a block of the right factor: whole tiles of every width
    FEW_ROWS = 4
    WORDS = 4  # of SPARSE_STEPS bits, for a chunk
    SPARSE_PERCENT = 75  # of values that are not 0: where there are fewer, leaving out the others saves time
    SUMS_BYTES = 2 << 20  # memory for the sums of all chunks, where threads share them

cdef struct Product:
    Py_ssize_t rows, K, columns
    Py_ssize_t row_step, k_step  # of the left factor
    Py_ssize_t b_step  # from row to row of the right factor; with `turned`, from column to column
    bint turned
    Py_ssize_t lanes, vectors, V
    Py_ssize_t strip, right  # values of scratch for sums and for a block of the right factor


cdef inline const floating* right_factor(const floating* b, Product* g, Py_ssize_t k, Py_ssize_t count,
                                         Py_ssize_t first, Py_ssize_t width, floating* packed,
                                         Py_ssize_t* step) noexcept nogil:
    """Rows k to k + count of columns first to first + width, in place or packed, and their step."""
    cdef Py_ssize_t i, c, valid = min(width, g.columns - first)
    if g.turned:
        turn_padded(b + first * g.b_step + k, g.b_step, valid, count, packed, width)
        if valid < width:
            for i in range(count):
                for c in range(ceil_div(valid, g.lanes) * g.lanes, width):
                    packed[i * width + c] = 0
    elif valid < width:  # the whole of a narrow matrix: its rows follow each other
        pad(b + k * valid, b + g.K * valid, count, valid, 0, 0, width, 0, count, packed)
    else:
        step[0] = g.b_step
        return b + k * g.b_step + first
    step[0] = width
    return packed


cdef inline void finish(const floating* sums, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t columns,
                        const floating* bias, bint relu, floating* out, Py_ssize_t out_step) noexcept nogil:
    """Move finished sums to the result, unless they are there, with bias and relu."""
    cdef Py_ssize_t r, c
    cdef const floating* source
    cdef floating* target
    for r in range(rows):
        source = sums + r * step
        target = out + r * out_step
        if bias != NULL and relu:
            for c in range(columns):
                target[c] = 0 if source[c] + bias[c] <= 0 else source[c] + bias[c]
        elif bias != NULL:
            for c in range(columns):
                target[c] = source[c] + bias[c]
        elif relu:
            for c in range(columns):
                target[c] = 0 if source[c] <= 0 else source[c]
        elif source != target:
            memcpy(target, source, columns * sizeof(floating))


cdef inline void block_columns(Product* g, Py_ssize_t block, Py_ssize_t* first, Py_ssize_t* own,
                               Py_ssize_t* V) noexcept nogil:
    """A block's first column, the first it owns (the ones before it overlap the previous block), and its vectors."""
    V[0] = min(g.V, g.vectors - block * g.V)
    own[0] = block * g.V * g.lanes
    first[0] = own[0]
    if not g.turned and g.columns >= V[0] * g.lanes:
        first[0] = min(own[0], g.columns - V[0] * g.lanes)


cdef inline void find_bits(const floating* a, Py_ssize_t step, Py_ssize_t rows, Py_ssize_t count,
                           uint64_t* bits) noexcept nogil:
    if floating is float:
        find_bits_float(a, step, rows, count, bits)
    else:
        find_bits_double(a, step, rows, count, bits)


cdef inline void sparse_rows(Py_ssize_t V, Py_ssize_t rows, const floating* a, Py_ssize_t a_step, const uint64_t* bits,
                             Py_ssize_t words, const floating* b, const floating* start, floating* to,
                             Py_ssize_t to_step, Py_ssize_t last, bint add) noexcept nogil:
    if floating is float:
        sparse_rows_float(<int>V, rows, a, a_step, bits, words, b, start, to, to_step, last, add)
    else:
        sparse_rows_double(<int>V, rows, a, a_step, bits, words, b, start, to, to_step, last, add)


cdef inline bint bring(Py_ssize_t V, Py_ssize_t count, const floating* b, Py_ssize_t b_step, Py_ssize_t last,
                       floating* to) noexcept nogil:
    if floating is float:
        return bring_float(<int>V, count, b, b_step, last, to)
    else:
        return bring_double(<int>V, count, b, b_step, last, to)


cdef bint mostly_zero(const floating* a, Product* g, Py_ssize_t rows, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    """Whether leaving out the zeros of `rows` rows of the left factor, at steps `first` to `end`, saves time."""
    cdef double share
    a = a + first * g.k_step
    if g.row_step == 1:
        share = share_nonzero(a, end - first, g.k_step, rows)
    else:
        share = share_nonzero(a, rows, g.row_step, end - first)
    return share * 100 < SPARSE_PERCENT


cdef void some_sparse_rows(const floating* a, const floating* b, floating* bias, bint relu, floating* out, Product* g,
                           Py_ssize_t row, Py_ssize_t rows, Py_ssize_t first_column, Py_ssize_t end_column,
                           Py_ssize_t first_chunk, Py_ssize_t end_chunk, floating* scratch) noexcept nogil:
    """The same as `some_rows`, for a vector or more of columns, without the zeros of the left factor."""
    cdef Py_ssize_t vectors = ceil_div(end_column - first_column, g.lanes), blocks = ceil_div(vectors, SPARSE_MAX_V)
    cdef Py_ssize_t ki, k, count, words, w, steps, block, c, V, last, i, step, a_step, b_step
    cdef uint64_t[ROWS * WORDS] bits
    cdef floating* packed = scratch + g.strip
    cdef floating* left_packed = packed + g.right
    cdef const floating* left
    cdef const floating* right
    cdef const floating* start
    for ki in range(first_chunk, end_chunk):
        k = ki * CHUNK
        count = min(CHUNK, g.K - k)
        words = ceil_div(count, SPARSE_STEPS)
        left = a + row * g.row_step + k * g.k_step
        a_step = g.row_step
        if g.row_step == 1:
            turn(left, g.k_step, count, rows, left_packed, count)
            left = left_packed
            a_step = count
        find_bits(left, a_step, rows, count, bits)
        for block in range(blocks):
            c = block * vectors // blocks
            V = (block + 1) * vectors // blocks - c
            c = first_column + c * g.lanes
            last = min(c + V * g.lanes, end_column) - g.lanes - c
            step = V * g.lanes
            start = NULL
            for w in range(words):
                steps = min(SPARSE_STEPS, count - w * SPARSE_STEPS)
                if g.turned:
                    right = right_factor(b, g, k + w * SPARSE_STEPS, steps, c, step, packed, &b_step)
                else:
                    right = b + (k + w * SPARSE_STEPS) * g.b_step + c
                    b_step = g.b_step
                if not bring(V, steps, right, b_step, last, packed):
                    for i in range(rows):
                        bits[i * words + w] = ~(<uint64_t>0) >> (SPARSE_STEPS - steps)
                if w + 1 < words:
                    sparse_rows(V, rows, left + w * SPARSE_STEPS, a_step, bits + w, words, <const floating*>packed,
                                start, scratch, step, step - g.lanes, False)
                    start = scratch
                else:
                    sparse_rows(V, rows, left + w * SPARSE_STEPS, a_step, bits + w, words, <const floating*>packed,
                                start, out + row * g.columns + c, g.columns, last, ki > first_chunk)
    c = first_column
    finish(out + row * g.columns + c, g.columns, rows, end_column - c, NULL if bias == NULL else bias + c, relu,
           out + row * g.columns + c, g.columns)


cdef void some_rows(const floating* a, const floating* b, floating* bias, bint relu, floating* out, Product* g,
                    Py_ssize_t row, Py_ssize_t rows, Py_ssize_t first_block, Py_ssize_t end_block,
                    Py_ssize_t first_chunk, Py_ssize_t end_chunk, floating* scratch) noexcept nogil:
    """Compute `rows` rows of some blocks of columns, as far as some chunks go."""
    cdef Py_ssize_t block, r, ri, k, ki, i, count, first, own, V, P, tiles, width, step, k_step, to_step
    cdef Py_ssize_t[TILE_ROWS] off
    cdef Py_ssize_t[1] zero
    cdef floating* packed = scratch + g.strip
    cdef floating* left_packed = packed + g.right
    cdef floating* to
    cdef const floating* right
    cdef const floating* left
    own = first_block * g.V * g.lanes
    width = min(end_block * g.V * g.lanes, g.columns) - own
    k = first_chunk * CHUNK
    if width >= g.lanes and mostly_zero(a + row * g.row_step, g, rows, k, min(end_chunk * CHUNK, g.K)):
        some_sparse_rows(a, b, bias, relu, out, g, row, rows, own, own + width, first_chunk, end_chunk, scratch)
        return
    zero[0] = 0
    for r in range(TILE_ROWS):
        off[r] = r * g.row_step
    first = own = V = step = 0
    for ki in range(first_chunk, end_chunk):
        k = ki * CHUNK
        count = min(CHUNK, g.K - k)
        left = a + row * g.row_step + k * g.k_step
        k_step = g.k_step
        if g.row_step == 1:
            for i in range(count):
                memcpy(left_packed + i * rows, left + i * k_step, rows * sizeof(floating))
            left = left_packed
            k_step = rows
        for block in range(first_block, end_block):
            block_columns(g, block, &first, &own, &V)
            width = V * g.lanes
            tiles = ceil_div(rows, tile_rows(<int>V))
            to = out + row * g.columns + first
            to_step = g.columns
            if first < own or first + width > g.columns:  # the last block, which shares columns or ends beyond them
                to = scratch
                to_step = width
            right = right_factor(b, g, k, count, first, width, packed, &step)
            if ki == first_chunk:
                expect(to, to_step, width, rows)
            for ri in range(tiles):
                r = ri * rows // tiles
                P = (ri + 1) * rows // tiles - r
                tile(<int>P, <int>V, left + r * g.row_step, off, count, k_step, 1, zero, right, step, step,
                     to + r * to_step, to_step, ki > first_chunk)
    for block in range(first_block, end_block):
        block_columns(g, block, &first, &own, &V)
        width = V * g.lanes
        to = out + row * g.columns + own
        if first < own or first + width > g.columns:
            finish(scratch + own - first, width, rows, min(width - (own - first), g.columns - own),
                   NULL if bias == NULL else bias + own, relu, to, g.columns)
        else:
            finish(to, g.columns, rows, width, NULL if bias == NULL else bias + own, relu, to, g.columns)


cdef void product(const floating* a, const floating* b, floating* bias, bint relu, floating* out, Product* g,
                  floating* scratch, Py_ssize_t private, int num_threads) noexcept nogil:
    cdef Py_ssize_t blocks = ceil_div(g.vectors, g.V), parts = ceil_div(g.rows, ROWS), items = 1, item, row, part
    cdef Py_ssize_t chunks = ceil_div(g.K, CHUNK)
    cdef floating* mine = NULL
    cdef unsigned state = 0
    if num_threads == 1:  # one thread alone needs no barrier, which costs more than a small product
        state = cconv_ftz_on()
        for part in range(parts):
            row = part * g.rows // parts
            some_rows(a, b, bias, relu, out, g, row, (part + 1) * g.rows // parts - row, 0, blocks, 0, chunks,
                      scratch)
        cconv_ftz_restore(state)
        return
    # Blocks of columns share the left factor's rows; they are dealt out only where there are few rows.
    if parts < 4 * num_threads:
        items = min(blocks, num_threads)
        if blocks < 4 * num_threads:
            items = blocks
            parts = max(parts, min(ceil_div(g.rows, 28), num_threads))
    with parallel(num_threads=num_threads):
        mine = scratch + threadid() * private
        state = cconv_ftz_on()
        for item in prange(items * parts, schedule="static"):
            part = item % parts
            row = part * g.rows // parts
            some_rows(a, b, bias, relu, out, g, row, (part + 1) * g.rows // parts - row,
                      item // parts * blocks // items, (item // parts + 1) * blocks // items, 0, chunks, mine)
        cconv_ftz_restore(state)


cdef void add_chunks(floating* sums, Product* g, const floating* bias, bint relu, floating* out, Py_ssize_t first,
                     Py_ssize_t end) noexcept nogil:
    """Add the chunks' sums of rows `first` to `end` in order, and finish them."""
    cdef Py_ssize_t chunk, i
    for chunk in range(1, ceil_div(g.K, CHUNK)):
        for i in range(first * g.columns, end * g.columns):
            sums[i] += sums[chunk * g.rows * g.columns + i]
    finish(sums + first * g.columns, g.columns, end - first, g.columns, bias, relu, out + first * g.columns, g.columns)


cdef void product_by_chunks(const floating* a, const floating* b, floating* bias, bint relu, floating* out,
                            Product* g, floating* scratch, Py_ssize_t private, int num_threads) noexcept nogil:
    """The same, for up to ROWS rows: threads share the chunks, so that each reads a part of the right factor alone.

    That is a matrix of parameters, which an optimizer is about to write: what several cores have read takes long to.
    """
    cdef Py_ssize_t blocks = ceil_div(g.vectors, g.V), chunks = ceil_div(g.K, CHUNK), size = g.rows * g.columns
    cdef Py_ssize_t item, chunk
    cdef floating* sums = scratch + private * num_threads
    cdef floating* mine = NULL
    cdef unsigned state = 0
    with parallel(num_threads=num_threads):
        mine = scratch + threadid() * private
        state = cconv_ftz_on()
        for chunk in prange(chunks, schedule="static"):
            some_rows(a, b, <floating*>NULL, False, sums + chunk * size, g, 0, g.rows, 0, blocks, chunk, chunk + 1,
                      mine)
        for item in prange(num_threads, schedule="static"):
            add_chunks(sums, g, bias, relu, out, item * g.rows // num_threads, (item + 1) * g.rows // num_threads)
        cconv_ftz_restore(state)


cdef inline void row(int V, const floating* a, Py_ssize_t a_step, Py_ssize_t count, const floating* b,
                     Py_ssize_t b_step, Py_ssize_t last, floating* out) noexcept nogil:
    if floating is float:
        row_float(V, a, a_step, count, b, b_step, last, out)
    else:
        row_double(V, a, a_step, count, b, b_step, last, out)


cdef void some_chunks(const floating* a, const floating* b, Product* g, const Py_ssize_t* off, Py_ssize_t first,
                      Py_ssize_t end, Py_ssize_t first_block, Py_ssize_t end_block, Py_ssize_t blocks,
                      floating* sums) noexcept nogil:
    """Compute the sums of some chunks, for all of few rows and some blocks of columns."""
    cdef Py_ssize_t item, block, k, count, v, V, c
    cdef Py_ssize_t[1] zero
    cdef floating* to
    cdef unsigned state = cconv_ftz_on()
    zero[0] = 0
    for item in range(first, end):
        k = item * CHUNK
        count = min(CHUNK, g.K - k)
        to = sums + item * g.rows * g.columns
        for block in range(first_block, end_block):
            v = block * g.vectors // blocks
            V = (block + 1) * g.vectors // blocks - v
            if g.rows == 1:
                c = v * g.lanes
                row(<int>V, a + k * g.k_step, g.k_step, count, b + k * g.b_step + c, g.b_step,
                    min((v + V) * g.lanes, g.columns) - g.lanes - c, to + c)
            else:
                c = min(v * g.lanes, g.columns - V * g.lanes)
                tile(<int>g.rows, <int>V, a + k * g.k_step, off, count, g.k_step, 1, zero, b + k * g.b_step + c,
                     g.b_step, g.b_step, to + c, g.columns, False)
    cconv_ftz_restore(state)


cdef void product_of_few_rows(const floating* a, const floating* b, floating* bias, bint relu, floating* out,
                              Product* g, floating* sums, int num_threads) noexcept nogil:
    """The same, for up to FEW_ROWS rows and a right factor that is read in place: threads share the chunks."""
    cdef Py_ssize_t chunks = ceil_div(g.K, CHUNK), blocks, parts, groups, item, p, q, c
    cdef Py_ssize_t[FEW_ROWS] off
    cdef unsigned state
    for c in range(g.rows):
        off[c] = c * g.row_step
    # Vectors, of which the last may overlap the one before, are dealt out evenly; no block is wider than the matrix.
    blocks = ceil_div(g.vectors, ROW_MAX_V if g.rows == 1 else min(g.V, g.columns // g.lanes))
    parts = min(chunks, num_threads)
    groups = min(blocks, ceil_div(num_threads, parts))
    if num_threads == 1:
        some_chunks(a, b, g, off, 0, chunks, 0, blocks, blocks, sums)
    else:
        for item in prange(parts * groups, num_threads=num_threads, schedule="static"):
            p = item // groups
            q = item % groups
            some_chunks(a, b, g, off, p * chunks // parts, (p + 1) * chunks // parts, q * blocks // groups,
                        (q + 1) * blocks // groups, blocks, sums)
    state = cconv_ftz_on()
    add_chunks(sums, g, bias, relu, out, 0, g.rows)
    cconv_ftz_restore(state)


cdef void run(cnp.ndarray a, cnp.ndarray b, object bias, bint relu, cnp.ndarray out, Py_ssize_t rows, Py_ssize_t K,
              Py_ssize_t columns, Py_ssize_t row_step, Py_ssize_t k_step, bint turned, int num_threads):
    cdef Product g
    cdef Py_ssize_t private, V, least = 1 << 62, cost, width, few_rows = min(rows, ROWS), P
    cdef void* left = cnp.PyArray_DATA(a)
    cdef void* right = cnp.PyArray_DATA(b)
    cdef void* result = cnp.PyArray_DATA(out)
    cdef void* biases = NULL if bias is None else cnp.PyArray_DATA(<cnp.ndarray>bias)
    cdef void* work
    cdef cnp.ndarray scratch
    cdef bint single = cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT, few, by_chunks
    g.rows, g.K, g.columns, g.row_step, g.k_step = rows, K, columns, row_step, k_step
    g.b_step, g.turned, g.lanes = b.shape[1], turned, TILE_BYTES // cnp.PyArray_ITEMSIZE(a)
    if rows == 0:
        return
    if K == 0:
        out[...] = 0  # the weight gradient of an empty batch
        return
    g.vectors = ceil_div(columns, g.lanes)
    for V in range(1, min(g.vectors, TILE_MAX_V) + 1):
        # Whole registers first, then fewer loads of the right factor.
        cost = 0
        for width in (V, g.vectors % V):
            if width:
                P = ceil_div(few_rows, ceil_div(few_rows, tile_rows(<int>width)))
                cost += (g.vectors // V if width == V else 1) * ceil_div(few_rows, P) * (
                    4 * max(P * width, 8) + P + width + 8)
        if cost < least:
            least = cost
            g.V = V
    few = rows <= FEW_ROWS and not turned and columns >= g.lanes
    by_chunks = (not few and not turned and k_step == 1 and rows <= ROWS and 1 < num_threads
                 and K >= 4 * num_threads * CHUNK
                 and <double>ceil_div(K, CHUNK) * rows * columns * cnp.PyArray_ITEMSIZE(a) <= SUMS_BYTES)
    g.strip = few_rows * max(g.V, SPARSE_MAX_V) * g.lanes
    # `pad` writes up to a vector too much.
    g.right = (max(min(K, CHUNK) * g.V, SPARSE_STEPS * SPARSE_MAX_V) + 1) * g.lanes
    private = g.strip + g.right + (CHUNK * ROWS if row_step == 1 else 0)
    scratch = empty((ceil_div(K, CHUNK) * rows * columns * (few or by_chunks) + private * num_threads * (not few),),
                    a.dtype)
    work = cnp.PyArray_DATA(scratch)
    with nogil:
        if few and single:
            product_of_few_rows[float](<float*>left, <float*>right, <float*>biases, relu, <float*>result, &g,
                                       <float*>work, num_threads)
        elif few:
            product_of_few_rows[double](<double*>left, <double*>right, <double*>biases, relu, <double*>result, &g,
                                        <double*>work, num_threads)
        elif by_chunks and single:
            product_by_chunks[float](<float*>left, <float*>right, <float*>biases, relu, <float*>result, &g,
                                     <float*>work, private, num_threads)
        elif by_chunks:
            product_by_chunks[double](<double*>left, <double*>right, <double*>biases, relu, <double*>result, &g,
                                      <double*>work, private, num_threads)
        elif single:
            product[float](<float*>left, <float*>right, <float*>biases, relu, <float*>result, &g, <float*>work,
                           private, num_threads)
        else:
            product[double](<double*>left, <double*>right, <double*>biases, relu, <double*>result, &g, <double*>work,
                            private, num_threads)


cdef void column_sums(const floating* a, Py_ssize_t rows, Py_ssize_t columns, floating* out) noexcept nogil:
    cdef Py_ssize_t r, c
    cdef unsigned state = cconv_ftz_on()
    memset(out, 0, columns * sizeof(floating))
    for r in range(rows):
        for c in range(columns):
            out[c] += a[r * columns + c]
    cconv_ftz_restore(state)


def affine(cnp.ndarray x, cnp.ndarray W, cnp.ndarray b, cnp.ndarray out, bint relu, int num_threads, /):
    """Write x (N, D) times W (D, M), plus b (M,) or None, into out (N, M)."""
    run(x, W, b, relu, out, x.shape[0], x.shape[1], W.shape[1], x.shape[1], 1, False, num_threads)


def affine_backward_input(cnp.ndarray dout, cnp.ndarray W, cnp.ndarray dx, int num_threads, /):
    """Write dout (N, M) times the transpose of W (D, M) into dx (N, D)."""
    run(dout, W, None, False, dx, dout.shape[0], W.shape[1], W.shape[0], W.shape[1], 1, True, num_threads)


def affine_backward_weights(cnp.ndarray x, cnp.ndarray dout, cnp.ndarray dW, cnp.ndarray db, int num_threads, /):
    """Write the transpose of x (N, D) times dout (N, M) into dW (D, M), and dout's column sums into db unless None."""
    cdef void* gradient = cnp.PyArray_DATA(dout)
    cdef void* sums = NULL if db is None else cnp.PyArray_DATA(db)
    run(x, dout, None, False, dW, x.shape[1], x.shape[0], dout.shape[1], 1, x.shape[1], False, num_threads)
    if db is not None:
        if cnp.PyArray_TYPE(db) == cnp.NPY_FLOAT:
            column_sums[float](<float*>gradient, dout.shape[0], dout.shape[1], <float*>sums)
        else:
            column_sums[double](<double*>gradient, dout.shape[0], dout.shape[1], <double*>sums)
