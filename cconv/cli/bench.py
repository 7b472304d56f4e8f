"""`cconv bench`: how long steps of training and predictions take on this machine."""

import time

import numpy as np

from .. import kernels
from ..kernels.runtime._cpu import get_num_threads, set_num_threads
from ..optimizers import Adam
from .arguments import add_json, add_threads, described, positive, shape, whole
from .messages import print_json, show, table
from .networks import NETWORKS

__all__ = ["add_to"]

EXAMPLES = """
examples:
  cconv bench
  cconv bench --network resnet --input-shape 3,32,32 --threads 1

A step of training is a gradient and an update by Adam. Shown are the medians of the repetitions.
"""


def add_to(commands):
    options = described("Measure steps of training and predictions of cconv's networks on this machine.", EXAMPLES)
    parser = commands.add_parser("bench", help="measure the speed of this machine", **options)
    parser.add_argument("--network", choices=list(NETWORKS), help="(default: all)")
    parser.add_argument("--input-shape", type=shape, default=(1, 28, 28), metavar="C,H,W", help="(default: 1,28,28)")
    parser.add_argument("--batch-size", type=whole, default=100, metavar="N", help="(default: 100)")
    parser.add_argument("--seconds", type=positive, default=1.0, help="for each measurement (default: 1)")
    add_threads(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options):
    """Measure, and print a table."""
    if options.threads is not None:
        set_num_threads(options.threads)
    names = NETWORKS if options.network is None else [options.network]
    rows = [_measured(name, options.input_shape, options.batch_size, options.seconds) for name in names]
    machine = {"level": kernels.LEVEL, "threads": get_num_threads(), "batch_size": options.batch_size}
    if options.json:
        print_json(machine | {"networks": rows})
        return
    show(f"CPU level {machine['level']}, threads {machine['threads']}, float32, batches of {options.batch_size}")
    lines = [("network", "step", "images/s", "prediction", "images/s")]
    for row in rows:
        cells = (text for key in ("step", "prediction") for text in _texts(row[key], options.batch_size))
        lines.append((row["network"], *cells))
    show(table(lines))


def _texts(seconds, batch_size):
    return f"{seconds * 1000:.2f} ms", f"{batch_size / seconds:,.0f}"


def _measured(name, input_shape, batch_size, seconds):
    """Return the seconds of a step and of a prediction."""
    network = NETWORKS[name](input_shape, seed=0)
    rng, optimizer = np.random.default_rng(0), Adam()
    x = rng.random((batch_size, *input_shape), dtype=np.float32)
    t = rng.integers(10, size=batch_size)
    return {
        "network": name,
        "step": _median(lambda: optimizer.update(network.params, network.gradient(x, t)), seconds),
        "prediction": _median(lambda: network.predict(x, batch_size=batch_size), seconds),
    }


def _median(function, seconds):
    """Return the median duration of calls over so many seconds, one at least, after one that is not counted."""
    function()
    durations, end = [], time.perf_counter() + seconds
    while not durations or time.perf_counter() < end:
        begun = time.perf_counter()
        function()
        durations.append(time.perf_counter() - begun)
    return float(np.median(durations))
