"""Random arguments at every operation: a documented result or a clear error, never anything else."""

import inspect
import zlib

import numpy as np
import pytest
from random_arguments import ROUNDS, Case, arrays_of, attempt, check

from cconv import functional, kernels
from cconv.functional import reference


def result_of(operation, arguments):
    """What the forward operation gives for the arguments of its backward one, for the shape of dout."""
    wanted = inspect.signature(operation).parameters
    images = {"x", "input_data"} & wanted.keys()
    shared = {key: value for key, value in arguments.items() if key in wanted}
    if images and not images & shared.keys() and "input_shape" in arguments:
        shared[images.pop()] = np.zeros(arguments["input_shape"])
    if "return_argmax" in wanted:
        shared["return_argmax"] = True
    return attempt(operation, **shared)


def call_of(name, number):
    """A case, and arguments of an operation that most likely fit."""
    operation = getattr(functional, name)
    case = Case(np.random.default_rng([zlib.crc32(name.encode()), number]))
    arguments = case.arguments(operation, name)
    forward = "im2col" if name == "col2im" else name.removesuffix("_backward")
    if forward != name:
        result = result_of(getattr(functional, forward), arguments)
        out = result[0] if isinstance(result, tuple) else result
        if isinstance(out, np.ndarray):
            arguments["col" if name == "col2im" else "dout"] = case.array(*out.shape)
        elif isinstance(out, float):
            arguments["dout"] = 1
        if "argmax" in arguments and isinstance(result, tuple):
            arguments["argmax"] = result[1]
        if "out" in arguments and isinstance(result, tuple):
            arguments["out"] = out
    return case, arguments


@pytest.mark.parametrize("name", functional.__all__)
def test_operations(name):
    operation = getattr(functional, name)
    done = 0
    for number in range(ROUNDS):
        case, arguments = call_of(name, number)
        if number < 3:  # each argument by each of these
            for key in arguments:
                for value in (
                    None,
                    0,
                    "same",
                    np.float64(1),
                    np.zeros(0),
                    np.zeros((0, 0, 0, 0), "f4"),
                    np.ones(3, "i4"),
                ):
                    check(attempt(operation, **(arguments | {key: value})))
        arguments = case.spoil(arguments)
        before = {key: value.copy() for key, value in arguments.items() if isinstance(value, np.ndarray)}
        result = attempt(operation, **arguments)
        check(result)
        done += result is not None
        for key, value in before.items():
            np.testing.assert_array_equal(arguments[key], value, err_msg=f"{name} changed {key}")
    assert done > ROUNDS // 8, f"only {done} of {ROUNDS} calls were good"


@pytest.mark.parametrize("name", functional.__all__)
def test_operations_give_the_same_bits_on_any_number_of_threads(name, monkeypatch):
    operation = getattr(functional, name)
    done = 0
    for number in range(ROUNDS // 5):
        _, arguments = call_of(name, number)
        bits = set()
        for threads in (1, 2, 5):
            monkeypatch.setattr(kernels.cpu, "threads_for", lambda work, threads=threads: threads)
            result = attempt(operation, **arguments)
            done += result is not None
            bits.add(tuple(array.tobytes() for array in arrays_of(result)))
        assert len(bits) == 1, arguments
    assert done, "no call was good"


@pytest.mark.parametrize("name", reference.__all__)
def test_the_loops_of_the_formula_take_what_the_operation_takes_and_give_what_it_gives(name):
    loops = getattr(reference, name)
    done = 0
    for number in range(ROUNDS):
        case, arguments = call_of(name, number)
        wanted = inspect.signature(loops).parameters
        arguments = case.spoil({key: value for key, value in arguments.items() if key in wanted})
        arrays = [value for value in arguments.values() if isinstance(value, np.ndarray) and value.dtype.kind == "f"]
        expected, found = (attempt(operation, **arguments) for operation in (getattr(functional, name), loops))
        assert (found is None) == (expected is None)
        for one, other in zip(arrays_of(found), arrays_of(expected), strict=True):
            assert one.shape == other.shape
            if all(np.isfinite(array).all() and (abs(array) < 1e9).all() for array in arrays):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
                done += 1
    assert done > ROUNDS // 8
