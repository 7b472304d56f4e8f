"""Parameters from PyTorch's modules and for them; PyTorch itself is imported only by what makes tensors.

PyTorch has `weight` for W and gamma and `bias` for b and beta. Filters lie there as here, those of transposed
convolutions too; the weights of ``Linear`` are the transpose of `Affine`'s. Both read images in the order (C, H, W)
when they are flattened.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np

from ._arrays import as_array
from ._extras import require
from ._typing import ArrayDict
from .layers import (
    Affine,
    BatchNormalization,
    Convolution,
    GroupNormalization,
    LayerNormalization,
    TransposedConvolution,
)
from .layers.stack import nested, param_names
from .networks import Network
from .serialization import read_arrays

__all__ = ["load_from", "to_state_dict"]

N = TypeVar("N", bound=Network)


class Module(Protocol):
    """What is looked at of a ``torch.nn.Module``: type checkers need not read PyTorch for those who do not use it."""

    @property
    def state_dict(self) -> Callable[..., Mapping[str, Any]]: ...
    @property
    def named_modules(self) -> Callable[..., Iterable[tuple[str, Any]]]: ...


WEIGHTS = {"W": "weight", "b": "bias"}
SCALES = {"gamma": "weight", "beta": "bias"}
STATISTICS = {"running_mean": "running_mean", "running_var": "running_var"}
# Of each kind of layer: the names of its arrays in PyTorch, and the modules that it is there.
KINDS = {
    Affine: (WEIGHTS, ("Linear",)),
    Convolution: (WEIGHTS, ("Conv2d",)),
    TransposedConvolution: (WEIGHTS, ("ConvTranspose2d",)),
    BatchNormalization: (SCALES | STATISTICS, ("BatchNorm1d", "BatchNorm2d", "SyncBatchNorm")),
    LayerNormalization: (SCALES, ("LayerNorm",)),
    GroupNormalization: (SCALES, ("GroupNorm",)),
}
IGNORED = "num_batches_tracked"
DEFAULT_EPS = 1e-5


def load_from(
    module_or_state_dict: Module | Mapping[str, Any] | str | os.PathLike[str],
    network: N,
    *,
    mapping: Mapping[str, str] | None = None,
) -> N:
    """Load the parameters and running statistics of a PyTorch model into a network, in place, all of them or none.

    The layers of the network are gone through in their order, those inside of blocks after them; each takes the first
    module, in the order of the state dict, that no other has taken and whose tensors are of its shapes. Every module
    with tensors must be taken. Settings are not compared: the network must compute what the model does.

    Parameters
    ----------
    module_or_state_dict : torch.nn.Module, mapping of str to tensor, or str or path
        A state dict may hold whatever NumPy makes arrays of. A path is that of a safetensors file, whose tensors have
        no order but that of their names (with 2 before 10).
    network : Network
        Of layers without arrays in PyTorch any; with them Affine, Convolution, TransposedConvolution and the
        normalizations. Its arrays have their dtype and stay the same objects.
    mapping : mapping of str to str, optional, keyword only
        The PyTorch name for a name in the network, where the order does not say it: of a module for a layer
        (``{"conv2": "features.3"}``), or of a tensor for an array (``{"conv2.W": "features.3.weight"}``).

    Returns
    -------
    Network
        The one that was given.

    Warns
    -----
    UserWarning
        If batch normalization has cconv's default `eps`, 1e-6, and a state dict or file does not say what it was:
        PyTorch's default is 1e-5.

    Raises
    ------
    OSError
        If a file cannot be read.
    TypeError, ValueError
        If something is none of these or does not fit; nothing has changed then.

    Notes
    -----
    Of a module, normalizations take over `eps` too, and batch normalization its momentum, which cconv counts the other
    way round: 0.9 is PyTorch's 0.1. Batch normalization without an affine part gets ones and zeros for it.

    Examples
    --------
    >>> network = cconv.Network([cconv.Affine(units=2)], (3,), seed=0)
    >>> state = {"fc.weight": np.ones((2, 3)), "fc.bias": np.zeros(2)}
    >>> load_from(state, network).predict(np.ones((1, 3), np.float32))
    array([[3., 3.]], dtype=float32)
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {type(network).__name__}")
    tensors, modules = _source(module_or_state_dict)
    layers = _layers(network)
    groups = _groups(tensors)
    given = _given(mapping, layers, groups)
    state: dict[str, np.ndarray] = {}
    partners: dict[str, Any] = {}
    for name, layer in layers.items():
        if name in given:
            partner, group = given[name]
            if (arrays := _converted(layer, group, modules.get(partner))) is None:
                raise ValueError(f"mapping must give {name!r} tensors of {_wanted(layer)}, got {_shapes(group)}")
        else:
            found = ((key, _converted(layer, group, modules.get(key))) for key, group in groups.items())
            partner, arrays = next(((key, arrays) for key, arrays in found if arrays is not None), (None, None))
            if arrays is None:
                rest = next((f"{key!r} with {_shapes(group)}" for key, group in groups.items()), "nothing")
                raise ValueError(
                    f"module_or_state_dict must hold tensors for {name!r} of {_wanted(layer)}; of what no other layer "
                    f"takes, the first is {rest}"
                )
            del groups[partner]
        partners[name] = modules.get(partner)
        state |= {f"{name}.{key}": array for key, array in arrays.items()}
    for key, group in groups.items():
        raise ValueError(f"network must have a layer for each module, got none for {key!r} with {_shapes(group)}")
    fixed = {name: array for name, array in network.state_dict().items() if name not in state}
    network.load_state_dict(fixed | state)
    for name, layer in layers.items():
        _adopt(layer, partners[name])
    if not modules:
        _warn_of_eps(layers)
    return network


