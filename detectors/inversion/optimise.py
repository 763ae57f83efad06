"""Gradient search for a pattern that moves images to a class: as small a mask, or as weak an offset, as will do.

All targets are searched at once, each with a weight of its own on size, which rises while the pattern works and falls
while it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

Network = Callable[[torch.Tensor], torch.Tensor]
"""From images ``(N, C, H, W)`` float32 between 0 and 1 to logits ``(N, K)``, with gradients."""

_INSIDE = 0.999
"""How far from the ends of an interval a start stays, so that its gradients do not vanish."""


@dataclass(frozen=True)
class Search:
    """How a search is made.

    Attributes:
        steps: Steps of Adam.
        images: Images of each step and target, drawn anew.
        success: Share of images from which on a pattern works.
        rate: Learning rate, in units of the inverse hyperbolic tangent.
        weight: Of size at the beginning.
        factor: By which the weight rises; it falls by its 1.5th power.
        patience: Steps between two changes of the weight, which decide together whether the pattern works.
        seed: Of the drawing of images.

    Example:
        >>> Search(steps=5).success
        0.9

    References:
        Wang et al. (2019), Neural Cleanse, IEEE S&P, https://doi.org/10.1109/SP.2019.00031.
    """

    steps: int = 150
    images: int = 10
    success: float = 0.9
    rate: float = 0.1
    weight: float = 1e-3
    factor: float = 1.5
    patience: int = 5
    seed: int = 0


class Drawn:
    """Images of other classes for each target, drawn anew at each step, whatever other targets there are.

    Args:
        images: ``(N, C, H, W)`` float32 between 0 and 1.
        classes: ``(N,)`` their classes.
        targets: ``(T,)`` classes that images are moved to.
        search: How many are drawn, and the seed.

    Raises:
        ValueError: If all images are of one target's class, or shapes differ.

    Example:
        >>> images = torch.arange(4.0).reshape(4, 1, 1, 1)
        >>> Drawn(images, torch.tensor([0, 0, 0, 1]), torch.tensor([0]), Search(images=2)).draw().ravel()
        tensor([3., 3.])

    References:
        Wang et al. (2019), Neural Cleanse, IEEE S&P, https://doi.org/10.1109/SP.2019.00031.
    """

    def __init__(self, images: torch.Tensor, classes: torch.Tensor, targets: torch.Tensor, search: Search) -> None:
        if images.ndim != 4 or classes.shape != (len(images),) or targets.ndim != 1:
            raise ValueError(
                f"images (N, C, H, W), their classes (N,) and targets (T,) are needed, got {tuple(images.shape)}, "
                f"{tuple(classes.shape)} and {tuple(targets.shape)}"
            )
        self.targets, self.search = targets, search
        self._images = images
        self._rows = [torch.nonzero(classes != target).ravel() for target in targets]
        if any(not len(rows) for rows in self._rows):
            raise ValueError("images of other classes than the target's are needed")
        self._generators = [torch.Generator().manual_seed(search.seed + int(target)) for target in targets]

    def draw(self) -> torch.Tensor:
        """Images ``(T, B, C, H, W)``."""
        picks = [
            rows[torch.randint(len(rows), (self.search.images,), generator=generator)]
            for rows, generator in zip(self._rows, self._generators, strict=True)
        ]
        return self._images[torch.stack(picks)]


@dataclass
class Kept:
    """What was optimised, as it was when each target's pattern worked and was smallest.

    Attributes:
        values: One tensor for each that was optimised, targets first; for a target that was never reached, its end.
        sizes: ``(T,)`` sizes then; infinite for a target that was never reached.

    Example:
        >>> kept = Kept([torch.zeros(1)], torch.tensor([torch.inf]))
        >>> kept.keep([torch.ones(1)], torch.tensor([7.0]), torch.tensor([True]))
        >>> kept.values[0], kept.sizes
        (tensor([1.]), tensor([7.]))

    References:
        Wang et al. (2019), Neural Cleanse, IEEE S&P, https://doi.org/10.1109/SP.2019.00031.
    """

    values: list[torch.Tensor]
    sizes: torch.Tensor

    def keep(self, values: list[torch.Tensor], sizes: torch.Tensor, works: torch.Tensor) -> None:
        """Take over what works and is smaller."""
        better = works & (sizes < self.sizes)
        self.sizes = torch.where(better, sizes, self.sizes)
        for kept, value in zip(self.values, values, strict=True):
            kept[better] = value.detach()[better]


def optimise(
    network: Network,
    drawn: Drawn,
    values: list[torch.Tensor],
    stamp: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
) -> Kept:
    """Adam on the sum over targets of cross-entropy and weighted size.

    Args:
        network: The network.
        drawn: Images and targets.
        values: What is optimised, each with targets first.
        stamp: From images ``(T, B, C, H, W)`` to the same with the patterns, and the sizes ``(T,)`` of these.

    Example:
        >>> drawn = Drawn(torch.full((2, 1, 1, 1), 0.5), torch.zeros(2), torch.tensor([1]), Search(steps=100))
        >>> value = torch.tensor([1.0], requires_grad=True)
        >>> def brighter(images):
        ...     return images + value.reshape(-1, 1, 1, 1, 1), value.abs()
        >>> found = optimise(lambda images: torch.cat([0.8 - images.flatten(1), images.flatten(1) - 0.8], 1) * 50,
        ...                  drawn, [value], brighter)
        >>> bool(0.3 <= found.sizes[0] < 0.5)
        True

    References:
        Kingma and Ba (2015), Adam, ICLR, https://arxiv.org/abs/1412.6980. Wang et al. (2019), Neural Cleanse, IEEE S&P,
        https://doi.org/10.1109/SP.2019.00031, for the weight on size.
    """
    search, count = drawn.search, len(drawn.targets)
    aims = drawn.targets.repeat_interleave(search.images)
    optimiser = torch.optim.Adam(values, lr=search.rate, betas=(0.5, 0.9))
    weights = torch.full((count,), search.weight)
    kept = Kept([value.detach().clone() for value in values], torch.full((count,), torch.inf))
    hits = torch.zeros(count)
    for step in range(search.steps):
        if step % search.patience == 0:
            hits = torch.zeros(count)
        stamped, sizes = stamp(drawn.draw())
        logits = network(stamped.flatten(0, 1))
        hits += (logits.detach().argmax(1) == aims).reshape(count, -1).float().mean(1)
        losses = F.cross_entropy(logits, aims, reduction="none").reshape(count, -1).mean(1)
        optimiser.zero_grad(set_to_none=True)
        (losses + weights * sizes).sum().backward()  # type: ignore[no-untyped-call]
        if (step + 1) % search.patience == 0:
            works = hits >= search.success * search.patience
            kept.keep(values, sizes.detach(), works)
            weights = torch.where(works, weights * search.factor, weights / search.factor**1.5)
        optimiser.step()
    never = torch.isinf(kept.sizes)
    for saved, value in zip(kept.values, values, strict=True):
        saved[never] = value.detach()[never]
    return kept


def inverse(value: torch.Tensor) -> torch.Tensor:
    """The inverse hyperbolic tangent, of values as near to -1 and 1 as leaves them gradients.

    Example:
        >>> inverse(torch.tensor([0.0, 1.0])).round(decimals=1)
        tensor([0.0000, 3.8000])

    References:
        Wang et al. (2019), Neural Cleanse, IEEE S&P, https://doi.org/10.1109/SP.2019.00031.
    """
    return torch.atanh(value.clamp(-_INSIDE, _INSIDE)).detach()
