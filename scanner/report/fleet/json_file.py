"""The summary of a fleet as JSON: as the report is written, and with a digest of what does not differ between runs."""

from __future__ import annotations

import hashlib
import json

from pydantic import JsonValue

from scanner.base.canonical import canonical, rounded
from scanner.report.fleet.schema import FleetReport
from scanner.report.json_report import visible

NOT_DIGESTED = ("run", "summary_digest")


def document(summary: FleetReport) -> dict[str, JsonValue]:
    """The summary as it is written: plain JSON values, floats rounded."""
    return {key: rounded(value) for key, value in summary.model_dump(mode="json").items()}


def sealed(summary: FleetReport) -> FleetReport:
    """The summary as it comes back from its JSON, with its digest."""
    stable = {key: value for key, value in document(summary).items() if key not in NOT_DIGESTED}
    digest = hashlib.sha256(canonical(stable)).hexdigest()
    return FleetReport.model_validate(document(summary) | {"summary_digest": digest})


def json_bytes(summary: FleetReport) -> bytes:
    """The content of ``fleet.json``."""
    text = json.dumps(document(summary), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return visible(text).encode() + b"\n"
