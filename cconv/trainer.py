"""Training: shuffled passes over the data, one optimizer step per batch."""

import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np

from . import optimizers
from ._arrays import as_array
from ._checks import argument, checked_dict, flag
from ._files import path_of
from ._random import generator
from .averaging import ExponentialMovingAverage
from .geometry import integer
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

RECORDED = ("train_loss_list", "train_acc_list", "test_acc_list")
CHECKPOINTED = ("optimizer", "schedule", "average", "rng", "order", "sizes", "current_iter", "recorded")
# The largest integers that NumPy's generators have in their states: indices of MT19937 and Philox, a flag, 32 bits, and
# 128 bits of either PCG64.
RANDOM_LIMITS = {
    "pos": 624,
    "buffer_pos": 4,
    "has_uint32": 1,
    "uinteger": 2**32 - 1,
    "state": 2**128 - 1,
    "inc": 2**128 - 1,
}


class Trainer:
    """Train a network on arrays and record how it goes.

    An epoch is one pass over the training data in a new random order, in batches of `mini_batch_size`, the last one
    perhaps smaller; at its end the accuracy on training and test data is measured outside training (but for a network
    whose loss is one of regression).

    Parameters
    ----------
    network : object
        Anything with `params`, ``gradient(x, t)`` and ``accuracy(x, t)``. The loss of a step is `last_layer.loss` after
        `gradient` where there is one, else ``loss(x, t)``.
    x_train, t_train, x_test, t_test : ndarray
        Samples along the first axis.
    epochs : int, default 20
    mini_batch_size : int, default 100
    optimizer : str or Optimizer, default 'SGD'
        'SGD', 'Momentum', 'Nesterov', 'AdaGrad', 'RMSprop', 'Adam', 'AdamW' or 'Lion', in any case, or one that is
        made already.
    optimizer_param : dict, optional
        The keyword arguments of a named one; its own defaults hold for what is not given.
    evaluate_sample_num_per_epoch : int, optional
        Measure accuracy on this many samples from the beginning of each set; all when not given.
    verbose : bool, default True
        Print a line per epoch, and show a progress bar on a terminal.
    rng : numpy.random.Generator, keyword only
        Draws the order of the samples.
    seed : int, keyword only
        Makes the order repeatable, in place of `rng`.
    schedule : Schedule or callable, keyword only
        Sets the learning rate, after each step or each epoch as it says itself; a callable makes it of the optimizer.
        One that wants a measure gets the mean of an epoch's training losses.
    average : ExponentialMovingAverage or float, keyword only
        An average of the network's parameters, or its decay: it follows them after each step, and accuracies are
        measured with the averages in their place. ``with trainer.average.swapped():`` uses or saves them.

    Attributes
    ----------
    train_loss_list : list of float
        One per step.
    train_acc_list, test_acc_list : list of float
        One per epoch.
    optimizer : Optimizer
    schedule : Schedule or None
    average : ExponentialMovingAverage or None
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
        schedule=None,
        average=None,
    ):
        has_params = isinstance(getattr(network, "params", None), Mapping)
        if not has_params or not callable(getattr(network, "gradient", None)):
            raise TypeError(f"network must have params and gradient(x, t), got {type(network).__name__}")
        self.network = network
        self.x_train, self.t_train = _samples(x_train, t_train, "train")
        self.x_test, self.t_test = _samples(x_test, t_test, "test")
        self.epochs = integer(epochs, "epochs", 0)
        self.batch_size = integer(mini_batch_size, "mini_batch_size", 1)
        if evaluate_sample_num_per_epoch is not None:
            evaluate_sample_num_per_epoch = integer(evaluate_sample_num_per_epoch, "evaluate_sample_num_per_epoch", 1)
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        self.verbose = flag(verbose, "verbose")
        self.optimizer = _optimizer(optimizer, optimizer_param)
        self.schedule = _schedule(schedule, self.optimizer)
        self.average = _average(average, network)
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
        if self.average is not None:
            self.average.update()
        self.train_loss_list.append(float(loss))
        self.current_iter += 1
        if self.schedule is not None and self.schedule.every == "step":
            self.schedule.step()
        if self.current_iter % self.iter_per_epoch == 0:
            self.current_epoch += 1
            self._end_epoch()

    def _end_epoch(self):
        if self._has_accuracy():
            limit = self.evaluate_sample_num_per_epoch
            with nullcontext() if self.average is None else self.average.swapped():
                self.train_acc_list.append(self.network.accuracy(self.x_train[:limit], self.t_train[:limit]))
                self.test_acc_list.append(self.network.accuracy(self.x_test[:limit], self.t_test[:limit]))
        if self.schedule is not None and self.schedule.every == "epoch":
            losses = self.train_loss_list[-self.iter_per_epoch :]
            self.schedule.step(*[sum(losses) / len(losses)] * self.schedule.takes_metric)

    def _has_accuracy(self):
        return getattr(getattr(self.network, "last_layer", None), "accuracy", True) is not None

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

    def save_checkpoint(self, file_name):
        """Write all that training goes on from to a safetensors file, all of it or nothing.

        It holds the network's parameters and what its layers accumulate beside them, the state of the optimizer, of
        the schedule, of the average and of the random order, what was recorded, and where training is. The data are
        not in it.

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
        rest = {
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "rng": self.rng.bit_generator.state,
            "order": self._order,
            "sizes": {"samples": self.train_size, "mini_batch_size": self.batch_size},
            "current_iter": self.current_iter,
            "recorded": {name: np.array(getattr(self, name), np.float64) for name in RECORDED},
        }
        self._checked_rest(rest)  # what could not be loaded is not written
        save_checkpoint(file_name, self._arrays(), self._architecture(), rest)

    def load_checkpoint(self, file_name):
        """Go on from a checkpoint: the steps that follow give the bits that an uninterrupted training gives.

        The trainer is made as it was then: for a network of the same architecture and dtype, the same data, batch
        size, kind of optimizer, schedule and average. The number of epochs may be another one. What a layer of one's
        own keeps beside its `param_names` and `buffer_names` is not restored.

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
            changes = self._checked_rest(rest)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path_of(file_name)} does not fit this trainer, or is damaged: {error}") from error
        put(arrays, params)
        self.rng.bit_generator.state = rest["rng"]
        for target, values in changes:
            vars(target).update(values)

    def _arrays(self):
        """Return the arrays of the network, with what its layers accumulate where it tells."""
        arrays = self.network.state_dict() if hasattr(self.network, "state_dict") else dict(self.network.params)
        for name, value in arrays.items():
            if not isinstance(name, str) or not isinstance(value, np.ndarray):
                raise TypeError(f"params[{name!r}] must be an array, under a name, got {type(value).__name__}")
        return arrays

    def _architecture(self):
        return self.network.architecture() if hasattr(self.network, "architecture") else {}

    def _checked_rest(self, rest):
        """Return the attributes that what a checkpoint holds beside the network sets, with the objects that have them.

        The random state is checked too, but is no attribute.
        """
        rest = checked_dict(rest, "the checkpoint", dict.fromkeys(CHECKPOINTED, object) | {"current_iter": int})
        _check_random_state(self.rng, rest["rng"])
        changes = [(self, self._checked_progress(rest))]
        for name, here in (("optimizer", self.optimizer), ("schedule", self.schedule), ("average", self.average)):
            if (rest[name] is None) != (here is None):
                has = (f"no {name}", f"its {name}")
                raise ValueError(f"it must hold {has[here is not None]} as here, got {has[here is None]}")
            if here is not None:
                try:
                    changes.append((here, here.checked_state(rest[name])))
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{name}: {error}") from error
        self._check_states(rest["optimizer"]["state"])
        return changes

    def _check_states(self, states):
        """Refuse states of the optimizer that are of other parameters than the network's."""
        params = self.network.params
        for name, entry in states.items():
            if name not in params:
                raise ValueError(f"the optimizer's state must be of {', '.join(params)}, got one of {name}")
            for key in self.optimizer.state_names:
                shape, dtype = params[name].shape, params[name].dtype.newbyteorder("=")
                if (entry[key].shape, entry[key].dtype) != (shape, dtype):
                    raise ValueError(
                        f"the optimizer's state of {name} must have shape {shape} and hold {dtype}, got "
                        f"{entry[key].shape} of {entry[key].dtype} for {key}"
                    )

    def _checked_progress(self, rest):
        """Return the attributes of the trainer itself that a checkpoint sets."""
        here = {"samples": self.train_size, "mini_batch_size": self.batch_size}
        sizes = checked_dict(rest["sizes"], "sizes", dict.fromkeys(here, int))
        for name, size in here.items():
            if sizes[name] != size:
                raise ValueError(f"{name} must be {size} as here, got {sizes[name]}")
        steps = integer(rest["current_iter"], "current_iter", 0)
        epochs = steps // self.iter_per_epoch
        recorded = checked_dict(rest["recorded"], "recorded", dict.fromkeys(RECORDED, np.ndarray))
        for name, values in recorded.items():
            length = steps if name == "train_loss_list" else epochs * self._has_accuracy()
            if values.shape != (length,) or values.dtype != np.float64:
                raise ValueError(
                    f"{name} must have recorded {steps} steps and {epochs} epochs, as current_iter says, in float64, "
                    f"got {values.dtype} of shape {values.shape}"
                )
        values = {name: values.tolist() for name, values in recorded.items()}
        order = self._checked_order(rest["order"], steps)
        return values | {"current_iter": steps, "current_epoch": epochs, "_order": order}

    def _checked_order(self, order, steps):
        if order is None and steps == 0:
            return None
        if not isinstance(order, np.ndarray) or order.dtype.kind not in "iu" or order.shape != (self.train_size,):
            got = f"{order.dtype} of shape {order.shape}" if isinstance(order, np.ndarray) else type(order).__name__
            raise ValueError(f"order must be integers, an order of {self.train_size} samples, got {got}")
        if not np.array_equal(np.sort(order), np.arange(self.train_size)):
            raise ValueError(f"order must be an order of {self.train_size} samples, got some of them twice or none")
        return order

    def _progress_bar(self):
        if not self.verbose or not sys.stderr.isatty():
            return None
        from tqdm import tqdm

        return tqdm(total=self.max_iter, initial=self.current_iter, unit="step", leave=False)

    def _report(self, bar):
        line = f"epoch {self.current_epoch}/{self.epochs}: loss {self.train_loss_list[-1]:.4f}"
        if self.test_acc_list:
            line += f", train accuracy {self.train_acc_list[-1]:.4f}, test accuracy {self.test_acc_list[-1]:.4f}"
        print(line, flush=True) if bar is None else bar.write(line)


