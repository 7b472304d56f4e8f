"""The operations of cconv, validated and stateless: the door between people and the compiled kernels."""

from .activation import relu, relu_backward, sigmoid, softmax
from .affine import affine, affine_backward
from .convolution import convolution, convolution_backward, convolution_relu_max_pool
from .joining import add, concatenate
from .loss import (
    huber,
    huber_backward,
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
    squared_error,
    squared_error_backward,
)
from .patches import col2im, im2col
from .pooling import (
    adaptive_average_pool,
    adaptive_average_pool_backward,
    average_pool,
    average_pool_backward,
    max_pool,
    max_pool_backward,
)
from .resampling import upsample, upsample_backward, zero_pad, zero_pad_backward
from .transposed_convolution import transposed_convolution, transposed_convolution_backward

__all__ = [
    "adaptive_average_pool",
    "adaptive_average_pool_backward",
    "add",
    "affine",
    "affine_backward",
    "average_pool",
    "average_pool_backward",
    "col2im",
    "concatenate",
    "convolution",
    "convolution_backward",
    "convolution_relu_max_pool",
    "huber",
    "huber_backward",
    "im2col",
    "max_pool",
    "max_pool_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_backward",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "squared_error",
    "squared_error_backward",
    "transposed_convolution",
    "transposed_convolution_backward",
    "upsample",
    "upsample_backward",
    "zero_pad",
    "zero_pad_backward",
]
