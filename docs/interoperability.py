"""What goes into cconv and comes out of it, as a page in Markdown, from cconv's own tables and by trying it.

python docs/interoperability.py > docs/interoperability.md     needs the extras onnx, sklearn and torch
"""

import io
import os
import pickle
import re
import tempfile
import tomllib
import warnings
from pathlib import Path

import numpy as np
import onnx

import cconv
from cconv import layers as kinds
from cconv import serialization
from cconv.layers.stack import known_kinds, nested
from cconv.onnx.exporting import LAYERS, OLDEST
from cconv.sklearn import NETWORKS
from cconv.torch import KINDS

SHAPE = (4, 6, 6)  # of the images that each layer is written for
# Layers that are not made without arguments.
EXAMPLES = {
    "AdaptiveAveragePooling": lambda: kinds.AdaptiveAveragePooling(4),
    "Affine": lambda: kinds.Affine(units=2),
    "AveragePooling": lambda: kinds.AveragePooling(2, 2),
    "Concatenate": lambda: kinds.Concatenate([], []),
    "Convolution": lambda: kinds.Convolution(filters=2, size=3),
    "GroupNormalization": lambda: kinds.GroupNormalization(2),
    "Normalize": lambda: kinds.Normalize(0.5, 0.25),
    "Pooling": lambda: kinds.Pooling(2, 2),
    "Reshape": lambda: kinds.Reshape((2, -1)),
    "Residual": lambda: kinds.Residual([]),
    "TransposedConvolution": lambda: kinds.TransposedConvolution(filters=2, size=3),
    "Upsample": lambda: kinds.Upsample(2),
    "ZeroPad": lambda: kinds.ZeroPad(1),
}


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# ---- what a file holds


def probe_layers(eps=1e-3, swapped=False, name="relu1"):
    layers = [
        ("scale1", kinds.Scale(1 / 128)),
        ("conv1", kinds.Convolution(filters=3, size=3)),
        ("norm1", kinds.BatchNormalization(eps=eps)),
        (name, kinds.Relu()),
        ("affine1", kinds.Affine(units=2)),
    ]
    if swapped:
        layers[2:4] = layers[3:1:-1]
    return layers


def probe():
    """Return a network that differs from a new one in all that a file may hold."""
    options = {"classes": ["one", "two"], "last_layer": kinds.SoftmaxWithLoss(label_smoothing=0.1)}
    network = cconv.Network(probe_layers(), SHAPE, dtype="float64", seed=1, **options)
    network.gradient(np.random.default_rng(0).random((5, *SHAPE)), np.zeros(5, int))  # which moves the statistics
    return network.freeze("conv1")


def alike(dtype="float64", label_smoothing=0.1, **options):
    """Return a network to load into, of the probe's layers and settings where no others are given, nothing else."""
    loss = kinds.SoftmaxWithLoss(label_smoothing=label_smoothing)
    return cconv.Network(probe_layers(**options), SHAPE, dtype=dtype, seed=2, last_layer=loss)


def through(write, read):
    file = io.BytesIO()
    write(file)
    file.seek(0)
    return read(file)


def whole_file(network):
    return through(network.save, cconv.load)


def checkpoint(network):
    x, t = np.zeros((4, *SHAPE)), np.zeros(4, int)
    trainer = cconv.Trainer(network, x, t, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "checkpoint")
        trainer.save_checkpoint(path)
        return cconv.load(path)


def by_onnx(network):
    return through(lambda file: cconv.onnx.export(network, file), cconv.onnx.load)


def parameters(network, into):
    through(network.save_params, into.load_params)


def from_pickle(network, into):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the book's file has no running statistics is what the table says
        into.load_params(io.BytesIO(pickle.dumps(dict(network.params))))


def by_torch(network, into):
    cconv.torch.load_from(cconv.torch.to_state_dict(network), into)


WHOLE = {
    "`network.save`, `cconv.load`": whole_file,
    "a checkpoint, `cconv.load`": checkpoint,
    "`cconv.onnx.export`, `cconv.onnx.load`": by_onnx,
}
INTO = {
    "`save_params`, `load_params`": parameters,
    "the book's pickle, `load_params`": from_pickle,
    "`cconv.torch.to_state_dict`, `load_from`": by_torch,
}


def arrays_of(network, running):
    return [array.tolist() for name, array in network.state_dict().items() if ("running" in name) == running]


def settings_of(network):
    """Return the settings of all layers, as far as float32, in which ONNX has attributes, holds them."""
    found = [layer.describe() for _, layer in nested(network.layers)]
    return [{key: round(v, 6) if isinstance(v, float) else v for key, v in settings.items()} for settings in found]


ASPECTS = {
    "parameters": lambda network: arrays_of(network, False),
    "running statistics": lambda network: arrays_of(network, True),
    "layers in order": lambda network: [type(layer).__name__ for _, layer in nested(network.layers)],
    "their settings": settings_of,
    "their names": lambda network: list(network.layers),
    "dtype": lambda network: network.dtype,
    "loss": lambda network: network.last_layer.describe(),
    "class names": lambda network: network.classes,
    "frozen layers": lambda network: [layer.frozen for layer in network.layers.values()],
}
# What another network has that parameters are loaded into.
OTHERS = {
    "layers in order": {"swapped": True},
    "their settings": {"eps": 1e-2},
    "their names": {"name": "other"},
    "dtype": {"dtype": "float32"},
    "loss": {"label_smoothing": 0.2},
}


