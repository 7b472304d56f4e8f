"""Pickles of parameters are read, by any protocol and of any NumPy; nothing else in a pickle is, and nothing runs."""

import builtins
import collections
import copyreg
import os
import pickle
import random
import struct
import subprocess
import sys
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest

import cconv
from cconv import _pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
RNG = np.random.default_rng(0)
VALUES = {
    "W": RNG.random((2, 3)),
    "fortran": np.asfortranarray(RNG.random((2, 3), np.float32)),
    "swapped": RNG.random(3).astype(">f8"),
    "half": RNG.random((2, 2)).astype(np.float16),
    "empty": np.zeros((0, 3)),
    "transposed": RNG.random((2, 3, 4)).transpose(1, 0, 2),
    "strided": RNG.random((4, 4))[:, ::2],
    "scalar": np.float32(3),
    "0-d": np.array(4.0),
    "numbers": 1,
    "float": -2.5,
    "bool": True,
    "large": 10**30,
    "bytes": b"\x00\xffb",
    "no bytes": b"",
    "text": "a text \u30c7",
}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert type(found[name]) is type(value)
        assert getattr(found[name], "dtype", None) == getattr(value, "dtype", None)
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("kind", [dict, OrderedDict])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_parameters_are_made_of_is_read(protocol, kind):
    found = _pickle.loads(pickle.dumps(kind(VALUES), protocol))
    assert type(found) is kind
    assert_same(found, VALUES)
    nested = _pickle.loads(pickle.dumps({"inner": kind(VALUES), "again": VALUES["W"]}, protocol))
    assert_same(nested["inner"], VALUES)
    np.testing.assert_array_equal(nested["again"], VALUES["W"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_array_under_two_names(protocol):
    W = np.arange(3.0)
    found = _pickle.loads(pickle.dumps({"a": W, "b": W, "c": np.arange(3.0)}, protocol))
    assert all(np.array_equal(array, W) for array in found.values())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_other_spellings_of_numpy(protocol):
    """NumPy before 2.0 wrote `numpy.core`; with protocols 3 and below that is a line of text, else a counted one."""
    data = pickle.dumps({"W": VALUES["W"], "s": VALUES["scalar"]}, protocol)
    for module in (b"multiarray", b"numeric"):
        new, old = b"numpy._core." + module, b"numpy.core." + module
        data = data.replace(b"\x8c" + bytes([len(new)]) + new, b"\x8c" + bytes([len(old)]) + old)
        data = data.replace(b"c" + new + b"\n", b"c" + old + b"\n")
    assert b"_core" not in data
    if protocol >= 4:  # the length of the frame
        (length,) = struct.unpack("<Q", data[3:11])
        data = data[:3] + struct.pack("<Q", len(data) - 11) + data[11:]
        assert length != len(data) - 11
    assert_same(_pickle.loads(data), {"W": VALUES["W"], "s": VALUES["scalar"]})


def test_a_pickle_of_python_2():
    """Its texts and bytes are one type, and its dtype has numbers where later ones have False and True."""
    values = struct.pack("<2f", 1.5, -2.0)
    data = b"\x80\x02}q\x01U\x02W1q\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b"
    data += b"\x87Rq\x05(K\x01K\x02\x85cnumpy\ndtype\nq\x06U\x02f4K\x00K\x01\x87Rq\x07(K\x03U\x01<NNNJ\xff\xff\xff\xff"
    data += b"J\xff\xff\xff\xffK\x00tb\x89U" + bytes([len(values)]) + values + b"tbs."
    assert_same(_pickle.loads(data), pickle.loads(data, encoding="latin1"))
    assert_same(_pickle.loads(data), {"W1": np.array([1.5, -2], np.float32)})


# Networks


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_a_network_loads_it(tmp_path, protocol, kind):
    network, other = cconv.SimpleConvNet(hidden_size=5, seed=0), cconv.SimpleConvNet(hidden_size=5, seed=1)
    params = kind((name, value.astype(np.float64)) for name, value in network.params.items())
    (tmp_path / "params.pkl").write_bytes(pickle.dumps(params, protocol))
    held = dict(other.params)
    other.load_params(tmp_path / "params.pkl")
    for name, value in network.params.items():
        np.testing.assert_array_equal(other.params[name], value)
        assert other.params[name] is held[name] and value.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("b3"), r"must hold the parameters .* without b3"),
        (lambda p: p.update(W4=p["W3"]), "must hold the parameters"),
        (lambda p: p.update(b3=p["b3"][1:]), r"b3 must have shape \(10,\) and hold floats, got \(9,\)"),
        (lambda p: p.update(b3=1.0), "b3 must be an array of floats, got float"),
        (lambda p: p.update(b3={"b": p["b3"]}), "b3 must be an array of floats, got dict"),
        (lambda p: p.update(b3=p["b3"].astype(int)), "float16, float32 or float64, got i8"),
        (lambda p: p.update(b3=p["b3"].astype(object)), "float16, float32 or float64, got O8"),
        (lambda p: p.update(b3=p["b3"] * 1e300), "b3 must hold numbers that fit float32"),
    ],
)
def test_all_of_it_or_nothing(tmp_path, change, message):
    network = cconv.SimpleConvNet(hidden_size=5, seed=0)
    before = {name: value.copy() for name, value in network.params.items()}
    params = {name: value + np.float64(1) for name, value in before.items()}
    change(params)
    (tmp_path / "params.pkl").write_bytes(pickle.dumps(params))
    with pytest.raises(ValueError, match=message):
        network.load_params(tmp_path / "params.pkl")
    for name, value in network.params.items():
        np.testing.assert_array_equal(value, before[name])


