"""A ResNet from PyTorch to cconv, from there to ONNX, and into ONNX Runtime: the same scores everywhere.

python examples/from_pytorch.py     trains for some seconds; --steps 0 takes the weights that PyTorch draws
"""

import argparse
import importlib.util
import sys

import numpy as np

import cconv

NEEDED = {"torch": "PyTorch", "onnx": "onnx", "onnxruntime": "ONNX Runtime"}
BLOCKS = ((8, 1), (16, 2), (32, 2))  # filters and stride of each block


def torch_resnet():
    """Return the network as it is written for PyTorch."""
    from torch import nn, relu

    class Block(nn.Module):
        def __init__(self, before, after, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(after)
            self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(after)
            self.shortcut = nn.Sequential()
            if before != after:
                self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

        def forward(self, x):
            out = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
            return relu(out + self.shortcut(x))

    layers, before = [nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()], 8
    for after, stride in BLOCKS:
        layers.append(Block(before, after, stride))
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))


def cconv_resnet():
    """Return the same layers in the same order; PyTorch pads strided convolutions by 1, not as 'same' says."""

    def conv(filters, size, stride=1):
        pad = size // 2
        return cconv.Convolution(filters=filters, size=size, stride=stride, pad=pad, bias=False)

    def norm():
        return cconv.BatchNormalization()

    layers, before = [conv(8, 3), norm(), cconv.Relu()], 8
    for after, stride in BLOCKS:
        body = [conv(after, 3, stride), norm(), cconv.Relu(), conv(after, 3), norm()]
        shortcut = [] if before == after else [conv(after, 1, stride), norm()]
        layers += [cconv.Residual(body, shortcut), cconv.Relu()]
        before = after
    return cconv.Network([*layers, cconv.GlobalAveragePooling(), cconv.Affine(units=10)], (1, 28, 28), seed=0)


def train(module, x, t, steps):
    import torch

    optimizer = torch.optim.Adam(module.parameters(), lr=0.003)
    rng = np.random.default_rng(0)
    module.train()
    for _ in range(steps):
        batch = rng.choice(len(x), 50, replace=False)
        optimizer.zero_grad()
        scores = module(torch.from_numpy(x[batch]))
        torch.nn.functional.cross_entropy(scores, torch.from_numpy(t[batch]).long()).backward()
        optimizer.step()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="training steps in PyTorch, of 50 images (default 200)")
    parser.add_argument("--onnx", default="resnet.onnx", help="where the graph is written (default resnet.onnx)")
    arguments = parser.parse_args()
    missing = [title for name, title in NEEDED.items() if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"This example needs {' and '.join(missing)} too: pip install 'cconv[parity]'")
    import onnxruntime
    import torch

    (x_train, t_train), (x, t) = cconv.load_synthetic_digits(2000, 500, flatten=False)
    torch.manual_seed(0)
    module = torch_resnet()
    train(module, x_train, t_train, arguments.steps)
    module.eval()
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()

    network = cconv.torch.load_from(module, cconv_resnet())
    cconv.onnx.export(network, arguments.onnx)
    session = onnxruntime.InferenceSession(arguments.onnx, providers=["CPUExecutionProvider"])
    answers = {
        "PyTorch": expected,
        "cconv": network.predict(x),
        "ONNX Runtime": session.run(None, {"input": x})[0],
        "cconv, from ONNX": cconv.onnx.load(arguments.onnx).predict(x),
    }
    largest = np.abs(expected).max()
    print(f"{len(x)} images, scores up to {largest:.3g}")
    for name, scores in answers.items():
        accuracy = cconv.metrics.accuracy(t, scores)
        print(f"{name:16}  accuracy {accuracy:.4f}, from PyTorch at most {np.abs(scores - expected).max():.1e}")


if __name__ == "__main__":
    main()
