"""Progress bars, where somebody sees them: in a terminal or a notebook."""

import sys
import warnings

__all__ = ["progress_bar"]


def progress_bar(**options):
    """Return a bar of tqdm with these options, which shows nothing where there is neither terminal nor notebook."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without widgets has a bar of text, and is told so
        from tqdm.auto import tqdm

    is_notebook = _in_notebook()
    if is_notebook:
        # Without widgets the bar is text: of the stream that lines go to, so that they come in order and leave no piece
        # of it behind, and not of the one that is shown as errors.
        options = {"file": sys.stdout} | options
    return tqdm(**options, disable=not (_is_terminal() or is_notebook))


def _is_terminal():
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError, OSError):  # none, closed, or not quite a file
        return False


def _in_notebook():
    """Say whether a kernel of Jupyter runs this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config
