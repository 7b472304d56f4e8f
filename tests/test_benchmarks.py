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

    def run(*arguments, code=None, status=(0,)):
        command = [sys.executable, *(["-m", "benchmarks", *map(str, arguments)] if code is None else ["-c", code])]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode in status, done.stdout + done.stderr
        return done.stdout + done.stderr * (status != (0,))

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


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """A folder with another cconv: this one, of another version, without two of its classes."""
    folder = tmp_path_factory.mktemp("older")
    package = Path(cconv.__file__).parent
    shutil.copytree(package, folder / "cconv", ignore=shutil.ignore_patterns("__pycache__", "*.pyx", "*.h"))
    (folder / "cconv" / "_version.py").write_text('__version__ = "0.0.1"\n')
    with open(folder / "cconv" / "__init__.py", "a", encoding="utf-8") as file:
        file.write("del DeepConvNet, Lion\n")
    return folder


def test_another_cconv_takes_part_wherever_cconv_does(benchmarks, older, tmp_path):
    path = tmp_path / "results.json"
    sections = (
        "step",
        "layer-by-layer",
        "deep-step",
        "forward",
        "convolution-kinds",
        "optimizers",
        "memory",
        "imports",
    )
    options = ("--contestants", "cconv", "--threads", 2, "--repeat", 2, "--json", path, "--section", *sections)
    printed = benchmarks("--smoke", *options, "--against", older, status=(0, 1))
    results = json.loads(path.read_text("utf-8"))
    assert results["machine"]["cconv before"] == f"0.0.1 {older / 'cconv' / '__init__.py'}"
    assert results["absent"].keys() == {"cconv before, deep_step"}
    assert "no attribute 'DeepConvNet'" in results["absent"]["cconv before, deep_step"]
    changes = printed.partition("cconv before / cconv, of 2 runs; below 1 it is slower now:\n")[2].splitlines()
    for name in sections:
        section = results["sections"][name]
        assert section["rows"] or name == "memory"
        for row, values in section["rows"].items():
            there = name != "deep-step" and row != "Lion"
            assert list(values) == ["cconv", "cconv before"][: 1 + there], (name, row)
            lines = [line for line in changes if line.startswith(f"  {name} ") and f" {row} " in line]
            assert len(lines) == (there and section["unit"] == "s"), (name, row)


@pytest.mark.skipif(os.name == "nt", reason="the executable is a shell script")
def test_another_cconv_may_be_that_of_an_executables_environment(benchmarks, older, tmp_path):
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{older}" exec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    printed = benchmarks("--smoke", "--section", "step", "--contestants", "cconv", "--against", path, status=(0, 1))
    assert f"cconv before: 0.0.1 {older / 'cconv' / '__init__.py'}\n" in printed
    assert "cconv before / cconv, of 1 run" in printed


CHANGES = """
from benchmarks import report
from benchmarks.results import Results

def run(**rows):
    rows = {name: {"cconv": [1.0, 2.0, 4.0], "cconv before": before} for name, before in rows.items()}
    return Results({"sections": {"step": {"unit": "s", "rows": rows}, "memory": {"unit": "B", "rows": rows}}})

good = {"faster": [2.0, 4.0, 8.0], "once": [1.0, 2.0, 4.0]}
bad = {"faster": [2.0, 4.0, 8.0], "once": [0.5, 1.0, 2.0]}
print(report.print_changes([run(**good), run(**bad)]), report.print_changes([run(**bad), run(**bad)]))
"""


def test_what_is_slower_in_every_run_is_slower(benchmarks):
    first, second = benchmarks(code=CHANGES).split("cconv before / cconv, of 2 runs")[1:]
    assert "once" in first and "1.00 0.50" in first and "slower in every run: 0" in first
    assert "0.50 0.50  slower" in second and "slower in every run: 1" in second
    assert "2.00 2.00\n" in second and second.splitlines()[-1] == "False True"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--against", "missing"),
            "--against: expected a Python executable or the folder of a built cconv, got missing",
        ),
        (("--against", "."), r"--against: the cconv of . must be imported from there, got that of "),
        (("--against", ".", "--contestants", "NumPy"), "argument --against: needs the contestant cconv"),
        (("--repeat", 0), "argument --repeat: must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(benchmarks, arguments, words):
    assert words in benchmarks("--smoke", "--section", "step", *arguments, status=(1, 2))
