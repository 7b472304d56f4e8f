"""cconv: convolutional-network layers for Python, compiled.

Layers, networks, optimizers, schedules and the trainer stand here. In packages of their own are the operations without
state (`functional`), how weights begin (`initializers`), what a trainer reads (`data`, `augment`), what listens to it
(`callbacks`), measures (`metrics`) and pictures (`plotting`).
"""

from typing import TYPE_CHECKING

from cconv import augment as augment
from cconv import callbacks as callbacks
from cconv import data as data
from cconv import functional as functional
from cconv import initializers as initializers
from cconv import metrics as metrics
from cconv import plotting as plotting
from cconv._config import *
from cconv._threads import *
from cconv._version import __version__ as __version__
from cconv.averaging import *
from cconv.datasets import *
from cconv.explanation import explain as explain
from cconv.functional import col2im as col2im
from cconv.functional import im2col as im2col
from cconv.functions import *
from cconv.geometry import conv_output_size as conv_output_size
from cconv.gradient import *
from cconv.history import *
from cconv.kernels.runtime._cpu import get_num_threads as get_num_threads
from cconv.kernels.runtime._cpu import set_num_threads as set_num_threads
from cconv.kernels.runtime._memory import empty_cache as empty_cache
from cconv.layers import *
from cconv.learning_rate_finder import *
from cconv.networks import *
from cconv.optimizers import *
from cconv.plotting import filter_show as filter_show
from cconv.plotting import plot_accuracy as plot_accuracy
from cconv.plotting import plot_history as plot_history
from cconv.schedules import *
from cconv.trainer import *

# Each module lists its own names; pyright follows these sums, and mypy, which does not, the star imports alone.
MYPY = False
if not MYPY:
    __all__ = [
        "augment",
        "callbacks",
        "col2im",
        "conv_output_size",
        "data",
        "empty_cache",
        "explain",
        "filter_show",
        "functional",
        "get_num_threads",
        "im2col",
        "initializers",
        "metrics",
        "plot_accuracy",
        "plot_history",
        "plotting",
        "set_num_threads",
    ]
    __all__ += _config.__all__
    __all__ += _threads.__all__
    __all__ += _version.__all__
    __all__ += averaging.__all__
    __all__ += datasets.__all__
    __all__ += functions.__all__
    __all__ += gradient.__all__
    __all__ += history.__all__
    __all__ += layers.__all__
    __all__ += learning_rate_finder.__all__
    __all__ += networks.__all__
    __all__ += optimizers.__all__
    __all__ += schedules.__all__
    __all__ += trainer.__all__

_LAZY = ("book", "onnx", "report", "sklearn", "torch")  # imported when they are first used

if TYPE_CHECKING:
    from cconv import book as book
    from cconv import onnx as onnx
    from cconv import report as report
    from cconv import sklearn as sklearn
    from cconv import torch as torch
else:

    def __getattr__(name):
        if name in _LAZY:
            from importlib import import_module

            return import_module(f"cconv.{name}")
        from cconv._hints import NAMES, use

        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{use(name, NAMES, 'cconv.')}")
