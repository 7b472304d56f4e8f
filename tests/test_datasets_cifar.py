"""CIFAR-10 and CIFAR-100: their records, the places they are looked for, and what is trusted of files."""

import gzip
import hashlib
import io
import pickle
import re
import tarfile

import numpy as np
import pooch
import pytest

import cconv
from cconv.datasets import _places, cifar


def records(seed, classes, n):
    """Records of n images, as many of each class; of two labels the first is the group of the second."""
    rng = np.random.default_rng(seed)
    fine = rng.permutation(np.arange(n) % classes[-1]).astype(np.uint8)
    labels = [fine] if len(classes) == 1 else [fine // (classes[1] // classes[0]), fine]
    pixels = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
    return np.concatenate([np.stack(labels, 1), pixels], 1)


FILES = {
    "_CIFAR10": {name: records(i, (10,), 20) for i, name in enumerate([*cifar._CIFAR10.train, "test_batch.bin"])},
    "_CIFAR100": {"train.bin": records(0, (20, 100), 200), "test.bin": records(1, (20, 100), 100)},
}
LOADERS = {"_CIFAR10": cconv.load_cifar10, "_CIFAR100": cconv.load_cifar100}
FOLDERS = {"_CIFAR10": "cifar-10-batches-bin", "_CIFAR100": "cifar-100-binary"}


def archive(contents, folder="some/folder"):
    """A .tar.gz of files, with others beside them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, data in {"readme.html": b"<html>", **contents}.items():
            data = data if isinstance(data, bytes) else data.tobytes()
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


ARCHIVES = {name: archive(files) for name, files in FILES.items()}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Tiny files in the place of the data sets, no environment, a fresh cache, and mirrors that nobody serves."""
    for name, files in FILES.items():
        data = getattr(cifar, name)
        md5 = hashlib.md5(ARCHIVES[name]).hexdigest()
        file = data.archive._replace(size=sum(array.size for array in files.values()), md5=md5)
        train, test = (len(files[names[0]]) for names in (data.train, data.test))
        source = data.source._replace(mirrors=("http://127.0.0.1:9/",))
        changed = data._replace(source=source, archive=file, images=train, test_images=test)
        monkeypatch.setattr(cifar, name, changed)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "caches" / project)
    monkeypatch.delenv("CCONV_DATA", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "caches" / "cconv"


@pytest.fixture(params=LOADERS)
def name(request):
    return request.param


def fill(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        (folder / file).write_bytes(data if isinstance(data, bytes) else data.tobytes())
    return folder


def check(loaded, name, label=-1):
    data, files = getattr(cifar, name), FILES[name]
    labels = len(data.classes)
    for (x, t), names in zip(loaded, (data.train, data.test), strict=True):
        whole = np.concatenate([files[file] for file in names])
        np.testing.assert_array_equal(x.reshape(len(x), 3072), whole[:, labels:])
        np.testing.assert_array_equal(t, whole[:, :labels][:, label])


def test_forms(tmp_path, name):
    fill(tmp_path, FILES[name])
    n, classes = (100, 10) if name == "_CIFAR10" else (200, 100)
    (x, t), _ = LOADERS[name](data_dir=tmp_path)
    assert x.shape == (n, 3072) and x.dtype == np.float32 and x.max() == 1 and x.min() == 0
    assert t.dtype == np.uint8 and t.shape == (n,) and t.flags.c_contiguous
    (x, t), (x_test, _) = LOADERS[name](False, False, True, data_dir=tmp_path)
    assert x.shape == (n, 3, 32, 32) and x.dtype == np.uint8 and x.flags.c_contiguous and x.flags.writeable
    assert t.shape == (n, classes) and t.dtype == np.float32 and x_test.shape[1:] == (3, 32, 32)
    record = FILES[name][getattr(cifar, name).train[0]][0, -3072:]
    np.testing.assert_array_equal(x[0, 0, 0], record[:32])  # the first row of red
    np.testing.assert_array_equal(x[0, 1, 0], record[1024:1056])
    np.testing.assert_array_equal(x[0, 2, 31], record[-32:])


def test_fine_and_coarse_labels(tmp_path):
    fill(tmp_path, FILES["_CIFAR100"])
    check(cconv.load_cifar100(False, data_dir=tmp_path), "_CIFAR100", 1)
    check(cconv.load_cifar100(False, label="fine", data_dir=tmp_path), "_CIFAR100", 1)
    check(cconv.load_cifar100(False, label="coarse", data_dir=tmp_path), "_CIFAR100", 0)
    (_, t), _ = cconv.load_cifar100(one_hot_label=True, label="coarse", data_dir=tmp_path)
    assert t.shape == (200, 20)
    with pytest.raises(ValueError, match="label must be 'fine' or 'coarse', got 'both'"):
        cconv.load_cifar100(label="both", data_dir=tmp_path)


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_places(tmp_path, monkeypatch, name, variable, inside, packed):
    files = {getattr(cifar, name).archive.name: ARCHIVES[name]} if packed else FILES[name]
    fill(tmp_path / FOLDERS[name] if inside else tmp_path, files)
    if variable:
        monkeypatch.setenv("CCONV_DATA", str(tmp_path))
    check(LOADERS[name](False, data_dir=None if variable else tmp_path), name)


def test_files_of_common_names_do_not_hide_the_right_ones(tmp_path):
    fill(tmp_path, {"train.bin": b"of another program", "test.bin": b""})
    fill(tmp_path / "cifar-100-binary", FILES["_CIFAR100"])
    check(cconv.load_cifar100(False, data_dir=tmp_path), "_CIFAR100")


def test_pickles_are_never_read(tmp_path, name, monkeypatch):
    batches = {file.removesuffix(".bin"): pickle.dumps({"data": []}) for file in FILES[name]}
    fill(tmp_path / "cifar-10-batches-py", batches)
    fill(tmp_path, {"cifar-10-python.tar.gz": archive(batches)})
    monkeypatch.setattr(pickle, "load", None)
    monkeypatch.setattr(pickle, "loads", None)
    with pytest.raises(cconv.DatasetNotFoundError):
        LOADERS[name](data_dir=tmp_path)


def changed(name, file, change):
    array = FILES[name][file].copy()
    change(array)
    return FILES[name] | {file: array}


def relabel(array):
    array[array[:, 0] == 3, 0] = 4


def out_of_range(array):
    array[5, 0] = 10


DAMAGE = {
    "cut": (
        FILES["_CIFAR10"] | {"data_batch_3.bin": FILES["_CIFAR10"]["data_batch_3.bin"].tobytes()[:-1]},
        r"data_batch_3\.bin: not CIFAR-10's: expected 61460 bytes, got 61459",
    ),
    "longer": (
        FILES["_CIFAR10"] | {"test_batch.bin": FILES["_CIFAR10"]["test_batch.bin"].tobytes() + b"x"},
        r"test_batch\.bin: not CIFAR-10's: expected 61460 bytes, got more",
    ),
    "a class too few": (
        changed("_CIFAR10", "test_batch.bin", relabel),
        "not CIFAR-10's: expected 2 images of class 3, got 0",
    ),
    "label": (
        changed("_CIFAR10", "data_batch_1.bin", out_of_range),
        r"data_batch_1\.bin.*: labels must be 0 to 9, got 10 at index 5",
    ),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("damage", DAMAGE)
def test_files_of_ones_own_are_checked_as_far_as_they_are_known(tmp_path, damage, packed):
    files, message = DAMAGE[damage]
    fill(tmp_path, {"cifar-10-binary.tar.gz": archive(files)} if packed else files)
    with pytest.raises(ValueError, match=message):
        cconv.load_cifar10(data_dir=tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ARCHIVES["_CIFAR10"][:-1000], "the archive is damaged or cut short"),
        (b"<html>not found</html>", "the archive is damaged or cut short"),
        (b"", "the archive is damaged or cut short"),
        (gzip.compress(b"x" * 5000), "the archive is damaged or cut short"),
        (archive({"test_batch.bin": FILES["_CIFAR10"]["test_batch.bin"]}), "lacks data_batch_1.bin, data_batch_2.bin"),
        (ARCHIVES["_CIFAR100"], "not CIFAR-10's archive: it lacks data_batch_1.bin"),
    ],
    ids=["cut", "page", "empty", "no tar", "lacking", "other"],
)
def test_damaged_archives_are_named(tmp_path, data, message):
    fill(tmp_path, {"cifar-10-binary.tar.gz": data})
    with pytest.raises(ValueError, match=rf"cifar-10-binary\.tar\.gz: .*{message}"):
        cconv.load_cifar10(data_dir=tmp_path)


def test_what_an_archive_names_outside_of_it_is_not_touched(tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        link = tarfile.TarInfo("data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for file, array in FILES["_CIFAR10"].items():
            info = tarfile.TarInfo(f"../../{file}")
            info.size = array.size
            tar.addfile(info, io.BytesIO(array.tobytes()))
    fill(tmp_path / "a" / "b", {"cifar-10-binary.tar.gz": packed.getvalue()})
    check(cconv.load_cifar10(False, data_dir=tmp_path / "a" / "b"), "_CIFAR10")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_lacks_a_file_is_passed_over(tmp_path, cache, name):
    fill(tmp_path / "part", dict(list(FILES[name].items())[1:]))
    fill(cache / getattr(cifar, name).source.cache, {getattr(cifar, name).archive.name: ARCHIVES[name]})
    check(LOADERS[name](False, data_dir=tmp_path / "part"), name)


def test_the_error_names_every_place(tmp_path, monkeypatch, cache, name):
    data = getattr(cifar, name)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("CCONV_DATA", str(tmp_path / "missing"))
    fill(cache / data.source.cache, {data.archive.name: archive(FILES[name], "another")})
    with pytest.raises(cconv.DatasetNotFoundError) as error:
        LOADERS[name](data_dir=tmp_path / "empty")
    text = str(error.value)
    places = [
        f"data_dir={str(tmp_path / 'empty')!r}: no such file in it, nor in {FOLDERS[name]} in it",
        f"CCONV_DATA={str(tmp_path / 'missing')!r}: not a folder",
        f"cache {cache / data.source.cache}: damaged: ",
        "http://127.0.0.1:9/: ConnectionRefusedError",
    ]
    positions = [text.index(place) for place in places]
    assert positions == sorted(positions) and re.search(r"expected MD5 \w{32}, got \w{32}", text)
    for way_out in (data.archive.name, data.test[0], "data_dir=", "CCONV_DATA"):
        assert way_out in text[positions[-1] :]


def test_downloads(cache, name, monkeypatch):
    data = getattr(cifar, name)

    class Downloader:
        served = archive(FILES[name], "another")

        def __init__(self, **options):
            pass

        def __call__(self, url, stream, pooch):
            assert url == f"http://127.0.0.1:9/{data.archive.name}"
            stream.write(self.served)

    monkeypatch.setattr(_places, "_reach", lambda mirror: None)
    monkeypatch.setattr(pooch, "HTTPDownloader", Downloader)
    with pytest.raises(cconv.DatasetNotFoundError, match="expected MD5"):
        LOADERS[name]()
    assert list((cache / data.source.cache).iterdir()) == []
    monkeypatch.setattr(Downloader, "served", bytes(10**6))
    with pytest.raises(cconv.DatasetNotFoundError, match="sends more bytes than the file has|expected MD5"):
        LOADERS[name]()
    monkeypatch.setattr(Downloader, "served", ARCHIVES[name])
    check(LOADERS[name](False), name)
    monkeypatch.setattr(Downloader, "served", None)
    check(LOADERS[name](False), name)  # from the cache


def test_the_real_tables(monkeypatch):
    monkeypatch.undo()
    assert set(cifar._sizes(cifar._CIFAR10).values()) == {30_730_000} and len(cifar._sizes(cifar._CIFAR10)) == 6
    assert cifar._sizes(cifar._CIFAR100) == {"train.bin": 153_700_000, "test.bin": 30_740_000}
    for data in (cifar._CIFAR10, cifar._CIFAR100):
        assert data.archive.size == sum(cifar._sizes(data).values()) and re.fullmatch("[0-9a-f]{32}", data.archive.md5)
        assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in data.source.mirrors)
