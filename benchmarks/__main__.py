"""Compare cconv with the chapter's NumPy and with PyTorch, in one run: `python -m benchmarks [--section NAME ...]`."""

import argparse
import json
import math
import os
import platform

import numpy as np
import torch
from torch.nn import functional as F

import cconv
from cconv.functional import convolution, convolution_backward, max_pool, max_pool_backward

from . import numpy_chapter
from .timing import compare

SUITE = [  # N, C, H, W, FN, k, stride, pad
    (100, 1, 28, 28, 30, 5, 1, 0),
    (100, 1, 28, 28, 16, 3, 1, 1),
    (100, 16, 28, 28, 16, 3, 1, 1),
    (100, 16, 14, 14, 32, 3, 1, 1),
    (100, 32, 14, 14, 32, 3, 1, 1),
    (100, 64, 7, 7, 64, 3, 1, 1),
    (64, 3, 32, 32, 64, 3, 1, 1),
    (64, 64, 32, 32, 64, 3, 1, 1),
    (64, 64, 16, 16, 128, 3, 1, 1),
    (32, 128, 16, 16, 128, 3, 1, 1),
    (16, 64, 56, 56, 64, 3, 1, 1),
    (8, 3, 224, 224, 64, 7, 2, 3),
    (32, 256, 14, 14, 256, 1, 1, 0),
    (32, 7, 17, 23, 33, 3, 3, 1),
    (32, 33, 17, 23, 100, 5, 1, 2),
]


def torch_network(network, channels_last):
    """Return the same network and parameters in PyTorch."""
    p = {name: torch.from_numpy(value.copy()) for name, value in network.params.items()}
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 30, 5),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(4320, 100),
        torch.nn.ReLU(),
        torch.nn.Linear(100, 10),
    ).to(p["W1"].dtype)
    with torch.no_grad():
        for layer, number in ((0, 1), (4, 2), (6, 3)):
            W = p[f"W{number}"]
            model[layer].weight.copy_(W if W.ndim == 4 else W.T)
            model[layer].bias.copy_(p[f"b{number}"])
    return model.to(memory_format=torch.channels_last) if channels_last else model


def network_and_data(dtype, batch):
    rng = np.random.default_rng(0)
    network = cconv.SimpleConvNet(dtype=dtype, seed=0)
    return network, rng.random((batch, 1, 28, 28)).astype(dtype), rng.integers(0, 10, batch)


def section_step(quick):
    """One training step of SimpleConvNet, gradients and Adam, batch 100."""
    rows = {}
    for dtype in ("float32", "float64"):
        network, x, t = network_and_data(dtype, 100)
        chapter = numpy_chapter.SimpleConvNet({name: value.copy() for name, value in network.params.items()})
        for name, gradient in network.gradient(x, t).items():
            np.testing.assert_allclose(gradient, chapter.gradient(x, t)[name], atol=1e-5)
        optimizer, chapter_optimizer = cconv.Adam(), numpy_chapter.Adam()
        contestants = {
            "cconv": lambda n=network, o=optimizer, x=x, t=t: o.update(n.params, n.gradient(x, t)),
            "NumPy": lambda n=chapter, o=chapter_optimizer, x=x, t=t: o.update(n.params, n.gradient(x, t)),
        }
        for channels_last in (False, True):
            model = torch_network(network, channels_last)
            images, labels = torch.from_numpy(x), torch.from_numpy(t)
            if channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            adam = torch.optim.Adam(model.parameters(), fused=True)

            def step(model=model, adam=adam, images=images, labels=labels):
                adam.zero_grad()
                F.cross_entropy(model(images), labels).backward()
                adam.step()

            contestants["PyTorch channels_last" if channels_last else "PyTorch"] = step
        rows[dtype] = compare(contestants, 3 if quick else 7)
    return rows


def section_forward(quick):
    """Scores of SimpleConvNet, float32."""
    rows = {}
    for batch in (1, 16, 100, 1000):
        network, x, _ = network_and_data("float32", batch)
        model, images = torch_network(network, False), torch.from_numpy(x)
        last = torch_network(network, True)
        chapter = numpy_chapter.SimpleConvNet(dict(network.params))
        with torch.no_grad():
            np.testing.assert_allclose(network.predict(x), model(images).numpy(), atol=1e-4)
            rows[f"batch {batch}"] = compare(
                {
                    "cconv": lambda n=network, x=x: n.predict(x),
                    "NumPy": lambda n=chapter, x=x: n.predict(x),
                    "PyTorch": lambda m=model, x=images: m(x),
                    "PyTorch channels_last": lambda m=last, x=images: m(x),
                },
                3 if quick else 7,
            )
    return rows


