"""The summary of a fleet as CSV, for spreadsheets: a line for each model.

Names in it are chosen by whoever made the files, and a spreadsheet runs a cell that begins like a formula. Such a cell
gets an apostrophe before it (OWASP, CSV Injection), and nothing in a cell is invisible or a line break.
"""

from __future__ import annotations

import csv
import io
from typing import Final

from scanner.base.text import printable
from scanner.report.fleet.schema import FleetModel, FleetReport

COLUMNS: Final = tuple(FleetModel.model_fields)
_LONGEST: Final = 2000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


def csv_bytes(summary: FleetReport) -> bytes:
    """The content of ``fleet.csv``."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for model in summary.models:
        writer.writerow([_cell(value) for value in model.model_dump(mode="json").values()])
    return text.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return _safe(" ".join(map(str, value)))
    return _safe(value) if isinstance(value, str) else str(value)


def _safe(text: str) -> str:
    # Blanks before it do not keep a spreadsheet from seeing a formula.
    guarded = text.lstrip().startswith(_FORMULA)
    return ("'" if guarded else "") + printable(text, _LONGEST)
