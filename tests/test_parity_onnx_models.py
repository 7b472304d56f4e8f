"""cconv.onnx: what is written runs elsewhere and comes back, what others write is read, what does not fit is refused.

ONNX Runtime is the judge of what is written. It has no convolutions of doubles, so that these are left to the
standard's own reference.
"""

import copy
import doctest
import importlib
import io
import os

import numpy as np
import onnx_cases
import parity
import pytest
from draws import Case, drawn_network

import cconv
from cconv import layers
from cconv.layers.stack import nested
from cconv.onnx import exporting, loading

onnx = parity.require("onnx", "ONNX")
runtime = parity.require("onnxruntime", "ONNX Runtime")
helper, from_array = onnx.helper, onnx.numpy_helper.from_array

LATEST = onnx.defs.onnx_opset_version()


def written(network, **options):
    """The bytes of a network's model, which the checker has looked at."""
    file = io.BytesIO()
    cconv.onnx.export(network, file, **options)
    onnx.checker.check_model(file.getvalue(), full_check=True)
    return file.getvalue()


def loaded(data):
    return cconv.onnx.load(io.BytesIO(data))


def elsewhere(data, x):
    """What ONNX Runtime makes of x."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(data, options, ["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def assert_same(actual, expected):
    """Within 1e-5 of the largest score."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max(initial=1e-30))


def images(shape, dtype="float32", count=3):
    return np.random.default_rng(0).standard_normal((count, *shape)).astype(dtype)


def moved(network, seed=0):
    """A network whose biases, scales and statistics are not those that it began with."""
    rng = np.random.default_rng(seed)
    for _, layer in nested(network.layers):
        for name in (*layer.param_names, *layer.buffer_names):
            value = getattr(layer, name)
            if name == "running_var":
                value[...] = rng.uniform(0.5, 2, value.shape)
            elif value is not None and value.dtype.kind == "f":
                value += (0.2 * rng.standard_normal(value.shape)).astype(value.dtype)
    return network


def assert_goes_round(network, x=None, judge=elsewhere, **options):
    """What is written gives the network's scores elsewhere, and when it is read; return what was read."""
    x = images(network.input_shape, network.dtype) if x is None else x
    scores = network.predict(x)
    data = written(network, **options)
    assert_same(judge(data, x), scores)
    again = loaded(data)
    assert again.dtype == network.dtype
    assert again.input_shape == network.input_shape
    assert_same(again.predict(x), scores)
    return again


# What is shipped, and each kind of layer

