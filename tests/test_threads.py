"""The pool of threads: the same bits whoever computes, several callers, and the life of threads and processes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cconv
from cconv import functional, kernels

pytestmark = pytest.mark.skipif(not kernels.cpu.pool, reason="built without threads")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts the threads in /proc")

# For fresh interpreters: results of a few networks' kernels, on a number of threads however little work there is.
COMPUTE = """
import os
import numpy as np
import cconv
from cconv import kernels

kernels.cpu.threads_for = lambda work: cconv.get_num_threads()
images = np.random.default_rng(0).random((24, 1, 28, 28), np.float32)
labels = np.arange(24) % 10

def compute(num_threads, network=cconv.SimpleConvNet):
    with cconv.threads(num_threads):
        made = network(seed=0)
        results = [made.predict(images), *made.gradient(images, labels).values()]
        return b"".join(result.tobytes() for result in results)

def threads():
    return len(os.listdir("/proc/self/task"))
"""


def run(run_python, code, **variables):
    # One thread in NumPy's library: what counts threads counts those of the pool.
    result = run_python(COMPUTE + code, OPENBLAS_NUM_THREADS="1", **variables)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# Results


def test_late_threads_change_no_bit(run_python):
    code = """
for network in (cconv.SimpleConvNet, cconv.LeNet5):
    expected = compute(1, network)
    assert all(compute(n, network) == expected for n in (2, 3, 16, 2, 3, 16))
"""
    run(run_python, code, CCONV_THREADS_DELAY="0.0005")
    run(run_python, code)


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "61"])
def test_delay_that_is_no_number_of_seconds_is_refused(value):
    with pytest.raises(ValueError, match=f"CCONV_THREADS_DELAY must be a number of seconds .*, got '{value}'"):
        kernels.cpu._delay({"CCONV_THREADS_DELAY": value})


def test_many_callers_counts_and_forks():
    command = [sys.executable, Path(__file__).with_name("stress_threads.py"), "--seconds", "3"]
    environment = os.environ | {"PYTHONPATH": str(Path(cconv.__file__).parents[1])}
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(result.stdout.split()[0]) > 0


def test_more_callers_than_open_jobs(run_python):
    code = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

x = np.random.default_rng(0).standard_normal((80, 100000), np.float32)
expected = np.maximum(x, 0)
barrier = Barrier(80)

def relu(i):
    barrier.wait()
    with cconv.threads(3):
        return all((cconv.functional.relu(x[i]) == expected[i]).all() for _ in range(3))

with ThreadPoolExecutor(80) as pool:
    assert all(pool.map(relu, range(80)))
"""
    run(run_python, code, CCONV_THREADS_DELAY="0.001")


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_every_thread_flushes_denormal_numbers_and_the_caller_keeps_its_mode(num_threads, monkeypatch):
    monkeypatch.setattr(kernels.cpu, "threads_for", lambda work: num_threads)
    tiny = np.full(300_000, -1e-37, np.float32)
    for _ in range(5):
        flushed = functional.leaky_relu(tiny, 0.01)
        assert flushed.any() == (flushed[0] != 0), "all pieces are computed in one mode"
    assert (tiny[:9] * np.float32(0.01)).all()


# How many threads


def test_threads_of_a_block_nest_and_come_back_after_an_error():
    before = cconv.get_num_threads()
    with cconv.threads(3):
        assert cconv.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError), cconv.threads(2):
            assert cconv.get_num_threads() == kernels.cpu.threads_for(1e9) == 2
            cconv.set_num_threads(before)
            assert cconv.get_num_threads() == 2
            _ = 1 // 0
        assert cconv.get_num_threads() == 3
        with cconv.threads(5000):
            assert cconv.get_num_threads() == 1024
    assert cconv.get_num_threads() == before


def test_threads_of_a_block_are_those_of_its_python_thread():
    from concurrent.futures import ThreadPoolExecutor

    before = cconv.get_num_threads()
    with cconv.threads(before + 1), ThreadPoolExecutor(1) as pool:
        assert pool.submit(cconv.get_num_threads).result() == before


def test_threads_refuses_what_set_num_threads_refuses():
    before = cconv.get_num_threads()
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        cconv.threads(0)
    with pytest.raises(TypeError, match="n must be an integer, got float"):
        cconv.threads(2.0)
    assert cconv.get_num_threads() == before


