"""The operations of cconv, validated and stateless: the door between people and the compiled kernels.

`reference` has convolution and pooling once more, as plain loops over their formulas.
"""

from . import affine as _affine
from . import convolution as _convolution
from . import dropout as _dropout
from . import reference as reference
from . import transposed_convolution as _transposed_convolution
from .activation import *
from .affine import *
from .convolution import *
from .dropout import *
from .fused import *
from .joining import *
from .loss import *
from .normalization import *
from .patches import *
from .pooling import *
from .preprocessing import *
from .resampling import *
from .transposed_convolution import *

# Each module lists its own names; pyright follows these sums, and mypy, which does not, the star imports alone.
MYPY = False
if not MYPY:
    __all__: list[str] = []
    __all__ += activation.__all__
    __all__ += _affine.__all__
    __all__ += _convolution.__all__
    __all__ += _dropout.__all__
    __all__ += fused.__all__
    __all__ += joining.__all__
    __all__ += loss.__all__
    __all__ += normalization.__all__
    __all__ += patches.__all__
    __all__ += pooling.__all__
    __all__ += preprocessing.__all__
    __all__ += resampling.__all__
    __all__ += _transposed_convolution.__all__
