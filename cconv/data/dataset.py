"""Data sets of arrays, parts of data sets, and what makes a data set of what a caller has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_array, number
from .._checks import flag
from .._random import generator
from .._typing import Array, DatasetLike
from ..geometry import integer

__all__ = ["ArrayDataset", "Dataset", "Subset", "as_dataset"]

_ROWS = 1 << 16  # of one-hot targets looked at together


class Dataset:
    """Samples and their targets, read when they are asked for: the base of all data sets.

    A subclass defines ``__len__`` and ``__getitem__``: ``d[indices]`` gives ``(x, t)``, two arrays with a row for each
    sample, for a slice or a 1-D array of integers, whose order is kept. Where targets are classes it sets `labels`, and
    `classes` where these have names.

    Attributes
    ----------
    labels : ndarray or None
        The class index of each sample, 1-D and of an integer dtype; None where targets are not classes.
    classes : list of str or None
        The names of the classes.

    Examples
    --------
    >>> class Squares(cconv.data.Dataset):
    ...     def __len__(self):
    ...         return 10
    ...
    ...     def __getitem__(self, indices):
    ...         x = np.arange(10.0, dtype=np.float32)[indices, None]
    ...         return x, x**2
    >>> rest, part = Squares().split(0.3, seed=0)
    >>> len(rest), len(part)
    (7, 3)
    """

    labels: Any = None
    classes: Any = None

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, indices: Any) -> tuple[Array, Array]:
        raise NotImplementedError

    def __repr__(self) -> str:
        classes = "" if self.classes is None else f", {len(self.classes)} classes"
        return f"{type(self).__name__}({len(self)} samples{classes})"

    def split(self, fraction: float, *, seed: int | None = None, stratify: bool = True) -> tuple[Subset, Subset]:
        """Split the samples at random in two, as for training and validation.

        Parameters
        ----------
        fraction : float
            The second part gets round(fraction · n) of n samples, the first one the rest; neither may be empty.
        seed : int, optional
            The same seed splits the same samples in the same way. Without one it comes from NumPy's global generator.
        stratify : bool, default True
            Where there are `labels`, each class is split by `fraction`, rounded to whole samples so that the sum is
            right (the largest remainders are rounded up), and a class with two or more samples keeps one in the first
            part. Otherwise, and without labels, samples are drawn whatever their targets.

        Returns
        -------
        rest, part : Subset
            Samples in both are in the order in which they are here.

        Raises
        ------
        TypeError
            If an argument is not what it must be.
        ValueError
            If a part would be empty, or there are too few samples to keep one of each class in the first part.

        Examples
        --------
        >>> data = cconv.data.ArrayDataset(np.zeros((8, 1)), np.array([0, 0, 0, 0, 1, 1, 1, 1]))
        >>> rest, part = data.split(0.25, seed=0)
        >>> rest.labels, part.labels
        (array([0, 0, 0, 1, 1, 1]), array([0, 1]))
        """
        n = len(self)
        fraction, stratify = number(fraction, "fraction"), flag(stratify, "stratify")
        count = round(fraction * n) if 0 < fraction < 1 else 0
        if not 0 < count < n:
            raise ValueError(
                f"fraction must be above 0 and below 1, and leave a sample in each part, got {fraction} of {n} samples"
            )
        order = generator(seed=seed).permutation(n)
        labels = _checked_labels(self.labels, n, "labels") if stratify else None
        chosen = np.zeros(n, bool)
        chosen[order[:count] if labels is None else _stratified(order, count, labels, fraction)] = True
        return Subset(self, np.flatnonzero(~chosen)), Subset(self, np.flatnonzero(chosen))


class ArrayDataset(Dataset):
    """Samples in an array, or in a `numpy.memmap` that may be larger than memory.

    Parameters
    ----------
    x, t : array_like
        Samples and targets along the first axis, of real numbers. An array stays the one that it is, mapped or not, and
        of `x` only the samples that are asked for are read.
    classes : list of str, optional
        The names of the classes, where `t` holds class indices or one-hot rows.

    Attributes
    ----------
    x, t : ndarray
    labels : ndarray or None
        Those of integer `t` of shape (N,) or (N, 1), none negative, or of one-hot rows; None of any other targets, as
        for regression, several classes at once, or probabilities.
    classes : list of str or None

    Raises
    ------
    TypeError
        If an array does not hold real numbers, or `classes` is not a list of str.
    ValueError
        If there are no samples, `x` and `t` have not as many, or a label has no name in `classes`.

    Examples
    --------
    >>> x = np.arange(12, dtype=np.uint8).reshape(4, 3)
    >>> data = cconv.data.ArrayDataset(x, np.eye(2)[[1, 0, 0, 1]], classes=["cat", "dog"])
    >>> len(data), data.labels
    (4, array([1, 0, 0, 1]))
    >>> data[[2, 0]]
    (array([[6, 7, 8],
           [0, 1, 2]], dtype=uint8), array([[1., 0.],
           [0., 1.]]))
    """

    def __init__(self, x: ArrayLike, t: ArrayLike, *, classes: Sequence[str] | None = None) -> None:
        self.x, self.t = _samples(x, t, ("x", "t"))
        if classes is not None:
            self.classes = _checked_classes(classes)
            if self.labels is None or self.labels.max() >= len(self.classes):
                has = "other targets" if self.labels is None else f"class index {self.labels.max()}"
                raise ValueError(f"classes must name each class in t, got {len(self.classes)} names where t has {has}")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, indices: Any) -> tuple[Array, Array]:
        indices = _places(indices, len(self))
        return self.x[indices], self.t[indices]

    @cached_property
    def labels(self) -> Array | None:
        t = self.t
        if t.dtype.kind in "iub" and t.shape in ((len(t),), (len(t), 1)):
            labels = np.asarray(t).reshape(len(t))
            return None if labels.min() < 0 else labels.view(np.uint8) if t.dtype.kind == "b" else labels
        return _one_hot_labels(t)


class Subset(Dataset):
    """Some samples of a data set, in an order of their own.

    Parameters
    ----------
    dataset : data set
        What `as_dataset` takes.
    indices : array_like
        The samples' places in it, 1-D integers; one may be there twice, and a negative one counts from the end.

    Attributes
    ----------
    dataset : Dataset
    indices : ndarray
    labels, classes
        Those of the samples.

    Raises
    ------
    TypeError
        If `dataset` is none, or `indices` are not integers.
    ValueError
        If there are no indices, or they are not 1-D.
    IndexError
        If one is out of range.

    Examples
    --------
    >>> data = cconv.data.ArrayDataset(np.arange(5.0), np.arange(5))
    >>> cconv.data.Subset(data, [3, 1])[:]
    (array([3., 1.]), array([3, 1]))
    """

    def __init__(self, dataset: DatasetLike, indices: Any) -> None:
        if not _is_dataset(dataset):
            raise TypeError(f"dataset must be a data set, got {type(dataset).__name__}")
        self.dataset = as_dataset(dataset, None, ("dataset", "t"))
        indices = as_array(indices, "indices")
        if indices.ndim != 1 or len(indices) == 0:
            raise ValueError(f"indices must be 1-D, one or more, got shape {indices.shape}")
        self.indices = _places(indices, len(self.dataset))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, indices: Any) -> tuple[Array, Array]:
        places = self.indices[_places(indices, len(self))]
        if places.ndim == 0:
            x, t = self.dataset[places[None]]
            return x[0], t[0]
        return self.dataset[places]

    @cached_property
    def labels(self) -> Array | None:
        labels = _checked_labels(self.dataset.labels, len(self.dataset), "labels")
        return None if labels is None else labels[self.indices]

    @property
    def classes(self) -> list[str] | None:
        return self.dataset.classes


class _Wrapped(Dataset):
    """A data set of a caller's own, which has perhaps no more than a length and samples."""

    def __init__(self, dataset, name):
        self.dataset, self._name = dataset, name
        self.labels = _checked_labels(getattr(dataset, "labels", None), len(dataset), f"{name}.labels")
        classes = getattr(dataset, "classes", None)
        self.classes = None if classes is None else _checked_classes(classes, f"{name}.classes")

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, indices):
        places = _places(indices, len(self))
        if isinstance(places, slice):  # an array is the only index that it must know
            places = np.arange(*places.indices(len(self)))
        x, t = checked_batch(self.dataset[places.reshape(-1)], places.size, f"{self._name}[indices]")
        return (x, t) if places.ndim else (x[0], t[0])


