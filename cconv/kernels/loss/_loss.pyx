"""The losses and their gradients; softmax too, which is half of its cross-entropy."""

# Row by row, of scores x (N, M):
#
#   softmax        y[n, m] = exp(x[n, m] - max x[n]) / sum over m of exp(x[n, m] - max x[n])
#   cross-entropy  loss[n] = log(sum over m of exp(x[n, m] - max x[n])) - (x[n, t[n]] - max x[n])
#   its gradient   dx[n, m] = (y[n, m] - [m = t[n]]) * scale
#
# A piece of softmax is as many rows as stay in the cache, so that its exponentials are one long loop also where rows
# are short. The loss is the exact log-softmax: no constant is added inside the logarithm, and the largest score is
# subtracted first, so that nothing overflows or cancels. A row that holds NaN or +inf gives NaN. Probabilities, or any
# weights, `t` of the same shape as x may stand for class indices: loss[n] = -sum over m of t[n, m] * log y[n, m].
#
# Value by value, for targets t of x's shape; `total` is the sum of all values' losses:
#
#   sigmoid   y = 1 / (1 + exp(-x));  loss = a * softplus(-x) + (1 - t) * softplus(x), where a is t times its weight and
#             softplus(x) = max(x, 0) + log(1 + exp(-|x|));  dx = ((a + (1 - t)) * y - a) * scale
#   squared   loss = (x - t)^2;  dx = 2 * (x - t) * scale
#   huber     loss = r^2 / 2 where |r| <= delta, else delta * (|r| - delta / 2), with r = x - t;
#             dx = r, but no further than delta from 0, times scale
#
# Where samples have weights, the losses and the gradients of a sample are multiplied by its weight at last; one of
# weight 0 has none, whatever its scores are.
#
# A total is the sum over PIECES pieces that the size alone cuts, each added up in blocks that go on in double, as a
# long sum (sums.h): the number of threads does not change it. The losses of rows are added up likewise. A NaN in x or
# t makes it NaN. Arrays are contiguous and of one dtype. Numbers are written with <floating>: of a literal 1 Cython
# makes a double, and C computes in double what has one in it.

cimport numpy as cnp
from cython cimport floating
from libc.math cimport fabs, fabsf, log, logf
from libc.stdint cimport int64_t
from libc.stdlib cimport abort

from cconv.kernels.runtime.arrays cimport data
from cconv.kernels.runtime._threads cimport Body, Pieces, run_job, take_piece
from cconv.kernels.vector.sums cimport sum_add, sum_row, sum_whole
from cconv.kernels.vector.vmath cimport exp, log1p

from cconv.kernels.runtime._memory import empty

cdef extern from "vector/vmath.h" nogil:
    float array_max_float(const float* x, Py_ssize_t size) noexcept
    double array_max_double(const double* x, Py_ssize_t size) noexcept

cnp.import_array()

# Fits: `python -m benchmarks.tune --only loss-pieces`. Those marked with * also cut sums: another value moves the last
# bits.
cdef enum:
    ROWS = 2048   # values in one piece of softmax, which is written three times over
    PIECES = 64   # * into which a total is cut
    BLOCK = 512   # * losses that are added up before they go into a piece's sum
    CHUNK = 8192  # values in one piece of a gradient

cdef enum Rule:
    SIGMOID, SQUARED, HUBER

cdef struct RowJob:
    bint single
    const void* x
    const int64_t* labels  # or NULL: then
    const void* targets
    const void* weights    # of the samples, or NULL
    void* y                # softmax
    void* losses           # or NULL
    void* dx
    double scale
    Py_ssize_t N, M
    Py_ssize_t rows        # in one piece of work

cdef struct ValueJob:
    bint single
    Rule rule
    const void* x
    const void* t
    const void* a
    const void* weights    # of the samples, or NULL
    void* y                # or dx
    double delta, scale
    Py_ssize_t size
    Py_ssize_t width       # values of one sample
    Py_ssize_t length      # values in one piece of work
    double[PIECES] sums


