"""From a suspect model and clean images to what plain patterns do to it."""

from __future__ import annotations

from latentscan._checks import checked_audit
from scanner.auditing.options import AuditOptions
from scanner.base.progress import SILENCE, Progress
from scanner.report.audit.schema import AuditReport


def audit(options: AuditOptions, progress: Progress = SILENCE) -> AuditReport:
    """Look for triggers with clean images alone, and say whether plain patterns move the model unusually.

    The model file is loaded in a locked-down process of its own. A verdict of any outcome is a result and no exception;
    what a gate makes of it is ``report.verdict.exit_code``.

    Args:
        options: What to do.
        progress: Told what happens; nobody by default.

    Returns:
        The report. The files that `options` asks for are written before.

    Raises:
        LatentscanError: If there is no verdict.

    Example:
        >>> opening = latentscan.FitOptions(Path("suspect.onnx"), Path("ref"), Path("unused"), device="cpu")
        >>> report = latentscan.audit(latentscan.AuditOptions(opening, ("audit.json",), passes=5000, budget=None))
        >>> report.verdict.outcome, report.search.passes <= 5000
        (<AuditOutcome.INCONCLUSIVE: 'inconclusive'>, True)
    """
    options = checked_audit(options)
    from scanner.auditing.audit import audit as run

    return run(options, progress)
