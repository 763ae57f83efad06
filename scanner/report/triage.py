"""What people said about earlier findings: the ignore file and the baseline.

An entry of the ignore file names one finding, by fingerprint or by the input's digest, or a model whose findings are
accepted, and gives a reason. It may expire; one about a model has to. What it covers stays in every report, marked as
suppressed. A baseline is an earlier report: findings that it has are marked as known, and nothing else changes.

The verdict on the model rests on all inputs, suppressed ones included. It passes the gate in spite of a finding only
through an entry that names the model, and then every report says so.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from scanner.base.errors import UsageError
from scanner.base.files import read_bounded
from scanner.base.text import portable, printable
from scanner.profile.header import ModelInfo
from scanner.report.schema import Finding, Suppression
from scanner.verdict.accept import AnyVerdict, accept
from scanner.verdict.terms import Acceptance, Severity, Verdict

MAX_BYTES = 4 * 2**20
MAX_REASON = 1000
_KINDS = ("finding", "input", "model")
_KEYS = {*_KINDS, "reason", "expires", "up-to"}
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True)
class IgnoreEntry:
    """One entry of the ignore file.

    Attributes:
        kind: 'finding' (by fingerprint), 'input' (by the digest of its content) or 'model' (by its digest).
        digest: The digest that it names.
        reason: Why.
        expires: Last day on which it holds, or None.
        up_to: For a model: the severest finding that is accepted.
    """

    kind: str
    digest: str
    reason: str
    expires: date | None
    up_to: Severity | None


@dataclass(frozen=True)
class IgnoreFile:
    """The ignore file.

    Attributes:
        name: Its name, without its folder.
        sha256: Digest of its content.
        entries: Its entries.
    """

    name: str
    sha256: str
    entries: tuple[IgnoreEntry, ...]


def read_ignore_file(path: Path) -> IgnoreFile:
    """Read an ignore file.

    Raises:
        UsageError: It cannot be read, or an entry is not complete. Nothing is ignored by half.
    """
    where = printable(str(path))
    content = read_bounded(path, MAX_BYTES)
    try:
        values = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"is not valid TOML ({str(error)[:200]})", where=where, hint="Correct the file") from None
    if values.keys() - {"ignore"} or not isinstance(values.get("ignore", []), list):
        raise UsageError("holds something other than [[ignore]] entries", where=where, hint="See docs/gates.md")
    entries = tuple(_entry(value, f"{where}, entry {i + 1}") for i, value in enumerate(values.get("ignore", [])))
    return IgnoreFile(portable(path.name), hashlib.sha256(content).hexdigest(), entries)


def _entry(value: object, where: str) -> IgnoreEntry:
    hint = "See docs/gates.md"
    if not isinstance(value, dict) or value.keys() - _KEYS:
        raise UsageError(f"has other keys than {', '.join(sorted(_KEYS))}", where=where, hint=hint)
    kinds = [kind for kind in _KINDS if kind in value]
    if len(kinds) != 1:
        raise UsageError("has to name exactly one of finding, input and model", where=where, hint=hint)
    kind = kinds[0]
    match = _DIGEST.fullmatch(value[kind]) if isinstance(value[kind], str) else None
    if match is None:
        raise UsageError(f"its {kind} is not a SHA-256 of 64 lower-case digits", where=where, hint=hint)
    reason = value.get("reason")
    if not isinstance(reason, str) or not reason.strip() or len(reason) > MAX_REASON:
        raise UsageError(f"needs a reason of at most {MAX_REASON} characters", where=where, hint=hint)
    expires = value.get("expires")
    if expires is not None and (not isinstance(expires, date) or isinstance(expires, datetime)):
        raise UsageError("its expires is not a date", where=where, hint="Write it without quotes: expires = 2027-01-31")
    if kind != "model":
        if "up-to" in value:
            raise UsageError("up-to belongs to an entry about a model", where=where, hint=hint)
        return IgnoreEntry(kind, match[1], reason.strip(), expires, None)
    if expires is None or value.get("up-to") not in [s.value for s in Severity if s is not Severity.NONE]:
        raise UsageError(
            "accepting findings on a model needs expires and up-to",
            where=where,
            hint="Write expires = 2027-01-31 and up-to = 'high' (low, medium, high or critical)",
        )
    return IgnoreEntry(kind, match[1], reason.strip(), expires, Severity(value["up-to"]))


def accept_model(verdict: AnyVerdict, model: ModelInfo, ignore: IgnoreFile | None, today: date) -> AnyVerdict:
    """The verdict, with a failing exit code turned into 0 where an entry accepts this model's findings today."""
    for entry in ignore.entries if ignore else ():
        if entry.kind != "model" or entry.digest != model.sha256 or entry.expires is None or entry.up_to is None:
            continue
        if entry.expires >= today and ignore is not None:
            reason = Acceptance(entry.reason, entry.expires.isoformat(), ignore.name)
            verdict = accept(verdict, reason, entry.up_to)
    return verdict


def triage(
    findings: Sequence[Finding],
    verdict: Verdict,
    ignore: IgnoreFile | None,
    known: frozenset[str],
    input_digests: dict[int, str],
    today: date,
) -> tuple[Finding, ...]:
    """The findings, with what the ignore file and the baseline say of them.

    Args:
        findings: From `scanner.report.findings.find`.
        verdict: From `accept_model`.
        ignore: The ignore file.
        known: Fingerprints of the baseline's findings.
        input_digests: SHA-256 of every input among the findings, by index.
        today: The day that entries have to hold on.
    """
    by_digest: dict[tuple[str, str], Suppression] = {}
    for entry in ignore.entries if ignore else ():
        if ignore is not None and (entry.expires is None or entry.expires >= today):
            expires = None if entry.expires is None else entry.expires.isoformat()
            by_digest.setdefault(
                (entry.kind, entry.digest), Suppression(reason=entry.reason, expires=expires, source=ignore.name)
            )

    def suppression(finding: Finding) -> Suppression | None:
        if finding.subject == "model":
            # Only through the verdict, which then says so: never by fingerprint.
            accepted = verdict.accepted
            if accepted is None:
                return None
            return Suppression(reason=accepted.reason, expires=accepted.expires, source=accepted.source)
        found = by_digest.get(("finding", finding.id))
        if found is None and finding.subject == "input" and finding.index is not None:
            found = by_digest.get(("input", input_digests[finding.index]))
        return found

    return tuple(
        finding.model_copy(update={"known": finding.id in known, "suppressed": suppression(finding)})
        for finding in findings
    )


def ignore_warnings(ignore: IgnoreFile | None, findings: Sequence[Finding], model: ModelInfo, today: date) -> list[str]:
    """What a person should know about the ignore file: entries that have expired, and those that cannot work."""
    if ignore is None:
        return []
    about_model = {finding.id for finding in findings if finding.subject == "model"}
    warnings = []
    for position, entry in enumerate(ignore.entries, start=1):
        which = f"{ignore.name}, entry {position}"
        if entry.expires is not None and entry.expires < today:
            warnings.append(f"{which} expired on {entry.expires.isoformat()} and has no effect: {entry.reason}")
        elif entry.kind == "finding" and entry.digest in about_model:
            warnings.append(
                f"{which} names the verdict on the model, which no fingerprint suppresses. To accept it, write an "
                f"entry with model = '{model.sha256}', up-to, expires and a reason."
            )
    return warnings[:20]
