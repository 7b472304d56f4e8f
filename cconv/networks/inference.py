"""A pass outside training, planned once and run on any number of batches.

Outside training a sample's scores do not depend on its batch. So a plan takes a few images through all convolutions
before the next few, while what one wrote is still in the cache for the next; and each thread takes images of its own,
and does not wait for the others at every layer.

A plan is a list of what is called with a batch. Layers that follow each other are one operation where a kernel runs
them together, and operations that follow each other one program (`cconv.kernels.program`); their bits are those of the
layers one by one:

    Convolution, BatchNormalization, Relu       either of the last two may be missing
    Residual that ends with such an operation   the shortcut is added there, and relu applied if it follows
    Convolution, Relu, Pooling(2, 2, stride=2)
    Affine, BatchNormalization, Relu            either of the last two may be missing

There is a plan only where each layer is one of cconv's own, with the forward it came with. That is looked at in each
call of a network; a plan is made again where a layer or a setting has changed. What arrays hold may change in place.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from .. import kernels
from .._arrays import as_input, is_ready, promote
from .._checks import positive
from ..functional.affine import run_affine
from ..functional.fused import PreparedConvolution
from ..functional.normalization import normalization_table
from ..layers import Affine, BatchNormalization, Concatenate, Convolution, Pooling, Relu, Residual
from ..layers.affine import as_rows
from ..layers.branches import Branches
from ..layers.layer import weights_of
from ..layers.stack import call, known_kinds, nested

__all__ = ["Plan", "plan"]

# Bytes that the images of one turn may take in a program's buffers: a quarter of a second cache of 2 MiB.
# A fit: `python -m benchmarks.tune --only turns`.
TURN_BYTES = 1 << 19

# Nanoseconds of an operation's work for each thread, on average, from which threads pay that share one image: what one
# wrote the others fetch from its cache, at every operation.
# A fit: `python -m benchmarks.tune --only order`.
SHARED_WORK = 10_000.0

FORWARDS = {kind: kind.forward for kind in known_kinds().values()}
JOINS = {kind: kind.join for kind in FORWARDS if issubclass(kind, Branches)}
HALVING = Pooling(2, 2, stride=2).describe()


def _own(layer):
    """Say whether a layer is one of cconv's, with the forward, and the join of its branches, that it came with.

    Its settings must be its own, not its class's, and nothing that changes in place, which nobody would see.
    """
    kind = type(layer)
    if kind not in FORWARDS or kind.forward is not FORWARDS[kind] or "forward" in layer.__dict__:
        return False
    if kind in JOINS:
        return kind.join is JOINS[kind] and "join" not in layer.__dict__
    try:
        settings = layer.describe()
    except Exception:  # of arrays that are none: the layer itself says what is wrong
        return False
    return all(name in layer.__dict__ and _is_fixed(layer.__dict__[name]) for name in settings)


def _is_fixed(setting):
    if isinstance(setting, tuple):
        return all(map(_is_fixed, setting))
    return not isinstance(setting, (list, dict, set, bytearray, np.ndarray))


def _halves(pool):
    """Say whether pooling takes the maxima of 2 x 2 pixels; what the layer would refuse, it is to refuse itself."""
    settings = pool.describe()
    return settings == HALVING and list(map(type, settings.values())) == list(map(type, HALVING.values()))


class Operation(NamedTuple):
    """One kernel of a program: the values it reads, adds (or -1) and writes, of which the program's input is 0."""

    prepared: PreparedConvolution
    source: int
    branch: int
    target: int
    relu: bool


class Step(NamedTuple):
    """What one layer, or several, do with a batch."""

    out: object  # like its output for a batch of one
    run: object = None  # of a batch, or
    operations: tuple = ()  # which have their output as the last target
    prepared: tuple = ()  # convolutions whose filters may change in place
    tables: tuple = ()  # of normalizations, each with what it is made of, which may change as well


