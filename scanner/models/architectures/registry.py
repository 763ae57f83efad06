"""The architectures a state dict can be loaded into, by name, and how their sizes follow from the weights."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import math
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from scanner.base.errors import ModelError, UsageError
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.architectures.scnn import SCNN
from scanner.models.architectures.siblings import SiblingFinder
from scanner.models.checkpoint import State, strip_prefixes

_OWN = ("scnn", "resnet20")
_TORCHVISION_CLASSES = 1000
_SHOWN_KEYS = 3


@dataclass(frozen=True)
class Network:
    """A network with its weights, in evaluation mode.

    Attributes:
        module: Maps (N, channels, height, width) to logits.
        architecture: Its name.
        input_shape: Channels, height and width.
        notes: What was done to build it that the user should know.
    """

    module: nn.Module
    architecture: str
    input_shape: tuple[int, int, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Plan:
    """How to build a network that fits certain weights."""

    build: Callable[[], nn.Module]
    input_shape: tuple[int, int, int]
    notes: tuple[str, ...] = field(default=())


_Planner = Callable[[str, nn.Module, State, tuple[int, int] | None, int | None], _Plan]


def architecture_names() -> tuple[str, ...]:
    """All names that ``--arch`` takes, without user-supplied files."""
    return (*_OWN, *torchvision.models.list_models(module=torchvision.models))


def build_network(
    architecture: str,
    state: State,
    *,
    trust_code: bool = False,
    input_size: tuple[int, int] | None = None,
    num_classes: int | None = None,
) -> Network:
    """Build the named network in the sizes that the weights have, and load them.

    Args:
        architecture: A name of :func:`architecture_names`, or ``file.py:callable`` with ``trust_code``.
        state: Weights by name; prefixes of wrappers are stripped as needed.
        trust_code: Whether Python code of the user may be run.
        input_size: Height and width; the architecture's usual ones by default.
        num_classes: To check against the weights.

    Raises:
        UsageError: Unknown architecture, or options that contradict the weights.
        ModelError: The weights do not fit the architecture.
    """
    if ".py:" in architecture:
        if not trust_code:
            raise UsageError(
                f"{architecture!r} names Python code, which would be run",
                where="--arch",
                hint="Allow it with --trust-code if you trust that file (the model file stays untrusted)",
            )
        return _build_custom(architecture, state, input_size, num_classes)
    if architecture in _OWN:
        planner: _Planner = _plan_scnn if architecture == "scnn" else _plan_resnet20
        template = _without_memory(SCNN if architecture == "scnn" else ResNet20)
    elif architecture in architecture_names():
        planner = _plan_torchvision
        template = _torchvision_template(architecture)
    else:
        raise _unknown(architecture)
    expected = template.state_dict()
    state, notes = strip_prefixes(state, expected)
    plan = planner(architecture, template, state, input_size, num_classes)
    module = _load(plan.build, state, architecture)
    return Network(module, architecture, plan.input_shape, (*notes, *plan.notes))


def _unknown(architecture: str) -> UsageError:
    close = difflib.get_close_matches(architecture, architecture_names(), n=3)
    return UsageError(
        f"unknown architecture {architecture[:80]!r}",
        where="--arch",
        hint=f"Did you mean {', '.join(close)}?" if close else "Names are those of torchvision.models, scnn, resnet20",
    )


def _plan_scnn(
    _name: str, template: nn.Module, state: State, input_size: tuple[int, int] | None, num_classes: int | None
) -> _Plan:
    _require_keys(template, state, "scnn")
    classes = _classes(state["dense2.weight"].shape[0], num_classes)
    channels = state["conv1.weight"].shape[1]
    pooled = math.isqrt(state["dense1.weight"].shape[-1] // 64)
    size = 2 * pooled + 4
    if input_size == (size + 1, size + 1):  # the pooling drops an odd last row
        size += 1
    if input_size not in (None, (size, size)):
        raise UsageError(f"these weights are for images of {size}x{size} pixels", where="--input-size")
    return _Plan(lambda: SCNN(classes, channels, size), (channels, size, size))


def _plan_resnet20(
    _name: str, template: nn.Module, state: State, input_size: tuple[int, int] | None, num_classes: int | None
) -> _Plan:
    _require_keys(template, state, "resnet20")
    classes = _classes(state["fc.weight"].shape[0], num_classes)
    channels = state["conv1.weight"].shape[1]
    return _Plan(lambda: ResNet20(classes, channels), (channels, *(input_size or (32, 32))))


def _torchvision_template(name: str) -> nn.Module:
    """The architecture without memory for its weights, auxiliary heads included."""
    return _without_memory(lambda: _torchvision_build(name, {}, {"aux_logits": True}))


def _torchvision_build(name: str, options: Mapping[str, Any], auxiliary: Mapping[str, Any]) -> nn.Module:
    builder = torchvision.models.get_model_builder(name)
    extra = {"init_weights": False, **auxiliary} if name in ("googlenet", "inception_v3") else {}
    module: nn.Module = builder(weights=None, **extra, **options)
    return module


def _plan_torchvision(
    name: str, template: nn.Module, state: State, input_size: tuple[int, int] | None, num_classes: int | None
) -> _Plan:
    classes = _classes(_inferred_classes(template, state), num_classes)
    options: dict[str, Any] = {"num_classes": classes}
    notes: tuple[str, ...] = ()
    auxiliary = {"aux_logits": any(key.startswith(("aux1.", "AuxLogits.")) for key in state)}
    if name in ("googlenet", "inception_v3"):
        notes = ("built without transform_input: images normalised for the torchvision weights need mean and std 0.5",)
    size = input_size or _usual_size(name)
    if name.startswith("vit_"):
        size = _vit_size(template, state, input_size)
        options["image_size"] = size[0]
    elif name.startswith("maxvit"):
        options["input_size"] = size
    return _Plan(lambda: _torchvision_build(name, options, auxiliary), (3, *size), notes)


def _inferred_classes(template: nn.Module, state: State) -> int:
    """The size that takes the place of 1000 in the weights whose shapes differ from the architecture's."""
    for key, expected in template.state_dict().items():
        found = state.get(key)
        if found is None or expected.ndim == 0 or expected.shape[0] != _TORCHVISION_CLASSES:
            continue
        if found.ndim == expected.ndim and found.shape[1:] == expected.shape[1:]:
            return int(found.shape[0])
    return _TORCHVISION_CLASSES


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


