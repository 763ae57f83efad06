"""The settings of a scan, each from the first place that has it: flag, environment, file, default.

The file is ``latentscan.toml`` or the table ``[tool.latentscan]`` of ``pyproject.toml``, in the working directory or
the nearest folder above it. Never beside or below the model, the inputs or a profile elsewhere, even where that is the
working directory: a vendor does not configure the gate.
"""

from __future__ import annotations

import hashlib
import math
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from scanner.base.errors import UsageError
from scanner.base.text import portable, printable
from scanner.verdict.terms import Confidence, FailOn

Value = str | int | float | None
Origin = Literal["flag", "environment", "file", "default"]

FILE_NAME = "latentscan.toml"
CONFIG_VARIABLE = "LATENTSCAN_CONFIG"
MAX_BYTES = 1 << 20
MIN_REASON, MAX_REASON = 8, 1000
"""Characters of the reason for letting inputs drift."""


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: Name in files and, after ``--``, of the flag.
        default: Value where nobody says otherwise.
        parse: From text, or a value of TOML, to the value; raises ValueError with what is wrong.
        gate: Whether it decides about the exit code.
        is_path: Whether it is a path; relative ones in a file are relative to that file's folder.
    """

    name: str
    default: Value
    parse: Callable[[object], Value]
    gate: bool = False
    is_path: bool = False

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return "LATENTSCAN_" + self.name.upper().replace("-", "_")


def _number(low: float, high: float, *, strict: bool) -> Callable[[object], float]:
    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError("is not a number")
        try:
            number = float(value)
        except ValueError:
            raise ValueError("is not a number") from None
        inside = low < number < high if strict else low <= number <= high
        if not inside or not math.isfinite(number):
            raise ValueError(f"is not between {low:g} and {high:g}")
        return number

    return parse


def _count(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError("is not a whole number")
        try:
            number = int(value)
        except ValueError:
            raise ValueError("is not a whole number") from None
        if not low <= number <= high:
            raise ValueError(f"is not between {low} and {high}")
        return number

    return parse


def _one_of(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return str(value)

    return parse


def _path(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("is not a path")
    return value


def _reason(value: object) -> str:
    if not isinstance(value, str) or len(value.strip()) < MIN_REASON:
        raise ValueError("is no reason: write a few words")
    return value.strip()[:MAX_REASON]


SETTINGS: tuple[Setting, ...] = (
    Setting("profile", "modelscan.h5", _path, is_path=True),
    Setting("alpha", 0.01, _number(0, 1, strict=True), gate=True),
    Setting("fail-on", FailOn.HIGH.value, _one_of(*FailOn), gate=True),
    Setting("min-confidence", Confidence.PROVISIONAL.value, _one_of(*reversed(Confidence)), gate=True),
    Setting("max-unreadable", 0.1, _number(0, 1, strict=False), gate=True),
    Setting("allow-drift", None, _reason, gate=True),
    Setting("baseline", None, _path, is_path=True),
    Setting("ignore", None, _path, is_path=True),
    Setting("top", 50, _count(0, 10_000)),
    Setting("gallery", 24, _count(0, 48)),
    Setting("device", "auto", _one_of("auto", "cpu", "cuda")),
    Setting("threads", None, _count(1, 1024)),
)


def _above(value: Value, usual: Value) -> bool:
    return float(str(value)) > float(str(usual))


_LOOSER: Mapping[str, Callable[[Value, Value], bool]] = {
    "fail-on": lambda value, usual: _leniency(value) > _leniency(usual),
    "max-unreadable": _above,
    "alpha": lambda value, usual: _above(usual, value),
}
"""Whether a value lets more pass than another, by setting. The least confidence is the loosest by default."""


def _leniency(fail_on: Value) -> int:
    level = FailOn(str(fail_on))
    return 5 if level is FailOn.NEVER else level.gate.rank


@dataclass(frozen=True)
class Policy:
    """Effective settings and where each came from.

    Attributes:
        values: Value of each setting, by name.
        origins: Where it came from, by name.
        config: The configuration file, or None.
        passed_over: Configuration files that were not read, as they lie where somebody else may have put them.
    """

    values: Mapping[str, Value]
    origins: Mapping[str, Origin]
    config: Path | None
    passed_over: tuple[Path, ...] = ()

    @property
    def loosened(self) -> str | None:
        """What a file lets pass that would not have passed without it, in words; None where it lets nothing pass."""
        parts = []
        for name, looser in _LOOSER.items():
            if name not in self.values:
                continue
            value, usual = self.values[name], next(one.default for one in SETTINGS if one.name == name)
            if self.origins[name] == "file" and looser(value, usual):
                parts.append(f"{name} is {value} instead of {usual}")
        return f"The gate is loosened by {self.config_name}: {', '.join(parts)}." if parts else None

    @property
    def gate(self) -> dict[str, Value]:
        """The settings that decide about the exit code."""
        return {
            setting.name: self.values[setting.name]
            for setting in SETTINGS
            if setting.gate and setting.name in self.values
        }

    def only(self, *names: str) -> Policy:
        """The same with these settings alone: those that a command has."""
        values = {name: self.values[name] for name in names}
        return replace(self, values=values, origins={name: self.origins[name] for name in names})

    @property
    def config_name(self) -> str | None:
        """Name of the configuration file, without its folder."""
        return None if self.config is None else portable(self.config.name)

    def path(self, name: str) -> Path | None:
        """The value of a setting that is a path."""
        value = self.values[name]
        return None if value is None else Path(str(value))

    def digest(self, baseline_sha256: str | None, ignore_sha256: str | None) -> str:
        """One digest for one gate: of its settings and of the content of its baseline and ignore file."""
        from scanner.base.canonical import canonical, rounded

        gate = {name: rounded(value) for name, value in self.gate.items()}
        whole = {"values": gate, "baseline_sha256": baseline_sha256, "ignore_sha256": ignore_sha256}
        return hashlib.sha256(canonical({**whole})).hexdigest()


def resolve(
    flags: Mapping[str, Value],
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
    start: Path | None = None,
    foreign: Sequence[Path] = (),
) -> Policy:
    """The effective settings.

    Args:
        flags: What the command line says, by setting name; None where it says nothing.
        config: The configuration file that the command line names.
        environment: Environment variables; those of the process by default.
        start: Where to look for a configuration file; the working directory by default.
        foreign: Folders that somebody else may have filled. A configuration file in or below one is not read, unless
            the command line or the environment name it.

    Raises:
        UsageError: A value is wrong, or the file has a setting that does not exist. The message says where.
    """
    variables = os.environ if environment is None else environment
    if config is None and variables.get(CONFIG_VARIABLE):
        config = Path(variables[CONFIG_VARIABLE])
    passed_over: list[Path] = []
    file = _find(start or Path.cwd(), foreign, passed_over) if config is None else config
    table = {} if file is None else _read(file, explicit=config is not None)
    if file is not None and table is None:
        file, table = None, {}
    known = {setting.name for setting in SETTINGS}
    for name in table or {}:
        if name not in known:
            raise UsageError(
                f"there is no setting {printable(str(name), 60)!r}",
                where=printable(str(file)),
                hint=f"Settings are {', '.join(sorted(known))}",
            )
    values: dict[str, Value] = {}
    origins: dict[str, Origin] = {}
    for setting in SETTINGS:
        values[setting.name], origins[setting.name] = _effective(setting, flags, variables, table or {}, file)
    return Policy(values, origins, file, tuple(passed_over))


def foreign_folders(inputs: Path, model: Path | None, profile: str | None) -> list[Path]:
    """Folders of a scan that somebody else may have filled.

    Args:
        inputs: What is scanned: a folder, or a file in one.
        model: The model that the profile should be of.
        profile: The profile that was asked for by name. One in the working directory does not make that foreign:
            profiles are the user's own, and this is where `fit` puts them.
    """
    found = [inputs if inputs.is_dir() else inputs.parent]
    found += [] if model is None else [model.parent, model.resolve().parent]
    if profile is not None and Path(profile).resolve().parent != Path.cwd().resolve():
        found.append(Path(profile).parent)
    return found


def _effective(
    setting: Setting,
    flags: Mapping[str, Value],
    variables: Mapping[str, str],
    table: Mapping[str, Any],
    file: Path | None,
) -> tuple[Value, Origin]:
    if (flag := flags.get(setting.name)) is not None:
        return _parsed(setting, flag, f"--{setting.name}"), "flag"
    if text := variables.get(setting.variable):
        return _parsed(setting, text, setting.variable), "environment"
    if setting.name in table and file is not None:
        value = _parsed(setting, table[setting.name], f"{printable(str(file))}, {setting.name}")
        if setting.is_path:
            value = str(file.parent / str(value))
        return value, "file"
    return setting.default, "default"


def _parsed(setting: Setting, value: object, where: str) -> Value:
    try:
        return setting.parse(value)
    except ValueError as error:
        raise UsageError(f"{printable(str(value), 60)} {error}", where=where) from None


def _find(start: Path, foreign: Sequence[Path], passed_over: list[Path]) -> Path | None:
    """The nearest configuration file: in the folder, or above it up to the root of the repository.

    In folders of others, neither files nor the mark of a repository's root count. Links are resolved: what matters is
    where a file lies.
    """
    folder = start.resolve()
    theirs = [path.resolve() for path in foreign]
    for candidate in (folder, *folder.parents):
        if any(candidate.is_relative_to(path) for path in theirs):
            passed_over += [candidate / name for name in (FILE_NAME, "pyproject.toml") if (candidate / name).is_file()]
            continue
        if (candidate / FILE_NAME).is_file():
            return candidate / FILE_NAME
        pyproject = candidate / "pyproject.toml"
        if pyproject.is_file() and _read(pyproject, explicit=False) is not None:
            return pyproject
        if (candidate / ".git").exists():
            return None
    return None


def _read(path: Path, *, explicit: bool) -> dict[str, Any] | None:
    """The settings of a file; None for a ``pyproject.toml`` without ours.

    Raises:
        UsageError: It cannot be read, or is no TOML.
    """
    where = printable(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UsageError("is too large for a configuration", where=where)
        values = tomllib.loads(content.decode())
    except (OSError, ValueError, RecursionError) as error:
        if path.name == "pyproject.toml" and not explicit:
            return None
        what = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "is not valid TOML"
        raise UsageError(f"cannot be used as configuration ({what})", where=where, hint="Correct the file") from None
    if path.name != "pyproject.toml":
        return values
    tool = values.get("tool", {})
    table = tool.get("latentscan") if isinstance(tool, dict) else None
    if table is None and explicit:
        return {}
    return table if isinstance(table, dict) else None
