"""Networks: layers in order, with predict, loss, gradient and accuracy."""

from .deep_conv_net import DeepConvNet
from .lenet5 import LeNet5
from .loading import load
from .mobilenet import MobileNet
from .network import Network
from .resnet import ResNet
from .simple_conv_net import SimpleConvNet

__all__ = ["DeepConvNet", "LeNet5", "MobileNet", "Network", "ResNet", "SimpleConvNet", "load"]
