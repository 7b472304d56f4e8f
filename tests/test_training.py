"""Training around the step: interrupts, resuming, validation, weights, callbacks, and what is refused beforehand."""

import contextlib
import copy
import hashlib
import json
import math
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest

import cconv
from cconv import (
    SGD,
    Adam,
    Affine,
    BatchNormalization,
    Dropout,
    MeanSquaredError,
    Network,
    OneCycle,
    ReduceOnPlateau,
    Relu,
    Scale,
    SimpleConvNet,
    StepDecay,
    Trainer,
    find_learning_rate,
)
from cconv._batches import AHEAD, Batches
from cconv.callbacks import Callback, Checkpoints, EarlyStopping, LearningRateLog, TensorBoardLog, TimeLimit
from cconv.data import ArrayDataset, Dataset

MAIN = threading.current_thread() is threading.main_thread()
needs_signals = pytest.mark.skipif(not MAIN or os.name == "nt", reason="signals reach Python in its main thread only")


def network(seed=0):
    layers = [Affine(units=6), BatchNormalization(), Relu(), Dropout(0.3, seed=3), Affine(units=3)]
    return Network(layers, (4,), seed=seed)


def samples(n=40, seed=5):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 4)).astype(np.float32), rng.integers(0, 3, n)


def trainer(net=None, n=40, **options):
    x, t = samples(n)
    options = {"epochs": 3, "mini_batch_size": 8, "optimizer": "Adam", "verbose": False, "seed": 0} | options
    return Trainer(net or network(), x, t, x[:9], t[:9], **options)


def shifted(x, t, *, seed, epoch, indices):
    """An augmentation that depends on (seed, epoch, sample) alone."""
    shift = np.array([np.random.default_rng([seed % 2**32, epoch, int(n)]).random() for n in indices], x.dtype)
    return x + shift[:, None], t


FULL = {
    "augment": shifted,
    "average": 0.9,
    "schedule": lambda optimizer: OneCycle(optimizer, 0.01, 100, momentum=(0.8, 0.9)),
    "validation": 0.2,
    "early_stopping": 50,
    "restore_best": True,
}


def state(run):
    """Return the bits of everything that a training goes on from."""
    arrays = {name: value.tobytes() for name, value in run.network.state_dict().items()}
    optimizer = {
        name: {key: np.asarray(value).tobytes() for key, value in sorted(entry.items())}
        for name, entry in sorted(run.optimizer.state.items())
    }
    dropouts = [layer._draws for layer in run.network.layers.values() if hasattr(layer, "_draws")]
    history = {name: values for name, values in vars(run.history).items() if name != "seconds"}
    averages = None if run.average is None else {k: v.tobytes() for k, v in sorted(run.average.averages.items())}
    order = None if run.order is None else run.order.tolist()
    counts = run.current_iter, run.current_epoch, run.optimizer.lr, run.best_epoch
    return repr((arrays, optimizer, dropouts, history, averages, order, counts, run.rng.bit_generator.state))


INNER = ("trainer.py", "optimizers.py", "averaging.py", "schedules.py", "stack.py")


def interrupted_at(line, action, files=INNER):
    """Run an action and raise SIGINT before the line of this number, counted over the files; return the count."""
    count = 0
    files = tuple(os.sep + name for name in files)

    def trace(frame, event, _):
        nonlocal count
        if not frame.f_code.co_filename.endswith(files):
            return None
        if event == "line":
            if count == line:
                signal.raise_signal(signal.SIGINT)
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


@needs_signals
@pytest.mark.parametrize(("files", "stride"), [(("trainer.py",), 1), (INNER, 23)], ids=["trainer", "and inside"])
@pytest.mark.parametrize("first", [0, 4], ids=["a first step", "the end of an epoch"])
def test_a_step_that_is_interrupted_at_any_line_is_counted_or_not(first, files, stride, tmp_path):
    def at_step():
        run = trainer(**FULL)
        for _ in range(first - 1):
            run.train_step()
        if first:  # without what follows the last step of an epoch
            with run._gate, run._training_mode():
                run._step()
        return run

    # 32 samples are left by the split: 4 steps an epoch.
    expected = []
    run = at_step()
    for _ in range(6):
        expected.append(state(run))
        run.train_step()
    expected.append(state(run))
    lines = interrupted_at(-1, at_step().train_step, files)
    assert lines > 40
    seen = set()
    for line in range(0, lines, stride):
        run = at_step()
        with pytest.raises(KeyboardInterrupt):
            interrupted_at(line, run.train_step, files)
        done = run.current_iter - first
        seen.add(done)
        # It is saved and loaded as it is, and goes on as if nothing had been.
        run.save_checkpoint(tmp_path / "c")
        other = trainer(network(1), **FULL)
        other.load_checkpoint(tmp_path / "c")
        assert state(other) == state(run)
        while run.current_iter < first + 2 or run.epoch_is_complete:
            run.train_step()
        while run.current_iter < first + 3:
            run.train_step()
        assert state(run) in expected, line
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert all(layer.training for layer in run.network.layers.values())
    assert {0, 1} <= seen


@needs_signals
def test_training_that_is_interrupted_again_and_again_has_the_bits_of_one_that_is_not():
    whole = trainer(**FULL)
    whole.train()
    run, rng = trainer(**FULL), np.random.default_rng(0)
    interrupts = 0
    while run.current_epoch < run.epochs:
        try:
            interrupted_at(int(rng.integers(2000)), run.train)
        except KeyboardInterrupt:
            interrupts += 1
    assert interrupts > 3
    assert state(run) == state(whole)
    assert not [thread for thread in threading.enumerate() if thread.name == "cconv-batches"]


@needs_signals
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_while_the_thread_is_started_leaves_none_behind(when, monkeypatch):
    start = threading.Thread.start

    def interrupted(self):
        if self.name == "cconv-batches" and when == "before":
            signal.raise_signal(signal.SIGINT)
        start(self)
        if self.name == "cconv-batches" and when == "after":
            signal.raise_signal(signal.SIGINT)

    run = trainer(augment=shifted)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    monkeypatch.undo()
    assert not [thread for thread in threading.enumerate() if thread.name == "cconv-batches"]
    run.train()
    whole = trainer(augment=shifted)
    whole.train()
    assert state(run) == state(whole)


def test_training_inside_of_itself_is_refused():
    class Again(Callback):
        def on_step_end(self, trainer):
            trainer.train()

    run = trainer(augment=shifted, callbacks=[Again()])
    with pytest.raises(RuntimeError, match=r"train\(\) is under way"):
        run.train()
    assert run.current_iter == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "cconv-batches"]
    run.callbacks = []
    run.train()
    assert run.current_epoch == run.epochs


