"""Dropout: the generator against its definition, the statistics of masks, and the layer's state."""

import copy
import pickle

import numpy as np
import oracles
import pytest

from cconv import SGD, Affine, DeepConvNet, Dropout, Network, Relu, Trainer, functional, kernels

DTYPES = [np.float32, np.float64]


# ---- the operation


def test_the_oracle_is_philox():
    # The known answers that come with the generator's reference implementation.
    assert oracles.philox((0,) * 4, (0,) * 2) == (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)
    ones = 2**32 - 1
    assert oracles.philox((ones,) * 4, (ones,) * 2) == (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize(("key", "draw"), [(0, 0), (2**64 - 1, 2**64 - 1), (123456789 << 24, 3)])
def test_dropout_is_the_generators(cpu_level, num_threads, size, key, draw, dtype):
    x = np.random.default_rng(0).standard_normal(size).astype(dtype)
    out = functional.dropout(x, 0.3, key=key, draw=draw, scale=1.5)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, np.where(oracles.dropout_mask(size, 0.3, key, draw), x * dtype(1.5), 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 7, 6), (40, 33, 2, 3), (2, 3, 0, 4)])
def test_spatial_dropout_drops_whole_channels(cpu_level, num_threads, shape, dtype):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    mask = oracles.dropout_mask(shape[0] * shape[1], 0.3, 5, 6).reshape(*shape[:2], 1, 1)
    np.testing.assert_array_equal(functional.dropout(x, 0.3, key=5, draw=6, spatial=True), np.where(mask, x, 0))


def test_same_bits_on_any_number_of_threads(cpu_level):
    x = np.random.default_rng(0).standard_normal(100_003).astype(np.float32)
    results = [np.empty_like(x) for _ in range(8)]
    for threads, out in enumerate(results, 1):
        kernels.elementwise.dropout(x, out, 1, 12, 34, 2**31, 1.0, threads)
        np.testing.assert_array_equal(out, results[0])


def test_a_mask_of_a_longer_array_begins_with_that_of_a_shorter_one(cpu_level):
    x = np.ones(1000)
    np.testing.assert_array_equal(functional.dropout(x, key=1)[:777], functional.dropout(x[:777], key=1))


@pytest.mark.parametrize("ratio", [0.01, 0.25, 0.5, 0.9])
def test_the_share_that_is_dropped(ratio):
    size = 400_000
    masks = np.array([functional.dropout(np.ones(size, np.float32), ratio, key=7, draw=draw) for draw in range(3)])
    deviation = np.sqrt(ratio * (1 - ratio) / size)
    assert (abs(masks.mean(axis=1) - (1 - ratio)) < 5 * deviation).all()
    # Neither masks of one key nor values that lie 1, 16 or 64 apart have anything to do with each other.
    centred = (masks - (1 - ratio)) / np.sqrt(ratio * (1 - ratio))
    bound = 5 / np.sqrt(size)
    assert abs((centred[0] * centred[1]).mean()) < bound
    assert abs((centred[1] * centred[2]).mean()) < bound
    for distance in (1, 2, 16, 64):
        assert abs((centred[0, distance:] * centred[0, :-distance]).mean()) < bound


def test_ratios_at_the_ends():
    x = np.random.default_rng(0).standard_normal(1000)
    np.testing.assert_array_equal(functional.dropout(x, 0.0), x)
    assert not functional.dropout(x, np.nextafter(1, 0)).any()


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: np.repeat(a, 2, 1)[:, ::2], lambda a: a.astype(">f8")])
def test_any_layout(layout):
    x = np.random.default_rng(0).standard_normal((6, 4, 5, 3))
    other = layout(x)
    other.flags.writeable = False
    for spatial in (False, True):
        np.testing.assert_array_equal(
            functional.dropout(other, 0.4, key=3, spatial=spatial), functional.dropout(x, 0.4, key=3, spatial=spatial)
        )


