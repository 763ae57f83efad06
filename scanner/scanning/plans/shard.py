"""Which chunks of a plan one worker does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from scanner.base.errors import UsageError
from scanner.base.text import printable

_SHARD: Final = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
_RANGE: Final = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


@dataclass(frozen=True)
class Shard:
    """Every so many chunks.

    Attributes:
        number: From 1 on.
        of: Number of shards.
    """

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``"2/3"``.

        Raises:
            UsageError: It is something else.
        """
        match = _SHARD.fullmatch(text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(
                f"{printable(text, 40)!r} is no shard", where="--shard", hint="Give it as 2/3, the second of three"
            )
        return cls(int(match[1]), int(match[2]))

    def chunks(self, total: int) -> range:
        """Numbers of its chunks, of so many in all.

        >>> [list(Shard(number, 3).chunks(7)) for number in (1, 2, 3)]
        [[0, 3, 6], [1, 4], [2, 5]]
        """
        return range(self.number - 1, total, self.of)


@dataclass(frozen=True)
class ScannedPart:
    """What became of a part of a plan.

    Attributes:
        wanted: Chunks of the part.
        scored: Those of them that were scored now; the others were there.
        left: Chunks of the whole plan that are still missing.
        total: Chunks of the whole plan.
    """

    wanted: int
    scored: int
    left: int
    total: int


def parse_chunks(text: str, total: int) -> list[int]:
    """Numbers of chunks from ``"0-9,12"``, ascending.

    Raises:
        UsageError: It is something else, or names a chunk that the plan does not have.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last >= total:
            raise UsageError(
                f"{printable(part, 40)!r} is no range of the plan's {total} chunks",
                where="--chunks",
                hint="Count from 0, as in 0-9,12",
            )
        found.update(range(first, last + 1))
    return sorted(found)


def missing(wanted: Iterable[int], done: Iterable[int]) -> list[int]:
    """Those that are wanted and not done, ascending."""
    return sorted(set(wanted) - set(done))
