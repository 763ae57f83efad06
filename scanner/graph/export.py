"""The profile's graph with its calibration built in, as one self-contained ONNX file."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import onnx
import torch

from detectors.calibration.head import CalibrationHead
from scanner.atomic import atomic_writer
from scanner.calibration_arrays import calibration_from_arrays
from scanner.errors import ProfileError
from scanner.graph.append import append_graph
from scanner.graph.bundle import OPSET, GraphBundle
from scanner.profile.content import Profile

COMBINED, P_VALUE = "combined_score", "p_value"


def export_scoring_graph(profile: Profile, output: Path) -> str:
    """Write ``pixels -> logits, scores, class_evidence, combined_score, p_value``.

    Args:
        profile: A fitted profile.
        output: File to write, atomically.

    Returns:
        SHA-256 of the file, hexadecimal.

    Raises:
        ProfileError: If the profile's graph is damaged, or too large for one ONNX file (2 GiB).
        OutputError: If it cannot be written.
    """
    if profile.posterior is not None:
        raise ProfileError(
            f"its p-values need {profile.posterior.samples} weight draws, which one ONNX graph does not hold",
            hint="Fit a profile without --bayesian to export it",
        )
    calibration = calibration_from_arrays(profile.calibration, profile.header.scores)
    bundle = GraphBundle(_parse(profile.graph), profile.weights.tobytes())
    proto = bundle.copy_proto()
    head = _export_head(CalibrationHead(calibration), len(profile.header.scores))
    names = [value.name for value in head.graph.output]
    append_graph(
        proto.graph,
        head.graph,
        {head.graph.input[0].name: "scores", names[0]: COMBINED, names[1]: P_VALUE},
        prefix="latentscan-calibration/",
    )
    _describe(proto, profile)
    model = GraphBundle.from_model_proto(proto, bundle.weights).to_model_proto(error=ProfileError)
    data = model.SerializeToString()
    with atomic_writer(output) as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def _parse(graph: bytes) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(graph)
    except Exception as error:  # protobuf raises its own classes
        raise ProfileError(f"the profile's graph is not a valid ONNX model ({type(error).__name__})") from None


def _export_head(head: CalibrationHead, num_scores: int) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            head.eval(),
            (torch.zeros(2, num_scores),),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


def _describe(proto: onnx.ModelProto, profile: Profile) -> None:
    """Metadata that lets a reader of the file find out where it came from."""
    for key, value in (
        ("latentscan.profile_digest", profile.digest),
        ("latentscan.model_sha256", profile.header.model.sha256),
        ("latentscan.calibration_size", str(profile.header.calibration.size)),
    ):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
