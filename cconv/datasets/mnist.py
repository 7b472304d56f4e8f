"""MNIST and the two data sets made like it, from a folder of yours, the cache, or a download that is checked."""

from __future__ import annotations

from typing import NamedTuple

from .._typing import FileName, FourArrays
from ._places import File, Source, check_counts, obtain, user_folders
from ._presentation import present, present_flags
from .idx import check_pair, read_idx

__all__ = ["load_fashion_mnist", "load_kmnist", "load_mnist"]

_IMAGES, _LABELS, _TEST_IMAGES, _TEST_LABELS = (
    f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
)
_SIZES = {_IMAGES: 47_040_016, _LABELS: 60_008, _TEST_IMAGES: 7_840_016, _TEST_LABELS: 10_008}


class _Set(NamedTuple):
    source: Source
    train: tuple[File, File]
    test: tuple[File, File]
    per_class: tuple[int, int] | None  # images of each class for training and testing, where these are known


def _set(source, per_class, **checksums):
    """A data set of files with MNIST's names and sizes; checksums of one kind, in the order of the files."""
    ((kind, values),) = checksums.items()
    files = [File(*file, **{kind: value}) for file, value in zip(_SIZES.items(), values, strict=True)]
    return _Set(source, tuple(files[:2]), tuple(files[2:]), per_class)


_FOUR = (
    "the four files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte (plain, or compressed with the ending .gz)"
)
# Computed from the files.
_MNIST = _set(
    Source(
        "MNIST",
        "mnist",
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://raw.githubusercontent.com/fgnt/mnist/master/",
        ),
        ("", "MNIST/raw", "mnist"),
        _FOUR,
    ),
    None,
    sha256=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)
