"""Fixtures that several test files use."""

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cconv
from cconv import kernels

# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("MPLBACKEND", "Agg")  # plots are drawn into files, on machines without a display too

MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def pytest_collection_modifyitems(items):
    for item in items:
        if "cpu_level" in getattr(item, "fixturenames", ()):
            item.add_marker("every_level")


def pytest_collection_finish():
    gc.freeze()  # thousands of collected tests, which collections of garbage would go through


@pytest.fixture(params=[kernels.LEVEL] if os.environ.get("CCONV_CPU") else kernels.levels())
def cpu_level(request, monkeypatch):
    """Run the test once with the kernels of every CPU level that this machine can run, or of the one that is forced."""
    for name, module in vars(kernels.load(request.param)).items():
        monkeypatch.setattr(kernels, name, module)
    monkeypatch.setattr(kernels, "LEVEL", request.param)
    return request.param


@pytest.fixture(params=[1, 2, 3], ids="{}-threads".format)
def num_threads(request, monkeypatch):
    """Run the test on 1, 2 and 3 threads, however little work there is."""
    monkeypatch.setattr(kernels.cpu, "threads_for", lambda work: request.param)
    return request.param


@pytest.fixture
def without_sanitizer():
    """Skip the test where the address sanitizer is in the process: it takes faults itself and keeps freed memory."""
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("the address sanitizer takes faults itself and keeps freed memory")


@pytest.fixture(scope="session")
def mnist_dir():
    """The directory of the real MNIST files that CCONV_DATA names; a broken one is a failure, not a reason to skip."""
    value = os.environ.get("CCONV_DATA")
    if not value:
        pytest.skip("needs the real MNIST files: set CCONV_DATA to the directory that holds them")
    directory = Path(value)
    missing = [name for name in MNIST_FILES if not any((directory / (name + end)).is_file() for end in ("", ".gz"))]
    if missing:
        pytest.fail(f"CCONV_DATA is {value!r}, but it lacks (plain or .gz): {', '.join(missing)}")
    return directory


@pytest.fixture
def run_python(tmp_path):
    """A function that runs code on this very cconv in a fresh interpreter, configured by its keyword arguments only."""

    def run(code, **variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("CCONV_", "OMP_"))}
        environment["PYTHONPATH"] = str(Path(cconv.__file__).parents[1])
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run
