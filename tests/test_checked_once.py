"""Each array is looked at once by each layer and operation that takes it: what lies behind a door trusts it."""

import inspect
import re
import sys
from collections import Counter

import numpy as np
import pytest
from test_arguments import LAYERS, OPERATIONS, made, use

import cconv
from cconv import DeepConvNet, LeNet5, MobileNet, ResNet, SimpleConvNet, functional
from cconv.layers.stack import nested

LOOKS = ("are_ready", "as_input", "as_pixels", "is_ready", "with_weights")


class Looks:
    """Counts which module looked at which array how often; the arrays live on, so that no other gets their place."""

    def __init__(self, monkeypatch):
        self.arrays, self.modules = {}, Counter()
        for name, module in list(sys.modules.items()):
            if name.startswith(("cconv.functional.", "cconv.layers.", "cconv.networks.")):
                for look in LOOKS:
                    if hasattr(module, look):
                        monkeypatch.setattr(module, look, self.counted(getattr(module, look), name))

    def counted(self, look, module):
        def counting(*arguments, **options):
            for array in {id(argument): argument for argument in arguments}.values():
                if isinstance(array, np.ndarray):
                    self.arrays[id(array)] = array
                    self.modules[id(array), module] += 1
            return look(*arguments, **options)

        return counting

    def of_arrays(self, *without):
        """How often each array was looked at, by other modules than these."""
        counts = Counter()
        for (array, module), count in self.modules.items():
            if module not in without:
                counts[array] += count
        return counts

    def more_than_once(self):
        """What was looked at more than once, to be read in a failure."""
        counts = self.of_arrays()
        return [
            (self.arrays[array].shape, [(name, n) for (other, name), n in self.modules.items() if other == array])
            for array, count in counts.items()
            if count > 1
        ]


def batch(network):
    return np.random.default_rng(0).random((3, *network.input_shape), np.float32), np.array([0, 1, 2])


@pytest.mark.parametrize("call", ["predict", "gradient"])
@pytest.mark.parametrize("kind", [SimpleConvNet, DeepConvNet, LeNet5, MobileNet])
def test_a_network_has_each_array_looked_at_once(kind, call, monkeypatch):
    network = kind(seed=0)
    x, t = batch(network)
    looks = Looks(monkeypatch)
    network.predict(x) if call == "predict" else network.gradient(x, t)
    assert looks.more_than_once() == []
    weights = [name for name, value in network.params.items() if name[0] == "W" and value.ndim == 2]
    assert weights and all(looks.of_arrays()[id(network.params[name])] == 1 for name in weights)


@pytest.mark.parametrize("call", ["predict", "gradient"])
def test_a_network_of_branches_has_each_array_looked_at_once_by_each_layer_that_takes_it(call, monkeypatch):
    network = ResNet(depth=8, seed=0)
    x, t = batch(network)
    looks, taken = Looks(monkeypatch), Counter()

    def watch(layer, name):
        method = getattr(layer, name)

        def watching(array, *arguments, **options):
            taken[id(array)] += 1
            return method(array, *arguments, **options)

        setattr(layer, name, watching)

    for _, layer in nested(network.layers):
        if not isinstance(layer, (cconv.Convolution, cconv.Residual)):
            watch(layer, "forward"), watch(layer, "backward")
    network.predict(x) if call == "predict" else network.gradient(x, t)
    branches = "cconv.layers.branches"
    assert {count for (_, module), count in looks.modules.items() if module == branches} == {1}
    found = looks.of_arrays(branches)
    assert sum(taken.values()) >= 15
    assert {array: found[array] for array in taken} == taken


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_looks_at_each_array_once(name, monkeypatch):
    layer = made(name)
    looks = Looks(monkeypatch)
    use(name, layer)
    # A layer of branches is a layer beside those inside of it.
    assert set(looks.modules.values()) <= {1}
    assert looks.more_than_once() == [] or isinstance(layer, cconv.Branches)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_looks_at_each_array_once(name, monkeypatch):
    rows = OPERATIONS[name]
    looks = Looks(monkeypatch)
    for arguments in rows if isinstance(rows, list) else [rows]:
        looks.modules.clear()
        own = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in arguments.items()}
        if name == "concatenate":
            own["arrays"] = [array.copy() for array in arguments["arrays"]]
        getattr(functional, name)(**own)
        assert looks.more_than_once() == []


def test_all_looks_are_counted():
    """No module looks at arrays by another name."""
    names = {name for name in sys.modules if name.startswith(("cconv.functional.", "cconv.layers."))}
    for name in names:
        source = inspect.getsource(sys.modules[name])
        assert not re.search(r"(memory\.(is|are)_ready|_normalised)\(", source), name
