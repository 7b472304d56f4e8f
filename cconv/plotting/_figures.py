"""Figures: where they are drawn, shown and saved; matplotlib is imported when the first one is drawn."""

import os
from contextlib import contextmanager
from contextvars import ContextVar

from .._extras import require
from .._files import path_of, write

__all__ = ["begin", "begin_axes", "figure_of", "finish", "headless", "inline", "present"]


HEADLESS = ContextVar("HEADLESS", default=False)  # whether no figure is to be shown


@contextmanager
def headless():
    """Have figures drawn that need no display and are not shown."""
    token = HEADLESS.set(True)
    try:
        yield
    finally:
        HEADLESS.reset(token)


def figure_of(width, height, file_name, purpose):
    """A figure in a window, where pyplot has windows and no file is wanted, else one that needs no display."""
    if file_name is None and not HEADLESS.get():
        pyplot = require("matplotlib.pyplot", purpose)
        figure = pyplot.figure(figsize=(width, height), layout="constrained")
        if not figure.canvas.required_interactive_framework:
            pyplot.close(figure)  # pyplot forgets it, so that a notebook shows it once: as the value of its cell
        return figure
    figure = require("matplotlib.figure", purpose).Figure(figsize=(width, height), layout="constrained")
    require("matplotlib.backends.backend_agg", purpose).FigureCanvasAgg(figure)
    return figure


def present(figure, file_name, dpi, purpose):
    """Save the figure, or show it if it has a window."""
    if file_name is not None:
        _save(figure, file_name, dpi)
    elif figure.canvas.required_interactive_framework:
        require("matplotlib.pyplot", purpose).show()
    return figure


def begin(purpose, size, file_name, figure):
    """Return the figure that a grid is drawn into, a new one of this size where none is given, and the file's name."""
    file_name = None if file_name is None else path_of(file_name)
    if figure is None:
        return figure_of(*size, file_name, purpose), file_name
    if not isinstance(figure, require("matplotlib.figure", purpose).FigureBase):
        raise TypeError(f"figure must be a Figure of matplotlib, got {type(figure).__name__}")
    return figure, file_name


def begin_axes(purpose, size, file_name, ax, **labels):
    """Return the axes that a single picture is drawn into, those of a new figure where none are given, and the file."""
    file_name = None if file_name is None else path_of(file_name)
    if ax is None:
        return figure_of(*size, file_name, purpose).add_subplot(**labels), file_name
    if not isinstance(ax, require("matplotlib.axes", purpose).Axes):
        raise TypeError(f"ax must be Axes of matplotlib, got {type(ax).__name__}")
    ax.set(**labels)
    return ax, file_name


def finish(drawn, given, file_name, purpose, dpi=120):
    """Save or show the figure of what was drawn, and return it; one that the caller gave is the caller's to show."""
    root = drawn.figure.figure  # of axes, or of a part of a figure, the whole
    if given is None:
        return present(root, file_name, dpi, purpose)
    if file_name is not None:
        _save(root, file_name, dpi)
    return root


def _save(figure, file_name, dpi):
    """Write the picture into a file, all of it or nothing, in the format of the file's ending."""
    import io

    kind = os.path.splitext(file_name)[1][1:].lower()
    if not kind:
        kind = require("matplotlib", "a picture").rcParams["savefig.format"]
        if os.path.basename(file_name):
            file_name = f"{file_name.rstrip('.')}.{kind}"  # as matplotlib has it
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=dpi)
    write(file_name, file.getvalue())


def inline(figure, alt, kind="png", dpi=110):
    """Return a figure as an element of HTML that holds it, with a text for those who do not see it."""
    import base64  # here, since they would slow the import of cconv
    import io
    from html import escape

    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=dpi)
    mime = {"png": "image/png", "svg": "image/svg+xml"}[kind]
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{escape(alt)}" src="data:{mime};base64,{data}">'
