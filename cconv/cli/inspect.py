"""`cconv inspect`: what is in a file."""

import json
import math

from .. import _pickle
from ..serialization import CHECKPOINT, PARAMS, PICKLE_STARTS, VERSION, read_arrays, read_head
from .arguments import add_json, described
from .messages import one_line, print_json, show, table

__all__ = ["PICKLE", "TENSORS", "add_to", "contents"]

EXAMPLES = """
examples:
  cconv inspect run1/model.cconv
  cconv inspect run1/checkpoints/checkpoint-000000600.safetensors
  cconv inspect params.pkl

No code in a file is run.
"""
PICKLE, TENSORS, ONNX = "pickle of parameters", "tensors", "ONNX model"
KINDS = {PARAMS: "model", CHECKPOINT: "checkpoint"}
LONGEST = 2**30  # bytes of a pickle that is looked at


def add_to(commands):
    options = described("Show what a file of parameters, a model or a checkpoint holds.", EXAMPLES)
    parser = commands.add_parser("inspect", help="show what is in a file", **options)
    parser.add_argument("file", metavar="FILE")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options):
    """Print what is in the file."""
    found = contents(options.file)
    if options.json:
        print_json(found)
    else:
        show("\n".join(_lines(found)))


def contents(path):
    """Return what is in a file, as JSON values.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is none of the files that cconv knows.
    """
    with open(path, "rb") as file:
        start = file.read(9)
    try:
        entries, metadata = read_head(path)
    except ValueError as error:
        if start[8:] == b"{":  # a head of safetensors that is damaged
            raise
        if start[:1] in PICKLE_STARTS:
            return _of_pickle(path)
        if str(path).endswith(".onnx"):
            return _of_onnx(path)
        raise ValueError(
            f"{path} is none of the files that cconv knows: a model, parameters or a checkpoint in safetensors, a "
            "pickle of parameters, an ONNX model"
        ) from error
    arrays = {name: (entry.shape, entry.dtype) for name, entry in entries.items()}
    kind = KINDS.get(metadata.get("format"), TENSORS)
    found = {"file": path, "kind": kind} | _described(arrays)
    if kind == TENSORS:
        return found | {"metadata": metadata}
    found["version"] = metadata.get("version")
    if found["version"] == "1":
        found["kind"] = "parameters" if kind == "model" else kind
    try:
        architecture = json.loads(metadata["architecture"])
        found["network"] = architecture if isinstance(architecture, dict) else {}
        if kind == "checkpoint" and found["version"] == str(VERSION):
            found["training"] = _training(path, json.loads(metadata["rest"]))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: what it says of its network or training cannot be read") from error
    return found


def _described(arrays):
    return {
        "parameters": sum(math.prod(shape) for shape, _ in arrays.values()),
        "arrays": {name: {"shape": list(shape), "dtype": str(dtype)} for name, (shape, dtype) in arrays.items()},
    }


def _training(path, rest):
    """Return where the training of a checkpoint is."""
    arrays = read_arrays(path)
    last = {}
    for name, value in rest["history"].items():
        values = arrays[value["array"]]
        if len(values):
            last[name] = float(values[-1])
    return {
        "steps": rest["current_iter"],
        "epochs": rest["current_epoch"],
        "best_epoch": rest["best"]["epoch"],
        "last": last,
        "batch_size": rest["sizes"]["mini_batch_size"],
        "samples": rest["sizes"]["samples"],
    }


def _of_pickle(path):
    with open(path, "rb") as file:
        data = file.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise ValueError(f"{path} is a pickle larger than {LONGEST} bytes, and was not looked at")
    try:
        values = _pickle.loads(data)
    except ValueError as error:
        message = f"{path} is no pickle of parameters, and nothing of it was run: {one_line(error)}"
        raise ValueError(message) from error
    arrays = {name: (value.shape, value.dtype) for name, value in values.items() if hasattr(value, "shape")}
    others = [name for name in values if name not in arrays]
    return {"file": path, "kind": PICKLE} | _described(arrays) | ({"others": others} if others else {})


def _of_onnx(path):
    from .. import onnx

    network = onnx.load(path)
    arrays = {name: (array.shape, array.dtype) for name, array in network.state_dict().items()}
    return {"file": path, "kind": ONNX} | _described(arrays) | {"network": network.architecture()}


def _lines(found):
    version = f", format version {found['version']}" if found.get("version") else ""
    yield f"{found['file']}: {found['kind']}{version}"
    network = found.get("network", {})
    for title, name in (("class", "class"), ("input", "input_shape"), ("dtype", "dtype"), ("classes", "classes")):
        if network.get(name) is not None:
            value = network[name]
            yield f"{title}: {', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"
    if isinstance(network.get("loss"), dict):
        yield f"loss: {network['loss'].get('type')}"
    if "training" in found:
        training = found["training"]
        yield f"training: {training['steps']} steps, {training['epochs']} epochs, the best is {training['best_epoch']}"
        yield f"  on {training['samples']:,} samples in batches of {training['batch_size']}"
        yield "  last: " + ", ".join(f"{name} {value:.4g}" for name, value in training["last"].items())
    layers = network.get("layers")
    if isinstance(layers, (list, tuple)):
        yield "layers:"
        yield from _layers(layers, "  ")
    if found.get("metadata"):
        yield "metadata: " + ", ".join(f"{name} {value!r}" for name, value in found["metadata"].items())
    if "others" in found:
        yield f"also: {', '.join(found['others'])}"
    yield f"{len(found['arrays'])} arrays, {found['parameters']:,} values:"
    rows = [(name, " x ".join(map(str, a["shape"])) or "1", a["dtype"]) for name, a in found["arrays"].items()]
    if rows:
        yield table(rows, "  ")


def _layers(layers, indent):
    """Yield a line for each layer of a described stack, and for those inside of it."""
    for name, settings in layers:
        stacks = dict(settings.get("branches", []))
        shown = {key: value for key, value in settings.items() if key not in ("type", "branches") and value is not None}
        yield f"{indent}{name}: {settings.get('type')}({', '.join(f'{key}={value}' for key, value in shown.items())})"
        for key, stack in stacks.items():
            yield f"{indent}  {key}:"
            yield from _layers(stack, indent + "    ")
