"""What is not a matter of computing: the time of an import, memory, the size of a wheel."""

import os
import platform
import subprocess

from ..contestants import BEFORE
from ..inputs import Convolution
from . import section

MODULES = {
    "cconv": "cconv",
    BEFORE: "cconv",
    "NumPy": "numpy",
    "PyTorch": "torch",
    "TensorFlow": "tensorflow",
    "ONNX Runtime": "onnxruntime",
    "OpenVINO": "openvino",
}
TIMED_IMPORT = "from time import perf_counter; s = perf_counter(); import {}; print(perf_counter() - s)"


@section()
def imports(bench):
    """Import in a fresh interpreter, compiled to bytecode before."""
    names = [name for name in bench.few() if name in MODULES]
    times = {name: [] for name in names}
    for _ in range(1 + bench.arena.repeats * (1 if bench.smoke else 2)):
        for name in names:
            interpreter = bench.arena.interpreter(name)
            environment = interpreter.environment(PYTHONDONTWRITEBYTECODE="")
            command = interpreter.command("-c", TIMED_IMPORT.format(MODULES[name]))
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode == 0:
                times[name].append(float(done.stdout))
    yield "import", {name: values[1:] for name, values in times.items() if values}  # the first one fills the caches


@section(unit="B")
def memory(bench):
    """Memory at its peak beyond inputs, outputs and gradients, float32: of a convolution both ways, and of scores."""
    if platform.system() != "Linux":
        bench.notes.append("measured on Linux only")
        return
    large = Convolution(2, 8, 8, 8, 8, 3, 1, 1) if bench.smoke else Convolution(64, 64, 32, 32, 64, 3, 1, 1)
    small = {"geometry": Convolution(2, 3, 8, 8, 4, 3), "dtype": "float32"}
    with bench.fresh_arena() as arena:
        among = ("cconv", "NumPy", "PyTorch", "PyTorch channels_last")
        yield str(large), arena.memory("convolution", small, {"geometry": large, "dtype": "float32"}, among=among)
    for network in bench.first(("MobileNet", "ResNet-20")):
        one, many = ({"network": network, "batch": batch} for batch in (1, bench.images(100)))
        with bench.fresh_arena() as arena:
            row = f"{network}, scores of {many['batch']} images"
            yield row, arena.memory("network_forward", one, many, among=among)


@section(unit="B")
def wheel(bench):
    """The wheel."""
    if bench.wheel is None:
        bench.notes.append("no wheel was given (--wheel)")
        return
    yield "whole", {"cconv": [os.path.getsize(bench.wheel)]}
