"""What people call the arrays of images and labels in a ``.npz`` file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scanner.base.errors import SourceError
from scanner.inputs.items import printable

_IMAGES: Final = ("images", "x", "image", "imgs", "data", "arr_0")
_LABELS: Final = ("labels", "y", "label", "targets", "target", "arr_1")
_PARTS: Final = ("test", "val", "valid", "validation", "train")
"""Parts of a data set in the order in which they are taken: what a model was not trained on comes first."""
_SHOWN: Final = 6


@dataclass(frozen=True)
class Arrays:
    """The arrays that are read.

    Attributes:
        images: Name of the images.
        labels: Name of the labels, or None.
        others: Names of images of other parts, which are not read.
    """

    images: str
    labels: str | None
    others: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """What is not as the documentation names it, as the end of a sentence."""
        if not self.others:
            return ""
        shown = ", ".join(repr(printable(name[:40])) for name in self.others[:_SHOWN])
        return f", its part {printable(self.images[:40])!r} (not {shown})"


def choose_arrays(names: Sequence[str], path: Path) -> Arrays:
    """Which arrays are images and labels.

    ``images`` and ``labels``, ``x`` and ``y``, and the like; or with the name of a part of a data set before or
    behind, as in ``x_test`` and ``test_images``. Of several parts, the one that a model is least likely to have been
    trained on.

    Raises:
        SourceError: No images, or several of the same part.
    """
    found = {part: _named(names, part, _IMAGES) for part in ("", *_PARTS)}
    for images in found.values():
        if len(images) > 1:
            shown = " and ".join(repr(name) for name in images)
            raise SourceError(f"has several of the arrays {shown}", where=str(path), hint="Keep one of them")
    part = next((part for part, images in found.items() if images), None)
    if part is None:
        there = ", ".join(repr(printable(name[:40])) for name in names[:_SHOWN]) or "none"
        raise SourceError(
            f"has no array named 'images' or 'x' (it has {there})",
            where=str(path),
            hint="Save it with numpy.savez(path, images=..., labels=...)",
        )
    labels = _named(names, part, _LABELS)
    if len(labels) > 1:
        shown = " and ".join(repr(name) for name in labels)
        raise SourceError(f"has several of the arrays {shown}", where=str(path), hint="Keep one of them")
    others = tuple(images[0] for other, images in found.items() if images and other != part)
    return Arrays(found[part][0], labels[0] if labels else None, others)


def _named(names: Sequence[str], part: str, known: Sequence[str]) -> list[str]:
    """Names of a part's arrays, as they are written."""
    wanted = {form for name in known for form in ((f"{name}_{part}", f"{part}_{name}") if part else (name,))}
    return [name for name in names if name.lower() in wanted]
