"""ONNX models: networks written as such, and read.

Needs the package onnx: ``pip install 'cconv[onnx]'``.
"""

from .exporting import export
from .loading import load

__all__ = ["export", "load"]
