"""Open a JSON report of unknown origin."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from scanner.base.errors import UsageError
from scanner.base.files import read_bounded
from scanner.base.text import printable

MAX_BYTES = 256 * 2**20


def read_json(path: Path, most: int = MAX_BYTES) -> tuple[dict[str, Any], str]:
    """The values of a JSON file, nothing of them checked, and its SHA-256; no values where it is no JSON object.

    Raises:
        UsageError: It cannot be read, is too large, or is no JSON.
    """
    content = read_bounded(path, most)
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise UsageError(
            "is not JSON", where=printable(str(path)), hint="Give a report that '--report out.json' wrote"
        ) from None
    return (values if isinstance(values, dict) else {}), hashlib.sha256(content).hexdigest()
