"""Training: shuffled passes over the data, one optimizer step per batch."""

import sys
import time

import numpy as np

from . import optimizers
from ._random import generator
from .geometry import integer

__all__ = ["Trainer"]

OPTIMIZERS = {
    cls.__name__.lower(): cls
    for cls in (
        optimizers.SGD,
        optimizers.Momentum,
        optimizers.Nesterov,
        optimizers.AdaGrad,
        optimizers.RMSprop,
        optimizers.Adam,
    )
}


class Trainer:
    """Train a network on arrays and record how it goes.

    An epoch is one pass over the training data in a new random order, in batches of `mini_batch_size`, the last one
    perhaps smaller; at its end the accuracy on training and test data is measured outside training.

    Parameters
    ----------
    network : object
        Anything with `params`, ``gradient(x, t)`` and ``accuracy(x, t)``. The loss of a step is `last_layer.loss` after
        `gradient` where there is one, else ``loss(x, t)``.
    x_train, t_train, x_test, t_test : ndarray
        Samples along the first axis.
    epochs : int, default 20
    mini_batch_size : int, default 100
    optimizer : str, default 'SGD'
        'SGD', 'Momentum', 'Nesterov', 'AdaGrad', 'RMSprop' or 'Adam', in any case.
    optimizer_param : dict, optional
        Its keyword arguments; its own defaults hold for what is not given.
    evaluate_sample_num_per_epoch : int, optional
        Measure accuracy on this many samples from the beginning of each set; all when not given.
    verbose : bool, default True
        Print a line per epoch, and show a progress bar on a terminal.
    rng : numpy.random.Generator, keyword only
        Draws the order of the samples.
    seed : int, keyword only
        Makes the order repeatable, in place of `rng`.

    Attributes
    ----------
    train_loss_list : list of float
        One per step.
    train_acc_list, test_acc_list : list of float
        One per epoch.
    optimizer : Optimizer
    current_iter, current_epoch, iter_per_epoch, max_iter : int
        Steps and epochs done, steps of one epoch and of all.

    Raises
    ------
    TypeError, ValueError
        If a size does not fit or the optimizer is unknown.

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = cconv.load_synthetic_digits(200, 50, flatten=False)
    >>> trainer = Trainer(cconv.SimpleConvNet(seed=0), x_train, t_train, x_test, t_test, epochs=2, optimizer="Adam",
    ...                   verbose=False, seed=0)
    >>> trainer.train()
    >>> len(trainer.train_loss_list), len(trainer.test_acc_list)
    (4, 2)
    """

    def __init__(
        self,
        network,
        x_train,
        t_train,
        x_test,
        t_test,
        epochs=20,
        mini_batch_size=100,
        optimizer="SGD",
        optimizer_param=None,
        evaluate_sample_num_per_epoch=None,
        verbose=True,
        *,
        rng=None,
        seed=None,
    ):
        self.network = network
        self.x_train, self.t_train = _samples(x_train, t_train, "train")
        self.x_test, self.t_test = _samples(x_test, t_test, "test")
        self.epochs = integer(epochs, "epochs", 0)
        self.batch_size = integer(mini_batch_size, "mini_batch_size", 1)
        if evaluate_sample_num_per_epoch is not None:
            evaluate_sample_num_per_epoch = integer(evaluate_sample_num_per_epoch, "evaluate_sample_num_per_epoch", 1)
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        self.verbose = verbose
        name = str(optimizer).lower()
        if name not in OPTIMIZERS:
            known = ", ".join(cls.__name__ for cls in OPTIMIZERS.values())
            raise ValueError(f"optimizer must be one of {known}, got {optimizer!r}")
        self.optimizer = OPTIMIZERS[name](**(optimizer_param or {}))
        self.rng = generator(rng, seed)

        self.train_size = len(self.x_train)
        self.iter_per_epoch = -(-self.train_size // self.batch_size)
        self.max_iter = self.epochs * self.iter_per_epoch
        self.current_iter = 0
        self.current_epoch = 0
        self.train_loss_list = []
        self.train_acc_list = []
        self.test_acc_list = []
        self._order = None

    def train_step(self):
        """Take one optimizer step on the next batch; at the end of an epoch, measure the accuracy."""
        place = self.current_iter % self.iter_per_epoch
        if place == 0 or self._order is None:
            self._order = self.rng.permutation(self.train_size)
        batch = self._order[place * self.batch_size : (place + 1) * self.batch_size]
        x, t = self.x_train[batch], self.t_train[batch]
        grads = self.network.gradient(x, t)
        loss = getattr(getattr(self.network, "last_layer", None), "loss", None)
        if loss is None:
            loss = self.network.loss(x, t)
        self.optimizer.update(getattr(self.network, "trainable_params", self.network.params), grads)
        self.train_loss_list.append(float(loss))
        self.current_iter += 1
        if self.current_iter % self.iter_per_epoch == 0:
            self.current_epoch += 1
            limit = self.evaluate_sample_num_per_epoch
            self.train_acc_list.append(self.network.accuracy(self.x_train[:limit], self.t_train[:limit]))
            self.test_acc_list.append(self.network.accuracy(self.x_test[:limit], self.t_test[:limit]))

    def train(self):
        """Take all steps that are left of `epochs`; print the test accuracy at the end."""
        start = time.perf_counter()
        bar = self._progress_bar()
        try:
            while self.current_iter < self.max_iter:
                self.train_step()
                if bar is not None:
                    bar.set_postfix_str(f"loss {self.train_loss_list[-1]:.4f}", refresh=False)
                    bar.update()
                if self.verbose and self.current_iter % self.iter_per_epoch == 0:
                    self._report(bar)
        finally:
            if bar is not None:
                bar.close()
        if self.verbose and self.test_acc_list:
            print(f"test accuracy {self.test_acc_list[-1]:.4f} after {time.perf_counter() - start:.1f} s")

    def _progress_bar(self):
        if not self.verbose or not sys.stderr.isatty():
            return None
        from tqdm import tqdm

        return tqdm(total=self.max_iter, initial=self.current_iter, unit="step", leave=False)

    def _report(self, bar):
        line = (
            f"epoch {self.current_epoch}/{self.epochs}: loss {self.train_loss_list[-1]:.4f}, train accuracy "
            f"{self.train_acc_list[-1]:.4f}, test accuracy {self.test_acc_list[-1]:.4f}"
        )
        print(line) if bar is None else bar.write(line)


def _samples(x, t, name):
    x, t = np.asarray(x), np.asarray(t)
    if x.ndim == 0 or t.ndim == 0 or len(x) != len(t):
        raise ValueError(f"x_{name} and t_{name} must have as many samples, got shapes {x.shape} and {t.shape}")
    if len(x) == 0:
        raise ValueError(f"x_{name} must hold at least one sample, got shape {x.shape}")
    return x, t
