"""The IDX reader: every type, plain and compressed, and a clear error for each way a file can be wrong."""

import gzip
import io
import os
import re
import threading
import tracemalloc

import numpy as np
import pytest

from cconv import read_idx, read_idx_pair

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array, code=None, shape=None):
    """The bytes of an IDX file, with a header that may disagree with the values."""
    shape = array.shape if shape is None else shape
    code = CODES[array.dtype.str[1:]] if code is None else code
    header = bytes([0, 0, code, len(shape)]) + b"".join(int(n).to_bytes(4, "big") for n in shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(params=["plain", "gzip"])
def write(request, tmp_path):
    """Write bytes into a file, plain or compressed; return its path."""

    def write(data, name="file"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if request.param == "gzip" else data)
        return path

    return write


def refuses(path, *words, **options):
    """The message of the ValueError that reading `path` raises, which names the file and holds each of `words`."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        read_idx(path, **options)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4, 5), (0, 28, 28)])
def test_round_trip(write, dtype, shape):
    values = np.random.default_rng(0).integers(0, 127, shape).astype(dtype)
    array = read_idx(write(idx(values)))
    assert array.dtype == values.dtype and array.dtype.isnative
    assert array.flags.c_contiguous and array.flags.writeable
    np.testing.assert_array_equal(array, values)


@pytest.mark.parametrize("kind", [str, os.fsencode])
def test_path_may_be_a_string_or_bytes(write, kind):
    assert read_idx(kind(write(idx(np.arange(3, dtype=np.uint8))))).tolist() == [0, 1, 2]
    path = write(b"")
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: not an IDX file"):
        read_idx(kind(path))


@pytest.mark.parametrize("path", [1, None, 1.5, [], io.BytesIO()], ids=lambda path: type(path).__name__)
def test_what_is_no_path(write, path):
    labels = write(idx(LABELS))
    with pytest.raises(TypeError, match="^path must be a str, bytes or a path, got"):
        read_idx(path)
    with pytest.raises(TypeError, match="^images_path must be a str, bytes or a path, got"):
        read_idx_pair(path, labels)
    with pytest.raises(TypeError, match="^labels_path must be a str, bytes or a path, got"):
        read_idx_pair(labels, path)


def test_more_than_one_chunk(write):
    values = np.random.default_rng(0).integers(0, 256, (3 << 20) + 5, dtype=np.uint8)
    np.testing.assert_array_equal(read_idx(write(idx(values))), values)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\0\x08", b"\x89PNG\r\n\x1a\n", b"\0\0\x07\x01\0\0\0\0", b"\0\x01\x08\x01\0\0\0\0", b"\0\0\x08\0"],
    ids=["empty", "short", "png", "unknown type", "first bytes not 0", "no dimensions"],
)
def test_not_idx(write, data):
    refuses(write(data), "not an IDX file", "magic number")


def test_truncated_header(write):
    refuses(write(b"\0\0\x08\x03\0\0\0\x01\0\0"), "truncated header", "expected 3 sizes (12 bytes)", "got 6 bytes")


@pytest.mark.parametrize("kept", [0, 1, 9])
def test_truncated(write, kept):
    data = idx(np.arange(10, dtype=np.uint8))
    refuses(write(data[: 8 + kept]), "truncated", "shape (10,) of uint8, 10 bytes", f"got {kept} bytes")


@pytest.mark.parametrize("extra", [b"\0", b"x" * 100])
def test_trailing_bytes(write, extra):
    refuses(write(idx(np.arange(10, dtype=np.uint8)) + extra), "trailing bytes", "10 bytes, got more")


def test_size_that_disagrees_with_the_header(write):
    values = np.zeros((5, 4, 4), np.uint8)
    refuses(write(idx(values, shape=(6, 4, 4))), "truncated", "96 bytes, got 80 bytes")
    refuses(write(idx(values, shape=(4, 4, 4))), "trailing bytes")
    refuses(write(idx(values, code=CODES["f4"])), "truncated", "float32, 320 bytes")


def test_more_than_max_bytes(write):
    path = write(idx(np.zeros((10, 10), np.uint8)))
    assert read_idx(path, max_bytes=100).shape == (10, 10)
    refuses(path, "100 bytes, more than max_bytes = 99", max_bytes=99)
    with pytest.raises(TypeError, match="max_bytes must be an integer, got '99'"):
        read_idx(path, max_bytes="99")
    refuses(write(idx(np.zeros(4, np.uint8), shape=(1 << 31, 1 << 31, 1 << 31))), "more than max_bytes")


@pytest.mark.parametrize("shape", [(0, 2**32 - 1, 2**32 - 1, 2**32 - 1), (1,) * 100], ids=["too large", "dimensions"])
def test_shapes_numpy_cannot_hold(write, shape):
    refuses(write(idx(np.zeros(int(shape[0]), np.uint8), shape=shape)), "NumPy cannot hold")


def damaged(data, name):
    packed = bytearray(gzip.compress(data))
    if name == "cut short":
        return packed[:-12]
    if name == "no trailer":
        return packed[:-8]
    if name == "checksum":
        packed[-6] ^= 1
    elif name == "stream":
        packed[len(packed) // 2] ^= 0xFF
    elif name == "garbage after it":
        packed += b"garbage"
    return packed


@pytest.mark.parametrize("name", ["cut short", "no trailer", "checksum", "stream", "garbage after it"])
def test_damaged_gzip(tmp_path, name):
    path = tmp_path / "file.gz"
    path.write_bytes(damaged(idx(np.random.default_rng(0).integers(0, 256, 1000, dtype=np.uint8)), name))
    refuses(path)


@pytest.mark.skipif(os.name == "nt", reason="pipes are POSIX's")
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_pipe(tmp_path, pack):
    values = np.arange(200_000, dtype=np.int32)
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(pack(idx(values))))
    thread.start()
    np.testing.assert_array_equal(read_idx(tmp_path / "pipe"), values)
    thread.join()


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "missing")


class Counting(io.BytesIO):
    """A file that counts what is read from it."""

    count = 0

    def read(self, size=-1):
        data = super().read(size)
        self.count += len(data)
        return data


def test_reads_no_more_than_the_header_promises():
    from cconv.datasets.idx import _read

    stream = Counting(idx(np.arange(10, dtype=np.uint8)) + b"x" * 10_000)
    with pytest.raises(ValueError, match="trailing"):
        _read(stream, "file", 1 << 20)
    assert stream.count == 8 + 10 + 1


def test_gzip_bombs_cost_nothing(tmp_path):
    path = tmp_path / "bomb.gz"
    zeros = bytes(1 << 20)
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(idx(np.zeros(0, np.uint8), shape=(4,)))
        for _ in range(64):
            stream.write(zeros)
    tracemalloc.start()
    refuses(path, "trailing bytes")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_header_that_promises_much_allocates_nothing(write):
    path = write(idx(np.zeros(16, np.uint8), shape=(2**31,)))
    tracemalloc.start()
    refuses(path, "truncated")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
LABELS = np.array([9, 0], np.uint8)


def test_pair(write):
    images, labels = read_idx_pair(write(idx(IMAGES), "images"), write(idx(LABELS), "labels"))
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (IMAGES, LABELS[:1], "disagree in number: 2 images in .*images, 1 labels in .*labels"),
        (IMAGES, np.array([9, 10], np.uint8), "labels must be 0 to 9, got 10 at index 1"),
        (LABELS, IMAGES, r"images must be uint8 with 3 dimensions, got uint8 of shape \(2,\)"),
        (IMAGES, IMAGES, r"labels must be uint8 with 1 dimension, got uint8 of shape \(2, 3, 4\)"),
        (IMAGES.astype("f4"), LABELS, "images must be uint8 with 3 dimensions, got float32"),
        (IMAGES, LABELS.astype("i4"), "labels must be uint8 with 1 dimension, got int32"),
    ],
)
def test_pairs_that_do_not_belong_together(write, images, labels, message):
    paths = write(idx(images), "images"), write(idx(labels), "labels")
    with pytest.raises(ValueError, match=message):
        read_idx_pair(*paths)


def test_number_of_classes(write):
    paths = write(idx(IMAGES), "images"), write(idx(np.array([0, 46], np.uint8)), "labels")
    assert read_idx_pair(*paths, num_classes=47)[1].tolist() == [0, 46]
    with pytest.raises(ValueError, match="labels must be 0 to 45, got 46 at index 1"):
        read_idx_pair(*paths, num_classes=46)
    with pytest.raises(TypeError, match="num_classes must be an integer, got 2.5"):
        read_idx_pair(*paths, num_classes=2.5)
