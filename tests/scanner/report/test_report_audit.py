"""Reports of audits: the schema that is documented, and hostile names in every format."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from audit_samples import among, evidence, pattern
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1 import statement_pb2
from report_samples import sample_report

from scanner.base.errors import UsageError
from scanner.profile.picture import Picture
from scanner.profile.thumbnail import picture
from scanner.report.audit.build import build_audit
from scanner.report.audit.formats import AUDIT_FORMATS
from scanner.report.audit.read import read_audit
from scanner.report.audit.schema import (
    AuditedImages,
    AuditReport,
    NetworksSection,
    PatternSection,
    RefinedSection,
    SearchSection,
    audit_schema_text,
)
from scanner.report.audit.words import effect, moved, refined, rule_of, smallest_refined
from scanner.report.formats import check_reports, write_reports
from scanner.report.schema import FlipsOfClass, TriggerExample
from scanner.verdict.decide_audit import decide_audit

ROOT = Path(__file__).resolve().parents[3]
HOSTILE = "</td><script>window.hit=1</script>|`[x](javascript:y)\u202e\x1b[31m"


def small(**changes: object) -> RefinedSection:
    """A refined pattern that moves 90 of 100 images."""
    values = {"kind": "smallest patch", "target": 1, "target_name": HOSTILE, "size": 6, "area": 0.02, "reached": True}
    values |= {"eligible": 100, "moved": 90, "low": 0.82, "high": 0.95, "pattern": None}
    return RefinedSection.model_validate(values | changes)


def test_refined_patterns_are_told_by_what_was_counted():
    patch = small(target_name="7")
    assert (
        refined(patch)
        == "a patch of 6 pixels (2.0% of the picture) moves images to class 7, 90 of 100 (90%, 82% to 95%)"
    )
    offset = small(kind="weakest offset", size=20, target_name="class 3", moved=50, low=0.4, high=0.6)
    assert refined(offset) == "an offset of 20 of 255 gray levels moves images to class 3, 50 of 100 (50%, 40% to 60%)"
    assert refined(small(reached=False, target_name="7")) == "no patch was found that moves 90% of images to class 7"
    assert [one.kind for one in smallest_refined(sample())] == ["smallest patch", "weakest offset"]


def sample() -> AuditReport:
    """An audit that found a patch, with hostile names everywhere."""
    shown: Picture = picture(np.full((16, 16, 3), 9, np.uint8))
    scan = sample_report()
    found = PatternSection(
        family="patch",
        about="all classes",
        described="a white patch of 3x3 pixels at row 1, column 2",
        area=0.04,
        target=1,
        target_name=HOSTILE,
        source=None,
        source_name=None,
        shift=None,
        images=120,
        eligible=100,
        moved=98,
        low=0.93,
        high=1.0,
        flipped=99,
        by_class=(FlipsOfClass(class_index=0, class_name=HOSTILE, images=100, flipped=98),),
        statistic=0.98,
        usual=0.1,
        largest=0.3,
        bound=None,
        pattern=shown.sha256,
        examples=(
            TriggerExample(before=shown.sha256, after=shown.sha256, predicted_before=HOSTILE, predicted_after=HOSTILE),
        ),
    )
    parts = {
        "model": scan.model.model_copy(update={"name": HOSTILE}),
        "num_classes": 2,
        "input_shape": (16, 16, 3),
        "clean": AuditedImages(name=HOSTILE, images=240, unreadable=1, digest="a" * 64, accuracy=0.9),
        "preprocess": scan.preprocess,
        "search": SearchSection(
            seed=0,
            budget_s=300.0,
            budget_passes=None,
            passes=9,
            tried=8,
            complete=True,
            searched_on=120,
            verified_on=120,
        ),
        "patterns": (found,),
        "refined": (
            small(kind="smallest patch", pattern=shown.sha256),
            small(kind="smallest patch", reached=False),
            small(kind="weakest offset", area=0.0),
        ),
        "networks": NetworksSection(
            source="given",
            described=HOSTILE,
            sha256="b" * 64,
            networks=99,
            alpha=0.05,
            smallest_p=0.01,
            p_value=0.01,
            loudest_family="patch",
        ),
        "pictures": {shown.sha256: shown},
        "warnings": (HOSTILE,),
    }
    verdict = decide_audit(evidence(patterns=(pattern(98),), compared=among(0.01)))
    return build_audit(verdict, scan.run, parts)


def test_the_schema_is_the_documented_one():
    assert (ROOT / "docs" / "audit-1.schema.json").read_text() == audit_schema_text()


def test_every_format_holds_hostile_names(tmp_path):
    report = sample()
    names = [
        str(tmp_path / f"x.{suffix}") for suffix in ("json", "html", "sarif", "xml", "md", "intoto.json", "cdx.json")
    ]
    check_reports(names)
    write_reports(report, names, AUDIT_FORMATS)
    texts = {Path(name).name[1:]: Path(name).read_text("utf-8") for name in names}
    jsonschema.validate(json.loads(texts[".json"]), json.loads(audit_schema_text()))
    assert read_audit(tmp_path / "x.json") == AuditReport.model_validate(json.loads(texts[".json"]))
    for text in texts.values():
        assert "\u202e" not in text
        assert "\x1b" not in text
    assert "<script" not in texts[".html"]
    assert "an offset of 6 of 255 gray levels" in texts[".html"]
    assert "Smallest by gradients" in texts[".md"]
    assert "images to class &lt;/td&gt;" in texts[".md"]
    assert ElementTree.fromstring(texts[".xml"]).tag == "testsuites"
    schema = json.loads((ROOT / "tests" / "schemas" / "sarif-schema-2.1.0.json").read_text())
    log = json.loads(texts[".sarif"])
    jsonschema.validate(log, schema)
    assert log["runs"][0]["results"][0]["ruleId"] == "LS601"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(texts[".cdx.json"]) is None
    statement = json.loads(texts[".intoto.json"])
    json_format.ParseDict(statement, statement_pb2.Statement())
    json_format.ParseDict(statement["predicate"], test_result_pb2.TestResult())
    assert (statement["predicate"]["result"], "LS600" in statement["predicate"]["failedTests"]) == ("FAILED", True)


def test_an_altered_report_is_refused(tmp_path):
    path = tmp_path / "x.json"
    write_reports(sample(), [str(path)], AUDIT_FORMATS)
    path.write_text(path.read_text().replace('"moved": 98', '"moved": 8'))
    with pytest.raises(UsageError, match="altered"):
        read_audit(path)


def test_what_a_pattern_does_reads_as_a_sentence():
    found = sample().patterns[0].model_copy(update={"target_name": "cat"})
    assert effect(found, 10) == "moves images to class cat, 98 of 100 (98%, 93% to 100%)"
    shifted = found.model_copy(update={"target": None, "shift": 9})
    assert effect(shifted, 10).startswith("moves every class to the one before it, 98 of 100")
    assert effect(shifted, 1000).startswith("moves every class to the one 9 further on, ")
    nothing = found.model_copy(update={"target": None, "eligible": 0, "moved": 0})
    assert effect(nothing, 10) == "moves no image by a rule"
    assert (rule_of(nothing, 10), moved(nothing)) == ("no image by a rule", "none")
