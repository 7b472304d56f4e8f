"""Data sets of small images: MNIST, its relatives, CIFAR, digits drawn from fonts, and the IDX format."""

from ._places import DatasetNotFoundError
from .cifar import load_cifar10, load_cifar100
from .idx import read_idx, read_idx_pair
from .mnist import load_fashion_mnist, load_kmnist, load_mnist
from .synthetic_digits import load_synthetic_digits

__all__ = [
    "DatasetNotFoundError",
    "load_cifar10",
    "load_cifar100",
    "load_fashion_mnist",
    "load_kmnist",
    "load_mnist",
    "load_synthetic_digits",
    "read_idx",
    "read_idx_pair",
]

# By the names that the command line and the settings of a run have for them.
LOADERS = {
    "mnist": load_mnist,
    "fashion": load_fashion_mnist,
    "kmnist": load_kmnist,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "synthetic": load_synthetic_digits,
}
