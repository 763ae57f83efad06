r"""The JSON report as a file.

Two texts of the same document. The *file* is for people and programs: indented, sorted, floats to six significant
digits. The *canonical* text is what the digest is taken of: ``json.dumps(document, sort_keys=True,
separators=(",", ":"))`` in Python, of the parsed file without ``run``, ``pictures`` and ``report_digest``.

Rounding is monotone, so p-values keep their order; two that differ by less than one part in a million may come out
equal, and whether an input is flagged was decided before.

Names keep their characters. What acts on a terminal or changes the direction of text is written as ``\uNNNN``, which
every JSON reader turns back.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

import pydantic
from pydantic import JsonValue

from scanner.base.canonical import canonical, rounded
from scanner.base.text import is_invisible

NOT_DIGESTED = ("run", "pictures", "report_digest")
"""What the digest leaves out. Pictures are bound by their keys, which are digests of them and occur in `gallery`."""

_BEYOND_ASCII = re.compile("[^\n -~]")


def document(report: pydantic.BaseModel) -> dict[str, JsonValue]:
    """The report as it is written: plain JSON values, floats rounded."""
    return {key: rounded(value) for key, value in report.model_dump(mode="json").items()}


def report_digest(values: Mapping[str, JsonValue]) -> str:
    """The digest of a report, computed or parsed: of everything but `NOT_DIGESTED`."""
    stable = {key: value for key, value in values.items() if key not in NOT_DIGESTED}
    return hashlib.sha256(canonical(stable)).hexdigest()


def visible(text: str) -> str:
    r"""JSON text with characters that are invisible or act on a terminal escaped.

    They occur inside strings only, so replacing them anywhere is safe. JSON itself escapes those below U+0020.

    >>> visible('"a\u202eb"')
    '"a\\u202eb"'
    """
    return _BEYOND_ASCII.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1] if is_invisible(match[0]) else match[0]


def report_bytes(report: pydantic.BaseModel) -> bytes:
    """The content of the report file."""
    text = json.dumps(document(report), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return visible(text).encode() + b"\n"
