from typing import Final

pool: Final[bool]
