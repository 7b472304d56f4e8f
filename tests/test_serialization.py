"""Parameter files: exact, atomic, and refused whole when they do not fit."""

import functools
import io
import json
import os
import pickle
import re
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.numpy

import cconv
from cconv import Affine, BatchNormalization, Network, Relu, SimpleConvNet
from cconv.serialization import load_params, save_params

SMALL = {"input_dim": (2, 9, 7), "conv_param": {"filter_num": 3, "filter_size": 2}, "hidden_size": 5, "output_size": 4}


def network(seed=0, **options):
    return SimpleConvNet(**(SMALL | options), seed=seed)


def values(net):
    return {name: array.copy() for name, array in net.params.items()}


def assert_same(net, expected):
    for name, array in net.params.items():
        np.testing.assert_array_equal(array, expected[name])


def metadata(path):
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


def rewrite(path, **changes):
    """Write the file anew with other metadata; None drops an entry."""
    merged = {key: value for key, value in (metadata(path) | changes).items() if value is not None}
    path.write_bytes(safetensors.numpy.save(safetensors.numpy.load(path.read_bytes()), merged or None))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_round_trip_into_the_arrays_that_are_there(tmp_path, dtype):
    saved, loaded = network(0, dtype=dtype), network(1, dtype=dtype)
    saved.save_params(tmp_path / "params.pkl")
    arrays = dict(loaded.params)
    loaded.load_params(tmp_path / "params.pkl")
    assert_same(loaded, saved.params)
    for name, array in loaded.params.items():
        assert array is arrays[name]
        assert array.dtype == dtype


def test_the_default_name_is_used_as_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = network()
    net.save_params()
    assert os.listdir() == ["params.pkl"]
    network(1).load_params()
    assert safetensors.numpy.load_file("params.pkl").keys() == net.state_dict().keys()


def test_what_a_file_says_of_itself(tmp_path):
    network().save_params(tmp_path / "p")
    said = metadata(tmp_path / "p")
    assert (said["format"], said["version"]) == ("cconv-params", "2")
    architecture = json.loads(said["architecture"])
    assert architecture["input_shape"] == [2, 9, 7] and architecture["class"] == "SimpleConvNet"
    assert [name for name, _ in architecture["layers"]] == ["Conv1", "Relu1", "Pool1", "Affine1", "Relu2", "Affine2"]
    assert architecture["layers"][3] == ["Affine1", {"type": "Affine", "units": 5, "bias": True}]
    assert architecture["loss"]["type"] == "SoftmaxWithLoss"
    assert architecture["params"]["W2"] == "Affine1.W"


def test_a_file_of_the_other_precision_is_cast(tmp_path):
    wide, narrow = network(0, dtype="float64"), network(1)
    wide.save_params(tmp_path / "p")
    narrow.load_params(tmp_path / "p")
    assert_same(narrow, {name: array.astype(np.float32) for name, array in wide.params.items()})


def test_running_statistics_are_kept_too(tmp_path):
    def normalised(seed):
        rng = np.random.default_rng(seed)
        layers = OrderedDict(
            Affine1=Affine(rng.standard_normal((4, 3)), np.zeros(3)),
            Norm1=BatchNormalization(np.ones(3), np.zeros(3)),
            Relu1=Relu(),
        )
        return Network(layers, (4,), dtype=np.float64)

    x = np.random.default_rng(0).standard_normal((8, 4))
    trained, other = normalised(1), normalised(2)
    for _ in range(3):
        trained.gradient(x, np.arange(8) % 3)
    trained.save_params(tmp_path / "p")
    other.load_params(tmp_path / "p")
    np.testing.assert_array_equal(other.predict(x), trained.predict(x))
    assert other.layers["Norm1"].running_mean.any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden_size": 6}, "layers.Affine1.units must be 5, got 6$"),
        ({"output_size": 3}, "layers.Affine2.units must be 4, got 3$"),
        ({"conv_param": {"filter_num": 4, "filter_size": 2}}, "layers.Conv1.filters must be 3, got 4$"),
        ({"input_dim": (2, 7, 9)}, r"input_shape must be \[2, 9, 7\], got \[2, 7, 9\]"),
        # Every array has the same shape here: only the recorded settings tell the two apart.
        ({"conv_param": {"filter_num": 3, "filter_size": 2, "stride": 2, "pad": 2}}, "layers.Conv1"),
    ],
)
def test_another_networks_file_is_refused_and_changes_nothing(tmp_path, options, words):
    net = network()
    before = values(net)
    network(1, **options).save_params(tmp_path / "p")
    with pytest.raises(ValueError, match=words):
        net.load_params(tmp_path / "p")
    assert_same(net, before)


