"""Put a report together from the profile, the counts and the verdict."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import scanner
from detectors.calibration.batch import BatchTest
from detectors.calibration.batch import ClassCount as ClassTest
from detectors.calibration.batch import TriggeredShare as ShareEstimate
from detectors.calibration.binomial import clopper_pearson
from detectors.calibration.conformal import rank_limit
from scanner.base.canonical import canonical
from scanner.profile.header import CalibrationInfo, ProfileHeader
from scanner.profile.picture import Picture
from scanner.report.json_report import document, report_digest
from scanner.report.schema import (
    BatchSection,
    BatchTestResult,
    CalibrationSection,
    CheckResult,
    ClassCount,
    DetectorSection,
    Distributions,
    Finding,
    GalleryItem,
    InputRow,
    InputsSection,
    Interval,
    PolicySection,
    PreprocessSection,
    ProfileSection,
    Report,
    RowsSection,
    RulesInfo,
    RunSection,
    Suppression,
    TargetClass,
    ToolSection,
    TriggeredShare,
    VerdictSection,
)
from scanner.report.taxonomy import load_taxonomy
from scanner.verdict.terms import Verdict

INTERVAL_LEVEL = 0.95
TARGET_CLASS_LEVEL = 0.01
MAX_CLASSES_LISTED = 1000

LIMITATIONS = (
    "Only triggers that occur among the scanned inputs can be noticed. A verdict of 'none' is about these inputs; it "
    "does not prove that the model has no backdoor.",
    "Clean inputs that differ from the reference in kind (camera, subject, corruption, preprocessing) raise the same "
    "alarm as triggers. Look at the most suspicious inputs before concluding.",
    "A backdoor built to leave the tapped activations as they are on clean inputs can go unnoticed.",
    "The share of triggered inputs counts those that are flagged beyond false alarms. It is a lower bound where some "
    "triggered inputs are not flagged.",
    "False alarms are calibrated over all classes together: a class whose clean images score high is flagged more "
    "often than alpha, so target classes are suspicions and not findings.",
    "The profile's digest is no signature. The verdict is as trustworthy as the place where the profile was kept.",
)

_SPLIT_GUARANTEE = (
    "If a clean input is exchangeable with the {size} calibration images, which the densities did not see, its "
    "p-value is at most alpha with a probability of at most alpha, on average over calibration sets. The batch tests "
    "account for the calibration set being finite."
)
_CROSS_GUARANTEE = (
    "Each of the {size} calibration images was scored by densities fitted on the other folds, and inputs are scored by "
    "the densities of every fold and compared with the images of that fold alone. If a clean input is exchangeable "
    "with these images, its p-value is at most alpha with a probability of alpha where the folds agree, and of about "
    "twice alpha at most where they do not. The batch tests account for the calibration set being finite."
)


def build_report(
    *,
    header: ProfileHeader,
    profile_name: str,
    profile_digest: str,
    libraries: Mapping[str, str],
    run: RunSection,
    alpha: float,
    inputs: InputsSection,
    batch: BatchSection,
    verdict: Verdict,
    top_inputs: Sequence[InputRow],
    rows: RowsSection | None = None,
    warnings: Sequence[str] = (),
    findings: Sequence[Finding] = (),
    policy: PolicySection | None = None,
    distributions: Distributions | None = None,
    gallery: Sequence[GalleryItem] = (),
    pictures: Mapping[str, Picture] | None = None,
) -> Report:
    """The finished report, digest included.

    Args:
        header: Header of the profile.
        profile_name: File name of the profile.
        profile_digest: `Profile.digest`.
        libraries: Versions of the libraries that the scan's results depend on.
        run: From `describe_run`.
        alpha: Significance level of an input.
        inputs: What was found and scanned.
        batch: From `batch_section`.
        verdict: From `decide`.
        top_inputs: The most suspicious inputs, most suspicious first.
        rows: The file with one row per input, from `open_rows`.
        warnings: Warnings of this scan; those of the profile come before them.
        findings: What was found, with what the ignore file and the baseline say of it.
        policy: The gate's settings.
        distributions: Scores and p-values in bins.
        gallery: What is shown of the most suspicious inputs.
        pictures: Its thumbnails, by digest.
    """
    report = Report(
        tool=ToolSection(name="latentscan", version=scanner.__version__, libraries=dict(libraries)),
        run=run,
        model=header.model,
        profile=ProfileSection(
            name=profile_name,
            sha256=profile_digest,
            schema_version=header.schema_version,
            tool=header.tool,
            created_with=header.created_with,
            seed=header.seed,
        ),
        reference=header.reference,
        preprocess=PreprocessSection(
            spec=header.preprocess.spec,
            sha256=hashlib.sha256(canonical(header.preprocess.spec)).hexdigest(),
            source=header.preprocess.source,
            candidates=header.preprocess.candidates,
        ),
        detector=DetectorSection(
            family=header.detector.family,
            parameters=header.detector.parameters,
            taps=header.taps,
            scores=header.scores,
            parity=header.parity,
        ),
        calibration=calibration_section(header.calibration, alpha),
        inputs=inputs,
        batch=batch,
        checks=tuple(CheckResult(**dataclasses.asdict(check)) for check in verdict.checks),
        verdict=_verdict_section(verdict),
        top_inputs=tuple(top_inputs),
        rows=rows,
        taxonomy=load_taxonomy(),
        findings=tuple(findings),
        policy=policy,
        distributions=distributions,
        gallery=tuple(gallery),
        pictures=dict(pictures or {}),
        limitations=LIMITATIONS,
        warnings=(*header.warnings, *warnings),
        report_digest="0" * 64,
    )
    return report.model_copy(update={"report_digest": report_digest(document(report))})


def calibration_section(calibration: CalibrationInfo, alpha: float) -> CalibrationSection:
    """How the profile's calibration works at this alpha."""
    guarantee = _SPLIT_GUARANTEE if calibration.method == "split" else _CROSS_GUARANTEE
    return CalibrationSection(
        method=calibration.method,
        folds=calibration.folds,
        size=calibration.size,
        alpha=alpha,
        smallest_alpha=calibration.smallest_alpha,
        expected_false_alarm_rate=rank_limit(calibration.size, alpha) / (calibration.size + 1),
        guarantee=guarantee.format(size=calibration.size),
    )


