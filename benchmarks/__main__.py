"""Compare cconv with the chapter's NumPy, PyTorch and ONNX Runtime, in one run: `python -m benchmarks`."""

import argparse
import json
from pathlib import Path

from . import report
from .arena import BLOCK, Arena
from .contestants import CONTESTANTS
from .machine import describe
from .plots import save_plots
from .results import Results
from .sections import Bench, all_sections


def parse(arguments=None):
    sections = all_sections()
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
        choices=CONTESTANTS,
        default=list(CONTESTANTS),
        metavar="NAME",
        help=f"only these: {', '.join(CONTESTANTS)}",
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats and shapes")
    parser.add_argument("--smoke", action="store_true", help="next to none: does everything run?")
    parser.add_argument("--threads", type=int, help="for each contestant; default: what cconv takes")
    parser.add_argument("--wheel", type=Path, help="a wheel whose size is reported")
    parser.add_argument("--json", type=Path, help="write the results, in seconds and bytes, to this file")
    parser.add_argument("--plots", type=Path, help="draw charts into this folder")
    parser.add_argument("--markdown", type=Path, metavar="JSON", help="only print the tables of an earlier run's file")
    return parser.parse_args(arguments)


def main():
    options = parse()
    if options.markdown:
        print(report.markdown(Results(json.loads(options.markdown.read_text("utf-8")))))
        return
    results = run(options)
    report.print_verdicts(results)
    if options.json:
        options.json.write_text(json.dumps(results.data, indent=1) + "\n", "utf-8")
    if options.plots:
        print("\n" + "\n".join(f"drew {path}" for path in save_plots(results, options.plots)))


def run(options):
    """Run the sections; print each row as it comes in and return all of them."""
    import cconv

    threads = options.threads or cconv.get_num_threads()
    machine = describe(threads)
    print("\n".join(f"{key}: {value}" for key, value in machine.items()))
    repeats, seconds = (1, 0.0) if options.smoke else (3 if options.quick else 7, BLOCK)
    results = Results({"machine": machine, "repeats": repeats, "block": seconds, "absent": {}, "sections": {}})
    sections = all_sections()
    with Arena(threads, options.contestants, repeats, seconds) as arena:
        bench = Bench(arena, options.quick, options.smoke, options.wheel)
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
    main()
