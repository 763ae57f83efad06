"""The formats of an audit's report: those of a scan's, each by a module of the same name in this package."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from scanner.report.formats import FORMATS

AUDIT_FORMATS: Final = tuple(
    # JSON is that of any report.
    known if known.name == "json" else replace(known, module=known.module.replace("scanner.report", __package__))
    for known in FORMATS
)
