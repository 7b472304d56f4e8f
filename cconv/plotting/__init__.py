"""Pictures of networks, of what they answer and of their training; matplotlib is imported for the first one.

Each function returns its figure and, given a `file_name`, saves it. Without one the picture is shown: in a window if
matplotlib's backend has windows, and in a notebook as the value of its cell. A single picture can be drawn into axes
of one's own (``ax=``), a grid into a figure of one's own or a part of it (``figure=``); then the caller shows it.
"""

from . import answers as _answers
from .answers import *
from .attribution import *
from .augmented import *
from .filters import *
from .inside import *
from .training import *

# Each module lists its own names; pyright follows these sums, and mypy, which does not, the star imports alone.
MYPY = False
if not MYPY:
    __all__: list[str] = []
    __all__ += _answers.__all__
    __all__ += attribution.__all__
    __all__ += augmented.__all__
    __all__ += filters.__all__
    __all__ += inside.__all__
    __all__ += training.__all__