# Published in the README of github.com/zalandoresearch/fashion-mnist, and by torchvision.
_FASHION = _set(
    Source(
        "Fashion-MNIST",
        "fashion-mnist",
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        ("FashionMNIST/raw", "fashion-mnist", "fashion_mnist", "fashion-mnist/data/fashion"),
        _FOUR,
    ),
    (6000, 1000),
    md5=(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)
# Published by torchvision.
_KMNIST = _set(
    Source(
        "KMNIST",
        "kmnist",
        ("https://codh.rois.ac.jp/kmnist/dataset/kmnist/", "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"),
        ("KMNIST/raw", "kmnist"),
        _FOUR,
    ),
    (6000, 1000),
    md5=(
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
)


def load_mnist(
    normalize: bool = True, flatten: bool = True, one_hot_label: bool = False, *, data_dir: FileName | None = None
) -> FourArrays:
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
        be spelt ``train-images.idx3-ubyte``, and lie in a folder of its own name. They are found in ``MNIST/raw`` and
        ``mnist`` below it too.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : tuple of tuples of numpy.ndarray

    Raises
    ------
    DatasetNotFoundError
        When a file is in none of the places and no mirror gave it; the message names every place and
        what was wrong there. It is a FileNotFoundError.
    TypeError
        When a flag is none, or `data_dir` not the name of a folder.
    ValueError
        When a file in `data_dir` or ``CCONV_DATA`` is malformed or is not the file of MNIST. For other data
        in this format there is `read_idx_pair`.

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
    return _load(_MNIST, normalize, flatten, one_hot_label, data_dir)


def load_fashion_mnist(
    normalize: bool = True, flatten: bool = True, one_hot_label: bool = False, *, data_dir: FileName | None = None
) -> FourArrays:
    """Load Fashion-MNIST, photographs of clothes: 60,000 training and 10,000 test images of 28x28.

    The classes are T-shirt or top, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag and ankle boot.

    Its files have the names of MNIST's. They are looked for in ``FashionMNIST/raw``, ``fashion-mnist``,
    ``fashion_mnist`` and ``fashion-mnist/data/fashion`` below `data_dir`, in `data_dir` itself, and in these folders,
    but not beside them, in the one that ``CCONV_DATA`` names; then as `load_mnist` does. What is downloaded, and comes
    from the cache, must have the MD5 that its authors have published. Of a file of your own, which may be compressed
    in another way or not at all, size and labels are checked, the number of images of each class, and that it is not
    MNIST's.

    Parameters
    ----------
    normalize, flatten, one_hot_label : bool
        As in `load_mnist`.
    data_dir : str, bytes or os.PathLike, optional
        A folder with the four files, or with a folder of them.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : tuple of tuples of numpy.ndarray
        In the form `load_mnist` returns.

    Raises
    ------
    DatasetNotFoundError, TypeError, ValueError
        As `load_mnist` does.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
    2017. arXiv:1708.07747.

    Examples
    --------
    >>> from cconv import load_fashion_mnist
    >>> (x_train, t_train), (x_test, t_test) = load_fashion_mnist(flatten=False)  # doctest: +SKIP
    >>> x_train.shape                                                             # doctest: +SKIP
    (60000, 1, 28, 28)
    """
    return _load(_FASHION, normalize, flatten, one_hot_label, data_dir)


def load_kmnist(
    normalize: bool = True, flatten: bool = True, one_hot_label: bool = False, *, data_dir: FileName | None = None
) -> FourArrays:
    """Load Kuzushiji-MNIST, characters of old Japanese books: 60,000 training and 10,000 test images of 28x28.

    The classes are the hiragana o, ki, su, tsu, na, ha, ma, ya, re and wo.

    Its files have the names of MNIST's. They are looked for in ``KMNIST/raw`` and ``kmnist`` below `data_dir`, in
    `data_dir` itself, and in these folders, but not beside them, in the one that ``CCONV_DATA`` names; then as
    `load_mnist` does. What is downloaded, and comes from the cache, must have the MD5 that torchvision has published.
    Of a file of your own, which may be compressed in another way or not at all, size and labels are checked, the number
    of images of each class, and that it is not MNIST's.

    Parameters
    ----------
    normalize, flatten, one_hot_label : bool
        As in `load_mnist`.
    data_dir : str, bytes or os.PathLike, optional
        A folder with the four files, or with a folder of them.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : tuple of tuples of numpy.ndarray
        In the form `load_mnist` returns.

    Raises
    ------
    DatasetNotFoundError, TypeError, ValueError
        As `load_mnist` does.

    References
    ----------
    T. Clanuwat, M. Bober-Irizar, A. Kitamoto, A. Lamb, K. Yamamoto, D. Ha, "Deep Learning for Classical Japanese
    Literature", 2018. arXiv:1812.01718.

    Examples
    --------
    >>> from cconv import load_kmnist
    >>> (x_train, t_train), (x_test, t_test) = load_kmnist(flatten=False)  # doctest: +SKIP
    >>> x_train.shape                                                      # doctest: +SKIP
    (60000, 1, 28, 28)
    """
    return _load(_KMNIST, normalize, flatten, one_hot_label, data_dir)


def _load(data, normalize, flatten, one_hot_label, data_dir):
    flags = present_flags(normalize, flatten, one_hot_label)
    places = user_folders(data.source, data_dir)
    mirrors = list(data.source.mirrors)
    pairs = [_load_pair(data, pair, places, mirrors) for pair in (data.train, data.test)]
    if data.per_class is not None:
        for (path, labels), count in zip((labels for _, labels in pairs), data.per_class, strict=True):
            check_counts(labels, [count] * 10, path, data.source.title)
    train, test = (present(images, labels, *flags) for (_, images), (_, labels) in pairs)
    return train, test


def _load_pair(data, pair, places, mirrors):
    """The images and the labels of one half, each with its path."""
    loaded = images, labels = [_obtain(data, file, places, mirrors) for file in pair]
    # What is wrong in plain words comes before the checksum, which only says that something is.
    check_pair(images[1], labels[1], images[0], labels[0])
    for file, (path, array) in zip(pair, loaded, strict=True):
        _check(data, file, path, array)
    return loaded


def _obtain(data, file, places, mirrors):
    def read_fetched(path):
        array = read_idx(path, max_bytes=file.size)
        _check(data, file, path, array)
        return array

    return obtain(data.source, file, places, mirrors, lambda folder: _find(file, folder), read_idx, read_fetched)


def _find(file, folder):
    plain = file.name.removesuffix(".gz")
    for name in (plain, plain.replace("-idx", ".idx")):
        for path in (folder / name, folder / f"{name}.gz", folder / name / name):
            if path.is_file():
                return path
    return None


def _check(data, file, path, array):
    """Raise unless `array`, read from `path`, is what the data set's `file` holds, as far as that is known."""
    import hashlib  # here, since it would slow the import of cconv

    what = f"{data.source.title}'s {file.name.removesuffix('.gz')}"
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    size = len(header) + array.nbytes
    if size != file.size or array.shape[1:] not in ((), (28, 28)):
        raise ValueError(
            f"{path}: not {what}: expected {file.size} bytes when decompressed, images of 28x28, got {size} bytes, "
            f"shape {array.shape} (to read other data in this format, use read_idx_pair)"
        )
    digest = hashlib.sha256(header)
    digest.update(array.data)
    digest = digest.hexdigest()
    if file.sha256 is None:
        if digest in [known.sha256 for known in (*_MNIST.train, *_MNIST.test)]:
            raise ValueError(f"{path}: not {what} but MNIST's, whose files have the same names")
    elif digest != file.sha256:
        raise ValueError(
            f"{path}: not {what}: expected decompressed bytes with SHA-256 {file.sha256}, got {digest} (to read other "
            "data in this format, use read_idx_pair)"
        )
