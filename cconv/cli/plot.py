"""`cconv plot`: pictures of a run."""

import os

from ..history import History
from ..layers import Convolution
from ..layers.stack import nested
from ..plotting import filter_show, plot_history
from .arguments import add_custom, add_json, described
from .messages import print_json, show
from .networks import saved

__all__ = ["add_to"]

EXAMPLES = """
examples:
  cconv plot run1
  cconv plot run2 --custom layers.py

It writes history.png, and filters.png where the model begins with a convolution of images, into the run's folder.
"""


def add_to(commands):
    options = described("Draw pictures of a run.", EXAMPLES)
    parser = commands.add_parser("plot", help="draw pictures of a run", **options)
    parser.add_argument("folder", metavar="RUN")
    add_custom(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options):
    """Draw, and print where the pictures are."""
    path = os.path.join(options.folder, "history.csv")
    history = History.from_csv(path)
    if not len(history):
        raise ValueError(f"{path} has no epochs of a training")
    filters = None
    if os.path.exists(os.path.join(options.folder, "model.cconv")):
        layers = nested(saved(options.folder, options.custom).layers)
        filters = next((layer.W for _, layer in layers if isinstance(layer, Convolution)), None)
    paths = [os.path.join(options.folder, "history.png")]
    plot_history(history, file_name=paths[0])
    if filters is not None:
        paths.append(os.path.join(options.folder, "filters.png"))
        filter_show(filters, file_name=paths[-1])
    if options.json:
        print_json(paths)
    else:
        show("\n".join(paths))
