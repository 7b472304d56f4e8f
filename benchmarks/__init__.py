"""Measures cconv beside NumPy, PyTorch, TensorFlow, ONNX Runtime and OpenVINO: ``python -m benchmarks``.

`arena` runs each contestant in a process of its own and lets them take turns; `contestants` says how each one does a
piece of work, `sections` which pieces there are, `inputs` on what. `report` turns results into tables, `targets` says
what they should show, `plots` draws them.
"""