def _optimizer(optimizer, options):
    """Return an optimizer for one, or for a name and its arguments."""
    if isinstance(optimizer, optimizers.Optimizer):
        if options is not None:
            raise ValueError(f"optimizer_param must be None for an optimizer that is made already, got {options}")
        return optimizer
    name = str(optimizer).lower()
    if name not in OPTIMIZERS:
        known = ", ".join(cls.__name__ for cls in OPTIMIZERS.values())
        raise ValueError(f"optimizer must be one of {known}, or an Optimizer, got {optimizer!r}")
    kind = OPTIMIZERS[name]
    with argument(f"optimizer_param must hold arguments of {kind.__name__}"):
        return kind(**({} if options is None else options))


def _schedule(schedule, optimizer):
    """Return a schedule for one, or for a function that makes it; it must drive this optimizer."""
    if schedule is None:
        return None
    if not isinstance(schedule, Schedule) and callable(schedule):
        schedule = schedule(optimizer)
    if not isinstance(schedule, Schedule):
        raise TypeError(f"schedule must be a Schedule or a function that makes one, got {type(schedule).__name__}")
    if schedule.optimizer is not optimizer:
        raise ValueError("schedule must set the learning rate of this trainer's optimizer, got one of another")
    return schedule


def _average(average, network):
    """Return an average for one, or for its decay; it must be of this network's parameters."""
    if average is None:
        return None
    if not isinstance(average, ExponentialMovingAverage):
        with argument("average must be an ExponentialMovingAverage, its decay or None"):
            return ExponentialMovingAverage(network.params, average)
    if average.params.keys() != network.params.keys():
        own, given = (", ".join(map(str, params)) for params in (network.params, average.params))
        raise ValueError(f"average must be of this network's parameters {own}, got one of {given}")
    return average


