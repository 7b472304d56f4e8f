"""`cconv train`: from data to a model, in a folder from which a training that was ended at any moment goes on."""

import argparse
import itertools
import os
import shlex
import time
from contextlib import ExitStack, suppress

from .. import augment as augmentations
from .._files import locked, write
from ..callbacks import Callback, Checkpoints, CSVLog
from ..datasets import DatasetNotFoundError
from ..kernels.runtime._cpu import set_num_threads
from ..layers.stack import nested
from ..schedules import CosineDecay, ExponentialDecay, OneCycle, ReduceOnPlateau, StepDecay
from ..trainer import OPTIMIZERS, Trainer
from .arguments import (
    Parser,
    UsageError,
    add_data,
    add_json,
    add_threads,
    described,
    folder_name,
    fraction,
    natural,
    network,
    positive,
    size,
    whole,
)
from .data import for_training
from .messages import complain, one_line, print_json, say
from .networks import NETWORKS, make

__all__ = ["add_to"]

EXAMPLES = """
examples:
  cconv train --quick
  cconv train --data mnist --network deep --epochs 20 --output run1
  cconv train --output run1 --resume
  cconv train --data photos --image-size 48 --network resnet --augment flip,shift --schedule cosine
  cconv train --data cifar10 --network network.py:make     calls make(input_shape, classes)
  cconv train --settings run1/settings.toml --lr 0.0003 --output run2

A run's folder holds settings.toml, model.cconv (the last epoch's), best.cconv (that of the epoch with the lowest
loss on the validation data), checkpoints, history.csv and report.html.
"""
DEFAULTS = {
    "data": "mnist",
    "network": "simple",
    "epochs": 10,
    "batch-size": 100,
    "optimizer": "adam",
    "schedule": "constant",
    "augment": "none",
    "validation": 0.1,
    "seed": 0,
    "image-size": "64x64",
}
QUICK = {"epochs": 5}
SECONDS = 15  # between checkpoints within an epoch
MEASURED = 10_000  # images of training and test data on which accuracy is measured after an epoch
FREE = ("epochs", "threads", "data-dir")  # what may be another one when a run goes on
AUGMENTATIONS = {
    "shift": lambda classes: augmentations.RandomShift(0.1),
    "rotate": lambda classes: augmentations.RandomRotation(10),
    "zoom": lambda classes: augmentations.RandomZoom(0.1),
    "shear": lambda classes: augmentations.RandomShear(10),
    "flip": lambda classes: augmentations.RandomFlip(),
    "elastic": lambda classes: augmentations.ElasticDistortion(),
    "brightness": lambda classes: augmentations.RandomBrightness(0.2),
    "contrast": lambda classes: augmentations.RandomContrast(0.2),
    "noise": lambda classes: augmentations.GaussianNoise(10),
    "erase": lambda classes: augmentations.RandomErasing(),
    "mixup": lambda classes: augmentations.Mixup(num_classes=classes),
}
STEADY = ("constant", "plateau")  # schedules that do not go by the number of epochs
# What makes a schedule of an optimizer, for so many epochs of so many steps.
SCHEDULES = {
    "constant": None,
    "cosine": lambda optimizer, epochs, steps: CosineDecay(optimizer, epochs * steps),
    "onecycle": lambda optimizer, epochs, steps: OneCycle(optimizer, optimizer.lr, epochs * steps),
    "step": lambda optimizer, epochs, steps: StepDecay(optimizer, max(epochs // 3, 1)),
    "exponential": lambda optimizer, epochs, steps: ExponentialDecay(optimizer, 0.01 ** (1 / epochs)),
    "plateau": lambda optimizer, epochs, steps: ReduceOnPlateau(optimizer, patience=3),
}


def add_to(commands):
    options = described("Train a network on images.", EXAMPLES)
    parser = commands.add_parser("train", help="train a network", parents=[_settings_parser("")], **options)
    parser.add_argument("--output", type=folder_name, metavar="RUN", help="the run's folder (default: runs/DATE-TIME)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output, if it was begun")
    parser.add_argument("--settings", metavar="FILE.toml", help="options by their names; those given here win")
    add_json(parser)
    parser.set_defaults(run=run)


def _settings_parser(prog):
    """Return a parser of what a file of settings may hold too; what is not given is not in what it returns."""
    parser = Parser(prog=prog, add_help=False, argument_default=argparse.SUPPRESS)

    def add(name, text="", **options):
        default = DEFAULTS.get(name)
        text += f" (default: {default})" if default is not None else ""
        parser.add_argument(f"--{name}", help=text.strip(), **options)

    add_data(parser, default=DEFAULTS["data"])
    add("image-size", "of images in a folder, as 64 or HEIGHTxWIDTH", type=size, metavar="N")
    add("grey", "read images in a folder in grey", action="store_true")
    add("network", f"{', '.join(NETWORKS)}, or FILE.py:name", type=network)
    add("epochs", "passes over the training data", type=whole, metavar="N")
    add("batch-size", "images of a step", type=whole, metavar="N")
    add("lr", "the learning rate (default: the optimizer's own)", type=positive)
    add("optimizer", "what a step does with the gradients", type=str.lower, choices=list(OPTIMIZERS))
    add("schedule", "what becomes of the learning rate", choices=list(SCHEDULES))
    names = f"some of {', '.join(AUGMENTATIONS)}, with commas between them"
    add("augment", names, type=_augmentations, metavar="NAMES")
    add("validation", "how much of the training data is kept apart", type=fraction, metavar="FRACTION")
    add("seed", "of weights, order and augmentation", type=natural, metavar="N")
    add_threads(parser)
    quick = ", ".join(f"--{name} {value}" for name, value in QUICK.items())
    add("quick", f"a run of minutes: {quick}; synthetic digits where MNIST cannot be had", action="store_true")
    return parser


def _augmentations(text):
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown and names != ["none"]:
        raise argparse.ArgumentTypeError(f"must be none or some of {','.join(AUGMENTATIONS)}, got {unknown[0]!r}")
    return ",".join(names)


def run(options):
    """Train, and fill the folder of the run."""
    given = _given(options)
    folder, is_new = _folder(options)
    settings = _settings(given) if is_new else _resumed(folder, given)
    if "threads" in settings:
        set_num_threads(settings["threads"])
    train, test = _data(settings, can_be_other=is_new and "quick" in given and "data" not in given)
    net = make(settings["network"], train[:1][0].shape[1:], train.classes, settings["seed"])
    toml = _toml(settings)
    with ExitStack() as stack:
        folder = _claimed(stack, folder, is_new, is_named=options.output is not None)
        trainer = _trainer(net, train, test, settings, folder, verbose=not options.json)
        if (done := trainer.current_epoch) > trainer.epochs:
            raise UsageError(f"--epochs must be at least the {done} that are done, got {trainer.epochs}")
        write(os.path.join(folder, "settings.toml"), toml)
        if not options.json:
            done = f", after {trainer.current_iter} steps that are done" if trainer.current_iter else ""
            say(f"training {settings['network']} on {len(trainer.train_data):,} images of {settings['data']}{done}")
        try:
            if trainer.current_epoch < trainer.epochs:
                trainer.train()
            net.save(os.path.join(folder, "model.cconv"))
            trainer.history.to_csv(os.path.join(folder, "history.csv"))
            _report(folder, net)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f": cconv train --resume --output {shlex.quote(folder)} goes on") from None
    result = {
        "run": folder,
        "settings": settings,
        "best_epoch": trainer.best_epoch,
        "epochs": trainer.history.rows(),
    }
    if options.json:
        print_json(result)
    else:
        say(f"saved in {folder}: model.cconv, and best.cconv of epoch {trainer.best_epoch}")


def _given(options):
    """Return the settings that were given, those of a file too, by their names."""
    given = {} if options.settings is None else _read(options.settings)
    names = {action.dest: action.option_strings[0][2:] for action in _settings_parser("")._actions}
    return given | {names[key]: value for key, value in vars(options).items() if key in names}


def _read(path):
    """Return the settings in a TOML file; they are what options are, and are checked as these."""
    import tomllib

    with open(path, "rb") as file:
        try:
            found = tomllib.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is no TOML file: {error}") from None
        except RecursionError:
            raise ValueError(f"{path} is no TOML file of settings: it is nested too deeply") from None
    parser = _settings_parser(path)
    actions = {action.option_strings[0][2:]: action for action in parser._actions}
    arguments = []
    for name, value in found.items():
        if name not in actions:
            raise UsageError(f"{path}: {name} is not a setting; there are {', '.join(actions)}")
        if actions[name].nargs == 0:
            if not isinstance(value, bool):
                raise UsageError(f"{path}: {name} must be true or false, got {value!r}")
            arguments += [f"--{name}"] * value
        elif isinstance(value, (str, int, float)):
            arguments.append(f"--{name}={value}")
        else:
            raise UsageError(f"{path}: {name} must be a text or a number, got {value!r}")
    try:
        parsed = parser.parse_args(arguments)
    except UsageError as error:
        raise UsageError(f"{path}: {error.args[0].partition(' (')[0]}") from None
    return {name: getattr(parsed, action.dest) for name, action in actions.items() if hasattr(parsed, action.dest)}


def _folder(options):
    """Return the folder of the run, and whether a new run begins there."""
    if options.output is None:
        if options.resume:
            raise UsageError("--resume needs the folder of a run: --output RUN")
        return os.path.join("runs", time.strftime("%Y-%m-%d-%H%M%S")), True
    folder = os.path.expanduser(options.output)
    if options.resume and os.path.exists(os.path.join(folder, "settings.toml")):
        return folder, False
    if os.path.lexists(folder) and not _is_empty(folder):
        hint = "it is no run" if options.resume else "--resume goes on with a run, another --output begins a new one"
        raise FileExistsError(f"{folder} is there already: {hint}")
    return folder, True


def _claimed(stack, folder, is_new, is_named):
    """Make the folder of a run and keep it from other trainings until `stack` is left; then return it.

    Where the user has not named it, one that another training was faster with gives way to one with a number.
    """
    for name in itertools.chain([folder], (f"{folder}-{number}" for number in itertools.count(2))):
        missing, path = [], name
        while path and not os.path.lexists(path):
            missing.append(path)
            path = os.path.dirname(path)
        for path in reversed(missing):
            with suppress(FileExistsError):
                os.mkdir(path)
                stack.callback(_remove_if_empty, path)
        try:
            stack.enter_context(locked(name))
        except BlockingIOError:
            reason = "is in use: another training goes on there"
        else:
            if not is_new or _is_empty(name):
                return name
            reason = "was begun by another training meanwhile"
        if is_named:
            raise FileExistsError(f"{name} {reason}")


def _remove_if_empty(folder):
    with suppress(OSError):
        os.rmdir(folder)


def _is_empty(folder):
    """Say whether there is a folder with nothing in it, but for what a killed process may leave."""
    return os.path.isdir(folder) and all(name.startswith(".") for name in os.listdir(folder))


def _settings(given):
    """Return the settings of a new run."""
    given = dict(given)
    quick = QUICK if given.pop("quick", False) else {}
    return DEFAULTS | quick | given


def _resumed(folder, given):
    """Return the settings of a run that goes on."""
    stored = DEFAULTS | _read(os.path.join(folder, "settings.toml"))
    for name, value in given.items():
        by_epochs = name == "epochs" and stored["schedule"] not in STEADY
        if (by_epochs or name not in (*FREE, "quick")) and value != stored.get(name):
            why = f", as --schedule {stored['schedule']} goes by it" if by_epochs else ""
            raise UsageError(f"--{name} must be that of the run{why}, {stored.get(name, 'not given')}, got {value}")
    return stored | {name: given[name] for name in FREE if name in given}


def _data(settings, can_be_other):
    """Return data for training and testing; without MNIST, a quick run's are synthetic, which `settings` then says."""
    height, width = map(int, settings["image-size"].split("x"))
    color = "grey" if settings.get("grey") else "rgb"
    options = {"size": (height, width), "color": color}
    options |= {"samples": settings.get("samples"), "data_dir": settings.get("data-dir")}
    try:
        return for_training(settings["data"], **options)
    except DatasetNotFoundError:
        if not can_be_other:
            raise
    complain("MNIST is neither on this machine nor can it be downloaded: training on synthetic digits instead")
    settings["data"] = "synthetic"
    return for_training("synthetic", **options)


def _trainer(net, train, test, settings, folder, verbose):
    kept = 0 if not settings["validation"] else round(settings["validation"] * len(train))
    epochs, batch_size = settings["epochs"], settings["batch-size"]
    steps, rest = divmod(len(train) - kept, batch_size)
    drop_last = bool(steps) and 0 < rest < net.smallest_batch
    steps += rest > 0 and not drop_last
    schedule = SCHEDULES[settings["schedule"]]
    names = [name for name in settings["augment"].split(",") if name != "none"]
    steps_of_images = [AUGMENTATIONS[name](len(train.classes)) for name in names]
    return Trainer(
        net,
        train,
        None,
        test,
        None,
        epochs=epochs,
        mini_batch_size=batch_size,
        optimizer=settings["optimizer"],
        optimizer_param={"lr": settings["lr"]} if "lr" in settings else None,
        evaluate_sample_num_per_epoch=MEASURED,
        verbose=verbose,
        seed=settings["seed"],
        schedule=None if schedule is None else lambda optimizer: schedule(optimizer, epochs, steps),
        validation=settings["validation"] or None,
        augment=augmentations.Compose(steps_of_images) if names else None,
        callbacks=[
            _Best(os.path.join(folder, "best.cconv")),
            CSVLog(os.path.join(folder, "history.csv")),
            _Often(os.path.join(folder, "checkpoints")),
        ],
        checkpoint_dir=os.path.join(folder, "checkpoints"),
        resume=True,
        drop_last=drop_last,
    )


class _Best(Callback):
    """Keeps the network of the best epoch in a file."""

    def __init__(self, path):
        self.path = path

    def on_epoch_end(self, trainer):
        if trainer.best_epoch == trainer.current_epoch:
            trainer.network.save(self.path)


class _Often(Checkpoints):
    """Writes a checkpoint within an epoch too, where the last one is some seconds old."""

    def on_train_begin(self, trainer):
        self.written = time.monotonic()

    def on_step_end(self, trainer):
        if time.monotonic() - self.written >= SECONDS and not trainer.epoch_is_complete:
            self.save(trainer)
            self.written = time.monotonic()

    def on_epoch_end(self, trainer):  # the trainer's own callback writes one then
        self.written = time.monotonic()

    def on_interrupt(self, trainer):
        pass


def _report(folder, net):
    """Write report.html, where what it needs is installed."""
    from ..report import write_report

    things = [net, net.last_layer, *(layer for _, layer in nested(net.layers))]
    try:
        write_report(folder, custom={type(thing).__name__: type(thing) for thing in things})
    except ImportError as error:
        complain(f"warning: report.html was not written: {one_line(error)}")


def _toml(settings):
    """Return settings as the content of a TOML file."""
    import json

    lines = []
    for name, value in settings.items():
        # JSON escapes in a text all that TOML wants escaped but the control character DEL.
        text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        try:
            lines.append(f"{name} = {text}\n".encode())
        except UnicodeEncodeError:
            raise ValueError(f"--{name} must be a name in UTF-8, as settings.toml is, got {value!r}") from None
    return b"".join(lines)
