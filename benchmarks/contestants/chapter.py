"""The chapter's method in NumPy."""

import itertools

import numpy as np

from .. import inputs, numpy_chapter
from . import Work


class Chapter:
    def __init__(self, threads):
        pass  # NumPy's BLAS has read its number of threads from the environment

    def step(self, dtype, batch, scale=1.0, lr=0.001):
        network, optimizer = numpy_chapter.SimpleConvNet(inputs.parameters(dtype)), numpy_chapter.Adam(lr)
        batches = inputs.digits(dtype, batch, inputs.BATCHES, scale)
        turn = itertools.cycle(batches)

        def run():
            x, t = next(turn)
            optimizer.update(network.params, network.gradient(x, t))

        return Work(run, lambda: list(network.gradient(*batches[0]).values()))

    hand_built_step = step

    def forward(self, dtype, batch):
        network = numpy_chapter.SimpleConvNet(inputs.parameters(dtype))
        ((x, _),) = inputs.digits(dtype, batch)
        return Work(lambda: network.predict(x))

    def convolution_forward(self, geometry, dtype):
        layer, x, _ = _convolution(geometry, dtype)
        return layer and Work(lambda: layer.forward(x))

    def convolution_backward(self, geometry, dtype, input_gradient=True):
        layer, x, dout = _convolution(geometry, dtype)
        if layer is None:
            return None
        layer.forward(x)

        def outputs():
            dx = layer.backward(dout)
            return [dx if input_gradient else None, layer.dW, layer.db]

        return Work(lambda: layer.backward(dout), outputs)

    def convolution(self, geometry, dtype):
        """Forward and backward."""
        layer, x, dout = _convolution(geometry, dtype)
        return layer and Work(lambda: (layer.forward(x), layer.backward(dout), layer.dW, layer.db))

    def pool_forward(self, kind, shape, window, stride, dtype):
        layer, x = _pooling(kind, shape, window, stride, dtype)
        return layer and Work(lambda: layer.forward(x))

    def pool_backward(self, kind, shape, window, stride, dtype):
        layer, x = _pooling(kind, shape, window, stride, dtype)
        if layer is None:
            return None
        dout = layer.forward(x)
        return Work(lambda: layer.backward(dout))

    def pool(self, **options):
        """Forward and backward."""
        forward, backward = self.pool_forward(**options), self.pool_backward(**options)
        return forward and Work(lambda: (forward.run(), backward.run()), backward.run)

    def activation_forward(self, name, shape, dtype):
        if name != "relu":
            return None
        (x,) = inputs.draw(dtype, shape)
        layer = numpy_chapter.Relu()
        return Work(lambda: layer.forward(x))

    def activation_backward(self, name, shape, dtype):
        if name != "relu":
            return None
        x, dout = inputs.draw(dtype, shape, shape)
        layer = numpy_chapter.Relu()
        layer.forward(x)
        return Work(lambda: layer.backward(dout))

    def affine_forward(self, N, D, M, dtype):
        x, w, b = inputs.draw(dtype, (N, D), (D, M), (M,))
        layer = numpy_chapter.Affine(w, b)
        return Work(lambda: layer.forward(x))

    def affine_backward(self, N, D, M, dtype):
        x, w, dout = inputs.draw(dtype, (N, D), (D, M), (N, M))
        layer = numpy_chapter.Affine(w, np.zeros(M, dtype))
        layer.forward(x)
        return Work(lambda: (layer.backward(dout), layer.dW, layer.db))

    def softmax_loss(self, N, M, dtype):
        """Forward and backward."""
        layer = numpy_chapter.SoftmaxWithLoss()
        (x,) = inputs.draw(dtype, (N, M))
        t = np.arange(N) % M

        def run():
            return layer.forward(x, t), layer.backward()

        return Work(run, lambda: run()[1])

    def optimizer(self, name, shape):
        if name != "Adam":
            return None
        p, g = inputs.update(shape)
        before, optimizer = p.copy(), numpy_chapter.Adam(**inputs.OPTIMIZERS[name])

        def run():
            optimizer.update({"p": p}, {"p": g})

        def change():
            run()
            return p - before

        return Work(run, change)


def _convolution(geometry, dtype):
    """Return the chapter's layer, its input and its gradient; None for what the chapter does not have."""
    x, w, b, dout = geometry.arrays(dtype)
    plain = isinstance(geometry.stride, int) and isinstance(geometry.pad, int)
    if not plain or geometry.dilation != 1 or geometry.groups != 1 or geometry.transposed:
        return None, x, dout
    return numpy_chapter.Convolution(w, b, geometry.stride, geometry.pad), x, dout


def _pooling(kind, shape, window, stride, dtype):
    (x,) = inputs.draw(dtype, shape)
    return (numpy_chapter.Pooling(window, window, stride) if kind == "max" else None), x
