"""Layers that a network may run as one kernel: what is eligible, and the steps of a pass.

A network that owns a whole pass (`predict`, `loss`, `accuracy`, `gradient`) sees layers that follow each other and have
one kernel together:

    Convolution, Relu, Pooling(2, 2, stride=2)    the convolution's output never exists for the whole batch
    Affine, Relu                                  one pass less
    BatchNormalization, Relu                      one pass less, and one less back
    Residual that ends with a normalization       that adds the shortcut, and applies relu if it follows

Their forward has the bits of the layers run one by one, for any input; only the sign of a NaN, which arithmetic leaves
open, may be another. Which of them run together follows from their kinds and settings alone: an error of a kernel, or
of its door, is one of the pass. Everything is looked up at each call, so that a layer that was replaced, subclassed or
overridden, on its class or on the object, is run as it is.
"""

from functools import partial

from .. import kernels
from .._arrays import as_input, in_dtype_of, promote
from ..functional import activation
from ..functional.affine import run_affine, run_affine_backward
from ..functional.fused import run_convolution_relu_max_pool, run_convolution_relu_max_pool_backward
from ..functional.joining import run_add
from ..layers import Affine, BatchNormalization, Convolution, Pooling, Relu, Residual
from ..layers.affine import as_rows
from ..layers.branches import Branches
from ..layers.layer import weights_of
from ..layers.stack import backward, call, step_back, trains

__all__ = ["forward"]

# The methods that the kernels stand for.
AFFINE, CONVOLUTION, NORMALIZATION, POOLING, RELU, RESIDUAL = (
    (kind, kind.forward, kind.backward) for kind in (Affine, Convolution, BatchNormalization, Pooling, Relu, Residual)
)
BRANCHES, JOIN, SPLIT = Branches.forward, Residual.join, Residual.split


def forward(layers, x, train_flg, keep=True):
    """Run layers as `cconv.layers.stack.forward` does, those together that have a kernel together.

    The stacks inside of `Branches` are run so as well. Without `keep`, what only a backward pass would need is not
    computed where it can be left out, and there are no steps.
    """
    return _run(list(layers.values()), x, train_flg, keep)


def _run(layers, x, train_flg, keep):
    steps = [] if keep else None
    inside = partial(forward, keep=keep)
    place = 0
    while place < len(layers):
        layer = layers[place]
        run = FUSED.get(type(layer))
        done = None if run is None else run(layers, place, x, train_flg, keep)
        if done is not None:
            group, x, step = done
        else:
            group = (layer,)
            if _runs_branches(layer):
                x = layer.forward(x, train_flg, run=inside)
            else:
                x = call(layer, x, train_flg)
            step = step_back(layer) if keep else None
        place += len(group)
        if keep:
            steps.append((group, step))
    return x, steps


def _runs_branches(layer):
    """Say whether a layer is one of branches that are run by the forward it came with."""
    return getattr(type(layer), "forward", None) is BRANCHES and "forward" not in layer.__dict__


def _joins_as_it_came(block):
    """Say whether a residual block adds up its two branches as its class came to do it."""
    own = block.__dict__
    if len(block.branches) != 2:
        return False
    return Residual.join is JOIN and Residual.split is SPLIT and "join" not in own and "split" not in own


def _plain(layer, methods):
    """Say whether a layer is exactly of a kind, with the forward and the backward it came with."""
    kind, forward, backward = methods
    own = layer.__dict__
    return (
        type(layer) is kind
        and kind.forward is forward
        and kind.backward is backward
        and "forward" not in own
        and "backward" not in own
    )


def _plain_norm(layer):
    return _plain(layer, NORMALIZATION) and layer.takes_train_flg


def _halves(pool):
    """Say whether pooling is over 2 x 2 windows side by side, without padding."""
    settings = pool.pool_h, pool.pool_w, pool.stride, pool.pad, pool.dilation, pool.ceil_mode
    return settings == (2, 2, 2, 0, 1, False) or pool.describe() == HALVING  # the first is quick, and usual


def _convolution(layers, place, x, train_flg, keep):
    """Run a convolution, relu and pooling; return them, the output and the step back, or None where they do not fit."""
    if len(layers) < place + 3:
        return None
    conv, rectifier, pool = group = layers[place : place + 3]
    if not (_plain(conv, CONVOLUTION) and _plain(rectifier, RELU) and _plain(pool, POOLING)):
        return None
    if conv.algorithm != "direct" or not _halves(pool):
        return None
    x = as_input(x, "x", 4)
    W, b = weights_of(conv, 4)
    settings = {"stride": conv.stride, "pad": conv.pad, "dilation": conv.dilation, "groups": conv.groups}
    out, argmax = run_convolution_relu_max_pool(*promote(x, W, b), **settings, return_argmax=keep)
    if not keep:
        return group, out, None
    return group, out, partial(_convolution_back, conv, out, argmax, x, W, settings)


