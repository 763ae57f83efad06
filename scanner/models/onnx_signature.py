"""Bringing a classifier's graph to one image input and one output of logits. Runs in the child process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import onnx

from scanner.base.errors import ModelError, UsageError
from scanner.graph.bundle import is_external
from scanner.graph.cut import consumed
from scanner.graph.onnx_rules import REEXPORT
from scanner.graph.shapes import BATCH, Dimension, declared_type
from scanner.models.onnx_walk import all_nodes, printable, subgraphs

_CHANNELS = (1, 3)
FLOATS = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
)


def image_input(
    graph: onnx.GraphProto, input_size: tuple[int, int] | None
) -> tuple[onnx.ValueInfoProto, Literal["NCHW", "NHWC"], tuple[int, int, int], int | None]:
    """Leave one input, the image, as float32 with a fixed height and width.

    A network of another floating-point type gets its image by a cast.

    Returns:
        The input, its layout, its (C, H, W), and the batch size if the graph fixes it.

    Raises:
        ModelError: The graph does not take one image of 1 or 3 channels, of a floating-point type.
        UsageError: The size is needed, or contradicts the graph.
    """
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        raise ModelError(f"the model has {len(inputs)} inputs; an image classifier has one")
    image = inputs[0]
    kind = declared_type(image)
    if kind.shape is None or len(kind.shape) != 4:
        raise ModelError(f"the input is not an image (N, C, H, W) or (N, H, W, C): {kind.shape}")
    if kind.element not in FLOATS:
        raise ModelError(
            f"the input has element type {element_name(kind.element)}; floating-point types are supported",
            hint=REEXPORT,
        )
    layout: Literal["NCHW", "NHWC"] = "NCHW" if kind.shape[1] in _CHANNELS else "NHWC"
    axes = (1, 2, 3) if layout == "NCHW" else (3, 1, 2)
    channels, *size = (kind.shape[axis] for axis in axes)
    if channels not in _CHANNELS or not isinstance(channels, int):
        raise ModelError(f"the input {kind.shape} has neither 1 nor 3 channels where images have them")
    height, width = _fixed_size(size, input_size)
    for axis, value in zip(axes, (channels, height, width), strict=True):
        image.type.tensor_type.shape.dim[axis].dim_value = value
    batch = kind.shape[0]
    if kind.element != onnx.TensorProto.FLOAT:
        _cast_from_float(graph, image, kind.element)
    del graph.input[:]  # older files list their initialisers as inputs, too
    graph.input.append(image)
    return graph.input[0], layout, (channels, height, width), batch if isinstance(batch, int) else None


def _cast_from_float(graph: onnx.GraphProto, image: onnx.ValueInfoProto, element: int) -> None:
    """Make the input float32, and what read it read a cast of it."""
    own = unused(graph, f"{image.name}_cast")
    rename(graph, {image.name: own})
    image.name, inner = unused(graph, f"{own}_float32"), image.name
    image.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    graph.node.insert(0, onnx.helper.make_node("Cast", [image.name], [inner], name=f"{inner}/node", to=element))


def unused(graph: onnx.GraphProto, name: str) -> str:
    """The name, with underscores until nothing in the graph has it."""
    taken = {tensor for node in all_nodes(graph) for tensor in (*node.input, *node.output)}
    taken |= {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    while name in taken:
        name += "_"
    return name


def element_name(element: int) -> str:
    """An element type as a word."""
    return str(onnx.TensorProto.DataType.Name(element)).lower()


def _fixed_size(declared: Iterable[Dimension], wanted: tuple[int, int] | None) -> tuple[int, int]:
    fixed = [value if isinstance(value, int) and value > 0 else None for value in declared]
    if wanted is None:
        if fixed[0] is None or fixed[1] is None:
            raise UsageError(
                "the model leaves the size of its images open", where="--input-size", hint="State it as HxW"
            )
        return fixed[0], fixed[1]
    if any(value not in (None, other) for value, other in zip(fixed, wanted, strict=True)):
        raise UsageError(f"the model takes images of {fixed[0]}x{fixed[1]} pixels", where="--input-size")
    return wanted


def select_logits(graph: onnx.GraphProto) -> list[str]:
    """Leave the logits as the only output: of rank 2, float32, and before a final softmax.

    Returns:
        Notes on what was left out.

    Raises:
        ModelError: No output, or several, could be the logits.
    """
    types = {value.name: declared_type(value) for value in graph.output}
    ranks = {name: None if kind.shape is None else len(kind.shape) for name, kind in types.items()}
    fitting = [name for name, rank in ranks.items() if rank == 2] or [n for n, rank in ranks.items() if rank is None]
    if len(fitting) != 1:
        shapes = ", ".join(f"{printable(name)} {kind.shape}" for name, kind in list(types.items())[:4])
        raise ModelError(f"the model has no single output of shape (N, classes), but {shapes[:200]}")
    notes = [f"ignored output {printable(name)!r}" for name in types if name != fitting[0]][:4]
    logits, skipped = fitting[0], None
    producers = {output: node for node in graph.node for output in node.output}
    while (node := producers.get(logits)) is not None and node.op_type in ("Softmax", "LogSoftmax", "Identity"):
        skipped = node.op_type if node.op_type != "Identity" else skipped
        logits = node.input[0]
        if node.op_type != "Identity":
            break
    if skipped:
        notes.append(f"took the input of the final {skipped} for the logits")
    if logits not in producers:
        raise ModelError("the output is not computed from the image")
    element = types[fitting[0]].element
    if element in FLOATS and element != onnx.TensorProto.FLOAT:
        name = unused(graph, f"{logits}_float32")
        graph.node.append(
            onnx.helper.make_node("Cast", [logits], [name], name=f"{name}/node", to=onnx.TensorProto.FLOAT)
        )
        notes.append(f"read logits of element type {element_name(element)} as float32")
        logits = name
    output = onnx.helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, [BATCH, None])
    del graph.output[:]
    graph.output.append(output)
    _drop_unused(graph)
    return notes


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove the nodes and initialisers that the output does not need, and declared shapes, to be inferred anew."""
    needed = {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if any(name in needed for name in node.output):
            needed.update(consumed(node))
            kept.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:], graph.value_info[:], graph.quantization_annotation[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)


def rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Rename tensors; those that already bear a new name make way for it."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    away = {new: f"{new}_of_the_file" for new in names.values() if new in taken and new not in names}
    table = {**away, **names}

    def apply(part: onnx.GraphProto) -> None:
        for value in (*part.input, *part.output, *part.value_info, *part.initializer):
            value.name = table.get(value.name, value.name)
        for node in part.node:
            node.input[:] = [table.get(name, name) for name in node.input]
            node.output[:] = [table.get(name, name) for name in node.output]
            for body in subgraphs(node):
                apply(body)

    apply(graph)


def free_batch(graph: onnx.GraphProto, fixed: int) -> None:
    """Name the batch dimension, and let reshapes to a fixed batch take over that of their input instead."""
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = BATCH
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants.update((node.output[0], item.t) for item in node.attribute if item.name == "value")
    for node in graph.node:
        if node.op_type == "Reshape" and not any(item.name == "allowzero" and item.i for item in node.attribute):
            target = constants.get(node.input[1])
            if target is None or is_external(target):
                continue
            sizes = onnx.numpy_helper.to_array(target).copy()
            if sizes.ndim == 1 and sizes.size > 1 and sizes[0] == fixed:
                sizes[0] = 0  # "as in the input"
                name = f"{node.output[0]}/free_batch_shape"
                graph.initializer.append(onnx.numpy_helper.from_array(sizes, name))
                node.input[1] = name
