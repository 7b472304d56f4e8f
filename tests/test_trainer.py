"""The trainer: what it records, in which order it sees the data, and what it asks of a network."""

import io
import sys

import numpy as np
import pytest

from cconv import SGD, Adam, SimpleConvNet, Trainer


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


@pytest.mark.parametrize("name", ["SGD", "sgd", "Momentum", "NESTEROV", "adagrad", "AdaGrad", "rmsprop", "RMSprop"])
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
    assert [line for line in sys.stdout.getvalue().splitlines() if line.startswith("epoch 2/2: loss 6.0000")]


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
