"""Data sets: what training reads its samples from, a batch at a time.

A data set has a length, and ``d[indices]`` gives ``(x, t)``, the samples in these places and their targets, for a slice
or an array of integers. `labels`, `classes` and `split` come with `Dataset`; one's own data set needs none of them.
"""

from .dataset import ArrayDataset, Dataset, Subset, as_dataset
from .image_folder import ImageFolder

__all__ = ["ArrayDataset", "Dataset", "ImageFolder", "Subset", "as_dataset"]
