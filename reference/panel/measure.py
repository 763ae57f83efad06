"""All detectors on one network and one cell's pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.datasets import ImageSet
from reference.panel.bench import Bench
from reference.panel.default import ALONE, measure_default
from reference.panel.figures import figures, judge
from reference.panel.peers import Peer
from reference.panel.pictures import SIZES


def measure(
    bench: Bench,
    peers: Sequence[Peer],
    seed: int,
    sizes: Sequence[int] = SIZES,
    said: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Figures of the product's default and of peers.

    Args:
        bench: Network and pictures.
        peers: Other detectors.
        seed: Of the default's calibration plan.
        sizes: Clean images a class.
        said: Called with the name of each detector when it begins.

    Returns:
        ``clean_accuracy``, ``attack_success_rate``, and ``detectors``: by name and number of clean images a class, and
        what they cost; a detector that the network does not suit is None.
    """
    pictures = bench.pictures
    said(ALONE)
    default = measure_default(bench, sizes, seed)
    detectors: dict[str, Any] = dict(default.detectors)
    for peer in peers:
        said(peer.name)
        detectors[peer.name] = _peer(bench, peer, sizes, default.succeeds)
    return {
        "clean_accuracy": round(default.accuracy, 5),
        "attack_success_rate": round(float(default.succeeds.mean()), 5),
        "images": {"clean": len(pictures.clean), "triggered": len(pictures.triggered)},
        "detectors": detectors,
    }


def _peer(bench: Bench, peer: Peer, sizes: Sequence[int], succeeds: NDArray[np.bool_]) -> dict[str, Any] | None:
    pictures = bench.pictures
    parts = [_first(one, peer.most) for one in (pictures.held_out, pictures.clean, pictures.triggered)]
    found: dict[str, Any] = {}
    scores: list[NDArray[np.float64]] = []
    cost: dict[str, float] = {}
    for size in sizes:
        if peer.fits or not scores:
            score = peer.prepare(bench, pictures.rows(size))
            if score is None:
                return None
            held_out = score(parts[0])
            before = bench.cost.copy()
            with bench.paid():
                clean = score(parts[1])
            cost = cost or bench.cost.since(before).each(len(parts[1]))
            scores = [held_out, clean, score(parts[2])]
        judged = judge(scores[0][: pictures.rows(size)], scores[1], scores[2])
        found[str(size)] = figures(judged, succeeds[: len(parts[2])])
    return {**found, **cost}


def _first(images: ImageSet, most: int) -> ImageSet:
    return images if len(images) <= most else ImageSet(images.images[:most], images.labels[:most])
