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
