"""Losses, optimizers and schedules against PyTorch."""

import numpy as np
import parity
import pytest

import cconv
from cconv import functional

torch = parity.require("torch", "PyTorch")
F = torch.nn.functional

DTYPES = [np.float32, np.float64]


def tensor(array):
    """A float64 tensor that records gradients: the reference is exact beside what is tested."""
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def compare_loss(loss, dx, expected, tx, dtype):
    eps = float(np.finfo(dtype).eps)
    assert loss == pytest.approx(expected.item(), rel=40 * eps)
    expected.backward()
    assert dx.dtype == dtype
    np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=0, atol=40 * eps * max(1.0, tx.grad.abs().max().item()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(40))
def test_cross_entropy_with_options(seed, dtype):
    rng = np.random.default_rng(seed)
    N, M = int(rng.integers(1, 20)), int(rng.integers(2, 12))
    x, labels = (4 * rng.standard_normal((N, M))).astype(dtype), rng.integers(0, M, N)
    options, theirs = {}, {}
    if seed % 2:
        options["label_smoothing"] = theirs["label_smoothing"] = float(rng.random())
    if seed // 2 % 2:
        options["class_weight"] = rng.random(M) + 0.1
        theirs["weight"] = torch.from_numpy(options["class_weight"])
    t = labels
    if seed // 4 % 2 and N > 1:
        options["ignore_index"] = theirs["ignore_index"] = int(rng.integers(-1, M))
        labels[:-1][rng.random(N - 1) < 0.5] = options["ignore_index"]
        labels[-1] = (options["ignore_index"] + 1) % M
    elif seed // 8 % 2:
        t = rng.dirichlet(np.ones(M), N).astype(dtype)
    tx, tt = tensor(x), torch.tensor(t, dtype=torch.int64 if t is labels else torch.float64)
    loss, y = functional.softmax_cross_entropy(x, t, **options)
    dx = functional.softmax_cross_entropy_backward(y, t, **options)
    compare_loss(loss, dx, F.cross_entropy(tx, tt, **theirs), tx, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(10))
def test_sample_weights(seed, dtype):
    rng = np.random.default_rng(seed)
    N, M = int(rng.integers(1, 20)), int(rng.integers(2, 12))
    x, labels = (4 * rng.standard_normal((N, M))).astype(dtype), rng.integers(0, M, N)
    t, weight, classes = rng.random((N, M)).astype(dtype), (rng.random(N) + 0.1).astype(dtype), rng.random(M) + 0.1
    tt, tw = torch.tensor(t, dtype=torch.float64), torch.tensor(weight, dtype=torch.float64)

    def mean_of(losses, weights):
        return (losses * tw.reshape(-1, *[1] * (losses.ndim - 1))).sum() / weights.sum()

    tx, t_labels, t_classes = tensor(x), torch.tensor(labels), torch.tensor(classes)
    loss, y = functional.softmax_cross_entropy(x, labels, sample_weight=weight, class_weight=classes)
    dx = functional.softmax_cross_entropy_backward(y, labels, sample_weight=weight, class_weight=classes)
    theirs = F.cross_entropy(tx, t_labels, weight=t_classes, reduction="none")
    compare_loss(loss, dx, mean_of(theirs, tw * t_classes[t_labels]), tx, dtype)
    tx = tensor(x)
    loss, y = functional.sigmoid_cross_entropy(x, t, sample_weight=weight)
    dx = functional.sigmoid_cross_entropy_backward(y, t, sample_weight=weight)
    theirs = F.binary_cross_entropy_with_logits(tx, tt, weight=tw[:, None], reduction="sum") / (M * tw.sum())
    compare_loss(loss, dx, theirs, tx, dtype)
    for name, theirs in (("squared_error", F.mse_loss), ("huber", F.huber_loss)):
        tx = tensor(x)
        loss = getattr(functional, name)(x, t, sample_weight=weight)
        dx = getattr(functional, f"{name}_backward")(x, t, sample_weight=weight)
        compare_loss(loss, dx, mean_of(theirs(tx, tt, reduction="none"), M * tw), tx, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(10))
