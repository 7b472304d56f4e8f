"""Names for the types that public functions and classes take and return."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Array",
    "ArrayDict",
    "DType",
    "DatasetLike",
    "File",
    "FileName",
    "Floats",
    "FourArrays",
    "Gain",
    "Gradients",
    "Init",
    "IntPair",
    "LayerLike",
    "Layers",
    "MaybeFloats",
    "NamedLayers",
    "NetworkMaker",
    "Pad",
    "PadSides",
    "Range",
    "Rng",
    "Shape",
    "Trainable",
]

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.floating[Any]]  # float32 or float64
# An array, or None in the case that the docstring names: Any spares who knows which it is the question.
MaybeFloats: TypeAlias = Floats | Any
Gradients: TypeAlias = tuple[MaybeFloats, MaybeFloats, MaybeFloats]
ArrayDict: TypeAlias = dict[str, Array]
FourArrays: TypeAlias = tuple[tuple[Array, Array], tuple[Array, Array]]  # (x_train, t_train), (x_test, t_test)

Shape: TypeAlias = tuple[int, ...]
IntPair: TypeAlias = int | tuple[int, int]  # for both axes, or for height and width
Range: TypeAlias = float | tuple[float, float]  # the largest in both directions, or the smallest and the largest
# How a padding may be given: for all sides, for both axes, for each side, or by 'same' or 'valid'.
PadSides: TypeAlias = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]]
Pad: TypeAlias = PadSides | Literal["same", "valid"]

DType: TypeAlias = np.dtype[Any]
Rng: TypeAlias = "np.random.Generator"  # in words: NumPy imports it when it is first named
Init: TypeAlias = str | float | Callable[..., Floats]  # how weights begin: a name, a standard deviation, an Initializer
Gain: TypeAlias = float | Literal["linear", "sigmoid", "tanh", "relu", "leaky_relu"]
FileName: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
File: TypeAlias = FileName | BinaryIO


class LayerLike(Protocol):
    """What a network takes for a layer or a loss: anything with the two methods."""

    @property
    def forward(self) -> Callable[..., Any]: ...
    @property
    def backward(self) -> Callable[..., Any]: ...


NamedLayers: TypeAlias = Mapping[str, LayerLike]
Layers: TypeAlias = NamedLayers | Iterable[LayerLike | tuple[str, LayerLike]]
NetworkMaker: TypeAlias = str | Sequence[LayerLike | tuple[str, LayerLike]] | Callable[..., Any]


class DatasetLike(Protocol):
    """What a trainer takes for a data set: ``len(d)``, and ``d[indices]`` as a batch (x, t)."""

    def __len__(self) -> int: ...
    def __getitem__(self, indices: Any, /) -> Any: ...


class Trainable(Protocol):
    """What a trainer takes for a network."""

    @property
    def params(self) -> Mapping[str, Any]: ...
    @property
    def gradient(self) -> Callable[..., Mapping[str, Any]]: ...
