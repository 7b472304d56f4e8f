"""Training: shuffled passes over the data, one optimizer step per batch."""

from __future__ import annotations

import copy
import inspect
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from . import _checkpoint, optimizers
from ._arrays import as_array, number
from ._batches import Batch, Batches
from ._checks import argument, choice, flag, mapping, nonnegative
from ._files import path_of
from ._hints import ARGUMENTS, TRAINING, use
from ._interrupts import Interrupts
from ._progress import Progress
from ._random import generator
from ._showing import Word, arguments_of, in_lines, settings_of
from ._typing import Array, DatasetLike, FileName, Rng, Trainable
from .averaging import ExponentialMovingAverage
from .callbacks import Callback, Checkpoints, CSVLog, EarlyStopping, JSONLinesLog
from .callbacks.early_stopping import direction, is_better, measure
from .data import ArrayDataset, Dataset, Subset, as_dataset
from .data.dataset import checked_batch
from .functional.loss import sample_weights
from .geometry import integer
from .history import History
from .layers.stack import call, nested, undoing
from .networks import Network
from .networks.network import takes
from .schedules import Schedule
from .serialization import put, read_checkpoint, save_checkpoint

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
        optimizers.AdamW,
        optimizers.Lion,
    )
}
EVENTS = [name for name in vars(Callback) if name.startswith("on_")]
LARGE = 50  # values of an image that is not scaled, whatever it is scaled by
CHUNK = 1000  # samples of a data set that are measured together


