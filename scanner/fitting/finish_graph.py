"""The finished graph, and what it says of images that were fitted to."""

from __future__ import annotations

import numpy as np

from scanner.base.errors import SourceError
from scanner.fitting.fit_detectors import late_descriptors
from scanner.fitting.options import FitOptions
from scanner.fitting.self_check import Rescan, sample_rows, self_checks
from scanner.fitting.session import open_session
from scanner.fitting.stages import Detectors, Reference, ScoringGraph, Subject, TappedNetwork
from scanner.graph.bundle import GraphBundle
from scanner.graph.head import merge_head
from scanner.graph.session import images_per_run
from scanner.inputs.items import why_unreadable
from scanner.inputs.pipeline import run_pipeline


def finish_graph(
    subject: Subject, network: TappedNetwork, reference: Reference, detectors: Detectors, options: FitOptions
) -> ScoringGraph:
    """Append the detectors to the network, and try the result.

    Raises:
        ModelError: If a self-check fails.
        SourceError: If an image that was read before cannot be read any more.
    """
    units = late_descriptors(network.descriptors)
    graph = merge_head(network.graph, detectors.deep, network.descriptors, tuple(reference.tail_shapes), units)
    rescan = _rescan(graph, subject, reference, detectors, options)
    return ScoringGraph(graph, self_checks(rescan, detectors.deep, reference.plan))


def _rescan(
    graph: GraphBundle, subject: Subject, reference: Reference, detectors: Detectors, options: FitOptions
) -> Rescan:
    """A sample of the reference through the finished graph, from its files on."""
    features, source = reference.features, subject.source
    rows = sample_rows(len(features.rows))
    session = open_session(graph, options)
    size = images_per_run(subject.spec.size, session.provider)
    items = [source.items[row] for row in features.rows[rows].tolist()]
    parts = []
    for batch in run_pipeline(
        source, subject.spec, lambda pixels: session.run({"pixels": pixels}, ["scores"]), batch_size=size, items=items
    ):
        if batch.unreadable:
            why = why_unreadable(*batch.unreadable[0])
            raise SourceError(f"an image cannot be read any more: {why}", where=str(source.root))
        parts.append(batch.outputs["scores"])
    spooled = {key: features.spooled[key][rows] for key in detectors.deep.densities}
    return Rescan(
        rows, np.concatenate(parts), detectors.deep.score(spooled, features.predicted[rows], features.log_odds[rows])
    )
