"""The constants that were fitted to a machine: each names what measures it, and all of that runs."""

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from cconv import kernels

ROOT = Path(__file__).parents[1]
# Loaded by its path: with the source tree on sys.path, an unbuilt cconv would hide the installed one.
SPEC = importlib.util.spec_from_file_location("tune", ROOT / "benchmarks" / "tune.py")
tune = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tune)

SOURCES = sorted(path for path in tune.TREE.rglob("*") if path.suffix in (".py", ".pyx", ".pxd", ".h"))
GROUPS = {**tune.MEASUREMENTS, **tune.REBUILDS}
CONSTANTS = [(*constant, name) for name, group in GROUPS.items() for constant in group.constants]
ASSIGNED = re.compile(r"^\s*(?:cdef \w+ |#define )?([A-Z][A-Z_]+)(?: = | (?=[0-9(]))")


def named_in(text):
    """The names that comments give as the measurements of a fit."""
    return {name for names in re.findall(r"benchmarks\.tune --only ([a-z -]+)`", text) for name in names.split()}


def marked_as_fits(text):
    """The constants between a comment that says so and the next empty line."""
    found, inside = [], False
    for line in text.splitlines():
        inside = (inside and bool(line.strip())) or bool(re.search(r"(?:#|/\*) (?:A fit|Fits)\b", line))
        if inside and (match := ASSIGNED.match(line)):
            found.append(match[1])
    return found


@pytest.mark.parametrize(("file", "name"), [constant[:2] for constant in CONSTANTS])
def test_a_constant_is_printed_with_its_value(file, name, capsys):
    tune.print_constant(file, name)
    printed = capsys.readouterr().out.split(maxsplit=2)
    assert printed[:2] == [file, name]
    value = tune.source_value(file, name)
    assert printed[2].strip() == tune.shown(value)
    if file.endswith(".py"):
        assert getattr(importlib.import_module("cconv." + file[:-3].replace("/", ".")), name) == value


def test_the_value_is_that_which_is_compiled():
    assert tune.source_value(tune.PLAN, "GRADIENT_BYTES") == kernels.conv.GRADIENT_BYTES


def test_a_constant_that_is_not_there_is_an_error():
    with pytest.raises(LookupError, match="one line that sets NONE, found 0"):
        tune.source_value(tune.PLAN, "NONE")


def test_each_constant_has_one_measurement():
    places = [constant[:2] for constant in CONSTANTS]
    assert len(set(places)) == len(places)
    assert not set(tune.MEASUREMENTS) & set(tune.REBUILDS)


def test_comments_name_the_measurements_of_their_files_constants():
    found = {}
    for path in SOURCES:
        for name in named_in(path.read_text("utf-8")):
            found.setdefault(name, set()).add(path.relative_to(tune.TREE).as_posix())
    expected = {}
    for file, _, name in CONSTANTS:
        expected.setdefault(name, set()).add(file)
    expected["tile-cost"] = {"kernels/vector/register_tile.pxd"}  # numbers without names
    assert found == expected


def test_what_is_marked_as_a_fit_is_known_and_nothing_else():
    found = {
        (path.relative_to(tune.TREE).as_posix(), name)
        for path in SOURCES
        for name in marked_as_fits(path.read_text("utf-8"))
    }
    assert found == {constant[:2] for constant in CONSTANTS}


def test_each_cost_of_the_python_code_is_a_fit():
    known = {constant[:2] for constant in CONSTANTS}
    for path in SOURCES:
        if path.suffix == ".py":
            for node in ast.parse(path.read_text("utf-8")).body:
                for target in getattr(node, "targets", []):
                    if isinstance(target, ast.Name) and re.fullmatch(r"([A-Z]+_)?COST", target.id):
                        assert (path.relative_to(tune.TREE).as_posix(), target.id) in known


@pytest.mark.parametrize("name", tune.MEASUREMENTS)
def test_a_measurement_finds_all_its_constants(name, monkeypatch, capsys):
    monkeypatch.setattr(tune, "LEAST", 1)
    tune.main(["--only", name, "--seconds", "0"])
    lines = capsys.readouterr().out.splitlines()
    found = [line.split()[:2] for line in lines if " measured " in line]
    assert found == [[file, constant] for file, constant, group in CONSTANTS if group == name]


def test_what_needs_two_builds_is_listed(capsys):
    tune.main(["--only", *tune.REBUILDS])
    printed = capsys.readouterr().out
    sources = (ROOT / "benchmarks" / "sections").glob("*.py")
    known = {
        name.replace("_", "-")
        for path in sources
        for name in re.findall(r"(?m)^def (\w+)\(bench\)", path.read_text("utf-8"))
    }
    for name, group in tune.REBUILDS.items():
        assert f"{name}: --section {group.sections}" in printed
        assert set(group.sections.split()) <= known


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit):
        tune.main(["--only", "nothing"])
    assert "invalid choice: 'nothing'" in capsys.readouterr().err


def test_limits_are_where_the_fastest_changes(monkeypatch):
    monkeypatch.setattr(tune, "medians", lambda *times: list(times))

    def falls_behind(size):
        return size, 5, 6

    def catches_up(size):
        return 5, size, size + 1

    sizes = (2, 4, 6, 8)
    assert tune.highest(falls_behind, sizes) == 4
    assert tune.lowest(catches_up, sizes) == 6
    assert tune.highest(falls_behind, sizes[2:]) == "below 6"
    assert tune.lowest(catches_up, sizes[:2]) == "above 4"
    assert tune.highest(falls_behind, sizes[:2]) == "at least 4"
    assert tune.lowest(catches_up, sizes[2:]) == "at most 6"
    assert tune.break_even(lambda fraction: 10 + 100 * fraction, 60) == 50


def test_costs_come_back_from_the_times_they_make():
    features = np.random.default_rng(0).uniform(1, 9, (8, 3))
    np.testing.assert_allclose(tune.solved(features, features @ [2.0, 0.5, 7.0]), [2.0, 0.5, 7.0])


def test_shares_say_what_each_constant_adds():
    before = tune.algorithms.TRANSPOSING
    plan = tune.Case(1, 3, 8, 4, 3).plan
    share, rest = tune.shares(["TRANSPOSING"], tune.algorithms.channel_cost, plan)
    assert share * before + rest == tune.algorithms.channel_cost(plan)
    assert tune.algorithms.TRANSPOSING == before
