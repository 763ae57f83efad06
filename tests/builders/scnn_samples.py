"""A small untrained network as a graph, and images for it."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from scanner.graph.bundle import GraphBundle
from scanner.models.architectures.scnn import SCNN


def scnn_bundle() -> GraphBundle:
    torch.manual_seed(0)
    model = SCNN(num_classes=4, image_size=12).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (torch.zeros(2, 1, 12, 12),),
            dynamo=True,
            opset_version=20,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    return GraphBundle.from_model_proto(program.model_proto)


def pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 12, 12, 1), dtype=np.uint8)
