"""Sample reports, made by the functions that a scan calls."""

import dataclasses
from datetime import UTC, datetime

import hypothesis.strategies as st
import numpy as np
from profile_samples import digests, names, sample_header

from detectors.calibration.batch import batch_test, joint_p_value, target_classes, triggered_share
from scanner.profile.thumbnail import picture
from scanner.report.batch import BatchOutcome, batch_section, labelled_group
from scanner.report.build import BehindTheAlarm, Conclusion, Scanned, UsedProfile, build_report
from scanner.report.run import Engine, Timing, describe_run
from scanner.report.schema import (
    CopiesSection,
    DemonstrationSection,
    DriftSection,
    FlipsOfClass,
    InputRow,
    InputsSection,
    LabelsSection,
    LookSection,
    ScoreShiftSection,
    SharedUnit,
    SharedUnitsSection,
    TopScore,
    TriggerExample,
    UnreadableInput,
)
from scanner.verdict.accept import accept
from scanner.verdict.decide import decide
from scanner.verdict.terms import (
    CopiesEvidence,
    DemonstrationEvidence,
    DriftEvidence,
    Evidence,
    FailOn,
    LookShift,
    ScoreShift,
    Severity,
    UnitsEvidence,
)

ALPHA = 0.01
ALIKE = DriftEvidence(450, 500, ScoreShift("layer1:max:likelihood", 0.04, 1.0), ())
UNLIKE = DriftEvidence(
    450,
    500,
    ScoreShift("layer1:max:likelihood", 0.31, 2e-20),
    (LookShift("brightness", 0.42, 3e-40, 141.2, 118.4), LookShift("sharpness", 0.05, 1.0, 9.1, 9.0)),
)
SHOWN = DemonstrationEvidence(
    kind="patch",
    does="moves images to class 'cat'",
    eligible=180,
    moved=171,
    low=0.907,
    high=0.977,
    flagged=165,
    control_moved=2,
    control_flagged=1,
    p_value=1e-50,
    passes=1600,
)
STARTED = datetime(2026, 11, 23, 19, 0, 0, tzinfo=UTC)


def sample_row(index=0, *, id="cat/0001.png", class_names=("cat", "dog", "frog"), **changes):
    fields = {
        "index": index,
        "id": id,
        "sha256": "ef" * 32,
        "status": "scanned",
        "finite": True,
        "predicted": 0,
        "predicted_class": class_names[0],
        "source": 1,
        "source_class": class_names[1],
        "p_value": 1 / 301,
        "score": 7.25,
        "flagged": True,
        "top_scores": (TopScore(key="layer1:max:likelihood", p_value=1 / 301, z=9.5),),
    }
    return InputRow(**(fields | changes))


def not_finite_row(index=0, **changes):
    fields = {"finite": False, "predicted": None, "predicted_class": None, "source": None, "source_class": None}
    return sample_row(index, **(fields | {"score": float("inf"), "top_scores": ()} | changes))


def unreadable_row(index=0, **changes):
    fields = {"index": index, "id": "cat/bad.png", "sha256": None, "status": "unreadable"}
    return InputRow(**(fields | {"reason": "truncated", "detail": "the file ends early"} | changes))


def sample_units(*, key="layer1:max", **changes):
    """What the units of a batch with a trigger say; of a clean one with ``counted=False``."""
    counted = changes.get("counted", True)
    fields = {
        "inputs": 600,
        "comparable": 590,
        "compared": 512,
        "strata": 3,
        "units": 16,
        "p_value": 2.5e-7 if counted else 0.41,
        "permutation_p": None if counted else 0.45,
        "exact_p": 2.5e-8 if counted else 1.0,
        "p_value_any_class": 1.5e-9 if counted else 0.36,
        "sharing": 97 if counted else 0,
        "counted": counted,
        "loudest": (
            SharedUnit(descriptor=key, channel=3, inputs=96, p_adjusted=2.5e-8),
            SharedUnit(descriptor=key, channel=11, inputs=40, p_adjusted=0.002),
        ),
    }
    return SharedUnitsSection(**(fields | changes))


