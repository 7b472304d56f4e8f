"""cconv: convolutional-network layers for Python, compiled."""

from typing import TYPE_CHECKING

from cconv import augment, callbacks, data, metrics, plotting
from cconv._config import show_config
from cconv._threads import threads
from cconv._version import __version__
from cconv.averaging import ExponentialMovingAverage
from cconv.datasets import (
    DatasetNotFoundError,
    load_cifar10,
    load_cifar100,
    load_fashion_mnist,
    load_kmnist,
    load_mnist,
    load_synthetic_digits,
    read_idx,
    read_idx_pair,
)
from cconv.explanation import explain
from cconv.functional import col2im, im2col
from cconv.functions import (
    cross_entropy_error,
    identity_function,
    mean_squared_error,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    softmax,
    softmax_loss,
    step_function,
)
from cconv.geometry import conv_output_size
from cconv.gradient import gradient_check, numerical_gradient, numerical_gradient_2d
from cconv.history import History
from cconv.kernels.runtime._cpu import get_num_threads, set_num_threads
from cconv.kernels.runtime._memory import empty_cache
from cconv.layers import (
    AdaptiveAveragePooling,
    Affine,
    AveragePooling,
    BatchNormalization,
    Branches,
    Concatenate,
    Convolution,
    Dropout,
    Elu,
    Flatten,
    Gelu,
    GlobalAveragePooling,
    GlobalMaxPooling,
    GroupNormalization,
    HardSwish,
    Huber,
    Layer,
    LayerNormalization,
    LeakyRelu,
    MeanSquaredError,
    Normalize,
    Pooling,
    Relu,
    Reshape,
    Residual,
    Scale,
    Sigmoid,
    SigmoidWithLoss,
    Silu,
    SoftmaxWithLoss,
    Softplus,
    Tanh,
    TransposedConvolution,
    Upsample,
    ZeroPad,
)
from cconv.learning_rate_finder import LearningRates, find_learning_rate
from cconv.networks import DeepConvNet, LeNet5, MobileNet, Network, ResNet, SimpleConvNet, load
from cconv.optimizers import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Lion,
    Momentum,
    Nesterov,
    Optimizer,
    RMSprop,
    clip_gradients_by_norm,
    clip_gradients_by_value,
    global_norm,
)
from cconv.plotting import filter_show, plot_accuracy, plot_history
from cconv.schedules import CosineDecay, ExponentialDecay, OneCycle, ReduceOnPlateau, Schedule, StepDecay
from cconv.trainer import Trainer

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "AdaptiveAveragePooling",
    "Affine",
    "AveragePooling",
    "BatchNormalization",
    "Branches",
    "Concatenate",
    "Convolution",
    "CosineDecay",
    "DatasetNotFoundError",
    "DeepConvNet",
    "Dropout",
    "Elu",
    "ExponentialDecay",
    "ExponentialMovingAverage",
    "Flatten",
    "Gelu",
    "GlobalAveragePooling",
    "GlobalMaxPooling",
    "GroupNormalization",
    "HardSwish",
    "History",
    "Huber",
    "Layer",
    "LayerNormalization",
    "LeNet5",
    "LeakyRelu",
    "LearningRates",
    "Lion",
    "MeanSquaredError",
    "MobileNet",
    "Momentum",
    "Nesterov",
    "Network",
    "Normalize",
    "OneCycle",
    "Optimizer",
    "Pooling",
    "RMSprop",
    "ReduceOnPlateau",
    "Relu",
    "ResNet",
    "Reshape",
    "Residual",
    "Scale",
    "Schedule",
    "Sigmoid",
    "SigmoidWithLoss",
    "Silu",
    "SimpleConvNet",
    "SoftmaxWithLoss",
    "Softplus",
    "StepDecay",
    "Tanh",
    "Trainer",
    "TransposedConvolution",
    "Upsample",
    "ZeroPad",
    "__version__",
    "augment",
    "callbacks",
    "clip_gradients_by_norm",
    "clip_gradients_by_value",
    "col2im",
    "conv_output_size",
    "cross_entropy_error",
    "data",
    "empty_cache",
    "explain",
    "filter_show",
    "find_learning_rate",
    "get_num_threads",
    "global_norm",
    "gradient_check",
    "identity_function",
    "im2col",
    "load",
    "load_cifar10",
    "load_cifar100",
    "load_fashion_mnist",
    "load_kmnist",
    "load_mnist",
    "load_synthetic_digits",
    "mean_squared_error",
    "metrics",
    "numerical_gradient",
    "numerical_gradient_2d",
    "plot_accuracy",
    "plot_history",
    "plotting",
    "read_idx",
    "read_idx_pair",
    "relu",
    "relu_grad",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_loss",
    "step_function",
    "threads",
]

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
