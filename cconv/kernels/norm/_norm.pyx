"""Batch, layer and group normalization, and their gradients."""

#     out = (x - mean) * scale * gamma + beta,  scale = 1 / sqrt(var + eps),  y = (x - mean) * scale
#
#     batch   x is (N, F, P): mean and var over n and p, gamma and beta one value for each f
#             dgamma = sum over n, p of dout * y;  dbeta = sum over n, p of dout
#             dx = gamma * scale * (dout - dbeta / NP - y * dgamma / NP);  gamma * scale * dout for given mean and var
#     group   x is (N, G, K, P): mean and var over k and p, gamma and beta one value for each g, k
#             dgamma = sum over n, p of dout * y;  dbeta = sum over n, p of dout;  with d = dout * gamma
#             dx = scale * (d - mean over k, p of d - y * mean over k, p of d * y)
#
# (Ioffe and Szegedy, arXiv 1502.03167; Wu and He, arXiv 1803.08494.) A fully connected layer's features are P = 1, and
# so are the activations of images where each has a gamma of its own. Layer normalization (Ba, Kiros and Hinton, arXiv
# 1607.06450) is one group with P = 1.
#
# Of a batch, another array may be added to out, and relu applied to that, in the same pass. What relu does to the
# gradient is then kept as a bit for each value; backward applies it to dout in its own two passes.
#
# Arrays are contiguous; mean and var, which forward leaves and backward takes, are float64, as are dgamma and dbeta.
# The loops are in norm.h. A piece of work is some features of the batch, or one group of one sample; backward of groups
# adds up dgamma and dbeta over a fixed set of samples, of which blocks go to long sums (sums.h). Nothing is
# empty.
#
# Edge cases: var is the biased variance; a NaN or an infinity makes all of its feature or group NaN; a feature that
# does not vary gives beta.

cimport numpy as cnp
from cython cimport floating
from libc.stdint cimport uint64_t
from libc.string cimport memset

from cconv.kernels.runtime.arrays cimport data
from cconv.kernels.runtime.division cimport ceil_div
from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.vector.sums cimport SUM_BLOCK, sum_columns

from cconv.kernels.runtime._memory import empty

cnp.import_array()

# Fits: `python -m benchmarks.tune --only norm-pieces`. They cut sums: another value moves the last bits of gradients.
cdef enum:
    SETS = 16  # of samples: each has its own sums of dgamma and dbeta
    LEAST_SAMPLES = 8  # of a set

cdef struct Job:
    bint single
    const void* dout
    const void* x
    void* out            # or dx, or NULL
    double* mean
    double* var
    const void* gamma
    const void* beta
    const void* branch   # what is added, or NULL
    bint relu            # whether that follows
    uint64_t* mask       # of relu, or NULL; pieces of work have `words` each, of a sample
    void* masked         # OUT, dout where the mask says so, or NULL
    Py_ssize_t words
    double* dgamma
    double* dbeta
    Py_ssize_t N, F      # samples and features of the batch,
    Py_ssize_t G, K      # or groups of a sample and features of a group
    Py_ssize_t P
    double eps
    bint fixed           # whether mean and var are given
    Py_ssize_t piece     # features in one piece of work
    Py_ssize_t samples   # of a set, whose sums are one piece of work
    Py_ssize_t size      # values of these sums
    void* sums
    double* scratch      # NORM_ROOM for each thread

cdef extern from "runtime/denormals.h" nogil:
    unsigned cconv_ftz_on() noexcept
    void cconv_ftz_restore(unsigned) noexcept

