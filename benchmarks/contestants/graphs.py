"""Networks as ONNX graphs for batches of one size, for those who run such: what cconv exports."""

import io

import onnx

import cconv

from . import own


def network(name, batch):
    return model(own.build(name), batch)


def simple_conv_net(dtype, batch):
    return model(own.simple_conv_net(dtype), batch)


def convolution(geometry):
    x, w, b, _ = geometry.arrays("float32")
    return model(cconv.Network([cconv.Convolution(w, b, **own.options(geometry))], x.shape[1:]), len(x))


def model(network, batch):
    """Return the serialized model of a network, from `input` to `scores`."""
    file = io.BytesIO()
    cconv.onnx.export(network, file)
    result = onnx.load_from_string(file.getvalue())
    for value in (*result.graph.input, *result.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return result.SerializeToString()
