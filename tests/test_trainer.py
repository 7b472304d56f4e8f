"""The trainer: what it records, in which order it sees the data, and what it asks of a network."""

import copy
import functools
import io
import json
import os
import sys
from functools import partial

import numpy as np
import pytest
import safetensors.numpy

from cconv import (
    SGD,
    Adam,
    AdamW,
    Affine,
    BatchNormalization,
    ExponentialMovingAverage,
    Huber,
    MeanSquaredError,
    Network,
    OneCycle,
    ReduceOnPlateau,
    Relu,
    SimpleConvNet,
    Trainer,
)


class Counter:
    """A network of one parameter that remembers which samples it saw."""

    def __init__(self):
        self.params = {"w": np.zeros(1)}
        self.batches = []
        self.sizes = []

    def gradient(self, x, t):
        self.batches.append(x.ravel().tolist())
        return {"w": np.ones(1)}

    def loss(self, x, t):
        return float(len(self.batches))

    def accuracy(self, x, t):
        self.sizes.append(len(x))
        return 0.5


def trainer(network=None, samples=25, **options):
    x, t = np.arange(samples, dtype=float)[:, None], np.zeros(samples, int)
    options = {"epochs": 3, "mini_batch_size": 10, "verbose": False, "seed": 0} | options
    return Trainer(network or Counter(), x, t, x[:7], t[:7], **options)


def test_an_epoch_is_one_shuffled_pass():
    run = trainer()
    run.train()
    assert (run.iter_per_epoch, run.max_iter, run.current_iter, run.current_epoch) == (3, 9, 9, 3)
    assert run.train_loss_list == [float(n) for n in range(1, 10)]
    assert run.train_acc_list == run.test_acc_list == [0.5] * 3
    orders = []
    for epoch in range(3):
        batches = run.network.batches[3 * epoch : 3 * epoch + 3]
        assert [len(batch) for batch in batches] == [10, 10, 5]
        orders.append(sum(batches, []))
        assert sorted(orders[-1]) == list(range(25))
    assert orders[0] != orders[1] != sorted(orders[1])


def test_the_order_is_repeatable():
    runs = [trainer(seed=seed) for seed in (1, 1, 2)]
    for run in runs:
        run.train()
    assert runs[0].network.batches == runs[1].network.batches != runs[2].network.batches


def test_single_steps_and_what_is_left_of_training():
    run = trainer()
    run.train_step()
    assert run.current_iter == 1 and not run.train_acc_list
    run.train()
    assert run.current_iter == 9 and len(run.test_acc_list) == 3
    run.train()
    assert run.current_iter == 9


def test_accuracy_on_part_of_the_data():
    run = trainer(evaluate_sample_num_per_epoch=5, epochs=1)
    run.train()
    assert run.network.sizes == [5, 5]


@pytest.mark.parametrize(
    "name", ["SGD", "sgd", "Momentum", "NESTEROV", "AdaGrad", "rmsprop", "RMSprop", "AdamW", "LION"]
)
def test_optimizers_by_name(name):
    assert type(trainer(optimizer=name).optimizer).__name__.lower() == name.lower()


def test_an_optimizers_own_defaults_hold():
    assert trainer(optimizer="adam").optimizer.lr == Adam().lr == 0.001
    assert trainer(optimizer="Adam", optimizer_param={"beta1": 0.8}).optimizer.lr == 0.001
    assert trainer(optimizer_param={"lr": 0.5}).optimizer.lr == 0.5
    assert trainer().optimizer.lr == SGD().lr == 0.01


def test_the_loss_comes_from_the_last_layer():
    rng = np.random.default_rng(0)
    x, t = rng.random((20, 1, 8, 8), np.float32), rng.integers(0, 3, 20)
    network = SimpleConvNet((1, 8, 8), {"filter_num": 2, "filter_size": 3}, 4, 3, seed=0)
    network.loss = None  # a second forward pass would call it
    run = Trainer(network, x, t, x, t, epochs=1, mini_batch_size=20, verbose=False, seed=0)
    expected = SimpleConvNet((1, 8, 8), {"filter_num": 2, "filter_size": 3}, 4, 3, seed=0).loss(x, t)
    run.train()
    assert run.train_loss_list == [pytest.approx(expected, rel=1e-6)]


