"""What a checkpoint of a training holds beside the network, and how it is checked before anything changes."""

import json
import math

import numpy as np

from ._checks import checked_dict
from .geometry import integer

__all__ = ["changes", "contents"]

CONTENTS = (
    "optimizer", "schedule", "average", "rng", "order", "sizes", "seeds", "current_iter", "current_epoch", "seconds",
    "history", "best", "callbacks",
)  # fmt: skip
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


def contents(trainer):
    """Return all that training goes on from, beside the arrays of the network, as a dict of JSON values and arrays."""
    best = trainer.best_arrays
    return {
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": None if trainer.schedule is None else trainer.schedule.state_dict(),
        "average": None if trainer.average is None else trainer.average.state_dict(),
        "rng": trainer.rng.bit_generator.state,
        "order": trainer.order,
        "sizes": _sizes(trainer),
        "seeds": dict(trainer.seeds),
        "current_iter": trainer.current_iter,
        "current_epoch": trainer.current_epoch,
        "seconds": float(trainer.seconds),
        "history": trainer.history.state_dict(),
        "best": {
            "monitor": trainer.monitor,
            "epoch": trainer.best_epoch,
            "arrays": None if best is None else dict(best),
        },
        "callbacks": {name: state for name, callback in named(trainer.callbacks) if (state := _state(name, callback))},
    }


def _state(name, callback):
    """Return the state of a callback, which a file must be able to hold."""

    def array(value):
        if not isinstance(value, np.ndarray):
            raise TypeError(f"got {type(value).__name__}")

    state = callback.state_dict()
    if not isinstance(state, dict):
        raise TypeError(f"state_dict of callback {name} must return a dict, got {type(state).__name__}")
    try:
        json.dumps(state, default=array)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"state_dict of callback {name} must hold JSON values and arrays: {error}") from None
    return state


def named(callbacks):
    """Return the callbacks with their names: their kinds, numbered where there are several of one."""
    counts = {}
    names = []
    for callback in callbacks:
        kind = type(callback).__name__
        counts[kind] = counts.get(kind, 0) + 1
        names.append((kind if counts[kind] == 1 else f"{kind}{counts[kind]}", callback))
    return names


def changes(trainer, rest, arrays):
    """Return what `contents` would set: attributes by the object that has them, and the states of callbacks.

    The random state is checked too, but is no attribute. Nothing is changed.

    Parameters
    ----------
    trainer : Trainer
    rest : dict
        What a checkpoint holds.
    arrays : mapping of str to ndarray
        The network's, which those of the best epoch must be like.
    """
    rest = checked_dict(rest, "the checkpoint", dict.fromkeys(CONTENTS, object))
    _check_random_state(trainer.rng, rest["rng"])
    progress = _progress(trainer, rest)
    steps, epochs = progress["current_iter"], progress["current_epoch"]
    history = trainer.history.checked_state(rest["history"], steps, epochs, trainer.measures())
    best = _best(trainer, rest["best"], arrays, history)
    attributes = [(trainer, progress | best), (trainer.history, history)]
    for name in ("optimizer", "schedule", "average"):
        here = getattr(trainer, name)
        if (rest[name] is None) != (here is None):
            has = (f"no {name}", f"its {name}")
            raise ValueError(f"it must hold {has[here is not None]} as here, got {has[here is None]}")
        if here is not None:
            try:
                attributes.append((here, here.checked_state(rest[name])))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}: {error}") from error
    _check_states(trainer, rest["optimizer"]["state"])
    return attributes, _callbacks(trainer, rest["callbacks"])


def _sizes(trainer):
    return {
        "samples": trainer.train_size,
        "mini_batch_size": trainer.batch_size,
        "iter_per_epoch": trainer.iter_per_epoch,
    }


def _check_states(trainer, states):
    """Refuse states of the optimizer that are of other parameters than the network's."""
    params = trainer.network.params
    for name, entry in states.items():
        if name not in params:
            raise ValueError(f"the optimizer's state must be of {', '.join(params)}, got one of {name}")
        for key in trainer.optimizer.state_names:
            shape, dtype = params[name].shape, params[name].dtype.newbyteorder("=")
            if (entry[key].shape, entry[key].dtype) != (shape, dtype):
                raise ValueError(
                    f"the optimizer's state of {name} must have shape {shape} and hold {dtype}, got "
                    f"{entry[key].shape} of {entry[key].dtype} for {key}"
                )


