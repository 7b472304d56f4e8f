"""Train SimpleConvNet or DeepConvNet on MNIST, on digits that are moved and distorted anew in each epoch.

python examples/augmented_mnist.py --network simple
python examples/augmented_mnist.py --network deep --seed 1

Adam's learning rate warms up and then falls to 0; accuracy is that of an average of the parameters, after the last
step.
"""

import argparse

import cconv
from cconv.augment import Compose, ElasticDistortion, RandomRotation, RandomShear, RandomShift, RandomZoom

# The network, epochs and the highest learning rate.
SETTINGS = {"simple": (cconv.SimpleConvNet, 15, 0.003), "deep": (cconv.DeepConvNet, 15, 0.002)}
BATCH = 100


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=SETTINGS, default="simple", help="default: simple")
    parser.add_argument("--epochs", type=int, help="default: 15")
    parser.add_argument("--images", type=int, help="use so many of the training and of the test images")
    parser.add_argument("--data-dir", help="where the MNIST files are; else CCONV_DATA, the cache, a download")
    parser.add_argument("--seed", type=int, default=0, help="of weights, shuffling and augmentation, default: 0")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    data = cconv.load_mnist(flatten=False, data_dir=arguments.data_dir)
    (x_train, t_train), (x_test, t_test) = ((x[: arguments.images], t[: arguments.images]) for x, t in data)
    kind, epochs, lr = SETTINGS[arguments.network]
    epochs = arguments.epochs or epochs
    augment = Compose(
        [RandomShift(0.07), RandomRotation(10), RandomZoom(0.1), RandomShear(8), ElasticDistortion(alpha=20, sigma=4)]
    )
    steps = epochs * -(-len(x_train) // BATCH)
    trainer = cconv.Trainer(
        kind(seed=arguments.seed),
        x_train,
        t_train,
        x_test,
        t_test,
        epochs=epochs,
        mini_batch_size=BATCH,
        optimizer="Adam",
        optimizer_param={"lr": lr},
        evaluate_sample_num_per_epoch=len(x_test),
        schedule=lambda optimizer: cconv.CosineDecay(optimizer, steps, warmup=steps // 20),
        average=0.999,
        augment=augment,
        seed=arguments.seed,
    )
    trainer.train()
    print(f"Final accuracy on {len(x_test):,} test images: {trainer.history.test_accuracy[-1]:.4f}")


if __name__ == "__main__":
    main()
