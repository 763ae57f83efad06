"""What a command line names: the files and folders that its process keeps when it gives up all others."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from scanner.auditing.options import AuditOptions
from scanner.fitting.options import FitOptions
from scanner.isolation.paths import holds_more
from scanner.models.folder import model_file
from scanner.scanning.options import ScanOptions

_LISTS: Final = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow")
_STREAM: Final = "-"
_MAX_BESIDE: Final = 10_000
_ANYWHERE: Final = "/"


def inputs_of_scan(options: ScanOptions) -> list[str]:
    """What a scan reads; beside lists of images, their folders, and of a model in several files, its own."""
    files = [options.profile, options.baseline, options.ignore, options.plan, options.audit]
    images = _images(options.inputs, options.clean, follow_links=options.follow_links)
    return [*images, *([] if options.model is None else _model(options.model)), *_named(files)]


def outputs_of_scan(options: ScanOptions) -> list[str]:
    """Folders that a scan writes into."""
    files: Sequence[Path] = [Path(report) for report in options.reports if report != _STREAM]
    found = _folders([*files, *([] if options.rows is None else [options.rows])])
    if options.plan is not None:
        folder = Path(os.path.realpath(options.plan))
        # One that is not there yet is made.
        found.append(str(folder if folder.is_dir() else folder.parent))
    return found


def inputs_of_fit(options: FitOptions) -> list[str]:
    """What a fit reads: the model with what lies beside it, and the reference."""
    preprocess = options.preprocess
    files = [] if preprocess is None or not _exists(Path(preprocess)) else [Path(preprocess)]
    return [*_images(options.clean, follow_links=options.follow_links), *_model(options.model), *_named(files)]


def outputs_of_fit(options: FitOptions) -> list[str]:
    """Folders that a fit writes into: of the profile, and for the states of fine-tuning."""
    checkpoint = None if options.bayesian is None else options.bayesian.checkpoint
    return [*_folders([options.output]), *_named([checkpoint])]


def inputs_of_inspection(file: Path) -> list[str]:
    """What a look at a file reads: the model with what lies beside it, or the profile."""
    return _model(file)


def outputs_of_rendering(output: str) -> list[str]:
    """The folder that a report in another format is written into; none for standard output."""
    return [] if output == _STREAM else _folders([Path(output)])


def inputs_of_audit(options: AuditOptions) -> list[str]:
    """What an audit reads: what a fit does, reports of accepted models, and the ignore file."""
    return [*inputs_of_fit(options.opening), *_named([options.null, options.ignore])]


def outputs_of_audit(options: AuditOptions) -> list[str]:
    """Folders that an audit writes into."""
    return _folders(Path(report) for report in options.reports if report != _STREAM)


def _images(*sources: Path | None, follow_links: bool) -> list[str]:
    """Images, and beside lists of them their folders."""
    found = _named(sources)
    found += [str(Path(path).absolute().parent) for path in found if Path(path).suffix.lower() in _LISTS]
    # Links may lead anywhere, and where they do is not known before they are read.
    return [*found, _ANYWHERE] if follow_links else found


def _model(named: Path) -> list[str]:
    """A model file, and what it may refer to: the folder that it lies in, or what is not hidden in one of the user's.

    In caches of model hubs, it and what lies beside it are links into one other folder: then what they lead to.
    """
    try:
        model = model_file(named)
        real = model.resolve()
        beside = list(islice(model.parent.iterdir(), _MAX_BESIDE))
        found = [str(named), str(model)]
        if model.is_symlink():
            found += [str(path) for path in beside if path.is_symlink() and path.resolve().parent == real.parent]
    except Exception:  # whatever is wrong with it is said when it is read
        return [str(named)]
    if not holds_more(str(model.parent)):
        return [*found, str(model.parent)]
    return [*found, *(str(path) for path in beside if not path.name.startswith(".") and not path.is_symlink())]


def _named(paths: Iterable[Path | None]) -> list[str]:
    return [str(path) for path in paths if path is not None]


def _folders(files: Iterable[Path]) -> list[str]:
    """Folders of the files that are written, behind links as well; of a device or a pipe, itself."""
    found: list[str] = []
    for file in files:
        real = Path(os.path.realpath(file))
        found.append(str(real if _is_special(real) else real.parent))
    return found


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