def _progress(trainer, rest):
    """Return the attributes that say where a training is."""
    here = _sizes(trainer)
    sizes = checked_dict(rest["sizes"], "sizes", dict.fromkeys(here, int))
    for name, size in here.items():
        if sizes[name] != size:
            raise ValueError(f"{name} must be {size} as here, got {sizes[name]}")
    seeds = checked_dict(rest["seeds"], "seeds", dict.fromkeys(trainer.seeds, int))
    seeds = {name: integer(value, f"seeds[{name!r}]", 0) for name, value in seeds.items()}
    steps, epochs = (integer(rest[name], name, 0) for name in ("current_iter", "current_epoch"))
    # The end of an epoch may not be counted yet, where that was interrupted.
    if not 0 <= steps - epochs * trainer.iter_per_epoch <= trainer.iter_per_epoch:
        raise ValueError(
            f"current_iter must lie in the epoch after current_epoch, {epochs}, with {trainer.iter_per_epoch} steps "
            f"each, got {steps}"
        )
    seconds = rest["seconds"]
    if not isinstance(seconds, float) or not 0 <= seconds < math.inf:
        raise ValueError(f"seconds must be a number that is not negative, got {seconds!r}")
    order = _order(trainer, rest["order"], steps > epochs * trainer.iter_per_epoch)
    return {"current_iter": steps, "current_epoch": epochs, "seconds": seconds, "seeds": seeds, "order": order}


def _order(trainer, order, begun):
    if order is None and not begun:
        return None
    if not isinstance(order, np.ndarray) or order.dtype.kind not in "iu" or order.shape != (trainer.train_size,):
        got = f"{order.dtype} of shape {order.shape}" if isinstance(order, np.ndarray) else type(order).__name__
        raise ValueError(f"order must be integers, an order of {trainer.train_size} samples, got {got}")
    if not np.array_equal(np.sort(order), np.arange(trainer.train_size)):
        raise ValueError(f"order must be an order of {trainer.train_size} samples, got some of them twice or none")
    return order


def _best(trainer, best, arrays, history):
    """Return the attributes that tell of the best epoch."""
    best = checked_dict(best, "best", {"monitor": str, "epoch": int, "arrays": object})
    if best["monitor"] != trainer.monitor:
        raise ValueError(f"monitor must be {trainer.monitor!r} as here, got {best['monitor']!r}")
    epoch, held = integer(best["epoch"], "best epoch", 0), best["arrays"]
    measured = history[trainer.monitor]
    if epoch > len(measured):
        raise ValueError(f"best epoch must be one of the {len(measured)} that were measured, got {epoch}")
    if held is not None:
        held = checked_dict(held, "best arrays", dict.fromkeys(arrays, np.ndarray))
        for name, array in arrays.items():
            if (held[name].shape, held[name].dtype) != (array.shape, array.dtype.newbyteorder("=")):
                raise ValueError(f"best {name} must have shape {array.shape} and hold {array.dtype}")
    if (held is not None) != (trainer.restore_best and epoch > 0):
        has = "no arrays" if held is None else "the arrays"
        raise ValueError(f"restore_best is {trainer.restore_best} here, but it holds {has} of best epoch {epoch}")
    value = measured[epoch - 1] if epoch else math.nan
    return {"best_epoch": epoch, "best_value": value, "best_arrays": held}


def _callbacks(trainer, states):
    """Return pairs of a callback and its state."""
    if not isinstance(states, dict) or not all(isinstance(state, dict) for state in states.values()):
        raise TypeError("callbacks must be a dict of dicts")
    here = dict(named(trainer.callbacks))
    unknown = states.keys() - here.keys()
    if unknown:
        raise ValueError(f"callbacks must be among those here, {', '.join(here) or 'none'}, got {min(unknown)} too")
    return [(here[name], state) for name, state in states.items()]


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
