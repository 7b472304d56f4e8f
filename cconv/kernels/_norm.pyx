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
# Arrays are contiguous; mean and var, which forward leaves and backward takes, are float64, as are dgamma and dbeta.
# The loops are in norm.h. A piece of work is some features of the batch, or one group of one sample; backward of groups
# adds up dgamma and dbeta over a fixed share of the samples, of which blocks go to long sums (sums.h). Nothing is
# empty.
#
# Edge cases: var is the biased variance; a NaN or an infinity makes all of its feature or group NaN; a feature that
# does not vary gives beta.

cimport numpy as cnp
from cython cimport floating
from cython.parallel cimport parallel, prange, threadid
from libc.string cimport memset

from cconv.kernels.sums cimport SUM_BLOCK, sum_columns
from cconv.kernels.tile cimport cconv_ftz_on, cconv_ftz_restore

from cconv.kernels._memory import empty

cnp.import_array()

cdef enum:
    SHARES = 16  # of the samples: each has its own sums of dgamma and dbeta
    SHARE = 8    # samples at least in one

cdef extern from "norm.h" nogil:
    const int NORM_ROOM
    Py_ssize_t piece_float(Py_ssize_t P) noexcept
    Py_ssize_t piece_double(Py_ssize_t P) noexcept
    void measure_float(const float* x, Py_ssize_t N, Py_ssize_t pitch, Py_ssize_t features, Py_ssize_t P, double* mean,
                       double* var, double* scratch) noexcept
    void measure_double(const double* x, Py_ssize_t N, Py_ssize_t pitch, Py_ssize_t features, Py_ssize_t P,
                        double* mean, double* var, double* scratch) noexcept
    void batch_forward_float(const float* x, float* out, const double* mean, const double* var, const float* gamma,
                             const float* beta, Py_ssize_t N, Py_ssize_t pitch, Py_ssize_t features, Py_ssize_t P,
                             double eps, double* scratch) noexcept
    void batch_forward_double(const double* x, double* out, const double* mean, const double* var, const double* gamma,
                              const double* beta, Py_ssize_t N, Py_ssize_t pitch, Py_ssize_t features, Py_ssize_t P,
                              double eps, double* scratch) noexcept
    void batch_backward_float(const float* dout, const float* x, const double* mean, const double* var,
                              const float* gamma, float* dx, double* dgamma, double* dbeta, Py_ssize_t N,
                              Py_ssize_t pitch, Py_ssize_t features, Py_ssize_t P, double eps, bint fixed,
                              double* scratch) noexcept
    void batch_backward_double(const double* dout, const double* x, const double* mean, const double* var,
                               const double* gamma, double* dx, double* dgamma, double* dbeta, Py_ssize_t N,
                               Py_ssize_t pitch, Py_ssize_t features, Py_ssize_t P, double eps, bint fixed,
                               double* scratch) noexcept
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


