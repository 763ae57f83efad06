"""Giving every weight of a graph the same form: an initialiser. Runs in the child process.

Some exporters write weights as ``Constant`` nodes, and some hand a shared one on through ``Identity``.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, TensorProto

from scanner.graph.bundle import GraphBundle
from scanner.models.onnx_walk import all_nodes

_OWN_DOMAINS = ("", "ai.onnx")


def weights_as_initialisers(bundle: GraphBundle) -> GraphBundle:
    """Turn float32 constants of two or more axes into initialisers, and use initialisers under their own names.

    Args:
        bundle: Taken over and changed.
    """
    proto = bundle.proto
    _absorb_constants(proto)
    _skip_identities(proto)
    return GraphBundle.from_model_proto(proto, bundle.weights, in_place=True)


def _absorb_constants(proto: ModelProto) -> None:
    kept = []
    for node in proto.graph.node:
        if (value := _weight(node)) is None:
            kept.append(node)
        else:
            tensor = proto.graph.initializer.add()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
    _replace_nodes(proto, kept)


def _weight(node: NodeProto) -> TensorProto | None:
    if node.op_type != "Constant" or node.domain not in _OWN_DOMAINS or len(node.output) != 1:
        return None
    values: list[TensorProto] = [attribute.t for attribute in node.attribute if attribute.name == "value"]
    if len(values) != 1 or values[0].data_type != TensorProto.FLOAT or len(values[0].dims) < 2:
        return None
    return values[0]


def _skip_identities(proto: ModelProto) -> None:
    """Only in the main graph: what a graph within it defines is its own affair."""
    initialisers = {tensor.name for tensor in proto.graph.initializer}
    outputs = {output.name for output in proto.graph.output}
    sources: dict[str, str] = {}
    kept = []
    for node in proto.graph.node:
        one_to_one = len(node.input) == len(node.output) == 1 and node.op_type == "Identity"
        if one_to_one and node.domain in _OWN_DOMAINS and node.output[0] not in outputs:
            source = sources.get(node.input[0], node.input[0])
            if source in initialisers:
                sources[node.output[0]] = source
                continue
        kept.append(node)
    _replace_nodes(proto, kept)
    for node in all_nodes(proto.graph):
        for position, name in enumerate(node.input):
            if name in sources:
                node.input[position] = sources[name]


def _replace_nodes(proto: ModelProto, kept: list[NodeProto]) -> None:
    before = len(proto.graph.node)
    if len(kept) < before:
        proto.graph.node.extend(kept)
        del proto.graph.node[:before]
