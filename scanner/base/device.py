"""Where a network runs, as somebody asked for it."""

from __future__ import annotations

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
