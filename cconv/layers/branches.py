"""Stacks of layers side by side over one input: what Residual and Concatenate share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from numpy.typing import ArrayLike

from .._arrays import as_input, is_ready
from .._checks import flag, mapping
from .._showing import in_lines
from .._typing import DType, Floats, LayerLike, Layers, MaybeFloats, Rng, Shape
from ..functional.joining import run_add
from .layer import Layer
from .stack import (
    BuildError,
    backward,
    build,
    describe,
    forward,
    lines_of,
    multiply_adds,
    named,
    nested,
    output_shapes,
    smallest_batch,
    undone,
)

__all__ = ["Branches"]


class Branches(Layer):
    """Run stacks of layers side by side, each on the whole input, and join what they make of it.

    A subclass says how: `join` makes one output of theirs, `split` one gradient for each of the output's, and
    `join_shapes` does for shapes what `join` does for arrays.

    Parameters
    ----------
    branches : mapping of str to (list of Layer or (str, Layer), or mapping of str to Layer)
        A stack without layers hands on the input.

    Shape
    -----
    x : what the first layer of each branch takes
    out : what `join_shapes` says

    Attributes
    ----------
    branches : dict of str to OrderedDict of str to Layer
    layers : OrderedDict of str to Layer
        Those of all branches, under the names of their branch and their own: body.conv1, ...

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.
    """

    takes_train_flg = True
    branches: dict[str, OrderedDict[str, LayerLike]]

    def __init__(self, branches: Mapping[str, Layers]) -> None:
        self.branches = {
            name: named(layers, f"branches[{name!r}]") for name, layers in mapping(branches, "branches").items()
        }

    @property
    def layers(self) -> OrderedDict[str, LayerLike]:
        return OrderedDict(
            (f"{branch}.{name}", layer) for branch, layers in self.branches.items() for name, layer in layers.items()
        )

    def join(self, outs: Sequence[Floats]) -> Floats:
        """Return the branches' outputs made into one."""
        raise NotImplementedError(f"{type(self).__name__} must define join(outs)")

    def split(self, dout: Floats, shapes: Sequence[Shape]) -> Sequence[Floats]:
        """Return the gradients of the branches' outputs, which had these shapes."""
        raise NotImplementedError(f"{type(self).__name__} must define split(dout, shapes)")

    def join_shapes(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape of what `join` makes of outputs of these shapes, all without the batch."""
        raise NotImplementedError(f"{type(self).__name__} must define join_shapes(shapes)")

    def build(self, input_shape: Shape, rng: Rng, dtype: DType) -> Shape:
        def built():
            return self._joined(input_shape, lambda layers: build(layers, input_shape, rng, dtype))

        return undone([layer for _, layer in nested(self.layers)], built, rng)

    def output_shape(self, input_shape: Shape) -> Shape:
        return self._joined(input_shape, lambda layers: output_shapes(layers, input_shape))

    def _joined(self, input_shape, through):
        """Return the output's shape; `through` returns the output shape of each layer of a branch."""
        shapes = []
        for branch, layers in self.branches.items():
            try:
                shapes.append([tuple(input_shape), *through(layers).values()][-1])
            except BuildError as error:
                raise error.inside(branch) from None
        return self.join_shapes(shapes)

    def multiply_adds(self, input_shape: Shape) -> int:
        return sum(multiply_adds(layers, input_shape) for layers in self.branches.values())

    def smallest_batch(self, input_shape: Shape) -> int:
        return max((smallest_batch(layers, input_shape) for layers in self.branches.values()), default=1)

    def forward(self, x: ArrayLike, train_flg: bool | None = None, *, run: Callable[..., Any] = forward) -> Floats:
        """Return what the branches make of x.

        Parameters
        ----------
        x : ndarray
        train_flg : bool, optional
            Handed to the layers that ask for it; `training` when not given.
        run : callable
            How a stack is run, as `cconv.layers.stack.forward` does; a network that owns the whole pass has its own.

        Raises
        ------
        TypeError, ValueError
            If an argument, or what a layer is given, does not fit.
        """
        if train_flg is None:
            train_flg = self.training
        train_flg = flag(train_flg, "train_flg")
        if not callable(run):
            raise TypeError(f"run must be a function, got {run!r}")
        if run is forward:  # what a network runs by its own, it has looked at
            nested(self.layers)
        x = as_input(x, "x")
        results = [run(layers, x, train_flg) for layers in self.branches.values()]
        outs = [
            out if out is x or is_ready(out) else as_input(out, f"the output of {branch!r}")
            for branch, (out, _) in zip(self.branches, results, strict=True)
        ]
        joined = self.join(outs)
        self._saved = [steps for _, steps in results], [out.shape for out in outs], joined.shape, x.dtype
        return joined

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        input_gradient = flag(input_gradient, "input_gradient")
        stacks, shapes, shape, dtype = self._recall()
        dout = as_input(dout, "dout")
        if dout.shape != shape:
            raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")
        total = None
        for steps, part in zip(stacks, self.split(dout, shapes), strict=True):
            dx = backward(steps, part, input_gradient)
            if input_gradient:
                dx = dx if dx is dout else as_input(dx, "dx")  # a part of dout may be strided
                total = dx if total is None else run_add(total, dx)
        return None if total is None else total.astype(dtype, copy=False)

    def describe(self) -> dict[str, Any]:
        return {"branches": [[name, describe(layers)] for name, layers in self.branches.items()]}

    def __repr__(self) -> str:
        lines: list[tuple[str, str]] = []
        for branch, layers in self.branches.items():
            lines += lines_of(layers, f"{branch}.") or [(branch, "its input")]
        return in_lines(type(self).__name__, lines)

    @classmethod
    def from_description(cls, settings: dict[str, Any], make_layers: Callable[..., Any]) -> Self:
        return cls._of({name: make_layers(layers) for name, layers in settings["branches"]})

    @classmethod
    def _of(cls, branches):
        """Return an object of these branches, by the class's own arguments."""
        return cls(branches)
