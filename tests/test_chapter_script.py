"""A script in the chapter's own manner: only its imports name cconv. It runs, learns, and its gradients are right."""

import pickle
from collections import OrderedDict

import numpy as np

from cconv import (
    Affine,
    Convolution,
    Pooling,
    Relu,
    SoftmaxWithLoss,
    Trainer,
    conv_output_size,
    gradient_check,
    load_mnist,
    load_synthetic_digits,
    numerical_gradient,
)


class HandBuiltNet:
    """The network as the chapter writes it: float64 weights, plain dicts, a loop over an OrderedDict."""

    def __init__(self, input_dim, conv_param, hidden_size, output_size, weight_init_std=0.01):
        filter_num, filter_size = conv_param["filter_num"], conv_param["filter_size"]
        pad, stride = conv_param["pad"], conv_param["stride"]
        conv_size = conv_output_size(input_dim[1], filter_size, stride, pad)
        pool_size = int(filter_num * (conv_size / 2) * (conv_size / 2))
        self.params = {}
        self.params["W1"] = weight_init_std * np.random.randn(filter_num, input_dim[0], filter_size, filter_size)
        self.params["b1"] = np.zeros(filter_num)
        self.params["W2"] = weight_init_std * np.random.randn(pool_size, hidden_size)
        self.params["b2"] = np.zeros(hidden_size)
        self.params["W3"] = weight_init_std * np.random.randn(hidden_size, output_size)
        self.params["b3"] = np.zeros(output_size)
        self.layers = OrderedDict()
        self.layers["Conv1"] = Convolution(self.params["W1"], self.params["b1"], stride, pad)
        self.layers["Relu1"] = Relu()
        self.layers["Pool1"] = Pooling(pool_h=2, pool_w=2, stride=2)
        self.layers["Affine1"] = Affine(self.params["W2"], self.params["b2"])
        self.layers["Relu2"] = Relu()
        self.layers["Affine2"] = Affine(self.params["W3"], self.params["b3"])
        self.last_layer = SoftmaxWithLoss()

    def predict(self, x):
        for layer in self.layers.values():
            x = layer.forward(x)
        return x

    def loss(self, x, t):
        return self.last_layer.forward(self.predict(x), t)

    def accuracy(self, x, t):
        return np.sum(np.argmax(self.predict(x), axis=1) == t) / len(t)

    def numerical_gradient(self, x, t):
        return {name: numerical_gradient(lambda _: self.loss(x, t), value) for name, value in self.params.items()}

    def gradient(self, x, t):
        self.loss(x, t)
        dout = self.last_layer.backward(1)
        for layer in reversed(list(self.layers.values())):
            dout = layer.backward(dout)
        self.input_gradient = dout
        grads = {}
        for number, name in enumerate(("Conv1", "Affine1", "Affine2"), start=1):
            grads[f"W{number}"], grads[f"b{number}"] = self.layers[name].dW, self.layers[name].db
        return grads

    def save_params(self, file_name):
        with open(file_name, "wb") as file:
            pickle.dump(dict(self.params), file)


CONV_PARAM = {"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1}


def test_it_trains(tmp_path):
    np.random.seed(0)
    (x_train, t_train), (x_test, t_test) = load_synthetic_digits(230, 50, flatten=False)
    network = HandBuiltNet((1, 28, 28), CONV_PARAM, hidden_size=20, output_size=10)
    options = {"optimizer": "Adam", "optimizer_param": {"lr": 0.003}, "verbose": False}
    trainer = Trainer(network, x_train, t_train, x_test, t_test, epochs=6, mini_batch_size=20, **options)
    trainer.train()
    assert len(trainer.train_loss_list) == 6 * 12
    assert len(trainer.train_acc_list) == len(trainer.test_acc_list) == 6
    assert np.mean(trainer.train_loss_list[-12:]) < 0.75 * np.mean(trainer.train_loss_list[:12])
    assert network.input_gradient.shape == (10, 1, 28, 28)  # a loop of one's own still gets it
    assert network.input_gradient.dtype == x_train.dtype == np.float32
    assert all(value.dtype == np.float64 for value in network.params.values())
    network.save_params(tmp_path / "params.pkl")


def test_its_gradients_are_right():
    np.random.seed(0)
    param = {"filter_num": 3, "filter_size": 3, "pad": 1, "stride": 1}
    network = HandBuiltNet((2, 6, 6), param, 5, 4, weight_init_std=0.5)
    x, t = np.random.randn(3, 2, 6, 6), np.array([0, 3, 1])
    assert max(gradient_check(network, x, t).values()) <= 1e-7


def test_it_learns_real_digits(mnist_dir):
    (x_train, t_train), (x_test, t_test) = load_mnist(flatten=False, data_dir=mnist_dir)
    np.random.seed(0)
    network = HandBuiltNet((1, 28, 28), CONV_PARAM, 100, 10)
    samples = x_train[:2000], t_train[:2000], x_test[:1000], t_test[:1000]
    trainer = Trainer(network, *samples, epochs=3, optimizer="adam", verbose=False)
    trainer.train()
    assert trainer.test_acc_list[-1] > 0.7  # four seeds gave 0.797 to 0.809