def test_settings_count_where_all_shapes_agree(tmp_path):
    def strided(pad):
        return SimpleConvNet(conv_param={"filter_num": 2, "filter_size": 5, "stride": 2, "pad": pad}, seed=0)

    assert strided(0).params["W2"].shape == strided(1).params["W2"].shape
    strided(1).save_params(tmp_path / "p")
    with pytest.raises(
        ValueError, match=r"layers.Conv1.pad must be \[\[0, 0\], \[0, 0\]\], got \[\[1, 1\], \[1, 1\]\]"
    ):
        strided(0).load_params(tmp_path / "p")
    strided((1, 1)).load_params(tmp_path / "p")  # the same, written otherwise


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": None}, "was not written by cconv"),
        ({"format": None, "version": None, "architecture": None}, "was not written by cconv"),
        ({"version": "3"}, "has format version 3, this cconv reads version 2: a newer cconv wrote it"),
        ({"version": "2.5"}, "has format version 2.5, this cconv reads version 2$"),
        ({"architecture": None}, "does not say which architecture"),
        ({"architecture": "{"}, "does not say which architecture"),
        ({"architecture": "[]"}, "holds parameters of another network"),
    ],
)
def test_files_of_another_kind(tmp_path, changes, words):
    net = network()
    net.save_params(tmp_path / "p")
    rewrite(tmp_path / "p", **changes)
    with pytest.raises(ValueError, match=words):
        net.load_params(tmp_path / "p")


@pytest.mark.parametrize("edit", [lambda a: a.pop("Affine2.b"), lambda a: a.update(W4=a["Affine2.W"])])
def test_the_names_must_be_those_of_the_network(tmp_path, edit):
    net = network()
    net.save_params(tmp_path / "p")
    arrays = safetensors.numpy.load_file(tmp_path / "p")
    edit(arrays)
    safetensors.numpy.save_file(arrays, tmp_path / "q", metadata(tmp_path / "p"))
    with pytest.raises(ValueError, match="q must hold the parameters .*, got them with(out Affine2.b| W4)$"):
        net.load_params(tmp_path / "q")


def test_integers_are_refused(tmp_path):
    net = network()
    net.save_params(tmp_path / "p")
    arrays = {name: array.astype(np.int64) for name, array in net.state_dict().items()}
    safetensors.numpy.save_file(arrays, tmp_path / "q", metadata(tmp_path / "p"))
    with pytest.raises(ValueError, match="Conv1.W must have shape .* and hold floats, got .* of int64"):
        net.load_params(tmp_path / "q")


@pytest.mark.parametrize("length", [0, 5, 8, 200, -1])
def test_a_cut_file_is_refused(tmp_path, length):
    net = network()
    net.save_params(tmp_path / "p")
    before = values(net)
    (tmp_path / "p").write_bytes((tmp_path / "p").read_bytes()[:length])
    with pytest.raises(ValueError, match="p is not a safetensors file, or it is damaged"):
        net.load_params(tmp_path / "p")
    assert_same(net, before)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("kind", [dict, OrderedDict])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_not_run_and_the_error_says_how_to_convert_it(tmp_path, protocol, kind):
    bomb = Bomb()
    bomb.path = str(tmp_path / "ran")
    (tmp_path / "old.pkl").write_bytes(pickle.dumps(kind({"W1": bomb}), protocol))
    with pytest.raises(ValueError, match=r"(?s)old.pkl is a pickle.*pickle.load.*save_params"):
        network().load_params(tmp_path / "old.pkl")
    assert not (tmp_path / "ran").exists()


def test_the_conversion_that_the_error_shows_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old, net = values(network(3)), network(1)
    with open("old.pkl", "wb") as file:
        pickle.dump({name: array.tolist() for name, array in old.items()}, file)
    with pytest.raises(ValueError, match="is a pickle of something else than parameters") as caught:
        net.load_params("old.pkl")
    _, *lines = str(caught.value).splitlines()
    exec("\n".join(line.removeprefix("    ") for line in lines), {"network": net})
    assert_same(net, old)
    assert safetensors.numpy.load_file("params.safetensors").keys() == net.state_dict().keys()


def test_a_header_that_begins_like_a_pickle_is_none(tmp_path):
    """The first byte of safetensors is the low byte of a length, which is now and then a pickle's 0x80."""
    net = network()
    for padding in range(0, 400, 8):
        net.architecture = lambda padding=padding: {"padding": "x" * padding}
        net.save_params(tmp_path / "p")
        if (tmp_path / "p").read_bytes()[:1] == b"\x80":
            net.load_params(tmp_path / "p")
            return
    pytest.fail("no header had a length of 128 modulo 256")


