"""Scripts of the book's chapters run as they are through ``python -m cconv.book``."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from book_scripts import SCRIPTS

import cconv
from cconv import book

PACKAGE_FOLDER = str(Path(cconv.__file__).parents[1])
# A small data set in MNIST's place, then what `python -m cconv.book` does.
STAND_IN = """
import sys
import numpy as np
import cconv.datasets
from cconv.book._run import main

def load_mnist(normalize, flatten, one_hot_label, *, data_dir):
    rng = np.random.default_rng(0)
    templates = rng.random((10, 1, 28, 28))
    pairs = []
    for number in (300, 100):
        t = np.arange(number) % 10
        x = 0.7 * templates[t] + 0.3 * rng.random((number, 1, 28, 28))
        x = x.astype(np.float32) if normalize else (255 * x).astype(np.uint8)
        pairs.append((x.reshape(number, -1) if flatten else x, np.eye(10)[t] if one_hot_label else t.astype(np.uint8)))
    return tuple(pairs)

cconv.datasets.load_mnist = load_mnist
np.random.seed(0)
sys.exit(main())
"""


def run(script, *arguments, cwd, data=True):
    """Run Python on a script: by the stand-in of `python -m cconv.book`, by itself, or as `data` says."""
    command = {True: ("-c", STAND_IN), False: ("-m", "cconv.book"), None: ()}[data]
    return subprocess.run(
        [sys.executable, "-W", "error", *command, str(script), *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": PACKAGE_FOLDER},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path):
    """A folder like the book's, whose modules are not to be used."""
    for name in ("common", "dataset", "ch05", "ch06", "ch07", "ch08"):
        (tmp_path / name).mkdir()
    for name in ("common/layers", "common/functions", "common/trainer", "common/optimizer", "dataset/mnist"):
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} of the script was imported')")
    return tmp_path


def printed(name, folder, *arguments):
    """Run one of the scripts; return what it printed behind the first word of each line, numbers as such."""
    path = folder / name
    path.write_text(SCRIPTS[name])
    done = run(path.name, *arguments, cwd=path.parent)
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        key, *values = line.split(" ")
        found[key] = [number(value) for value in values]
    return found


def number(text):
    try:
        return float(text)
    except ValueError:
        return text


def test_chapter_5_layers(folder):
    found = printed("ch05/buy.py", folder)
    assert found["cost"] == pytest.approx([220])
    assert found["gradients"] == pytest.approx([2.2, 110, 200])
    assert found["sum"] == pytest.approx([250, 1.1, 1.1])


def test_chapter_5_gradient_check(folder):
    found = printed("ch05/gradient_check.py", folder)
    assert found.keys() == {"W1", "b1", "W2", "b2"}
    assert all(error < 1e-8 for (error,) in found.values())


def test_chapter_5_training(folder):
    found = printed("ch05/train_neuralnet.py", folder)
    assert found["losses"][1] < 0.5 * found["losses"][0]
    assert found["accuracy"][0] > 0.8 and found["accuracy"][1] == "SoftmaxWithLoss"


def test_chapter_6_optimizers_of_numbers(folder):
    found = printed("ch06/optimizer_compare_naive.py", folder)
    assert found.keys() == {"SGD", "Momentum", "AdaGrad", "Adam"}
    assert all(abs(x) < 2 and abs(y) < 2 for x, y in found.values())