def test_nan_passes_and_empty_arrays_stay_empty():
    x = np.full(200, np.nan)
    assert np.isnan(functional.dropout(x)).all()
    assert functional.dropout(np.empty((0, 3, 4, 4), np.float32), spatial=True).shape == (0, 3, 4, 4)
    assert functional.dropout(np.array(2.0), 0.0) == 2


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda x: functional.dropout(x, 1.0), ValueError, "dropout_ratio must be at least 0 and below 1, got 1.0"),
        (lambda x: functional.dropout(x, np.nan), ValueError, "dropout_ratio must be"),
        (lambda x: functional.dropout(x, "half"), TypeError, "dropout_ratio must be a number, got 'half'"),
        (lambda x: functional.dropout(x, key=-1), ValueError, "key must be at least 0, got -1"),
        (lambda x: functional.dropout(x, draw=2**64), ValueError, r"draw must be below 2\*\*64"),
        (lambda x: functional.dropout(x, key=0.5), TypeError, "key must be an integer, got 0.5"),
        (lambda x: functional.dropout(x, scale=np.inf), ValueError, "scale must be a finite number"),
        (lambda x: functional.dropout(x, spatial=True), ValueError, "x must have 4 dimensions, got 1"),
        (lambda x: functional.dropout(x.astype(int)), TypeError, "x must be float32 or float64, got int64"),
        (lambda x: Dropout(-0.1), ValueError, "dropout_ratio must be at least 0 and below 1, got -0.1"),
        (lambda x: Dropout("half"), TypeError, "dropout_ratio must be a number, got 'half'"),
        (lambda x: Dropout(rng=np.random.default_rng(1), seed=1), ValueError, "give rng or seed, not both"),
        (lambda x: Dropout(spatial=True).build((4,), None, None), ValueError, r"expects images .* gets \(4,\)"),
    ],
)
def test_arguments_that_do_not_fit(act, error, words):
    with pytest.raises(error, match=words):
        act(np.ones(4))


# ---- the layer


def test_the_chapters_scales_at_evaluation():
    layer, x = Dropout(0.3, seed=0), np.ones((200, 500), np.float32)
    out = layer.forward(x)
    assert set(np.unique(out)) == {0, 1}
    assert abs((out == 0).mean() - 0.3) < 0.01
    np.testing.assert_array_equal(layer.backward(x), out)
    np.testing.assert_array_equal(layer.forward(x, train_flg=False), np.float32(0.7))
    np.testing.assert_array_equal(layer.backward(x), np.float32(0.7))
    np.testing.assert_array_equal(Dropout(0.0).forward(x), x)


def test_inverted_scales_in_training():
    layer, x = Dropout(0.2, inverted=True, seed=0), np.ones((200, 500))
    out = layer.forward(x)
    np.testing.assert_array_equal(np.unique(out), [0, 1.25])
    np.testing.assert_array_equal(layer.backward(x), out)
    np.testing.assert_array_equal(layer.forward(x, train_flg=False), x)
    np.testing.assert_array_equal(layer.backward(x), x)
    plain = Dropout(0.2, seed=0).forward(x)
    np.testing.assert_array_equal(plain * 1.25, out)


def test_what_fails_draws_nothing():
    layer = Dropout(spatial=True, seed=1)
    before = layer.random_state
    with pytest.raises(ValueError, match="x must have 4 dimensions"):
        layer.forward(np.ones((2, 3)))
    layer.forward(np.ones((2, 3, 4, 4)), train_flg=False)
    np.testing.assert_array_equal(layer.random_state, before)


