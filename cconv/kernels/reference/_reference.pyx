"""Convolution and pooling as loops over their formulas: to be read first, and to check the fast kernels against."""

# Nothing here is fast, and nothing is clever: each function is its formula, one loop for each index.
#
#     n        an image of the batch            x, dx      (N, C, H, W)
#     f        a filter                         W, dW      (FN, C / groups, FH, FW)
#     c        a channel                        b, db      (FN,)
#     y, z     a row and a column of outputs    out, dout  (N, FN, OH, OW); of pooling, (N, C, OH, OW)
#     i, j     a row and a column of a filter or of a window
#     r, q     the row and the column of the image that i, j of the window at y, z meets:
#
#         r = y*sh - pt + i*dh        q = z*sw - pl + j*dw
#
# sh, sw is the stride, pt, pl the padding above and at the left, dh, dw the dilation. A place outside of the image is
# padding. The channels of x are divided among groups; a filter sees those of its own group, from `first` on.
#
# Arrays are double: the door makes double of float before, and rounds what comes out of float once.

cimport numpy as cnp

cnp.import_array()


def convolution(cnp.ndarray[double, ndim=4] x, cnp.ndarray[double, ndim=4] W, cnp.ndarray[double] b,
                cnp.ndarray[double, ndim=4] out, steps, Py_ssize_t groups, /):
    """out[n, f, y, z] = b[f] + sum over c, i, j of W[f, c, i, j] * x[n, first + c, r, q], where x is 0 in the padding.
    """
    cdef Py_ssize_t n, f, y, z, c, i, j, r, q, first, sh, sw, pt, pl, dh, dw
    cdef double total, pixel
    sh, sw, pt, pl, dh, dw = steps
    with nogil:
        for n in range(out.shape[0]):
            for f in range(out.shape[1]):
                first = f // (W.shape[0] // groups) * W.shape[1]
                for y in range(out.shape[2]):
                    for z in range(out.shape[3]):
                        total = b[f]
                        for c in range(W.shape[1]):
                            for i in range(W.shape[2]):
                                for j in range(W.shape[3]):
                                    r = y * sh - pt + i * dh
                                    q = z * sw - pl + j * dw
                                    pixel = 0
                                    if 0 <= r < x.shape[2] and 0 <= q < x.shape[3]:
                                        pixel = x[n, first + c, r, q]
                                    total += W[f, c, i, j] * pixel
                        out[n, f, y, z] = total


def convolution_input_gradient(cnp.ndarray[double, ndim=4] dout, cnp.ndarray[double, ndim=4] W,
                               cnp.ndarray[double, ndim=4] dx, steps, Py_ssize_t groups, /):
    """dx[n, first + c, r, q] = sum over all f, y, z, i, j that meet there of W[f, c, i, j] * dout[n, f, y, z].

    The loops are those of the convolution, and each product goes to the pixel that the forward one came from.
    """
    cdef Py_ssize_t n, f, y, z, c, i, j, r, q, first, sh, sw, pt, pl, dh, dw
    sh, sw, pt, pl, dh, dw = steps
    dx[...] = 0
    with nogil:
        for n in range(dout.shape[0]):
            for f in range(dout.shape[1]):
                first = f // (W.shape[0] // groups) * W.shape[1]
                for y in range(dout.shape[2]):
                    for z in range(dout.shape[3]):
                        for c in range(W.shape[1]):
                            for i in range(W.shape[2]):
                                for j in range(W.shape[3]):
                                    r = y * sh - pt + i * dh
                                    q = z * sw - pl + j * dw
                                    if 0 <= r < dx.shape[2] and 0 <= q < dx.shape[3]:
                                        dx[n, first + c, r, q] += W[f, c, i, j] * dout[n, f, y, z]


def convolution_weight_gradient(cnp.ndarray[double, ndim=4] dout, cnp.ndarray[double, ndim=4] x,
                                cnp.ndarray[double, ndim=4] dW, cnp.ndarray[double] db, steps, Py_ssize_t groups, /):
    """dW[f, c, i, j] = sum over n, y, z of dout[n, f, y, z] * x[n, first + c, r, q];  db[f] = that of dout[n, f, y, z].
    """
    cdef Py_ssize_t n, f, y, z, c, i, j, r, q, first, sh, sw, pt, pl, dh, dw
    sh, sw, pt, pl, dh, dw = steps
    dW[...] = 0
    db[...] = 0
    with nogil:
        for n in range(dout.shape[0]):
            for f in range(dout.shape[1]):
                first = f // (dW.shape[0] // groups) * dW.shape[1]
                for y in range(dout.shape[2]):
                    for z in range(dout.shape[3]):
                        db[f] += dout[n, f, y, z]
                        for c in range(dW.shape[1]):
                            for i in range(dW.shape[2]):
                                for j in range(dW.shape[3]):
                                    r = y * sh - pt + i * dh
                                    q = z * sw - pl + j * dw
                                    if 0 <= r < x.shape[2] and 0 <= q < x.shape[3]:
                                        dW[f, c, i, j] += dout[n, f, y, z] * x[n, first + c, r, q]


