"""A pass outside training, planned once and run on any number of batches.

Outside training a sample's scores do not depend on its batch. So a plan, which is a list of steps, takes a few images
through all layers before the next few, while what a step wrote is still in the cache for the next one; and each thread
takes images of its own, and does not wait for the others at every layer.

Layers that follow each other are one step where a kernel runs them together; their bits are those of the layers one by
one:

    Convolution, BatchNormalization, Relu       either of the last two may be missing
    Residual that ends with such a step, Relu   the shortcut is added there
    Convolution, Relu, Pooling(2, 2, stride=2)
    Affine, Relu

There is a plan only where each layer is one of cconv's own, with the forward it came with: layers are looked at each
time a plan is made, for one call of a network. What other layers do on a few images at a time, nobody knows.
"""

import threading
from collections import deque
from contextlib import nullcontext
from contextvars import copy_context
from functools import partial
from operator import is_
from typing import NamedTuple

import numpy as np

from .. import kernels
from .._arrays import as_input, is_ready
from .._threads import threads as using_threads
from ..functional import affine
from ..functional.fused import PreparedConvolution
from ..functional.normalization import normalization_table
from ..layers import Affine, BatchNormalization, Concatenate, Convolution, Pooling, Relu, Residual
from ..layers.affine import as_rows
from ..layers.branches import Branches
from ..layers.stack import call, known_kinds

__all__ = ["Plan", "plan"]

# Bytes that the images of one turn may take in the step that holds most of them: half of a second cache of 2 MiB. A
# fit: half and twice as much were slower in ResNet and MobileNet.
TURN_BYTES = 1 << 20
# Nanoseconds of work for which threads of Python's are begun, which take about 100 microseconds.
WORTH_THREADS = 1_000_000
COST = 0.25  # nanoseconds that one thread takes for a value of a layer's output, roughly

FORWARDS = {kind: kind.forward for kind in known_kinds().values()}
HALVING = Pooling(2, 2, stride=2).describe()


def _own(layer):
    """Say whether a layer is one of cconv's, with the forward it came with."""
    kind = type(layer)
    return kind in FORWARDS and kind.forward is FORWARDS[kind] and "forward" not in layer.__dict__


class Step(NamedTuple):
    """One call of a plan."""

    run: object  # of a batch
    size: int  # bytes that a sample takes, before and after it
    cost: float  # nanoseconds that one thread takes for a sample, roughly
    refreshes: tuple = ()  # what takes in what arrays hold now, and says whether that will do


class Joined:
    """A convolution, perhaps with normalization, to which a branch and relu may come."""

    def __init__(self, run, norm=None):
        self.run = run
        self.relu = False
        self._norm = norm

    def refresh(self):
        if self._norm is not None:
            normalization_table(*self._norm, out=self.run.table)
        return self.run.refresh()

    def __call__(self, x, branch=None):
        return self.run(x, branch, self.relu)


def plan(layers, x, kept):
    """Return a `Plan` of layers, a mapping, for batches like x, or None where a layer is not cconv's own.

    It is the one in `kept`, a deque, where nothing has changed but what arrays hold; whoever takes it out of there uses
    it alone, and may put it back.
    """
    key = x.shape[1:], x.dtype
    state = _state(layers, [])
    try:
        last = kept.pop()
    except IndexError:
        last = None
    if last is not None and last.key == key and _same(last.state, state) and last.refresh():
        return last
    made = _steps(list(layers.values()), np.zeros((1, *x.shape[1:]), x.dtype))
    return None if made is None else Plan(key, state, *made)


def _state(layers, state):
    """Collect all that a plan depends on, but for what arrays hold: compared by identity."""
    for layer in layers.values():
        kind = type(layer)
        state += layer, kind, getattr(kind, "forward", None)
        state += getattr(layer, "__dict__", {}).values()
        if isinstance(layer, Branches):
            for branch in layer.branches.values():
                _state(branch, state)
    return state


def _same(a, b):
    return len(a) == len(b) and all(map(is_, a, b))


