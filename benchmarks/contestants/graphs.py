"""Networks as ONNX graphs, written out node by node, for those who run such."""

from onnx import TensorProto, helper, numpy_helper

from .. import inputs

TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def simple_conv_net(dtype, x):
    """Return SimpleConvNet for images like x."""
    nodes = [
        helper.make_node("Conv", ["x", "W1", "b1"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu1"]),
        helper.make_node("MaxPool", ["relu1"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "W2", "b2"], ["affine"]),
        helper.make_node("Relu", ["affine"], ["relu2"]),
        helper.make_node("Gemm", ["relu2", "W3", "b3"], ["out"]),
    ]
    return model(nodes, inputs.parameters(dtype), x, (len(x), 10))


def convolution(geometry, x, w, b):
    node = helper.make_node(
        "Conv",
        ["x", "w", "b"],
        ["out"],
        strides=inputs.pair(geometry.stride),
        pads=2 * inputs.pair(geometry.pad),
        dilations=inputs.pair(geometry.dilation),
        group=geometry.groups,
    )
    return model([node], {"w": w, "b": b}, x, geometry.output)


def model(nodes, constants, x, output):
    """Return the serialized model of a graph from `x` to `out`."""
    kind = TYPES[x.dtype.name]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("out", kind, output)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
