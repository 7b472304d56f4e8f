"""The sum of two branches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from .._typing import Floats, LayerLike, Layers, Shape
from ..functional.joining import run_add
from .branches import Branches
from .stack import named

__all__ = ["Residual"]


class Residual(Branches):
    r"""Add what a body of layers makes of x to x, or to a shortcut of it (He et al., arXiv 1512.03385).

    .. math:: out = body(x) + shortcut(x)

    Parameters
    ----------
    body : list of Layer or (str, Layer), or mapping of str to Layer
    shortcut : the same, optional
        x itself when not given.

    Shape
    -----
    x : what body and shortcut take
    out : that of both branches' outputs, which is one

    Attributes
    ----------
    body, shortcut : OrderedDict of str to Layer
    layers : OrderedDict of str to Layer
        Those of both branches, as body.conv1, shortcut.conv1, ...

    Raises
    ------
    ValueError
        If the branches give different shapes.

    Examples
    --------
    >>> Residual([Relu()]).forward(np.array([[-1.0, 2.0]]))
    array([[-1.,  4.]])
    """

    def __init__(self, body: Layers, shortcut: Layers = ()) -> None:
        # By the names of the arguments, in place of what `Branches` would call them.
        self.branches = {"body": named(body, "body"), "shortcut": named(shortcut, "shortcut")}

    @property
    def body(self) -> OrderedDict[str, LayerLike]:
        return self.branches["body"]

    @property
    def shortcut(self) -> OrderedDict[str, LayerLike]:
        return self.branches["shortcut"]

    @classmethod
    def _of(cls, branches):
        return cls(**branches)

    def join(self, outs: Sequence[Floats]) -> Floats:
        if len(outs) != 2:
            raise ValueError(f"branches must be 'body' and 'shortcut', got {', '.join(map(repr, self.branches))}")
        body, shortcut = outs
        if body.shape != shortcut.shape:
            raise ValueError(f"body and shortcut must give one shape, got {body.shape} and {shortcut.shape}")
        return run_add(body, shortcut)

    def split(self, dout: Floats, shapes: Sequence[Shape]) -> Sequence[Floats]:
        return dout, dout

    def join_shapes(self, shapes: Sequence[Shape]) -> Shape:
        if shapes[0] != shapes[1]:
            raise ValueError(f"expects branches of one shape, gets {shapes[0]} and {shapes[1]}")
        return shapes[0]
