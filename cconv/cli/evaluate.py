"""`cconv evaluate`: how good a model is on data whose classes are known."""

import copy

import numpy as np

from .. import metrics
from ..kernels.runtime._cpu import set_num_threads
from .arguments import add_data, add_json, add_model, add_threads, described
from .data import NAMES, for_testing
from .messages import print_json, show, table
from .networks import prepared, saved

__all__ = ["add_to", "color_of"]

EXAMPLES = """
examples:
  cconv evaluate run1/model.cconv --data mnist
  cconv evaluate run1 --data photos/test --json

Of a data set by name its test images are used; of a folder the images in test, or in val, if it has such a folder
beside train, and else all.
"""
PART = 1000  # images that are read at a time
MOST_CLASSES = 20  # whose confusion matrix is shown whole
MOST_CONFUSIONS = 10


def add_to(commands):
    options = described("Measure a model on images whose classes are known.", EXAMPLES)
    parser = commands.add_parser("evaluate", help="measure a model on test images", **options)
    add_model(parser)
    add_data(parser, "mnist")
    add_threads(parser)
    add_json(parser)
    parser.set_defaults(run=run, data="mnist")


def color_of(network):
    """Return the size and the colour in which images are read from files for a network."""
    shape = network.input_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"the model must take images of one or three channels, it takes {shape}")
    return {"size": shape[1:], "color": "grey" if shape[0] == 1 else "rgb"}


def run(options):
    """Measure, and print what was found."""
    if options.threads is not None:
        set_num_threads(options.threads)
    network = saved(options.model, options.custom)
    if getattr(network.last_layer, "accuracy", True) is None:
        raise ValueError(f"{options.model} is a model of regression, which has no classes")
    reading = {"size": None, "color": None} if options.data in NAMES else color_of(network)
    data = for_testing(options.data, **reading, samples=options.samples, data_dir=options.data_dir)
    found = _measured(network, data)
    found = {"model": options.model, "data": options.data, "samples": len(data)} | found
    if options.json:
        print_json(found)
    else:
        show("\n".join(_lines(found)))


def _measured(network, data):
    """Return measures of the scores of all samples."""
    parts = [data[begin : begin + PART] for begin in range(0, len(data), PART)]
    scores = np.concatenate([network.predict(prepared(network, x)) for x, _ in parts])
    if scores.ndim != 2:
        raise ValueError(f"the model must return a score for each class, it returns {scores.shape[1:]}")
    count = max(scores.shape[1], 2)
    labels, classes = _labels(network, data, count)
    answers = scores if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(np.int64)
    targets = np.eye(count)[labels] if scores.shape[1] > 1 else labels[:, None]
    each = {
        name: getattr(metrics, name)(labels, answers, average=None, num_classes=count)
        for name in ("precision", "recall", "f1")
    }
    matrix = metrics.confusion_matrix(labels, answers, num_classes=count)
    rows = zip(classes, matrix.sum(axis=1), *each.values(), strict=True)
    return {
        "accuracy": metrics.accuracy(labels, answers),
        "loss": float(copy.copy(network.last_layer).forward(scores, targets)),
        **{name: getattr(metrics, name)(labels, answers, num_classes=count) for name in each},
        "classes": [
            {"name": name, "samples": int(samples), **dict(zip(each, map(float, values), strict=True))}
            for name, samples, *values in rows
        ],
        "confusion_matrix": matrix.tolist(),
    }


def _labels(network, data, count):
    """Return the class indices of samples as the model counts classes, and the names of these."""
    labels, names = data.labels, network.classes
    if names is not None and names != data.classes:
        unknown = [name for name in data.classes if name not in names]
        if unknown:
            raise ValueError(f"the data have the class {unknown[0]!r}, the model has {', '.join(names)}")
        labels = np.array([names.index(name) for name in data.classes])[labels]
    if labels.max() >= count:
        raise ValueError(f"the data have {len(data.classes)} classes, the model has {count}")
    if names is None:
        names = data.classes if len(data.classes) == count else list(map(str, range(count)))
    return labels, names


def _lines(found):
    yield f"accuracy on {found['samples']:,} images: {found['accuracy']:.4f}"
    yield f"loss {found['loss']:.4f}"
    yield ""
    rows = [("class", "images", "precision", "recall", "F1")]
    for entry in (*found["classes"], {"name": "mean", **found}):
        rates = (f"{entry[name]:.4f}" for name in ("precision", "recall", "f1"))
        rows.append((entry["name"], f"{entry['samples']:,}", *rates))
    yield table(rows)
    yield ""
    names, matrix = [c["name"] for c in found["classes"]], found["confusion_matrix"]
    if len(names) <= MOST_CLASSES:
        yield "images of a class (rows) that were taken for each class (columns):"
        yield table([("", *names), *((name, *map(str, row)) for name, row in zip(names, matrix, strict=True))])
        return
    pairs = [(n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if n and i != j]
    yield "most often mistaken:"
    for n, i, j in sorted(pairs, key=lambda pair: -pair[0])[:MOST_CONFUSIONS]:
        yield f"  {names[i]} for {names[j]}: {n}"