def _check_random_state(rng, state):
    """Refuse a state that the generator cannot take."""
    kind = type(rng.bit_generator)
    try:
        name = state.get("bit_generator") if isinstance(state, dict) else None
        if isinstance(name, str) and name != kind.__name__:
            raise ValueError(f"by its bit_generator it is a {name}, not a {kind.__name__}")
        _check_alike(state, rng.bit_generator.state, "rng")
        kind().state = state
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ValueError(f"the random generator does not fit: {error}") from None


def _check_alike(value, own, name):
    """Refuse what is not made like the random state `own`, or has an index that NumPy itself does not check."""
    key = name.rpartition(".")[2]
    if type(value) is not type(own):
        raise TypeError(f"{name} must be {type(own).__name__}, got {type(value).__name__}")
    if isinstance(own, dict):
        checked_dict(value, name, dict.fromkeys(own, object))
        for inner in own:
            _check_alike(value[inner], own[inner], f"{name}.{inner}")
    elif isinstance(own, np.ndarray):
        if (value.shape, value.dtype) != (own.shape, own.dtype):
            got = f"{value.shape} of {value.dtype}"
            raise ValueError(f"{name} must have shape {own.shape} and hold {own.dtype}, got {got}")
    elif isinstance(own, int):
        # An increment is odd: with an even one, the numbers may all be the same.
        if not 0 <= value <= RANDOM_LIMITS.get(key, value) or (key == "inc" and value % 2 == 0):
            raise ValueError(f"{name} is out of range, got {value}")


def _samples(x, t, name):
    x, t = as_array(x, f"x_{name}"), as_array(t, f"t_{name}")
    if x.ndim == 0 or t.ndim == 0 or len(x) != len(t):
        raise ValueError(f"x_{name} and t_{name} must have as many samples, got shapes {x.shape} and {t.shape}")
    if len(x) == 0:
        raise ValueError(f"x_{name} must hold at least one sample, got shape {x.shape}")
    return x, t