class Plan:
    """What layers do outside training: call it with batches.

    The steps as far as there are images are taken in turns, a few images each, by all threads; the others, which are
    products of matrices, by all images at once.
    """

    def __init__(self, key, state, steps, images):
        self.key, self.state = key, state
        self._refreshes = [refresh for step in steps for refresh in step.refreshes]
        turns = steps[: images[0]] if images is not None and images[0] > 1 else []
        self._turns, self._rest = [step.run for step in turns], [step.run for step in steps[len(turns) :]]
        self._cost = sum(step.cost for step in turns)
        self._images = max(TURN_BYTES // max((step.size for step in turns), default=1), 1)
        self._shape, self._dtype = (None, None) if images is None else images[1:]

    def refresh(self):
        """Take in what arrays hold now; return whether that will do, or another plan is to be made."""
        return all(refresh() for refresh in self._refreshes)

    def __call__(self, x):
        return _through(self._rest, self._in_turns(x) if self._turns and len(x) > 1 else _through(self._turns, x))

    def _in_turns(self, x):
        count = len(x)
        threads = min(kernels.cpu.get_num_threads(), count, int(self._cost * count / WORTH_THREADS) + 1)
        # As many turns for each thread, of nearly as many images.
        turns = -(-count // (self._images * threads)) * threads
        if turns == 1:
            return _through(self._turns, x)
        out = kernels.memory.empty((count, *self._shape), self._dtype)
        turns = min(turns, count)
        parts = deque((i * count // turns, (i + 1) * count // turns) for i in range(turns))
        errors = []

        def work():
            try:
                while parts:
                    first, end = parts.popleft()
                    out[first:end] = _through(self._turns, x[first:end])
            except IndexError:
                pass  # another thread took the last one
            except BaseException as error:
                errors.append(error)
                parts.clear()

        helpers = _begun(threads - 1, work)
        try:
            with using_threads(1) if helpers else nullcontext():
                work()
        finally:
            parts.clear()
            for helper in helpers:
                helper.join()
        if errors:
            raise errors[0]
        return out


def _begun(count, work):
    """Begin threads that do some work each on one thread; fewer where no more can be had."""
    begun = []
    for _ in range(count):
        thread = threading.Thread(target=copy_context().run, args=(_alone, work), name="cconv predict", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            break
        begun.append(thread)
    return begun


def _alone(work):
    with using_threads(1):
        work()


def _through(runs, x):
    for run in runs:
        x = run(x)
    return x


def _steps(layers, x):
    """Return the steps of layers, and where images end among them: after how many steps, and as what.

    x stands for a batch of one. None if a layer is not cconv's own.
    """
    steps, images, place = [], None, 0
    while place < len(layers):
        layer = layers[place]
        if not _own(layer):
            return None
        made = MAKERS.get(type(layer), _single)(layers, place, x)
        if made is None:
            return None
        count, out, run, cost, *refreshes = made
        steps.append(Step(run, x.nbytes + out.nbytes, cost, tuple(refreshes)))
        if x.ndim == 4:
            images = len(steps), out.shape[1:], out.dtype
        x = out
        place += count
    return steps, images


# What makes a step of layers from a place on, x standing for a batch of one, returns how many layers that takes, the
# step's output for x, what runs it, what it costs, and what refreshes it.


def _single(layers, place, x):
    """A layer by itself."""
    run = partial(call, layers[place], train_flg=False)
    out = run(x)
    return 1, out, run, COST * out.size


def _follows(layers, place, kind):
    """Return the layer at a place if there is one of this kind, as it came, else None."""
    layer = layers[place] if place < len(layers) else None
    return layer if type(layer) is kind and _own(layer) else None


def _convolution(layers, place, x):
    """A convolution with relu and pooling, or normalization and relu, as far as they follow."""
    conv = layers[place]
    conv._expect_arrays()
    W, b = conv.W, conv.b
    if conv.algorithm != "direct" or not _alike(x.dtype, W, *[b] * (b is not None)):
        return _single(layers, place, x)
    settings = {"stride": conv.stride, "pad": conv.pad, "dilation": conv.dilation, "groups": conv.groups}
    pool = _follows(layers, place + 2, Pooling)
    if pool and pool.describe() == HALVING and _follows(layers, place + 1, Relu):
        run = prepared = PreparedConvolution(x.shape[1:], W, b, pooled=True, **settings)
        count = 3
    else:
        norm, count = _norm(layers, place + 1, W), 1
        table = None if norm is None else normalization_table(*norm)
        prepared = PreparedConvolution(x.shape[1:], W, b, table=table, **settings)
        run = Joined(prepared, norm)
        count += norm is not None
        run.relu = _follows(layers, place + count, Relu) is not None
        count += run.relu
    out = kernels.memory.empty((len(x), *prepared.shape), x.dtype)  # nobody looks at what it holds
    return count, out, run, prepared.cost, run.refresh


def _alike(dtype, *arrays):
    """Say whether kernels take all arrays as they are, in one dtype."""
    return all(is_ready(array) and array.dtype == dtype for array in arrays)


def _norm(layers, place, W):
    """Return gamma, beta, mean, variance and eps of a normalization of each channel that follows filters W, or None."""
    norm = _follows(layers, place, BatchNormalization)
    if norm is None:
        return None
    norm._expect_arrays()
    running = norm._running()
    fits = norm.gamma.size == len(W) and _alike(W.dtype, norm.gamma, norm.beta)
    # What is a copy would not follow a change in place.
    if not fits or running[0] is not norm.running_mean or running[1] is not norm.running_var:
        return None
    return norm.gamma, norm.beta, *running, norm.eps


def _affine(layers, place, x):
    """An affine layer, with relu if that follows."""
    layer = layers[place]
    if not _follows(layers, place + 1, Relu):
        return _single(layers, place, x)

    def run(x):
        layer._expect_arrays()
        return affine(as_rows(as_input(x, "x")), layer.W, layer.b, relu=True)

    out = run(x)
    return 2, out, run, COST * out.size


def _branches(layers, place, x):
    """Layers side by side: where a convolution ends the body of a residual block, it adds the shortcut."""
    layer = layers[place]
    made = [_steps(list(branch.values()), x) for branch in layer.branches.values()]
    if None in made:
        return None
    stacks = [steps for steps, _ in made]
    runs = [[step.run for step in steps] for steps in stacks]
    cost = sum(step.cost for steps in stacks for step in steps)
    refreshes = [refresh for steps in stacks for step in steps for refresh in step.refreshes]

    def run(x):
        return layer.join([_through(stack, x) for stack in runs])

    out = run(x)
    last = runs[0][-1] if type(layer) is Residual and runs[0] else None
    if not isinstance(last, Joined) or last.relu or out.dtype != x.dtype:
        return 1, out, run, cost, *refreshes
    body, shortcut = runs[0][:-1], runs[1]
    last.relu = _follows(layers, place + 1, Relu) is not None

    def run_with_branch(x):
        return last(_through(body, x), _through(shortcut, x))

    return 1 + last.relu, out, run_with_branch, cost, *refreshes


MAKERS = {Affine: _affine, Convolution: _convolution, Concatenate: _branches, Residual: _branches}
