"""The one place where a random generator is made."""

import numpy as np

__all__ = ["generator"]


def generator(rng=None, seed=None):
    """Return the generator that the arguments `rng` and `seed` of a public name ask for.

    Without either it is seeded from NumPy's global generator, so that ``np.random.seed`` makes a script repeatable.

    Parameters
    ----------
    rng : numpy.random.Generator or anything `numpy.random.default_rng` takes, optional
    seed : int, optional

    Raises
    ------
    ValueError
        If both are given.
    """
    if rng is not None and seed is not None:
        raise ValueError(f"give rng or seed, not both; got rng={rng!r} and seed={seed!r}")
    if rng is not None:
        return np.random.default_rng(rng)
    if seed is None:
        seed = np.random.randint(2**32, size=4, dtype=np.uint32)
    return np.random.default_rng(seed)