def test_an_exception_of_a_step_changes_nothing():
    class Failing(Relu):
        fails = False

        def backward(self, dout, *, input_gradient=True):
            if self.fails:
                raise ZeroDivisionError
            return super().backward(dout, input_gradient=input_gradient)

    layers = [Affine(units=6), BatchNormalization(), Dropout(0.3, seed=1), Failing(), Affine(units=3)]
    run = trainer(Network(layers, (4,), seed=0))
    run.train_step()
    before, order = state(run), run.order
    run.network.layers["failing1"].fails = True
    with pytest.raises(ZeroDivisionError):
        run.train_step()
    assert state(run) == before and run.order is order


def test_a_schedule_or_an_average_that_fails_leaves_the_step_counted():
    run = trainer(average=0.9)
    run.average.averages["W1"].flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        run.train_step()
    assert run.current_iter == len(run.history.step_loss) == 1


# ---- resuming


@pytest.mark.parametrize("steps", [1, 4, 5, 11])
def test_a_resumed_training_with_everything_has_the_same_bits(tmp_path, steps):
    whole, first, second = (trainer(network(seed), **FULL) for seed in (0, 0, 1))
    whole.train()
    for _ in range(steps):
        first.train_step()
    first.save_checkpoint(tmp_path / "c")
    second.load_checkpoint(tmp_path / "c")
    assert state(second) == state(first)
    with cconv.threads(1):
        second.train()
    assert state(second) == state(whole)


def test_a_checkpoint_folder_is_gone_on_from(tmp_path):
    def run(**options):
        return trainer(checkpoint_dir=tmp_path / "run", keep=2, **FULL | options)

    first = run(resume=True)  # an empty folder is a fresh start
    first.train(2)
    with pytest.raises(ValueError, match="checkpoint_dir must be empty of checkpoints.*resume=True"):
        run()
    second = run(resume=True)
    assert second.current_epoch == 2
    second.train()
    whole = trainer(**FULL)
    whole.train()
    assert state(second) == state(whole)
    names = sorted(os.listdir(tmp_path / "run"))
    assert names[-2:] == ["checkpoint-000000008.safetensors", "checkpoint-000000012.safetensors"]
    assert f"checkpoint-{second.best_epoch * 4:09}.safetensors" in names and len(names) <= 3


def test_checkpoints_within_an_epoch(tmp_path):
    run = trainer(checkpoint_dir=tmp_path, checkpoint_every=3, keep=100)
    run.train()
    steps = sorted(int(name[11:20]) for name in os.listdir(tmp_path))
    best = run.best_epoch * run.iter_per_epoch
    assert set(steps) >= {3, 6, 9, 12, 15, best}
    middle = trainer(network(1))
    middle.load_checkpoint(tmp_path / "checkpoint-000000006.safetensors")
    middle.train()
    assert state(middle) == state(run)


