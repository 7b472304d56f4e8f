"""A page on a training: one file of HTML that holds its pictures, its numbers and its settings, and loads nothing."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from . import metrics, plotting
from ._config import show_config
from ._extras import require
from ._files import path_of, write
from ._typing import DatasetLike, FileName
from .data import ArrayDataset, Dataset, ImageFolder, Subset, as_dataset
from .data.image_folder import training_and_testing
from .datasets import LOADERS
from .history import History
from .layers import Convolution
from .layers.stack import nested
from .networks import Network, load
from .plotting._figures import headless, inline
from .plotting.answers import answers, class_names
from .trainer import Trainer

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["write_report"]

MOST = 10_000  # images that are measured

STYLE = """
:root { color-scheme: light dark;
  --back: #ffffff; --front: #1d2330; --soft: #5b6475; --line: #d9dee7; --card: #f4f6fa; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171d; --front: #e6e9ef; --soft: #9aa4b5; --line: #333a47; --card: #1d222b; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem; background: var(--back); color: var(--front);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; } h2 { margin: 2.5rem 0 0.8rem; border-bottom: 1px solid var(--line); }
p.soft, figcaption, .tile span { color: var(--soft); }
.tiles { display: flex; flex-wrap: wrap; gap: 0.8rem; margin: 1.2rem 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 0.6rem 1rem; }
.tile b { display: block; font-size: 1.4rem; } .tile span { font-size: 0.85rem; }
figure { margin: 1.2rem 0; } figcaption { margin-bottom: 0.4rem; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff; border-radius: 8px; padding: 0.5rem;
  border: 1px solid var(--line); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; }
th, td { padding: 0.25rem 0.8rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); } summary { cursor: pointer; }
code { white-space: pre-wrap; overflow-wrap: anywhere; }
"""


def write_report(
    run: FileName | Trainer,
    file_name: FileName | None = None,
    *,
    data: DatasetLike | tuple[ArrayLike, ArrayLike] | None = None,
    custom: Mapping[str, type] | None = None,
) -> str:
    """Write a page on a training: its curves, what its network answers and sees, its settings, and the machine.

    It is one file of HTML, in which the pictures are; it loads nothing from anywhere, and follows the reader's choice
    of light or dark. What a run does not have is left out, and the page says so.

    Parameters
    ----------
    run : str, bytes, path or Trainer
        The folder of a run as ``cconv train`` leaves it, or a trainer. Of a folder what is there is read:
        ``settings.toml``, ``best.cconv`` or else ``model.cconv``, ``history.csv``, and the data that the settings name.
    file_name : str, bytes or path, optional
        Of the page: ``report.html``, in the run's folder or in the current one, when not given.
    data : pair of arrays or data set, optional, keyword only
        Images and classes (x, t) that the network is measured on. When not given, those for testing: of a trainer, or
        those that the settings name. Of more than 10,000, so many are taken, evenly out of all.
    custom : mapping of str to type, optional, keyword only
        Classes of layers, losses and networks of one's own, as for `load`, which the files of a folder need.

    Returns
    -------
    str
        The name of the file.

    Raises
    ------
    TypeError, ValueError
        If run is neither, an argument does not fit, or a file of the run is damaged.
    OSError
        If there is no such folder, or nothing of a run is in it, or the page cannot be written.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> import tempfile
    >>> (x_train, t_train), (x_test, t_test) = load_synthetic_digits(100, 50, flatten=False)
    >>> trainer = Trainer(cconv.SimpleConvNet(seed=0), x_train, t_train, x_test, t_test, epochs=1, verbose=False)
    >>> trainer.train()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write_report(trainer, os.path.join(folder, "report.html"))
    ...     os.path.basename(page)
    'report.html'
    """
    require("matplotlib.figure", "write_report")
    found = _Run()
    if isinstance(run, Trainer):
        _read_trainer(found, run)
        path = "report.html"
    else:
        folder = path_of(run, "run")
        _read_folder(found, folder, custom, has_data=data is not None)
        path = os.path.join(folder, "report.html")
    path = path if file_name is None else path_of(file_name)
    if data is not None:
        pair = data if isinstance(data, (tuple, list)) and len(data) == 2 else (data, None)
        found.data, found.data_name = as_dataset(pair[0], pair[1], ("data", "its targets")), "data that were given"
    write(path, _page(found).encode())
    return path


class _Run:
    """What is known of a run; `missing` says what is not, and why."""

    def __init__(self) -> None:
        self.title = "A training with cconv"
        self.facts: dict[str, Any] = {}  # numbers of the head, by their names
        self.settings: dict[str, Any] = {}
        self.history = None
        self.network = None
        self.network_name = ""
        self.data: Dataset | None = None
        self.data_name = ""
        self.augmented = None  # an augmentation and images for it
        self.missing: list[str] = []


def _read_trainer(found, trainer):
    """Take what a report wants from a trainer."""
    found.title = f"Training of a {type(trainer.network).__name__}"
    found.history = trainer.history
    found.settings = {
        "network": type(trainer.network).__name__,
        "training data": f"{len(trainer.train_data):,} samples",
        "optimizer": repr(trainer.optimizer),
        "schedule": repr(trainer.schedule),
        "augmentation": repr(trainer.augment),
        "average": repr(trainer.average),
        "epochs": trainer.epochs,
        "samples of a step": trainer.batch_size,
        "compared by": trainer.monitor,
        "callbacks": ", ".join(map(repr, trainer.callbacks)) or "none",
    }
    if isinstance(trainer.network, Network):
        found.network, found.network_name = trainer.network, "the network of the trainer"
    else:
        found.missing.append("pictures of the network: it is no Network of cconv")
    for name in ("test", "validation"):
        if found.data is None and (data := getattr(trainer, f"{name}_data")) is not None:
            found.data, found.data_name = data, f"the {name} data"
    if found.data is None:
        found.missing.append("what the network answers: the trainer has neither test nor validation data")
    if trainer.augment is None:
        found.missing.append("augmented images: the training had no augmentation")
    else:
        found.augmented = trainer.augment, trainer.train_data[: min(4, trainer.train_size)]


def _read_folder(found, folder, custom, has_data):
    """Take what a report wants from the folder of a run, as far as it is there."""
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"run must be a Trainer or the folder of a run, got {folder!r}, which is no folder")
    names = {name: os.path.join(folder, name) for name in os.listdir(folder)}
    if not names.keys() & {"settings.toml", "history.csv", "best.cconv", "model.cconv"}:
        raise FileNotFoundError(
            f"run must be the folder of a run, got {folder!r}, which has no settings.toml, history.csv or model.cconv"
        )
    found.title = f"Run {os.path.basename(os.path.abspath(folder))}"
    if "settings.toml" in names:
        found.settings = _settings(names["settings.toml"])
    else:
        found.missing.append("the settings: there is no settings.toml")
    if "history.csv" in names:
        found.history = History.from_csv(names["history.csv"])
    else:
        found.missing.append("the curves of the training: there is no history.csv")
    name = next((name for name in ("best.cconv", "model.cconv") if name in names), None)
    if name is None:
        found.missing.append("all of the network: there is neither best.cconv nor model.cconv")
        return
    try:
        found.network, found.network_name = load(names[name], custom=custom), name
    except ValueError as error:  # layers of one's own, for instance
        found.missing.append(f"all of the network: {error}")
        return
    found.missing.append("augmented images: a folder does not hold the augmentation itself")
    if has_data:
        return
    if "data" not in found.settings:
        found.missing.append("what the network answers: the settings name no data")
        return
    try:
        found.data, found.data_name = _data(found.settings, found.network)
    except (OSError, ValueError, TypeError, ImportError, MemoryError) as error:
        found.missing.append(f"what the network answers: its data cannot be read: {error}")


def _settings(path):
    """Return the settings in a file of a run."""
    import tomllib

    with open(path, "rb") as file:
        try:
            return tomllib.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is no TOML file: {error}") from None


def _data(settings, network):
    """Return the images for testing that the settings of a run name, as the network takes them, and what they are."""
    name = str(settings["data"])
    said = f"images of {name} for testing"
    options = {} if "data-dir" not in settings else {"data_dir": settings["data-dir"]}
    if name in LOADERS:
        integers = network.takes_integers
        options = {} if name == "synthetic" else options
        pairs = LOADERS[name](normalize=not integers, flatten=len(network.input_shape) == 1, **options)
        return as_dataset(*pairs[1]), said
    training, testing = training_and_testing(name)
    if testing is None:
        said = f"all images of {name}, most of which it was trained on"
    channels, *size = network.input_shape
    images = ImageFolder(testing or training, size=tuple(size), color="grey" if channels == 1 else "rgb")
    if network.classes is not None and images.classes != network.classes:
        raise ValueError(f"the folder {name} has other classes than the network")
    if not network.takes_integers:
        images = ArrayDataset(images.x.astype(np.float32) / 255, images.t, classes=images.classes)
    return images, said


def _page(found):
    """Return the page as HTML."""
    sections = []
    with headless():
        sections.append(_training(found))
        sections += _answers(found)
        sections.append(_inside(found))
    settings = [(name, str(value)) for name, value in found.settings.items()]
    sections += [_network(found), _section("Settings", _table([], settings))]
    sections.append(_section("Versions and machine", _table([], _machine())))
    if found.missing:
        items = "".join(f"<li>{escape(text)}</li>" for text in found.missing)
        sections.append(_section("Left out", f'<ul id="missing">{items}</ul>'))
    facts = found.facts.items()
    tiles = "".join(f'<div class="tile"><b>{escape(v)}</b><span>{escape(name)}</span></div>' for name, v in facts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(found.title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(found.title)}</h1>
<p class="soft">written on {time.strftime("%Y-%m-%d at %H:%M")} by cconv</p>
<div class="tiles">{tiles}</div>
{"".join(sections)}</body>
</html>
"""


