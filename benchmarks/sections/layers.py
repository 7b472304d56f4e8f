"""Single layers and optimizers."""

from ..inputs import ACTIVATIONS, OPTIMIZERS, Convolution
from . import section

DTYPES = ("float32", "float64")
CHANGE = 1e-2  # of an optimizer's step: float32 leaves it few digits beside the parameter


@section()
def layers(bench):
    """Each layer of SimpleConvNet, batch 100, float32."""
    N = bench.images(100)
    first = Convolution(N, 1, 28, 28, 30, 5)
    maps, hidden = (N, 30, 24, 24), (N, 100)
    pool = {"kind": "max", "shape": maps, "window": 2, "stride": 2}
    rows = [
        ("Conv1 forward", "convolution_forward", {"geometry": first}),
        ("Conv1 backward, dW and db", "convolution_backward", {"geometry": first, "input_gradient": False}),
        ("Relu1 forward", "activation_forward", {"name": "relu", "shape": maps}),
        ("Relu1 backward", "activation_backward", {"name": "relu", "shape": maps}),
        ("Pool1 forward", "pool_forward", pool),
        ("Pool1 backward", "pool_backward", pool),
        ("Affine1 forward", "affine_forward", {"N": N, "D": 4320, "M": 100}),
        ("Affine1 backward", "affine_backward", {"N": N, "D": 4320, "M": 100}),
        ("Relu2 forward", "activation_forward", {"name": "relu", "shape": hidden}),
        ("Relu2 backward", "activation_backward", {"name": "relu", "shape": hidden}),
        ("Affine2 forward", "affine_forward", {"N": N, "D": 100, "M": 10}),
        ("Affine2 backward", "affine_backward", {"N": N, "D": 100, "M": 10}),
        ("SoftmaxWithLoss, both", "softmax_loss", {"N": N, "M": 10}),
    ]
    for name, kind, arguments in rows:
        yield name, bench.compare(kind, dtype="float32", **arguments)


@section()
def activations(bench):
    """Activations of (100, 30, 24, 24)."""
    for dtype in bench.first(DTYPES, 1):
        for name in bench.first(ACTIVATIONS, len(ACTIVATIONS)):
            for direction in ("forward", "backward"):
                sizes = {"name": name, "shape": (bench.images(100), 30, 24, 24), "dtype": dtype}
                yield f"{name} {direction}, {dtype}", bench.compare(f"activation_{direction}", **sizes)


@section()
def pooling(bench):
    """Pooling of (100, 30, 24, 24)."""
    cases = [(kind, window, dtype) for dtype in DTYPES for kind, window in (("max", 2), ("max", 3), ("average", 2))]
    for kind, window, dtype in bench.first(cases, 3):
        for direction in ("forward", "backward", "both"):
            name = "pool" if direction == "both" else f"pool_{direction}"
            sizes = {"shape": (bench.images(100), 30, 24, 24), "window": window, "stride": 2}
            row = f"{kind} {window}x{window}/2 {direction}, {dtype}"
            yield row, bench.compare(name, kind=kind, dtype=dtype, **sizes)


@section()
def batch_normalization(bench):
    """Batch normalization per channel, training, forward and backward."""
    cases = [(shape, dtype) for dtype in DTYPES for shape in ((100, 30, 24, 24), (32, 128, 28, 28), (64, 33, 17, 23))]
    for shape, dtype in bench.first(cases, 2):
        yield f"{','.join(map(str, shape))} {dtype}", bench.compare("batch_normalization", shape=shape, dtype=dtype)


@section()
def sample_normalization(bench):
    """Layer and group normalization, forward and backward, float32."""
    cases = [(shape, groups) for shape in ((100, 30, 24, 24), (32, 128, 28, 28)) for groups in (None, 2)]
    for (N, *rest), groups in bench.first(cases, 2):
        shape = (bench.images(N), *rest)
        name = f"{','.join(map(str, shape))} {f'{groups} groups' if groups else 'whole images'}"
        yield name, bench.compare("sample_normalization", groups=groups, shape=shape, dtype="float32")


@section()
def dropout(bench):
    """Dropout of half of (100, 30, 24, 24), forward and backward: each contestant drops what it draws itself."""
    for dtype in bench.first(DTYPES, 1):
        yield dtype, bench.compare("dropout", shape=(bench.images(100), 30, 24, 24), dtype=dtype, check=False)


@section()
def optimizers(bench):
    """One update of 432,000 parameters, float32."""
    for name in OPTIMIZERS:
        yield name, bench.compare("optimizer", name=name, shape=(4320, 100), tolerance=CHANGE)