class Trainer:
    """Train a network on data and record how it goes.

    An epoch is one pass over the training data in a new random order, in batches of `mini_batch_size`, the last one
    perhaps smaller; at its end the network is measured outside training: its accuracy on training and test data, and
    loss and accuracy on validation data (no accuracy where its loss is one of regression).

    A step is counted or not, and so is an epoch: whatever ends `train` or `train_step` early, Ctrl-C at any moment or
    an exception, what was counted is complete, and what was not has changed nothing. ``train()`` then goes on.

    Parameters
    ----------
    network : object
        Anything with `params`, ``gradient(x, t)`` and ``accuracy(x, t)``. The loss of a step is `last_layer.loss` after
        `gradient` where there is one, else ``loss(x, t)``.
    x_train, t_train : ndarray
        Samples along the first axis; a `numpy.memmap` is read batch by batch. Or `x_train` is a data set of
        `cconv.data` (``len(d)``, ``d[indices]`` → (x, t)), and `t_train` None.
    x_test, t_test : ndarray or data set, optional
        As for training. Without them there is no test accuracy.
    epochs : int, default 20
    mini_batch_size : int, default 100
    optimizer : str or Optimizer, default 'SGD'
        'SGD', 'Momentum', 'Nesterov', 'AdaGrad', 'RMSprop', 'Adam', 'AdamW' or 'Lion', in any case, or one that is
        made already.
    optimizer_param : dict, optional
        The keyword arguments of a named one; its own defaults hold for what is not given.
    evaluate_sample_num_per_epoch : int, optional
        Measure accuracy on this many samples from the beginning of training and test data; all when not given.
    verbose : bool, default True
        Print a line per epoch, and show a progress bar on a terminal and in a notebook; elsewhere a line every ten
        seconds.
    rng : numpy.random.Generator, keyword only
        Draws the order of the samples.
    seed : int, keyword only
        Makes the order, the validation split and augmentation repeatable, in place of `rng`.
    schedule : Schedule or callable, keyword only
        Sets the learning rate, after each step or each epoch as it says itself; a callable makes it of the optimizer.
        One that wants a measure gets that of `monitor`.
    average : ExponentialMovingAverage or float, keyword only
        An average of the network's parameters, or its decay: it follows them after each step, and the network is
        measured with the averages in their place. ``with trainer.average.swapped():`` uses or saves them.
    validation : pair of ndarray, data set or float, keyword only
        (x, t), or a fraction of the training data that is kept apart, split by the seed, each class alike.
    augment : callable, keyword only
        ``augment(x, t, seed=, epoch=, indices=)`` returns a batch as it is to be trained on, see `cconv.augment`.
        `train` prepares batches in a thread of its own, ahead of the step.
    class_weight : dict, array_like or 'balanced', keyword only
        A weight for the samples of each class; 'balanced' is n / (classes · samples of the class). For training only.
    sample_weight : array_like, keyword only
        A weight for each training sample, by which its class's is multiplied. The mean divides by the sum of weights.
    monitor : str, keyword only
        The list of `history` by which epochs are compared: 'val_loss' where there is validation, else 'loss'.
    early_stopping : int or EarlyStopping, keyword only
        Stop when the monitored measure has not become better in so many epochs.
    restore_best : bool, default False, keyword only
        When `train` has come to its end, put back the parameters, and what layers accumulate, of the best epoch.
    callbacks : list of Callback, keyword only
        What listens, see `cconv.callbacks`.
    checkpoint_dir : str, bytes or path, keyword only
        A folder for checkpoints: the latest `keep` (3), and that of the best epoch.
    checkpoint_every : int, keyword only
        Steps between two checkpoints; an epoch when not given.
    keep : int, default 3, keyword only
    resume : bool, default False, keyword only
        Go on from the latest checkpoint in `checkpoint_dir`; an empty folder is a fresh start.
    log_dir : str, bytes or path, keyword only
        A folder for `history.csv` and `history.jsonl`.
    on_nonfinite : {'stop', 'warn', 'ignore'}, keyword only
        What to do when a step's loss or gradients are not finite: 'stop' raises FloatingPointError before the update,
        with nothing changed; 'warn' warns and goes on.
    drop_last : bool, default False, keyword only
        Leave out the last batch of an epoch where it is smaller than the others.

    Attributes
    ----------
    history : History
        Measures per epoch, and the loss of each step.
    train_loss_list, train_acc_list, test_acc_list : list of float
        `history.step_loss`, `history.accuracy` and `history.test_accuracy`.
    optimizer : Optimizer
    schedule : Schedule or None
    average : ExponentialMovingAverage or None
    epochs : int
        May be set at any time.
    current_iter, current_epoch, iter_per_epoch, max_iter : int
        Steps and epochs done, steps of one epoch and of all.
    best_epoch, best_value : int, float
        The epoch, counted from 1, with the best monitored measure, and that; 0 and NaN before the first.
    step_lr : float
        The learning rate of the last step.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it must be, or data and network do not fit: all before training begins.

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = cconv.load_synthetic_digits(200, 50, flatten=False)
    >>> trainer = Trainer(cconv.SimpleConvNet(seed=0), x_train, t_train, x_test, t_test, epochs=2, optimizer="Adam",
    ...                   verbose=False, seed=0)
    >>> trainer.train()
    >>> len(trainer.train_loss_list), len(trainer.test_acc_list)
    (4, 2)
    """

    train_data: Dataset
    validation_data: Dataset | None
    test_data: Dataset | None
    callbacks: list[Callback]
    order: Array | None
    _weights: Array | None

    def __init__(
        self,
        network: Trainable,
        x_train: ArrayLike | DatasetLike,
        t_train: ArrayLike | None = None,
        x_test: ArrayLike | DatasetLike | None = None,
        t_test: ArrayLike | None = None,
        epochs: int = 20,
        mini_batch_size: int = 100,
        optimizer: str | optimizers.Optimizer = "SGD",
        optimizer_param: Mapping[str, Any] | None = None,
        evaluate_sample_num_per_epoch: int | None = None,
        verbose: bool = True,
        *,
        rng: Rng | None = None,
        seed: int | None = None,
        schedule: Schedule | Callable[[optimizers.Optimizer], Schedule] | None = None,
        average: ExponentialMovingAverage | float | None = None,
        validation: float | DatasetLike | tuple[ArrayLike, ArrayLike] | None = None,
        augment: Callable[..., Any] | None = None,
        class_weight: Mapping[int, float] | ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        monitor: str | None = None,
        early_stopping: int | EarlyStopping | None = None,
        restore_best: bool = False,
        callbacks: Sequence[Callback] = (),
        checkpoint_dir: FileName | None = None,
        checkpoint_every: int | None = None,
        keep: int = 3,
        resume: bool = False,
        log_dir: FileName | None = None,
        on_nonfinite: Literal["stop", "warn", "ignore"] = "stop",
        drop_last: bool = False,
    ) -> None:
        has_params = isinstance(getattr(network, "params", None), Mapping)
        if not has_params or not callable(getattr(network, "gradient", None)):
            raise TypeError(f"network must have params and gradient(x, t), got {type(network).__name__}")
        has_loss = callable(getattr(network, "loss", None))
        if not has_loss and (validation is not None or getattr(network, "last_layer", None) is None):
            wanted = "loss(x, t)" if validation is not None else "loss(x, t) or last_layer"
            raise TypeError(f"network must have {wanted}, got {type(network).__name__}")
        self.network = network
        self.x_train, self.t_train, self.x_test, self.t_test = x_train, t_train, x_test, t_test
        self._data = as_dataset(x_train, t_train, ("x_train", "t_train"))
        self.test_data = None
        if x_test is not None or t_test is not None:
            self.test_data = as_dataset(x_test, t_test, ("x_test", "t_test"))
        self.epochs = epochs
        self.batch_size = integer(mini_batch_size, "mini_batch_size", 1)
        if evaluate_sample_num_per_epoch is not None:
            evaluate_sample_num_per_epoch = integer(evaluate_sample_num_per_epoch, "evaluate_sample_num_per_epoch", 1)
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        self.verbose = flag(verbose, "verbose")
        self.optimizer = _optimizer(optimizer, optimizer_param, network)
        self.schedule = _schedule(schedule, self.optimizer)
        self.average = _average(average, network)
        self.rng = generator(rng, seed)
        if augment is not None and not callable(augment):
            raise TypeError(f"augment must be a function of (x, t, seed, epoch, indices), got {augment!r}")
        self.augment = augment
        self.on_nonfinite = choice(on_nonfinite, "on_nonfinite", ("stop", "warn", "ignore"))
        self.drop_last = flag(drop_last, "drop_last")
        self.restore_best = flag(restore_best, "restore_best")

        self._fraction: float | None = None
        self.validation_data = self._validation(validation)
        self._check_sets()
        self._class_weight = class_weight
        self._sample_weight = _sample_weight(sample_weight, len(self._data))
        # Drawn only where they are used: the order of the samples is that of the seed alone otherwise.
        draws = {"augment": augment is not None, "split": self._fraction is not None}
        self.seeds = {name: int(self.rng.integers(2**63)) if want else 0 for name, want in draws.items()}
        self.__dict__.update(self._split(self.seeds["split"]))

        self.train_size = len(self.train_data)
        whole, rest = divmod(self.train_size, self.batch_size)
        self.iter_per_epoch = whole + (rest > 0 and not self.drop_last)
        if not self.iter_per_epoch:
            raise ValueError(
                f"drop_last=True leaves no batch: mini_batch_size is {self.batch_size}, of {self.train_size} samples"
            )
        self._check_fit(rest)

        self.history = History()
        self.current_iter = 0
        self.current_epoch = 0
        self.seconds = 0.0  # of the epoch that is under way
        self.step_lr = self.optimizer.lr
        self.order = None
        self.best_epoch, self.best_value, self.best_arrays = 0, math.nan, None
        self._gate = Interrupts()
        self._batches = Batches(self._prepare, self.iter_per_epoch, self._gate.held)
        self._stopped: str | None = None

        self.monitor = _monitor(monitor, self.validation_data is not None)
        self.expect_measured(self.monitor)
        self.callbacks = self._callbacks(callbacks, early_stopping, log_dir)
        self._resume(checkpoint_dir, checkpoint_every, keep, resume)

    def __repr__(self) -> str:
        data = {"x_train": self.train_data, "x_test": self.test_data, "validation": self.validation_data}
        told: dict[str, Any] = {name: Word(f"<{len(d)} samples>") for name, d in data.items() if d is not None}
        told = {"network": Word(f"<{type(self.network).__name__}>")} | told
        names = ("optimizer", "schedule", "average", "augment")
        told |= {"mini_batch_size": self.batch_size} | {name: getattr(self, name) for name in names}
        if self.callbacks:
            told["callbacks"] = self.callbacks
        hidden = ("t_train", "t_test", "monitor", "rng")
        lines = [*settings_of(self, told, hidden), f"{self.current_epoch} epochs, {self.current_iter} steps done"]
        return in_lines(type(self).__name__, [("", line) for line in lines])

    if not TYPE_CHECKING:  # for which there would be every attribute

        def __getattr__(self, name):
            if name in TRAINING:
                raise AttributeError(f"Trainer has no attribute {name!r}{use(name, TRAINING)}", name=name, obj=self)
            return object.__getattribute__(self, name)  # again, for its own error: a property may have raised it

    @property
    def epochs(self) -> int:
        return self._epochs

    @epochs.setter
    def epochs(self, value: int) -> None:
        self._epochs = integer(value, "epochs", 0)

    @property
    def max_iter(self) -> int:
        return self.epochs * self.iter_per_epoch

    @property
    def train_loss_list(self) -> list[float]:
        return self.history.step_loss

    @property
    def train_acc_list(self) -> list[float]:
        return self.history.accuracy

    @property
    def test_acc_list(self) -> list[float]:
        return self.history.test_accuracy

    @property
    def epoch_is_complete(self) -> bool:
        """Whether all steps of an epoch are done that is not counted yet, as it must be measured first."""
        return self.current_iter == (self.current_epoch + 1) * self.iter_per_epoch

    def measures(self) -> list[str]:
        """Return the names of the lists in `history` that get a value in each epoch."""
        names = ["loss", "lr", "seconds"]
        if self.validation_data is not None:
            names.append("val_loss")
        if self._has_accuracy():
            names.append("accuracy")
            names += ["val_accuracy"] * (self.validation_data is not None)
            names += ["test_accuracy"] * (self.test_data is not None)
        return names

    def expect_measured(self, name: str) -> None:
        """Refuse to monitor what is not measured.

        Raises
        ------
        ValueError
            If no list in `history` of this name gets values.
        """
        if name not in self.measures():
            known = ", ".join(known for known in self.measures() if known not in ("lr", "seconds"))
            raise ValueError(f"monitor must be one of {known}, which this trainer measures, got {name!r}")

    def train_step(self) -> None:
        """Take one optimizer step on the next batch; at the end of an epoch, measure and record it."""
        with self._gate, self._training_mode():
            if self.epoch_is_complete:
                self._end_epoch()
            self._step()
            if self.epoch_is_complete:
                self._end_epoch()

    def train(self, epochs: int | None = None) -> None:
        """Take all steps that are left of `epochs`; print the test accuracy at the end.

        Parameters
        ----------
        epochs : int, optional
            Train so many epochs more, whatever `trainer.epochs` says. Without it, training goes on to `trainer.epochs`,
            which may have been set meanwhile; where that is reached, this says so and returns.

        Raises
        ------
        FloatingPointError
            If a step's loss or gradients are not finite, unless `on_nonfinite` says otherwise.
        RuntimeError
            If this trainer is training already: when a callback calls it, or another thread.
        """
        if self._gate.is_entered:
            raise RuntimeError("train() is under way: a callback may call train_step(), stop() or another trainer")
        last = self.epochs if epochs is None else self.current_epoch + integer(epochs, "epochs", 0)
        if self.current_epoch >= last:
            if self.verbose and epochs is None and self.epochs:
                Progress(True, 0, 0).say(
                    f"{self.current_epoch} epochs are done, as many as trainer.epochs says: train(n) trains n more"
                )
            self._put_best()  # a training that was killed after its last checkpoint has not
            return
        start = time.perf_counter()
        self._stopped = None
        progress = Progress(self.verbose, last * self.iter_per_epoch, self.current_iter)
        with self._gate, self._training_mode():
            try:
                if self.augment is not None or not _is_in_memory(self.train_data):
                    self._batches.begin_ahead()
                self._tell("on_train_begin")
                while self.current_epoch < last and not self._stopped:
                    self._train_epoch(last, progress)
                self._put_best()
                self._tell("on_train_end")
            except BaseException:
                progress.close()  # first: the bar is in the way of what a callback prints
                self._tell("on_interrupt")
                raise
            finally:
                try:
                    self._batches.close()
                finally:
                    progress.close()
        if self._stopped:
            progress.say(f"stopped after epoch {self.current_epoch}: {self._stopped}")
        if self.history.test_accuracy:
            seconds = time.perf_counter() - start
            progress.say(f"test accuracy {self.history.test_accuracy[-1]:.4f} after {seconds:.1f} s")

    def _put_best(self):
        if self.restore_best and self.best_arrays is not None:
            with self._gate, self._gate.held():
                put(self.best_arrays, self._arrays())

    def stop(self, reason: str = "a callback says so") -> None:
        """End `train` after the step or epoch that is under way: for callbacks."""
        self._stopped = str(reason)

    def _train_epoch(self, last, progress):
        """Take the steps that are left of an epoch, and measure it, unless a callback stops the training."""

        def ended():
            progress.say(self._epoch_line(last))
            self._tell("on_epoch_end")

        if not self.epoch_is_complete:
            self._tell("on_epoch_begin")
        while not (self.epoch_is_complete or self._stopped):
            self._step(lambda: self._tell("on_step_end"))
            progress.step(self.history.step_loss[-1], lambda: self._step_line(last))
        if self.epoch_is_complete:
            self._end_epoch(ended)

    def _tell(self, event):
        self._tell_each(iter(list(self.callbacks)), event)

    def _tell_each(self, callbacks, event):
        for callback in callbacks:
            try:
                getattr(callback, event)(self)
            except BaseException:
                self._tell_each(callbacks, event)  # each is told, also where one before it fails
                raise

    # ---- steps

    def _step(self, then=lambda: None):
        """Take a step; what callbacks are told of it, `then`, an interrupt does not part from it."""
        begun = time.perf_counter()
        if self.order is None:
            with self._gate.held():
                self.order = self.rng.permutation(self.train_size)
        place = self.current_iter - self.current_epoch * self.iter_per_epoch
        undo, step = undoing(self._layers()), self.current_iter
        try:
            x, t, weight = self._batches.take(self.current_epoch, self.order, place)
            grads, loss = self._gradient(x, t, weight)
            if self.on_nonfinite != "ignore":
                self._check_finite(x, loss, grads)
            with self._gate.held(softly=True):
                with self._gate.held():
                    self._commit(grads, loss, begun)
                then()
        except BaseException:
            if self.current_iter == step:
                with self._gate.held():
                    undo()
            raise

    def _gradient(self, x, t, weight):
        """Return the gradients and the loss of a batch."""
        network = self.network
        gradient = network.gradient
        if getattr(gradient, "__func__", None) is Network.gradient:
            gradient = network._gradient  # what a step has done to layers is undone here, with all else
        if weight is not None and not weight.any():  # nothing in this batch counts
            return {name: np.zeros_like(grad) for name, grad in gradient(x, t).items()}, 0.0
        grads = gradient(x, t) if weight is None else gradient(x, t, sample_weight=weight)
        loss = getattr(getattr(network, "last_layer", None), "loss", None)
        return grads, float(network.loss(x, t) if loss is None else loss)

    def _commit(self, grads, loss, begun):
        """Take the optimizer's step and count it."""
        lr = self.optimizer.lr
        self.optimizer.update(self._trainable(), grads)
        self.history.step_loss.append(loss)
        self.current_iter += 1
        self.step_lr = lr
        if self.average is not None:
            self.average.update()
        if self.schedule is not None and self.schedule.every == "step":
            self.schedule.step()
        self.seconds += time.perf_counter() - begun

    def _trainable(self):
        """Return the parameters that have gradients."""
        network = self.network
        is_ours = isinstance(network, Network)  # which makes each of them when it is asked
        return network.trainable_params if is_ours else getattr(network, "trainable_params", network.params)

    def _layers(self):
        """Return what an undone step leaves as it was: the layers of the network, and its loss."""
        layers = getattr(self.network, "layers", None)
        if not isinstance(self.network, Network):  # the chapter's own networks have dicts of layers too
            layers = list(layers.values()) if isinstance(layers, Mapping) else []
        else:
            layers = [layer for _, layer in nested(layers)]
        loss = getattr(self.network, "last_layer", None)
        return layers if loss is None else [*layers, loss]

    def _prepare(self, epoch, order, number):
        """Return a batch as it is trained on; it depends on the arguments alone."""
        indices = order[number * self.batch_size : (number + 1) * self.batch_size]
        # Copies: whoever sorts or shuffles what it is given does not change the order of the epoch.
        x, t = checked_batch(self.train_data[indices.copy()], len(indices), "x_train[indices]")
        if self.augment is not None:
            given = self.augment(x, t, seed=self.seeds["augment"], epoch=epoch, indices=indices.copy())
            x, t = checked_batch(given, len(indices), "augment(x, t)")
        return Batch(x, t, None if self._weights is None else self._weights[indices])

    def _check_finite(self, x, loss, grads):
        """Stop or warn where the loss or a gradient is not finite."""
        if math.isfinite(loss) and optimizers.are_finite(grads):
            return
        where = self._first_nonfinite(x, loss, grads)
        message = f"step {self.current_iter + 1}: {where} is not finite (NaN or infinite)"
        if self.on_nonfinite == "stop":
            raise FloatingPointError(f"{message}; the step was not taken. on_nonfinite='warn' or 'ignore' goes on")
        warnings.warn(message, RuntimeWarning, stacklevel=5)

    def _first_nonfinite(self, x, loss, grads):
        """Return which array is the first, in the order of a step, that is not finite."""
        if not _finite(x):
            return "the batch x"
        if isinstance(self.network, Network):
            out = self.network._batch(self.network._samples(x))
            for name, layer in self.network.layers.items():
                for kind in getattr(layer, "param_names", ()):
                    if (value := getattr(layer, kind)) is not None and not _finite(value):
                        return f"{kind} of layer {name!r}"
                out = call(layer, out, True)
                if not _finite(out):
                    return f"the output of layer {name!r}"
        else:
            for name, value in self.network.params.items():
                if not _finite(value):
                    return f"params[{name!r}]"
        if not math.isfinite(loss):
            return "the loss"
        return next((f"the gradient of {name}" for name, g in reversed(grads.items()) if not _finite(g)), None)

    @contextmanager
    def trial(self) -> Iterator[Callable[[float], float]]:
        """Return a function ``step(lr)`` that takes a step and returns the loss before it; all is undone at the end.

        It goes through the training data in an order of its own, and copies the optimizer as it is.
        """
        with self._gate, self._training_mode():
            arrays, undo = self._arrays(), undoing(self._layers())
            held = {name: value.copy() for name, value in arrays.items()}
            optimizer, rng = copy.deepcopy(self.optimizer), copy.deepcopy(self.rng)
            orders = []
            taken = 0

            def step(lr):
                nonlocal taken
                epoch, place = divmod(taken, self.iter_per_epoch)
                if place == 0:
                    orders.append(rng.permutation(self.train_size))
                x, t, weight = self._prepare(epoch, orders[-1], place)
                grads, loss = self._gradient(x, t, weight)
                if math.isfinite(loss):
                    optimizer.lr = lr
                    optimizer.update(self._trainable(), grads)
                taken += 1
                return loss

            try:
                yield step
            finally:
                with self._gate.held():
                    put(held, arrays)
                    undo()

    # ---- epochs

    def _end_epoch(self, then=lambda: None):
        """Measure and count an epoch; what callbacks are told of it, `then`, an interrupt does not part from it."""
        begun = time.perf_counter()
        losses = self.history.step_loss[-self.iter_per_epoch :]
        measures = {"loss": float(np.average(losses, weights=self._sums_of_weights())), "lr": self.step_lr}
        with self._averages_in_place():
            measures |= self._measured()
            better = is_better(measures[self.monitor], self.best_value, direction(self.monitor))
            arrays = None
            if better and self.restore_best:
                arrays = {name: value.copy() for name, value in self._arrays().items()}
        with self._gate.held(softly=True):
            with self._gate.held():
                if self.schedule is not None and self.schedule.every == "epoch":
                    self.schedule.step(*[measures[self.monitor]] * self.schedule.takes_metric)
                self.history.record(**measures, seconds=self.seconds + time.perf_counter() - begun)
                self.current_epoch += 1
                self.order, self.seconds = None, 0.0
                if better:
                    self.best_epoch, self.best_value = self.current_epoch, measures[self.monitor]
                    self.best_arrays = arrays
            then()

    def _sums_of_weights(self):
        """Return how much each step of the epoch counts: its samples, or the sum of their weights."""
        taken = self.order[: self.iter_per_epoch * self.batch_size]
        weights = np.ones(len(taken)) if self._weights is None else self._weights[taken].astype(np.float64)
        sums = np.add.reduceat(weights, np.arange(0, len(taken), self.batch_size))
        return sums if sums.any() else None  # all that counts was in a batch that was left out

    @contextmanager
    def _averages_in_place(self):
        """Have the averages, if there are some, in the parameters' place; an interrupt finds all or none swapped."""
        if self.average is None:
            yield
            return
        swapped, entered = self.average.swapped(), False
        try:
            with self._gate.held():
                swapped.__enter__()
                entered = True
            yield
        finally:
            if entered:
                with self._gate.held():
                    swapped.__exit__(None, None, None)

    def _measured(self):
        """Return what the network does outside training."""
        measures, has_accuracy = {}, self._has_accuracy()
        limit = self.evaluate_sample_num_per_epoch
        if has_accuracy:
            measures["accuracy"] = self._over(self.train_data, limit, self._accuracy)[0]
            if self.test_data is not None:
                measures["test_accuracy"] = self._over(self.test_data, limit, self._accuracy)[0]
        if self.validation_data is not None:
            found = self._over(self.validation_data, None, self._loss_and_accuracy if has_accuracy else self._loss)
            measures |= dict(zip(("val_loss", "val_accuracy"), found, strict=False))
        return measures

    def _over(self, data, limit, function):
        """Return what a function of (x, t) returns for data: of arrays in memory at once, else the mean over parts."""
        count = len(data) if limit is None else min(limit, len(data))
        if isinstance(data, ArrayDataset) and not isinstance(data.x, np.memmap):
            return function(data.x[:count], data.t[:count])
        total = 0.0
        for start in range(0, count, CHUNK):
            x, t = data[start : min(start + CHUNK, count)]
            total = total + len(x) * np.array(function(x, t), np.float64)
        return (total / count).tolist()

    def _accuracy(self, x, t):
        return (float(self.network.accuracy(x, t)),)

    def _loss(self, x, t):
        return (float(self.network.loss(x, t)),)

    def _loss_and_accuracy(self, x, t):
        return (*self._loss(x, t), *self._accuracy(x, t))

    def _has_accuracy(self):
        loss = getattr(self.network, "last_layer", None)
        return callable(getattr(self.network, "accuracy", None)) and getattr(loss, "accuracy", True) is not None

    @contextmanager
    def _training_mode(self):
        """Have the network in training, and leave its layers as they were."""
        if not isinstance(self.network, Network):
            yield
            return
        layers = [self.network, *(layer for _, layer in nested(self.network.layers))]
        modes = [(layer, layer.training) for layer in layers if hasattr(layer, "training")]
        try:
            self.network.train()
            yield
        finally:
            for layer, mode in modes:
                layer.training = mode

    def _step_line(self, last):
        place = self.current_iter - self.current_epoch * self.iter_per_epoch
        return (
            f"epoch {self.current_epoch + 1}/{last}: step {place} of {self.iter_per_epoch}, "
            f"loss {self.history.step_loss[-1]:.4f}"
        )

    def _epoch_line(self, last):
        row = self.history.rows()[-1]
        names = {"loss": "loss", "val_loss": "validation loss", "accuracy": "train accuracy"}
        names |= {"val_accuracy": "validation accuracy", "test_accuracy": "test accuracy"}
        return f"epoch {row['epoch']}/{last}: " + ", ".join(f"{names[k]} {row[k]:.4f}" for k in names if k in row)

    # ---- what is given

    def _validation(self, validation):
        """Return validation data; a fraction of the training data is only noted, and split off by the seed."""
        if validation is None:
            return None
        if isinstance(validation, (tuple, list)):
            if len(validation) != 2:
                got = f"{len(validation)} items"
                raise ValueError(f"validation must be a pair (x, t), a data set or a fraction, got {got}")
            return as_dataset(*validation, ("validation[0]", "validation[1]"))
        if hasattr(validation, "__len__") and hasattr(validation, "__getitem__") and not isinstance(validation, str):
            with argument("validation must be a pair (x, t), a data set or a fraction"):
                return as_dataset(validation, None, ("validation", "its targets"))
        with argument("validation must be a pair (x, t), a data set or a fraction"):
            self._fraction = number(validation, "validation")
            self._data.split(self._fraction, seed=0)
        return None

    def _split(self, seed):
        """Return the data of training and validation, and the weights of samples, as attributes."""
        data, weights = self._data, self._sample_weight
        found = {"train_data": data}
        if self._fraction is not None:
            found["train_data"], found["validation_data"] = data.split(self._fraction, seed=seed)
            weights = None if weights is None else weights[found["train_data"].indices]
        weights = _with_class_weight(self._class_weight, weights, found["train_data"].labels)
        if weights is not None and isinstance(self.network, Network):
            # As the loss takes them: what becomes 0 there is 0 from the beginning.
            weights, _ = sample_weights(weights, np.empty((len(weights), 1), self.network.dtype))
        found["_weights"] = weights
        return found

    def _check_fit(self, rest):
        """Refuse data that the network cannot take."""
        network = self.network
        is_ours = isinstance(network, Network)
        owner, name = (network.last_layer, "forward") if is_ours else (network, "gradient")
        if self._weights is not None and not takes(getattr(owner, name), "sample_weight"):
            given = "class_weight" if self._sample_weight is None else "sample_weight"
            what = f"{type(owner).__name__}.{name}(x, t)"
            raise TypeError(f"{given} must be None, as {what} does not take sample_weight")
        first = None
        if self.augment is not None:
            with argument("augment must take a batch and return one"):
                first = self._prepare(0, np.arange(min(self.batch_size, self.train_size)), 0)
        if not is_ours:
            return
        smallest = network.smallest_batch
        last = rest if rest and not self.drop_last else min(self.batch_size, self.train_size)
        if last < smallest:
            raise ValueError(
                f"mini_batch_size must leave at least {smallest} samples to each batch, as batch normalization needs, "
                f"got {self.batch_size} of {self.train_size} samples, whose last batch has {last}: drop_last=True "
                "leaves that out"
            )
        if first is not None:
            with argument("augment must return what the network takes"):
                _check_targets(network.last_layer, network.predict(first.x), None, first.t)

    def _check_sets(self):
        """Refuse samples and targets that the network and its loss cannot take."""
        network = self.network
        if not isinstance(network, Network):
            return
        sets = {"train": self._data, "test": self.test_data, "validation": self.validation_data}
        for name, data in sets.items():
            if data is None:
                continue
            names = ("validation", "validation") if name == "validation" else (f"x_{name}", f"t_{name}")
            x, t = data[:1]
            with argument(f"{names[0]} must hold what the network takes"):
                # One sample that lacks an axis must not pass for one without the axis of samples.
                lacking = len(data) > 1 and np.shape(x) == network.input_shape
                scores = network.predict(np.broadcast_to(x, (len(data), *x.shape[1:])) if lacking else x)
            if name == "train":
                _check_range(network, data[:CHUNK][0] if _is_in_memory(data) else x)
            with argument(f"{names[1]} must hold what the loss of the network takes"):
                _check_targets(network.last_layer, scores, data, t)

    def _callbacks(self, callbacks, early_stopping, log_dir):
        if not isinstance(callbacks, (list, tuple)):
            raise TypeError(f"callbacks must be a list of Callback, got {type(callbacks).__name__}")
        callbacks = list(callbacks)
        for callback in callbacks:
            if not isinstance(callback, Callback):
                got = f"the class {callback.__name__}" if isinstance(callback, type) else type(callback).__name__
                raise TypeError(f"callbacks must hold Callback objects, got {got}")
            self._check_events(callback)
        if early_stopping is not None:
            if not isinstance(early_stopping, EarlyStopping):
                with argument("early_stopping must be an EarlyStopping or its patience"):
                    early_stopping = EarlyStopping(early_stopping)
            callbacks.append(early_stopping)
        for callback in callbacks:
            if isinstance(callback, EarlyStopping) and callback.monitor is not None:
                self.expect_measured(callback.monitor)
        if log_dir is not None:
            folder = path_of(log_dir, "log_dir")
            os.makedirs(folder, exist_ok=True)
            logs = (CSVLog, "history.csv"), (JSONLinesLog, "history.jsonl")
            callbacks += [log(os.path.join(folder, name)) for log, name in logs]
        return sorted(callbacks, key=lambda callback: isinstance(callback, Checkpoints))  # these come last

    def _check_events(self, callback):
        """Refuse a callback that listens to what does not happen, or that cannot be called with a trainer."""
        kind = type(callback).__name__
        for event in (name for name in dir(callback) if name.startswith("on_")):
            method = getattr(callback, event)
            if event not in EVENTS and callable(method):
                raise TypeError(
                    f"callbacks must listen to {', '.join(EVENTS)}, got {kind}.{event}, which is never called"
                )
            try:
                inspect.signature(method).bind(self)
            except TypeError as error:
                got = f"{kind}.{event}, which does not: {error}"
                raise TypeError(f"callbacks must take the trainer, got {got}") from None
            except ValueError:  # it does not say what it takes
                pass

    def _resume(self, folder, every, keep, resume):
        """Add what writes checkpoints, and go on from the latest."""
        resume, keep = flag(resume, "resume"), integer(keep, "keep", 1)
        if folder is None:
            for name, given in (("checkpoint_every", every is not None), ("keep", keep != 3), ("resume", resume)):
                if given:
                    raise ValueError(f"{name} must go with checkpoint_dir, got no folder")
            return
        with argument("checkpoint_dir, checkpoint_every and keep must be those of Checkpoints"):
            checkpoints = Checkpoints(folder, every=every, keep=keep)
        self.callbacks.append(checkpoints)
        latest = checkpoints.latest()
        if latest is not None and not resume:
            raise ValueError(
                f"checkpoint_dir must be empty of checkpoints for a new training, got {latest}: resume=True goes on"
            )
        if latest is not None:
            self.load_checkpoint(latest)

    # ---- checkpoints

    def save_checkpoint(self, file_name: FileName) -> None:
        """Write all that training goes on from to a safetensors file, all of it or nothing.

        It holds the network's parameters and what its layers accumulate beside them, the state of the optimizer, of
        the schedule, of the average, of callbacks and of the random order, what was recorded, and where training is.
        The data are not in it.

        Parameters
        ----------
        file_name : str, bytes or path
            Used as given, whatever its ending. A file that is replaced hands on its mode; a link stays one; a pipe or
            a device is written into.

        Raises
        ------
        TypeError, ValueError
            If the network's parameters are not arrays, named by strings, no file can have that name, or what was set
            or recorded meanwhile could not be loaded again: a learning rate that is not finite, for instance.
        OSError
            If the file cannot be written; one of this name that was there is left as it was.
        """
        rest = _checkpoint.contents(self)
        _checkpoint.changes(self, rest, self._arrays())  # what could not be loaded is not written
        save_checkpoint(file_name, self._arrays(), self._architecture(), rest)

    def load_checkpoint(self, file_name: FileName) -> None:
        """Go on from a checkpoint: the steps that follow give the bits that an uninterrupted training gives.

        The trainer is made as it was then: for a network of the same architecture and dtype, the same data, batch
        size, kind of optimizer, schedule and average. The number of epochs and of threads may be another one. What a
        layer of one's own keeps beside its `param_names` and `buffer_names` is not restored.

        Parameters
        ----------
        file_name : str, bytes or path

        Raises
        ------
        OSError
            If the file cannot be read: FileNotFoundError if there is none.
        TypeError
            If `file_name` is no name of a file, or the network's parameters are not arrays, named by strings.
        ValueError
            If the file does not fit, or is damaged; it names the file and what is wrong in it. Nothing changes then.
        """
        params = self._arrays()
        arrays, rest = read_checkpoint(file_name, params, self._architecture())
        try:
            attributes, states = _checkpoint.changes(self, rest, params)
            split = self._split(rest["seeds"]["split"])
            self._load_callbacks(states)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path_of(file_name)} does not fit this trainer, or is damaged: {error}") from error
        with self._gate, self._gate.held():
            put(arrays, params)
            self.rng.bit_generator.state = rest["rng"]
            for target, values in attributes:
                if target is self.history:  # the lists stay the ones that they are
                    for name, items in values.items():
                        getattr(target, name)[:] = items
                else:
                    vars(target).update(values)
            self.__dict__.update(split)

    def _load_callbacks(self, states):
        """Hand callbacks their states; where one refuses, all have their own again."""
        before = [(callback, callback.state_dict()) for callback, _ in states]
        try:
            for callback, state in states:
                with argument(f"callback {type(callback).__name__}"):
                    callback.load_state_dict(state)
        except BaseException:
            for callback, state in before:
                callback.load_state_dict(state)
            raise

    def _arrays(self):
        """Return the arrays of the network, with what its layers accumulate where it tells."""
        arrays = self.network.state_dict() if isinstance(self.network, Network) else dict(self.network.params)
        for name, value in arrays.items():
            if not isinstance(name, str) or not isinstance(value, np.ndarray):
                raise TypeError(f"params[{name!r}] must be an array, under a name, got {type(value).__name__}")
        return arrays

    def _architecture(self):
        return self.network.architecture() if hasattr(self.network, "architecture") else {}