cdef extern from "norm/norm.h" nogil:
    const int NORM_ROOM
    double norm_scale(double var, double eps) noexcept
    Py_ssize_t piece_float(Py_ssize_t P) noexcept
    Py_ssize_t piece_double(Py_ssize_t P) noexcept
    Py_ssize_t piece_words_float(Py_ssize_t P) noexcept
    Py_ssize_t piece_words_double(Py_ssize_t P) noexcept
    void measure_float(const float* x, Py_ssize_t N, Py_ssize_t pitch, Py_ssize_t features, Py_ssize_t P, double* mean,
                       double* var, double* scratch) noexcept
    void measure_double(const double* x, Py_ssize_t N, Py_ssize_t pitch, Py_ssize_t features, Py_ssize_t P,
                        double* mean, double* var, double* scratch) noexcept
    void batch_forward_float(const float* x, float* out, const double* mean, const double* var, const float* gamma,
                             const float* beta, const float* branch, bint relu, uint64_t* mask,
                             Py_ssize_t mask_pitch, Py_ssize_t N, Py_ssize_t pitch, Py_ssize_t features, Py_ssize_t P,
                             double eps, double* scratch) noexcept
    void batch_forward_double(const double* x, double* out, const double* mean, const double* var, const double* gamma,
                              const double* beta, const double* branch, bint relu, uint64_t* mask,
                              Py_ssize_t mask_pitch, Py_ssize_t N, Py_ssize_t pitch, Py_ssize_t features, Py_ssize_t P,
                              double eps, double* scratch) noexcept
    void batch_backward_float(const float* dout, const float* x, const double* mean, const double* var,
                              const float* gamma, const uint64_t* mask, Py_ssize_t mask_pitch, float* masked,
                              float* dx, double* dgamma, double* dbeta, Py_ssize_t N, Py_ssize_t pitch,
                              Py_ssize_t features, Py_ssize_t P, double eps, bint fixed, double* scratch) noexcept
    void batch_backward_double(const double* dout, const double* x, const double* mean, const double* var,
                               const double* gamma, const uint64_t* mask, Py_ssize_t mask_pitch, double* masked,
                               double* dx, double* dgamma, double* dbeta, Py_ssize_t N, Py_ssize_t pitch,
                               Py_ssize_t features, Py_ssize_t P, double eps, bint fixed, double* scratch) noexcept
    void group_forward_float(const float* x, float* out, double* mean, double* var, const float* gamma,
                             const float* beta, Py_ssize_t K, Py_ssize_t P, double eps) noexcept
    void group_forward_double(const double* x, double* out, double* mean, double* var, const double* gamma,
                              const double* beta, Py_ssize_t K, Py_ssize_t P, double eps) noexcept
    void group_backward_float(const float* dout, const float* x, double mean, double var, const float* gamma,
                              float* dx, float* dgamma, float* dbeta, Py_ssize_t K, Py_ssize_t P,
                              double eps) noexcept
    void group_backward_double(const double* dout, const double* x, double mean, double var, const double* gamma,
                               double* dx, double* dgamma, double* dbeta, Py_ssize_t K, Py_ssize_t P,
                               double eps) noexcept


cdef inline Py_ssize_t count_pieces(Job* job) noexcept nogil:
    return ceil_div(job.F, job.piece)


cdef inline Py_ssize_t mask_pitch_of(Job* job) noexcept nogil:
    return count_pieces(job) * job.words


cdef void some_features(const floating* x, floating* out, const floating* gamma, const floating* beta,
                        const floating* branch, Job* job, Pieces* pieces, int slot) noexcept nogil:
    cdef Py_ssize_t N = job.N, F = job.F, P = job.P, mask_pitch = mask_pitch_of(job), c, f, count
    cdef double* mean
    cdef double* var
    cdef uint64_t* mask
    cdef const floating* added
    cdef double* mine = job.scratch + slot * NORM_ROOM
    while (c := take_piece(pieces, slot)) >= 0:
        f = c * job.piece
        count = min(job.piece, F - f)
        mean, var = job.mean + f, job.var + f
        mask = NULL if job.mask == NULL else job.mask + c * job.words
        added = branch
        if branch != NULL:
            added = branch + f * P
        if floating is float:
            if not job.fixed:
                measure_float(x + f * P, N, F * P, count, P, mean, var, mine)
            batch_forward_float(x + f * P, out + f * P, mean, var, gamma + f, beta + f, added, job.relu, mask,
                                mask_pitch, N, F * P, count, P, job.eps, mine)
        else:
            if not job.fixed:
                measure_double(x + f * P, N, F * P, count, P, mean, var, mine)
            batch_forward_double(x + f * P, out + f * P, mean, var, gamma + f, beta + f, added, job.relu, mask,
                                 mask_pitch, N, F * P, count, P, job.eps, mine)


