"""The optimizers' updates, one compiled pass each, in place.

    sgd        p -= lr * g
    momentum   v = m*v - lr*g;  p += v
    nesterov   v' = m*v - lr*g;  p += m^2 * v - (1 + m) * lr * g  (v before the step; arXiv 1212.0901, eq. 7)
    adagrad    h += g^2;  p -= lr * g / (sqrt(h) + eps)
    rmsprop    h = rho*h + (1 - rho)*g^2;  p -= lr * g / (sqrt(h) + eps)
    adam       m += (1 - beta1)*(g - m);  v += (1 - beta2)*(g^2 - v);  p -= lr_t * m / (sqrt(v) + eps)
               with lr_t = lr * sqrt(1 - beta2^t) / (1 - beta1^t) given (arXiv 1412.6980, section 2)

Arrays are contiguous and of one dtype; each value is updated on its own, so that neither threads nor the place in the
array can change a bit. Hyperparameters are computed with in the parameters' dtype.
"""

cimport numpy as cnp
from cython cimport floating
from cython.parallel cimport parallel, prange
from libc.math cimport sqrt, sqrtf

from cconv.kernels.tile cimport cconv_ftz_on, cconv_ftz_restore

cnp.import_array()

cdef enum:
    CHUNK = 16384  # values in one piece of work

cdef enum Rule:
    SGD, MOMENTUM, NESTEROV, ADAGRAD, RMSPROP, ADAM


cdef inline floating root(floating x) noexcept nogil:
    if floating is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline void update(Rule rule, floating* p, const floating* g, floating* s, floating* r, floating lr, floating a,
                        floating b, floating eps, Py_ssize_t n) noexcept nogil:
    """Update n values; s and r are the rule's state, a and b its other hyperparameters."""
    cdef Py_ssize_t i
    cdef floating old
    if rule == SGD:
        for i in range(n):
            p[i] -= lr * g[i]
    elif rule == MOMENTUM:
        for i in range(n):
            s[i] = a * s[i] - lr * g[i]
            p[i] += s[i]
    elif rule == NESTEROV:
        for i in range(n):
            old = s[i]
            s[i] = a * old - lr * g[i]
            p[i] += a * a * old - (1 + a) * lr * g[i]
    elif rule == ADAGRAD:
        for i in range(n):
            s[i] += g[i] * g[i]
            p[i] -= lr * g[i] / (root[floating](s[i]) + eps)
    elif rule == RMSPROP:
        for i in range(n):
            s[i] = a * s[i] + (1 - a) * g[i] * g[i]
            p[i] -= lr * g[i] / (root[floating](s[i]) + eps)
    else:
        for i in range(n):
            s[i] += (1 - a) * (g[i] - s[i])
            r[i] += (1 - b) * (g[i] * g[i] - r[i])
            p[i] -= lr * s[i] / (root[floating](r[i]) + eps)


cdef void update_all(Rule rule, floating* p, const floating* g, floating* s, floating* r, floating lr, floating a,
                     floating b, floating eps, Py_ssize_t size, int num_threads) noexcept nogil:
    cdef Py_ssize_t c, i
    cdef unsigned state
    with parallel(num_threads=num_threads):
        state = 0
        state = cconv_ftz_on()
        for c in prange((size + CHUNK - 1) // CHUNK, schedule="static"):
            i = c * CHUNK
            update(rule, p + i, g + i, s + i, r + i, lr, a, b, eps, min(CHUNK, size - i))
        cconv_ftz_restore(state)


cdef void run(Rule rule, cnp.ndarray p, cnp.ndarray g, cnp.ndarray s, cnp.ndarray r, double lr, double a, double b,
              double eps, int num_threads):
    cdef Py_ssize_t size = cnp.PyArray_SIZE(p)
    cdef void* values = cnp.PyArray_DATA(p)
    cdef void* gradient = cnp.PyArray_DATA(g)
    cdef void* first = values if s is None else cnp.PyArray_DATA(s)
    cdef void* second = values if r is None else cnp.PyArray_DATA(r)
    cdef bint single = cnp.PyArray_TYPE(p) == cnp.NPY_FLOAT
    with nogil:
        if single:
            update_all[float](rule, <float*>values, <float*>gradient, <float*>first, <float*>second, <float>lr,
                              <float>a, <float>b, <float>eps, size, num_threads)
        else:
            update_all[double](rule, <double*>values, <double*>gradient, <double*>first, <double*>second, lr, a, b,
                               eps, size, num_threads)


def sgd(cnp.ndarray p, cnp.ndarray g, double lr, int num_threads):
    run(SGD, p, g, None, None, lr, 0, 0, 0, num_threads)


def momentum(cnp.ndarray p, cnp.ndarray g, cnp.ndarray v, double lr, double momentum, int num_threads):
    run(MOMENTUM, p, g, v, None, lr, momentum, 0, 0, num_threads)


def nesterov(cnp.ndarray p, cnp.ndarray g, cnp.ndarray v, double lr, double momentum, int num_threads):
    run(NESTEROV, p, g, v, None, lr, momentum, 0, 0, num_threads)


def adagrad(cnp.ndarray p, cnp.ndarray g, cnp.ndarray h, double lr, double eps, int num_threads):
    run(ADAGRAD, p, g, h, None, lr, 0, 0, eps, num_threads)


def rmsprop(cnp.ndarray p, cnp.ndarray g, cnp.ndarray h, double lr, double decay_rate, double eps, int num_threads):
    run(RMSPROP, p, g, h, None, lr, decay_rate, 0, eps, num_threads)


def adam(cnp.ndarray p, cnp.ndarray g, cnp.ndarray m, cnp.ndarray v, double lr_t, double beta1, double beta2,
         double eps, int num_threads):
    run(ADAM, p, g, m, v, lr_t, beta1, beta2, eps, num_threads)
