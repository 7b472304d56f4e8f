"""Results as charts."""

from pathlib import Path

from .contestants import CONTESTANTS
from .report import UNITS

COURSES = {  # sections whose rows are numbers that grow
    "batches": "images in a batch",
    "image-sizes": "height and width of the image",
    "threads": "threads",
}
COLOURS = {name: f"C{number}" for number, name in enumerate(CONTESTANTS)}


def save_plots(results, folder):
    """Draw one PNG file per section into a folder; return their paths."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, section in results.sections.items():
        if not section["rows"]:
            continue
        figure = (_course if name in COURSES else _bars)(plt, results, name)
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=120)
        plt.close(figure)
    return paths


def _contestants(results, section):
    rows = results.rows(section).values()
    return [name for name in CONTESTANTS if any(values.get(name) for values in rows)]


def _course(plt, results, section):
    """Draw times against what grows, on logarithmic axes."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    rows = results.rows(section)
    for name in _contestants(results, section):
        there = [row for row in rows if rows[row].get(name)]
        values = [results.value(section, row, name) * 1e3 for row in there]
        axes.plot([int(row) for row in there], values, "o-", label=name, color=COLOURS[name])
    axes.set(xscale="log", yscale="log", xlabel=COURSES[section], ylabel="ms")
    axes.set_xticks([int(row) for row in rows], rows)
    axes.minorticks_off()
    axes.set_title(results.sections[section]["title"], fontsize=9, wrap=True)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def _bars(plt, results, section):
    """Draw each row's values as bars, shortest is best, on a logarithmic axis."""
    rows, names = results.rows(section), _contestants(results, section)
    height = 0.8 / len(names)
    figure, axes = plt.subplots(figsize=(9, 1.5 + 0.18 * len(names) * len(rows)), layout="constrained")
    scale, unit = UNITS[results.sections[section]["unit"]]
    for number, name in enumerate(names):
        there = [(place, row) for place, row in enumerate(rows) if rows[row].get(name)]
        places = [place + number * height for place, _ in there]
        # Memory that did not grow at all has no place on a logarithmic axis.
        values = [max(results.value(section, row, name) * scale, 1e-3 if unit == "MB" else 0) for _, row in there]
        axes.barh(places, values, height, label=name, color=COLOURS[name])
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(rows))], rows, fontsize=8)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel=unit)
    axes.set_title(results.sections[section]["title"], fontsize=9, wrap=True)
    figure.legend(loc="outside lower center", ncols=7, fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    return figure
