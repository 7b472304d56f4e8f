"""What the benchmarks should show, and whether they do."""

from collections.abc import Callable
from typing import NamedTuple

from .contestants import BEFORE, PREDICTOR, PYTORCH
from .results import Results, geometric_mean, least

CHANNELS_LAST = ("PyTorch channels_last",)
NUMPY, ONNX = ("NumPy",), ("ONNX Runtime",)
ENGINES = (*ONNX, "OpenVINO")
NCHW = ("PyTorch",)


class Target(NamedTuple):
    """A figure and its bound: at least, or where `most` is true at most."""

    text: str
    bound: float
    measure: Callable[[Results], float | None]
    unit: str = "x"
    most: bool = False

    def verdict(self, results):
        """Return the target, what was measured and whether it is reached, as text; None where it was not measured."""
        value = self.measure(results)
        if value is None:
            return None
        reached = value <= self.bound if self.most else value >= self.bound
        wanted = f"{self.text}: at {'most' if self.most else 'least'} {_number(self.bound, self.unit)}"
        return wanted, _number(value, self.unit), "yes" if reached else "no"


def _number(value, unit):
    scale, text = {"x": (1, "x"), "%": (100, " %"), "s": (1e3, " ms"), "us": (1e6, " us"), "B": (1e-6, " MB")}[unit]
    return f"{value * scale:.2f}{text}" if unit != "%" else f"{value * scale:.0f}{text}"


def _against(section, row, peers, own="cconv"):
    return lambda r: r.against(section, row, peers, own)


def _least(section, ending, peers=NCHW, start=""):
    return lambda r: least(r.all_against(section, ending, peers, start))


def _mean(section, ending, peers=NCHW, start=""):
    return lambda r: geometric_mean(r.all_against(section, ending, peers, start))


def _share_of_peak(r):
    shares = [r.ratio("convolution", row, "cconv", own="FMA loop") for row in r.rows("convolution")]
    return max((1 / share for share in shares if share), default=None)


def _share_of_pointwise(r):
    """Measure it in a run with one thread: of a forward, layer by layer."""
    rows = r.rows("layers-of")
    rows = [row for row in rows if row.startswith("MobileNet ") and row.endswith(", 1x1, forward")]
    own, peak = ([r.value("layers-of", row, name) for row in rows] for name in ("cconv", "FMA loop"))
    return sum(peak) / sum(own) if r.data["machine"]["threads"] == 1 and rows and None not in own + peak else None


def _import_time(r):
    own, numpy = r.value("imports", "import"), r.value("imports", "import", "NumPy")
    return None if own is None or numpy is None else own - numpy


def _glue(r):
    whole, kernels = r.value("overhead", "batch 1"), r.value("overhead", "its kernels alone")
    return None if whole is None or kernels is None else whole - kernels


def _denormal(r):
    own, plain = r.value("denormals", "denormal"), r.value("denormals", "ordinary")
    return None if own is None or plain is None else own / plain


def _epoch(peers):
    return lambda r: least(r.all_against("epoch", " images", peers))


def _beside(companions):
    """Measure how many times as long as alone a step takes, the mean or the median, at worst of all networks."""

    def measure(r):
        pairs = [(row, row.replace(companions, "alone")) for row in r.rows("company") if companions in row]
        values = [(r.value("company", row), r.value("company", alone)) for row, alone in pairs]
        return max((value / alone for value, alone in values if value and alone), default=None)

    return measure


def _memory(r):
    return next((r.value("memory", row) for row in r.rows("memory")), None)


def _memory_of_scores(r):
    ratios = [r.ratio("memory", row, "cconv", own=BEFORE) for row in r.rows("memory") if "scores of" in row]
    return max((ratio for ratio in ratios if ratio), default=None)


