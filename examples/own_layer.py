"""A layer of one's own in a network: anything with forward and backward, here with a parameter."""

import numpy as np

import cconv


class Scale:
    """Multiply everything by one number that is learned."""

    param_names = ("factor",)

    def __init__(self):
        self.factor = np.ones(1, np.float32)
        self.dfactor = None

    def forward(self, x):
        self.x = x
        return x * self.factor

    def backward(self, dout):
        self.dfactor = np.sum(dout * self.x, dtype=dout.dtype).reshape(1)
        return dout * self.factor


def main():
    (x_train, t_train), (x_test, t_test) = cconv.load_synthetic_digits(1000, 200, flatten=False)
    layers = [
        cconv.Convolution(filters=8, size=3, pad="same"),
        cconv.Relu(),
        cconv.Pooling(2, 2, stride=2),
        Scale(),
        cconv.Affine(units=10),
    ]
    network = cconv.Network(layers, input_shape=(1, 28, 28), seed=0)
    trainer = cconv.Trainer(network, x_train, t_train, x_test, t_test, epochs=2, optimizer="Adam", seed=0)
    trainer.train()
    print(f"The factor became {float(network.params['factor1'][0]):.4f}.")
    print(f"Final accuracy on {len(x_test):,} test images: {network.accuracy(x_test, t_test):.4f}")


if __name__ == "__main__":
    main()
