"""Whole models of PyTorch: their parameters in a network of the same layers give the same predictions, and back."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import parity
import pytest
import safetensors.numpy

import cconv
from cconv import (
    Affine,
    AveragePooling,
    BatchNormalization,
    Convolution,
    GlobalAveragePooling,
    GroupNormalization,
    LayerNormalization,
    LeakyRelu,
    Network,
    Pooling,
    Relu,
    Residual,
    TransposedConvolution,
)

torch = parity.require("torch", "PyTorch")
nn = torch.nn


class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = nn.Identity()
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(out + self.downsample(x))


class TorchResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(Block(8, 8, 1), Block(8, 8, 1))
        self.layer2 = nn.Sequential(Block(8, 16, 2), Block(16, 16, 1))
        self.layer3 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1))
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def resnet(**options):
    """The same with the strided convolutions padded by 1, as PyTorch's are; `ResNet` pads them as 'same' says."""

    def conv(filters, size=3, stride=1):
        return Convolution(filters=filters, size=size, stride=stride, pad=size // 2, bias=False)

    layers = [conv(8), BatchNormalization(**options), Relu()]
    for filters, first in ((8, 1), (16, 2), (32, 2)):
        for stride in (first, 1):
            body = [conv(filters, 3, stride), BatchNormalization(**options), Relu(), conv(filters)]
            body.append(BatchNormalization(**options))
            shortcut = [] if stride == 1 else [conv(filters, 1, stride), BatchNormalization(**options)]
            layers += [Residual(body, shortcut), Relu()]
    return Network([*layers, GlobalAveragePooling(), Affine(units=10)], (3, 16, 16), seed=0)


BLOCKS = ((16, 1), (32, 2), (32, 1), (64, 2))


def torch_mobilenet():
    layers, channels = [nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8, eps=1e-3), nn.ReLU()], 8
    for filters, stride in BLOCKS:
        for options in (
            {"in_channels": channels, "out_channels": channels, "kernel_size": 3, "stride": stride, "padding": 1},
            {"in_channels": channels, "out_channels": filters, "kernel_size": 1},
        ):
            options["groups"] = channels if options["kernel_size"] == 3 else 1
            layers.append(nn.Conv2d(**options, bias=False))
            layers += [nn.BatchNorm2d(options["out_channels"], eps=1e-3, momentum=0.03), nn.ReLU()]
        channels = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, 10))


def mobilenet():
    def unit(**options):
        return [Convolution(bias=False, **options), BatchNormalization(), Relu()]

    layers, channels = unit(filters=8, size=3, pad=1), 8
    for filters, stride in BLOCKS:
        layers += unit(filters=channels, size=3, stride=stride, pad=1, groups=channels)
        layers += unit(filters=filters, size=1)
        channels = filters
    return Network([*layers, GlobalAveragePooling(), Affine(units=10)], (3, 16, 16), seed=0)


def torch_autoencoder():
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, 2, 1),
        nn.GroupNorm(2, 8, eps=1e-3),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose2d(8, 6, 3, 2, 1, 1, groups=2),
        nn.LayerNorm((16, 16), eps=1e-2),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(384, 20),
        nn.BatchNorm1d(20, affine=False),
        nn.Linear(20, 10, bias=False),
    )


def autoencoder():
    layers = [
        Convolution(filters=8, size=4, stride=2, pad=1),
        GroupNormalization(2),
        LeakyRelu(0.1),
        TransposedConvolution(filters=6, size=3, stride=2, pad=1, output_padding=1, groups=2),
        LayerNormalization(axes=2),
        AveragePooling(2, 2, stride=2),
        Affine(units=20),
        BatchNormalization(),
        Affine(units=10, bias=False),
    ]
    return Network(layers, (3, 16, 16), seed=0)


MODELS = {
    "ResNet": (TorchResNet, resnet),
    "MobileNet": (torch_mobilenet, mobilenet),
    "autoencoder": (torch_autoencoder, autoencoder),
}
X = np.random.default_rng(0).standard_normal((32, 3, 16, 16)).astype(np.float32)


@pytest.fixture
def trained():
    """A function that makes a model and trains it for some steps, so that its statistics are far from 0 and 1."""

    def make(kind):
        torch.manual_seed(0)
        model = kind()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        t = torch.arange(32) % 10
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(2 * torch.from_numpy(X) + 1), t).backward()
            optimizer.step()
        return model.eval()

    return make


def scores(model, x=X):
    with torch.no_grad():
        return model(torch.from_numpy(x)).numpy()


