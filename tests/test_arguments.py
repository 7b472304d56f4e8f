"""Every argument of everything public by values that hardly fit: accepted, or an error that names the argument.

Each public name has a row here, and each public method of a class: what makes the object, and arguments that are good.
One argument at a time is replaced by each of `BAD`. A name without a row fails, and so does an argument without a good
value. Whatever is refused leaves its object, and the arrays it was given, as they were.
"""

import copy
import inspect
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import cconv
from cconv import augment, data, functional, metrics, plotting

ITSELF: list = []
ITSELF.append(ITSELF)
BAD = [
    ITSELF,
    None,
    float("nan"),
    float("inf"),
    -float("inf"),
    -1,
    0,
    2**70,
    -(2**70),
    10**400,
    1.5,
    True,
    "x",
    b"x",
    [],
    {},
    object(),
    1j,
    [1.5, "x"],
    [[1], [2, 3]],
    {"x": 1},
    {"x": "x", 3: 4},
    np.full((1, 2, 1, 2, 1), 3, np.int8),
    np.array(["a", "b"]),
    np.array([None, 1j]),
    np.array([1.5]),
    np.zeros((3, 0)),
    np.full((2, 3), np.nan, np.float16),
    np.array(1j),
]
REFUSALS = (TypeError, ValueError)
# What else may come, where it is documented: files and keys that are not there, and more images than memory holds.
LOADERS = tuple(f"load_{name}" for name in ("cifar10", "cifar100", "fashion_mnist", "kmnist", "mnist"))
FILES = set(LOADERS) | {"read_idx", "read_idx_pair", "filter_show", "plot_accuracy", "plot_history"}
FILES |= {"History.to_csv", "History.plot", "LearningRates.plot"}
FILES |= {"Network.load_params", "Network.save", "Network.save_params", "load"}
FILES |= {"Trainer.load_checkpoint", "Trainer.save_checkpoint"}
KEYS = {"update", "freeze", "unfreeze"}
# Public methods that a network calls, and a user does not.
INNER = {"build", "join", "join_shapes", "multiply_adds", "output_shape", "smallest_batch", "split"}
INNER |= {"checked_state", "expect_measured", "is_of", "record", "stop"}


RNG = np.random.default_rng(0)
X = RNG.random((2, 2, 6, 6))  # images
ROWS = RNG.random((3, 4))
LABELS = np.array([0, 2, 1])
W, B = RNG.random((3, 2, 3, 3)), np.zeros(3)
OUT = np.ones((2, 3, 4, 4))
HALF = np.ones((2, 2, 3, 3))
POOLED, ARGMAX = functional.max_pool(X, 2, return_argmax=True)
FUSED, FUSED_ARGMAX = functional.convolution_relu_max_pool(X, W, return_argmax=True)
SCALES = {"gamma": np.ones(2), "beta": np.zeros(2)}
PER_CHANNEL = {"gamma": np.ones(2), "mean": np.zeros(2), "var": np.ones(2)}
PER_SAMPLE = {"gamma": np.ones((2, 6, 6)), "mean": np.zeros(2), "var": np.ones(2)}
PER_GROUP = {"gamma": np.ones(2), "mean": np.zeros((2, 2)), "var": np.ones((2, 2))}
PARAMS = {"W": np.ones((2, 2)), "b": np.ones(2)}


def network(**options):
    layers = [cconv.Convolution(filters=2, size=3), cconv.Relu(), cconv.Affine(units=3)]
    return cconv.Network(layers, (1, 6, 6), seed=0, **options)


def trainer():
    x, t = np.zeros((4, 1, 6, 6), np.float32), np.zeros(4, np.int64)
    made = cconv.Trainer(network(), x, t, x, t, 1, 2, verbose=False, seed=0)
    made.train_step()
    return made


TRAINING = {
    "x_train": np.zeros((4, 1, 6, 6), np.float32),
    "t_train": np.zeros(4, np.int64),
    "x_test": np.zeros((4, 1, 6, 6), np.float32),
    "t_test": np.zeros(4, np.int64),
}

# The losses: what they take beside settings.
LOSSES = {
    "Huber": (ROWS, ROWS),
    "MeanSquaredError": (ROWS, ROWS),
    "SigmoidWithLoss": (ROWS, np.ones((3, 4))),
    "SoftmaxWithLoss": (ROWS, LABELS),
}

