"""The optimizers' updates, one compiled pass each, in place."""

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
# Arrays are contiguous and of one dtype; each value is updated on its own, so that neither threads nor the place in the
# array can change a bit. Hyperparameters are rounded to the parameters' dtype, 1 - beta after it was computed in
# double. The changed gradient lives in a block that stays in the first cache. The sum of squares is added up in double,
# over PIECES pieces that the size alone cuts.

cimport numpy as cnp
from cython cimport floating
from cython.parallel cimport parallel, prange
from libc.math cimport INFINITY, sqrt, sqrtf

from cconv.kernels.pieces cimport deal_pieces, shared_pieces, take_piece
from cconv.kernels.tile cimport cconv_ftz_on, cconv_ftz_restore

cnp.import_array()

cdef enum:
    CHUNK = 4096   # values in one piece of work
    BLOCK = 1024   # values whose changed gradient is kept at a time
    PIECES = 64    # into which a sum is cut
    ALIGNMENT = 64  # bytes of a cache line
    LANES = 16     # sums that are kept side by side, whatever the width of a vector

cdef enum Rule:
    SGD, MOMENTUM, NESTEROV, ADAGRAD, RMSPROP, ADAM, AMSGRAD, LION, AVERAGE

cdef struct Numbers:
    # What becomes of the gradient, and the rule's hyperparameters.
    double scale
    double limit
    double decay
    double lr
    double a
    double b
    double eps
    double keep