def test_losses_of_values(seed, dtype):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 9, rng.integers(1, 5)))
    x, t = (4 * rng.standard_normal(shape)).astype(dtype), rng.random(shape).astype(dtype)
    weight = rng.random(shape[-1]) * 3 if seed % 2 else None
    delta, tt = float(rng.random() + 0.1), torch.tensor(t, dtype=torch.float64)

    tx = tensor(x)
    loss, y = functional.sigmoid_cross_entropy(x, t, pos_weight=weight)
    dx = functional.sigmoid_cross_entropy_backward(y, t, pos_weight=weight)
    theirs = None if weight is None else torch.from_numpy(weight)
    compare_loss(loss, dx, F.binary_cross_entropy_with_logits(tx, tt, pos_weight=theirs), tx, dtype)
    for reduction in ("mean", "sum"):
        tx = tensor(x)
        loss = functional.squared_error(x, t, reduction=reduction)
        dx = functional.squared_error_backward(x, t, reduction=reduction)
        compare_loss(loss, dx, F.mse_loss(tx, tt, reduction=reduction), tx, dtype)
    tx = tensor(x)
    dx = functional.huber_backward(x, t, delta=delta)
    compare_loss(functional.huber(x, t, delta=delta), dx, F.huber_loss(tx, tt, delta=delta), tx, dtype)


