"""Draw the first layer's filters before and after training: noise becomes edges and blobs.

python examples/visualize_filters.py output/params.safetensors
"""

import argparse
from pathlib import Path

import cconv


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("params", nargs="?", default="output/params.safetensors", help="what train_mnist.py saved")
    parser.add_argument("--output-dir", type=Path, default=Path("output"), help="default: output")
    arguments = parser.parse_args()

    networks = {"untrained": cconv.SimpleConvNet(seed=0), "trained": cconv.SimpleConvNet(seed=0)}
    networks["trained"].load_params(arguments.params)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    for name, network in networks.items():
        picture = arguments.output_dir / f"filters_{name}.png"
        cconv.filter_show(network.params["W1"], file_name=picture)
        print(picture)


if __name__ == "__main__":
    main()
