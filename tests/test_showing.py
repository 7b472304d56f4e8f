"""Objects as they show themselves: as text, and in notebooks."""

import re
import subprocess
import sys

import numpy as np
import pytest
from test_arguments import LAYERS, OPTIMIZERS, SCHEDULES, made, rows_of

import cconv
from cconv import callbacks
from cconv.callbacks import CSVLog, EarlyStopping
from cconv.layers.stack import describe_one

NAMES = {name: getattr(cconv, name) for name in cconv.__all__} | {"nan": np.nan}
BLOCKS = {"Concatenate", "Residual"}


@pytest.mark.parametrize(
    ("name", "arguments"), [row for row in rows_of(LAYERS) if row[0] not in BLOCKS], ids=lambda v: str(v)[:20]
)
def test_the_repr_of_a_layer_makes_its_like(name, arguments):
    layer = made(name, dict(arguments))
    again = eval(repr(layer), NAMES)
    if "gamma" not in arguments:  # whose number of axes is told by the arrays
        assert describe_one(again) == describe_one(layer)
    assert repr(again) == repr(layer)


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (cconv.Relu(), "Relu()"),
        (cconv.Convolution(filters=8, size=3), "Convolution(filters=8, size=3)"),
        (
            cconv.Convolution(filters=8, size=(3, 5), pad="same", stride=2, bias=False, init="xavier"),
            "Convolution(filters=8, size=(3, 5), bias=False, stride=2, pad='same', "
            "init=Xavier(gain=1.0, mode='fan_avg', distribution='normal'))",
        ),
        (cconv.Convolution(np.ones((2, 1, 3, 3)), np.zeros(2), pad=((1, 0), (1, 0))), None),
        (cconv.Reshape((2, 2)), "Reshape(shape=(2, 2))"),
        (cconv.Normalize([0.5, 0.5], 0.25), "Normalize(mean=[0.5, 0.5], std=0.25)"),
        (cconv.Dropout(0.5, seed=3), "Dropout()"),
        (cconv.SoftmaxWithLoss(label_smoothing=0.1), "SoftmaxWithLoss(label_smoothing=0.1)"),
        (cconv.SGD(), "SGD()"),
        (cconv.Adam(lr=0.01, amsgrad=True), "Adam(lr=0.01, amsgrad=True)"),
        (cconv.AdamW(weight_decay=0.1, exclude=["b", "a"]), "AdamW(weight_decay=0.1, exclude=['a', 'b'])"),
        (cconv.StepDecay(cconv.SGD(lr=1.0), [2, 3]), "StepDecay(optimizer=SGD(lr=1.0), steps=[2, 3])"),
        (cconv.ExponentialMovingAverage({"W": np.ones(2)}, 0.9), "ExponentialMovingAverage(decay=0.9)"),
        (EarlyStopping(3), "EarlyStopping(patience=3)"),
        (CSVLog("a.csv"), "CSVLog(file_name='a.csv')"),
        (cconv.History(), "History(0 steps)"),
        (cconv.data.ArrayDataset(np.zeros((3, 2)), np.array([0, 1, 0]), classes=["a", "b"]), None),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_settings_that_differ_from_the_default_are_shown(thing, text):
    expected = {
        "Convolution": "Convolution(filters=2, size=3, pad=((1, 0), (1, 0)))",
        "ArrayDataset": "ArrayDataset(3 samples, 2 classes)",
    }
    assert repr(thing) == (expected[type(thing).__name__] if text is None else text)


def test_nothing_public_shows_itself_as_an_address():
    things = [made(name) for name in {**LAYERS, **OPTIMIZERS, **SCHEDULES}]
    things += [made(name) for name in ("ExponentialMovingAverage", "LearningRates", "Network", "Trainer", "ResNet")]
    things += [callbacks.LearningRateLog(), callbacks.TimeLimit(1), callbacks.Checkpoints("run")]
    for thing in things:
        assert " at 0x" not in repr(thing).lower(), type(thing)
        assert repr(thing).startswith(type(thing).__name__)


class Own:  # without a base class
    def __init__(self, factor, name="own"):
        self.factor, self.name = factor, name

    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


def test_a_network_shows_itself_in_lines():
    layers = [cconv.Affine(units=4), cconv.Residual([cconv.Relu(), ("mine", Own(3))])]
    network = cconv.Network(layers, (3,), seed=0, dtype="float64", classes=["a", "b", "c", "d"])
    assert repr(network).splitlines() == [
        "Network(",
        "  input_shape=(3,)",
        "  dtype='float64'",
        "  classes=['a', 'b', 'c', 'd']",
        "  (affine1): Affine(units=4)",
        "  (residual1): Residual(",
        "    (body.relu1): Relu()",
        "    (body.mine): Own(factor=3)",
        "    (shortcut): its input",
        "  )",
        "  (last_layer): SoftmaxWithLoss()",
        ")",
    ]


def test_a_trainer_shows_what_it_trains_and_how_far_it_is():
    x, t = np.zeros((10, 3), np.float32), np.arange(10) % 2
    network = cconv.Network([cconv.Affine(units=2)], (3,), seed=0)
    options = {"optimizer": "adam", "validation": 0.2, "early_stopping": 3, "average": 0.9, "seed": 0}
    trainer = cconv.Trainer(network, x, t, x, t, 2, 4, verbose=False, **options)
    trainer.train_step()
    assert repr(trainer).splitlines() == [
        "Trainer(",
        "  network=<Network>",
        "  x_train=<8 samples>",
        "  x_test=<10 samples>",
        "  validation=<2 samples>",
        "  mini_batch_size=4",
        "  optimizer=Adam()",
        "  average=ExponentialMovingAverage(decay=0.9)",
        "  callbacks=[EarlyStopping(patience=3)]",
        "  epochs=2",
        "  verbose=False",
        "  0 epochs, 1 steps done",
        ")",
    ]


def test_long_settings_are_cut():
    assert len(repr(cconv.SoftmaxWithLoss(class_weight=np.ones(1000)))) < 150


def test_a_notebook_shows_a_network_as_a_table():
    import xml.etree.ElementTree as ElementTree

    network = cconv.Network([("<a>", cconv.Affine(units=4)), cconv.Residual([cconv.Relu()])], (3,), seed=0)
    table = ElementTree.fromstring(network._repr_html_())
    rows = [[cell.text or "" for cell in row] for row in table.iter("tr")]
    assert table.find("caption").text == "Network"
    assert rows[0] == ["layer", "kind", "output", "parameters", "multiply-adds", "bytes"]
    assert [row[0] for row in rows[1:]] == ["<a>", "residual1", "body.relu1", "total"]
    assert rows[-1][3:] == ["16", "12", "112"]
    text = network.summary()
    assert all(cell in text for row in rows for cell in row)


def test_a_notebook_shows_the_curves_of_a_history():
    import base64

    history = cconv.History()
    history.record(loss=0.7, accuracy=0.8, lr=0.1, seconds=2.0)
    html = history._repr_html_()
    alt, kind, data = re.fullmatch(r'<img alt="(.*?)" src="data:(.*?);base64,(.*)">', html).groups()
    assert (alt, kind) == (repr(history), "image/svg+xml")
    assert base64.b64decode(data).startswith(b"<?xml")


def test_without_matplotlib_a_notebook_shows_the_text_of_a_history(monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert cconv.History()._repr_html_() is None


def test_importing_cconv_imports_no_matplotlib():
    code = "import sys, cconv.plotting; print('matplotlib' in sys.modules)"
    out = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"