SHIPPED = {
    "SimpleConvNet": lambda: cconv.SimpleConvNet(seed=0),
    "SimpleConvNet of another size": lambda: cconv.SimpleConvNet(
        (2, 13, 20), {"filter_num": 5, "filter_size": (3, 4), "pad": 2, "stride": 2}, seed=0
    ),
    "LeNet5": lambda: cconv.LeNet5(seed=0),
    "DeepConvNet": lambda: cconv.DeepConvNet(seed=0),
    "MobileNet": lambda: cconv.MobileNet(width=0.5, seed=0),
    "ResNet": lambda: cconv.ResNet((3, 15, 18), seed=0),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_go_round(name):
    network = moved(SHIPPED[name]())
    again = assert_goes_round(network)
    assert list(map(type, again.layers.values())) == list(map(type, network.layers.values()))
    assert [value.shape for value in again.params.values()] == [value.shape for value in network.params.values()]
    x, t = images(network.input_shape), np.array([0, 1, 2])
    assert set(again.gradient(x, t)) == set(network.gradient(x, t))


CNN = layers.Convolution
EACH = {
    "affine of images": ([layers.Affine(units=3)], (2, 3, 4)),
    "affine without bias": ([layers.Affine(units=3, bias=False)], (5,)),
    "convolution": ([CNN(filters=4, size=(3, 2), stride=(2, 1), pad=((0, 1), (2, 1)), groups=2)], (2, 9, 8)),
    "convolution, dilated": ([CNN(filters=4, size=3, dilation=(2, 3), bias=False, pad="same", stride=2)], (2, 9, 8)),
    "convolution, im2col": ([CNN(filters=4, size=3, algorithm="im2col")], (2, 9, 8)),
    "transposed": (
        [layers.TransposedConvolution(filters=4, size=3, stride=2, pad=((1, 0), (0, 1)), output_padding=1, groups=2)],
        (2, 5, 4),
    ),
    "transposed, same": (
        [layers.TransposedConvolution(filters=3, size=4, stride=2, pad="same", bias=False)],
        (2, 5, 4),
    ),
    "pooling": ([layers.Pooling(3, 2, stride=2, pad=(1, 0), dilation=(1, 2), ceil_mode=True)], (2, 8, 9)),
    "average": ([layers.AveragePooling(3, 2, stride=2, pad=1, ceil_mode=True)], (2, 8, 9)),
    "average, counted": (
        [layers.AveragePooling(3, 3, stride=2, pad=((1, 0), (0, 1)), count_include_pad=False)],
        (2, 8, 9),
    ),
    "adaptive": ([layers.AdaptiveAveragePooling((3, 4))], (2, 8, 9)),
    "adaptive, parts": ([layers.AdaptiveAveragePooling((4, 3))], (2, 8, 9)),
    "adaptive, larger": ([layers.AdaptiveAveragePooling((5, 7))], (2, 3, 9)),
    "global": ([layers.GlobalAveragePooling()], (2, 8, 9)),
    "global maximum": ([layers.GlobalMaxPooling()], (2, 8, 9)),
    "batch": ([layers.BatchNormalization(eps=1e-3, momentum=0.8)], (2, 8, 9)),
    "batch, rows": ([layers.BatchNormalization()], (7,)),
    "batch, activations": ([layers.BatchNormalization(np.ones(24, "f"), np.zeros(24, "f"))], (2, 3, 4)),
    "layer": ([layers.LayerNormalization(eps=1e-3)], (2, 8, 9)),
    "layer, last axis": ([layers.LayerNormalization(axes=1)], (2, 8, 9)),
    "group": ([layers.GroupNormalization(2, eps=1e-3)], (6, 8, 9)),
    "group, each channel": ([layers.GroupNormalization(3)], (3, 8, 9)),
    "group, rows": ([layers.GroupNormalization(2)], (6,)),
    "relu": ([layers.Relu()], (2, 3)),
    "leaky": ([layers.LeakyRelu(0.2)], (2, 3)),
    "elu": ([layers.Elu(0.5)], (2, 3)),
    "tanh": ([layers.Tanh()], (2, 3)),
    "sigmoid": ([layers.Sigmoid()], (2, 3)),
    "silu": ([layers.Silu()], (2, 3)),
    "hard swish": ([layers.HardSwish()], (2, 3)),
    "gelu": ([layers.Gelu()], (2, 3)),
    "gelu, tanh": ([layers.Gelu("tanh")], (2, 3)),
    "softplus": ([layers.Softplus()], (2, 3)),
    "softplus, steep": ([layers.Softplus(2.5)], (2, 3)),
    "softplus, cut": ([layers.Softplus(0.5, threshold=0.75)], (2, 30)),
    "dropout": ([layers.Dropout(0.3)], (2, 3)),
    "dropout, inverted": ([layers.Dropout(0.3, inverted=True)], (2, 3)),
    "scale": ([layers.Scale(0.3), layers.Relu()], (2, 3, 4)),
    "normalize": ([layers.Normalize([0.1, -0.2], [0.5, 2.0])], (2, 3, 4)),
    "normalize, alike": ([layers.Normalize(0.3, 0.7)], (4,)),
    "flatten": ([layers.Flatten(), layers.Relu()], (2, 3, 4)),
    "reshape": ([layers.Reshape((4, -1))], (2, 3, 4)),
    "zeros": ([layers.ZeroPad(((1, 2), (0, 3)))], (2, 3, 4)),
    "nearest": ([layers.Upsample((2, 1.5))], (2, 3, 4)),
    "nearest, smaller": ([layers.Upsample((0.7, 1.3))], (2, 13, 14)),
    "bilinear": ([layers.Upsample((2, 1.3), "bilinear")], (2, 3, 14)),
    "bilinear, corners": ([layers.Upsample((2, 1.3), "bilinear", True)], (2, 3, 14)),
    "residual": (
        [layers.Residual([CNN(filters=3, size=3, pad=1), layers.Relu()], [CNN(filters=3, size=1)]), layers.Relu()],
        (2, 5, 6),
    ),
    "residual, twice": ([layers.Residual([layers.Residual([layers.Tanh()], [layers.Relu()])])], (2, 5, 6)),
    "residual, itself": ([layers.Residual([])], (4,)),
    "concatenate": (
        [layers.Concatenate([], [layers.Relu(), CNN(filters=3, size=1)], [layers.Concatenate([layers.Tanh()], [])])],
        (2, 5, 6),
    ),
    "concatenate, itself": ([layers.Concatenate([], [])], (4,)),
    "nothing": ([], (4,)),
}


def test_each_kind_of_layer_is_looked_at():
    inside = {type(layer) for stack, _ in EACH.values() for layer in stack}
    assert inside == set(exporting.LAYERS)


def built(name, dtype="float32"):
    stack, shape = EACH[name]
    stack = copy.deepcopy(stack)
    for layer in stack:
        for key in (*layer.param_names, *layer.buffer_names):
            value = getattr(layer, key)
            if value is not None and value.dtype.kind == "f":
                setattr(layer, key, value.astype(dtype))
    return moved(cconv.Network(stack, shape, dtype=dtype, seed=0))


def assert_alike(actual, expected):
    """Networks of the same layers and settings, but for pads, which are written out, algorithms and roundings."""
    assert list(actual.layers) == list(expected.layers)
    for layer, other in zip(actual.layers.values(), expected.layers.values(), strict=True):
        assert type(layer) is type(other)
        found, wanted = layer.describe(), other.describe()
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            if isinstance(value, float) or key in ("scale", "mean", "std"):
                assert found[key] == pytest.approx(value, rel=1e-6)
            elif key not in ("algorithm", "pad", "body", "shortcut", "branch1", "branch2", "branch3"):
                assert found[key] == value, key


# What comes back in another form that computes the same.
OTHERWISE = {"adaptive, parts", "batch, activations", "reshape", "bilinear, corners", "normalize, alike"}


@pytest.mark.parametrize("name", EACH)
def test_each_kind_of_layer_goes_round(name):
    network = built(name)
    again = assert_goes_round(network)
    if name not in OTHERWISE:
        assert_alike(again, network)


# The reference has no transposed convolutions of groups.
@pytest.mark.parametrize("name", [name for name in EACH if name != "transposed"])
def test_each_kind_of_layer_is_written_in_doubles(name):
    def judge(data, x):
        evaluator = importlib.import_module("onnx.reference").ReferenceEvaluator
        with np.errstate(all="ignore"):
            return evaluator(onnx.load_from_string(data)).run(None, {"input": x})[0]

    assert_goes_round(built(name, "float64"), judge=judge)


@pytest.mark.parametrize("opset", [exporting.OLDEST, 20, 21, 22])
@pytest.mark.parametrize("name", ["group", "gelu", "gelu, tanh", "group, rows", "dropout", "nearest", "layer"])
def test_each_version_of_operators_goes_round(name, opset):
    if opset > LATEST:
        pytest.skip(f"this package onnx knows opsets until {LATEST}")
    network = built(name)
    again = assert_goes_round(network, opset=opset)
    assert_alike(again, network)


def test_adaptive_pooling_comes_back_as_it_was():
    (layer,) = assert_goes_round(built("adaptive")).layers.values()
    assert type(layer) is layers.AdaptiveAveragePooling
    assert layer.output_size == (3, 4)


def drawn_window(rng):
    """A random pooling, with images that it fits."""
    window = [int(n) for n in rng.integers(1, 5, 2)]
    settings = {
        "stride": tuple(int(n) for n in rng.integers(1, 4, 2)),
        "pad": tuple(tuple(int(n) for n in rng.integers(0, w // 2 + 1, 2)) for w in window),
        "ceil_mode": bool(rng.integers(2)),
    }
    return window, settings, (2, *(int(n) for n in rng.integers(4, 14, 2)))


@pytest.mark.parametrize("seed", range(30))
def test_random_poolings_go_round(seed):
    rng = np.random.default_rng(seed)
    window, settings, shape = drawn_window(rng)
    include = bool(rng.integers(2))
    for layer in (
        layers.Pooling(*window, **settings),
        layers.AveragePooling(*window, **settings, count_include_pad=include),
    ):
        assert_goes_round(cconv.Network([layer], shape))


@pytest.mark.parametrize("seed", range(30))
def test_random_filters_go_round(seed):
    rng = np.random.default_rng(seed)
    size, stride, dilation = (tuple(int(n) for n in rng.integers(1, high, 2)) for high in (5, 4, 3))
    pad = "same" if rng.integers(3) == 0 else tuple(tuple(int(n) for n in rng.integers(0, 4, 2)) for _ in range(2))
    groups = int(rng.integers(1, 3))
    shape = (2 * groups, *(int((s - 1) * d + rng.integers(1, 9)) for s, d in zip(size, dilation, strict=True)))
    options = {"filters": 2 * groups, "size": size, "stride": stride, "dilation": dilation, "groups": groups}
    assert_goes_round(cconv.Network([CNN(**options, pad=pad)], shape, seed=seed))
    spans = [d * (s - 1) + 1 for s, d in zip(size, dilation, strict=True)]
    if pad != "same":
        pad = tuple(tuple(min(n, span // 2) for n in ends) for ends, span in zip(pad, spans, strict=True))
    elif any(s > span for s, span in zip(stride, spans, strict=True)):
        return
    assert_goes_round(cconv.Network([layers.TransposedConvolution(**options, pad=pad)], shape, seed=seed))


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_go_round(seed):
    case = Case("network", seed, 0)
    stack, shape, _, _ = drawn_network(case)
    assert_goes_round(moved(cconv.Network(stack, shape, seed=seed), seed))


def drawn_stack(rng, channels, depth):
    """Return random layers that leave images their size, with branches in branches, and the channels at the end."""
    stack = []
    for _ in range(rng.integers(0 if depth else 2, 4)):
        kind = rng.integers(5 if depth < 3 else 3)
        if kind == 0:
            channels = int(rng.integers(1, 5))
            stack.append(CNN(filters=channels, size=int(rng.integers(1, 4)), pad="same", bias=bool(rng.integers(2))))
        elif kind == 1:
            stack.append(rng.choice([layers.Relu, layers.Silu, layers.Gelu, layers.HardSwish, layers.Tanh])())
        elif kind == 2:
            stack.append(layers.BatchNormalization() if rng.integers(2) else layers.GroupNormalization(channels))
        elif kind == 3:
            bodies = [drawn_stack(rng, channels, depth + 1)[0] for _ in range(2)]
            body, shortcut = ([*body, CNN(filters=channels, size=1)] if body else [] for body in bodies)
            stack.append(layers.Residual(body, shortcut) if body else layers.Residual(shortcut))
        else:
            branches = [drawn_stack(rng, channels, depth + 1) for _ in range(rng.integers(1, 4))]
            stack.append(layers.Concatenate(*(branch for branch, _ in branches)))
            channels = sum(count for _, count in branches)
    return stack, channels


@pytest.mark.parametrize("seed", range(40))
def test_random_branches_go_round(seed):
    rng = np.random.default_rng(seed)
    stack, _ = drawn_stack(rng, 2, 0)
    assert_goes_round(moved(cconv.Network(stack, (2, 5, 4), seed=seed), seed))


# What is asked for, and where it goes


def test_batches_of_any_size_or_of_one():
    network = cconv.SimpleConvNet((1, 10, 10), seed=0)
    model = onnx.load_from_string(written(network))
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in (*model.graph.input, *model.graph.output)] == [
        "N",
        "N",
    ]
    data = written(network, dynamic_batch=False)
    x = images(network.input_shape, count=1)
    assert_same(elsewhere(data, x), network.predict(x))
    assert_same(loaded(data).predict(images(network.input_shape)), network.predict(images(network.input_shape)))
    with pytest.raises(Exception, match="invalid dimensions"):
        elsewhere(data, images(network.input_shape))


def test_a_softmax_is_written_and_left_to_the_loss():
    network = cconv.SimpleConvNet((1, 10, 10), weight_init_std="he", seed=0)
    x = images(network.input_shape)
    data = written(network, softmax=True)
    assert onnx.load_from_string(data).graph.output[0].name == "probabilities"
    assert_same(elsewhere(data, x), cconv.softmax(network.predict(x)))
    assert_same(loaded(data).predict(x), network.predict(x))


def test_a_model_names_its_opset_its_producer_and_its_layers():
    network = cconv.Network([("first", layers.Affine(units=2)), ("scores", layers.Relu())], (3,), seed=0)
    model = onnx.load_from_string(written(network, opset=19))
    assert [item.version for item in model.opset_import] == [19]
    assert (model.producer_name, model.producer_version) == ("cconv", cconv.__version__)
    assert [node.name for node in model.graph.node] == ["first", "scores_2"]
    assert [tensor.name for tensor in model.graph.initializer] == ["first.W", "first.b"]
    assert [value.name for value in model.graph.output] == ["scores"]


def test_files_appear_whole_or_not_at_all(tmp_path):
    network = cconv.SimpleConvNet((1, 10, 10), seed=0)
    path = tmp_path / "model.onnx"
    cconv.onnx.export(network, path)
    cconv.onnx.export(network, os.fsencode(path))
    before = path.read_bytes()
    assert before == written(network)
    x = images(network.input_shape)
    for name in (path, str(path), os.fsencode(path)):
        assert_same(cconv.onnx.load(name).predict(x), network.predict(x))
    with open(path, "rb") as file:
        assert_same(cconv.onnx.load(file).predict(x), network.predict(x))
    network.layers["Relu1"].forward = lambda x: x
    with pytest.raises(ValueError, match="'Relu1' of kind Relu, with a forward of its own, has no operator in ONNX"):
        cconv.onnx.export(network, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.onnx"]


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((None,), {}, TypeError, "network must be a Network, got NoneType"),
        ((), {"opset": 16}, ValueError, "opset must be at least 17, got 16"),
        ((), {"opset": 1000}, ValueError, f"opset must be at most {LATEST}"),
        ((), {"opset": 18.0}, TypeError, "opset must be an integer"),
        ((), {"dynamic_batch": "N"}, TypeError, "dynamic_batch must be True or False"),
        ((), {"softmax": 2}, TypeError, "softmax must be True or False"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, options, error, message):
    network = cconv.SimpleConvNet((1, 10, 10), seed=0)
    file = io.BytesIO()
    with pytest.raises(error, match=message):
        cconv.onnx.export(*(arguments or (network,)), file, **options)
    assert file.getvalue() == b""


def test_paths_that_are_none_are_refused():
    with pytest.raises(TypeError, match="path must be a str, bytes or a path, got int"):
        cconv.onnx.export(cconv.SimpleConvNet((1, 10, 10), seed=0), 3)
    with pytest.raises(TypeError, match="path must be a str, bytes or a path, got int"):
        cconv.onnx.load(3)
    with pytest.raises(TypeError, match=r"path must be a binary file, its read\(\) gave str"):
        cconv.onnx.load(io.StringIO("x"))
    with pytest.raises(FileNotFoundError):
        cconv.onnx.load("no such file")


def test_layers_without_an_operator_are_refused_by_name():
    class Own(layers.Relu):
        pass

    refused = {
        "layer 'residual1.body.own1' of kind Own has no operator": ([layers.Residual([Own()])], (3,)),
        "softmax must be False for a network whose scores have shape": ([layers.Relu()], (2, 3)),
        "layer 'affine1' of kind Affine: affine1.W must be float32 as its network is, got float64": (
            [layers.Affine(np.ones((3, 2)))],
            (3,),
        ),
        "layer 'upsample1' of kind Upsample: expects images of at most": ([layers.Upsample(2)], (1, 1, 40000)),
    }
    for message, (stack, shape) in refused.items():
        with pytest.raises(ValueError, match=message.replace("(", r"\(")):
            written(cconv.Network(stack, shape), softmax=True)


def test_models_of_more_than_two_gigabytes_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "large.onnx"
    with open(path, "wb") as file:
        file.truncate(2**31)
    with pytest.raises(ValueError, match=r"large\.onnx: an ONNX file holds at most 2 GB, .* has 2147483648 bytes"):
        cconv.onnx.load(path)
    network = cconv.SimpleConvNet((1, 10, 10), seed=0)
    data = written(network)
    size = sum(value.nbytes for value in network.params.values())
    monkeypatch.setattr(exporting, "LARGEST", size - 1)
    with pytest.raises(ValueError, match="at most 2 GB"):
        written(network)
    with pytest.raises(ValueError, match="at most 2 GB"):
        loaded(data)


# What PyTorch writes


def torch_models():
    """Models by name, each with the shape of a sample and the layers that it is read as."""
    torch = pytest.importorskip("torch")
    nn, F = torch.nn, torch.nn.functional

    class LeNet(nn.Module):
        def __init__(self, flat):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
            self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)
            self.flat = flat

        def forward(self, x):
            for conv in (self.conv1, self.conv2):
                x = F.max_pool2d(F.relu(conv(x)), 2)
            x = F.relu(self.fc2(F.relu(self.fc1(self.flat(x)))))
            return self.fc3(F.dropout(x, 0.5, self.training))

    class Block(nn.Module):
        def __init__(self, channels, filters, stride):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(channels, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
                nn.Conv2d(filters, filters, 3, 1, 1, bias=False), nn.BatchNorm2d(filters),
            )  # fmt: skip
            self.shortcut = nn.Identity()
            if stride != 1 or channels != filters:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)
                )

        def forward(self, x):
            return F.relu(self.body(x) + self.shortcut(x))

    class Inverted(nn.Module):
        def __init__(self, channels, filters, stride, act):
            super().__init__()
            wide = 4 * channels
            self.body = nn.Sequential(
                nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), act(),
                nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), act(),
                nn.Conv2d(wide, filters, 1, bias=False), nn.BatchNorm2d(filters),
            )  # fmt: skip
            self.adds = stride == 1 and channels == filters

        def forward(self, x):
            return x + self.body(x) if self.adds else self.body(x)

    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(n, 2, 3, padding=1) for n in (3, 5, 7))

        def forward(self, x):
            found = [x]
            for conv in self.convs:
                found.append(F.relu(conv(torch.cat(found, 1))))
            return torch.cat(found, 1).amax((2, 3))

    class Mean(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    def mobile(act):
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)
        return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), Inverted(8, 8, 1, act), Inverted(8, 12, 2, act), *head)

    flats = {
        "flatten": lambda x: torch.flatten(x, 1),
        "view by size": lambda x: x.view(x.size(0), -1),
        "view": lambda x: x.view(-1, 400),
        "reshape": lambda x: x.reshape(x.shape[0], x.shape[1] * x.shape[2] * x.shape[3]),
    }
    acts = {
        "ReLU": nn.ReLU, "Hardswish": nn.Hardswish, "SiLU": nn.SiLU, "GELU": nn.GELU, "ELU": nn.ELU,
        "GELU tanh": lambda: nn.GELU("tanh"), "LeakyReLU": nn.LeakyReLU, "Tanh": nn.Tanh, "Sigmoid": nn.Sigmoid,
        "Softplus": nn.Softplus, "Softplus 2": lambda: nn.Softplus(2.0),
    }  # fmt: skip
    models = {f"LeNet, {name}": (lambda flat=flat: LeNet(flat), (1, 28, 28)) for name, flat in flats.items()}
    models |= {f"MobileNet, {name}": (lambda act=act: mobile(act), (3, 20, 20)) for name, act in acts.items()}
    models["ResNet"] = (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
            Block(8, 8, 1), Block(8, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
        ),
        (3, 33, 30),
    )  # fmt: skip
    models["small ResNet"] = lambda: nn.Sequential(Block(3, 8, 2), Mean(), nn.Linear(8, 5)), (3, 17, 17)
    models["DenseNet"] = Dense, (3, 9, 8)
    models["odd pads, ceil_mode"] = (
        lambda: nn.Sequential(
            nn.ZeroPad2d((0, 1, 2, 3)), nn.Conv2d(3, 8, (3, 5), (2, 1), (1, 0), (1, 2)),
            nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(3, 2, 1, ceil_mode=True),
            nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), nn.AvgPool2d((2, 3), 1, (1, 1)),
        ),
        (3, 31, 37),
    )  # fmt: skip
    models["decoder"] = (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.InstanceNorm2d(8, affine=True), nn.GroupNorm(1, 8),
            nn.ConvTranspose2d(8, 4, 3, 2, 1, output_padding=1), nn.Upsample(scale_factor=2),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Upsample(scale_factor=1.5, mode="bilinear", align_corners=True), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
            nn.LayerNorm(4), nn.Dropout(), nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3),
        ),
        (3, 11, 8),
    )  # fmt: skip
    return models


