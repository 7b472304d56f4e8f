"""Passes outside training are planned once; their scores are those of the layers, whatever changes between calls."""

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cconv import (
    Affine,
    BatchNormalization,
    Concatenate,
    Convolution,
    Dropout,
    Flatten,
    GlobalAveragePooling,
    Network,
    Pooling,
    Relu,
    Reshape,
    Residual,
    Scale,
    Tanh,
    functional,
    kernels,
)
from cconv.functional.fused import PreparedConvolution
from cconv.layers.branches import Branches
from cconv.networks import inference


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def layers():
    body = [Convolution(filters=6, size=3, pad=1), BatchNormalization(), Relu(), Convolution(filters=6, size=3, pad=1)]
    return [
        Convolution(filters=6, size=3, pad=1, bias=False),
        BatchNormalization(),
        Relu(),
        Convolution(filters=6, size=3, pad=1, groups=6),
        BatchNormalization(),
        Residual([*body, BatchNormalization()]),
        Relu(),
        Convolution(filters=5, size=1),
        Relu(),
        Pooling(2, 2, stride=2),
        GlobalAveragePooling(),
        Affine(units=4),
        Relu(),
        Affine(units=5, bias=False),
        BatchNormalization(),
        Relu(),
        Affine(units=3),
        BatchNormalization(),
    ]


@pytest.fixture
def network(rng):
    network = Network(layers(), (2, 8, 9), seed=0)
    for name, value in network.state_dict().items():
        value += (rng.uniform(0.1, 1, value.shape) if "var" in name else rng.standard_normal(value.shape)).astype("f4")
    return network


@pytest.fixture
def x(rng):
    return rng.standard_normal((7, 2, 8, 9)).astype(np.float32)


def by_hand(network, x):
    """The scores of the layers, one by one."""
    for layer in copy.deepcopy(network).layers.values():
        x = layer.forward(x, False) if getattr(layer, "takes_train_flg", False) else layer.forward(x)
    return x


def planned(network):
    plans = network._kept_plans()
    return plans[0] if plans else None


def test_scores_have_the_bits_of_the_layers_one_by_one(cpu_level, num_threads, network, x, monkeypatch):
    for size in (1, 10_000, 1 << 30):
        monkeypatch.setattr(inference, "TURN_BYTES", size)
        twin = copy.deepcopy(network)
        assert twin.predict(x).tobytes() == by_hand(network, x).tobytes()
        assert planned(twin) is not None


@pytest.mark.parametrize("shared_work", [1.0, np.inf])
def test_one_image_has_its_bits_on_one_thread_and_on_several(num_threads, shared_work, network, x, monkeypatch):
    monkeypatch.setattr(inference, "SHARED_WORK", shared_work)
    monkeypatch.setattr(kernels.cpu, "threads_for", lambda work: num_threads)
    given = []
    network.predict(x[:1])
    programs = [run for run in planned(network)._runs if isinstance(run, inference.Program)]
    for program in programs:
        run = program._run
        monkeypatch.setattr(program, "_run", lambda *args, run=run: (given.append(args[3]), run(*args)))
    assert network.predict(x[:1]).tobytes() == by_hand(network, x)[:1].tobytes()
    most = num_threads if shared_work == 1.0 else 1
    assert [number for numbers in given for number in numbers] == [most] * sum(len(p._costs) for p in programs)


def moved(network, source, target, last=True):
    """Move the last layer of one stack to the end, or to the beginning, of another."""
    name, layer = source.popitem()
    target["moved"] = layer
    if not last:
        target.move_to_end("moved", last=False)


RESTRUCTURED = {
    "into the block before": lambda n: n.layers["residual1"].branches["body"].update(moved=n.layers.pop("relu1")),
    "from the body to the shortcut": lambda n: moved(n, *n.layers["residual1"].branches.values()),
    "to the beginning of the shortcut": lambda n: moved(n, *n.layers["residual1"].branches.values(), last=False),
    "from branch to branch": lambda n: moved(n, *list(n.layers["concatenate1"].branches.values())[:2], last=False),
    "out of a block inside of a block": lambda n: moved(
        n,
        n.layers["residual1"].branches["body"]["residual1"].branches["body"],
        n.layers["residual1"].branches["body"],
    ),
    "an empty branch more": lambda n: n.layers["concatenate1"].branches.update(more={}),
    "an empty branch less": lambda n: n.layers["concatenate1"].branches.pop("empty"),
}


