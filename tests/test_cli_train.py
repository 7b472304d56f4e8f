"""`cconv train`: what a run's folder holds, settings, and how a run that was killed goes on."""

import json
import os
import random
import subprocess
import sys
import time
import tomllib
import types
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cconv
from cconv._files import locked
from cconv.cli import data, main, train

SMALL = ["--data", "synthetic", "--samples", "60"]
OWN = """
from cconv import *

class Double(Layer):
    def forward(self, x):
        return 2 * x

    def backward(self, dout, *, input_gradient=True):
        return 2 * dout

def make(input_shape, classes):
    return Network([Double(), GlobalAveragePooling(), Affine(units=len(classes))], input_shape)

def with_norm(input_shape, classes):
    return Network([GlobalAveragePooling(), BatchNormalization(), Affine(units=len(classes))], input_shape)

def none(input_shape, classes):
    pass

def other(input_shape, classes):
    return Network([Affine(units=len(classes))], (3,))

def fails(input_shape, classes):
    return 1 / 0

def leaves(input_shape, classes):
    raise SystemExit("usage: own.py")

def two(input_shape, classes):
    return Network([Affine(units=2)], input_shape)

class Odd(Double):
    def forward(self, x):
        return {}["missing"]

def odd(input_shape, classes):
    return Network([Odd(), Affine(units=len(classes))], input_shape)

def speaks(input_shape, classes):
    import neighbour
    print("a word")
    return make(input_shape, classes)
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Run in a folder of the test's own, and leave the number of threads as it was."""
    monkeypatch.chdir(tmp_path)
    before = cconv.get_num_threads()
    yield
    cconv.set_num_threads(before)


def failed(arguments, status, capsys):
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("cconv: ") and err.endswith("\n") and err.count("\n") == 1
    return err


def settings(run):
    return tomllib.loads(Path(run, "settings.toml").read_text())


def arrays(path):
    return {name: array.tobytes() for name, array in cconv.load(path).state_dict().items()}


def test_a_run_holds_all_that_was_made(capsys):
    assert main(["train", *SMALL, "--epochs", "3", "--output", "run", "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("training simple on 54 images of synthetic\nepoch 1/3: loss ") and err == ""
    assert out.splitlines()[-1].startswith("saved in run: model.cconv, and best.cconv of epoch ")
    held = {"settings.toml", "model.cconv", "best.cconv", "checkpoints", "history.csv"}
    assert set(os.listdir("run")) == held | {"report.html"}
    assert len(Path("run/history.csv").read_text().splitlines()) == 4
    network = cconv.load("run/model.cconv")
    assert network.takes_integers and network.classes == list("0123456789") and network.input_shape == (1, 28, 28)
    assert type(network) is cconv.SimpleConvNet
    assert settings("run") | {"epochs": 3, "seed": 0, "threads": 1, "samples": 60} == settings("run")


def test_the_report_is_written_last_and_is_not_needed(monkeypatch, capsys):
    def write_report(run, custom):
        assert {"model.cconv", "best.cconv", "history.csv", "settings.toml"} <= set(os.listdir(run))
        written.append(run)
        if len(written) == 2:
            raise ImportError("write_report needs matplotlib")

    written = []
    module = types.ModuleType("cconv.report")
    module.__spec__, module.write_report = ModuleSpec("cconv.report", None), write_report
    monkeypatch.setitem(sys.modules, "cconv.report", module)
    for run in ("one", "two"):
        assert main(["train", *SMALL, "--epochs", "1", "--output", run]) == 0
    assert written == ["one", "two"]
    message = "cconv: warning: report.html was not written: write_report needs matplotlib\n"
    assert capsys.readouterr().err == message


def test_best_is_the_network_of_the_best_epoch(capsys):
    arguments = ["train", *SMALL, "--lr", "0.01", "--validation", "0.3", "--batch-size", "10", "--json"]
    assert main([*arguments, "--epochs", "12", "--output", "long"]) == 0
    found = json.loads(capsys.readouterr().out)
    losses = [row["val_loss"] for row in found["epochs"]]
    best = int(np.argmin(losses)) + 1
    assert found["best_epoch"] == best < 12  # so that the last is another one
    assert main([*arguments, "--epochs", str(best), "--output", "short"]) == 0
    assert arrays("long/best.cconv") == arrays("short/model.cconv") != arrays("long/model.cconv")


def test_settings_of_a_run_repeat_it_and_options_win(capsys):
    options = ["--network", "lenet5", "--lr", "0.003", "--augment", "shift,rotate", "--schedule", "onecycle"]
    assert main(["train", *SMALL, *options, "--epochs", "2", "--batch-size", "20", "--output", "one"]) == 0
    assert main(["train", "--settings", "one/settings.toml", "--output", "two"]) == 0
    assert Path("one/model.cconv").read_bytes() == Path("two/model.cconv").read_bytes()
    assert settings("one") == settings("two")
    assert main(["train", "--settings", "one/settings.toml", "--epochs", "1", "--seed", "3", "--output", "three"]) == 0
    assert settings("three") == settings("one") | {"epochs": 1, "seed": 3}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("wings = 2", "s.toml: wings is not a setting; there are data, data-dir, samples, image-size,"),
        ("epochs = 0", "s.toml: argument --epochs: must be a whole number from 1 on, got '0'"),
        ("epochs = true", "s.toml: argument --epochs: must be a whole number from 1 on, got 'True'"),
        ("lr = [1, 2]", "s.toml: lr must be a text or a number, got [1, 2]"),
        ("grey = 'no'", "s.toml: grey must be true or false, got 'no'"),
        ("output = 'run'", "s.toml: output is not a setting"),
        ("seed = 2020-02-02", "s.toml: seed must be a text or a number, got datetime.date(2020, 2, 2)"),
        ("[augment]\nshift = 1", "s.toml: augment must be a text or a number, got {'shift': 1}"),
        ("data = ''", "s.toml: argument --data: must be mnist, fashion,"),
        ('data = "a\\u0000b"', "s.toml: argument --data: must be"),
    ],
)
def test_wrong_settings_are_refused(text, says, capsys):
    Path("s.toml").write_text(text)
    assert says in failed(["train", "--settings", "s.toml", "--output", "run"], 2, capsys)
    assert not os.path.exists("run")


