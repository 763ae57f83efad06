"""From suspicious inputs to an experiment that anybody can repeat: the pattern, what it does, and what a control does.

suspicious, ordinary -> pattern of each (the same estimator) -> the better kind, chosen on some clean images
-> what both do to other clean images
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from detectors.demonstration.moments import moments
from detectors.demonstration.moving_patch import decisive_window, windows
from detectors.demonstration.pattern import KINDS, Pattern, amplified, estimate_pattern
from detectors.demonstration.rule import Rule
from detectors.demonstration.trial import Answers, Ask, Outcome, compare, success

PatternKind = Literal["patch", "pattern", "patch and pattern", "moving patch"]

MIN_SUSPICIOUS: Final = 5
MIN_CLEAN: Final = 30
CHOOSING: Final = 1 / 3
"""Share of the clean images that patterns are chosen on. The others judge them."""
DONORS: Final = 12
TRIED_ON: Final = 24
"""Inputs whose decisive window is looked for, and clean images that it is carried over to."""
MAX_PASSES: Final = 5000
STRENGTHS: Final = (1.0, 2.0)
"""What a pattern is multiplied by; a patch is as it is."""


@dataclass(frozen=True)
class Material:
    """Images ``(N, H, W, C)`` uint8 of one shape.

    Attributes:
        suspicious: Flagged inputs, the most suspicious first.
        ordinary: Images like them that are not flagged, of the same batch where it has enough.
        clean: Clean images that are in neither, in an order that has nothing to do with what is in them.
        suspicious_classes: ``(N,)`` int64 predicted classes of the suspicious images.
        ordinary_classes: Those of the ordinary ones.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> images, classes = np.zeros((4, 2, 2, 1), np.uint8), np.zeros(4, int)
        >>> Material(images, images, images, classes, classes).enough
        False

    References:
        docs/method.md, section Demonstration.
    """

    suspicious: NDArray[np.uint8]
    ordinary: NDArray[np.uint8]
    clean: NDArray[np.uint8]
    suspicious_classes: NDArray[np.int64]
    ordinary_classes: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse images of several shapes."""
        shapes = {part.shape[1:] for part in (self.suspicious, self.ordinary, self.clean)}
        if len(shapes) != 1 or any(part.dtype != np.uint8 for part in (self.suspicious, self.ordinary, self.clean)):
            raise ValueError(f"uint8 images of one shape are needed, got {sorted(map(str, shapes))}")
        counts = len(self.suspicious_classes), len(self.ordinary_classes)
        if counts != (len(self.suspicious), len(self.ordinary)):
            raise ValueError(f"a class for each suspicious and ordinary image is needed, got {counts}")

    @property
    def enough(self) -> bool:
        """Whether there is enough of each for an experiment."""
        few = len(self.suspicious) < MIN_SUSPICIOUS or len(self.clean) < MIN_CLEAN
        return not few and len(self.ordinary) >= 2 * MIN_SUSPICIOUS


@dataclass(frozen=True)
class Demonstration:
    """The pattern that suspicious inputs share, and what it does.

    Attributes:
        kind: What kind of pattern it is.
        strength: How many times as strong as it was estimated it was tried.
        pattern: The pattern as it was tried.
        outcome: What it does to clean images that had no part in choosing it.
        suspicious: Inputs that it was estimated from.
        passes: Images that were run through the network for all of this.
        before: ``(n,)`` classes of the clean images that judged it.
        after: Their classes with the pattern on them.

    Example:
        See :func:`demonstrate`.

        >>> Demonstration.__dataclass_fields__["passes"].type
        'int'

    References:
        docs/method.md, section Demonstration.
    """

    kind: PatternKind
    strength: float
    pattern: Pattern
    outcome: Outcome
    suspicious: int
    passes: int
    before: NDArray[np.int64]
    after: NDArray[np.int64]


@dataclass
class _Counted:
    """A network that counts what it is asked."""

    ask: Ask
    passes: int = 0

    def __call__(self, images: NDArray[np.uint8]) -> Answers:
        self.passes += len(images)
        return self.ask(images)


@dataclass(frozen=True)
class _Pair:
    """A pattern that suspicious images share, the rule that it follows, and the control's; None where it has none."""

    kind: PatternKind
    strength: float
    pattern: Pattern
    rule: Rule | None
    control: Pattern | None


