"""From a suspect model and clean images to a profile."""

from __future__ import annotations

from latentscan._checks import checked_fit
from scanner.base.atomic import check_destination, check_folder
from scanner.base.progress import SILENCE, Progress
from scanner.fitting.options import FitOptions
from scanner.fitting.result import FitResult


def fit(options: FitOptions, progress: Progress = SILENCE) -> FitResult:
    """Learn how a model sees clean images, and write a profile to scan with.

    The model file is loaded in a locked-down process of its own.

    Args:
        options: What to do.
        progress: Told what happens; nobody by default.

    Returns:
        The profile and where it was written to.

    Raises:
        LatentscanError: For everything the caller can do something about.

    Example:
        >>> options = latentscan.FitOptions(Path("suspect.onnx"), Path("ref"), Path("modelscan.h5"), device="cpu")
        >>> fitted = latentscan.fit(options)
        >>> fitted.profile.header.reference.images, fitted.path
        (240, PosixPath('modelscan.h5'))
    """
    options = checked_fit(options)
    check_destination(options.output)
    if options.bayesian is not None:
        from scanner.graph.weights import check_layer_choice

        check_layer_choice(options.bayesian.layers)
        if options.bayesian.checkpoint is not None:
            check_folder(options.bayesian.checkpoint)
    from scanner.fitting.fit import fit as run

    return run(options, progress)