def test_chapter_6_optimizers(folder):
    found = printed("ch06/optimizer_compare_mnist.py", folder)
    assert found.keys() == {"SGD", "Momentum", "AdaGrad", "Adam"}
    assert all(last < first for first, last in found.values())
    assert (folder / "ch06" / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_chapter_6_weight_initialisation(folder):
    found = printed("ch06/weight_init_compare.py", folder)
    assert found["He"][0] < found["std=0.01"][0]
    assert {values[1] for values in found.values()} == {40}
    for name, std in (("std=0.01", 0.01), ("Xavier", 50**-0.5), ("He", 25**-0.5)):
        assert found[name][2] == pytest.approx(std, rel=0.1)


def test_chapter_6_batch_normalization(folder):
    found = printed("ch06/batch_norm.py", folder)
    assert all(found[name][0] < 1e-8 for name in ("W1", "b1", "gamma1", "W3", "b3"))
    assert found["with"][0] > found["without"][0]


def test_chapter_6_overfitting(folder):
    found = printed("ch06/overfit.py", folder)
    assert found["decayed"] == ["True"] and found["lists"] == [6, 3, 3]
    assert found["epoch"][0] == "3/3:"  # the last line of those that verbose prints


def test_chapter_6_hyperparameters(folder):
    found = printed("ch06/hyperparameter_optimization.py", folder)
    assert list(found) == ["best"] and 0 < found["best"][0] <= 1


def test_chapter_7_training(folder):
    found = printed("ch07/train_convnet.py", folder)
    assert found["accuracies"][0] > 0.5 and found["accuracies"][1] == 5
    assert found["loaded"] == ["True"]
    assert (folder / "ch07" / "accuracy.png").exists()


def test_chapter_7_filters(folder):
    found = printed("ch07/visualize_filter.py", folder)
    assert found == {"changed": ["True"], "convolved": [1, 30, 36, 46, 1, 30, 18, 23]}


def test_chapter_7_network_of_the_script(folder):
    found = printed("ch07/own_network.py", folder, 5)
    assert found["losses"][1] < found["losses"][0] and found["losses"][2] == "float64"
    assert found["loaded"] == ["True"]
    assert pickle.loads((folder / "ch07" / "own.pkl").read_bytes()).keys() == {"W1", "b1", "W2", "b2", "W3", "b3"}


def test_chapter_8_training(folder):
    found = printed("ch08/train_deepnet.py", folder)
    assert found["losses"][1] < found["losses"][0] + 0.5 and found["layers"][0] == 20


def test_chapter_8_use(folder):
    found = printed("ch08/use_deepnet.py", folder)
    assert found["one"][-1] == found["float64"][0]
    assert abs(found["float16"][0] - found["float64"][0]) <= 0.05


# Which module is found


def test_a_network_beside_the_script_is_the_one_that_it_gets(folder):
    (folder / "ch07" / "simple_convnet.py").write_text("SimpleConvNet = 'of the script'")
    (folder / "common" / "extra.py").write_text("from common.functions import softmax\nname = 'of the script'")
    (folder / "ch07" / "s.py").write_text(
        "import sys, os\nsys.path.append(os.pardir)\n"
        "from simple_convnet import SimpleConvNet\nfrom deep_convnet import DeepConvNet\n"
        "from common.extra import name, softmax\nimport common.layers, ch05.two_layer_net, ch07.simple_convnet\n"
        "print(SimpleConvNet, name, DeepConvNet.__module__, softmax.__module__, common.layers.__spec__.name,\n"
        "      ch05.two_layer_net.__name__, ch07.simple_convnet.SimpleConvNet, sep=', ')\n"
        "import common.nothing"
    )
    done = run("s.py", cwd=folder / "ch07", data=False)
    served = "cconv.book.ch08.deep_convnet, cconv.functions, cconv.book.common.layers, cconv.book.ch05.two_layer_net"
    assert done.stdout == f"of the script, of the script, {served}, of the script\n", done.stderr
    assert "ModuleNotFoundError: No module named 'common.nothing'" in done.stderr


def test_star_imports_hand_on_what_the_book_has():
    namespace = {}
    exec("from cconv.book.common.layers import *", namespace)
    wanted = "np softmax sigmoid cross_entropy_error im2col col2im Relu Sigmoid Affine SoftmaxWithLoss Dropout"
    wanted += " BatchNormalization Convolution Pooling sum_squared_error"
    assert set(wanted.split()) <= namespace.keys() and namespace["np"] is np
    for module in (
        "functions",
        "gradient",
        "optimizer",
        "trainer",
        "util",
        "multi_layer_net",
        "multi_layer_net_extend",
    ):
        namespace = {}
        exec(f"from cconv.book.common.{module} import *", namespace)
        assert namespace["np"] is np
    assert "layers" not in namespace  # a script's own variable of this name is not written over


def test_it_is_imported_when_it_is_used(run_python):
    code = "import sys, cconv; print('cconv.book' in sys.modules, cconv.book.common.layers.Pooling(2, 2).stride)"
    assert run_python(code).stdout == "False 2\n"
    with pytest.raises(AttributeError, match="module 'cconv' has no attribute 'nothing'"):
        cconv.nothing  # noqa: B018


# What Python does that runs a script


@pytest.mark.parametrize(
    "code",
    [
        "print(__name__, __file__, __spec__, sys.argv, sys.path[0], sys.modules['__main__'].__dict__ is globals())",
        "sys.exit(7)",
        "sys.exit('a message')",
        "def f():\n    1 / 0\ntry:\n    f()\nexcept ZeroDivisionError as error:\n    raise KeyError('x')",
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)",
        "x = = 1",
        "class A: pass\nimport pickle\nprint(type(pickle.loads(pickle.dumps(A()))) is A)",
        "import atexit\natexit.register(print, 'end')\nraise SystemExit",
    ],
)
def test_it_runs_as_python_runs_it(tmp_path, code):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "script.py").write_text(f"import sys\n{code}\n")
    plain, served = (run("inner/script.py", "-x", "--y", "z", cwd=tmp_path, data=data) for data in (None, False))
    assert (served.returncode, served.stdout, served.stderr) == (plain.returncode, plain.stdout, plain.stderr)