def _section(title, *parts):
    return f"<section><h2>{escape(title)}</h2>\n{''.join(parts)}\n</section>\n" if any(parts) else ""


def _figure(name, caption, drawn, kind="png"):
    """Return a picture of the page, under a name by which it is found."""
    return f'<figure id="{name}"><figcaption>{escape(caption)}</figcaption>{inline(drawn, caption, kind)}</figure>\n'


def _table(head, rows):
    """Return a table of rows, if there are some; numbers, and what stands above them, stand to the right."""
    rows = [[_cell(value) for value in row] for row in rows]
    if not rows:
        return ""
    if head:
        starts = [cell.partition(">")[0].replace("td", "th") for cell in rows[0]]
        rows.insert(0, [f"{start}>{escape(name)}</th>" for start, name in zip(starts, head, strict=True)])
    lines = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="wide"><table>{lines}</table></div>\n'


def _cell(value):
    if isinstance(value, float):
        value = f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.4g}"
    elif isinstance(value, int) and not isinstance(value, bool):
        value = f"{value:,}"
    else:
        return f"<td>{escape(str(value))}</td>"
    return f'<td class="number">{value}</td>'


def _training(found):
    history = found.history
    if history is None:
        return ""
    if not len(history):
        found.missing.append("the curves of the training: no epoch is complete")
        return ""
    rows = history.rows()
    found.facts["epochs"] = f"{len(history):,}"
    found.facts["time of training"] = _duration(sum(history.seconds))
    for name in ("loss", "val_loss", "accuracy", "val_accuracy", "test_accuracy"):
        if (value := history.last(name)) is not None:
            words = name.replace("val_", "validation ").replace("test_", "test ")
            found.facts[f"{words}, last epoch"] = f"{value:.4f}"
    table = _table(rows[0], [row.values() for row in rows])
    return _section(
        "Training",
        _figure("history", "Loss and accuracy of each epoch", plotting.plot_history(history), "svg"),
        f"<details><summary>The numbers of {len(rows)} epochs</summary>{table}</details>",
    )