def _convolution_back(conv, out, argmax, x, W, settings, dout, input_gradient):
    wanted = {"bias": conv.b is not None, "input_gradient": input_gradient, "parameter_gradient": not conv.frozen}
    dout = as_input(dout, "dout", 4)
    dx, dW, db = run_convolution_relu_max_pool_backward(dout, out, argmax, x, W, **settings, **wanted)
    conv.dW, conv.db = in_dtype_of(conv.W, dW), in_dtype_of(conv.b, db)
    return dx


def _affine(layers, place, x, train_flg, keep):
    """Run an affine layer and relu; return them, the output and the step back, or None where they do not fit."""
    if len(layers) < place + 2:
        return None
    layer, rectifier = group = layers[place : place + 2]
    if not (_plain(layer, AFFINE) and _plain(rectifier, RELU)):
        return None
    x = as_input(x, "x")
    W, b = weights_of(layer, 2)
    rows = as_rows(x)
    out = run_affine(*promote(rows, W, b), relu=True)
    if not keep:
        return group, out, None
    return group, out, partial(_affine_back, layer, out, rows, x.shape, W)


def _affine_back(layer, out, rows, shape, W, dout, input_gradient):
    dout = activation.RELU.run_backward(as_input(dout, "dout"), out).astype(out.dtype, copy=False)
    dx, dW, db = run_affine_backward(dout, rows, W, layer.b is not None, input_gradient, not layer.frozen)
    layer.dW, layer.db = in_dtype_of(layer.W, dW), in_dtype_of(layer.b, db)
    return None if dx is None else dx.reshape(shape)


def _normalization(layers, place, x, train_flg, keep):
    """Run batch normalization and relu; return them, the output and the step back, or None where they do not fit."""
    if len(layers) < place + 2:
        return None
    norm, rectifier = group = layers[place : place + 2]
    if not (_plain_norm(norm) and _plain(rectifier, RELU)):
        return None
    out, mask, saved = norm._run(as_input(x, "x"), train_flg, relu=True, keep=keep)
    if not keep:
        return group, out, None
    return group, out, partial(_normalization_back, norm, saved, mask, out.shape, out.dtype)


def _normalization_back(norm, saved, mask, shape, dtype, dout, input_gradient):
    return norm._run_backward(saved, _gradient_of(dout, shape, dtype), input_gradient, mask)


def _gradient_of(dout, shape, dtype):
    dout = as_input(dout, "dout")
    if dout.shape != shape:
        raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")
    return dout if dtype is None else dout.astype(dtype, copy=False)


def _residual(layers, place, x, train_flg, keep):
    """Run a residual block whose body ends with batch normalization, which adds the shortcut, and relu if it follows.

    Return them, the output and the step back, or None where they do not fit.
    """
    block = layers[place]
    body = list(block.body.values())
    if not (_plain(block, RESIDUAL) and _joins_as_it_came(block) and body and _plain_norm(body[-1])):
        return None
    norm = body[-1]
    x = as_input(x, "x")
    before, steps = _run(body[:-1], x, train_flg, keep)
    branch, branch_steps = _run(list(block.shortcut.values()), x, train_flg, keep)
    before, branch = as_input(before, "x"), as_input(branch, "the output of 'shortcut'")
    alike = branch.shape == before.shape and branch.dtype == promote(before, *norm._scales())[0].dtype
    relu = alike and place + 1 < len(layers) and _plain(layers[place + 1], RELU)
    out, mask, saved = norm._run(before, train_flg, branch if alike else None, relu, keep)
    if not alike:
        out = block.join((out, branch))
    group = layers[place : place + 1 + relu]
    if not keep:
        return group, out, None
    return group, out, partial(_residual_back, norm, saved, mask, steps, branch_steps, out.shape, out.dtype, x.dtype)


def _residual_back(norm, saved, mask, steps, branch_steps, shape, out_dtype, dtype, dout, input_gradient):
    # What relu hands on has its output's dtype; without it dout is taken as it comes.
    dout = _gradient_of(dout, shape, None if mask is None else out_dtype)
    part = dout if mask is None else kernels.memory.empty(shape, out_dtype)
    wanted = input_gradient or any(trains(group) for group, _ in steps)
    dx = norm._run_backward(saved, dout, wanted, mask, None if mask is None else part)
    dx = backward(steps, dx, input_gradient)
    part = backward(branch_steps, part, input_gradient)
    return run_add(as_input(dx, "dx"), as_input(part, "dx")).astype(dtype, copy=False) if input_gradient else None


HALVING = Pooling(2, 2, stride=2).describe()
# By the first layer of a group.
FUSED = {Affine: _affine, BatchNormalization: _normalization, Convolution: _convolution, Residual: _residual}
