"""The MNIST handwritten digits, from a folder of yours, the cache, or a download that is checked."""

import os
from typing import NamedTuple

from .._files import path_of, replacing
from ._presentation import present, present_flags
from .idx import check_pair, read_idx

_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
)
_TIMEOUT = (5, 30)  # seconds to connect to a mirror, seconds without a byte


class _File(NamedTuple):
    name: str
    size: int  # decompressed, as is the checksum: mirrors need not compress alike
    sha256: str


_TRAIN = (
    _File(
        "train-images-idx3-ubyte",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    _File(
        "train-labels-idx1-ubyte",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
)
_TEST = (
    _File(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    _File(
        "t10k-labels-idx1-ubyte",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


class DatasetNotFoundError(FileNotFoundError):
    """A data set is neither on this machine nor could it be downloaded; the message says where was looked."""


def load_mnist(normalize=True, flatten=True, one_hot_label=False, *, data_dir=None):
    """Load the MNIST handwritten digits: 60,000 training and 10,000 test images of 28x28.

    Each of the four files is looked for in `data_dir`, then in the folder that the environment variable
    ``CCONV_DATA`` names, then in the cache, and is then downloaded into the cache. The SHA-256 of what
    each file holds is checked, so the result is MNIST itself, the same from wherever it came; that is why
    a folder that lacks a file is passed over and not an error. `data_dir` and ``CCONV_DATA`` are only
    read: a damaged file there raises, a damaged file in the cache is fetched again.

    Parameters
    ----------
    normalize : bool, default True
        Images as float32 in [0, 1]; otherwise uint8 in 0 to 255.
    flatten : bool, default True
        Images of shape (N, 784); otherwise (N, 1, 28, 28).
    one_hot_label : bool, default False
        Labels as float32 of shape (N, 10); otherwise uint8 of shape (N,).
    data_dir : str, bytes or os.PathLike, optional
        A folder with the four files, compressed with gzip (``.gz``) or plain; ``train-images-idx3-ubyte`` may also
        be spelt ``train-images.idx3-ubyte``.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : tuple of tuples of numpy.ndarray

    Raises
    ------
    DatasetNotFoundError
        When a file is in none of the places and no mirror gave it; the message names every place and
        what was wrong there. It is a FileNotFoundError.
    ValueError
        When a file in `data_dir` or ``CCONV_DATA`` is malformed or is not the file of MNIST. For other data
        in this format, such as Fashion-MNIST, there is `read_idx_pair`.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86(11), 1998.

    Examples
    --------
    >>> from cconv import load_mnist
    >>> (x_train, t_train), (x_test, t_test) = load_mnist(flatten=False)  # doctest: +SKIP
    >>> x_train.shape, x_train.dtype                                      # doctest: +SKIP
    ((60000, 1, 28, 28), dtype('float32'))
    """
    flags = present_flags(normalize, flatten, one_hot_label)
    folders = _folders(data_dir)
    mirrors = list(_MIRRORS)
    train, test = (present(*_load_pair(pair, folders, mirrors), *flags) for pair in (_TRAIN, _TEST))
    return train, test


def _folders(data_dir):
    """The folders to look in, each with the name a reader knows it by."""
    from pathlib import Path

    folders = []
    if data_dir is not None:
        value = path_of(data_dir, "data_dir")
        folders.append((f"data_dir={value!r}", Path(value).expanduser()))
    if os.environ.get("CCONV_DATA"):
        value = os.environ["CCONV_DATA"]
        folders.append((f"CCONV_DATA={value!r}", Path(value).expanduser()))
    return folders


def _load_pair(pair, folders, mirrors):
    (images_path, images), (labels_path, labels) = (_obtain(file, folders, mirrors) for file in pair)
    # What is wrong in plain words comes before the checksum, which only says that something is.
    check_pair(images, labels, images_path, labels_path)
    _check(pair[0], images_path, images)
    _check(pair[1], labels_path, labels)
    return images, labels


def _obtain(file, folders, mirrors):
    """The path and the array of one file, from the first place that has it."""
    looked = []
    for place, folder in folders:
        path = _find(file, folder)
        if path is not None:
            return path, read_idx(path)
        looked.append(f"{place}: {'no such file in it' if folder.is_dir() else 'not a folder'}")
    try:
        import pooch
    except ImportError:
        looked.append("cache and download: need pooch, which is not installed (pip install 'cconv[train]')")
    else:
        cache = pooch.os_cache("cconv") / "mnist"
        path = cache / f"{file.name}.gz"
        try:
            return path, _read_checked(file, path)
        except FileNotFoundError:
            looked.append(f"cache {cache}: no such file in it")
        except (OSError, ValueError) as error:
            looked.append(f"cache {cache}: damaged: {error}")
        for mirror in tuple(mirrors):
            try:
                return path, _download(pooch, mirror, file, path)
            except (OSError, ValueError) as error:  # every error of requests is an OSError
                looked.append(f"{mirror}: {type(error).__name__}: {error}")
                mirrors.append(mirrors.pop(0))  # the other files ask the mirror that answers first
    raise DatasetNotFoundError(
        f"MNIST's {file.name} was not found. Looked in:\n"
        + "".join(f"  - {line}\n" for line in looked)
        + "Put the four files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
        "t10k-labels-idx1-ubyte (plain, or compressed with the ending .gz) into a folder and name it by "
        "data_dir=... or by the environment variable CCONV_DATA; load_synthetic_digits() needs no files."
    )


def _find(file, folder):
    dotted = file.name.replace("-idx", ".idx")
    for name in (file.name, dotted):
        for ending in ("", ".gz"):
            path = folder / (name + ending)
            if path.is_file():
                return path
    return None


def _check(file, path, array):
    """Raise unless `array`, read from `path`, is what MNIST's `file` holds."""
    import hashlib  # with urlsplit below, a tenth of the time that importing cconv would take

    digest = hashlib.sha256(bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape))
    digest.update(array.data)
    if digest.hexdigest() != file.sha256:
        raise ValueError(
            f"{path}: not MNIST's {file.name}: expected decompressed bytes with SHA-256 {file.sha256}, "
            f"got {digest.hexdigest()} (to read other data in this format, use read_idx_pair)"
        )


def _read_checked(file, path):
    array = read_idx(path, max_bytes=file.size)
    _check(file, path, array)
    return array


def _reach(mirror):
    """Raise OSError unless the mirror takes a connection within its time, name service included.

    A download alone would give each of its host's addresses that time, and there may be a dozen: behind a firewall that
    drops packets nobody would wait for that. Where a proxy connects, it is the only address.
    """
    import queue  # these here, as the import of cconv should not pay for them
    import socket
    import threading

    from requests.utils import get_environ_proxies

    if get_environ_proxies(mirror):
        return
    from urllib.parse import urlsplit

    parts = urlsplit(mirror)
    address = parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
    outcome = queue.SimpleQueue()

    def connect():
        try:
            socket.create_connection(address, timeout=_TIMEOUT[0] / 3).close()
            outcome.put(None)
        except OSError as error:
            outcome.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        error = outcome.get(timeout=_TIMEOUT[0])
    except queue.Empty:
        error = TimeoutError(f"no connection within {_TIMEOUT[0]} s")
    if error is not None:
        raise error


class _Bounded:
    """A binary file that refuses to grow past `limit`, for a mirror that never stops sending."""

    def __init__(self, stream, limit):
        self._stream, self._left = stream, limit
        self.flush = stream.flush

    def write(self, chunk):
        self._left -= len(chunk)
        if self._left < 0:
            raise ValueError("the mirror sends more bytes than the file has")
        return self._stream.write(chunk)


def _download(pooch, mirror, file, path):
    """Download one file, check it, and only then move it to `path`; its array."""
    from tqdm import tqdm

    _reach(mirror)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        with tqdm(desc=path.name, total=file.size, unit="B", unit_scale=True, disable=None) as bar:
            fetch = pooch.HTTPDownloader(progressbar=bar, timeout=_TIMEOUT)
            # Compressed or not, a file takes no more than its size and what gzip adds where it cannot compress.
            fetch(mirror + path.name, _Bounded(stream, file.size + file.size // 100 + 1000), None)
        stream.flush()
        return _read_checked(file, stream.name)
