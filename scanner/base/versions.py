"""Versions of the libraries that results depend on."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

SCAN_LIBRARIES = ("numpy", "onnxruntime-gpu", "onnxruntime", "pillow")
FIT_LIBRARIES = (*SCAN_LIBRARIES, "torch", "torchvision", "onnx", "onnxscript", "scipy", "scikit-learn")


def library_versions(names: Sequence[str] = SCAN_LIBRARIES) -> dict[str, str]:
    """Installed versions by name; libraries that are not installed are left out."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
