"""The layers: one file each, state and nothing else."""

from .affine import Affine
from .batch_normalization import BatchNormalization
from .convolution import Convolution
from .dropout import Dropout
from .layer import Layer
from .pooling import AveragePooling, Pooling
from .relu import Relu
from .sigmoid import Sigmoid
from .softmax_with_loss import SoftmaxWithLoss

__all__ = [
    "Affine",
    "AveragePooling",
    "BatchNormalization",
    "Convolution",
    "Dropout",
    "Layer",
    "Pooling",
    "Relu",
    "Sigmoid",
    "SoftmaxWithLoss",
]
