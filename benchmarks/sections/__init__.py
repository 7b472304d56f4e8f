"""The sections of the benchmarks, by topic.

A section is a function of a `Bench` that yields rows: (name, {contestant: [a value per repeat]}), in seconds, bytes or
what its `unit` says. The first line of its docstring is its title.
"""

from dataclasses import dataclass, field

from ..arena import Arena
from ..contestants import BEFORE, CONTESTANTS
from ..inputs import NETWORKS


@dataclass
class Bench:
    """What a section works with: the contestants, and how much is asked of it."""

    arena: Arena
    quick: bool = False
    smoke: bool = False
    wheel: str | None = None
    seconds: float = 0.0  # that a contestant takes steps beside companions, at least
    networks: list[str] = field(default_factory=lambda: list(NETWORKS))  # whose layers are looked at
    notes: list[str] = field(default_factory=list)  # what a section has to say beside its rows

    def first(self, rows, quick=4):
        """Return the rows that are wanted: all, `quick` of them, or one for a smoke test."""
        return rows[: 1 if self.smoke else quick if self.quick else None]

    def few(self):
        """Return the contestants where each takes long: all, or for a smoke test cconv alone, now and before."""
        names = self.arena.names
        return [name for name in names if name in (names[0], BEFORE)] if self.smoke else names

    def images(self, count):
        """Return how many images there are in a batch, of `count` in a run that is meant."""
        return min(count, 2) if self.smoke else count

    def fresh_arena(self, threads=None):
        """Return another arena, with processes of its own."""
        old = self.arena
        return Arena(threads or old.threads, self.few(), old.repeats, old.seconds, old.before)

    def compare(self, kind, /, *, among=tuple(CONTESTANTS), check=True, tolerance=None, **arguments):
        return self.arena.compare(kind, arguments, among=among, check=check, tolerance=tolerance)


def section(unit="s"):
    """Make a generator function a section."""

    def mark(function):
        function.unit = unit
        function.title = function.__doc__.strip().splitlines()[0]
        return function

    return mark


def all_sections():
    """Return {name: function}, in the order in which they run."""
    from . import company, convolutions, layers, machine, networks

    return {
        name.replace("_", "-"): function
        for module in (networks, company, layers, convolutions, machine)
        for name, function in vars(module).items()
        if hasattr(function, "unit")
    }
