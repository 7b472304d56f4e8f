"""The layers: one file each, state and nothing else."""

from .affine import *
from .batch_normalization import *
from .branches import *
from .concatenate import *
from .convolution import *
from .dropout import *
from .elu import *
from .flatten import *
from .gelu import *
from .global_pooling import *
from .group_normalization import *
from .hard_swish import *
from .huber import *
from .layer import *
from .layer_normalization import *
from .leaky_relu import *
from .mean_squared_error import *
from .normalize import *
from .pooling import *
from .relu import *
from .reshape import *
from .residual import *
from .scale import *
from .sigmoid import *
from .sigmoid_with_loss import *
from .silu import *
from .softmax_with_loss import *
from .softplus import *
from .tanh import *
from .transposed_convolution import *
from .upsample import *
from .zero_pad import *

# Each module lists its own names; pyright follows these sums, and mypy, which does not, the star imports alone.
MYPY = False
if not MYPY:
    __all__: list[str] = []
    __all__ += affine.__all__
    __all__ += batch_normalization.__all__
    __all__ += branches.__all__
    __all__ += concatenate.__all__
    __all__ += convolution.__all__
    __all__ += dropout.__all__
    __all__ += elu.__all__
    __all__ += flatten.__all__
    __all__ += gelu.__all__
    __all__ += global_pooling.__all__
    __all__ += group_normalization.__all__
    __all__ += hard_swish.__all__
    __all__ += huber.__all__
    __all__ += layer.__all__
    __all__ += layer_normalization.__all__
    __all__ += leaky_relu.__all__
    __all__ += mean_squared_error.__all__
    __all__ += normalize.__all__
    __all__ += pooling.__all__
    __all__ += relu.__all__
    __all__ += reshape.__all__
    __all__ += residual.__all__
    __all__ += scale.__all__
    __all__ += sigmoid.__all__
    __all__ += sigmoid_with_loss.__all__
    __all__ += silu.__all__
    __all__ += softmax_with_loss.__all__
    __all__ += softplus.__all__
    __all__ += tanh.__all__
    __all__ += transposed_convolution.__all__
    __all__ += upsample.__all__
    __all__ += zero_pad.__all__
