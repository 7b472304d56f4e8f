"""What the commands say: results on the standard output, all else on the standard error, a line each."""

import json
import math
import os
import sys

__all__ = ["complain", "one_line", "print_json", "say", "show", "table"]


def complain(text):
    """Print a line on the standard error, if somebody can read it."""
    try:
        if sys.stderr is not None:  # print would take the standard output
            print(f"cconv: {text}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass


def show(text):
    """Print a result on the standard output; what that cannot encode, as bytes of a file's name, is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def say(text):
    """Show a line at once; that nobody reads it is no reason to end what is going on."""
    try:
        show(text)
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):
        pass


def one_line(error):
    """Return the message of an exception as one line.

    Examples
    --------
    >>> one_line(FileNotFoundError(2, "No such file or directory", "model.cconv"))
    'model.cconv: No such file or directory'
    >>> one_line(MemoryError())
    'MemoryError'
    """
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def print_json(value):
    """Print a value as JSON, in ASCII, which any output takes; a number that is not finite becomes null."""
    print(json.dumps(_finite(value), indent=2))


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(rows, indent=""):
    """Return rows of texts as lines of aligned columns: the first to the left, all others to the right.

    Examples
    --------
    >>> print(table([("class", "images"), ("cat", "12")]))
    class  images
    cat        12
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)
