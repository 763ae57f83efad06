"""What the inputs say together, from the exact tests of a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from detectors.calibration.batch import BatchTest
from detectors.calibration.batch import ClassCount as ClassTest
from detectors.calibration.batch import TriggeredShare as ShareEstimate
from detectors.calibration.binomial import clopper_pearson
from detectors.calibration.conformal import rank_limit
from scanner.report.schema import (
    BatchSection,
    BatchTestResult,
    ClassCount,
    Interval,
    LabelledGroup,
    LabelsSection,
    SharedUnitsSection,
    TargetClass,
    TriggeredShare,
)

INTERVAL_LEVEL = 0.95
TARGET_CLASS_LEVEL = 0.01
MAX_CLASSES_LISTED = 1000


@dataclass(frozen=True)
class BatchOutcome:
    """The tests of a batch.

    Attributes:
        flagged: Inputs with a p-value of at most alpha.
        test: Exact tests of the densities' p-values.
        p_value: Of all tests together.
        smallest_attainable: What it would be if every input were above every calibration image.
        units: What its units say; None where they were not looked at.
        share: Share of triggered inputs; None when nothing was compared.
        classes: Every predicted class with its counts, the most striking first.
        compared: Number of scanned inputs whose outputs are finite.
        tested: Those that the tests of the densities' p-values are of: of different content.
        labels: Accuracy by the inputs' labels; None where they have none.
    """

    flagged: int
    test: BatchTest
    p_value: float
    smallest_attainable: float
    units: SharedUnitsSection | None
    share: ShareEstimate | None
    classes: Sequence[ClassTest]
    compared: int
    tested: int
    labels: LabelsSection | None = None


def batch_section(
    outcome: BatchOutcome, calibration_size: int, alpha: float, class_names: Sequence[str]
) -> BatchSection:
    """What the inputs say together.

    Args:
        outcome: The tests.
        calibration_size: Calibration images.
        alpha: Significance level of an input.
        class_names: Names in the order of the model's outputs.
    """
    share, compared = outcome.share, outcome.compared
    counts = {
        count.label: ClassCount(
            class_index=count.label, class_name=class_names[count.label], n=count.inputs, flagged=count.flagged
        )
        for count in outcome.classes
    }
    return BatchSection(
        flagged=outcome.flagged,
        flag_rate=outcome.flagged / compared if compared else None,
        flag_rate_interval=_interval(outcome.flagged, compared),
        tests=_tests(outcome, calibration_size, alpha),
        p_value=outcome.p_value,
        smallest_attainable_p=outcome.smallest_attainable,
        shared_units=outcome.units,
        labels=outcome.labels,
        share=None if share is None else TriggeredShare(**dataclasses.asdict(share)),
        target_classes=tuple(
            TargetClass(**dict(counts[count.label]), p_adjusted=count.p_value)
            for count in outcome.classes
            if count.p_value <= TARGET_CLASS_LEVEL
        ),
        flagged_by_class=tuple(counts[label] for label in sorted(counts) if counts[label].flagged),
        by_class=tuple(counts[label] for label in sorted(list(counts)[:MAX_CLASSES_LISTED])),
    )


def labelled_group(right: int, inputs: int) -> LabelledGroup:
    """So many inputs with labels, of which so many are classified as labelled."""
    accuracy = right / inputs if inputs else None
    return LabelledGroup(inputs=inputs, right=right, accuracy=accuracy, interval=_interval(right, inputs))


def _interval(count: int, total: int) -> Interval | None:
    if not total:
        return None
    low, high = clopper_pearson(count, total, INTERVAL_LEVEL)
    return Interval(low=low, high=high, level=INTERVAL_LEVEL)


def _tests(outcome: BatchOutcome, calibration_size: int, alpha: float) -> tuple[BatchTestResult, ...]:
    test, rank = outcome.test, rank_limit(calibration_size, alpha)
    counted = (
        ("LS111", "different pictures that the densities flag", test.flagged, test.flagged_p_value, rank),
        ("LS112", "different pictures above every calibration image", test.above_all, test.above_all_p_value, 1),
    )
    results = tuple(
        BatchTestResult(
            id=identifier,
            name=name,
            statistic=count,
            expected=outcome.tested * rank / (calibration_size + 1),
            n=outcome.tested,
            p_value=p_value,
            null=_null(outcome.tested, rank, calibration_size),
        )
        for identifier, name, count, p_value, rank in counted
    )
    units = outcome.units
    if units is None:
        return results
    shared = BatchTestResult(
        id="LS113",
        name="inputs that share units",
        statistic=units.sharing,
        expected=0,
        n=outcome.compared,
        p_value=units.p_value,
        null=f"inputs and clean images exchanged at random within {units.strata} strata, over {units.inputs} inputs",
    )
    return (*results, shared)


def _null(compared: int, rank: int, calibration_size: int) -> str:
    if not rank:
        return "0: the calibration flags nothing at this alpha"
    return f"BetaBinomial(n={compared}, a={rank}, b={calibration_size + 1 - rank})"
