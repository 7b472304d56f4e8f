"""cconv: convolutional-network layers for Python, compiled."""

from cconv._config import show_config
from cconv._version import __version__
from cconv.datasets import DatasetNotFoundError, load_mnist, load_synthetic_digits, read_idx, read_idx_pair
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
from cconv.kernels._cpu import get_num_threads, set_num_threads
from cconv.kernels._memory import empty_cache
from cconv.layers import (
    AdaptiveAveragePooling,
    Affine,
    AveragePooling,
    BatchNormalization,
    Convolution,
    Dropout,
    Flatten,
    GlobalAveragePooling,
    GlobalMaxPooling,
    Layer,
    Pooling,
    Relu,
    Residual,
    Sigmoid,
    SoftmaxWithLoss,
    TransposedConvolution,
    Upsample,
    ZeroPad,
)
from cconv.networks import DeepConvNet, LeNet5, Network, ResNet, SimpleConvNet
from cconv.optimizers import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop
from cconv.plotting import filter_show, plot_accuracy
from cconv.trainer import Trainer

__all__ = [
    "Residual",
    "ResNet",
    "LeNet5",
    "Flatten",
    "DeepConvNet",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdaptiveAveragePooling",
    "Affine",
    "AveragePooling",
    "BatchNormalization",
    "Convolution",
    "DatasetNotFoundError",
    "Dropout",
    "GlobalAveragePooling",
    "GlobalMaxPooling",
    "Layer",
    "Momentum",
    "Nesterov",
    "Network",
    "Pooling",
    "RMSprop",
    "Relu",
    "Sigmoid",
    "SimpleConvNet",
    "SoftmaxWithLoss",
    "Trainer",
    "TransposedConvolution",
    "Upsample",
    "ZeroPad",
    "__version__",
    "col2im",
    "conv_output_size",
    "cross_entropy_error",
    "empty_cache",
    "filter_show",
    "get_num_threads",
    "gradient_check",
    "identity_function",
    "im2col",
    "load_mnist",
    "load_synthetic_digits",
    "mean_squared_error",
    "numerical_gradient",
    "numerical_gradient_2d",
    "plot_accuracy",
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
]
