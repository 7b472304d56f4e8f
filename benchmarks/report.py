"""Results as tables: on the terminal while they come in, and in Markdown for the README."""

import statistics

from .contestants import BEFORE, CONTESTANTS
from .results import geometric_mean
from .targets import TARGETS

SLOWER = 0.97  # times before by those now
UNITS = {"s": (1e3, "ms"), "B": (1e-6, "MB")}


def print_row(row, values, unit):
    """Print a row as it comes in: each contestant's median, and how many times cconv's it is."""
    cells = []
    for name, numbers in values.items():
        cell = f"{name} {statistics.median(numbers) * UNITS[unit][0]:.3f}"
        if name != "cconv" and values.get("cconv"):
            ratio = statistics.median(b / a for a, b in zip(values["cconv"], numbers, strict=False))
            cell += f" ({ratio:.2f}x)"
        cells.append(cell)
    print(f"  {row:44s} " + "   ".join(cells), flush=True)


def print_summary(results, section):
    """Print how a section went on the whole, and its notes."""
    if len(results.rows(section)) > 1:
        for name in CONTESTANTS:
            ratios = results.all_against(section, "", (name,))
            if name != "cconv" and len(ratios) > 1:
                print(f"  {name}: least {min(ratios):.2f}x, geometric mean {geometric_mean(ratios):.2f}x cconv's")
    for note in results.sections[section]["notes"]:
        print(f"  {note}")


def print_changes(runs):
    """Print each row's times before by those now, of all runs, and which rows are slower; say whether any is.

    Parameters
    ----------
    runs : list of Results
        A row is slower if it is so in every run.
    """
    print(f"\n{BEFORE} / cconv, of {len(runs)} {'run' if len(runs) == 1 else 'runs'}; below 1 it is slower now:")
    slower = []
    for section, row in _timed(runs[0]):
        ratios = [ratio for run in runs if (ratio := run.ratio(section, row, BEFORE)) is not None]
        if ratios:
            is_slower = len(ratios) == len(runs) and max(ratios) < SLOWER
            slower += [(section, row)] * is_slower
            print(f"  {section:24s} {row:44s} {' '.join(f'{ratio:.2f}' for ratio in ratios)}{'  slower' * is_slower}")
    print(f"slower in every run: {len(slower)}")
    return bool(slower)


def _timed(results):
    return [
        (name, row) for name, section in results.sections.items() if section["unit"] == "s" for row in section["rows"]
    ]


def verdicts(results):
    """Return rows of (target, measured, reached) for all that was measured."""
    return [verdict for target in TARGETS if (verdict := target.verdict(results)) is not None]


def print_verdicts(results):
    rows = verdicts(results)
    if rows:
        print("\nHow many times as fast as the named peer cconv is, or what else is said:")
    for wanted, measured, reached in rows:
        print(f"  {wanted:78s} {measured:>10s}  {reached}")


# The rows of the README's table: what they are called there, section, row.
README = [
    ("training step, batch 100", "step", "float32"),
    ("training step, batch 100, float64", "step", "float64"),
    ("the same, layer by layer", "layer-by-layer", "float32"),
    ("scores of 1 image", "forward", "batch 1"),
    ("scores of 100 images", "forward", "batch 100"),
    ("scores of 1000 images", "forward", "batch 1000"),
    ("training step of DeepConvNet, batch 100", "networks-step", "DeepConvNet"),
    ("training step of ResNet-20, 3x32x32, batch 100", "networks-step", "ResNet-20"),
    ("training step of MobileNet, 3x32x32, batch 100", "networks-step", "MobileNet"),
    ("scores of 100 images, DeepConvNet", "networks-forward", "DeepConvNet, batch 100"),
    ("scores of 1 image, ResNet-20", "networks-forward", "ResNet-20, batch 1"),
    ("scores of 100 images, ResNet-20", "networks-forward", "ResNet-20, batch 100"),
    ("scores of 1 image, MobileNet", "networks-forward", "MobileNet, batch 1"),
    ("scores of 100 images, MobileNet", "networks-forward", "MobileNet, batch 100"),
    ("an epoch of MNIST", "epoch", "MNIST, 60,000 images"),
    ("max-pooling 2x2, forward and backward", "pooling", "max 2x2/2 both, float32"),
    ("Adam, 432,000 parameters", "optimizers", "Adam"),
]


def markdown(results):
    """Return the README's table, and the targets, as Markdown."""
    measured = [row for row in README if results.value(row[1], row[2]) is not None]
    names = [name for name in CONTESTANTS if any(results.value(s, r, name) is not None for _, s, r in measured)]
    lines = [_line(["ms", *names]), _line(["---", *["---:"] * len(names)])]
    for text, section, row in measured:
        values = [results.value(section, row, name) for name in names]
        lines.append(_line([text, *("" if value is None else _milliseconds(value) for value in values)]))
    machine = results.data["machine"]
    lines += ["", ", ".join(f"{key} {value}" for key, value in machine.items()) + ".", ""]
    lines += [_line(["target", "measured", "reached"]), _line(["---", "---:", "---"])]
    lines += [_line(row) for row in verdicts(results)]
    return "\n".join(lines)


def _milliseconds(seconds):
    value = seconds * 1e3
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _line(cells):
    return f"| {' | '.join(cells)} |"
