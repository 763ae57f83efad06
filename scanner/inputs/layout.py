"""Which folders of a reference are its classes, told from its paths alone.

A label that every image has is no supervision. A single folder is therefore not a class but a wrapper,
and is looked through, until there are classes, a folder of images, or a layout that says neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scanner.base.errors import SourceError
from scanner.inputs.items import LABELS_UNUSED, EncodedLabels, printable

MAX_WRAPPERS: Final = 8
_SPLITS: Final = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
_HOW_TO_NAME: Final = "a manifest (file_name,label) names classes whatever the folders, and --no-labels does without"
_SHOWN: Final = 60


@dataclass(frozen=True)
class Layout:
    """How a folder is laid out.

    Attributes:
        depth: Number of wrappers around the class folders, or around the images.
        labelled: Whether there are class folders, two or more.
        described: All that in words, part of a sentence.
    """

    depth: int
    labelled: bool
    described: str

    def class_of(self, path: str) -> str:
        """Name of the class folder that a path leads through."""
        return path.split("/", self.depth + 1)[self.depth]


def find_layout(paths: Sequence[str], closed: Set[str], root: Path) -> Layout:
    """Find the class folders.

    * No folder, or none but wrappers: images without labels.
    * Two or more folders side by side: classes, with all that is below them.
    * A single folder: a wrapper, and its content is looked at in the same way.

    Args:
        paths: All images, and folders that cannot be entered, relative to the reference.
        closed: Those of them that are folders.
        root: The folder, for messages.

    Raises:
        SourceError: If images and folders lie side by side, the folders are the parts of a data set or
            folders of folders, or there are more than :data:`MAX_WRAPPERS` wrappers.
    """
    prefix = ""
    for depth in range(MAX_WRAPPERS + 1):
        folders, loose = _level(paths, closed, prefix)
        if loose is not None and folders:
            raise SourceError(
                f"mixes class folders such as {_short(prefix + next(iter(folders)) + '/')} with loose images such as "
                f"{_short(loose)}",
                where=str(root),
                hint=f"Move every image into a class folder; {_HOW_TO_NAME}",
            )
        if len(folders) > 1:
            _require_classes(folders, paths, closed, prefix, root)
            return Layout(depth, True, f"{len(folders)} class folders" + (f" in {_short(prefix)}" if prefix else ""))
        if not folders:
            return Layout(depth, False, _unlabelled(prefix))
        (name,) = folders
        prefix += name
        if not folders[name]:
            return Layout(depth, False, f"nothing but {_short(prefix)}, a folder that cannot be entered")
        prefix += "/"
    raise SourceError(
        f"holds more than {MAX_WRAPPERS} folders within each other and no classes",
        where=str(root),
        hint=f"Point --clean at the folder that holds the class folders, below {_short(prefix)}",
    )


def describe_labels(what: str, labels: EncodedLabels | None, *, used: bool) -> str:
    """What a list of images says about their labels, part of a sentence.

    Args:
        what: The list, with its article.
        labels: Its labels, if it has any.
        used: Whether they were asked for.
    """
    if not used:
        return LABELS_UNUSED
    if labels is None or not labels.names:
        return f"{what} without labels"
    if not labels.tell_apart:
        return f"{what} in which every image has the label {_short(labels.names[0])}, which is the same as no labels"
    return f"{what} with {len(labels.names)} labels"


def _level(paths: Sequence[str], closed: Set[str], prefix: str) -> tuple[dict[str, bool], str | None]:
    """Folders right below a prefix, each with whether it was entered; and an image right below it."""
    folders: dict[str, bool] = {}
    loose = None
    start = len(prefix)
    for path in paths:
        name, inside, _ = path[start:].partition("/")
        if inside or path in closed:
            folders[name] = folders.get(name, False) or bool(inside)
        else:
            loose = path
    return folders, loose


def _unlabelled(prefix: str) -> str:
    if not prefix:
        return "a folder of images without class folders, and so without labels"
    return f"one folder of images, {_short(prefix)}, which is the same as no labels"


def _require_classes(names: Iterable[str], paths: Sequence[str], closed: Set[str], prefix: str, root: Path) -> None:
    """Refuse parts of a data set, and folders of folders, of which either could be the classes.

    A class may have folders in it: where some class holds images itself, or none holds more than one
    folder, the outer folders are the classes.
    """
    if all(name.lower() in _SPLITS for name in names):
        raise SourceError(
            f"holds the parts of a data set ({', '.join(names)}), not classes",
            where=str(root),
            hint=f"Point at one part, for example {printable(str(root / prefix / next(iter(names))))}",
        )
    inner: dict[str, set[str]] = {}
    for path in paths:
        parts = path[len(prefix) :].split("/", 2)
        if len(parts) == 2 and path not in closed:
            return
        if len(parts) > 2:
            inner.setdefault(parts[0], set()).add(parts[1])
    outer, found = max(inner.items(), key=lambda item: len(item[1]), default=("", set[str]()))
    if len(found) > 1:
        first, second = sorted(found)[:2]
        raise SourceError(
            f"holds folders of folders, such as {_short(prefix + outer + '/' + first + '/')} and "
            f"{_short(prefix + outer + '/' + second + '/')}: the classes could be either",
            where=str(root),
            hint=f"Point --clean at the folder that holds the class folders; {_HOW_TO_NAME}",
        )


def _short(name: str) -> str:
    """A name from a stranger's folder, quoted, in bounds."""
    shown = printable(name)
    return repr(shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}...")
