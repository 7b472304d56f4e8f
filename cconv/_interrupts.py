"""Ctrl-C, and other signals that Python code answers, wait until what must not be cut in two is done."""

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
        self._holding = self._softly = 0
        self._waiting = []
        self._handlers = {}

    def __enter__(self):
        self._depth += 1
        if self._depth == 1 and threading.current_thread() is threading.main_thread():
            try:
                for number in reversed(NUMBERS):
                    handler = signal.getsignal(number)
                    if callable(handler):
                        self._handlers[number] = handler
                        signal.signal(number, self._answer)
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_):
        self._depth -= 1
        if self._depth:
            return
        with self.held():
            for number in NUMBERS:
                # Whoever has put another handler there meanwhile keeps it.
                if number in self._handlers and signal.getsignal(number) == self._answer:
                    signal.signal(number, self._handlers[number])

    def held(self, *, softly=False):
        return _Held(self, softly)

    def _answer(self, number, frame):
        if self._holding > self._softly or (self._holding and not self._waiting):
            self._waiting.append((number, frame))
        else:
            self._handlers[number](number, frame)


class _Held:
    def __init__(self, gate, softly):
        self._gate, self._softly = gate, softly

    def __enter__(self):
        self._gate._softly += self._softly
        self._gate._holding += 1

    def __exit__(self, *_):
        gate = self._gate
        gate._holding -= 1
        gate._softly -= self._softly
        while gate._waiting and not gate._holding:
            number, frame = gate._waiting.pop(0)
            gate._handlers[number](number, frame)