@pytest.mark.parametrize("change", RESTRUCTURED)
def test_a_layer_that_moves_to_another_stack_is_seen(change, rng):
    def conv():
        return Convolution(filters=4, size=3, pad=1)

    inner = Residual([conv(), BatchNormalization()])
    branches = {"a": [conv(), Relu()], "b": [conv()], "empty": []}
    layers = [
        Residual([conv(), inner], [conv(), Relu()]),
        Relu(),
        Concatenate(*branches.values()),
        GlobalAveragePooling(),
        Affine(units=3),
    ]
    network = Network(layers, (4, 6, 6), seed=0)
    concatenate = network.layers["concatenate1"].branches
    concatenate["empty"] = concatenate.pop(list(concatenate)[-1])
    x = rng.standard_normal((2, 4, 6, 6)).astype(np.float32)
    before = network.predict(x)
    RESTRUCTURED[change](network)
    found = outcome(lambda: network.predict(x))
    assert found == outcome(lambda: by_hand(network, x)) and found != before.tobytes()


IN_PLACE = {
    "pad in a list": ("conv1", "pad", [1, 1], lambda pad: pad.__setitem__(0, 2)),
    "stride in an array": ("conv1", "stride", np.array([1, 1]), lambda stride: stride.fill(2)),
    "dilation in arrays": ("conv1", "dilation", (np.array(1), 1), lambda dilation: dilation[0].fill(2)),
    "a window in an array": ("pool1", "pool_h", np.array(2), lambda size: size.fill(1)),
}


@pytest.mark.parametrize("change", IN_PLACE)
def test_a_setting_that_changes_in_place_is_seen(change, rng):
    layers = [Convolution(filters=4, size=3, pad=1), Relu(), Pooling(2, 2, stride=2), GlobalAveragePooling()]
    network = Network(layers, (4, 9, 9), seed=0)
    x = rng.standard_normal((2, 4, 9, 9)).astype(np.float32)
    layer, setting, value, alter = IN_PLACE[change]
    value = copy.deepcopy(value)
    setattr(network.layers[layer], setting, value)
    before = outcome(lambda: network.predict(x))
    assert before == outcome(lambda: by_hand(network, x))
    alter(value)
    found = outcome(lambda: network.predict(x))
    assert found == outcome(lambda: by_hand(network, x)) and found != before


def test_attributes_that_change_their_names_are_seen(network, x):
    norm = network.layers["norm1"]
    norm.running_var[...] = np.arange(1, 7)
    before = network.predict(x)
    mean, var = norm.running_mean, norm.running_var
    del norm.running_mean, norm.running_var
    norm.running_var, norm.running_mean = mean + 1, var
    network.predict(x)
    mean, var = norm.running_mean, norm.running_var
    del norm.running_mean, norm.running_var
    norm.running_mean, norm.running_var = var, mean
    found = network.predict(x)
    assert found.tobytes() == by_hand(network, x).tobytes() and not np.array_equal(found, before)


def test_a_setting_of_a_class_is_seen(network, x, monkeypatch):
    monkeypatch.setattr(BatchNormalization, "eps", 0.5, raising=False)
    del network.layers["norm1"].eps
    before = network.predict(x)
    monkeypatch.setattr(BatchNormalization, "eps", 5.0)
    found = network.predict(x)
    assert found.tobytes() == by_hand(network, x).tobytes() and not np.array_equal(found, before)


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [("norm1", "eps", -1.0), ("norm1", "eps", "a"), ("norm1", "eps", True), ("pool1", "pool_h", 2.0)],
)
def test_what_a_layer_refuses_a_plan_refuses_as_well(name, setting, value, rng):
    layers = [Convolution(filters=3, size=3), BatchNormalization(), Convolution(filters=3, size=3), Relu()]
    network = Network([*layers, Pooling(2, 2, stride=2), Affine(units=2)], (3, 8, 8), seed=0)
    x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    network.predict(x)
    setattr(network.layers[name], setting, value)
    found = outcome(lambda: network.predict(x))
    assert isinstance(found, str) and found == outcome(lambda: by_hand(network, x))


