"""The optimizers' updates: one compiled pass over all parameters, in place."""

# First, where asked for, the gradient is scaled, kept within limits and led towards smaller parameters:
#
#     g <- max(-limit, min(g * scale, limit)) + decay * p
#
# Then
#
#     sgd        p -= lr * g
#     momentum   v = m*v - lr*g;  p += v
#     nesterov   v' = m*v - lr*g;  p += m^2 * v - (1 + m) * lr * g  (v before the step; arXiv 1212.0901, eq. 7)
#     adagrad    h += g^2;  p -= lr * g / (sqrt(h) + eps)
#     rmsprop    h = rho*h + (1 - rho)*g^2;  p -= lr * g / (sqrt(h) + eps)
#     adam       m += (1 - beta1)*(g - m);  v += (1 - beta2)*(g^2 - v);  p = keep * p - lr_t * m / (sqrt(v) + eps)
#                with lr_t = lr * sqrt(1 - beta2^t) / (1 - beta1^t) given (arXiv 1412.6980, section 2), and keep = 1, or
#                1 - lr * decay where the decay is decoupled from the gradient (arXiv 1711.05101)
#     amsgrad    as adam, but h = max(h, v) stands under the root (arXiv 1904.09237)
#     lion       p = keep * p - lr * sign(beta1*m + (1 - beta1)*g);  m += (1 - beta2)*(g - m)  (arXiv 2302.06675)
#     average    p += weight * (g - p)
#
# A network has many small parameters beside few large ones: all are cut into pieces of CHUNK values, which threads
# share in one job. What belongs to a parameter is contiguous and of its dtype, and no two parameters share
# memory; each value is updated on its own, so that neither threads nor the index in the array can change a bit.
# Hyperparameters are rounded to the parameter's dtype, 1 - beta after it was computed in double. The changed gradient
# lives in a block that stays in the first cache. The sum of squares is a long one (sums.h), in double, over PIECES
# pieces that the size alone cuts.

cimport numpy as cnp
from cython cimport floating
from libc.math cimport INFINITY, sqrt, sqrtf
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memset

from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.vector.sums cimport SUM_BLOCK, sum_add, sum_row, sum_whole

cnp.import_array()

# Fits: `python -m benchmarks.tune --only update-pieces`. PIECES and BLOCK also cut sums: another value moves the last
# bits of a norm.
cdef enum:
    CHUNK = 4096   # values in one piece of work
    BLOCK = 1024   # values whose changed gradient is kept at a time
    PIECES = 64    # into which a sum is cut

# Laws: they follow from the rules and from lines of the cache.
cdef enum:
    STATES = 3     # the most arrays that a rule keeps
    ALIGNMENT = 64  # bytes of a cache line
    LANES = 16     # sums that are kept side by side, whatever the width of a vector

cdef enum Rule:
    SGD, MOMENTUM, NESTEROV, ADAGRAD, RMSPROP, ADAM, AMSGRAD, LION, AVERAGE

# By its name, a rule and the names of the arrays that it keeps for a parameter: s, r and h of `update_values`.
RULES = {
    "sgd": (SGD, ()),
    "momentum": (MOMENTUM, ("v",)),
    "nesterov": (NESTEROV, ("v",)),
    "adagrad": (ADAGRAD, ("h",)),
    "rmsprop": (RMSPROP, ("h",)),
    "adam": (ADAM, ("m", "v")),
    "amsgrad": (AMSGRAD, ("m", "v", "h")),
    "lion": (LION, ("m",)),
    "average": (AVERAGE, ()),
}

cdef struct Numbers:
    double scale, limit, decay  # what becomes of the gradient,
    double lr, a, b, eps, keep  # and the rule's hyperparameters; a and b are the first and the second of its formula

cdef struct Parameter:
    void* p
    void* g
    void* state[STATES]
    bint single  # float, not double
    Py_ssize_t size, first  # its values, and the number of its first piece
    Numbers given

cdef struct Update:
    Rule rule
    Parameter* parameters  # with one more behind the last, which has the number of pieces

cdef struct Squares:
    bint single
    const void* g
    Py_ssize_t size, length  # all values, and those of a piece
    double[PIECES] sums


