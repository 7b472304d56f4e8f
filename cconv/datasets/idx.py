"""The IDX format: the plain arrays that MNIST and its relatives are kept in.

An IDX file is a four-byte magic number (two zeros, a type code, the number of dimensions), one big-endian
32-bit size per dimension, and the values, big-endian, in C order. It may be compressed with gzip.
"""

from __future__ import annotations

import math

import numpy as np

from .._files import path_of
from .._typing import Array, FileName
from ..geometry import integer

__all__ = ["read_idx", "read_idx_pair"]

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20


def read_idx(path: FileName, *, max_bytes: int = 1 << 32) -> Array:
    """Read one IDX file, plain or compressed with gzip.

    The file is untrusted: nothing is read, decompressed or allocated beyond the size that its header
    promises (and one byte, to see that the file ends there), and memory grows only with the data that
    has really come.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The file. Compression is recognised by content, not by name.
    max_bytes : int, default 2**32
        The most that the header may promise: a small gzip file can hold any number of zeros.

    Returns
    -------
    numpy.ndarray
        The values, writable, C-contiguous, native byte order, in the shape the header gives.
        The type is uint8, int8, int16, int32, float32 or float64, as the header says.

    Raises
    ------
    ValueError
        When the file is not IDX, its header is cut short or promises more than `max_bytes`, when it holds
        fewer or more bytes than the header promises, or its gzip stream is damaged. The message names the file.
    TypeError
        When `path` is no name of a file, or `max_bytes` not an integer.
    OSError
        When the file cannot be opened.

    Examples
    --------
    >>> import cconv, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels-idx1-ubyte"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    >>> cconv.read_idx(path)
    array([5, 0, 4], dtype=uint8)
    """
    import gzip  # here, since they would slow the import of cconv
    import zlib

    path = path_of(path, "path")
    max_bytes = integer(max_bytes, "max_bytes", 0, None)
    with open(path, "rb") as raw:
        if raw.peek(2)[:2] != _GZIP_MAGIC:
            return _read(raw, path, max_bytes)
        try:
            with gzip.GzipFile(fileobj=raw) as stream:
                return _read(stream, path, max_bytes)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: the gzip stream is damaged or cut short: {error}") from error


def _read(stream, path, max_bytes):
    magic = stream.read(4)
    if len(magic) < 4:
        raise ValueError(f"{path}: not an IDX file: expected a 4-byte magic number, got {len(magic)} bytes")
    if magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise ValueError(
            f"{path}: not an IDX file: expected a magic number 0x0000TTNN with a type TT of "
            f"{', '.join(f'0x{code:02x}' for code in _TYPES)} and NN >= 1 dimensions, got 0x{magic.hex()}"
        )
    dtype, ndim = np.dtype(_TYPES[magic[2]]), magic[3]
    sizes = stream.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise ValueError(f"{path}: truncated header: expected {ndim} sizes ({4 * ndim} bytes), got {len(sizes)} bytes")
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, 4 * ndim, 4))
    promised = math.prod(shape) * dtype.itemsize  # Python integers: cannot overflow
    if promised > max_bytes:
        raise ValueError(
            f"{path}: the header promises shape {shape} of {dtype.name}, {promised} bytes, "
            f"more than max_bytes = {max_bytes}"
        )

    data = bytearray()
    while len(data) < promised:
        chunk = stream.read(min(_CHUNK, promised - len(data)))
        if not chunk:
            raise ValueError(
                f"{path}: truncated: the header promises shape {shape} of {dtype.name}, {promised} bytes, "
                f"got {len(data)} bytes"
            )
        data += chunk
    if stream.read(1):
        raise ValueError(
            f"{path}: trailing bytes: the header promises shape {shape} of {dtype.name}, {promised} bytes, got more"
        )
    try:
        array = np.frombuffer(data, dtype).reshape(shape)
    except ValueError as error:  # more dimensions than NumPy has, or sizes like (0, 2**32 - 1, 2**32 - 1)
        raise ValueError(f"{path}: NumPy cannot hold an array of shape {shape}: {error}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def read_idx_pair(images_path: FileName, labels_path: FileName, *, num_classes: int = 10) -> tuple[Array, Array]:
    """Read a file of images and the file of their labels, and check that they belong together.

    Parameters
    ----------
    images_path : str, bytes or os.PathLike
        An IDX file of shape (N, H, W), uint8.
    labels_path : str, bytes or os.PathLike
        An IDX file of shape (N,), uint8.
    num_classes : int, default 10
        Labels are 0 to `num_classes` - 1.

    Returns
    -------
    images : numpy.ndarray of shape (N, H, W), uint8
    labels : numpy.ndarray of shape (N,), uint8

    Raises
    ------
    TypeError, OSError
        As `read_idx` does.
    ValueError
        When a file is malformed (see `read_idx`), has another type or number of dimensions, when the two
        files disagree in number, or when a label is out of range.

    Notes
    -----
    Other data sets of MNIST's format (Fashion-MNIST, EMNIST, ...) are read with this function; `load_mnist`
    returns MNIST itself or nothing.

    Examples
    --------
    >>> import cconv, pathlib, tempfile
    >>> images, labels = (pathlib.Path(tempfile.mkdtemp()) / name for name in ("images", "labels"))
    >>> _ = images.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 9, 8, 7, 6]))
    >>> _ = labels.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 3]))
    >>> cconv.read_idx_pair(images, labels)
    (array([[[9, 8],
             [7, 6]]], dtype=uint8), array([3], dtype=uint8))
    """
    images_path, labels_path = path_of(images_path, "images_path"), path_of(labels_path, "labels_path")
    num_classes = integer(num_classes, "num_classes", 1)
    images, labels = read_idx(images_path), read_idx(labels_path)
    check_pair(images, labels, images_path, labels_path, num_classes)
    return images, labels


def check_pair(images, labels, images_path, labels_path, num_classes=10):
    """Raise ValueError unless these are images and labels that belong together."""
    for array, ndim, path, what in ((images, 3, images_path, "images"), (labels, 1, labels_path, "labels")):
        if array.dtype != np.uint8 or array.ndim != ndim:
            raise ValueError(
                f"{path}: {what} must be uint8 with {ndim} dimension{'s' if ndim > 1 else ''}, "
                f"got {array.dtype.name} of shape {array.shape}"
            )
    if len(images) != len(labels):
        raise ValueError(
            f"images and labels disagree in number: {len(images)} images in {images_path}, "
            f"{len(labels)} labels in {labels_path}"
        )
    out_of_range = np.flatnonzero(labels >= num_classes)
    if len(out_of_range):
        index = out_of_range[0]
        raise ValueError(f"{labels_path}: labels must be 0 to {num_classes - 1}, got {labels[index]} at index {index}")
