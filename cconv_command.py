"""Where the command `cconv` begins: beside the package, as Ctrl-C must be answered while that is imported."""

import os
import signal

__all__ = ["main"]


def main():
    """Run the command line and return its exit status; before and after, Ctrl-C ends the process without a word."""
    handler = signal.getsignal(signal.SIGINT)
    quiet = signal.SIG_IGN if handler is signal.SIG_IGN else _end  # as a shell has it for what runs in its background
    signal.signal(signal.SIGINT, quiet)
    from cconv.cli import main as run

    try:
        signal.signal(signal.SIGINT, handler)
        return run()
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGINT, quiet)


def _end(number, frame):
    """End the process at once: what is imported, or ends, may take an exception for one of its own, or print it."""
    os._exit(130)
