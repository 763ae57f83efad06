"""One pass over the inputs: scores, what they share, p-values, rows and counts.

inputs -> scores (one graph), looks -> spool -> shared units of all -> drift -> p-values -> rows, counts
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.drift.appearance import appearance, shape_statistics
from detectors.shared_units.detector import SharedUnits
from scanner.base.errors import ProfileError
from scanner.base.progress import Progress
from scanner.inputs.pipeline import run_pipeline
from scanner.inputs.preprocess import PreprocessSpec
from scanner.report.rows import open_rows
from scanner.scanning.copies import CopyTally
from scanner.scanning.distributions import DistributionTally
from scanner.scanning.drift import batch_drift
from scanner.scanning.judge import judge_outputs, rows_of, with_score_p_values
from scanner.scanning.labels import LabelTally
from scanner.scanning.material import MaterialTally
from scanner.scanning.options import ScanOptions
from scanner.scanning.rows import RowNamer
from scanner.scanning.sample import InputSample, Sample
from scanner.scanning.scanned import RowSink, UnreadableRow
from scanner.scanning.shared_units import batch_units, loud_only, with_shared_units
from scanner.scanning.sinks import InputsDigest, RowFile
from scanner.scanning.spool import ChunkSpool, chunk_spool
from scanner.scanning.stages import Counted, OpenedScan
from scanner.scanning.tally import Tally, Together


def count_inputs(opened: OpenedScan, options: ScanOptions, progress: Progress) -> Counted:
    """Score every input, and write the file of rows where one is wanted.

    Raises:
        ProfileError: If the profile's graph and header do not agree.
        OutputError: If the rows, or what is kept until then, cannot be written.
    """
    with chunk_spool(opened.source.items) as spool:
        sample = _score(opened, options, spool, progress.task("scan", len(opened.source.items)))
        together = _together(opened, options, sample)
        return _count(opened, options, spool, together)


def _score(
    opened: OpenedScan, options: ScanOptions, spool: ChunkSpool, progress: Callable[[int], None]
) -> Sample | None:
    """Run every input through the graph, once; scores go to the spool, and a sample of the inputs comes back."""
    header, calibration, fitted = opened.header, opened.calibration, opened.units
    spec, sample = PreprocessSpec.from_dict(header.preprocess.spec), InputSample()

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        outputs, single_scores = opened.scorer.run(pixels), options.rows is not None
        judged = judge_outputs(outputs, calibration, header.num_classes, single_scores=single_scores)
        judged["appearance"] = appearance(pixels)
        return judged if fitted is None else judged | {"units": _units(outputs, fitted)}

    chunk = opened.scorer.chunk
    for batch in run_pipeline(opened.source, spec, run, batch_size=chunk, threads=options.threads):
        if len(batch.readable):
            batch.outputs["appearance"][:, -2:] = shape_statistics(batch.sizes)
        sample.add(batch)
        kept = batch
        if fitted is not None:
            rest = {name: value for name, value in batch.outputs.items() if name != "units"}
            loud = loud_only(batch.outputs["units"], fitted) if len(batch.readable) else {}
            kept = replace(batch, outputs=rest | loud)
        spool.append(kept)
        progress(batch.start + len(batch.items))
    looks = opened.looks
    return sample.finish(None if looks is None else looks.copy_distance)


def _together(opened: OpenedScan, options: ScanOptions, sample: Sample | None) -> Together:
    """What inputs say together that one alone does not: the units they share, and whether all of them drifted."""
    if sample is None:
        return Together(None, None, 0, 0)
    units = None if opened.units is None else batch_units(sample, opened.units)
    drift = batch_drift(sample, units, opened.header, opened.calibration, opened.looks, options.alpha)
    return Together(units, drift, len(sample), sample.contents)


def _units(outputs: dict[str, NDArray[Any]], fitted: SharedUnits) -> NDArray[Any]:
    units = outputs["units"]
    if units.shape != (len(outputs["logits"]), fitted.reference.units) or units.dtype != np.float32:
        raise ProfileError("the graph's outputs do not have the shapes its header states", hint="Fit it again")
    return units


def _count(opened: OpenedScan, options: ScanOptions, spool: ChunkSpool, together: Together) -> Counted:
    """P-values of every input in order, to every sink, and the counts."""
    units, looks = together.units, opened.looks
    digest, calibration = InputsDigest(), opened.calibration
    distributions = DistributionTally(np.sort(calibration.combined), options.alpha)
    distance = None if looks is None else looks.copy_distance
    material, copies = MaterialTally(math.prod(opened.scorer.image_shape), distance), CopyTally(distance)
    labels = LabelTally(opened.header.class_names)
    sinks: list[RowSink] = [digest, distributions, material, labels]
    tally = Tally(opened.header.num_classes, options.top, options.alpha, calibration.size, copies)
    with ExitStack() as stack:
        rows = None if options.rows is None else stack.enter_context(open_rows(options.rows))
        if rows is not None:
            sinks.append(RowFile(rows, RowNamer(opened.header)))
        for batch in spool.replay():
            judged = replace(batch, outputs=with_shared_units(batch, units, calibration, opened.units))
            for row in rows_of(judged, options.alpha):
                if isinstance(row, UnreadableRow):
                    tally.leave_out(row)
                    for sink in sinks:
                        sink.unreadable(row)
                else:
                    tally.add(row)
                    for sink in sinks:
                        sink.scanned(row)
    counts = tally.finish(together)
    counts = replace(counts, top=with_score_p_values(counts.top, calibration))
    return Counted(
        counts=counts,
        digest=digest.hexdigest(),
        rows=None if rows is None else rows.section(),
        distributions=distributions.section(),
        chosen=material.finish(),
        labels=labels.section(),
    )
