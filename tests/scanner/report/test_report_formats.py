"""Every format of a report: valid by its schema, the same for the same report, and harmless whatever the names."""

from __future__ import annotations

import html.parser
import json
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import hypothesis.strategies as st
import jsonschema
import pytest
import xmlschema
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from full_reports import full_report
from google.protobuf import json_format
from hypothesis import given, settings
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1 import statement_pb2
from report_samples import reports

from scanner.base.errors import OutputError, UsageError
from scanner.report.formats import FORMATS, check_reports, format_of, write_reports
from scanner.report.html import MAX_JSON_BYTES, embedded_json
from scanner.report.json_report import report_bytes, report_digest
from scanner.report.markdown import code, escape
from scanner.report.read import read_report

HERE = Path(__file__).parents[2]
GOLDEN = HERE / "golden"
KINDS = ("critical", "demonstrated", "clean", "unlike", "accepted", "not-finite", "inconclusive", "nothing")
EXIT_CODES = {
    "critical": 1,
    "demonstrated": 1,
    "clean": 0,
    "unlike": 3,
    "accepted": 0,
    "not-finite": 1,
    "inconclusive": 3,
    "nothing": 3,
}
SUFFIX = {form.name: form.suffixes[0] for form in FORMATS}

# What an attacker may call a file, a class or a layer.
HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b[31mred\x1b]0;title\x07",
    "\u202egpj.exe\u2066",
    "]]><failure/>&amp;",
    "| `code` [link](javascript:alert(1)) @everyone ![](http://x.invalid/p.png)",
    "../../etc/passwd",
    "{{ 7 * 7 }}{% raw %}",
    "a\x00b\ud800c\uffff",
    "http://x.invalid/ www.x.invalid",
)


def content(name, report):
    return next(form for form in FORMATS if form.name == name).render(report)


def sarif_validator():
    schema = json.loads((HERE / "schemas" / "sarif-schema-2.1.0.json").read_text())
    return jsonschema.Draft4Validator(schema)


SARIF = sarif_validator()
JUNIT = xmlschema.XMLSchema10(HERE / "schemas" / "junit-10.xsd")
CYCLONEDX = JsonStrictValidator(SchemaVersion.V1_6)


def check_sarif(report):
    log = json.loads(content("sarif", report))
    SARIF.validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    for rule in rules:  # what GitHub asks for
        assert rule["id"]
        assert rule["shortDescription"]["text"]
        assert rule["fullDescription"]["text"]
        assert rule["help"]["text"]
        assert 0 < float(rule["properties"]["security-severity"]) <= 10
        assert len(rule["properties"]["tags"]) <= 10
    assert len(run["results"]) <= 5000
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        assert list(result["partialFingerprints"]) == ["primaryLocationLineHash"]
        for location in result["locations"]:
            physical = location["physicalLocation"]
            uri = physical["artifactLocation"]["uri"]
            assert re.fullmatch(r"[A-Za-z0-9._~%/-]+", uri)
            assert not uri.startswith("/")
            assert {"..", "."}.isdisjoint(uri.split("/"))
            assert {"startLine", "startColumn", "endLine", "endColumn"} == set(physical["region"])
    assert run["invocations"][0]["exitCode"] == report.verdict.exit_code
    return run


def check_junit(report):
    text = content("junit", report)
    JUNIT.validate(text.decode())
    root = ElementTree.fromstring(text)
    failing = root.findall(".//failure") + root.findall(".//error")
    assert bool(failing) == (report.verdict.exit_code != 0)
    assert len(root.findall(".//testcase")) == len(report.checks)
    not_assessed = {check.id for check in report.checks if check.status == "not_assessed"}
    skipped = {case.get("name")[:5] for case in root.findall(".//testcase") if case.find("skipped") is not None}
    assert not_assessed <= skipped
    passed = {case.get("name")[:5] for case in root.findall(".//testcase") if len(case) == 1}
    assert passed == {check.id for check in report.checks if check.status == "passed"}
    return root


def check_cyclonedx(report):
    text = content("cyclonedx", report).decode()
    assert CYCLONEDX.validate_str(text) is None
    return json.loads(text)


