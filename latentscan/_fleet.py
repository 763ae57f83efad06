"""Many models and one summary."""

from __future__ import annotations

from latentscan._checks import checked_fleet
from scanner.base.progress import SILENCE, Progress
from scanner.fleet.options import FleetOptions
from scanner.report.fleet.schema import FleetReport


def fleet(options: FleetOptions, progress: Progress = SILENCE) -> FleetReport:
    """Fit and scan every model of a table, and write one summary, the severest first.

    Each row is the commands ``fit`` and ``scan`` in processes of their own. Run again, it goes on where it was. What
    fails is in the summary, and stops no other row; what a gate makes of all is ``exit_code``. Unlike in `scan`, a
    setting that `options` does not name is taken from the environment or a configuration file, as in the commands.

    Args:
        options: What to do.
        progress: Told what happens; nobody by default.

    Returns:
        The summary. Its files in ``options.output`` are written before.

    Raises:
        LatentscanError: If the table or a setting is wrong, or the folder cannot be used.

    Example:
        >>> rows = "name,model,reference,inputs\\nvendor A,suspect.onnx,ref,inputs\\nvendor B,gone.onnx,ref,inputs\\n"
        >>> _ = Path("models.csv").write_text(rows)
        >>> options = latentscan.FleetOptions(Path("models.csv"), Path("fleet"), device="cpu")
        >>> summary = latentscan.fleet(options)
        >>> [(model.name, model.status, model.exit_code) for model in summary.models]
        [('vendor B', 'failed', 2), ('vendor A', 'scanned', 0)]
        >>> summary.exit_code, sorted(path.name for path in Path("fleet").iterdir())
        (2, ['fleet.csv', 'fleet.html', 'fleet.json', 'models'])
    """
    options = checked_fleet(options)
    from scanner.fleet.run import run_fleet

    return run_fleet(options, progress)
