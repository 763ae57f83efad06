"""The audited network among clean ones, where there are some of its kind."""

from __future__ import annotations

from dataclasses import dataclass

from detectors.probing.null import Comparison, compare_networks
from detectors.probing.probing import Probed
from scanner.auditing.clean_networks import CleanNetworks, Kind, find_clean_networks
from scanner.auditing.open_audit import OpenedAudit
from scanner.auditing.options import AuditOptions


@dataclass(frozen=True)
class Compared:
    """The network among clean ones.

    Attributes:
        networks: The clean ones; None where there are none.
        comparison: What comes of it; None likewise.
        why_not: Why there are none, in a sentence.
    """

    networks: CleanNetworks | None
    comparison: Comparison | None
    why_not: str


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
    )
    networks, why_not = find_clean_networks(kind, opened.accepted, opened.subject.model.file.sha256)
    if networks is None:
        return Compared(None, None, why_not)
    return Compared(networks, compare_networks(probed.statistics, networks.statistics, options.alpha), "")
