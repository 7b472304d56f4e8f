"""A network as it is at one moment, for predictions alone."""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._typing import DType, Floats, Shape
from . import inference
from .network import Network

__all__ = ["Predictor"]


class Predictor:
    """Predict with a network as it is now, whatever becomes of it later.

    A network may be changed at any time, its arrays too, so each of its calls looks at all of them first. That takes
    as long as to read them: little beside the computation of a batch, a tenth to a fifth of the time for one image. A
    predictor has a copy of the network that nobody changes, and looks at nothing but x. Its scores have the bits of the
    network's.

    Several threads may call one predictor at once. Pickled, it takes the copy with it.

    Parameters
    ----------
    network : Network
        It stays as it is. Layers that are not of this package, and a `predict` of a class of one's own, are copied and
        run as `network.predict` runs them. A plain function is no copy's own: one that is set in the place of a method
        still reaches what it was made for.

    Attributes
    ----------
    input_shape : tuple of int
        Of one sample.
    dtype : numpy.dtype
    classes : list of str or None

    Raises
    ------
    TypeError
        If `network` is not a Network, or cannot be copied by `copy.deepcopy`.
    ValueError
        If it cannot predict: one layer has been replaced by another that does not fit, for example.

    Examples
    --------
    >>> network = Network([Affine(units=2)], (3,), seed=0)
    >>> x = np.ones((1, 3), np.float32)
    >>> predictor, before = Predictor(network), network.predict(x)
    >>> network.params["W1"][...] = 0
    >>> bool((predictor.predict(x) == before).all())
    True
    """

    def __init__(self, network: Network) -> None:
        if not isinstance(network, Network):
            raise TypeError(f"network must be a Network, got {type(network).__name__}")
        try:
            self._network = copy.deepcopy(network)
        except Exception as error:
            raise TypeError(f"network must be one that copy.deepcopy copies, which says: {error}") from error
        self._plans: dict[Any, Any] = {}  # by dtype: floats, or uint8 where the first layer takes it
        self.predict(np.zeros((1, *network.input_shape), network.dtype))  # makes a plan, or says what is wrong

    @property
    def input_shape(self) -> Shape:
        return self._network.input_shape

    @property
    def dtype(self) -> DType:
        return self._network.dtype

    @property
    def classes(self) -> list[str] | None:
        return self._network.classes

    def predict(self, x: ArrayLike, *, batch_size: int = 100) -> Floats:
        """Return the scores of each class (before the softmax), as `Network.predict` does.

        Parameters
        ----------
        x : ndarray of floats, shape (N, C, H, W)
            One image may leave N out. Of uint8 if the network begins with a layer that takes it.
        batch_size : int, default 100, keyword only
            How many images go through the layers at a time.

        Returns
        -------
        ndarray, shape (N, number of classes)

        Raises
        ------
        TypeError, ValueError
            If x holds integers (scale them first, or put Scale() first) or images of another shape.
        """
        network = self._network
        own = type(network).predict is Network.predict and "predict" not in vars(network)
        return network._predict(x, batch_size, self._scores) if own else network.predict(x, batch_size=batch_size)

    def _scores(self, x, batch_size):
        network = self._network
        dtype = network._batch(x[:1]).dtype
        run = self._plans.get(dtype)
        if run is None:
            run = inference.plan(network.layers, network._batch(x[:1]), deque()) or network._unplanned
            self._plans[dtype] = run
        return network._batches(x, batch_size, run)

    def __getstate__(self) -> dict[str, Any]:
        return {"_network": self._network, "_plans": {}}  # a plan says where arrays lie in memory

    def __repr__(self) -> str:
        return f"Predictor of {self._network!r}"
