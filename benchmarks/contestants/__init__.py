"""The contestants: one class each, whose methods prepare a piece of work.

A method takes the sizes of the work and returns a `Work`, or None where the contestant has no such thing. All of them
name the same piece of work alike, which is how they are matched. Only the process of a contestant imports its module.
"""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

PREDICTOR = "cconv Predictor"  # with networks that are copied once, as those of engines for inference are
BEFORE = "cconv before"  # another cconv: takes part wherever cconv does, if it is asked for
PYTORCH = ("PyTorch", "PyTorch channels_last", "torch.compile")
CONTESTANTS = {  # name: module, class, arguments
    "cconv": ("own", "Cconv", ()),
    PREDICTOR: ("own", "CconvPredictor", ()),
    BEFORE: ("own", "Cconv", ()),
    "NumPy": ("chapter", "Chapter", ()),
    "PyTorch": ("pytorch", "PyTorch", ("plain",)),
    "PyTorch channels_last": ("pytorch", "PyTorch", ("channels_last",)),
    "torch.compile": ("pytorch", "PyTorch", ("compile",)),
    "TensorFlow": ("tensor_flow", "TensorFlow", ("plain",)),
    "TensorFlow XLA": ("tensor_flow", "TensorFlow", ("xla",)),
    "ONNX Runtime": ("onnx_runtime", "OnnxRuntime", ()),
    "OpenVINO": ("open_vino", "OpenVino", ()),
    "FMA loop": ("fma", "FmaLoop", ()),
}


COMPANION = "companion"  # takes part in nothing: it works while others are timed


class Unavailable(Exception):
    """A contestant cannot run here; the message says why."""


class Work(NamedTuple):
    """A piece of work: `run` is timed; `outputs` returns what must agree among contestants, default what run returns.

    One call of `run` does the work `units` times.
    """

    run: Callable[[], Any]
    outputs: Callable[[], Any] | None = None
    units: float = 1


def create(name, threads):
    """Return a contestant, in the process that is to be its own."""
    module, class_name, arguments = (CONTESTANTS | {COMPANION: ("companion", "Companion", ())})[name]
    try:
        return getattr(importlib.import_module(f"{__name__}.{module}"), class_name)(threads, *arguments)
    except ImportError as error:
        raise Unavailable(str(error)) from error