def as_dataset(x: Any, t: Any, names: tuple[str, str] = ("x_train", "t_train")) -> Dataset:
    """Return a data set of arrays, or of what is one already.

    Parameters
    ----------
    x : array_like or data set
        A `Dataset` is returned as it is. Anything else that is no array but has a length and ``x[indices]`` is wrapped;
        it is asked for samples by 1-D arrays of int64 alone, and its `labels` and `classes` are used where it has them.
    t : array_like or None
        The targets of an array; None with a data set, which has its own.
    names : pair of str
        What the arguments are called, for the error message.

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError, ValueError
        If arrays do not hold real numbers, there are no samples or not as many of both, a data set comes with targets,
        or its first sample is not a pair of arrays of one row.

    Examples
    --------
    >>> len(cconv.data.as_dataset(np.zeros((3, 2)), np.array([0, 1, 0])))
    3
    >>> class Own:
    ...     def __len__(self):
    ...         return 4
    ...
    ...     def __getitem__(self, indices):
    ...         return np.ones((len(indices), 2)), indices % 2
    >>> data = cconv.data.as_dataset(Own(), None)
    >>> rest, part = data.split(0.25, seed=0)
    >>> len(rest)
    3
    """
    name, targets = names
    if not _is_dataset(x):
        if t is None:
            raise TypeError(f"{targets} must be an array where {name} is no data set, got None")
        x, t = _samples(x, t, names)
        return ArrayDataset(x, t)
    if t is not None:
        raise ValueError(f"{targets} must be None where {name} is a data set, got {type(t).__name__}")
    try:
        n = integer(len(x), f"len({name})", 0)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise TypeError(f"{name} must be a data set that has a length: {error}") from error
    if n == 0:
        raise ValueError(f"{name} must hold at least one sample, got a {type(x).__name__} of length 0")
    if isinstance(x, (ArrayDataset, Subset)):  # which were checked when they were made
        return x
    try:
        batch = x[np.zeros(1, np.int64)]
    except (TypeError, ValueError, LookupError, AttributeError) as error:  # it takes one integer only, for instance
        raise TypeError(
            f"{name}[indices] must be samples for a 1-D array of integers, got {type(error).__name__}: {error}"
        ) from error
    checked_batch(batch, 1, f"{name}[indices]")
    return x if isinstance(x, Dataset) else _Wrapped(x, name)


