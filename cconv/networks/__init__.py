"""Networks: layers in order, with predict, loss, gradient and accuracy."""

from .deep_conv_net import *
from .lenet5 import *
from .loading import *
from .mobilenet import *
from .network import *
from .predictor import *
from .resnet import *
from .simple_conv_net import *

# Each module lists its own names; pyright follows these sums, and mypy, which does not, the star imports alone.
MYPY = False
if not MYPY:
    __all__: list[str] = []
    __all__ += deep_conv_net.__all__
    __all__ += lenet5.__all__
    __all__ += loading.__all__
    __all__ += mobilenet.__all__
    __all__ += network.__all__
    __all__ += predictor.__all__
    __all__ += resnet.__all__
    __all__ += simple_conv_net.__all__
