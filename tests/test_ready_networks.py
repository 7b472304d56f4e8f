"""The networks to start from: DeepConvNet, LeNet5, ResNet and MobileNet."""

import numpy as np
import pytest
from small_networks import Scale

from cconv import Affine, DeepConvNet, LeNet5, MobileNet, Network, ResNet


@pytest.mark.parametrize(
    ("kind", "parameters"), [(DeepConvNet, 123_552), (LeNet5, 61_706), (ResNet, 77_754), (MobileNet, 36_874)]
)
def test_networks_to_start_from(kind, parameters):
    network = kind(seed=0)
    assert sum(value.size for value in network.params.values()) == parameters
    x = np.random.default_rng(0).random((4, 1, 28, 28), np.float32)
    assert network.predict(x).shape == (4, 10)
    grads = network.gradient(x, np.arange(4))
    assert {name: value.shape for name, value in grads.items()} == {
        name: value.shape for name, value in network.params.items()
    }
    with pytest.raises(ValueError, match="output_size must be at least 1, got 0"):
        kind(output_size=0)
    with pytest.raises(ValueError, match="expects images|input_dim must be"):
        kind((28, 28)) if kind in (ResNet, MobileNet) else kind((1, 1, 1))


def test_the_deep_networks_of_its_shapes():
    shapes = DeepConvNet(seed=0).output_shapes
    assert shapes["conv4"] == (32, 16, 16)
    assert shapes["pool3"] == (64, 4, 4)
    with pytest.raises(ValueError, match=r"depth must be 6n \+ 2"):
        ResNet(depth=9)


def test_the_width_of_a_mobile_net():
    wide, narrow = MobileNet(seed=0), MobileNet(width=0.25, seed=0)
    assert wide.params["W1"].shape == (16, 1, 3, 3) and narrow.params["W1"].shape == (4, 1, 3, 3)
    assert wide.params["W2"].shape == (16, 1, 3, 3) and wide.params["W3"].shape == (32, 16, 1, 1)
    assert wide.output_shapes["conv11"] == (128, 7, 7) and narrow.output_shapes["conv11"] == (32, 7, 7)
    with pytest.raises(ValueError, match="width must be a positive number, got 0"):
        MobileNet(width=0)


def test_the_summary_counts():
    lines = ResNet(seed=0).summary().splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "parameters", "multiply-adds", "bytes"]
    assert lines[-1].split()[:2] == ["total", "77,754"]
    row = next(line for line in lines if line.startswith("residual2"))
    # 3 x 3 filters from 16 to 32 and from 32 to 32 channels, and the shortcut's 1 x 1, on 14 x 14 outputs.
    assert f"{(9 * 16 * 32 + 9 * 32 * 32 + 16 * 32) * 14 * 14:,}" in row
    assert "(32, 14, 14)" in row
    assert "scale1" in Network([Affine(units=3), Scale()], (5,)).summary()
