"""Look for the plain patterns that move most of the clean images, within the budget."""

from __future__ import annotations

from detectors.probing.probing import Probed, probe
from scanner.auditing.network import budget
from scanner.auditing.open_audit import OpenedAudit
from scanner.auditing.options import AuditOptions
from scanner.base.progress import Progress


def probe_model(opened: OpenedAudit, options: AuditOptions, progress: Progress) -> Probed:
    """Search on one half of the clean images and count on the other."""
    bounds = [f"{bound:g} {unit}" for bound, unit in ((options.budget, "seconds"), (options.passes, "passes")) if bound]
    told = " and ".join(bounds) or "no bound"
    progress.say(f"probing: plain patterns on {len(opened.images.items)} clean images (budget: {told})")
    return probe(opened.images.pixels, opened.logits, budget(options, progress), options.opening.seed)
