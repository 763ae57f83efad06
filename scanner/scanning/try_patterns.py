"""Try the patterns that an audit found, as the pattern that flagged inputs share is tried, and look for their class."""

from __future__ import annotations

from typing import Final

import numpy as np

from detectors.demonstration.agreement import agreement
from detectors.demonstration.demonstrate import MIN_CLEAN
from detectors.demonstration.rule import Rule
from detectors.demonstration.trial import Answers, Ask, compare
from scanner.base.progress import Progress
from scanner.scanning.demonstrate import Pixels, ask_network, clean_pixels
from scanner.scanning.handed_over import HandedOver, HandedPattern
from scanner.scanning.material import Chosen
from scanner.scanning.options import ScanOptions
from scanner.scanning.stages import Counted, OpenedScan
from scanner.scanning.tried import Tried, TriedPattern

LISTED: Final = 100
"""Inputs that are named."""


def try_patterns(opened: OpenedScan, counted: Counted, options: ScanOptions, progress: Progress) -> Tried | None:
    """Try each pattern on the clean images; None where no audit was handed over.

    Raises:
        ProfileError: If the profile's clean images are damaged.
        SourceError: If the clean images of the command line cannot be listed.
    """
    handed = opened.handed
    if handed is None:
        return None
    if not handed.patterns:
        return _nothing(handed, "the audit found no pattern that moves an image by a rule about all classes")
    clean = clean_pixels(opened, options)
    if len(clean) < MIN_CLEAN:
        return _nothing(handed, f"there are {len(clean)} clean images to try them on, and {MIN_CLEAN} are needed")
    done = progress.task("patterns of the audit", len(handed.patterns))
    ask = ask_network(opened, counted, options)
    before, tried = ask(clean), list[TriedPattern]()
    for pattern in handed.patterns:
        tried.append(_try(pattern, (clean, before), ask, counted.chosen))
        done(1)
    # What does not move images cannot be behind flagged inputs: it is no hypothesis about them.
    shown = [one for one in tried if one.outcome.demonstrated]
    best = min(shown or tried, key=_weakness)
    targets = {one.pattern.rule.target for one in shown} - {None}
    agreeing = _agreeing(best.pattern.rule, counted.chosen)
    return Tried(handed.digest, len(tried), best, len(targets), agreeing, None)


def _try(pattern: HandedPattern, clean: tuple[Pixels, Answers], ask: Ask, chosen: Chosen) -> TriedPattern:
    pixels, before = clean
    outcome = compare(pattern.rule, before, ask(pattern.probe.stamp(pixels)), before)
    target = pattern.rule.target
    if target is None:
        return TriedPattern(pattern, outcome, None)
    suspicious, ordinary = (
        np.array([one.predicted for one in those], np.int64) for those in (chosen.suspicious, chosen.ordinary)
    )
    return TriedPattern(pattern, outcome, agreement(suspicious, ordinary, target))


def _weakness(one: TriedPattern) -> tuple[float, float]:
    """Lowest for the pattern whose target flagged inputs end in most clearly, and of these for the most successful."""
    return 1.0 if one.agreement is None else one.agreement.p_value, -one.outcome.rate


def _agreeing(rule: Rule, chosen: Chosen) -> tuple[str, ...]:
    return tuple(one.item.id for one in chosen.suspicious if one.predicted == rule.target)[:LISTED]


def _nothing(handed: HandedOver, missing: str) -> Tried:
    return Tried(handed.digest, 0, None, 0, (), missing)