cdef inline floating root(floating x) noexcept nogil:
    if floating is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline void update_values(Rule rule, floating* p, const floating* g, floating* s, floating* r, floating* h,
                               Numbers given, Py_ssize_t n) noexcept nogil:
    """Update n values; s, r and h are the rule's state."""
    cdef floating lr = <floating>given.lr, a = <floating>given.a, eps = <floating>given.eps
    cdef floating keep = <floating>given.keep, other_a = <floating>(1 - given.a), other_b = <floating>(1 - given.b)
    cdef floating old, mean, square
    cdef Py_ssize_t i
    # What has just been stored is not read again: that stalls where a vector straddles two cache lines.
    if rule == SGD:
        for i in range(n):
            p[i] -= lr * g[i]
    elif rule == MOMENTUM:
        for i in range(n):
            mean = a * s[i] - lr * g[i]
            s[i] = mean
            p[i] += mean
    elif rule == NESTEROV:
        for i in range(n):
            old = s[i]
            s[i] = a * old - lr * g[i]
            p[i] += a * a * old - (<floating>1 + a) * lr * g[i]
    elif rule == ADAGRAD:
        for i in range(n):
            square = s[i] + g[i] * g[i]
            s[i] = square
            p[i] -= lr * g[i] / (root[floating](square) + eps)
    elif rule == RMSPROP:
        for i in range(n):
            square = a * s[i] + other_a * g[i] * g[i]
            s[i] = square
            p[i] -= lr * g[i] / (root[floating](square) + eps)
    elif rule == ADAM:
        for i in range(n):
            mean = s[i] + other_a * (g[i] - s[i])
            square = r[i] + other_b * (g[i] * g[i] - r[i])
            s[i] = mean
            r[i] = square
            p[i] = keep * p[i] - lr * mean / (root[floating](square) + eps)
    elif rule == AMSGRAD:
        for i in range(n):
            mean = s[i] + other_a * (g[i] - s[i])
            square = r[i] + other_b * (g[i] * g[i] - r[i])
            s[i] = mean
            r[i] = square
            square = square if square > h[i] else h[i]
            h[i] = square
            p[i] = keep * p[i] - lr * mean / (root[floating](square) + eps)
    elif rule == LION:
        for i in range(n):
            old = a * s[i] + other_a * g[i]
            s[i] += other_b * (g[i] - s[i])
            # What is neither above nor below 0 is 0 or NaN.
            p[i] = keep * p[i] - (lr if old > 0 else (-lr if old < 0 else old))
    elif rule == AVERAGE:
        for i in range(n):
            p[i] += a * (g[i] - p[i])
    else:
        abort()


cdef inline void change_gradient(const floating* p, const floating* g, floating* changed, Numbers given,
                                 Py_ssize_t n) noexcept nogil:
    cdef floating scale = <floating>given.scale, limit = <floating>given.limit, decay = <floating>given.decay, d
    cdef Py_ssize_t i
    for i in range(n):
        d = g[i] * scale
        d = limit if d > limit else d  # a NaN stays
        d = -limit if d < -limit else d
        changed[i] = d if decay == 0 else d + decay * p[i]


