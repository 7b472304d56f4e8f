"""The command line: what each command prints, and how it ends."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cconv
from cconv.cli import bench, convert, data, evaluate, info, inspect, main, plot, predict, train
from cconv.cli.data import NAMES

SMALL = ["--data", "synthetic", "--samples", "60"]
ROOT = str(Path(cconv.__file__).parents[1])


def command(*arguments, **options):
    """Start the command line in a process of its own."""
    environment = os.environ | {"PYTHONPATH": ROOT}
    return subprocess.Popen([sys.executable, "-m", "cconv", *map(str, arguments)], env=environment, **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a run, an image and a file of a network of one's own."""
    folder = tmp_path_factory.mktemp("made")
    assert main(["train", *SMALL, "--epochs", "2", "--output", str(folder / "run")]) == 0
    Image.new("RGB", (40, 30), "grey").save(folder / "image.png")
    cconv.SimpleConvNet(seed=0).save_params(folder / "params")
    with open(folder / "params.pkl", "wb") as file:
        pickle.dump(dict(cconv.SimpleConvNet(seed=0).params), file)
    (folder / "text").write_text("no model")
    return folder


@pytest.fixture(autouse=True)
def threads():
    """Leave the number of threads as it was."""
    before = cconv.get_num_threads()
    yield
    cconv.set_num_threads(before)


@pytest.fixture(autouse=True)
def here(made, tmp_path, monkeypatch):
    """Run in a folder of the test's own, with links to what was made."""
    for path in made.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)


def failed(arguments, status, capsys):
    """Return the one line that a command says when it fails."""
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("cconv: ") and err.endswith("\n") and err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "the following arguments are required: command (cconv --help"),
        ("fly", "invalid choice: 'fly'"),
        ("train --wings 2", "unrecognized arguments: --wings 2"),
        ("train --epoch 2", "unrecognized arguments: --epoch 2"),
        ("train --epochs 0", "argument --epochs: must be a whole number from 1 on, got '0' (cconv train --help"),
        ("train --lr nan", "argument --lr: must be a number above 0, got 'nan'"),
        ("train --validation 1", "argument --validation: must be a number from 0 on and below 1, got '1'"),
        ("train --seed -1", "argument --seed: must be a whole number from 0 on, got '-1'"),
        ("train --data mnits", "argument --data: must be mnist, fashion, kmnist, cifar10, cifar100, synthetic or a"),
        ("train --data=", "argument --data: must be mnist, fashion, kmnist, cifar10, cifar100, synthetic or a"),
        ("train --output=", "argument --output: must be the name of a folder, got ''"),
        ("train --network net.py", "argument --network: must be simple, lenet5, deep, resnet, mobilenet or FILE.py:"),
        ("train --augment flip,fold", "argument --augment: must be none or some of shift,rotate,"),
        ("train --optimizer best", "argument --optimizer: invalid choice: 'best'"),
        ("train --image-size 8x", "argument --image-size: must be a size such as 64, or height x width"),
        ("train --resume", "--resume needs the folder of a run: --output RUN"),
        ("evaluate", "the following arguments are required: MODEL"),
        ("evaluate run --samples many", "argument --samples: must be a whole number from 1 on, got 'many'"),
        ("predict run", "the following arguments are required: IMAGE"),
        ("predict run image.png --top 0", "argument --top: must be a whole number from 1 on, got '0'"),
        ("inspect", "the following arguments are required: FILE"),
        ("inspect run image.png", "unrecognized arguments: image.png"),
        ("convert run", "the following arguments are required: OUT"),
        ("convert run model.doc", "OUT: must end in .cconv, .onnx, .safetensors, .pkl, got 'model.doc'"),
        ("convert run model.pkl --input-shape 0,3", "argument --input-shape: must be the shape of one sample such as"),
        ("plot", "the following arguments are required: RUN"),
        ("info --fast", "unrecognized arguments: --fast"),
        ("config 1", "unrecognized arguments: 1"),
        ("bench --seconds 0", "argument --seconds: must be a number above 0, got '0'"),
        ("bench --network alexnet", "argument --network: invalid choice: 'alexnet'"),
    ],
)
def test_wrong_arguments_are_one_line_and_status_2(arguments, says, capsys):
    assert says in failed(arguments.split(), 2, capsys)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("train --data ./missing --output new", "missing: No such file or directory"),
        ("train --network missing.py:make --output new --data synthetic --samples 60", "missing.py: no such file of"),
        ("train --settings missing.toml", "missing.toml: No such file or directory"),
        ("train --settings text", "text is no TOML file"),
        ("train --output run", "run is there already: --resume goes on with a run, another --output begins a new one"),
        ("train --output image.png --resume", "image.png is there already: it is no run"),
        ("evaluate missing --data synthetic", "missing: No such file or directory"),
        ("evaluate run --data ./missing", "missing: No such file or directory"),
        ("evaluate text --data synthetic", "text is not a safetensors file, or it is damaged"),
        ("evaluate run --custom missing.py", "missing.py: no such file of Python code"),
        ("predict missing image.png", "missing: No such file or directory"),
        ("predict run missing.png", "missing.png: No such file or directory"),
        ("predict run text", "text is no image that can be read: UnidentifiedImageError"),
        ("inspect missing", "missing: No such file or directory"),
        ("inspect run", "run: Is a directory"),
        ("inspect text", "text is none of the files that cconv knows: a model, parameters or a checkpoint in"),
        ("convert missing model.cconv", "missing: No such file or directory"),
        ("convert text model.cconv", "text is none of the files that cconv knows"),
        ("convert run missing/model.cconv", "missing/model.cconv: No such file or directory"),
        ("plot missing", "missing/history.csv: No such file or directory"),
        ("bench --input-shape 1,2,2 --network simple", "expects images that its 5 x 5 filters fit"),
    ],
)
def test_what_is_not_there_or_wrong_is_one_line_and_status_1(arguments, says, capsys):
    assert says in failed(arguments.split(), 1, capsys)
    assert not Path("runs").exists() and not Path("new").exists()


