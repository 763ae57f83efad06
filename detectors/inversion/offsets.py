"""The weakest offset that, added to images, moves them to a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch

from detectors.inversion.optimise import Drawn, Network, Search, inverse, optimise

_FIRST_AMPLITUDE: Final = 0.2
"""Of the whole range of a pixel. A weaker start is made as strong: one that moves nothing has no gradients."""


@dataclass(frozen=True)
class Offsets:
    """What :func:`weakest_offsets` found.

    Attributes:
        offsets: ``(T, C, H, W)`` float32, in units of the whole range of a pixel.
        sizes: ``(T,)`` largest changes of a pixel in the same units; infinite for a target that was never reached.

    Example:
        See :func:`weakest_offsets`.

        >>> Offsets.__dataclass_fields__["sizes"].name
        'sizes'

    References:
        Moosavi-Dezfooli et al. (2017), Universal adversarial perturbations, CVPR, https://arxiv.org/abs/1610.08401.
    """

    offsets: torch.Tensor
    sizes: torch.Tensor


def weakest_offsets(
    network: Network,
    images: torch.Tensor,
    classes: torch.Tensor,
    start: torch.Tensor,
    targets: torch.Tensor,
    search: Search,
) -> Offsets:
    """For each target the offset with the smallest amplitude that, added to images, moves them there.

    The offset is ``a`` times a hyperbolic tangent; the logarithm of the amplitude ``a`` is optimised as well, with the
    weight ``c`` on the amplitude.

    Args:
        network: The network; its weights need no gradients.
        images: ``(N, C, H, W)`` float32 between 0 and 1.
        classes: ``(N,)`` classes without an offset; images of a target's own class are not used for it.
        start: ``(T, C, H, W)`` offsets to begin with, in units of the whole range.
        targets: ``(T,)`` classes.
        search: How to search.

    Raises:
        ValueError: If all images are of one target's class, or shapes differ.

    Example:
        >>> images = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
        >>> def bright(images):
        ...     light = images.mean((1, 2, 3)) - 0.6
        ...     return torch.stack([-90 * light, 90 * light], 1)
        >>> search = Search(steps=200, weight=0.1)
        >>> found = weakest_offsets(bright, images, torch.zeros(60), torch.zeros(1, 1, 6, 6), torch.tensor([1]), search)
        >>> bool(0.08 < found.sizes[0] < 0.16)
        True

    References:
        Moosavi-Dezfooli et al. (2017), Universal adversarial perturbations, CVPR, https://arxiv.org/abs/1610.08401.
    """
    if start.shape[0] != len(targets):
        raise ValueError(f"a start for each of {len(targets)} targets is needed, got {len(start)}")
    amplitude = start.abs().amax((1, 2, 3)).clamp_min(_FIRST_AMPLITUDE)
    logarithm = amplitude.log().requires_grad_()
    raw = inverse(start / amplitude[:, None, None, None]).requires_grad_()

    def stamp(drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        size = logarithm.exp()
        offset = size[:, None, None, None] * torch.tanh(raw)
        return (drawn + offset[:, None]).clamp(0, 1), size

    kept = optimise(network, Drawn(images, classes, targets, search), [logarithm, raw], stamp)
    return Offsets(kept.values[0].exp()[:, None, None, None] * torch.tanh(kept.values[1]), kept.sizes)