def test_a_script_that_cannot_be_opened(tmp_path):
    done = run("nothing.py", cwd=tmp_path, data=False)
    assert done.returncode == 2 and "can't open file" in done.stderr and "No such file" in done.stderr
    done = subprocess.run([sys.executable, "-m", "cconv.book"], capture_output=True, text=True, cwd=PACKAGE_FOLDER)
    assert done.returncode == 2 and "usage: python -m cconv.book" in done.stderr


# The modules themselves


def test_weights_are_those_that_the_book_draws():
    np.random.seed(3)
    first = 0.01 * np.random.randn(30, 1, 5, 5)
    second = 0.01 * np.random.randn(4320, 100)
    after = 0.01 * np.random.randn(100, 10), np.random.rand()
    np.random.seed(3)
    params = book.ch07.simple_convnet.SimpleConvNet().params
    np.testing.assert_array_equal(params["W1"], first)
    np.testing.assert_array_equal(params["W2"], second)
    np.testing.assert_array_equal(params["W3"], after[0])
    assert np.random.rand() == after[1] and params["b1"].dtype == np.float64
    np.random.seed(3)
    first = np.sqrt(2 / 9) * np.random.randn(16, 1, 3, 3)
    second = np.sqrt(2 / 144) * np.random.randn(16, 16, 3, 3)
    np.random.seed(3)
    params = book.ch08.deep_convnet.DeepConvNet().params
    np.testing.assert_array_equal(params["W1"], first)
    np.testing.assert_allclose(params["W2"], second, rtol=1e-15)
    assert [params[f"W{n}"].shape for n in (6, 7, 8)] == [(64, 64, 3, 3), (1024, 50), (50, 10)]


def test_weight_decay_is_in_the_loss_and_in_the_gradient():
    np.random.seed(0)
    network = book.common.multi_layer_net.MultiLayerNet(6, [5], 3, activation="sigmoid", weight_decay_lambda=0.5)
    x, t = np.random.randn(4, 6), np.array([0, 1, 2, 1])
    plain = book.common.functions.softmax_loss(network.predict(x), t)
    squares = sum(np.sum(network.params[name] ** 2) for name in ("W1", "W2"))
    assert network.loss(x, t) == pytest.approx(plain + 0.25 * squares)
    assert max(cconv.gradient_check(network, x, t).values()) < 1e-7
    assert network.last_layer.loss == pytest.approx(network.loss(x, t))


@pytest.mark.parametrize("flg", [True, False])
def test_train_flg_of_a_network_reaches_dropout(flg):
    network = book.common.multi_layer_net_extend.MultiLayerNetExtend(4, [50], 3, use_dropout=True)
    x, t = np.random.default_rng(0).random((5, 4)), np.arange(5) % 3
    assert np.array_equal(network.predict(x, train_flg=flg), network.predict(x, train_flg=flg)) is not flg
    assert (network.loss(x, t, flg) == network.loss(x, t, flg)) is not flg


def test_layers_in_a_list_may_be_replaced():
    network = book.ch08.deep_convnet.DeepConvNet()
    assert network.layers[0] is next(iter(network.layers)) and isinstance(network.layers, list)
    x = np.random.default_rng(0).random((2, 1, 28, 28))
    network.layers[17], network.layers[19] = cconv.Dropout(0.0), cconv.Dropout(0.0)
    np.testing.assert_array_equal(network.predict(x, train_flg=True), network.predict(x))
    assert network.params["W1"] is network.layers[0].W
    assert network.gradient(x, np.array([1, 2])).keys() == network.params.keys()


def test_a_file_of_the_deep_network_is_one_of_cconvs(tmp_path):
    network = book.ch08.deep_convnet.DeepConvNet()
    network.save_params(tmp_path / "p")
    other = cconv.DeepConvNet(dtype="float64")
    other.load_params(tmp_path / "p")
    x = np.random.default_rng(0).random((2, 1, 28, 28))
    np.testing.assert_array_equal(network.predict(x), other.predict(x))


def test_settings_of_convolutions_are_the_deep_networks_second_argument():
    network = book.ch08.deep_convnet.DeepConvNet(
        (1, 28, 28), {"filter_num": 4, "filter_size": 5, "pad": 2, "stride": 1}, hidden_size=7
    )
    assert network.params["W1"].shape == (4, 1, 5, 5) and network.params["b7"].shape == (7,)
    with pytest.raises(ValueError, match=r"conv_param_2 must have the keys \['filter_num'"):
        book.ch08.deep_convnet.DeepConvNet(conv_param_2={"filter_num": 4})
    with pytest.raises(TypeError, match="conv_param_6 must be a mapping, got int"):
        book.ch08.deep_convnet.DeepConvNet(conv_param_6=3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, np.uint8])
