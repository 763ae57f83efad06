"""The smallest mask that moves images to a class: the optimisation of Neural Cleanse, from a start that is given."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from detectors.inversion.optimise import Drawn, Network, Search, inverse, optimise


@dataclass(frozen=True)
class Masks:
    """What :func:`smallest_masks` found.

    Attributes:
        masks: ``(T, H, W)`` float32 between 0 and 1.
        patterns: ``(T, C, H, W)`` float32 between 0 and 1.
        norms: ``(T,)`` sums of the masks, in pixels; infinite for a target that was never reached.

    Example:
        See :func:`smallest_masks`.

        >>> Masks.__dataclass_fields__["norms"].name
        'norms'

    References:
        Wang et al. (2019), Neural Cleanse, IEEE S&P, https://doi.org/10.1109/SP.2019.00031.
    """

    masks: torch.Tensor
    patterns: torch.Tensor
    norms: torch.Tensor


def smallest_masks(
    network: Network, images: torch.Tensor, classes: torch.Tensor, start: Masks, targets: torch.Tensor, search: Search
) -> Masks:
    """For each target the smallest mask, and what is to be seen through it, that moves images there.

    With a mask ``m`` and a pattern ``p``, both between 0 and 1 as hyperbolic tangents of what is optimised,

    .. math:: \\min_{m, p} \\; \\mathrm{CE}(f((1 - m) x + m p), t) + c \\lVert m \\rVert_1

    Args:
        network: The network; its weights need no gradients.
        images: ``(N, C, H, W)`` float32 between 0 and 1.
        classes: ``(N,)`` classes without a pattern; images of a target's own class are not used for it.
        start: Where to begin, one mask and pattern for each target.
        targets: ``(T,)`` classes.
        search: How to search.

    Raises:
        ValueError: If all images are of one target's class, or shapes differ.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> images = torch.rand(60, 1, 6, 6, generator=generator) * 0.5
        >>> def corner(images):
        ...     bright = images[:, 0, 5, 5] - 0.75
        ...     return torch.stack([-40 * bright, 40 * bright], 1)
        >>> start = Masks(torch.full((1, 6, 6), 0.5), torch.full((1, 1, 6, 6), 0.5), torch.full((1,), torch.inf))
        >>> found = smallest_masks(corner, images, torch.zeros(60), start, torch.tensor([1]), Search(steps=120))
        >>> bool(found.masks[0].argmax() == 35), bool(found.norms[0] < 6)
        (True, True)

    References:
        Wang et al. (2019), Neural Cleanse, IEEE S&P, https://doi.org/10.1109/SP.2019.00031.
    """
    if start.masks.shape[0] != len(targets) or start.patterns.shape[0] != len(targets):
        raise ValueError(f"a start for each of {len(targets)} targets is needed, got {len(start.masks)}")
    raw_masks = inverse(start.masks * 2 - 1).requires_grad_()
    raw_patterns = inverse(start.patterns * 2 - 1).requires_grad_()

    def stamp(drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mask = (torch.tanh(raw_masks) + 1) / 2
        pattern = (torch.tanh(raw_patterns) + 1) / 2
        shown = mask[:, None, None]
        return (1 - shown) * drawn + shown * pattern[:, None], mask.sum((1, 2))

    kept = optimise(network, Drawn(images, classes, targets, search), [raw_masks, raw_patterns], stamp)
    masks, patterns = ((torch.tanh(value) + 1) / 2 for value in kept.values)
    return Masks(masks, patterns, kept.sizes)