# Good arguments of each operation, function and constructor; several where one leaves some without a meaning. What is
# left out has a default.
ACTIVATIONS = {
    rule.name: rule
    for rule in vars(functional.activation).values()
    if isinstance(rule, functional.activation.Elementwise) and rule.name != "relu"
}
OPERATIONS = {
    **{name: {"x": X} for name in ACTIVATIONS},
    **{f"{name}_backward": {"dout": X, rule.kept: X} for name, rule in ACTIVATIONS.items()},
    "adaptive_average_pool": {"x": X, "output_size": 2},
    "adaptive_average_pool_backward": {"dout": np.ones((2, 2, 2, 2)), "input_shape": X.shape, "output_size": 2},
    "add": {"first": X, "second": X},
    "affine": {"x": ROWS, "W": np.ones((4, 2)), "b": np.ones(2)},
    "affine_backward": {"dout": np.ones((3, 2)), "x": ROWS, "W": np.ones((4, 2))},
    "average_pool": {"x": X, "window": 2, "stride": 2},
    "average_pool_backward": {"dout": HALF, "input_shape": X.shape, "window": 2, "stride": 2},
    "batch_normalization": [{"x": X, **SCALES}, {"x": X, "beta": np.zeros(2), **PER_CHANNEL}],
    "batch_normalization_backward": {"dout": X, "x": X, **PER_CHANNEL},
    "col2im": {"col": np.ones((32, 18)), "input_shape": X.shape, "filter_h": 3, "filter_w": 3},
    "concatenate": {"arrays": [X, X]},
    "convolution": {"x": X, "W": W, "b": B},
    "convolution_backward": {"dout": OUT, "x": X, "W": W},
    "convolution_batch_normalization": {
        "x": X,
        "W": W,
        "b": B,
        "branch": OUT,
        "mean": np.zeros(len(W)),
        "var": np.ones(len(W)),
        "gamma": np.ones(len(W)),
        "beta": np.zeros(len(W)),
    },
    "convolution_relu_max_pool": {"x": X, "W": W, "b": B},
    "convolution_relu_max_pool_backward": {"dout": FUSED, "out": FUSED, "argmax": FUSED_ARGMAX, "x": X, "W": W},
    "dropout": {"x": X},
    "group_normalization": {"x": X, "groups": 2, **SCALES},
    "group_normalization_backward": {"dout": X, "x": X, "groups": 2, **PER_GROUP},
    "huber": {"x": ROWS, "t": ROWS},
    "huber_backward": {"x": ROWS, "t": ROWS},
    "im2col": {"input_data": X, "filter_h": 3, "filter_w": 3},
    "layer_normalization": {"x": X, "gamma": np.ones((2, 6, 6)), "beta": np.zeros((2, 6, 6))},
    "layer_normalization_backward": {"dout": X, "x": X, **PER_SAMPLE},
    "max_pool": {"x": X, "window": 2, "stride": 2},
    "max_pool_backward": {"dout": POOLED, "argmax": ARGMAX, "input_shape": X.shape, "window": 2, "stride": 2},
    "relu": {"x": X},
    "relu_backward": [{"dout": X, "y": X}, {"dout": X, "mask": functional.relu(X, return_mask=True)[1]}],
    "rescale": {"x": X, "shift": [1, 2], "factor": [0.5, 2]},
    "sigmoid_cross_entropy": {"x": ROWS, "t": ROWS},
    "sigmoid_cross_entropy_backward": {"y": ROWS, "t": ROWS},
    "softmax": {"x": ROWS},
    "softmax_cross_entropy": {"x": ROWS, "t": LABELS},
    "softmax_cross_entropy_backward": {"y": functional.softmax(ROWS), "t": LABELS},
    "squared_error": {"x": ROWS, "t": ROWS},
    "squared_error_backward": {"x": ROWS, "t": ROWS},
    "transposed_convolution": {"x": X, "W": np.ones((2, 3, 3, 3)), "b": B},
    "transposed_convolution_backward": {"dout": np.ones((2, 3, 8, 8)), "x": X, "W": np.ones((2, 3, 3, 3))},
    "upsample": {"x": X, "scale": 2, "mode": "bilinear"},
    "upsample_backward": {"dout": np.ones((2, 2, 12, 12)), "input_shape": X.shape, "scale": 2, "mode": "bilinear"},
    "zero_pad": {"x": X, "pad": 1},
    "zero_pad_backward": {"dout": X, "pad": 1},
}
FUNCTIONS = {
    "clip_gradients_by_norm": {"grads": PARAMS, "max_norm": 1.0},
    "clip_gradients_by_value": {"grads": PARAMS, "limit": 1.0},
    "col2im": OPERATIONS["col2im"],
    "conv_output_size": {"input_size": 6, "filter_size": 3},
    "cross_entropy_error": {"y": ROWS, "t": LABELS},
    "empty_cache": {},
    "explain": {"layer": cconv.Convolution(W, B), "x_shape": (1, W.shape[1], 6, 6)},
    "filter_show": {"filters": W, "nx": 2, "margin": 1, "scale": 2, "file_name": "filters.png"},
    "get_num_threads": {},
    "global_norm": {"grads": PARAMS},
    "gradient_check": {"target": cconv.Affine(np.ones((4, 2)), np.ones(2)), "x": ROWS},
    "identity_function": {"x": ROWS},
    "im2col": OPERATIONS["im2col"],
    "load": {"file": "network"},
    **{name: {"data_dir": "nowhere"} for name in LOADERS},
    "load_synthetic_digits": {"n_train": 2, "n_test": 1},
    "mean_squared_error": {"y": ROWS, "t": ROWS},
    "numerical_gradient": {"f": np.sum, "x": np.ones((2, 3))},
    "numerical_gradient_2d": {"f": np.sum, "X": np.ones((2, 3))},
    "find_learning_rate": {"trainer": trainer(), "steps": 2},
    "plot_history": {"history": cconv.History(), "file_name": "history.png"},
    "plot_accuracy": {"train_acc_list": [0.5, 0.6], "test_acc_list": [0.5, 0.6], "file_name": "accuracy.png"},
    "read_idx": {"path": "images"},
    "read_idx_pair": {"images_path": "images", "labels_path": "labels"},
    "relu": {"x": X},
    "relu_grad": {"x": X},
    "set_num_threads": {"n": cconv.get_num_threads()},
    "threads": {"n": 1},
    "show_config": {"mode": "dicts"},
    "sigmoid": {"x": X},
    "sigmoid_grad": {"x": X},
    "softmax": {"x": ROWS},
    "softmax_loss": {"X": ROWS, "t": LABELS},
    "step_function": {"x": X},
}
ANSWERS = [{"t": LABELS, "y": ROWS, "num_classes": 4}, {"t": LABELS, "y": LABELS, "num_classes": 4}]
METRICS = {
    "accuracy": [{"t": LABELS, "y": ROWS}, {"t": LABELS, "y": LABELS}],
    "confusion_matrix": ANSWERS,
    "f1": ANSWERS,
    "log_loss": {"t": LABELS, "y": ROWS},
    "precision": ANSWERS,
    "recall": ANSWERS,
    "top_k_accuracy": {"t": LABELS, "y": ROWS},
}
SEEN = {"network": network(), "x": np.zeros((2, 1, 6, 6), np.float32)}
PLOTTING = {
    "filter_show": FUNCTIONS["filter_show"],
    "plot_accuracy": {**FUNCTIONS["plot_accuracy"], "ax": None},
    "plot_augmented": {"augment": augment.RandomFlip(), "x": SEEN["x"], "copies": 1, "file_name": "augmented.png"},
    "plot_confusion_matrix": {"t": LABELS, "y": ROWS, "file_name": "confusion.png"},
    "plot_feature_maps": {"network": network(), "x": SEEN["x"][0], "file_name": "maps.png"},
    "plot_filters": {"network": network(), "file_name": "filters.png"},
    "plot_grad_cam": {**SEEN, "file_name": "cam.png"},
    "plot_histograms": {**SEEN, "file_name": "histograms.png"},
    "plot_history": FUNCTIONS["plot_history"],
    "plot_mistakes": {**SEEN, "t": np.array([0, 2]), "count": 1, "file_name": "mistakes.png"},
    "plot_saliency": {**SEEN, "file_name": "saliency.png"},
}
GIVEN_BATCH = {"running_mean": np.zeros(2), "running_var": np.ones(2), **SCALES}
LAYERS = {
    **{kind.__name__: {} for kind in cconv.layers.activation.Activation.__subclasses__()},
    "AdaptiveAveragePooling": {"output_size": 2},
    "Affine": [{"W": np.ones((72, 3)), "b": B}, {"units": 3}],
    "AveragePooling": {"pool_h": 2, "pool_w": 2, "stride": 2},
    "BatchNormalization": [{}, GIVEN_BATCH],
    "Concatenate": {"branches": [cconv.Relu()]},
    "Convolution": [{"W": W, "b": B}, {"filters": 3, "size": 3}, {"filters": 3, "size": 3, "algorithm": "im2col"}],
    "Dropout": {"seed": 0},
    "Flatten": {},
    "GlobalAveragePooling": {},
    "GlobalMaxPooling": {},
    "GroupNormalization": [{"groups": 2}, {"groups": 2, **SCALES}],
    "Huber": {},
    "LayerNormalization": [{}, {"gamma": np.ones((2, 6, 6)), "beta": np.zeros((2, 6, 6))}],
    "MeanSquaredError": {},
    "Normalize": {"mean": [0.1, 0.2], "std": [0.5, 0.4]},
    "Pooling": {"pool_h": 2, "pool_w": 2, "stride": 2},
    "Relu": {},
    "Reshape": {"shape": (-1,)},
    "Residual": {"body": [cconv.Relu()]},
    "Scale": {},
    "SigmoidWithLoss": {},
    "SoftmaxWithLoss": {},
    "TransposedConvolution": [{"W": np.ones((2, 3, 3, 3)), "b": B}, {"filters": 3, "size": 3}],
    "Upsample": {"scale": 2, "mode": "bilinear"},
    "ZeroPad": {"pad": 1},
}
SMALL = {"input_dim": (1, 12, 12), "output_size": 3, "seed": 0}
NETWORKS = {
    "DeepConvNet": {**SMALL, "hidden_size": 3},
    "LeNet5": {**SMALL, "input_dim": (1, 14, 14)},
    "MobileNet": {**SMALL, "width": 0.1},
    "Network": {"layers": [cconv.Affine(units=3)], "input_shape": (4,), "seed": 0},
    "ResNet": {**SMALL, "filters": 2},
    "SimpleConvNet": {**SMALL, "hidden_size": 3},
}
DECAY = {"weight_decay": 0.1, "exclude": None, "clip_value": None, "clip_norm": None}
OPTIMIZERS = {
    name: dict(DECAY) for name in ("SGD", "AdaGrad", "Adam", "AdamW", "Lion", "Momentum", "Nesterov", "RMSprop")
}
SCHEDULES = {
    "CosineDecay": {"total_steps": 4},
    "ExponentialDecay": {"gamma": 0.5},
    "OneCycle": {"max_lr": 0.1, "total_steps": 4, "momentum": (0.8, 0.9)},
    "ReduceOnPlateau": {},
    "StepDecay": {"steps": 2},
}
OTHERS = {
    "ExponentialMovingAverage": {"params": {name: value.copy() for name, value in PARAMS.items()}},
    "History": {},
    "Predictor": {"network": network()},
    "LearningRates": {"lr": [0.1, 0.2], "loss": [2.0, 1.0]},
    "Trainer": {**TRAINING, "epochs": 1, "mini_batch_size": 2, "verbose": False, "seed": 0},
}
SAMPLES = {"x": np.zeros((4, 2)), "t": np.array([0, 1, 0, 1])}
DATA = {
    "ArrayDataset": {**SAMPLES, "classes": ["a", "b"]},
    "ImageFolder": {"path": "photos", "size": 4},
    "Subset": {"dataset": data.ArrayDataset(**SAMPLES), "indices": [0, 2]},
    "as_dataset": SAMPLES,
}
# Not to be made: bases, whose subclasses are here, and an exception.
BASES = {"Branches", "DatasetNotFoundError", "Layer", "Optimizer", "Schedule"}


