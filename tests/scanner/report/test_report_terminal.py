"""The summary fits, reads well without colour, and is not moved by hostile names."""

import io
import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from profile_samples import sample_header
from report_samples import reports, sample_labels, sample_report, sample_row
from rich.cells import cell_len

from scanner.profile.header import ModelInfo
from scanner.report.schema import RowsSection, UnreadableInput
from scanner.report.terminal import print_summary
from scanner.verdict.terms import Decision, FailOn

NASTY = [
    "\x1b]0;owned\x07.png",
    "\x1b[2J\x1b[H all clean",
    "[bold red]x[/bold red]",
    "[/]",
    ":skull: [link=file:///etc/passwd]y[/link]",
    "invoice\u202egnp.exe",
    "line\nVerdict: NONE accept",
    "line\r\u2028\x85new",
    "x" * 4000,
    "東京" * 300,
    "a/" * 500 + "b.png",
    "z" + "\u0301" * 50,
    "\udcff\udcfe.png",
]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def printed(report, stream=None, **kwargs):
    stream = stream or io.StringIO()
    print_summary(report, stream, **kwargs)
    return stream.getvalue()


def without_style(text):
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return "".join(f"{line.rstrip()}\n" for line in plain.splitlines())


def check_layout(text, width=80):
    for line in text.split("\n"):
        assert cell_len(line) <= width, line
        assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in line), line


def test_a_finding():
    text = printed(sample_report())
    check_layout(text)
    assert "CRITICAL" in text.splitlines()[0]
    assert "exit code 1" in text.splitlines()[0]
    flat = " ".join(text.split())
    for fact in ("103 of 600 inputs were flagged", "resnet20.pth", "cat (100 of 200 flagged)", "layer1:max:likelihood"):
        assert fact in flat


def test_a_clean_batch():
    text = printed(sample_report(flagged=(2, 2, 2)))
    check_layout(text)
    assert text.startswith("Verdict:  NONE  accept, calibrated (exit code 0, fails on high)")
    assert "Leads to" not in text


def test_labels_are_one_line():
    text = printed(sample_report(labels=sample_labels(flagged=(139, 1390), others=(9830, 10000))))
    check_layout(text)
    (line,) = [line for line in text.splitlines() if line.startswith("Accuracy")]
    assert line.split(maxsplit=1)[1] == "flagged 10.0% of 1390 (8.5-11.7%), others 98.3% of 10000 (98.0-98.5%)"


def test_labels_that_name_no_class_are_said():
    labels = sample_labels(flagged=(0, 0), others=(0, 0), unknown=("2026-01",))
    assert "Accuracy   1 with a label that names no class\n" in printed(sample_report(labels=labels))
    text = printed(sample_report(labels=sample_labels(flagged=(0, 0), others=(5, 5), unknown=("2026-01",))))
    assert "Accuracy   others 100.0% of 5 (47.8-100.0%), 1 with a label that names no class\n" in text


def test_nothing_scanned():
    failed = [UnreadableInput(id=name, reason="truncated", detail="") for name in NASTY]
    text = printed(sample_report(flagged=(0, 0, 0), predicted=(0, 0, 0), unreadable=failed))
    check_layout(text)
    assert text.startswith("Verdict:  NOT ASSESSED  inconclusive")
    assert f"{len(NASTY)} truncated" in text


def test_nothing_found_and_nothing_concluded():
    """An inconclusive scan does not read as a clean one."""
    report = sample_report(flagged=(2, 2, 2))
    verdict = report.verdict.model_copy(update={"decision": Decision.INCONCLUSIVE})
    text = printed(report.model_copy(update={"verdict": verdict}))
    assert text.startswith("Verdict:  NO VERDICT  inconclusive")


def test_long_lists_are_cut():
    rows = RowsSection(path="rows.jsonl", format="jsonl", count=600, sha256="0" * 64)
    report = sample_report(
        warnings=[f"warning {index}" for index in range(9)],
        top_inputs=[sample_row(index) for index in range(25)],
        rows=rows,
    )
    text = printed(report)
    check_layout(text)
    assert "and 15 more in the report" in text
    assert "and 4 more in the report" in text
    assert "rows.jsonl, 600 rows" in text
    assert len(text.splitlines()) < 50


@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
@pytest.mark.parametrize("terminal", [False, True])
def test_nasty_names(name, terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    model = ModelInfo(**sample_header().model.model_dump() | {"name": name[:1000], "architecture": name[:1000]})
    names = (name[:1000], name[:999] + "b", name[:999] + "c")
    report = sample_report(
        header=sample_header(model=model, class_names=names, warnings=(name[:4000],)),
        unreadable=(UnreadableInput(id=name, reason=name, detail=name),),
        inputs_name=name,
        top_inputs=[sample_row(id=name, class_names=names)],
        warnings=(name,),
    )
    text = printed(report, Terminal() if terminal else None)
    check_layout(text)
    assert len([line for line in text.splitlines() if line.startswith("Verdict")]) == 1
    assert len(text.splitlines()) < 80


def test_markup_is_shown_and_not_obeyed():
    text = printed(sample_report(top_inputs=[sample_row(id="[bold red]x[/]"), sample_row(id=":skull:")]))
    assert "[bold red]x[/]" in text
    assert ":skull:" in text


def test_colour_only_on_a_terminal(monkeypatch):
    for variable in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    report = sample_report()
    assert "\x1b[" not in printed(report)
    coloured = printed(report, Terminal())
    assert "\x1b[" in coloured
    plain = without_style(coloured)
    assert plain == printed(report, width=80)
    monkeypatch.setenv("NO_COLOR", "1")
    # Without colour there may still be bold; what is said is the same.
    assert not re.search(r"\x1b\[[0-9;]*[34][0-7]", uncoloured := printed(report, Terminal()))
    assert without_style(uncoloured) == plain


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding(encoding):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    print_summary(sample_report(top_inputs=[sample_row(id="東京 Köln " * 20)]), stream)
    assert b"Verdict" in raw.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
def test_any_width(width):
    text = printed(sample_report(warnings=("a long warning " * 20,)), width=width)
    check_layout(text, width)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_any_report(report):
    check_layout(printed(report))


@pytest.mark.parametrize("fail_on", list(FailOn))
def test_the_gate_is_named(fail_on):
    assert f"fails on {fail_on}" in printed(sample_report(fail_on=fail_on)).splitlines()[0]
