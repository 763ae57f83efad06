"""The graph's normalisation in NumPy, for trying candidates before one is built into the graph."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scanner.inputs.preprocess import PreprocessSpec


def normalise(pixels: NDArray[np.uint8], spec: PreprocessSpec, layout: Literal["NCHW", "NHWC"]) -> NDArray[np.float32]:
    """``(pixel * scale - mean) / std`` of pixels ``(N, H, W, C)``, in the network's layout."""
    ordered = pixels[..., ::-1] if spec.channel_order == "BGR" and spec.channels == 3 else pixels
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    scaled = (ordered.astype(np.float32) * np.float32(spec.scale) - mean) / std
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2) if layout == "NCHW" else scaled)
