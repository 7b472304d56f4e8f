"""The CPU level and the number of threads: all settings that the kernels share."""

# Built once, for the baseline, so that there is one copy of these settings whichever level's kernels run.
#
# The number of threads is decided here and handed to each kernel as an argument. The default is, in this order,
# ``CCONV_NUM_THREADS``, ``OMP_NUM_THREADS``, or the CPUs this process may use: its affinity mask, cut down to the CPU
# quota of its control group, because a container's threads beyond its quota only get throttled. A Python thread can
# have a number of its own.
#
# With the environment variable CCONV_THREADS_DELAY=SECONDS, read once at import, each thread of the pool waits for a
# random time of up to so many seconds before it joins in. No bit of a result may depend on that.

import math
import operator
import os

from cconv.kernels.runtime._threads cimport prepare, threads_in_use, use_threads, use_threads_here

from cconv.kernels.runtime import _threads

cdef extern from "runtime/cpu_level.h":
    int cconv_cpu_level() noexcept nogil

cdef enum:
    MAX_THREADS = 1024

# A thread that gets less than this much work, in nanoseconds, costs more to wake than it saves.
# A fit: `python -m benchmarks.tune --only threads`.
cdef double WORK_PER_THREAD = 4000.0

#: Whether this build has a pool of threads; without it every kernel is serial, whatever number of them it is given.
pool = _threads.pool


def levels():
    """The build levels this CPU and operating system can run, best last."""
    cdef int highest = cconv_cpu_level()
    return ("baseline", *(name for level, name in ((3, "v3"), (4, "v4")) if level <= highest))


def get_num_threads():
    """The number of threads a kernel with enough work uses.

    Returns
    -------
    int
        That of the innermost `threads` block around this call, else of `set_num_threads`; 1 in a build without threads.

    See Also
    --------
    set_num_threads, threads

    Examples
    --------
    >>> import cconv
    >>> cconv.get_num_threads() >= 1
    True
    """
    return threads_in_use()


def check_count(n):
    """Return a number of threads that a user gave, as an int that is not larger than what is used."""
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"n must be an integer, got {type(n).__name__}") from None
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return min(n, MAX_THREADS)


def set_num_threads(n):
    """Set the number of threads that kernels use, for the whole process.

    It holds from the next call on, for all Python threads. Within a `threads` block the number of that block holds.
    Results do not depend on it: every kernel gives the same bits for any number of threads. A build without threads
    computes on one all the same.

    Parameters
    ----------
    n : int
        At least 1; no more than 1024 are used.

    Raises
    ------
    TypeError
        If n is not an integer.
    ValueError
        If n is less than 1.

    See Also
    --------
    threads : The same for a block of code in one Python thread.

    Examples
    --------
    >>> import cconv
    >>> before = cconv.get_num_threads()
    >>> cconv.set_num_threads(1)
    >>> cconv.get_num_threads()
    1
    >>> cconv.set_num_threads(before)
    """
    use_threads(check_count(n))


def set_own_count(int n, /):
    """Set the number of threads of this Python thread's calls, 0 for that of the process; return what it was."""
    return use_threads_here(n)


def threads_for(double work):
    """The number of threads that pay for themselves.

    Parameters
    ----------
    work : float
        The time one thread would take, in nanoseconds.

    Returns
    -------
    int
        1 where a second thread would cost more than it saves, at most `get_num_threads`.
    """
    cdef int most = threads_in_use()
    if work >= WORK_PER_THREAD * most:
        return most
    return max(<int>(work / WORK_PER_THREAD), 1)


def _read_first_line(path):
    try:
        with open(path, encoding="ascii") as file:
            return file.readline().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _cgroup_quota(root="/"):
    """The CPUs' worth of time per period that control groups allow this process, or infinity.

    Version 2 writes "quota period" to cpu.max, version 1 uses a file for each; no quota reads "max" and -1. A limit
    on any enclosing group counts, and a container often sees its own group as the root of the hierarchy.
    """
    try:
        with open(os.path.join(root, "proc/self/cgroup"), encoding="utf-8") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
    except (OSError, UnicodeDecodeError):
        return math.inf
    quota = math.inf
    for group in groups:
        if len(group) != 3:
            continue
        _, controllers, path = group
        if not controllers:
            mount = os.path.join(root, "sys/fs/cgroup")
        elif "cpu" in controllers.split(","):
            mount = os.path.join(root, "sys/fs/cgroup", controllers)
            if not os.path.isdir(mount):
                mount = os.path.join(root, "sys/fs/cgroup/cpu")
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):
            folder = os.path.join(mount, *parts[:depth])
            if controllers:
                limit = [
                    _read_first_line(os.path.join(folder, "cpu.cfs_quota_us")),
                    _read_first_line(os.path.join(folder, "cpu.cfs_period_us")),
                ]
            else:
                limit = _read_first_line(os.path.join(folder, "cpu.max")).split()
            if len(limit) == 2 and limit[0].isdigit() and limit[1].isdigit() and int(limit[1]) > 0:
                quota = min(quota, int(limit[0]) / int(limit[1]))
    return quota


def _available_cpus():
    """The CPUs this process may use: affinity mask and control-group quota, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        cpus = len(os.sched_getaffinity(0))
    else:
        cpus = os.cpu_count() or 1
    return max(1, math.ceil(min(cpus, _cgroup_quota())))


def _default_num_threads(environ):
    """The number of threads that the environment asks for, else the CPUs this process may use."""
    value = environ.get("CCONV_NUM_THREADS", "").strip()
    if value:
        if not value.isdecimal() or int(value) < 1:
            raise ValueError(f"CCONV_NUM_THREADS must be a positive integer, got {value!r}")
        return min(int(value), MAX_THREADS)
    # A list of OMP_NUM_THREADS is for nested regions: the first entry is ours. The variable belongs to OpenMP, which
    # ignores what it does not understand: it is not for cconv to refuse.
    value = environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if value.isdecimal() and int(value) >= 1:
        return min(int(value), MAX_THREADS)
    return min(_available_cpus(), MAX_THREADS)


def _delay(environ):
    """The seconds by which the environment wants threads to be late."""
    value = environ.get("CCONV_THREADS_DELAY", "").strip() or "0"
    try:
        delay = float(value)
    except ValueError:
        delay = math.nan
    if not 0 <= delay <= 60:
        raise ValueError(f"CCONV_THREADS_DELAY must be a number of seconds from 0 to 60, got {value!r}")
    return delay


prepare(_available_cpus(), _delay(os.environ))
use_threads(_default_num_threads(os.environ))
