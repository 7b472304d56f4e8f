"""OpenVINO on the CPU: the forward pass only, of the graphs that ONNX Runtime is given too.

One request at a time on all threads, which is what its latency hint is for; in float32, where it would compute in
bfloat16 on processors that have it; inputs and outputs are not copied.
"""

import openvino

from .. import inputs
from . import Work, graphs


class OpenVino:
    def __init__(self, threads):
        self._core = openvino.Core()
        self._options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }

    def forward(self, dtype, batch):
        if dtype != "float32":
            return None
        ((x, _),) = inputs.digits(dtype, batch)
        return self._run(graphs.simple_conv_net(dtype, batch), x)

    def network_forward(self, network, batch):
        ((x, _),) = inputs.NETWORKS[network].batches(batch)
        return self._run(graphs.network(network, batch), x)

    def _run(self, model, x):
        model = self._core.read_model(model=model)
        request = self._core.compile_model(model, "CPU", self._options).create_infer_request()

        def run():
            return request.infer([x], share_inputs=True, share_outputs=True)[0]

        return Work(run)
