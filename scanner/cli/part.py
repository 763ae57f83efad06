"""Which part of a plan, and who does it, as a command line says it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Which part, and who does it.

    Attributes:
        shard: As written, or None.
        chunks: Likewise.
        engine: Likewise.
        workers: Of the engine, or None.
        address: Of the engine, or None.
    """

    shard: str | None = None
    chunks: str | None = None
    engine: str | None = None
    workers: int | None = None
    address: str | None = None
