"""Branches side by side."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from .._typing import Floats, Layers, Shape
from ..functional.joining import run_concatenate
from .branches import Branches
from .layer import expect_channels

__all__ = ["Concatenate"]


class Concatenate(Branches):
    r"""Put side by side, along the channels, what branches of layers make of x.

    .. math:: out = [branch1(x), branch2(x), ...]

    As in the modules of Szegedy et al. (arXiv 1409.4842); with a branch that is x itself, as in the dense blocks of
    Huang et al. (arXiv 1608.06993).

    Parameters
    ----------
    *branches : list of Layer or (str, Layer), or mapping of str to Layer
        An empty one is x itself.

    Shape
    -----
    x : what each branch takes
    out : (N, sum of the branches' C, ...), of branches that give (N, C, ...)

    Attributes
    ----------
    layers : OrderedDict of str to Layer
        Those of all branches, as branch1.conv1, branch2.conv1, ...

    Raises
    ------
    ValueError
        If there is no branch, or their shapes differ beside the channels.

    Examples
    --------
    >>> Concatenate([], [Relu()]).forward(np.array([[-1.0, 2.0]]))
    array([[-1.,  2.,  0.,  2.]])
    """

    def __init__(self, *branches: Layers) -> None:
        if not branches:
            raise ValueError("branches must be at least one list of layers, got none")
        super().__init__({f"branch{number}": layers for number, layers in enumerate(branches, 1)})

    @classmethod
    def _of(cls, branches):
        return cls(*branches.values())

    def join(self, outs: Sequence[Floats]) -> Floats:
        if any(out.ndim < 2 for out in outs):
            shapes = ", ".join(str(out.shape) for out in outs)
            raise ValueError(f"x must give each branch an output of 2 dimensions or more, got shapes {shapes}")
        return run_concatenate(outs)

    def split(self, dout: Floats, shapes: Sequence[Shape]) -> Sequence[Floats]:
        ends = list(itertools.accumulate(shape[1] for shape in shapes))
        return [dout[:, start:end] for start, end in itertools.pairwise([0, *ends])]

    def join_shapes(self, shapes: Sequence[Shape]) -> Shape:
        if any(shape[1:] != shapes[0][1:] for shape in shapes):
            words = " and ".join(map(str, shapes))
            raise ValueError(f"expects branches of one shape beside their channels, gets {words}")
        return sum(map(expect_channels, shapes)), *shapes[0][1:]
