"""Tensors of PyTorch in place of arrays."""

import numpy as np
import pytest
from parity import require

import cconv

torch = require("torch", "PyTorch")


def test_tensors_are_read_where_they_lie():
    x = torch.rand(2, 1, 6, 6)
    layer = cconv.Convolution(np.ones((2, 1, 3, 3), np.float32), np.zeros(2, np.float32))
    out = layer.forward(x)
    expected = torch.nn.functional.conv2d(x, torch.ones(2, 1, 3, 3))
    np.testing.assert_allclose(out, expected, rtol=1e-5)
    dx = layer.backward(torch.ones(2, 2, 4, 4))
    assert dx.dtype == np.float32 and dx.shape == (2, 1, 6, 6)
    assert np.shares_memory(cconv.layers.Flatten().forward(x), x.numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_is_trained_on_tensors(dtype):
    x, t = torch.rand(20, 4, dtype=dtype), torch.arange(20) % 3
    network = cconv.Network([cconv.Affine(units=8), cconv.Relu(), cconv.Affine(units=3)], (4,), seed=0)
    trainer = cconv.Trainer(network, x, t, x, t, epochs=3, mini_batch_size=10, optimizer="Adam", verbose=False)
    trainer.train()
    assert len(trainer.test_acc_list) == 3
    assert network.accuracy(x, t) == network.accuracy(x.numpy(), t.numpy())
    assert network.loss(x, torch.nn.functional.one_hot(t)) == network.loss(x.numpy(), t.numpy())


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(2, 3, requires_grad=True),
        torch.ones(2, 3, requires_grad=True) * 2,
        torch.ones(2, 3, device="meta"),
        torch.ones(2, 3).to_sparse(),
        torch.ones(2, 3, dtype=torch.bfloat16),
    ],
    ids=["leaf", "result", "device", "sparse", "bfloat16"],
)
def test_tensors_that_cannot_be_read_say_what_to_do(tensor):
    layer = cconv.Affine(np.ones((3, 2)))
    with pytest.raises(TypeError, match=r"x must be .*x\.detach\(\)\.cpu\(\)\), got Tensor: "):
        layer.forward(tensor)
    layer.forward(np.ones((2, 3)))
    with pytest.raises(TypeError, match=r"dout\.detach\(\)\.cpu\(\)"):
        layer.backward(tensor)


def test_parameters_are_never_tensors():
    with pytest.raises(TypeError, match="W must be an ndarray, as it is updated in place, got Tensor"):
        cconv.Affine(torch.ones(3, 2))
    with pytest.raises(TypeError, match="b must be an ndarray, as it is updated in place, got Parameter"):
        cconv.Affine(np.ones((3, 2)), torch.nn.Parameter(torch.ones(2)))
    network = cconv.Network([cconv.Affine(units=2)], (3,))
    with pytest.raises(TypeError, match="W1 must be an ndarray"):
        network.params["W1"] = torch.ones(3, 2)