def assert_alike(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_its_predictions_in_a_network(name, trained):
    make_model, make_network = MODELS[name]
    model, network = trained(make_model), make_network()
    assert cconv.torch.load_from(model, network) is network
    assert_alike(network.predict(X), scores(model))
    assert model(torch.from_numpy(X)).requires_grad  # parameters that record gradients were read all the same


@pytest.mark.parametrize("name", MODELS)
def test_a_network_gives_its_predictions_in_a_model(name, trained):
    make_model, make_network = MODELS[name]
    network = make_network()
    cconv.torch.load_from(trained(make_model), network)
    for array in network.params.values():
        array += 0.01
    converted = cconv.torch.to_state_dict(network)
    model = make_model().eval()
    names = [name for name in model.state_dict() if "num_batches" not in name]
    arrays = {name: tensor for name, tensor in converted.items() if "num_batches" not in name}
    if name == "autoencoder":  # whose last normalization has no affine part in PyTorch
        arrays = {key: tensor for key, tensor in arrays.items() if key not in ("norm3.weight", "norm3.bias")}
        network.layers["norm3"].gamma[:], network.layers["norm3"].beta[:] = 1, 0
    given = dict(zip(names, arrays.values(), strict=True))
    model.load_state_dict(given, strict=False)
    assert_alike(network.predict(X), scores(model))
    before = network.params["W1"].copy()
    converted["conv1.weight"].zero_()
    np.testing.assert_array_equal(network.params["W1"], before)


def test_names_that_agree_are_a_state_dict_that_pytorch_takes_as_it_is():
    layers = [Convolution(filters=4, size=3), BatchNormalization(), Pooling(2, 2, stride=2), Affine(units=2)]
    network = Network(layers, (1, 6, 6), seed=0)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.norm1, self.affine1 = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(16, 2)

        def forward(self, x):
            return self.affine1(nn.functional.max_pool2d(self.norm1(self.conv1(x)), 2).flatten(1))

    model = Model().eval()
    model.norm1.eps = network.layers["norm1"].eps
    model.load_state_dict(cconv.torch.to_state_dict(network))
    x = X[:, :1, :6, :6].copy()
    assert_alike(network.predict(x), scores(model, x))


def test_settings_of_normalization_are_taken_over_from_modules():
    network = mobilenet()
    cconv.torch.load_from(torch_mobilenet(), network)
    assert network.layers["norm1"].eps == 1e-3 and network.layers["norm1"].momentum == 0.9
    assert network.layers["norm2"].momentum == pytest.approx(0.97)
    other = autoencoder()
    cconv.torch.load_from(torch_autoencoder(), other)
    assert [other.layers[f"norm{n}"].eps for n in (1, 2, 3)] == [1e-3, 1e-2, 1e-5]


def test_a_state_dict_and_a_file_do_as_well(tmp_path, trained):
    model = trained(TorchResNet)
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    for source in (model.state_dict(), arrays, tmp_path / "model.safetensors"):
        network = resnet(eps=1e-5)
        cconv.torch.load_from(source, network)
        assert_alike(network.predict(X), scores(model))


def test_tensors_of_half_precision_are_widened():
    model = nn.Linear(3, 2)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        model = model.to(dtype)
        network = Network([Affine(units=2)], (3,), seed=0)
        cconv.torch.load_from(model, network)
        np.testing.assert_array_equal(network.params["W1"], model.weight.detach().float().numpy().T)


def test_modules_of_another_kind_and_settings_that_networks_lack_are_refused():
    # The same shapes: filters of a transposed convolution lie the other way round.
    network = Network([Convolution(filters=3, size=2, bias=False)], (3, 6, 6), seed=0)
    before = network.params["W1"].copy()
    with pytest.raises(ValueError, match="'conv1' .* the first is '' with weight"):
        cconv.torch.load_from(nn.ConvTranspose2d(3, 3, 2, bias=False), network)
    norm = Network([BatchNormalization()], (3,), seed=0)
    with pytest.raises(ValueError, match="'norm1' of .*running_var"):
        cconv.torch.load_from(nn.BatchNorm1d(3, track_running_stats=False), norm)
    with pytest.raises(ValueError, match=r"\['weight'\] must have values: "):
        cconv.torch.load_from(nn.Conv2d(3, 3, 2, bias=False, device="meta"), network)
    with pytest.raises(ValueError, match="conv1"):
        cconv.torch.load_from(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 2, bias=False)), network)
    np.testing.assert_array_equal(network.params["W1"], before)


def test_the_example_brings_a_trained_resnet_to_onnx_runtime_with_the_same_scores(tmp_path):
    parity.require("onnx", "ONNX")
    parity.require("onnxruntime", "ONNX Runtime")
    example = Path(__file__).parents[1] / "examples" / "from_pytorch.py"
    environment = os.environ | {"PYTHONPATH": str(Path(cconv.__file__).parents[1])}
    command = [sys.executable, str(example), "--steps", "100"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    out = done.stdout
    largest = float(re.search(r"scores up to (\S+)", out).group(1))
    rows = re.findall(r"^(.+?)  +accuracy (\S+), from PyTorch at most (\S+)$", out, re.M)
    assert [name for name, _, _ in rows] == ["PyTorch", "cconv", "ONNX Runtime", "cconv, from ONNX"]
    assert len({accuracy for _, accuracy, _ in rows}) == 1 and float(rows[0][1]) > 0.3
    assert max(float(difference) for _, _, difference in rows) <= 1e-5 * largest
    assert (tmp_path / "resnet.onnx").is_file()