def made(name, arguments=None):
    """A layer, network, optimizer, schedule, average or trainer, of good arguments unless others are given."""
    rows = {**LAYERS, **NETWORKS, **OPTIMIZERS, **SCHEDULES, **OTHERS}
    if arguments is None:
        arguments = copy.deepcopy(rows[name][0] if isinstance(rows[name], list) else rows[name])
    if name == "Concatenate" and "branches" in arguments:
        return cconv.Concatenate(arguments["branches"])
    if name in SCHEDULES:
        arguments = {"optimizer": cconv.Momentum()} | arguments
    if name == "Trainer":
        arguments = {"network": network()} | arguments
    return getattr(cconv, name)(**arguments)


def use(name, thing):
    """Use what was made for what it is there for."""
    if name in LOSSES:
        thing.forward(*LOSSES[name])
        thing.backward()
    elif name in LAYERS:
        thing.build(X.shape[1:], np.random.default_rng(0), X.dtype)
        thing.backward(np.ones_like(thing.forward(X)))
    elif name in NETWORKS:
        thing.gradient(np.zeros((3, *thing.input_shape), thing.dtype), LABELS)
    elif name in OPTIMIZERS:
        thing.update({key: value.copy() for key, value in PARAMS.items()}, PARAMS)
    elif name in SCHEDULES:
        thing.step(*[1.0] * thing.takes_metric)
    elif name == "ExponentialMovingAverage":
        thing.update()
    elif name == "Trainer":
        thing.train()
    return thing