def test_a_training_that_is_killed_again_and_again_has_the_bytes_of_one_that_is_not():
    command = [sys.executable, Path(__file__).with_name("killed_training.py"), "--kills", "3"]
    environment = os.environ | {"PYTHONPATH": str(Path(cconv.__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "3 kills" in done.stdout and " 0 of them wrong" in done.stdout


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    left = tmp_path / f".{'0' * 16}.{'1' * 16}.tmp"
    left.write_bytes(b"half")
    trainer(checkpoint_dir=tmp_path, epochs=1).train()
    assert not left.exists()


def test_a_checkpoint_is_written_when_training_is_interrupted(tmp_path):
    class Stop(Callback):
        def on_step_end(self, trainer):
            if trainer.current_iter == 7:
                raise KeyboardInterrupt

    run = trainer(callbacks=[Stop()], checkpoint_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert trainer(checkpoint_dir=tmp_path, resume=True).current_iter == 7


@pytest.mark.parametrize("name", ["checkpoint_every", "keep", "resume"])
def test_settings_of_checkpoints_need_a_folder(name):
    with pytest.raises(ValueError, match=f"{name} must go with checkpoint_dir"):
        trainer(**{name: 2 if name != "resume" else True})


# ---- data


def test_validation_data_are_measured(tmp_path):
    x, t = samples(20, seed=9)
    for validation in ((x, t), ArrayDataset(x, t)):
        run = trainer(validation=validation)
        run.train()
        assert run.monitor == "val_loss" and len(run.history.val_loss) == 3
        assert run.history.val_loss[-1] == pytest.approx(run.network.loss(x, t))
        assert run.history.val_accuracy[-1] == run.network.accuracy(x, t)
        assert run.train_size == 40


def test_a_fraction_of_the_training_data_is_kept_apart():
    runs = [trainer(validation=0.25, seed=seed) for seed in (1, 1, 2)]
    indices = [run.validation_data.indices.tolist() for run in runs]
    assert indices[0] == indices[1] != indices[2]
    assert len(indices[0]) == 10 and runs[0].train_size == 30
    assert not set(indices[0]) & set(runs[0].train_data.indices.tolist())


def test_without_test_data():
    x, t = samples()
    run = Trainer(network(), x, t, epochs=1, verbose=False)
    run.train()
    assert run.test_acc_list == [] and len(run.train_acc_list) == 1


class Own(Dataset):
    """A data set that makes its samples when it is asked for them, and knows how many at a time."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return 40

    def __getitem__(self, indices):
        x, t = samples()
        self.asked.append(len(x[indices]))
        return x[indices], t[indices]


def test_a_data_set_trains_as_its_arrays_do():
    data, (x, t) = Own(), samples()
    runs = [
        Trainer(network(), *source, epochs=2, mini_batch_size=8, verbose=False, seed=0)
        for source in ((x, t), (data,), (ArrayDataset(x, t),))
    ]
    for run in runs:
        run.train()
    assert runs[0].history.step_loss == runs[1].history.step_loss == runs[2].history.step_loss
    assert runs[0].train_acc_list == runs[2].train_acc_list == pytest.approx(runs[1].train_acc_list)


def test_images_of_uint8_train_a_network_that_scales_them():
    rng = np.random.default_rng(0)
    x, t = rng.integers(0, 256, (30, 1, 6, 6)).astype(np.uint8), rng.integers(0, 3, 30)
    with pytest.raises(TypeError, match="x_train must hold what the network takes"):
        Trainer(Network([Affine(units=3)], (36,)), x.reshape(30, 36), t)
    run = Trainer(Network([Scale(), Affine(units=3)], (1, 6, 6), seed=0), x, t, epochs=1, verbose=False, seed=0)
    run.train()
    assert len(run.train_loss_list) == 1


def test_augmented_batches_are_the_same_ahead_and_one_by_one():
    ahead, alone = (trainer(augment=shifted) for _ in range(2))
    ahead.train()
    while alone.current_iter < alone.max_iter:
        alone.train_step()
    assert state(ahead) == state(alone)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 11])
def test_batches_come_in_their_order_and_few_are_prepared_ahead(count):
    prepared, order = [], []

    def prepare(epoch, order, number):
        prepared.append(number)
        return epoch, number

    batches = Batches(prepare, count, contextlib.nullcontext)
    batches.begin_ahead()
    for epoch in range(2):
        prepared.clear()
        for number in range(count):
            assert batches.take(epoch, order, number) == (epoch, number)
            assert len(prepared) <= number + 1 + AHEAD
    batches.close()
    assert prepared == list(range(count))


def test_an_exception_of_an_augmentation_ends_training_and_its_thread():
    def failing(x, t, *, seed, epoch, indices):
        if epoch == 1:
            raise ZeroDivisionError("in the thread")
        return x, t

    run = trainer(augment=failing)
    with pytest.raises(ZeroDivisionError, match="in the thread"):
        run.train()
    assert run.current_iter == 5
    assert not [thread for thread in threading.enumerate() if thread.name == "cconv-batches"]


# ---- weights


def test_class_weights_multiply_sample_weights():
    x, t = samples()
    weights = np.random.default_rng(0).random(40)
    balanced = 40 / (3 * np.bincount(t))
    for given, expected in (
        ({"class_weight": "balanced"}, balanced[t]),
        ({"class_weight": {0: 2, 2: 0.5}, "sample_weight": weights}, np.array([2, 1, 0.5])[t] * weights),
        ({"class_weight": [1, 2, 3]}, np.array([1.0, 2, 3])[t]),
        ({"sample_weight": weights}, weights),
    ):
        one, other = trainer(epochs=1, mini_batch_size=40, **given), network()
        one.train()
        order = np.random.default_rng(0).permutation(40)
        other.gradient(x[order], t[order], sample_weight=expected[order])
        assert one.history.step_loss == [pytest.approx(other.last_layer.loss, rel=1e-6)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"class_weight": "equal"}, "class_weight must be a dict, 'balanced' or a number"),
        ({"class_weight": {0: -1}}, r"class_weight\[0\] must be a number that is not negative"),
        ({"class_weight": [1, 2]}, "a number for each of 3 classes"),
        ({"class_weight": [0, 0, 0]}, "class_weight must not be 0 for all samples"),
        ({"sample_weight": np.ones(39)}, "sample_weight must hold a number for each of 40 samples"),
        ({"sample_weight": -np.ones(40)}, "sample_weight must be finite and not negative"),
        ({"validation": 1.5}, "validation must be a pair .x, t., a data set or a fraction"),
        ({"validation": (1, 2, 3)}, "validation must be a pair"),
        ({"validation": "half"}, "validation must be"),
        ({"monitor": "val_loss"}, "monitor must be one of loss, accuracy, test_accuracy, .*, got 'val_loss'"),
        ({"monitor": "f1"}, "monitor must be 'loss'"),
        ({"early_stopping": -1}, "early_stopping must be .* its patience: patience must be at least 0"),
        ({"early_stopping": EarlyStopping(monitor="val_loss")}, "monitor must be one of"),
        ({"callbacks": EarlyStopping()}, "callbacks must be a list of Callback"),
        ({"callbacks": [print]}, "callbacks must hold Callback objects"),
        ({"augment": 3}, "augment must be a function"),
        ({"on_nonfinite": "stopp"}, "on_nonfinite must be 'stop', 'warn' or 'ignore'"),
        ({"drop_last": 2}, "drop_last must be True or False"),
        ({"drop_last": True, "mini_batch_size": 41}, "drop_last=True leaves no batch"),
        ({"n": 41}, "at least 2 samples to each batch, as batch normalization needs.*drop_last=True"),
        ({"checkpoint_dir": 3}, "folder must be a str, bytes or a path"),
        ({"log_dir": 3}, "log_dir must be a str, bytes or a path"),
        ({"checkpoint_dir": ""}, "folder must be a name that a file can have, got ''"),
        ({"log_dir": ""}, "log_dir must be a name that a file can have, got ''"),
        ({"restore_best": "yes"}, "restore_best must be True or False"),
    ],
)
def test_what_does_not_fit_is_refused_beforehand(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        trainer(**options)


def test_data_that_do_not_fit_are_refused_beforehand():
    x, t = samples()
    for arguments, words in (
        ((x[:, :3], t), "x_train must hold what the network takes"),
        ((x, t + 1), "t_train must hold what the loss of the network takes: t must hold class indices"),
        ((x, t, x, t - 1), "t_test must hold what the loss"),
        ((x, np.eye(4)[t]), "t_train must hold"),
        ((x,), "t_train must be an array"),
        ((x, t, x), "t_test must be an array"),
        ((x, t, None, t), "x_test"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            Trainer(network(), *arguments)
    with pytest.raises(ValueError, match="validation must hold what the network takes"):
        Trainer(network(), x, t, validation=(x[:, :2], t))


def test_the_last_batch_may_be_left_out():
    run = trainer(n=41, drop_last=True)
    run.train()
    assert run.iter_per_epoch == 5 and run.current_iter == 15


# ---- the state of others


def test_an_optimizer_with_the_state_of_other_arrays_is_refused():
    optimizer = Adam()
    one = network()
    trainer(one, optimizer=optimizer).train()
    trainer(one, optimizer=optimizer).train()  # the same arrays
    with pytest.raises(ValueError, match=r"optimizer.reset\(\)"):
        trainer(network(1), optimizer=optimizer)
    optimizer.reset()
    assert trainer(network(1), optimizer=optimizer).optimizer is optimizer


def test_a_schedule_that_has_been_stepped_is_refused():
    optimizer = SGD()
    schedule = StepDecay(optimizer, 1)
    schedule.step()
    with pytest.raises(ValueError, match=r"schedule.reset\(\)"):
        trainer(optimizer=optimizer, schedule=schedule)
    schedule.reset()
    assert trainer(optimizer=optimizer, schedule=schedule).optimizer.lr == 0.01


def test_training_sets_the_mode_and_restores_it():
    modes = []

    class Watch(Callback):
        def on_step_end(self, trainer):
            modes.append(trainer.network.training)

    run = trainer(network().eval(), callbacks=[Watch()])
    run.network.layers["dropout1"].training = True
    run.train()
    assert set(modes) == {True}
    assert not run.network.training and not run.network.layers["norm1"].training
    assert run.network.layers["dropout1"].training
    whole = trainer()
    whole.train()
    assert whole.history.step_loss == run.history.step_loss


# ---- numbers that are none


def test_a_loss_that_is_not_finite_stops_before_the_update():
    run = trainer()
    run.train_step()
    before = state(run)
    run.network.params["W2"][0, 0] = np.nan
    broken = state(run)
    with pytest.raises(FloatingPointError, match="step 2: W of layer 'affine2' is not finite"):
        run.train_step()
    assert state(run) == broken != before


def test_what_is_not_finite_first_is_named():
    x, t = samples()
    x[3, 2] = np.inf
    run = Trainer(network(), x, t, mini_batch_size=40, verbose=False, seed=0)
    with pytest.raises(FloatingPointError, match="step 1: the batch x is not finite"):
        run.train()

    class Bad(Relu):
        def forward(self, x):
            return super().forward(x) * np.float32(np.nan)

    run = trainer(Network([Affine(units=4), Bad(), Affine(units=3)], (4,), seed=0))
    with pytest.raises(FloatingPointError, match="step 1: the output of layer 'bad1' is not finite"):
        run.train()


def test_gradients_that_are_not_finite_are_seen():
    class Bad(Relu):
        def backward(self, dout, *, input_gradient=True):
            return np.full_like(super().backward(dout), np.inf)

    def run(**options):
        return trainer(Network([Affine(units=4), Bad(), Affine(units=3)], (4,), seed=0), epochs=1, **options)

    with pytest.raises(FloatingPointError, match="step 1: the gradient of b1 is not finite"):
        run().train()
    with pytest.warns(RuntimeWarning, match="step 1: the gradient of b1 is not finite"):
        run(on_nonfinite="warn").train_step()
    run(on_nonfinite="ignore").train_step()


class Foreign:
    """A layer that has no base, and its parameters in a dict."""

    def __init__(self, gradient=1.0):
        self.params, self.grads, self.gradient = {"scale": np.ones(4, np.float32)}, {}, gradient

    def forward(self, x):
        return x * self.params["scale"]

    def backward(self, dout):
        self.grads["scale"] = np.full(4, self.gradient, np.float32)
        return dout


def test_gradients_are_looked_at_wherever_their_layers_are():
    nan = float("nan")
    inside = [Affine(units=4), cconv.Residual([Affine(units=4), Foreign(nan)]), Affine(units=3)]
    for layers in ([Affine(units=4), Foreign(nan), Affine(units=3)], inside):
        run = trainer(Network(layers, (4,), seed=0))
        before = {name: value.copy() for name, value in run.network.params.items()}
        with pytest.raises(FloatingPointError, match="step 1: the gradient of scale1 is not finite"):
            run.train_step()
        assert run.current_iter == 0 and not run.optimizer.state
        for name, value in run.network.params.items():
            np.testing.assert_array_equal(value, before[name])
    net = network()
    net.gradient(*samples())
    net.layers["affine1"].dW[...] = nan  # of a step before it was frozen
    run = trainer(net.freeze("affine1"))
    run.train_step()
    assert run.current_iter == 1


def test_scores_that_are_no_numbers_are_never_right():
    run = trainer(on_nonfinite="ignore")
    run.network.params["W1"][...] = np.nan
    run.train()
    assert run.train_acc_list == [0, 0, 0]


# ---- history and callbacks


def test_the_loss_of_an_epoch_is_its_mean(capsys):
    run = trainer(n=42, mini_batch_size=10, verbose=True, epochs=1)
    run.train()
    losses = run.history.step_loss
    mean = (10 * sum(losses[:4]) + 2 * losses[4]) / 42
    assert run.history.loss == [pytest.approx(mean)]
    assert capsys.readouterr().out.startswith(f"epoch 1/1: loss {mean:.4f}, train accuracy")


def test_history_becomes_rows_and_files(tmp_path):
    run = trainer(log_dir=tmp_path / "log", validation=0.2)
    run.train()
    names = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "test_accuracy", "lr", "seconds"]
    assert [list(row) for row in run.history.rows()] == [names] * 3
    lines = (tmp_path / "log" / "history.csv").read_text().splitlines()
    assert lines[0] == ",".join(names) and len(lines) == 4
    assert float(lines[2].split(",")[1]) == run.history.loss[1]
    rows = [json.loads(line) for line in (tmp_path / "log" / "history.jsonl").read_text().splitlines()]
    assert rows == run.history.rows()
    pytest.importorskip("matplotlib")
    run.history.plot(file_name=tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_more_epochs(capsys):
    run = trainer(epochs=2)
    run.train()
    run.verbose = True
    run.train()
    assert capsys.readouterr().out == "2 epochs are done, as many as trainer.epochs says: train(n) trains n more\n"
    run.train(1)
    assert run.current_epoch == 3 and run.epochs == 2
    run.epochs = 5
    run.train()
    assert run.current_epoch == len(run.history) == 5 and run.max_iter == 25
    with pytest.raises(ValueError, match="epochs must be at least 0"):
        run.epochs = -1
    with pytest.raises(TypeError, match="epochs must be an integer"):
        run.train("one")


class Scripted(Callback):
    """Replaces the measure of each epoch by one of a list."""

    def __init__(self, values, name="loss"):
        self.values, self.name = list(values), name

    def on_epoch_end(self, trainer):
        getattr(trainer.history, self.name)[-1] = self.values[trainer.current_epoch - 1]


def test_early_stopping_and_going_on():
    stopping = EarlyStopping(2, min_delta=0.1)
    run = trainer(epochs=20, callbacks=[Scripted([3, 2, 1.95, 2.5, 1, 0.5]), stopping])
    run.train()
    assert (run.current_epoch, stopping.best, stopping.best_epoch, stopping.waited) == (4, 2, 2, 2)
    run.train()
    assert run.current_epoch == 4
    stopping.reset()
    run.train(2)
    assert run.current_epoch == 6


@pytest.mark.parametrize(("name", "values", "best"), [("loss", [2, 1, 3], 2), ("accuracy", [0.2, 0.9, 0.1], 2)])
def test_the_direction_follows_from_the_measure(name, values, best):
    stopping = EarlyStopping(1, monitor=name)
    run = trainer(epochs=20, callbacks=[Scripted(values, name), stopping])
    run.train()
    assert stopping.best_epoch == best and run.current_epoch == 3


def test_the_best_epoch_is_put_back():
    run = trainer(epochs=6, optimizer_param={"lr": 0.5}, validation=0.3, restore_best=True)
    arrays = []

    class Keep(Callback):
        def on_epoch_end(self, trainer):
            arrays.append({name: value.copy() for name, value in trainer.network.state_dict().items()})

    run.callbacks.append(Keep())
    run.train()
    best = int(np.argmin(run.history.val_loss))
    assert run.best_epoch == best + 1 and run.best_value == run.history.val_loss[best]
    for name, value in run.network.state_dict().items():
        np.testing.assert_array_equal(value, arrays[best][name])


def test_a_plateau_watches_what_is_monitored():
    seen = []

    class Watching(ReduceOnPlateau):
        def step(self, metric):
            seen.append(metric)
            super().step(metric)

    run = trainer(schedule=lambda o: Watching(o, mode="max"), monitor="accuracy")
    run.train()
    assert seen == run.history.accuracy


def test_callbacks_are_called_in_their_order():
    events = []

    class Listener(Callback):
        def __getattribute__(self, name):
            if name.startswith("on_"):
                return lambda trainer: events.append(name)
            return super().__getattribute__(name)

    trainer(n=16, epochs=2, callbacks=[Listener()]).train()
    epoch = ["on_epoch_begin", "on_step_end", "on_step_end", "on_epoch_end"]
    assert events == ["on_train_begin", *epoch, *epoch, "on_train_end"]


def test_an_interrupt_is_told():
    events = []

    class Stop(Callback):
        def on_step_end(self, trainer):
            raise KeyboardInterrupt

        def on_interrupt(self, trainer):
            events.append(trainer.current_iter)

        def on_train_end(self, trainer):
            events.append("end")

    with pytest.raises(KeyboardInterrupt):
        trainer(callbacks=[Stop()]).train()
    assert events == [1]


def test_states_of_callbacks_are_resumed(tmp_path):
    class Counting(Callback):
        def __init__(self):
            self.steps = 0

        def on_step_end(self, trainer):
            self.steps += 1

        def state_dict(self):
            return {"steps": self.steps}

        def load_state_dict(self, state_dict):
            if not isinstance(state_dict["steps"], int):
                raise TypeError("steps must be an int")
            self.steps = state_dict["steps"]

    run = trainer(callbacks=[Counting(), LearningRateLog(), Counting()], epochs=1)
    run.train()
    run.save_checkpoint(tmp_path / "c")
    other = trainer(callbacks=[Counting(), LearningRateLog(), Counting()])
    other.load_checkpoint(tmp_path / "c")
    assert [callback.state_dict() for callback in other.callbacks] == [c.state_dict() for c in run.callbacks]
    with pytest.raises(ValueError, match="callbacks must be among those here, Counting, got Counting2 too"):
        trainer(callbacks=[Counting()]).load_checkpoint(tmp_path / "c")


def test_a_time_limit():
    limit = TimeLimit(1e-6)
    run = trainer(callbacks=[limit])
    run.train()
    assert run.current_iter == 1
    run.train()
    assert run.current_iter == 1 and limit.elapsed() > 1e-6


def test_a_log_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX")
    run = trainer(callbacks=[TensorBoardLog(tmp_path / "runs")])
    run.train()
    (file,) = (tmp_path / "runs").iterdir()
    data = file.read_bytes()
    for tag in (b"step/loss", b"step/lr", b"epoch/loss", b"epoch/test_accuracy"):
        assert tag in data


def test_learning_rates_are_found_and_the_trainer_is_unchanged():
    run = trainer(n=400, **FULL)
    run.train_step()
    before = state(run)
    found = find_learning_rate(run, lowest=1e-5, highest=100, steps=60)
    assert state(run) == before
    assert len(found.lr) == len(found.loss) == len(found.smoothed) <= 60
    assert found.lr[0] == 1e-5 and found.lr == sorted(found.lr)
    assert found.suggestion in found.lr
    for arguments, words in (
        ({"lowest": 1.0, "highest": 0.1}, "lowest must be below highest"),
        ({"steps": 1}, "steps must be at least 2"),
        ({"lowest": -1}, "lowest must be"),
    ):
        with pytest.raises(ValueError, match=words):
            find_learning_rate(run, **arguments)
    with pytest.raises(TypeError, match="trainer must be a Trainer"):
        find_learning_rate(3)


def test_a_regression_is_trained_with_validation():
    x = np.random.default_rng(0).standard_normal((60, 3))
    t = x @ [1.0, -2.0, 0.5]
    net = Network([Affine(units=1)], (3,), dtype="float64", seed=0, last_layer=MeanSquaredError())
    run = Trainer(net, x, t, epochs=30, validation=0.2, optimizer="Adam", optimizer_param={"lr": 0.1}, verbose=False)
    run.train()
    assert run.history.val_accuracy == [] and run.history.val_loss[-1] < run.history.val_loss[0] / 10


# ---- output


@pytest.mark.parametrize("stderr", [None, "closed", object()], ids=["None", "closed", "no file"])
def test_a_stream_that_is_none_does_not_end_training(monkeypatch, stderr, capsys):
    if stderr == "closed":
        stderr = open(os.devnull, "w")
        stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr)
    trainer(verbose=True, epochs=1).train()
    monkeypatch.setattr(sys, "stdout", stderr)
    trainer(verbose=True, epochs=1).train()


def test_a_line_now_and_then_where_there_is_no_bar(monkeypatch, capsys):
    monkeypatch.setattr("cconv._progress.INTERVAL", 0.0)
    trainer(verbose=True, epochs=1).train()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines[:5]] == [f"epoch 1/1: step {n} of 5" for n in range(1, 6)]


def test_checkpoints_and_history_show_themselves():
    run = trainer(epochs=1)
    assert repr(run.history) == "History(0 steps)"
    run.train()
    assert repr(run.history).startswith("History(1 epochs: loss ")
    assert Checkpoints("nowhere").latest() is None
    assert math.isnan(EarlyStopping().best)


def test_simple_conv_net_with_everything_on(tmp_path):
    (x, t), (x_test, t_test) = cconv.load_synthetic_digits(300, 50, flatten=False)
    augment = cconv.augment.Compose([cconv.augment.RandomShift(0.1), cconv.augment.RandomRotation(10)])
    options = {"epochs": 2, "mini_batch_size": 50, "optimizer": "Adam", "seed": 0, "verbose": False}
    options |= {"augment": augment, "validation": 0.2, "average": 0.99, "checkpoint_dir": tmp_path}
    run = Trainer(SimpleConvNet(seed=0), x, t, x_test, t_test, **options)
    run.train()
    other = Trainer(SimpleConvNet(seed=1), x, t, x_test, t_test, resume=True, **options)
    assert state(run) == state(other)


# ---- what newcomers, full disks and broken data do


def test_a_training_that_is_resumed_at_its_end_puts_the_best_back(tmp_path):
    options = {"checkpoint_dir": tmp_path, "optimizer_param": {"lr": 0.5}, "epochs": 8}
    options |= {"validation": 0.3, "restore_best": True}
    whole = trainer(**options)
    whole.train()
    assert whole.best_epoch < 8
    killed = trainer(network(1), resume=True, **options)  # after the last checkpoint, and before its end
    assert state(killed) != state(whole)
    killed.train()
    assert state(killed) == state(whole)


FILES = (*INNER, "_interrupts.py", "logs.py", "early_stopping.py")


@needs_signals
def test_callbacks_know_of_each_step_and_epoch_that_is_counted():
    def run():
        return trainer(callbacks=[LearningRateLog(), EarlyStopping(50)], **FULL | {"early_stopping": None})

    whole, interrupted, rng = run(), run(), np.random.default_rng(1)
    whole.train()
    interrupts = 0
    while interrupted.current_epoch < interrupted.epochs:
        try:
            interrupted_at(int(rng.integers(1500)), interrupted.train, FILES)
        except KeyboardInterrupt:
            interrupts += 1
        log, stopping = (callback.state_dict() for callback in interrupted.callbacks)
        assert len(log["lr"]) == interrupted.current_iter
        assert stopping["best_epoch"] + stopping["waited"] == interrupted.current_epoch
    assert interrupts > 3
    assert [c.state_dict() for c in whole.callbacks] == [c.state_dict() for c in interrupted.callbacks]


@needs_signals
def test_a_second_interrupt_ends_a_callback_that_takes_too_long():
    done = []

    class Slow(Callback):
        def on_step_end(self, trainer):
            for n in range(3):
                signal.raise_signal(signal.SIGINT)
                done.append(n)

    run = trainer(callbacks=[Slow()])
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert done == [0] and run.current_iter == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_each_callback_is_told_also_where_another_fails():
    class Failing(Callback):
        def on_epoch_end(self, trainer):
            raise ZeroDivisionError

        on_interrupt = on_epoch_end

    log, stopping, limit = LearningRateLog(), EarlyStopping(5), TimeLimit(1e6)
    run = trainer(callbacks=[Failing(), log, stopping, limit])
    for epoch in (1, 2):
        with pytest.raises(ZeroDivisionError):
            run.train()
        assert len(log.lr) == run.current_iter == 5 * epoch
        assert stopping.best_epoch + stopping.waited == run.current_epoch == epoch
        assert limit._begun is None


def test_callbacks_of_another_training_begin_afresh():
    stopping, limit, log = EarlyStopping(1), TimeLimit(1e6), LearningRateLog()
    callbacks = [Scripted([1, 2, 3]), stopping, limit, log]
    one, other = (trainer(callbacks=callbacks, epochs=3) for _ in range(2))
    one.train()
    limit._before = 2e6
    other.train()
    assert one.current_epoch == other.current_epoch == 2
    assert limit.elapsed() < 1e6 and len(log.lr) == other.current_iter


def test_an_average_of_another_network_is_refused():
    with pytest.raises(ValueError, match="average must be .* got one of other arrays, as W1"):
        trainer(average=cconv.ExponentialMovingAverage(network().params))


class Quiet(cconv.SoftmaxWithLoss):
    """A loss that knows of no weights."""

    def forward(self, x, t):
        return super().forward(x, t)


class Scored:
    """A network that has all but a loss."""

    def __init__(self):
        self.params = {"W": np.ones(2)}
        self.last_layer = cconv.SoftmaxWithLoss()

    def gradient(self, x, t):
        return {"W": np.zeros(2)}


def test_mistakes_are_refused_when_the_trainer_is_made(tmp_path):
    x, t = samples()
    nan = np.eye(3, dtype=np.float32)[t]
    nan[7, 1] = np.nan
    images = np.zeros((40, 1, 4, 4), np.float32)
    of_images = Network([Affine(units=3)], (1, 4, 4), seed=0)
    lossless = type("Lossless", (), {"params": {}, "gradient": lambda self, x, t: {}})()
    for make, words in (
        (lambda: trainer(schedule=StepDecay), "schedule must be a Schedule or a function .*'steps'"),
        (lambda: trainer(schedule=lambda optimizer: None), "schedule must be a Schedule or a function that makes one"),
        (lambda: trainer(callbacks=[EarlyStopping]), "must hold Callback objects, got the class EarlyStopping"),
        (lambda: Trainer(network(), x, nan), "t_train must hold .*t must be finite"),
        (lambda: Trainer(of_images, images, t, augment=cconv.augment.Mixup()), "augment .*num_classes must be given"),
        (lambda: Trainer(of_images, images, t, augment=lambda x, t: (x, t)), "augment must take a batch .*seed"),
        (lambda: trainer(augment=lambda x, t, **_: x), "augment must .* must be a pair .x, t. of arrays"),
        (lambda: trainer(augment=lambda x, t, **_: (x[:3], t[:3])), "augment.* a row for each of 8 samples"),
        (lambda: trainer(augment=lambda x, t, **_: (x[:, :2], t)), "augment must return what the network takes"),
        (lambda: trainer(augment=lambda x, t, **_: (x, t + 3)), "augment must return what the network takes"),
        (lambda: trainer(validation=x), "validation must be a pair .x, t., a data set or a fraction"),
        (lambda: trainer(class_weight={7: -1}), r"class_weight\[7\] must be a number that is not negative"),
        (lambda: Trainer(lossless, x, t), r"network must have loss.x, t. or last_layer, got Lossless"),
        (lambda: Trainer(Scored(), x, t, validation=0.2), r"network must have loss.x, t., got Scored"),
        (lambda: Trainer(Scored(), x, t, sample_weight=t), "sample_weight must be None, as Scored.gradient"),
        (
            lambda: Trainer(Network([Affine(units=3)], (4,), last_layer=Quiet()), x, t, class_weight="balanced"),
            "class_weight must be None, as Quiet.forward",
        ),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            make()


def test_a_batch_in_which_nothing_counts_moves_nothing():
    weights = np.zeros(40)
    weights[:3] = 1, 2, 3
    run = trainer(sample_weight=weights, optimizer="SGD", mini_batch_size=4)
    seen = []

    class Watch(Callback):
        def on_step_end(self, trainer):
            batch = trainer.order[4 * (trainer.current_iter - 1) :][:4]
            arrays = {name: value.copy() for name, value in trainer.network.params.items()}
            moved = any((arrays[name] != seen[-1][0][name]).any() for name in arrays) if seen else None
            seen.append((arrays, weights[batch].sum(), moved))

    run.callbacks.append(Watch())
    run.train(1)
    counts = [count for _, count, _ in seen]
    assert 7 <= counts.count(0) < 10
    for (_, count, moved), loss in zip(seen, run.history.step_loss, strict=True):
        assert moved in (None, count > 0) and (loss > 0) == (count > 0)
    assert run.history.loss == [pytest.approx(np.dot(run.history.step_loss, counts) / 6)]


@pytest.mark.parametrize(
    ("kept", "words"),
    [({"set": {1}}, "must hold JSON values and arrays: got set"), ([1], "must return a dict, got list")],
)
def test_a_callback_whose_state_no_file_can_hold_is_named(kept, words, tmp_path):
    class Odd(Callback):
        def state_dict(self):
            return kept

    with pytest.raises(TypeError, match=f"state_dict of callback Odd {words}"):
        trainer(callbacks=[Odd()]).save_checkpoint(tmp_path / "c")
    assert not list(tmp_path.iterdir())


class Sorting(Own):
    """A data set that sorts the places that it is asked for."""

    def __getitem__(self, indices):
        if isinstance(indices, np.ndarray):
            indices.sort()
        return super().__getitem__(indices)


def test_what_sorts_its_indices_does_not_change_the_order():
    def spoiling(x, t, *, seed, epoch, indices):
        indices[:] = 0
        return x, t

    for run in (Trainer(network(), Sorting(), verbose=False, seed=0, epochs=1), trainer(augment=spoiling, epochs=1)):
        orders = []

        class Watch(Callback):
            def on_step_end(self, trainer, orders=orders):
                orders.append(trainer.order.copy())

        run.callbacks.append(Watch())
        run.train()
        assert all(sorted(order) == list(range(40)) for order in orders)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (lambda x, t: (x[:-1], t[:-1]), r"x_train\[indices\] must have a row for each of 8 samples"),
        (lambda x, t: x, r"x_train\[indices\] must be a pair"),
        (lambda x, t: (x.astype(str), t), r"x_train\[indices\] must hold real numbers"),
        (lambda x, t: (x[:, :3], t), "x must have shape"),
    ],
)
def test_a_data_set_that_breaks_in_the_middle_ends_training_with_nothing_changed(batch, words):
    class Breaking(Own):
        def __getitem__(self, indices):
            found = super().__getitem__(indices)
            return batch(*found) if 39 in np.arange(40)[indices] and len(self.asked) > 4 else found

    run = Trainer(network(), Breaking(), mini_batch_size=8, verbose=False, seed=0, on_nonfinite="ignore")
    with pytest.raises((TypeError, ValueError), match=words):
        run.train()
    steps, before = run.current_iter, state(run)
    with pytest.raises((TypeError, ValueError), match=words):
        run.train()
    assert state(run) == before and run.current_iter == steps == len(run.history.step_loss)


def test_files_that_cannot_be_written_are_refused_before_the_first_step(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        trainer(checkpoint_dir=tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        trainer(log_dir=tmp_path / "file")
    for log in (cconv.callbacks.CSVLog, cconv.callbacks.JSONLinesLog):
        for name in (tmp_path / "nowhere" / "log", tmp_path, tmp_path / "file" / "log"):
            run = trainer(callbacks=[log(name)])
            with pytest.raises(OSError, match=Path(name).name if name == tmp_path else "nowhere|file"):
                run.train()
            assert run.current_iter == 0
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for options in ({"checkpoint_dir": tmp_path / "run"}, {"log_dir": tmp_path / "log"}):
        run = trainer(**options)
        with pytest.raises(PermissionError, match="run|log"):
            run.train()
        assert run.current_iter == 0


def test_a_full_disk_ends_training_which_then_goes_on(tmp_path, monkeypatch):
    whole = trainer(**FULL)
    whole.train()
    run = trainer(checkpoint_dir=tmp_path / "run", checkpoint_every=3, callbacks=[LearningRateLog()], **FULL)
    fsync = os.fsync

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for steps in (3, 4):  # within an epoch, and at its end
        with pytest.raises(OSError, match="No space left on device: .*checkpoint-"):
            run.train()
        assert run.current_iter == steps and len(run.callbacks[0].lr) == steps
        assert os.listdir(tmp_path / "run") == []
    monkeypatch.setattr(os, "fsync", fsync)
    run.train()
    assert state(run) == state(whole)


def test_trainers_are_copied_and_pickled():
    whole = trainer(**FULL | {"average": None})
    whole.train(1)
    copies = [copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))]
    before = state(whole)
    whole.train(1)
    for other in copies:
        assert state(other) == before
        other.train(1)
        assert state(other) == state(whole)


def test_trainings_in_several_python_threads_have_the_bits_of_one_alone():
    runs = [trainer(**FULL) for _ in range(3)]
    threads = [threading.Thread(target=run.train) for run in runs[1:]]
    for thread in threads:
        thread.start()
    runs[0].train()
    for thread in threads:
        thread.join()
    assert state(runs[0]) == state(runs[1]) == state(runs[2])


def test_equal_weights_are_none():
    runs = [trainer(sample_weight=weight, optimizer="SGD") for weight in (None, np.full(40, 2.0))]
    for run in runs:
        run.train()
    np.testing.assert_allclose(runs[0].history.step_loss, runs[1].history.step_loss, rtol=1e-5)


def test_a_frozen_network_is_measured_and_does_not_change():
    run = trainer(network().freeze(), epochs=1)
    before = {name: value.copy() for name, value in run.network.params.items()}
    run.train()
    for name, value in run.network.params.items():
        np.testing.assert_array_equal(value, before[name])
    assert len(run.train_acc_list) == 1


def test_one_sample_and_no_epochs():
    x, t = samples(1)
    run = Trainer(Network([Affine(units=3)], (4,), seed=0), x, t, epochs=0, verbose=False)
    run.train()
    run.train(0)
    assert run.current_iter == 0 and len(run.history) == 0
    run.train(2)
    assert run.current_iter == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is told by Linux")
def test_a_mapped_array_larger_than_what_is_read_is_not_read_whole(tmp_path):
    n = 80_000  # 1 GB, of which the disk has nothing
    with open(tmp_path / "x", "wb") as file:
        file.truncate(n * 3 * 64 * 64)
    x, t = np.memmap(tmp_path / "x", np.uint8, "r", shape=(n, 3, 64, 64)), np.arange(n) % 3
    layers = [Scale(), cconv.Convolution(filters=4, size=3, stride=4), Relu(), Affine(units=3)]

    def anonymous():
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("RssAnon:")) / 1024

    most = []

    class Watch(Callback):
        def on_step_end(self, trainer):
            most.append(anonymous() - before)
            if trainer.current_iter == 20:
                trainer.stop()

    before = anonymous()
    net = Network(layers, (3, 64, 64), seed=0)
    Trainer(net, x, t, validation=0.01, mini_batch_size=50, verbose=False, seed=0, callbacks=[Watch()]).train()
    assert len(most) == 20 and max(most) < 150


def test_targets_and_weights_are_looked_at_before_anything_follows_from_them():
    x, t = samples()
    wrong = [np.where(np.arange(40) == 3, label, t) for label in (-1, 3, 10**12)]
    wrong += [np.full(40, 2**64 - 1, np.uint64), t.astype(float)]
    data = ArrayDataset(x, wrong[1])
    for labels in wrong:
        for options in ({"class_weight": "balanced"}, {"class_weight": {0: 2}}, {"validation": 0.2}):
            with pytest.raises((TypeError, ValueError), match="t_train must hold what the loss of the network takes"):
                Trainer(network(), x, labels, **options)
    nan = np.eye(3, dtype=np.float32)[t]
    nan[7, 1] = np.nan
    for source, words in (((x, nan), "t must be finite"), ((data.split(0.2, seed=0)[0],), "class indices from 0 to 2")):
        with pytest.raises(ValueError, match=f"t_train must hold .*{words}"):
            Trainer(network(), *source, validation=0.2)
    own = type("Labelled", (Own,), {"labels": wrong[1]})()
    with pytest.raises(ValueError, match="t_train must hold .*class indices from 0 to 2, got 3"):
        Trainer(network(), own)


def test_weights_that_the_networks_dtype_does_not_hold_are_refused_or_nothing():
    x, t = samples()
    for weight in (1e300, 1e-40, 0):
        with pytest.raises(ValueError, match="sample_weight must"):
            trainer(sample_weight=np.full(40, weight))
        with pytest.raises(ValueError, match="sample_weight must"):
            network().gradient(x, t, sample_weight=np.full(40, weight))
    some, none = (np.where(np.arange(40) < 12, 1, weight) for weight in (1e-40, 0))
    runs = [trainer(sample_weight=weight, mini_batch_size=4, epochs=1) for weight in (some, none)]
    for run in runs:
        run.train()
    assert state(runs[0]) == state(runs[1]) and 0.0 in runs[0].history.step_loss


def test_callbacks_that_would_never_be_called_are_refused():
    class Misspelt(Callback):
        def on_epoch_finish(self, trainer):
            pass

    class Keras(Callback):
        def on_epoch_end(self, epoch, logs):
            pass

    class Bare(Callback):
        def on_step_end(self):
            pass

    for kind, words in (
        (Misspelt, "callbacks must listen to on_train_begin, .*, got Misspelt.on_epoch_finish, which is never called"),
        (Keras, "callbacks must take the trainer, got Keras.on_epoch_end, which does not: missing .*'logs'"),
        (Bare, "callbacks must take the trainer, got Bare.on_step_end"),
    ):
        with pytest.raises(TypeError, match=words):
            trainer(callbacks=[kind()])


def test_a_checkpoint_of_another_measure_does_not_say_which_epoch_was_best(tmp_path):
    run = trainer(epochs=2)
    run.train()
    run.save_checkpoint(tmp_path / "c")
    other = trainer(network(1), monitor="accuracy")
    before = state(other)
    with pytest.raises(ValueError, match="monitor must be 'accuracy' as here, got 'loss'"):
        other.load_checkpoint(tmp_path / "c")
    assert state(other) == before


def test_a_notebook_without_widgets_has_one_stream(monkeypatch, capsys):
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    trainer(verbose=True, epochs=2).train()
    out, err = capsys.readouterr()
    assert err == "" and "\r  0%|" in out
    shown = [line.rpartition("\r")[2] for line in out.splitlines()]
    assert [line.partition(":")[0] for line in shown if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]


# ---- forks


class Fork:
    """A fork whose child tells its parent what came of an action, or what ended it."""

    def __init__(self):
        self._reading, self._writing = os.pipe()
        self._child = os.fork()
        self.is_child = self._child == 0

    def tell(self, action):
        try:
            told = str(action())
        except BaseException as error:
            told = repr(error)
        os.write(self._writing, told.encode()[:1000])
        os._exit(0)

    def told(self):
        """Return what the child tells; one that does not end is killed."""
        os.close(self._writing)
        with open(self._reading) as file:
            if not select.select([file], [], [], 60)[0]:
                os.kill(self._child, signal.SIGKILL)
            told = file.read()
        os.waitpid(self._child, 0)
        return told


def going_on(run):
    """Train to the end; return the digest of what came of it."""
    run.train()
    return hashlib.sha256(state(run).encode()).hexdigest()


class ForkAt(Callback):
    def __init__(self, step):
        self.step, self.fork = step, None

    def on_step_end(self, trainer):
        if trainer.current_iter == self.step and self.fork is None:
            self.fork = Fork()


def forks(test):
    """Mark a test that forks, also beside threads."""
    ignored = "ignore:.*multi-threaded.*fork:DeprecationWarning"
    return pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")(pytest.mark.filterwarnings(ignored)(test))


@forks
@pytest.mark.parametrize("step", [1, 3, 4])  # the first, one within an epoch, and its last
def test_both_sides_of_a_fork_in_the_middle_of_training_go_on_to_the_same_bits(step):
    expected = going_on(trainer(**FULL))
    callback = ForkAt(step)
    run = trainer(callbacks=[callback], **FULL)
    try:
        found = going_on(run)
    except BaseException as error:
        found = repr(error)
    if callback.fork.is_child:
        callback.fork.tell(lambda: found)
    assert callback.fork.told() == found == expected


@forks
def test_a_child_forked_by_another_thread_predicts_and_trains():
    expected, alone = going_on(trainer(**FULL)), going_on(trainer(epochs=1))
    x, _ = samples()
    entered, done = threading.Event(), threading.Event()

    class Wait(Callback):
        def on_step_end(self, trainer):
            if trainer.current_iter == 3:
                entered.set()
                done.wait(60)

    run, told = trainer(callbacks=[Wait()], **FULL), []

    def fork():
        entered.wait(60)
        here = run.network.predict(x)
        actions = (
            lambda: np.array_equal(run.network.predict(x), here),
            lambda: going_on(trainer(epochs=1)) == alone,
            lambda: going_on(run) == expected,
            lambda: signal.raise_signal(signal.SIGINT),
        )
        for action in actions:
            child = Fork()
            if child.is_child:
                child.tell(action)
            told.append(child.told())
        done.set()

    thread = threading.Thread(target=fork)
    thread.start()
    assert going_on(run) == expected
    thread.join()
    assert told == ["True", "True", "True", "KeyboardInterrupt()"]


@forks
@needs_signals
def test_a_child_forked_in_a_callback_answers_signals_at_once():
    class Forking(Callback):
        def on_step_end(self, trainer):
            child = Fork()
            if child.is_child:
                child.tell(lambda: signal.raise_signal(signal.SIGINT))
            assert child.told() == "KeyboardInterrupt()"
            signal.raise_signal(signal.SIGINT)  # the parent's waits for the end of the step, as ever
            seen.append(trainer.current_iter)

    seen = []
    with pytest.raises(KeyboardInterrupt):
        trainer(callbacks=[Forking()]).train()
    assert seen == [1] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@forks
def test_tensorboard_has_a_file_for_each_process_and_each_training(tmp_path):
    pytest.importorskip("tensorboardX")
    callback = ForkAt(3)
    run = trainer(callbacks=[callback, TensorBoardLog(tmp_path / "runs")], epochs=4)  # more than what its queue holds
    try:
        run.train()
    finally:
        if callback.fork.is_child:
            callback.fork.tell(lambda: run.current_epoch)
    assert callback.fork.told() == "4"
    run.train(1)
    first, second, third = (file.read_bytes().count(b"step/loss") for file in sorted((tmp_path / "runs").iterdir()))
    assert sorted((first, second, third)) == [5, 18, 20]


@needs_signals
def test_a_trainer_is_copied_and_pickled_in_the_middle_of_training(tmp_path):
    pytest.importorskip("tensorboardX")
    copies = []

    class Copying(Callback):
        def on_step_end(self, trainer):
            if trainer.current_iter == 3 and not copies:
                trainer.callbacks.remove(self)
                copies.extend([copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))])

    options = FULL | {"average": None}
    whole = trainer(callbacks=[Copying(), TensorBoardLog(tmp_path)], **options)
    whole.train()
    for other in copies:
        with pytest.raises(KeyboardInterrupt), other._gate, other._gate.held():
            signal.raise_signal(signal.SIGINT)
            held = True
        assert held
        other.train()
        assert state(other) == state(whole)
