"""The audited network among clean ones, where there are some of its kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.demonstration.rule import Rule
from detectors.probing.null import Comparison, compare_networks
from detectors.probing.probing import Probed
from detectors.probing.verify import Verified, verify
from scanner.auditing.clean_networks import CleanNetworks, Kind, find_clean_networks
from scanner.auditing.open_audit import OpenedAudit
from scanner.auditing.options import AuditOptions

FAMILIES, PAIRS = 0, 1
"""Groups of statistics, in their order."""


@dataclass(frozen=True)
class Compared:
    """The network among clean ones.

    Attributes:
        networks: The clean ones; None where there are none.
        comparison: What comes of it; None likewise.
        why_not: Why there are none, in a sentence.
        pair: Of the pair of classes that is most unusual among them, the patch that moves it; None where pairs were not
            compared, or no patch moves any.
    """

    networks: CleanNetworks | None
    comparison: Comparison | None
    why_not: str
    pair: Verified | None = None


def compare(opened: OpenedAudit, probed: Probed, options: AuditOptions) -> Compared:
    """Compare statistics with those of clean networks of the same kind."""
    height, width, channels = opened.images.pixels.shape[1:]
    pixels = opened.images.pixels
    kind = Kind(
        shape=(height, width, channels),
        num_classes=opened.subject.model.num_classes,
        accuracy=opened.accuracy,
        images=len(pixels),
        look=(float(pixels.mean()), float(pixels.std())),
        classes=None if probed.pairs is None else probed.looks,
    )
    networks, why_not = find_clean_networks(kind, opened.accepted, opened.subject.model.file.sha256)
    if networks is None:
        return Compared(None, None, why_not)
    pairs = None if probed.pairs is None else networks.pairs.beside(probed.pairs.moved)
    if pairs is None or probed.pairs is None:
        return Compared(networks, compare_networks(probed.statistics, networks.statistics, options.alpha), "")
    own, known = pairs
    comparison = compare_networks(
        np.concatenate([probed.statistics, own]),
        np.hstack([networks.statistics, known]),
        options.alpha,
        (len(probed.statistics), len(own)),
    )
    moved = probed.pairs.moved
    position = comparison.within[PAIRS] if networks.pairs.moved is not None else int(moved.argmax())
    return Compared(networks, comparison, "", _unusual_pair(opened, probed, divmod(position, len(moved))))


def _unusual_pair(opened: OpenedAudit, probed: Probed, pair: tuple[int, int]) -> Verified | None:
    """What the patch of the most unusual pair does, counted again with everything that a report says."""
    assert probed.pairs is not None
    source, target = pair
    patch = probed.pairs.probes.get(pair)
    if patch is None:
        return None
    images = opened.images.pixels[probed.rows]
    return verify(patch, Rule(target=target, source=source), images, opened.logits(images), opened.logits)
