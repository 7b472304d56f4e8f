"""Train one of the deeper networks on handwritten digits: DeepConvNet, LeNet5 or ResNet.

python examples/deeper_networks.py --network LeNet5 --epochs 3
"""

import argparse
import time
from pathlib import Path

from train_mnist import load_digits

import cconv

NETWORKS = {"DeepConvNet": cconv.DeepConvNet, "LeNet5": cconv.LeNet5, "ResNet": cconv.ResNet}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="DeepConvNet", help="default: DeepConvNet")
    parser.add_argument("--epochs", type=int, default=1, help="default: 1")
    parser.add_argument("--images", type=int, help="how many training images, default: all")
    parser.add_argument("--dataset", choices=["auto", "mnist", "synthetic"], default="auto", help="default: auto")
    parser.add_argument("--data-dir", help="where the MNIST files are; else CCONV_DATA, the cache, a download")
    parser.add_argument("--output-dir", type=Path, default=Path("output"), help="default: output")
    parser.add_argument("--seed", type=int, default=0, help="of weights and shuffling, default: 0")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    (x_train, t_train), (x_test, t_test) = load_digits(arguments.dataset, arguments.data_dir)
    x_train, t_train = x_train[: arguments.images], t_train[: arguments.images]
    network = NETWORKS[arguments.network](seed=arguments.seed)
    print(network.summary())
    trainer = cconv.Trainer(
        network,
        x_train,
        t_train,
        x_test,
        t_test,
        epochs=arguments.epochs,
        optimizer="Adam",
        optimizer_param={"lr": 0.001},
        evaluate_sample_num_per_epoch=10000,
        seed=arguments.seed,
    )
    start = time.perf_counter()
    trainer.train()
    print(f"Trained on {len(x_train):,} images for {arguments.epochs} epochs in {time.perf_counter() - start:.1f} s.")
    print(f"Final accuracy on {len(x_test):,} test images: {network.accuracy(x_test, t_test):.4f}")
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    path = arguments.output_dir / f"{arguments.network}.safetensors"
    network.save_params(path)
    print(f"Saved: {path}")


if __name__ == "__main__":
    main()
