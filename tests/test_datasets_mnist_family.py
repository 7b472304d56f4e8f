"""Data sets whose files have MNIST's names: where they are looked for, and that none is taken for another."""

import gzip
import hashlib
import re

import numpy as np
import pooch
import pytest

import cconv
from cconv.datasets import _places, mnist

LOADERS = {"_FASHION": cconv.load_fashion_mnist, "_KMNIST": cconv.load_kmnist}
FOLDERS = {
    "_FASHION": ("FashionMNIST/raw", "fashion-mnist", "fashion_mnist", "fashion-mnist/data/fashion"),
    "_KMNIST": ("KMNIST/raw", "kmnist"),
}
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def files(seed):
    """A tiny data set of two training images and one test image of each class."""
    rng = np.random.default_rng(seed)
    arrays = []
    for count in (2, 1):
        labels = rng.permutation(np.repeat(np.arange(10, dtype=np.uint8), count))
        arrays += [rng.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8), labels]
    return dict(zip(NAMES, arrays, strict=True))


MNIST, FASHION, KMNIST = files(0), files(1), files(2)
TINY = {"_MNIST": MNIST, "_FASHION": FASHION, "_KMNIST": KMNIST}


def packed(array):
    return gzip.compress(idx(array), mtime=0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Tiny files in the place of the data sets, no environment, a fresh cache, and mirrors that nobody serves."""
    for name, arrays in TINY.items():
        data = getattr(mnist, name)
        found = []
        for file, array in arrays.items():
            sums = {"md5": hashlib.md5(packed(array)).hexdigest()}
            if name == "_MNIST":
                sums = {"sha256": hashlib.sha256(idx(array)).hexdigest()}
            found.append(_places.File(f"{file}.gz", len(idx(array)), **sums))
        source = data.source._replace(mirrors=("http://127.0.0.1:9/",))
        per_class = None if name == "_MNIST" else (2, 1)
        monkeypatch.setattr(mnist, name, mnist._Set(source, tuple(found[:2]), tuple(found[2:]), per_class))
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "caches" / project)
    monkeypatch.delenv("CCONV_DATA", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "caches" / "cconv"


@pytest.fixture(params=LOADERS)
def name(request):
    return request.param


def fill(folder, arrays, pack=idx, ending="", **replaced):
    folder.mkdir(parents=True, exist_ok=True)
    for file, array in arrays.items():
        data = replaced.get(file.replace("-", "_"), array)
        (folder / (file + ending)).write_bytes(pack(data))
    return folder


def check(loaded, arrays):
    (x_train, t_train), (x_test, t_test) = loaded
    for found, expected in zip((x_train, t_train, x_test, t_test), arrays.values(), strict=True):
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def test_forms(tmp_path, name):
    fill(tmp_path, TINY[name])
    (x, t), (x_test, t_test) = LOADERS[name](data_dir=tmp_path)
    assert x.shape == (20, 784) and x.dtype == np.float32 and x.max() <= 1 and x_test.shape == (10, 784)
    assert t.dtype == np.uint8 and t_test.shape == (10,)
    (x, t), _ = LOADERS[name](False, False, True, data_dir=tmp_path)
    assert x.shape == (20, 1, 28, 28) and x.dtype == np.uint8
    assert t.shape == (20, 10) and t.dtype == np.float32


@pytest.mark.parametrize("variable", [False, True])
def test_files_are_found_as_others_lay_them_out(tmp_path, monkeypatch, name, variable):
    fill(tmp_path / "root", MNIST)  # which must not be taken
    for number, folder in enumerate(FOLDERS[name]):
        fill(tmp_path / f"root{number}" / folder, TINY[name], *((packed, ".gz") if number % 2 else ()))
        fill(tmp_path / f"root{number}", MNIST)
        root = tmp_path / f"root{number}"
        if variable:
            monkeypatch.setenv("CCONV_DATA", str(root))
        check(LOADERS[name](False, data_dir=None if variable else root), TINY[name])


@pytest.mark.parametrize("folder", ["", "MNIST/raw", "mnist"])
def test_mnist_is_found_as_others_lay_it_out(tmp_path, monkeypatch, folder):
    fill(tmp_path / folder, MNIST)
    fill(tmp_path / "FashionMNIST" / "raw", FASHION)
    check(cconv.load_mnist(False, data_dir=tmp_path), MNIST)
    monkeypatch.setenv("CCONV_DATA", str(tmp_path))
    check(cconv.load_mnist(False), MNIST)
    check(cconv.load_fashion_mnist(False), FASHION)


def test_files_in_folders_of_their_own_names(tmp_path):
    for file, array in MNIST.items():
        fill(tmp_path / file, {file: array})
    check(cconv.load_mnist(False, data_dir=tmp_path), MNIST)


def test_mnist_is_never_another_data_set(tmp_path, monkeypatch, name):
    title = getattr(mnist, name).source.title
    fill(tmp_path / "mnist", MNIST)
    monkeypatch.setenv("CCONV_DATA", str(tmp_path / "mnist"))
    with pytest.raises(cconv.DatasetNotFoundError) as error:
        LOADERS[name]()
    folders = ", ".join(FOLDERS[name])
    assert f"CCONV_DATA={str(tmp_path / 'mnist')!r}: no such file in {folders} in it" in str(error.value)
    assert f"there in a folder {FOLDERS[name][0]}" in str(error.value) and title in str(error.value)
    with pytest.raises(ValueError, match=f"not {title}'s train-images-idx3-ubyte but MNIST's"):
        LOADERS[name](data_dir=tmp_path / "mnist")
    fill(tmp_path / "mixed", TINY[name] | {NAMES[1]: MNIST[NAMES[1]]})
    with pytest.raises(ValueError, match=f"not {title}'s train-labels-idx1-ubyte but MNIST's"):
        LOADERS[name](data_dir=tmp_path / "mixed")


LESS = {name: array[:-1] for name, array in FASHION.items()}
UNEVEN = {NAMES[1]: np.where(FASHION[NAMES[1]] == 3, np.uint8(4), FASHION[NAMES[1]])}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (LESS, "train-images-idx3-ubyte: not Fashion-MNIST's .*: expected 15696 bytes .* got 14912 bytes, shape"),
        ({NAMES[0]: FASHION[NAMES[0]].reshape(20, 14, 56)}, r"images of 28x28, got 15696 bytes, shape \(20, 14, 56\)"),
        ({NAMES[1]: FASHION[NAMES[1]] + 1}, "labels must be 0 to 9, got 10"),
        (UNEVEN, "train-labels-idx1-ubyte: not Fashion-MNIST's: expected 2 images of class 3, got 0"),
        (
            {NAMES[3]: np.zeros(10, np.uint8)},
            "t10k-labels-idx1-ubyte: not Fashion-MNIST's: expected 1 images of class 0",
        ),
        ({NAMES[2]: FASHION[NAMES[2]][:5]}, "disagree in number"),
    ],
    ids=["fewer", "other shape", "label", "uneven", "test labels", "number"],
)
def test_files_of_ones_own_are_checked_as_far_as_they_are_known(tmp_path, changed, message):
    fill(tmp_path, FASHION | changed)
    with pytest.raises(ValueError, match=message):
        cconv.load_fashion_mnist(data_dir=tmp_path)


def test_a_cache_must_have_what_was_published(cache, name):
    source = getattr(mnist, name).source
    fill(cache / source.cache, TINY[name], packed, ".gz")
    check(LOADERS[name](False), TINY[name])
    other = cache / source.cache / f"{NAMES[0]}.gz"
    other.write_bytes(gzip.compress(idx(TINY[name][NAMES[0]]), mtime=1))  # the same images, of another time
    with pytest.raises(cconv.DatasetNotFoundError, match=r"(?s)damaged: .*expected MD5 \w+, got .*127\.0\.0\.1:9"):
        LOADERS[name]()
    fill(cache / source.cache, MNIST, packed, ".gz")
    with pytest.raises(cconv.DatasetNotFoundError, match="damaged: .*expected MD5"):
        LOADERS[name]()


def test_a_download_must_have_what_was_published(cache, name, monkeypatch):
    class Downloader:
        served = {f"{file}.gz": packed(array) for file, array in TINY[name].items()}

        def __init__(self, **options):
            pass

        def __call__(self, url, stream, pooch):
            assert url.startswith("http://127.0.0.1:9/")
            stream.write(self.served[url.rpartition("/")[2]])

    monkeypatch.setattr(_places, "_reach", lambda mirror: None)
    monkeypatch.setattr(pooch, "HTTPDownloader", Downloader)
    monkeypatch.setitem(Downloader.served, f"{NAMES[2]}.gz", packed(MNIST[NAMES[2]]))
    with pytest.raises(cconv.DatasetNotFoundError, match="expected MD5"):
        LOADERS[name]()
    folder = cache / getattr(mnist, name).source.cache
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{file}.gz" for file in NAMES[:2])
    monkeypatch.setitem(Downloader.served, f"{NAMES[2]}.gz", packed(TINY[name][NAMES[2]]))
    check(LOADERS[name](False), TINY[name])
    Downloader.served.clear()
    check(LOADERS[name](False), TINY[name])  # from the cache


def test_the_real_tables(monkeypatch, name):
    monkeypatch.undo()
    data = getattr(mnist, name)
    files = (*data.train, *data.test)
    assert [file.name for file in files] == [f"{file}.gz" for file in NAMES] and data.per_class == (6000, 1000)
    assert all(re.fullmatch("[0-9a-f]{32}", file.md5) and file.sha256 is None for file in files)
    assert [file.size for file in files] == [16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000]
    assert all(mirror.endswith("/") for mirror in data.source.mirrors) and data.source.mirrors[0].startswith("https")


def test_real_mnist_is_refused(mnist_dir, monkeypatch, name):
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.* but MNIST's, whose files have the same names"):
        LOADERS[name](data_dir=mnist_dir)
