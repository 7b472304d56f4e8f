"""A fixed draw of the random cases of draws.py, at every CPU level; differential.py makes as many as time allows."""

import os
import subprocess
import sys
from pathlib import Path

import draws
import numpy as np
import pytest

from cconv import functional, kernels

TESTS = Path(__file__).parent
CASES = 4  # of each kind, and of each unit of its weight


def test_the_fast_oracle_is_the_loops():
    draws.check_oracles()


@pytest.mark.parametrize("kind", draws.KINDS)
def test_cases(kind, cpu_level):
    for index in range(CASES * draws.KINDS[kind][1]):
        case = draws.run(kind, 0, index)
        assert not case.failures, f"{case.id} on {cpu_level}: {case.failures[0]} | {case.arguments}"


@pytest.mark.parametrize("change", ["another value", "not a number", "other bits on several threads"])
def test_a_wrong_result_is_a_failure(change, monkeypatch):
    right = functional.convolution

    def wrong(*arguments, **options):
        out = right(*arguments, **options)
        if out.size and (change[0] != "o" or kernels.cpu.threads_for(0) > 1):
            out.flat[-1] = np.nan if change[0] == "n" else out.flat[-1] * 2 + abs(out.flat[-1]) + 1
        return out

    monkeypatch.setattr(functional, "convolution", wrong)
    cases = [draws.run("conv", 0, index) for index in range(5)]
    assert all(case.failures for case in cases if "[0," not in case.arguments["x"])


def run(*arguments):
    command = [sys.executable, TESTS / "differential.py", "--level", kernels.LEVEL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": ""})


def test_the_command(tmp_path):
    done = run("--cases", "3", "--only", "joining,im2col", "--seed", "5", "--log", tmp_path / "log")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "joining: 3 cases, 0 failed" in done.stdout and "in all: 6 cases, 0 failed" in done.stdout
    assert (tmp_path / "log").read_text().split(":")[0] in ("joining", "im2col")
    done = run("--repeat", "joining:5:1")
    assert done.returncode == 0 and "x=" in done.stdout
    assert "no kinds of cases: nothing" in run("--only", "nothing").stderr