def test_the_state_of_layers_is_all_that_they_hold():
    class Slots:
        __slots__ = ("scale",)

    class AsItIs:
        forward = staticmethod(lambda x: x)

    inner = Relu()
    layers = {"a": Convolution(filters=2, size=3), "b": Slots(), "c": AsItIs, "d": Residual([("e", inner)])}
    state_of, has_state = kernels.program.state_of, kernels.program.has_state
    state = state_of(layers, Branches)
    assert has_state(layers, Branches, state) and state == state_of(layers, Branches)
    for changed in (
        {**layers, "b": Slots()},
        {key: layers[key] for key in "abc"},
        {**layers, "f": Relu()},
        dict(reversed(layers.items())),
    ):
        assert not has_state(changed, Branches, state)
    inner.anything = 1
    assert not has_state(layers, Branches, state) and not has_state({}, Branches, state)
    layers["d"].branches["body"]["g"] = layers["d"]  # a block in itself
    assert has_state(layers, Branches, state_of(layers, Branches))
    with pytest.raises(AttributeError):
        state_of([inner], Branches)


def test_an_affine_layer_takes_normalization_and_relu_with_it(network, x):
    network.predict(x)
    assert len(planned(network)._runs) == 5  # all convolutions, the average, three affine layers


def test_a_plan_stays_as_long_as_nothing_changes_but_what_arrays_hold(network, x):
    network.predict(x)
    plan = planned(network)
    for array in network.state_dict().values():
        array *= np.float32(1.25)
    np.testing.assert_array_equal(network.predict(x), by_hand(network, x))
    np.testing.assert_array_equal(network.predict(x[:2]), by_hand(network, x[:2]))
    assert planned(network) is plan


CHANGES = {
    "a parameter": lambda network: setattr(network.layers["conv1"], "W", network.layers["conv1"].W * 2),
    "a bias that goes": lambda network: setattr(network.layers["conv2"], "b", None),
    "statistics": lambda network: setattr(network.layers["norm1"], "running_mean", np.full(6, 0.5, np.float32)),
    "statistics of another dtype": lambda network: setattr(network.layers["norm1"], "running_var", np.full(6, 0.5)),
    "statistics in a list": lambda network: setattr(network.layers["norm2"], "running_var", [1.0, 2, 3, 4, 5, 6]),
    "eps": lambda network: setattr(network.layers["norm1"], "eps", 0.5),
    "a setting": lambda network: (
        setattr(network.layers["conv1"], "dilation", 2) or setattr(network.layers["conv1"], "pad", 2)
    ),
    "an algorithm": lambda network: setattr(network.layers["conv1"], "algorithm", "im2col"),
    "statistics after an affine layer": lambda network: setattr(
        network.layers["norm3"], "running_var", np.full(5, 0.5, np.float32)
    ),
    "a gamma of another dtype after an affine layer": lambda network: setattr(
        network.layers["norm3"], "gamma", np.full(5, 0.3)
    ),
    "weights of another dtype before normalization": lambda network: setattr(
        network.layers["affine2"], "W", network.layers["affine2"].W.astype(float)
    ),
    "a bias before normalization": lambda network: setattr(network.layers["affine3"], "b", np.full(3, 0.5, np.float32)),
    "a normalization that goes": lambda network: network.layers.pop("norm4"),
    "a layer": lambda network: network.layers.update(relu1=Tanh()),
    "a layer inside of a block": lambda network: network.layers["residual1"].body.update(relu1=Tanh()),
    "a layer that goes": lambda network: network.layers.pop("relu1"),
    "another order": lambda network: network.layers.move_to_end("relu2", last=False),
    "a weight that is not finite": lambda network: network.layers["conv1"].W.__setitem__((0, 0, 0, 0), np.inf),
    "a step of training": lambda network: network.gradient(np.ones((4, 2, 8, 9), np.float32), np.arange(4) % 3),
}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_is_honoured_at_the_next_call(change, network, x):
    before = network.predict(x)
    CHANGES[change](network)
    after = network.predict(x)
    np.testing.assert_array_equal(after, by_hand(network, x))
    assert before.tobytes() != after.tobytes() or change == "an algorithm"
    assert network.predict(x).tobytes() == after.tobytes()


