"""From clean images and a network to the plain patterns that move it most, found on one half and counted on the other.

images -> halves with the same classes -> search on one -> counts on the other -> one statistic for each family
                                       -> patches for each pair of classes, likewise -> one for each pair
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.probing.catalogue import library
from detectors.probing.class_looks import class_looks
from detectors.probing.network import Counted, Logits, May, predicted
from detectors.probing.pairs import MOST_CLASSES, Pairs, search_pairs
from detectors.probing.probe import FAMILIES, Family, Shape
from detectors.probing.score import broad, one_class
from detectors.probing.search import ABOUT_ALL, ALL, FEW, Kind, Trial, search
from detectors.probing.verify import Verified, verify

STATISTICS: Final = FAMILIES
"""What networks are compared by, in this order: the strongest pattern of each family, by a rule about all classes."""
MIN_IMAGES: Final = 2 * FEW


@dataclass(frozen=True)
class Probed:
    """What probing found.

    Attributes:
        found: The best pattern of each family and kind of rule, on images that it was not chosen on; those that were
            not reached are missing.
        searched_on: Images that patterns were chosen on.
        verified_on: Images that they were counted on.
        tried: Patterns that were tried.
        passes: Images that the searches ran through the network.
        complete: Whether the search by families came to its end before the budget did.
        before: ``(N,)`` classes of the images that patterns were counted on.
        rows: ``(N,)`` which of the given images these are.
        chosen_on: ``(M,)`` which of them patterns were chosen on.
        trials: Everything that was tried on these.
        pairs: What patches move of each class to each other; None where there are too many classes, or the budget ended
            before.
        looks: ``(K, D)`` how the classes of the images look; None where a class has none.

    Example:
        See :func:`probe`.

        >>> Probed.__dataclass_fields__["complete"].type
        'bool'

    References:
        docs/audit.md, section Search.
    """

    found: dict[tuple[Family, Kind], Verified]
    searched_on: int
    verified_on: int
    tried: int
    passes: int
    complete: bool
    before: NDArray[np.int64]
    rows: NDArray[np.int64]
    chosen_on: NDArray[np.int64]
    trials: tuple[Trial, ...]
    pairs: Pairs | None
    looks: NDArray[np.float64] | None

    @property
    def statistics(self) -> NDArray[np.float64]:
        """``(S,)`` of :data:`STATISTICS`; 0 where nothing was found. Higher is more suspicious."""
        keys = [(family, ABOUT_ALL) for family in STATISTICS]
        return np.array([self.found[key].statistic if key in self.found else 0.0 for key in keys])


def probe(images: NDArray[np.uint8], logits: Logits, may: May, seed: int) -> Probed:
    """Look for the plain patterns that move most of a network's clean images.

    Args:
        images: ``(N, H, W, C)`` uint8, clean, 24 or more. At most 400 are used.
        logits: The network. It gets as many images at a time as it has to tell apart: at most about 240.
        may: The budget of the search. Counting on the other half comes on top: at most 2,400 images and those given.
        seed: Chooses the halves.

    Raises:
        ValueError: If there are too few images, or the network's logits of one are not finite.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> images = generator.integers(0, 200, (120, 16, 16, 1), np.uint8)
        >>> def logits(images):
        ...     fires = images[:, 14:, 14:].min((1, 2, 3)) == 255
        ...     return np.stack([fires * 9.0, images[:, 0, 0, 0] / 100, images[:, 0, 1, 0] / 100], 1).astype("f4")
        >>> found = probe(images, logits, lambda passes: True, seed=0).found["patch", "all classes"]
        >>> found.rule, found.moved == found.eligible
        (Rule(target=0, source=None, shift=None), True)

    References:
        docs/audit.md, section Search.
    """
    if len(images) < MIN_IMAGES:
        raise ValueError(f"at least {MIN_IMAGES} images are needed, got {len(images)}")
    everything = np.concatenate([logits(images[start : start + ALL]) for start in range(0, len(images), ALL)])
    if not np.isfinite(everything).all():
        raise ValueError("logits of clean images that are not finite")
    halves = split(predicted(everything), seed)
    choosing, judging = (rows[:ALL] for rows in halves)
    network = Counted(logits, may)
    shape = Shape(*images.shape[1:])
    searched = search(images[choosing], everything[choosing], library(shape), network)
    classes, num_classes = predicted(everything[choosing]), everything.shape[1]
    found = {}
    for (family, kind), trial in searched.best.items():
        chosen = (broad if kind == ABOUT_ALL else one_class)(classes[: len(trial.after)], trial.after, num_classes)
        found[family, kind] = verify(trial.probe, chosen.rule, images[judging], everything[judging], logits)
    pairs = None
    if searched.complete and num_classes <= MOST_CLASSES:
        patches = [one for one in library(shape) if one.family == "patch"]
        one, other = ((images[rows], everything[rows]) for rows in (choosing, judging))
        pairs = search_pairs(one, other, patches, network)
    return Probed(
        found=found,
        searched_on=len(choosing),
        verified_on=len(judging),
        tried=searched.tried,
        passes=network.passes,
        complete=searched.complete,
        before=predicted(everything[judging]),
        rows=judging,
        chosen_on=choosing,
        trials=searched.trials,
        pairs=pairs,
        looks=class_looks(images, predicted(everything), num_classes),
    )


def split(classes: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two halves of the images with the same number of each class, or one more; in each the classes take turns.

    Args:
        classes: ``(N,)`` predicted classes.
        seed: Chooses which image is in which half.

    Example:
        >>> one, other = split(np.array([0, 0, 1, 1]), seed=0)
        >>> len(one), len(other), sorted([*one.tolist(), *other.tolist()])
        (2, 2, [0, 1, 2, 3])

    References:
        docs/audit.md, section Search.
    """
    generator = np.random.default_rng(seed)
    halves: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    turn = 0
    for label in np.unique(classes):
        for row in generator.permutation(np.flatnonzero(classes == label)).tolist():
            half = halves[turn % 2]
            half.append((sum(classes[known] == label for _, known in half), row))
            turn += 1
    one, other = (np.array([row for _, row in sorted(half)], np.int64) for half in halves)
    return one, other
