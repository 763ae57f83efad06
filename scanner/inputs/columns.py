"""What people call the columns of names and labels, and how they separate them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scanner.base.errors import SourceError
from scanner.inputs.items import printable

NAMES: Final = (
    *("file_name", "filename", "file", "path", "file_path", "filepath", "image", "image_path", "img_path", "img"),
    *("image_name", "image_file", "filenames", "images"),
)
LABELS: Final = (
    *("label", "labels", "class", "class_name", "classname", "target", "targets", "category", "y", "class_id"),
    *("label_name", "label_id", "classes", "species", "diagnosis"),
)
_DELIMITERS: Final = (",", ";", "\t", "|")
_SHOWN: Final = 5


@dataclass(frozen=True)
class Columns:
    """The columns that are read.

    Attributes:
        name: Of file names, as written.
        label: Of labels, as written, or None.
        others: Columns that could have been labels and are not used.
    """

    name: str
    label: str | None
    others: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """What is not as the documentation calls it, as the end of a sentence."""
        said = ""
        if self.label not in (None, "label"):
            said = f", from its column {_short(self.label or '')}"
        if self.others:
            shown = ", ".join(map(_short, self.others[:_SHOWN]))
            said += f" (its column{'s' if len(self.others) > 1 else ''} {shown} not used)"
        return said


def choose_columns(header: Sequence[str], path: Path) -> Columns:
    """Which columns hold names and labels: the documented ones, else what people call them, whatever the case.

    Raises:
        SourceError: No column of names, or two of the same name.
    """
    name = _first(header, NAMES, path)
    if name is None:
        raise SourceError(
            "has no single column 'file_name'",
            where=str(path),
            hint="The first line must name the columns, as in 'file_name' or 'file_name,label'",
        )
    label = _first([column for column in header if column != name], LABELS, path)
    others = tuple(column for column in header if column not in (name, label) and _plain(column) in LABELS)
    return Columns(name, label, others)


def delimiter_of(line: str) -> str:
    """The separator that a header line has most of; a comma where it has none."""
    return max(_DELIMITERS, key=line.count)


def _first(header: Sequence[str], known: Sequence[str], path: Path) -> str | None:
    for wanted in known:
        found = [column for column in header if _plain(column) == wanted]
        exact = [column for column in found if column == wanted]
        if len(exact) > 1 or (len(found) > 1 and not exact):
            what = f"has two columns {wanted!r}" if known is LABELS else f"has no single column {wanted!r}"
            raise SourceError(what, where=str(path), hint="Rename one of them")
        if found:
            return exact[0] if exact else found[0]
    return None


def _plain(column: str) -> str:
    return column.strip().lower().replace(" ", "_").replace("-", "_")


def _short(name: str) -> str:
    return repr(printable(name[:40]))
