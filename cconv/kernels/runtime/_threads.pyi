from typing import Final

pool: Final[bool]
__pyx_capi__: Final[dict[str, object]]  # what kernels import as C functions
