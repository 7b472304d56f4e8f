"""Compare hashes of what kernels return with those that are stored: has a change moved a bit of any result?

    python tests/result_hashes.py
    python tests/result_hashes.py --level v3 --only conv,affine
    python tests/result_hashes.py --store

Each kind of case of draws.py is drawn 300 times, in both dtypes, and run by each algorithm that applies. The hashes in
result_hashes.json are those of one compiler and its version; another one may contract or order operations otherwise, so
there nothing is compared. The exit code is 1 if a hash differs.

A change that is meant to move bits, or to draw other cases, stores the hashes again in a commit that says why.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import differential
import numpy as np

STORED = Path(__file__).with_suffix(".json")
CASES = 300
SEED = 2026
DIGITS = 6  # of each hash, in hexadecimal
LEFT_OUT = "network"  # whose steps add in NumPy as well, in an order that depends on NumPy's build
# Of modules that setup.py builds for lower levels only, and for another one where not all levels are built.
OF_LOWER_LEVELS = ("activation", "augmentation", "losses", "optimizer", "resample")
PRINTED = 20  # of the hashes that differ
# Run before the levels: what is compared with what was built.
ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import differential
kernels = differential.prepare(None).kernels
import cconv
print(json.dumps([kernels.levels(), cconv.show_config("dicts")["build"]]))
"""


def parsed(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--level", choices=["baseline", "v3", "v4"], help="one CPU level; all built ones when not given"
    )
    parser.add_argument("--only", help="kinds, separated by commas")
    parser.add_argument("--cases", type=int, default=CASES, help="of each kind, from the first on")
    parser.add_argument("--store", action="store_true", help="store the hashes of this build")
    parser.add_argument("--print", action="store_true", help="print the hashes of --level, and compare nothing")
    options = parser.parse_args(arguments)
    if options.store and (options.only or options.level or options.cases != CASES):
        parser.error("--store is for all kinds, levels and cases")
    if not 1 <= options.cases <= CASES:
        parser.error(f"--cases must be from 1 to {CASES}, as many as are stored, got {options.cases}")
    return options


def arrays(result):
    """The arrays of a result, and of tuples of them."""
    if isinstance(result, (tuple, list)):
        for part in result:
            yield from arrays(part)
    elif result is not None:
        yield np.asarray(result)


def hash_of(draws, kind, index):
    """Run a case; return the hash of all that its calls returned."""
    digest = hashlib.sha256()

    def take(result):
        for array in arrays(result):
            if array.dtype.kind == "f":  # arithmetic leaves the sign of a NaN open
                array = np.where(np.isnan(array), array.dtype.type(np.nan), array)
            digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())

    draws.Case.returned = staticmethod(take)
    draws.run(kind, SEED, index)
    return digest.hexdigest()[:DIGITS]


def built():
    """The levels of this build that can run here, and its compiler with its version and options."""
    command = [sys.executable, "-P", "-c", ASK, str(Path(__file__).parent)]
    levels, build = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    version = [build["compiler"].split()[0], "--version"]
    try:
        compiler = subprocess.run(version, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError):
        compiler = version[0]
    return levels, f"{compiler} {build['options']}" + " (debug)" * build["debug"]


def hashes_of(level, options):
    """Compute the hashes of a level in a process of its own."""
    command = [sys.executable, __file__, "--print", "--level", level, "--cases", str(options.cases)]
    command += ["--only", options.only] if options.only else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(line.split(": ") for line in done.stdout.splitlines())


def main():
    options = parsed()
    if options.print:
        draws = differential.prepare(options.level)
        for kind in differential.chosen(draws, options.only, LEFT_OUT):
            print(f"{kind}:", *(hash_of(draws, kind, index) for index in range(options.cases)))
        return 0
    levels, compiler = built()
    if options.store:
        hashes = {level: hashes_of(level, options) for level in levels}
        STORED.write_text(json.dumps({"compiler": compiler, "hashes": hashes}, indent=1) + "\n", "utf-8")
        return 0
    stored = json.loads(STORED.read_text("utf-8"))
    if stored["compiler"] != compiler:
        print(f"nothing compared: the hashes are those of {stored['compiler']}, this build is {compiler}'s")
        return 0
    left_out = [] if set(levels) == set(stored["hashes"]) else OF_LOWER_LEVELS
    different = compared = 0
    for level in [options.level] if options.level else levels:
        for kind, text in hashes_of(level, options).items():
            there_too = "" if kind in left_out else stored["hashes"][level].get(kind, "")  # not of a kind that is new
            for index, (here, there) in enumerate(zip(text.split(), there_too.split(), strict=False)):
                compared += 1
                different += here != there
                if here != there and different <= PRINTED:
                    again = f"python tests/differential.py --level {level} --repeat {kind}:{SEED}:{index}"
                    print(f"other bits on {level}: {kind} {index} | {again}")
    print(f"{compared} cases compared, {different} have other bits")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
