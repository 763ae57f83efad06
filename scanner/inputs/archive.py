"""A source of images in an archive: class folders, WebDataset's labels beside the images, or none."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from scanner.base.errors import SourceError
from scanner.inputs.folder import IMAGE_SUFFIXES
from scanner.inputs.items import (
    LABELS_UNUSED,
    MAX_LABEL,
    Content,
    EncodedLabels,
    Item,
    NamedItems,
    UnreadableInput,
    printable,
)
from scanner.inputs.layout import describe_labels, find_layout

_MAX_LABEL_FILE: Final = 64 * 2**10
_JSON_LABELS: Final = ("label", "cls", "class", "class_name", "target")


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        name: As the archive writes it.
        size: In bytes, as the archive states it.
    """

    name: str
    size: int


class Reader(Protocol):
    """What an archive can do."""

    members: list[Member]

    def read(self, name: str) -> bytes:
        """The bytes of a member.

        Raises:
            UnreadableInput: It cannot be read.
        """


@dataclass(frozen=True)
class ArchiveSource:
    """The images of an archive, in bytewise order of their names."""

    root: Path
    items: NamedItems
    class_names: tuple[str, ...] | None
    ignored: int
    reader: Reader
    layout: str
    kind: str = "archive"
    copied: Content | None = None

    def read(self, item: Item) -> bytes:
        """Bytes of the image; see :meth:`scanner.inputs.items.Source.read`."""
        return self.reader.read(self.items.paths[item.index])


def open_archive(path: Path, reader: Reader, *, labels: bool) -> ArchiveSource:
    """The images of an archive.

    Labels are those of ``.cls`` or ``.json`` files beside the images, where there are any, else class folders.

    Raises:
        SourceError: Labels were asked for, and its layout does not tell what the classes are.
    """
    names = [member.name for member in reader.members]
    images = sorted((name for name in names if _is_image(name)), key=os.fsencode)
    beside = {name for name in names if name.endswith((".cls", ".json"))} if labels else set[str]()
    ignored = sum(not _is_image(name) and name not in beside for name in names)
    if not labels:
        return ArchiveSource(path, NamedItems(images, None), None, ignored, reader, LABELS_UNUSED)
    known = _labels_beside(images, beside, reader, path)
    if known is not None:
        described = describe_labels("an archive", known, used=True)
        known = known if known.tell_apart else None
        names_ = None if known is None else known.names
        return ArchiveSource(path, NamedItems(images, known), names_, ignored, reader, described)
    layout = find_layout([name.removeprefix("./") for name in images], frozenset(), path)
    if not layout.labelled:
        described = f"an archive: {layout.described}"
        return ArchiveSource(path, NamedItems(images, None), None, ignored, reader, described)
    classes = EncodedLabels.of([printable(layout.class_of(name.removeprefix("./"))) for name in images])
    described = f"an archive with {layout.described}"
    return ArchiveSource(path, NamedItems(images, classes), classes.names, ignored, reader, described)


def _is_image(name: str) -> bool:
    base = name.rpartition("/")[2]
    return not base.startswith("._") and os.path.splitext(base)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def _labels_beside(images: Sequence[str], beside: set[str], reader: Reader, path: Path) -> EncodedLabels | None:
    """The labels in files of the same key; None where there are none."""
    found: list[str | None] = []
    for name in images:
        folder, _, base = name.rpartition("/")
        key = f"{folder}/{base.partition('.')[0]}" if folder else base.partition(".")[0]
        found.append(_label(key, beside, reader, path))
    if not any(found):
        return None
    missing = next((name for name, label in zip(images, found, strict=True) if label is None), None)
    if missing is not None:
        raise SourceError(
            f"has no label for {printable(missing)[:80]!r}", where=str(path), hint="Label every image or none"
        )
    return EncodedLabels.of([label for label in found if label is not None])


def _label(key: str, beside: set[str], reader: Reader, path: Path) -> str | None:
    name = f"{key}.cls" if f"{key}.cls" in beside else f"{key}.json" if f"{key}.json" in beside else None
    if name is None:
        return None
    try:
        text = reader.read(name)[:_MAX_LABEL_FILE].decode("utf-8").strip()
    except (UnreadableInput, UnicodeDecodeError):
        raise SourceError(f"has an unreadable label {printable(name)[:80]!r}", where=str(path)) from None
    label = _from_json(text) if name.endswith(".json") else text
    if label is not None and not 0 < len(label) <= MAX_LABEL:
        raise SourceError(f"has a label of {len(label)} characters in {printable(name)[:80]!r}", where=str(path))
    return label


def _from_json(text: str) -> str | None:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    value = next((values[key] for key in _JSON_LABELS if key in values), None)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