def test_verbose_prints_each_epoch_and_the_end(capsys):
    trainer(verbose=True, epochs=2).train()
    lines = capsys.readouterr()
    assert lines.err == ""
    assert [line.split(":")[0] for line in lines.out.splitlines()[:2]] == ["epoch 1/2", "epoch 2/2"]
    assert "test accuracy 0.5000" in lines.out.splitlines()[-1]
    trainer(verbose=False).train()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adamant"}, "optimizer must be one of SGD"),
        ({"mini_batch_size": 0}, "mini_batch_size must be at least 1"),
        ({"epochs": -1}, "epochs must be at least 0"),
        ({"rng": np.random.default_rng(0)}, "rng or seed"),
        ({"samples": 0}, "at least one sample"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        trainer(**options)


def test_samples_and_labels_must_agree():
    with pytest.raises(ValueError, match="x_test and t_test must have as many samples"):
        Trainer(Counter(), np.zeros((3, 1)), np.zeros(3), np.zeros((3, 1)), np.zeros(2))


def test_a_terminal_gets_a_progress_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(sys, "stdout", Terminal())
    trainer(verbose=False).train()
    assert sys.stderr.getvalue() == ""
    trainer(verbose=True, epochs=2).train()
    assert "/6 [" in sys.stderr.getvalue()
    assert [line for line in sys.stdout.getvalue().splitlines() if line.startswith("epoch 2/2: loss 4.8000")]


def test_the_random_order_follows_numpys_seed():
    orders = []
    for _ in range(2):
        np.random.seed(4)
        run = trainer(seed=None)
        run.train()
        orders.append(run.network.batches)
    assert orders[0] == orders[1]


def test_a_network_without_last_layer_is_asked_for_its_loss_before_the_update():
    class Follower(Counter):
        def loss(self, x, t):
            return float(self.params["w"][0])

    run = trainer(Follower(), optimizer="sgd", optimizer_param={"lr": 1.0}, epochs=1)
    run.train()
    assert run.train_loss_list == [0.0, -1.0, -2.0]


def test_one_hot_labels_and_lists():
    rng = np.random.default_rng(0)
    x, t = rng.random((30, 1, 8, 8), np.float32), rng.integers(0, 3, 30)
    runs = []
    for labels in (t, np.eye(3)[t], t.tolist(), t[:, None]):
        network = SimpleConvNet((1, 8, 8), {"filter_num": 2, "filter_size": 3}, 4, 3, weight_init_std="he", seed=0)
        run = Trainer(
            network, x, labels, x, labels, epochs=2, mini_batch_size=7, optimizer="adam", verbose=False, seed=0
        )
        run.train()
        runs.append((run.train_loss_list, run.train_acc_list))
    for losses, accuracies in runs[1:]:
        assert losses == pytest.approx(runs[0][0], rel=1e-5)
        assert accuracies == runs[0][1]


@pytest.mark.parametrize("batch", [1, 7, 10, 29, 30, 31, 1000])
def test_every_batch_size_gives_whole_epochs(batch):
    run = trainer(samples=30, mini_batch_size=batch, epochs=2)
    run.train()
    assert len(run.train_loss_list) == run.max_iter == run.current_iter == 2 * -(-30 // batch)
    assert len(run.train_acc_list) == len(run.test_acc_list) == run.current_epoch == 2
    assert sorted(sum(run.network.batches, [])) == sorted(2 * list(range(30)))


def test_an_optimizer_that_is_made_already():
    optimizer = AdamW(0.5)
    assert trainer(optimizer=optimizer).optimizer is optimizer
    with pytest.raises(ValueError, match="optimizer_param must be None"):
        trainer(optimizer=optimizer, optimizer_param={"lr": 0.1})


@pytest.mark.parametrize("loss", [MeanSquaredError, Huber])
def test_a_regression_records_losses_only(loss, capsys):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 3))
    t = x @ [1.0, -2.0, 0.5] + 1
    network = Network([Affine(units=1)], (3,), dtype="float64", seed=0, last_layer=loss())
    run = Trainer(network, x, t, x, t, epochs=20, mini_batch_size=10, optimizer="Adam", optimizer_param={"lr": 0.1})
    run.train()
    assert network.loss(x, t) < 0.01 < run.train_loss_list[0]
    assert run.train_acc_list == run.test_acc_list == []
    assert capsys.readouterr().out.splitlines()[0] == f"epoch 1/20: loss {np.mean(run.train_loss_list[:5]):.4f}"


def small(seed=0, units=5, dtype="float32"):
    layers = [Affine(units=units), BatchNormalization(), Relu(), Affine(units=3)]
    return Network(layers, (4,), seed=seed, dtype=dtype)


