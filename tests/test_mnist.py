"""Where load_mnist looks, what it trusts, and what it says; with tiny files in MNIST's place except where noted."""

import gzip
import hashlib
import http.server
import os
import re
import socket
import sys
import threading

import numpy as np
import pooch
import pytest

import cconv
from cconv.datasets import _places, mnist

TRAIN_IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
TRAIN_LABELS = np.array([5, 0, 4, 1, 9, 2], np.uint8)
TEST_IMAGES = TRAIN_IMAGES[::-2]
TEST_LABELS = TRAIN_LABELS[::-2]


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


FILES = {
    "train-images-idx3-ubyte": idx(TRAIN_IMAGES),
    "train-labels-idx1-ubyte": idx(TRAIN_LABELS),
    "t10k-images-idx3-ubyte": idx(TEST_IMAGES),
    "t10k-labels-idx1-ubyte": idx(TEST_LABELS),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Tiny files in MNIST's place, no environment, a fresh cache (returned), and mirrors that nobody serves."""
    pinned = [
        _places.File(f"{name}.gz", len(data), sha256=hashlib.sha256(data).hexdigest()) for name, data in FILES.items()
    ]
    source = mnist._MNIST.source._replace(mirrors=("http://127.0.0.1:9/one/", "http://127.0.0.1:9/two/"))
    monkeypatch.setattr(mnist, "_MNIST", mnist._Set(source, tuple(pinned[:2]), tuple(pinned[2:]), None))
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "caches" / project)
    monkeypatch.delenv("CCONV_DATA", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "caches" / "cconv" / "mnist"


def fill(folder, pack=gzip.compress, ending=".gz", rename=str, **replace):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in FILES.items():
        data = replace.get(name.replace("-", "_"), data)
        if data is not None:
            (folder / (rename(name) + ending)).write_bytes(pack(data))
    return folder


@pytest.fixture
def mirror(monkeypatch):
    """A web server on this machine, the second of two mirrors: what it serves (by path) and what it was asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        files = {f"/{name}.gz": gzip.compress(data) for name, data in FILES.items()}
        asked = []

        def do_GET(self):
            self.asked.append(self.path)
            data = self.files.get(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            try:
                self.wfile.write(data or b"")
            except OSError:
                pass  # the client had enough

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/"
    source = mnist._MNIST.source._replace(mirrors=("http://127.0.0.1:9/", address))
    monkeypatch.setattr(mnist, "_MNIST", mnist._MNIST._replace(source=source))
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


def check(data):
    (x_train, t_train), (x_test, t_test) = data
    np.testing.assert_array_equal(x_train, TRAIN_IMAGES.reshape(6, 784) / np.float32(255))
    np.testing.assert_array_equal(x_test, TEST_IMAGES.reshape(3, 784) / np.float32(255))
    np.testing.assert_array_equal(t_train, TRAIN_LABELS)
    np.testing.assert_array_equal(t_test, TEST_LABELS)


def test_flags(tmp_path):
    fill(tmp_path)
    (x, t), (x_test, _) = cconv.load_mnist(data_dir=tmp_path)
    assert x.dtype == np.float32 and x.shape == (6, 784) and x_test.shape == (3, 784)
    assert x.min() == 0 and x.max() == 1
    assert t.dtype == np.uint8 and t.shape == (6,)
    (x, t), _ = cconv.load_mnist(False, False, True, data_dir=tmp_path)
    assert x.dtype == np.uint8 and x.shape == (6, 1, 28, 28)
    np.testing.assert_array_equal(x[:, 0], TRAIN_IMAGES)
    assert t.dtype == np.float32 and t.shape == (6, 10)
    np.testing.assert_array_equal(t.argmax(axis=1), TRAIN_LABELS)
    np.testing.assert_array_equal(t.sum(axis=1), 1)
    assert x.flags.writeable and t.flags.writeable


@pytest.mark.parametrize("rename", [str, lambda name: name.replace("-idx", ".idx")], ids=["-idx", ".idx"])
@pytest.mark.parametrize("pack, ending", [(bytes, ""), (gzip.compress, ".gz"), (bytes, ".gz"), (gzip.compress, "")])
def test_names_and_compression(tmp_path, rename, pack, ending):
    check(cconv.load_mnist(data_dir=str(fill(tmp_path, pack, ending, rename))))


def test_data_dir_is_a_str_bytes_or_a_path(tmp_path):
    fill(tmp_path)
    check(cconv.load_mnist(data_dir=str(tmp_path).encode()))
    with pytest.raises(TypeError, match="data_dir must be a str, bytes or a path, got int"):
        cconv.load_mnist(data_dir=1)


def test_order_of_places(tmp_path, monkeypatch, cache, mirror):
    fill(tmp_path / "argument")
    fill(tmp_path / "environment")
    fill(cache)
    opened = []
    read_idx = mnist.read_idx
    monkeypatch.setattr(mnist, "read_idx", lambda path, **options: opened.append(path) or read_idx(path, **options))

    def folders():
        check(cconv.load_mnist(data_dir=tmp_path / "argument"))
        found = {path.parent for path in opened}
        opened.clear()
        return found

    monkeypatch.setenv("CCONV_DATA", str(tmp_path / "environment"))
    assert folders() == {tmp_path / "argument"}
    (tmp_path / "argument" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert folders() == {tmp_path / "argument", tmp_path / "environment"}
    monkeypatch.delenv("CCONV_DATA")
    assert folders() == {tmp_path / "argument", cache}
    assert not mirror.asked


def test_download(cache, mirror):
    check(cconv.load_mnist())
    assert sorted(path.name for path in cache.iterdir()) == sorted(name + ".gz" for name in FILES)
    assert len(mirror.asked) == 4
    check(cconv.load_mnist())
    assert len(mirror.asked) == 4  # the second time from the cache


@pytest.mark.skipif(os.name == "nt", reason="permission bits are POSIX's")
@pytest.mark.parametrize("mask", [0o022, 0o007, 0o077])
def test_the_umask_decides_who_reads_what_was_downloaded(cache, mirror, mask):
    fill(cache, t10k_labels_idx1_ubyte=b"damaged", train_labels_idx1_ubyte=None)
    for path in cache.iterdir():
        path.chmod(0o600)
    old = os.umask(mask)
    try:
        check(cconv.load_mnist())
    finally:
        os.umask(old)
    modes = {path.name.removesuffix("-ubyte.gz"): path.stat().st_mode & 0o777 for path in cache.iterdir()}
    assert modes["train-labels-idx1"] == modes["t10k-labels-idx1"] == 0o666 & ~mask
    assert modes["train-images-idx3"] == 0o600  # was not downloaded


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-20], lambda data: b"", lambda data: gzip.compress(FILES["t10k-images-idx3-ubyte"])],
    ids=["cut short", "empty", "another file"],
)
def test_damaged_file_in_the_cache_is_fetched_again(cache, mirror, damage):
    fill(cache)
    name = "train-images-idx3-ubyte.gz"
    (cache / name).write_bytes(damage((cache / name).read_bytes()))
    check(cconv.load_mnist())
    assert mirror.asked == ["/" + name]
    assert gzip.decompress((cache / name).read_bytes()) == FILES["train-images-idx3-ubyte"]


@pytest.mark.parametrize(
    "served, message",
    [
        (b"<html>sign in to the network</html>", "not an IDX file"),
        (gzip.compress(FILES["train-images-idx3-ubyte"])[:-100], "damaged or cut short"),
        (gzip.compress(FILES["train-images-idx3-ubyte"][:-1] + b"x"), "expected decompressed bytes with SHA-256"),
        (gzip.compress(idx(np.zeros((1000, 28, 28), np.uint8))), "more than max_bytes"),
        (bytes(1 << 20), "sends more bytes than the file has"),
        (None, "404"),
    ],
    ids=["html", "cut short", "altered", "larger", "endless", "missing"],
)
def test_what_a_mirror_sends_is_not_trusted(cache, mirror, served, message):
    mirror.files = mirror.files | {"/train-images-idx3-ubyte.gz": served}
    with pytest.raises(cconv.DatasetNotFoundError, match=re.escape(message)):
        cconv.load_mnist()
    assert list(cache.iterdir()) == []  # neither the file nor a part of it


@pytest.mark.parametrize("pack", [bytes, lambda data: gzip.compress(data, 0)], ids=["plain", "stored"])
def test_mirrors_need_not_compress_alike(mirror, pack):
    mirror.files = {f"/{name}.gz": pack(data) for name, data in FILES.items()}
    check(cconv.load_mnist())


def test_offline_error_names_every_place_and_the_way_out(tmp_path, monkeypatch, cache):
    (tmp_path / "empty").mkdir()
    fill(cache, train_images_idx3_ubyte=b"rubbish")
    monkeypatch.setenv("CCONV_DATA", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError) as error:
        cconv.load_mnist(data_dir=tmp_path / "empty")
    assert isinstance(error.value, cconv.DatasetNotFoundError)
    text = str(error.value)
    places = [
        f"data_dir={str(tmp_path / 'empty')!r}: no such file in it",
        f"CCONV_DATA={str(tmp_path / 'missing')!r}: not a folder",
        f"cache {cache}: damaged",
        "http://127.0.0.1:9/one/: ConnectionRefusedError",
        "http://127.0.0.1:9/two/: ConnectionRefusedError",
    ]
    positions = [text.index(place) for place in places]
    assert positions == sorted(positions)
    for way_out in ("train-images-idx3-ubyte", "data_dir=", "CCONV_DATA", "load_synthetic_digits"):
        assert way_out in text[positions[-1] :]


def test_a_host_that_never_answers_is_given_up_in_time(monkeypatch, cache):
    done = threading.Event()

    def swallow(address, timeout):
        done.wait(10)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", swallow)
    monkeypatch.setattr(_places, "_TIMEOUT", (0.05, 30))
    with pytest.raises(cconv.DatasetNotFoundError, match="(?s)TimeoutError: no connection within 0.05 s.*/two/"):
        cconv.load_mnist()
    done.set()


def test_where_a_proxy_connects_the_mirror_itself_is_not_tried(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    _places._reach("http://mirror.invalid/")


def test_without_pooch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    check(cconv.load_mnist(data_dir=fill(tmp_path / "full")))  # needs none
    with pytest.raises(cconv.DatasetNotFoundError, match=re.escape("pip install 'cconv[train]'")):
        cconv.load_mnist(data_dir=tmp_path)


def test_a_cache_that_cannot_be_written(cache, mirror):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"a file where the folder should be")
    with pytest.raises(cconv.DatasetNotFoundError, match="Error"):
        cconv.load_mnist()


@pytest.mark.parametrize("variable", [False, True], ids=["data_dir", "CCONV_DATA"])
@pytest.mark.parametrize(
    "replace, message",
    [
        ({"train_images_idx3_ubyte": idx(TRAIN_IMAGES[:5])}, "disagree in number: 5 images in .*, 6 labels in "),
        ({"t10k_labels_idx1_ubyte": idx(TEST_LABELS + 8)}, "labels must be 0 to 9, got "),
        ({"t10k_images_idx3_ubyte": idx(TEST_IMAGES)[:-1]}, "truncated"),
        ({"t10k_images_idx3_ubyte": idx(TEST_IMAGES ^ 1)}, "not MNIST's t10k-images-idx3-ubyte: .*SHA-256"),
        ({"train_labels_idx1_ubyte": idx(TRAIN_LABELS[::-1].copy())}, "not MNIST's train-labels-idx1-ubyte: .*SHA-256"),
    ],
    ids=["number", "label", "truncated", "other images", "other labels"],
)
def test_bad_files_of_the_user_raise_and_stay(tmp_path, monkeypatch, cache, replace, message, variable):
    fill(cache)
    folder = fill(tmp_path / "own", **replace)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    if variable:
        monkeypatch.setenv("CCONV_DATA", str(folder))
    with pytest.raises(ValueError, match=message):
        cconv.load_mnist(data_dir=None if variable else folder)
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def test_real_mirrors(monkeypatch):
    monkeypatch.undo()
    mirrors = mnist._MNIST.source.mirrors
    assert len(mirrors) >= 3 and all(mirror.startswith("https://") for mirror in mirrors)
    assert _places._TIMEOUT[0] == 5


def test_real_mnist(mnist_dir, monkeypatch):
    monkeypatch.undo()  # the real pins
    (x_train, t_train), (x_test, t_test) = cconv.load_mnist(normalize=False, flatten=False, data_dir=mnist_dir)
    assert x_train.shape == (60000, 1, 28, 28) and x_test.shape == (10000, 1, 28, 28)
    assert t_train[:5].tolist() == [5, 0, 4, 1, 9] and t_test[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(t_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