def demonstrate(material: Material, ask: Ask, most: int = MAX_PASSES) -> Demonstration | None:
    """Estimate what suspicious inputs share, and try it on clean images, beside a control.

    The control is the same estimator, given as many ordinary images, of the same predicted classes where there are
    such: what pictures of one class share is no trigger. The kind of pattern is chosen on a third of the clean images,
    and it and the control's of the same kind are judged on the others. A patch whose position varies is looked for
    where a fixed pattern shows nothing, if passes are left for it. With at most 800 clean images no more than 5,000
    are run.

    Args:
        material: The images.
        ask: The network and the calibration; called with at most 1,000 images at a time.
        most: Images to run at most; the fixed patterns are tried whatever it is.

    Returns:
        The experiment, whatever came of it: see :attr:`Outcome.demonstrated`. None without enough images.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> clean = generator.integers(0, 200, (200, 8, 8, 1), np.uint8)
        >>> stamped = clean[:40].copy()
        >>> stamped[:, 6:, 6:] = 255
        >>> def network(images):
        ...     fires = images[:, 6:, 6:].min((1, 2, 3)) == 255
        ...     logits = np.stack([fires * 9.0, images[:, 0, 0, 0] / 100, images[:, 0, 1, 0] / 100], 1)
        ...     return Answers(logits.astype(np.float32), fires)
        >>> classes = network(clean).predicted
        >>> found = demonstrate(
        ...     Material(stamped, clean[40:100], clean[100:], np.zeros(40, int), classes[40:100]), network
        ... )
        >>> found.kind, found.outcome.demonstrated, found.outcome.rule.target, found.outcome.rate
        ('patch', True, 0, 1.0)

    References:
        docs/method.md, section Demonstration. Wang et al. (2019), Neural Cleanse, IEEE S&P, for judging a pattern by
        what it does; Chou et al. (2020), SentiNet, https://arxiv.org/abs/1812.00292, for carrying a patch over.
    """
    if not material.enough:
        return None
    network = _Counted(ask)
    number = max(MIN_SUSPICIOUS, int(CHOOSING * len(material.clean)))
    choosing, judging = material.clean[:number], material.clean[number:]
    before, judged = network(choosing), network(judging)
    pair = _fixed(material, choosing, before, network)
    found = None if pair is None else _judged(pair, judging, judged, network)
    if found is None or not found[0].demonstrated:
        spare = most - network.passes - 2 * len(judging)
        if spare >= 2 * DONORS * (len(windows(*material.clean.shape[1:3])) + TRIED_ON + 1):
            moving = _moving(material, choosing, before, network)
            carried = None if moving is None else _judged(moving, judging, judged, network)
            if carried is not None and (found is None or carried[0].demonstrated):
                pair, found = moving, carried
    if pair is None or found is None:
        return None
    outcome, after = found
    return Demonstration(
        pair.kind,
        pair.strength,
        pair.pattern,
        outcome,
        len(material.suspicious),
        network.passes,
        judged.predicted,
        after,
    )


def _fixed(material: Material, choosing: NDArray[np.uint8], before: Answers, network: Ask) -> _Pair | None:
    """The best fixed pattern of the suspicious images, and that of as many ordinary ones of the same kind."""
    # At least half of the ordinary images stand for clean ones, others for the control: neither sees the other's.
    like_them = control_rows(material.suspicious_classes, material.ordinary_classes, len(material.ordinary) // 2)
    clean = moments(np.delete(material.ordinary, like_them, axis=0))
    suspicious, ordinary = moments(material.suspicious), moments(material.ordinary[like_them])
    best, highest = None, (-1.0, 0.0)
    for kind in KINDS:
        for strength in STRENGTHS if kind != "patch" else STRENGTHS[:1]:
            pattern, control = (
                amplified(estimate_pattern(those, clean, kind), strength) for those in (suspicious, ordinary)
            )
            if not pattern.changes:
                continue
            after = network(pattern.stamp(choosing))
            rule, low = success(before, after)
            if (low, float(after.flagged.mean())) > highest:
                highest = (low, float(after.flagged.mean()))
                best = _Pair(kind, strength, pattern, rule, control if control.changes else None)
    return best


def control_rows(suspicious: NDArray[np.int64], ordinary: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Rows of ordinary images for a control: as many as there are suspicious ones, of their classes where there are.

    Args:
        suspicious: ``(N,)`` predicted classes of the suspicious images.
        ordinary: ``(M,)`` those of the ordinary ones.
        most: How many rows at most.

    Example:
        >>> control_rows(np.array([7, 7, 3]), np.array([0, 7, 1, 7, 7]), 3)
        array([0, 1, 3])

    References:
        docs/method.md, section Demonstration.
    """
    count = min(len(suspicious), most)
    wanted = dict(zip(*(column.tolist() for column in np.unique(suspicious, return_counts=True)), strict=True))
    alike = []
    for row, label in enumerate(ordinary.tolist()):
        if wanted.get(label, 0) > 0:
            wanted[label] -= 1
            alike.append(row)
    others = np.setdiff1d(np.arange(len(ordinary)), alike)
    return np.sort(np.concatenate([np.array(alike, np.int64), others])[:count])


def _moving(material: Material, choosing: NDArray[np.uint8], before: Answers, network: Ask) -> _Pair | None:
    """The best window of a suspicious image, and that of an ordinary one; of rules about all classes alone."""
    background = moments(choosing).median
    like_them = control_rows(material.suspicious_classes[:DONORS], material.ordinary_classes, DONORS)
    best = [
        _best_donor(images[:DONORS], background, (choosing[:TRIED_ON], before.take(slice(0, TRIED_ON))), network)
        for images in (material.suspicious, material.ordinary[like_them])
    ]
    if best[0] is None:
        return None
    return _Pair("moving patch", 1.0, *best[0], None if best[1] is None else best[1][0])


def _best_donor(
    images: NDArray[np.uint8],
    background: NDArray[np.float32],
    tried_on: tuple[NDArray[np.uint8], Answers],
    network: Ask,
) -> tuple[Pattern, Rule | None] | None:
    """The window that moves most images by a rule about all classes."""
    choosing, before = tried_on
    best, highest = None, -1.0
    for image, label in zip(images, network(images).predicted.tolist(), strict=True):
        if label < 0:
            continue
        pattern = decisive_window(image, label, background, network).pattern()
        rule, low = success(before, network(pattern.stamp(choosing)), broad=True)
        if low > highest:
            best, highest = (pattern, rule), low
    return best


def _judged(
    pair: _Pair, judging: NDArray[np.uint8], before: Answers, network: Ask
) -> tuple[Outcome, NDArray[np.int64]]:
    """What the pattern does to images that had no part in choosing it, and their classes."""
    control = before if pair.control is None else network(pair.control.stamp(judging))
    stamped = network(pair.pattern.stamp(judging))
    return compare(pair.rule, before, stamped, control), stamped.predicted