def _build_custom(
    architecture: str, state: State, input_size: tuple[int, int] | None, num_classes: int | None
) -> Network:
    if input_size is None:
        raise UsageError("the input size of your own architecture is needed", where="--input-size", hint="Give HxW")
    factory = _import_callable(architecture)
    options: dict[str, Any] = {}
    if "num_classes" in inspect.signature(factory).parameters:
        options["num_classes"] = num_classes or _last_matrix(state).shape[0]
    try:
        module = factory(**options)
    except Exception as error:  # the user's code
        raise UsageError(f"{architecture!r} failed ({type(error).__name__}: {error})", where="--arch") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"{architecture!r} returns {type(module).__name__}, not a torch.nn.Module", where="--arch")
    state, notes = strip_prefixes(state, module.state_dict())
    images = next((value for value in state.values() if value.ndim == 4), None)
    loaded = _load(lambda: module, state, architecture, on_meta=False)
    if images is not None and images.shape[1] in (1, 3):
        channels = images.shape[1]
    else:
        channels = _channels_by_trial(loaded, input_size)
    ran = f"ran {architecture} to build the network, as --trust-code allows"
    return Network(loaded, architecture, (channels, *input_size), (ran, *notes))


def _channels_by_trial(module: nn.Module, size: tuple[int, int]) -> int:
    """Color or gray, whichever of the two gives one row of logits an image; color where neither does."""
    for channels in (3, 1):
        try:
            with torch.inference_mode():
                logits = module(torch.zeros(2, channels, *size))
        except Exception:  # noqa: S112 - whatever the network makes of images that it is not for
            continue
        if isinstance(logits, torch.Tensor) and logits.ndim == 2 and len(logits) == 2:
            return channels
    return 3


