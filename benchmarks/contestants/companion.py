"""What other programs do meanwhile: the companions of those that are timed."""

import numpy as np

from . import Work


class Companion:
    def __init__(self, threads):
        pass  # NumPy's BLAS has read its number of threads from the environment

    def busy(self):
        """Want one core, and no memory."""

        def run():
            for _ in range(100_000):
                pass

        return Work(run)

    def products(self):
        """Want as many cores as there are threads."""
        a = np.ones((1000, 1000), np.float32)
        return Work(lambda: a @ a)
