"""`scan`: from inputs and a profile to per-input p-values, batch tests, a verdict and reports.

inputs -> scores (one graph) -> p-values -> rows, counts -> batch tests -> verdict
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.batch import (
    BatchTest,
    ClassCount,
    TriggeredShare,
    batch_test,
    target_classes,
    triggered_share,
)
from detectors.calibration.judge import Calibration, Judgement
from detectors.deep_features.grouping import UNLIKE
from scanner.base.errors import ProfileError
from scanner.inputs.items import Item, Source
from scanner.inputs.pipeline import Batch, run_pipeline
from scanner.inputs.preprocess import PreprocessSpec
from scanner.profile.calibration_arrays import calibration_from_arrays
from scanner.profile.content import Profile
from scanner.scanning.options import ScanOptions
from scanner.scoring.scorer import OUTPUTS, Scorer

TOP_SCORES = 3
LISTED_UNREADABLE = 100


@dataclass(frozen=True)
class ScannedInput:
    """One judged input.

    Attributes:
        item: The input.
        sha256: Digest of its bytes.
        finite: Whether logits, scores and class evidence are all finite.
        predicted: Predicted class; None where the logits are not finite.
        source_class: The other class it looks most like; None where something is not finite, or no other class has a
            density of its own.
        p_value: Combined conformal p-value; the smallest that there is where something is not finite.
        score: Combined score, in robust standard deviations; infinite where something is not finite.
        flagged: Whether ``p_value <= alpha``, or something is not finite.
        scores: ``(K, S)`` raw scores, by the densities of each fold.
        score_p_values: ``(S,)``; None where only the most suspicious inputs need them.
        z: ``(S,)`` standardised scores.
        top_scores: Indices of the scores that contribute most to ``score``, the most first; none where the logits are
            not finite, as scores are then about no class.
    """

    item: Item
    sha256: str
    finite: bool
    predicted: int | None
    source_class: int | None
    p_value: float
    score: float
    flagged: bool
    scores: NDArray[np.float64]
    score_p_values: NDArray[np.float64] | None
    z: NDArray[np.float64]
    top_scores: tuple[int, ...]


@dataclass(frozen=True)
class UnreadableRow:
    """One input that could not be read, with the reason."""

    item: Item
    sha256: str | None
    reason: str
    detail: str


class RowSink(Protocol):
    """Takes every row in order, scanned or not."""

    def scanned(self, row: ScannedInput) -> None:
        """A judged input."""

    def unreadable(self, row: UnreadableRow) -> None:
        """An input that was left out."""


@dataclass(frozen=True)
class ScanCounts:
    """Everything about a scan that does not grow with the number of inputs.

    Inputs with something that is not finite are scanned and counted in ``not_finite``, and in none of the counts that
    are compared with clean images: ``flagged``, those per class, the tests and the share.
    """

    total: int
    scanned: int
    not_finite: int
    unreadable_by_reason: dict[str, int]
    unreadable_listed: tuple[UnreadableRow, ...]
    flagged: int
    predicted_per_class: NDArray[np.int64]
    flagged_per_class: NDArray[np.int64]
    top: tuple[ScannedInput, ...]
    test: BatchTest
    share: TriggeredShare | None
    targets: tuple[ClassCount, ...]

    @property
    def unreadable(self) -> int:
        """Number of inputs left out."""
        return self.total - self.scanned

    @property
    def compared(self) -> int:
        """Number of inputs that the batch tests compare with clean images."""
        return self.scanned - self.not_finite


@dataclass
class _Tally:
    """Counts while scanning; memory does not grow with the inputs."""

    num_classes: int
    top_size: int
    scanned: int = 0
    not_finite: int = 0
    flagged: int = 0
    above_all: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    listed: list[UnreadableRow] = field(default_factory=list)
    heap: list[tuple[float, int, ScannedInput]] = field(default_factory=list)
    predicted_per_class: NDArray[np.int64] = field(init=False)
    flagged_per_class: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.predicted_per_class = np.zeros(self.num_classes, np.int64)
        self.flagged_per_class = np.zeros(self.num_classes, np.int64)

    def add(self, row: ScannedInput, above_all: bool) -> None:
        self.scanned += 1
        if row.finite and row.predicted is not None:
            self.flagged += row.flagged
            self.above_all += above_all
            self.predicted_per_class[row.predicted] += 1
            self.flagged_per_class[row.predicted] += row.flagged
        else:
            # Evidence of its own: the tests are about inputs that are exchangeable with clean images.
            self.not_finite += 1
        # The order is total (score, then position), so the result does not depend on timing.
        entry = (row.score, -row.item.index, row)
        if len(self.heap) < self.top_size:
            heapq.heappush(self.heap, entry)
        elif self.heap and entry[:2] > self.heap[0][:2]:
            heapq.heapreplace(self.heap, entry)

    def leave_out(self, row: UnreadableRow) -> None:
        self.unreadable[row.reason] += 1
        if len(self.listed) < LISTED_UNREADABLE:
            self.listed.append(row)

    def finish(self, calibration_size: int, alpha: float) -> ScanCounts:
        compared = self.scanned - self.not_finite
        test = batch_test(self.flagged, self.above_all, compared, calibration_size, alpha)
        top = [row for _, _, row in sorted(self.heap, key=lambda entry: entry[:2], reverse=True)]
        return ScanCounts(
            total=self.scanned + sum(self.unreadable.values()),
            scanned=self.scanned,
            not_finite=self.not_finite,
            unreadable_by_reason=dict(sorted(self.unreadable.items())),
            unreadable_listed=tuple(self.listed),
            flagged=self.flagged,
            predicted_per_class=self.predicted_per_class,
            flagged_per_class=self.flagged_per_class,
            top=tuple(top),
            test=test,
            share=triggered_share(self.flagged, compared, calibration_size, alpha) if compared else None,
            targets=tuple(target_classes(self.flagged_per_class, self.predicted_per_class, calibration_size, alpha)),
        )


def scan_source(
    profile: Profile,
    scorer: Scorer,
    source: Source,
    options: ScanOptions,
    sinks: Sequence[RowSink],
    progress: Callable[[int], None],
) -> ScanCounts:
    """Score every input of a source.

    Args:
        profile: What to judge with.
        scorer: Of the profile.
        source: The inputs.
        options: Alpha, threads, number of top inputs.
        sinks: Get every row in order.
        progress: Called with the number of inputs done.

    Raises:
        ProfileError: If the profile's graph and header do not agree.
    """
    header = profile.header
    calibration = calibration_from_arrays(profile.calibration, header.scores)
    spec = PreprocessSpec.from_dict(header.preprocess.spec)
    tally = _Tally(header.num_classes, options.top)
    smallest = 1.0 / (calibration.size + 1)

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return _judge(scorer.run(pixels), calibration, header.num_classes, single_scores=options.rows is not None)

    for batch in run_pipeline(source, spec, run, batch_size=scorer.chunk, threads=options.threads):
        for row in _rows(batch, options.alpha):
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
    return replace(counts, top=_with_score_p_values(counts.top, calibration))


def _judge(
    outputs: dict[str, NDArray[Any]], calibration: Calibration, num_classes: int, *, single_scores: bool = False
) -> dict[str, NDArray[Any]]:
    """From the graph's outputs to p-values, still one row per input; those of every score if ``single_scores``.

    Something that is not finite cannot be compared with clean images, which have nothing of the kind: the input gets
    the smallest p-value. Where it is the logits, no class is predicted (-1), and all scores, which are about that
    class, count as not finite.
    """
    logits, scores, evidence = (outputs[name] for name in OUTPUTS)
    count = len(logits)
    expected = (count, calibration.num_folds, calibration.scores.shape[1])
    if {logits.shape, evidence.shape} != {(count, num_classes)} or scores.shape != expected:
        raise ProfileError("the graph's outputs do not have the shapes its header states", hint="Fit it again")
    predictable = np.isfinite(logits).all(1)
    finite = predictable & np.isfinite(scores).all((1, 2)) & np.isfinite(evidence).all(1)
    judgement: Judgement = calibration.judge(np.where(predictable[:, None, None], scores.astype(np.float64), np.inf))
    predicted = logits.argmax(1)
    others = evidence.astype(np.float64)
    np.put_along_axis(others, predicted[:, None], np.inf, 1)
    source = others.argmin(1)
    known = finite & (np.take_along_axis(others, source[:, None], 1)[:, 0] < UNLIKE / 2)
    rows = {
        "finite": finite,
        "predicted": np.where(predictable, predicted, -1),
        "source_class": np.where(known, source, -1),
        "p_values": np.where(finite, judgement.p_values, 1.0 / (calibration.size + 1)),
        "combined": np.where(finite, judgement.combined, np.inf),
        "scores": judgement.scores,
        "z": judgement.z,
        "top_scores": calibration.loudest(judgement.z, TOP_SCORES),
    }
    return rows | ({"score_p_values": judgement.score_p_values} if single_scores else {})


def _with_score_p_values(rows: Sequence[ScannedInput], calibration: Calibration) -> tuple[ScannedInput, ...]:
    """The rows with the p-value of every score."""
    if not rows:
        return ()
    judged = calibration.judge(np.stack([row.scores for row in rows]))
    return tuple(replace(row, score_p_values=p) for row, p in zip(rows, judged.score_p_values, strict=True))


def _rows(batch: Batch, alpha: float) -> list[ScannedInput | UnreadableRow]:
    """The rows of a chunk in the order of its items."""
    out = batch.outputs
    rows: dict[int, ScannedInput | UnreadableRow] = {
        item.index: UnreadableRow(item, batch.digests[item.index - batch.start], reason, detail)
        for item, reason, detail in batch.unreadable
    }
    for position, which in enumerate(batch.readable.tolist()):
        item, p_value = batch.items[which], float(out["p_values"][position])
        finite, predicted = bool(out["finite"][position]), int(out["predicted"][position])
        source_class = int(out["source_class"][position])
        rows[item.index] = ScannedInput(
            item=item,
            sha256=batch.digests[which] or "",
            finite=finite,
            predicted=None if predicted < 0 else predicted,
            source_class=None if source_class < 0 else source_class,
            p_value=p_value,
            score=float(out["combined"][position]),
            flagged=not finite or p_value <= alpha * (1 + 1e-12),
            scores=out["scores"][position],
            score_p_values=out["score_p_values"][position] if "score_p_values" in out else None,
            z=out["z"][position],
            top_scores=() if predicted < 0 else tuple(out["top_scores"][position].tolist()),
        )
    return [rows[item.index] for item in batch.items]
