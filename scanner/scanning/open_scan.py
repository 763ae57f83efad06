"""Open what `scan` was given: the profile, made ready to score, and the inputs."""

from __future__ import annotations

from pathlib import Path

from scanner.base.atomic import check_destination
from scanner.base.errors import ProfileError
from scanner.base.progress import Progress
from scanner.inputs.items import Source
from scanner.inputs.threads import usable_cores
from scanner.models.identify import identify
from scanner.profile.calibration_arrays import calibration_from_arrays
from scanner.profile.content import Profile
from scanner.profile.graph_rules import require_safe_graph
from scanner.profile.looks import looks_from_profile
from scanner.profile.reader import read_profile
from scanner.profile.unit_arrays import units_from_profile
from scanner.report.formats import check_reports
from scanner.report.rows import row_format
from scanner.scanning.handed_over import read_patterns
from scanner.scanning.options import ScanOptions
from scanner.scanning.same_scores import require_same_scores
from scanner.scanning.stages import OpenedProfile, OpenedScan
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


def open_profile(options: ScanOptions) -> OpenedProfile:
    """Read the profile, all of it: what is wrong with it is said before anything is said of the inputs.

    Raises:
        ProfileError: The profile cannot be used, or was made for another model.
    """
    profile = read_profile(options.profile)
    require_safe_graph(profile, options.profile)
    if options.model is not None:
        _check_model(options.model, profile)
    calibration = calibration_from_arrays(profile.calibration, profile.header.scores)
    return OpenedProfile(profile, calibration, units_from_profile(profile), looks_from_profile(profile))


def open_scan(read: OpenedProfile, source: Source, options: ScanOptions, progress: Progress) -> OpenedScan:
    """Load the profile's graphs for these inputs.

    Raises:
        UsageError: The audit cannot be used, or is of another model.
        ProfileError: A graph cannot be loaded.
        DeviceError: The device that was asked for is not there, or gives other scores than the processor.
    """
    handed = None if options.audit is None else read_patterns(options.audit, read.profile.header)
    scorer = _scorer(read.profile, options, len(source.items), progress)
    require_same_scores(read, scorer)
    return OpenedScan(read.profile, scorer, read.calibration, read.units, read.looks, source, handed)


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
    if identify(path).sha256 != profile.header.model.sha256:
        raise ProfileError(
            f"the profile was made for another file (sha256 {profile.header.model.sha256[:16]}...)",
            where=str(path),
            hint="Fit a profile for this model",
        )