NICE_PAIR = "beside a nice'd one with two threads"
FORWARD, BACKWARD = " forward", " backward"
TARGETS = [
    Target("training step, float32, PyTorch's best", 5, _against("step", "float32", PYTORCH)),
    Target("training step, float32, PyTorch NCHW", 8, _against("step", "float32", NCHW)),
    Target("training step, float32, the chapter's NumPy", 35, _against("step", "float32", NUMPY)),
    Target("layer by layer, float32, PyTorch NCHW", 3, _against("layer-by-layer", "float32", NCHW)),
    Target("layer by layer, float32, PyTorch's best", 2, _against("layer-by-layer", "float32", PYTORCH)),
    Target("training step, float64, PyTorch's best", 5, _against("step", "float64", PYTORCH)),
    Target("training step, float64, the chapter's NumPy", 15, _against("step", "float64", NUMPY)),
    Target("forward, batch 100, ONNX Runtime", 1.2, _against("forward", "batch 100", ONNX)),
    Target("forward, one image, ONNX Runtime", 1, _against("forward", "batch 1", ONNX)),
    Target("forward, one image, PyTorch's best", 4, _against("forward", "batch 1", PYTORCH)),
    Target("convolution suite, forward, float32, each", 0.97, _least("convolution", FORWARD)),
    Target("convolution suite, forward, float32, geometric mean", 1.4, _mean("convolution", FORWARD)),
    Target("convolution suite, backward, float32, each", 0.97, _least("convolution", BACKWARD)),
    Target("convolution suite, backward, float32, geometric mean", 1.5, _mean("convolution", BACKWARD)),
    Target("convolution suite, float64, each", 1.5, _least("convolution64", "ward")),
    Target("convolution suite, float64, geometric mean", 3, _mean("convolution64", "ward")),
    Target("max-pool 2x2/2, both, PyTorch NCHW", 8, _against("pooling", "max 2x2/2 both, float32", NCHW)),
    Target("max-pool 3x3/2, both, PyTorch NCHW", 8, _against("pooling", "max 3x3/2 both, float32", NCHW)),
    Target("max-pool, backward alone, each", 2, _least("pooling", "backward, float32", start="max")),
    Target("average-pool, both", 3, _least("pooling", "both, float32", start="average")),
    Target("Adam, 432,000 parameters, PyTorch fused", 1.5, _against("optimizers", "Adam", NCHW)),
    Target("epoch of MNIST, PyTorch channels_last", 4, _epoch(CHANNELS_LAST)),
    Target("best convolution's share of the machine's peak, float32", 0.9, _share_of_peak, "%"),
    Target("peak extra memory of (64,64,32,32) -> 64, forward and backward", 8e6, _memory, "B", most=True),
    Target("import, beyond NumPy's", 0.020, _import_time, "s", most=True),
    Target("wheel", 1.5e6, lambda r: r.value("wheel", "whole"), "B", most=True),
    Target(
        "depthwise 3x3, each", 1.5, _least("convolution-kinds", "ward", start="depthwise 32,128,28,28 -> 128, 3x3, pad")
    ),
    Target("dilated convolution, each", 1, _least("convolution-kinds", "ward", start="dilated")),
    Target("grouped convolution, each", 1, _least("convolution-kinds", "ward", start="grouped")),
    Target("transposed convolution, each", 1, _least("convolution-kinds", "ward", start="transposed")),
    Target("batch normalization, both, each", 1.5, _least("batch-normalization", "float32")),
    Target("training step of DeepConvNet, PyTorch's best", 1.5, _against("networks-step", "DeepConvNet", PYTORCH)),
    *(
        Target(
            f"forward of {network}, {images}, the best inference engine",
            bound,
            _against("networks-forward", f"{network}, batch {batch}", ENGINES),
        )
        for network, bound in (("MobileNet", 1), ("ResNet-20", 1), ("DeepConvNet", 1.2), ("SimpleConvNet", 1.2))
        for batch, images in ((100, "100 images"), (1, "one image"))
    ),
    *(
        Target(
            f"forward of {network}, one image, {PREDICTOR}, the best inference engine",
            1,
            _against("networks-forward", f"{network}, batch 1", ENGINES, PREDICTOR),
        )
        for network in ("MobileNet", "ResNet-20", "DeepConvNet", "SimpleConvNet")
    ),
    *(
        Target(
            f"training step of {network}, the best of PyTorch and TensorFlow",
            2,
            _against("networks-step", network, (*NCHW, *CHANNELS_LAST, "TensorFlow")),
        )
        for network in ("MobileNet", "ResNet-20")
    ),
    *(
        Target(f"training step of {network}, {BEFORE}", 0.97, _against("networks-step", network, (BEFORE,)))
        for network in ("DeepConvNet", "SimpleConvNet")
    ),
    Target("1 x 1 convolutions of MobileNet on one thread, share of the peak", 0.4, _share_of_pointwise, "%"),
    Target(f"peak extra memory of scores of 100 images, {BEFORE}, each", 1, _memory_of_scores, most=True),
    Target("overhead of SimpleConvNet's forward, beyond its kernels", 8e-6, _glue, "us", most=True),
    Target("training beside one busy process, alone, each", 2, _beside("beside one busy process"), most=True),
    Target("training beside two busy processes, alone, each", 3, _beside("beside two busy processes"), most=True),
    Target("training beside a nice'd process with two threads, alone, each", 3, _beside(NICE_PAIR), most=True),
    Target("two trainings at once, one alone, each", 2.5, _beside("beside the same training"), most=True),
    Target("training step on denormal numbers, an ordinary one", 1.1, _denormal, most=True),
]
