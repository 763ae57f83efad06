"""An experiment on clean images: stamp a pattern, and compare what the network does with what a control does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.binomial import binomial_tail, clopper_pearson
from detectors.demonstration.rule import Rule, learn_rule

LEVEL: Final = 0.95
MAX_P_VALUE: Final = 1e-3
MIN_RATE: Final = 0.5
"""Share of the images that a trigger has to move by its rule."""
MIN_RATE_ONE_CLASS: Final = 0.75
"""The same of a rule about one class: there are few images of it, and similar classes are near."""
MIN_EXCESS: Final = 0.3
"""... and by how much more than the control does."""
MIN_FLAGGED: Final = 0.5
"""Share of the images that has to be flagged beyond those that are under the control: it was for being flagged that the
inputs were suspicious."""


@dataclass(frozen=True)
class Answers:
    """What a network and a calibration say of ``N`` images.

    Attributes:
        logits: ``(N, C)`` float32.
        flagged: ``(N,)`` bool.

    Example:
        >>> Answers(np.eye(2, dtype=np.float32), np.zeros(2, bool)).predicted
        array([0, 1])

    References:
        docs/method.md, section Demonstration.
    """

    logits: NDArray[np.float32]
    flagged: NDArray[np.bool_]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """``(N,)`` classes; -1 where logits are not finite."""
        return np.where(np.isfinite(self.logits).all(1), self.logits.argmax(1), -1)

    def take(self, rows: slice) -> Answers:
        """Those of some images."""
        return Answers(self.logits[rows], self.flagged[rows])


Ask = Callable[[NDArray[np.uint8]], Answers]
"""From images ``(N, H, W, C)`` uint8 to answers."""


@dataclass(frozen=True)
class ClassFlips:
    """Images of one class that change it.

    Attributes:
        label: The class that the network gives without the pattern.
        images: How many there are.
        flipped: How many of them change.

    Example:
        >>> ClassFlips(label=1, images=20, flipped=19).flipped
        19

    References:
        docs/method.md, section Demonstration.
    """

    label: int
    images: int
    flipped: int


@dataclass(frozen=True)
class Outcome:
    """What a pattern does to the clean images that had no part in choosing it, beside a control's.

    Attributes:
        rule: What the pattern does to classes; None where it moves none.
        images: Images that it was tried on.
        eligible: Those of them that the rule is about.
        moved: Those of these that do what the rule says.
        low: Lower end of an exact 95% interval of their share.
        high: Its upper end.
        flagged: Eligible images that are flagged once they carry the pattern.
        flipped: Of all images, those that change their class in any way.
        control_moved: Eligible images that do what the rule says under the control.
        control_flagged: Eligible images that are flagged under the control.
        control_flipped: Of all images, those that change their class under the control.
        p_value: Exact, that the pattern moves no more of them than the control (McNemar, one-sided).
        by_class: Changes by the class without the pattern.

    Example:
        >>> before = Answers(np.eye(3, dtype=np.float32)[np.arange(30) % 3], np.zeros(30, bool))
        >>> after = Answers(np.eye(3, dtype=np.float32)[np.zeros(30, int)], np.ones(30, bool))
        >>> outcome = compare(Rule(target=0), before, after, before)
        >>> outcome.moved, outcome.eligible, outcome.demonstrated
        (20, 20, True)

    References:
        McNemar (1947), Psychometrika 12, 153-157. Clopper and Pearson (1934), Biometrika 26, 404-413.
    """

    rule: Rule | None
    images: int
    eligible: int
    moved: int
    low: float
    high: float
    flagged: int
    flipped: int
    control_moved: int
    control_flagged: int
    control_flipped: int
    p_value: float
    by_class: tuple[ClassFlips, ...]

    @property
    def rate(self) -> float:
        """Share of the eligible images that do what the rule says."""
        return self.moved / self.eligible if self.eligible else 0.0

    @property
    def control_rate(self) -> float:
        """The same share under the control."""
        return self.control_moved / self.eligible if self.eligible else 0.0

    @property
    def demonstrated(self) -> bool:
        """Whether this is what a trigger does."""
        return (
            self.p_value <= MAX_P_VALUE
            and self.rate >= (MIN_RATE if self.rule is None or self.rule.source is None else MIN_RATE_ONE_CLASS)
            and self.rate - self.control_rate >= MIN_EXCESS
            and self.flagged - self.control_flagged >= MIN_FLAGGED * self.eligible
        )


def compare(rule: Rule | None, before: Answers, stamped: Answers, control: Answers) -> Outcome:
    """What a rule says of images with a pattern and with a control's.

    Args:
        rule: Chosen on other images; None is about no image.
        before: Of the images as they are.
        stamped: Of the same with the pattern.
        control: Of the same with the control's.

    Raises:
        ValueError: If the lengths differ.

    Example:
        See :class:`Outcome`.

        >>> one = Answers(np.eye(2, dtype=np.float32), np.zeros(2, bool))
        >>> compare(None, one, one, one).p_value
        1.0

    References:
        McNemar (1947), Psychometrika 12, 153-157. Clopper and Pearson (1934), Biometrika 26, 404-413.
    """
    lengths = {len(answers.flagged) for answers in (before, stamped, control)}
    if len(lengths) != 1:
        raise ValueError(f"answers about the same images are needed, got {sorted(lengths)}")
    classes, num_classes = before.predicted, before.logits.shape[1]
    aim = np.full(len(classes), -1) if rule is None else rule.aim(classes, num_classes)
    eligible = aim >= 0
    hits, misses = (eligible & (answers.predicted == aim) for answers in (stamped, control))
    alone, other = int((hits & ~misses).sum()), int((misses & ~hits).sum())
    count, moved = int(eligible.sum()), int(hits.sum())
    low, high = clopper_pearson(moved, count, LEVEL) if count else (0.0, 1.0)
    changed = stamped.predicted != classes
    return Outcome(
        rule=rule,
        images=len(classes),
        eligible=count,
        moved=moved,
        low=low,
        high=high,
        flagged=int((eligible & stamped.flagged).sum()),
        flipped=int(changed.sum()),
        control_moved=int(misses.sum()),
        control_flagged=int((eligible & control.flagged).sum()),
        control_flipped=int((control.predicted != classes).sum()),
        p_value=binomial_tail(alone, alone + other, 0.5) if alone + other else 1.0,
        by_class=tuple(
            ClassFlips(int(label), int((classes == label).sum()), int((changed & (classes == label)).sum()))
            for label in np.unique(classes[classes >= 0])
        ),
    )


def success(before: Answers, after: Answers, *, broad: bool = False) -> tuple[Rule | None, float]:
    """The rule that a pattern follows best, and a lower bound of the share of images that it moves by it.

    Args:
        before: Of images as they are.
        after: Of the same with the pattern.
        broad: Whether rules about one class are left out.

    Args:
        before: Of the images as they are.
        after: Of the same with the pattern.
        broad: Whether rules about one class are left out.

    Raises:
        ValueError: If the lengths differ.

    Example:
        >>> one = Answers(np.eye(2, dtype=np.float32), np.zeros(2, bool))
        >>> success(one, one)
        (None, 0.0)

    References:
        docs/method.md, section Demonstration.
    """
    rule = learn_rule(before.predicted, after.predicted, before.logits.shape[1], broad=broad)
    if rule is None:
        return None, 0.0
    aim = rule.aim(before.predicted, before.logits.shape[1])
    moved = (aim >= 0) & (after.predicted == aim)
    return rule, clopper_pearson(int(moved.sum()), int((aim >= 0).sum()), LEVEL)[0]
