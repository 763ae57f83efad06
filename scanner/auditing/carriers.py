"""Which of some inputs carry the pattern that an audit found: their pixels are compared, and the network is not run."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.probing.carriers import carriers_p_value, likeness
from detectors.probing.probing import Probed
from detectors.probing.search import ABOUT_ALL
from detectors.probing.verify import Verified
from scanner.auditing.open_audit import OpenedAudit
from scanner.base.progress import Progress
from scanner.base.text import portable
from scanner.inputs.items import Source
from scanner.inputs.pipeline import run_pipeline
from scanner.report.audit.schema import MAX_CARRIERS, CarriersSection, CarryingInput
from scanner.verdict.audit_rules import load_audit_rules

_BATCH: Final = 8


@dataclass(frozen=True)
class Sought:
    """A pattern that inputs may carry, and what clean images have of it.

    Attributes:
        found: The pattern.
        clean: ``(n,)`` likenesses of the clean images that it was counted on.
    """

    found: Verified
    clean: NDArray[np.float64]


def sought(opened: OpenedAudit, probed: Probed) -> Sought | None:
    """Of the patterns that move most clean images, the strongest that leaves something to compare, if there is one."""
    rules, clean = load_audit_rules(), opened.images.pixels[probed.rows]
    moving = [one for (_, about), one in probed.found.items() if about == ABOUT_ALL and one.rate >= rules.min_rate]
    for one in sorted(moving, key=lambda one: -one.rate):
        if one.rule is not None and (found := likeness(one.probe, clean)) is not None:
            return Sought(one, found)
    return None


def find_carriers(opened: OpenedAudit, probed: Probed, inputs: Source, progress: Progress) -> CarriersSection | None:
    """Compare every input, decoded as the network sees it; None where no pattern is worth looking for."""
    pattern = sought(opened, probed)
    if pattern is None:
        return None
    probe, most = pattern.found.probe, float(pattern.clean.max())

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        found = likeness(probe, pixels)
        assert found is not None
        return {"likeness": found}

    done, compared, unreadable, carrying = progress.task("inputs", len(inputs.items)), 0, 0, 0
    kept: list[tuple[float, int, str, str]] = []
    for batch in run_pipeline(inputs, opened.subject.spec, run, batch_size=_BATCH):
        compared, unreadable = compared + len(batch.readable), unreadable + len(batch.unreadable)
        for position, which in enumerate(batch.readable.tolist()):
            value, item = float(batch.outputs["likeness"][position]), batch.items[which]
            if value > most:
                carrying += 1
                heapq.heappush(kept, (value, -item.index, item.id, batch.digests[which] or ""))
                if len(kept) > MAX_CARRIERS:
                    heapq.heappop(kept)
        done(compared + unreadable)
    return CarriersSection(
        name=portable(inputs.root.name or "/"),
        described=probe.describe(),
        inputs=compared,
        unreadable=unreadable,
        clean=len(pattern.clean),
        clean_most=most,
        carrying=carrying,
        p_value=carriers_p_value(carrying, compared, len(pattern.clean)),
        alike=tuple(
            CarryingInput(index=-index, id=name, sha256=sha256, likeness=value)
            for value, index, name, sha256 in sorted(kept, reverse=True)
        ),
    )