def from_torch(torch, module, x, **options):
    import warnings

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is the exporter that needs no other package
        torch.onnx.export(module, (x,), file, dynamo=False, input_names=["x"], **options)
    return file.getvalue()


def stirred(torch, module):
    """A module outside training, whose normalizations are not those that it began with."""
    module.eval()
    for name, value in module.state_dict().items():
        if value.dtype.is_floating_point and value.ndim == 1:
            value.uniform_(0.5, 2) if name.endswith("var") else value.add_(0.3 * torch.randn_like(value))
    return module


@pytest.fixture
def torch():
    torch = parity.require("torch", "PyTorch")
    torch.manual_seed(0)
    return torch


@pytest.mark.parametrize("name", torch_models() if importlib.util.find_spec("torch") else [None])
def test_models_of_pytorch_are_read(name, torch):
    make, shape = torch_models()[name]
    module = stirred(torch, make())
    x = torch.randn(3, *shape)
    expected = module(x).detach().numpy()
    for options in ({"dynamic_axes": {"x": {0: "N"}}}, {"opset_version": 17}):
        data = from_torch(torch, module, x, **options)
        assert_same(loaded(data).predict(x.numpy()), expected)


def test_pytorch_without_folding_keeps_normalizations_and_dropout(torch):
    nn = torch.nn
    stack = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, eps=1e-3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.25), nn.Linear(18, 4)
    module = stirred(torch, nn.Sequential(*stack))
    x = torch.randn(2, 1, 5, 5)
    data = from_torch(
        torch, module, x, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False, opset_version=18
    )
    network = loaded(data)
    assert network.layers["norm1"].eps == pytest.approx(1e-3)
    assert_same(network.predict(x.numpy()), module(x).detach().numpy())


