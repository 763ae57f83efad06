"""Every error this tool raises on purpose, each with the exit code it leads to.

    LatentscanError                 2  no verdict
    ├── UsageError                  2  options that do not fit together
    ├── ModelError                  2  model file missing, damaged or not supported
    │   └── UnsafeModelError        2  loading would run code, or leave the model's folder
    ├── SourceError                 2  images or labels cannot be found or read at all
    ├── PreprocessError             2  no preprocessing could be established
    ├── ProfileError                2  profile missing, damaged, of another version, or not ours
    ├── DeviceError                 2  the requested device is not there
    ├── OutputError                 2  a result cannot be written
    └── InconclusiveError           3  too little evidence for a verdict

An error message is one line: where, what is wrong, and what to do about it.
"""

from __future__ import annotations


class LatentscanError(Exception):
    """Base of all expected errors.

    Args:
        what: What is wrong, without a full stop.
        where: The file, option or input concerned.
        hint: What the user can do about it, a sentence without a full stop.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.hint}" if self.hint else text


class UsageError(LatentscanError):
    """Options or arguments that do not fit together."""


class ModelError(LatentscanError):
    """A model file that is missing, damaged or not supported."""


class UnsafeModelError(ModelError):
    """A model file whose loading would run code or reach outside its folder."""


class SourceError(LatentscanError):
    """A set of images or labels that cannot be found or read at all."""


class PreprocessError(LatentscanError):
    """No preprocessing could be established for the model."""


class ProfileError(LatentscanError):
    """A profile that is missing, damaged, of another version, or made by something else."""


class DeviceError(LatentscanError):
    """The requested device is not available."""


class OutputError(LatentscanError):
    """A result that cannot be written."""


class InconclusiveError(LatentscanError):
    """Too little evidence for a verdict: nothing scannable, too few inputs or references."""

    exit_code = 3
