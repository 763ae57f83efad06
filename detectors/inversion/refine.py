"""For every class, how small a patch and how weak an offset still move nine in ten of the images to it.

plain patterns that raise a class most -> gradients on one half -> whole pixels and gray levels -> counts on the other
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.demonstration.rule import Rule
from detectors.inversion.masks import smallest_masks
from detectors.inversion.offsets import weakest_offsets
from detectors.inversion.optimise import Network, Search
from detectors.inversion.patterns import Offset, Stencil
from detectors.inversion.shrink import scaled, sizes_from, smallest_size, stencil
from detectors.inversion.starts import first_masks, first_offsets, targets_of
from detectors.probing.network import Logits, predicted
from detectors.probing.probe import Shape
from detectors.probing.probing import Probed
from detectors.probing.verify import Verified, verify

Refinement = Literal["smallest patch", "weakest offset"]

_LEVELS: Final = 255
_STEPS: Final = 100
_OFFSET_WEIGHT: Final = 1.0
"""Of amplitude as a share of the whole range, beside cross-entropy; of masks it is that of Neural Cleanse."""
_TOGETHER: Final = 400_000
"""Pixels of the images of a step, about, for which targets are searched together."""


@dataclass(frozen=True)
class Networks:
    """The network twice: for gradients, and for counting as everything else is counted.

    Attributes:
        gradients: In PyTorch.
        logits: Of images as bytes.

    Example:
        See :func:`refine`.

        >>> Networks.__dataclass_fields__["logits"].name
        'logits'

    References:
        docs/audit.md, section Refinement.
    """

    gradients: Network
    logits: Logits


@dataclass(frozen=True)
class Refined:
    """The smallest pattern of a kind for one class.

    Attributes:
        kind: What is small about it.
        target: The class.
        size: Pixels that it hides, or its largest change of a pixel in gray levels.
        soft: The size that gradients ended with, before it was made of whole pixels or levels; infinite where none
            worked.
        reached: Whether it moves nine in ten of the images that it was made on. Where not, it says little.
        verified: What it does to the other images.

    Example:
        See :func:`refine`.

        >>> Refined.__dataclass_fields__["reached"].type
        'bool'

    References:
        docs/audit.md, section Refinement.
    """

    kind: Refinement
    target: int
    size: int
    soft: float
    reached: bool
    verified: Verified


def refine(
    images: NDArray[np.uint8], probed: Probed, networks: Networks, may: Callable[[], bool]
) -> tuple[Refined, ...]:
    """Make the patterns of a search as small as they can be, for all classes, or for the ten that it raised most.

    Args:
        images: ``(N, H, W, C)`` uint8, those that the search was given.
        probed: What it found: where gradients begin, and which images they may see.
        networks: The network.
        may: Asked before the network is, every time; what is not finished when it says no is missing.

    Returns:
        Two for each class, in the order in which classes were looked at; of the last one perhaps fewer.

    Example:
        >>> from detectors.probing.probing import probe
        >>> generator = np.random.default_rng(0)
        >>> images = generator.integers(0, 200, (120, 16, 16, 1), np.uint8)
        >>> def gradients(images):
        ...     corner = images[:, 0, 14:, 14:].amin((1, 2))
        ...     return torch.stack([corner * 40 - 34, images[:, 0, 0, 0], images[:, 0, 1, 0]], 1)
        >>> def logits(images):
        ...     return gradients(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).numpy()
        >>> probed = probe(images, logits, lambda passes: True, seed=0)
        >>> found = refine(images, probed, Networks(gradients, logits), lambda: True)
        >>> [(one.size, one.verified.moved == one.verified.eligible) for one in found if one.target == 0][0]
        (4, True)

    References:
        Wang et al. (2019), Neural Cleanse, IEEE S&P, https://doi.org/10.1109/SP.2019.00031, for the optimisation.
    """
    found: list[Refined] = []
    with suppress(_OverError):
        # One by one: what is finished stays when the next is not.
        for one in _Refining(images, probed, _bounded(networks, may)).run():
            found.append(one)
    return tuple(found)


class _OverError(Exception):
    """There may be no more passes."""


def _bounded(networks: Networks, may: Callable[[], bool]) -> Networks:
    """The same networks, which are asked nothing more once it may not go on: one class can take minutes."""

    def gradients(images: torch.Tensor) -> torch.Tensor:
        if not may():
            raise _OverError
        return networks.gradients(images)

    def logits(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not may():
            raise _OverError
        return networks.logits(images)

    return Networks(gradients, logits)


class _Refining:
    """The images of both halves, and what the network makes of them."""

    def __init__(self, images: NDArray[np.uint8], probed: Probed, networks: Networks) -> None:
        self._networks, self._trials = networks, probed.trials
        self._shape = Shape(*images.shape[1:])
        self._chosen, self._judged = images[probed.chosen_on], images[probed.rows]
        self._judged_logits = networks.logits(self._judged)
        before = networks.logits(self._chosen)
        self._classes = predicted(before)
        self._targets = [
            target for target in targets_of(probed.trials, before.shape[1]) if (self._classes != target).any()
        ]
        self._pixels = torch.from_numpy(self._chosen).permute(0, 3, 1, 2).float() / _LEVELS

    def run(self) -> Iterator[Refined]:
        search = Search(steps=_STEPS)
        together = max(1, _TOGETHER // (search.images * self._shape.height * self._shape.width))
        for start in range(0, len(self._targets), together):
            targets = self._targets[start : start + together]
            yield from self._patches(targets, search)
            yield from self._offsets(targets, Search(steps=_STEPS, weight=_OFFSET_WEIGHT))

    def _patches(self, targets: list[int], search: Search) -> Iterator[Refined]:
        found = smallest_masks(
            self._networks.gradients,
            self._pixels,
            torch.from_numpy(self._classes),
            first_masks(self._trials, targets, self._shape),
            torch.tensor(targets),
            search,
        )
        for row, target in enumerate(targets):
            mask, pattern, soft = found.masks[row].numpy(), found.patterns[row].numpy(), float(found.norms[row])
            yield self._sized("smallest patch", target, soft, partial(stencil, mask, pattern))

    def _offsets(self, targets: list[int], search: Search) -> Iterator[Refined]:
        found = weakest_offsets(
            self._networks.gradients,
            self._pixels,
            torch.from_numpy(self._classes),
            first_offsets(self._trials, targets, self._shape),
            torch.tensor(targets),
            search,
        )
        for row, target in enumerate(targets):
            offset, soft = found.offsets[row].numpy(), float(found.sizes[row]) * _LEVELS
            yield self._sized("weakest offset", target, soft, partial(scaled, offset))

    def _sized(self, kind: Refinement, target: int, soft: float, made: Callable[[int], Stencil | Offset]) -> Refined:
        """The first size that works on the images that gradients saw, counted on the others."""
        others = self._chosen[self._classes != target]
        most = self._shape.height * self._shape.width if kind == "smallest patch" else _LEVELS

        def share(size: int) -> float:
            return float((predicted(self._networks.logits(made(size).stamp(others))) == target).mean())

        size = smallest_size(sizes_from(soft, most), share)
        pattern = made(most if size is None else size)
        counted = verify(pattern, Rule(target=target), self._judged, self._judged_logits, self._networks.logits)
        return Refined(kind, target, pattern.size, soft, size is not None, counted)
