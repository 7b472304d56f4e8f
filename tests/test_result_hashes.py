"""The first of the stored hashes, by the command that compares all of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cconv
from cconv import kernels

SCRIPT = Path(__file__).with_name("result_hashes.py")


def run(*arguments):
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONPATH": ""})


def test_no_bit_of_any_result_has_moved():
    done = run("--level", kernels.LEVEL, "--cases", "25")
    assert done.returncode == 0, done.stdout + done.stderr
    if done.stdout.startswith("nothing compared"):
        pytest.skip(done.stdout.strip())
    assert " cases compared, 0 have other bits" in done.stdout


def test_another_bit_is_found(tmp_path):
    stored = json.loads(SCRIPT.with_suffix(".json").read_text("utf-8"))
    for kinds in stored["hashes"].values():
        kinds["joining"] = "000000" + kinds["joining"][6:]
    for path in SCRIPT.parent.glob("*.py"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "result_hashes.json").write_text(json.dumps(stored), "utf-8")
    command = [
        sys.executable,
        tmp_path / "result_hashes.py",
        "--level",
        kernels.LEVEL,
        "--cases",
        "2",
        "--only",
        "joining",
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(cconv.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    if done.stdout.startswith("nothing compared"):
        pytest.skip(done.stdout.strip())
    assert done.returncode == 1 and f"other bits on {kernels.LEVEL}: joining 0" in done.stdout, (
        done.stdout + done.stderr
    )
