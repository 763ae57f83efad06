"""What a source of images is: an ordered set of inputs, each read on demand."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from scanner.base import text

MAX_LABEL: Final = 256
LABELS_UNUSED: Final = "labels are not used"
MAX_PIXELS: Final = 50_000_000

REASONS: Final = frozenset(
    {
        # the file
        "missing",
        "permission",
        "not-a-file",
        "outside-source",
        "symlink-loop",
        "bad-name",
        "unreadable",
        "changed",
        # the image
        "empty",
        "too-large",
        "too-complex",
        "too-slow",
        "not-an-image",
        "unsupported-format",
        "unsupported-mode",
        "animated",
        "truncated",
        "damaged",
        "bad-shape",
        "bad-values",
        # the scan
        "not-scanned",
    }
)
"""Every reason code of :class:`UnreadableInput`. Reports count by these: they stay as they are."""


class UnreadableInput(Exception):
    """One input that cannot be used; the others can.

    Args:
        reason: One of :data:`REASONS`.
        detail: What exactly is wrong. May quote the input: escape it before it reaches a terminal.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Item:
    """One input, not yet read.

    Attributes:
        index: Position in the source's canonical order.
        id: Path relative to the source with forward slashes, or ``"images.npz[17]"``. Always
            encodable as UTF-8; may hold control characters.
        label: Class name as written, or None.
    """

    index: int
    id: str
    label: str | None


@dataclass(frozen=True)
class Content:
    """What is known of the file that holds many images, to tell it from another.

    Attributes:
        bytes: Its size.
        sha256: Its digest; None where it was not read as a whole.
    """

    bytes: int
    sha256: str | None


class Source(Protocol):
    """An ordered set of images, read one at a time, from any thread."""

    @property
    def kind(self) -> str:
        """``"class-folders"``, ``"folder"``, ``"manifest"``, ``"array"``, ``"archive"``, ``"table"``,
        ``"object-store"`` or ``"file"``."""

    @property
    def root(self) -> Path:
        """What the user pointed at."""

    @property
    def items(self) -> Sequence[Item]:
        """All items in canonical order: bytewise by path, or by position in an array."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Two or more labels in natural order, of which every item has one; or None without labels."""

    @property
    def layout(self) -> str:
        """What was found and where labels come from, or why there are none: part of a sentence."""

    @property
    def ignored(self) -> int:
        """Entries of a folder that are no images by their name."""

    def read(self, item: Item) -> bytes | NDArray[np.uint8]:
        """Encoded bytes of a file, or the pixels ``(H, W)`` or ``(H, W, C)`` of an array item.

        Raises:
            UnreadableInput: If it cannot be read.
        """


@dataclass(frozen=True)
class EncodedLabels:
    """Labels of many items: an index into few names for each.

    Attributes:
        names: Distinct labels in natural order.
        codes: ``(N,)`` int32 positions in ``names``.
    """

    names: tuple[str, ...]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, labels: Sequence[str]) -> EncodedLabels:
        """Encode one label per item."""
        return cls.of_each(lambda: iter(labels), len(labels))

    @classmethod
    def of_each(cls, labels: Callable[[], Iterator[str]], count: int) -> EncodedLabels:
        """The same of labels that are made anew each time: many of them are never held together."""
        names = natural_order(labels())
        position = {name: code for code, name in enumerate(names)}
        return cls(names, np.fromiter((position[label] for label in labels()), np.int32, count))

    @property
    def tell_apart(self) -> bool:
        """Whether they are any supervision: a label that every image has says nothing about any of them."""
        return len(self.names) > 1


class LazyItems(Sequence[Item]):
    """Items made when asked for: a million inputs cost no million objects."""

    __slots__ = ("_labels",)

    def __init__(self, labels: EncodedLabels | None) -> None:
        self._labels = labels

    @abstractmethod
    def _id(self, index: int) -> str:
        """The id of the item at ``index >= 0``."""

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        """The item at a position, or a list of them."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        label = None if self._labels is None else self._labels.names[self._labels.codes[position]]
        return Item(position, self._id(position), label)


class NamedItems(LazyItems):
    """Items of files, by path."""

    __slots__ = ("paths",)

    def __init__(self, paths: Sequence[str], labels: EncodedLabels | None) -> None:
        super().__init__(labels)
        self.paths = paths

    def __len__(self) -> int:
        """Number of files."""
        return len(self.paths)

    def _id(self, index: int) -> str:
        return printable(self.paths[index])


class NumberedItems(LazyItems):
    """Items of an array, by position."""

    __slots__ = ("_length", "_name")

    def __init__(self, name: str, length: int, labels: EncodedLabels | None) -> None:
        super().__init__(labels)
        self._name = printable(name)
        self._length = length

    def __len__(self) -> int:
        """Number of images."""
        return self._length

    def _id(self, index: int) -> str:
        return f"{self._name}[{index}]"


def printable(path: str) -> str:
    r"""A path that UTF-8 can encode: bytes of a file name that are not UTF-8 become ``\xff``."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return path


def natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct names, sorted so that ``"10"`` comes after ``"2"``."""

    def key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
        parts = re.split(r"([0-9]+)", name)
        return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part), name

    return tuple(sorted(set(names), key=key))


def why_unreadable(item: Item, reason: str, detail: str) -> str:
    """An input that cannot be read, and why, for a sentence."""
    return f"{text.printable(item.id, 120)} ({reason}: {text.printable(detail, 200)})"
