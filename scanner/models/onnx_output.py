"""Bringing a classifier's graph to one output, the logits: (N, classes), float32, before any softmax.

Runs in the child process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx

from scanner.base.errors import ModelError, UsageError
from scanner.graph.onnx_rules import CHOOSE_OUTPUT
from scanner.graph.shapes import BATCH, TensorType, declared_type
from scanner.models.onnx_signature import FLOATS, drop_unused, element_name, unused
from scanner.models.onnx_walk import printable

_FINAL: Final = ("Softmax", "LogSoftmax")
_NAMES: Final = ("logits", "scores", "output", "probabilities", "probs")


def select_logits(graph: onnx.GraphProto, wanted: str | None = None, num_classes: int | None = None) -> list[str]:
    """Leave the logits as the only output.

    Of several outputs, the one that is asked for; else the only one of shape (N, classes) once probabilities of another
    are left out, or the one of as many classes as the user says, or the one that is called logits.

    Args:
        graph: Changed.
        wanted: Name of the output.
        num_classes: As the user says.

    Returns:
        Notes on what was left out and added.

    Raises:
        ModelError: No output, or several, could be the logits.
        UsageError: There is no such output.
    """
    types = {value.name: declared_type(value) for value in graph.output}
    producers = {output: node for node in graph.node for output in node.output}
    chosen = _chosen(types, producers, wanted, num_classes)
    notes = [f"ignored output {printable(name)!r}" for name in types if name != chosen][:4]
    logits, skipped = _before_probabilities(chosen, producers)
    if skipped:
        notes.append(f"took the input of the final {skipped} for the logits")
    if logits not in producers:
        raise ModelError("the output is not computed from the image")
    shape = types[chosen].shape
    if shape is not None and len(shape) == 4:
        logits = _added(graph, "Flatten", [logits], f"{logits}_flat")
        notes.append("flattened an output of shape (N, classes, 1, 1)")
    element = types[chosen].element
    if element in FLOATS and element != onnx.TensorProto.FLOAT:
        logits = _added(graph, "Cast", [logits], f"{logits}_float32", to=onnx.TensorProto.FLOAT)
        notes.append(f"read logits of element type {element_name(element)} as float32")
    if shape is not None and len(shape) in (2, 4) and shape[1] == 1:
        logits = _two_classes(graph, logits)
        notes.append("read a single output as the logit of the second of two classes")
    output = onnx.helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, [BATCH, None])
    del graph.output[:]
    graph.output.append(output)
    drop_unused(graph)
    return notes


def _chosen(
    types: Mapping[str, TensorType],
    producers: Mapping[str, onnx.NodeProto],
    wanted: str | None,
    num_classes: int | None,
) -> str:
    if wanted is not None:
        if wanted in types:
            return wanted
        shown = ", ".join(printable(name, 60) for name in list(types)[:6])
        raise UsageError(
            f"the model has no output {printable(wanted, 60)!r}", where="--output-name", hint=f"It has {shown}"
        )
    fitting = [name for name, kind in types.items() if _is_flat(kind)]
    fitting = fitting or [name for name, kind in types.items() if kind.shape is None]
    if len(fitting) > 1:
        sources = {name: _before_probabilities(name, producers)[0] for name in fitting}
        plain = [name for name in fitting if sources[name] == name]
        others = [name for name in fitting if name not in plain and sources[name] not in plain]
        fitting = plain + others if plain else fitting[:1] if len(set(sources.values())) == 1 else fitting
    if len(fitting) > 1 and num_classes is not None:
        fitting = [name for name in fitting if (types[name].shape or (None, None))[1] == num_classes] or fitting
    if len(fitting) > 1:
        called = [name for known in _NAMES for name in fitting if name.lower() == known]
        fitting = called[:1] or fitting
    if len(fitting) == 1:
        return fitting[0]
    shapes = ", ".join(f"'{printable(name, 60)}' of shape {kind.shape}" for name, kind in list(types.items())[:6])
    hint = CHOOSE_OUTPUT if fitting else "Export a classifier with one output of logits"
    raise ModelError(f"the model has no single output of shape (N, classes), but {shapes[:300]}", hint=hint)


def _is_flat(kind: TensorType) -> bool:
    """(N, classes), or (N, classes, 1, 1)."""
    if kind.shape is None or len(kind.shape) not in (2, 4):
        return False
    return len(kind.shape) == 2 or tuple(kind.shape[2:]) == (1, 1)


def _before_probabilities(name: str, producers: Mapping[str, onnx.NodeProto]) -> tuple[str, str | None]:
    """The tensor that a final softmax or sigmoid reads, and the operator's name."""
    while (node := producers.get(name)) is not None and node.op_type in (*_FINAL, "Identity", "Sigmoid", "Cast"):
        if node.op_type in _FINAL or node.op_type == "Sigmoid":
            return node.input[0], node.op_type
        if node.op_type == "Cast":
            inner = producers.get(node.input[0])
            if inner is None or inner.op_type not in _FINAL:
                break
        name = node.input[0]
    return name, None


def _two_classes(graph: onnx.GraphProto, logit: str) -> str:
    """0 and the logit: a softmax of the two is the sigmoid of the one."""
    zero = unused(graph, f"{logit}_zero")
    graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((), np.float32), zero))
    other = _added(graph, "Mul", [logit, zero], f"{logit}_other")
    return _added(graph, "Concat", [other, logit], f"{logit}_both", axis=1)


def _added(graph: onnx.GraphProto, operator: str, read: list[str], name: str, **attributes: Any) -> str:  # noqa: ANN401
    made = unused(graph, name)
    graph.node.append(onnx.helper.make_node(operator, read, [made], name=f"{made}/node", **attributes))
    return made
