"""Merge the fitted densities onto the network's graph: pixels in, scores out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import cast

import onnx
import torch

from detectors.deep_features.detector import DeepFeatures
from detectors.deep_features.head import DescriptorHead, ScoringHead
from detectors.deep_features.scores import ScoreKind
from scanner.graph.append import append_graph
from scanner.graph.bundle import IR_VERSION, OPSET, GraphBundle
from scanner.graph.pool import Descriptor

PREFIX = "latentscan/"
SCORES, CLASS_EVIDENCE, LOGITS = "scores", "class_evidence", "logits"


def build_head(detector: DeepFeatures) -> ScoringHead:
    """The detector's densities as one module, in float64."""
    kinds = {
        key: tuple(cast(ScoreKind, s.kind) for s in detector.scores if s.descriptor == key)
        for key in detector.densities
    }
    return ScoringHead(
        [
            DescriptorHead(density, kinds[key], *detector.class_scales[key])
            for key, density in detector.densities.items()
        ]
    )


def merge_head(
    bundle: GraphBundle, head: ScoringHead, descriptors: Sequence[Descriptor], keep: Sequence[str] = ()
) -> GraphBundle:
    """Feed descriptors and logits of ``bundle`` into ``head``.

    Args:
        bundle: Graph with the descriptor outputs and ``logits``.
        head: Scoring head whose features are those descriptors, in order.
        descriptors: The descriptors.
        keep: Further outputs of ``bundle`` that stay outputs.

    Returns:
        A graph with the outputs ``logits``, those to keep, ``scores`` and ``class_evidence``.
    """
    scorer = _export(head, [d.dim for d in descriptors])
    inputs = [value.name for value in scorer.graph.input]
    feeds = [d.output for d in descriptors] + [LOGITS]
    rename = dict(zip(inputs, feeds, strict=True))
    rename |= {scorer.graph.output[0].name: SCORES, scorer.graph.output[1].name: CLASS_EVIDENCE}
    proto = bundle.copy_proto()
    kept = [value for value in proto.graph.output if value.name in (LOGITS, *keep)]
    copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
    del proto.graph.output[:]
    proto.graph.output.extend(copies)
    append_graph(proto.graph, scorer.graph, rename, PREFIX)
    proto.ir_version = IR_VERSION
    return GraphBundle.from_model_proto(proto, bundle.weights)


def _export(head: ScoringHead, dims: Sequence[int]) -> onnx.ModelProto:
    """Export the head in float32 with a dynamic batch dimension."""
    batch = torch.export.Dim("batch", min=1)
    example = ([torch.zeros(2, dim) for dim in dims], torch.zeros(2, head.num_classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            head.float().eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=([{0: batch} for _ in dims], {0: batch}),
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model