def test_layers_take_what_numpy_makes_a_float_of(dtype):
    layers = book.common.layers
    x = np.arange(32).reshape(2, 1, 4, 4).astype(dtype)
    W, V = np.ones((3, 1, 3, 3)), np.ones((12, 2))
    stack = [layers.Convolution(W, 0), layers.Relu(), layers.Pooling(2, 2, stride=1, pad=1), layers.Sigmoid()]
    out, same = x, x.astype(np.float64)
    for layer in stack:
        out, same = layer.forward(out), layer.forward(same)
    np.testing.assert_array_equal(out, same)
    affine = layers.Affine(V, np.zeros(2))
    out = affine.forward(np.ones((1, 12), dtype))
    assert layers.SoftmaxWithLoss().forward(out.astype(dtype), np.array([1])) == pytest.approx(np.log(2))
    assert affine.backward(np.ones((1, 2), dtype)).shape == (1, 12)


@pytest.mark.parametrize("shape, size", [((1, 3), 3), ((1, 2, 3, 3), 18)])
def test_batch_normalization_trains_on_a_batch_of_one(shape, size):
    rng = np.random.default_rng(0)
    gamma, beta, x = rng.random(size), rng.random(size), rng.random(shape)
    layer = book.common.layers.BatchNormalization(gamma, beta)
    np.testing.assert_array_equal(layer.forward(x).ravel(), beta)
    np.testing.assert_allclose(layer.running_mean, 0.1 * x.ravel())
    np.testing.assert_array_equal(layer.running_var, np.zeros(size))
    dout = rng.random(shape)
    np.testing.assert_array_equal(layer.backward(dout), np.zeros(shape))
    np.testing.assert_array_equal(layer.dgamma, np.zeros(size))
    np.testing.assert_array_equal(layer.dbeta, dout.ravel())
    with pytest.raises(ValueError, match="dout must have the output's shape"):
        layer.backward(dout[..., :2])
    assert max(cconv.gradient_check(layer, rng.random((5, size))).values()) < 1e-7  # more than one, as ever
    with pytest.raises(ValueError, match="at least two values"):
        cconv.BatchNormalization(gamma, beta).forward(x)


def test_smooth_curve_and_shuffle():
    util = book.common.util
    x = np.random.default_rng(0).random(30)
    weights = np.kaiser(11, 2)
    mirrored = np.concatenate([x[5:0:-1], x, x[:-6:-1]])
    expected = [np.dot(mirrored[n : n + 11], weights) / weights.sum() for n in range(30)]
    np.testing.assert_allclose(util.smooth_curve(list(x)), expected)
    assert len(util.smooth_curve([1.0])) == 1
    with pytest.raises(ValueError, match="at least one value"):
        util.smooth_curve([])
    np.random.seed(0)
    shuffled, t = util.shuffle_dataset(np.arange(12).reshape(6, 2), np.arange(6))
    assert (shuffled[:, 0] == 2 * t).all() and sorted(t) == list(range(6)) and list(t) != list(range(6))
    with pytest.raises(ValueError, match="as many samples"):
        util.shuffle_dataset(np.ones(3), np.ones(4))


def test_mnist_lies_in_the_scripts_own_folder(tmp_path, monkeypatch, mnist_dir):
    monkeypatch.delenv("CCONV_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "dataset").symlink_to(mnist_dir)
    monkeypatch.syspath_prepend(tmp_path)
    (x_train, _), (_, t_test) = book.dataset.mnist.load_mnist(one_hot_label=True)
    assert x_train.shape == (60_000, 784) and t_test.shape == (10_000, 10)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
def test_networks_take_what_numpy_makes_a_float_of(dtype):
    np.random.seed(0)
    network = book.ch05.two_layer_net.TwoLayerNet(16, 5, 3, 0.1)
    x, t = np.arange(32).reshape(2, 1, 4, 4).astype(dtype), np.array([0, 2])
    rows = x.reshape(2, 16).astype(np.float64)
    np.testing.assert_array_equal(network.predict(x), network.predict(rows))
    np.testing.assert_array_equal(network.predict(x, train_flg=True), network.predict(rows))
    assert network.loss(x, t) == network.loss(x, t, train_flg=True) == network.loss(rows, t)
    assert network.accuracy(x, t) == network.accuracy(rows, t)
    expected = {name: value.copy() for name, value in network.gradient(rows, t).items()}
    for gradient in (network.gradient(x, t), network.numerical_gradient(x, t)):
        for name, value in expected.items():
            np.testing.assert_allclose(gradient[name], value, rtol=1e-5, atol=1e-7)
