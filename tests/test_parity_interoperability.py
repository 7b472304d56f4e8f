"""The page of what goes in and comes out is what its command prints."""

import os
import subprocess
import sys
from pathlib import Path

import parity

import cconv

for name, title in (("onnx", "ONNX"), ("sklearn", "scikit-learn"), ("torch", "PyTorch")):
    parity.require(name, title)
DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_is_what_its_command_prints():
    environment = os.environ | {"PYTHONPATH": str(Path(cconv.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-W", "error::UserWarning", str(DOCS / "interoperability.py")]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (DOCS / "interoperability.md").read_text(encoding="utf-8")
