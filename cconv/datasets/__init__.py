"""Data sets of small images: MNIST, digits drawn from fonts, and the IDX format they are kept in."""

from .idx import read_idx, read_idx_pair
from .mnist import DatasetNotFoundError, load_mnist
from .synthetic_digits import load_synthetic_digits

__all__ = [
    "DatasetNotFoundError",
    "load_mnist",
    "load_synthetic_digits",
    "read_idx",
    "read_idx_pair",
]
