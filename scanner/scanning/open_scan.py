"""Open what `scan` was given: the profile, made ready to score, and the inputs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from scanner.base.atomic import check_destination
from scanner.base.errors import ProfileError, UsageError
from scanner.base.files import open_regular
from scanner.base.progress import Progress
from scanner.inputs.source import KNOWN_SUFFIXES, open_source
from scanner.inputs.threads import usable_cores
from scanner.profile.calibration_arrays import calibration_from_arrays
from scanner.profile.content import Profile
from scanner.profile.graph_rules import require_safe_graph
from scanner.profile.reader import read_profile
from scanner.profile.unit_arrays import units_from_profile
from scanner.report.formats import check_reports
from scanner.report.rows import row_format
from scanner.scanning.options import ScanOptions
from scanner.scanning.stages import OpenedScan
from scanner.scoring.scorer import Scorer


def check_destinations(options: ScanOptions) -> None:
    """Find out before the work whether its results can be written.

    Raises:
        UsageError: A format is unknown.
        OutputError: A file cannot be written where it is wanted.
    """
    check_reports(options.reports)
    if options.rows is not None:
        row_format(options.rows)
        check_destination(options.rows)


def open_scan(options: ScanOptions, progress: Progress) -> OpenedScan:
    """Read the profile, list the inputs, and load the graphs.

    Raises:
        ProfileError: The profile cannot be used, or was made for another model.
        SourceError: The inputs cannot be listed.
        DeviceError: The device that was asked for is not there.
    """
    profile = read_profile(options.profile)
    require_safe_graph(profile, options.profile)
    if options.model is not None:
        _check_model(options.model, profile)
    source = open_source(options.inputs, labels=False, follow_links=options.follow_links)
    if not len(source.items):
        other = f" among {source.ignored} entries" if source.ignored else ""
        known = " ".join(KNOWN_SUFFIXES)
        progress.say(f"inputs: no image{other}; known are {known}, and images without a suffix by their content")
    scorer = _scorer(profile, options, len(source.items), progress)
    calibration = calibration_from_arrays(profile.calibration, profile.header.scores)
    return OpenedScan(profile, scorer, calibration, units_from_profile(profile), source)


def _scorer(profile: Profile, options: ScanOptions, inputs: int, progress: Progress) -> Scorer:
    """Load the profile's graphs, and say beforehand what weight draws are going to cost."""
    info = profile.header.bayesian
    if info is None:
        return Scorer(profile, options.device)
    scorer = Scorer(profile, options.device, progress.task("weight draws", info.samples))
    if (cost := scorer.seconds_per_image()) is not None:
        plain, drawn = cost
        threads = options.threads or usable_cores()
        progress.say(
            f"bayesian: {info.samples} draws of {info.extent} ({info.layers}, {info.posterior}); "
            f"expected {1000 * (plain + drawn) / threads:.3g} s per 1,000 images on {threads} threads "
            f"({1 + drawn / plain:.1f} times a plain scan), {inputs * (plain + drawn) / threads:.3g} s in all"
        )
    return scorer


def _check_model(path: Path, profile: Profile) -> None:
    try:
        with open_regular(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", where=str(path)) from None
    if digest != profile.header.model.sha256:
        raise ProfileError(
            f"the profile was made for another file (sha256 {profile.header.model.sha256[:16]}...)",
            where=str(path),
            hint="Fit a profile for this model",
        )
