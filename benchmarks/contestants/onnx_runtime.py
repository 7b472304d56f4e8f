"""ONNX Runtime, on graphs that are written out here node by node: the forward pass only.

Its threads spin while they wait, as is its default and fastest: nobody else runs meanwhile.
"""

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .. import inputs
from . import Work

TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


class OnnxRuntime:
    def __init__(self, threads):
        self._threads = threads

    def forward(self, dtype, batch):
        nodes = [
            helper.make_node("Conv", ["x", "W1", "b1"], ["conv"]),
            helper.make_node("Relu", ["conv"], ["relu1"]),
            helper.make_node("MaxPool", ["relu1"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Flatten", ["pool"], ["flat"]),
            helper.make_node("Gemm", ["flat", "W2", "b2"], ["affine"]),
            helper.make_node("Relu", ["affine"], ["relu2"]),
            helper.make_node("Gemm", ["relu2", "W3", "b3"], ["out"]),
        ]
        ((x, _),) = inputs.digits(dtype, batch)
        return self._run(nodes, inputs.parameters(dtype), x, (batch, 10))

    def convolution_forward(self, geometry, dtype):
        if dtype != "float32" or geometry.transposed:
            return None
        x, w, b, _ = geometry.arrays(dtype)
        node = helper.make_node(
            "Conv",
            ["x", "w", "b"],
            ["out"],
            strides=inputs.pair(geometry.stride),
            pads=2 * inputs.pair(geometry.pad),
            dilations=inputs.pair(geometry.dilation),
            group=geometry.groups,
        )
        return self._run([node], {"w": w, "b": b}, x, geometry.output)

    def _run(self, nodes, constants, x, output):
        """Return the work of running a graph from `x` to `out`."""
        kind = TYPES[x.dtype.name]
        graph = helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info("x", kind, x.shape)],
            [helper.make_tensor_value_info("out", kind, output)],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        return Work(lambda: session.run(None, {"x": x}))
