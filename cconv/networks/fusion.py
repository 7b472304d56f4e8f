"""Layers that a network may run as one kernel: what is eligible, and the steps of a pass.

A network that owns a whole pass (`predict`, `accuracy`, `gradient`) sees layers that follow each other and have one
kernel together:

    Convolution, Relu, Pooling(2, 2, stride=2)    the convolution's output never exists for the whole batch
    Affine, Relu                                  one pass less

Their forward has the bits of the layers run one by one. Everything is looked up at each call, so that a layer that was
replaced, subclassed or overridden, on its class or on the object, is run as it is.
"""

from .._arrays import as_input
from ..functional import (
    affine,
    affine_backward,
    convolution_relu_max_pool,
    convolution_relu_max_pool_backward,
    relu_backward,
)
from ..layers import Affine, Convolution, Pooling, Relu
from ..layers.affine import as_rows
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
        length, run = FUSED.get(type(layer), ALONE)
        group = layers[place : place + length]
        done = run(group, x, keep) if len(group) == length > 1 else None
        if done is None:
            group = (layer,)
            if _runs_branches(layer):
                x = layer.forward(x, train_flg, run=forward)
            else:
                x = call(layer, x, train_flg)
            done = x, step_back(layer) if keep else None
        x, step = done
        place += len(group)
        if keep:
            steps.append((group, step))
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


def _convolution(group, x, keep):
    """Run a convolution, relu and pooling; return the output and the step back, or None where they do not fit."""
    conv, rectifier, pool = group
    if not (_plain(conv, Convolution) and _plain(rectifier, Relu) and _plain(pool, Pooling)):
        return None
    if conv.algorithm != "direct" or not _halves(pool):
        return None
    W, b, stride, pad, dilation, groups = conv.W, conv.b, conv.stride, conv.pad, conv.dilation, conv.groups
    try:
        result = convolution_relu_max_pool(
            x, W, b, stride=stride, pad=pad, dilation=dilation, groups=groups, return_argmax=keep
        )
    except (TypeError, ValueError):
        return None  # the layers, one by one, say what is wrong
    if not keep:
        return result, None
    _forget(*group)
    x = as_input(x, "x", 4)
    out, argmax = result

    def step(dout, input_gradient):
        settings = {"stride": stride, "pad": pad, "dilation": dilation, "groups": groups}
        wanted = {"input_gradient": input_gradient, "parameter_gradient": not conv.frozen}
        dx, conv.dW, db = convolution_relu_max_pool_backward(
            dout, out, argmax, x, W, **settings, bias=b is not None, **wanted
        )
        conv.db = in_dtype_of(b, db)
        return dx

    return out, step


def _affine(group, x, keep):
    """Run an affine layer and relu; return the output and the step back, or None where they do not fit."""
    layer, rectifier = group
    if not (_plain(layer, Affine) and _plain(rectifier, Relu)):
        return None
    W, b = layer.W, layer.b
    try:
        x = as_input(x, "x")
        rows = as_rows(x)
        out = affine(rows, W, b, relu=True)
    except (TypeError, ValueError):
        return None  # the layers, one by one, say what is wrong
    if not keep:
        return out, None
    _forget(*group)

    def step(dout, input_gradient):
        dout = relu_backward(dout, out).astype(out.dtype, copy=False)
        wanted = {"input_gradient": input_gradient, "parameter_gradient": not layer.frozen}
        dx, layer.dW, db = affine_backward(dout, rows, W, bias=b is not None, **wanted)
        layer.db = in_dtype_of(b, db)
        return None if dx is None else dx.reshape(x.shape)

    return out, step


HALVING = Pooling(2, 2, stride=2).describe()
# By the first layer of a group: how many there are, and how they run.
FUSED = {Convolution: (3, _convolution), Affine: (2, _affine)}
ALONE = 1, None
