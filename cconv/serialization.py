"""Parameters in files: safetensors, written all or not at all, and read only into the network they came from."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np

__all__ = ["load_params", "save_params"]

FORMAT = "cconv-params"
VERSION = 1


def save_params(file_name, params, architecture):
    """Write parameters to a safetensors file.

    The file appears under its name only when it is complete: it is written beside it and then renamed.

    Parameters
    ----------
    file_name : str or path
        Used as given, whatever its ending.
    params : dict of str to ndarray
    architecture : dict
        JSON values that a network must agree with to load the file.
    """
    from safetensors.numpy import save

    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "architecture": json.dumps(architecture, sort_keys=True),
    }
    data = save({name: np.ascontiguousarray(value) for name, value in params.items()}, metadata)
    _write_atomically(Path(file_name), data)


def _write_atomically(path, data):
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp's file is the owner's alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load_params(file_name, params, architecture):
    """Read parameters that `save_params` wrote, into the arrays of `params`, in place.

    Parameters
    ----------
    file_name : str or path
    params : dict of str to ndarray
    architecture : dict
        What the file's must be.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a file, is damaged, or belongs to another architecture; nothing has changed then.
    """
    path = Path(file_name)
    data = path.read_bytes()
    if data[:1] == b"\x80":  # the opcode every binary pickle begins with
        raise ValueError(
            f"{path} is a pickle, and loading one runs whatever code it holds; cconv reads safetensors. If you trust "
            "the file, convert it once:\n"
            "    import pickle\n"
            f"    params = pickle.load(open({str(path)!r}, 'rb'))\n"
            "    for name, value in params.items():\n"
            "        network.params[name][...] = value\n"
            "    network.save_params('params.safetensors')"
        )
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        arrays = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a parameter file of cconv, or it is damaged ({error})") from None
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is not a parameter file of cconv: its format is {metadata.get('format')!r}")
    if metadata.get("version") != str(VERSION):
        raise ValueError(f"{path} has format version {metadata.get('version')}, this cconv reads version {VERSION}")
    stored = json.loads(metadata["architecture"])
    if stored != json.loads(json.dumps(architecture)):
        raise ValueError(f"{path} holds parameters of another network: expected {architecture}, got {stored}")
    if arrays.keys() != params.keys():
        raise ValueError(f"{path} must hold the parameters {sorted(params)}, got {sorted(arrays)}")
    for name, value in params.items():
        if arrays[name].shape != value.shape or arrays[name].dtype.kind != "f":
            raise ValueError(
                f"{path}: {name} must have shape {value.shape} and hold floats, got {arrays[name].shape} of "
                f"{arrays[name].dtype}"
            )
    for name, value in params.items():
        value[...] = arrays[name]
