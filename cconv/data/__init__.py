"""Data sets: what training reads its samples from, a batch at a time.

A data set has a length, and ``d[indices]`` gives ``(x, t)``, the samples in these places and their targets, for a slice
or an array of integers. `labels`, `classes` and `split` come with `Dataset`; one's own data set needs none of them.
"""

from .dataset import *
from .image_folder import *

# Each module lists its own names; pyright follows these sums, and mypy, which does not, the star imports alone.
MYPY = False
if not MYPY:
    __all__: list[str] = []
    __all__ += dataset.__all__
    __all__ += image_folder.__all__
