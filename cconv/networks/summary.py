"""The table that `Network.summary` shows, as text and in HTML."""

import math

from ..layers import Layer
from ..layers.stack import output_shapes
from .parameters import Parameters

__all__ = ["html", "table"]

HEAD = ("layer", "kind", "output", "parameters", "multiply-adds", "bytes")


def table(layers, input_shape, dtype):
    """Return a table of layers as text, one row for each, and for the layers inside of a block behind it."""
    rows = _table(layers, input_shape, dtype)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        texts = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        figures = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join(texts + figures))
    return "\n".join(lines)


def html(title, layers, input_shape, dtype):
    """Return the same as a table in HTML, under a title: figures to the right, and names indented as they are."""
    from html import escape  # here, since it would slow the import of cconv

    def line(cells, tag):
        made = []
        for place, cell in enumerate(cells):
            text = cell.lstrip(" ")
            style = f"text-align: {'left' if place < 3 else 'right'}"
            style += f"; padding-left: {len(cell) - len(text) + 1}em" if place == 0 else ""
            made.append(f'<{tag} style="{style}">{escape(text)}</{tag}>')
        return f"<tr>{''.join(made)}</tr>"

    head, *rows = _table(layers, input_shape, dtype)
    lines = [f"<table><caption>{escape(title)}</caption>", line(head, "th"), *[line(row, "td") for row in rows]]
    return "\n".join([*lines, "</table>"])


def _table(layers, input_shape, dtype):
    """Return the rows of the table, with its head and its totals."""
    rows, totals = _rows(layers, input_shape, dtype)
    return [HEAD, *rows, ("total", "", "", *map(_number, totals))]


def _rows(layers, shape, dtype, indent="", branch=""):
    """Return the rows of a stack of layers, and the totals of its figures."""
    rows, totals = [], (0, 0, 0)
    shapes = output_shapes(layers, shape)
    for name, layer in layers.items():
        inner, inside = [], (0, 0, 0)
        for place, stack in getattr(layer, "branches", {}).items():
            more, figures = _rows(stack, shape, dtype, indent + "  ", f"{place}.")
            inner += more
            inside = _sum(inside, figures)
        parameters = sum(value.size for value in Parameters({name: layer}).values())
        work = layer.multiply_adds(shape) if isinstance(layer, Layer) else 0
        shape = shapes[name]
        # The bytes of the layers inside are there already; its own are its output's, and of what else it holds.
        values = parameters - inside[0] + math.prod(shape)
        figures = parameters, work, values * dtype.itemsize + inside[2]
        rows.append((indent + branch + name, type(layer).__name__, str(shape), *map(_number, figures)))
        rows += inner
        totals = _sum(totals, figures)
    return rows, totals


def _sum(first, second):
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _number(value):
    return f"{value:,}"
