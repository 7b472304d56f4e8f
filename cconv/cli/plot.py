"""`cconv plot`: pictures of a run."""

import csv
import os

from ..history import COLUMNS, History
from ..layers import Convolution
from ..layers.stack import nested
from ..plotting import filter_show, plot_history
from .arguments import add_json, described
from .messages import print_json
from .networks import saved

__all__ = ["add_to"]

EXAMPLES = """
examples:
  cconv plot run1

It writes history.png, and filters.png where the model begins with a convolution of images, into the run's folder.
"""


def add_to(commands):
    options = described("Draw pictures of a run.", EXAMPLES)
    parser = commands.add_parser("plot", help="draw pictures of a run", **options)
    parser.add_argument("folder", metavar="RUN")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options):
    """Draw, and print where the pictures are."""
    history = _history(os.path.join(options.folder, "history.csv"))
    paths = [os.path.join(options.folder, "history.png")]
    plot_history(history, file_name=paths[0])
    if os.path.exists(os.path.join(options.folder, "model.cconv")):
        layers = nested(saved(options.folder).layers)
        filters = next((layer.W for _, layer in layers if isinstance(layer, Convolution)), None)
        if filters is not None:
            paths.append(os.path.join(options.folder, "filters.png"))
            filter_show(filters, file_name=paths[-1])
    if options.json:
        print_json(paths)
    else:
        print("\n".join(paths))


def _history(path):
    """Return the history in a CSV file."""
    history = History()
    with open(path, newline="", encoding="utf-8") as file:
        try:
            for row in csv.DictReader(file, strict=True):
                history.record(**{name: row[name] for name in row if name in COLUMNS})
        except (csv.Error, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not the history of a training: {error}") from error
    if not len(history):
        raise ValueError(f"{path} has no epochs of a training")
    return history