class Shifted(Relu):
    def forward(self, x):
        return super().forward(x) + 1


def override(network, monkeypatch):
    monkeypatch.setattr(network.layers["relu1"], "forward", Shifted().forward, raising=False)


def override_the_class(network, monkeypatch):
    monkeypatch.setattr(Relu, "forward", lambda self, x: functional.relu(x) + 1)


def replace(network, monkeypatch):
    network.layers["relu1"] = Shifted()


@pytest.mark.parametrize("change", [override, override_the_class, replace])
def test_layers_that_are_not_what_they_were_run_one_by_one_on_whole_batches(change, network, x, monkeypatch):
    network.predict(x)
    change(network, monkeypatch)
    sizes = []
    forward = type(network.layers["affine1"]).forward
    monkeypatch.setattr(Affine, "forward", lambda self, x: sizes.append(len(x)) or forward(self, x))
    scores = network.predict(x)
    assert planned(network) is None and set(sizes) == {len(x)}
    np.testing.assert_array_equal(scores, by_hand(network, x))


@pytest.mark.parametrize("where", ["object", "class"])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", [Residual, Concatenate])
def test_a_block_that_joins_in_its_own_way_is_run_so(kind, norm, where, rng, monkeypatch):
    body = [Convolution(filters=3, size=1), *([BatchNormalization()] if norm else [])]
    network = Network([("Block", kind(body, [])), Affine(units=2)], (3, 5, 5), seed=0)
    x = rng.standard_normal((4, 3, 5, 5)).astype(np.float32)
    before = network.predict(x)
    original, seen = kind.join, []

    def changed(self, outs):
        seen.append(outs)
        return 100 * original(self, outs)

    if where == "class":
        monkeypatch.setattr(kind, "join", changed)
    else:
        network.layers["Block"].join = changed.__get__(network.layers["Block"])
    scores = network.predict(x)
    assert not np.allclose(scores, before)
    assert len(seen) == 1 and len(seen[0][0]) == len(x)
    np.testing.assert_array_equal(scores, by_hand(network, x))


@pytest.mark.parametrize("layer", [Flatten, lambda: Reshape((12,)), lambda: Dropout(0.5), lambda: Residual([])])
def test_scores_share_no_memory_with_the_images(layer, rng):
    network = Network([layer()], (2, 2, 3), seed=0)
    x = rng.standard_normal((4, 2, 2, 3)).astype(np.float32)
    assert not np.shares_memory(network.predict(x), x)


def test_what_comes_before_and_between_is_planned_too(rng):
    inner = [Convolution(filters=3, size=1), BatchNormalization(), Relu()]
    stack = [
        Scale(),
        Dropout(0.5),
        Concatenate(inner, []),
        Convolution(filters=4, size=3),
        Relu(),
        Flatten(),
        Affine(units=2),
    ]
    network = Network(stack, (2, 6, 5), seed=0)
    x = rng.integers(0, 256, (9, 2, 6, 5)).astype(np.uint8)
    np.testing.assert_array_equal(network.predict(x), by_hand(network, x))
    assert planned(network) is not None


def test_a_plan_goes_into_no_copy_and_no_pickle_and_ends_with_its_network(network, x):
    network.predict(x)
    assert planned(copy.copy(network)) is planned(copy.deepcopy(network)) is None
    assert planned(pickle.loads(pickle.dumps(network))) is None
    twin = copy.deepcopy(network)
    twin.layers["relu1"].owner = twin  # a circle
    twin.predict(x)
    gone = weakref.ref(twin)
    del twin
    gc.collect()
    assert gone() is None


