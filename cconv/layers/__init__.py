"""The layers: one file each, state and nothing else."""

from .affine import Affine
from .batch_normalization import BatchNormalization
from .convolution import Convolution
from .dropout import Dropout
from .flatten import Flatten
from .global_pooling import AdaptiveAveragePooling, GlobalAveragePooling, GlobalMaxPooling
from .layer import Layer
from .pooling import AveragePooling, Pooling
from .relu import Relu
from .residual import Residual
from .sigmoid import Sigmoid
from .softmax_with_loss import SoftmaxWithLoss
from .transposed_convolution import TransposedConvolution
from .upsample import Upsample
from .zero_pad import ZeroPad

__all__ = [
    "AdaptiveAveragePooling",
    "Affine",
    "AveragePooling",
    "BatchNormalization",
    "Convolution",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling",
    "GlobalMaxPooling",
    "Layer",
    "Pooling",
    "Relu",
    "Residual",
    "Sigmoid",
    "SoftmaxWithLoss",
    "TransposedConvolution",
    "Upsample",
    "ZeroPad",
]
