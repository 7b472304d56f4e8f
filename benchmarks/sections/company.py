"""Training beside other programs."""

import os
from pathlib import Path
from statistics import fmean, median

from ..arena import Company
from . import section

AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")
AMONG = ("cconv", "PyTorch", "PyTorch channels_last", "TensorFlow")
NETWORKS = {  # name: kind of work, its arguments beside the batch
    "SimpleConvNet": ("step", {"dtype": "float32"}),
    "DeepConvNet": ("network_step", {"network": "DeepConvNet"}),
    "ResNet": ("network_step", {"network": "ResNet-20"}),
    "MobileNet": ("network_step", {"network": "MobileNet"}),
}
BUSY, NICE = Company("busy"), 19
COMPANIES = {
    "alone": (),
    "beside one busy process": (BUSY,),
    "beside two busy processes": (BUSY, BUSY),
    "beside one nice'd busy process": (BUSY._replace(nice=NICE),),
    "beside two nice'd busy processes": (BUSY._replace(nice=NICE),) * 2,
    "beside a nice'd one with two threads": (Company("products", 2, NICE),),
    "beside the same training": (Company(),),
}


@section()
def company(bench):
    """A training step, batch 100, float32, alone and beside other processes: the median, and the mean, of many."""
    companies = {
        name: companions
        for name, companions in COMPANIES.items()
        if hasattr(os, "nice") or not any(companion.nice for companion in companions)
    }
    count = 2 if bench.smoke else 30 if bench.quick else 300
    for network, (kind, arguments) in bench.first(list(NETWORKS.items()), 2):
        arguments = arguments | {"batch": bench.images(100)}
        measured = bench.arena.beside(companies.values(), kind, arguments, count, bench.seconds, among=AMONG)
        alone, lines = {}, {}
        for situation, steps in zip(companies, measured, strict=True):
            both = {name: (median(times), fmean(times)) for name, times in steps.items()}
            yield f"{network} {situation}", {name: [value] for name, (value, _) in both.items()}
            yield f"{network} {situation}, mean", {name: [value] for name, (_, value) in both.items()}
            if not companies[situation]:
                alone = both
            for name, values in both.items():
                if name in alone and companies[situation]:
                    ratios = " / ".join(f"{a / b:.2f}" for a, b in zip(values, alone[name], strict=True))
                    lines.setdefault(name, []).append(f"{situation} {ratios}")
        bench.notes += [
            f"{network}, {name}: alone {alone[name][0] * 1e3:.3g} ms; times as long: {', '.join(line)}"
            for name, line in lines.items()
        ]
    bench.notes.append(f"ratios are those of medians / of means; steps in each: {count} or more, after some to warm up")
    if len(companies) < len(COMPANIES):
        bench.notes.append("this system has no nice: companions that take it are left out")
    if AUTOGROUP.exists():
        bench.notes.append(f"cores are shared out among sessions first: {AUTOGROUP.name} is {AUTOGROUP.read_text()[0]}")
