"""Networks and checkpoints in safetensors files, written all or not at all, and checked before their data are read.

A file of format version 2 holds each array once, under the name of its layer (``conv1.W``), and says in its metadata,
as JSON texts, what network they are of: `Network.architecture` shows it. Beside that, a checkpoint holds what training
goes on from. Version 1 had the layers in no order and the parameters under the names W1, b1, ...
"""

from __future__ import annotations

import io
import json
import math
import os
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _pickle
from ._arrays import as_array
from ._checks import checked_dict, flag, mapping
from ._files import path_of, write
from ._typing import Array, ArrayDict, File, FileName
from .geometry import integer
from .layers.stack import CUSTOM

__all__ = [
    "NotLoaded",
    "differences",
    "load_params",
    "load_state",
    "put",
    "read_arrays",
    "read_checkpoint",
    "read_head",
    "read_network",
    "save_checkpoint",
    "save_params",
]

PARAMS = "cconv-params"
CHECKPOINT = "cconv-checkpoint"
VERSION = 2
# What a file says of a network that another network may have otherwise, and still take its parameters.
OWN = ("class", "dtype", "classes", "frozen", "params")
LARGEST_PIECE = 1 << 24  # bytes that are read at a time
PICKLE_STARTS = (b"\x80", b"(", b"}", b"c")  # a binary protocol; a dict, or an OrderedDict, in protocols 0 and 1
LONGEST_HEAD = 100_000_000  # bytes, as safetensors has it
MOST_DIMENSIONS = 64  # as NumPy has it
DEEPEST = 100  # nesting of JSON values: far less than Python's recursion takes
DTYPES = {
    **{f"F{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    **{f"{kind.upper()}{bits}": np.dtype(f"<{kind}{bits // 8}") for kind in "iu" for bits in (8, 16, 32, 64)},
    "BOOL": np.dtype(bool),
    "C64": np.dtype("<c8"),
}


class NotLoaded(NamedTuple):
    """The names of arrays that loading left out: not in the file, not in the network, of a shape that does not fit.

    Examples
    --------
    >>> NotLoaded(missing=["affine2.W"], unexpected=[], mismatched=[]).missing
    ['affine2.W']
    """

    missing: list[str]
    unexpected: list[str]
    mismatched: list[str]


def save_params(
    file_name: File, params: Mapping[str, Array], architecture: Mapping[str, Any], *, name: str = "file_name"
) -> None:
    """Write parameters to a safetensors file, all of it or nothing.

    The file appears under its name only when it is complete: it is written beside it and then renamed. A pipe or a
    device is written into.

    Parameters
    ----------
    file_name : str, bytes or path, or binary file
        Used as given, whatever its ending. A file that is replaced hands on its mode; a link stays one. Into a binary
        file the bytes are written where it stands.
    params : mapping of str to ndarray
    architecture : dict
        JSON values: what `Network.architecture` returns, for instance.
    name : str, keyword only
        What an error calls the first argument.

    Raises
    ------
    TypeError, ValueError
        If no file can have that name, an array is none or of a dtype that safetensors does not have, or what else is
        written does not consist of JSON values.
    OSError
        If the file cannot be written; one of this name that was there is left as it was.
    """
    data = _packed(PARAMS, params, architecture=architecture)
    out: Any = file_name
    if not callable(getattr(out, "write", None)):
        write(path_of(out, name), data)
        return
    try:
        out.write(data)
    except TypeError as error:
        raise TypeError(f"{name} must be open for bytes, not for text: {error}") from None


def save_checkpoint(
    file_name: FileName, params: Mapping[str, Array], architecture: Mapping[str, Any], rest: Mapping[str, Any]
) -> None:
    """Write parameters and whatever else training goes on from to a safetensors file, all of it or nothing.

    Parameters
    ----------
    file_name : str, bytes or path
    params : mapping of str to ndarray
    architecture : dict
        JSON values that a network must agree with to load the file.
    rest : dict
        Of JSON values, arrays and dicts of these.

    Raises
    ------
    TypeError, ValueError, OSError
        As `save_params` does.
    """
    arrays = {f"network.{name}": value for name, value in params.items()}
    rest = _without_arrays(rest, "rest", arrays)
    write(path_of(file_name), _packed(CHECKPOINT, arrays, architecture=architecture, rest=rest))


def _packed(kind, arrays, **metadata):
    """Return the bytes of a file."""
    from safetensors.numpy import save

    for name, value in arrays.items():
        if not isinstance(value, np.ndarray) or _native(value.dtype) not in map(_native, DTYPES.values()):
            got = getattr(value, "dtype", type(value).__name__)
            raise TypeError(f"{name} must be an array of a dtype that safetensors has, got {got}")
    metadata = {name: _text(name, value) for name, value in metadata.items()}
    metadata |= {"format": kind, "version": str(VERSION)}
    data = save({name: np.require(value, requirements="C") for name, value in arrays.items()}, metadata)
    return _in_order(memoryview(data))


def _in_order(data):
    """Return a file with its metadata in order, which safetensors writes in a random one: the same bytes each time."""
    begin = 8 + int.from_bytes(data[:8], "little")
    head = json.loads(bytes(data[8:begin]))
    head = {"__metadata__": dict(sorted(head.pop("__metadata__").items())), **head}
    text = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    return b"".join([len(text).to_bytes(8, "little"), text, data[begin:]])


def _text(name, value):
    """Return a value as a JSON text that can be read again."""
    try:
        text = json.dumps(value)
        _json(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise type(error)(f"{name} must hold JSON values: {error}") from None
    return text


def _without_arrays(tree, place, arrays):
    """Return `tree` with a reference for each array in it, which is put into `arrays` under its place."""
    if isinstance(tree, np.ndarray):
        arrays[place] = tree
        return {"array": place}
    if isinstance(tree, dict):
        return {name: _without_arrays(value, f"{place}.{name}", arrays) for name, value in tree.items()}
    return tree


def _with_arrays(tree, arrays):
    if isinstance(tree, dict):
        if tree.keys() == {"array"} and isinstance(tree["array"], str):
            return arrays[tree["array"]]
        return {name: _with_arrays(value, arrays) for name, value in tree.items()}
    return tree


def load_params(
    file_name: File, params: Mapping[str, Array], architecture: Mapping[str, Any], *, strict: bool = True
) -> NotLoaded:
    """Read parameters that `save_params` or `save_checkpoint` wrote, or a pickle of the chapter's, in place.

    The head of the file is checked before its data are read. Nothing that a pickle holds is run.

    Parameters
    ----------
    file_name : str, bytes or path, or binary file
    params : mapping of str to ndarray
        Floats are cast to the dtype of these arrays; any others must have it.
    architecture : dict
        What the file's must be, but for what `OWN` names.
    strict : bool, default True, keyword only
        Whether the architectures must agree and all arrays fit; else those are read that fit by their names and shapes.

    Returns
    -------
    NotLoaded
        Of three empty lists, where `strict` is True.

    Warns
    -----
    UserWarning
        If the file is of version 1: the order of its layers is not in it.

    Raises
    ------
    OSError
        If the file cannot be read: FileNotFoundError if there is none.
    TypeError
        If `file_name` is no name of a file.
    ValueError
        If it is not such a file, is damaged, or belongs to another architecture, holds numbers too large for the dtype,
        or an array is read-only; nothing has changed then. A pickle must hold a dict of float arrays, and nothing else.

    Warns
    -----
    UserWarning
        If `params` has running statistics, which the chapter's pickles do not hold: they stay as they are.
    """
    strict = flag(strict, "strict")
    with _opened(file_name, "file_name") as (file, place, size):
        if _is_pickle(file):
            return _load_pickle(file, place, params, architecture, strict)
        entries, metadata = _read_head(file, place, size, (PARAMS, CHECKPOINT), oldest=1)
        old = metadata["version"] == "1"
        if strict:
            _compare(place, metadata, architecture, old=old)
        names = _network_entries(entries, metadata)
        if old:
            layer_names = architecture.get("params", {})
            names = {key: layer_names.get(name, name) for key, name in names.items()}
        found = {name: entries[key] for key, name in names.items()}
        left_out = _left_out(place, found, params, strict)
        fitting = {key: name for key, name in names.items() if name in params and name not in left_out.mismatched}
        arrays = _read_arrays(file, place, entries, fitting)
    put({name: _cast(arrays[key], params[name].dtype, f"{place}: {name}") for key, name in fitting.items()}, params)
    if old:
        warnings.warn(
            f"{place} has format version 1: the order of its layers is not in it and was not checked; save it again",
            stacklevel=3,
        )
    return left_out


def load_state(
    state: Mapping[str, ArrayLike], params: Mapping[str, Array], *, strict: bool = True, place: str = "state"
) -> NotLoaded:
    """Write the arrays of a mapping into those of `params`, in place.

    Parameters
    ----------
    state : mapping of str to array_like
        Floats are cast to the dtype of the arrays in `params`; any others must have it.
    params : mapping of str to ndarray
    strict : bool, default True, keyword only
        Whether names and shapes must all fit; else those are written that do.
    place : str, keyword only
        What an error calls the mapping.

    Returns
    -------
    NotLoaded

    Raises
    ------
    TypeError, ValueError
        If it is no mapping, something does not fit, or an array of `params` is read-only; nothing has changed then.

    Examples
    --------
    >>> params = {"W": np.zeros(2), "b": np.zeros(1)}
    >>> load_state({"W": np.ones(2)}, params, strict=False).missing, params["W"].tolist()
    (['b'], [1.0, 1.0])
    """
    strict = flag(strict, "strict")
    arrays = {name: as_array(value, f"{place}[{name!r}]") for name, value in mapping(state, place).items()}
    left_out = _left_out(place, arrays, params, strict)
    names = [name for name in arrays if name in params and name not in left_out.mismatched]
    put({name: _cast(arrays[name], params[name].dtype, f"{place}: {name}") for name in names}, params)
    return left_out


def read_checkpoint(
    file_name: FileName, params: Mapping[str, Array], architecture: Mapping[str, Any]
) -> tuple[ArrayDict, dict[str, Any]]:
    """Return the parameters and the rest that `save_checkpoint` wrote, having changed nothing.

    Parameters
    ----------
    file_name : str, bytes or path
    params : mapping of str to ndarray
        What the file's parameters are for: their names, shapes and dtypes must be these.
    architecture : dict
        What the file's must be, the frozen layers too.

    Returns
    -------
    arrays : dict of str to ndarray
        To be `put` into `params`.
    rest : dict

    Raises
    ------
    OSError, TypeError, ValueError
        As `load_params` does.
    """
    with _opened(path_of(file_name), "file_name") as (file, place, size):
        entries, metadata = _read_head(file, place, size, (CHECKPOINT,))
        _compare(place, metadata, architecture, also=("frozen",))
        names = _network_entries(entries, metadata)
        _left_out(place, {name: entries[key] for key, name in names.items()}, params, strict=True, exact=True)
        arrays = _read_arrays(file, place, entries, entries)
    try:
        rest = _with_arrays(_json(metadata["rest"]), arrays)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{place} is damaged: the state of the training is not in it: {error}") from None
    return {name: arrays[key] for key, name in names.items()}, rest


def read_network(source: File, make: Callable[..., Any], name: str = "file") -> Any:
    """Return the network that a file holds.

    Parameters
    ----------
    source : str or path, binary file, or bytes
        Bytes are the content of a file.
    make : callable
        ``make(description, entries)`` returns the network without having allocated arrays, and a function that puts
        arrays into it; `description` is the architecture that was written, `entries` is what has `shape` and `dtype` by
        the array's name. It may raise TypeError, LookupError and ValueError.
    name : str
        What an error calls the argument.

    Raises
    ------
    OSError, TypeError
        As `load_params` does.
    ValueError
        If it is not such a file, is damaged, or `make` refuses it.
    """
    with _opened(source, name, content=True) as (file, place, size):
        entries, metadata = _read_head(file, place, size, (PARAMS, CHECKPOINT))
        names = _network_entries(entries, metadata)
        description = _architecture(place, metadata)
        try:
            network, fill = make(description, {name: entries[key] for key, name in names.items()})
        except (TypeError, LookupError, ValueError) as error:
            raise ValueError(f"{place} does not hold a network that can be made: {error}") from error
        arrays = _read_arrays(file, place, entries, names)
    fill({name: arrays[key] for key, name in names.items()})
    return network


def read_arrays(source: File, name: str = "file") -> ArrayDict:
    """Return the arrays of any safetensors file, by name.

    Raises
    ------
    OSError, TypeError, ValueError
        If it cannot be read, or is no such file.
    """
    with _opened(source, name) as (file, place, size):
        entries, _ = _read_any_head(file, place, size)
        return _read_arrays(file, place, entries, entries)


def read_head(source: File, name: str = "file") -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a safetensors file says of its arrays, without reading them.

    Returns
    -------
    entries : dict of str to object
        What has the `shape` and the `dtype` of each array, by name.
    metadata : dict of str to str

    Raises
    ------
    OSError, TypeError, ValueError
        If it cannot be read, or is no such file.
    """
    with _opened(source, name) as (file, place, size):
        return _read_any_head(file, place, size)


def put(arrays: Mapping[str, Array], params: Mapping[str, Array]) -> None:
    """Write arrays that were checked into those of `params`."""
    for name, value in arrays.items():
        params[name][...] = value


@contextmanager
def _opened(source, name, content=False):
    """Give a file that stands where its content begins, what an error calls it, and how many bytes it has.

    Bytes are a path, or else the content.
    """
    if callable(getattr(source, "read", None)):
        yield source, name, _size(source)
    elif content and isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source), name, memoryview(source).nbytes
    else:
        path = path_of(source, name)
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            yield file, path, status.st_size if stat.S_ISREG(status.st_mode) else math.inf


def _size(file):
    """Return how many bytes a file has from where it stands; infinity if it does not say."""
    try:
        start = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(start)
    except (AttributeError, OSError, ValueError):  # a pipe, or what comes out of a compressed file
        return math.inf
    return end - start


def _architecture(place, metadata):
    """Return what a file says of its network."""
    try:
        return _json(metadata["architecture"])
    except (ValueError, KeyError):
        raise ValueError(f"{place} is damaged: it does not say which architecture it is of") from None


def _compare(place, metadata, architecture, *, also=(), old=False):
    """Refuse the file of another network: of another `architecture`, but for what `OWN` names and `also` does not."""
    stored, expected = _architecture(place, metadata), json.loads(json.dumps(architecture))
    if old:
        expected = _version_1(expected, stored)
    for description in (stored, expected):
        if isinstance(description, dict):
            for key in OWN:
                if key not in also:
                    description.pop(key, None)
    difference = next(differences(expected, stored), None)
    if difference is not None:
        raise ValueError(f"{place} holds parameters of another network: {difference}")


# Settings that version 1 did not hold.
ADDED = {"algorithm", "axes", "bias", "filters", "size", "units"}


def _version_1(architecture, stored):
    """Return what version 1 says of a network, for a comparison with what a file of it says."""
    layers = _stack_1(architecture.get("layers", []), _inner(stored, "layers"))
    return {"input_shape": architecture.get("input_shape"), "layers": layers}


def _stack_1(layers, stored):
    return {name: _layer_1(dict(settings), _inner(stored, name)) for name, settings in layers}


def _layer_1(settings, stored):
    settings["type"] = settings["type"].removeprefix(CUSTOM)
    if _are_named(settings.get("branches")):
        settings |= {name: _stack_1(layers, _inner(stored, name)) for name, layers in settings.pop("branches")}
    if settings["type"] == "Flatten":
        settings["shape"] = [-1]
    if "pool_h" in settings:
        settings["window"] = [settings.pop("pool_h"), settings.pop("pool_w")]
        settings.setdefault("dilation", [1, 1])
    return {key: value for key, value in settings.items() if key in stored or key not in ADDED}


def _inner(value, key):
    """Return the dict that a JSON value has under a key, an empty one if it has none."""
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _network_entries(entries, metadata):
    """Return the names of a network's arrays, by the names that they have in the file."""
    if metadata["format"] == PARAMS:
        return {key: key for key in entries}
    return {key: key.removeprefix("network.") for key in entries if key.startswith("network.")}


def _left_out(place, entries, params, strict, exact=False):
    """Return the names of what `params` cannot take; unless it must be exact, floats of another precision will do.

    Raises
    ------
    ValueError
        If it is strict and there are some, or an array that is to be written is read-only.
    """
    left_out = NotLoaded([name for name in params if name not in entries], [n for n in entries if n not in params], [])
    if strict and (left_out.missing or left_out.unexpected):
        wrong = f"without {left_out.missing[0]}" if left_out.missing else f"with {left_out.unexpected[0]}"
        raise ValueError(f"{place} must hold the parameters of this network, got them {wrong}")
    for name, value in params.items():
        if name not in entries:
            continue
        shape, dtype = entries[name].shape, _native(entries[name].dtype)
        cast = value.dtype.kind == "f" and not exact
        if shape != value.shape or (dtype.kind != "f" if cast else dtype != _native(value.dtype)):
            if strict:
                kind = "floats" if cast else _native(value.dtype)
                got = f"{shape} of {dtype}"
                raise ValueError(f"{place}: {name} must have shape {value.shape} and hold {kind}, got {got}")
            left_out.mismatched.append(name)
        elif not value.flags.writeable:
            raise ValueError(f"{name} must be writeable to load parameters into it, got a read-only array")
    return left_out


def _native(dtype):
    return dtype.newbyteorder("=")


def _cast(array, dtype, name):
    """Return an array in a dtype that may be narrower, but not too narrow for its values."""
    try:
        with np.errstate(over="raise", invalid="ignore"):
            return array.astype(dtype, copy=False)
    except FloatingPointError:
        raise ValueError(f"{name} must hold numbers that fit {_native(dtype)}, got larger ones") from None


class _Entry(NamedTuple):
    """An array of a file: what it is, and where its values lie behind the head."""

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def _read_head(file, place, size, kinds, *, oldest=VERSION):
    """Return the entries of a file of one of these kinds, by name in the order of their data, and its metadata."""
    entries, metadata = _read_any_head(file, place, size)
    kind, version = metadata.get("format"), metadata.get("version")
    if kind not in kinds:
        if kind in (PARAMS, CHECKPOINT):
            raise ValueError(f"{place} is a {kind} file of cconv, but must be a {kinds[0]} file")
        raise ValueError(f"{place} was not written by cconv: its format is {kind!r}, not {kinds[0]!r}")
    if version == "1" and (kind == CHECKPOINT or oldest > 1):
        hint = "" if kind == CHECKPOINT else "; load_params reads it into a network that is there"
        raise ValueError(
            f"{place} has format version 1, this cconv reads version {VERSION}: the order of its layers is not in "
            f"it{hint}"
        )
    if version not in ("1", str(VERSION)):
        newer = ": a newer cconv wrote it" if str(version).isdecimal() else ""
        raise ValueError(f"{place} has format version {version}, this cconv reads version {VERSION}{newer}")
    return entries, metadata


def _read_any_head(file, place, size):
    """Return the entries of any safetensors file, by name in the order of their data, and its metadata.

    Nothing behind the head is read, and it must agree with the size of the file, where that is known.
    """
    try:
        start = _read_exactly(file, 9)
        length = int.from_bytes(start[:8], "little")
        if start[8:] != b"{" or not 0 < length <= min(LONGEST_HEAD, size - 8):
            raise ValueError(f"it must begin with the length of its head and {{, got {bytes(start)}")
        entries, metadata = _parse_head(b"{" + _read_exactly(file, length - 1))
        end = 8 + length + max((entry.end for entry in entries.values()), default=0)
        if size not in (end, math.inf):
            raise ValueError(f"its head tells of {end} bytes, the file has {size}")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place} is not a safetensors file, or it is damaged: {error}") from None
    return entries, metadata


def _parse_head(data):
    head = _json(data.decode())
    metadata = head.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise TypeError("its metadata must be a dict of strings")
    entries = {name: _entry(name, value) for name, value in head.items()}
    entries = dict(sorted(entries.items(), key=lambda item: item[1][2:]))
    end = 0
    for name, entry in entries.items():
        # One array behind the other, without gaps.
        if entry.begin != end or entry.end - end != entry.dtype.itemsize * math.prod(entry.shape):
            raise ValueError(f"{name} cannot lie at {entry.begin} to {entry.end}")
        end = entry.end
    return entries, metadata


def _entry(name, value):
    value = checked_dict(value, name, {"dtype": str, "shape": list, "data_offsets": list})
    if value["dtype"] not in DTYPES or len(value["data_offsets"]) != 2 or len(value["shape"]) > MOST_DIMENSIONS:
        raise ValueError(f"{name} must have a known dtype, at most {MOST_DIMENSIONS} dimensions and two offsets")
    shape, (begin, end) = ([integer(n, name, 0) for n in value[key]] for key in ("shape", "data_offsets"))
    return _Entry(DTYPES[value["dtype"]], tuple(shape), begin, end)


def _read_exactly(file, length):
    """Return so many bytes; memory is taken for what has come, not for what is said to come."""
    data = bytearray()
    while len(data) < length:
        piece = file.read(min(length - len(data), LARGEST_PIECE))
        if not isinstance(piece, (bytes, bytearray, memoryview)):
            raise TypeError(f"it must give bytes, got {type(piece).__name__}")
        if not piece:
            raise ValueError(f"{length} bytes were expected, got {len(data)}")
        data += piece
    return data


def _read_arrays(file, place, entries, names):
    """Return the arrays of these names, of all that follow the head."""
    arrays = {}
    for name, entry in entries.items():
        try:
            if name in names:
                # What has a length of 0 may have others that are larger than NumPy has.
                array = np.ndarray(entry.shape, entry.dtype, _read_exactly(file, entry.end - entry.begin))
                arrays[name] = array.astype(_native(entry.dtype), copy=False)
            else:
                for begin in range(entry.begin, entry.end, LARGEST_PIECE):
                    _read_exactly(file, min(entry.end - begin, LARGEST_PIECE))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{place} is damaged: {name} of shape {entry.shape} cannot be read: {error}") from None
    if file.read(1):
        raise ValueError(f"{place} is damaged: it does not end behind its arrays")
    return arrays


def _is_pickle(file):
    """Say whether a file begins and ends like a pickle, and not like safetensors; leave it where it stands."""
    try:
        begin = file.tell()
        start = file.read(9)
        found = start[:1] in PICKLE_STARTS and start[8:] != b"{"  # where safetensors has its head
        if found:
            file.seek(-1, os.SEEK_END)
            found = file.read(1) == b"."
        file.seek(begin)
    except (AttributeError, OSError, TypeError, ValueError):  # a pipe, or a file of text
        return False
    return found


def _load_pickle(file, place, params, architecture, strict):
    """Load parameters from a pickle of the chapter's, which has the names W1, b1, ... and nothing else."""
    names = architecture.get("params", {name: name for name in params})
    own = {name: params[full_name] for name, full_name in names.items()}
    size = sum(array.size for array in own.values())
    left_out = load_state(_pickle.read_params(file, place, size), own, strict=strict, place=place)
    if any(name.endswith(".running_mean") for name in params):
        warnings.warn(
            f"{place} is a pickle and has no running statistics; those of the network stay as they are", stacklevel=4
        )
    return left_out


def _json(text):
    """Return the value of a JSON text; what is nested too deeply to be worked with is a ValueError."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value]
    for _ in range(DEEPEST):
        inner = (v.values() if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list)))
        level = [item for items in inner for item in items]
    if level:
        raise ValueError(f"it is nested more than {DEEPEST} times")
    return value


def differences(expected: Any, stored: Any, place: str = "") -> Iterator[str]:
    """Yield in words where two JSON values differ; lists of named values differ in their order too."""
    if isinstance(expected, dict) and isinstance(stored, dict):
        for key in dict.fromkeys([*expected, *stored]):
            inner = f"{place}.{key}" if place else key
            if key in expected and key in stored:
                yield from differences(expected[key], stored[key], inner)
            else:
                yield f"{inner} must be {expected.get(key, 'none')}, got {stored.get(key, 'none')}"
    elif _are_named(expected) and _are_named(stored):
        for number, (own, other) in enumerate(zip_longest(expected, stored, fillvalue=(None, None))):
            if own[0] != other[0]:
                yield f"{place}[{number}] must be {own[0] or 'none'}, got {other[0] or 'none'}"
                return
            yield from differences(own[1], other[1], f"{place}.{own[0]}")
    elif expected != stored:
        yield f"{place or 'architecture'} must be {expected}, got {stored}"


def _are_named(value):
    """Say whether a JSON value is a list of names and values."""
    return isinstance(value, list) and all(
        isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) for item in value
    )
