"""How a training shows that it goes on: a bar where there is a terminal or a notebook, else a line now and then."""

import sys
import time

__all__ = ["Progress"]

INTERVAL = 10.0  # seconds between two lines within an epoch


class Progress:
    """The display of one `train`, with `total` steps in all.

    Nothing here ends a training: a stream that is not there, is closed or that nobody reads is left alone.
    """

    def __init__(self, verbose, total, done):
        self._bar = _bar(total, done) if verbose else None
        self._verbose = verbose
        self._spoken = time.monotonic()

    def step(self, loss, text):
        """Show that a step is done; ``text()`` is the line that says so."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            self._bar.update()
        elif self._verbose and time.monotonic() - self._spoken >= INTERVAL:
            self.say(text())

    def say(self, line):
        """Print a line, above the bar where there is one."""
        if not self._verbose:
            return
        self._spoken = time.monotonic()
        try:
            if self._bar is None:
                print(line, flush=True)
            elif sys.stdout is not None:
                self._bar.write(line)
        except (OSError, ValueError):  # nobody reads, or it is closed
            self._verbose = False

    def close(self):
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _bar(total, done):
    try:
        if not (sys.stderr.isatty() or _in_notebook()):
            return None
    except (AttributeError, ValueError, OSError):  # none, closed, or not quite a file
        return None
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without widgets has a bar of text, and is told so
        from tqdm.auto import tqdm

    return tqdm(total=total, initial=done, unit="step", leave=False)


def _in_notebook():
    """Say whether a kernel of Jupyter runs this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config
