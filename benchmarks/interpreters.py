"""The interpreters that contestants run in: this one, or for another cconv perhaps that of its environment."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Interpreter(NamedTuple):
    """An executable, and the folders in which it looks for modules before those of its environment."""

    executable: str
    folders: tuple[str, ...]

    def command(self, *arguments):
        return [self.executable, "-P", *arguments]  # the working directory is in `folders`, or not to be looked into

    def environment(self, **variables):
        """Return this process's environment, with these variables in it."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
        return environment | ({"PYTHONPATH": os.pathsep.join(self.folders)} if self.folders else {})

    def ask(self, code):
        """Return what code prints in it, or raise SystemExit."""
        done = subprocess.run(
            self.command("-c", code), env=self.environment(), capture_output=True, text=True, encoding="utf-8"
        )
        if done.returncode:
            raise SystemExit(f"{self.executable} cannot run {code!r}:\n{done.stderr}")
        return done.stdout.strip()


def own():
    """Return this interpreter, which finds the modules that this process finds."""
    return Interpreter(sys.executable, (sys.path[0] or os.getcwd(), *_asked_for()))


def of(against):
    """Return the interpreter of another cconv: an executable, or this one with a built source tree first on its path.

    Raises SystemExit where no cconv can be imported, or not from that tree.
    """
    path = Path(against)
    if not path.is_dir():
        if not path.is_file():
            raise SystemExit(f"--against: expected a Python executable or the folder of a built cconv, got {against}")
        found = Interpreter(os.path.abspath(path), ())  # as it is: a link tells an executable its environment
        found.ask("import cconv")
        return found
    found = Interpreter(sys.executable, (os.path.abspath(path), *_asked_for()))
    place = Path(found.ask("import cconv; print(cconv.__file__)"))
    if not place.is_relative_to(path.absolute()):
        raise SystemExit(f"--against: the cconv of {against} must be imported from there, got that of {place}")
    return found


def _asked_for():
    return tuple(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
