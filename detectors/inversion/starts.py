"""Where gradients begin: for each target, the plain patterns that raise it most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from detectors.inversion.masks import Masks
from detectors.probing.probe import Probe, Shape
from detectors.probing.search import Trial

MOST: Final = 10
"""Targets that are looked at; with more classes, those that some pattern raises most."""
_INSIDE, _OUTSIDE = 0.9, 0.1
"""Of a mask that begins with a patch. Some is left outside, so that it can move."""
_GRAY = 128


def targets_of(trials: Sequence[Trial], num_classes: int) -> list[int]:
    """All classes, or the ten whose log probability some pattern raises most, that first.

    Args:
        trials: What was tried.
        num_classes: Number of classes.

    Example:
        >>> targets_of([], 3)
        [0, 1, 2]

    References:
        docs/audit.md, section Refinement.
    """
    gains = np.zeros(num_classes) if not trials else np.max([trial.gains[:num_classes] for trial in trials], 0)
    return [int(target) for target in np.argsort(-gains, kind="stable")[:MOST]]


def first_masks(trials: Sequence[Trial], targets: Sequence[int], shape: Shape) -> Masks:
    """For each target the patch that raises it most, as a mask and a pattern; a gray veil where there is none.

    Args:
        trials: What was tried.
        targets: Classes.
        shape: Of the images.

    Example:
        >>> first_masks([], [0], Shape(8, 8, 1)).masks.shape
        torch.Size([1, 8, 8])

    References:
        docs/audit.md, section Refinement.
    """
    masks = torch.full((len(targets), shape.height, shape.width), _OUTSIDE)
    patterns = torch.full((len(targets), shape.channels, shape.height, shape.width), 0.5)
    for row, target in enumerate(targets):
        best = _most_raising([trial for trial in trials if trial.probe.family == "patch"], target)
        if best is not None:
            dark, light = (best.stamp(np.full((1, *_size(shape)), level, np.uint8))[0] for level in (0, 255))
            hidden = torch.from_numpy((dark == light).all(2))
            masks[row][hidden] = _INSIDE
            shown = torch.from_numpy(dark).permute(2, 0, 1).float() / 255
            patterns[row][:, hidden] = shown[:, hidden]
    return Masks(masks, patterns, torch.full((len(targets),), torch.inf))


def first_offsets(trials: Sequence[Trial], targets: Sequence[int], shape: Shape) -> torch.Tensor:
    """For each target what the global pattern that raises it most adds to gray, ``(T, C, H, W)``; else next to nothing.

    Args:
        trials: What was tried. Warps, which add nothing to gray, are passed over.
        targets: Classes.
        shape: Of the images.

    Example:
        >>> first_offsets([], [0], Shape(8, 8, 1)).shape
        torch.Size([1, 1, 8, 8])

    References:
        docs/audit.md, section Refinement.
    """
    found = []
    for target in targets:
        best = _most_raising([trial for trial in trials if trial.probe.family not in ("patch", "warp")], target)
        gray = np.full((1, *_size(shape)), _GRAY, np.uint8)
        levels = np.zeros(gray.shape) if best is None else best.stamp(gray).astype(np.float64) - _GRAY
        # What is exactly zero in one place would stay the mean of both signs there.
        noise = np.random.default_rng(target).normal(0, 0.5, gray.shape)
        found.append(torch.from_numpy((levels + noise)[0].transpose(2, 0, 1) / 255).float())
    return torch.stack(found)


def _most_raising(trials: Sequence[Trial], target: int) -> Probe | None:
    best = max(trials, key=lambda trial: trial.gains[target], default=None)
    return None if best is None else best.probe


def _size(shape: Shape) -> tuple[int, int, int]:
    return shape.height, shape.width, shape.channels