cdef void update_chunk(Rule rule, floating* p, const floating* g, floating* s, floating* r, floating* h, Numbers given,
                       Py_ssize_t n) noexcept nogil:
    cdef floating[BLOCK + ALIGNMENT] room
    cdef floating* changed = room
    cdef Py_ssize_t b, i, size
    if given.scale == 1 and given.limit == INFINITY and given.decay == 0:
        update_values(rule, p, g, s, r, h, given, n)
        return
    # Vectors of the block must not straddle two cache lines: they are read soon after they are written.
    changed = room + (ALIGNMENT - <size_t>room % ALIGNMENT) // sizeof(floating)
    for b in range((n + BLOCK - 1) // BLOCK):
        i = b * BLOCK
        size = min(BLOCK, n - i)
        change_gradient(p + i, g + i, changed, given, size)
        update_values(rule, p + i, <const floating*>changed, s + i, r + i, h + i, given, size)


cdef inline void update_piece(Rule rule, Parameter* one, Py_ssize_t piece) noexcept nogil:
    cdef Py_ssize_t i = (piece - one.first) * CHUNK, n = min(CHUNK, one.size - i)
    if one.single:
        update_chunk(rule, <float*>one.p + i, <const float*>one.g + i, <float*>one.state[0] + i,
                     <float*>one.state[1] + i, <float*>one.state[2] + i, one.given, n)
    else:
        update_chunk(rule, <double*>one.p + i, <const double*>one.g + i, <double*>one.state[0] + i,
                     <double*>one.state[1] + i, <double*>one.state[2] + i, one.given, n)


cdef void update_pieces(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Update* job = <Update*>given
    cdef Parameter* parameters = job.parameters
    cdef Py_ssize_t piece, i = 0
    while (piece := take_piece(pieces, slot)) >= 0:
        if piece < parameters[i].first:  # one that another thread was to take
            i = 0
        while piece >= parameters[i + 1].first:
            i += 1
        update_piece(job.rule, &parameters[i], piece)


cdef double piece_of_squares(const floating* g, Py_ssize_t n) noexcept nogil:
    cdef double[LANES] lane
    cdef double[LANES] sums
    cdef double total = 0, lost = 0, x
    cdef Py_ssize_t i, _block, k, blocks = n // (LANES * SUM_BLOCK)
    memset(sums, 0, sizeof(sums))
    for i in range(blocks):
        memset(lane, 0, sizeof(lane))
        for _block in range(SUM_BLOCK):
            for k in range(LANES):
                x = g[k]
                lane[k] += x * x
            g += LANES
        for k in range(LANES):
            sums[k] += lane[k]
        if i % SUM_BLOCK == SUM_BLOCK - 1:
            sum_add(&total, &lost, sum_row(<const double*>sums, LANES))
            memset(sums, 0, sizeof(sums))
    for k in range(n - blocks * LANES * SUM_BLOCK):
        x = g[k]
        sums[k % LANES] += x * x
    sum_add(&total, &lost, sum_row(<const double*>sums, LANES))
    return sum_whole(total, lost)


cdef void add_squares(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Squares* job = <Squares*>given
    cdef Py_ssize_t c, i, n
    while (c := take_piece(pieces, slot)) >= 0:
        i = min(c * job.length, job.size)
        n = min(job.length, job.size - i)
        if job.single:
            job.sums[c] = piece_of_squares(<const float*>job.g + i, n)
        else:
            job.sums[c] = piece_of_squares(<const double*>job.g + i, n)


def update(str rule, list params, list grads, list states, list numbers, double scale, double limit, int num_threads,
           dict kept=None, list keys=None, /):
    """Update parameters by one of RULES.

    states holds a dict for each parameter, with the rule's arrays under their names, and numbers its (lr, a, b, eps,
    keep, decay): of the formulas above, m, beta1, rho or the weight is a, and beta2 is b. Once all is done, the states
    are put under their keys into kept, if there is one: no interrupt comes between the two. Those of a rule without
    arrays may be anything.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    cdef Update job
    cdef tuple names = RULES[rule][1]
    cdef Py_ssize_t count = len(params), pieces = 0, i, k
    cdef cnp.ndarray p, g, array
    cdef Parameter* one
    cdef Parameter* parameters = <Parameter*>malloc((count + 1) * sizeof(Parameter))
    if parameters == NULL:
        raise MemoryError
    try:
        for i in range(count):
            one = &parameters[i]
            p, g = params[i], grads[i]
            one.p, one.g = cnp.PyArray_DATA(p), cnp.PyArray_DATA(g)
            for k in range(STATES):
                one.state[k] = one.p  # which a rule with less state does not look at
            for k, name in enumerate(names):
                array = states[i][name]
                one.state[k] = cnp.PyArray_DATA(array)
            one.single = cnp.PyArray_TYPE(p) == cnp.NPY_FLOAT
            one.size = cnp.PyArray_SIZE(p)
            one.first = pieces
            one.given.scale, one.given.limit = scale, limit
            one.given.lr, one.given.a, one.given.b, one.given.eps, one.given.keep, one.given.decay = numbers[i]
            pieces += (one.size + CHUNK - 1) // CHUNK
        parameters[count].first = pieces
        job.rule, job.parameters = RULES[rule][0], parameters
        with nogil:
            run_job(update_pieces, &job, pieces, num_threads)
        if kept is not None:
            kept.update(zip(keys, states))
    finally:
        free(parameters)


def sum_of_squares(cnp.ndarray g, int num_threads, /):
    cdef Squares job
    job.single, job.g, job.size = cnp.PyArray_TYPE(g) == cnp.NPY_FLOAT, cnp.PyArray_DATA(g), cnp.PyArray_SIZE(g)
    job.length = max(BLOCK, (job.size + PIECES - 1) // PIECES)
    with nogil:
        run_job(add_squares, &job, PIECES, num_threads)
    return sum_row(<const double*>job.sums, PIECES)


ctypedef fused bits:
    uint32_t
    uint64_t


cdef bint are_finite(const bits* g, Py_ssize_t size, bits exponent) noexcept nogil:
    """Whether no number has all bits of its exponent set, as those have that are infinite or none."""
    cdef Py_ssize_t start = 0, i
    cdef bits found = 0
    while start < size and not found:
        for i in range(start, min(start + CHUNK, size)):
            found |= <bits>((g[i] & exponent) == exponent)
        start += CHUNK
    return not found


def is_finite(cnp.ndarray g, /):
    """Whether all numbers of an array are finite."""
    cdef bint single = cnp.PyArray_TYPE(g) == cnp.NPY_FLOAT, finite
    cdef const void* data = cnp.PyArray_DATA(g)
    cdef Py_ssize_t size = cnp.PyArray_SIZE(g)
    with nogil:
        if single:
            finite = are_finite(<const uint32_t*>data, size, <uint32_t>0x7f800000)
        else:
            finite = are_finite(<const uint64_t*>data, size, <uint64_t>0x7ff0000000000000)
    return finite