@pytest.mark.parametrize("content", [b"lr = ", b"\xff", b"a = " + 9999 * b"["])
def test_what_is_no_file_of_settings_is_one_line(content, capsys):
    Path("s.toml").write_bytes(content)
    assert "s.toml is no TOML file" in failed(["train", "--settings", "s.toml"], 1, capsys)


def test_texts_in_settings_are_those_that_were_given(capsys):
    name = 'a "quoted" \\ \u00e4\x7f \U0001f600 name'
    for color in ("red", "blue"):
        os.makedirs(f"{name}/{color}")
        for n in range(3):
            Image.new("RGB", (9, 9), color).save(f"{name}/{color}/{n}.png")
    arguments = ["train", "--data", name, "--image-size", "8", "--validation", "0", "--network", "lenet5"]
    assert main([*arguments, "--image-size", "16x12", "--grey", "--epochs", "1", "--output", "run"]) == 0
    assert settings("run")["data"] == os.path.abspath(name)
    assert cconv.load("run/model.cconv").input_shape == (1, 16, 12)
    assert main([*arguments, "--image-size", "16x12", "--grey", "--epochs", "2", "--output", "run", "--resume"]) == 0
    assert settings("run")["epochs"] == 2


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle", "step", "exponential", "plateau"])
def test_schedules(schedule, capsys):
    arguments = ["train", *SMALL, "--epochs", "3", "--batch-size", "20", "--lr", "0.01", "--output", "run", "--json"]
    assert main([*arguments, "--schedule", schedule]) == 0
    rates = [row["lr"] for row in json.loads(capsys.readouterr().out)["epochs"]]
    assert (len(set(rates)) == 1) == (schedule in ("constant", "plateau"))
    assert max(rates) <= 0.01 and (schedule in ("constant", "plateau") or rates[-1] < 0.002)


def test_each_augmentation_can_be_named(capsys):
    from cconv.cli.train import AUGMENTATIONS

    assert main(["train", *SMALL, "--epochs", "1", "--augment", ",".join(AUGMENTATIONS), "--output", "run"]) == 0
    assert settings("run")["augment"].split(",") == list(AUGMENTATIONS)