@needs_proc
def test_threads_start_at_first_use_and_are_shared_by_all_callers(run_python):
    code = """
from concurrent.futures import ThreadPoolExecutor

assert threads() == 1
compute(1)
assert threads() == 1
compute(3)
assert threads() == 3
compute(2)
assert threads() == 3
expected = compute(1)
with ThreadPoolExecutor(8) as pool:
    assert set(pool.map(compute, [3] * 24)) == {expected}
    assert threads() == 3 + 8
"""
    run(run_python, code)


# What each thread of this process has computed, in ticks of the clock.
TICKS = """
def ticks():
    found = {}
    for task in os.listdir("/proc/self/task"):
        fields = open(f"/proc/self/task/{task}/stat").read().rpartition(")")[2].split()
        found[int(task)] = int(fields[11]) + int(fields[12])
    return found
"""


@needs_proc
def test_threads_compute_where_there_are_more_of_them_than_cpus(run_python):
    code = """
import time
from cconv.functional import convolution

x, W = np.ones((64, 16, 32, 32), np.float32), np.ones((16, 16, 3, 3), np.float32)
with cconv.threads(len(os.sched_getaffinity(0)) + 3):
    end = time.monotonic() + 2
    while time.monotonic() < end:
        convolution(x, W, pad=1)
used = ticks()
own = used.pop(os.getpid())
assert sum(used.values()) > 0.2 * own, (own, used)
"""
    run(run_python, TICKS + code)


@needs_proc
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="chooses the CPUs of threads")
def test_workers_may_use_the_cpus_of_their_caller(run_python):
    code = """
import time

CPUS = os.sched_getaffinity(0)
first = min(CPUS)
main = os.getpid()
os.sched_setaffinity(main, {first})
expected = compute(2)
(worker,) = {int(task) for task in os.listdir("/proc/self/task")} - {main}
assert os.sched_getaffinity(worker) == {first}
os.sched_setaffinity(main, CPUS)
cpu = None
end = time.monotonic() + 10
while os.sched_getaffinity(worker) != CPUS and time.monotonic() < end:
    assert compute(2) == expected
    cpu = int(open("/proc/self/stat").read().rpartition(")")[2].split()[36])
# The worker asks when it finds itself on the core of its caller, who may have left it first.
assert os.sched_getaffinity(worker) == CPUS or cpu != first
"""
    run(run_python, code)


def test_the_number_changes_while_others_compute(run_python):
    code = """
import threading

expected, wrong = compute(1), []

def work():
    for _ in range(20):
        network = cconv.SimpleConvNet(seed=0)
        scores = network.predict(images).tobytes()
        if not expected.startswith(scores):
            wrong.append(scores)

workers = [threading.Thread(target=work) for _ in range(3)]
for worker in workers:
    worker.start()
n = 0
while any(worker.is_alive() for worker in workers):
    n = n % 7 + 1
    cconv.set_num_threads(n)
assert not wrong
"""
    run(run_python, code)


@pytest.mark.parametrize("first", ["cconv", "threadpoolctl"])
def test_threadpoolctl_limits_the_pool(run_python, first):
    pytest.importorskip("threadpoolctl", reason="needs threadpoolctl")
    code = f"""
import {first}
import threadpoolctl
import cconv

cconv.set_num_threads(3)
mine = [entry for entry in threadpoolctl.threadpool_info() if entry["internal_api"] == "cconv"]
assert len(mine) == 1 and mine[0]["num_threads"] == 3 and mine[0]["version"] == cconv.__version__, mine
for api in (None, "blas"):
    with threadpoolctl.threadpool_limits(2, user_api=api):
        assert cconv.get_num_threads() == 2
    assert cconv.get_num_threads() == 3
"""
    result = run_python(code)
    assert result.returncode == 0, result.stderr


def test_importing_cconv_does_not_import_threadpoolctl(run_python):
    result = run_python("import cconv, sys; assert 'threadpoolctl' not in sys.modules")
    assert result.returncode == 0, result.stderr


# Life


@needs_fork
@needs_proc
def test_a_forked_child_is_as_parallel_as_its_parent(run_python):
    code = """
expected = compute(1)
assert compute(3) == expected and threads() == 3

def child(generations):
    assert threads() == 1
    assert cconv.get_num_threads() == 3
    assert compute(3) == expected and threads() == 3
    if generations > 0:
        fork(generations - 1)

def fork(generations):
    pid = os.fork()
    if pid == 0:
        try:
            child(generations)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

cconv.set_num_threads(3)
for _ in range(3):
    fork(1)
    assert compute(3) == expected and threads() == 3
"""
    run(run_python, code)


