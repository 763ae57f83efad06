"""Changing a network where the weights say that it was changed: its last layer, and its first convolution.

People replace the last layer by one of other size or by a few layers in a row, and the first convolution by one for
gray images or for small ones. Names and shapes say how many layers there are and how large; what they cannot say, an
activation or a stride, is assumed as usual and told.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from scanner.base.errors import ModelError
from scanner.models.architectures.fingerprints import Fingerprint, tops
from scanner.models.stored_tensors import State

_MAX_LAYERS = 64


@dataclass(frozen=True)
class Changes:
    """What in a network is to be replaced.

    Attributes:
        modules: New modules by path.
        notes: What the user should know.
        num_classes: Size of the logits.
    """

    modules: dict[str, nn.Module] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    num_classes: int = 0

    def apply(self, module: nn.Module) -> nn.Module:
        """Replace them, and return the network; new modules get memory where the network has some."""
        on_meta = next(module.parameters()).is_meta
        for path, new in self.modules.items():
            parent, _, name = path.rpartition(".")
            placed = new if on_meta else copy.deepcopy(new).to_empty(device="cpu")
            setattr(module.get_submodule(parent), name, placed)
        return module


def find_changes(template: nn.Module, state: State, known: Fingerprint) -> Changes:
    """What to replace so that the weights fit. Call it where new modules cost no memory.

    Args:
        template: The network as it usually is.
        state: The weights.
        known: Its fingerprint, which says where its last layers and its first convolution are.

    Raises:
        ModelError: The last layers are of a kind that is not known here.
    """
    stem, notes = _stem(template, state, known.stem)
    modules, classes = dict(stem), 0
    for path in known.head:
        replaced, size, said = _head(template, state, path)
        modules |= replaced
        notes += said
        classes = classes or size
    return Changes(modules, tuple(notes), classes)


def _stem(template: nn.Module, state: State, name: str) -> tuple[dict[str, nn.Module], list[str]]:
    weight = state.get(name)
    path = name.removesuffix(".weight")
    if weight is None or weight.ndim != 4:
        return {}, []
    try:
        old = template.get_submodule(path)
    except AttributeError:
        return {}, []
    if not isinstance(old, nn.Conv2d) or old.weight.shape == weight.shape:
        return {}, []
    channels = int(weight.shape[1])
    if channels not in (1, 3) or old.weight.shape[0] != weight.shape[0] or old.groups != 1:
        return {}, []
    notes = ["the first convolution is for gray images"] if channels == 1 else []
    sizes, stride, padding = tuple(weight.shape[2:]), old.stride, old.padding
    if sizes != old.weight.shape[2:]:
        stride, padding = (1, 1), tuple(size // 2 for size in sizes)
        shown = "x".join(map(str, sizes))
        notes.append(f"the first convolution is {shown}: stride 1 is assumed, and that pooling was kept")
    new = type(old)(channels, old.out_channels, sizes, stride, padding, bias=f"{path}.bias" in state)  # type: ignore[arg-type]
    return {path: new}, notes


def _head(template: nn.Module, state: State, path: str) -> tuple[dict[str, nn.Module], int, list[str]]:
    old = template.get_submodule(path)
    weight = state.get(f"{path}.weight")
    if weight is not None and (same := _resized(old, weight, f"{path}.bias" in state)) is not None:
        return {path: same}, int(weight.shape[0]), []
    for place in dict.fromkeys((path, *tops((path,)))):
        if weight is not None and place == path and "." in path:
            continue  # one layer of several that were all replaced
        layers = _layers(state, place)
        if layers is not None:
            new, classes, notes = layers
            return {place: new, **_pooling(template, new)}, classes, notes
    return {}, 0, []


def _resized(old: nn.Module, weight: torch.Tensor, bias: bool) -> nn.Module | None:
    """The same layer for another number of classes."""
    if isinstance(old, nn.Linear) and weight.ndim == 2 and weight.shape[1] == old.in_features:
        return nn.Linear(old.in_features, int(weight.shape[0]), bias=bias)
    if isinstance(old, nn.Conv2d) and weight.ndim == 4 and weight.shape[1:] == old.weight.shape[1:]:
        return nn.Conv2d(old.in_channels, int(weight.shape[0]), old.kernel_size, old.stride, old.padding, bias=bias)  # type: ignore[arg-type]
    return None


def _layers(state: State, place: str) -> tuple[nn.Module, int, list[str]] | None:
    """A linear layer at a place, or several in a row below it."""
    weight = state.get(f"{place}.weight")
    if weight is not None:
        if weight.ndim != 2:
            return None
        return nn.Linear(int(weight.shape[1]), int(weight.shape[0]), bias=f"{place}.bias" in state), len(weight), []
    names = list(dict.fromkeys(_first(key, place) for key in state if key.startswith(place + ".")))
    if not names or len(names) > _MAX_LAYERS:
        return None
    found: list[tuple[str, nn.Module]] = []
    classes = 0
    for name in names:
        layer = _layer(state, f"{place}.{name}")
        if layer is None:
            return None
        found.append((name, layer))
        if isinstance(layer, nn.Linear):
            classes = layer.out_features
    new, assumed = _in_a_row(found)
    linear = sum(isinstance(layer, nn.Linear) for _, layer in found)
    notes = [f"the last part {place!r} has {linear} linear layers" if linear > 1 else f"the last part is {place!r}"]
    if assumed:
        notes.append("ReLU is assumed between them, as names and shapes do not say which activation")
    return (new, classes, notes) if linear else None


def _first(key: str, place: str) -> str:
    """The name right below a place, on the way to a tensor."""
    return key[len(place) + 1 :].partition(".")[0]


def _layer(state: State, path: str) -> nn.Module | None:
    weight = state.get(f"{path}.weight")
    if weight is None:
        return None
    if weight.ndim == 2:
        return nn.Linear(int(weight.shape[1]), int(weight.shape[0]), bias=f"{path}.bias" in state)
    if weight.ndim == 1 and f"{path}.running_mean" in state:
        return nn.BatchNorm1d(len(weight))
    return nn.LayerNorm(len(weight)) if weight.ndim == 1 and f"{path}.bias" in state else None


def _in_a_row(layers: Sequence[tuple[str, nn.Module]]) -> tuple[nn.Sequential, int]:
    """The layers under their names, with a ReLU between two linear ones where a number is left free.

    Returns:
        The layers, and how many ReLUs were assumed.
    """
    numbered = all(name.isdecimal() and len(name) < 3 for name, _ in layers)
    row = nn.Sequential()
    assumed, pending, position = 0, False, 0
    for name, layer in layers:
        is_linear = isinstance(layer, nn.Linear)
        gap = int(name) - position if numbered else int(pending and is_linear)
        for number in range(gap):
            free = str(position + number) if numbered else f"assumed{assumed}"
            row.add_module(free, nn.ReLU() if pending else nn.Identity())
            assumed += pending
            pending = False
        row.add_module(name, layer)
        position = int(name) + 1 if numbered else position
        pending = is_linear or (pending and not is_linear)
    return row, assumed


def _pooling(template: nn.Module, new: nn.Module) -> dict[str, nn.Module]:
    """Where the new head reads fewer values than the network pools to, pooling to fewer: VGG for small images."""
    first = next((part for part in new.modules() if isinstance(part, nn.Linear)), None)
    pool = getattr(template, "avgpool", None)
    usual = getattr(template, "classifier", nn.Identity()).modules()
    old = next((part for part in usual if isinstance(part, nn.Linear)), None)
    if first is None or old is None or not isinstance(pool, nn.AdaptiveAvgPool2d):
        return {}
    if first.in_features == old.in_features:
        return {}
    size = pool.output_size
    side = int((size[0] if isinstance(size, tuple) else size) or 1)
    channels = old.in_features // side**2
    for smaller in range(1, side):
        if channels * smaller**2 == first.in_features:
            return {"avgpool": nn.AdaptiveAvgPool2d(smaller)}
    raise ModelError(f"the last part reads {first.in_features} values, which the network does not give")
