"""Train SimpleConvNet on handwritten digits; save its parameters, the accuracy curve and its filters.

python examples/train_mnist.py --quick      the chapter's run: 2,000 training and 1,000 test images, 20 epochs
python examples/train_mnist.py              all of MNIST, 5 epochs
"""

import argparse
from pathlib import Path

import cconv


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,000 training and 1,000 test images, 20 epochs")
    parser.add_argument("--epochs", type=int, help="default: 5, or 20 with --quick")
    parser.add_argument("--dataset", choices=["auto", "mnist", "synthetic"], default="auto", help="default: auto")
    parser.add_argument("--data-dir", help="where the MNIST files are; else CCONV_DATA, the cache, a download")
    parser.add_argument("--output-dir", type=Path, default=Path("output"), help="default: output")
    parser.add_argument("--seed", type=int, default=0, help="of weights and shuffling, default: 0")
    return parser.parse_args()


def load_digits(dataset, data_dir):
    if dataset != "synthetic":
        try:
            return cconv.load_mnist(flatten=False, data_dir=data_dir)
        except cconv.DatasetNotFoundError:
            if dataset == "mnist":
                raise
            print("MNIST is neither on this machine nor can it be downloaded: training on synthetic digits instead.")
    return cconv.load_synthetic_digits(flatten=False)


def main():
    arguments = parse_arguments()
    (x_train, t_train), (x_test, t_test) = load_digits(arguments.dataset, arguments.data_dir)
    epochs = arguments.epochs
    if arguments.quick:
        x_train, t_train, x_test, t_test = x_train[:2000], t_train[:2000], x_test[:1000], t_test[:1000]
        epochs = 20 if epochs is None else epochs
    epochs = 5 if epochs is None else epochs
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)

    network = cconv.SimpleConvNet(seed=arguments.seed)
    cconv.filter_show(network.params["W1"], file_name=output / "filters_before.png")
    print(f"Training on {len(x_train):,} images, {epochs} epochs, with Adam on {cconv.get_num_threads()} threads.")
    trainer = cconv.Trainer(
        network,
        x_train,
        t_train,
        x_test,
        t_test,
        epochs=epochs,
        mini_batch_size=100,
        optimizer="Adam",
        optimizer_param={"lr": 0.001},
        evaluate_sample_num_per_epoch=None if arguments.quick else 10000,
        seed=arguments.seed,
    )
    trainer.train()

    network.save_params(output / "params.safetensors")
    cconv.filter_show(network.params["W1"], file_name=output / "filters_after.png")
    cconv.plot_accuracy(trainer.train_acc_list, trainer.test_acc_list, file_name=output / "accuracy.png")
    print(f"Final accuracy on {len(x_test):,} test images: {network.accuracy(x_test, t_test):.4f}")
    print("Saved:")
    for name in ("params.safetensors", "accuracy.png", "filters_before.png", "filters_after.png"):
        print(f"  {output / name}")


if __name__ == "__main__":
    main()