@needs_fork
def test_processes_of_multiprocessing_compute(run_python):
    code = """
import multiprocessing

expected = compute(2)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert set(pool.map(compute, [2] * 6)) == {expected}
"""
    run(run_python, code)


def test_the_interpreter_exits_while_threads_are_alive(run_python):
    assert run(run_python, "compute(4); print('done')") == "done"


def test_the_interpreter_exits_while_a_daemon_thread_computes(run_python):
    code = """
import threading, time

def forever():
    while True:
        compute(3)

for _ in range(3):
    threading.Thread(target=forever, daemon=True).start()
time.sleep(0.2)
print("done")
"""
    for _ in range(3):
        assert run(run_python, code) == "done"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the number of a user's threads")
def test_threads_that_cannot_be_had_are_done_without(run_python):
    code = """
import resource, sys, threading

expected = compute(1)  # what is imported at first use comes before the other user, who may not read it
if os.getuid() == 0:
    try:
        os.setuid(65534)  # no limit holds for root
    except OSError:
        sys.exit(print("no other user"))
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
try:
    threading.Thread(target=int).start()
    sys.exit(print("no limit"))
except RuntimeError:
    pass
assert compute(4) == compute(2) == expected
assert threads() == 1
print("done")
"""
    output = run(run_python, code)
    if output.startswith("no"):
        pytest.skip(f"the number of threads cannot be limited here: {output}")
    assert output == "done"


@needs_proc
def test_short_lived_python_threads_leave_nothing(run_python, without_sanitizer):
    code = """
import threading, time

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

network = cconv.SimpleConvNet(seed=0)
x = images[:2]
cconv.set_num_threads(3)

def predict(count):
    for _ in range(count):
        thread = threading.Thread(target=network.predict, args=(x,))
        thread.start()
        thread.join()

predict(100)
before = resident()
predict(900)
until = time.monotonic() + 60
while threads() > 3 and time.monotonic() < until:  # a thread that was joined may take a moment to end
    time.sleep(0.001)
assert threads() == 3, threads()
assert resident() - before <= 2 << 20, (before, resident())
"""
    run(run_python, code)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals")
def test_signals_reach_pythons_main_thread(run_python):
    code = """
import signal, sys, threading, time

def blocked(task, number):
    with open(f"/proc/self/task/{task}/status") as file:
        return int(next(line for line in file if line.startswith("SigBlk")).split()[1], 16) >> number - 1 & 1

compute(4)
until = time.monotonic() + 60
if sys.platform.startswith("linux"):
    for task in os.listdir("/proc/self/task"):
        while blocked(task, signal.SIGSEGV):  # as the C library has it while a thread begins
            assert time.monotonic() < until
        for number in (signal.SIGINT, signal.SIGALRM, signal.SIGTERM, signal.SIGCHLD):
            assert blocked(task, number) == (int(task) != os.getpid())

calls = []
signal.signal(signal.SIGALRM, lambda *_: calls.append(threading.current_thread() is threading.main_thread()))
signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
while len(calls) < 5:
    compute(4)
    assert time.monotonic() < until
signal.setitimer(signal.ITIMER_REAL, 0)
assert all(calls)
timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
timer.start()
try:
    while time.monotonic() < until:
        compute(4)
except KeyboardInterrupt:
    print("interrupted")
"""
    assert run(run_python, code) == "interrupted"


SUBINTERPRETER = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import sys

code = '''
import sys, warnings
warnings.simplefilter("ignore")
sys.path[:] = %r
try:
    import cconv
    import numpy as np
    with cconv.threads(2):
        print("imported", cconv.functional.relu(np.full(100000, 3.0)).sum(), flush=True)
except ImportError as error:
    print("refused", error, flush=True)
''' % (sys.path,)

def run():
    failed = interpreters.run_string(interpreters.create(), code)
    assert not failed, failed
"""


def test_a_second_interpreter_is_refused_with_a_reason(run_python):
    result = run_python(SUBINTERPRETER + "import cconv\nrun()\nassert cconv.get_num_threads() >= 1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("refused ")
    assert len(result.stdout) > len("refused \n")


def test_a_subinterpreter_alone_works_or_is_refused_with_a_reason(run_python):
    result = run_python(SUBINTERPRETER + "run()")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("refused ") or result.stdout == "imported 300000.0\n"