def section_convolution(quick, dtype="float32"):
    """Convolution forward and backward (dX, dW, db)."""
    rows = {}
    for N, C, H, W, FN, k, stride, pad in SUITE[:4] if quick else SUITE:
        rng = np.random.default_rng(0)
        x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((N, C, H, W), (FN, C, k, k), FN))
        tx, tw, tb = map(torch.from_numpy, (x, w, b))
        expected = F.conv2d(tx, tw, tb, stride=stride, padding=pad)
        out = convolution(x, w, b, stride=stride, pad=pad)
        np.testing.assert_allclose(out, expected.numpy(), atol=1e-3)
        dout = rng.standard_normal(out.shape).astype(dtype)
        arguments = ([FN], [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1, [True] * 3)
        name = f"{N},{C},{H},{W} -> {FN},{k}/{stride}"
        with torch.no_grad():
            rows[f"{name} forward"] = compare(
                {
                    "cconv": lambda: convolution(x, w, b, stride=stride, pad=pad),
                    "PyTorch": lambda: F.conv2d(tx, tw, tb, stride=stride, padding=pad),
                },
                3,
            )
            gradient = torch.from_numpy(dout)
            rows[f"{name} backward"] = compare(
                {
                    "cconv": lambda: convolution_backward(dout, x, w, stride=stride, pad=pad),
                    "PyTorch": lambda: torch.ops.aten.convolution_backward(gradient, tx, tw, *arguments),
                },
                3,
            )
    return rows


def section_convolution64(quick):
    """Convolution forward and backward, float64."""
    return section_convolution(quick, "float64")


def section_pooling(quick):
    """Max pooling forward and backward of (100, 30, 24, 24)."""
    rows = {}
    for window in (2, 3):
        for dtype in ("float32", "float64"):
            x = np.random.default_rng(0).standard_normal((100, 30, 24, 24)).astype(dtype)
            out, argmax = max_pool(x, window, stride=2, return_argmax=True)
            tx = torch.from_numpy(x).requires_grad_()
            pooled = F.max_pool2d(tx, window, 2)
            gradient = torch.from_numpy(out)
            name = f"{window}x{window}/2 {dtype}"
            rows[f"{name} forward"] = compare(
                {
                    "cconv": lambda: max_pool(x, window, stride=2, return_argmax=True),
                    "PyTorch": lambda: F.max_pool2d(tx, window, 2),
                }
            )
            rows[f"{name} backward"] = compare(
                {
                    "cconv": lambda: max_pool_backward(out, argmax, x.shape, window, stride=2),
                    "PyTorch": lambda: torch.autograd.grad(pooled, tx, gradient, retain_graph=True),
                }
            )
    return rows


def section_optimizer(quick):
    """Adam over 432,000 parameters, float32."""
    rng = np.random.default_rng(0)
    p, g = (rng.standard_normal(432000).astype(np.float32) for _ in range(2))
    parameter = torch.nn.Parameter(torch.from_numpy(p.copy()))
    parameter.grad = torch.from_numpy(g)
    ours, chapter = cconv.Adam(), numpy_chapter.Adam()
    theirs = torch.optim.Adam([parameter], fused=True)
    return {
        "Adam": compare(
            {
                "cconv": lambda: ours.update({"p": p}, {"p": g}),
                "NumPy": lambda: chapter.update({"p": p}, {"p": g}),
                "PyTorch": theirs.step,
            }
        )
    }


SECTIONS = {name.removeprefix("section_"): f for name, f in globals().items() if name.startswith("section_")}


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--section", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="fewer repeats and shapes")
    parser.add_argument("--threads", type=int, default=cconv.get_num_threads())
    parser.add_argument("--json", help="also write the times, in seconds, to this file")
    arguments = parser.parse_args()
    cconv.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    machine = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": arguments.threads,
        "level": cconv.kernels.LEVEL,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "cconv": cconv.__version__,
    }
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    results = {"machine": machine}
    for name in arguments.section:
        print(f"\n{SECTIONS[name].__doc__.strip()} Milliseconds, and times as long as cconv.")
        rows = results[name] = SECTIONS[name](arguments.quick)
        ratios = []
        for row, times in rows.items():
            own = times["cconv"]
            best = min(value for key, value in times.items() if key.startswith("PyTorch"))
            ratios.append(best / own)
            cells = [
                f"{key} {value * 1e3:.3f}" + (f" ({value / own:.2f}x)" if key != "cconv" else "")
                for key, value in times.items()
            ]
            print(f"  {row:34s} " + "  ".join(cells), flush=True)
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"  against the best PyTorch: least {min(ratios):.2f}x, geometric mean {mean:.2f}x")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