def _duration(seconds):
    """Return a time in words.

    Examples
    --------
    >>> _duration(3.21), _duration(754), _duration(7300)
    ('3.2 s', '12 min 34 s', '2 h 1 min')
    """
    if not math.isfinite(seconds) or seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _answers(found):
    """Return what the network answers: measures, the confusion matrix and mistakes."""
    network, data = found.network, found.data
    if network is None or data is None:
        return []
    if getattr(network.last_layer, "accuracy", len) is None or data.labels is None:
        found.missing.append("classes that are confused: this is no network of classes")
        return []
    some = data if len(data) <= MOST else Subset(data, np.arange(MOST) * len(data) // MOST)
    (x, _), t = some[:], some.labels
    predicted, _, count = answers(network, network.predict(x))
    names = class_names(network.classes, count)
    right = float(np.mean(predicted == t))
    found.facts[f"right, of {len(t):,}"] = f"{100 * right:.2f} %"
    of = f"{len(t):,} of {len(data):,} samples" if len(t) < len(data) else f"{len(t):,} samples"
    parts = [f'<p class="soft">Measured on {escape(found.data_name)}: {of}, with {escape(found.network_name)}.</p>']
    if (predicted < 0).any():
        found.missing.append("precision and recall, and the confusion matrix: scores of the network are NaN")
    else:
        kinds = metrics.precision, metrics.recall, metrics.f1
        measures = [kind(t, predicted, average=None, num_classes=count).tolist() for kind in kinds]
        rows = list(zip(names, np.bincount(t, minlength=count).tolist(), *measures, strict=True))
        parts.append(_table(["class", "samples", "precision", "recall", "F1"], rows))
        drawn = plotting.plot_confusion_matrix(t, predicted, classes=names)
        parts.append(_figure("confusion", "How many samples of each class were taken for which", drawn))
    if len(network.input_shape) == 3:
        caption = "Mistakes, those first of which the network is most certain: its answer above, the true class below"
        parts.append(_figure("mistakes", caption, plotting.plot_mistakes(network, some)))
    return [_section("Answers", *parts)]


def _inside(found):
    """Return pictures of what is inside of the network."""
    network, data = found.network, found.data
    if network is None:
        return ""
    parts = []
    is_of_images = len(network.input_shape) == 3
    x = None if data is None else data[: min(8, len(data))][0]
    if any(isinstance(layer, Convolution) for _, layer in nested(network.layers)):
        caption = "The filters of the first convolution, each from its smallest value (black) to its largest"
        parts.append(_figure("filters", caption, plotting.plot_filters(network)))
        if x is not None and getattr(network.last_layer, "accuracy", len) is not None:
            caption = "Which parts of an image speak for the answer (Grad-CAM), with the answer's probability"
            parts.append(_figure("grad-cam", caption, plotting.plot_grad_cam(network, x)))
    else:
        found.missing.append("filters and Grad-CAM: the network has no convolution")
    if x is not None and is_of_images:
        if getattr(network.last_layer, "accuracy", len) is not None:
            caption = "How much each pixel changes the score of the answer (saliency)"
            parts.append(_figure("saliency", caption, plotting.plot_saliency(network, x)))
        caption = "What the layers make of an image"
        parts.append(_figure("feature-maps", caption, plotting.plot_feature_maps(network, x[0])))
    if network.params:
        caption = "How the values of parameters" + ("" if x is None else " and of layers' outputs") + " are distributed"
        parts.append(_figure("histograms", caption, plotting.plot_histograms(network, x)))
    if found.augmented is not None and is_of_images:
        augment, (images, t) = found.augmented
        drawn = plotting.plot_augmented(augment, images, t)
        parts.append(_figure("augmented", "Training images as the augmentation changes them", drawn))
    return _section("Inside the network", *parts)


def _network(found):
    if found.network is None:
        return ""
    found.facts["parameters"] = f"{sum(value.size for value in found.network.params.values()):,}"
    shown = f"<details><summary>Its layers' settings</summary><code>{escape(repr(found.network))}</code></details>"
    return _section("Network", f'<div class="wide" id="summary">{found.network._repr_html_()}</div>', shown)


def _machine():
    """Return the versions and the machine as pairs of a name and a text."""
    config = show_config(mode="dicts")
    return [
        ("cconv", config["cconv"]),
        ("Python", config["python"]),
        ("NumPy", config["numpy"]),
        ("matplotlib", require("matplotlib", "write_report").__version__),
        ("system", config["platform"]),
        ("processor", _processor()),
        ("kernels", f"level {config['cpu']['level']} of {', '.join(config['cpu']['levels'])}"),
        ("threads", f"{config['threads']['num_threads']} of {os.cpu_count()} CPUs"),
    ]


def _processor():
    """Return what the processor is called."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