def test_several_threads_may_predict_with_one_network(network, x):
    with ThreadPoolExecutor(4) as pool:
        scores = set(pool.map(lambda _: network.predict(x).tobytes(), range(80)))
    assert scores == {by_hand(network, x).tobytes()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_door_has_the_bits_of_the_operations_one_by_one(dtype, cpu_level, num_threads, rng):
    for shape, filters, groups in (((3, 4, 9, 17), (20, 4, 3, 3), 1), ((2, 5, 7, 3), (5, 1, 3, 3), 5)):
        x, W = rng.standard_normal(shape).astype(dtype), rng.standard_normal(filters).astype(dtype)
        gamma, beta, mean = rng.standard_normal((3, len(W))).astype(dtype)
        var = rng.uniform(0.1, 2, len(W))
        x[0, 0, 0, 0], gamma[1] = np.nan, 1e-40
        settings = {"pad": 1, "stride": (1, 2), "groups": groups}
        out = functional.convolution(x, W, **settings)
        out = functional.batch_normalization(out, gamma, beta, mean, var)
        branch = rng.standard_normal(out.shape).astype(dtype)
        branch[-1] = 1e-42  # a denormal number of float32
        expected = functional.relu(functional.add(out, branch))
        got = functional.convolution_batch_normalization(
            x, W, None, gamma, beta, mean, var, branch=branch, relu=True, **settings
        )
        assert got.tobytes() == expected.tobytes()


ODD = {
    "a shape": lambda array: setattr(array, "shape", array.shape[::-1]),
    "a shape with a dimension more": lambda array: setattr(array, "shape", (*array.shape, 1)),
    "a smaller size": lambda array: array.resize((1, *array.shape[1:]), refcheck=False),
    "a dtype": lambda array: setattr(array, "dtype", "i4"),
    "an order of bytes": lambda array: setattr(array, "dtype", ">f4"),
}


def outcome(action):
    try:
        return action().tobytes()
    except (TypeError, ValueError) as error:
        return str(error)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("change", ODD)
@pytest.mark.parametrize(
    "name",
    ["conv1.W", "conv1.b", "norm1.gamma", "norm1.beta", "norm1.running_mean", "norm1.running_var", "affine1.W",
     "affine1.b", "norm2.gamma", "norm2.beta", "norm2.running_var", "conv2.b"],
)  # fmt: skip
def test_an_array_that_is_made_another_in_its_place_gives_what_it_gives_by_hand(name, change, rng):
    layers = [
        Convolution(filters=3, size=(2, 3), pad=1),
        BatchNormalization(),
        Relu(),
        Convolution(filters=3, size=(3, 2), pad=1),
        GlobalAveragePooling(),
        Affine(units=3),
        BatchNormalization(),
    ]
    network = Network(layers, (3, 6, 6), seed=0)
    x = rng.standard_normal((2, 3, 6, 6)).astype(np.float32)
    network.predict(x)
    layer, _, attribute = name.partition(".")
    ODD[change](getattr(network.layers[layer], attribute))
    for _ in range(2):
        found = outcome(lambda: network.predict(x))
        assert found == outcome(lambda: by_hand(network, x))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 1), (4,), (64,)])
