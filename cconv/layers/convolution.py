"""The convolutional layer."""

import numpy as np

from .._arrays import as_input, promote
from ..functional import col2im, convolution, convolution_backward, im2col
from ..geometry import window
from .layer import Layer

__all__ = ["Convolution"]


class Convolution(Layer):
    r"""Cross-correlate images with filters.

    .. math:: out_{n,f,y,z} = b_f + \sum_{c,i,j} W_{f,c,i,j}\; x_{n,\,c,\,y s_h - p_t + i d_h,\,z s_w - p_l + j d_w}

    Parameters
    ----------
    W : ndarray, shape (FN, C / groups, FH, FW)
    b : ndarray, shape (FN,), or None
    stride : int or (int, int), default 1
    pad : int, (int, int), ((top, bottom), (left, right)), 'same' or 'valid', default 0
    dilation : int or (int, int), default 1
    groups : int, default 1
    algorithm : {'direct', 'im2col'}, default 'direct'
        'im2col' is the chapter's method, a matrix of all patches times the filters: much slower, kept to teach and to
        check against. It knows no groups.

    Attributes
    ----------
    dW, db : ndarray
        The gradients that the last backward computed, in the parameters' dtype.

    Notes
    -----
    x is (N, C, H, W), the output (N, FN, OH, OW) with OH = floor((H + top + bottom - dilation * (FH - 1) - 1) / stride)
    + 1, and OW likewise.

    Examples
    --------
    >>> layer = Convolution(np.ones((2, 1, 3, 3), np.float32), np.zeros(2, np.float32), pad=1)
    >>> layer.forward(np.ones((1, 1, 4, 4), np.float32))[0, 0].tolist()
    [[4.0, 6.0, 6.0, 4.0], [6.0, 9.0, 9.0, 6.0], [6.0, 9.0, 9.0, 6.0], [4.0, 6.0, 6.0, 4.0]]
    """

    param_names = ("W", "b")

    def __init__(self, W, b, stride=1, pad=0, *, dilation=1, groups=1, algorithm="direct"):
        if algorithm not in ("direct", "im2col"):
            raise ValueError(f"algorithm must be 'direct' or 'im2col', got {algorithm!r}")
        if algorithm == "im2col" and groups != 1:
            raise ValueError(f"algorithm 'im2col' knows no groups, got groups={groups!r}")
        self.W = W
        self.b = b
        self.stride = stride
        self.pad = pad
        self.dilation = dilation
        self.groups = groups
        self.algorithm = algorithm
        self.x = None
        self.dW = None
        self.db = None

    def forward(self, x):
        x = as_input(x, "x", 4)
        if self.algorithm == "im2col":
            out = self._forward_by_matrix(x)
        else:
            out = convolution(
                x, self.W, self.b, stride=self.stride, pad=self.pad, dilation=self.dilation, groups=self.groups
            )
        self.x = x
        return out

    def backward(self, dout, *, input_gradient=True):
        x = self._kept("x")
        if self.algorithm == "im2col":
            return self._backward_by_matrix(dout, x, input_gradient)
        dx, self.dW, self.db = convolution_backward(
            dout,
            x,
            self.W,
            stride=self.stride,
            pad=self.pad,
            dilation=self.dilation,
            groups=self.groups,
            bias=self.b is not None,
            input_gradient=input_gradient,
        )
        return dx

    def _forward_by_matrix(self, x):
        x, W, b = promote(x, as_input(self.W, "W", 4), None if self.b is None else as_input(self.b, "b", 1))
        FN, C, FH, FW = W.shape
        if C != x.shape[1]:
            raise ValueError(f"W must have x's {x.shape[1]} channels, got shape {W.shape}")
        place = window(*x.shape[2:], FH, FW, self.stride, self.pad, self.dilation)
        out = im2col(x, FH, FW, self.stride, self.pad, dilation=self.dilation) @ W.reshape(FN, -1).T
        if b is not None:
            out += b
        return np.ascontiguousarray(out.reshape(len(x), place.out_h, place.out_w, FN).transpose(0, 3, 1, 2))

    def _backward_by_matrix(self, dout, x, input_gradient):
        dout, wide, W = promote(as_input(dout, "dout", 4), x, as_input(self.W, "W", 4))
        FN, C, FH, FW = W.shape
        steps = (FH, FW, self.stride, self.pad)
        rows = dout.transpose(0, 2, 3, 1).reshape(-1, FN)
        col = im2col(wide, *steps, dilation=self.dilation)
        self.dW = (rows.T @ col).reshape(W.shape).astype(self.W.dtype, copy=False)
        self.db = None if self.b is None else rows.sum(axis=0).astype(self.b.dtype, copy=False)
        if not input_gradient:
            return None
        dx = col2im(rows @ W.reshape(FN, -1), x.shape, *steps, dilation=self.dilation)
        return dx.astype(x.dtype, copy=False)
