"""How arguments are read: kinds of values, and errors of one line."""

import argparse
import math
import os
import re

from .data import NAMES
from .networks import NETWORKS

__all__ = [
    "Parser",
    "UsageError",
    "add_custom",
    "add_data",
    "add_json",
    "add_model",
    "add_threads",
    "data",
    "described",
    "folder_name",
    "fraction",
    "natural",
    "network",
    "positive",
    "shape",
    "size",
    "whole",
]


class UsageError(Exception):
    """A command is not called as it must be."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a `UsageError`, and which takes options by their whole names only."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message):
        raise UsageError(f"{message} ({self.prog} --help shows how it is called)")


def described(description, examples):
    """Return what a parser is told of its command: what it does, and examples, in the lines in which they are."""
    return {
        "description": description,
        "epilog": examples.strip(),
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def add_json(parser):
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_threads(parser):
    parser.add_argument("--threads", type=whole, metavar="N", help="threads (default: as many as there are CPUs)")


def add_data(parser, default):
    names = ", ".join(NAMES)
    text = f"{names}, or a folder with a folder of images for each class (default: {default})"
    parser.add_argument("--data", type=data, help=text)
    parser.add_argument(
        "--data-dir", type=folder_name, metavar="FOLDER", help="where files of data sets are looked for first"
    )
    parser.add_argument("--samples", type=whole, metavar="N", help="use so many images at most")


def add_model(parser):
    parser.add_argument("model", metavar="MODEL", help="a model, a checkpoint, or the folder of a run")
    add_custom(parser)


def add_custom(parser):
    parser.add_argument("--custom", metavar="FILE.py", help="Python code with the classes of layers of your own")


def whole(text):
    """Return a whole number from 1 on.

    Examples
    --------
    >>> whole("20")
    20
    """
    return _number(int, text, lambda value: value >= 1, "a whole number from 1 on")


def natural(text):
    """Return a whole number from 0 on."""
    return _number(int, text, lambda value: value >= 0, "a whole number from 0 on")


def positive(text):
    """Return a finite number above 0."""
    return _number(float, text, lambda value: 0 < value < math.inf, "a number above 0")


def fraction(text):
    """Return a number from 0 on and below 1."""
    return _number(float, text, lambda value: 0 <= value < 1, "a number from 0 on and below 1")


def _number(kind, text, fits, wanted):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise argparse.ArgumentTypeError(f"must be {wanted}, got {text!r}")
    return value


def size(text):
    """Return a height and a width as they are written in settings: of ``32`` or ``48x64``.

    Examples
    --------
    >>> size("32"), size("48x64")
    ('32x32', '48x64')
    """
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)?", text):
        raise argparse.ArgumentTypeError(f"must be a size such as 64, or height x width such as 48x64, got {text!r}")
    return text if "x" in text else f"{text}x{text}"


def shape(text):
    """Return the shape of one sample: of ``1,28,28``.

    Examples
    --------
    >>> shape("1,28,28")
    (1, 28, 28)
    """
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"must be the shape of one sample such as 1,28,28, got {text!r}")
    return tuple(map(int, text.split(",")))


def folder_name(text):
    """Return the name of a folder, which is not empty, as an unset variable of a shell is."""
    if not text:
        raise argparse.ArgumentTypeError("must be the name of a folder, got ''")
    return text


def data(text):
    """Return the name of a data set, or the absolute path of a folder."""
    if text in NAMES:
        return text
    path = os.path.abspath(os.path.expanduser(text))
    if not text or (os.sep not in text and not os.path.isdir(path)):
        raise argparse.ArgumentTypeError(f"must be {', '.join(NAMES)} or a folder of images, got {text!r}")
    return path


def network(text):
    """Return the name of a network, or the absolute path and the name in a file of Python code."""
    if text in NETWORKS:
        return text
    match = re.fullmatch(r"(.+\.py):([^\W\d]\w*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be {', '.join(NETWORKS)} or FILE.py:name, got {text!r}")
    return f"{os.path.abspath(os.path.expanduser(match[1]))}:{match[2]}"