def sample_labels(*, flagged=(7, 103), others=(488, 497), unknown=()):
    """Accuracy, as so many of so many, and labels that name no class."""
    return LabelsSection(
        flagged=labelled_group(*flagged),
        others=labelled_group(*others),
        no_class=len(unknown),
        no_class_labels=unknown[:10],
    )


def units_evidence(units):
    """The same as the verdict knows it."""
    loudest = tuple((unit.descriptor, unit.channel) for unit in units.loudest[:3])
    return UnitsEvidence(units.p_value, units.p_value_any_class, units.inputs, units.counted, units.sharing, loudest)


def sample_report(
    *,
    flagged=(100, 2, 1),
    predicted=(200, 200, 200),
    unreadable=(),
    not_finite=0,
    header=None,
    fail_on=FailOn.HIGH,
    run=None,
    inputs_name="inputs",
    top_inputs=None,
    rows=None,
    warnings=(),
    accepted=None,
    units=None,
    labels=None,
    drift=ALIKE,
    shown=None,
    **sections,
):
    """A report on a batch with so many inputs predicted and flagged per class."""
    header = header or sample_header()
    size = header.calibration.size
    compared, count = sum(predicted), sum(flagged)
    scanned = compared + not_finite
    test = batch_test(count, count // 2, compared, size, ALPHA)
    of_units = None if units is None else units_evidence(units)
    tests = [test.p_value] + ([] if units is None else [units.p_value])
    attainable = [test.smallest_attainable] + ([] if units is None else [1.0])
    share = triggered_share(count, compared, size, ALPHA) if compared else None
    classes = target_classes(np.array(flagged), np.array(predicted), size, ALPHA)
    evidence = Evidence(
        inputs_total=scanned + len(unreadable),
        inputs_scanned=scanned,
        inputs_unreadable=len(unreadable),
        inputs_not_finite=not_finite,
        alpha=ALPHA,
        smallest_alpha=header.calibration.smallest_alpha,
        flagged=count,
        batch_p_value=joint_p_value(*tests),
        smallest_attainable_p=joint_p_value(*attainable),
        units=of_units,
        share_low=share.low if share else 0.0,
        share=share.estimate if share else 0.0,
        share_high=share.high if share else 1.0,
        clean_accuracy=header.reference.clean_accuracy,
        reference_images=header.reference.images,
        num_classes=header.num_classes,
        calibration_size=size,
        labelled=header.reference.labelled,
        min_class_count=header.smallest_class,
        parity=header.parity.relative,
        self_checks=header.self_checks,
        drift=drift,
        copies=CopiesEvidence(compared, 0, compared, compared),
        demonstration=shown,
    )
    by_reason = {}
    for failed in unreadable:
        by_reason[failed.reason] = by_reason.get(failed.reason, 0) + 1
    if run is None:
        engine = Engine("auto", "CPUExecutionProvider", 2)
        run = describe_run(Timing(STARTED, 2.5, scanned), engine, ("modelscan", "scan", "inputs"), environment={})
    if top_inputs is None:
        top_inputs = [sample_row(index, class_names=header.class_names) for index in range(3 if scanned else 0)]
    verdict = decide(evidence, fail_on)
    if accepted is not None:
        verdict = accept(verdict, accepted, Severity.CRITICAL)
    inputs = InputsSection(
        name=inputs_name,
        source="folder",
        total=scanned + len(unreadable),
        scanned=scanned,
        not_finite=not_finite,
        unreadable=len(unreadable),
        ignored=2,
        unreadable_by_reason=by_reason,
        unreadable_inputs=unreadable[:100],
        digest="34" * 32,
    )
    p_value, smallest = evidence.batch_p_value, evidence.smallest_attainable_p
    outcome = BatchOutcome(count, test, p_value, smallest, units, share, classes, compared, compared, labels)
    concluded = {name: sections.pop(name) for name in ("findings", "policy", "behind") if name in sections}
    return build_report(
        UsedProfile(header, "modelscan.h5", "12" * 32, ALPHA),
        Scanned(inputs, top_inputs, rows, **sections),
        Conclusion(batch_section(outcome, size, ALPHA, header.class_names), verdict, warnings=warnings, **concluded),
        run,
        {"numpy": "2.4.6", "onnxruntime": "1.31.1"},
    )


def tiny_picture(seed):
    return picture(np.random.default_rng(seed).integers(0, 256, (12, 12, 3)).astype(np.uint8))


def behind_the_alarm(kind, scanned, name="cat/0001.png", klass="cat"):
    """Drift, copies and, of 'demonstrated', the trigger, as `ALIKE`, `UNLIKE` and `SHOWN` have them."""
    drift = UNLIKE if kind == "unlike" else ALIKE
    score = ScoreShiftSection(name=drift.score.name, distance=drift.score.distance, p_value=drift.score.p_value)
    pictures = [tiny_picture(seed) for seed in range(10, 14)]
    keys = [one.sha256 for one in pictures]
    example = TriggerExample(before=keys[0], after=keys[1], predicted_before="dog", predicted_after=klass)
    shown = DemonstrationSection(
        demonstrated=True,
        kind="patch",
        strength=1.0,
        target=0,
        target_name=klass,
        source=None,
        source_name=None,
        shift=None,
        images=200,
        eligible=SHOWN.eligible,
        moved=SHOWN.moved,
        low=SHOWN.low,
        high=SHOWN.high,
        flagged=SHOWN.flagged,
        flipped=173,
        control_moved=SHOWN.control_moved,
        control_flagged=SHOWN.control_flagged,
        control_flipped=9,
        p_value=SHOWN.p_value,
        by_class=(FlipsOfClass(class_index=1, class_name="dog", images=90, flipped=88),),
        suspicious=92,
        passes=SHOWN.passes,
        area=0.015625,
        pattern=keys[2],
        mask=keys[3],
        examples=(example,),
    )
    return BehindTheAlarm(
        DriftSection(
            outcome="drifted" if kind == "unlike" else "alike",
            rest=drift.rest,
            looked_at=drift.looked_at,
            score=score,
            looks=tuple(LookSection(**dataclasses.asdict(look)) for look in drift.looks),
            most_affected=(f"7-{name}",) if kind == "unlike" else (),
            allowed=None,
        ),
        CopiesSection(
            inputs=scanned, repeated=0, contents=scanned, pictures=scanned, flagged=min(scanned, 90), every=1
        ),
        shown if kind == "demonstrated" else None,
        {one.sha256: one for one in pictures} if kind == "demonstrated" else {},
    )


probabilities = st.floats(0, 1)
rows = st.builds(
    sample_row,
    index=st.integers(0, 2**40),
    id=names,
    sha256=digests,
    class_names=st.tuples(names, names),
    p_value=probabilities,
    density_p_value=probabilities,
    shared_units=st.floats(),
    score=st.floats(),
    flagged=st.booleans(),
    top_scores=st.lists(st.builds(TopScore, key=names, p_value=probabilities, z=st.floats()), max_size=3),
    scores=st.none() | st.dictionaries(st.text("abc:.", min_size=1), probabilities, max_size=4),
) | st.builds(unreadable_row, index=st.integers(0, 2**40), id=names, reason=names, detail=st.text())

unreadable_inputs = st.lists(st.builds(UnreadableInput, id=names, reason=names, detail=names), max_size=4)


@st.composite
def labels(draw):
    groups = [sorted(draw(st.tuples(st.integers(0, 500), st.integers(0, 500)))) for _ in range(2)]
    return sample_labels(flagged=groups[0], others=groups[1], unknown=tuple(draw(st.lists(names, max_size=12))))


@st.composite
def reports(draw):
    predicted = draw(st.tuples(*[st.integers(0, 500)] * 3))
    return sample_report(
        predicted=predicted,
        flagged=tuple(draw(st.integers(0, count)) for count in predicted),
        unreadable=tuple(draw(unreadable_inputs)),
        not_finite=draw(st.integers(0, 5)),
        fail_on=draw(st.sampled_from(FailOn)),
        header=sample_header(class_names=draw(st.tuples(names, names, names))),
        inputs_name=draw(names),
        top_inputs=draw(st.lists(rows, max_size=3)),
        warnings=draw(st.lists(names, max_size=2)),
        labels=draw(st.none() | labels()),
    )
