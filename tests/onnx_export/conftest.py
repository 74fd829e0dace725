"""Leaves these tests out where the extra is not installed."""

import importlib.util

INSTALLED = all(importlib.util.find_spec(package) for package in ("onnx", "onnxruntime"))
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]