def rows_of(table):
    """The rows of a table one by one."""
    return [(name, row) for name, value in table.items() for row in (value if isinstance(value, list) else [value])]


def methods():
    """Rows of the public methods: (name of a class and a method, object, good arguments), made when wanted."""
    rows = []
    for name, arguments in rows_of(LAYERS):
        layer = use(name, made(name, copy.deepcopy(arguments)))
        if name in LOSSES:
            x, t = LOSSES[name]
            rows.append((f"{name}.backward", layer, {"dout": 1.0}))
            rows.append((f"{name}.forward", layer, {"x": x, "t": t}))
            if layer.accuracy is not None:
                rows.append((f"{name}.accuracy", layer, {"scores": x, "t": t}))
        else:
            rows.append((f"{name}.backward", layer, {"dout": np.ones_like(layer.forward(X))}))
            rows.append((f"{name}.forward", layer, {"x": X}))
    simple = network()
    x, t = np.zeros((3, 1, 6, 6), np.float32), LABELS
    simple.gradient(x, t)
    rows.append(("Network.predict", simple, {"x": x}))
    rows.append(("Predictor.predict", cconv.Predictor(simple), {"x": x}))
    for name in ("loss", "accuracy", "gradient", "numerical_gradient"):
        rows.append((f"Network.{name}", simple, {"x": x, "t": t}))
    for name in ("freeze", "unfreeze"):
        rows.append((f"Network.{name}", simple, {"names": "conv1"}))
    rows.append(("Network.train", simple, {}))
    simple.save_params("network")
    for name in ("save_params", "load_params"):
        rows.append((f"Network.{name}", simple, {"file_name": "network"}))
    rows.append(("Network.save", simple, {"file": "network"}))
    rows.append(("Network.load_state_dict", simple, {"state": copy.deepcopy(simple.state_dict())}))
    for name in OPTIMIZERS:
        optimizer = use(name, made(name))
        rows.append((f"{name}.update", optimizer, {"params": PARAMS, "grads": PARAMS}))
    for name in (*OPTIMIZERS, *SCHEDULES, "ExponentialMovingAverage"):
        thing = use(name, made(name))
        for method in ("load_state_dict", "checked_state"):
            rows.append((f"{name}.{method}", thing, {"state_dict": thing.state_dict()}))
    rows.append(("ReduceOnPlateau.step", made("ReduceOnPlateau"), {"metric": 1.0}))
    training = made("Trainer")
    training.train_step()
    training.save_checkpoint("checkpoint")
    for name in ("save_checkpoint", "load_checkpoint"):
        rows.append((f"Trainer.{name}", training, {"file_name": "checkpoint"}))
    rows.append(("Trainer.train", training, {"epochs": 0}))
    rows.append(("History.last", training.history, {"name": "loss"}))
    rows.append(("History.to_csv", training.history, {"file_name": "history.csv"}))
    rows.append(("History.plot", training.history, {"file_name": "history.png"}))
    rows.append(("LearningRates.plot", made("LearningRates"), {"file_name": "rates.png"}))
    return rows


