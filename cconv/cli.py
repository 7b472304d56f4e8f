"""The command `cconv`: show the configuration, or recognise digits with saved parameters."""

import argparse

__all__ = ["main"]


def main(argv=None):
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="cconv", description="Convolutional-network layers for NumPy arrays.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("config", help="show the version, the CPU level, threads and build flags")
    evaluate = commands.add_parser("evaluate", help="measure saved SimpleConvNet parameters on the MNIST test images")
    evaluate.add_argument("params", help="a file that SimpleConvNet.save_params wrote")
    evaluate.add_argument("--data-dir", help="where the MNIST files are; else CCONV_DATA, the cache, a download")
    arguments = parser.parse_args(argv)

    import cconv

    if arguments.command == "config":
        cconv.show_config()
        return 0
    network = cconv.SimpleConvNet()
    try:
        network.load_params(arguments.params)
        _, (x_test, t_test) = cconv.load_mnist(flatten=False, data_dir=arguments.data_dir)
    except (OSError, ValueError) as error:
        parser.exit(1, f"cconv: {error}\n")
    print(f"accuracy on {len(x_test):,} test images: {network.accuracy(x_test, t_test):.4f}")
    return 0