def refuses(way, options):
    try:
        way(probe(), alike(**options))
    except ValueError:
        return True
    return False


def held():
    rows = []
    for title, way in WHOLE.items():
        before = probe()
        after = way(before)
        rows.append([title, *("yes" if look(before) == look(after) else "no" for look in ASPECTS.values())])
    for title, way in INTO.items():
        before, after = probe(), alike()
        way(before, after)
        cells = []
        for name, look in ASPECTS.items():
            if name in OTHERS:
                cells.append("compared" if refuses(way, OTHERS[name]) else "not compared")
            else:
                cells.append("yes" if look(before) == look(after) else "no")
        rows.append([title, *cells])
    return table(["way", *ASPECTS], rows)


# ---- layers and operators


def operators_of(kind):
    """Return the operators that a layer is written with."""
    layer = EXAMPLES.get(kind.__name__, kind)()
    network = cconv.Network([layer], SHAPE, seed=0)
    file = io.BytesIO()
    cconv.onnx.export(network, file)
    model = onnx.load_model_from_string(file.getvalue())
    return list(dict.fromkeys(node.op_type for node in model.graph.node))


def operator_rows():
    """Return the rows of the table in the docstring of `cconv.onnx`: operator, layers, what is offered."""
    _, _, body, _ = re.split(r"^=+  =+  =+$", cconv.onnx.__doc__, flags=re.M)
    return [(re.split(r"\s{2,}", line) + [""])[:3] for line in body.strip().splitlines()]


def layer_table():
    read = {}
    for operator, names, _ in operator_rows():
        for name in names.split(", "):
            read.setdefault(name, []).append(operator)
    rows = []
    for name, kind in sorted(known_kinds().items()):
        writes = ", ".join(operators_of(kind)) if kind in LAYERS else "no: the loss"
        modules = ", ".join(KINDS[kind][1]) if kind in KINDS else "" if kind not in LAYERS else "no parameters"
        if name in ("Concatenate", "Residual"):
            modules = "those of its layers"
        rows.append([f"`{name}`", writes, ", ".join(read.get(name, ["no"])), modules])
    return table(["layer", "written to ONNX (opset 18)", "read from ONNX", "PyTorch's modules"], rows)


def requirement(extra):
    with open(Path(__file__).parents[1] / "pyproject.toml", "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    return f'`{", ".join(extras[extra])}` (`pip install "cconv[{extra}]"`)'


def page():
    dump = serialization.VERSION
    networks = ", ".join(f"`{name}`" for name in NETWORKS)
    doors = [
        ["whole networks", "`cconv.load(file)`", "`network.save(file)`", f"safetensors, format version {dump}"],
        ["parameters", "`network.load_params(file)`", "`network.save_params(file)`", f"format versions 1 to {dump}"],
        ["the book's `params.pkl`", "`network.load_params(file)`", "no", "any protocol, never run"],
        ["the book's scripts", "`python -m cconv.book script.py`", "", "chapters 5 to 8"],
        ["ONNX", "`cconv.onnx.load(file)`", "`cconv.onnx.export(network, file)`", requirement("onnx")],
        [
            "PyTorch",
            "`cconv.torch.load_from(module, network)`, a state dict or its safetensors file",
            "`cconv.torch.to_state_dict(network)`",
            requirement("torch") + "; none to read a file",
        ],
        [
            "scikit-learn",
            "`cconv.sklearn.ConvNetClassifier`, `ConvNetRegressor`, of layers, a function or a name: " + networks,
            "`estimator.network_`",
            requirement("sklearn"),
        ],
        ["arrays", "what NumPy reads by `__array__` or DLPack, on the CPU", "NumPy's arrays", ""],
    ]
    operators = [
        [name, layers, text.replace("; see below", "; more in `help(cconv.onnx)`")]
        for name, layers, text in operator_rows()
    ]
    return f"""# What goes in and what comes out

This page is the output of `python docs/interoperability.py`, which reads cconv's tables and tries the ways out.

## Doors

{table(["what", "in", "out", "versions"], doors)}

## What a way there and back keeps

A network that parameters are loaded into has layers, settings and a loss of its own: "compared" says that others are
refused, "not compared" that the shapes of the arrays must fit, no more.

{held()}

ONNX graphs are written at opset {OLDEST} or later, 18 by default, and read from opset 7 on. What they compute is kept:
a layer may come back as another one that computes the same, and the loss is that of a new network.

## Layers

Layers of one's own are in `network.save`, and come back by `cconv.load(file, custom={{"Name": Name}})`.

{layer_table()}

## Operators of ONNX

The text of `help(cconv.onnx)` says which compositions of operators are recognised as one layer.

{table(["operator", "layers", "offered"], operators)}
"""


if __name__ == "__main__":
    print(page(), end="")
