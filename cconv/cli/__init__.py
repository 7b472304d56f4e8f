"""The command `cconv`: train, evaluate, predict, and what goes with them; a file for each command."""

import os
import sys
import warnings

from .._version import __version__
from . import bench, convert, evaluate, info, inspect, plot, predict, train
from .arguments import Parser, UsageError, described
from .messages import complain, one_line
from .networks import place_of

__all__ = ["main"]

EXAMPLES = """
examples:
  cconv train --quick --output digits
  cconv predict digits/model.cconv photo.png
  cconv evaluate digits/model.cconv --data mnist
  cconv train --data photos --network resnet --augment flip,shift --output photos1
  cconv inspect photos1/best.cconv
"""
COMMANDS = (train, evaluate, predict, inspect, convert, plot, info, bench)
FAILURES = (OSError, ValueError, TypeError, ImportError, ArithmeticError, MemoryError)  # of what a user gave


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        The arguments; those of the process when not given.

    Returns
    -------
    int
        The exit status: 0, also where nobody reads the output any more; 1 if the command failed, 2 if it was not called
        as it must be, 130 after Ctrl-C. A message of one line is on the standard error then.

    Examples
    --------
    >>> main(["predict"])
    2
    """
    status = _status(argv)
    for stream in (sys.stdout, sys.stderr):
        status = _flushed(stream, status)
    return status


def parser():
    """Return the parser of the command line."""
    made = Parser(prog="cconv", **described("Train convolutional networks and use them.", EXAMPLES))
    made.add_argument("--version", action="version", version=f"cconv {__version__}")
    commands = made.add_subparsers(dest="command", metavar="command", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    return made


def _status(argv):
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            options = parser().parse_args(argv)
            options.run(options)
            return 0
    except SystemExit as stop:  # after --help and --version
        return stop.code
    except UsageError as error:
        complain(one_line(error))
        return 2
    except KeyboardInterrupt as stop:
        complain(f"interrupted{stop}")
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if place := place_of(error):
            complain(f"{place}: {type(error).__name__}: {one_line(error)}")
        elif isinstance(error, FAILURES):
            complain(one_line(error))
        else:
            raise
        return 1


def _show_warning(message, category, filename, lineno, file=None, line=None):
    complain(f"warning: {message}")


def _flushed(stream, status):
    """Return the status after a stream was flushed; where that fails, Python is not to try again at its end."""
    try:
        stream.flush()
    except (AttributeError, ValueError):  # there is none, or it is closed
        pass
    except OSError as error:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        if status == 0 and not isinstance(error, BrokenPipeError):
            complain(one_line(error))
            return 1
    return status
