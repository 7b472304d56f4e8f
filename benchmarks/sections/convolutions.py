"""The suite of convolutions, and the kinds that are not plain."""

from dataclasses import replace
from statistics import median

from ..inputs import Convolution
from . import section

SUITE = [  # N, C, H, W, FN, size, stride, pad
    Convolution(100, 1, 28, 28, 30, 5),
    Convolution(100, 1, 28, 28, 16, 3, 1, 1),
    Convolution(100, 16, 28, 28, 16, 3, 1, 1),
    Convolution(100, 16, 14, 14, 32, 3, 1, 1),
    Convolution(100, 32, 14, 14, 32, 3, 1, 1),
    Convolution(100, 64, 7, 7, 64, 3, 1, 1),
    Convolution(64, 3, 32, 32, 64, 3, 1, 1),
    Convolution(64, 64, 32, 32, 64, 3, 1, 1),
    Convolution(64, 64, 16, 16, 128, 3, 1, 1),
    Convolution(32, 128, 16, 16, 128, 3, 1, 1),
    Convolution(16, 64, 56, 56, 64, 3, 1, 1),
    Convolution(8, 3, 224, 224, 64, 7, 2, 3),
    Convolution(32, 256, 14, 14, 256, 1),
]
ODD = [
    Convolution(32, 7, 17, 23, 33, 3, 3, 1),
    Convolution(32, 33, 17, 23, 100, 5, 1, 2),
    Convolution(16, 100, 17, 23, 33, (2, 5)),
    Convolution(32, 7, 17, 23, 100, (2, 5), (1, 3), (0, 2)),
    Convolution(5, 100, 23, 17, 7, 3, 2, 1),
]
KINDS = {
    "depthwise": [
        Convolution(32, 128, 28, 28, 128, 3, 1, 1, groups=128),
        Convolution(32, 128, 28, 28, 128, 3, 2, 1, groups=128),
        Convolution(32, 33, 17, 23, 33, 5, 1, 2, groups=33),
    ],
    "dilated": [Convolution(32, 64, 28, 28, 64, 3, 1, 2, dilation=2), Convolution(32, 33, 17, 23, 33, 3, dilation=3)],
    "grouped": [Convolution(32, 64, 28, 28, 64, 3, 1, 1, groups=4), Convolution(32, 33, 17, 23, 66, 3, groups=3)],
    "transposed": [
        Convolution(32, 64, 14, 14, 32, 3, 1, 1, transposed=True),
        Convolution(32, 64, 14, 14, 32, 4, 2, 1, transposed=True),
        Convolution(32, 33, 17, 23, 7, 3, 2, transposed=True),
    ],
}
# The chapter's way is left out: at these sizes it takes minutes, and the network and its layers show it.
AMONG = ("cconv", "PyTorch", "PyTorch channels_last", "ONNX Runtime", "FMA loop")


@section()
def convolution(bench):
    """Convolution forward and backward (dX, dW, db), float32."""
    yield from _rows(bench, [("", geometry) for geometry in SUITE], "float32")


@section()
def convolution64(bench):
    """Convolution forward and backward (dX, dW, db), float64."""
    yield from _rows(bench, [("", geometry) for geometry in SUITE], "float64")


@section()
def odd_convolution(bench):
    """Convolutions of odd sizes, float32."""
    yield from _rows(bench, [("", geometry) for geometry in ODD], "float32")


@section()
def odd_convolution64(bench):
    """Convolutions of odd sizes, float64."""
    yield from _rows(bench, [("", geometry) for geometry in ODD], "float64")


@section()
def convolution_kinds(bench):
    """Depthwise, dilated, grouped and transposed convolution, float32."""
    cases = [(f"{kind} ", geometry) for kind, geometries in KINDS.items() for geometry in geometries]
    yield from _rows(bench, cases, "float32", quick=len(cases))


def _rows(bench, cases, dtype, quick=4):
    shares = []
    for prefix, geometry in bench.first(cases, quick):
        geometry = replace(geometry, N=bench.images(geometry.N))
        for direction in ("forward", "backward"):
            times = bench.compare(f"convolution_{direction}", geometry=geometry, dtype=dtype, among=AMONG)
            yield f"{prefix}{geometry} {direction}", times
            if "cconv" in times and "FMA loop" in times:
                own, peak = (2e-9 * geometry.multiply_adds / median(times[name]) for name in ("cconv", "FMA loop"))
                shares.append((own / peak, f"{geometry}: {own:.0f} GFLOP/s of {peak:.0f} that the FMA loop reaches"))
    if shares:
        bench.notes.append(f"cconv's largest share of the peak, {max(shares)[0]:.0%}: {max(shares)[1]}")
