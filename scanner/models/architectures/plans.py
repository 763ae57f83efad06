"""How a named network is built so that it fits certain weights."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
import torchvision
from torch import nn

from scanner.base.errors import UsageError
from scanner.models.architectures.adapt import Changes, find_changes
from scanner.models.architectures.fingerprints import Fingerprint, named
from scanner.models.architectures.loading import mismatch, require_keys, without_memory
from scanner.models.architectures.own import SIDE, SMALL_IMAGE_NETWORKS
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.architectures.scnn import SCNN
from scanner.models.stored_tensors import State

TIMM: Final = "timm/"


@dataclass(frozen=True)
class Plan:
    """How to build a network that fits certain weights.

    Attributes:
        build: Builds it.
        input_shape: Channels, height and width.
        notes: What the user should know.
    """

    build: Callable[[], nn.Module]
    input_shape: tuple[int, int, int]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Wanted:
    """What the user said about a network.

    Attributes:
        input_size: Height and width, or None.
        num_classes: Outputs, or None.
    """

    input_size: tuple[int, int] | None = None
    num_classes: int | None = None


def template_of(architecture: str, names: set[str]) -> nn.Module:
    """The named network as it usually is, without memory for its weights.

    Args:
        architecture: Its name.
        names: Names of the weights, by which a spelling is chosen.

    Raises:
        UsageError: It is one of timm's, and timm is not installed.
    """
    if architecture == "scnn":
        return without_memory(SCNN)
    if architecture == "resnet20":
        return without_memory(ResNet20)
    if architecture in SMALL_IMAGE_NETWORKS:
        spellings = [without_memory(build) for build in SMALL_IMAGE_NETWORKS[architecture]]
        return max(spellings, key=lambda module: _in_common(module, names))
    if architecture.startswith(TIMM):
        return without_memory(lambda: timm_network(architecture))
    return without_memory(lambda: _torchvision_build(architecture, {}, {"aux_logits": True}))


def plan_network(architecture: str, template: nn.Module, state: State, wanted: Wanted) -> Plan:
    """How to build the network of a template so that it fits.

    Raises:
        UsageError: Options that contradict the weights.
        ModelError: The weights do not fit.
    """
    if architecture == "scnn":
        return _plan_scnn(template, state, wanted)
    known = fingerprint_of(architecture, template)
    with torch.device("meta"):
        changes = Changes() if known is None else find_changes(template, state, known)
    if changes.num_classes:
        checked_classes(changes.num_classes, wanted.num_classes)
    stem = None if known is None else state.get(known.stem)
    channels = int(stem.shape[1]) if stem is not None and stem.ndim == 4 else 3
    if channels not in (1, 3):
        raise mismatch(architecture, {"misshaped": [f"{known.stem if known else ''} is for {channels} channels"]})
    if architecture == "resnet20":
        return _adapted(ResNet20, changes, (channels, *(wanted.input_size or (SIDE, SIDE))), ())
    if architecture in SMALL_IMAGE_NETWORKS:
        builds = SMALL_IMAGE_NETWORKS[architecture]
        build = max(builds, key=lambda each: _in_common(without_memory(each), set(template.state_dict())))
        return _adapted(build, changes, (channels, *(wanted.input_size or (SIDE, SIDE))), ())
    if architecture.startswith(TIMM):
        return _plan_timm(architecture, template, changes, channels, wanted)
    return _plan_torchvision(architecture, template, state, changes, (channels, wanted))


def fingerprint_of(architecture: str, template: nn.Module) -> Fingerprint | None:
    """The fingerprint of the spelling that a template has."""
    keys = template.state_dict().keys()
    fitting = [
        known
        for known in named(architecture)
        if known.stem in keys and all(f"{path}.weight" in keys for path in known.head)
    ]
    return fitting[0] if fitting else None


def checked_classes(found: int, stated: int | None) -> int:
    """The number of classes.

    Raises:
        UsageError: The user said otherwise.
    """
    if stated is not None and stated != found:
        raise UsageError(f"the weights are for {found} classes, not {stated}", where="--num-classes")
    return found


def timm_network(architecture: str) -> nn.Module:
    """One of timm's networks, without weights.

    Raises:
        UsageError: timm is not installed, or does not have it.
    """
    if importlib.util.find_spec("timm") is None:
        raise UsageError(
            f"{architecture!r} is one of timm's networks, and timm is not installed",
            where="--arch",
            hint="Install it with pip install 'latentscan[timm]'",
        )
    timm = importlib.import_module("timm")
    name = architecture.removeprefix(TIMM)
    if not timm.is_model(name):
        raise UsageError(f"this version of timm has no network {name[:80]!r}", where="--arch")
    module: nn.Module = timm.create_model(name, pretrained=False)
    return module


def _in_common(module: nn.Module, names: set[str]) -> int:
    return len(module.state_dict().keys() & names)


def _adapted(
    build: Callable[[], nn.Module], changes: Changes, shape: tuple[int, int, int], notes: tuple[str, ...]
) -> Plan:
    return Plan(lambda: changes.apply(build()), shape, (*changes.notes, *notes))


def _plan_scnn(template: nn.Module, state: State, wanted: Wanted) -> Plan:
    require_keys(template, state, "scnn")
    classes = checked_classes(state["dense2.weight"].shape[0], wanted.num_classes)
    channels = state["conv1.weight"].shape[1]
    pooled = math.isqrt(state["dense1.weight"].shape[-1] // 64)
    size = 2 * pooled + 4
    if wanted.input_size == (size + 1, size + 1):  # the pooling drops an odd last row
        size += 1
    if wanted.input_size not in (None, (size, size)):
        raise UsageError(f"these weights are for images of {size}x{size} pixels", where="--input-size")
    return Plan(lambda: SCNN(classes, channels, size), (channels, size, size))


def _torchvision_build(name: str, options: Mapping[str, Any], auxiliary: Mapping[str, Any]) -> nn.Module:
    builder = torchvision.models.get_model_builder(name)
    extra = {"init_weights": False, **auxiliary} if name in ("googlenet", "inception_v3") else {}
    module: nn.Module = builder(weights=None, **extra, **options)
    return module


def _plan_torchvision(name: str, template: nn.Module, state: State, changes: Changes, said: tuple[int, Wanted]) -> Plan:
    channels, wanted = said
    options: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    auxiliary = {"aux_logits": any(key.startswith(("aux1.", "AuxLogits.")) for key in state)}
    if name in ("googlenet", "inception_v3"):
        options["num_classes"] = changes.num_classes or 1000
        notes = ("built without transform_input: images normalised for the torchvision weights need mean and std 0.5",)
    size = wanted.input_size or _usual_size(name)
    if name.startswith("vit_"):
        size = _vit_size(template, state, wanted.input_size)
        options["image_size"] = size[0]
    elif name.startswith("maxvit"):
        options["input_size"] = size
    if name.startswith("vgg") and "avgpool" in changes.modules and wanted.input_size is None:
        size = (SIDE, SIDE)  # who reads one value a channel has images that were pooled to it
    elif _is_small(changes, name) and wanted.input_size is None:
        size = (SIDE, SIDE)
    return _adapted(lambda: _torchvision_build(name, options, auxiliary), changes, (channels, *size), notes)


def _is_small(changes: Changes, name: str) -> bool:
    """Whether a ResNet's first convolution is that for small images."""
    first = changes.modules.get("conv1")
    return name.startswith("res") and isinstance(first, nn.Conv2d) and first.kernel_size == (3, 3)


def _plan_timm(name: str, template: nn.Module, changes: Changes, channels: int, wanted: Wanted) -> Plan:
    size = wanted.input_size
    if size is None:
        config = getattr(template, "pretrained_cfg", None) or getattr(template, "default_cfg", {})
        declared = config.get("input_size", (3, 224, 224))
        size = (int(declared[1]), int(declared[2]))
    return _adapted(lambda: timm_network(name), changes, (channels, *size), ())


def _usual_size(name: str) -> tuple[int, int]:
    """The crop size that torchvision's own weights were trained for; nothing is downloaded."""
    transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms
    size = int(getattr(transforms, "keywords", {}).get("crop_size", 224))
    return size, size


def _vit_size(template: nn.Module, state: State, input_size: tuple[int, int] | None) -> tuple[int, int]:
    patch = int(template.patch_size)  # type: ignore[arg-type]
    embedding = state.get("encoder.pos_embedding")
    if embedding is None or embedding.ndim != 3:
        return input_size or (224, 224)
    side = math.isqrt(max(embedding.shape[1] - 1, 1)) * patch
    if input_size not in (None, (side, side)):
        raise UsageError(f"these weights are for images of {side}x{side} pixels", where="--input-size")
    return side, side