OPTIMIZERS = [
    (lambda o: cconv.SGD(0.1, **o), lambda p, d: torch.optim.SGD(p, 0.1, weight_decay=d)),
    (lambda o: cconv.Momentum(0.1, 0.8, **o), lambda p, d: torch.optim.SGD(p, 0.1, momentum=0.8, weight_decay=d)),
    (
        lambda o: cconv.Nesterov(0.1, 0.8, **o),
        lambda p, d: torch.optim.SGD(p, 0.1, momentum=0.8, weight_decay=d, nesterov=True),
    ),
    (lambda o: cconv.AdaGrad(0.1, **o), lambda p, d: torch.optim.Adagrad(p, 0.1, eps=1e-7, weight_decay=d)),
    (
        lambda o: cconv.RMSprop(0.1, 0.9, **o),
        lambda p, d: torch.optim.RMSprop(p, 0.1, alpha=0.9, eps=1e-7, weight_decay=d),
    ),
    # The chapter's epsilon is another one than PyTorch's: it is not looked at here.
    (lambda o: cconv.Adam(0.1, 0.8, 0.95, **o), lambda p, d: torch.optim.Adam(p, 0.1, (0.8, 0.95), 1e-30, d)),
    (
        lambda o: cconv.Adam(0.1, 0.8, 0.95, amsgrad=True, **o),
        lambda p, d: torch.optim.Adam(p, 0.1, (0.8, 0.95), 1e-30, d, amsgrad=True),
    ),
    (
        lambda o: cconv.AdamW(0.1, 0.8, 0.95, eps=0.01, **o),
        lambda p, d: torch.optim.AdamW(p, 0.1, (0.8, 0.95), 0.01, d),
    ),
    (
        lambda o: cconv.AdamW(0.1, 0.8, 0.95, eps=0.01, amsgrad=True, **o),
        lambda p, d: torch.optim.AdamW(p, 0.1, (0.8, 0.95), 0.01, d, amsgrad=True),
    ),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("clip", [None, "norm", "value"])
@pytest.mark.parametrize(("ours", "theirs"), OPTIMIZERS)
def test_optimizers(ours, theirs, clip, decay, dtype):
    rng = np.random.default_rng(0)
    shapes = {"W": (4, 30), "b": (30,)}
    params = {key: rng.standard_normal(shape).astype(dtype) for key, shape in shapes.items()}
    tensors = {key: tensor(value) for key, value in params.items()}
    options = {"weight_decay": decay, "exclude": ()} | ({f"clip_{clip}": 0.7} if clip else {})
    ours, theirs = ours(options), theirs(list(tensors.values()), decay)
    for _ in range(6):
        for key, value in tensors.items():
            value.grad = torch.from_numpy(rng.standard_normal(shapes[key]))
        grads = {key: value.grad.numpy().astype(dtype) for key, value in tensors.items()}
        if clip == "norm":
            norm = torch.nn.utils.clip_grad_norm_(tensors.values(), 0.7)
            assert cconv.global_norm(grads) == pytest.approx(norm.item(), rel=1e-6)
        elif clip == "value":
            torch.nn.utils.clip_grad_value_(tensors.values(), 0.7)
        ours.update(params, grads)
        theirs.step()
    for key, value in tensors.items():
        tolerance = 1e-3 if type(ours) is cconv.Adam else 1e-4 if dtype is np.float32 else 1e-12
        np.testing.assert_allclose(params[key], value.detach().numpy(), rtol=tolerance, atol=tolerance)


SCHEDULES = [
    (lambda o: cconv.StepDecay(o, 3, 0.5), lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5)),
    (lambda o: cconv.StepDecay(o, [2, 5, 6], 0.3), lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [2, 5, 6], 0.3)),
    (lambda o: cconv.ExponentialDecay(o, 0.9), lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9)),
    (lambda o: cconv.CosineDecay(o, 20, 0.01), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20, 0.01)),
    (
        lambda o: cconv.CosineDecay(o, 20, 0.01, warmup=5, warmup_factor=0.2),
        lambda o: torch.optim.lr_scheduler.SequentialLR(
            o,
            [
                torch.optim.lr_scheduler.LinearLR(o, 0.2, total_iters=5),
                torch.optim.lr_scheduler.CosineAnnealingLR(o, 15, 0.01),
            ],
            [5],
        ),
    ),
    (
        lambda o: cconv.OneCycle(o, 0.5, 20, momentum=(0.85, 0.95)),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.5, 20),
    ),
    (
        lambda o: cconv.OneCycle(o, 0.5, 21, rise=0.41, start_divisor=7, end_divisor=50, momentum=(0.6, 0.7)),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, 0.5, 21, pct_start=0.41, div_factor=7, final_div_factor=50, base_momentum=0.6, max_momentum=0.7
        ),
    ),
]


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize(("ours", "theirs"), SCHEDULES)
def test_schedules(ours, theirs):
    optimizer = cconv.Momentum(0.1, 0.8)
    reference = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1, 0.8)
    ours, theirs = ours(optimizer), theirs(reference)
    for _ in range(20):
        assert optimizer.lr == pytest.approx(reference.param_groups[0]["lr"], rel=1e-12, abs=1e-15)
        assert optimizer.momentum == pytest.approx(reference.param_groups[0]["momentum"], rel=1e-12)
        reference.step()
        ours.step()
        if theirs.last_epoch < 19:
            theirs.step()
        else:
            break


@pytest.mark.parametrize("seed", range(10))
def test_reduce_on_plateau(seed):
    rng = np.random.default_rng(seed)
    mode = ("min", "max")[seed % 2]
    options = {"patience": int(rng.integers(0, 4)), "cooldown": int(rng.integers(0, 3)), "threshold": 0.05}
    optimizer = cconv.SGD(1.0)
    reference = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    ours = cconv.ReduceOnPlateau(optimizer, 0.5, mode=mode, min_lr=1e-3, **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(reference, mode, 0.5, min_lr=1e-3, **options)
    for metric in rng.random(60) + 1:
        ours.step(metric)
        theirs.step(metric)
        assert optimizer.lr == pytest.approx(reference.param_groups[0]["lr"], rel=1e-12)
