"""From inputs and a profile to a report."""

from __future__ import annotations

from latentscan._checks import checked_scan
from scanner.base.progress import SILENCE, Progress
from scanner.report.schema import Report
from scanner.scanning.options import ScanOptions


def scan(options: ScanOptions, progress: Progress = SILENCE) -> Report:
    """Score inputs, and say whether they and the model show a backdoor.

    Needs neither PyTorch nor the model file. A verdict of any severity is a result and no exception; what a gate makes
    of it is ``report.verdict.exit_code``. Unlike the command line, this reads no settings from the environment and from
    configuration files: what `options` says holds. The report's ``run.argv`` is that of the calling program.

    Args:
        options: What to do.
        progress: Told what happens; nobody by default.

    Returns:
        The report, which shows itself in a notebook. The files that `options` asks for are written before.

    Raises:
        LatentscanError: If there is no verdict.

    Example:
        >>> options = latentscan.ScanOptions(Path("inputs"), Path("modelscan.h5"), reports=("out.json", "out.html"))
        >>> report = latentscan.scan(options)
        >>> report.inputs.scanned, report.verdict.severity, report.verdict.exit_code
        (60, <Severity.NONE: 'none'>, 0)
        >>> top = report.top_inputs[0]  # the most suspicious one
        >>> top.status, top.p_value < 0.1
        ('scanned', True)
    """
    options = checked_scan(options)
    from scanner.scanning.scan import scan as run

    return run(options, progress)
