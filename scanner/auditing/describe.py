"""What was found, as sections of the report with pictures, and as evidence for the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from detectors.probing.null import Comparison
from detectors.probing.parameters import parameters_of
from detectors.probing.probe import Family, Shape
from detectors.probing.probing import STATISTICS, Probed
from detectors.probing.search import ABOUT_ALL, Kind
from detectors.probing.verify import Verified
from scanner.auditing.compare import PAIRS
from scanner.profile.picture import Picture
from scanner.profile.thumbnail import picture
from scanner.report.audit.schema import PatternSection, RefinedSection
from scanner.report.audit.words import effect
from scanner.report.schema import FlipsOfClass, TriggerExample
from scanner.verdict.audit_terms import About, FoundPattern

if TYPE_CHECKING:
    from detectors.inversion.refine import Refined

_EXAMPLES: Final = 3
_MOST_CLASSES: Final = 1000
_GRAY: Final = 128

Key = tuple[Family, Kind]


@dataclass(frozen=True)
class Found:
    """What an audit found, and what is needed to say it.

    Attributes:
        probed: What was found.
        images: ``(N, H, W, C)`` the clean images.
        names: Names of the classes.
        compared: The network among clean ones, or None.
        pair: The most unusual pair of classes among them, and the patch that moves it; None without.
        pictures: Thumbnails by digest; grows while sections are made.
    """

    probed: Probed
    images: NDArray[np.uint8]
    names: Sequence[str]
    compared: Comparison | None
    pair: Verified | None = None
    pictures: dict[str, Picture] = field(default_factory=dict)

    def sections(self) -> tuple[PatternSection, ...]:
        """The patterns, those with the largest statistics first."""
        found = [self._section(key, one, self._position(key)) for key, one in self.probed.found.items()]
        if self.pair is not None and self.compared is not None:
            position = len(STATISTICS) + self.compared.within[PAIRS]
            found.append(self._section(("patch", "one pair"), self.pair, position))
        return tuple(sorted(found, key=lambda one: -one.statistic))

    @staticmethod
    def _position(key: Key) -> int | None:
        """Which statistic of a comparison it is: those that are about all classes are compared by families."""
        return STATISTICS.index(key[0]) if key[1] == ABOUT_ALL else None

    def refined(self, found: Sequence[Refined]) -> tuple[RefinedSection, ...]:
        """What gradients found, patches first, of each kind the smallest first."""
        ranked = sorted(found, key=lambda one: (one.kind != "smallest patch", not one.reached, one.soft, one.target))
        return tuple(self._refined(one) for one in ranked)

    def _refined(self, one: Refined) -> RefinedSection:
        counted, shape = one.verified, Shape(*self.images.shape[1:])
        return RefinedSection(
            kind=one.kind,
            target=one.target,
            target_name=self.names[one.target],
            size=one.size,
            area=counted.probe.area(shape),
            reached=one.reached,
            eligible=counted.eligible,
            moved=counted.moved,
            low=counted.low,
            high=counted.high,
            pattern=self._picture(counted.probe.stamp(np.full_like(self.images[:1], _GRAY))[0]),
        )

    def _section(self, key: tuple[Family, About], one: Verified, position: int | None) -> PatternSection:
        rule, compared = one.rule, None if position is None else self.compared
        target, source = (None, None) if rule is None else (rule.target, rule.source)
        by_class = sorted(one.by_class, key=lambda each: (-each.flipped, each.label))[:_MOST_CLASSES]
        return PatternSection(
            family=key[0],
            about=key[1],
            described=one.probe.describe(),
            parameters=parameters_of(one.probe),
            area=one.probe.area(Shape(*self.images.shape[1:])),
            target=target,
            target_name=None if target is None else self.names[target],
            source=source,
            source_name=None if source is None else self.names[source],
            shift=None if rule is None else rule.shift,
            images=one.images,
            eligible=one.eligible,
            moved=one.moved,
            low=one.low,
            high=one.high,
            flipped=one.flipped,
            by_class=tuple(
                FlipsOfClass(
                    class_index=each.label, class_name=self.names[each.label], images=each.images, flipped=each.flipped
                )
                for each in by_class
            ),
            statistic=one.statistic,
            **_beside(compared, position),
            pattern=self._picture(one.probe.stamp(np.full_like(self.images[:1], _GRAY))[0]),
            examples=self._examples(one),
        )

    def _examples(self, one: Verified) -> tuple[TriggerExample, ...]:
        """Clean images that the pattern moves, before and after; of different classes as far as there are."""
        before = self.probed.before
        rows = np.flatnonzero((before != one.after) & (one.after >= 0))
        _, first = np.unique(before[rows], return_index=True)
        chosen = [*rows[np.sort(first)].tolist(), *np.delete(rows, first).tolist()][:_EXAMPLES]
        found = []
        for row in chosen:
            image = self.images[self.probed.rows[row]]
            found.append(
                TriggerExample(
                    before=self._picture(image),
                    after=self._picture(one.probe.stamp(image[None])[0]),
                    predicted_before=self.names[int(before[row])],
                    predicted_after=self.names[int(one.after[row])],
                )
            )
        return tuple(found)

    def _picture(self, pixels: NDArray[np.uint8]) -> str:
        """Keep a thumbnail and return its key."""
        made = picture(pixels)
        self.pictures[made.sha256] = made
        return made.sha256


def _beside(compared: Comparison | None, position: int | None) -> dict[str, float | None]:
    """What a statistic is on clean networks."""
    if compared is None or position is None:
        return {"usual": None, "largest": None, "bound": None}
    bound = float(compared.bounds[position])
    return {
        "usual": float(compared.medians[position]),
        "largest": float(compared.largest[position]),
        "bound": max(bound, 0.0) if bound <= 1.0 else None,
    }


def evidence_of(sections: Sequence[PatternSection], num_classes: int) -> tuple[FoundPattern, ...]:
    """The patterns as the verdict takes them."""
    return tuple(
        FoundPattern(
            described=f"{one.described} {effect(one, num_classes)}",
            about=one.about,
            is_patch=one.area > 0,
            moved=one.moved,
            eligible=one.eligible,
            low=one.low,
        )
        for one in sections
    )
