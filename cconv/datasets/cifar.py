"""CIFAR-10 and CIFAR-100 in their binary versions, from a folder of yours, the cache, or a download that is checked."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

import numpy as np

from .._checks import choice
from .._typing import FileName, FourArrays
from ._places import File, Source, check_counts, obtain, user_folders
from ._presentation import present, present_flags

__all__ = ["load_cifar10", "load_cifar100"]

_PIXELS = 3 * 32 * 32  # of an image: a byte for each of its red, then green, then blue pixels
_MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")


class _Set(NamedTuple):
    source: Source
    archive: File  # its size is that of all images, decompressed, which it does not exceed
    train: tuple[str, ...]
    test: tuple[str, ...]
    images: int  # in each file for training
    test_images: int
    classes: tuple[int, ...]  # how many, for each of the labels that stand before an image


def _set(title, archive, folders, md5, train, test, images, test_images, classes):
    size = (len(train) * images + len(test) * test_images) * (_PIXELS + len(classes))
    files = f"the files {', '.join((*train, *test))} of the binary version, or {archive},"
    source = Source(title, title.lower(), _MIRRORS, folders, files)
    return _Set(source, File(archive, size, md5=md5), train, test, images, test_images, classes)


# Checksums published at www.cs.toronto.edu/~kriz/cifar.html.
_CIFAR10 = _set(
    "CIFAR-10",
    "cifar-10-binary.tar.gz",
    ("", "cifar-10-batches-bin"),
    "c32a1d4ab5d03f1284b67883e8d87530",
    tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    ("test_batch.bin",),
    10_000,
    10_000,
    (10,),
)
_CIFAR100 = _set(
    "CIFAR-100",
    "cifar-100-binary.tar.gz",
    ("cifar-100-binary", ""),
    "03b5dce01913d631647c71ecec9e9cb8",
    ("train.bin",),
    ("test.bin",),
    50_000,
    10_000,
    (20, 100),
)


def load_cifar10(
    normalize: bool = True, flatten: bool = True, one_hot_label: bool = False, *, data_dir: FileName | None = None
) -> FourArrays:
    """Load CIFAR-10, photographs in colour: 50,000 training and 10,000 test images of 3x32x32.

    The classes are airplane, automobile, bird, cat, deer, dog, frog, horse, ship and truck.

    The files of the binary version (no others: those for Python are pickles, which can run any program) are looked for
    in `data_dir`, then in the folder that the environment variable ``CCONV_DATA`` names, then in the cache, and are
    then downloaded into the cache. What is downloaded, and comes from the cache, must have the MD5 that the authors
    have published. Of files of your own the sizes and labels are checked, and the number of images of each class.

    Parameters
    ----------
    normalize : bool, default True
        Images as float32 in [0, 1]; otherwise uint8 in 0 to 255.
    flatten : bool, default True
        Images of shape (N, 3072); otherwise (N, 3, 32, 32).
    one_hot_label : bool, default False
        Labels as float32 of shape (N, 10); otherwise uint8 of shape (N,).
    data_dir : str, bytes or os.PathLike, optional
        A folder with ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or with a folder
        ``cifar-10-batches-bin`` of them, or with ``cifar-10-binary.tar.gz``.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : tuple of tuples of numpy.ndarray

    Raises
    ------
    DatasetNotFoundError
        When it is in none of the places and no mirror gave it; the message names every place and what was wrong there.
        It is a FileNotFoundError.
    TypeError
        When a flag is none, or `data_dir` not the name of a folder.
    ValueError
        When a file in `data_dir` or ``CCONV_DATA`` is damaged or another one.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.

    Examples
    --------
    >>> from cconv import load_cifar10
    >>> (x_train, t_train), (x_test, t_test) = load_cifar10(flatten=False)  # doctest: +SKIP
    >>> x_train.shape                                                       # doctest: +SKIP
    (50000, 3, 32, 32)
    """
    return _load(_CIFAR10, 0, normalize, flatten, one_hot_label, data_dir)


def load_cifar100(
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    label: Literal["fine", "coarse"] = "fine",
    data_dir: FileName | None = None,
) -> FourArrays:
    """Load CIFAR-100, photographs in colour: 50,000 training and 10,000 test images of 3x32x32, in 100 classes.

    Everything is as in `load_cifar10`, but that the two files, whose names say little, are first looked for in
    ``cifar-100-binary``. The names of the classes are in ``fine_label_names.txt`` and ``coarse_label_names.txt`` beside
    them.

    Parameters
    ----------
    normalize, flatten : bool
        As in `load_cifar10`.
    one_hot_label : bool, default False
        Labels as float32 of shape (N, 100) or (N, 20); otherwise uint8 of shape (N,).
    label : {'fine', 'coarse'}, keyword only
        The 100 classes, or the 20 groups of five into which they are put.
    data_dir : str, bytes or os.PathLike, optional
        A folder with ``train.bin`` and ``test.bin``, or with a folder ``cifar-100-binary`` of them, or with
        ``cifar-100-binary.tar.gz``.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : tuple of tuples of numpy.ndarray

    Raises
    ------
    DatasetNotFoundError, TypeError, ValueError
        As `load_cifar10` does, and when `label` is neither.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.

    Examples
    --------
    >>> from cconv import load_cifar100
    >>> (x_train, t_train), (x_test, t_test) = load_cifar100(flatten=False, label="coarse")  # doctest: +SKIP
    >>> x_train.shape, int(t_train.max())                                                    # doctest: +SKIP
    ((50000, 3, 32, 32), 19)
    """
    which = {"coarse": 0, "fine": 1}[choice(label, "label", ("fine", "coarse"))]
    return _load(_CIFAR100, which, normalize, flatten, one_hot_label, data_dir)


def _load(data, which, normalize, flatten, one_hot_label, data_dir):
    flags = present_flags(normalize, flatten, one_hot_label)
    places = user_folders(data.source, data_dir)

    def find(folder):
        if all((folder / name).is_file() for name in (*data.train, *data.test)):
            return folder
        return folder / data.archive.name if (folder / data.archive.name).is_file() else None

    def read(path):
        return _checked(data, _read_folder(data, path) if os.path.isdir(path) else _read_archive(data, path), path)

    _, parts = obtain(data.source, data.archive, places, list(data.source.mirrors), find, read, read)
    labels = len(data.classes)
    train, test = (
        # Copies: what is left of the records is freed.
        present(part[:, labels:].copy().reshape(-1, 3, 32, 32), part[:, which].copy(), *flags, data.classes[which])
        for part in parts
    )
    return train, test


def _sizes(data):
    """The files and their sizes."""
    record = _PIXELS + len(data.classes)
    train, test = (
        (names, images * record) for names, images in ((data.train, data.images), (data.test, data.test_images))
    )
    return {name: size for names, size in (train, test) for name in names}


def _read_folder(data, folder):
    contents = {}
    for name, size in _sizes(data).items():
        with open(os.path.join(folder, name), "rb") as file:
            contents[name] = _bytes(file, size, os.path.join(folder, name), data.source.title)
    return contents


def _read_archive(data, path):
    """Read the files from the archive, wherever in it they are; nothing is unpacked to the disk."""
    import gzip  # these here, as the import of cconv should not pay for them
    import tarfile
    import zlib

    sizes, contents = _sizes(data), {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if member.isfile() and name in sizes and name not in contents:
                    where = f"{path}: {member.name}"
                    contents[name] = _bytes(archive.extractfile(member), sizes[name], where, data.source.title)
                if len(contents) == len(sizes):
                    return contents
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: the archive is damaged or cut short: {error}") from error
    missing = [name for name in sizes if name not in contents]
    raise ValueError(f"{path}: not {data.source.title}'s archive: it lacks {', '.join(missing)}")


def _bytes(file, size, path, title):
    found = file.read(size + 1)
    if len(found) != size:
        got = "more" if len(found) > size else f"{len(found)}"
        raise ValueError(f"{path}: not {title}'s: expected {size} bytes, got {got}")
    return np.frombuffer(found, np.uint8)


def _checked(data, contents, path):
    """Return the records for training and those for testing, if each class is there as often as it must be."""
    parts = []
    for names in (data.train, data.test):
        records = np.concatenate([contents[name] for name in names]).reshape(-1, _PIXELS + len(data.classes))
        for column, classes in enumerate(data.classes):
            labels = records[:, column]
            if labels.max() >= classes:
                raise ValueError(
                    f"{path}: {', '.join(names)}: labels must be 0 to {classes - 1}, got {labels.max()} at index "
                    f"{labels.argmax()}"
                )
            check_counts(labels, [len(records) // classes] * classes, path, data.source.title)
        parts.append(records)
    return parts
