"""Make a trained network Bayesian: replace its linear and convolutional layers by Flipout layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

from torch import nn
from torch.nn.utils import parametrize

from detectors.bayesian.layers import ConvSettings, FlipoutConv, FlipoutLayer, FlipoutLinear
from detectors.bayesian.moped import MopedSettings, moped

_READ_WEIGHTS = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
"""Modules that hand the weights of their linear layers to fused kernels, past those layers' ``forward``."""
_READ_WEIGHTS_ELSEWHERE = frozenset({"torchvision.models.swin_transformer.ShiftedWindowAttention"})
"""Likewise, of packages that are not imported here."""


@dataclass(frozen=True)
class LeftDeterministic:
    """A module with parameters that stays as it is.

    Attributes:
        name: Path of the module; empty for the root.
        reason: Why, in a few words.

    Example:
        >>> convert(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), MopedSettings()).left
        (LeftDeterministic(name='1', reason='LayerNorm has no Flipout form'),)

    References:
        docs/method.md, section Bayesian scores: biases and normalisation stay as they are.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Conversion:
    """A Bayesian network, and what became of its layers.

    Attributes:
        module: The network; a new module where the root itself was a layer.
        converted: Paths of the converted layers, each under its first name.
        left: Modules with parameters that stay deterministic.

    Example:
        >>> type(convert(nn.Linear(2, 2), MopedSettings()).module).__name__
        'FlipoutLinear'

    References:
        Krishnan, Subedar and Tickoo (2019), MOPED: Efficient priors for scalable variational inference in Bayesian
        deep neural networks, https://arxiv.org/abs/1906.05323.
    """

    module: nn.Module
    converted: tuple[str, ...]
    left: tuple[LeftDeterministic, ...]


def convert(
    module: nn.Module, settings: MopedSettings, wanted: Callable[[str], bool] = lambda _name: True
) -> Conversion:
    """Replace every layer that can be replaced, in place.

    A layer that appears in several places is replaced by one Flipout layer in all of them. Two layers
    that share one weight tensor are left as they are.

    Args:
        module: A trained network.
        settings: Widths of priors and posteriors.
        wanted: Chooses layers by path; the others are left.

    Raises:
        ValueError: A chosen layer has weights that are not finite, or none.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
        >>> convert(network, MopedSettings(), lambda name: name == "3").converted
        ('3',)

    References:
        Krishnan, Subedar and Tickoo (2019), MOPED: Efficient priors for scalable variational inference in Bayesian
        deep neural networks, https://arxiv.org/abs/1906.05323.
        Wen, Vicol, Ba, Tran and Grosse (2018), Flipout: Efficient pseudo-independent weight perturbations on
        mini-batches, https://arxiv.org/abs/1803.04386.
    """
    owners = Counter(
        id(p) for _, part in module.named_modules() for name, p in part.named_parameters(recurse=False) if p is not None
    )
    made: dict[int, FlipoutLayer] = {}
    converted: list[str] = []
    left: list[LeftDeterministic] = []
    root = module
    for name, part in _reachable(module, left):
        reason = _obstacle(part, owners) or (None if wanted(name) else "not chosen")
        if reason is not None:
            if any(True for _ in part.parameters(recurse=False)):
                left.append(LeftDeterministic(name, reason))
            continue
        made[id(part)] = _flipout(part, settings)
        converted.append(name)
    if id(module) in made:
        root = made[id(module)]
    for parent in list(root.modules()):
        # Not named_children, which names a module once however many places it has.
        for child_name, child in list(parent._modules.items()):
            if child is not None and id(child) in made:
                setattr(parent, child_name, made[id(child)])
    return Conversion(root, tuple(converted), tuple(left))


def _reachable(module: nn.Module, left: list[LeftDeterministic]) -> Iterator[tuple[str, nn.Module]]:
    """Every module once, but for the inside of those that read their layers' weights themselves."""
    closed: list[str] = []
    for name, part in module.named_modules():
        if any(name.startswith(prefix) for prefix in closed):
            continue
        if _reads_weights(part):
            closed.append(f"{name}." if name else "")
            left.append(LeftDeterministic(name, f"{type(part).__name__} reads its layers' weights past their forward"))
            continue
        yield name, part


def _reads_weights(part: nn.Module) -> bool:
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(part).__mro__}
    return isinstance(part, _READ_WEIGHTS) or not names.isdisjoint(_READ_WEIGHTS_ELSEWHERE)


def _obstacle(part: nn.Module, owners: Counter[int]) -> str | None:
    """Why a module cannot be converted, or None."""
    kind = type(part)
    if kind not in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
        # A subclass may do anything in its forward: only the exact types are known.
        return f"{kind.__name__} has no Flipout form"
    if parametrize.is_parametrized(part) or part._forward_pre_hooks or part._forward_hooks:
        return "its weight is computed from other parameters, or hooks see it"
    weight = cast(nn.Linear, part).weight
    if not weight.is_floating_point():
        return f"its weight is of type {weight.dtype}"
    return "its weight is shared with another layer" if owners[id(weight)] > 1 else None


def _flipout(part: nn.Module, settings: MopedSettings) -> FlipoutLayer:
    if isinstance(part, nn.Linear):
        layer: FlipoutLayer = FlipoutLinear(moped(part.weight, settings), part.bias)
    else:
        conv = cast(nn.Conv2d, part)
        padding = cast(tuple[int, ...], conv.padding)
        how = ConvSettings(conv.stride, padding, conv.dilation, conv.groups, conv.padding_mode)
        layer = FlipoutConv(moped(conv.weight, settings), conv.bias, how)
    return layer.train(part.training)
