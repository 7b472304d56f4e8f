"""The onnx package's own test cases of the operators that `cconv.onnx.load` reads: ``python tests/onnx_cases.py``.

Each case is a node, its inputs and what must come out; or a model that PyTorch has exported. The inputs of a node but
the first become constants, as a network has one input, and the first output alone is looked at. A case that the loader
refuses is not offered, and the table says why; one that it takes must give what the case says. A softmax at the end is
taken of the network's scores.
"""

import collections
import glob
import io
import os
import re
import warnings
from typing import NamedTuple

import numpy as np

import cconv
from cconv.onnx.operators import OPERATORS


class Outcome(NamedTuple):
    """What became of a case: refused for a reason, or with an error beside the tolerance (passed below 1)."""

    operator: str
    name: str
    reason: str | None
    error: float = 0.0

    @property
    def passed(self):
        return self.reason is None and self.error <= 1


def node_cases():
    """Yield name, model, inputs, outputs and tolerances of each case of one node that the loader knows."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cases that overflow on purpose
        cases = collect_testcases(None)
    for case in cases:
        # What the body of a function has for a node, "expanded", is no case of that node's.
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in OPERATORS and "_expanded" not in case.name:
            yield case.name, case.model, *case.data_sets[0], case.rtol, case.atol


def model_cases():
    """Yield the same of the models that PyTorch has exported, whose weights are among their inputs."""
    import onnx
    import onnx.version_converter
    from onnx.backend.test import loader

    cases = [case for kind in ("pytorch-converted", "pytorch-operator") for case in loader.load_model_tests(kind=kind)]
    for case in sorted(cases, key=lambda case: case.name):
        model = onnx.load(os.path.join(case.model_dir, "model.onnx"))
        if len(model.graph.node) == 1 and model.graph.node[0].op_type not in OPERATORS:
            continue
        if model.opset_import[0].version < 7:
            model = onnx.version_converter.convert_version(model, 9)
        folder = os.path.join(case.model_dir, "test_data_set_0")
        tensors = [
            [read(path) for path in sorted(glob.glob(os.path.join(folder, f"{kind}_*.pb")))]
            for kind in ("input", "output")
        ]
        yield case.name, model, *tensors, case.rtol, case.atol


def read(path):
    import onnx

    with open(path, "rb") as file:
        tensor = onnx.TensorProto.FromString(file.read())
    return onnx.numpy_helper.to_array(tensor)


def run(name, model, inputs, outputs, rtol, atol):
    """Return the outcome of a case."""
    import onnx

    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    operator = graph.node[0].op_type if len(graph.node) == 1 else "models"
    held = {tensor.name for tensor in graph.initializer}
    free = [value for value in graph.input if value.name not in held]
    for value, array in list(zip(free, inputs, strict=True))[1:]:
        if not isinstance(array, (list, onnx.TensorProto)):
            graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), value.name))
    del graph.output[1:]
    try:
        network = cconv.onnx.load(io.BytesIO(model.SerializeToString()))
    except ValueError as error:
        return Outcome(operator, name, reason(str(error)))
    x, expected = np.asarray(inputs[0]), np.asarray(outputs[0])
    scores = network.predict(x)
    last = graph.node[-1].op_type
    if last in ("Softmax", "LogSoftmax"):
        scores = cconv.softmax(scores)
        scores = np.log(scores) if last == "LogSoftmax" else scores
    if scores.shape != expected.shape:
        return Outcome(operator, name, None, np.inf)
    atol = max(atol, 1e-6 * np.abs(expected).max(initial=0))
    error = np.abs(scores - expected) / (atol + rtol * np.abs(expected))
    return Outcome(operator, name, None, float(error.max(initial=0)))


def reason(text):
    """Return why a model was refused, without the node's name and what differs from case to case."""
    text = re.sub(r"^the file: (node '[^']*' \([^()]*\): )?", "", text)
    text = re.sub(r"the (input|output|value) '[^']*'", r"the \1", text)
    text = re.sub(r"node '[^']*'", "a node", text)
    text = re.sub(r"\([^()]*\d[^()]*\)|\[[^\[\]]*\]", "...", text)
    return re.sub(r"\b\d+\b", "#", text.partition("\n")[0])


def outcomes():
    return [run(*case) for cases in (node_cases(), model_cases()) for case in cases]


def table(results):
    """Return the table: for each operator how many cases passed, and why others are not offered."""
    lines = [f"{'operator':24}{'passed':>8}{'failed':>8}{'not offered':>13}"]
    for operator in sorted({result.operator for result in results}):
        own = [result for result in results if result.operator == operator]
        passed, refused = sum(r.passed for r in own), [r.reason for r in own if r.reason is not None]
        lines.append(f"{operator:24}{passed:8}{len(own) - passed - len(refused):8}{len(refused):13}")
        lines += [f"{count:>10} x {text}" for text, count in collections.Counter(refused).most_common()]
    failed = [result for result in results if result.reason is None and not result.passed]
    lines += [f"FAILED {result.name}: {result.error:.3g} times the tolerance" for result in failed]
    passed = sum(result.passed for result in results)
    refused = len(results) - passed - len(failed)
    lines.append(f"{len(results)} cases: {passed} passed, {len(failed)} failed, {refused} not offered")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(outcomes()))