def resumable(network=None, samples=23, batch=5, **options):
    rng = np.random.default_rng(5)
    x, t = rng.standard_normal((samples, 4)).astype(np.float32), rng.integers(0, 3, samples)
    options = {"epochs": 4, "optimizer": "Adam", "verbose": False, "seed": 0} | options
    return Trainer(network or small(), x, t, x[:9], t[:9], mini_batch_size=batch, **options)


def assert_same_training(one, other):
    for name, value in one.network.state_dict().items():
        np.testing.assert_array_equal(value, other.network.state_dict()[name], err_msg=name)
    np.testing.assert_equal(one.optimizer.state_dict(), other.optimizer.state_dict())
    for name in ("train_loss_list", "train_acc_list", "test_acc_list", "current_iter", "current_epoch"):
        assert getattr(one, name) == getattr(other, name), name
    np.testing.assert_equal(one.rng.bit_generator.state, other.rng.bit_generator.state)
    if one.average is not None:
        np.testing.assert_equal(one.average.state_dict(), other.average.state_dict())


SETTINGS = [
    {"optimizer": "SGD"},
    {"optimizer": "Nesterov", "average": 0.9},
    {"optimizer": "Adam", "optimizer_param": {"amsgrad": True, "clip_norm": 1.0}},
    {"optimizer": "AdamW", "optimizer_param": {"weight_decay": 0.1}},
    {"optimizer": "Lion", "schedule": lambda o: OneCycle(o, 0.01, 20, momentum=(0.8, 0.9))},
    {"optimizer": "Momentum", "schedule": lambda o: ReduceOnPlateau(o, 0.5, 0)},
]


@pytest.mark.parametrize("options", SETTINGS, ids=lambda options: options["optimizer"])
@pytest.mark.parametrize("steps", [0, 1, 5, 7, 13])
def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(tmp_path, options, steps):
    whole = resumable(**options)
    for _ in range(steps):
        whole.train_step()
    whole.save_checkpoint(tmp_path / "checkpoint")
    resumed = resumable(small(seed=1), seed=9, **options)
    for _ in range(3):
        resumed.train_step()
    arrays = dict(resumed.network.params)
    resumed.load_checkpoint(tmp_path / "checkpoint")
    assert_same_training(whole, resumed)
    whole.train()
    resumed.train()
    assert_same_training(whole, resumed)
    assert resumed.current_iter == 20 and len(resumed.test_acc_list) == 4
    assert all(resumed.network.params[name] is value for name, value in arrays.items())


@pytest.mark.parametrize("kind", [np.random.MT19937, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64])
def test_any_random_generator(tmp_path, kind):
    whole, resumed = (resumable(seed=None, rng=np.random.Generator(kind(seed))) for seed in (1, 2))
    generator = resumed.rng
    for _ in range(7):
        whole.train_step()
    whole.save_checkpoint(tmp_path / "checkpoint")
    resumed.load_checkpoint(tmp_path / "checkpoint")
    assert resumed.rng is generator
    whole.train()
    resumed.train()
    assert whole.train_loss_list == resumed.train_loss_list


def test_accuracy_is_that_of_the_average():
    run = resumable(average=0.9)
    plain = resumable()
    run.train()
    plain.train()
    assert run.train_loss_list == plain.train_loss_list
    for name, value in plain.network.params.items():
        np.testing.assert_array_equal(run.network.params[name], value)
    with run.average.swapped():
        assert run.network.accuracy(run.x_train, run.t_train) == run.train_acc_list[-1]
        assert run.network.accuracy(run.x_test, run.t_test) == run.test_acc_list[-1]
    assert not np.array_equal(run.average.averages["W1"], run.network.params["W1"])


def test_an_average_is_of_the_networks_own_parameters():
    network = small()
    average = ExponentialMovingAverage(network.params)
    assert resumable(network, average=average).average is average
    with pytest.raises(ValueError, match="average must be of this network's parameters, got one with W$"):
        resumable(average=ExponentialMovingAverage({"W": np.ones(2)}))
    with pytest.raises(ValueError, match="decay must be at least 0 and below 1, got 1"):
        resumable(average=1)