cdef inline floating root(floating x) noexcept nogil:
    if floating is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline void update(Rule rule, floating* p, const floating* g, floating* s, floating* r, floating* h, Numbers given,
                        Py_ssize_t n) noexcept nogil:
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
    else:
        for i in range(n):
            p[i] += a * (g[i] - p[i])


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
        update(rule, p, g, s, r, h, given, n)
        return
    # Vectors of the block must not straddle two cache lines: they are read soon after they are written.
    changed = room + (ALIGNMENT - <size_t>room % ALIGNMENT) // sizeof(floating)
    for b in range((n + BLOCK - 1) // BLOCK):
        i = b * BLOCK
        size = min(BLOCK, n - i)
        change_gradient(p + i, g + i, changed, given, size)
        update(rule, p + i, <const floating*>changed, s + i, r + i, h + i, given, size)


cdef void update_all(Rule rule, floating* p, const floating* g, floating* s, floating* r, floating* h, Numbers given,
                     Py_ssize_t size, int num_threads) noexcept nogil:
    cdef Py_ssize_t c, i, t
    cdef shared_pieces shared
    cdef unsigned state = 0
    deal_pieces(&shared, (size + CHUNK - 1) // CHUNK, num_threads)
    with parallel(num_threads=num_threads):
        state = cconv_ftz_on()
        for t in prange(num_threads, schedule="static"):
            while (c := take_piece(&shared, t)) >= 0:
                i = c * CHUNK
                update_chunk(rule, p + i, g + i, s + i, r + i, h + i, given, min(CHUNK, size - i))
        cconv_ftz_restore(state)


cdef double piece_of_squares(const floating* g, Py_ssize_t n) noexcept nogil:
    cdef double[LANES] lane
    cdef double total = 0, x
    cdef Py_ssize_t i, k
    for k in range(LANES):
        lane[k] = 0
    for i in range(n // LANES):
        for k in range(LANES):
            x = g[i * LANES + k]
            lane[k] += x * x
    for i in range(n // LANES * LANES, n):
        x = g[i]
        total += x * x
    for k in range(LANES):
        total += lane[k]
    return total


cdef double squares(const floating* g, Py_ssize_t size, int num_threads) noexcept nogil:
    cdef double[PIECES] sums
    cdef double total = 0
    cdef Py_ssize_t length = max(BLOCK, (size + PIECES - 1) // PIECES), c, i
    cdef unsigned state = 0
    with parallel(num_threads=num_threads):
        state = cconv_ftz_on()
        for c in prange(PIECES, schedule="static"):
            i = min(c * length, size)
            sums[c] = piece_of_squares(g + i, min(length, size - i))
        cconv_ftz_restore(state)
    for c in range(PIECES):
        total += sums[c]
    return total


cdef Numbers numbers(tuple change, double lr, double a, double b, double eps, double keep):
    cdef Numbers given
    given.scale, given.limit, given.decay = change
    given.lr, given.a, given.b, given.eps, given.keep = lr, a, b, eps, keep
    return given


cdef void run(Rule rule, cnp.ndarray p, cnp.ndarray g, cnp.ndarray s, cnp.ndarray r, cnp.ndarray h, Numbers given,
              int num_threads):
    """Update p; state that a rule has not is p again, which it does not look at."""
    cdef Py_ssize_t size = cnp.PyArray_SIZE(p)
    cdef void* values = cnp.PyArray_DATA(p)
    cdef void* gradient = cnp.PyArray_DATA(g)
    cdef void* first = cnp.PyArray_DATA(s)
    cdef void* second = cnp.PyArray_DATA(r)
    cdef void* third = cnp.PyArray_DATA(h)
    cdef bint single = cnp.PyArray_TYPE(p) == cnp.NPY_FLOAT
    with nogil:
        if single:
            update_all[float](rule, <float*>values, <float*>gradient, <float*>first, <float*>second, <float*>third,
                              given, size, num_threads)
        else:
            update_all[double](rule, <double*>values, <double*>gradient, <double*>first, <double*>second,
                               <double*>third, given, size, num_threads)


# Everywhere below, `change` is what becomes of the gradient first: (scale, limit, decay).

def sgd(cnp.ndarray p, cnp.ndarray g, double lr, tuple change, int num_threads, /):
    run(SGD, p, g, p, p, p, numbers(change, lr, 0, 0, 0, 1), num_threads)


def momentum(cnp.ndarray p, cnp.ndarray g, cnp.ndarray v, double lr, double momentum, tuple change, int num_threads, /):
    run(MOMENTUM, p, g, v, p, p, numbers(change, lr, momentum, 0, 0, 1), num_threads)


def nesterov(cnp.ndarray p, cnp.ndarray g, cnp.ndarray v, double lr, double momentum, tuple change, int num_threads, /):
    run(NESTEROV, p, g, v, p, p, numbers(change, lr, momentum, 0, 0, 1), num_threads)


def adagrad(cnp.ndarray p, cnp.ndarray g, cnp.ndarray h, double lr, double eps, tuple change, int num_threads, /):
    run(ADAGRAD, p, g, h, p, p, numbers(change, lr, 0, 0, eps, 1), num_threads)


def rmsprop(cnp.ndarray p, cnp.ndarray g, cnp.ndarray h, double lr, double decay_rate, double eps, tuple change,
            int num_threads, /):
    run(RMSPROP, p, g, h, p, p, numbers(change, lr, decay_rate, 0, eps, 1), num_threads)


def adam(cnp.ndarray p, cnp.ndarray g, cnp.ndarray m, cnp.ndarray v, cnp.ndarray h, double lr_t, double beta1,
         double beta2, double eps, double keep, tuple change, int num_threads, /):
    """AMSGrad when the largest v so far, h, is given, plain Adam when it is None."""
    cdef Numbers given = numbers(change, lr_t, beta1, beta2, eps, keep)
    if h is None:
        run(ADAM, p, g, m, v, p, given, num_threads)
    else:
        run(AMSGRAD, p, g, m, v, h, given, num_threads)


def lion(cnp.ndarray p, cnp.ndarray g, cnp.ndarray m, double lr, double beta1, double beta2, double keep, tuple change,
         int num_threads, /):
    run(LION, p, g, m, p, p, numbers(change, lr, beta1, beta2, 0, keep), num_threads)


def average(cnp.ndarray mean, cnp.ndarray p, double weight, int num_threads, /):
    """Lead the running mean towards p by its share, weight."""
    run(AVERAGE, mean, p, mean, mean, mean, numbers((1, INFINITY, 0), 0, weight, 0, 0, 1), num_threads)


def sum_of_squares(cnp.ndarray g, int num_threads, /):
    cdef Py_ssize_t size = cnp.PyArray_SIZE(g)
    cdef void* values = cnp.PyArray_DATA(g)
    cdef bint single = cnp.PyArray_TYPE(g) == cnp.NPY_FLOAT
    cdef double total
    with nogil:
        if single:
            total = squares[float](<float*>values, size, num_threads)
        else:
            total = squares[double](<double*>values, size, num_threads)
    return total