@pytest.mark.parametrize("name", ["conv1.b", "norm1.gamma", "norm1.beta", "norm2.gamma", "norm2.beta"])
def test_an_array_of_another_shape_is_refused_as_by_hand(name, shape, rng):
    layers = [Convolution(filters=3, size=3), BatchNormalization(), Relu(), GlobalAveragePooling()]
    network = Network([*layers, Affine(units=3), BatchNormalization()], (3, 6, 6), seed=0)
    x = rng.standard_normal((2, 3, 6, 6)).astype(np.float32)
    network.predict(x)
    layer, _, attribute = name.partition(".")
    setattr(network.layers[layer], attribute, np.ones(shape, np.float32))
    assert outcome(lambda: network.predict(x)) == outcome(lambda: by_hand(network, x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "filters", "settings"),
    [
        ((20, 9, 9), (67, 20, 3, 3), {"pad": 1}),  # several blocks of vectors, the last one not full
        ((3, 9, 9), (1, 3, 3, 3), {}),
        ((33, 5, 5), (9, 33, 1, 1), {}),
        ((6, 9, 8), (10, 3, 3, 5), {"groups": 2, "pad": 2}),
        ((4, 11, 9), (18, 4, 3, 3), {"stride": 2, "pad": 1}),
        ((5, 11, 9), (7, 5, 2, 3), {"dilation": 2}),
        ((3, 12, 12), (30, 3, 5, 5), {"pooled": True}),
        ((4, 9, 9), (4, 1, 3, 3), {"groups": 4, "pad": 1}),
    ],
)
def test_each_weight_that_changes_in_place_is_seen(shape, filters, settings, dtype, cpu_level, num_threads, rng):
    x = rng.standard_normal((2, *shape)).astype(dtype)
    W, b = rng.standard_normal(filters).astype(dtype), rng.standard_normal(filters[0]).astype(dtype)
    prepared = PreparedConvolution(shape, W, b, **settings)
    call = np.array([prepared.run.call], np.uintp)

    def changed():
        return kernels.program.changed(call, num_threads)

    def expected():
        others = {name: value for name, value in settings.items() if name != "pooled"}
        if prepared.pooled:
            return functional.convolution_relu_max_pool(x, W, b, **others)
        return functional.convolution(x, W, b, **others)

    assert prepared(x).tobytes() == expected().tobytes()
    assert changed() == []
    places = [np.unravel_index(i, W.shape) for i in {0, W.size - 1, *rng.integers(W.size, size=30).tolist()}]
    for n, place in enumerate(places):
        W[place] = -W[place] if n % 2 else np.nextafter(W[place], W.dtype.type(9))
        if prepared(x).tobytes() != expected().tobytes():  # else the kernel reads the filters where they are
            assert changed() == [0]
        assert not changed() or prepared.refresh()
        assert changed() == []
        assert prepared(x).tobytes() == expected().tobytes()
    b[-1] += 1
    assert not changed() or prepared.refresh()
    assert prepared(x).tobytes() == expected().tobytes()


@pytest.mark.parametrize("groups", [1, 4])
def test_a_weight_that_is_not_finite_any_more_needs_another_plan(groups, cpu_level, rng):
    W = rng.standard_normal((4, 4 // groups, 3, 3)).astype(np.float32)
    prepared = PreparedConvolution((4, 7, 7), W, None, pad=1, groups=groups)
    call = np.array([prepared.run.call], np.uintp)
    W[1, 0, 2, 2] = np.inf
    assert kernels.program.changed(call, 1) == [0]
    assert not prepared.refresh()
    W[1, 0, 2, 2] = 0.5
    prepared.refresh()
    assert kernels.program.changed(call, 1) == []


def test_the_door_refuses_what_does_not_fit():
    x, W, one = np.ones((1, 1, 3, 3)), np.ones((2, 1, 2, 2)), np.ones(2)
    call = functional.convolution_batch_normalization
    with pytest.raises(ValueError, match=r"gamma must have one value for each of the 2 filters, got shape \(3,\)"):
        call(x, W, None, np.ones(3), one, one, one)
    with pytest.raises(ValueError, match=r"var must have shape \(2,\), got \(1,\)"):
        call(x, W, None, one, one, one, np.ones(1))
    with pytest.raises(ValueError, match=r"branch must have the output's shape \(1, 2, 2, 2\), got \(1, 2, 1, 1\)"):
        call(x, W, None, one, one, one, one, branch=np.ones((1, 2, 1, 1)))
    with pytest.raises(ValueError, match="eps must be"):
        call(x, W, None, one, one, one, one, eps=0)
    with pytest.raises(TypeError, match="relu must be"):
        call(x, W, None, one, one, one, one, relu="yes")
