"""Run the cases of draws.py with every array between pages that cannot be touched.

    python tests/guard_pages.py --level v4 --minutes 10 --seed 1
    python tests/guard_pages.py --level v4 --repeat conv:1:2345

Each case runs twice: its arrays end right before such a page, and they begin right behind one. Inputs cannot be written
to. So whatever a kernel reads or writes outside of an array is a fault at that very instruction. Cases run in a child
process, which writes each into memory that it shares with this one before it begins: a fault is a failed case, and the
next child goes on with the next.
"""

import ctypes
import faulthandler
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time

import differential
import numpy as np

LOG = 512  # bytes
PAGE = mmap.PAGESIZE
KEPT = 16 << 20  # bytes of arrays that are gone, used again
PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


def protect(address, size, access):
    if libc.mprotect(address, size, access):
        raise OSError(ctypes.get_errno(), "mprotect failed")


class Region:
    """Pages between two that cannot be touched: the base of one array."""

    free = {}  # by number of pages
    kept = 0
    sealed = False

    def __init__(self, size, at_end):
        self.pages = -(-size // PAGE)
        if Region.free.get(self.pages):
            self.mapping, self.begin = Region.free[self.pages].pop()
            Region.kept -= self.pages * PAGE
        else:
            self.mapping = mmap.mmap(-1, (self.pages + 2) * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self.begin = ctypes.addressof(ctypes.c_char.from_buffer(self.mapping)) + PAGE
            protect(self.begin - PAGE, PAGE, PROT_NONE)
            protect(self.begin + self.pages * PAGE, PAGE, PROT_NONE)
        self.address = self.begin + (self.pages * PAGE - size if at_end else 0)

    def array(self, shape, dtype):
        data = self.address, False
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": dtype.str, "data": data}
        return np.asarray(self)

    def seal(self):
        """From now on the pages cannot be written to."""
        protect(self.begin, self.pages * PAGE, PROT_READ)
        self.sealed = True

    def __del__(self):
        if self.sealed:
            protect(self.begin, self.pages * PAGE, PROT_READ | PROT_WRITE)
        if Region.kept < KEPT:
            Region.free.setdefault(self.pages, []).append((self.mapping, self.begin))
            Region.kept += self.pages * PAGE


class Guard:
    """Makes the arrays of a case, and those that operations and kernels ask for."""

    at_end = True
    poison = {"f4": 0x7FA5A5A5, "f8": 0x7FF4A5A5A5A5A5A5}  # signalling NaNs, as CCONV_POISON writes

    def empty(self, shape, dtype):
        dtype = np.dtype(dtype)
        shape = tuple(map(int, shape)) if np.ndim(shape) else (int(shape),)
        size = int(np.prod(shape, dtype=float)) * dtype.itemsize
        if size == 0:
            return np.empty(shape, dtype)
        array = Region(size, self.at_end).array(shape, dtype)
        name = dtype.str[1:]
        array.reshape(-1).view(f"u{name[1:]}" if name in self.poison else "u1")[...] = self.poison.get(name, 0xA5)
        return array

    def like(self, array):
        copy = self.empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def place(self, array, writable=False):
        copy = self.like(array)
        if not writable and copy.size:
            copy.base.seal()
        return copy


class Numpy:
    """NumPy for modules that make arrays for kernels by it."""

    def __init__(self, guard):
        self.empty = guard.empty
        self.zeros = lambda *arguments: guard.like(np.zeros(*arguments))
        self.arange = lambda *arguments: guard.like(np.arange(*arguments))

    def __getattr__(self, name):
        return getattr(np, name)


def install(draws, guard):
    """Let every array that a kernel sees come from the guard."""
    from cconv import augment
    from cconv.functional import normalization, resampling

    kernels = draws.kernels
    draws.Case.place = staticmethod(guard.place)
    kernels.memory.empty = guard.empty
    for module in (*vars(kernels.load(kernels.LEVEL)).values(), kernels.im2col, normalization, augment):
        if hasattr(module, "empty"):
            module.empty = guard.empty
        if hasattr(module, "np"):
            module.np = Numpy(guard)
    tables = resampling._table
    resampling._table = lambda *axis: tuple(None if table is None else guard.like(table) for table in tables(*axis))
    nodes = augment._nodes
    augment._nodes = lambda *axis: tuple(table if np.ndim(table) == 0 else guard.like(table) for table in nodes(*axis))


def both_ways(draws, guard, kind, seed, index):
    """Yield the case, run with its arrays at the end of their pages and at the beginning."""
    for guard.at_end in (True, False):
        yield draws.run(kind, seed, index)


def child(options, first, log):
    """Run cases, each written into the log before it begins, and say on stdout what became of it."""
    draws = differential.prepare(options.level)
    guard = Guard()
    install(draws, guard)
    with open(log, "r+b") as file:
        shared = mmap.mmap(file.fileno(), LOG)

    def write(text):
        shared[:] = text.encode()[:LOG].ljust(LOG, b"\0")

    draws.Case.stage = staticmethod(
        lambda text: write(f"{id} {text}, arrays at the {'end' if guard.at_end else 'beginning'} of pages")
    )
    kinds = differential.chosen(draws, options.only, options.skip)
    for kind, index in differential.schedule(kinds, 60 * options.minutes, options.cases, first):
        id = f"{kind}:{options.seed}:{index}"
        for case in both_ways(draws, guard, kind, options.seed, index):
            if case.failures:
                break
        text = f"{case.failures[0]} | {differential.settings_of(case)}" if case.failures else ""
        print(id, text.replace("\n", " "), flush=True)


def main():
    if sys.argv[1:2] == ["--child"]:
        first = dict(pair.split("=") for pair in sys.argv[3].split(",") if pair)
        return child(differential.parsed(sys.argv[4:]), {kind: int(n) for kind, n in first.items()}, sys.argv[2])
    options = differential.parsed()
    draws = differential.prepare(options.level)
    if options.repeat:
        faulthandler.enable()
        guard = Guard()
        install(draws, guard)
        draws.Case.stage = staticmethod(lambda text: print(f"  {text}", file=sys.stderr, flush=True))
        kind, seed, index = options.repeat.split(":")
        for case in both_ways(draws, guard, kind, int(seed), int(index)):
            print("at the", "end" if guard.at_end else "beginning", differential.settings_of(case), *case.failures)
        return 0
    report = differential.Report("guard_pages.py", draws.kernels.LEVEL)
    first = {}
    end = time.monotonic() + 60 * options.minutes
    with tempfile.NamedTemporaryFile() as log:
        log.write(bytes(LOG))
        log.flush()
        crashed = True
        while crashed and time.monotonic() < end:
            places = ",".join(f"{kind}={n}" for kind, n in first.items())
            command = [sys.executable, __file__, "--child", log.name, places, *sys.argv[1:]]
            command += ["--minutes", str((end - time.monotonic()) / 60)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                for line in process.stdout:
                    id, _, text = line.rstrip("\n").partition(" ")
                    kind, _, index = id.split(":")
                    first[kind] = int(index) + 1
                    report.run[kind] += 1
                    if text:
                        report.failure(kind, id, text)
            crashed = process.returncode < 0
            if not crashed and process.returncode:
                return process.returncode
            if crashed:
                log.seek(0)
                id, _, stage = log.read().rstrip(b"\0").decode().partition(" ")
                kind, _, index = id.split(":")
                first[kind] = int(index) + 1
                report.run[kind] += 1
                report.failure(kind, id, f"{signal.Signals(-process.returncode).name} in {stage}")
    return report.end()


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
