"""Show the trigger: estimate what the flagged inputs share, and try it on clean images that played no part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.demonstration.demonstrate import MAX_PASSES, MIN_CLEAN, MIN_SUSPICIOUS, Demonstration, Material
from detectors.demonstration.demonstrate import demonstrate as run_experiment
from detectors.demonstration.trial import Answers
from detectors.shared_units.joint import BatchInputs
from detectors.shared_units.learn import PARTS
from scanner.base.progress import Progress
from scanner.inputs.items import Item, Source
from scanner.inputs.pipeline import run_pipeline
from scanner.inputs.source import open_source
from scanner.inputs.spec import PreprocessSpec
from scanner.inputs.threads import usable_cores
from scanner.profile.clean_images import clean_images
from scanner.scanning.judge import judge_outputs
from scanner.scanning.material import Wanted
from scanner.scanning.options import ScanOptions
from scanner.scanning.shared_units import features_of
from scanner.scanning.shown import Shown
from scanner.scanning.stages import Counted, OpenedScan
from scanner.verdict.rules import load_rules
from scanner.verdict.terms import Severity

Pixels = NDArray[np.uint8]
"""Images ``(n, H, W, C)``."""
Labelled = tuple[Pixels, NDArray[np.int64]]
"""Pixels ``(n, H, W, C)`` and predicted classes ``(n,)``."""
MOST_CLEAN: Final = 300
"""Clean images that are used: two experiments on them and on half of them are no more than `MAX_PASSES`."""
_BATCH: Final = 8
_MIN_ORDINARY: Final = 40


def show_trigger(opened: OpenedScan, counted: Counted, options: ScanOptions, progress: Progress) -> Counted:
    """What is known, with the experiment where the inputs are suspicious.

    Raises:
        ProfileError: If the profile's clean images are damaged.
        SourceError: If the clean images of the command line cannot be listed.
    """
    chosen = counted.chosen
    if counted.counts.p_value > load_rules().level(Severity.LOW):
        return counted
    shape = opened.scorer.image_shape
    if len(chosen.suspicious) < MIN_SUSPICIOUS:
        return _nothing(counted, shape, f"fewer than {MIN_SUSPICIOUS} different inputs are flagged")
    clean = clean_pixels(opened, options)
    if len(clean) < MIN_CLEAN:
        missing = f"the profile keeps {len(clean)} clean images to try it on, and {MIN_CLEAN} are needed"
        return _nothing(counted, shape, missing)
    done = progress.task("demonstration", 1)
    flagged = _read(opened, chosen.suspicious[: _purest(chosen.flagged, chosen.compared, options)])
    experiment, judges = _experiment(opened, counted, (flagged, _read(opened, chosen.ordinary), clean), options)
    done(1)
    if experiment is None:
        return _nothing(counted, shape, "no two pictures that are not flagged could be compared with them")
    return replace(counted, shown=Shown(experiment, judges, None))


def _nothing(counted: Counted, shape: tuple[int, int, int], missing: str) -> Counted:
    return replace(counted, shown=Shown(None, np.zeros((0, *shape), np.uint8), missing))


def _purest(flagged: int, compared: int, options: ScanOptions) -> int:
    """How many of the flagged inputs are no false alarms, on average; the most suspicious ones are taken for them."""
    return max(MIN_SUSPICIOUS, int(flagged - options.alpha * compared))


def _experiment(
    opened: OpenedScan,
    counted: Counted,
    images: tuple[Labelled, Labelled, NDArray[np.uint8]],
    options: ScanOptions,
) -> tuple[Demonstration | None, NDArray[np.uint8]]:
    """Compare with the batch's own ordinary inputs, and where all of it is strange, with clean images.

    Of a batch of nothing but triggered inputs, those that are not flagged carry the trigger too.
    """
    suspicious, ordinary, clean = images
    ask, drift = ask_network(opened, counted, options), counted.counts.drift
    drifted = drift is None or drift.score is None or drift.score.drifted
    half, passes = len(clean) // 2, 0
    attempts = [(ordinary, clean)] if len(ordinary[0]) >= _MIN_ORDINARY else []
    if not attempts or drifted:
        attempts.append(((clean[:half], ask(clean[:half]).predicted), clean[half:]))
        passes += half
    best: Demonstration | None = None
    judges = clean
    for compared, tried_on in attempts:
        material = Material(suspicious[0], compared[0], tried_on, suspicious[1], compared[1])
        found = run_experiment(material, ask, MAX_PASSES - passes)
        passes += 0 if found is None else found.passes
        if found is not None and (best is None or found.outcome.demonstrated):
            best, judges = found, tried_on[len(tried_on) - found.outcome.images :]
            if found.outcome.demonstrated:
                break
    return None if best is None else replace(best, passes=passes), judges


def ask_network(opened: OpenedScan, counted: Counted, options: ScanOptions) -> Callable[[Pixels], Answers]:
    """The network and the calibration, with what the batch has taught."""
    calibration, units = opened.calibration, counted.counts.units
    judge = None if units is None else units.judge

    def answers(pixels: NDArray[np.uint8]) -> Answers:
        outputs = opened.scorer.run(pixels)
        judged = judge_outputs(outputs, calibration, opened.header.num_classes)
        p_values, finite = judged["p_values"], judged["finite"]
        if judge is not None:
            parts = np.arange(len(pixels)) % PARTS
            scores = np.where(finite[:, None, None], judged["scores"], 0.0)
            features = None if opened.units is None else features_of(outputs["units"], opened.units)
            combined = calibration.combine(scores)
            inputs = BatchInputs(outputs["units"], combined, features, judged["predicted"], parts)
            p_values = judge.judge(inputs).p_values
        return Answers(outputs["logits"], ~finite | (p_values <= options.alpha * (1 + 1e-12)))

    def ask(pixels: NDArray[np.uint8]) -> Answers:
        size = opened.scorer.batch_size
        chunks = [pixels[start : start + size] for start in range(0, len(pixels), size)]
        with ThreadPoolExecutor(options.threads or usable_cores()) as pool:
            parts = list(pool.map(answers, chunks))
        return Answers(np.concatenate([part.logits for part in parts]), np.concatenate([p.flagged for p in parts]))

    return ask


def clean_pixels(opened: OpenedScan, options: ScanOptions) -> Pixels:
    """Clean images ``(N, H, W, C)`` of the command line, else those that the profile keeps.

    Raises:
        ProfileError: If the profile's are damaged.
        SourceError: If those of the command line cannot be listed.
    """
    if options.clean is None:
        return clean_images(opened.profile.clean_images, opened.scorer.image_shape, MOST_CLEAN)
    source = open_source(options.clean, labels=False, follow_links=options.follow_links)
    spread = np.unique(np.linspace(0, len(source.items) - 1, MOST_CLEAN).astype(int)).tolist()
    return _stacked(opened, _pixels(source, opened, {source.items[position]: None for position in spread}))


def _read(opened: OpenedScan, wanted: Sequence[Wanted]) -> Labelled:
    """Pixels and predicted classes of those that are still what they were."""
    found = _pixels(opened.source, opened, {one.item: one.sha256 for one in wanted})
    classes = {one.item.index: one.predicted for one in wanted}
    return _stacked(opened, found), np.array([classes[index] for index in found], np.int64)


def _stacked(opened: OpenedScan, found: Mapping[int, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.stack(list(found.values())) if found else np.zeros((0, *opened.scorer.image_shape), np.uint8)


def _pixels(source: Source, opened: OpenedScan, wanted: Mapping[Item, str | None]) -> dict[int, NDArray[np.uint8]]:
    """Pixels by index, in the order that was asked for; a digest, where there is one, has to be what it was."""
    spec = PreprocessSpec.from_dict(opened.header.preprocess.spec)
    found: dict[int, NDArray[np.uint8]] = {}

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return {"pixels": pixels}

    for batch in run_pipeline(source, spec, run, batch_size=_BATCH, items=list(wanted)):
        for position, which in enumerate(batch.readable.tolist()):
            item = batch.items[which]
            if wanted[item] is None or batch.digests[which] == wanted[item]:
                found[item.index] = batch.outputs["pixels"][position].copy()
    return found