def _optimizer(optimizer, options, network):
    """Return an optimizer for one, or for a name and its arguments."""
    if isinstance(optimizer, optimizers.Optimizer):
        if options is not None:
            raise ValueError(f"optimizer_param must be None for an optimizer that is made already, got {options}")
        if not optimizer.is_of(network.params):
            raise ValueError(
                "optimizer must be a new one, or have updated this network's parameters alone, got one with the state "
                "of other arrays: optimizer.reset() drops it"
            )
        return optimizer
    name = str(optimizer).lower()
    if name not in OPTIMIZERS:
        known = ", ".join(cls.__name__ for cls in OPTIMIZERS.values())
        raise ValueError(f"optimizer must be one of {known}, or an Optimizer, got {optimizer!r}")
    kind = OPTIMIZERS[name]
    options = {} if options is None else mapping(options, "optimizer_param")
    unknown = [key for key in options if key not in arguments_of(kind)]
    if unknown:
        raise TypeError(
            f"optimizer_param must hold arguments of {kind.__name__} ({', '.join(arguments_of(kind))}), got "
            f"{unknown[0]!r}{use(unknown[0], ARGUMENTS)}"
        )
    with argument(f"optimizer_param must hold arguments of {kind.__name__}"):
        return kind(**options)


def _schedule(schedule, optimizer):
    """Return a schedule for one, or for a function that makes it; it must drive this optimizer."""
    if schedule is None:
        return None
    if not isinstance(schedule, Schedule) and callable(schedule):
        with argument("schedule must be a Schedule or a function of the optimizer that makes one"):
            schedule = schedule(optimizer)
    if not isinstance(schedule, Schedule):
        raise TypeError(f"schedule must be a Schedule or a function that makes one, got {type(schedule).__name__}")
    if schedule.optimizer is not optimizer:
        raise ValueError("schedule must set the learning rate of this trainer's optimizer, got one of another")
    if schedule.count:
        raise ValueError(
            f"schedule must be at its beginning, got one after {schedule.count} steps: schedule.reset() takes it back"
        )
    return schedule