def check_intoto(report):
    values = json.loads(content("intoto", report))
    json_format.ParseDict(values, statement_pb2.Statement())  # unknown fields are errors
    json_format.ParseDict(values["predicate"], test_result_pb2.TestResult())
    listed = [values["predicate"][f"{kind}Tests"] for kind in ("passed", "warned", "failed")]
    assert sorted(name for names in listed for name in names) == sorted(check.id for check in report.checks)
    return values


class Page(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.scripts, self._inside = [], [], [], [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        self._inside = tag if tag in ("script", "style") else None
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside is None:
            self.text.append(data)


def check_html(report):
    text = content("html", report).decode()
    assert len(text.encode()) < 1_000_000
    page = Page(text)
    assert page.tags.count("script") == 2
    assert page.tags.count("style") == 1
    assert {"iframe", "object", "embed", "form", "link", "base"}.isdisjoint(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name != "style"
        if name in ("src", "href"):
            assert value.startswith(("data:image/", "#")), (tag, name, value)
    assert json.loads(page.scripts[0])["report_digest"]
    return page


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_valid(kind):
    report = full_report(kind)
    assert report.verdict.exit_code == EXIT_CODES[kind]
    check_sarif(report)
    check_junit(report)
    check_cyclonedx(report)
    check_intoto(report)
    check_html(report)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_text(name):
    report = full_report(name=name, klass=name, reason=name or "x")
    page = check_html(report)
    plain = Page(content("html", full_report()).decode())
    assert [tag for tag in page.tags if tag != "option"] == [tag for tag in plain.tags if tag != "option"]
    check_sarif(report)
    check_junit(report)
    check_cyclonedx(report)
    check_intoto(report)
    for form in FORMATS:
        text = content(form.name, report).decode()
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text), form.name
    lines = content("md", report).decode().splitlines()
    assert len(lines) == len(content("md", full_report()).decode().splitlines())


@given(reports())
@settings(max_examples=25, deadline=None)
def test_any_report_is_valid_in_every_format(report):
    check_sarif(report)
    check_junit(report)
    check_cyclonedx(report)
    check_intoto(report)
    check_html(report)


@pytest.mark.parametrize(
    "kind", ["critical", "demonstrated", "clean", "unlike", "accepted", "not-finite", "inconclusive"]
)
@pytest.mark.parametrize("name", [form.name for form in FORMATS])
def test_golden(kind, name):
    """The bytes of every format are those that were looked at. LATENTSCAN_UPDATE_GOLDEN=1 writes them anew."""
    path = GOLDEN / f"{kind}{SUFFIX[name]}"
    made = content(name, full_report(kind))
    if os.environ.get("LATENTSCAN_UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_bytes(made)
    assert made == path.read_bytes(), f"{path.name} differs; look at the difference before updating it"


@pytest.mark.parametrize("name", [form.name for form in FORMATS])
def test_rendering_later_gives_the_same_bytes(tmp_path, name):
    report = full_report()
    (tmp_path / "out.json").write_bytes(report_bytes(report))
    assert content(name, read_report(tmp_path / "out.json")[0]) == content(name, report)


@given(st.text(st.characters(codec=None), max_size=40))
def test_markdown_code_spans_hold_anything(name):
    shown = code(name).replace("\\|", "|")
    fence = re.match("`+", shown)[0]
    assert shown.endswith(fence)
    assert fence not in shown[len(fence) : -len(fence)]
    assert "\n" not in shown


def test_markdown_escapes_markup():
    text = escape("<b> [x](http://a.b) @team `c` www.a.b")
    assert "<" not in text
    assert "@" not in text
    assert "http://" not in text
    assert "www." not in text


def test_an_inconclusive_scan_has_no_severity_in_markdown():
    """Nothing was found, and nothing can be concluded from it: 'none' would read as clean."""
    text = format_of("report.md").render(full_report("inconclusive")).decode()
    assert text.startswith("## ❔ Backdoor scan: no verdict, inconclusive\n")


class TestSize:
    def test_html_stays_below_a_megabyte_whatever_is_scanned(self):
        report = full_report(count=700, name="&" * 900, klass="'" * 900)
        check_html(report)

    def test_what_is_left_out_is_said(self):
        report = full_report(count=700)
        text, left_out = embedded_json(report)
        assert len(text.encode()) <= MAX_JSON_BYTES
        assert "findings" in left_out
        assert "findings" in " ".join(check_html(report).text)

    def test_the_embedded_report_verifies(self):
        page = check_html(full_report())
        values = json.loads(page.scripts[0])
        assert report_digest(values) == values["report_digest"]

    def test_sarif_results_are_bounded_and_counted(self):
        run = check_sarif(full_report(count=1000))
        assert len(run["results"]) < 250
        assert run["properties"]["inputResultsLeftOut"] == 0


class TestMeaning:
    def test_an_accepted_finding_is_visible_in_every_format(self):
        """The verdict on the model is never suppressed silently."""
        report = full_report("accepted")
        assert report.verdict.exit_code == 0
        assert report.verdict.severity == "critical"
        assert report.verdict.decision == "quarantine"
        for form in FORMATS:
            text = content(form.name, report).decode()
            assert "critical" in text.lower(), form.name
            assert "Known test model, never deployed" in text, form.name
        assert json.loads(content("intoto", report))["predicate"]["result"] == "WARNED"
        (result, *_) = check_sarif(report)["results"]
        assert result["suppressions"][0]["justification"]
        assert check_junit(report).find(".//skipped").get("message").startswith("ACCEPTED")
        (vulnerability,) = check_cyclonedx(report)["vulnerabilities"]
        assert vulnerability["ratings"][0]["severity"] == "critical"

    def test_results_of_intoto(self):
        results = {kind: check_intoto(full_report(kind))["predicate"]["result"] for kind in KINDS}
        assert results == {
            "critical": "FAILED",
            "demonstrated": "FAILED",
            "clean": "PASSED",
            "unlike": "WARNED",
            "accepted": "WARNED",
            "not-finite": "FAILED",
            "inconclusive": "WARNED",
            "nothing": "WARNED",
        }

    def test_what_was_not_scanned_is_a_notification(self):
        (invocation,) = check_sarif(full_report("nothing"))["invocations"]
        assert invocation["executionSuccessful"] is False
        texts = [note["message"]["text"] for note in invocation["toolExecutionNotifications"]]
        assert any("Nothing was scanned" in text for text in texts)
        assert any("the file ends early" in text for text in texts)

    def test_a_clean_report_has_no_results(self):
        assert check_sarif(full_report("clean"))["results"] == []
        assert check_cyclonedx(full_report("clean"))["vulnerabilities"] == []


class TestDestinations:
    @pytest.mark.parametrize(
        ("name", "form"),
        [
            ("a.json", "json"),
            ("a.intoto.json", "intoto"),
            ("a.CDX.json", "cyclonedx"),
            ("a.sarif.json", "sarif"),
            ("x.sarif", "sarif"),
            ("junit.xml", "junit"),
            ("a.htm", "html"),
            ("s.md", "md"),
            ("-", "json"),
        ],
    )
    def test_the_suffix_decides(self, name, form):
        assert format_of(name).name == form

    def test_an_unknown_suffix_is_an_error(self):
        with pytest.raises(UsageError, match="unknown report format"):
            check_reports(["out.docx"])

    def test_two_reports_of_one_name_are_an_error(self, tmp_path):
        (tmp_path / "link.json").symlink_to(tmp_path / "out.json")
        with pytest.raises(UsageError, match="two reports"):
            check_reports([str(tmp_path / "out.json"), str(tmp_path / "link.json")])

    def test_all_are_written_from_one_report(self, tmp_path):
        names = [str(tmp_path / f"out{suffix}") for suffix in SUFFIX.values()]
        write_reports(full_report(), names)
        digest = json.loads((tmp_path / "out.json").read_text())["report_digest"]
        for name in names:
            assert digest[:16] in Path(name).read_text()

    def test_a_folder_that_is_missing(self, tmp_path):
        with pytest.raises(OutputError, match="folder does not exist"):
            write_reports(full_report(), [str(tmp_path / "absent" / "out.html")])


class TestReading:
    def changed(self, tmp_path, **changes):
        values = json.loads(report_bytes(full_report())) | changes
        path = tmp_path / "out.json"
        path.write_text(json.dumps(values))
        return path

    def test_an_altered_report_is_refused(self, tmp_path):
        with pytest.raises(UsageError, match="its own digest"):
            read_report(self.changed(tmp_path, warnings=[]))

    def test_an_altered_picture_is_refused(self, tmp_path):
        pictures = json.loads(report_bytes(full_report()))["pictures"]
        first, second = pictures
        pictures[first] = pictures[second]
        with pytest.raises(UsageError, match="pictures"):
            read_report(self.changed(tmp_path, pictures=pictures))

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("verdict/reasons", []),
            ("verdict/rule_ids", ["\x1b[2J"]),
            ("checks/0/id", "\x1b[2J"),
            ("run/started_at", "<now>"),
            ("distributions/calibration", [1, 2]),
            ("distributions/scanned", []),
            ("distributions/edges", [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, -1]),
            ("distributions/threshold", "high"),
            ("gallery/0/layers/0/z", "loud"),
            ("findings/0/rule", "LS999"),
            ("findings/1/rule", "LS101"),
            ("inputs/scanned", 10**400),
            ("inputs/scanned", -1),
        ],
    )
    def test_a_report_altered_and_signed_anew_is_refused(self, tmp_path, path, value):
        """Found by fuzzing: each was an internal error, or reached an output as it is."""
        values = json.loads(report_bytes(full_report()))
        *parents, last = path.split("/")
        place = values
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[int(last) if last.isdigit() else last] = value
        values["report_digest"] = report_digest(values)
        (tmp_path / "out.json").write_text(json.dumps(values))
        with pytest.raises(UsageError, match="not a valid report"):
            read_report(tmp_path / "out.json")

    def test_newer_and_foreign_reports_are_refused(self, tmp_path):
        with pytest.raises(UsageError, match=r"report version 1\.9\.0"):
            read_report(self.changed(tmp_path, schema_version="1.9.0"))
        with pytest.raises(UsageError, match="no version"):
            read_report(self.changed(tmp_path, schema_version="2.0.0"))
        (tmp_path / "x.json").write_text("[" * 100_000)
        with pytest.raises(UsageError, match="is not JSON"):
            read_report(tmp_path / "x.json")
        (tmp_path / "x.json").write_text("{}")
        with pytest.raises(UsageError, match="not a latentscan report"):
            read_report(tmp_path / "x.json")

    def test_a_report_of_version_1_1_is_read(self, tmp_path):
        """Its inputs were scored by densities of all images, and it says so."""
        values = json.loads(report_bytes(full_report()))
        values["calibration"]["method"] = "cross-fit"
        values["checks"] = [check for check in values["checks"] if check["id"] != "LS305"]
        values["schema_version"] = "1.1.0"
        values["report_digest"] = report_digest(values)
        (tmp_path / "old.json").write_text(json.dumps(values))
        report, _ = read_report(tmp_path / "old.json")
        assert report.calibration.method == "cross-fit"
        assert report.schema_version == "1.4.0"
        check_html(report)
        check_sarif(report)

    def test_a_report_of_version_1_0_is_read(self, tmp_path):
        values = json.loads(report_bytes(full_report()))
        for name in ("findings", "policy", "distributions", "gallery", "pictures"):
            del values[name]
        del values["verdict"]["accepted"], values["batch"]["by_class"]
        values["calibration"]["method"] = "cross-fit"
        values["checks"] = [check for check in values["checks"] if check["id"] != "LS305"]
        values["schema_version"] = "1.0.0"
        values["report_digest"] = report_digest(values)
        (tmp_path / "old.json").write_text(json.dumps(values))
        report, _ = read_report(tmp_path / "old.json")
        check_html(report)
        check_sarif(report)


def test_the_page_marks_a_place_over_the_picture():
    report = full_report("critical")
    page = content("html", report).decode()
    marks = re.findall(r'<svg class="spot" viewBox="0 0 12 12"[^>]*>(.*?)</svg>', page)
    places = [item.place for item in report.gallery if item.place is not None]
    assert len(marks) == len(places) == 2
    for mark, place in zip(marks, places, strict=True):
        for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', mark):
            assert (float(x), float(y)) == pytest.approx((12 * place.column, 12 * place.row), abs=0.01)
    assert "circle: channel 3 of layer1" in page
    without = [item.model_copy(update={"place": None}) for item in report.gallery]
    page = content("html", report.model_copy(update={"gallery": tuple(without)})).decode()
    assert 'class="spot' not in page
    assert "A circle" not in page