def test_batch_normalization_never_sees_a_single_image(capsys):
    Path("own.py").write_text(OWN)
    arguments = ["train", "--data", "synthetic", "--samples", "41", "--validation", "0", "--batch-size", "20"]
    arguments += ["--network", "own.py:with_norm", "--epochs", "1", "--schedule", "cosine", "--output", "run"]
    assert main(arguments) == 0
    _, metadata = cconv.serialization.read_head("run/checkpoints/checkpoint-000000002.safetensors")
    assert json.loads(metadata["rest"])["sizes"]["iter_per_epoch"] == 2


def test_quick_takes_synthetic_digits_where_mnist_cannot_be_had(monkeypatch, capsys):
    def missing(**options):
        raise cconv.DatasetNotFoundError("MNIST was not found. Looked in:\n  - nowhere\n")

    monkeypatch.setitem(data.NAMES, "mnist", (missing, data.DIGITS))
    assert main(["train", "--quick", "--samples", "60", "--output", "run"]) == 0
    assert capsys.readouterr().err.startswith("cconv: MNIST is neither on this machine nor can it be downloaded: train")
    assert settings("run") | {"data": "synthetic", "epochs": 5} == settings("run")
    assert main(["train", "--quick", "--samples", "60", "--output", "run", "--resume"]) == 0
    for arguments in (["--quick", "--data", "mnist"], []):  # where it was asked for, it is an error
        capsys.readouterr()
        message = failed(["train", *arguments, "--output", "other"], 1, capsys)
        assert message == "cconv: MNIST was not found. Looked in: - nowhere\n"


def test_quick_is_real_mnist_where_it_can_be_had(mnist_dir, capsys):
    assert main(["train", "--quick", "--samples", "200", "--epochs", "1", "--output", "run"]) == 0
    assert "training simple on 180 images of mnist" in capsys.readouterr().out


# Folders and networks of one's own


