"""Whole networks: training steps, scores, an epoch, and what they cost as sizes grow."""

from statistics import median

import numpy as np

from ..contestants import CONTESTANTS, PREDICTOR
from ..inputs import NAMES, Convolution, dataset
from . import section

# Neither NumPy, which takes long, nor torch.compile, which compiles for every size.
QUICK_ONES = ("cconv", "PyTorch", "PyTorch channels_last")
# Compilers take minutes for networks of many layers.
UNCOMPILED = (PREDICTOR, *QUICK_ONES, "TensorFlow", "ONNX Runtime", "OpenVINO")
NETWORKS = {
    "MobileNet": UNCOMPILED,
    "ResNet-20": UNCOMPILED,
    "DeepConvNet": tuple(CONTESTANTS),
    "SimpleConvNet": tuple(CONTESTANTS),
}


@section()
def step(bench):
    """One training step of SimpleConvNet, gradients and Adam, batch 100."""
    for dtype in ("float32", "float64"):
        yield dtype, bench.compare("step", dtype=dtype, batch=bench.images(100))


@section()
def limits(bench):
    """What such a step cannot take less than on this machine: its multiply-adds, and its arrays read and written."""
    for dtype in ("float32", "float64"):
        arguments = {"dtype": dtype, "batch": bench.images(100)}
        yield f"multiply-adds, {dtype}", bench.compare("products_of_step", **arguments)
        yield f"memory, {dtype}", bench.compare("traffic_of_step", **arguments)


@section()
def layer_by_layer(bench):
    """The same step of a network built by hand, layer by layer, nothing fused."""
    for dtype in ("float32", "float64"):
        yield dtype, bench.compare("hand_built_step", dtype=dtype, batch=bench.images(100))


@section()
def forward(bench):
    """Scores of SimpleConvNet, float32."""
    for batch in bench.first((1, 16, 100, 1000)):
        yield f"batch {batch}", bench.compare("forward", dtype="float32", batch=batch)


@section()
def networks_step(bench):
    """One training step of a network, gradients and Adam, batch 100, float32."""
    for network, among in bench.first(list(NETWORKS.items())):
        yield network, bench.compare("network_step", network=network, batch=bench.images(100), among=among)


@section()
def networks_forward(bench):
    """Scores of a network, float32."""
    for network, among in NETWORKS.items():
        for batch in bench.first((1, 100)):
            times = bench.compare("network_forward", network=network, batch=batch, among=among)
            yield f"{network}, batch {batch}", times


@section()
def layers_of(bench):
    """Each layer of a network, one by one, batch 100, float32: forward outside training, or in training both ways."""

    def limit(kind, **arguments):
        return bench.compare(kind, among=("FMA loop",), **arguments).get("FMA loop")

    per_product = limit("products", count=1, dtype="float32")
    if per_product is None:
        bench.notes.append("the FMA loop takes no part, which measures the machine's peak and bandwidth: no bounds")
    for network in bench.first(bench.networks, len(NAMES)):
        passes = 1 if bench.smoke else 3 if bench.quick else 10
        arguments = {"network": network, "batch": bench.images(100), "passes": passes}
        found = bench.arena.once("layers_of", arguments, among=("cconv",))
        if not found:
            continue  # cconv takes no part
        (_, (labels, _, products, sizes)), *_ = found["cconv"]
        taken = {who: np.array([outputs[1] for _, outputs in turns]) for who, turns in found.items()}
        if per_product:
            # As many arrays as there are layers, of their outputs' mean size.
            byte = median(limit("traffic", count=len(labels), size=int(sizes[0].mean() / 2), total=1))
            product = median(per_product)
            bench.notes.append(f"{network}, of {2e-9 / product:.0f} GFLOP/s and {1e-9 / byte:.0f} GB/s of the machine:")
        for number, direction in enumerate(("forward", "both")):
            row = f"{network} as a whole, {direction}"
            yield row, {who: seconds[:, number, 0].tolist() for who, seconds in taken.items()}
            for place, label in enumerate(labels):
                values = {who: seconds[:, number, 1 + place].tolist() for who, seconds in taken.items()}
                if per_product and products[number, place]:
                    values["FMA loop"] = [float(products[number, place] * seconds) for seconds in per_product]
                yield f"{network} {label}, {direction}", values
            if per_product:
                seconds = np.median(taken["cconv"], axis=0)[number]
                bench.notes += _losses(direction, labels, seconds, products[number] * product, sizes[number] * byte)


def _losses(direction, labels, seconds, computing, moving):
    """Yield lines about a network, and about what its layers take beyond their bounds: those that lose most first.

    `seconds` begins with those of the whole network, run as it is.
    """
    whole, seconds = seconds[0], seconds[1:]
    bounds = np.maximum(computing, moving)
    kinds = np.array([label.split()[1] for label in labels])
    shares = {kind: seconds[kinds == kind].sum() for kind in dict.fromkeys(kinds)}
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    yield (
        f"{direction}: {whole * 1e3:.2f} ms as a whole, {seconds.sum() * 1e3:.2f} layer by layer, the bounds "
        f"{bounds.sum() * 1e3:.2f}; " + ", ".join(f"{kind} {taken * 1e3:.2f}" for kind, taken in ordered)
    )
    lost = seconds - bounds
    for place in np.argsort(-lost):
        if lost[place] >= 0.01 * seconds.sum():
            yield (
                f"  {lost[place] * 1e3:8.3f} ms lost of {seconds[place] * 1e3:8.3f}: "
                f"{computing[place] / seconds[place]:4.0%} of the peak, {moving[place] / seconds[place]:4.0%} of the "
                f"bandwidth  {labels[place]}"
            )


