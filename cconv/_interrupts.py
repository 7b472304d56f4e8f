"""Ctrl-C, and other signals that Python code answers, wait until what must not be cut in two is done."""

import os
import signal
import threading

__all__ = ["Interrupts"]

# SIGINT last: it is the first to be held and the last to be let go.
NUMBERS = [
    getattr(signal, name)
    for name in ("SIGTERM", "SIGHUP", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGUSR1", "SIGUSR2", "SIGBREAK", "SIGINT")
    if hasattr(signal, name)
]


class Interrupts:
    """A gate for signals: ``with gate:`` stands in their way, ``with gate.held():`` inside of it holds them back.

    What arrives meanwhile is answered at the end of the outermost `held`; where all are held softly, a second one is
    answered at once: what takes too long can be ended. Outside of it signals are answered at once,
    as ever. Python runs the handlers of signals in its main thread only, so that in another one there is nothing to do.
    A forked child holds nothing of what its parent did, and a copy is a gate of its own.

    Examples
    --------
    >>> gate, done = Interrupts(), []
    >>> try:
    ...     with gate, gate.held():
    ...         signal.raise_signal(signal.SIGINT)
    ...         done.append("both")
    ... except KeyboardInterrupt:
    ...     print(done)
    ['both']
    """

    def __init__(self):
        self._depth = 0
        self._thread = None  # that of the outermost `with`
        self._handlers = {}
        self._holds = _Holds()

    def __reduce__(self):
        return Interrupts, ()

    def __enter__(self):
        self._here()
        before = self._depth
        try:
            self._depth = before + 1
            if not before:
                self._thread = threading.get_ident()
                if threading.current_thread() is threading.main_thread():
                    self._install()
        except BaseException:
            self._depth = before
            if not before:
                self._restore()
            raise
        return self

    def __exit__(self, *_):
        self._depth -= 1
        if not self._depth:
            self._restore()

    @property
    def is_entered(self):
        """Whether somebody is inside of ``with gate:``."""
        self._here()
        return self._depth > 0

    def held(self, *, softly=False):
        return _Held(self, softly)

    def _install(self):
        for number in reversed(NUMBERS):
            handler = signal.getsignal(number)
            if callable(handler) and handler != self._answer:  # which an interrupt, or a fork, may have left there
                self._handlers[number] = handler
                signal.signal(number, self._answer)

    def _restore(self):
        with self.held():
            for number in NUMBERS:
                # Whoever has put another handler there meanwhile keeps it.
                if number in self._handlers and signal.getsignal(number) == self._answer:
                    signal.signal(number, self._handlers[number])

    def _here(self):
        """Return what this process holds back."""
        if self._holds.process != os.getpid():
            self._holds = _Holds()
            if self._thread != threading.get_ident():  # which a forked child does not have
                self._depth = 0
        return self._holds

    def _answer(self, number, frame):
        holds = self._here()
        if holds.count > holds.softly or (holds.count and not holds.waiting):
            holds.waiting.append((number, frame))
        else:
            self._handlers[number](number, frame)


class _Holds:
    """How many `held` blocks of a process are under way, how many of them softly, and what waits for their end."""

    def __init__(self):
        self.process = os.getpid()
        self.count = self.softly = 0
        self.waiting = []


class _Held:
    def __init__(self, gate, softly):
        self._gate, self._softly = gate, softly

    def __enter__(self):
        self._holds = holds = self._gate._here()
        holds.count += 1  # first: from here on signals wait
        holds.softly += self._softly

    def __exit__(self, *_):
        gate, holds = self._gate, self._holds
        holds.softly -= self._softly
        holds.count -= 1
        while holds.waiting and not holds.count and gate._here() is holds:
            number, frame = holds.waiting.pop(0)
            gate._handlers[number](number, frame)
