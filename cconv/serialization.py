"""Parameters and checkpoints in safetensors files, written all or not at all, read only into what they came from."""

import json
import math
import os
import stat
import warnings
from typing import NamedTuple

import numpy as np

from . import _pickle
from ._checks import checked_dict
from ._files import path_of, write
from .geometry import integer

__all__ = ["load_params", "put", "read_checkpoint", "save_checkpoint", "save_params"]

PARAMS = "cconv-params"
CHECKPOINT = "cconv-checkpoint"
VERSION = 1
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


def save_params(file_name, params, architecture):
    """Write parameters to a safetensors file, all of it or nothing.

    The file appears under its name only when it is complete: it is written beside it and then renamed. A pipe or a
    device is written into.

    Parameters
    ----------
    file_name : str, bytes or path
        Used as given, whatever its ending. A file that is replaced hands on its mode; a link stays one.
    params : mapping of str to ndarray
    architecture : dict
        JSON values that a network must agree with to load the file.

    Raises
    ------
    TypeError, ValueError
        If no file can have that name, an array is none or of a dtype that safetensors does not have, or what else is
        written does not consist of JSON values.
    OSError
        If the file cannot be written; one of this name that was there is left as it was.
    """
    _write(file_name, PARAMS, params, architecture=architecture)


def save_checkpoint(file_name, params, architecture, rest):
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
    _write(file_name, CHECKPOINT, arrays, architecture=architecture, rest=rest)


def _write(file_name, kind, arrays, **metadata):
    from safetensors.numpy import save

    path = path_of(file_name)
    for name, value in arrays.items():
        if not isinstance(value, np.ndarray) or _native(value.dtype) not in map(_native, DTYPES.values()):
            got = getattr(value, "dtype", type(value).__name__)
            raise TypeError(f"{name} must be an array of a dtype that safetensors has, got {got}")
    metadata = {name: _text(name, value) for name, value in metadata.items()}
    metadata |= {"format": kind, "version": str(VERSION)}
    write(path, save({name: np.require(value, requirements="C") for name, value in arrays.items()}, metadata))


def _text(name, value):
    """Return a value as a JSON text that can be read again."""
    try:
        text = json.dumps(value, sort_keys=True)
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


def load_params(file_name, params, architecture):
    """Read parameters that `save_params` wrote, or a pickle of the chapter's, into the arrays of `params`, in place.

    The head of the file is checked before its data are read. Nothing that a pickle holds is run.

    Parameters
    ----------
    file_name : str, bytes or path
    params : mapping of str to ndarray
        Floats are cast to the dtype of these arrays; any others must have it.
    architecture : dict
        What the file's must be.

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
    path = path_of(file_name)
    with open(path, "rb") as file:
        if _is_pickle(file):
            params = _without_buffers(path, params)
            arrays = _pickle.read_params(file, path, sum(value.size for value in params.values()))
            _check(path, arrays, params)
        else:
            entries, metadata = _read_head(file, path, PARAMS)
            _compare(path, metadata, architecture)
            _check(path, entries, params)
            arrays = _read_arrays(file, path, entries)
    put({name: _cast(array, params[name].dtype, f"{path}: {name}") for name, array in arrays.items()}, params)


def read_checkpoint(file_name, params, architecture):
    """Return the parameters and the rest that `save_checkpoint` wrote, having changed nothing.

    Parameters
    ----------
    file_name : str, bytes or path
    params : mapping of str to ndarray
        What the file's parameters are for: their names, shapes and dtypes must be these.
    architecture : dict
        What the file's must be.

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
    path = path_of(file_name)
    with open(path, "rb") as file:
        entries, metadata = _read_head(file, path, CHECKPOINT)
        _compare(path, metadata, architecture)
        names = {key: key.removeprefix("network.") for key in entries if key.startswith("network.")}
        _check(path, {name: entries[key] for key, name in names.items()}, params, exact=True)
        arrays = _read_arrays(file, path, entries)
    try:
        rest = _with_arrays(_json(metadata["rest"]), arrays)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged: the state of the training is not in it: {error}") from None
    return {name: arrays[key] for key, name in names.items()}, rest


def put(arrays, params):
    """Write arrays that were checked into those of `params`."""
    for name, value in params.items():
        value[...] = arrays[name]


