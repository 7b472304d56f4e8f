"""Schedules: the learning rates of their formulas, their state, and how a trainer steps them."""

import json
import math

import numpy as np
import pytest

from cconv import (
    SGD,
    Adam,
    AdamW,
    CosineDecay,
    ExponentialDecay,
    Lion,
    Momentum,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    Trainer,
)


def rates(schedule, steps):
    values = []
    for _ in range(steps):
        values.append(schedule.optimizer.lr)
        schedule.step()
    return values


SCHEDULES = [
    lambda optimizer: StepDecay(optimizer, 3, 0.5),
    lambda optimizer: StepDecay(optimizer, [2, 5]),
    lambda optimizer: ExponentialDecay(optimizer, 0.9),
    lambda optimizer: CosineDecay(optimizer, 12, 0.01, warmup=4),
    lambda optimizer: OneCycle(optimizer, 0.5, 10, momentum=(0.8, 0.95)),
]


def test_formulas():
    assert rates(StepDecay(SGD(1.0), 2, 0.5), 5) == [1, 1, 0.5, 0.5, 0.25]
    assert rates(StepDecay(SGD(1.0), [3, 1], 0.5), 5) == [1, 0.5, 0.5, 0.25, 0.25]
    assert rates(ExponentialDecay(SGD(1.0), 0.5), 3) == [1, 0.5, 0.25]
    cosine = CosineDecay(SGD(1.0), 6, 0.2, warmup=2, warmup_factor=0.0)
    expected = [0, 0.5] + [0.6 + 0.4 * math.cos(math.pi * share) for share in (0, 0.25, 0.5, 0.75, 1, 1)]
    assert rates(cosine, 8) == pytest.approx(expected)
    optimizer = Momentum()
    cycle = OneCycle(optimizer, 1.0, 11, rise=0.4, start_divisor=10, end_divisor=100, momentum=(0.8, 0.9))
    seen = []
    for _ in range(13):
        seen.append((optimizer.lr, optimizer.momentum))
        cycle.step()
    assert seen[0] == pytest.approx((0.1, 0.9))
    assert max(seen)[0] < 1.0  # the top lies between two steps: 0.4 * 11 - 1
    assert seen[10] == seen[11] == seen[12] == pytest.approx((0.001, 0.9))


@pytest.mark.parametrize(("total", "rise"), [(1, 0.3), (2, 0.5), (3, 0.0), (4, 1.0), (5, 0.2)])
def test_one_cycle_of_any_length_ends_where_it_should(total, rise):
    schedule = OneCycle(SGD(), 1.0, total, rise=rise, end_divisor=10)
    values = rates(schedule, total + 2)
    assert all(0 < value <= 1 for value in values)
    assert values[-1] == pytest.approx(1.0 if rise == 1 else 0.004)


def test_plateau():
    optimizer = SGD(1.0)
    schedule = ReduceOnPlateau(optimizer, 0.5, patience=2, cooldown=1, threshold=0.1, min_lr=0.2)
    losses = [10, 9.5, 8, 8, 8, 8, 8, 8, 8, 8, float("nan"), 8, 8, 8, 8, 8]
    seen = []
    for loss in losses:
        schedule.step(loss)
        seen.append(optimizer.lr)
    assert seen == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2]
    rising = ReduceOnPlateau(SGD(1.0), 0.5, 0, mode="max")
    for accuracy in (0.5, 0.6, 0.6):
        rising.step(accuracy)
    assert rising.optimizer.lr == 0.5


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("start", [-1000.0, -0.5, 0.0, 0.5])
@pytest.mark.parametrize("threshold", [0.0, 0.1, 1.0, 3.0])
def test_a_measure_of_any_sign_is_better_only_where_it_is(mode, start, threshold):
    towards = -1 if mode == "min" else 1

    def reductions(*measures):
        schedule = ReduceOnPlateau(SGD(1.0), 0.5, 0, mode=mode, threshold=threshold)
        for measure in measures:
            schedule.step(measure)
        return schedule.reductions

    margin = threshold * abs(start)
    assert reductions(start) == 0  # the first is the best so far
    assert reductions(start, start, start) == 2
    assert reductions(start, start - towards * 1e-3, start - towards * 2e-3) == 2
    assert reductions(start, start + towards * (margin + 1e-3)) == 0
    assert reductions(start, start + towards * (margin - 1e-3)) == 1


