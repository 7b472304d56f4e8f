"""The modules that scripts of the teaching book "Deep Learning from Scratch" import, served by cconv.

``python -m cconv.book script.py`` runs a script of its chapters 5 to 8 as it is. What the script imports as `common`
and `dataset` is then `cconv.book.common` and `cconv.book.dataset`, whether it has such folders of its own or not: they
are what makes it fast. A module of these packages that cconv does not have, `two_layer_net`, `layer_naive`,
`simple_convnet`, `deep_convnet`, and the packages `ch05`, `ch07` and `ch08` are the script's own where it has them, and
cconv's where it has not.

The modules hand on all names that those of the book do, NumPy as `np` among them. Where the book's defaults differ
from cconv's, they hold here and here only: the stride of `Pooling` is 2, `DeepConvNet` takes the settings of its
convolutions first, a bias may be one number, batch normalization trains on a batch of one, inputs may hold whatever
NumPy makes a float of (float16, integers), and networks compute in float64 (``dtype="float32"`` makes them twice as
fast), on weights that NumPy's global generator draws in the book's order. What the book gets wrong is right here too:
an epoch of `Trainer` is one pass over the data, and a loss is measured outside training.

Processes that a script starts with multiprocessing's method "spawn" or "forkserver" import the book's own modules.
"""

from . import ch05, ch07, ch08, common, dataset

__all__ = ["ch05", "ch07", "ch08", "common", "dataset"]
