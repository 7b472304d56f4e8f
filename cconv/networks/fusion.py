"""Layers that a network may run as one kernel: what is eligible, and the steps of a pass.

A network that owns a whole pass (`predict`, `accuracy`, `gradient`) sees layers that follow each other and have one
kernel together:

    Convolution, Relu, Pooling(2, 2, stride=2)    the convolution's output never exists for the whole batch
    Affine, Relu                                  one pass less

Their forward has the bits of the layers run one by one. Everything is looked up at each call, so that a layer that was
replaced, subclassed or overridden, on its class or on the object, is run as it is.
"""

import math

import numpy as np

from .._arrays import as_input
from ..functional import (
    affine,
    affine_backward,
    convolution_relu_max_pool,
    convolution_relu_max_pool_backward,
    relu_backward,
)
from ..geometry import window
from ..layers import Affine, Convolution, Pooling, Relu
from ..layers.branches import Branches
from ..layers.layer import in_dtype_of
from ..layers.stack import call, step_back

__all__ = ["forward"]

# The methods that the kernels stand for.
OWN = {layer: (layer.forward, layer.backward) for layer in (Affine, Convolution, Pooling, Relu)}
BRANCHES = Branches.forward


def forward(layers, x, train_flg):
    """Run layers as `cconv.layers.stack.forward` does, those together that have a kernel together.

    The stacks inside of `Branches` are run so as well.
    """
    layers = list(layers.values())
    steps = []
    place = 0
    while place < len(layers):
        for length, fits, run in FUSED:
            group = layers[place : place + length]
            if fits(group, x):
                x, step = run(*group, x)
                break
        else:
            length = 1
            layer = layers[place]
            if _runs_branches(layer):
                x = layer.forward(x, train_flg, run=forward)
            else:
                x = call(layer, x, train_flg)
            step = step_back(layer)
        steps.append(step)
        place += length
    return x, steps


def _runs_branches(layer):
    """Say whether a layer is one of branches that are run by the forward it came with."""
    return getattr(type(layer), "forward", None) is BRANCHES and "forward" not in layer.__dict__


def _plain(layer, kind):
    """Say whether a layer is exactly of this kind, with the forward and the backward it came with."""
    return (
        type(layer) is kind
        and (kind.forward, kind.backward) == OWN[kind]
        and "forward" not in layer.__dict__
        and "backward" not in layer.__dict__
    )


def _forget(*layers):
    """Drop what an earlier forward left: a layer's own backward would not go back through this pass."""
    for layer in layers:
        layer._saved = None


def _fits_convolution(group, x):
    if len(group) < 3:
        return False
    conv, rectifier, pool = group
    if not (_plain(conv, Convolution) and _plain(rectifier, Relu) and _plain(pool, Pooling)):
        return False
    if conv.algorithm != "direct" or pool.describe() != HALVING:
        return False
    W = conv.W
    fits = isinstance(W, np.ndarray) and W.ndim == 4 and getattr(x, "ndim", 0) == 4 and W.size
    if not fits or x.shape[1] != W.shape[1] * conv.groups:
        return False  # the layer says what is wrong
    place = window(*x.shape[2:], *W.shape[2:], conv.stride, conv.pad, conv.dilation)
    return place.out_h >= 2 and place.out_w >= 2


def _run_convolution(conv, rectifier, pool, x):
    x = as_input(x, "x", 4)
    settings = {"stride": conv.stride, "pad": conv.pad, "dilation": conv.dilation, "groups": conv.groups}
    out, argmax = convolution_relu_max_pool(x, conv.W, conv.b, **settings, return_argmax=True)
    W = conv.W

    def step(dout, input_gradient):
        _forget(conv, rectifier, pool)
        dx, conv.dW, db = convolution_relu_max_pool_backward(
            dout, out, argmax, x, W, **settings, bias=conv.b is not None, input_gradient=input_gradient
        )
        conv.db = in_dtype_of(conv.b, db)
        return dx

    return out, step


def _fits_affine(group, x):
    return len(group) == 2 and _plain(group[0], Affine) and _plain(group[1], Relu) and getattr(x, "ndim", 0) >= 2


def _run_affine(layer, rectifier, x):
    x = as_input(x, "x")
    rows = x if x.ndim == 2 else x.reshape(len(x), math.prod(x.shape[1:]))
    W = layer.W
    out = affine(rows, W, layer.b, relu=True)

    def step(dout, input_gradient):
        _forget(layer, rectifier)
        dout = relu_backward(dout, out).astype(out.dtype, copy=False)
        dx, layer.dW, db = affine_backward(dout, rows, W, bias=layer.b is not None, input_gradient=input_gradient)
        layer.db = in_dtype_of(layer.b, db)
        return None if dx is None else dx.reshape(x.shape)

    return out, step


HALVING = Pooling(2, 2, stride=2).describe()
FUSED = ((3, _fits_convolution, _run_convolution), (2, _fits_affine, _run_affine))