def test_measures_that_are_infinite():
    schedule = ReduceOnPlateau(SGD(1.0), 0.5, 0)
    for measure in (math.inf, 1.0, -math.inf, -math.inf):
        schedule.step(measure)
    assert (schedule.reductions, schedule.best) == (2, -math.inf)


@pytest.mark.parametrize("make", [*SCHEDULES, lambda optimizer: ReduceOnPlateau(optimizer, 0.5, 0, cooldown=2)])
def test_beginning_again(make):
    optimizer = Momentum(0.1)
    schedule = make(optimizer)
    start, settings = schedule.state_dict(), optimizer.state_dict()["settings"]
    for _ in range(7):
        schedule.step(*[1.0] * schedule.takes_metric)
    assert schedule.state_dict() != start and optimizer.lr != settings["lr"]
    optimizer.lr = 7.0
    schedule.reset()
    assert schedule.state_dict() == start and optimizer.state_dict()["settings"] == settings


@pytest.mark.parametrize("make", SCHEDULES)
@pytest.mark.parametrize("optimizer", [lambda: Momentum(0.1), lambda: Adam(0.1), lambda: AdamW(0.1), lambda: Lion(0.1)])
def test_going_on_from_a_state_dict(make, optimizer):
    schedule = make(optimizer())
    rates(schedule, 4)
    state = json.loads(json.dumps(schedule.state_dict()))
    other = make(optimizer())
    other.load_state_dict(state)
    assert other.optimizer.lr == schedule.optimizer.lr
    assert rates(other, 9) == rates(schedule, 9)
    assert other.optimizer.state_dict() == schedule.optimizer.state_dict()


def test_the_state_of_a_plateau():
    schedule, other = (ReduceOnPlateau(SGD(1.0), 0.5, 1) for _ in range(2))
    for loss in (3, 3, 3, 2):
        schedule.step(loss)
    other.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    for loss in (2, 2, 2, 2):
        schedule.step(loss)
        other.step(loss)
        assert schedule.optimizer.lr == other.optimizer.lr
    assert other.state_dict() == schedule.state_dict()
    fresh = ReduceOnPlateau(SGD(1.0))
    assert json.loads(json.dumps(fresh.state_dict())) == fresh.state_dict()  # its best is infinite


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda state: None, TypeError, "state_dict must be a dict"),
        (lambda state: state | {"type": "OneCycle"}, ValueError, "must be of StepDecay, got one of OneCycle"),
        (lambda state: state | {"settings": {"steps": 2}}, ValueError, "settings must have the keys every, steps"),
        (
            lambda state: state | {"settings": state["settings"] | {"gamma": 0.3}},
            ValueError,
            "gamma must be 0.5 as here",
        ),
        (lambda state: state | {"progress": {"base_lr": 1.0, "count": 1.5}}, TypeError, "must be int, got float"),
        (lambda state: state | {"progress": {"base_lr": 1.0, "count": -1}}, ValueError, "count must be at least 0"),
        (lambda state: state | {"progress": {"base_lr": 1.0, "count": True}}, TypeError, "must be int, got bool"),
        (lambda state: state | {"progress": {"base_lr": 1.0, "count": 2**1100}}, ValueError, "count must be at most"),
        (lambda state: state | {"progress": {"base_lr": -1.0, "count": 1}}, ValueError, "base_lr"),
        (lambda state: state | {"progress": {"base_lr": math.nan, "count": 1}}, ValueError, "base_lr"),
        (
            lambda state: state | {"settings": state["settings"] | {"gamma": np.zeros(2)}},
            ValueError,
            "gamma must be 0.5 as here",
        ),
    ],
)
def test_a_state_dict_that_does_not_fit_changes_nothing(change, error, message):
    schedule = StepDecay(SGD(1.0), 2, 0.5)
    rates(schedule, 3)
    before = schedule.state_dict()
    with pytest.raises(error, match=message):
        schedule.load_state_dict(change(schedule.state_dict()))
    assert schedule.state_dict() == before and schedule.optimizer.lr == 0.5