def test_a_read_only_parameter_is_refused_before_anything_changes(tmp_path):
    net = network()
    network(1).save_params(tmp_path / "p")
    before = values(net)
    net.params["b3"].flags.writeable = False
    with pytest.raises(ValueError, match="Affine2.b must be writeable"):
        net.load_params(tmp_path / "p")
    assert_same(net, before)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        network().load_params(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        network().save_params(tmp_path / "missing" / "p")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    network(0).save_params(tmp_path / "p")
    before = (tmp_path / "p").read_bytes()

    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space left"):
        network(1).save_params(tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == before
    assert os.listdir(tmp_path) == ["p"]


@pytest.mark.skipif(os.name == "nt", reason="links and permission bits are POSIX's")
def test_links_are_followed_and_the_umask_holds(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    old = os.umask(0o027)
    try:
        network().save_params(tmp_path / "link")
    finally:
        os.umask(old)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name == "nt", reason="permission bits are POSIX's")
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path):
    network(0).save_params(tmp_path / "p")
    (tmp_path / "p").chmod(0o600)
    network(1).save_params(tmp_path / "p")
    assert (tmp_path / "p").stat().st_mode & 0o777 == 0o600


def peak(call, *arguments):
    """Return the most memory that is held during a call that raises a ValueError, and what that says."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as caught:
            call(*arguments)
        return tracemalloc.get_traced_memory()[1], str(caught.value)
    finally:
        tracemalloc.stop()


def with_head(path, head, size=0):
    """Write a file with this head, and as many zeros behind it: a file with a hole, which takes no room."""
    head = head if isinstance(head, bytes) else json.dumps(head).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    os.truncate(path, 8 + len(head) + size)


GIBIBYTE = 1 << 30


def test_zeros_are_refused_without_reading_them(tmp_path):
    (tmp_path / "p").touch()
    os.truncate(tmp_path / "p", GIBIBYTE)
    used, message = peak(network().load_params, tmp_path / "p")
    assert used < 1 << 20 and "p is not a safetensors file, or it is damaged: it must begin with the length" in message


@pytest.mark.parametrize("length", [0, 1, 100_000_001, GIBIBYTE, 2**63, 2**64 - 1])
def test_a_head_that_is_said_to_be_too_long_is_not_read(tmp_path, length):
    (tmp_path / "p").write_bytes(length.to_bytes(8, "little") + b"{")
    os.truncate(tmp_path / "p", GIBIBYTE)
    used, message = peak(network().load_params, tmp_path / "p")
    assert used < 1 << 20 and "damaged" in message


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda head: head["__metadata__"].update(format="pt"), "was not written by cconv: its format is 'pt'"),
        (lambda head: head["__metadata__"].update(version="3"), "has format version 3"),
        (lambda head: head["__metadata__"].update(architecture="{}"), "holds parameters of another network"),
        (lambda head: head.update(W9=head.pop("W")), r"must hold the parameters .* without Conv1.W"),
        (lambda head: head.update({"Conv1.W": head.pop("W")}), r"must hold the parameters .* without Conv1.b"),
    ],
)
def test_what_does_not_fit_is_refused_without_reading_its_data(tmp_path, edit, words):
    net = network()
    net.save_params(tmp_path / "p")
    head = {
        "__metadata__": metadata(tmp_path / "p"),
        "W": {"dtype": "F32", "shape": [GIBIBYTE // 4], "data_offsets": [0, GIBIBYTE]},
    }
    edit(head)
    with_head(tmp_path / "p", head, GIBIBYTE)
    used, message = peak(net.load_params, tmp_path / "p")
    assert used < 1 << 20 and re.search(words, message), message


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)} | more


@pytest.mark.parametrize(
    "head",
    [
        b"{",
        b"{}}",
        b'{"\xff": 1}',
        "{}".encode("utf-16"),
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b'{"a":' * 10**5,
        b'{"W": ' + b"9" * 5000 + b"}",
        {"W": None},
        {"W": []},
        {"W": {"dtype": "F32", "shape": [2]}},
        {"W": entry(more=1)},
        {"W": entry("F31")},
        {"W": entry(None)},
        {"W": entry(["F32"])},
        {"W": entry(shape=(2.0,))},
        {"W": entry(shape=(True, 2))},
        {"W": entry(shape=(-2, -1))},
        {"W": entry(shape=(3,))},
        {"W": entry(shape=(2**64, 2**64))},
        {"W": entry(shape=(1,) * 100 + (2,))},
        {"W": entry(offsets=(0,))},
        {"W": entry(offsets=(0, 8, 8))},
        {"W": entry(offsets=(8, 16))},
        {"W": entry(offsets=(0, 7))},
        {"W": entry(offsets=(0, 2**70))},
        {"W": entry(offsets=(-8, 0))},
        {"W": entry(), "V": entry()},
        {"W": entry(), "V": entry(offsets=(4, 12))},
        {"W": entry(), "V": entry(offsets=(9, 17))},
        {"__metadata__": None, "W": entry()},
        {"__metadata__": {"format": 1}, "W": entry()},
        {"__metadata__": {"format": "cconv-params"}, "W": entry(shape=(4,), offsets=(0, 16))},
    ],
    ids=lambda head: str(head)[:30],
)
def test_a_forged_head_is_refused(tmp_path, head):
    net = network()
    before = values(net)
    with_head(tmp_path / "p", head, 8)
    with pytest.raises(ValueError, match="p is not a safetensors file, or it is damaged: "):
        net.load_params(tmp_path / "p")
    assert_same(net, before)


def test_numbers_that_the_narrower_dtype_does_not_hold_are_refused_and_change_nothing(tmp_path):
    wide, narrow = network(0, dtype="float64"), network(1)
    before = values(narrow)
    wide.params["b3"][1] = -1e39
    wide.save_params(tmp_path / "p")
    with pytest.raises(ValueError, match="p: Affine2.b must hold numbers that fit float32, got larger ones"):
        narrow.load_params(tmp_path / "p")
    assert_same(narrow, before)
    wide.params["b3"][:3] = np.inf, -np.inf, np.nan  # these fit
    wide.save_params(tmp_path / "p")
    narrow.load_params(tmp_path / "p")
    np.testing.assert_array_equal(narrow.params["b3"][:3], [np.inf, -np.inf, np.nan])


@pytest.mark.parametrize("dtype", [np.longdouble, object, "M8[s]", "S3", [("a", "f4")]], ids=str)
def test_an_array_of_a_dtype_that_no_file_holds_is_refused(tmp_path, dtype):
    for value in (np.zeros(2, dtype), 1.0):
        with pytest.raises(TypeError, match="W must be an array of a dtype that safetensors has, got"):
            save_params(tmp_path / "p", {"W": value}, {})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", [np.float32(1), {1, 2}, {"a": object()}], ids=["scalar", "set", "object"])
def test_an_architecture_of_other_than_json_values_is_refused(tmp_path, value):
    with pytest.raises(TypeError, match="architecture must hold JSON values: Object of type"):
        save_params(tmp_path / "p", {}, {"layers": value})
    nested = functools.reduce(lambda inner, _: {"layer": inner}, range(200), 1)
    with pytest.raises(ValueError, match="architecture must hold JSON values: it is nested more than 100 times"):
        save_params(tmp_path / "p", {}, nested)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 3), (2, 3)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_dtype_comes_back(tmp_path, dtype, shape, order):
    saved = (np.arange(np.prod(shape, dtype=int)) % 5).reshape(shape).astype(order + dtype)
    save_params(tmp_path / "p", {"W": saved}, {})
    loaded = {"W": np.full_like(saved, 1)}
    load_params(tmp_path / "p", loaded, {})
    assert loaded["W"].dtype == saved.dtype
    np.testing.assert_array_equal(loaded["W"], saved)
    if shape:
        np.testing.assert_array_equal(safetensors.numpy.load_file(tmp_path / "p")["W"], saved)


class Factor:
    """A layer whose parameter is a single number."""

    param_names = ("k",)

    def __init__(self, k):
        self.k = np.array(k, np.float32)

    def forward(self, x):
        return x * self.k

    def backward(self, dout):
        return dout * self.k


def test_a_parameter_without_dimensions_and_one_of_swapped_bytes(tmp_path):
    nets = [Network([Affine(units=2), Factor(k), Relu()], (3,), seed=0) for k in (2, 3)]
    expected = nets[0].params["W1"].copy()
    nets[0].params["W1"] = expected.astype(">f4")
    nets[0].save_params(tmp_path / "p")
    nets[1].load_params(tmp_path / "p")
    assert nets[1].params["k1"] == 2 and nets[1].params["k1"].shape == ()
    np.testing.assert_array_equal(nets[1].params["W1"], expected)


def test_the_same_network_gives_the_same_bytes_each_time():
    network = cconv.Network([cconv.Affine(units=2)], (3,), seed=0, classes=['\u00e4 "1"', "\U0001f600"])
    files = [io.BytesIO() for _ in range(20)]  # in which metadata in a random order would not always be the same
    for file in files:
        network.save(file)
    assert len({file.getvalue() for file in files}) == 1
    assert cconv.load(files[0].getvalue()).classes == network.classes
