"""Parameters in files: safetensors, written all or not at all, and read only into the network they came from."""

import json
import os
import secrets
from pathlib import Path

import numpy as np

__all__ = ["load_params", "save_params"]

FORMAT = "cconv-params"
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
    from safetensors.numpy import save

    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "architecture": json.dumps(architecture, sort_keys=True),
    }
    data = save({name: np.require(value, requirements="C") for name, value in params.items()}, metadata)
    write_atomically(file_name, data)


def write_atomically(file_name, data):
    """Write `data` beside `file_name` and rename it: whoever looks finds the old file or the new, never a part."""
    path = Path(os.path.realpath(file_name))  # through a link, which would be replaced itself
    temporary = path.with_name(f".{path.name[:64]}.{secrets.token_hex(8)}")
    file = open(temporary, "xb")
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink()
        raise


def load_params(file_name, params, architecture):
    """Read parameters that `save_params` wrote, into the arrays of `params`, in place.

    Parameters
    ----------
    file_name : str or path
    params : mapping of str to ndarray
        Values are cast to the dtype of these arrays.
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
    path = Path(file_name)
    arrays, stored = _read(path, path.read_bytes())
    expected = json.loads(json.dumps(architecture))
    if stored != expected:
        raise ValueError(f"{path} holds parameters of another network: {'; '.join(_differences(expected, stored))}")
    if arrays.keys() != params.keys():
        raise ValueError(f"{path} must hold the parameters {sorted(params)}, got {sorted(arrays)}")
    for name, value in params.items():
        array = arrays[name]
        if array.shape != value.shape or array.dtype.kind != "f":
            raise ValueError(
                f"{path}: {name} must have shape {value.shape} and hold floats, got {array.shape} of {array.dtype}"
            )
        if not value.flags.writeable:
            raise ValueError(f"{name} must be writeable to load parameters into it, got a read-only array")
    for name, value in params.items():
        value[...] = arrays[name]


def _read(path, data):
    """Return the arrays and the architecture in a file's bytes."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if data[:1] in PICKLE_STARTS and data[-1:] == b"." and data[8:9] != b"{":  # safetensors has its header at byte 8
        raise ValueError(
            f"{path} is a pickle, and loading one runs whatever code it holds; cconv reads safetensors. If you trust "
            "the file, convert it once:\n"
            "    import pickle\n"
            f"    with open({str(path)!r}, 'rb') as file:\n"
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
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} was not written by cconv: its format is {metadata.get('format')!r}, not {FORMAT!r}")
    if metadata.get("version") != str(VERSION):
        raise ValueError(f"{path} has format version {metadata.get('version')}, this cconv reads version {VERSION}")
    try:
        return arrays, json.loads(metadata["architecture"])
    except (ValueError, KeyError):
        raise ValueError(f"{path} is damaged: it does not say which architecture it is of") from None


def _differences(expected, stored, place=""):
    """Yield in words where two JSON values differ."""
    if isinstance(expected, dict) and isinstance(stored, dict):
        for key in sorted(expected.keys() | stored.keys()):
            yield from _differences(expected.get(key), stored.get(key), f"{place}.{key}" if place else key)
    elif expected != stored:
        yield f"{place or 'architecture'} must be {expected}, got {stored}"