class Program:
    """Operations that follow each other, run in turns of a few images."""

    def __init__(self, operations, out):
        self._run = kernels.program.Program([(op.prepared.run, *op[1:5]) for op in operations])
        self._costs = [op.prepared.cost for op in operations]
        self._images = max(TURN_BYTES // max(self._run.size, 1), 1)
        self._shape, self._dtype = out.shape[1:], out.dtype
        shares = int(sum(self._costs) / len(operations) / SHARED_WORK)
        self._most_threads = max(shares, 1) if len(operations) > 1 else math.inf

    def __call__(self, x):
        x = as_input(x, "x", 4)
        count, threads_for = len(x), kernels.cpu.threads_for
        out = kernels.memory.empty((count, *self._shape), self._dtype)
        if count > 1 and len(self._costs) > 1:
            threads = min(threads_for(sum(self._costs) * count), count)
            # As many turns for each thread, of nearly as many images.
            turns = min(-(-count // (self._images * threads)) * threads, count)
            self._run(x, out, turns, threads)
        else:
            most = self._most_threads
            self._run(x, out, 0, [min(threads_for(cost * count), most) for cost in self._costs])
        return out


def plan(layers, x, kept):
    """Return a `Plan` of layers, a mapping, for batches like x, or None where a layer is not cconv's own.

    It is the one in `kept`, a deque, where nothing has changed but what arrays hold; whoever takes it out of there uses
    it alone, and may put it back.
    """
    key = x.shape[1:], x.dtype
    try:
        last = kept.pop()
    except IndexError:
        last = None
    if (
        last is not None
        and last.key == key
        and kernels.program.has_state(layers, Branches, last.state)
        and last.refresh()
    ):
        return last
    state = kernels.program.state_of(layers, Branches)
    nested(layers)
    made = _steps(list(layers.values()), np.zeros((1, *x.shape[1:]), x.dtype))
    return None if made is None else Plan(key, state, made)


class Plan:
    """What layers do outside training: call it with batches."""

    def __init__(self, key, state, steps):
        self.key, self.state = key, state
        self._runs = _joined(steps)
        self._prepared, self._tables = _changing(steps)
        self._calls = np.array([prepared.run.call for prepared in self._prepared], np.uintp)
        self._look_cost = sum(prepared.look_cost for prepared in self._prepared)
        self._arrays = [array for prepared in self._prepared for array in prepared.arrays]
        self._arrays += [array for _, *norm, _ in self._tables for array in norm]
        self._views = [array.view() for array in self._arrays]

    def refresh(self):
        """Take in what arrays hold now; return whether that will do, or another plan is to be made."""
        if not kernels.memory.are_where_they_were(self._arrays, self._views):
            return False
        for table, gamma, beta, mean, var, eps in self._tables:
            kernels.norm.batch_norm_table(mean, var, gamma, beta, eps, table)
        changed = kernels.program.changed(self._calls, kernels.cpu.threads_for(self._look_cost))
        return all(self._prepared[place].refresh() for place in changed)

    def __call__(self, x):
        return _through(self._runs, x)


def _changing(steps):
    """Return what of steps may change in place: their prepared convolutions and their tables."""
    return tuple(p for step in steps for p in step.prepared), tuple(t for step in steps for t in step.tables)


def _joined(steps):
    """Return what steps run, those of operations that follow each other as one program."""
    runs, rest = [], list(steps)
    while rest:
        step = rest.pop(0)
        if step.run is not None:
            runs.append(step.run)
            continue
        several = [step]
        while rest and rest[0].run is None:
            several.append(rest.pop(0))
        operations = []
        _append(operations, several)
        runs.append(Program(operations, several[-1].out))
    return runs


def _append(operations, steps, value=0):
    """Append what steps do from a value on; return the value that they write last. Values are written in order."""
    for step in steps:
        before, values = len(operations), {-1: -1, 0: value}
        for op in step.operations:
            value = values[op.target] = before + op.target
            operations.append(op._replace(source=values[op.source], branch=values[op.branch], target=value))
    return value


def _ready(array):
    return array if is_ready(array) else as_input(array, "a branch's output")


def _through(runs, x):
    for run in runs:
        x = run(x)
    return x


def _steps(layers, x):
    """Return the steps of layers, x standing for a batch of one, or None if one of them is not cconv's own."""
    steps, place = [], 0
    while place < len(layers):
        if not _own(layers[place]):
            return None
        made = MAKERS.get(type(layers[place]), _single)(layers, place, x)
        if made is None:
            return None
        count, step = made
        steps.append(step)
        x = step.out
        place += count
    return steps


# What makes a step of layers from a place on, x standing for a batch of one, returns how many layers that takes, and
# the step.


def _single(layers, place, x):
    """A layer by itself."""
    run = partial(call, layers[place], train_flg=False)
    return 1, Step(_like_output(layers[place], run, x), run)


def _like_output(layer, run, x):
    """Return an array like what a layer makes of x: what says its shape is not run, nor its arrays looked at."""
    if x.dtype.kind != "f":
        return run(x)
    arrays = [getattr(layer, name) for name in layer.param_names]
    try:
        shape = layer.output_shape(x.shape[1:])
    except ValueError:
        return run(x)  # which says what is wrong
    dtype = np.result_type(x.dtype, *(np.asarray(array).dtype for array in arrays if array is not None))
    return kernels.memory.empty((1, *shape), dtype)


def _follows(layers, place, kind):
    """Return the layer at a place if there is one of this kind, as it came, else None."""
    layer = layers[place] if place < len(layers) else None
    return layer if type(layer) is kind and _own(layer) else None


def _convolution(layers, place, x):
    """A convolution with relu and pooling, or normalization and relu, as far as they follow."""
    conv = layers[place]
    conv._expect_arrays()
    W, b = conv.W, conv.b
    if conv.algorithm != "direct" or not _weights_fit(x.dtype, W, b, 4, 0):
        return _single(layers, place, x)
    settings = {"stride": conv.stride, "pad": conv.pad, "dilation": conv.dilation, "groups": conv.groups}
    pool = _follows(layers, place + 2, Pooling)
    norm, relu, count = None, False, 3
    if pool and _halves(pool) and _follows(layers, place + 1, Relu):
        prepared = PreparedConvolution(x.shape[1:], W, b, pooled=True, **settings)
    else:
        norm = _norm(layers, place + 1, W.dtype, len(W))
        table = None if norm is None else normalization_table(*norm)
        prepared = PreparedConvolution(x.shape[1:], W, b, table=table, **settings)
        count = 1 if norm is None else 2
        relu = _follows(layers, place + count, Relu) is not None
        count += relu
    out = kernels.memory.empty((len(x), *prepared.shape), x.dtype)  # nobody looks at what it holds
    changing = (prepared,), () if norm is None else ((table, *norm),)
    if prepared.pads:
        return count, Step(out, lambda x: prepared(x, None, relu), (), *changing)
    return count, Step(out, None, (Operation(prepared, 0, -1, 1, relu),), *changing)


def _alike(dtype, *arrays):
    """Say whether kernels take all arrays as they are, in one dtype."""
    return all(is_ready(array) and array.dtype == dtype for array in arrays)


def _weights_fit(dtype, W, b, ndim, axis):
    """Say whether kernels take weights of so many dimensions, with outputs along an axis, and a bias as they are."""
    if not _alike(dtype, W) or W.ndim != ndim:
        return False
    return b is None or (_alike(dtype, b) and b.shape == (W.shape[axis],))


def _norm(layers, place, dtype, channels):
    """Return gamma, beta, mean, variance and eps of a normalization of so many channels at a place, or None."""
    norm = _follows(layers, place, BatchNormalization)
    if norm is None or not norm.takes_train_flg:
        return None
    norm._expect_arrays()
    running = norm._running()
    try:
        positive(norm.eps, "eps")
    except (TypeError, ValueError):
        return None  # the layer refuses it
    fits = _alike(dtype, norm.gamma, norm.beta) and norm.gamma.shape == norm.beta.shape == (channels,)
    # What is a copy would not follow a change in place.
    if not fits or running[0] is not norm.running_mean or running[1] is not norm.running_var:
        return None
    return norm.gamma, norm.beta, *running, norm.eps


def _affine(layers, place, x):
    """An affine layer, with normalization and relu as far as they follow."""
    layer = layers[place]
    W, b = layer.W, layer.b
    norm = table = None
    if _follows(layers, place + 1, BatchNormalization) and _weights_fit(x.dtype, W, b, 2, 1):
        norm = _norm(layers, place + 1, x.dtype, W.shape[1])
    if norm is not None:
        table = normalization_table(*norm)
    count = 1 if norm is None else 2
    relu = _follows(layers, place + count, Relu) is not None
    count += relu
    if count == 1:
        return _single(layers, place, x)

    def run(x):
        W, b = weights_of(layer, 2)
        return run_affine(*promote(as_rows(as_input(x, "x")), W, b), table=table, relu=relu)

    return count, Step(_like_output(layer, run, x), run, tables=() if norm is None else ((table, *norm),))


def _branches(layers, place, x):
    """Layers side by side: where a convolution ends the body of a residual block, it adds the shortcut."""
    layer = layers[place]
    stacks = [_steps(list(branch.values()), x) for branch in layer.branches.values()]
    if None in stacks:
        return None
    changing = _changing([step for steps in stacks for step in steps])
    outs = [steps[-1].out if steps else x for steps in stacks]
    last = stacks[0][-1].operations[-1:] if stacks[0] else ()
    one_program = (
        type(layer) is Residual
        and len(stacks) == 2
        and not any(step.run for steps in stacks for step in steps)
        and all(op.branch == -1 and not op.relu and not op.prepared.pooled for op in last)
        and last
        and len({(out.shape, out.dtype) for out in outs}) == 1
    )
    if not one_program:
        runs = [_joined(steps) for steps in stacks]

        def run(x):
            x = as_input(x, "x")
            return layer.join([_ready(_through(stack, x)) for stack in runs])

        return 1, Step(layer.join(outs), run, (), *changing)
    operations = []
    branch = _append(operations, stacks[1])
    _append(operations, stacks[0])
    relu = _follows(layers, place + 1, Relu) is not None
    operations[-1] = operations[-1]._replace(branch=branch, relu=relu)
    return 1 + relu, Step(outs[0], None, tuple(operations), *changing)


MAKERS = {Affine: _affine, Convolution: _convolution, Concatenate: _branches, Residual: _branches}
