"""Networks: layers in order, with predict, loss, gradient and accuracy."""

from .network import Network
from .simple_conv_net import SimpleConvNet

__all__ = ["Network", "SimpleConvNet"]
