"""What the machine and the libraries are."""

import importlib.metadata
import os
import platform
from pathlib import Path

LIBRARIES = ("numpy", "torch", "tensorflow-cpu", "onnxruntime", "openvino", "cconv")


def describe(threads):
    """Return {what: value} of what the figures depend on."""
    import cconv

    machine = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "level": cconv.kernels.LEVEL,
        "caches": _caches(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
    for library in LIBRARIES:
        try:
            machine[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            machine[library] = cconv.__version__ if library == "cconv" else "absent"
    return machine


def _processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _caches():
    """Return the sizes of the first core's data caches, as Linux tells them."""
    sizes = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if (folder / "type").read_text().strip() != "Instruction":
            sizes.append(f"L{(folder / 'level').read_text().strip()} {(folder / 'size').read_text().strip()}")
    return " ".join(sizes) or "unknown"