def _average(average, network):
    """Return an average for one, or for its decay; it must be of this network's parameters."""
    if average is None:
        return None
    if not isinstance(average, ExponentialMovingAverage):
        with argument("average must be an ExponentialMovingAverage, its decay or None"):
            return ExponentialMovingAverage(network.params, average)
    own, given = dict(network.params), dict(average.params)
    if own.keys() != given.keys():
        first = min(own.keys() ^ given.keys(), key=str)
        has = "without" if first in own else "with"
        raise ValueError(f"average must be of this network's parameters, got one {has} {first}")
    others = [name for name, value in own.items() if given[name] is not value]
    if others:
        raise ValueError(f"average must be of this network's parameters, got one of other arrays, as {others[0]} is")
    return average


def _monitor(monitor, has_validation):
    if monitor is None:
        return "val_loss" if has_validation else "loss"
    return measure(monitor)


def _sample_weight(weight, count):
    """Return a weight for each of `count` samples, or None."""
    if weight is None:
        return None
    weight = as_array(weight, "sample_weight")
    if weight.shape != (count,) or weight.dtype.kind not in "iufb":
        raise ValueError(
            f"sample_weight must hold a number for each of {count} samples, got {weight.dtype} of shape {weight.shape}"
        )
    weight = weight.astype(np.float64)
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise ValueError("sample_weight must be finite and not negative, and not 0 for all samples")
    return weight


