"""Put a report together from the profile, the counts and the verdict."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import scanner
from detectors.calibration.conformal import rank_limit
from scanner.base.canonical import canonical
from scanner.profile.header import CalibrationInfo, PreprocessInfo, ProfileHeader
from scanner.profile.picture import Picture
from scanner.report.json_report import document, report_digest
from scanner.report.schema import (
    BatchSection,
    CalibrationSection,
    CheckResult,
    CopiesSection,
    DemonstrationSection,
    DetectorSection,
    Distributions,
    DriftSection,
    Finding,
    GalleryItem,
    HandedOverSection,
    InputRow,
    InputsSection,
    PolicySection,
    PreprocessSection,
    ProfileSection,
    Report,
    RowsSection,
    RulesInfo,
    RunSection,
    Suppression,
    ToolSection,
    VerdictSection,
)
from scanner.report.taxonomy import load_taxonomy
from scanner.verdict.terms import Verdict

LIMITATIONS = (
    "Only triggers that occur among the scanned inputs can be noticed. A verdict of 'none' is about these inputs; it "
    "does not prove that the model has no backdoor.",
    "Inputs of another kind than the reference (camera, subject, corruption, preprocessing) are told from triggers by "
    "the inputs that are not flagged. A few strange inputs among ordinary ones look like triggers as long as none is "
    "demonstrated. Look at the most suspicious inputs before concluding.",
    "A trigger is demonstrated on clean images where it is a patch, a blend or a pattern that is added. A warp, or a "
    "trigger that differs from picture to picture, is not absent for not being demonstrated.",
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


@dataclass(frozen=True)
class UsedProfile:
    """What inputs were judged with.

    Attributes:
        header: Header of the profile.
        name: Its file name.
        digest: `Profile.digest`.
        alpha: Significance level of an input.
    """

    header: ProfileHeader
    name: str
    digest: str
    alpha: float


@dataclass(frozen=True)
class Scanned:
    """The inputs.

    Attributes:
        inputs: What was found and scanned.
        top_inputs: The most suspicious inputs, most suspicious first.
        rows: The file with one row per input, from `open_rows`.
        distributions: Scores and p-values in bins.
        gallery: What is shown of the most suspicious inputs.
        pictures: Its thumbnails, by digest.
    """

    inputs: InputsSection
    top_inputs: Sequence[InputRow]
    rows: RowsSection | None = None
    distributions: Distributions | None = None
    gallery: Sequence[GalleryItem] = ()
    pictures: Mapping[str, Picture] = field(default_factory=dict)


@dataclass(frozen=True)
class BehindTheAlarm:
    """What is behind an alarm.

    Attributes:
        drift: Whether the inputs that are not flagged are like the reference; None without any input.
        copies: How many different pictures the inputs are.
        demonstration: What flagged inputs share, tried on clean images; None where nothing was tried.
        pictures: Its pictures, by digest.
        handed_over: A pattern of an audit; None where none was tried.
    """

    drift: DriftSection | None = None
    copies: CopiesSection | None = None
    demonstration: DemonstrationSection | None = None
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    handed_over: HandedOverSection | None = None


@dataclass(frozen=True)
class Conclusion:
    """What follows.

    Attributes:
        batch: From `batch_section`.
        verdict: From `decide`.
        findings: What was found, with what the ignore file and the baseline say of it.
        warnings: Warnings of this scan; those of the profile come before them.
        policy: The gate's settings.
        behind: What is behind an alarm.
    """

    batch: BatchSection
    verdict: Verdict
    findings: Sequence[Finding] = ()
    warnings: Sequence[str] = ()
    policy: PolicySection | None = None
    behind: BehindTheAlarm = field(default_factory=BehindTheAlarm)


def build_report(
    used: UsedProfile, scanned: Scanned, conclusion: Conclusion, run: RunSection, libraries: Mapping[str, str]
) -> Report:
    """The finished report, digest included.

    Args:
        used: What the inputs were judged with.
        scanned: The inputs.
        conclusion: What follows.
        run: From `describe_run`.
        libraries: Versions of the libraries that the scan's results depend on.
    """
    header, verdict = used.header, conclusion.verdict
    report = Report(
        tool=ToolSection(name="latentscan", version=scanner.__version__, libraries=dict(libraries)),
        run=run,
        model=header.model,
        profile=_profile_section(used),
        reference=header.reference,
        preprocess=preprocess_section(header.preprocess),
        detector=_detector_section(header),
        calibration=calibration_section(header.calibration, used.alpha),
        inputs=scanned.inputs,
        batch=conclusion.batch,
        checks=tuple(CheckResult(**dataclasses.asdict(check)) for check in verdict.checks),
        verdict=_verdict_section(verdict),
        top_inputs=tuple(scanned.top_inputs),
        rows=scanned.rows,
        taxonomy=load_taxonomy(),
        findings=tuple(conclusion.findings),
        policy=conclusion.policy,
        distributions=scanned.distributions,
        gallery=tuple(scanned.gallery),
        pictures={**scanned.pictures, **conclusion.behind.pictures},
        drift=conclusion.behind.drift,
        copies=conclusion.behind.copies,
        demonstration=conclusion.behind.demonstration,
        handed_over=conclusion.behind.handed_over,
        limitations=LIMITATIONS,
        warnings=(*header.warnings, *conclusion.warnings),
        report_digest="0" * 64,
    )
    return report.model_copy(update={"report_digest": report_digest(document(report))})


def _profile_section(used: UsedProfile) -> ProfileSection:
    header = used.header
    return ProfileSection(
        name=used.name,
        sha256=used.digest,
        schema_version=header.schema_version,
        tool=header.tool,
        created_with=header.created_with,
        seed=header.seed,
        isolation=header.isolation,
    )


def preprocess_section(preprocess: PreprocessInfo) -> PreprocessSection:
    """The preprocessing with its digest."""
    return PreprocessSection(
        spec=preprocess.spec,
        sha256=hashlib.sha256(canonical(preprocess.spec)).hexdigest(),
        source=preprocess.source,
        candidates=preprocess.candidates,
    )


def _detector_section(header: ProfileHeader) -> DetectorSection:
    return DetectorSection(
        family=header.detector.family,
        parameters=header.detector.parameters,
        taps=header.taps,
        scores=header.scores,
        parity=header.parity,
    )


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
