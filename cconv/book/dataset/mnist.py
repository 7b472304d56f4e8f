"""MNIST."""

import os
import sys

import numpy as np

from ... import datasets as _datasets

__all__ = ["img_dim", "img_size", "load_mnist", "np", "os", "test_num", "train_num"]

train_num, test_num = 60_000, 10_000
img_dim, img_size = (1, 28, 28), 784

_FIRST = "train-images-idx3-ubyte.gz"


def load_mnist(normalize=True, flatten=True, one_hot_label=False):
    """Return `cconv.load_mnist`'s arrays, from the script's own folder `dataset` if the files of MNIST are there.

    Parameters
    ----------
    normalize, flatten, one_hot_label : bool
        As there.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : tuple of tuples of ndarray

    Raises
    ------
    DatasetNotFoundError, ValueError
        As there.
    """
    folders = (os.path.join(folder, "dataset") for folder in sys.path)
    own = next((folder for folder in folders if os.path.exists(os.path.join(folder, _FIRST))), None)
    return _datasets.load_mnist(normalize, flatten, one_hot_label, data_dir=own)
