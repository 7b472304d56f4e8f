"""Arrays between pages that cannot be touched: the tool finds what it is for; a short draw of cases finds nothing."""

import subprocess
import sys
from pathlib import Path

import guard_pages
import pytest

import cconv

TESTS = Path(__file__).parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pages are protected as Linux does it")

PROGRAM = """
import sys
import differential, guard_pages
import numpy as np

draws = differential.prepare(sys.argv[1])
kernels, guard = draws.kernels, guard_pages.Guard()
guard_pages.install(draws, guard)

def given(*shape):
    return guard.place(np.ones(shape, np.float32))

def empty(*shape):
    return kernels.memory.empty(shape, np.float32)

out = empty(1001)
kernels.elementwise.activate('relu', given(1001), out, 0, 0, 1)
assert (out == 1).all()
print("begun", flush=True)
"""

# Kernels trust their arguments: these tell of more than there is.
FAULTS = {
    "a write beyond the end": "kernels.elementwise.activate('relu', given(1001), empty(1000), 0, 0, 1)",
    "a read beyond the end": "x = given(1001)\n"
    "kernels.elementwise.activate_backward('relu', given(1000), x, empty(1001), 0, 0, 1)",
    "a read before the beginning": "guard.at_end = False\n"
    "kernels.resample.crop(given(1, 1, 4, 4), empty(1, 1, 4, 4), -1, 0, 1)",
    "a write into an input": "x = given(1001)\nkernels.elementwise.activate('relu', x, x, 0, 0, 1)",
}


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=300, cwd=TESTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_is_a_fault(fault, cpu_level, without_sanitizer):
    done = run("-c", PROGRAM + FAULTS[fault], cpu_level)
    assert done.stdout == "begun\n" and done.returncode < 0, done.stderr
    assert run("-c", PROGRAM, cpu_level).returncode == 0


WIDE = """
guard.at_end = False
out = empty(1, 16, 16, 17)
plan = kernels.conv.Plan((1, 16, 3), (16, 1, 1, 3), (16, 16, 17), (1, 1, 0, 12, 1, 2), 1, 4)
kernels.conv.channels_output(plan, given(1, 1, 16, 3), given(16, 1, 1, 3), None, out, 1)
assert (out == [sum(0 <= z - 12 + 2 * j < 3 for j in range(3)) for z in range(17)]).all()
"""


def test_a_split_row_that_is_wider_than_its_image_reads_nothing_before_it(cpu_level):
    done = run("-c", PROGRAM + WIDE, cpu_level)
    assert done.returncode == 0, done.stderr


CHILD = f"""
import sys
sys.path[:0] = {str(TESTS)!r}, {str(Path(cconv.__file__).parents[1])!r}
import ctypes
import differential, guard_pages

def joining(case):
    if case.id.endswith("1"):
        case.stage("string_at")
        ctypes.string_at(0)

differential.prepare(None).KINDS["joining"] = joining, 1
sys.exit(guard_pages.main())
"""


def test_a_fault_is_a_failed_case_and_the_next_case_runs(tmp_path, monkeypatch, capsys, without_sanitizer):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    monkeypatch.setattr(guard_pages, "__file__", str(script))
    monkeypatch.setattr(sys, "argv", ["guard_pages.py", "--only", "joining", "--cases", "13", "--seed", "4"])
    assert guard_pages.main() == 1
    out = capsys.readouterr().out
    assert "joining:4:1 | SIGSEGV in string_at" in out and "joining:4:11 | SIGSEGV" in out
    assert "joining: 13 cases, 2 failed" in out


def test_cases(cpu_level):
    done = run(TESTS / "guard_pages.py", "--level", cpu_level, "--cases", "5")
    assert done.returncode == 0, done.stdout + done.stderr
