"""Parameters and checkpoints in safetensors files, written all or not at all, read only into what they came from."""

import json
import os

import numpy as np

from ._checks import path as checked_path

__all__ = ["load_params", "put", "read_checkpoint", "save_checkpoint", "save_params"]

PARAMS = "cconv-params"
CHECKPOINT = "cconv-checkpoint"
VERSION = 1
PICKLE_STARTS = (b"\x80", b"(", b"}", b"c")  # a binary protocol; a dict, or an OrderedDict, in protocols 0 and 1


def save_params(file_name, params, architecture):
    """Write parameters to a safetensors file.

    The file appears under its name only when it is complete: it is written beside it and then renamed.

    Parameters
    ----------
    file_name : str or path
        Used as given, whatever its ending.
    params : mapping of str to ndarray
    architecture : dict
        JSON values that a network must agree with to load the file.
    """
    _write(file_name, PARAMS, params, architecture=architecture)


def save_checkpoint(file_name, params, architecture, rest):
    """Write parameters and whatever else training goes on from to a safetensors file, all of it or nothing.

    Parameters
    ----------
    file_name : str or path
    params : mapping of str to ndarray
    architecture : dict
        JSON values that a network must agree with to load the file.
    rest : dict
        Of JSON values, arrays and dicts of these.
    """
    arrays = {f"network.{name}": value for name, value in params.items()}
    rest = _without_arrays(rest, "rest", arrays)
    _write(file_name, CHECKPOINT, arrays, architecture=architecture, rest=rest)


def _write(file_name, kind, arrays, **metadata):
    from safetensors.numpy import save

    file_name = checked_path(file_name, "file_name")
    metadata = {name: json.dumps(value, sort_keys=True) for name, value in metadata.items()}
    metadata |= {"format": kind, "version": str(VERSION)}
    data = save({name: np.require(value, requirements="C") for name, value in arrays.items()}, metadata)
    write_atomically(file_name, data)


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


def write_atomically(file_name, data):
    """Write `data` beside `file_name` and rename it: whoever looks finds the old file or the new, never a part."""
    path = os.path.realpath(file_name)  # through a link, which would be replaced itself
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name[:64]}.{os.urandom(8).hex()}")
    file = open(temporary, "xb")
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load_params(file_name, params, architecture):
    """Read parameters that `save_params` wrote, into the arrays of `params`, in place.

    Parameters
    ----------
    file_name : str or path
    params : mapping of str to ndarray
        Floats are cast to the dtype of these arrays; any others must have it.
    architecture : dict
        What the file's must be.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a file, is damaged, or belongs to another architecture, or an array is read-only; nothing has
        changed then.
    """
    path = checked_path(file_name, "file_name")
    arrays, metadata = _read(path, PARAMS)
    _compare(path, metadata, architecture)
    _check(path, arrays, params)
    put(arrays, params)


def read_checkpoint(file_name, params, architecture):
    """Return the parameters and the rest that `save_checkpoint` wrote, having changed nothing.

    Parameters
    ----------
    file_name : str or path
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
    FileNotFoundError, ValueError
        As `load_params` does.
    """
    path = checked_path(file_name, "file_name")
    arrays, metadata = _read(path, CHECKPOINT)
    _compare(path, metadata, architecture)
    try:
        rest = _with_arrays(json.loads(metadata["rest"]), arrays)
    except (ValueError, KeyError):
        raise ValueError(f"{path} is damaged: the state of the training is not in it") from None
    arrays = {key.removeprefix("network."): value for key, value in arrays.items() if key.startswith("network.")}
    _check(path, arrays, params, exact=True)
    return arrays, rest


def put(arrays, params):
    """Write arrays that were checked into those of `params`."""
    for name, value in params.items():
        value[...] = arrays[name]


def _compare(path, metadata, architecture):
    """Refuse the file of another network."""
    try:
        stored = json.loads(metadata["architecture"])
    except (ValueError, KeyError):
        raise ValueError(f"{path} is damaged: it does not say which architecture it is of") from None
    expected = json.loads(json.dumps(architecture))
    if stored != expected:
        raise ValueError(f"{path} holds parameters of another network: {'; '.join(_differences(expected, stored))}")


def _check(path, arrays, params, exact=False):
    """Refuse arrays that `params` cannot take; unless it must be exact, floats of another precision will do."""
    if arrays.keys() != params.keys():
        raise ValueError(f"{path} must hold the parameters {sorted(params)}, got {sorted(arrays)}")
    for name, value in params.items():
        array = arrays[name]
        cast = value.dtype.kind == "f" and not exact
        if array.shape != value.shape or (array.dtype.kind != "f" if cast else array.dtype != _native(value.dtype)):
            kind = "floats" if cast else _native(value.dtype)
            raise ValueError(
                f"{path}: {name} must have shape {value.shape} and hold {kind}, got {array.shape} of {array.dtype}"
            )
        if not value.flags.writeable:
            raise ValueError(f"{name} must be writeable to load parameters into it, got a read-only array")


def _native(dtype):
    return dtype.newbyteorder("=")


def _read(path, kind):
    """Return the arrays and the metadata of a file of this kind."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    with open(path, "rb") as file:
        data = file.read()
    if data[:1] in PICKLE_STARTS and data[-1:] == b"." and data[8:9] != b"{":  # safetensors has its header at byte 8
        raise ValueError(
            f"{path} is a pickle, and loading one runs whatever code it holds; cconv reads safetensors. If you trust "
            "the file, convert it once:\n"
            "    import pickle\n"
            f"    with open({path!r}, 'rb') as file:\n"
            "        params = pickle.load(file)\n"
            "    for name, value in params.items():\n"
            "        network.params[name][...] = value\n"
            "    network.save_params('params.safetensors')"
        )
    try:
        arrays = load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a safetensors file, or it is damaged: {error}") from None
    if metadata.get("format") != kind:
        if metadata.get("format") in (PARAMS, CHECKPOINT):
            raise ValueError(f"{path} is a {metadata['format']} file of cconv, but must be a {kind} file")
        raise ValueError(f"{path} was not written by cconv: its format is {metadata.get('format')!r}, not {kind!r}")
    if metadata.get("version") != str(VERSION):
        raise ValueError(f"{path} has format version {metadata.get('version')}, this cconv reads version {VERSION}")
    return arrays, metadata


def _differences(expected, stored, place=""):
    """Yield in words where two JSON values differ."""
    if isinstance(expected, dict) and isinstance(stored, dict):
        for key in sorted(expected.keys() | stored.keys()):
            yield from _differences(expected.get(key), stored.get(key), f"{place}.{key}" if place else key)
    elif expected != stored:
        yield f"{place or 'architecture'} must be {expected}, got {stored}"