def test_training_on_for_more_epochs_in_another_object(tmp_path):
    class Plain:
        """Nothing but what a trainer asks for."""

        def __init__(self):
            self.params = {"w": np.ones(2)}

        def gradient(self, x, t):
            return {"w": self.params["w"] * x.mean()}

        def loss(self, x, t):
            return float(self.params["w"].sum())

        def accuracy(self, x, t):
            return 0.5

    first, second, whole = (trainer(Plain(), epochs=epochs, optimizer="Momentum") for epochs in (2, 5, 5))
    first.train()
    first.save_checkpoint(tmp_path / "c")
    second.load_checkpoint(tmp_path / "c")
    second.train()
    whole.train()
    assert second.train_loss_list == whole.train_loss_list
    np.testing.assert_array_equal(second.network.params["w"], whole.network.params["w"])


def edited(path, change):
    """Write a checkpoint anew after a change to its rest and its arrays."""
    data = path.read_bytes()
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    arrays, rest = safetensors.numpy.load(data), json.loads(metadata["rest"])
    rest = change(rest, arrays) or rest
    path.write_bytes(safetensors.numpy.save(arrays, metadata | {"rest": json.dumps(rest)}))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: resumable(small(units=6)), "units must be 6, got 5"),
        (lambda: resumable(small(dtype="float64")), "hold float64, got .* of float32"),
        (lambda: resumable(Network([Affine(units=3), Relu(), Affine(units=3)], (4,))), "another network"),
        (lambda: resumable(optimizer="AdamW"), "must be of AdamW, got one of Adam"),
        (lambda: resumable(optimizer_param={"amsgrad": True}), "must have the keys step, m, v, h"),
        (lambda: resumable(samples=24), "samples must be 24 as here, got 23"),
        (lambda: resumable(batch=6), "mini_batch_size must be 6 as here, got 5"),
        (lambda: resumable(schedule=partial(ReduceOnPlateau)), "must hold its schedule as here, got no schedule"),
        (lambda: resumable(average=0.9), "must hold its average as here, got no average"),
        (lambda: resumable(seed=None, rng=np.random.Generator(np.random.MT19937(0))), "it is a PCG64, not a MT19937"),
    ],
)
def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path, make, words):
    saved, run = resumable(), make()
    for _ in range(7):
        saved.train_step()
    saved.save_checkpoint(tmp_path / "c")
    run.train_step()
    before = copy.deepcopy(run)
    with pytest.raises(ValueError, match=words):
        run.load_checkpoint(tmp_path / "c")
    assert_same_training(run, before)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rest, arrays: rest.pop("rng") and None, "the checkpoint must have the keys"),
        (lambda rest, arrays: rest["rng"].pop("state") and None, "random generator does not fit"),
        (lambda rest, arrays: rest["rng"]["state"].update(state=-1), "random generator does not fit"),
        (lambda rest, arrays: rest.update(current_iter=8), "must have recorded 8 values of step_loss"),
        (lambda rest, arrays: rest.update(current_iter="7"), "current_iter must be an integer, got '7'"),
        (lambda rest, arrays: rest["history"].pop("test_accuracy") and None, "history must have the keys"),
        (lambda rest, arrays: arrays.update({"rest.order": arrays["rest.order"] * 0}), "an order of 23 samples"),
        (lambda rest, arrays: arrays.pop("rest.order") is None, "the state of the training is not in it"),
        (lambda rest, arrays: arrays.pop("network.affine1.W") is None, "must hold the parameters"),
        (lambda rest, arrays: rest["optimizer"]["state"].update(W9=rest["optimizer"]["state"]["W1"]), "got one of W9"),
        (
            lambda rest, arrays: rest["optimizer"]["state"].update(W1=rest["optimizer"]["state"]["W2"]),
            "of W1 must have",
        ),
        (lambda rest, arrays: ["nothing"], "the checkpoint must be a dict"),
    ],
)
def test_a_damaged_checkpoint_changes_nothing(tmp_path, change, words):
    saved, run = resumable(), resumable()
    for _ in range(7):
        saved.train_step()
    saved.save_checkpoint(tmp_path / "c")
    edited(tmp_path / "c", change)
    run.train_step()
    before = copy.deepcopy(run)
    with pytest.raises((ValueError, TypeError), match=words):
        run.load_checkpoint(tmp_path / "c")
    assert_same_training(run, before)


def places(tree, path=()):
    """Yield the path of each entry of a checkpoint, but for what stands for an array."""
    for name, value in tree.items():
        yield (*path, name)
        if isinstance(value, dict) and value.keys() != {"array"}:
            yield from places(value, (*path, name))


def frozen(tree):
    """Return a nested value with the bytes of its arrays, for a comparison of bits."""
    if isinstance(tree, np.ndarray):
        return tree.dtype.str, tree.shape, tree.tobytes()
    if isinstance(tree, dict):
        return {name: frozen(value) for name, value in tree.items()}
    return repr(tree)