def _is_dataset(x):
    """Whether something is no array, nor what NumPy makes one of, but has a length and items."""
    if isinstance(x, Dataset):
        return True
    if isinstance(x, (type, Mapping, list, tuple, range, str, bytes, bytearray, memoryview)):
        return False
    if any(hasattr(x, name) for name in ("__array__", "__array_interface__")):
        return False
    return hasattr(x, "__len__") and hasattr(x, "__getitem__")


def _samples(x, t, names):
    """Return samples and targets as arrays that belong together; a memmap stays one."""
    arrays = []
    for array, name in zip((x, t), names, strict=True):
        if type(array) not in (np.ndarray, np.memmap):
            array = as_array(array, name)
        if array.dtype.kind not in "iubf":
            raise TypeError(f"{name} must hold real numbers, got {array.dtype}")
        arrays.append(array)
    x, t = arrays
    if x.ndim == 0 or t.ndim == 0 or len(x) != len(t):
        raise ValueError(f"{names[0]} and {names[1]} must have as many samples, got shapes {x.shape} and {t.shape}")
    if len(x) == 0:
        raise ValueError(f"{names[0]} must hold at least one sample, got shape {x.shape}")
    return x, t


def _places(indices, n):
    """Return indices into n samples in the form in which NumPy takes them: a slice, an array, or one integer."""
    if isinstance(indices, slice):
        return indices
    if isinstance(indices, tuple):  # which would index several axes of an array
        raise TypeError(f"indices must be a slice, an integer or a 1-D array of integers, got the tuple {indices}")
    indices = as_array(indices, "indices")
    if indices.size == 0 and indices.ndim == 1:
        indices = indices.astype(np.int64)  # an empty list is one of floats to NumPy
    if indices.dtype.kind not in "iu" or indices.ndim > 1:
        raise TypeError(
            f"indices must be a slice, an integer or a 1-D array of integers, got {indices.dtype} of shape "
            f"{indices.shape}"
        )
    if indices.size == 0:
        return indices.astype(np.int64)
    lowest, highest = indices.min(), indices.max()
    if not (-n <= lowest and highest < n):
        raise IndexError(f"indices must be from {-n} to {n - 1}, got {highest if highest >= n else lowest}")
    indices = indices.astype(np.int64)
    return indices if lowest >= 0 else np.where(indices < 0, indices + n, indices)