cdef void forward_features(const floating* x, floating* out, double* mean, double* var, const floating* gamma,
                           const floating* beta, Py_ssize_t N, Py_ssize_t F, Py_ssize_t P, double eps, bint fixed,
                           double* scratch, int num_threads) noexcept nogil:
    cdef Py_ssize_t piece = piece_float(P) if floating is float else piece_double(P)
    cdef Py_ssize_t c, f, count
    cdef double* mine = NULL
    cdef unsigned state = 0
    with parallel(num_threads=num_threads):
        mine = scratch + threadid() * NORM_ROOM
        state = cconv_ftz_on()
        for c in prange((F + piece - 1) // piece, schedule="static"):
            f = c * piece
            count = min(piece, F - f)
            if floating is float:
                if not fixed:
                    measure_float(x + f * P, N, F * P, count, P, mean + f, var + f, mine)
                batch_forward_float(x + f * P, out + f * P, mean + f, var + f, gamma + f, beta + f, N, F * P, count, P,
                                    eps, mine)
            else:
                if not fixed:
                    measure_double(x + f * P, N, F * P, count, P, mean + f, var + f, mine)
                batch_forward_double(x + f * P, out + f * P, mean + f, var + f, gamma + f, beta + f, N, F * P, count,
                                     P, eps, mine)
        cconv_ftz_restore(state)


cdef void backward_features(const floating* dout, const floating* x, const double* mean, const double* var,
                            const floating* gamma, floating* dx, double* dgamma, double* dbeta, Py_ssize_t N,
                            Py_ssize_t F, Py_ssize_t P, double eps, bint fixed, double* scratch,
                            int num_threads) noexcept nogil:
    cdef Py_ssize_t piece = piece_float(P) if floating is float else piece_double(P)
    cdef Py_ssize_t c, f, count
    cdef floating* target
    cdef double* mine = NULL
    cdef unsigned state = 0
    with parallel(num_threads=num_threads):
        mine = scratch + threadid() * NORM_ROOM
        state = cconv_ftz_on()
        for c in prange((F + piece - 1) // piece, schedule="static"):
            f = c * piece
            count = min(piece, F - f)
            target = NULL if dx == NULL else dx + f * P
            if floating is float:
                batch_backward_float(dout + f * P, x + f * P, mean + f, var + f, gamma + f, target, dgamma + f,
                                     dbeta + f, N, F * P, count, P, eps, fixed, mine)
            else:
                batch_backward_double(dout + f * P, x + f * P, mean + f, var + f, gamma + f, target, dgamma + f,
                                      dbeta + f, N, F * P, count, P, eps, fixed, mine)
        cconv_ftz_restore(state)


cdef void forward_groups(const floating* x, floating* out, double* mean, double* var, const floating* gamma,
                         const floating* beta, Py_ssize_t N, Py_ssize_t G, Py_ssize_t K, Py_ssize_t P, double eps,
                         int num_threads) noexcept nogil:
    cdef Py_ssize_t i, k
    cdef unsigned state = 0
    with parallel(num_threads=num_threads):
        state = cconv_ftz_on()
        for i in prange(N * G, schedule="static"):
            k = i % G * K
            if floating is float:
                group_forward_float(x + i * K * P, out + i * K * P, mean + i, var + i, gamma + k, beta + k, K, P, eps)
            else:
                group_forward_double(x + i * K * P, out + i * K * P, mean + i, var + i, gamma + k, beta + k, K, P, eps)
        cconv_ftz_restore(state)


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


cdef void backward_groups(const floating* dout, const floating* x, const double* mean, const double* var,
                          const floating* gamma, floating* dx, double* dgamma, double* dbeta, Py_ssize_t N,
                          Py_ssize_t G, Py_ssize_t K, Py_ssize_t P, double eps, Py_ssize_t share, Py_ssize_t shares,
                          floating* sums, int num_threads) noexcept nogil:
    cdef Py_ssize_t C = G * K, row = 2 * C, size = 3 * row if share > SUM_BLOCK else row, s, k, first, last
    cdef floating* parts = sums + 2 * row  # after a total's two numbers
    cdef unsigned state = 0
    memset(sums, 0, (2 * row + shares * size) * sizeof(floating))
    with parallel(num_threads=num_threads):
        state = cconv_ftz_on()
        for s in prange(shares, schedule="static"):
            first = s * share
            last = min(first + share, N)
            backward_samples(dout, x, mean, var, gamma, dx, parts + s * size, first, last, G, K, P, eps)
        cconv_ftz_restore(state)
    for s in range(shares):
        # The last share may have no more than a block of samples.
        k = row if min((s + 1) * share, N) - s * share > SUM_BLOCK else 0
        sum_columns(<const floating*>parts + s * size + k, row, 1, row, sums, sums + row)
    for k in range(C):
        dgamma[k] = sums[k]
        dbeta[k] = sums[C + k]


def batch_norm(cnp.ndarray x, cnp.ndarray out, cnp.ndarray mean, cnp.ndarray var, cnp.ndarray gamma, cnp.ndarray beta,
               Py_ssize_t pixels, double eps, bint fixed, int num_threads, /):
    """Write mean and var, unless they are fixed, and the normalised x, which has N rows, into out."""
    cdef Py_ssize_t N = x.shape[0], F = cnp.PyArray_SIZE(gamma)
    cdef void* source = cnp.PyArray_DATA(x)
    cdef void* target = cnp.PyArray_DATA(out)
    cdef void* scale = cnp.PyArray_DATA(gamma)
    cdef void* shift = cnp.PyArray_DATA(beta)
    cdef double* means = <double*>cnp.PyArray_DATA(mean)
    cdef double* variances = <double*>cnp.PyArray_DATA(var)
    cdef bint single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    cdef cnp.ndarray scratch = empty((NORM_ROOM * num_threads,), mean.dtype)
    cdef double* work = <double*>cnp.PyArray_DATA(scratch)
    with nogil:
        if single:
            forward_features[float](<float*>source, <float*>target, means, variances, <float*>scale, <float*>shift, N,
                                    F, pixels, eps, fixed, work, num_threads)
        else:
            forward_features[double](<double*>source, <double*>target, means, variances, <double*>scale,
                                     <double*>shift, N, F, pixels, eps, fixed, work, num_threads)


def batch_norm_backward(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray mean, cnp.ndarray var, cnp.ndarray gamma,
                        cnp.ndarray dx, cnp.ndarray dgamma, cnp.ndarray dbeta, Py_ssize_t pixels, double eps,
                        bint fixed, int num_threads, /):
    """Write the gradients into dgamma, dbeta and, unless it is None, dx."""
    cdef Py_ssize_t N = x.shape[0], F = cnp.PyArray_SIZE(gamma)
    cdef void* gradient = cnp.PyArray_DATA(dout)
    cdef void* source = cnp.PyArray_DATA(x)
    cdef void* target = NULL if dx is None else cnp.PyArray_DATA(dx)
    cdef void* scale = cnp.PyArray_DATA(gamma)
    cdef double* means = <double*>cnp.PyArray_DATA(mean)
    cdef double* variances = <double*>cnp.PyArray_DATA(var)
    cdef double* of_gamma = <double*>cnp.PyArray_DATA(dgamma)
    cdef double* of_beta = <double*>cnp.PyArray_DATA(dbeta)
    cdef bint single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    cdef cnp.ndarray scratch = empty((NORM_ROOM * num_threads,), mean.dtype)
    cdef double* work = <double*>cnp.PyArray_DATA(scratch)
    with nogil:
        if single:
            backward_features[float](<float*>gradient, <float*>source, means, variances, <float*>scale, <float*>target,
                                     of_gamma, of_beta, N, F, pixels, eps, fixed, work, num_threads)
        else:
            backward_features[double](<double*>gradient, <double*>source, means, variances, <double*>scale,
                                      <double*>target, of_gamma, of_beta, N, F, pixels, eps, fixed, work, num_threads)


def group_norm(cnp.ndarray x, cnp.ndarray out, cnp.ndarray mean, cnp.ndarray var, cnp.ndarray gamma, cnp.ndarray beta,
               Py_ssize_t groups, Py_ssize_t pixels, double eps, int num_threads, /):
    """Write mean and var, one for each group of each sample, and the normalised x into out."""
    cdef Py_ssize_t N = cnp.PyArray_SIZE(mean) // groups, K = cnp.PyArray_SIZE(gamma) // groups
    cdef void* source = cnp.PyArray_DATA(x)
    cdef void* target = cnp.PyArray_DATA(out)
    cdef void* scale = cnp.PyArray_DATA(gamma)
    cdef void* shift = cnp.PyArray_DATA(beta)
    cdef double* means = <double*>cnp.PyArray_DATA(mean)
    cdef double* variances = <double*>cnp.PyArray_DATA(var)
    cdef bint single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    with nogil:
        if single:
            forward_groups[float](<float*>source, <float*>target, means, variances, <float*>scale, <float*>shift, N,
                                  groups, K, pixels, eps, num_threads)
        else:
            forward_groups[double](<double*>source, <double*>target, means, variances, <double*>scale, <double*>shift,
                                   N, groups, K, pixels, eps, num_threads)


def group_norm_backward(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray mean, cnp.ndarray var, cnp.ndarray gamma,
                        cnp.ndarray dx, cnp.ndarray dgamma, cnp.ndarray dbeta, Py_ssize_t groups, Py_ssize_t pixels,
                        double eps, int num_threads, /):
    """Write the gradients into dgamma, dbeta and, unless it is None, dx."""
    cdef Py_ssize_t N = cnp.PyArray_SIZE(mean) // groups, K = cnp.PyArray_SIZE(gamma) // groups
    cdef void* gradient = cnp.PyArray_DATA(dout)
    cdef void* source = cnp.PyArray_DATA(x)
    cdef void* target = NULL if dx is None else cnp.PyArray_DATA(dx)
    cdef void* scale = cnp.PyArray_DATA(gamma)
    cdef double* means = <double*>cnp.PyArray_DATA(mean)
    cdef double* variances = <double*>cnp.PyArray_DATA(var)
    cdef double* of_gamma = <double*>cnp.PyArray_DATA(dgamma)
    cdef double* of_beta = <double*>cnp.PyArray_DATA(dbeta)
    cdef bint single = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT
    cdef Py_ssize_t share = max(SHARE, (N + SHARES - 1) // SHARES), shares = (N + share - 1) // share
    cdef cnp.ndarray sums = empty(((4 + shares * (6 if share > SUM_BLOCK else 2)) * groups * K,), x.dtype)
    cdef void* work = cnp.PyArray_DATA(sums)
    with nogil:
        if single:
            backward_groups[float](<float*>gradient, <float*>source, means, variances, <float*>scale, <float*>target,
                                   of_gamma, of_beta, N, groups, K, pixels, eps, share, shares, <float*>work,
                                   num_threads)
        else:
            backward_groups[double](<double*>gradient, <double*>source, means, variances, <double*>scale,
                                    <double*>target, of_gamma, of_beta, N, groups, K, pixels, eps, share, shares,
                                    <double*>work, num_threads)