def _import_callable(architecture: str) -> Callable[..., object]:
    file, _, name = architecture.rpartition(":")
    path = Path(file)
    specification = importlib.util.spec_from_file_location("latentscan_custom_architecture", path)
    if not path.is_file() or specification is None or specification.loader is None:
        raise UsageError(f"no such Python file: {file}", where="--arch")
    module = importlib.util.module_from_spec(specification)
    sys.modules[module.__name__] = module
    sys.meta_path.insert(0, SiblingFinder(path.parent))
    try:
        specification.loader.exec_module(module)
    except Exception as error:  # the user's code
        raise UsageError(f"{file} cannot be imported ({type(error).__name__}: {error})", where="--arch") from error
    factory = getattr(module, name, None)
    if not callable(factory):
        raise UsageError(f"{file} has no callable {name!r}", where="--arch")
    return factory  # type: ignore[no-any-return]


def _last_matrix(state: State) -> torch.Tensor:
    matrices = [value for value in state.values() if value.ndim in (2, 4)]
    if not matrices:
        raise ModelError("the weights hold no matrix, so the number of classes cannot be told")
    return matrices[-1]


def _classes(found: int, stated: int | None) -> int:
    if stated is not None and stated != found:
        raise UsageError(f"the weights are for {found} classes, not {stated}", where="--num-classes")
    return found


def _load(build: Callable[[], nn.Module], state: State, architecture: str, *, on_meta: bool = True) -> nn.Module:
    """Build, check names and shapes, and load.

    Networks are built without memory and take the tensors of ``state`` as they are. Those with tensors
    that are not part of their state dict are built again in memory.
    """
    module = _without_memory(build) if on_meta else build()
    shapes = {key: value.shape for key, value in module.state_dict().items()}
    misshaped = [
        f"{key} is {_sizes(state[key].shape)} instead of {_sizes(shape)}"
        for key, shape in shapes.items()
        if key in state and state[key].shape != shape
    ]
    if misshaped:
        raise _mismatch(architecture, {"misshaped": misshaped})
    outcome = module.load_state_dict(_versioned(state, module), strict=False, assign=on_meta)
    if outcome.missing_keys or outcome.unexpected_keys:
        raise _mismatch(architecture, {"missing": outcome.missing_keys, "unexpected": outcome.unexpected_keys})
    if on_meta and any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        return _load(build, state, architecture, on_meta=False)
    return module.eval().requires_grad_(False)


def _without_memory(build: Callable[[], nn.Module]) -> nn.Module:
    """Build without allocating or initialising weights, where the constructor does not compute with tensors."""
    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):  # RegNet reads its widths out of a tensor
        return build()


def _versioned(state: State, module: nn.Module) -> State:
    """A copy, because loading hooks of old layers rename keys in place, that states the network's version.

    MNASNet insists on it, and renamed or converted files have lost it. Layers are left to tell theirs
    from their keys.
    """
    copy = OrderedDict(state)
    copy._metadata = {"": {"version": module._version}}  # type: ignore[attr-defined]
    return copy


def _require_keys(template: nn.Module, state: State, architecture: str) -> None:
    missing = [key for key in template.state_dict() if key not in state and not key.endswith("num_batches_tracked")]
    ranks = [key for key, value in template.state_dict().items() if key in state and state[key].ndim != value.ndim]
    if missing or ranks:
        unexpected = [key for key in state if key not in template.state_dict()]
        raise _mismatch(architecture, {"missing": missing, "unexpected": unexpected, "misshaped": ranks})


def _mismatch(architecture: str, keys: Mapping[str, list[str]]) -> ModelError:
    parts = [f"{kind} {_few(names)}" for kind, names in keys.items() if names]
    return ModelError(
        f"the weights do not fit architecture {architecture!r}: {'; '.join(parts)}",
        hint="Check --arch; a modified network needs --arch file.py:callable",
    )


def _few(names: list[str]) -> str:
    shown = ", ".join(name[:100] for name in names[:_SHOWN_KEYS])
    return shown if len(names) <= _SHOWN_KEYS else f"{shown} and {len(names) - _SHOWN_KEYS} more"


def _sizes(shape: torch.Size) -> str:
    return "x".join(str(size) for size in shape) or "a scalar"
