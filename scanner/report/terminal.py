"""The summary that a person reads when a scan ends.

It fits 80 columns, says everything without colour, and prints names only after `printable`: file names, class names
and model metadata are chosen by whoever made them. Names go into `rich.text.Text`, never into markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TextIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from scanner.base.text import printable
from scanner.report.handed_over import pattern_in_words
from scanner.report.page_trigger import rule_in_words
from scanner.report.schema import (
    DemonstrationSection,
    DriftSection,
    Finding,
    LabelledGroup,
    LabelsSection,
    Report,
    SharedUnitsSection,
)
from scanner.report.severity_word import severity_word
from scanner.verdict.terms import Severity

_PLAIN_WIDTH = 80
_MAX_WIDTH = 120
_CLASS_WIDTH = 10
_SHOWN_INPUTS = 10
_SHOWN_CLASSES = 3
_SHOWN_UNITS = 3
_SHOWN_WARNINGS = 5
_MANY = 100

Detail = Literal["brief", "full"]

_STYLES = {
    None: "bold yellow",
    Severity.NONE: "bold green",
    Severity.LOW: "bold yellow",
    Severity.MEDIUM: "bold yellow",
    Severity.HIGH: "bold red",
    Severity.CRITICAL: "bold white on red",
}


def print_summary(report: Report, stream: TextIO, width: int | None = None, detail: Detail = "brief") -> None:
    """Print the summary of a scan.

    Args:
        report: The report.
        stream: Standard output or standard error. Colour only if it is a terminal and NO_COLOR is not set.
        width: Columns; by default those of the terminal, at most 120, and 80 elsewhere.
        detail: 'full' adds every check, class and setting, and more inputs.
    """
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    columns = width or (min(console.width, _MAX_WIDTH) if console.is_terminal else _PLAIN_WIDTH)
    console.width = columns
    with console.capture() as capture:
        console.print(summary(report, columns, detail))
    text = "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
    # A terminal that is not UTF-8 must not turn a finished scan into an error.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def summary(report: Report, width: int = _PLAIN_WIDTH, detail: Detail = "brief") -> RenderableType:
    """The summary as something that Rich can print in so many columns."""
    parts: list[RenderableType] = [_headline(report), Text(), *_reasons(report), Text(), _facts(report)]
    if report.top_inputs:
        shown = _MANY if detail == "full" else _SHOWN_INPUTS
        title = f"Most suspicious of {report.inputs.scanned} inputs (! is flagged)"
        parts += [
            Text(),
            Text(title, style="bold"),
            _inputs(report, width, shown),
        ]
    if detail == "full":
        parts += _details(report)
    suppressed = [finding for finding in report.findings if finding.suppressed is not None]
    if suppressed:
        parts += [Text(), Text("Suppressed, and still part of the verdict", style="bold"), *_suppressed(suppressed)]
    if report.warnings:
        parts += [Text(), Text("Warnings", style="bold"), *_warnings(report)]
    return Group(*parts)


def _headline(report: Report) -> Text:
    verdict = report.verdict
    severity = severity_word(verdict)
    style = _STYLES[verdict.severity if severity == verdict.severity else None]
    accepted = "" if verdict.accepted is None else ", ACCEPTED"
    return Text.assemble(
        ("Verdict: ", "bold"),
        (f" {severity.upper()} ", style),
        f" {verdict.decision}, {verdict.confidence}{accepted} "
        f"(exit code {verdict.exit_code}, fails on {verdict.fail_on}{_says_a_file(report)})",
    )


def _says_a_file(report: Report) -> str:
    policy = report.policy
    if policy is None or policy.config is None or policy.sources.get("fail-on") != "file":
        return ""
    return f" as {printable(policy.config, 60)} says"


def _reasons(report: Report) -> Iterator[RenderableType]:
    for reason in report.verdict.reasons:
        yield _item(reason)


def _warnings(report: Report) -> Iterator[RenderableType]:
    for warning in report.warnings[:_SHOWN_WARNINGS]:
        yield _item(warning)
    if len(report.warnings) > _SHOWN_WARNINGS:
        yield _item(f"and {len(report.warnings) - _SHOWN_WARNINGS} more in the report")


def _item(text: str) -> RenderableType:
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(width=1)
    row.add_column(overflow="fold")
    row.add_row("-", Text(printable(text, limit=1000)))
    return row


def _facts(report: Report) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(report):
        table.add_row(name, Text(value))
    return table


def _lines(report: Report) -> Iterator[tuple[str, str]]:
    model, reference, calibration = report.model, report.reference, report.calibration
    architecture = f", {printable(model.architecture, 30)}" if model.architecture else ""
    yield "Model", f"{printable(model.name, 40)}{architecture}, sha256 {model.sha256[:16]}"
    yield "Profile", f"{printable(report.profile.name, 40)}, sha256 {report.profile.sha256[:16]}"
    accuracy = "accuracy unknown (no labels)"
    if reference.clean_accuracy is not None:
        accuracy = f"{reference.clean_accuracy:.1%} classified as labelled"
    yield "Reference", f"{reference.images} clean images, {accuracy}; {calibration.size} in the calibration"
    yield "Inputs", _scanned(report)
    if report.inputs.not_finite:
        yield "Not finite", f"{report.inputs.not_finite}, flagged and counted apart"
    yield from _batch_lines(report)
    if report.rows is not None:
        yield "Rows", f"{printable(report.rows.path, 50)}, {report.rows.count} rows"


def _scanned(report: Report) -> str:
    inputs = report.inputs
    text = f"{inputs.scanned} scanned, {inputs.unreadable} unreadable"
    if inputs.unreadable_by_reason:
        frequent = sorted(inputs.unreadable_by_reason.items(), key=lambda item: (-item[1], item[0]))[:4]
        text += f" ({', '.join(f'{count} {printable(reason, 30)}' for reason, count in frequent)})"
    if inputs.ignored:
        text += f", {inputs.ignored} other files ignored"
    return text


def _batch_lines(report: Report) -> Iterator[tuple[str, str]]:
    batch, alpha = report.batch, report.calibration.alpha
    if batch.flag_rate is None:
        return
    compared = report.inputs.scanned - report.inputs.not_finite
    expected = report.calibration.expected_false_alarm_rate * compared
    yield (
        "Flagged",
        f"{batch.flagged} ({batch.flag_rate:.2%}) at alpha {alpha:.3g}, {expected:.3g} expected of clean inputs",
    )
    yield "Batch p", f"{batch.p_value:.2g} (smallest attainable {batch.smallest_attainable_p:.2g})"
    if report.demonstration is not None:
        yield "Trigger", _trigger(report.demonstration)
    if report.handed_over is not None:
        word = "behind flagged inputs" if report.handed_over.found else "not behind flagged inputs"
        yield "Audit", f"{word}: {printable(pattern_in_words(report.handed_over), 400)}"
    if report.drift is not None and report.drift.outcome != "too few":
        yield "The rest", _rest(report.drift)
    if report.copies is not None and report.copies.pictures < report.copies.contents:
        copies = report.copies
        yield "Copies", f"{copies.contents} different inputs show {copies.pictures} pictures; copies count once"
    if batch.shared_units is not None:
        yield "Shared units", _shared_units(batch.shared_units)
    if batch.labels is not None:
        yield "Accuracy", _labels(batch.labels)
    if batch.share is not None:
        share = batch.share
        yield (
            "Triggered",
            f"{share.estimate:.2%} of the inputs ({share.level:.0%}: {share.low:.2%} to {share.high:.2%})",
        )
    if batch.target_classes and report.verdict.severity is not Severity.NONE:
        names = [
            f"{printable(target.class_name, 30)} ({target.flagged} of {target.n} flagged)"
            for target in batch.target_classes[:_SHOWN_CLASSES]
        ]
        more = len(batch.target_classes) - _SHOWN_CLASSES
        yield "Leads to", ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _trigger(shown: DemonstrationSection) -> str:
    word = "demonstrated" if shown.demonstrated else "not demonstrated"
    return (
        f"{word}: a {shown.kind} moves {printable(rule_in_words(shown), 120)}, {shown.moved} of {shown.eligible} clean "
        f"images (control {shown.control_moved})"
    )


def _rest(drift: DriftSection) -> str:
    word = {"alike": "like the reference", "drifted": "unlike the reference"}.get(drift.outcome, "looks unlike it")
    distance = "" if drift.score is None else f", largest distance {drift.score.distance:.2f}"
    return f"{drift.rest} of {drift.looked_at} inputs not flagged: {word}{distance}"


def _shared_units(shared: SharedUnitsSection) -> str:
    p_value = f"p {shared.p_value:.2g}"
    if not shared.counted:
        return f"none beyond chance ({p_value}, {shared.inputs} distinct inputs)"
    named = [f"channel {unit.channel} of {printable(unit.descriptor, 30)}" for unit in shared.loudest[:_SHOWN_UNITS]]
    more = len(shared.loudest) - _SHOWN_UNITS
    text = f"{p_value}, {shared.sharing} inputs louder than every clean image: {', '.join(named)}"
    return text + (f" and {more} more" if more > 0 else "")


def _labels(labels: LabelsSection) -> str:
    groups = [_accuracy(name, group) for name, group in (("flagged", labels.flagged), ("others", labels.others))]
    if labels.no_class:
        groups.append(f"{labels.no_class} with a label that names no class")
    return ", ".join(text for text in groups if text)


def _accuracy(name: str, group: LabelledGroup) -> str:
    if group.accuracy is None or group.interval is None:
        return ""
    low, high = group.interval.low, group.interval.high
    return f"{name} {group.accuracy:.1%} of {group.inputs} ({100 * low:.1f}-{high:.1%})"


def _suppressed(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    for finding in findings[:_SHOWN_WARNINGS]:
        if finding.suppressed is not None:
            until = finding.suppressed.expires or "further notice"
            yield _item(f"{finding.rule} {finding.subject} {finding.name}, until {until}: {finding.suppressed.reason}")
    if len(findings) > _SHOWN_WARNINGS:
        yield _item(f"and {len(findings) - _SHOWN_WARNINGS} more in the report")


def _details(report: Report) -> Iterator[RenderableType]:
    yield Text()
    yield Text("Checks", style="bold")
    checks = Table.grid(padding=(0, 2, 0, 0))
    for width, overflow in ((6, "fold"), (12, "fold"), (None, "fold")):
        checks.add_column(width=width, overflow=overflow)  # type: ignore[arg-type]
    for check in report.checks:
        checks.add_row(check.id, Text(check.status.replace("_", " ")), Text(printable(check.message, 600)))
    yield Padding(checks, (0, 0, 0, 2))
    classes = sorted(report.batch.by_class, key=lambda entry: (-entry.flagged, entry.class_index))[:_MANY]
    if classes:
        yield Text()
        yield Text("Flagged by predicted class", style="bold")
        table = Table.grid(padding=(0, 2, 0, 0))
        for entry in classes:
            name = Text(printable(entry.class_name, 40))
            table.add_row(name, Text(f"{entry.flagged} of {entry.n} ({entry.flagged / max(entry.n, 1):.1%})"))
        yield Padding(table, (0, 0, 0, 2))
    if report.policy is not None:
        yield Text()
        yield Text("Gate", style="bold")
        for setting, value in report.policy.values.items():
            yield _item(f"{setting} {value} ({report.policy.sources.get(setting, 'unknown')})")


def _inputs(report: Report, width: int, count: int) -> RenderableType:
    # What 80 columns leave for the path and for the score; both get half of any further room.
    more_room = max(width - _PLAIN_WIDTH, 0) // 2
    path_width, score_width = 23 + more_room, 22 + more_room
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("input", overflow="ellipsis", no_wrap=True, max_width=path_width)
    table.add_column("predicted", overflow="ellipsis", no_wrap=True, max_width=_CLASS_WIDTH)
    table.add_column("looks like", overflow="ellipsis", no_wrap=True, max_width=_CLASS_WIDTH)
    table.add_column("p", justify="right", no_wrap=True, min_width=7)
    table.add_column("loudest score", overflow="ellipsis", no_wrap=True, max_width=score_width)
    for row in report.top_inputs[:count]:
        table.add_row(
            Text("!" if row.flagged else "", style="bold red"),
            Text(printable(row.id, path_width)),
            Text("not finite" if row.finite is False else printable(row.predicted_class or "", _CLASS_WIDTH)),
            Text(printable(row.source_class or "", _CLASS_WIDTH)),
            Text("" if row.p_value is None else f"{row.p_value:.2g}"),
            Text(printable(row.top_scores[0].key, score_width) if row.top_scores else ""),
        )
    more = len(report.top_inputs) - count
    rest = [Text(f"and {more} more in the report", style="dim")] if more > 0 else []
    return Padding(Group(table, *rest), (0, 0, 0, 2))
