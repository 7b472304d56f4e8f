"""Type checkers find nothing in a script of a user's, and nothing public is without annotations."""

import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cconv

SCRIPT = Path(__file__).with_name("typed_user_script.py")
PARENT = Path(cconv.__file__).parents[1]
PACKAGES = (
    "augment averaging callbacks data datasets functional functional.reference functions gradient history "
    "initializers layers learning_rate_finder metrics networks onnx optimizers plotting report schedules serialization "
    "torch trainer"
).split()


def run(*command, **variables):
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_typed_script_runs(tmp_path):
    result = run(SCRIPT, tmp_path, PYTHONPATH=str(PARENT))
    assert result.returncode == 0, result.stderr


def test_mypy_finds_nothing_in_a_script_by_its_strict_rules(tmp_path):
    pytest.importorskip("mypy")
    # Silent as of an installed package, which no other file is: errors in cconv itself are not a user's.
    variables = {} if "site-packages" in PARENT.parts else {"MYPYPATH": str(PARENT)}
    options = ("--strict", "--config-file=", "--follow-imports=silent", f"--cache-dir={tmp_path}")
    result = run("-m", "mypy", *options, SCRIPT, **variables)
    assert result.returncode == 0, result.stdout + result.stderr


def test_basedpyright_finds_nothing_in_a_script(tmp_path):
    pytest.importorskip("basedpyright")
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"include": [str(SCRIPT)], "extraPaths": [str(PARENT)]}))
    result = run("-m", "basedpyright", "--level", "error", "--project", tmp_path, "--pythonpath", sys.executable)
    assert result.returncode == 0, result.stdout + result.stderr


def public():
    """The names that people import, and the functions and classes behind them."""
    for name in cconv.__all__:
        yield f"cconv.{name}", getattr(cconv, name)
    for package in PACKAGES:
        module = importlib.import_module(f"cconv.{package}")
        for name in module.__all__:
            yield f"cconv.{package}.{name}", getattr(module, name)


def functions(title, thing):
    """Yield the functions of which a user reads the signature: itself, or the public methods of a class."""
    if inspect.isfunction(thing):
        yield title, thing
    elif inspect.isclass(thing):
        for base in thing.__mro__:
            if not base.__module__.startswith("cconv"):
                continue
            for name, member in vars(base).items():
                member = getattr(member, "__func__", getattr(member, "fget", getattr(member, "func", member)))
                if inspect.isfunction(member) and (not name.startswith("_") or name in ("__init__", "__call__")):
                    yield f"{title}.{name}", member


def test_everything_public_says_its_types():
    bare = set()
    for title, thing in public():
        for name, function in functions(title, thing):
            signature = inspect.signature(function)
            own = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
            if signature.return_annotation is inspect.Signature.empty or any(
                p.annotation is inspect.Parameter.empty for p in own
            ):
                bare.add(name)
    assert not bare
