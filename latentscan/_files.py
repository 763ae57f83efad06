"""Read back what `fit`, `scan` and `audit` wrote."""

from __future__ import annotations

import os
from pathlib import Path

from scanner.profile.content import Profile
from scanner.report.audit.schema import AuditReport
from scanner.report.schema import Report


def read_profile(path: str | os.PathLike[str]) -> Profile:
    """Read and verify a profile. The file may come from anybody: nothing of it is run, and memory is bounded.

    Args:
        path: The file that `fit` wrote.

    Raises:
        ProfileError: It is missing, damaged, altered, of another version, or no profile.

    Example:
        >>> profile = latentscan.read_profile("modelscan.h5")
        >>> profile.header.class_names
        ('amber', 'blue', 'coral', 'denim', 'ebony', 'fern')
        >>> profile.header.reference.images
        240
    """
    from scanner.profile.reader import read_profile as read

    return read(Path(path))


def read_audit(path: str | os.PathLike[str]) -> AuditReport:
    """Read and verify the JSON report of an audit. The file may come from anybody.

    Args:
        path: The ``.json`` file that `audit` wrote.

    Raises:
        UsageError: It cannot be read, is no report of an audit, is of another version, or was altered.

    Example:
        >>> latentscan.read_audit("audit.json").search.complete
        False
    """
    from scanner.report.audit.read import read_audit as read

    return read(Path(path))


def read_report(path: str | os.PathLike[str]) -> Report:
    """Read and verify a JSON report. The file may come from anybody.

    Args:
        path: The ``.json`` file that `scan` wrote.

    Raises:
        UsageError: It cannot be read, is no report, is newer than this program, or was altered.

    Example:
        >>> latentscan.read_report("out.json").verdict.decision
        <Decision.ACCEPT: 'accept'>
    """
    from scanner.report.read import read_report as read

    return read(Path(path))[0]
