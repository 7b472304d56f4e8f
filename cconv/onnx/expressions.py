"""Nodes that together are a function of each value: an activation, whatever it is composed of.

What such nodes compute of a grid of numbers is followed through the graph; where it is what a layer computes of that
grid, the layer stands for them. So x * sigmoid(x) is `Silu`, and each way to write `Gelu` or `HardSwish` is that.
"""

import copy
import math
from typing import Any

import numpy as np

from .. import layers as kinds
from .values import GRID, Value

__all__ = ["EXPRESSIONS", "expressions", "recognised"]

CARRIED = 12  # values before a value, of which it is known as a function
MOST_CONSTANTS = 8  # of a function


def _clip(node, x, low=None, high=None):
    low, high = node.attributes.get("min", low), node.attributes.get("max", high)
    return np.clip(x, -np.inf if low is None else low, np.inf if high is None else high)


EXPRESSIONS: dict[str, Any] = {
    "Add": lambda node, a, b: a + b,
    "Clip": _clip,
    "Div": lambda node, a, b: a / b,
    "Erf": lambda node, a: np.array([math.erf(value) for value in a]),
    "Exp": lambda node, a: np.exp(a),
    "Greater": lambda node, a, b: a > b,
    "HardSigmoid": lambda node, a: np.clip(
        node.attributes.get("alpha", 0.2) * a + node.attributes.get("beta", 0.5), 0, 1
    ),
    "Log": lambda node, a: np.log(a),
    "Max": lambda node, *a: np.max(np.broadcast_arrays(*a), axis=0),
    "Min": lambda node, *a: np.min(np.broadcast_arrays(*a), axis=0),
    "Mul": lambda node, a, b: a * b,
    "Neg": lambda node, a: -a,
    "Pow": lambda node, a, b: a**b,
    "Reciprocal": lambda node, a: 1 / a,
    "Relu": lambda node, a: np.maximum(a, 0),
    "Sigmoid": lambda node, a: 1 / (1 + np.exp(-a)),
    "Softplus": lambda node, a: np.logaddexp(0, a),
    "Sub": lambda node, a, b: a - b,
    "Tanh": lambda node, a: np.tanh(a),
    "Where": lambda node, a, b, c: np.where(a, b, c),
}
FUNCTIONS = kinds.Silu(), kinds.HardSwish(), kinds.Gelu(), kinds.Gelu("tanh"), kinds.Relu(), kinds.Softplus()


def expressions(node, given):
    """Return what a node's value is as a function of values before it, nearest first, as `Value.expressions` says."""
    function = EXPRESSIONS.get(node.operator)
    if function is None or not given or any(item.shape != given[0].shape for item in given):
        return {}
    numbers, dims = [], len(given[0].shape) + 1
    for item in node.inputs:
        if isinstance(item, np.ndarray) and (item.size != 1 or item.ndim > dims or item.dtype.kind not in "fiub"):
            return {}
        numbers.append(float(item.reshape(-1)[0]) if isinstance(item, np.ndarray) else item)
    constants = [number for number in numbers if isinstance(number, float)]
    found = {}
    for base in given[0].expressions:
        if len(found) == CARRIED or not all(base in item.expressions for item in given):
            continue
        ways = [item.expressions[base] for item in given]
        arguments = [item.expressions[base][0] if isinstance(item, Value) else item for item in numbers]
        with np.errstate(all="ignore"):
            result = np.asarray(function(node, *arguments))
        numbers_of_all = {*constants, *(number for _, known in ways for number in known)}
        found[base] = result, tuple(sorted(numbers_of_all))[:MOST_CONSTANTS]
    return found


def recognised(ways):
    """Return the value of a node that ends a function of each value that a layer is, None if it does not."""
    for base, (result, constants) in ways.items():
        softpluses = [(beta, edge) for beta in (1.0, *constants) if beta > 0 for edge in (20.0, *constants)]
        for layer in (*FUNCTIONS, *(kinds.Softplus(*settings) for settings in softpluses)):
            if np.allclose(layer.forward(GRID), result, rtol=2e-6, atol=1e-6):
                return Value(base.shape, [base], [copy.copy(layer)])
    return None
