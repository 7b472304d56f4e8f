"""The one place where a random generator is made."""

import numpy as np

from ._checks import argument
from .geometry import integer

__all__ = ["checked_seed", "generator"]


def checked_seed(seed, name="seed"):
    """Return a seed as an int, which may have any number of bits."""
    return integer(seed, name, 0, None)


def generator(rng=None, seed=None):
    """Return the generator that the arguments `rng` and `seed` of a public name ask for.

    Without either it is seeded from NumPy's global generator, so that ``np.random.seed`` makes a script repeatable.

    Parameters
    ----------
    rng : numpy.random.Generator or anything `numpy.random.default_rng` takes, optional
    seed : int, optional

    Raises
    ------
    TypeError, ValueError
        If both are given, or one is not what it must be.
    """
    if rng is not None and seed is not None:
        raise ValueError(f"give rng or seed, not both; got rng={rng!r} and seed={seed!r}")
    if rng is not None:
        with argument(f"rng must be a numpy.random.Generator, or what makes one, got {rng!r}"):
            return np.random.default_rng(rng)
    if seed is None:
        return np.random.default_rng(np.random.randint(2**32, size=4, dtype=np.uint32))
    return np.random.default_rng(checked_seed(seed))
