"""The batches of an epoch, prepared one by one or ahead of the step that takes them."""

import os
import queue
import threading
from typing import NamedTuple

import numpy as np

from ._threads import threads

__all__ = ["Batch", "Batches"]

AHEAD = 4  # batches that wait for their step, with the one that is being prepared
TOGETHER = 3  # are prepared each time the thread wakes up: to wake it takes a step 40 us on a virtual machine


class Batch(NamedTuple):
    """What one step takes."""

    x: np.ndarray
    t: np.ndarray
    weight: np.ndarray | None


class Batches:
    """Batches by their number within an epoch; `ahead` has a thread prepare those that follow.

    Parameters
    ----------
    prepare : callable
        ``prepare(epoch, order, number)`` returns a `Batch`; it depends on these three alone.
    count : int
        How many batches an epoch has.
    held : callable
        ``with held():`` holds interrupts back: one that came while the thread is started would lose it.
    """

    def __init__(self, prepare, count, held):
        self._prepare = prepare
        self._count = count
        self._held = held
        self._ahead = None

    def take(self, epoch, order, number):
        """Return a batch; an exception of the thread that prepares it is raised here."""
        if self._ahead is None:
            return self._prepare(epoch, order, number)
        if not self._ahead.leads_to(epoch, order, number):
            self._ahead.close()
            with self._held():
                self._ahead = _Ahead(self._prepare, epoch, order, number, self._count)
        return self._ahead.take()

    def begin_ahead(self):
        """Prepare batches ahead from now on, until `close`."""
        self.close()  # which an interrupt may have kept from its end
        self._ahead = _Ahead(self._prepare, None, None, 0, 0)

    def close(self):
        """End the thread, and wait until it has ended."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def __getstate__(self):
        return vars(self) | {"_ahead": None}  # a copy, or what comes out of a pickle, has no thread


class _Ahead:
    """A thread that prepares the batches of an epoch from a number on.

    A forked child has no such thread, nor the end of what it was about: it is led nowhere, and begins one of its own.
    """

    def __init__(self, prepare, epoch, order, number, count):
        self._epoch, self._order, self._count = epoch, order, count
        self._first = self._next = number
        self._prepare = prepare
        # Queues that are compiled: one of batches, and one of numbers, how many more the thread is to prepare.
        self._ready, self._room = queue.SimpleQueue(), queue.SimpleQueue()
        self._room.put(AHEAD)
        self._wanted = True
        self._thread = None
        self._process = os.getpid()
        if number < count:
            self._thread = threading.Thread(target=self._run, name="cconv-batches", daemon=True)
            self._thread.start()

    def leads_to(self, epoch, order, number):
        is_next = (self._epoch, self._next) == (epoch, number) and self._order is order and number < self._count
        return is_next and self._process == os.getpid()

    def take(self):
        number, self._next = self._next, None  # an interrupted call leaves it so: nobody knows whether the batch came
        batch = self._ready.get()
        if (number - self._first + 1) % TOGETHER == 0:
            self._room.put(TOGETHER)
        if isinstance(batch, BaseException):
            raise batch
        self._next = number + 1
        return batch

    def close(self):
        self._wanted = False
        if self._thread is not None and self._thread.is_alive():
            self._room.put(0)  # which it may wait for
            self._thread.join()

    def _run(self):
        # A step has all threads; what is prepared beside it does with one.
        room = 0
        with threads(1):
            for number in range(self._first, self._count):
                room = (room or self._room.get()) - 1
                if not self._wanted:
                    return
                try:
                    batch = self._prepare(self._epoch, self._order, number)
                except BaseException as error:
                    self._ready.put(error)
                    return
                self._ready.put(batch)
