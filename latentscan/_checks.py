"""Options from a program: values as they may be, paths as paths, or one clear line that names the field.

The command line checks what it parses and names its flags. A program gets the same bounds here.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeGuard

from scanner.auditing.options import AuditOptions
from scanner.base.errors import UsageError
from scanner.base.text import printable
from scanner.fitting.options import BayesianOptions, FitOptions
from scanner.fleet.options import FleetOptions
from scanner.scanning.options import ScanOptions
from scanner.verdict.gate_policy import SETTINGS
from scanner.verdict.terms import Confidence, FailOn

_WIDEST: Final = 10.0
_LARGEST_SIDE: Final = 8192
_DEVICES: Final = ("auto", "cpu", "cuda")


def checked_fit(options: FitOptions) -> FitOptions:
    """The options, with paths that were given as text made paths.

    Raises:
        UsageError: A value is out of range or of another type.
    """
    name = "FitOptions"
    _require_whole(options.seed, 0, 2**63 - 1, f"{name}.seed")
    if options.num_classes is not None:
        _require_whole(options.num_classes, 2, None, f"{name}.num_classes")
    if options.device not in _DEVICES:
        raise UsageError(f"{_shown(options.device)} is not one of {', '.join(_DEVICES)}", where=f"{name}.device")
    return replace(
        options,
        model=_path(options.model, f"{name}.model"),
        clean=_path(options.clean, f"{name}.clean"),
        output=_path(options.output, f"{name}.output"),
        input_size=checked_size(options.input_size, f"{name}.input_size"),
        layers=None if options.layers is None else _names(options.layers, f"{name}.layers"),
        scores=None if options.scores is None else _names(options.scores, f"{name}.scores"),
        timeout=checked_timeout(options.timeout, f"{name}.timeout"),
        bayesian=None if options.bayesian is None else _checked_bayesian(options.bayesian),
    )


def checked_audit(options: AuditOptions) -> AuditOptions:
    """The options, with paths and words that were given as text made what they stand for.

    Raises:
        UsageError: A value is out of range or of another type.
    """
    name = "AuditOptions"
    if options.budget is not None and not (_is_number(options.budget) and options.budget > 0):
        raise UsageError(f"{_shown(options.budget)} is not a number of seconds", where=f"{name}.budget")
    if options.passes is not None:
        _require_whole(options.passes, 0, None, f"{name}.passes")
    if not (_is_number(options.alpha) and 0.0 < options.alpha <= 0.5):
        raise UsageError(f"{_shown(options.alpha)} is not between 0 and 0.5", where=f"{name}.alpha")
    try:
        fail_on = FailOn(options.fail_on)
    except ValueError:
        raise UsageError(f"{_shown(options.fail_on)} is no severity to fail on", where=f"{name}.fail_on") from None
    return replace(
        options,
        opening=checked_fit(options.opening),
        reports=_destinations(options.reports, name),
        null=_path_or_none(options.null, f"{name}.null"),
        ignore=_path_or_none(options.ignore, f"{name}.ignore"),
        fail_on=fail_on,
    )


def checked_scan(options: ScanOptions) -> ScanOptions:
    """The options, with paths and words that were given as text made what they stand for.

    Raises:
        UsageError: A value is out of range or of another type.
    """
    name = "ScanOptions"
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        field = setting.name.replace("-", "_")
        value = getattr(options, field)
        if setting.is_path or (value is None and setting.default is None):
            continue
        try:
            values[field] = setting.parse(value)
        except ValueError as error:
            raise UsageError(f"{_shown(value)} {error}", where=f"{name}.{field}") from None
    values["fail_on"], values["min_confidence"] = FailOn(values["fail_on"]), Confidence(values["min_confidence"])
    for field in ("inputs", "profile"):
        values[field] = _path(getattr(options, field), f"{name}.{field}")
    for field in ("rows", "baseline", "ignore", "model", "plan"):
        values[field] = _path_or_none(getattr(options, field), f"{name}.{field}")
    return replace(options, reports=_destinations(options.reports), **values)


def checked_fleet(options: FleetOptions) -> FleetOptions:
    """The options, with paths and words that were given as text made what they stand for.

    Raises:
        UsageError: A value is out of range or of another type.
    """
    name = "FleetOptions"
    _require_whole(options.jobs, 1, 1024, f"{name}.jobs")
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        field = setting.name.replace("-", "_")
        if setting.is_path or (value := getattr(options, field, None)) is None:
            continue
        try:
            values[field] = setting.parse(value)
        except ValueError as error:
            raise UsageError(f"{_shown(value)} {error}", where=f"{name}.{field}") from None
    for field, word in (("fail_on", FailOn), ("min_confidence", Confidence)):
        values |= {field: word(values[field])} if field in values else {}
    for field in ("table", "output"):
        values[field] = _path(getattr(options, field), f"{name}.{field}")
    for field in ("ignore", "config"):
        values[field] = _path_or_none(getattr(options, field), f"{name}.{field}")
    return replace(options, **values)


def _checked_bayesian(options: BayesianOptions) -> BayesianOptions:
    name = "BayesianOptions"
    _require_whole(options.samples, 2, 10_000, f"{name}.samples")
    _require_whole(options.epochs, 0, 10_000, f"{name}.epochs")
    for field in ("delta", "prior_std"):
        value = getattr(options, field)
        if value is not None and not (_is_number(value) and 0.0 < value <= _WIDEST):
            raise UsageError(f"{_shown(value)} is not between 0 and {_WIDEST:g}", where=f"{name}.{field}")
    return replace(options, checkpoint=_path_or_none(options.checkpoint, f"{name}.checkpoint"))


def checked_size(value: object, where: str) -> tuple[int, int] | None:
    """Height and width, or None.

    Raises:
        UsageError: It is neither.
    """
    if value is None:
        return None
    if isinstance(value, tuple | list) and len(value) == 2:
        height, width = value
        if all(_is_whole(side) and 1 <= side <= _LARGEST_SIDE for side in (height, width)):
            return int(height), int(width)
    raise UsageError(f"{_shown(value)} is not a height and a width between 1 and {_LARGEST_SIDE}", where=where)


def checked_timeout(value: object, where: str) -> float:
    """Seconds.

    Raises:
        UsageError: It is not a number of at least 1.
    """
    if _is_number(value) and value >= 1.0:
        return float(value)
    raise UsageError(f"{_shown(value)} is not a number of seconds from 1 on", where=where)


def _path(value: object, where: str) -> Path:
    try:
        return Path(value)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"{_shown(value)} is not a path", where=where) from None


def _path_or_none(value: object, where: str) -> Path | None:
    return None if value is None else _path(value, where)


def _names(value: object, where: str) -> tuple[str, ...]:
    """A text is a sequence of texts too, and never what was meant."""
    if isinstance(value, tuple | list) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise UsageError(f"{_shown(value)} is not a tuple of names", where=where)


def _destinations(value: object, name: str = "ScanOptions") -> tuple[str, ...]:
    if isinstance(value, tuple | list) and all(isinstance(name, str | os.PathLike) for name in value):
        return tuple(os.fspath(name) for name in value)
    raise UsageError(f"{_shown(value)} is not a tuple of files", where=f"{name}.reports")


def _require_whole(value: object, low: int, high: int | None, where: str) -> None:
    if _is_whole(value) and low <= value and (high is None or value <= high):
        return
    raise UsageError(
        f"{_shown(value)} is not a whole number from {low}{'' if high is None else f' to {high}'}", where=where
    )


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: object) -> str:
    return printable(repr(value), 60)