def everything(run):
    parts = {name: getattr(run, name).state_dict() for name in ("optimizer", "schedule", "average")}
    names = ("order", "seeds", "seconds", "current_iter", "current_epoch", "best_epoch", "best_value")
    own = {name: getattr(run, name) for name in names} | run.history.state_dict()
    return frozen(parts | own | {"rng": run.rng.bit_generator.state, "network": run.network.state_dict()})


MISSING = object()
FORGED = [MISSING, None, True, -1, 2**1100, float("nan"), float("-inf"), "x", [], {}, 1.5, {"array": "forged"}]


def is_harmless(place, value):
    """Say whether an entry may be so all the same: other hyperparameters, nothing of a parameter that was frozen."""
    if place == ("callbacks",):
        return value == {}
    if place[:2] == ("optimizer", "state"):
        return len(place) == 3 and value is MISSING or len(place) == 2 and value == {}
    return value in {
        "lr": [1.5],
        "base_lr": [1.5],
        "weight_decay": [1.5],
        "clip_value": [None, 1.5],
        "clip_norm": [None, 1.5],
        "best": [-1, 1.5, float("-inf")],
        "momentum": [None],
        "seconds": [1.5],
        "warmup": [True],
        "arrays": [None],
    }.get(place[-1], [])


RUNS = [
    {"average": 0.9, "schedule": lambda o: OneCycle(o, 0.01, 20, momentum=(0.8, 0.9))},
    {"average": 0.9, "optimizer": "Momentum", "schedule": lambda o: ReduceOnPlateau(o, 0.5, 0)},
]
every_generator = pytest.mark.parametrize("kind", [np.random.MT19937, np.random.Philox, np.random.SFC64])


def two_runs(path, kind=np.random.PCG64, **options):
    """Return a trainer after some steps, and the metadata and the arrays of the checkpoint of another one."""
    runs = [resumable(small(n), seed=None, rng=np.random.Generator(kind(n)), **options) for n in range(2)]
    for run in runs:
        for _ in range(7):
            run.train_step()
    runs[1].save_checkpoint(path)
    data = path.read_bytes()
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    return runs[0], metadata, safetensors.numpy.load(data)


def refused(run, path, entry, before):
    """Check that the trainer refuses the checkpoint, says where and why, and stays as it was."""
    with pytest.raises(ValueError) as caught:
        run.load_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message and entry in message, message
    assert len(message) < 1000
    assert everything(run) == before, entry


def try_forged_entries(path, run, metadata, arrays, section=None):
    """Forge each entry of a checkpoint, or each below one of them, in every way; return how often it was refused."""
    arrays["forged"] = np.zeros(3, np.float16)
    before, tried = everything(run), 0
    for place in places(json.loads(metadata["rest"])):
        if section not in (None, place[0]):
            continue
        for value in FORGED:
            if is_harmless(place, value):
                continue
            rest = json.loads(metadata["rest"])
            target = functools.reduce(dict.__getitem__, place[:-1], rest)
            if value is MISSING:
                del target[place[-1]]
            else:
                target[place[-1]] = value
            path.write_bytes(safetensors.numpy.save(arrays, metadata | {"rest": json.dumps(rest)}))
            refused(run, path, "must be of" if place[-1] == "type" and value == "x" else place[-1], before)
            tried += 1
    return tried


@pytest.mark.parametrize("options", RUNS, ids=["OneCycle", "plateau"])
def test_every_forged_entry_of_a_checkpoint_is_refused(tmp_path, options):
    assert try_forged_entries(tmp_path / "c", *two_runs(tmp_path / "c", **options)) > 500


@every_generator
def test_every_forged_entry_of_a_random_state_is_refused(tmp_path, kind):
    assert try_forged_entries(tmp_path / "c", *two_runs(tmp_path / "c", kind, **RUNS[0]), "rng") > 40


def forged_arrays(name, array):
    yield None
    yield (array % 2).astype(np.float16)
    yield (array % 2).astype(np.int8 if array.dtype.kind == "f" else np.float64)
    yield array[None]
    yield np.append(array, array[:1], axis=0)
    yield array[:0]
    if name == "rest.order":
        for value in (-1, 23, 2**62, array[1]):
            changed = array.copy()
            changed[0] = value
            yield changed


