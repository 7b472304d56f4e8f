"""The trainer: what it records, in which order it sees the data, and what it asks of a network."""

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
