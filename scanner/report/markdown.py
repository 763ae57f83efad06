"""Markdown for the summary page of a CI job: short, and nothing in it can leave its place.

Names are chosen by whoever made the files. They are shown in code spans, where no markup, link or mention works;
sentences have their punctuation escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from scanner.base.text import printable
from scanner.report.handed_over import pattern_in_words
from scanner.report.schema import LabelledGroup, LabelsSection, Report
from scanner.report.severity_word import severity_word
from scanner.verdict.terms import CheckStatus, Severity

_INPUTS = 10
_CLASSES = 5
_UNITS = 3
_LABELS = 3
_WARNINGS = 10
_NAME = 80
_SENTENCE = 1000

_MARKS = {
    None: "❔",
    Severity.NONE: "✅",
    Severity.LOW: "⚠️",
    Severity.MEDIUM: "⚠️",
    Severity.HIGH: "❌",
    Severity.CRITICAL: "❌",
}


def markdown_bytes(report: Report) -> bytes:
    """The report as Markdown (GitHub's, which GitLab reads as well)."""
    return ("\n".join(_lines(report)) + "\n").encode()


def code(name: str, limit: int = _NAME) -> str:
    """Untrusted text as a code span that is safe inside a table.

    >>> code("a|b")
    '`a\\\\|b`'
    >>> code("`")
    '`` ` ``'
    """
    shown = printable(name, limit) or " "
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}".replace("|", "\\|")


def escape(text: str) -> str:
    r"""A sentence without any markup.

    >>> escape("a*b* @x <i>")
    'a\\*b\\* &#64;x &lt;i&gt;'
    """
    shown = printable(text, _SENTENCE).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A backslash before a colon or a dot would show; breaking these three keeps bare addresses from becoming links.
    shown = re.sub(r"([\\`*_{}\[\]#|~!$])", r"\\\1", shown)
    shown = shown.replace("://", ":&#8203;//").replace("www.", "www&#46;")
    return shown.replace("@", "&#64;")


def _lines(report: Report) -> Iterator[str]:
    verdict = report.verdict
    mark = _MARKS[verdict.severity] if verdict.exit_code != 3 else "❔"
    yield f"## {mark} Backdoor scan: {severity_word(verdict)}, {verdict.decision}"
    yield ""
    yield f"**{escape(verdict.reasons[0])}**"
    yield ""
    for reason in verdict.reasons[1:]:
        yield f"- {escape(reason)}"
    if verdict.reasons[1:]:
        yield ""
    yield from _facts(report)
    yield from _checks(report)
    yield from _classes(report)
    yield from _inputs(report)
    if report.warnings:
        yield "### Warnings"
        yield ""
        for warning in report.warnings[:_WARNINGS]:
            yield f"- {escape(warning)}"
        yield ""
    yield (
        f"<sub>latentscan {escape(report.tool.version)}, report {report.report_digest[:16]}. A verdict of none is "
        "about the scanned inputs; it does not prove that the model has no backdoor.</sub>"
    )


def _facts(report: Report) -> Iterator[str]:
    inputs, batch, verdict = report.inputs, report.batch, report.verdict
    yield "| | |"
    yield "| --- | --- |"
    yield f"| Gate | exit code {verdict.exit_code}, fails on {verdict.fail_on}, {verdict.confidence} |"
    yield f"| Model | {code(report.model.name)}, sha256 `{report.model.sha256}` |"
    yield f"| Profile | {code(report.profile.name)}, sha256 `{report.profile.sha256}` |"
    yield (
        f"| Inputs | {code(inputs.name)}: {inputs.scanned} scanned, {inputs.unreadable} unreadable, "
        f"{inputs.ignored} other files |"
    )
    if inputs.not_finite:
        yield f"| Not finite | {inputs.not_finite}, flagged and counted apart |"
    if batch.flag_rate is not None:
        yield (
            f"| Flagged | {batch.flagged} ({batch.flag_rate:.2%}) at alpha {report.calibration.alpha:.3g}, batch p = "
            f"{batch.p_value:.2g} |"
        )
    if batch.shared_units is not None and batch.shared_units.counted:
        shared = batch.shared_units
        named = ", ".join(f"channel {unit.channel} of {code(unit.descriptor, 40)}" for unit in shared.loudest[:_UNITS])
        louder = f"{shared.sharing} inputs louder than every clean image"
        yield f"| Shared units | {louder}, p = {shared.p_value:.2g}: {named} |"
    if report.handed_over is not None:
        yield f"| Audit's pattern | {escape(pattern_in_words(report.handed_over))} |"
    if batch.labels is not None:
        yield f"| Right by their labels | {_labels(batch.labels)} |"
    if batch.share is not None:
        yield (
            f"| Triggered | {batch.share.estimate:.2%} of the inputs ({batch.share.low:.2%} to "
            f"{batch.share.high:.2%}) |"
        )
    suppressed = sum(finding.suppressed is not None for finding in report.findings)
    if suppressed:
        yield f"| Suppressed | {suppressed} of {len(report.findings)} findings |"
    yield ""


def _labels(labels: LabelsSection) -> str:
    groups = [_accuracy(name, group) for name, group in (("flagged", labels.flagged), ("others", labels.others))]
    if labels.no_class:
        named = ", ".join(code(label, 40) for label in labels.no_class_labels[:_LABELS])
        groups.append(f"{labels.no_class} with a label that names no class ({named})")
    return "; ".join(text for text in groups if text)


def _accuracy(name: str, group: LabelledGroup) -> str:
    if group.accuracy is None or group.interval is None:
        return ""
    low, high = group.interval.low, group.interval.high
    return f"{name} {group.accuracy:.1%} of {group.inputs} ({low:.1%} to {high:.1%})"


def _checks(report: Report) -> Iterator[str]:
    open_checks = [check for check in report.checks if check.status is not CheckStatus.PASSED]
    passed = len(report.checks) - len(open_checks)
    yield f"### Checks: {passed} of {len(report.checks)} passed"
    yield ""
    if open_checks:
        yield "| Check | Outcome | |"
        yield "| --- | --- | --- |"
        for check in open_checks:
            status = check.status.replace("_", " ")
            yield f"| {check.id} {escape(check.name)} | {status} | {escape(check.message)} |"
        yield ""


def _classes(report: Report) -> Iterator[str]:
    found = [finding for finding in report.findings if finding.subject == "class"]
    if not found:
        return
    yield "### Suspected target classes"
    yield ""
    yield "| Class | |"
    yield "| --- | --- |"
    for finding in found[:_CLASSES]:
        yield f"| {code(finding.name)} | {escape(finding.message)} |"
    yield ""


def _inputs(report: Report) -> Iterator[str]:
    if not report.top_inputs:
        return
    suppressed = {f.index: f.suppressed for f in report.findings if f.subject == "input"}
    yield "### Most suspicious inputs"
    yield ""
    yield "| | Input | Predicted | Looks like | p |"
    yield "| --- | --- | --- | --- | ---: |"
    for row in report.top_inputs[:_INPUTS]:
        flag = "flagged" if row.flagged else ""
        if row.finite is False:
            flag += ", not finite"
        if suppressed.get(row.index) is not None:
            flag += ", suppressed"
        p_value = "" if row.p_value is None else f"{row.p_value:.2g}"
        predicted, source = code(row.predicted_class or "", 40), code(row.source_class or "", 40)
        yield f"| {flag} | {code(row.id)} | {predicted} | {source} | {p_value} |"
    yield ""