cdef inline floating array_max(const floating* x, Py_ssize_t size) noexcept nogil:
    if floating is float:
        return array_max_float(x, size)
    else:
        return array_max_double(x, size)


cdef inline floating logarithm(floating x) noexcept nogil:
    if floating is float:
        return logf(x)
    else:
        return log(x)


cdef inline floating magnitude(floating x) noexcept nogil:
    if floating is float:
        return fabsf(x)
    else:
        return fabs(x)


cdef void multiply_weights(floating* values, const floating* weights, Py_ssize_t width, Py_ssize_t first,
                           Py_ssize_t size) noexcept nogil:
    """Multiply values by the weights of their samples, of width values each; first is the index of the first value."""
    cdef Py_ssize_t i = 0, end, n = first // width
    cdef floating weight
    while i < size:
        weight = weights[n]
        n += 1
        end = min(size, n * width - first)
        while i < end:
            values[i] = 0 if weight == 0 else weight * values[i]
            i += 1


cdef floating target_loss(const floating* x, const floating* targets, floating max_score, floating log_sum_exp,
                          Py_ssize_t M) noexcept nogil:
    """The loss of a row, whose largest score and logarithm of the sum of exponentials are known."""
    cdef Py_ssize_t b, i, size
    cdef floating[BLOCK] losses
    cdef floating loss = 0, lost = 0
    for b in range((M + BLOCK - 1) // BLOCK):
        size = min(BLOCK, M - b * BLOCK)
        for i in range(size):
            # A class of probability 0 adds nothing, however small its softmax.
            losses[i] = 0 if targets[i] == 0 else targets[i] * (log_sum_exp - (x[i] - max_score))
        sum_add(&loss, &lost, sum_row(<const floating*>losses, size))
        x += size
        targets += size
    return sum_whole(loss, lost)


cdef void softmax_rows(const floating* x, const int64_t* labels, const floating* targets, const floating* weights,
                       floating* y, floating* losses, Py_ssize_t first, Py_ssize_t last, Py_ssize_t M) noexcept nogil:
    """The softmax of the rows from first to before last, and their losses unless that is NULL."""
    cdef Py_ssize_t n, i
    cdef floating max_score, total
    for n in range(first, last):
        # A NaN is not the largest; it reaches the sum through its own exponential.
        max_score = array_max(x + n * M, M)
        for i in range(n * M, (n + 1) * M):
            y[i] = x[i] - max_score
    for i in range(first * M, last * M):
        y[i] = exp[floating](y[i])
    for n in range(first, last):
        total = sum_row(<const floating*>y + n * M, M)
        for i in range(n * M, (n + 1) * M):
            y[i] = y[i] / total
        if losses != NULL:
            max_score = array_max(x + n * M, M)
            if labels != NULL:
                losses[n] = logarithm[floating](total) - (x[n * M + labels[n]] - max_score)
            else:
                losses[n] = target_loss(x + n * M, targets + n * M, max_score, logarithm[floating](total), M)
    if losses != NULL and weights != NULL:
        multiply_weights(losses + first, weights, 1, first, last - first)


cdef void row_pieces(void* given, Pieces* pieces, int slot) noexcept nogil:
    """The softmax of rows, and their losses unless that is NULL."""
    cdef RowJob* job = <RowJob*>given
    cdef Py_ssize_t c, first, last
    while (c := take_piece(pieces, slot)) >= 0:
        first = c * job.rows
        last = min(first + job.rows, job.N)
        if job.single:
            softmax_rows(<const float*>job.x, job.labels, <const float*>job.targets, <const float*>job.weights,
                         <float*>job.y, <float*>job.losses, first, last, job.M)
        else:
            softmax_rows(<const double*>job.x, job.labels, <const double*>job.targets, <const double*>job.weights,
                         <double*>job.y, <double*>job.losses, first, last, job.M)


cdef void row_gradients(const floating* y, const int64_t* labels, const floating* targets, const floating* weights,
                        floating scale, floating* dx, Py_ssize_t first, Py_ssize_t last, Py_ssize_t M) noexcept nogil:
    cdef Py_ssize_t n, m
    cdef floating weight
    for n in range(first, last):
        if labels != NULL:
            for m in range(M):
                dx[n * M + m] = y[n * M + m] * scale
            m = labels[n]
            dx[n * M + m] = (y[n * M + m] - <floating>1) * scale
        else:
            # Rows of targets that do not add up to one weigh their sample.
            weight = sum_row(targets + n * M, M)
            for m in range(M):
                dx[n * M + m] = (y[n * M + m] * weight - targets[n * M + m]) * scale
    if weights != NULL:
        multiply_weights(dx + first * M, weights, M, first * M, (last - first) * M)


cdef void gradient_pieces(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef RowJob* job = <RowJob*>given
    cdef Py_ssize_t c, first, last
    while (c := take_piece(pieces, slot)) >= 0:
        first = c * job.rows
        last = min(first + job.rows, job.N)
        if job.single:
            row_gradients(<const float*>job.y, job.labels, <const float*>job.targets, <const float*>job.weights,
                          <float>job.scale, <float*>job.dx, first, last, job.M)
        else:
            row_gradients(<const double*>job.y, job.labels, <const double*>job.targets, <const double*>job.weights,
                          job.scale, <double*>job.dx, first, last, job.M)


cdef void run_rows(Body body, RowJob* job, int num_threads) noexcept nogil:
    job.rows = max(1, ROWS // job.M)
    run_job(body, job, (job.N + job.rows - 1) // job.rows, num_threads)


cdef inline void block_losses(Rule rule, const floating* x, const floating* t, const floating* a, floating delta,
                              floating* y, floating* losses, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating r, over, under
    if rule == SIGMOID:
        for i in range(n):
            losses[i] = exp[floating](x[i] if x[i] < 0 else -x[i])
            y[i] = (losses[i] if x[i] < 0 else 1) / (<floating>1 + losses[i])
        for i in range(n):
            losses[i] = log1p[floating](losses[i])
        for i in range(n):
            # A side of weight 0 adds nothing, however far off x is.
            under = 0 if a[i] == 0 else a[i] * ((-x[i] if x[i] < 0 else 0) + losses[i])
            over = 0 if t[i] == 1 else (<floating>1 - t[i]) * ((0 if x[i] < 0 else x[i]) + losses[i])
            losses[i] = under + over
    elif rule == SQUARED:
        for i in range(n):
            losses[i] = (x[i] - t[i]) * (x[i] - t[i])
    elif rule == HUBER:
        for i in range(n):
            r = magnitude[floating](x[i] - t[i])
            losses[i] = delta * (r - delta * <floating>0.5) if r > delta else r * r * <floating>0.5
    else:
        abort()


cdef double piece_loss(Rule rule, const floating* x, const floating* t, const floating* a, const floating* weights,
                       floating delta, floating* y, Py_ssize_t width, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
    """The total loss of n values from the index first on."""
    cdef floating[BLOCK] losses
    cdef Py_ssize_t b, i, size
    cdef double total = 0, lost = 0
    for b in range((n + BLOCK - 1) // BLOCK):
        i = first + b * BLOCK
        size = min(BLOCK, first + n - i)
        block_losses(rule, x + i, t + i, a + i, delta, y + i, losses, size)
        if weights != NULL:
            multiply_weights(<floating*>losses, weights, width, i, size)
        sum_add(&total, &lost, <double>sum_row(<const floating*>losses, size))
    return sum_whole(total, lost)


cdef void total_pieces(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef ValueJob* job = <ValueJob*>given
    cdef Py_ssize_t c, i, n
    while (c := take_piece(pieces, slot)) >= 0:
        i = min(c * job.length, job.size)
        n = min(job.length, job.size - i)
        if job.single:
            job.sums[c] = piece_loss(job.rule, <const float*>job.x, <const float*>job.t, <const float*>job.a,
                                     <const float*>job.weights, <float>job.delta, <float*>job.y, job.width, i, n)
        else:
            job.sums[c] = piece_loss(job.rule, <const double*>job.x, <const double*>job.t, <const double*>job.a,
                                     <const double*>job.weights, job.delta, <double*>job.y, job.width, i, n)


cdef inline void gradients(Rule rule, const floating* x, const floating* t, const floating* a, const floating* weights,
                           floating delta, floating scale, floating* dx, Py_ssize_t width, Py_ssize_t first,
                           Py_ssize_t n) noexcept nogil:
    """The gradients of n values from the index first on; x is sigmoid's output there, else the scores."""
    cdef Py_ssize_t i
    cdef floating r
    if rule == SIGMOID:
        for i in range(first, first + n):
            dx[i] = ((a[i] + (<floating>1 - t[i])) * x[i] - a[i]) * scale
    elif rule == SQUARED:
        for i in range(first, first + n):
            dx[i] = <floating>2 * (x[i] - t[i]) * scale
    elif rule == HUBER:
        for i in range(first, first + n):
            r = x[i] - t[i]
            r = delta if r > delta else r
            dx[i] = (-delta if r < -delta else r) * scale
    else:
        abort()
    if weights != NULL:
        multiply_weights(dx + first, weights, width, first, n)


cdef void value_gradients(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef ValueJob* job = <ValueJob*>given
    cdef Py_ssize_t c, i, n
    while (c := take_piece(pieces, slot)) >= 0:
        i = c * job.length
        n = min(job.length, job.size - i)
        if job.single:
            gradients(job.rule, <const float*>job.x, <const float*>job.t, <const float*>job.a,
                      <const float*>job.weights, <float>job.delta, <float>job.scale, <float*>job.y, job.width, i, n)
        else:
            gradients(job.rule, <const double*>job.x, <const double*>job.t, <const double*>job.a,
                      <const double*>job.weights, job.delta, job.scale, <double*>job.y, job.width, i, n)


cdef ValueJob value_job(Rule rule, cnp.ndarray x, cnp.ndarray t, cnp.ndarray a, cnp.ndarray weights, double delta,
                        double scale, cnp.ndarray y):
    cdef ValueJob job
    job.single, job.rule, job.size = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT, rule, cnp.PyArray_SIZE(x)
    job.x, job.t, job.a = cnp.PyArray_DATA(x), cnp.PyArray_DATA(t), cnp.PyArray_DATA(a)
    job.y, job.delta, job.scale = cnp.PyArray_DATA(y), delta, scale
    job.weights, job.width = data(weights), 1 if weights is None else job.size // max(1, weights.shape[0])
    return job


cdef double total_of(Rule rule, cnp.ndarray x, cnp.ndarray t, cnp.ndarray a, cnp.ndarray weights, double delta,
                     cnp.ndarray y, int num_threads):
    cdef ValueJob job = value_job(rule, x, t, a, weights, delta, 1, y)
    job.length = max(BLOCK, (job.size + PIECES - 1) // PIECES)
    with nogil:
        run_job(total_pieces, &job, PIECES, num_threads)
    return sum_row(<const double*>job.sums, PIECES)


cdef void gradients_of(Rule rule, cnp.ndarray x, cnp.ndarray t, cnp.ndarray a, cnp.ndarray weights, double delta,
                       double scale, cnp.ndarray dx, int num_threads):
    cdef ValueJob job = value_job(rule, x, t, a, weights, delta, scale, dx)
    job.length = CHUNK
    with nogil:
        run_job(value_gradients, &job, (job.size + CHUNK - 1) // CHUNK, num_threads)


def softmax(cnp.ndarray x, cnp.ndarray out, int num_threads, /):
    """Write the softmax over the last axis of x, which is not empty, into out."""
    cdef Py_ssize_t M = x.shape[x.ndim - 1]
    cdef RowJob job = RowJob(cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT, cnp.PyArray_DATA(x), NULL, NULL, NULL,
                             cnp.PyArray_DATA(out), NULL, NULL, 1, cnp.PyArray_SIZE(x) // M, M, 0)
    with nogil:
        run_rows(row_pieces, &job, num_threads)


cdef double sum_of_rows(const floating* losses, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t b
    cdef double total = 0, lost = 0
    for b in range((size + BLOCK - 1) // BLOCK):
        sum_add(&total, &lost, <double>sum_row(losses + b * BLOCK, min(BLOCK, size - b * BLOCK)))
    return sum_whole(total, lost)


def softmax_cross_entropy(cnp.ndarray x, cnp.ndarray t, cnp.ndarray weights, cnp.ndarray y, int num_threads, /):
    """Write the softmax of x (N, M) into y; return the total loss for t, int64 (N,) or of x's dtype (N, M).

    Here and below, weights are None, or one for each sample, of x's dtype.
    """
    cdef cnp.ndarray losses = empty((x.shape[0],), x.dtype)
    cdef void* truth = cnp.PyArray_DATA(t)
    cdef const int64_t* labels = <const int64_t*>truth if cnp.PyArray_NDIM(t) == 1 else NULL
    cdef RowJob job = RowJob(cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT, cnp.PyArray_DATA(x), labels, truth,
                             data(weights), cnp.PyArray_DATA(y), cnp.PyArray_DATA(losses), NULL, 1,
                             x.shape[0], x.shape[1], 0)
    cdef double total
    with nogil:
        run_rows(row_pieces, &job, num_threads)
        if job.single:
            total = sum_of_rows(<const float*>job.losses, job.N)
        else:
            total = sum_of_rows(<const double*>job.losses, job.N)
    return total


def softmax_cross_entropy_backward(cnp.ndarray y, cnp.ndarray t, cnp.ndarray weights, double scale, cnp.ndarray dx,
                                   int num_threads, /):
    """Write the gradient of the sum of the losses, times scale, into dx."""
    cdef void* truth = cnp.PyArray_DATA(t)
    cdef const int64_t* labels = <const int64_t*>truth if cnp.PyArray_NDIM(t) == 1 else NULL
    cdef RowJob job = RowJob(cnp.PyArray_TYPE(y) == cnp.NPY_FLOAT, NULL, labels, truth, data(weights),
                             cnp.PyArray_DATA(y), NULL, cnp.PyArray_DATA(dx), scale, y.shape[0], y.shape[1], 0)
    with nogil:
        run_rows(gradient_pieces, &job, num_threads)


def sigmoid_cross_entropy(cnp.ndarray x, cnp.ndarray t, cnp.ndarray a, cnp.ndarray weights, cnp.ndarray y,
                          int num_threads, /):
    """Write the sigmoid of x into y; return the total loss for targets t, a being t times the weight of its 1."""
    return total_of(SIGMOID, x, t, a, weights, 0, y, num_threads)


def sigmoid_cross_entropy_backward(cnp.ndarray y, cnp.ndarray t, cnp.ndarray a, cnp.ndarray weights, double scale,
                                   cnp.ndarray dx, int num_threads, /):
    """Write the gradient of the total loss, times scale, into dx."""
    gradients_of(SIGMOID, y, t, a, weights, 0, scale, dx, num_threads)


def squared_error(cnp.ndarray x, cnp.ndarray t, cnp.ndarray weights, int num_threads, /):
    """Return the sum of (x - t)^2."""
    return total_of(SQUARED, x, t, t, weights, 0, x, num_threads)


def squared_error_backward(cnp.ndarray x, cnp.ndarray t, cnp.ndarray weights, double scale, cnp.ndarray dx,
                           int num_threads, /):
    """Write its gradient, times scale, into dx."""
    gradients_of(SQUARED, x, t, t, weights, 0, scale, dx, num_threads)


def huber(cnp.ndarray x, cnp.ndarray t, cnp.ndarray weights, double delta, int num_threads, /):
    """Return the sum of Huber's losses of x - t."""
    return total_of(HUBER, x, t, t, weights, delta, x, num_threads)


def huber_backward(cnp.ndarray x, cnp.ndarray t, cnp.ndarray weights, double delta, double scale, cnp.ndarray dx,
                   int num_threads, /):
    """Write its gradient, times scale, into dx."""
    gradients_of(HUBER, x, t, t, weights, delta, scale, dx, num_threads)
