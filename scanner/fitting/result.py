"""What `fit` made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scanner.profile.content import Profile


@dataclass(frozen=True)
class FitResult:
    """A written profile.

    Attributes:
        profile: The profile.
        path: Where it was written to.
        size: Size of that file in bytes.
    """

    profile: Profile
    path: Path
    size: int
