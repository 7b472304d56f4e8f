"""`cconv predict`: what a model takes images for."""

import numpy as np

from ..data.image_folder import read_image
from ..functions import sigmoid, softmax
from ..kernels.runtime._cpu import set_num_threads
from ..layers import SigmoidWithLoss
from .arguments import add_json, add_model, add_threads, described, whole
from .evaluate import color_of
from .messages import print_json, show
from .networks import prepared, saved

__all__ = ["add_to"]

EXAMPLES = """
examples:
  cconv predict run1/model.cconv photo.png
  cconv predict run1 *.jpg --top 1 --json
  cconv predict digits/model.cconv scan.png --invert     dark digits on white paper, for a model of light ones on black

Images may have any size and colours: they are made to just cover what the model takes, and cut off evenly.
"""


def add_to(commands):
    options = described("Say what a model takes images for.", EXAMPLES)
    parser = commands.add_parser("predict", help="say what is on images", **options)
    add_model(parser)
    parser.add_argument("images", metavar="IMAGE", nargs="+")
    parser.add_argument("--top", type=whole, default=3, metavar="N", help="classes to show of each (default: 3)")
    parser.add_argument("--invert", action="store_true", help="exchange dark and light")
    add_threads(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options):
    """Print the classes of the highest probability."""
    if options.threads is not None:
        set_num_threads(options.threads)
    network = saved(options.model, options.custom)
    x = np.stack([_read(path, **color_of(network)) for path in options.images])
    scores = network.predict(prepared(network, 255 - x if options.invert else x))
    if scores.ndim != 2 or getattr(network.last_layer, "accuracy", True) is None:
        raise ValueError(f"{options.model} must give a score for each class, it is a model of something else")
    probabilities = _probabilities(network, scores)
    names = network.classes or list(map(str, range(probabilities.shape[1])))
    found = []
    for path, row in zip(options.images, probabilities, strict=True):
        order = np.argsort(-row, kind="stable")[: options.top]
        best = [{"class": names[n], "probability": float(row[n])} for n in order]
        found.append({"image": path, "class": best[0]["class"], "classes": best})
    if options.json:
        print_json(found)
        return
    for entry in found:
        show(f"{entry['image']}: " + ", ".join(f"{c['class']} {c['probability']:.1%}" for c in entry["classes"]))


def _read(path, size, color):
    channels = 1 if color == "grey" else 3
    try:
        return read_image(path, "L" if channels == 1 else "RGB", (channels, *size))
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise nearly anything for a damaged file
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} is no image that can be read: {type(error).__name__}: {error}") from error


def _probabilities(network, scores):
    """Return what the scores say of each class."""
    if not isinstance(network.last_layer, SigmoidWithLoss):
        return softmax(scores)
    positive = sigmoid(scores)
    return positive if scores.shape[1] > 1 else np.hstack([1 - positive, positive])
