"""One pass over the inputs: scores, p-values, rows and counts.

inputs -> scores (one graph) -> p-values -> rows, counts
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanner.base.progress import Progress
from scanner.inputs.pipeline import run_pipeline
from scanner.inputs.preprocess import PreprocessSpec
from scanner.report.rows import open_rows
from scanner.scanning.distributions import DistributionTally
from scanner.scanning.judge import judge_outputs, rows_of, with_score_p_values
from scanner.scanning.options import ScanOptions
from scanner.scanning.rows import RowNamer
from scanner.scanning.scanned import RowSink, UnreadableRow
from scanner.scanning.sinks import InputsDigest, RowFile
from scanner.scanning.stages import Counted, OpenedScan
from scanner.scanning.tally import ScanCounts, Tally


def count_inputs(opened: OpenedScan, options: ScanOptions, progress: Progress) -> Counted:
    """Score every input, and write the file of rows where one is wanted.

    Raises:
        ProfileError: If the profile's graph and header do not agree.
        OutputError: If the rows cannot be written.
    """
    digest = InputsDigest()
    distributions = DistributionTally(np.sort(opened.calibration.combined), options.alpha)
    sinks: list[RowSink] = [digest, distributions]
    with ExitStack() as stack:
        rows = None if options.rows is None else stack.enter_context(open_rows(options.rows))
        if rows is not None:
            sinks.append(RowFile(rows, RowNamer(opened.header)))
        counts = _pass(opened, options, sinks, progress.task("scan", len(opened.source.items)))
    return Counted(counts, digest.hexdigest(), None if rows is None else rows.section(), distributions.section())


def _pass(
    opened: OpenedScan, options: ScanOptions, sinks: Sequence[RowSink], progress: Callable[[int], None]
) -> ScanCounts:
    """Score every input; every sink gets every row in order."""
    header, calibration = opened.header, opened.calibration
    spec = PreprocessSpec.from_dict(header.preprocess.spec)
    tally = Tally(header.num_classes, options.top)
    smallest = 1.0 / (calibration.size + 1)

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        outputs, single_scores = opened.scorer.run(pixels), options.rows is not None
        return judge_outputs(outputs, calibration, header.num_classes, single_scores=single_scores)

    chunk = opened.scorer.chunk
    for batch in run_pipeline(opened.source, spec, run, batch_size=chunk, threads=options.threads):
        for row in rows_of(batch, options.alpha):
            if isinstance(row, UnreadableRow):
                tally.leave_out(row)
                for sink in sinks:
                    sink.unreadable(row)
            else:
                tally.add(row, above_all=row.p_value <= smallest * (1 + 1e-9))
                for sink in sinks:
                    sink.scanned(row)
        progress(batch.start + len(batch.items))
    counts = tally.finish(calibration.size, options.alpha)
    return replace(counts, top=with_score_p_values(counts.top, calibration))
