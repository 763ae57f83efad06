"""The profile's graph with its calibration built in, as one self-contained ONNX file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx

from scanner.base.atomic import atomic_writer
from scanner.base.errors import ProfileError
from scanner.graph.bundle import GraphBundle
from scanner.graph.head import UNITS
from scanner.profile.calibration_arrays import calibration_from_arrays
from scanner.profile.calibration_nodes import append_calibration
from scanner.profile.content import Profile


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
    # Of use to a whole batch alone.
    kept = [value for value in proto.graph.output if value.name != UNITS]
    copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
    del proto.graph.output[:]
    proto.graph.output.extend(copies)
    append_calibration(proto.graph, "scores", calibration, beside=("logits", "class_evidence"))
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


def _describe(proto: onnx.ModelProto, profile: Profile) -> None:
    """Metadata that lets a reader of the file find out where it came from."""
    for key, value in (
        ("latentscan.profile_digest", profile.digest),
        ("latentscan.model_sha256", profile.header.model.sha256),
        ("latentscan.calibration_size", str(profile.header.calibration.size)),
    ):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
