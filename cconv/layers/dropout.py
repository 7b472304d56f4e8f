"""Dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_input
from .._checks import flag, fraction
from .._random import generator
from .._typing import Array, DType, Floats, MaybeFloats, Rng, Shape
from ..functional.dropout import run_dropout
from .layer import Layer, expect_images

__all__ = ["Dropout"]


class Dropout(Layer):
    r"""Drop values at random in training; scale by what is kept at evaluation (Srivastava et al., JMLR 15, 2014).

    .. math:: out = x \cdot mask \ \text{in training}, \qquad out = (1 - ratio)\, x \ \text{at evaluation}

    Parameters
    ----------
    dropout_ratio : float, default 0.5
        The share of values that is dropped, at least 0 and below 1.
    inverted : bool, keyword only
        Divide by 1 - ratio in training instead, and leave x as it is at evaluation.
    spatial : bool, keyword only
        Drop whole channels of images (N, C, H, W) (Tompson et al., arXiv 1411.4280).
    rng : numpy.random.Generator, keyword only
        Draws the seed of the masks. Without it and `seed` a network's generator does when it builds the layer.
    seed : int, keyword only
        Makes the masks repeatable, in place of `rng`.

    Shape
    -----
    x : any; (N, C, H, W) where `spatial`
    out : x's

    Attributes
    ----------
    random_state : ndarray of uint64
        The seed of the masks and the number of masks drawn: with them the next one is known. Files of parameters hold
        it, so that a training that is taken up again draws what it would have drawn.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> Dropout(0.25).forward(np.ones(2), train_flg=False)
    array([0.75, 0.75])
    """

    buffer_names = ("random_state",)
    takes_train_flg = True
    random_state: Array | Any

    def __init__(
        self,
        dropout_ratio: float = 0.5,
        *,
        inverted: bool = False,
        spatial: bool = False,
        rng: Rng | None = None,
        seed: int | None = None,
    ) -> None:
        self.dropout_ratio = fraction(dropout_ratio, "dropout_ratio")
        self.inverted = flag(inverted, "inverted")
        self.spatial = flag(spatial, "spatial")
        self._seeded = rng is not None or seed is not None
        self._seed(generator(rng, seed))

    def _seed(self, rng):
        self.random_state = np.array([rng.integers(2**64, dtype=np.uint64), 0], np.uint64)

    def build(self, input_shape: Shape, rng: Rng, dtype: DType) -> Shape:
        shape = self.output_shape(input_shape)
        if not self._seeded and rng is not None:
            self._seed(rng)
            self._seeded = True
        return shape

    def output_shape(self, input_shape: Shape) -> Shape:
        if self.spatial:
            expect_images(input_shape)
        return tuple(input_shape)

    def forward(self, x: ArrayLike, train_flg: bool | None = None) -> Floats:
        if train_flg is None:
            train_flg = self.training
        train_flg = flag(train_flg, "train_flg")
        x = as_input(x, "x", 4 if self.spatial else None)
        kept = 1 - self.dropout_ratio
        if train_flg:
            key, draw = self.random_state.tolist()
            settings = self.dropout_ratio, key, draw, 1 / kept if self.inverted else 1.0, self.spatial
        else:
            settings = 0.0, 0, 0, 1.0 if self.inverted else kept, False
        out = run_dropout(x, *settings)
        if train_flg:
            self.random_state = np.array([key, draw + 1], np.uint64)
        self._saved = settings, x.shape, x.dtype
        return out

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> MaybeFloats:
        settings, shape, dtype = self._recall()
        if not flag(input_gradient, "input_gradient"):
            return None
        dout = as_input(dout, "dout")
        if dout.shape != shape:
            raise ValueError(f"dout must have the output's shape {shape}, got {dout.shape}")
        return run_dropout(dout, *settings).astype(dtype, copy=False)

    @classmethod
    def from_description(cls, settings: dict[str, Any], make_layers: Callable[..., Any]) -> Self:
        return cls(**settings, seed=0)  # the state of the masks is in the file

    def describe(self) -> dict[str, Any]:
        return {"dropout_ratio": self.dropout_ratio, "inverted": self.inverted, "spatial": self.spatial}