def batch_section(
    *,
    test: BatchTest,
    share: ShareEstimate | None,
    classes: Sequence[ClassTest],
    compared: int,
    calibration_size: int,
    alpha: float,
    class_names: Sequence[str],
) -> BatchSection:
    """What the inputs say together.

    Args:
        test: Exact tests of the batch.
        share: Share of triggered inputs; None when nothing was compared.
        classes: Every predicted class with its counts, the most striking first.
        compared: Number of scanned inputs whose outputs are finite.
        calibration_size: Calibration images.
        alpha: Significance level of an input.
        class_names: Names in the order of the model's outputs.
    """
    rank = rank_limit(calibration_size, alpha)
    counts = {
        count.label: ClassCount(
            class_index=count.label, class_name=class_names[count.label], n=count.inputs, flagged=count.flagged
        )
        for count in classes
    }
    interval = None
    if compared:
        low, high = clopper_pearson(test.flagged, compared, INTERVAL_LEVEL)
        interval = Interval(low=low, high=high, level=INTERVAL_LEVEL)
    return BatchSection(
        flagged=test.flagged,
        flag_rate=test.flagged / compared if compared else None,
        flag_rate_interval=interval,
        tests=(
            _test("LS111", "flagged inputs", test.flagged, test.flagged_p_value, compared, calibration_size, rank),
            _test(
                "LS112",
                "inputs above every calibration image",
                test.above_all,
                test.above_all_p_value,
                compared,
                calibration_size,
                rank=1,
            ),
        ),
        p_value=test.p_value,
        smallest_attainable_p=test.smallest_attainable,
        share=None if share is None else TriggeredShare(**dataclasses.asdict(share)),
        target_classes=tuple(
            TargetClass(**dict(counts[count.label]), p_adjusted=count.p_value)
            for count in classes
            if count.p_value <= TARGET_CLASS_LEVEL
        ),
        flagged_by_class=tuple(counts[label] for label in sorted(counts) if counts[label].flagged),
        by_class=tuple(counts[label] for label in sorted(list(counts)[:MAX_CLASSES_LISTED])),
    )


def _test(
    identifier: str, name: str, count: int, p_value: float, compared: int, calibration_size: int, rank: int
) -> BatchTestResult:
    null = f"BetaBinomial(n={compared}, a={rank}, b={calibration_size + 1 - rank})"
    return BatchTestResult(
        id=identifier,
        name=name,
        statistic=count,
        expected=compared * rank / (calibration_size + 1),
        n=compared,
        p_value=p_value,
        null=null if rank else "0: the calibration flags nothing at this alpha",
    )


def _verdict_section(verdict: Verdict) -> VerdictSection:
    return VerdictSection(
        severity=verdict.severity,
        decision=verdict.decision,
        confidence=verdict.confidence,
        reasons=verdict.reasons,
        rule_ids=verdict.rules,
        fail_on=verdict.fail_on,
        exit_code=verdict.exit_code,
        accepted=None if verdict.accepted is None else Suppression(**dataclasses.asdict(verdict.accepted)),
        rules=RulesInfo(version=verdict.rules_version, sha256=verdict.rules_sha256),
    )
