"""The benchmarks run, their contestants compute the same, and the results become tables and charts."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cconv

FOLDER = Path(__file__).parents[1] / "benchmarks"
# Loaded by its path: with the source tree on sys.path, an unbuilt cconv would hide the installed one.
SPEC = importlib.util.spec_from_file_location("numpy_chapter", FOLDER / "numpy_chapter.py")
numpy_chapter = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(numpy_chapter)


def test_the_chapters_network_has_the_same_gradients_and_steps():
    rng = np.random.default_rng(0)
    network = cconv.SimpleConvNet(dtype="float64", seed=0)
    chapter = numpy_chapter.SimpleConvNet({name: value.copy() for name, value in network.params.items()})
    x, t = rng.random((4, 1, 28, 28)), rng.integers(0, 10, 4)
    ours, theirs = cconv.Adam(), numpy_chapter.Adam()
    for _ in range(3):
        grads, expected = network.gradient(x, t), chapter.gradient(x, t)
        for name, value in expected.items():
            np.testing.assert_allclose(grads[name], value, rtol=1e-9, atol=1e-12)
        ours.update(network.params, grads)
        theirs.update(chapter.params, expected)
    np.testing.assert_allclose(network.predict(x), chapter.predict(x), rtol=1e-9)


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    """A function that runs the benchmarks on this very cconv, with arguments, and returns what they print."""
    folder = tmp_path_factory.mktemp("benchmarks")
    shutil.copytree(FOLDER, folder / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if name != "CCONV_DATA"}
    environment["PYTHONPATH"] = str(Path(cconv.__file__).parents[1])

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *map(str, arguments)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize(
    "contestants",
    [("cconv", "NumPy"), ("cconv", "PyTorch", "PyTorch channels_last", "ONNX Runtime", "FMA loop")],
    ids=["numpy", "peers"],
)
def test_every_section_runs_and_is_reported(benchmarks, contestants, tmp_path):
    if "PyTorch" in contestants:
        missing = [name for name in ("torch", "onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
        if missing:
            pytest.skip(f"needs {', '.join(missing)}: pip install '.[bench]'")
    path = tmp_path / "results.json"
    printed = benchmarks("--smoke", "--threads", 2, "--contestants", *contestants, "--json", path)
    results = json.loads(path.read_text("utf-8"))
    assert results["machine"]["threads"] == 2
    for name, section in results["sections"].items():
        assert f"\n{name}: {section['title']}" in printed
        assert section["rows"] or (name, section["notes"]) == ("wheel", ["no wheel was given (--wheel)"])
        for values in section["rows"].values():
            assert values["cconv"] and all(value > 0 for value in values["cconv"])
    assert len(results["sections"]) >= 18
    assert "training step" in benchmarks("--markdown", path)


def test_results_are_drawn(benchmarks, tmp_path):
    pytest.importorskip("matplotlib")
    for section in ("step", "batches"):
        benchmarks("--smoke", "--contestants", "cconv", "--section", section, "--plots", tmp_path)
        assert (tmp_path / f"{section}.png").read_bytes().startswith(b"\x89PNG")


def test_targets_are_judged_by_ratios_within_a_repeat(benchmarks, tmp_path):
    rows = {
        "float32": {"cconv": [1.0, 2.0, 4.0], "PyTorch": [9.0, 18.0, 20.0], "PyTorch channels_last": [6.0, 8.0, 16.0]}
    }
    section = {"title": "", "unit": "s", "notes": [], "rows": rows}
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"machine": {"threads": 2}, "sections": {"step": section}}))
    table = benchmarks("--markdown", path)
    assert "| training step, float32, PyTorch NCHW: at least 8.00x | 9.00x | yes |" in table
    assert "| training step, float32, PyTorch's best: at least 5.00x | 4.00x | no |" in table
    assert "| training step, batch 100 | 2,000 | 18,000 | 8,000 |" in table