cdef void features(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    if job.single:
        some_features(<const float*>job.x, <float*>job.out, <const float*>job.gamma, <const float*>job.beta,
                      <const float*>job.branch, job, pieces, slot)
    else:
        some_features(<const double*>job.x, <double*>job.out, <const double*>job.gamma, <const double*>job.beta,
                      <const double*>job.branch, job, pieces, slot)


cdef void some_feature_gradients(const floating* dout, const floating* x, const floating* gamma, floating* masked,
                                 floating* dx, Job* job, Pieces* pieces, int slot) noexcept nogil:
    cdef Py_ssize_t N = job.N, F = job.F, P = job.P, mask_pitch = mask_pitch_of(job), c, f, count
    cdef floating* target
    cdef floating* left
    cdef const uint64_t* mask
    cdef double* mine = job.scratch + slot * NORM_ROOM
    while (c := take_piece(pieces, slot)) >= 0:
        f = c * job.piece
        count = min(job.piece, F - f)
        target = NULL if dx == NULL else dx + f * P
        left = NULL if masked == NULL else masked + f * P
        mask = NULL if job.mask == NULL else job.mask + c * job.words
        if floating is float:
            batch_backward_float(dout + f * P, x + f * P, job.mean + f, job.var + f, gamma + f, mask, mask_pitch, left,
                                 target, job.dgamma + f, job.dbeta + f, N, F * P, count, P, job.eps, job.fixed, mine)
        else:
            batch_backward_double(dout + f * P, x + f * P, job.mean + f, job.var + f, gamma + f, mask, mask_pitch, left,
                                  target, job.dgamma + f, job.dbeta + f, N, F * P, count, P, job.eps, job.fixed, mine)


cdef void feature_gradients(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    if job.single:
        some_feature_gradients(<const float*>job.dout, <const float*>job.x, <const float*>job.gamma,
                               <float*>job.masked, <float*>job.out, job, pieces, slot)
    else:
        some_feature_gradients(<const double*>job.dout, <const double*>job.x, <const double*>job.gamma,
                               <double*>job.masked, <double*>job.out, job, pieces, slot)


cdef void some_groups(const floating* x, floating* out, const floating* gamma, const floating* beta, Job* job,
                      Pieces* pieces, int slot) noexcept nogil:
    cdef Py_ssize_t K = job.K, P = job.P, i, k
    while (i := take_piece(pieces, slot)) >= 0:
        k = i % job.G * K
        if floating is float:
            group_forward_float(x + i * K * P, out + i * K * P, job.mean + i, job.var + i, gamma + k, beta + k, K, P,
                                job.eps)
        else:
            group_forward_double(x + i * K * P, out + i * K * P, job.mean + i, job.var + i, gamma + k, beta + k, K, P,
                                 job.eps)


cdef void sample_groups(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    if job.single:
        some_groups(<const float*>job.x, <float*>job.out, <const float*>job.gamma, <const float*>job.beta, job, pieces,
                    slot)
    else:
        some_groups(<const double*>job.x, <double*>job.out, <const double*>job.gamma, <const double*>job.beta, job,
                    pieces, slot)


cdef void backward_samples(const floating* dout, const floating* x, const double* mean, const double* var,
                           const floating* gamma, floating* dx, floating* sums, Py_ssize_t first, Py_ssize_t last,
                           Py_ssize_t G, Py_ssize_t K, Py_ssize_t P, double eps) noexcept nogil:
    """The gradients of the samples from first to before last; dgamma, and dbeta after it, are added to sums.

    Of more samples than a block has, these have three rows: a block's sums, and a total's two numbers.
    """
    cdef Py_ssize_t i, k, at, n, row = 2 * G * K
    cdef floating* target
    for n in range(first, last):
        for i in range(n * G, (n + 1) * G):
            k, at = i % G * K, i * K * P
            target = NULL if dx == NULL else dx + at
            if floating is float:
                group_backward_float(dout + at, x + at, mean[i], var[i], gamma + k, target, sums + k, sums + G * K + k,
                                     K, P, eps)
            else:
                group_backward_double(dout + at, x + at, mean[i], var[i], gamma + k, target, sums + k, sums + G * K + k,
                                      K, P, eps)
        if last - first > SUM_BLOCK and ((n - first) % SUM_BLOCK == SUM_BLOCK - 1 or n == last - 1):
            sum_columns(<const floating*>sums, row, 1, row, sums + row, sums + 2 * row)
            memset(sums, 0, row * sizeof(floating))


cdef void some_sets(const floating* dout, const floating* x, const floating* gamma, floating* dx, floating* parts,
                    Job* job, Pieces* pieces, int slot) noexcept nogil:
    cdef Py_ssize_t s, first, last
    while (s := take_piece(pieces, slot)) >= 0:
        first = s * job.samples
        last = min(first + job.samples, job.N)
        backward_samples(dout, x, job.mean, job.var, gamma, dx, parts + s * job.size, first, last, job.G, job.K, job.P,
                         job.eps)


cdef void sample_sets(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    cdef Py_ssize_t row = 2 * job.G * job.K  # the sums of sets lie behind a total's two numbers
    if job.single:
        some_sets(<const float*>job.dout, <const float*>job.x, <const float*>job.gamma, <float*>job.out,
                  <float*>job.sums + 2 * row, job, pieces, slot)
    else:
        some_sets(<const double*>job.dout, <const double*>job.x, <const double*>job.gamma, <double*>job.out,
                  <double*>job.sums + 2 * row, job, pieces, slot)


cdef void add_sample_sets(floating* sums, Py_ssize_t count, Job* job) noexcept nogil:
    cdef Py_ssize_t C = job.G * job.K, row = 2 * C, s, k
    for s in range(count):
        # The last set may have no more than a block of samples.
        k = row if min((s + 1) * job.samples, job.N) - s * job.samples > SUM_BLOCK else 0
        sum_columns(<const floating*>sums + 2 * row + s * job.size + k, row, 1, row, sums, sums + row)
    for k in range(C):
        job.dgamma[k] = sums[k]
        job.dbeta[k] = sums[C + k]


cdef Job feature_job(cnp.ndarray x, cnp.ndarray out, cnp.ndarray mean, cnp.ndarray var, cnp.ndarray gamma,
                     Py_ssize_t pixels, double eps, bint fixed):
    """A job on the features of a batch."""
    cdef Job job
    job.single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    job.x, job.gamma = cnp.PyArray_DATA(x), cnp.PyArray_DATA(gamma)
    job.out = data(out)
    job.mean, job.var = <double*>cnp.PyArray_DATA(mean), <double*>cnp.PyArray_DATA(var)
    job.N, job.F, job.P, job.eps, job.fixed = x.shape[0], cnp.PyArray_SIZE(gamma), pixels, eps, fixed
    job.piece = piece_float(pixels) if job.single else piece_double(pixels)
    job.words = piece_words_float(pixels) if job.single else piece_words_double(pixels)
    job.branch, job.relu, job.mask, job.masked = NULL, False, NULL, NULL
    return job


cdef Job group_job(cnp.ndarray x, cnp.ndarray out, cnp.ndarray mean, cnp.ndarray var, cnp.ndarray gamma,
                   Py_ssize_t groups, Py_ssize_t pixels, double eps):
    """A job on the groups of samples."""
    cdef Job job = feature_job(x, out, mean, var, gamma, pixels, eps, False)
    job.N, job.G, job.K = cnp.PyArray_SIZE(mean) // groups, groups, cnp.PyArray_SIZE(gamma) // groups
    return job


def batch_norm_mask_words(cnp.ndarray x, Py_ssize_t features, Py_ssize_t pixels, /):
    """Return how many values of uint64 the mask of a relu after `batch_norm` takes."""
    cdef Py_ssize_t piece, words
    if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT:
        piece, words = piece_float(pixels), piece_words_float(pixels)
    else:
        piece, words = piece_double(pixels), piece_words_double(pixels)
    return x.shape[0] * ceil_div(features, piece) * words


def batch_norm(cnp.ndarray x, cnp.ndarray out, cnp.ndarray mean, cnp.ndarray var, cnp.ndarray gamma, cnp.ndarray beta,
               Py_ssize_t pixels, double eps, bint fixed, int num_threads, cnp.ndarray branch=None, bint relu=False,
               cnp.ndarray mask=None, /):
    """Write mean and var, unless they are fixed, and the normalised x, which has N rows, into out.

    branch, of x's shape, is added to it where it is given. With relu that follows; its mask has `batch_norm_mask_words`
    values, and is written where it is given.
    """
    cdef Job job = feature_job(x, out, mean, var, gamma, pixels, eps, fixed)
    cdef cnp.ndarray scratch = empty((NORM_ROOM * num_threads,), mean.dtype)
    job.beta, job.scratch = cnp.PyArray_DATA(beta), <double*>cnp.PyArray_DATA(scratch)
    job.branch, job.relu, job.mask = data(branch), relu, <uint64_t*>data(mask)
    with nogil:
        run_job(features, &job, count_pieces(&job), num_threads)


cdef inline double number(cnp.ndarray values, Py_ssize_t i) noexcept:
    if cnp.PyArray_TYPE(values) == cnp.NPY_FLOAT:
        return (<const float*>cnp.PyArray_DATA(values))[i]
    return (<const double*>cnp.PyArray_DATA(values))[i]


cdef void fill_table(cnp.ndarray mean, cnp.ndarray var, const floating* gamma, const floating* beta, Py_ssize_t F,
                     double eps, floating* table) noexcept:
    cdef Py_ssize_t f
    for f in range(F):
        table[f] = <floating>number(mean, f)
        table[F + f] = <floating>(gamma[f] * norm_scale(number(var, f), eps))
        table[2 * F + f] = beta[f]


def batch_norm_table(cnp.ndarray mean, cnp.ndarray var, cnp.ndarray gamma, cnp.ndarray beta, double eps,
                     cnp.ndarray table, /):
    """Write what `batch_norm` computes with, for a mean and a variance that are fixed, into table (3, F).

    out = (x - table[0]) * table[1] + table[2]: a convolution that normalises its own output has its bits. gamma, beta
    and table are of one dtype, mean and var of any.
    """
    cdef Py_ssize_t F = cnp.PyArray_SIZE(gamma)
    cdef unsigned state = cconv_ftz_on()
    if cnp.PyArray_TYPE(table) == cnp.NPY_FLOAT:
        fill_table(mean, var, <float*>cnp.PyArray_DATA(gamma), <float*>cnp.PyArray_DATA(beta), F, eps,
                   <float*>cnp.PyArray_DATA(table))
    else:
        fill_table(mean, var, <double*>cnp.PyArray_DATA(gamma), <double*>cnp.PyArray_DATA(beta), F, eps,
                   <double*>cnp.PyArray_DATA(table))
    cconv_ftz_restore(state)


def batch_norm_backward(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray mean, cnp.ndarray var, cnp.ndarray gamma,
                        cnp.ndarray dx, cnp.ndarray dgamma, cnp.ndarray dbeta, Py_ssize_t pixels, double eps,
                        bint fixed, int num_threads, cnp.ndarray mask=None, cnp.ndarray masked=None, /):
    """Write the gradients into dgamma, dbeta and, unless it is None, dx.

    mask is that of the relu that followed, where one did; what it leaves of dout is written to masked, if given.
    """
    cdef Job job = feature_job(x, dx, mean, var, gamma, pixels, eps, fixed)
    cdef cnp.ndarray scratch = empty((NORM_ROOM * num_threads,), mean.dtype)
    job.dout, job.scratch = cnp.PyArray_DATA(dout), <double*>cnp.PyArray_DATA(scratch)
    job.dgamma, job.dbeta = <double*>cnp.PyArray_DATA(dgamma), <double*>cnp.PyArray_DATA(dbeta)
    job.mask, job.masked = <uint64_t*>data(mask), data(masked)
    with nogil:
        run_job(feature_gradients, &job, count_pieces(&job), num_threads)


def group_norm(cnp.ndarray x, cnp.ndarray out, cnp.ndarray mean, cnp.ndarray var, cnp.ndarray gamma, cnp.ndarray beta,
               Py_ssize_t groups, Py_ssize_t pixels, double eps, int num_threads, /):
    """Write mean and var, one for each group of each sample, and the normalised x into out."""
    cdef Job job = group_job(x, out, mean, var, gamma, groups, pixels, eps)
    job.beta = cnp.PyArray_DATA(beta)
    with nogil:
        run_job(sample_groups, &job, job.N * job.G, num_threads)


def group_norm_backward(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray mean, cnp.ndarray var, cnp.ndarray gamma,
                        cnp.ndarray dx, cnp.ndarray dgamma, cnp.ndarray dbeta, Py_ssize_t groups, Py_ssize_t pixels,
                        double eps, int num_threads, /):
    """Write the gradients into dgamma, dbeta and, unless it is None, dx."""
    cdef Job job = group_job(x, dx, mean, var, gamma, groups, pixels, eps)
    cdef Py_ssize_t row = 2 * job.G * job.K, itemsize = cnp.PyArray_ITEMSIZE(x), count, values
    cdef cnp.ndarray sums
    job.samples = max(LEAST_SAMPLES, (job.N + SETS - 1) // SETS)
    job.size = 3 * row if job.samples > SUM_BLOCK else row
    count = (job.N + job.samples - 1) // job.samples
    values = 2 * row + count * job.size
    sums = empty((values,), x.dtype)
    job.dout, job.sums = cnp.PyArray_DATA(dout), cnp.PyArray_DATA(sums)
    job.dgamma, job.dbeta = <double*>cnp.PyArray_DATA(dgamma), <double*>cnp.PyArray_DATA(dbeta)
    with nogil:
        memset(job.sums, 0, values * itemsize)
        run_job(sample_sets, &job, count, num_threads)
        if job.single:
            add_sample_sets(<float*>job.sums, count, &job)
        else:
            add_sample_sets(<double*>job.sums, count, &job)
