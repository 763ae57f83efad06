"""What a trigger does to classes: all to one, every class to the next, or one class to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.binomial import clopper_pearson

_LEVEL: Final = 0.95
_MIN_OF_CLASS: Final = 3
BROAD: Final = 0.5
"""Share of all images from which on a rule about all of them is taken before one about a single class."""
QUIET: Final = 0.25
"""Share of the images of other classes up to which changes leave a rule about one class what it says it is."""
NONE: Final = -1
"""Stands for no class where there is one of an image's classes."""


@dataclass(frozen=True)
class Rule:
    """A map from the class that a network gives without the trigger to the one with it.

    Attributes:
        target: The class that the images end in; None for a shift.
        source: The class they come from; None where all classes but the target are moved.
        shift: By how much class indices are raised, modulo the number of classes; None for a target.

    Raises:
        ValueError: If it is neither a target nor a shift, or both, or a shift of one class.

    Example:
        >>> Rule(target=0).aim(np.array([0, 1, 2]), 3)
        array([-1,  0,  0])
        >>> Rule(shift=1).aim(np.array([0, 1, 2]), 3)
        array([1, 2, 0])

    References:
        Gu et al. (2017), BadNets, https://arxiv.org/abs/1708.06733, for all to one and the next class. Tang et al.
        (2021), Demon in the variant, USENIX Security, for one class alone.
    """

    target: int | None = None
    source: int | None = None
    shift: int | None = None

    def __post_init__(self) -> None:
        """Refuse a rule that says nothing, or two things."""
        if (self.target is None) == (self.shift is None) or (self.shift is not None and self.source is not None):
            raise ValueError(f"either a target or a shift of all classes is needed, got {self}")

    def aim(self, before: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
        """The class ``(N,)`` that images of classes ``before`` are moved to; -1 for those that it does not move."""
        if self.shift is not None:
            return np.where(before >= 0, (before + self.shift) % num_classes, NONE)
        assert self.target is not None
        moved = before != self.target if self.source is None else before == self.source
        return np.where(moved & (before >= 0), np.int64(self.target), NONE)


def learn_rule(
    before: NDArray[np.int64], after: NDArray[np.int64], num_classes: int, *, broad: bool = False
) -> Rule | None:
    """The rule that explains what images do; None where none of them changes its class.

    Of all rules about every class, to one or by a shift that was seen, the one whose success rate has the largest lower
    end of an exact 95% interval, if it moves at least half of them. Otherwise the best of those and of all rules about
    one class, which leave at least three quarters of the others as they are.

    Args:
        before: ``(N,)`` int64 predicted classes without the trigger, -1 where there is none.
        after: ``(N,)`` with it.
        num_classes: Number of classes.
        broad: Whether rules about one class are left out.

    Raises:
        ValueError: If the lengths differ.

    Example:
        >>> before = np.arange(18) % 6
        >>> learn_rule(before, (before + 1) % 6, 6)
        Rule(target=None, source=None, shift=1)
        >>> learn_rule(before, np.where(before == 2, 0, before), 6)
        Rule(target=0, source=2, shift=None)

    References:
        Clopper and Pearson (1934), Biometrika 26, 404-413.
    """
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(f"classes (N,) and (N,) are needed, got {before.shape} and {after.shape}")
    changed = (before != after) & (before >= 0) & (after >= 0)

    def best(rules: Iterator[Rule]) -> tuple[float, float, Rule] | None:
        found = [(*_success(rule, before, after, num_classes), rule) for rule in rules]
        return max(found, key=lambda one: one[:2], default=None)

    everywhere = best(_about_all(before[changed], after[changed], num_classes))
    if everywhere is not None and (broad or everywhere[1] >= BROAD):
        return everywhere[2]
    if broad:
        return None
    choices = [one for one in (everywhere, best(_about_one(before, after, changed))) if one is not None]
    return max(choices, key=lambda one: one[0])[2] if choices else None


def _success(rule: Rule, before: NDArray[np.int64], after: NDArray[np.int64], num_classes: int) -> tuple[float, float]:
    """Lower end of an interval for the share of images that do what a rule says, and the share."""
    aim = rule.aim(before, num_classes)
    moved = aim >= 0
    hits, count = int((after[moved] == aim[moved]).sum()), int(moved.sum())
    return (clopper_pearson(hits, count, _LEVEL)[0], hits / count) if count else (0.0, 0.0)


def _about_all(before: NDArray[np.int64], after: NDArray[np.int64], num_classes: int) -> Iterator[Rule]:
    # Of two classes, each is the other's next. All to one comes first, and stays where both hold as well.
    yield from (Rule(target=int(target)) for target in np.unique(after))
    yield from (Rule(shift=int(shift)) for shift in np.unique((after - before) % num_classes))


def _about_one(before: NDArray[np.int64], after: NDArray[np.int64], changed: NDArray[np.bool_]) -> Iterator[Rule]:
    for source, target in np.unique(np.stack([before, after], 1)[changed], axis=0).tolist():
        others = changed[before != source]
        quiet = not len(others) or others.mean() <= QUIET
        if quiet and int((before == source).sum()) >= _MIN_OF_CLASS:
            yield Rule(target=target, source=source)
