"""``python -m scanner.report.schema``: print the JSON Schema of the report."""

from __future__ import annotations

import sys

from scanner.report.schema.document import schema_text

sys.stdout.write(schema_text())