# A way to call each command, where it is in the middle of its work, and a line that it prints.
COMMANDS = {
    "train": ([*SMALL, "--epochs", "1", "--output", "new"], train, "Trainer"),
    "evaluate": (["run", *SMALL], evaluate, "for_testing"),
    "predict": (["run", "image.png"], predict, "read_image"),
    "inspect": (["run/model.cconv"], inspect, "read_head"),
    "convert": (["run", "model.pkl"], convert, "saved"),
    "plot": (["run"], plot, "plot_history"),
    "info": ([], info, "show_config"),
    "bench": (["--seconds", "0.01", "--network", "simple"], bench, "_median"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_is_one_line_and_status_130(name, monkeypatch, capsys):
    arguments, module, function = COMMANDS[name]
    monkeypatch.setattr(module, function, lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert failed([name, *arguments], 130, capsys) == "cconv: interrupted\n"


def test_ctrl_c_in_training_says_how_it_goes_on(tmp_path):
    folder = tmp_path / "a run"
    arguments = [*SMALL, "--network", "deep", "--output", folder]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = command("train", *arguments, "--epochs", "1000", **pipes)
    with process:
        assert process.stdout.readline() == "training deep on 54 images of synthetic\n"
        for _ in range(2):
            process.stdout.readline()  # of an epoch
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert err == f"cconv: interrupted: cconv train --resume --output '{folder}' goes on\n"
    assert process.returncode == 130
    epochs = len((folder / "history.csv").read_text().splitlines()) - 1
    assert main(["train", "--resume", "--output", str(folder), "--epochs", str(epochs + 1)]) == 0
    assert (folder / "model.cconv").exists()


# What happens to the command while it is imported, and where its signal is raised then.
BEGIN = """
import atexit, signal, sys

moment = sys.argv.pop(1)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            signal.raise_signal(signal.SIGINT)
        if moment == "later" and name == "cconv":
            print("begun", flush=True)

sys.meta_path.insert(0, Finder())
from cconv_command import main  # as the script `cconv` has it
if moment == "atexit":
    atexit.register(signal.raise_signal, signal.SIGINT)
sys.exit(main())
"""


@pytest.mark.parametrize("moment", ["cconv", "numpy", "cconv.kernels.runtime._cpu", "cconv.cli.train", "atexit"])
def test_ctrl_c_before_and_after_the_command_is_status_130_without_a_word(moment):
    environment = os.environ | {"PYTHONPATH": ROOT}
    line = [sys.executable, "-c", BEGIN, moment, "--version"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60)
    out = f"cconv {cconv.__version__}\n" if moment == "atexit" else ""
    assert (done.returncode, done.stdout, done.stderr) == (130, out, "")


def test_ctrl_c_that_a_shell_has_switched_off_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a child inherits
    try:
        line = [sys.executable, "-c", BEGIN, "numpy", "--version"]
        done = subprocess.run(line, env=os.environ | {"PYTHONPATH": ROOT}, capture_output=True, text=True, timeout=60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.returncode, done.stdout) == (0, f"cconv {cconv.__version__}\n")


def test_ctrl_c_at_any_early_moment_is_at_most_one_line(tmp_path):
    arguments = ["train", *SMALL, "--epochs", "9999", "--json", "--output", tmp_path / "new"]
    line = [sys.executable, "-c", BEGIN, "later", *arguments]
    for delay in (0, 0.02, 0.05, 0.1, 0.2, 0.4):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(line, env=os.environ | {"PYTHONPATH": ROOT}, **pipes) as process:
            assert process.stdout.readline() == "begun\n"
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert err == "" or (err.startswith("cconv: interrupted") and err.count("\n") == 1)
        shutil.rmtree(tmp_path / "new", ignore_errors=True)


def test_a_closed_pipe_is_no_failure(tmp_path):
    begun = {}
    for name, (arguments, _, _) in COMMANDS.items():
        read, write = os.pipe()
        os.close(read)
        begun[name] = command(name, *arguments, stdout=write, stderr=subprocess.PIPE, text=True)
        os.close(write)
        if len(begun) % 2 == 0:  # not all at once
            begun[name].wait(60)
    for name, process in begun.items():
        _, err = process.communicate(timeout=60)
        assert (name, process.returncode, err) == (name, 0, "")
    assert (tmp_path / "new" / "model.cconv").exists()


def test_standard_streams_that_are_closed_are_no_failure(monkeypatch):
    line = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "cconv", "info"]
    assert subprocess.run(line, env=os.environ | {"PYTHONPATH": ROOT}, timeout=60).returncode == 0
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)  # as Python has it then
    for name, (arguments, _, _) in COMMANDS.items():
        assert main([name, *arguments]) == 0
    assert Path("new/model.cconv").exists()
    assert main(["fly"]) == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_full_disk_is_one_line_and_status_1(monkeypatch):
    for unbuffered in ("1", ""):  # it fails when a line is printed, or at the end
        monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
        with open("/dev/full", "w") as full:
            process = command("info", stdout=full, stderr=subprocess.PIPE, text=True)
        with process:
            _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (1, "cconv: No space left on device\n")


@pytest.mark.parametrize("name", ["", *COMMANDS, "config"])
def test_help_has_examples(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    out, err = capsys.readouterr()
    assert f"examples:\n  cconv {name.replace('config', 'info')}" in out and err == ""


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cconv {cconv.__version__}\n"


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(info, "show_config", lambda: {}["missing"])
    with pytest.raises(KeyError):
        main(["info"])


@pytest.mark.parametrize("name", ["info", "config"])
def test_info(name, capsys):
    assert main([name]) == 0
    assert cconv.__version__ in capsys.readouterr().out
    assert main([name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == cconv.show_config(mode="dicts")


def test_bench(capsys):
    assert main(["bench", "--seconds", "0.01", "--batch-size", "10", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("CPU level ") and "threads 1, " in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["network", "simple", "lenet5", "deep", "resnet", "mobilenet"]
    assert main(["bench", "--seconds", "0.01", "--network", "lenet5", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["networks"]
    assert row["network"] == "lenet5" and row["step"] > 0 and row["prediction"] > 0


# Evaluation


def test_evaluate_measures_what_the_network_does(capsys):
    assert main(["evaluate", "run", *SMALL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    _, (x, t) = cconv.load_synthetic_digits(60, 60, flatten=False, normalize=False)
    network = cconv.load("run/model.cconv")
    assert found["accuracy"] == network.accuracy(x, t)
    assert np.isclose(found["loss"], network.loss(x, t))
    scores = network.predict(x)
    assert found["confusion_matrix"] == cconv.metrics.confusion_matrix(t, scores).tolist()
    assert found["f1"] == cconv.metrics.f1(t, scores)
    assert [entry["samples"] for entry in found["classes"]] == np.bincount(t, minlength=10).tolist()
    assert main(["evaluate", "run/best.cconv", *SMALL]) == 0
    out = capsys.readouterr().out
    assert out.startswith("accuracy on 60 images: 0.") and "\nmean " in out


def test_evaluate_takes_a_network_of_scaled_and_of_flat_images(capsys):
    cconv.Network([cconv.Affine(units=10)], (784,), seed=0).save("flat.cconv")
    _, (x, t) = cconv.load_synthetic_digits(60, 60, flatten=False)
    for file, shape in (("params", (60, 1, 28, 28)), ("flat.cconv", (60, 784))):
        assert main(["evaluate", file, *SMALL, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["accuracy"] == cconv.load(file).accuracy(x.reshape(shape), t)


def test_evaluate_on_mnist(capsys, mnist_dir):
    assert main(["evaluate", "params", "--data-dir", str(mnist_dir)]) == 0
    assert capsys.readouterr().out.startswith("accuracy on 10,000 images: 0.")


def test_evaluate_finds_classes_by_their_names(tmp_path, capsys):
    draw_photos("photos", {"blue": 3, "red": 5})
    layers = [cconv.Scale(), cconv.Affine(units=3)]
    network = cconv.Network(layers, (3, 4, 4), seed=0, classes=["red", "green", "blue"])
    network.params["W1"][...] = 0
    for channel in range(3):
        network.params["W1"][channel * 16 : (channel + 1) * 16, channel] = 1
    network.save("colors.cconv")
    assert main(["evaluate", "colors.cconv", "--data", "photos", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["confusion_matrix"] == [[5, 0, 0], [0, 0, 0], [0, 0, 3]]
    draw_photos("photos", {"yellow": 1})
    message = "cconv: the data have the class 'yellow', the model has red, green, blue\n"
    assert failed(["evaluate", "colors.cconv", "--data", "photos"], 1, capsys) == message
    message = "cconv: the model takes images of shape (3, 4, 4), the data have (1, 28, 28)\n"
    assert failed(["evaluate", "colors.cconv", *SMALL], 1, capsys) == message


def test_evaluate_of_one_output_and_of_regression(capsys):
    draw_photos("photos", {"blue": 3, "red": 5})
    layers, loss = [cconv.Scale(), cconv.Affine(units=1)], cconv.SigmoidWithLoss()
    network = cconv.Network(layers, (3, 4, 4), seed=0, last_layer=loss, classes=["blue", "red"])
    network.params["W1"][...] = np.repeat([1, 0, -1], 16)[:, None]
    network.save("is_red.cconv")
    assert main(["evaluate", "is_red.cconv", "--data", "photos", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["confusion_matrix"] == [[3, 0], [0, 5]]
    assert main(["predict", "is_red.cconv", "photos/red/0.png"]) == 0
    assert capsys.readouterr().out == "photos/red/0.png: red 100.0%, blue 0.0%\n"
    cconv.Network(layers, (3, 4, 4), last_layer=cconv.MeanSquaredError()).save("regression.cconv")
    assert "is a model of regression" in failed(["evaluate", "regression.cconv", "--data", "photos"], 1, capsys)
    assert "a model of something else" in failed(["predict", "regression.cconv", "image.png"], 1, capsys)


def test_evaluate_shows_the_most_frequent_mistakes_of_many_classes(capsys):
    network = cconv.Network([cconv.Flatten(), cconv.Affine(units=30)], (1, 28, 28), seed=0)
    network.params["b1"][7] = 100
    network.save("many.cconv")
    assert main(["evaluate", "many.cconv", *SMALL]) == 0
    lines = capsys.readouterr().out.partition("most often mistaken:\n")[2].splitlines()
    assert len(lines) == 9 and all(" for 7: " in line for line in lines)


# Prediction


def draw_photos(folder, counts):
    """Draw images of one colour each into folders of their names, of several sizes."""
    for name, count in counts.items():
        os.makedirs(f"{folder}/{name}", exist_ok=True)
        for n in range(count):
            Image.new("RGB", (20 + n, 16), name).save(f"{folder}/{name}/{n}.png")


@pytest.mark.parametrize(("mode", "size"), [("RGB", (50, 20)), ("RGBA", (8, 8)), ("L", (28, 28)), ("P", (31, 90))])
def test_predict_takes_any_size_and_colour_mode(mode, size, capsys):
    Image.new("RGB", size, "white").convert(mode).save("any.png")
    assert main(["predict", "run", "any.png", "--top", "10", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    scores = cconv.load("run/model.cconv").predict(np.full((1, 1, 28, 28), 255, np.uint8))
    probabilities = {entry["class"]: entry["probability"] for entry in found["classes"]}
    expected = cconv.softmax(scores)[0]
    assert np.allclose([probabilities[str(n)] for n in range(10)], expected, rtol=1e-6)
    assert found["class"] == str(expected.argmax())


def test_predict_shows_the_best_classes_of_each_image(capsys):
    Image.new("L", (28, 28)).save("black.png")
    assert main(["predict", "run", "black.png", "image.png", "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["black.png", "image.png"]
    assert all(line.count("%") == 2 for line in lines)
    Image.new("L", (28, 28), "white").save("white.png")
    assert main(["predict", "run", "white.png", "--top", "2", "--invert"]) == 0
    assert capsys.readouterr().out.partition(": ")[2] == lines[0].partition(": ")[2] + "\n"


# Inspection and conversion


@pytest.mark.parametrize(
    ("file", "kind", "count"),
    [
        ("run/model.cconv", "model", 6),
        ("run/checkpoints/checkpoint-000000002.safetensors", "checkpoint", None),
        ("params", "model", 6),
        ("params.pkl", "pickle of parameters", 6),
        ("tensors.safetensors", "tensors", 1),
    ],
)
def test_inspect_tells_files_apart(file, kind, count, capsys):
    from safetensors.numpy import save_file

    save_file({"fc.weight": np.ones((2, 3))}, "tensors.safetensors", {"made": "by hand"})
    assert main(["inspect", file, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == kind
    assert count is None or len(found["arrays"]) == count
    assert main(["inspect", file]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{file}: {kind}") and all(name in out for name in found["arrays"])
    if kind in ("model", "checkpoint"):
        assert found["network"]["input_shape"] == [1, 28, 28] and "Conv1: Convolution(filters=30" in out
    if kind == "checkpoint":
        assert found["training"]["steps"] == found["training"]["epochs"] == 2
        assert "training: 2 steps, 2 epochs" in out
    if kind == "tensors":
        assert "metadata: made 'by hand'" in out


def test_inspect_shows_the_layers_inside_of_blocks(capsys):
    cconv.Network([cconv.Residual([cconv.Affine(units=3)])], (3,), seed=0).save("block.cconv")
    assert main(["inspect", "block.cconv"]) == 0
    assert "  residual1: Residual()\n    body:\n      affine1: Affine(units=3" in capsys.readouterr().out


def test_inspect_runs_nothing_of_a_pickle(capsys):
    class Evil:
        def __reduce__(self):
            return os.mkdir, ("ran",)

    Path("evil.pkl").write_bytes(pickle.dumps({"W1": Evil()}))
    assert "is no pickle of parameters, and nothing of it was run" in failed(["inspect", "evil.pkl"], 1, capsys)
    assert not Path("ran").exists()


def test_inspect_says_that_a_file_is_damaged(capsys):
    content = Path("run/model.cconv").read_bytes()
    Path("cut.cconv").write_bytes(content[:-1])
    assert "its head tells of" in failed(["inspect", "cut.cconv"], 1, capsys)
    Path("odd.cconv").write_bytes(content.replace(b'\\"class\\": ', b'\\"class\\"; '))
    assert "what it says of its network or training cannot be read" in failed(["inspect", "odd.cconv"], 1, capsys)


@pytest.mark.parametrize("ending", ["safetensors", "pkl", "onnx"])
def test_convert_there_and_back_gives_the_same_answers(ending, capsys):
    if ending == "onnx":
        pytest.importorskip("onnx")
    assert main(["convert", "params", f"other.{ending}"]) == 0
    assert main(["convert", f"other.{ending}", "again.cconv"]) == 0
    assert capsys.readouterr().out == f"other.{ending}: 433,890 parameters\nagain.cconv: 433,890 parameters\n"
    x = np.random.default_rng(0).random((3, 1, 28, 28), np.float32)
    assert (cconv.load("again.cconv").predict(x) == cconv.load("params").predict(x)).all()


def test_convert_needs_the_network_of_parameters_alone(capsys):
    Path("net.py").write_text(
        "from cconv import *\n"
        "def make(input_shape, classes):\n"
        "    return Network([BatchNormalization(), Affine(units=len(classes))], input_shape)\n"
    )
    cconv.Network([cconv.BatchNormalization(), cconv.Affine(units=3)], (5,), seed=0).save("own.cconv")
    assert main(["convert", "own.cconv", "own.safetensors"]) == 0
    capsys.readouterr()
    assert "must hold tensors for" in failed(["convert", "own.safetensors", "back.cconv"], 1, capsys)
    network = ["--network", "net.py:make", "--input-shape", "5", "--outputs", "3"]
    with pytest.warns(UserWarning, match="a state dict does not say eps"):
        cconv.torch.load_from("own.safetensors", cconv.load("own.cconv"))
    process = command("convert", "own.safetensors", "back.cconv", *network, stderr=subprocess.PIPE, text=True)
    with process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.startswith("cconv: warning: a state dict does not say eps") and err.count("\n") == 1
    own, back = cconv.load("own.cconv").state_dict(), cconv.load("back.cconv").state_dict()
    assert all((own[name] == back[name]).all() for name in own)
    assert main(["convert", "own.cconv", "own.pkl", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "without norm1.running_mean, norm1.running_var" in err
    assert json.loads(out) == {"file": "own.pkl", "parameters": 28}


def test_plot(capsys):
    assert main(["plot", "run"]) == 0
    paths = capsys.readouterr().out.split()
    assert paths == ["run/history.png", "run/filters.png"]
    assert main(["plot", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == paths
    for path in paths:
        with Image.open(path) as picture:
            assert min(picture.size) > 50
    for text, says in (("epoch\n", "has no epochs"), ("epoch,loss,lr\n1,a,b\n", "does not hold a history")):
        Path("bad").mkdir(exist_ok=True)
        Path("bad/history.csv").write_text(text)
        assert says in failed(["plot", "bad"], 1, capsys)


# Data


@pytest.mark.parametrize("name", NAMES)
def test_each_data_set_has_as_many_names_as_classes(name):
    classes = NAMES[name][1].split()
    assert len(set(classes)) == len(classes) == (100 if name == "cifar100" else 10)


def test_parts_of_a_folder_are_found():
    draw_photos("plain", {"red": 2, "blue": 2})
    draw_photos("split/train", {"red": 3, "blue": 3})
    draw_photos("split/val", {"red": 1, "blue": 1})
    options = {"size": (4, 4), "color": "rgb"}
    assert [part and len(part) for part in data.for_training("plain", **options)] == [4, None]
    assert [len(part) for part in data.for_training("split", **options)] == [6, 2]
    assert len(data.for_testing("plain", **options)) == 4
    assert len(data.for_testing("split", **options)) == 2
    assert data.for_training("split", **options, samples=2)[0].labels.tolist() == [0, 1]
    os.mkdir("split/__MACOSX")  # what a system leaves is no class
    assert len(data.for_testing("split", **options)) == 2
    draw_photos("alone/train", {"red": 3, "blue": 3})
    assert len(data.for_testing("alone", **options)) == 6
    draw_photos("classes", {"blue": 1, "red": 1})
    for name in ("train", "test"):  # beside others, they are classes too
        shutil.copytree("classes/red", f"classes/{name}")
    assert data.for_testing("classes", **options).classes == ["blue", "red", "test", "train"]
    draw_photos("split/val", {"green": 1})
    with pytest.raises(ValueError, match="must have the same classes in each part"):
        data.for_training("split", **options)
    draw_photos("one", {"red": 2})
    with pytest.raises(ValueError, match="two or more classes"):
        data.for_training("one", **options)
