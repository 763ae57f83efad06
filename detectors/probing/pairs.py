"""What a patch moves of one class to another: of every pair of a source and a target, the patch that moves it most.

all patches on a few images of each class -> the best of each pair -> those that move something counted on other images

A backdoor in one class alone leaves the other classes as they are, so that no rule about all classes shows it. On clean
networks a patch moves nearly all of some class as well, the 1 that becomes a 7: only beside the same pair of clean
networks does a number say something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.probing.network import Counted, predicted
from detectors.probing.probe import Probe

MOST_CLASSES: Final = 20
"""Classes of a network whose pairs are searched at most: the images that it takes grow with them."""
OF_CLASS: Final = 4
"""Images of each class that patches are chosen on."""
WORTH: Final = 0.25
"""Share of the images that a pair's patch has to move there to be counted on others; the other pairs have 0."""
_FEWEST: Final = 3
"""Images of a class below which nothing is said of it."""


@dataclass(frozen=True)
class Pairs:
    """What patches move of each class to each other.

    Attributes:
        moved: ``(K, K)`` by source and target: share of the source's images that the pair's patch moves to the target,
            less the share of the other images that change, on images that it was not chosen on; at least 0.
        probes: The patch of each pair that was counted.

    Example:
        See :func:`search_pairs`.

        >>> Pairs(np.zeros((2, 2)), {}).moved.shape
        (2, 2)

    References:
        Tang et al. (2021), Demon in the variant, USENIX Security, https://arxiv.org/abs/1908.00686.
    """

    moved: NDArray[np.float64]
    probes: Mapping[tuple[int, int], Probe]


def moved_of_pairs(before: NDArray[np.int64], after: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Of each source and target ``(K, K)``: the share that is moved, less the share of the other images that change.

    Args:
        before: ``(N,)`` predicted classes without the patch.
        after: ``(N,)`` with it; -1 where there is none.
        classes: Number of classes.

    Raises:
        ValueError: If the lengths differ.

    Example:
        >>> before = np.arange(9) % 3
        >>> moved_of_pairs(before, np.where(before == 2, 0, before), 3)[2]
        array([1., 0., 0.])

    References:
        docs/audit.md, section Pairs of classes.
    """
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(f"classes (N,) and (N,) are needed, got {before.shape} and {after.shape}")
    changed = (before != after) & (after >= 0)
    found = np.zeros((classes, classes))
    for source in np.unique(before[changed]).tolist():
        own = before == source
        if own.sum() >= _FEWEST:
            others = float(changed[~own].mean()) if not own.all() else 0.0
            hits = np.bincount(after[own & changed], minlength=classes) / own.sum()
            found[source] = np.maximum(0.0, hits - others)
    return found


def search_pairs(
    choosing: tuple[NDArray[np.uint8], NDArray[np.float32]],
    judging: tuple[NDArray[np.uint8], NDArray[np.float32]],
    patches: Sequence[Probe],
    network: Counted,
) -> Pairs | None:
    """Find the patch of each pair of classes that moves it most, and count what it moves; None where the budget ends.

    Patches are chosen on the first images, :data:`OF_CLASS` for each class, and counted on all of the others.

    Args:
        choosing: Images ``(N, H, W, C)`` uint8, in an order in which classes take turns, and their logits ``(N, K)``.
        judging: Other images and theirs.
        patches: What is tried.
        network: The network, with its budget.

    Raises:
        ValueError: If there are more than :data:`MOST_CLASSES` classes, or not as many logits as images.

    Example:
        >>> from detectors.probing.patch import Patch
        >>> generator = np.random.default_rng(0)
        >>> images = generator.integers(0, 200, (80, 8, 8, 1), np.uint8)
        >>> def logits(images):
        ...     fires = images[:, 6:, 6:].min((1, 2, 3)) == 255
        ...     seen = np.stack([images[:, 0, column, 0] / 100.0 for column in range(3)], 1)
        ...     seen[fires & (seen.argmax(1) == 1), 2] = 9.0
        ...     return seen.astype("f4")
        >>> halves = (images[:40], logits(images[:40])), (images[40:], logits(images[40:]))
        >>> tried = [Patch(2, 3, 3, "white"), Patch(2, 6, 6, "white")]
        >>> found = search_pairs(*halves, tried, Counted(logits, lambda passes: True))
        >>> float(found.moved[1, 2]), found.probes[1, 2].row, float(found.moved[0, 2])
        (1.0, 6, 0.0)

    References:
        Tang et al. (2021), Demon in the variant, USENIX Security, https://arxiv.org/abs/1908.00686, for backdoors in
        one class alone; docs/audit.md, section Pairs of classes, for the counts.
    """
    classes = choosing[1].shape[1]
    if classes > MOST_CLASSES or any(len(images) != len(logits) for images, logits in (choosing, judging)):
        raise ValueError(f"logits of every image for at most {MOST_CLASSES} classes are needed, got {classes} classes")
    first, before = choosing[0][: OF_CLASS * classes], predicted(choosing[1][: OF_CLASS * classes])
    best, chosen = np.zeros((classes, classes)), np.full((classes, classes), -1)
    for position, logits in enumerate(network.stamped(patches, first)):
        value = moved_of_pairs(before, predicted(logits), classes)
        better = value > best
        best[better], chosen[better] = value[better], position
    if network.stopped:
        return None
    chosen[best < WORTH] = -1
    worth = np.unique(chosen[chosen >= 0]).tolist()
    moved, before = np.zeros((classes, classes)), predicted(judging[1])
    for position, logits in zip(worth, network.stamped([patches[one] for one in worth], judging[0]), strict=False):
        mine = chosen == position
        moved[mine] = moved_of_pairs(before, predicted(logits), classes)[mine]
    if network.stopped:
        return None
    pairs = zip(*(side.tolist() for side in np.nonzero(chosen >= 0)), strict=True)
    return Pairs(moved, {(source, target): patches[chosen[source, target]] for source, target in pairs})
