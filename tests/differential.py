"""Compare kernels with NumPy on random cases, for as long as is asked for.

    python tests/differential.py --minutes 10 --level v3 --seed 1
    python tests/differential.py --minutes 1 --only conv,affine
    python tests/differential.py --repeat conv:1:2345 --level v3

Each failure is one line, with the command that repeats it; the exit code is 1 if there was one. The cases are those of
draws.py. Each kind gets its part of the time.
"""

import argparse
import collections
import os
import sys
import time
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

PRINTED = 20  # failures; the others are counted


def parsed(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--cases", type=int, help="end after so many cases of each kind, in place of --minutes")
    parser.add_argument("--level", choices=["baseline", "v3", "v4"], help="the CPU level, the best one when not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="kinds, separated by commas")
    parser.add_argument("--skip", help="kinds that are left out")
    parser.add_argument("--repeat", metavar="KIND:SEED:INDEX", help="run one case, and say what it is")
    parser.add_argument("--log", metavar="FILE", help="write each case into a file before it is run")
    parser.add_argument("--fresh", action="store_true", help="use no memory again, of which valgrind would not know")
    return parser.parse_args(arguments)


def prepare(level):
    """Import cconv on one CPU level, this tree's if its kernels are built there; return the module of cases."""
    if level:
        os.environ["CCONV_CPU"] = level
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # whose threads would spin beside the kernels'
    root = Path(__file__).resolve().parents[1]
    if any((root / "cconv/kernels/runtime" / f"_cpu{suffix}").exists() for suffix in EXTENSION_SUFFIXES):
        sys.path.insert(0, str(root))
    import draws

    return draws


def chosen(draws, only, skip):
    kinds = only.split(",") if only else [kind for kind in draws.KINDS if kind not in (skip or "").split(",")]
    unknown = set(kinds) - set(draws.KINDS)
    if unknown:
        sys.exit(f"no kinds of cases: {', '.join(sorted(unknown))}; there are {', '.join(draws.KINDS)}")
    return kinds


def schedule(kinds, seconds, cases=None, first=None):
    """Yield (kind, index), and after each take the kind that has had the least of its part of the time."""
    done = dict.fromkeys(kinds, 0) | (first or {})
    draws = sys.modules["draws"]
    spent = {kind: 0.0 for kind in kinds if not cases or done[kind] < cases}
    end = time.monotonic() + seconds
    while spent and (cases or time.monotonic() < end):
        kind = min(spent, key=spent.get)
        begin = time.monotonic()
        yield kind, done[kind]
        spent[kind] += (time.monotonic() - begin) / draws.KINDS[kind][1]
        done[kind] += 1
        if cases and done[kind] >= cases:
            del spent[kind]


def settings_of(case):
    return ", ".join(f"{name}={value}" for name, value in case.arguments.items())


class Report:
    """Counts, and prints the first failures of each kind."""

    def __init__(self, script, level):
        self.again = f"python tests/{script} --level {level} --repeat"
        self.run, self.failed, self.refused = (collections.Counter() for _ in range(3))
        self.printed = 0

    def take(self, case):
        kind = case.id.split(":")[0]
        self.run[kind] += 1
        self.refused[kind] += case.refused
        if case.failures:
            self.failure(kind, case.id, f"{case.failures[0]} ({len(case.failures)} in all) | {settings_of(case)}")

    def failure(self, kind, id, text):
        self.failed[kind] += 1
        if self.printed < PRINTED and self.failed[kind] <= max(3, PRINTED // max(len(self.failed), 1)):
            self.printed += 1
            print(f"FAILED {self.again} {id} | {text}", flush=True)

    def end(self):
        for kind in self.run:
            refused = f", {self.refused[kind]} algorithms did not apply" if self.refused[kind] else ""
            print(f"{kind}: {self.run[kind]} cases, {self.failed[kind]} failed{refused}")
        print(f"in all: {self.run.total()} cases, {self.failed.total()} failed")
        return 1 if self.failed else 0


def main():
    options = parsed()
    draws = prepare(options.level)
    log = open(options.log, "w") if options.log else None
    id = options.repeat

    def stage(text):
        """What is called before each call of kernels."""
        if options.fresh:
            draws.kernels.memory.empty_cache()
        if log:
            log.seek(0)
            log.truncate()
            print(id, text, file=log, flush=True)
        if options.repeat:
            print(f"  {text}", file=sys.stderr, flush=True)

    draws.Case.stage = staticmethod(stage)
    if options.repeat:
        kind, seed, index = options.repeat.split(":")
        case = draws.run(kind, int(seed), int(index))
        print(settings_of(case), *case.failures, sep="\n")
        return 1 if case.failures else 0
    report = Report("differential.py", draws.kernels.LEVEL)
    for kind, index in schedule(chosen(draws, options.only, options.skip), 60 * options.minutes, options.cases):
        id = f"{kind}:{options.seed}:{index}"
        stage("drawn")
        report.take(draws.run(kind, options.seed, index))
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
