"""The machine's limits: as many multiply-adds as a piece of work has, all in registers, or as many bytes read and
written, with next to nothing computed; in C for the system's compiler.

A contestant like the others, it takes its turns among them: its time, divided by a convolution's, is the share of the
peak that the convolution reaches.
"""

import ctypes
import subprocess
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cconv import kernels

from .. import inputs
from . import Unavailable, Work

FACTORS = 12 * 8  # multiply-adds of vectors in a round
VECTOR_BYTES = {"v4": 64, "v3": 32, "baseline": 16}
LEAST = 8_000_000_000  # operations in one call, so that handing out the work costs nothing,
LEAST_BYTES = 2_000_000_000  # or bytes
KINDS = {"float32": (ctypes.c_float, 4, "float"), "float64": (ctypes.c_double, 8, "double")}


class FmaLoop:
    def __init__(self, threads):
        self._threads = threads
        self._vector_bytes = VECTOR_BYTES[kernels.LEVEL]
        self._pool = ThreadPoolExecutor(threads)
        compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
        flags = [f"-march=x86-64-{kernels.LEVEL}"] if kernels.LEVEL != "baseline" else []
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "fma.so"
            source = Path(__file__).with_name("fma.c")
            flags += ["-O3", "-shared", "-fPIC", f"-DBYTES={self._vector_bytes}", "-o", str(library)]
            try:
                subprocess.run([compiler, *flags, str(source)], check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise Unavailable(f"no C compiler for it: {getattr(error, 'stderr', None) or error}") from error
            self._library = ctypes.CDLL(str(library))

    def convolution_forward(self, geometry, dtype):
        return self.products(geometry.multiply_adds, dtype)

    def products_of_step(self, dtype, batch):
        return self.products(inputs.step_products(batch), dtype)

    def traffic_of_step(self, dtype, batch):
        return self.traffic(*inputs.step_arrays(dtype, batch), inputs.step_bytes(dtype, batch))

    def traffic(self, count, size, total):
        """As many bytes, two thirds of them read, of so many arrays of a size."""
        n = size // 4 // self._threads
        arrays = [np.ones(count * n, np.float32) for _ in range(self._threads)]
        rounds = max(1, round(LEAST_BYTES / (3 * count * size)))
        sweep = self._library.sweep
        sweep.restype, sweep.argtypes = None, (ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_void_p)

        def run():
            list(self._pool.map(lambda part: sweep(rounds, count, n, part.ctypes.data), arrays))

        return Work(run, lambda: None, units=rounds * 3 * count * size / total)

    def products(self, count, dtype):
        kind, size, name = KINDS[dtype]
        loop = getattr(self._library, f"{name}_loop")
        loop.restype, loop.argtypes = kind, (ctypes.c_long, kind, kind)
        per_round = FACTORS * self._vector_bytes // size
        rounds = max(1, round(LEAST / self._threads / per_round / 2))

        def run():
            list(self._pool.map(lambda _: loop(rounds, 0.5, 1.0), range(self._threads)))

        return Work(run, lambda: None, units=rounds * per_round * self._threads / count)
