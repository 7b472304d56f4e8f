"""Max pooling and average pooling."""

from .._arrays import as_input
from ..functional import average_pool, average_pool_backward, max_pool, max_pool_backward
from ..geometry import integer, window_settings
from .layer import Layer

__all__ = ["AveragePooling", "Pooling"]


class _Window(Layer):
    """What both kinds of pooling are given."""

    def __init__(self, pool_h, pool_w, stride=1, pad=0):
        self.pool_h = integer(pool_h, "pool_h", 1)
        self.pool_w = integer(pool_w, "pool_w", 1)
        window_settings(stride, pad)
        self.stride = stride
        self.pad = pad

    def describe(self):
        return {"window": (self.pool_h, self.pool_w), **window_settings(self.stride, self.pad)}


class Pooling(_Window):
    r"""Take the maximum of each window.

    .. math:: out_{n,c,y,z} = \max_{i,j} x_{n,\,c,\,y s_h - p_t + i,\,z s_w - p_l + j}

    Padding never wins, NaN does, and of equal values the first one gets the gradient.

    Parameters
    ----------
    pool_h, pool_w : int
        The window.
    stride : int or (int, int), default 1
    pad : int, (int, int) or ((top, bottom), (left, right)), default 0
        At most half the window.

    Examples
    --------
    >>> layer = Pooling(2, 2, stride=2)
    >>> layer.forward(np.array([[[[1.0, 2.0], [4.0, 3.0]]]]))
    array([[[[4.]]]])
    >>> layer.backward(np.ones((1, 1, 1, 1))).tolist()
    [[[[0.0, 0.0], [1.0, 0.0]]]]
    """

    def forward(self, x):
        x = as_input(x, "x", 4)
        window = (self.pool_h, self.pool_w)
        out, argmax = max_pool(x, window, stride=self.stride, pad=self.pad, return_argmax=True)
        self._saved = argmax, x.shape, x.dtype
        return out

    def backward(self, dout, *, input_gradient=True):
        argmax, shape, dtype = self._recall()
        if not input_gradient:
            return None
        window = (self.pool_h, self.pool_w)
        dx = max_pool_backward(dout, argmax, shape, window, stride=self.stride, pad=self.pad)
        return dx.astype(dtype, copy=False)


class AveragePooling(_Window):
    r"""Take the mean of each window; padding counts as zeros.

    .. math:: out_{n,c,y,z} = \frac{1}{F_h F_w} \sum_{i,j} x_{n,\,c,\,y s_h - p_t + i,\,z s_w - p_l + j}

    Parameters
    ----------
    pool_h, pool_w : int
        The window.
    stride : int or (int, int), default 1
    pad : int, (int, int) or ((top, bottom), (left, right)), default 0
        At most half the window.

    Examples
    --------
    >>> AveragePooling(2, 2, stride=2).forward(np.array([[[[1.0, 2.0], [4.0, 3.0]]]]))
    array([[[[2.5]]]])
    """

    def forward(self, x):
        x = as_input(x, "x", 4)
        out = average_pool(x, (self.pool_h, self.pool_w), stride=self.stride, pad=self.pad)
        self._saved = x.shape, x.dtype
        return out

    def backward(self, dout, *, input_gradient=True):
        shape, dtype = self._recall()
        if not input_gradient:
            return None
        window = (self.pool_h, self.pool_w)
        dx = average_pool_backward(dout, shape, window, stride=self.stride, pad=self.pad)
        return dx.astype(dtype, copy=False)
