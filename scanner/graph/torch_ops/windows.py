"""Operators that move a window over positions: convolution and pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F

from scanner.graph.torch_ops.arguments import (
    Attributes,
    Inputs,
    Table,
    UnsupportedNodeError,
    optional,
    padded,
    padding,
    some,
)


def _convolution(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x, weight = some(inputs[0]), some(inputs[1])
    axes = weight.ndim - 2
    if axes not in (1, 2, 3):
        raise UnsupportedNodeError(f"convolution over {axes} axes")
    x = padded(x, padding(attributes, axes), 0.0)
    function = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    return function(
        x,
        weight,
        optional(inputs, 2),
        attributes.get("strides", [1] * axes),
        0,
        attributes.get("dilations", [1] * axes),
        attributes.get("group", 1),
    )


def _pool_arguments(attributes: Attributes) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    kernel = list(attributes["kernel_shape"])
    strides = list(attributes.get("strides", [1] * len(kernel)))
    if len(kernel) not in (1, 2, 3) or attributes.get("storage_order", 0):
        raise UnsupportedNodeError(f"pooling over {len(kernel)} axes")
    return kernel, strides, padding(attributes, len(kernel))


def _ceiling(x: torch.Tensor, kernel: Sequence[int], strides: Sequence[int], attributes: Attributes) -> torch.Tensor:
    """Pad by what makes a last window that starts within the (padded) input whole."""
    if not attributes.get("ceil_mode", 0):
        return x
    dilations = attributes.get("dilations", [1] * len(kernel))
    extra = []
    for size, reach, step, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        rest = (size - (dilation * (reach - 1) + 1)) % step
        extra.append((0, step - rest if rest else 0))
    return padded(x, extra, float("-inf"))


def _max_pool(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    kernel, strides, pads = _pool_arguments(attributes)
    x = _ceiling(padded(some(inputs[0]), pads, float("-inf")), kernel, strides, attributes)
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    return function(x, kernel, strides, 0, attributes.get("dilations", [1] * len(kernel)))


def _average_pool(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    kernel, strides, pads = _pool_arguments(attributes)
    if attributes.get("ceil_mode", 0) or any(size != 1 for size in attributes.get("dilations", ())):
        raise UnsupportedNodeError("average pooling with ceil_mode or dilation")
    x = some(inputs[0])
    function = cast(Callable[..., torch.Tensor], (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1])
    total = function(padded(x, pads, 0.0), kernel, strides)
    if attributes.get("count_include_pad", 0) or not any(before or after for before, after in pads):
        return total
    share = function(padded(torch.ones_like(x[:1, :1]), pads, 0.0), kernel, strides)
    return total / share


def _global_average_pool(inputs: Inputs, _: Attributes) -> torch.Tensor:
    x = some(inputs[0])
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


def _global_max_pool(inputs: Inputs, _: Attributes) -> torch.Tensor:
    x = some(inputs[0])
    return x.amax(tuple(range(2, x.ndim)), keepdim=True)


_SPATIAL = "kernel_shape strides pads dilations auto_pad"

WINDOWS: Table = {
    "AveragePool": (_average_pool, f"{_SPATIAL} ceil_mode count_include_pad"),
    "Conv": (_convolution, f"{_SPATIAL} group"),
    "GlobalAveragePool": (_global_average_pool, ""),
    "GlobalMaxPool": (_global_max_pool, ""),
    "MaxPool": (_max_pool, f"{_SPATIAL} ceil_mode storage_order"),
}