def max_pool(cnp.ndarray[double, ndim=4] x, cnp.ndarray[double, ndim=4] out, cnp.ndarray[int, ndim=4] argmax, int FH,
             int FW, steps, /):
    """out[n, c, y, z] = the maximum over i, j of x[n, c, r, q]; argmax is i * FW + j of the first one.

    Padding is left out. A NaN is greater than any number.
    """
    cdef Py_ssize_t n, c, y, z, i, j, r, q, sh, sw, pt, pl, dh, dw
    cdef double best, value
    cdef int place
    sh, sw, pt, pl, dh, dw = steps
    with nogil:
        for n in range(out.shape[0]):
            for c in range(out.shape[1]):
                for y in range(out.shape[2]):
                    for z in range(out.shape[3]):
                        place = -1  # none yet
                        best = 0
                        for i in range(FH):
                            for j in range(FW):
                                r = y * sh - pt + i * dh
                                q = z * sw - pl + j * dw
                                if 0 <= r < x.shape[2] and 0 <= q < x.shape[3]:
                                    value = x[n, c, r, q]
                                    if place < 0 or value > best or (value != value and best == best):
                                        best = value
                                        place = i * FW + j
                        out[n, c, y, z] = best
                        argmax[n, c, y, z] = place


def max_pool_backward(cnp.ndarray[double, ndim=4] dout, cnp.ndarray[int, ndim=4] argmax, cnp.ndarray[double, ndim=4] dx,
                      int FW, steps, /):
    """dx[n, c, r, q] = sum of dout[n, c, y, z] over the windows y, z whose argmax i * FW + j is there.

    Return whether all of those are in the image.
    """
    cdef Py_ssize_t n, c, y, z, r, q, sh, sw, pt, pl, dh, dw
    cdef bint inside = True
    sh, sw, pt, pl, dh, dw = steps
    dx[...] = 0
    with nogil:
        for n in range(dout.shape[0]):
            for c in range(dout.shape[1]):
                for y in range(dout.shape[2]):
                    for z in range(dout.shape[3]):
                        r = y * sh - pt + argmax[n, c, y, z] // FW * dh
                        q = z * sw - pl + argmax[n, c, y, z] % FW * dw
                        if 0 <= r < dx.shape[2] and 0 <= q < dx.shape[3]:
                            dx[n, c, r, q] += dout[n, c, y, z]
                        else:
                            inside = False
    return inside


# A mean counts the places from row -top to row H + bottom and from column -left to column W + right: the padding, or
# with four zeros the image alone. What lies beyond the padding, where output sizes are rounded up, is never counted.


def average_pool(cnp.ndarray[double, ndim=4] x, cnp.ndarray[double, ndim=4] out, int FH, int FW, steps, counted, /):
    """out[n, c, y, z] = (sum over i, j of x[n, c, r, q]) / (number of i, j that are counted), x being 0 in the padding.
    """
    cdef Py_ssize_t n, c, y, z, i, j, r, q, sh, sw, pt, pl, dh, dw, top, bottom, left, right, count
    cdef double total
    sh, sw, pt, pl, dh, dw = steps
    top, bottom, left, right = counted
    with nogil:
        for n in range(out.shape[0]):
            for c in range(out.shape[1]):
                for y in range(out.shape[2]):
                    for z in range(out.shape[3]):
                        total = 0
                        count = 0
                        for i in range(FH):
                            for j in range(FW):
                                r = y * sh - pt + i * dh
                                q = z * sw - pl + j * dw
                                if 0 <= r < x.shape[2] and 0 <= q < x.shape[3]:
                                    total += x[n, c, r, q]
                                if -top <= r < x.shape[2] + bottom and -left <= q < x.shape[3] + right:
                                    count += 1
                        out[n, c, y, z] = total / count


def average_pool_backward(cnp.ndarray[double, ndim=4] dout, cnp.ndarray[double, ndim=4] dx, int FH, int FW, steps,
                          counted, /):
    """dx[n, c, r, q] = sum of dout[n, c, y, z] / (number of i, j that are counted) over all y, z, i, j that meet there.
    """
    cdef Py_ssize_t n, c, y, z, i, j, r, q, sh, sw, pt, pl, dh, dw, top, bottom, left, right, count
    sh, sw, pt, pl, dh, dw = steps
    top, bottom, left, right = counted
    dx[...] = 0
    with nogil:
        for n in range(dout.shape[0]):
            for c in range(dout.shape[1]):
                for y in range(dout.shape[2]):
                    for z in range(dout.shape[3]):
                        count = 0
                        for i in range(FH):
                            for j in range(FW):
                                r = y * sh - pt + i * dh
                                q = z * sw - pl + j * dw
                                if -top <= r < dx.shape[2] + bottom and -left <= q < dx.shape[3] + right:
                                    count += 1
                        for i in range(FH):
                            for j in range(FW):
                                r = y * sh - pt + i * dh
                                q = z * sw - pl + j * dw
                                if 0 <= r < dx.shape[2] and 0 <= q < dx.shape[3]:
                                    dx[n, c, r, q] += dout[n, c, y, z] / count
