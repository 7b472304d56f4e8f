"""Random arguments at every layer: a documented result or a clear error, never anything else."""

import inspect
import re
import zlib

import numpy as np
import pytest
from random_arguments import ROUNDS, Case, attempt, check

import cconv
from cconv import Layer

ABSTRACT = ("Layer", "Branches")
LOSSES = ("Huber", "MeanSquaredError", "SigmoidWithLoss", "SoftmaxWithLoss")
LAYERS = sorted(
    name
    for name in cconv.__all__
    if inspect.isclass(getattr(cconv, name)) and issubclass(getattr(cconv, name), Layer) and name not in ABSTRACT
)


def layer_arguments(case, kind, name):
    """Arguments with which a layer most likely fits images of the case's size."""
    arguments = case.arguments(kind, name.lower())
    if name == "Affine":
        arguments = {"W": case.array(case.C * case.size[0] * case.size[1], case.F)}
        arguments["b"] = case.pick([None, case.array(case.F)])
    if name == "Concatenate":
        arguments = {"branches": [case.pick([[], [cconv.Relu()], [cconv.Sigmoid()]]) for _ in range(case.pick([1, 2]))]}
    if name == "Residual":
        arguments = {"body": [cconv.Relu()], "shortcut": case.pick([[], [cconv.Sigmoid()]])}
    if name == "Convolution":
        arguments["W"] = case.fitting("W")
    if name == "TransposedConvolution":
        arguments["W"] = case.array(case.C, case.F // case.groups, *case.window)
    if name in ("Affine", "Convolution", "TransposedConvolution") and case.rng.random() < 0.5:
        sizes = {"units": case.F} if name == "Affine" else {"filters": case.F, "size": case.window}
        arguments = {key: value for key, value in arguments.items() if key not in ("W", "b")} | sizes
    if name == "Normalize":
        arguments = {"mean": case.pick([0.5, case.array(case.C)]), "std": 0.1 + np.abs(case.array(case.C))}
    if name == "Reshape":
        arguments["shape"] = case.pick([-1, (-1, 1), (case.C, -1), (case.size[0], case.C * case.size[1])])
    return arguments


def targets(case, name, x):
    """Targets that fit the scores or predictions x of a loss."""
    if name == "SoftmaxWithLoss":
        return case.labels(x.shape[-1])
    return case.rng.random(x.shape).astype(case.pick(["f4", "f8"]))


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    kind = getattr(cconv, name)
    is_loss = name in LOSSES
    forwards = backwards = 0
    for number in range(ROUNDS):
        case = Case(np.random.default_rng([zlib.crc32(name.encode()), number]))
        spoiled = case.pick(["arguments", "forward", "backward", "nothing"])
        arguments = layer_arguments(case, kind, name)
        if spoiled == "arguments":
            arguments = case.spoil(arguments)
        branches = arguments.pop("branches") if name == "Concatenate" else ()
        layer = attempt(lambda branches=branches, **arguments: kind(*branches, **arguments), **arguments)
        if layer is None:
            continue
        shape = (case.F,) if is_loss else (case.C, *case.size)
        other = tuple(case.pick([1, 2, 3, 5]) for _ in range(case.pick([1, 2, 3, 4])))
        attempt(layer.build, shape if case.rng.random() < 0.9 else other, case.rng, np.dtype(case.dtype))
        try:
            x = case.array(case.N, *shape)
            given = {"x": x, "t": targets(case, name, x)} if is_loss else {"x": x}
            out = attempt(layer.forward, *(case.spoil(given) if spoiled == "forward" else given).values())
            check(out)
            forwards += out is not None
            given = {"dout": case.array(*out.shape) if isinstance(out, np.ndarray) else 1}
            dx = attempt(layer.backward, *(case.spoil(given) if spoiled == "backward" else given).values())
            check(dx)
            backwards += dx is not None
        except RuntimeError as error:
            assert re.search("was called before forward|has no .* yet", str(error))
    assert min(forwards, backwards) > ROUNDS // 8, f"of {ROUNDS}, {forwards} went forward and {backwards} back"