def test_photos_to_a_model_that_knows_them(capsys):
    rng = np.random.default_rng(0)
    for color, channel in (("red", 0), ("blue", 2)):
        os.makedirs(f"photos/{color}")
        for n in range(12):
            pixels = rng.integers(0, 60, (20, 20 + n, 3), np.uint8)
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(f"photos/{color}/{n}.png")
    Path("own.py").write_text(OWN)
    arguments = ["train", "--data", "photos", "--image-size", "8", "--network", "own.py:make", "--epochs", "15"]
    assert main([*arguments, "--lr", "0.1", "--augment", "flip", "--output", "run"]) == 0
    Image.new("RGBA", (70, 33), (0, 0, 200, 255)).save("new.png")
    capsys.readouterr()
    assert main(["predict", "run", "new.png", "--custom", "own.py", "--top", "1"]) == 0
    assert capsys.readouterr().out.startswith("new.png: blue ")
    assert "--custom FILE.py" in failed(["predict", "run", "new.png"], 1, capsys)
    assert "all of the network" not in Path("run/report.html").read_text()  # its layers are known there
    assert "--custom FILE.py" in failed(["plot", "run"], 1, capsys)
    assert not os.path.exists("run/history.png")
    assert main(["plot", "run", "--custom", "own.py", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ["run/history.png"]
    assert main(["evaluate", "run", "--data", "photos", "--custom", "own.py", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1
    before = Path("run/model.cconv").read_bytes()
    assert main([*arguments, "--lr", "0.1", "--augment", "flip", "--output", "again"]) == 0
    assert Path("again/model.cconv").read_bytes() == before  # weights without a seed of their own too


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("absent", "own.py must have a function absent(input_shape, classes), got none"),
        ("none", "own.py:none must return a Network, got NoneType"),
        ("other", "own.py:other must return a network for images (1, 28, 28), got (3,)"),
        ("two", "own.py:two must return a network with a score for each of 10 classes, got (2,)"),
        ("fails", "own.py, line 24: ZeroDivisionError: division by zero"),
        ("leaves", "own.py, line 27: SystemExit: usage: own.py"),
    ],
)
def test_what_is_wrong_in_code_of_ones_own_is_one_line(name, says, capsys):
    Path("own.py").write_text(OWN)
    assert says in failed(["train", *SMALL, "--network", f"own.py:{name}", "--output", "run"], 1, capsys)
    Path("own.py").write_text("a = = 1")
    assert "own.py, line 1: SyntaxError: " in failed(["train", *SMALL, "--network", "own.py:make"], 1, capsys)
    assert not os.path.exists("run")


def test_an_error_in_a_layer_of_ones_own_is_one_line_that_says_where(capsys):
    Path("own.py").write_text(OWN)
    assert main(["train", *SMALL, "--network", "own.py:odd", "--output", "run"]) == 1
    err = capsys.readouterr().err
    assert err == f"cconv: {os.path.abspath('own.py')}, line 34: KeyError: 'missing'\n"


def test_code_of_ones_own_may_print_and_import_its_neighbours(capsys):
    Path("own.py").write_text(OWN)
    Path("neighbour.py").write_text("")
    path = list(sys.path)
    assert main(["train", *SMALL, "--network", "own.py:speaks", "--epochs", "1", "--output", "run", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["run"] == "run" and err == "a word\n"
    assert sys.path == path


# Runs that go on


def test_a_run_that_goes_on_keeps_its_settings(capsys):
    begin = ["train", *SMALL, "--epochs", "1", "--network", "lenet5", "--output", "run"]
    assert main([*begin, "--resume"]) == 0  # there is none yet
    capsys.readouterr()
    message = failed(["train", "--output", "run", "--resume", "--network", "deep"], 2, capsys)
    assert message == "cconv: --network must be that of the run, lenet5, got deep\n"
    message = failed(["train", "--output", "run", "--resume", "--lr", "1"], 2, capsys)
    assert message == "cconv: --lr must be that of the run, not given, got 1.0\n"
    assert main([*begin, "--resume", "--epochs", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("training lenet5 on 54 images of synthetic, after 1 steps that are done\n")
    assert main(["train", *SMALL, "--epochs", "3", "--network", "lenet5", "--output", "whole"]) == 0
    assert Path("run/model.cconv").read_bytes() == Path("whole/model.cconv").read_bytes()
    assert settings("run") == settings("whole")
    capsys.readouterr()
    message = failed([*begin, "--resume", "--epochs", "2"], 2, capsys)
    assert message == "cconv: --epochs must be at least the 3 that are done, got 2\n"
    assert settings("run") == settings("whole")


@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "step", "exponential", "plateau"])
def test_the_epochs_that_a_schedule_goes_by_stay(schedule, capsys):
    begin = ["train", *SMALL, "--network", "lenet5", "--schedule", schedule, "--output", "run"]
    assert main([*begin, "--epochs", "1"]) == 0
    capsys.readouterr()
    more = ["train", "--output", "run", "--resume", "--epochs", "2"]
    if schedule == "plateau":
        assert main(more) == 0
        return
    message = failed(more, 2, capsys)
    assert message == f"cconv: --epochs must be that of the run, as --schedule {schedule} goes by it, 1, got 2\n"


def test_a_folder_that_is_not_empty_is_no_new_run(capsys):
    Path("notes").mkdir()
    Path("notes/text").write_text("mine")
    assert "notes is there already" in failed(["train", *SMALL, "--output", "notes"], 1, capsys)
    assert "it is no run" in failed(["train", *SMALL, "--output", "notes", "--resume"], 1, capsys)
    assert os.listdir("notes") == ["text"]
    Path("empty").mkdir()
    assert main(["train", *SMALL, "--epochs", "1", "--output", "empty"]) == 0


def test_a_run_has_its_time_for_a_name(capsys):
    assert main(["train", *SMALL, "--epochs", "1"]) == 0
    (name,) = os.listdir("runs")
    time.strptime(name, "%Y-%m-%d-%H%M%S")


def test_runs_of_one_second_have_folders_of_their_own(monkeypatch, capsys):
    monkeypatch.setattr(time, "strftime", lambda form: "now")
    with locked_folder("runs/now"):  # another process has just made it
        assert main(["train", *SMALL, "--epochs", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == "runs/now-2"
    assert os.listdir("runs/now") == []
    for expected in ("runs/now", "runs/now-3"):
        assert main(["train", *SMALL, "--epochs", "1", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["run"] == expected


@contextmanager
def locked_folder(name):
    os.makedirs(name, exist_ok=True)
    with locked(name):
        yield


def test_no_two_trainings_work_in_one_folder(capsys):
    with locked_folder("run"):
        assert failed(["train", *SMALL, "--output", "run"], 1, capsys) == (
            "cconv: run is in use: another training goes on there\n"
        )
    assert main(["train", *SMALL, "--epochs", "1", "--output", "run", "--json"]) == 0
    capsys.readouterr()
    before = {name: os.stat(f"run/{name}").st_mtime_ns for name in os.listdir("run")}
    with locked_folder("run"):
        assert "run is in use" in failed(["train", "--output", "run", "--resume"], 1, capsys)
    assert {name: os.stat(f"run/{name}").st_mtime_ns for name in os.listdir("run")} == before


def test_a_training_that_cannot_begin_leaves_no_folder(capsys):
    arguments = ["--samples", "1", "--validation", "0.5"]
    failed(["train", *SMALL, *arguments, "--output", "a/b/run"], 1, capsys)
    assert os.listdir() == []
    os.makedirs("a")
    failed(["train", *SMALL, *arguments, "--output", "a/b/run"], 1, capsys)
    assert os.listdir("a") == []


def test_a_long_epoch_has_checkpoints_within(monkeypatch, capsys):
    arguments = ["train", *SMALL, "--network", "lenet5", "--epochs", "1", "--batch-size", "10"]
    assert main([*arguments, "--output", "whole"]) == 0
    assert os.listdir("whole/checkpoints") == ["checkpoint-000000006.safetensors"]
    monkeypatch.setattr(train, "SECONDS", 0)
    assert main([*arguments, "--output", "run"]) == 0
    names = [f"checkpoint-{step:09}.safetensors" for step in (4, 5, 6)]
    assert sorted(os.listdir("run/checkpoints")) == names
    for path in ("model.cconv", "best.cconv", f"checkpoints/{names[2]}"):  # as if it were killed in step 6
        os.unlink(f"run/{path}")
    capsys.readouterr()
    assert main([*arguments, "--output", "run", "--resume"]) == 0
    assert "after 5 steps that are done" in capsys.readouterr().out
    assert Path("run/model.cconv").read_bytes() == Path("whole/model.cconv").read_bytes()


def test_names_that_settings_cannot_hold_are_refused(capsys):
    name = os.fsdecode(b"photos\xff")
    for color in ("red", "blue"):
        os.makedirs(f"{name}/{color}")
        Image.new("RGB", (9, 9), color).save(f"{name}/{color}/0.png")
    message = failed(["train", "--data", f"./{name}", "--output", "run"], 1, capsys)
    assert message.startswith("cconv: --data must be a name in UTF-8, as settings.toml is, got ")
    assert not os.path.exists("run")


def test_a_run_that_is_killed_at_any_moment_ends_with_the_same_bytes(capsys):
    arguments = ["train", "--data", "synthetic", "--samples", "100", "--network", "deep", "--epochs", "8"]
    arguments += ["--batch-size", "25", "--augment", "shift", "--schedule", "cosine"]
    assert main([*arguments, "--output", "whole"]) == 0
    environment = os.environ | {"PYTHONPATH": str(Path(cconv.__file__).parents[1])}
    line = [sys.executable, "-m", "cconv", *arguments, "--output", "killed", "--resume"]
    for _ in range(3):
        with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline().startswith("training deep on 90 images")
            time.sleep(random.uniform(0, 0.5))
            process.kill()
    assert main([*line[3:]]) == 0
    assert arrays("killed/model.cconv") == arrays("whole/model.cconv")
    for name in ("model.cconv", "best.cconv", "settings.toml"):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes()
    rows = [Path(run, "history.csv").read_text().splitlines() for run in ("killed", "whole")]
    assert [row.rpartition(",")[0] for row in rows[0]] == [row.rpartition(",")[0] for row in rows[1]]  # but for seconds
