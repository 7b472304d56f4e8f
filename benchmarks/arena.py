"""Fair timing: every contestant works in a process of its own, and they take turns in blocks.

In one process contestants disturb each other: idle threads of OpenBLAS, of each OpenMP library and of ONNX Runtime keep
spinning on the cores that the next contestant needs, ONNX Runtime's for longer than a block. So each has a long-lived
process, with its libraries as they come and all thread counts set alike, and is stopped (SIGSTOP) while it is not its
turn: only one process ever runs, and beside it those that are meant to keep it company. Each has a POSIX session of its
own too, as programs have that a desktop starts: Linux shares the cores out among sessions first. A turn is a block of
work that is not timed, in which caches and threads warm up again, and a block in which every call is timed and the
median kept. Each repeat gives every contestant a turn, so that what else the machine does falls on all of them alike;
ratios are taken within a repeat.
"""

import contextlib
import ctypes
import mmap
import os
import pickle
import signal
import statistics
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import interpreters
from .contestants import BEFORE, COMPANION, Unavailable, create

BLOCK = 0.05  # seconds
PAUSE = 0.02  # seconds of sleep before each call of which the latency from idle is measured
WARM_UP = 10  # steps beside companions that are not timed
PR_SET_PDEATHSIG = 1
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CCONV_NUM_THREADS")
# What a contestant's process runs: this package, wherever it lies, without the other modules that lie beside it.
BEGIN = """
import importlib.util, os, sys
package, name, threads, nice = sys.argv[1:]
if int(nice):
    os.nice(int(nice))  # before any library starts threads
spec = importlib.util.spec_from_file_location("benchmarks", package)
sys.modules["benchmarks"] = importlib.util.module_from_spec(spec)
from benchmarks.arena import serve
serve(name, int(threads))
"""
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # relative to the largest value of an array


class Disagreement(Exception):
    """Two contestants computed different things."""


class Company(NamedTuple):
    """Another process that works while a contestant is timed: `nice` is added to its niceness.

    It does a kind of work that the contestant `COMPANION` has; the same as the contestant where that is None.
    """

    kind: str | None = None
    threads: int = 1
    nice: int = 0


