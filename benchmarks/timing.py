"""Fair timing on a shared machine: contestants take turns, in blocks long enough to warm up, and medians are kept."""

import statistics
import time

BLOCK = 0.05  # seconds


def time_block(work, seconds):
    """Return the median time of one call over a block, after calls that warm the caches and wake the threads."""
    work()
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