def test_a_state_without_a_learning_rate_changes_nothing():
    schedule = ExponentialDecay(SGD(1.0), 2.0)
    state = schedule.state_dict()
    state["progress"]["count"] = 10**6
    with pytest.raises(ValueError, match="progress must lead to a learning rate, got .*count"):
        schedule.load_state_dict(state)
    assert (schedule.count, schedule.optimizer.lr) == (0, 1.0)
    plateau = ReduceOnPlateau(SGD(1.0))
    state = plateau.state_dict()
    state["progress"]["best"] = math.nan
    with pytest.raises(ValueError, match="best must be a number, got nan"):
        plateau.load_state_dict(state)
    assert plateau.best == math.inf


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: StepDecay(None, 2), TypeError, "optimizer must be an Optimizer, got NoneType"),
        (lambda: StepDecay(SGD(), 0), ValueError, "steps must be at least 1"),
        (lambda: StepDecay(SGD(), [1, 2.5]), TypeError, "steps must be an integer"),
        (lambda: StepDecay(SGD(), 2, every="batch"), ValueError, "every must be 'epoch' or 'step'"),
        (lambda: ExponentialDecay(SGD(), 0), ValueError, "gamma must be a positive number"),
        (lambda: CosineDecay(SGD(), 5, warmup=5), ValueError, "total_steps must be at least 6"),
        (lambda: CosineDecay(SGD(), 5, -1), ValueError, "min_lr"),
        (lambda: OneCycle(SGD(), 0.1, 5, rise=2), ValueError, "rise must be from 0 to 1"),
        (lambda: OneCycle(SGD(), 0.1, 5, momentum=(0.8, 0.9)), ValueError, "SGD has none"),
        (lambda: OneCycle(Momentum(), 0.1, 5, momentum=(0.8, 1.0)), ValueError, "momentum must be at least 0"),
        (lambda: ReduceOnPlateau(SGD(), 1.0), ValueError, "factor must be at least 0 and below 1"),
        (lambda: ReduceOnPlateau(SGD(), mode="up"), ValueError, "mode must be 'min' or 'max'"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


class Recorder:
    """A network that remembers the learning rate of each step; its loss is the number of steps so far."""

    def __init__(self):
        self.params = {"w": np.zeros(1)}
        self.rates = []

    def gradient(self, x, t):
        self.rates.append(self.trainer.optimizer.lr)
        return {"w": np.zeros(1)}

    def loss(self, x, t):
        return float(len(self.rates))

    def accuracy(self, x, t):
        return 0.5


def train(schedule, **options):
    x = np.zeros((4, 1))
    network = Recorder()
    options = {"epochs": 3, "mini_batch_size": 2, "verbose": False} | options
    trainer = Trainer(network, x, x, x, x, schedule=schedule, **options)
    network.trainer = trainer
    trainer.train()
    return network.rates, trainer


def test_a_trainer_steps_schedules_by_epochs_or_by_steps():
    optimizer = SGD(1.0)
    assert train(StepDecay(optimizer, 1, 0.5), optimizer=optimizer)[0] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    halving = {"optimizer_param": {"lr": 1.0}}
    assert train(lambda o: StepDecay(o, 1, 0.5, every="step"), **halving)[0] == [1, 0.5, 0.25, 0.125, 0.0625, 0.03125]
    assert train(lambda o: OneCycle(o, 1.0, 6))[0][0] == pytest.approx(0.04)


def test_a_trainer_gives_a_plateau_the_mean_loss_of_an_epoch():
    seen = []

    class Noting(ReduceOnPlateau):
        def step(self, metric):
            seen.append(metric)
            super().step(metric)

    values, _ = train(lambda o: Noting(o, 0.5, 0), optimizer_param={"lr": 1.0})
    assert seen == [1.5, 3.5, 5.5]
    assert values == [1, 1, 1, 1, 0.5, 0.5]


def test_a_schedule_of_ones_own():
    class Halving(Schedule):
        def learning_rate(self):
            return self.base_lr / 2**self.count

    assert train(Halving, optimizer_param={"lr": 1.0})[0] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_schedules_that_a_trainer_refuses():
    with pytest.raises(ValueError, match="must set the learning rate of this trainer's optimizer"):
        train(StepDecay(SGD(), 2))
    for wrong in ("cosine", lambda optimizer: None):
        with pytest.raises(TypeError, match="schedule must be a Schedule or a function that makes one"):
            train(wrong)
