"""Questions to the results of a run: times, ratios, who is best."""

import math
import statistics

from .contestants import PYTORCH


class Results:
    """The results of a run, as they are written to JSON.

    `data["sections"][name]` has a `title`, a `unit`, `notes` and `rows`: {row: {contestant: [a value per repeat]}}.
    What was not measured is None.
    """

    def __init__(self, data):
        self.data = data
        self.sections = data["sections"]

    def rows(self, section):
        return self.sections.get(section, {}).get("rows", {})

    def value(self, section, row, name="cconv"):
        """Return the median over the repeats."""
        values = self.rows(section).get(row, {}).get(name)
        return statistics.median(values) if values else None

    def ratio(self, section, row, peer, own="cconv"):
        """Return how many times as much as `own` a peer takes: the median of the ratios within each repeat."""
        values = self.rows(section).get(row, {})
        if not values.get(own) or not values.get(peer):
            return None
        return statistics.median(b / a for a, b in zip(values[own], values[peer], strict=False))

    def against(self, section, row, peers=PYTORCH, own="cconv"):
        """Return the least ratio of several peers: that of the best one."""
        return least(self.ratio(section, row, peer, own) for peer in peers)

    def all_against(self, section, ending, peers=("PyTorch",), start=""):
        """Return the ratio of every row whose name begins and ends so."""
        rows = [row for row in self.rows(section) if row.startswith(start) and row.endswith(ending)]
        return [ratio for row in rows if (ratio := self.against(section, row, peers)) is not None]


def least(values):
    return min((value for value in values if value is not None), default=None)


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values))) if values else None
