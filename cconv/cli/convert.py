"""`cconv convert`: a model in another format."""

import os
import pickle

from .._files import write
from .arguments import UsageError, add_custom, add_json, described, network, shape, whole
from .inspect import PICKLE, TENSORS, contents
from .messages import complain, print_json, show
from .networks import NETWORKS, named, saved

__all__ = ["add_to"]

EXAMPLES = """
examples:
  cconv convert run1/model.cconv model.onnx
  cconv convert run1/model.cconv model.safetensors           PyTorch's names and layouts
  cconv convert params.pkl model.cconv                       the chapter's SimpleConvNet
  cconv convert params.pkl model.cconv --network deep
  cconv convert torch.safetensors model.cconv --network network.py:make --input-shape 3,32,32 --outputs 10

What holds parameters alone, a pickle or PyTorch's tensors, needs the network that they are of.
"""
ENDINGS = (".cconv", ".onnx", ".safetensors", ".pkl")


def add_to(commands):
    options = described("Write a model in another format, which the ending of OUT says.", EXAMPLES)
    parser = commands.add_parser("convert", help="write a model in another format", **options)
    parser.add_argument("source", metavar="IN", help=".cconv, .onnx, .safetensors of PyTorch, .pkl of the chapter's")
    parser.add_argument("target", metavar="OUT", help=f"one of {', '.join(ENDINGS)}")
    names = f"{', '.join(NETWORKS)}, or FILE.py:name"
    parser.add_argument("--network", type=network, default="simple", help=f"where IN has parameters alone: {names}")
    parser.add_argument(
        "--input-shape", type=shape, default=(1, 28, 28), metavar="C,H,W", help="of one image (default: 1,28,28)"
    )
    parser.add_argument("--outputs", type=whole, default=10, metavar="N", help="of scores (default: 10)")
    add_custom(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options):
    """Read the one file, and write the other."""
    ending = os.path.splitext(options.target)[1].lower()
    if ending not in ENDINGS:
        raise UsageError(f"argument OUT: must end in {', '.join(ENDINGS)}, got {options.target!r}")
    net = _read(options)
    WRITERS[ending](net, options.target)
    parameters = sum(value.size for value in net.params.values())
    if options.json:
        print_json({"file": options.target, "parameters": parameters})
    else:
        show(f"{options.target}: {parameters:,} parameters")


def _read(options):
    """Return the network of the source."""
    if os.path.isdir(options.source):
        return saved(options.source, options.custom)
    if options.source.lower().endswith(".onnx"):
        from .. import onnx

        return onnx.load(options.source)
    found = contents(options.source)
    alone = found["kind"] in (PICKLE, TENSORS) or found.get("version") == "1"
    if not alone:
        return saved(options.source, options.custom)
    classes = [str(n) for n in range(options.outputs)]
    net = named(options.network, options.input_shape, classes, seed=0)
    if found["kind"] == TENSORS:
        from .. import torch

        return torch.load_from(options.source, net)
    net.load_params(options.source)
    return net


def _write_pickle(net, path):
    params = dict(net.params)
    others = net.state_dict().keys() - set(net.params.full_names.values())
    if others:
        complain(f"warning: a pickle of the chapter's has parameters only, without {', '.join(sorted(others))}")
    write(path, pickle.dumps(params))


def _write_tensors(net, path):
    from safetensors.numpy import save

    from .. import torch

    write(path, save(torch.to_arrays(net)))


def _write_onnx(net, path):
    from .. import onnx

    onnx.export(net, path)


WRITERS = {
    ".cconv": lambda net, path: net.save(path),
    ".onnx": _write_onnx,
    ".safetensors": _write_tensors,
    ".pkl": _write_pickle,
}