def _compare(path, metadata, architecture):
    """Refuse the file of another network."""
    try:
        stored = _json(metadata["architecture"])
    except (ValueError, KeyError):
        raise ValueError(f"{path} is damaged: it does not say which architecture it is of") from None
    expected = json.loads(json.dumps(architecture))
    if stored != expected:
        raise ValueError(f"{path} holds parameters of another network: {'; '.join(_differences(expected, stored))}")


def _check(path, entries, params, exact=False):
    """Refuse arrays that `params` cannot take; unless it must be exact, floats of another precision will do."""
    if entries.keys() != params.keys():
        raise ValueError(f"{path} must hold the parameters {sorted(params)}, got {sorted(entries)}")
    for name, value in params.items():
        shape, dtype = entries[name].shape, _native(entries[name].dtype)
        cast = value.dtype.kind == "f" and not exact
        if shape != value.shape or (dtype.kind != "f" if cast else dtype != _native(value.dtype)):
            kind = "floats" if cast else _native(value.dtype)
            raise ValueError(f"{path}: {name} must have shape {value.shape} and hold {kind}, got {shape} of {dtype}")
        if not value.flags.writeable:
            raise ValueError(f"{name} must be writeable to load parameters into it, got a read-only array")


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


def _read_head(file, path, kind):
    """Return the entries of a file of this kind, by name in the order of their data, and its metadata.

    Nothing behind the head is read, and it must agree with the size of the file, where that has one.
    """
    status = os.fstat(file.fileno())
    size = status.st_size if stat.S_ISREG(status.st_mode) else math.inf
    try:
        start = _read_exactly(file, 9)
        length = int.from_bytes(start[:8], "little")
        if start[8:] != b"{" or not 0 < length <= min(LONGEST_HEAD, size - 8):
            raise ValueError(f"it must begin with the length of its head and {{, got {start}")
        entries, metadata = _parse_head(b"{" + _read_exactly(file, length - 1))
        end = 8 + length + max((entry.end for entry in entries.values()), default=0)
        if size not in (end, math.inf):
            raise ValueError(f"its head tells of {end} bytes, the file has {size}")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a safetensors file, or it is damaged: {error}") from None
    if metadata.get("format") != kind:
        if metadata.get("format") in (PARAMS, CHECKPOINT):
            raise ValueError(f"{path} is a {metadata['format']} file of cconv, but must be a {kind} file")
        raise ValueError(f"{path} was not written by cconv: its format is {metadata.get('format')!r}, not {kind!r}")
    if metadata.get("version") != str(VERSION):
        raise ValueError(f"{path} has format version {metadata.get('version')}, this cconv reads version {VERSION}")
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
    data = file.read(length)
    if len(data) != length:
        raise ValueError(f"{length} bytes were expected, got {len(data)}")
    return data


def _read_arrays(file, path, entries):
    """Return the arrays that follow the head."""
    arrays = {}
    for name, entry in entries.items():
        try:
            array = np.empty(entry.shape, entry.dtype)
        except ValueError as error:  # larger ones beside a 0 than NumPy has
            raise ValueError(f"{path} is damaged: {name} cannot have shape {entry.shape}: {error}") from None
        if file.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:
            raise ValueError(f"{path} is damaged: it ends within {name}")
        arrays[name] = array.astype(_native(entry.dtype), copy=False)
    if file.read(1):
        raise ValueError(f"{path} is damaged: it does not end behind its arrays")
    return arrays


def _is_pickle(file):
    """Say whether a file begins and ends like a pickle, and not like safetensors; leave it at its beginning."""
    if not file.seekable():
        return False
    start = file.read(9)
    found = start[:1] in PICKLE_STARTS and start[8:] != b"{"  # where safetensors has its head
    if found:
        file.seek(-1, os.SEEK_END)
        found = file.read(1) == b"."
    file.seek(0)
    return found


def _without_buffers(path, params):
    """Return what a pickle of the chapter's has: parameters alone, whose names have no dot."""
    if any(name.endswith(".running_mean") for name in params):
        warnings.warn(
            f"{path} is a pickle and has no running statistics; those of the network stay as they are", stacklevel=4
        )
    return {name: value for name, value in params.items() if "." not in name}


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


def _differences(expected, stored, place=""):
    """Yield in words where two JSON values differ."""
    if isinstance(expected, dict) and isinstance(stored, dict):
        for key in sorted(expected.keys() | stored.keys()):
            yield from _differences(expected.get(key), stored.get(key), f"{place}.{key}" if place else key)
    elif expected != stored:
        yield f"{place or 'architecture'} must be {expected}, got {stored}"
