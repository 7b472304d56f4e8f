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


def forward(layers, x, train_flg, keep=True):
    """Run layers as `cconv.layers.stack.forward` does, those together that have a kernel together.

    The stacks inside of `Branches` are run so as well. Without `keep`, what only a backward pass would need is not
    computed where it can be left out, and there are no steps.
    """
    layers = list(layers.values())
    steps = [] if keep else None
    place = 0
    while place < len(layers):
        layer = layers[place]
        fused = FUSED.get(type(layer))
        if fused is not None:
            length, fits, run = fused
            group = layers[place : place + length]
            if len(group) == length and fits(*group, x):
                x, step = run(*group, x, keep)
                place += length
                if keep:
                    steps.append((group, step))
                continue
        if _runs_branches(layer):
            x = layer.forward(x, train_flg, run=forward)
        else:
            x = call(layer, x, train_flg)
        place += 1
        if keep:
            steps.append(((layer,), step_back(layer)))
    return x, steps


def _runs_branches(layer):
    """Say whether a layer is one of branches that are run by the forward it came with."""
    return getattr(type(layer), "forward", None) is BRANCHES and "forward" not in layer.__dict__


def _plain(layer, kind):
    """Say whether a layer is exactly of this kind, with the forward and the backward it came with."""
    if type(layer) is not kind or (kind.forward, kind.backward) != OWN[kind]:
        return False
    own = layer.__dict__
    return "forward" not in own and "backward" not in own


def _forget(*layers):
    """Drop what an earlier forward left: a layer's own backward would not go back through this pass."""
    for layer in layers:
        layer._saved = None


def _halves(pool):
    """Say whether pooling is over 2 x 2 windows side by side, without padding."""
    settings = pool.pool_h, pool.pool_w, pool.stride, pool.pad, pool.dilation, pool.ceil_mode
    return settings == (2, 2, 2, 0, 1, False) or pool.describe() == HALVING  # the first is quick, and usual


def _fits_convolution(conv, rectifier, pool, x):
    if not (_plain(conv, Convolution) and _plain(rectifier, Relu) and _plain(pool, Pooling)):
        return False
    if conv.algorithm != "direct" or not _halves(pool):
        return False
    W = conv.W
    if not isinstance(W, np.ndarray) or W.ndim != 4 or getattr(x, "ndim", 0) != 4:
        return False  # the layer says what is wrong
    (_, channels, height, width), (filters, own, filter_h, filter_w) = x.shape, W.shape
    if not filters or not own or channels != own * conv.groups:
        return False
    place = window(height, width, filter_h, filter_w, conv.stride, conv.pad, conv.dilation)
    return place.out_h >= 2 and place.out_w >= 2


def _run_convolution(conv, rectifier, pool, x, keep):
    settings = {"stride": conv.stride, "pad": conv.pad, "dilation": conv.dilation, "groups": conv.groups}
    if not keep:
        return convolution_relu_max_pool(x, conv.W, conv.b, **settings), None
    x, W = as_input(x, "x", 4), conv.W
    out, argmax = convolution_relu_max_pool(x, W, conv.b, **settings, return_argmax=True)

    _forget(conv, rectifier, pool)

    def step(dout, input_gradient):
        wanted = {"input_gradient": input_gradient, "parameter_gradient": not conv.frozen}
        dx, conv.dW, db = convolution_relu_max_pool_backward(
            dout, out, argmax, x, W, **settings, bias=conv.b is not None, **wanted
        )
        conv.db = in_dtype_of(conv.b, db)
        return dx

    return out, step


def _fits_affine(layer, rectifier, x):
    return _plain(layer, Affine) and _plain(rectifier, Relu) and getattr(x, "ndim", 0) >= 2


def _run_affine(layer, rectifier, x, keep):
    x = as_input(x, "x")
    rows = x if x.ndim == 2 else x.reshape(len(x), math.prod(x.shape[1:]))
    W = layer.W
    out = affine(rows, W, layer.b, relu=True)
    if not keep:
        return out, None

    _forget(layer, rectifier)

    def step(dout, input_gradient):
        dout = relu_backward(dout, out).astype(out.dtype, copy=False)
        wanted = {"input_gradient": input_gradient, "parameter_gradient": not layer.frozen}
        dx, layer.dW, db = affine_backward(dout, rows, W, bias=layer.b is not None, **wanted)
        layer.db = in_dtype_of(layer.b, db)
        return None if dx is None else dx.reshape(x.shape)

    return out, step


HALVING = Pooling(2, 2, stride=2).describe()
# By the first layer of a group: how many there are, whether they fit, and how they run.
FUSED = {Convolution: (3, _fits_convolution, _run_convolution), Affine: (2, _fits_affine, _run_affine)}
