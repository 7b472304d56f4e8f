"""The layers: one file each, state and nothing else."""

from .affine import Affine
from .batch_normalization import BatchNormalization
from .branches import Branches
from .concatenate import Concatenate
from .convolution import Convolution
from .dropout import Dropout
from .elu import Elu
from .flatten import Flatten
from .gelu import Gelu
from .global_pooling import AdaptiveAveragePooling, GlobalAveragePooling, GlobalMaxPooling
from .group_normalization import GroupNormalization
from .hard_swish import HardSwish
from .huber import Huber
from .layer import Layer
from .layer_normalization import LayerNormalization
from .leaky_relu import LeakyRelu
from .mean_squared_error import MeanSquaredError
from .normalize import Normalize
from .pooling import AveragePooling, Pooling
from .relu import Relu
from .reshape import Reshape
from .residual import Residual
from .scale import Scale
from .sigmoid import Sigmoid
from .sigmoid_with_loss import SigmoidWithLoss
from .silu import Silu
from .softmax_with_loss import SoftmaxWithLoss
from .softplus import Softplus
from .tanh import Tanh
from .transposed_convolution import TransposedConvolution
from .upsample import Upsample
from .zero_pad import ZeroPad

__all__ = [
    "AdaptiveAveragePooling",
    "Affine",
    "AveragePooling",
    "BatchNormalization",
    "Branches",
    "Concatenate",
    "Convolution",
    "Dropout",
    "Elu",
    "Flatten",
    "Gelu",
    "GlobalAveragePooling",
    "GlobalMaxPooling",
    "GroupNormalization",
    "HardSwish",
    "Huber",
    "Layer",
    "LayerNormalization",
    "LeakyRelu",
    "MeanSquaredError",
    "Normalize",
    "Pooling",
    "Relu",
    "Reshape",
    "Residual",
    "Scale",
    "Sigmoid",
    "SigmoidWithLoss",
    "Silu",
    "SoftmaxWithLoss",
    "Softplus",
    "Tanh",
    "TransposedConvolution",
    "Upsample",
    "ZeroPad",
]
