"""ONNX Runtime: the forward pass only.

Its threads spin while they wait, as is its default and fastest: nobody else runs meanwhile.
"""

import onnxruntime

from .. import inputs
from . import Work, graphs


class OnnxRuntime:
    def __init__(self, threads):
        self._threads = threads

    def forward(self, dtype, batch):
        ((x, _),) = inputs.digits(dtype, batch)
        return self._run(graphs.simple_conv_net(dtype, batch), x)

    def network_forward(self, network, batch):
        ((x, _),) = inputs.NETWORKS[network].batches(batch)
        return self._run(graphs.network(network, batch), x)

    def convolution_forward(self, geometry, dtype):
        if dtype != "float32" or geometry.transposed:
            return None
        x, *_ = geometry.arrays(dtype)
        return self._run(graphs.convolution(geometry), x)

    def _run(self, model, x):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        return Work(lambda: session.run(None, {"input": x}))