def test_running_statistics_stay_with_a_warning(tmp_path):
    layers = [cconv.Affine(units=3), cconv.BatchNormalization(), cconv.Dropout(), cconv.Affine(units=2)]
    network = cconv.Network(layers, (4,), seed=0)
    network.gradient(np.ones((2, 4), np.float32), np.array([0, 1]))
    before = layers[1].running_mean
    params = {name: value + 1 for name, value in network.params.items()}
    (tmp_path / "p").write_bytes(pickle.dumps(params))
    with pytest.warns(UserWarning, match="p is a pickle and has no running statistics"):
        network.load_params(tmp_path / "p")
    assert layers[1].running_mean is before
    np.testing.assert_array_equal(network.params["gamma1"], params["gamma1"])


# Attacks


class Calls:
    """Asks whoever unpickles it for a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Persistent(pickle.Pickler):
    def persistent_id(self, value):
        return "id" if isinstance(value, bytes) else None


def persistent(protocol):
    import io

    file = io.BytesIO()
    Persistent(file, protocol).dump({"W": b"x"})
    return file.getvalue()


class Array(np.ndarray):
    pass


class Values(dict):
    pass


class Plain:
    pass


OBJECTS = {
    "os.system": Calls(os.system, "touch ran"),
    "subprocess": Calls(subprocess.call, ["touch", "ran"]),
    "eval": Calls(builtins.eval, "open('ran', 'w')"),
    "exec": Calls(builtins.exec, "open('ran', 'w')"),
    "getattr": Calls(builtins.getattr, "text", "upper"),
    "codecs": Calls(__import__("codecs").decode, b"x", "rot13"),
    "bytearray": Calls(bytearray, 10**12),
    "bytes": Calls(bytes, 10**12),
    "reconstructor": Calls(copyreg._reconstructor, dict, object, None),
    "an object": Plain(),
    "objects": np.array([Calls(os.system, "touch ran")]),
    "objects of none": np.empty(0, object),
    "strings": np.array(["text"]),
    "records": np.zeros(2, [("a", "f8")]),
    "integers": np.arange(3),
    "complex": np.ones(3, complex),
    "long doubles": np.ones(3, np.longdouble),
    "dates": np.zeros(2, "M8[s]"),
    "an array's subclass": np.ones(3).view(Array),
    "a masked array": np.ma.array([1.0, 2.0], mask=[True, False]),
    "a dict's subclass": Values(a=1.0),
    "a default dict": collections.defaultdict(os.getpid, a=1.0),
    "a list": [1.0],
    "a tuple": (1.0,),
    "a set": {1.0},
    "none": None,
    "a function": os.system,
    "a class": np.ndarray,
    "a dtype": np.dtype("f8"),
    "a complex number": 1j,
    "a key that is none of a text": {1: 1.0},
    "a dict in a tuple": ({"a": 1.0},),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", OBJECTS)
def test_anything_else_is_refused_and_nothing_runs(tmp_path, monkeypatch, name, protocol):
    monkeypatch.chdir(tmp_path)
    value = OBJECTS[name]
    for data in (pickle.dumps({"W": value}, protocol), pickle.dumps(value, protocol)):
        with pytest.raises(ValueError, match="it must (hold|have)"):
            _pickle.loads(data)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_persistent_ids_are_refused(protocol):
    with pytest.raises(ValueError, match="got the instruction (BIN)?PERSID"):
        _pickle.loads(persistent(protocol))


def reconstruct(shape, dtype, values):
    """A pickle of {"W": an array} whose parts are pieces of pickles."""
    start = b"\x80\x03}X\x01\x00\x00\x00Wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    return start + b"(K\x01" + shape + dtype + b"\x89" + values + b"tbs."


DOUBLE = b"cnumpy\ndtype\nX\x02\x00\x00\x00f8K\x00K\x01\x87R(K\x03X\x01\x00\x00\x00<NNN"
DOUBLE += b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
HUGE = b"\x8a\x08" + struct.pack("<q", 2**60)
DAMAGED = {
    "nothing": b"",
    "no end": b"\x80\x03}",
    "no value": b"\x80\x03.",
    "two values": b"}}.",
    "an unknown instruction": b"\x80\x03\xff.",
    "a mark alone": b"(.",
    "no mark": b"\x80\x03}u.",
    "what was never put": b"h\x07.",
    "put from nothing": b"q\x00.",
    "a set without dict": b"K\x01K\x02K\x03s.",
    "an odd number of items": b"}(X\x01\x00\x00\x00Wu.",
    "a key alone": b"(X\x01\x00\x00\x00Wd.",
    "a call of a text": b"X\x01\x00\x00\x00W)R.",
    "a call with a text": b"ccollections\nOrderedDict\nX\x01\x00\x00\x00WR.",
    "a build of a dict": b"}}b.",
    "a build of nothing": b"}b.",
    "a pop through a mark": b"}(s.",
    "a duplicate": b"}2.",
    "a huge text": b"X\xff\xff\xff\x7fW.",
    "huge bytes": b"\x8e" + struct.pack("<Q", 2**62) + b".",
    "a huge array of bytes": b"\x96" + struct.pack("<Q", 2**40) + b".",
    "a huge frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62),
    "a number of many digits": b"L" + b"9" * 10_000 + b"L\n.",
    "a number that is none": b"Iabc\n.",
    "a name with a space": b"cos system x\nsystem\n.",
    "a name without module": b"X\x01\x00\x00\x00WK\x01\x93.",
    "an extension": b"\x82\x01.",
    "an instance": b"(ios\nsystem\n.",
    "an object": b"(cos\nsystem\no.",
    "a buffer out of band": b"\x97.",
    "a huge shape": reconstruct(HUGE + b"\x85", DOUBLE, b"C\x08" + bytes(8)),
    "a huge shape of nothing": reconstruct(b"K\x00" + HUGE + HUGE + b"\x87", DOUBLE, b"C\x00"),
    "a shape beyond sizes": reconstruct(HUGE + HUGE + b"\x86", DOUBLE, b"C\x08" + bytes(8)),
    "a negative shape": reconstruct(b"J\xff\xff\xff\xff\x85", DOUBLE, b"C\x08" + bytes(8)),
    "a shape of True": reconstruct(b"\x88\x85", DOUBLE, b"C\x08" + bytes(8)),
    "too many dimensions": reconstruct(b"(" + b"K\x01" * 65 + b"t", DOUBLE, b"C\x08" + bytes(8)),
    "too few bytes": reconstruct(b"K\x02\x85", DOUBLE, b"C\x08" + bytes(8)),
    "values that are numbers": reconstruct(b"K\x02\x85", DOUBLE, b"K\x08"),
    "values that are a list": reconstruct(b"K\x02\x85", DOUBLE, b"]"),
    "a text for bytes that is none": reconstruct(
        b"K\x01\x85", DOUBLE, b"X\x08\x00\x00\x00" + "\u30c7".encode() * 2 + b"ab"
    ),
    "no dtype": reconstruct(b"K\x01\x85", b"N", b"C\x08" + bytes(8)),
    "a dtype as a text": reconstruct(b"K\x01\x85", b"X\x02\x00\x00\x00f8", b"C\x08" + bytes(8)),
    "an array without values": reconstruct(b"", b"", b"").split(b"(K\x01")[0] + b"s.",
    "a dtype of objects": reconstruct(b"K\x01\x85", DOUBLE.replace(b"f8", b"O8"), b"C\x08" + bytes(8)),
    "a dtype with fields": reconstruct(b"K\x01\x85", DOUBLE.replace(b"NNN", b"N}N"), b"C\x08" + bytes(8)),
    "a byte order that is none": reconstruct(b"K\x01\x85", DOUBLE.replace(b"<", b"!"), b"C\x08" + bytes(8)),
    "another kind of array": b"cnumpy.core.multiarray\n_reconstruct\nccollections\nOrderedDict\nK\x00\x85C\x01b\x87R.",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_or_forged_is_refused(name):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            _pickle.loads(DAMAGED[name])
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_text_is_made_bytes_only_once():
    """Each further time costs ten bytes in the file, and a copy of the text in memory."""
    data = b"\x80\x02(X" + struct.pack("<I", 100_000) + b"x" * 100_000 + b"q\x00X\x06\x00\x00\x00latin1q\x01"
    data += b"c_codecs\nencode\nq\x02" + b"h\x02h\x00h\x01\x86R" * 1000
    with pytest.raises(ValueError, match="bytes written once"):
        _pickle.loads(data + b".")


def test_deeply_nested_tuples_take_no_time():
    """The hash of one, or its repr, would go through 2**60 elements."""
    data = b"\x80\x03})" + b"q\x00h\x00\x86" * 60
    for rest in (b"K\x01s.", b"", b"."):
        with pytest.raises(ValueError):
            _pickle.loads(data + rest)


def test_a_dict_inside_of_itself_ends():
    found = _pickle.loads(b"\x80\x03}q\x00X\x01\x00\x00\x00ah\x00s.")
    assert found["a"] is found
    levels = b"\x80\x03" + b"}X\x01\x00\x00\x00a" * 100_000 + b"K\x01" + b"s" * 100_000 + b"."
    value = _pickle.loads(levels)
    while isinstance(value, dict):  # taken apart from outside, as the interpreter would go into it
        value = value.pop("a")
    assert value == 1


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")  # in a text of protocol 0
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_random_damage_is_a_value_error(protocol):
    good = pickle.dumps({"W": VALUES["W"], "fortran": VALUES["fortran"], "s": VALUES["scalar"], "b": b"x"}, protocol)
    draws = random.Random(protocol)
    refused = 0
    for _ in range(1500):
        data = bytearray(good)
        for _ in range(draws.randint(1, 4)):
            place = draws.randrange(len(data))
            kind = draws.randrange(3)
            if kind == 0:
                data[place] = draws.randrange(256)
            elif kind == 1:
                del data[place : place + draws.randint(1, 5)]
            else:
                other = draws.randrange(len(good))
                data[place:place] = good[other : other + draws.randint(1, 30)]
        try:
            found = _pickle.loads(bytes(data))
        except ValueError:
            refused += 1
        else:
            assert isinstance(found, dict)
    assert refused > 500


def test_it_imports_nothing_that_a_pickle_names(tmp_path, run_python):
    (tmp_path / "forged.py").write_text("raise SystemExit('imported')")
    code = "from cconv import _pickle\ntry: _pickle.loads(b'cforged\\nname\\n.')\nexcept ValueError as e: print(e)"
    result = run_python(code)
    assert result.stdout == "it must hold a dict of float arrays, got forged.name\n", result.stderr
    assert "forged" not in sys.modules