def _with_class_weight(class_weight, weights, labels):
    """Return the weights of samples, multiplied by those of their classes."""
    if class_weight is None:
        return weights
    if labels is None:
        raise ValueError("class_weight must be None where the training data have no class labels")
    count = int(labels.max()) + 1
    if isinstance(class_weight, str) and class_weight == "balanced":
        sizes = np.bincount(labels, minlength=count)
        of_class = len(labels) / (np.count_nonzero(sizes) * np.maximum(sizes, 1))
    elif isinstance(class_weight, Mapping):
        of_class = np.ones(count)
        for label, value in class_weight.items():
            label, value = integer(label, "class_weight's labels", 0), nonnegative(value, f"class_weight[{label!r}]")
            if label < count:
                of_class[label] = value
    else:
        of_class = _weights_of_classes(class_weight, count)
    of_sample = of_class[labels]
    if not of_sample.any():
        raise ValueError("class_weight must not be 0 for all samples")
    return of_sample if weights is None else of_sample * weights


def _weights_of_classes(class_weight, count):
    values = as_array(class_weight, "class_weight")
    if values.ndim != 1 or len(values) < count or values.dtype.kind not in "iuf":
        raise ValueError(
            f"class_weight must be a dict, 'balanced' or a number for each of {count} classes, got {values.dtype} of "
            f"shape {values.shape}"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("class_weight must be finite and not negative")
    return values


def _check_targets(loss, scores, data, t):
    """Refuse targets that the loss cannot take: all where they are an array of labels or rows, else the first."""
    whole = _targets(data, t)
    loss = copy.copy(loss)
    for start in range(0, len(whole), CHUNK):
        t = whole[start : start + CHUNK]
        value = loss.forward(np.zeros((len(t), *scores.shape[1:]), scores.dtype), t)
        if t.dtype.kind == "f" and not _finite(t) and not _finite(value):  # a loss may know what NaN is to mean
            raise ValueError("t must be finite, got NaN or infinite ones")


def _targets(data, t):
    """Return all targets of a data set where they are an array of labels or rows, else those of its first sample."""
    if isinstance(data, Subset):
        inner = _targets(data.dataset, None)
        return t if inner is None else inner[data.indices]
    if isinstance(data, ArrayDataset):
        return data.t if data.t.ndim <= 2 else t
    labels = getattr(data, "labels", None)
    are_labels = labels is not None and t is not None and t.ndim == 1 and t.dtype.kind in "iu"
    return labels if are_labels else t


def _check_range(network, x):
    """Warn of images that were most likely not scaled, unless the network begins with what scales them."""
    if len(network.input_shape) == 3 and not network.takes_integers and (most := float(np.abs(x).max())) > LARGE:
        warnings.warn(
            f"x_train holds images with values up to {most:g} (beyond {LARGE}): scale them? Those from 0 to 255 are "
            "scaled by x / 255, or by Scale() as the network's first layer",
            stacklevel=4,
        )


def _is_in_memory(data):
    while isinstance(data, Subset):
        data = data.dataset
    return isinstance(data, ArrayDataset) and not isinstance(data.x, np.memmap)


def _finite(value):
    return bool(np.isfinite(value).all())