@section()
def latency(bench):
    """Single calls out of idleness, float32: scores of SimpleConvNet after 20 ms, single operations after 1 ms."""
    for batch in bench.first((1, 16)):
        arguments = {"dtype": "float32", "batch": batch}
        yield f"batch {batch}", bench.arena.latency("forward", arguments)
    operations = [
        ("relu of 64 KiB", "activation_forward", {"name": "relu", "shape": (128, 128)}),
        ("relu of 256 KiB", "activation_forward", {"name": "relu", "shape": (256, 256)}),  # which two threads share
        ("affine 64 x 256 x 64", "affine_forward", {"N": 64, "D": 256, "M": 64}),
    ]
    for name, kind, arguments in bench.first(operations):
        arguments = arguments | {"dtype": "float32"}
        yield f"{name}, after 1 ms", bench.arena.latency(kind, arguments, among=("cconv",), pause=0.001)
        yield f"{name}, back to back", bench.compare(kind, among=("cconv",), **arguments)


@section()
def overhead(bench):
    """Scores of a SimpleConvNet with next to nothing to compute: one image of 4 x 4, one filter, one hidden unit."""
    yield "batch 1", bench.compare("overhead", check=False)
    yield "its kernels alone", bench.compare("overhead_of_kernels", check=False)


@section()
def epoch(bench):
    """One epoch of MNIST, SimpleConvNet, Adam, batch 100, float32, without the measurement of accuracy."""
    name, train, test = dataset(100 if bench.smoke else 6000 if bench.quick else 60000)
    data = dict(zip(("x_train", "t_train", "x_test", "t_test"), (*train, *test), strict=True))
    results = bench.arena.once("epoch", data, among=QUICK_ONES)
    times = {who: [seconds for seconds, _ in turns] for who, turns in results.items()}
    yield f"{name}, {len(data['x_train']):,} images", times
    bench.notes += [
        f"accuracy of {who} after it, on {len(data['t_test']):,} images: {float(turns[0][1][0]):.2%}"
        for who, turns in results.items()
    ]


@section()
def trainer(bench):
    """A step of a Trainer with callbacks and augmentation, beside a loop over batches at hand, batch 100, float32."""
    for network, count in bench.first([("SimpleConvNet", 100), ("DeepConvNet", 50)], 2):
        arguments = {"network": network, "batch": bench.images(100), "count": 2 if bench.smoke else count}
        for threads in (1, 2):
            steps = {"loop": {}, "trainer": {}}
            with bench.fresh_arena(threads) as arena:
                arena.repeats = 1
                for _ in range(bench.arena.repeats):  # in turns
                    for kind, found in steps.items():
                        for who, ((seconds, _),) in arena.once(f"{kind}_epoch", arguments, among=("cconv",)).items():
                            found.setdefault(who, []).append(seconds / arguments["count"])
            for kind, found in steps.items():
                yield f"{network}, {kind}, {threads} threads", found
            loop, own = (found["cconv"] for found in steps.values())
            ratio, least = median(b / a for a, b in zip(loop, own, strict=True)), min(own) / min(loop)
            bench.notes.append(
                f"{network}, {threads} threads: the Trainer takes {ratio:.3f} times as long as the loop (median), "
                f"{least:.3f} times in the best of turns"
            )


@section()
def batches(bench):
    """One training step of SimpleConvNet against the batch's size, float32."""
    for batch in bench.first((1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)[:: 3 if bench.quick else 1]):
        yield f"{batch}", bench.compare("step", dtype="float32", batch=batch, among=QUICK_ONES)


@section()
def image_sizes(bench):
    """Convolution, forward and backward, against the image's size: 16 images, 16 channels to 16, 3x3, float32."""
    for size in bench.first((4, 7, 8, 14, 16, 28, 32, 56, 64, 112, 128, 224)[:: 3 if bench.quick else 1]):
        geometry = Convolution(16, 16, size, size, 16, 3, pad=1)
        yield f"{size}", bench.compare("convolution", geometry=geometry, dtype="float32", among=QUICK_ONES)


@section()
def threads(bench):
    """One training step of SimpleConvNet, batch 100, float32, against the number of threads."""
    counts = [n for n in (1, 2, 4, 8, 16, 32, 64, 128) if n < bench.arena.threads] + [bench.arena.threads]
    for count in bench.first(counts):
        with bench.fresh_arena(count) as arena:
            yield (
                f"{count}",
                arena.compare(
                    "step", {"dtype": "float32", "batch": bench.images(100)}, among=("cconv", "NumPy", *QUICK_ONES[1:])
                ),
            )


@section()
def denormals(bench):
    """The training step when images, activations and gradients are denormal numbers, beside an ordinary one."""
    for name, options in (("ordinary", {}), ("denormal", {"scale": float(np.float32(1e-39)), "lr": 1e-37})):
        yield name, bench.compare("step", dtype="float32", batch=bench.images(100), check=not options, **options)