def to_state_dict(network: Network) -> dict[str, Any]:
    """Return the network's parameters and running statistics as PyTorch has them, for ``module.load_state_dict``.

    Parameters
    ----------
    network : Network

    Returns
    -------
    dict of str to torch.Tensor
        Copies, under the names of the layers: ``conv1.weight``, ``norm1.running_mean``. For a module with other names
        and the same order: ``dict(zip(module.state_dict(), to_state_dict(network).values()))``.

    Raises
    ------
    ImportError
        If PyTorch cannot be imported.
    TypeError, ValueError
        If it is no network, or a layer has arrays and is none that PyTorch has.

    Examples
    --------
    >>> list(to_state_dict(cconv.LeNet5(seed=0)))[:2]  # doctest: +SKIP
    ['conv1.weight', 'conv1.bias']
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {type(network).__name__}")
    torch = require("torch", "cconv.torch.to_state_dict", "torch")
    return {name: torch.from_numpy(array) for name, array in to_arrays(network).items()}


def to_arrays(network: Network) -> ArrayDict:
    """Return what `to_state_dict` makes tensors of, as arrays: copies."""
    state = {}
    for name, layer in _layers(network).items():
        for own, theirs in _names(layer).items():
            if (array := getattr(layer, own)) is not None:
                state[f"{name}.{theirs}"] = np.array(_transposed(layer, own, array), order="C")
        if isinstance(layer, BatchNormalization):
            state[f"{name}.{IGNORED}"] = np.array(0)
    return state


def _source(source):
    """Return the tensors of a model by name, as arrays, and its modules by name, where there are some."""
    modules = {}
    if isinstance(source, (str, os.PathLike)):
        arrays = read_arrays(source, "module_or_state_dict")
        return {name: arrays[name] for name in sorted(arrays, key=_natural)}, modules
    if callable(getattr(source, "state_dict", None)) and callable(getattr(source, "named_modules", None)):
        modules = dict(source.named_modules())
        source = source.state_dict()
    if not isinstance(source, Mapping) or not all(isinstance(name, str) for name in source):
        raise TypeError(
            "module_or_state_dict must be a module, a mapping of names to tensors, or the path of a safetensors file, "
            f"got {type(source).__name__}"
        )
    return {name: _array(value, f"module_or_state_dict[{name!r}]") for name, value in source.items()}, modules


def _natural(name):
    """Return what sorts names of tensors by their modules, and numbers in these by their value."""
    parts = re.split(r"(\d+)", name.rpartition(".")[0])
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], name


def _array(value, name):
    """Return a tensor as an array; one of bfloat16, which NumPy lacks, as float32."""
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            if str(value.dtype) == "torch.bfloat16":
                value = value.float()
    except RuntimeError as error:  # a tensor without values, on the device 'meta'
        raise ValueError(f"{name} must have values: {error}") from None
    return as_array(value, name)


def _groups(tensors):
    """Return the tensors of each module, by its name."""
    groups = {}
    for name, array in tensors.items():
        module, _, key = name.rpartition(".")
        if key != IGNORED:
            groups.setdefault(module, {})[key] = array
    return groups


def _layers(network):
    """Return the layers of a network that have parameters, by name."""
    layers = {name: layer for name, layer in nested(network.layers) if param_names(layer)}
    for name, layer in layers.items():
        if _kind(layer) is None:
            raise ValueError(
                f"network must have its parameters in layers that PyTorch has too, got {name!r} of the class "
                f"{type(layer).__name__}"
            )
    return layers


def _kind(layer):
    return next((kind for kind in KINDS if isinstance(layer, kind)), None)


def _names(layer):
    return KINDS[_kind(layer)][0]


def _transposed(layer, name, array):
    """Return an array of a layer as it lies in PyTorch, or one from there as it lies here."""
    return array.T if name == "W" and isinstance(layer, Affine) else array


def _given(mapping, layers, groups):
    """Return what a mapping gives to layers: the name of a module, and tensors, which are taken from `groups`."""
    if mapping is None:
        return {}
    if not isinstance(mapping, Mapping):
        raise TypeError(f"mapping must be a mapping of names to names, got {type(mapping).__name__}")
    given = {}
    for own, theirs in mapping.items():
        name, _, key = (own, "", "") if own in layers else str(own).rpartition(".")
        if name not in layers or (key and key not in _names(layers[name])):
            raise ValueError(f"mapping must have names of layers or arrays that have tensors in PyTorch, got {own!r}")
        module, _, tensor = (theirs, "", "") if not key else str(theirs).rpartition(".")
        if module not in groups or (key and tensor not in groups[module]):
            raise ValueError(f"mapping must give {own!r} a name that is there and not given twice, got {theirs!r}")
        if not key:
            given[name] = module, groups.pop(module)
            continue
        given.setdefault(name, (module, {}))[1][_names(layers[name])[key]] = groups[module].pop(tensor)
        if not groups[module]:
            del groups[module]
    return given


def _converted(layer, group, module):
    """Return the arrays of a layer that a module's tensors make, None if they are not what it needs."""
    names, kinds = KINDS[_kind(layer)]
    if module is not None and not any(base.__name__ in kinds for base in type(module).__mro__):
        return None
    if isinstance(layer, BatchNormalization) and not group.keys() & SCALES.values():
        group = {"weight": np.ones(np.shape(layer.gamma)), "bias": np.zeros(np.shape(layer.beta)), **group}
    wanted = {theirs: own for own, theirs in names.items() if getattr(layer, own) is not None}
    if group.keys() != wanted.keys():
        return None
    arrays = {own: _transposed(layer, own, group[theirs]) for theirs, own in wanted.items()}
    fit = all(array.shape == np.shape(getattr(layer, own)) for own, array in arrays.items())
    return arrays if fit else None


def _wanted(layer):
    """Return in words what tensors a layer needs."""
    arrays = {theirs: getattr(layer, own) for own, theirs in _names(layer).items()}
    return _shapes({k: _transposed(layer, "W", a) if k == "weight" else a for k, a in arrays.items() if a is not None})


def _shapes(group):
    return ", ".join(f"{key} {array.shape}" for key, array in group.items())


def _adopt(layer, module):
    """Set what a module of normalization says of it beside its tensors."""
    if module is None or not hasattr(layer, "eps"):
        return
    layer.eps = float(module.eps)
    if isinstance(layer, BatchNormalization) and module.momentum is not None:
        layer.momentum = 1 - float(module.momentum)


def _warn_of_eps(layers):
    own = BatchNormalization().eps
    names = [name for name, layer in layers.items() if isinstance(layer, BatchNormalization) and layer.eps == own]
    if names:
        warnings.warn(
            f"a state dict does not say eps: {', '.join(names[:3])}{', ...' * (len(names) > 3)} keep {own:g}, but "
            f"PyTorch's default is {DEFAULT_EPS:g}; build them with eps={DEFAULT_EPS:g}, or load from the module",
            stacklevel=3,
        )