class Arena:
    """The contestants' processes, started when they are first needed.

    Parameters
    ----------
    threads : int
        For each contestant.
    names : sequence of str
        The contestants that may take part; the others are compared with the first.
    repeats : int
    seconds : float
        Length of a block.
    before : Interpreter, optional
        In which the contestant `BEFORE` runs, if it is one of the names.
    """

    def __init__(self, threads, names, repeats=7, seconds=BLOCK, before=None):
        self.threads, self.names, self.repeats, self.seconds = threads, tuple(names), repeats, seconds
        self.before = before
        self.absent = {}  # name, or name and kind of work: why it cannot take part
        self._workers = {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for worker in self._workers.values():
            worker.close()

    def compare(self, kind, arguments, *, among=None, check=True, tolerance=None):
        """Return {contestant: one median of seconds per repeat} of a piece of work, after its results were compared."""
        workers = self._prepare(kind, arguments, among)
        if check:
            self._check({name: worker.ask("outputs") for name, worker in workers.items()}, tolerance)
        return self._turns(workers, "block", self.seconds)

    def latency(self, kind, arguments, *, among=None, pause=PAUSE):
        """Return the same for single calls out of idleness, each after a pause."""
        calls = 3 if self.seconds < BLOCK else round(20 * PAUSE / pause)
        return self._turns(self._prepare(kind, arguments, among), "latency", pause, calls)

    def beside(self, companies, kind, arguments, count, seconds, *, among=None, tolerance=None):
        """Yield {contestant: the seconds of each step} of a piece of work beside each of several companies.

        Parameters
        ----------
        companies : iterable of sequence of Company
        count, seconds : int, float
            A contestant takes so many steps at least, for so long at least.
        """
        workers = self._prepare(kind, arguments, among)
        self._check({name: worker.ask("outputs") for name, worker in workers.items()}, tolerance)
        for companions in companies:
            times = {}
            for name, worker in workers.items():
                with contextlib.ExitStack() as stack:
                    for companion in companions:
                        self._accompany(stack, companion, name, kind, arguments)
                    times[name] = worker.ask("steps", count, seconds)
            yield times

    def _accompany(self, stack, company, name, kind, arguments):
        """Let a companion of a contestant work until the stack is left."""
        if company.kind:
            who, interpreter, kind, arguments = COMPANION, interpreters.own(), company.kind, {}
        else:
            who, interpreter = name, self.interpreter(name)
        threads = company.threads if company.kind else self.threads
        worker = stack.enter_context(contextlib.closing(Worker(who, threads, interpreter, company.nice)))
        worker.ask("prepare", kind, arguments)
        worker.tell("accompany")

    def once(self, kind, arguments, *, among=None):
        """Return {contestant: [(seconds, outputs) per repeat]} of work that is prepared afresh and run once a turn."""
        return self._turns(self._prepare(kind, arguments, among), "once", kind, arguments)

    def memory(self, kind, small, arguments, *, among=None):
        """Return {contestant: [bytes]} that work takes at its peak beyond its inputs and what it returns.

        `small` are the arguments of a run that first brings in code and threads.
        """
        workers = self._prepare(kind, small, among)
        return {name: [worker.ask("memory", kind, arguments)] for name, worker in workers.items()}

    def _prepare(self, kind, arguments, among):
        """Let all who can prepare a piece of work; return their workers, none where the first contestant cannot."""
        workers = {}
        for name in self.names:
            if among is None or name in among or (name == BEFORE and "cconv" in among):
                worker = self._worker(name)
                if worker is not None and self._prepared(worker, kind, arguments):
                    workers[name] = worker
                elif name == self.names[0]:
                    break
        return workers

    def _prepared(self, worker, kind, arguments):
        """Say whether a contestant has prepared a piece of work; an older cconv may lack what that takes."""
        if worker.name != BEFORE:
            return worker.ask("prepare", kind, arguments)
        lacks = worker.ask("try_out", kind, arguments)
        if lacks:
            self.absent[f"{BEFORE}, {kind}"] = lacks
        return not lacks and worker.ask("prepare", kind, arguments)

    def interpreter(self, name):
        """Return what a contestant runs in."""
        return self.before if name == BEFORE else interpreters.own()

    def _worker(self, name):
        if name not in self._workers and name not in self.absent:
            try:
                self._workers[name] = Worker(name, self.threads, self.interpreter(name))
            except Unavailable as error:
                self.absent[name] = str(error)
        return self._workers.get(name)

    def _turns(self, workers, *request):
        results = {name: [] for name in workers}
        for _ in range(self.repeats):
            for name, worker in workers.items():
                results[name].append(worker.ask(*request))
        return results

    @staticmethod
    def _check(outputs, tolerance):
        outputs = {name: arrays for name, arrays in outputs.items() if arrays is not None}
        (first, expected), *others = outputs.items() or [(None, None)]
        for name, arrays in others:
            if [a.shape for a in arrays] != [a.shape for a in expected]:
                shapes = f"{[a.shape for a in arrays]} and {[a.shape for a in expected]}"
                raise Disagreement(f"{name} and {first} return arrays of other shapes: {shapes}")
            for number, (a, b) in enumerate(zip(arrays, expected, strict=True)):
                error = np.abs(a - b).max(initial=0) / (np.abs(b).max(initial=0) or 1)
                if not error <= (tolerance or TOLERANCE[b.dtype.name]):
                    raise Disagreement(f"{name} and {first} differ by {error:.1e} in array {number}")


class Worker:
    """The parent's end of a contestant's process, which runs only while it is asked something."""

    def __init__(self, name, threads, interpreter, nice=0):
        self.name = name
        package = Path(__file__).with_name("__init__.py")
        self._process = subprocess.Popen(
            interpreter.command("-c", BEGIN, str(package), name, str(threads), str(nice)),
            env=interpreter.environment(**dict.fromkeys(THREAD_VARIABLES, str(threads))),  # read by libraries, at once
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._receive()
        except BaseException:  # Ctrl-C too
            self.close()
            raise

    def ask(self, *request):
        self.tell(*request)
        return self._receive()

    def tell(self, *request):
        """Let it work on a request, and do not wait for an answer."""
        self._signal("SIGCONT")
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()

    def close(self):
        self._signal("SIGCONT")
        self._process.stdin.close()  # the process sees the end of its input
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _receive(self):
        try:
            kind, value = pickle.load(self._process.stdout)
        except EOFError:
            raise RuntimeError(f"the process of {self.name} ended: the reason stands above") from None
        if kind == "absent":
            raise Unavailable(value)
        if kind == "error":
            raise RuntimeError(f"in the process of {self.name}:\n{value}")
        self._signal("SIGSTOP")
        return value

    def _signal(self, name):
        number = getattr(signal, name, None)  # Windows has no such signals: there a turn's first block must do
        if number is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)


def serve(name, threads):
    """Answer the parent's requests, which come in by the standard input, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a stopped process would outlive a killed parent
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(kind, value):
        pickle.dump((kind, value), answers)
        answers.flush()

    try:
        desk = Desk(create(name, threads))
        answer("done", None)
        while True:
            request, *arguments = pickle.load(requests)
            answer("done", getattr(desk, request)(*arguments))
    except EOFError:
        return
    except Unavailable as error:
        answer("absent", str(error))
    except Exception:
        answer("error", traceback.format_exc())


class Desk:
    """What a contestant's process can be asked for."""

    def __init__(self, contestant):
        self.contestant, self.work = contestant, None

    def prepare(self, kind, arguments):
        """Prepare a piece of work; return whether the contestant has it."""
        self.work = None  # the last one's memory is given back first
        build = getattr(self.contestant, kind, None)
        self.work = build(**arguments) if build else None
        return self.work is not None

    def try_out(self, kind, arguments):
        """Return why a piece of work cannot be done with the modules that there are; nothing if it can."""
        try:
            if self.prepare(kind, arguments):
                self.work.run()
        except (AttributeError, ImportError, TypeError) as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def outputs(self):
        return _arrays((self.work.outputs or self.work.run)())

    def block(self, seconds):
        self._calls(seconds)
        return statistics.median(self._calls(seconds)) / self.work.units

    def latency(self, pause, calls):
        times = []
        for _ in range(calls):
            time.sleep(pause)
            times += self._calls(0)
        return statistics.median(times)

    def steps(self, count, seconds):
        """Return the seconds of each of `count` steps, or of more until `seconds` are over."""
        for _ in range(min(count, WARM_UP)):
            self.work.run()
        times = []
        end = time.perf_counter() + seconds
        while len(times) < count or time.perf_counter() < end:
            times += self._calls(0)
        return times

    def accompany(self):
        """Work until the standard input is closed, by the parent or by its end."""
        ended = threading.Event()

        def wait():
            sys.stdin.buffer.peek(1)
            ended.set()

        threading.Thread(target=wait, daemon=True).start()
        while not ended.is_set():
            self.work.run()
        raise EOFError

    def once(self, kind, arguments):
        self.prepare(kind, arguments)
        (seconds,) = self._calls(0)
        return seconds, _arrays(self.work.outputs())

    def memory(self, kind, arguments):
        self.work.run()
        self.prepare(kind, arguments)
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)  # what preparing freed would be used again, and not be seen
        before = _status("VmRSS")
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # the peak starts again from here
        results = self.work.run()
        taken = _status("VmHWM") - before - sum(array.nbytes for array in _arrays(results))
        return max(taken, mmap.PAGESIZE)  # less is not seen, and 0 has no ratio to anything

    def _calls(self, seconds):
        """Call `run` for so long, at least once; return how long each call took."""
        run, times = self.work.run, []
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return times


def _status(name):
    """Return a number of bytes from the kernel's account of this process."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(f"{name}:"))


def _arrays(value):
    """Return the arrays in a result, a tensor or any nesting of lists and tuples of such, as NumPy's."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return [array for item in value if item is not None for array in _arrays(item)]
    return [np.asarray(value.detach() if hasattr(value, "detach") else value)]
