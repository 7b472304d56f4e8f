"""How a training shows that it goes on: a bar where there is a terminal or a notebook, else a line now and then."""

import sys
import time

from ._bars import progress_bar

__all__ = ["Progress"]

INTERVAL = 10.0  # seconds between two lines within an epoch


class Progress:
    """The display of one `train`, with `total` steps in all.

    Nothing here ends a training: a stream that is not there, is closed or that nobody reads is left alone.
    """

    def __init__(self, verbose, total, done):
        self._bar = None
        if verbose:
            bar = progress_bar(total=total, initial=done, unit="step", leave=False)
            self._bar = None if bar.disable else bar
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
        except (AttributeError, OSError, ValueError):  # nobody reads, it is closed, or not quite a file
            self._verbose = False

    def close(self):
        if self._bar is not None:
            self._bar.close()
            self._bar = None