def test_pytorch_gets_the_same_of_what_is_read(torch):
    """To cconv, further to ONNX, and to ONNX Runtime."""
    make, shape = torch_models()["ResNet"]
    module = stirred(torch, make())
    x = torch.randn(5, *shape)
    network = loaded(from_torch(torch, module, x))
    assert_same(elsewhere(written(network), x.numpy()), module(x).detach().numpy())


@pytest.mark.parametrize("act, words", [("ReLU6", r"\(Clip, input 1=0.0, input 2=6.0\)"), ("Mish", r"\(Mul\)")])
def test_activations_that_no_layer_is_are_named(act, words, torch):
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), getattr(torch.nn, act)())
    data = from_torch(torch, module, torch.randn(1, 1, 5, 5), opset_version=18)
    with pytest.raises(ValueError, match=f"node '/1/\\w+' {words}: "):
        loaded(data)


# Graphs written by hand


def graph(nodes, shape, constants=None, *, batch="N", opset=18, outputs=("y",), kind=onnx.TensorProto.FLOAT):
    """The bytes of a model from x to y."""
    inputs = [helper.make_tensor_value_info("x", kind, [batch, *shape])]
    results = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    tensors = [from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    for number, item in enumerate(nodes):  # names of their own
        item.name += f" {number}" if item.name in [other.name for other in nodes[:number]] else ""
    body = helper.make_graph(nodes, "graph", inputs, results, tensors)
    opsets = [helper.make_opsetid("", opset)]
    version = helper.find_min_ir_version_for(opsets, ignore_unknown=True)
    model = helper.make_model(body, opset_imports=opsets, ir_version=version)
    if opset <= LATEST:
        model = onnx.shape_inference.infer_shapes(model)  # the checker wants a shape of the output
    for value in model.graph.output:
        if not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.shape.dim.add()
    return model.SerializeToString()


def node(operator, inputs, output="y", **attributes):
    inputs = inputs.split() if isinstance(inputs, str) else inputs
    return helper.make_node(operator, inputs, output.split(), f"the {operator}", **attributes)


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_read(data, x, kinds=None):
    """A graph is read as layers of these kinds, and gives what ONNX Runtime gives."""
    network = loaded(data)
    assert_same(network.predict(x), elsewhere(data, x))
    if kinds is not None:
        assert [type(layer).__name__ for layer in network.layers.values()] == kinds.split()
    return network


IMAGES = 2, 7, 8
W = normal(3, 2, 3, 2)
READ = {
    "upper": ([node("Conv", "x W", auto_pad="SAME_UPPER", strides=[2, 1])], "Convolution"),
    "lower": ([node("Conv", "x W b", auto_pad="SAME_LOWER", strides=[1, 2])], "Convolution"),
    "valid": ([node("Conv", "x W b", auto_pad="VALID", kernel_shape=[3, 2])], "Convolution"),
    "asymmetric": ([node("Conv", "x W", pads=[0, 1, 2, 0], dilations=[1, 2])], "Convolution"),
    "bias behind": ([node("Conv", "x W", "c"), node("Add", "b3 c")], "Convolution"),
    "bias twice": ([node("Conv", "x W b", "c"), node("Add", "c b3")], "Convolution"),
    "transposed to a shape": (
        [node("ConvTranspose", "x V", output_shape=[13, 16], strides=[2, 2])],
        "TransposedConvolution",
    ),
    "transposed, lower": (
        [node("ConvTranspose", "x V", auto_pad="SAME_LOWER", strides=[2, 2])],
        "TransposedConvolution",
    ),
    "largest, lower": ([node("MaxPool", "x", auto_pad="SAME_LOWER", kernel_shape=[2, 3], strides=[2, 2])], "Pooling"),
    "means, wide pads": (
        [node("AveragePool", "x", kernel_shape=[3, 3], pads=[2, 2, 2, 2], count_include_pad=1)],
        "ZeroPad AveragePooling",
    ),
    "means": (
        [node("AveragePool", "x", kernel_shape=[3, 2], pads=[1, 0, 1, 1], strides=[2, 2], ceil_mode=1)],
        "AveragePooling",
    ),
    "mean of columns and rows": (
        [node("ReduceMean", "x axes", keepdims=0)],
        "GlobalAveragePooling Flatten",
    ),
    "constants that nodes are": (
        [node("Constant", "", "k", value=from_array(W)), node("Identity", "k", "k2"), node("Conv", "x k2")],
        "Convolution",
    ),
    "identities": ([node("Identity", "x", "a"), node("Relu", "a", "b0"), node("Identity", "b0")], "Relu"),
    "what is not needed": ([node("Relu", "x"), node("Exp", "x", "e"), node("LRN", "e", "f", size=3)], "Relu"),
    "a mask that is not used": ([node("Dropout", "x", "y mask")], "Dropout"),
    "relu as a clip": ([node("Clip", "x zero")], "Relu"),
    "branches": (
        [
            node("Conv", "x W", "c"), node("Conv", "x W b", "d"), node("Conv", "x W", "e"), node("Sum", "c d e", "s"),
            node("Relu", "s"),
        ],
        "Residual Relu",
    ),
    "a sum with itself": ([node("Relu", "x", "r"), node("Add", "r r")], "Relu Residual"),
    "branches that begin together": (
        [
            node("Relu", "x", "r"), node("Tanh", "r", "t"), node("Sigmoid", "r", "s"),
            node("Concat", "x t s", axis=1),
        ],
        "Concatenate",
    ),
    "dense": (
        [
            node("Tanh", "x", "t"), node("Concat", "x t", "c", axis=-3), node("Sigmoid", "c", "s"),
            node("Concat", "x t s", axis=1),
        ],
        "Concatenate Concatenate",
    ),
    "one concatenated": ([node("Concat", "x", "c", axis=1), node("Relu", "c")], "Relu"),
    "padded by an attribute's axes": ([node("Pad", ["x", "pads", "", "axis"])], "ZeroPad"),
    "padded by nothing": ([node("Pad", "x none", "p"), node("Relu", "p")], "Relu"),
    "rows": ([node("Flatten", "x", "f"), node("MatMul", "f M", "m"), node("Add", "m bias")], "Affine"),
    "rows, scaled": (
        [node("Flatten", "x", "f", axis=-3), node("Gemm", "f N bias", alpha=0.5, beta=-2.0, transB=1)],
        "Affine",
    ),
    "rows, one bias": ([node("Flatten", "x", "f"), node("Gemm", "f M one")], "Affine"),
    "shape computed": (
        [
            node("Shape", "x", "s"), node("Gather", "s first", "n", axis=0), node("Unsqueeze", "n first1", "n1"),
            node("Concat", "n1 rest", "to", axis=0), node("Reshape", "x to"),
        ],
        "Flatten",
    ),
    "shape of zeros": ([node("Reshape", "x copied")], "Reshape"),
    "axes of one": (
        [node("GlobalMaxPool", "x", "g"), node("Squeeze", "g axes", "s"), node("Unsqueeze", "s two", "u"),
         node("Squeeze", "u two")],
        "GlobalMaxPooling Flatten Reshape Flatten",
    ),
    "nearest, as is usual": (
        [node("Resize", "x roi two_scales", mode="nearest")],
        "Upsample",
    ),
    "to a size": ([node("Resize", ["x", "", "", "sizes"], mode="linear", axes=[2, 3])], "Upsample"),
    "normalized": ([node("Div", "x six", "d"), node("Sub", "d each", "s"), node("Div", "s v")], "Scale Normalize"),
    "normalized by products": ([node("Add", "x each", "a"), node("Mul", "a v")], "Normalize"),
    "scaled norms": (
        [node("InstanceNormalization", "x ch ch", "i"), node("Mul", "i each", "m"), node("Add", "m each")],
        "GroupNormalization",
    ),
    "hard swish": (
        [node("HardSigmoid", "x", "h", alpha=1 / 6, beta=0.5), node("Mul", "x h")],
        "HardSwish",
    ),
    "hard swish, clipped": (
        [node("Add", "x three", "a"), node("Clip", "a zero six", "c"), node("Mul", "x c", "m"), node("Div", "m six")],
        "HardSwish",
    ),
    "silu divided": (
        [node("Neg", "x", "n"), node("Exp", "n", "e"), node("Add", "e f1", "a"), node("Div", "x a")],
        "Silu",
    ),
}  # fmt: skip
CONSTANTS = {
    "W": W, "V": normal(2, 3, 3, 2), "b": normal(3), "b3": normal(3, 1, 1), "axes": np.array([2, -1]),
    "zero": np.float32(0), "six": np.float32(6), "three": np.float32(3), "f1": np.float32(1), "one": normal(1),
    "pads": np.array([1, 2]), "axis": np.array([3]), "none": np.zeros(8, np.int64), "M": normal(112, 5),
    "N": normal(5, 112), "bias": normal(5), "first": np.int64(0), "first1": np.array([0]), "rest": np.array([-1]),
    "copied": np.array([0, -1, 0]), "two": np.array([2]), "v": np.float32([0.5, 2]).reshape(2, 1, 1),
    "roi": np.zeros(0, np.float32), "ch": normal(2),
    "two_scales": np.float32([1, 1, 2, 2]), "sizes": np.array([14, 12]), "each": normal(1, 2, 1, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_graphs_are_read(name):
    nodes, kinds = READ[name]
    used = {value for item in nodes for value in item.input} & CONSTANTS.keys()
    data = graph(nodes, IMAGES, {key: CONSTANTS[key] for key in used})
    assert_read(data, images(IMAGES), kinds)


@pytest.mark.parametrize("shape", [(0, -1), (3, -1), (-1, 56, 2), (0, 4, -1)])
def test_reshapes_that_leave_the_batch_are_read(shape):
    data = graph([node("Reshape", "x to")], (2, 7, 8), {"to": np.array(shape)}, batch=3)
    assert_read(data, images((2, 7, 8)))


@pytest.mark.parametrize(
    "shape, batch", [((3, -1), "N"), ((-1, 14), "N"), ((0, 0, -1, -1), 3), ((-1,), 3), ((6, -1), 3), ((-1, 0, 7, 9), 3)]
)
def test_reshapes_that_mix_samples_are_refused(shape, batch):
    data = graph([node("Reshape", "x to")], (2, 7, 8), {"to": np.array(shape)}, batch=batch)
    with pytest.raises(ValueError, match=r"the file: node 'the Reshape' \(Reshape, input 1=\[.*\]\): |not a valid"):
        loaded(data)


def test_weights_that_nodes_share_become_an_array_for_each_layer():
    V = normal(2, 2, 1, 1)
    nodes = [node("Conv", "x V ch", "a"), node("Conv", "a V ch")]
    network = assert_read(graph(nodes, IMAGES, {"V": V, "ch": normal(2)}), images(IMAGES))
    first, second = network.layers.values()
    assert not np.shares_memory(first.W, second.W)
    assert all(value.flags.writeable and value.flags.owndata for value in network.params.values())


def test_initializers_that_are_inputs_too_are_read():
    model = onnx.load_from_string(graph([node("Conv", "x W")], IMAGES, {"W": W}))
    model.graph.input.append(helper.make_tensor_value_info("W", onnx.TensorProto.FLOAT, W.shape))
    assert_read(model.SerializeToString(), images(IMAGES), "Convolution")


@pytest.mark.parametrize(
    "nodes, kinds",
    [
        ([node("Mul", "c factor", "s"), node("Conv", "s W")], ["Scale", "Convolution"]),
        ([node("Div", "c six", "s"), node("Sub", "s each", "m"), node("Div", "m v")], ["Scale", "Normalize"]),
        ([node("Sub", "c each", "m"), node("Div", "m v")], ["Normalize"]),
        ([node("Conv", "c W")], ["Scale", "Convolution"]),
    ],
)
def test_graphs_of_pixels_are_read(nodes, kinds):
    nodes = [node("Cast", "x", "c", to=onnx.TensorProto.FLOAT), *nodes]
    used = {value for item in nodes for value in item.input} & CONSTANTS.keys()
    data = graph(nodes, IMAGES, {key: CONSTANTS[key] for key in used}, kind=onnx.TensorProto.UINT8)
    model = onnx.load_from_string(data)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    data = model.SerializeToString()
    x = np.random.default_rng(0).integers(0, 256, (3, *IMAGES)).astype(np.uint8)
    network = loaded(data)
    assert network.takes_integers
    assert [type(layer).__name__ for layer in network.layers.values()] == kinds
    assert_same(network.predict(x), elsewhere(data, x))
    assert_same(network.predict(x.astype(np.float32)), network.predict(x))
    assert_goes_round(network)


def test_integers_without_a_cast_are_refused():
    model = onnx.load_from_string(graph([node("Flatten", "x", "f"), node("Cast", "f", to=1)], (3,), kind=2))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    with pytest.raises(ValueError, match=r"\(Flatten\): it is given integers, and a Cast to floats must come first"):
        loaded(model.SerializeToString())


def test_older_operators_are_read():
    nodes = [
        node("Dropout", "x", "d", ratio=0.25), node("Clip", "d", "c", min=0.0),
        node("Pad", "c", "p", pads=[0, 0, 1, 0, 0, 0, 0, 2]), node("Upsample", "p scales", "u", mode="nearest"),
        node("ReduceMean", "u", "m", axes=[-2, -1]),
        node("Squeeze", "m", "s", axes=[2, 3]), node("Softmax", "s"),
    ]  # fmt: skip
    data = graph(nodes, IMAGES, {"scales": np.float32([1, 1, 2, 3])}, opset=9)
    network = loaded(data)
    kinds = "Dropout Relu ZeroPad Upsample GlobalAveragePooling Flatten"
    assert [type(layer).__name__ for layer in network.layers.values()] == kinds.split()
    assert_same(cconv.softmax(network.predict(images(IMAGES))), elsewhere(data, images(IMAGES)))


REFUSED = {
    "a kind": ([node("LRN", "x", size=3)], r"'the LRN' \(LRN, size=3\): no layer does what it does"),
    "a clip": ([node("Clip", "x zero six")], r"\(Clip, input 1=0.0, input 2=6.0\): no layer"),
    "a high clip": ([node("Clip", "x zero high")], r"\(Clip, input 1=0.0, input 2=1000.0\): no layer"),
    "a low step": (
        [node("Greater", "x low", "g"), node("Where", "g x zero")],
        r"\(Where, input 2=0.0\): no layer does what it does",
    ),
    "numbers with more axes": ([node("Relu", "x", "r"), node("Max", "r lifted")], r"\(Max, .*\): no layer"),
    "axes": ([node("Transpose", "x", perm=[0, 2, 3, 1])], r"\(Transpose, perm=\[0, 2, 3, 1\]\): no layer exchanges"),
    "constants that multiply": ([node("Mul", "x whole")], r"\(Mul\): it must multiply with one constant for each"),
    "constants that divide": ([node("Div", "x zero")], r"\(Div, input 1=0.0\): it must divide by one constant"),
    "constants minus": ([node("Sub", "six x")], r"\(Sub, input 0=6.0\): it must subtract one constant"),
    "a product": ([node("Relu", "x", "r"), node("Mul", "x r")], r"\(Mul\): a product of two values"),
    "a softmax inside": (
        [node("Flatten", "x", "f"), node("Softmax", "f", "s"), node("Relu", "s")],
        r"\(Softmax\): it must stand at the end",
    ),
    "a softmax of pixels": ([node("Softmax", "x")], r"\(Softmax\): it must be over rows"),
    "a mask": ([node("Dropout", "x", "d mask"), node("Cast", "mask", "f", to=1), node("Add", "d f")],
               "beside the first"),
    "indices": ([node("MaxPool", "x", "p i", kernel_shape=[2, 2]), node("Cast", "i", "f", to=1), node("Add", "p f")],
                "an output of its beside the first is used"),
    "training": ([node("Dropout", "x half yes")], r"input 2=(1|True)\): its training_mode must be off"),
    "batch normalization in training": (
        [node("BatchNormalization", "x ch ch ch ch", "y m n", training_mode=1)], "it must be of inference"),
    "wide pads": ([node("MaxPool", "x", kernel_shape=[3, 3], pads=[2, 2, 2, 2])], "at most half the pooling window"),
    "negative pads": ([node("Conv", "x W", pads=[-1, 0, 0, 0])], "four numbers that are not negative"),
    "reflection": ([node("Pad", ["x", "pads", "", "axis"], mode="reflect")], r"mode='reflect'.*it must pad with zeros"),
    "ones": ([node("Pad", "x pads six axis")], "it must pad with zeros"),
    "padded channels": ([node("Pad", "x wide")], "no other axis"),
    "cubic": ([node("Resize", "x roi two_scales", mode="cubic")], "its mode must be nearest or linear"),
    "other pixels": (
        [node("Resize", "x roi two_scales", mode="linear", coordinate_transformation_mode="asymmetric")],
        "it reads other places than Upsample does",
    ),
    "enlarged channels": ([node("Resize", "x roi all_scales")], "it must leave the batch and the channels"),
    "the batch as rows": ([node("Flatten", "x", axis=0)], r"\(Flatten, axis=0\): its axis must be 1"),
    "transposed rows": ([node("Flatten", "x", "f"), node("Gemm", "f M2", transA=1)], "its transA must be 0"),
    "no rows": ([node("MatMul", "x M8")], "it must be a product of rows of features"),
    "weights that are computed": (
        [node("Conv", "x W", "c"), node("Conv", "x c")], "its weights depends on the graph's input"),
    "another axis": ([node("Concat", "x x", axis=2)], "its axis must be 1"),
    "joined constants": ([node("Concat", "x whole", axis=1)], "values that depend on the graph's input"),
    "added constants": ([node("Add", "x whole")], "it must add two values, or one constant for each channel"),
    "means of one axis": ([node("ReduceMean", "x two")], "its axes must be 2 and 3"),
    "crossing branches": (
        [
            node("Relu", "x", "a"), node("Tanh", "x", "b0"), node("Add", "a b0", "p"), node("Elu", "a", "q"),
            node("Add", "p q", "r"), node("Add", "r b0"),
        ],
        "a chain of layers, residual sums and concatenations, but the value '(a|b0)' is needed in two branches",
    ),
    "nothing": ([node("Constant", "", "y", value_float=1.0)], "the output 'y' does not depend on the input"),
    "weights of another type": ([node("Conv", "x W64")], "valid|its weights holds float64"),
}  # fmt: skip
CONSTANTS |= {
    "factor": np.float32(1 / 255), "high": np.float32(1000), "low": np.float32(0.05),
    "lifted": np.zeros((1, 1, 1, 1, 1), np.float32),
    "half": np.float32(0.5), "yes": np.bool_(True), "wide": np.array([0, 1, 0, 0] * 2),
    "all_scales": np.float32([1, 2, 2, 2]), "M2": normal(3, 5), "M8": normal(8, 8), "whole": normal(1, 2, 7, 8),
    "W64": W.astype(np.float64),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_graphs_that_are_no_chain_of_layers_are_refused(name):
    nodes, message = REFUSED[name]
    used = {value for item in nodes for value in item.input} & CONSTANTS.keys()
    with pytest.raises(ValueError, match=message) as caught:
        loaded(graph(nodes, IMAGES, {key: CONSTANTS[key] for key in used}))
    assert str(caught.value).startswith("the file: ")


def relu():
    return onnx.load_from_string(graph([node("Relu", "x")], (3, 4)))


def changed(change):
    model = relu()
    change(model)
    return model.SerializeToString()


def external(model):
    model.graph.node[0].op_type = "Add"
    model.graph.node[0].input.append("w")
    tensor = from_array(normal(3, 4), "w")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    tensor.ClearField("raw_data")
    model.graph.initializer.append(tensor)


def sized(*dims):
    def change(model):
        tensor = from_array(normal(3), "w")
        tensor.dims[:] = dims
        model.graph.initializer.append(tensor)

    return change


def own_domain(model):
    model.graph.node[0].domain = "own"
    model.opset_import.add(domain="own", version=1)


FORGED = {
    "no model": (b"\x00\x01\x02", "it is not an ONNX model, or it is damaged|not a valid ONNX model"),
    "nothing": (b"", "it is not a valid ONNX model"),
    "a part": (graph([node("Conv", "x W")], IMAGES, {"W": W})[:-20], "it is not an ONNX model, or it is damaged"),
    "external data": (changed(external), "'w' holds its values in another file"),
    "a cycle": (
        graph([node("Add", "x z", "y"), node("Relu", "y", "z")], (3,)),
        "not a valid ONNX model: |the nodes form a cycle",
    ),
    "a value from nowhere": (graph([node("Add", "x z")], (3,)), "not a valid ONNX model: |the nodes form a cycle"),
    "a huge initializer": (
        changed(sized(2**40, 3)), "'w' has shape .* does not fit the 3 values|not a valid ONNX model: .*name: w"
    ),
    "a negative length": (changed(sized(-3, -1)), "'w' cannot have shape|not a valid ONNX model: .*name: w"),
    "two inputs": (
        changed(lambda model: model.graph.input.append(helper.make_tensor_value_info("z", 1, [1]))),
        r"one input and one output, got the inputs \['x', 'z'\] and \['y'\]",
    ),
    "two outputs": (graph([node("Relu", "x")], (3,), outputs=("y", "x")), "one input and one output"),
    "integers": (graph([node("Relu", "x")], (3,), kind=onnx.TensorProto.INT32), "FLOAT, DOUBLE or UINT8, got INT32"),
    "half precision": (graph([node("Relu", "x")], (3,), kind=onnx.TensorProto.FLOAT16), "or UINT8, got FLOAT16"),
    "numbers": (graph([node("Relu", "x")], ()), "must have an axis beside the batch's, got 1 axes"),
    "sizes that are open": (graph([node("Relu", "x")], (3, "H")), r"must have a fixed shape .* got \(N, 3, H\)"),
    "an old opset": (graph([node("Relu", "x")], (3,), opset=6), "it has opset 6, from 7 to [0-9]+ are known"),
    "a new opset": (graph([node("Relu", "x")], (3,), opset=1000), "it has opset 1000, from 7 to [0-9]+ are known"),
    "a large sample": (
        graph([node("LayerNormalization", "x s", axis=1)], (2**40,), {"s": normal(1)}), "at most 2 GB"
    ),
    "a large constant": (
        graph([node("ConstantOfShape", "n", "c"), node("Add", "x c")], (3,), {"n": np.array([2**40])}),
        "makes more than 64 constant values",
    ),
    "a large image": (
        graph(
            [helper.make_node("Resize", ["x", "", "s"], ["y"])], (1, 2, 2), {"s": np.float32([1, 1, 1e9, 1])}
        ),
        "its scales must be positive and at most",
    ),
    "another domain": (
        changed(own_domain),
        "its domain 'own' is none of ONNX's",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_forged_files_are_refused(name, tmp_path):
    data, message = FORGED[name]
    path = tmp_path / "forged.onnx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        cconv.onnx.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_deep_branches_are_refused():
    nodes, value = [], "x"
    for depth in range(loading.DEEPEST + 2):
        nodes += [node("Relu", value, f"r{depth}"), node("Add", f"r{depth} x", f"s{depth}")]
        value = f"s{depth}"
    nodes.append(node("Relu", value))
    with pytest.raises(ValueError, match=f"nested more than {loading.DEEPEST} times"):
        loaded(graph(nodes, (3,)))


def test_graphs_that_cross_at_each_step_are_refused_at_once():
    """Each of two values is made of both before them: walked naively, that takes as many steps as 2**60."""
    nodes = [node("Relu", "x", "a0"), node("Tanh", "x", "b0")]
    for n in range(60):
        nodes += [node("Add", f"a{n} b{n}", f"a{n + 1}"), node("Concat", f"b{n}", f"c{n}", axis=1)]
        nodes += [node("Elu", f"c{n}", f"d{n}"), node("Add", f"d{n} a{n}", f"b{n + 1}")]
    nodes.append(node("Add", "a60 b60"))
    with pytest.raises(ValueError, match="is needed in two branches|nested more than"):
        loaded(graph(nodes, (3,)))


def test_shared_weights_cannot_take_more_than_a_file_could_hold(monkeypatch):
    nodes = [node("Conv", "x V", "v0"), *(node("Conv", f"v{n} V", f"v{n + 1}") for n in range(30)), node("Relu", "v30")]
    data = graph(nodes, (64, 2, 2), {"V": normal(64, 64, 1, 1)})
    monkeypatch.setattr(exporting, "LARGEST", 20 * 64 * 64 * 4)
    with pytest.raises(ValueError, match="at most 2 GB"):
        loaded(data)


def test_damaged_files_are_refused_and_nothing_else_is_raised():
    """Bytes of models, and what their messages hold, are replaced at random."""
    stack = [
        CNN(filters=4, size=3, pad="same"), layers.GroupNormalization(2), layers.Gelu(), layers.Silu(),
        layers.Residual([layers.BatchNormalization()]), layers.Concatenate([], [layers.Tanh()]), layers.Upsample(2),
        layers.LayerNormalization(), layers.ZeroPad(1), layers.Reshape((4, -1)), layers.Flatten(), layers.Dropout(),
        layers.Affine(units=5),
    ]  # fmt: skip
    data = written(cconv.Network(stack, (2, 4, 4), seed=0))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        forged = bytearray(data)
        for _ in range(rng.integers(1, 5)):
            forged[rng.integers(len(forged))] = rng.integers(256)
        model = onnx.load_from_string(data)
        if rng.integers(2):
            _forge(model, rng)
            forged = model.SerializeToString()
        try:
            loaded(bytes(forged))
        except ValueError:
            refused += 1
    assert refused > 100


def _forge(model, rng):
    """Put a number that does not belong there into an attribute, a shape or an array of a model."""
    number = int(rng.choice([0, -1, 2, 3, 7, 2**31, 2**40, 2**62, -(2**63)]))
    item = model.graph.node[rng.integers(len(model.graph.node))]
    tensor = model.graph.initializer[rng.integers(len(model.graph.initializer))]
    where = rng.integers(4)
    if where == 0 and item.attribute:
        attribute = item.attribute[rng.integers(len(item.attribute))]
        if attribute.ints:
            attribute.ints[rng.integers(len(attribute.ints))] = number
        else:
            attribute.i = number
    elif where == 1 and tensor.dims:
        tensor.dims[rng.integers(len(tensor.dims))] = number
    elif where == 2 and tensor.data_type == onnx.TensorProto.INT64:
        values = onnx.numpy_helper.to_array(tensor).copy()
        values[rng.integers(len(values))] = number
        tensor.raw_data = values.tobytes()
    else:
        dims = model.graph.input[0].type.tensor_type.shape.dim
        dims[rng.integers(len(dims))].dim_value = number


# The onnx package's own cases, and the examples


def test_cases_of_the_standard_give_what_they_must():
    results = onnx_cases.outcomes()
    assert [result for result in results if result.reason is None and not result.passed] == []
    assert sum(result.passed for result in results) >= 150
    assert f"{len(results)} cases" in onnx_cases.table(results)
    passed = {result.operator for result in results if result.passed}
    wanted = {"AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "Gemm", "GlobalAveragePool", "MaxPool"}
    wanted |= {"GlobalMaxPool", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "Resize"}
    assert wanted <= passed


@pytest.mark.parametrize("name", ["exporting", "loading"])
def test_examples(name):
    module = importlib.import_module(f"cconv.onnx.{name}")
    names = {key: getattr(cconv, key) for key in cconv.__all__} | vars(module) | {"np": np, "cconv": cconv}
    result = doctest.testmod(module, extraglobs=names)
    assert (result.failed, result.attempted > 0) == (0, True)
