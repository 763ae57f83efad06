"""Append one exported graph to another."""

from __future__ import annotations

from collections.abc import Mapping

import onnx


def append_graph(target: onnx.GraphProto, source: onnx.GraphProto, rename: Mapping[str, str], prefix: str) -> None:
    """Append nodes, initialisers and outputs of ``source`` to ``target``.

    Args:
        target: Changed in place.
        source: Its initialisers are inline.
        rename: New names of the source's inputs (tensors of the target) and outputs.
        prefix: Put before every other name, so that names of the two never meet.
    """

    def named(name: str) -> str:
        return rename.get(name, prefix + name) if name else ""

    for node in source.node:
        copy = target.node.add()
        copy.CopyFrom(node)
        copy.name = prefix + node.name
        copy.input[:] = [named(name) for name in node.input]
        copy.output[:] = [named(name) for name in node.output]
        del copy.metadata_props[:]
        copy.doc_string = ""
    for tensor in source.initializer:
        initialiser = target.initializer.add()
        initialiser.CopyFrom(tensor)
        initialiser.name = named(tensor.name)
    for value in source.output:
        output = target.output.add()
        output.CopyFrom(value)
        output.name = named(value.name)
        del output.metadata_props[:]
