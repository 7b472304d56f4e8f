"""``python -m cconv.book script.py``: find the book's modules in cconv, and run a script as Python itself does."""

import argparse
import importlib
import importlib.util
import os
import sys
import types
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader

__all__ = ["Finder", "main"]

OURS = ("common", "dataset")
CHAPTERS = {
    "layer_naive": "ch05.layer_naive",
    "two_layer_net": "ch05.two_layer_net",
    "simple_convnet": "ch07.simple_convnet",
    "deep_convnet": "ch08.deep_convnet",
}
PACKAGES = ("ch05", "ch07", "ch08")


class Finder(MetaPathFinder):
    """Finds the modules that scripts of the book import, as `cconv.book` says.

    Examples
    --------
    >>> Finder().find_spec("common.layers").name
    'common.layers'
    >>> Finder().find_spec("json") is None
    True
    """

    def find_spec(self, name, path=None, target=None):
        """Return the spec of a module of the book's, or None for any other."""
        package, _, rest = name.partition(".")
        if package in OURS:
            served = f"cconv.book.{name}"
            if importlib.util.find_spec(served) is not None:
                return ModuleSpec(name, _Alias(served))
            # What these packages lack here may lie in a folder of the script's.
            return PathFinder.find_spec(name, [os.path.join(folder, package) for folder in sys.path])
        if package not in PACKAGES and name not in CHAPTERS:
            return None
        if rest and sys.modules.get(package) is sys.modules.get(f"cconv.book.{package}"):
            own = None
        else:
            own = PathFinder.find_spec(name, path)
        served = f"cconv.book.{CHAPTERS.get(name, name)}"
        if own is None and importlib.util.find_spec(served) is not None:
            return ModuleSpec(name, _Alias(served))
        return own


class _Alias(Loader):
    """Gives a module that has another name already."""

    def __init__(self, name):
        self.name = name

    def create_module(self, spec):
        module = importlib.import_module(self.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module):
        module.__spec__ = self.spec  # the import system has put that of the alias there


def main(argv=None):
    """Run the script that the arguments name, with the arguments behind it; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cconv.book",
        description="Run a script of the book's on cconv: what it imports as common and dataset is cconv's.",
    )
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the script finds in sys.argv")
    options = parser.parse_args(argv)
    path = os.path.abspath(options.script)
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        parser.exit(2, f"{parser.prog}: can't open file {path!r}: {error.strerror}\n")
    sys.meta_path.insert(0, Finder())
    sys.argv = [options.script, *options.arguments]
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    module = types.ModuleType("__main__")
    vars(module).update(__file__=path, __cached__=None, __loader__=SourceFileLoader("__main__", path))
    sys.modules["__main__"] = module
    sys.excepthook = _without_this_module
    exec(compile(source, path, "exec", dont_inherit=True), vars(module))
    return 0


def _without_this_module(kind, error, traceback):
    """Show an exception as Python does that runs the script itself."""
    while traceback is not None and traceback.tb_frame.f_globals is not vars(sys.modules["__main__"]):
        traceback = traceback.tb_next
    sys.__excepthook__(kind, error.with_traceback(traceback), traceback)
