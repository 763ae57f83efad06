"""Sample reports with everything in them: pictures, findings, distributions, a policy and a fixed run."""

from report_samples import (
    ALIKE,
    SHOWN,
    UNLIKE,
    behind_the_alarm,
    not_finite_row,
    sample_labels,
    sample_report,
    sample_row,
    sample_units,
    tiny_picture,
)

from scanner.base.text import portable
from scanner.report.findings import fingerprint
from scanner.report.schema import (
    Distributions,
    Finding,
    GalleryItem,
    LayerVoice,
    LoudestPlace,
    NearestReference,
    PolicySection,
    RunSection,
    Suppression,
    UnreadableInput,
)
from scanner.verdict.terms import Acceptance, FailOn

RUN = RunSection(
    id=None,
    started_at="2026-11-23T19:00:00Z",
    duration_s=None,
    inputs_per_s=None,
    argv=("scan", "inputs"),
    device="auto",
    provider="CPUExecutionProvider",
    threads=2,
    platform="Linux x86_64",
    python="3.11.7",
)
POLICY = PolicySection(
    values={"alpha": 0.01, "fail-on": "high", "max-unreadable": 0.1, "min-confidence": "provisional"},
    sources={"alpha": "default", "fail-on": "flag", "max-unreadable": "file", "min-confidence": "environment"},
    config="latentscan.toml",
    baseline_sha256=None,
    ignore_sha256="56" * 32,
    sha256="78" * 32,
)
ACCEPTED = Acceptance("Known test model, never deployed.", "2027-01-31", "ignore.toml")


def finding(subject, rule, name, index=None, **changes):
    fields = {
        "id": fingerprint(rule, portable(name)),
        "rule": rule,
        "subject": subject,
        "severity": "critical" if subject == "model" else "low",
        "message": "A sentence about it.",
        "index": index,
        "name": name,
        "known": False,
        "suppressed": None,
    }
    return Finding(**(fields | changes))


def full_report(kind="critical", *, count=3, name="cat/0001.png", klass="cat", reason="Looked at: a printing error."):
    """'critical', 'demonstrated', 'clean', 'unlike', 'accepted', 'not-finite', 'inconclusive' or 'nothing'."""
    flagged, predicted = {
        "clean": ((2, 2, 1), (200, 200, 200)),
        "not-finite": ((2, 2, 1), (200, 200, 200)),
        "unlike": ((20, 2, 1), (200, 200, 200)),
        "inconclusive": ((0, 0, 0), (3, 1, 0)),
        "nothing": ((0, 0, 0), (0, 0, 0)),
    }.get(kind, ((100, 2, 1), (200, 200, 200)))
    scanned = sum(predicted)
    classes = (klass, "dog", "frog")
    rows = [
        sample_row(
            i, id=f"{i}-{name}", class_names=classes, sha256=f"{i:064x}", flagged=sum(flagged) > 0, score=9.0 - i
        )
        for i in range(count if scanned else 0)
    ]
    if kind == "not-finite":
        rows[0] = not_finite_row(0, id=f"0-{name}", sha256=rows[0].sha256)
    units, labels = None, None
    if kind in ("critical", "demonstrated", "accepted"):
        labels = sample_labels(unknown=(f"no {name}",))
        units = sample_units(key=f"layer1:max {name[:20]}" if name != "cat/0001.png" else "layer1:max")
        rows = [row.model_copy(update={"density_p_value": 0.02, "shared_units": 12.5 - row.index}) for row in rows]
    elif kind == "clean":
        units = sample_units(counted=False)
    pictures = [tiny_picture(i) for i in range(2)]
    gallery = [
        GalleryItem(
            index=row.index,
            picture=pictures[0].sha256,
            layers=(LayerVoice(tap="layer1", z=7.5), LayerVoice(tap=f"layer2{name[:20]}", z=None)),
            nearest=NearestReference(
                id=name,
                sha256="9a" * 32,
                class_index=0,
                class_name=klass,
                distance=0.5,
                picture=pictures[1].sha256,
            ),
            place=LoudestPlace(tap=f"layer1{name[:20]}", channel=3, row=0.84375, column=0.15625) if row.index else None,
        )
        for row in rows[:48]
    ]
    findings = []
    if kind in ("critical", "demonstrated", "accepted"):
        suppressed = Suppression(reason=ACCEPTED.reason, expires=ACCEPTED.expires, source=ACCEPTED.source)
        findings = [
            *([finding("model", "LS120", "resnet20.pth")] if kind == "demonstrated" else []),
            finding("model", "LS101", "resnet20.pth", suppressed=suppressed if kind == "accepted" else None),
            finding("class", "LS402", klass, 0),
            *[finding("input", "LS401", row.id, row.index) for row in rows],
        ]
        findings[-1] = findings[-1].model_copy(
            update={"suppressed": Suppression(reason=reason, expires=None, source="ignore.toml"), "known": True}
        )
    if kind == "not-finite":
        findings = [
            finding("model", "LS105", "resnet20.pth", severity="high"),
            finding("input", "LS403", rows[0].id, 0, severity="high"),
            *[finding("input", "LS401", row.id, row.index) for row in rows[1:]],
        ]
    return sample_report(
        units=units,
        labels=labels,
        not_finite=1 if kind == "not-finite" else 0,
        flagged=flagged,
        predicted=predicted,
        unreadable=(UnreadableInput(id=f"bad-{name}", reason="truncated", detail="the file ends early"),),
        run=RUN,
        top_inputs=rows,
        accepted=ACCEPTED if kind == "accepted" else None,
        fail_on=FailOn.HIGH,
        drift=UNLIKE if kind == "unlike" else ALIKE,
        shown=SHOWN if kind == "demonstrated" else None,
        behind=behind_the_alarm(kind, scanned, name, klass),
        findings=findings,
        policy=POLICY,
        distributions=Distributions(
            edges=tuple(float(i) for i in range(11)),
            calibration=(30, 90, 100, 60, 20, 0, 0, 0, 0, 0),
            scanned=(0, 200, 200, 97, 0, 0, 3, 20, 40, 40) if scanned else (0,) * 10,
            threshold=4.5,
            p_values=(103, *(5 for _ in range(99))) if scanned else (0,) * 100,
        ),
        gallery=gallery,
        pictures={one.sha256: one for one in pictures},
        warnings=(f"Something about {name}",),
    )