def state(thing):
    """What an object is, and arrays hold, as something that can be compared; what a forward leaves is not a part."""
    if isinstance(thing, np.ndarray):
        return thing.shape, thing.dtype.str, thing.tobytes() if thing.dtype != object else repr(thing)
    if isinstance(thing, dict):
        return {key: state(value) for key, value in thing.items() if key != "_saved"}
    if isinstance(thing, (list, tuple)) and not any(value is thing for value in thing):
        return [state(value) for value in thing]
    if isinstance(thing, np.random.Generator):
        return repr(thing.bit_generator.state)
    if type(thing).__module__.startswith("cconv."):
        return state(vars(thing)) if hasattr(thing, "__dict__") else repr(thing)
    return thing if isinstance(thing, (bool, int, float, str, bytes)) else id(thing)


def cases(arguments, signature):
    """Each argument of a signature by each bad value: (name, arguments)."""
    kinds = signature.parameters.values()
    names = [parameter.name for parameter in kinds if parameter.kind != parameter.VAR_KEYWORD]
    lacking = [p.name for p in kinds if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    assert set(lacking) <= arguments.keys(), "each argument without a default needs a good value"
    for name in dict.fromkeys([*names, *arguments]):
        for value in BAD:
            yield name, value, {**copy.deepcopy(arguments), name: value}


def faults(title, call, arguments, signature, owner=None, after=None, also=()):
    """What is wrong with how a callable takes bad arguments, a line for each."""
    found = {}
    if title not in LOADERS:  # which have no files here
        result = call(**copy.deepcopy(arguments))
        if after is not None:
            after(result)
    for name, value, changed in cases(arguments, signature):
        before, arrays = state(owner), state(changed)
        problem = None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                result = call(**changed)
                if after is not None:
                    after(result)
            except OSError as error:
                problem = None if OSError in also else f"{type(error).__name__}: {error}"
            except (*REFUSALS, *also) as error:
                if not re.search(rf"\b{name}\b", str(error)):
                    problem = f"does not name it: {type(error).__name__}: {error}"
                elif state(owner) != before or state(changed) != arrays:
                    problem = f"left something half-changed: {error}"
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
        if problem is not None:
            found.setdefault(f"{title}({name}=...) {problem}", []).append(repr(value)[:40])
    return [f"{line} [{'; '.join(values)}]" for line, values in found.items()]


def refused(*arguments):
    raise OSError("nothing is downloaded here")


@pytest.fixture(autouse=True)
def bounds(tmp_path, monkeypatch):
    """Work in a folder of its own, with the threads as they are and no more memory than now and a gigabyte."""
    resource = pytest.importorskip("resource")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CCONV_DATA", raising=False)
    monkeypatch.setattr("cconv.datasets._places._download", refused)
    threads, limits = cconv.get_num_threads(), resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 30), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)
    cconv.set_num_threads(threads)


