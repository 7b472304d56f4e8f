"""Parameter files: exact, atomic, and refused whole when they do not fit."""

import json
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.numpy

from cconv import Affine, BatchNormalization, Network, Relu, SimpleConvNet

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
    assert safetensors.numpy.load_file("params.pkl").keys() == net.params.keys()


def test_what_a_file_says_of_itself(tmp_path):
    network().save_params(tmp_path / "p")
    said = metadata(tmp_path / "p")
    assert (said["format"], said["version"]) == ("cconv-params", "1")
    architecture = json.loads(said["architecture"])
    assert architecture["input_shape"] == [2, 9, 7]
    assert list(architecture["layers"]["Conv1"]) == ["dilation", "groups", "pad", "stride", "type"]


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
        ({"hidden_size": 6}, r"W2 must have shape \(36, 5\)"),
        ({"output_size": 3}, r"W3 must have shape \(5, 4\)"),
        ({"conv_param": {"filter_num": 4, "filter_size": 2}}, r"W1 must have shape"),
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
        ({"version": "2"}, "has format version 2, this cconv reads version 1"),
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


@pytest.mark.parametrize("edit", [lambda a: a.pop("b3"), lambda a: a.update(W4=a["W3"])], ids=["missing", "extra"])
def test_the_names_must_be_those_of_the_network(tmp_path, edit):
    net = network()
    net.save_params(tmp_path / "p")
    arrays = safetensors.numpy.load_file(tmp_path / "p")
    edit(arrays)
    safetensors.numpy.save_file(arrays, tmp_path / "q", metadata(tmp_path / "p"))
    with pytest.raises(ValueError, match=r"q must hold the parameters \['W1', 'W2', 'W3', 'b1', 'b2', 'b3'\], got"):
        net.load_params(tmp_path / "q")


def test_integers_are_refused(tmp_path):
    net = network()
    net.save_params(tmp_path / "p")
    arrays = {name: array.astype(np.int64) for name, array in net.params.items()}
    safetensors.numpy.save_file(arrays, tmp_path / "q", metadata(tmp_path / "p"))
    with pytest.raises(ValueError, match="W1 must have shape .* and hold floats, got .* of int64"):
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
        pickle.dump({name: array.astype(np.float64) for name, array in old.items()}, file)
    with pytest.raises(ValueError, match="is a pickle") as caught:
        net.load_params("old.pkl")
    _, *lines = str(caught.value).splitlines()
    exec("\n".join(line.removeprefix("    ") for line in lines), {"network": net})
    assert_same(net, old)
    assert_same(net, safetensors.numpy.load_file("params.safetensors"))


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
    with pytest.raises(ValueError, match="b3 must be writeable"):
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
