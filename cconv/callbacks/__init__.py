"""What listens to a training: `Trainer(..., callbacks=[...])`."""

from .callback import *
from .checkpoints import *
from .early_stopping import *
from .limits import *
from .logs import *

# Each module lists its own names; pyright follows these sums, and mypy, which does not, the star imports alone.
MYPY = False
if not MYPY:
    __all__: list[str] = []
    __all__ += callback.__all__
    __all__ += checkpoints.__all__
    __all__ += early_stopping.__all__
    __all__ += limits.__all__
    __all__ += logs.__all__