def try_forged_arrays(path, run, metadata, arrays, section=""):
    before = everything(run)
    for name, array in arrays.items():
        if name.startswith(section):
            for changed in forged_arrays(name, array):
                if changed is not None and frozen(changed) == frozen(array):  # an empty one that is cut
                    continue
                forged = {key: value for key, value in arrays.items() if key != name}
                if changed is not None:
                    forged[name] = np.ascontiguousarray(changed)
                path.write_bytes(safetensors.numpy.save(forged, metadata))
                refused(run, path, name.rpartition(".")[2], before)


@pytest.mark.parametrize("options", RUNS, ids=["OneCycle", "plateau"])
def test_every_forged_array_of_a_checkpoint_is_refused(tmp_path, options):
    try_forged_arrays(tmp_path / "c", *two_runs(tmp_path / "c", **options))


@every_generator
def test_every_forged_array_of_a_random_state_is_refused(tmp_path, kind):
    try_forged_arrays(tmp_path / "c", *two_runs(tmp_path / "c", kind, **RUNS[0]), "rest.rng")


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [
        (np.random.MT19937, ("state", "pos"), 625),
        (np.random.Philox, ("buffer_pos",), 5),
        (np.random.PCG64, ("has_uint32",), 2),
        (np.random.PCG64, ("uinteger",), 2**32),
        (np.random.PCG64, ("state", "state"), 2**128),
        (np.random.PCG64, ("state", "inc"), 2),
    ],
)
def test_a_random_state_that_numpy_would_take_is_refused(tmp_path, kind, place, value):
    """An index that lies outside of an array, or what makes all numbers the same and a shuffle endless."""
    path = tmp_path / "c"
    run, metadata, arrays = two_runs(path, kind, **RUNS[0])
    rest = json.loads(metadata["rest"])
    functools.reduce(dict.__getitem__, place[:-1], rest["rng"])[place[-1]] = value
    path.write_bytes(safetensors.numpy.save(arrays, metadata | {"rest": json.dumps(rest)}))
    refused(run, path, "random generator", everything(run))


@pytest.mark.parametrize("rest", ["", "[", "null", "[]", "7", '"x"', "{" * 10**5, '{"a":' * 500 + "1" + "}" * 500])
def test_the_rest_of_a_checkpoint_must_be_a_dict(tmp_path, rest):
    path = tmp_path / "c"
    run, metadata, arrays = two_runs(path, **RUNS[0])
    path.write_bytes(safetensors.numpy.save(arrays, metadata | {"rest": rest}))
    refused(run, path, "", everything(run))


def test_files_of_other_kinds_are_told_apart(tmp_path):
    run = resumable()
    run.network.save_params(tmp_path / "params")
    run.save_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(ValueError, match="is a cconv-params file of cconv, but must be a cconv-checkpoint file"):
        run.load_checkpoint(tmp_path / "params")
    run.network.load_params(tmp_path / "checkpoint")  # which holds parameters too
    with pytest.raises(FileNotFoundError):
        run.load_checkpoint(tmp_path / "missing")


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    run = resumable()
    run.save_checkpoint(tmp_path / "c")
    before = (tmp_path / "c").read_bytes()
    run.train_step()
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        run.save_checkpoint(tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == before and os.listdir(tmp_path) == ["c"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda run: setattr(run.optimizer, "lr", float("nan")), "optimizer: lr must be a finite number"),
        (lambda run: setattr(run.optimizer, "lr", np.float32(0.1)), "rest must hold JSON values"),
        (lambda run: vars(run.optimizer).update(clip_value=1.0, clip_norm=1.0), "clip_value or clip_norm, not both"),
        (lambda run: run.train_loss_list.clear(), "history must have recorded 1 values of step_loss"),
        (lambda run: run.optimizer.state.update(W9={"step": 1}), r"state\['W9'\] must have the keys step, m, v"),
    ],
)
def test_a_checkpoint_that_could_not_be_loaded_is_not_written(tmp_path, change, words):
    run = resumable()
    run.train_step()
    run.save_checkpoint(tmp_path / "c")
    before = (tmp_path / "c").read_bytes()
    change(run)
    with pytest.raises((TypeError, ValueError), match=words):
        run.save_checkpoint(tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == before and os.listdir(tmp_path) == ["c"]


def test_parameters_that_no_file_holds(tmp_path):
    run = trainer()
    run.network.params = {"w": 1.0}
    with pytest.raises(TypeError, match=r"params\['w'\] must be an array"):
        run.save_checkpoint(tmp_path / "c")