@pytest.mark.parametrize(("name", "arguments"), rows_of(OPERATIONS))
def test_operations(name, arguments):
    operation = getattr(functional, name)
    assert faults(name, operation, arguments, inspect.signature(operation)) == []


@pytest.mark.parametrize(("name", "arguments"), rows_of(METRICS))
def test_metrics(name, arguments):
    metric = getattr(metrics, name)
    assert faults(name, metric, arguments, inspect.signature(metric)) == []


@pytest.mark.parametrize(("name", "arguments"), rows_of(PLOTTING))
def test_pictures(name, arguments, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure")
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, file, **options: file.write(b"picture"))
    draw = getattr(plotting, name)
    assert faults(name, draw, arguments, inspect.signature(draw), also=(OSError,)) == []


@pytest.mark.parametrize(("name", "arguments"), rows_of(FUNCTIONS))
def test_functions(name, arguments):
    function = getattr(cconv, name)
    Path("labels").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 3]))
    network().save("network")
    Path("images").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 7]))
    also = (OSError,) * (name in FILES) + (MemoryError,) * (name == "load_synthetic_digits")
    assert faults(name, function, arguments, inspect.signature(function), also=also) == []


# Objects among the arguments must not be a part of a test's name: processes that share the tests would not agree.
@pytest.mark.parametrize(
    ("name", "arguments"),
    rows_of({**LAYERS, **NETWORKS, **OPTIMIZERS, **SCHEDULES, **OTHERS}),
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_constructors(name, arguments):
    def make(**arguments):
        return made(name, arguments)

    signature = inspect.signature(getattr(cconv, name))
    if name in SCHEDULES:
        arguments = {"optimizer": cconv.Momentum(), **arguments}
    if name == "Trainer":
        arguments = {"network": network(), **arguments}
    assert faults(name, make, arguments, signature, after=lambda thing: use(name, thing)) == []


@pytest.mark.parametrize("name", DATA)
def test_data_sets(name):
    image = pytest.importorskip("PIL.Image")
    Path("photos/cat").mkdir(parents=True)
    image.new("RGB", (4, 4)).save("photos/cat/0.png")
    make = getattr(data, name)
    if name == "as_dataset":  # whose names are those of its caller's arguments

        def make(x, t):
            return data.as_dataset(x, t, ("x", "t"))

    also = {"ImageFolder": (OSError,), "Subset": (IndexError,)}.get(name, ())
    assert faults(name, make, DATA[name], inspect.signature(make), also=also) == []


def test_splits():
    split = data.ArrayDataset(**SAMPLES).split
    assert faults("split", split, {"fraction": 0.5, "seed": 0}, inspect.signature(split)) == []


@pytest.mark.parametrize(
    "kind", [*LAYERS, *OPTIMIZERS, *SCHEDULES, "Network", "Predictor", "ExponentialMovingAverage", "Trainer"]
)
def test_methods(kind):
    found = []
    for title, owner, arguments in methods():
        if title.partition(".")[0] != kind:
            continue
        method = getattr(owner, title.partition(".")[2])
        signature = inspect.signature(method)

        def call(method=method, **arguments):
            return method(arguments["names"]) if "names" in arguments else method(**arguments)

        also = (OSError,) * (title in FILES) + (KeyError,) * (title.partition(".")[2] in KEYS)
        found += faults(title, call, arguments, signature, owner, also=also)
    assert found == []


def test_everything_public_has_a_row():
    def callables(module):
        return {name for name in module.__all__ if callable(getattr(module, name))}

    assert OPERATIONS.keys() == callables(functional)
    assert METRICS.keys() == callables(metrics)
    assert PLOTTING.keys() == callables(plotting)
    assert DATA.keys() | {"Dataset"} == callables(data)
    classes = LAYERS.keys() | NETWORKS.keys() | OPTIMIZERS.keys() | SCHEDULES.keys() | OTHERS.keys() | BASES
    assert FUNCTIONS.keys() | classes == callables(cconv)
    rows = {title for title, _, _ in methods()}
    for name in classes - BASES:
        kind = getattr(cconv, name)
        for method, function in inspect.getmembers(kind, inspect.isfunction):
            takes = len(inspect.signature(function).parameters) > 1
            if takes and method[0] != "_" and method not in INNER:
                assert any(f"{base.__name__}.{method}" in rows for base in kind.__mro__), f"{name}.{method}"


def leaves(tree, place=()):
    """The places of all values in dicts in dicts."""
    for key, value in tree.items():
        yield (*place, key)
        if isinstance(value, dict):
            yield from leaves(value, (*place, key))


@pytest.mark.parametrize("kind", [*OPTIMIZERS, *SCHEDULES, "ExponentialMovingAverage"])
def test_a_state_that_is_damaged_anywhere_is_refused_by_name(kind):
    thing = use(kind, made(kind))
    found = []
    for place in leaves(thing.state_dict()):
        for value in BAD:
            damaged, before = thing.state_dict(), state(thing)
            inner = damaged
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    thing.load_state_dict(damaged)
                    use(kind, thing)
            except REFUSALS as error:
                if not re.search("|".join(rf"\b{re.escape(key)}\b" for key in ("state_dict", *place)), str(error)):
                    found.append(f"{place} by {value!r} is not named: {error}")
                elif state(thing) != before:
                    found.append(f"{place} by {value!r} left something half-changed: {error}")
            except Exception as error:
                found.append(f"{place} by {value!r}: {type(error).__name__}: {error}")
            thing = use(kind, made(kind))
    assert found == []


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_what_an_optimizers_attribute_became_is_noticed_before_anything_changes(kind):
    optimizer = use(kind, made(kind))
    params = {name: value.copy() for name, value in PARAMS.items()}
    for name in optimizer.state_dict()["settings"]:
        good = getattr(optimizer, name)
        for value in (float("nan"), float("inf"), -1, "x", [], np.ones(2), 1j, 10**400):
            setattr(optimizer, name, value)
            before = state(optimizer), state(params)
            with pytest.raises(REFUSALS, match=rf"\b{name}\b"):
                optimizer.update(params, PARAMS)
            assert (state(optimizer), state(params)) == before
        setattr(optimizer, name, good)
    optimizer.update(params, PARAMS)