def _checked_labels(labels, n, name):
    """Return labels as an array with one for each of n samples, or None."""
    if labels is None:
        return None
    labels = as_array(labels, name)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} must be class indices, got {labels.dtype}")
    if labels.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one for each sample, got {labels.shape}")
    return labels


def _checked_classes(classes, name="classes"):
    if not isinstance(classes, (list, tuple)) or not all(isinstance(label, str) for label in classes):
        raise TypeError(f"{name} must be a list of str, got {classes!r}")
    if len(set(classes)) != len(classes):
        raise ValueError(f"{name} must be different names, got {list(classes)}")
    return list(classes)


def checked_batch(batch, count, name):
    """Return what was given for `count` samples as a pair of arrays, if it is one; `name` is what gave it."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise TypeError(f"{name} must be a pair (x, t) of arrays, got {type(batch).__name__}")
    x, t = (as_array(array, name) for array in batch)
    if any(array.dtype.kind not in "iubf" for array in (x, t)):
        raise TypeError(f"{name} must hold real numbers, got {x.dtype} and {t.dtype}")
    if any(array.ndim == 0 or len(array) != count for array in (x, t)):
        raise ValueError(f"{name} must have a row for each of {count} samples, got shapes {x.shape} and {t.shape}")
    return x, t


def _one_hot_labels(t):
    """Return the places of the ones in one-hot rows, or None where a row is none."""
    if t.ndim != 2 or t.shape[1] < 2:
        return None
    labels = np.empty(len(t), np.int64)
    for start in range(0, len(t), _ROWS):
        rows = t[start : start + _ROWS]
        ones = rows == 1
        if not ((np.count_nonzero(ones, axis=1) == 1) & (np.count_nonzero(rows, axis=1) == 1)).all():
            return None
        labels[start : start + _ROWS] = ones.argmax(axis=1)
    return labels


def _stratified(order, count, labels, fraction):
    """Return the first samples in `order` of each class: `count` of them, split among the classes by their sizes."""
    _, kinds, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    taken, remainders = np.divmod(count * sizes, len(labels))
    most = np.maximum(sizes - 1, 1)
    ranking = np.lexsort((-sizes, -remainders))
    while left := count - taken.sum():
        up = ranking[taken[ranking] < most[ranking]][:left]
        if len(up) == 0:
            raise ValueError(
                f"fraction must leave a sample of each class in the rest, got {fraction}, which takes {count} of "
                f"{len(labels)} samples of {len(sizes)} classes; with stratify=False it need not"
            )
        taken[up] += 1
    order = order[np.argsort(kinds[order], kind="stable")]  # class by class
    kinds = kinds[order]
    rank = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[kinds]
    return order[rank < taken[kinds]]
