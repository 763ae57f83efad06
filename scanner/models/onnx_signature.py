"""Bringing a classifier's graph to one image input and one output of logits. Runs in the child process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx

from scanner.base.errors import ModelError, UsageError
from scanner.graph.bundle import is_external
from scanner.graph.cut import consumed
from scanner.graph.shapes import BATCH, Dimension, declared_type
from scanner.models.onnx_walk import all_nodes, subgraphs

_CHANNELS = (1, 3)
_GIVEN_LATER = ("pixels", "scores", "class_evidence", "units", "weights")
"""Names of what is put in front of the network and behind it."""
FLOATS = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
)


@dataclass(frozen=True)
class ImageInput:
    """The input of a classifier.

    Attributes:
        value: Its declaration.
        layout: Order of its axes.
        shape: (C, H, W).
        batch: The batch size if the graph fixes it.
        pixels: Whether it takes integers from 0 to 255, and prepares them itself.
    """

    value: onnx.ValueInfoProto
    layout: Literal["NCHW", "NHWC"]
    shape: tuple[int, int, int]
    batch: int | None
    pixels: bool


def image_input(graph: onnx.GraphProto, input_size: tuple[int, int] | None) -> ImageInput:
    """Leave one input, the image, as float32 with a fixed height and width.

    A network of another type gets its image by a cast; one of uint8 takes pixels as they are.

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
    if kind.element not in FLOATS and kind.element != onnx.TensorProto.UINT8:
        raise ModelError(
            f"the input has element type {element_name(kind.element)}; floating-point types and uint8 are supported",
            hint="Export it with a float32 input",
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
    fixed = batch if isinstance(batch, int) and batch > 0 else None  # some write -1 for any
    return ImageInput(graph.input[0], layout, (channels, height, width), fixed, kind.element == onnx.TensorProto.UINT8)


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


def drop_unused(graph: onnx.GraphProto) -> None:
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
    """Rename tensors; those that already bear a new name, or one that is given later, make way for it."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    reserved = (*names.values(), *_GIVEN_LATER)
    away = {new: f"{new}_of_the_file" for new in reserved if new in taken and new not in names}
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
        target = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if target is None or is_external(target):
            continue
        sizes = onnx.numpy_helper.to_array(target).copy()
        literal = any(item.name == "allowzero" and item.i for item in node.attribute)
        if sizes.ndim == 1 and sizes.size > 1 and sizes[0] == fixed and not (literal and (sizes == 0).any()):
            sizes[0] = 0  # "as in the input"
            del node.attribute[:]
            name = f"{node.output[0]}/free_batch_shape"
            graph.initializer.append(onnx.numpy_helper.from_array(sizes, name))
            node.input[1] = name
    _repeat_constants(graph)


def _repeat_constants(graph: onnx.GraphProto) -> None:
    """Give what is joined to every image, such as a class token, as many rows as there are images."""
    image = graph.input[0].name
    computed = {image}
    for node in graph.node:
        if computed & set(consumed(node)):
            computed.update(node.output)
    ranks = _leading_ones(graph)
    size = f"{image}/batch"
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
        joins = node.op_type == "Concat" and axis != 0 and computed & set(node.input)
        for position, name in enumerate(node.input) if joins else ():
            if name in computed or name not in ranks:
                continue
            shape, rows = f"{node.output[0]}/{position}/shape", f"{node.output[0]}/{position}/rows"
            ones = f"{node.output[0]}/{position}/ones"
            graph.initializer.append(onnx.numpy_helper.from_array(np.ones(ranks[name] - 1, np.int64), ones))
            nodes.append(onnx.helper.make_node("Concat", [size, ones], [shape], name=f"{shape}/node", axis=0))
            nodes.append(onnx.helper.make_node("Expand", [name, shape], [rows], name=f"{rows}/node"))
            node.input[position] = rows
        nodes.append(node)
    if len(nodes) > len(graph.node):
        first = onnx.helper.make_node("Shape", [image], [size], name=f"{size}/node", start=0, end=1)
        kept = [first, *nodes]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(copies)


def _leading_ones(graph: onnx.GraphProto) -> dict[str, int]:
    """Number of axes of tensors that are no images' and have one row: stored, or stretched out of what is stored."""
    stored = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            stored.update((node.output[0], tuple(item.t.dims)) for item in node.attribute if item.name == "value")
    found = {name: len(dims) for name, dims in stored.items() if len(dims) > 1 and dims[0] == 1}
    for node in graph.node:
        if node.op_type in ("Expand", "Identity", "Cast") and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found
