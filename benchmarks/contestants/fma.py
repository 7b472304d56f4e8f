"""The machine's peak: as many multiply-adds as a convolution has, all in registers, in C for the system's compiler.

A contestant like the others, it takes its turns among them: its time, divided by a convolution's, is the share of the
peak that the convolution reaches.
"""

import ctypes
import subprocess
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cconv import kernels

from . import Unavailable, Work

CHAINS = 12
VECTOR_BYTES = {"v4": 64, "v3": 32, "baseline": 16}
LEAST = 8_000_000_000  # operations in one call, so that handing out the work costs nothing
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
            flags += ["-O2", "-shared", "-fPIC", f"-DBYTES={self._vector_bytes}", "-o", str(library)]
            try:
                subprocess.run([compiler, *flags, str(source)], check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise Unavailable(f"no C compiler for it: {getattr(error, 'stderr', None) or error}") from error
            self._library = ctypes.CDLL(str(library))

    def convolution_forward(self, geometry, dtype):
        kind, size, name = KINDS[dtype]
        loop = getattr(self._library, f"{name}_loop")
        loop.restype, loop.argtypes = kind, (ctypes.c_long, kind, kind)
        per_round = CHAINS * self._vector_bytes // size
        rounds = max(1, round(LEAST / self._threads / per_round / 2))

        def run():
            list(self._pool.map(lambda _: loop(rounds, 0.5, 1.0), range(self._threads)))

        return Work(run, lambda: None, units=rounds * per_round * self._threads / geometry.multiply_adds)
