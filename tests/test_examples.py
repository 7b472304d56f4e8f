"""The examples, run as a user runs them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cconv

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *arguments, cwd):
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(cconv.__file__).parents[1])}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_train_on_synthetic_digits_and_draw_the_filters(tmp_path):
    out = run("train_mnist.py", "--quick", "--epochs", 1, "--dataset", "synthetic", cwd=tmp_path)
    assert "Final accuracy on 1,000 test images: 0." in out
    names = {"params.safetensors", "accuracy.png", "filters_before.png", "filters_after.png"}
    assert names == {path.name for path in (tmp_path / "output").iterdir()}
    for name in names:
        assert name in out
    before, after = ((tmp_path / "output" / f"filters_{name}.png").read_bytes() for name in ("before", "after"))
    assert before[:4] == after[:4] == b"\x89PNG" and before != after
    out = run("visualize_filters.py", cwd=tmp_path)
    assert (tmp_path / "output" / "filters_trained.png").is_file() and "filters_untrained.png" in out


def test_auto_says_when_it_takes_synthetic_digits(tmp_path, monkeypatch):
    monkeypatch.delenv("CCONV_DATA", raising=False)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there: as good as no network
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = run("train_mnist.py", "--quick", "--epochs", 1, cwd=tmp_path)
    assert "MNIST is neither on this machine nor can it be downloaded: training on synthetic digits instead." in out


def test_quick_run_on_mnist(tmp_path, mnist_dir):
    out = run("train_mnist.py", "--quick", "--data-dir", mnist_dir, cwd=tmp_path)
    accuracy = float(out.split("Final accuracy on 1,000 test images: ")[1].split()[0])
    assert accuracy >= 0.9


@pytest.mark.parametrize("network", ["SimpleConvNet", "LeNet5", "DeepConvNet", "ResNet", "MobileNet"])
def test_deeper_networks(network, tmp_path):
    arguments = ["--network", network, "--dataset", "synthetic", "--quick", "--images", 200, "--epochs", 1]
    out = run("deeper_networks.py", *arguments, cwd=tmp_path)
    assert out.startswith("layer") and "epoch 1/1: loss" in out
    assert f"Trained {network} for 1.0 epochs in" in out
    assert "Final accuracy on 200 test images: 0." in out
    assert (tmp_path / "output" / f"{network}.safetensors").is_file()


def test_training_for_a_time(tmp_path):
    arguments = ["--dataset", "synthetic", "--images", 200, "--seconds", 0.2]
    out = run("deeper_networks.py", *arguments, cwd=tmp_path)
    assert "Trained DeepConvNet for" in out


def test_own_layer(tmp_path):
    out = run("own_layer.py", cwd=tmp_path)
    assert float(out.split("The factor became ")[1].split(".\n")[0]) != 1
    assert float(out.split("test images: ")[1]) > 0.3


@pytest.mark.parametrize("network", ["simple", "deep"])
def test_augmented_mnist(network, tmp_path, mnist_dir):
    arguments = ["--network", network, "--images", 2000, "--epochs", 2, "--data-dir", mnist_dir]
    out = run("augmented_mnist.py", *arguments, cwd=tmp_path)
    assert float(out.split("Final accuracy on 2,000 test images: ")[1]) > 0.3


def test_photos_from_a_folder_to_a_trained_network(tmp_path):
    pytest.importorskip("PIL")
    assert "Drew 3 classes of 24 pictures" in run("draw_photos.py", "photos", "--count", 24, cwd=tmp_path)
    out = run("photos.py", "photos", cwd=tmp_path)
    assert out.startswith("epoch 1/60: loss ")
    assert float(out.split("Best accuracy on photographs kept apart: ")[1]) > 0.5
    assert cconv.load(tmp_path / "photos.safetensors").input_shape == (3, 48, 48)