def test_the_seed_decides():
    x = np.ones((20, 30))
    masks = [Dropout(0.5, seed=seed).forward(x) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()
    np.testing.assert_array_equal(Dropout(rng=np.random.default_rng(1)).forward(x), masks[0])
    layer = Dropout(seed=1)
    assert (layer.forward(x) != layer.forward(x)).any()
    rng = np.random.default_rng(1)
    assert (Dropout(rng=rng).forward(x) != Dropout(rng=rng).forward(x)).any()


def test_random_seed_makes_what_has_no_seed_repeatable():
    x, masks = np.ones((20, 30)), []
    for _ in range(2):
        np.random.seed(3)
        masks.append(Dropout().forward(x))
    np.testing.assert_array_equal(*masks)
    assert (Dropout().forward(x) != masks[0]).any()


def test_a_networks_seed_is_the_seed_of_layers_without_one():
    def states(seed):
        network = Network([Dropout(), Affine(units=3), Dropout(), Dropout(seed=5)], (4,), seed=seed)
        return np.array([layer.random_state for layer in network.layers.values() if isinstance(layer, Dropout)])

    first, second = states(1), states(2)
    np.testing.assert_array_equal(first, states(1))
    assert len(np.unique(first[:, 0])) == 3
    assert (first[:2, 0] != second[:2, 0]).all()
    np.testing.assert_array_equal(first[2], second[2])


def test_a_layer_that_was_built_keeps_its_seed():
    layer = Dropout()
    layer.build((4,), np.random.default_rng(0), np.float32)
    before = layer.random_state
    layer.build((4,), np.random.default_rng(1), np.float32)
    np.testing.assert_array_equal(layer.random_state, before)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_goes_on_where_the_original_is(duplicate):
    layer, x = Dropout(seed=1), np.ones(500)
    layer.forward(x)
    twin = duplicate(layer)
    expected = [layer.forward(x) for _ in range(3)]
    for mask in expected:
        np.testing.assert_array_equal(twin.forward(x), mask)


@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_goes_back_through_the_mask_of_its_forward(dtype):
    layer, x = Dropout(0.4, inverted=True, spatial=True, seed=1), np.ones((5, 6, 2, 3), dtype)
    for _ in range(3):
        out = layer.forward(x)
        layer.random_state[1] += 1  # what happens to the layer later does not matter
        np.testing.assert_array_equal(layer.backward(x), out)


# ---- files


def network(seed):
    layers = [Affine(units=20), Relu(), Dropout(0.5), Affine(units=10), Dropout(0.2, inverted=True)]
    return Network(layers, (6,), seed=seed)


def train(net, steps):
    optimizer = SGD(0.05)
    for step in steps:
        rng = np.random.default_rng(step)
        optimizer.update(net.params, net.gradient(rng.standard_normal((8, 6)), rng.integers(0, 10, 8)))


def test_a_training_that_is_taken_up_again_is_the_one_that_went_on(tmp_path):
    whole, first, second = network(0), network(0), network(1)
    train(whole, range(10))
    train(first, range(6))
    first.save_params(tmp_path / "p")
    second.load_params(tmp_path / "p")
    train(second, range(6, 10))
    for name, value in whole.params.items():
        np.testing.assert_array_equal(second.params[name], value)
    np.testing.assert_array_equal(second.layers["dropout1"].random_state, whole.layers["dropout1"].random_state)


def test_a_checkpoint_is_one_too(tmp_path):
    rng = np.random.default_rng(0)
    data = (rng.standard_normal((40, 6)), rng.integers(0, 10, 40)) * 2

    def trainer(seed, epochs):
        return Trainer(network(seed), *data, epochs, 8, "Adam", verbose=False, seed=seed)

    whole, first, second = trainer(0, 3), trainer(0, 2), trainer(1, 3)
    whole.train()
    first.train()
    first.save_checkpoint(tmp_path / "c")
    second.load_checkpoint(tmp_path / "c")
    second.train()
    assert second.train_loss_list == whole.train_loss_list


def test_a_state_of_another_kind_is_refused_and_changes_nothing(tmp_path):
    net = network(0)
    net.layers["dropout1"].random_state = np.zeros(2)
    net.save_params(tmp_path / "p")
    other = network(1)
    before = {name: value.copy() for name, value in other.params.items()}
    with pytest.raises(
        ValueError, match=r"dropout1.random_state must have shape \(2,\) and hold uint64, got .*float64"
    ):
        other.load_params(tmp_path / "p")
    for name, value in other.params.items():
        np.testing.assert_array_equal(value, before[name])


def test_deep_conv_net_is_repeatable():
    x, t = np.random.default_rng(0).random((4, 1, 28, 28), np.float32), np.arange(4)
    nets = [DeepConvNet(seed=seed) for seed in (3, 3, 4)]
    grads = [net.gradient(x, t) for net in nets]
    for name, value in grads[0].items():
        np.testing.assert_array_equal(grads[1][name], value)
    again = nets[0].gradient(x, t)
    assert (again["W8"] != grads[0]["W8"]).any()
    seeds = [net.layers["dropout1"].random_state[0] for net in nets]
    assert seeds[0] == seeds[1] != seeds[2]
