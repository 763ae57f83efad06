"""What differs from run to run, kept apart from what was found."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from scanner.base.errors import UsageError
from scanner.isolation.lockdown import Layer
from scanner.profile.header import IsolationLayer
from scanner.report.schema import RunSection


@dataclass(frozen=True)
class Timing:
    """When a scan ran.

    Attributes:
        started_at: Start of the scan, with time zone.
        duration_s: Its duration in seconds.
        scanned: Number of inputs that were scored in this time; None where that is not known.
    """

    started_at: datetime
    duration_s: float
    scanned: int | None


@dataclass(frozen=True)
class Engine:
    """What a scan ran on.

    Attributes:
        device: Device asked for.
        provider: ONNX Runtime execution provider used.
        threads: Number of worker threads.
        isolation: What the process had given up before it read anything of a stranger.
    """

    device: str
    provider: str
    threads: int
    isolation: tuple[Layer, ...] = ()


def describe_run(
    timing: Timing, engine: Engine, argv: Sequence[str], environment: Mapping[str, str] = os.environ
) -> RunSection:
    """The report's `run`.

    With SOURCE_DATE_EPOCH (https://reproducible-builds.org/docs/source-date-epoch/) in the environment nothing in it
    depends on the clock or on chance: the start is that time, and identifier and durations are null.

    Args:
        timing: When it ran.
        engine: What it ran on.
        argv: Command line.
        environment: Environment variables.

    Raises:
        UsageError: SOURCE_DATE_EPOCH is not a number of seconds.
    """
    epoch = source_date_epoch(environment)
    measured = epoch is None
    return RunSection(
        id=str(uuid.uuid4()) if measured else None,
        started_at=(epoch or timing.started_at).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        duration_s=timing.duration_s if measured else None,
        inputs_per_s=_rate(timing) if measured else None,
        argv=tuple(argv),
        device=engine.device,
        provider=engine.provider,
        threads=engine.threads,
        platform=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        isolation=tuple(IsolationLayer(**asdict(layer)) for layer in engine.isolation),
    )


def _rate(timing: Timing) -> float | None:
    return None if timing.scanned is None or timing.duration_s <= 0 else timing.scanned / timing.duration_s


def source_date_epoch(environment: Mapping[str, str]) -> datetime | None:
    """The time that SOURCE_DATE_EPOCH states, or None where it is not set.

    Raises:
        UsageError: It is not a number of seconds since 1970.
    """
    value = environment.get("SOURCE_DATE_EPOCH")
    if not value:
        return None
    try:
        return datetime.fromtimestamp(int(value), tz=UTC)
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            "is not a number of seconds since 1970",
            where="SOURCE_DATE_EPOCH",
            hint="Set it to an integer, or unset it",
        ) from None
