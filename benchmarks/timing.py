"""Fair timing on a shared machine: contestants take turns, in blocks long enough to warm up, and medians are kept."""

import statistics
import time

BLOCK = 0.05  # seconds


def time_block(work, seconds):
    """Return the median time of one call over a block, after a block that warms the caches and wakes the threads.

    The first block also lets the previous contestant's threads go to sleep: idle ones of OpenBLAS and of OpenMP keep
    their core busy for tens of milliseconds.
    """
    work()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        work()
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def compare(contestants, repeats=7, seconds=BLOCK):
    """Return {name: median seconds}: every repeat gives each contestant one block, in turn."""
    times = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, work in contestants.items():
            times[name].append(time_block(work, seconds))
    return {name: statistics.median(values) for name, values in times.items()}
