"""From the reports of all rows to one summary: adjust p-values, judge again, sort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from detectors.calibration.family import holm
from scanner import __version__
from scanner.base.errors import LatentscanError
from scanner.base.text import portable
from scanner.fleet.folder import ROWS, Ended, RowFolder
from scanner.fleet.table import FleetRow, FleetTable
from scanner.profile.header import ToolInfo
from scanner.report.findings import BATCH_RULES, MODEL_RULES
from scanner.report.fleet.json_file import sealed
from scanner.report.fleet.schema import FleetCorrection, FleetModel, FleetReport, FleetRun, FleetTableInfo
from scanner.report.read import read_report
from scanner.report.schema import Report, RulesInfo
from scanner.verdict.fleet import Alone, among
from scanner.verdict.rules import load_rules
from scanner.verdict.terms import Severity

BATCH: Final = "LS100"
_WORST: Final[tuple[Literal[0, 1, 2, 3], ...]] = (1, 2, 3, 0)
_NO_DIGEST: Final = "0" * 64
_GUARANTEE: Final = (
    "The p-values of all batches, and those of all triggers that were tried, are adjusted by Holm's procedure for the "
    "number of rows in the table, where a row without one counts as 1, and the rules are applied again. However the "
    "rows depend on one another, for all models together whose inputs are like their clean reference "
    "(exchangeable): the probability that any of them is called high or worse for its batch is at most 0.001, medium "
    "or worse at most 0.01, low or worse at most 0.05. Outputs that are not finite, and what the graph shows, rest on "
    "no p-value and are not corrected. Within a model each input is still flagged at alpha, so clean models have "
    "flagged inputs. Models of other tables are not accounted for."
)


@dataclass(frozen=True)
class FleetOutcome:
    """A row, and how it ended."""

    row: FleetRow
    folder: RowFolder
    ended: Ended


@dataclass(frozen=True)
class _Facts:
    """What the summary takes from a report, which is not kept: its pictures are large."""

    alone: Alone
    batch_p: float | None
    shown_p: float | None
    fields: Mapping[str, Any]


def summarise(table: FleetTable, outcomes: Sequence[FleetOutcome], run: FleetRun) -> FleetReport:
    """The summary.

    Args:
        table: The table.
        outcomes: One for each of its rows.
        run: When and how it ran.
    """
    read = [_read(outcome) for outcome in outcomes]
    batch = _adjusted([None if facts is None else facts.batch_p for facts, _ in read])
    shown = _adjusted([None if facts is None else facts.shown_p for facts, _ in read])
    models = [
        _failed(outcome.row, ended) if facts is None else _judged(outcome, facts, adjusted, len(outcomes))
        for outcome, (facts, ended), adjusted in zip(outcomes, read, zip(batch, shown, strict=True), strict=True)
    ]
    rules = load_rules()
    codes = {model.exit_code for model in models}
    return sealed(
        FleetReport(
            tool=ToolInfo(name="latentscan", version=__version__),
            run=run,
            table=FleetTableInfo(name=portable(table.path.name), sha256=table.sha256, models=len(table.rows)),
            correction=FleetCorrection(method="holm", tests=len(outcomes), guarantee=_GUARANTEE),
            rules=RulesInfo(version=rules.version, sha256=rules.sha256),
            exit_code=next(code for code in _WORST if code in codes),
            models=tuple(sorted(models, key=_order)),
            summary_digest=_NO_DIGEST,
        )
    )


def _read(outcome: FleetOutcome) -> tuple[_Facts | None, Ended]:
    """The facts of a row's report, or none and why."""
    if outcome.ended.stage != "done":
        return None, outcome.ended
    try:
        report, _ = read_report(outcome.folder.report)
    except LatentscanError as error:
        return None, Ended("scan", 2, str(error))
    return _facts(report, f"{ROWS}/{outcome.folder.name}"), outcome.ended


def _facts(report: Report, place: str) -> _Facts:
    verdict = report.verdict
    batch_p = next((check.p_value for check in report.checks if check.id == BATCH), None)
    told = {found.rule: found.severity for found in report.findings if found.subject == "model"}
    own = verdict.severity or Severity.NONE
    # Where the findings do not say it, as severe as the verdict: nothing gets milder for want of words.
    applied = {rule: told.get(rule, own) for rule in verdict.rule_ids if rule in MODEL_RULES}
    alone = Alone(
        found=applied,
        judged=any(rule in (BATCH, *BATCH_RULES) for rule in verdict.rule_ids),
        failed=[rule for rule in verdict.rule_ids if rule not in applied],
        severity=verdict.severity,
        decision=verdict.decision,
        exit_code=verdict.exit_code,
        fail_on=verdict.fail_on,
        accepted=verdict.accepted is not None,
        share_low=0.0 if report.batch.share is None else report.batch.share.low,
        smallest_attainable_p=report.batch.smallest_attainable_p,
    )
    fields = {
        "message": verdict.reasons[0],
        "confidence": verdict.confidence,
        "fail_on": verdict.fail_on,
        "own_severity": verdict.severity,
        "own_exit_code": verdict.exit_code,
        "rules": verdict.rule_ids,
        "inputs": report.inputs.total,
        "scanned": report.inputs.scanned,
        "flagged": report.batch.flagged,
        "alpha": report.calibration.alpha,
        "model_name": report.model.name,
        "model_sha256": report.model.sha256,
        "report": f"{place}/report.json",
        "page": f"{place}/report.html",
        "report_digest": report.report_digest,
    }
    shown = report.demonstration
    return _Facts(alone, batch_p, None if shown is None else shown.p_value, fields)


def _adjusted(p_values: Sequence[float | None]) -> list[float]:
    adjusted = holm(np.array([1.0 if p is None else p for p in p_values], np.float64))
    return [float(p) for p in adjusted]


def _judged(outcome: FleetOutcome, facts: _Facts, adjusted: tuple[float, float], models: int) -> FleetModel:
    verdict = among(facts.alone, *adjusted, models)
    batch, shown = adjusted
    return FleetModel(
        line=outcome.row.line,
        name=outcome.row.name,
        status="scanned",
        stage="done",
        exit_code=verdict.exit_code,
        severity=verdict.severity,
        decision=verdict.decision,
        changed=verdict.changed,
        batch_p=facts.batch_p,
        batch_p_adjusted=None if facts.batch_p is None else batch,
        demonstration_p=facts.shown_p,
        demonstration_p_adjusted=None if facts.shown_p is None else shown,
        **facts.fields,
    )


def _failed(row: FleetRow, ended: Ended) -> FleetModel:
    code: Literal[2, 3] = 3 if ended.exit_code == 3 else 2
    stage = "scan" if ended.stage == "done" else ended.stage
    return FleetModel(
        line=row.line,
        name=row.name,
        status="failed",
        stage=stage,
        message=portable(ended.message),
        exit_code=code,
        rules=(),
    )


def _order(model: FleetModel) -> tuple[int, float, int]:
    """Findings by severity, then what could not be judged, then the rest."""
    if model.severity is not None and model.severity is not Severity.NONE:
        rank = -model.severity.rank
    else:
        rank = 0 if model.exit_code in (2, 3) else 1
    return rank, 1.0 if model.batch_p_adjusted is None else model.batch_p_adjusted, model.line
