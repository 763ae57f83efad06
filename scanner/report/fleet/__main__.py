"""``python -m scanner.report.fleet``: print the JSON Schema of a fleet's summary."""

from __future__ import annotations

import sys

from scanner.report.fleet.schema import schema_text

sys.stdout.write(schema_text())
