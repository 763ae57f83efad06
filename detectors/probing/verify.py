"""What a pattern does to clean images that had no part in finding it, counted, with exact intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.binomial import clopper_pearson
from detectors.demonstration.rule import Rule
from detectors.demonstration.trial import ClassFlips
from detectors.probing.network import Logits, predicted
from detectors.probing.probe import Probe

LEVEL: Final = 0.95


@dataclass(frozen=True)
class Verified:
    """A pattern on images that it was not chosen on.

    Attributes:
        probe: The pattern.
        rule: What it does to classes, chosen where the pattern was; None where it moved nothing.
        images: Images that it was tried on.
        eligible: Those of them that the rule is about.
        moved: Those of these that do what it says.
        low: Lower end of an exact 95% interval of their share.
        high: Its upper end.
        flipped: Of all images, those that change their class in any way.
        others: Images that the rule is not about.
        others_flipped: Those of them that change their class.
        by_class: Changes by the class without the pattern.
        after: ``(N,)`` classes with it; -1 where there is none.

    Example:
        See :func:`verify`.

        >>> Verified.__dataclass_fields__["moved"].type
        'int'

    References:
        Clopper and Pearson (1934), Biometrika 26, 404-413.
    """

    probe: Probe
    rule: Rule | None
    images: int
    eligible: int
    moved: int
    low: float
    high: float
    flipped: int
    others: int
    others_flipped: int
    by_class: tuple[ClassFlips, ...]
    after: NDArray[np.int64]

    @property
    def rate(self) -> float:
        """Share of the eligible images that do what the rule says."""
        return self.moved / self.eligible if self.eligible else 0.0

    @property
    def statistic(self) -> float:
        """The rate; of a rule about one class, less the share of the other images that change."""
        if self.rule is None or self.rule.source is None or not self.others:
            return self.rate
        return max(0.0, self.rate - self.others_flipped / self.others)


def verify(
    probe: Probe, rule: Rule | None, images: NDArray[np.uint8], before: NDArray[np.float32], logits: Logits
) -> Verified:
    """Count what a pattern does to images.

    Args:
        probe: The pattern.
        rule: The rule that it is said to follow.
        images: ``(N, H, W, C)`` uint8 that neither was chosen on.
        before: ``(N, K)`` their logits.
        logits: The network.

    Raises:
        ValueError: If the lengths differ.

    Example:
        >>> from detectors.probing.tint import Tint
        >>> images = np.zeros((30, 8, 8, 1), np.uint8)
        >>> def dark_or_light(images):
        ...     light = images.mean((1, 2, 3)) / 255
        ...     return np.stack([0.05 - light, light], 1).astype(np.float32)
        >>> found = verify(Tint((24,)), Rule(target=1), images, dark_or_light(images), dark_or_light)
        >>> found.moved, found.eligible, round(found.low, 2)
        (30, 30, 0.88)

    References:
        Clopper and Pearson (1934), Biometrika 26, 404-413.
    """
    if len(images) != len(before):
        raise ValueError(f"logits of every image are needed, got {len(before)} for {len(images)}")
    classes, after = predicted(before), predicted(logits(probe.stamp(images)))
    changed = classes != after
    aim = np.full(len(classes), -1) if rule is None else rule.aim(classes, before.shape[1])
    eligible = aim >= 0
    count, moved = int(eligible.sum()), int((eligible & (after == aim)).sum())
    low, high = clopper_pearson(moved, count, LEVEL) if count else (0.0, 1.0)
    return Verified(
        probe=probe,
        rule=rule,
        images=len(images),
        eligible=count,
        moved=moved,
        low=low,
        high=high,
        flipped=int(changed.sum()),
        others=int((~eligible).sum()),
        others_flipped=int((changed & ~eligible).sum()),
        by_class=tuple(
            ClassFlips(int(label), int((classes == label).sum()), int((changed & (classes == label)).sum()))
            for label in np.unique(classes)
        ),
        after=after,
    )
