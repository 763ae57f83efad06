"""Bringing a graph to the opset of this tool. Runs in the child process."""

from __future__ import annotations

import onnx
import onnx.version_converter

from scanner.base.errors import ModelError
from scanner.graph.bundle import IR_VERSION, OPSET, GraphBundle, is_external
from scanner.graph.onnx_rules import REEXPORT
from scanner.models.onnx_walk import one_line


def at_opset(bundle: GraphBundle) -> tuple[GraphBundle, list[str]]:
    """The graph at this tool's opset. Whether it still computes the same has to be checked by running both.

    Args:
        bundle: Taken over and changed.

    Returns:
        The bundle, and a note if its opset was another one.

    Raises:
        ModelError: The opset cannot be converted, or the graph is not valid.
    """
    proto = bundle.proto
    version = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    others = [entry for entry in proto.opset_import if entry.domain not in ("", "ai.onnx")]
    notes = []
    if version < OPSET:
        try:
            proto = onnx.version_converter.convert_version(proto, OPSET)
        except Exception as error:  # the converter raises plain RuntimeErrors
            raise ModelError(
                f"opset {version} cannot be converted to {OPSET} ({one_line(error)})", hint=REEXPORT
            ) from error
        notes = [f"converted from opset {version} to {OPSET}"]
    elif version > OPSET:
        # The newer versions of the operators add types and attributes; where none is used, the old ones are the same.
        notes = [f"converted from opset {version} to {OPSET}"]
    del proto.opset_import[:]
    proto.opset_import.extend([onnx.helper.make_opsetid("", OPSET), *others])
    proto.ir_version = IR_VERSION
    converted = GraphBundle(proto, bundle.weights)
    try:
        onnx.checker.check_model(_without_external(converted), full_check=False)
    except (onnx.checker.ValidationError, RuntimeError) as error:
        raise ModelError(f"the graph is not valid ONNX of opset {OPSET} ({one_line(error)})", hint=REEXPORT) from error
    return converted, notes


def _without_external(bundle: GraphBundle) -> onnx.ModelProto:
    """For the checker, which would look for the weights in a file: large initialisers as inputs."""
    proto = bundle.copy_proto()
    kept = [tensor for tensor in proto.graph.initializer if not is_external(tensor)]
    for tensor in proto.graph.initializer:
        if is_external(tensor):
            proto.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    return proto
