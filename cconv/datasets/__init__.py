"""Data sets of small images: MNIST, its relatives, CIFAR, digits drawn from fonts, and the IDX format."""

from ._places import *
from .cifar import *
from .idx import *
from .mnist import *
from .synthetic_digits import *

# Each module lists its own names; pyright follows these sums, and mypy, which does not, the star imports alone.
MYPY = False
if not MYPY:
    __all__: list[str] = []
    __all__ += _places.__all__
    __all__ += cifar.__all__
    __all__ += idx.__all__
    __all__ += mnist.__all__
    __all__ += synthetic_digits.__all__

# By the names that the command line and the settings of a run have for them.
LOADERS = {
    "mnist": load_mnist,
    "fashion": load_fashion_mnist,
    "kmnist": load_kmnist,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "synthetic": load_synthetic_digits,
}
