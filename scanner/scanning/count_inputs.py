"""From the scores of all inputs to what they share, p-values, rows and counts.

chunks -> sample -> shared units of all, drift -> chunks once more -> p-values -> rows, counts
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from scanner.base.progress import Progress
from scanner.report.rows import open_rows
from scanner.scanning.chunks.folder import Chunks
from scanner.scanning.chunks.score import run_batches
from scanner.scanning.copies import CopyTally
from scanner.scanning.distributions import DistributionTally
from scanner.scanning.drift import batch_drift
from scanner.scanning.judge import rows_of, with_score_p_values
from scanner.scanning.labels import LabelTally
from scanner.scanning.material import MaterialTally
from scanner.scanning.options import ScanOptions
from scanner.scanning.rows import RowNamer
from scanner.scanning.sample import InputSample, Sample
from scanner.scanning.scanned import RowSink, UnreadableRow
from scanner.scanning.shared_units import batch_units, with_shared_units
from scanner.scanning.sinks import InputsDigest, RowFile
from scanner.scanning.stages import Counted, OpenedScan
from scanner.scanning.tally import Tally, Together


def count_inputs(opened: OpenedScan, chunks: Chunks, options: ScanOptions, progress: Progress) -> Counted:
    """Judge inputs that were scored, and write the file of rows where one is wanted.

    Args:
        opened: The profile and the inputs.
        chunks: Their scores; what is missing counts as not scanned.
        options: What to do.
        progress: Told what happens.

    Raises:
        UsageError: If a chunk is damaged, or of another plan.
        OutputError: If the rows cannot be written.
    """
    together = _together(opened, options, draw_sample(opened, chunks, options.threads))
    return _count(opened, options, chunks, (together, progress.task("judge", len(chunks.source.items))))


def draw_sample(opened: OpenedScan, chunks: Chunks, threads: int | None) -> Sample | None:
    """The sample of all inputs; those of it whose units no chunk holds are read again. None for no input."""
    sample = InputSample(len(chunks.source.items))
    for batch in chunks.replay():
        sample.add(batch)
    missing = [chunks.source.items[index] for index in sample.missing()]
    for batch in run_batches(opened, missing, threads) if missing else ():
        sample.complete(batch)
    return sample.finish(None if opened.looks is None else opened.looks.copy_distance)


def _together(opened: OpenedScan, options: ScanOptions, sample: Sample | None) -> Together:
    """What inputs say together that one alone does not: the units they share, and whether all of them drifted."""
    if sample is None:
        return Together(None, None, 0, 0)
    units = None if opened.units is None else batch_units(sample, opened.units, opened.calibration, options.alpha)
    drift = batch_drift(sample, units, opened.header, opened.calibration, opened.looks, options.alpha)
    return Together(units, drift, len(sample), sample.contents)


def _count(
    opened: OpenedScan, options: ScanOptions, chunks: Chunks, known: tuple[Together, Callable[[int], None]]
) -> Counted:
    """P-values of every input in order, to every sink, and the counts."""
    together, progress = known
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
        for batch in chunks.replay():
            outputs = with_shared_units(batch, units, calibration, opened.units)
            if rows is not None and len(batch.readable):
                outputs["score_p_values"] = calibration.judge(outputs["scores"]).score_p_values
            judged = replace(batch, outputs=outputs)
            for row in rows_of(judged, options.alpha):
                if isinstance(row, UnreadableRow):
                    tally.leave_out(row)
                    for sink in sinks:
                        sink.unreadable(row)
                else:
                    tally.add(row)
                    for sink in sinks:
                        sink.scanned(row)
            progress(batch.start + len(batch.items))
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
