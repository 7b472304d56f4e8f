"""Compare cconv with the chapter's NumPy, PyTorch, TensorFlow, ONNX Runtime and OpenVINO: `python -m benchmarks`."""

import argparse
import json
import sys
from pathlib import Path

from . import interpreters, report
from .arena import BLOCK, Arena
from .contestants import BEFORE, CONTESTANTS
from .inputs import NAMES
from .machine import describe
from .plots import save_plots
from .results import Results
from .sections import Bench, all_sections


def parse(arguments=None):
    sections = all_sections()
    contestants = [name for name in CONTESTANTS if name != BEFORE]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--section",
        nargs="+",
        choices=sections,
        default=list(sections),
        metavar="NAME",
        help=f"only these: {', '.join(sections)}",
    )
    parser.add_argument(
        "--contestants",
        nargs="+",
        choices=contestants,
        default=contestants,
        metavar="NAME",
        help=f"only these: {', '.join(contestants)}",
    )
    parser.add_argument(
        "--against",
        metavar="PYTHON",
        help=f"compare with another cconv too, as {BEFORE!r}: that of the environment of this Python executable, or of "
        f"this folder, a source tree with its kernels built; exit with 1 where a row is below {report.SLOWER}",
    )
    parser.add_argument("--repeat", type=int, default=1, metavar="K", help="run so often; slower is what is so in all")
    parser.add_argument("--quick", action="store_true", help="fewer repeats and shapes")
    parser.add_argument("--smoke", action="store_true", help="next to none: does everything run?")
    parser.add_argument(
        "--seconds", type=float, default=0, help="let each contestant take steps in `company` so long at least"
    )
    parser.add_argument("--threads", type=int, help="for each contestant; default: what cconv takes")
    parser.add_argument(
        "--network",
        nargs="+",
        choices=NAMES,
        default=list(NAMES),
        metavar="NAME",
        help=f"only of these in `layers-of`: {', '.join(NAMES)}",
    )
    parser.add_argument("--wheel", type=Path, help="a wheel whose size is reported")
    parser.add_argument("--json", type=Path, help="write the results, in seconds and bytes, to this file")
    parser.add_argument("--plots", type=Path, help="draw charts into this folder")
    parser.add_argument("--markdown", type=Path, metavar="JSON", help="only print the tables of an earlier run's file")
    options = parser.parse_args(arguments)
    if options.repeat < 1:
        parser.error(f"argument --repeat: must be at least 1, got {options.repeat}")
    if options.against and "cconv" not in options.contestants:
        parser.error("argument --against: needs the contestant cconv")
    return options


def main():
    options = parse()
    if options.markdown:
        print(report.markdown(Results(json.loads(options.markdown.read_text("utf-8")))))
        return
    before = interpreters.of(options.against) if options.against else None
    runs = [run(options, before) for _ in range(options.repeat)]
    results = runs[-1]
    report.print_verdicts(results)
    if options.json:
        options.json.write_text(json.dumps(results.data, indent=1) + "\n", "utf-8")
    if options.plots:
        print("\n" + "\n".join(f"drew {path}" for path in save_plots(results, options.plots)))
    return report.print_changes(runs) if before else 0


def run(options, before):
    """Run the sections; print each row as it comes in and return all of them."""
    import cconv

    threads = options.threads or cconv.get_num_threads()
    machine = describe(threads)
    if before:
        machine[BEFORE] = before.ask("import cconv; print(cconv.__version__, cconv.__file__)")
    print("\n".join(f"{key}: {value}" for key, value in machine.items()))
    repeats, seconds = (1, 0.0) if options.smoke else (3 if options.quick else 7, BLOCK)
    results = Results({"machine": machine, "repeats": repeats, "block": seconds, "absent": {}, "sections": {}})
    sections = all_sections()
    names = [name for name in CONTESTANTS if name in options.contestants or (before and name == BEFORE)]
    with Arena(threads, names, repeats, seconds, before) as arena:
        networks = [NAMES[name] for name in options.network]
        bench = Bench(arena, options.quick, options.smoke, options.wheel, options.seconds, networks)
        for name in options.section:
            section = sections[name]
            unit = report.UNITS[section.unit][1]
            print(f"\n{name}: {section.title} In {unit}, and as a multiple of cconv's.")
            rows, bench.notes = {}, []
            for row, values in section(bench):
                if not values:
                    continue  # cconv does not have it
                rows[row] = values
                report.print_row(row, values, section.unit)
            results.sections[name] = {"title": section.title, "unit": section.unit, "notes": bench.notes, "rows": rows}
            report.print_summary(results, name)
    results.data["absent"] = arena.absent
    for name, reason in arena.absent.items():
        print(f"\n{name} took no part: {reason}")
    return results


if __name__ == "__main__":
    sys.exit(main())
