"""Train SimpleConvNet or DeepConvNet on MNIST whose digits are shifted, rotated, zoomed, slanted and distorted anew in
each epoch, with Adam, a learning rate that warms up and then falls to 0, and an average of the parameters.

python examples/augmented_mnist.py --network simple
python examples/augmented_mnist.py --network deep --seed 1
"""

import argparse
import time

import numpy as np

import cconv
from cconv.augment import Compose, ElasticDistortion, RandomRotation, RandomShear, RandomShift, RandomZoom

SETTINGS = {"simple": (cconv.SimpleConvNet, 40, 0.003), "deep": (cconv.DeepConvNet, 20, 0.002)}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=SETTINGS, default="simple", help="default: simple")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--elastic", type=float, default=20.0)
    parser.add_argument("--decay", type=float, default=0.999)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--data-dir", help="where the MNIST files are; else CCONV_DATA, the cache, a download")
    parser.add_argument("--seed", type=int, default=0, help="of weights, shuffling and augmentation, default: 0")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    kind, epochs, lr = SETTINGS[arguments.network]
    epochs, lr = arguments.epochs or epochs, arguments.lr or lr
    (x_train, t_train), (x_test, t_test) = cconv.load_mnist(flatten=False, data_dir=arguments.data_dir)
    s = arguments.strength
    steps = [RandomShift(0.07*s), RandomRotation(10*s), RandomZoom(0.1*s), RandomShear(8*s)]
    if arguments.elastic:
        steps.append(ElasticDistortion(arguments.elastic, 4))
    augment = Compose(steps)
    network = kind(seed=arguments.seed)
    optimizer = cconv.Adam(lr=lr)
    B = arguments.batch
    steps = epochs * -(-len(x_train) // B)
    schedule = cconv.CosineDecay(optimizer, steps, warmup=steps // 20)
    average = cconv.ExponentialMovingAverage(network.params, arguments.decay)
    rng = np.random.default_rng(arguments.seed)
    t0 = time.time(); ta = 0
    for epoch in range(epochs):
        order = rng.permutation(len(x_train))
        for i in range(0, len(x_train), B):
            batch = order[i:i+B]
            a0 = time.time()
            x, t = augment(x_train[batch], t_train[batch], seed=arguments.seed, epoch=epoch, indices=batch)
            ta += time.time() - a0
            optimizer.update(network.params, network.gradient(x, t))
            average.update()
            schedule.step()
        if epoch % 5 == 4 or epoch == epochs - 1:
            with average.swapped():
                ea = network.accuracy(x_test, t_test)
            print(f"epoch {epoch+1} ema {ea:.4f} raw {network.accuracy(x_test, t_test):.4f} {time.time()-t0:.0f} s, augment {ta:.0f} s", flush=True)


if __name__ == "__main__":
    main()
