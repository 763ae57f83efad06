"""Images in ``.npy`` and ``.npz`` files: uint8, or floats in [0, 1]."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from scanner.base.errors import SourceError
from scanner.inputs.array_names import choose_arrays
from scanner.inputs.files import open_regular
from scanner.inputs.items import MAX_LABEL, MAX_PIXELS, Content, EncodedLabels, Item, NumberedItems, UnreadableInput
from scanner.inputs.layout import describe_labels
from scanner.inputs.npy import Header, Rows, damaged, open_member, open_npy

_MAX_LABEL_BYTES: Final = 2**30
_MAX_MEMBERS: Final = 1000
_PROBES: Final = 16
# Rounding in a resize or a division leaves values this far outside of [0, 1].
_TOLERANCE: Final = 1e-5

Axes = Literal["HW", "HWC", "CHW"]


@dataclass(frozen=True)
class ArraySource:
    """The images of one array, in its order."""

    root: Path
    items: NumberedItems
    class_names: tuple[str, ...] | None
    rows: Rows
    axes: Axes
    layout: str
    kind: str = "array"
    ignored: int = 0
    copied: Content | None = None

    def read(self, item: Item) -> NDArray[np.uint8]:
        """Pixels ``(H, W)`` or ``(H, W, C)`` uint8; floats are multiplied by 255 and rounded.

        Raises:
            UnreadableInput: If the file changed since it was opened, or a float lies outside [0, 1].
        """
        row = self.rows.row(item.index)
        pixels = row if row.dtype == np.uint8 else _quantise(row)
        return np.ascontiguousarray(pixels.transpose(1, 2, 0) if self.axes == "CHW" else pixels)


def open_array(path: Path, *, labels: bool) -> ArraySource:
    """Open a ``.npy`` of images, or a ``.npz`` with ``images`` and ``labels``, or as others name them.

    See :func:`scanner.inputs.array_names.choose_arrays` for names.

    Images are uint8 in [0, 255] or floats in [0, 1], of shape ``(N, H, W)``, ``(N, H, W, C)`` or
    ``(N, C, H, W)``: the axis of length 1 or 3 holds the channels.

    Raises:
        SourceError: If it is damaged, holds Python objects, or is not a stack of images.
    """
    try:
        descriptor = open_regular(path)
    except UnreadableInput as error:
        raise SourceError(f"cannot be opened ({error.detail})", where=str(path)) from None
    known: EncodedLabels | None = None
    named = ""
    if path.suffix.lower() == ".npy":
        rows = open_npy(descriptor, path)
    else:
        rows, known, named = _open_npz(descriptor, path, labels)
    axes = _axes(rows.header, path)
    count = rows.header.shape[0]
    if known is not None and len(known.codes) != count:
        raise SourceError(f"has {count} images and {len(known.codes)} labels", where=str(path))
    described = describe_labels("an array file", known, used=labels) + named
    if known is not None and not known.tell_apart:
        known = None
    names = None if known is None else known.names
    source = ArraySource(path, NumberedItems(path.name, count, known), names, rows, axes, described)
    _probe_range(source)
    return source


def _open_npz(descriptor: int, path: Path, labels: bool) -> tuple[Rows, EncodedLabels | None, str]:
    """The images, their labels, and what is not as the documentation names it."""
    try:
        with os.fdopen(descriptor, "rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise SourceError(f"has more than {_MAX_MEMBERS} members", where=str(path))
            chosen = choose_arrays([info.filename.removesuffix(".npy") for info in members], path)
            rows = open_member(archive, _member(members, chosen.images), path)
            if chosen.labels is None or not labels:
                return rows, None, chosen.described
            found = _read_labels(open_member(archive, _member(members, chosen.labels), path), path)
            return rows, found, chosen.described
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise damaged(path, error) from None


def _member(members: list[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    return next(info for info in members if info.filename.removesuffix(".npy") == name)


def _read_labels(rows: Rows, path: Path) -> EncodedLabels:
    """Labels ``(N,)`` or ``(N, 1)``, integers, whole floats or text; or ``(N, K)`` with a single one in every row."""
    shape, dtype = rows.header.shape, rows.header.dtype
    flat = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    one_hot = len(shape) == 2 and shape[1] > 1 and dtype.kind in "iufb"
    if not (flat or one_hot) or dtype.kind not in "iufbUS" or dtype.itemsize > 4 * MAX_LABEL:
        raise SourceError(
            f"has labels of shape {shape} and type {dtype}",
            where=str(path),
            hint="Give one integer or one name per image",
        )
    if rows.header.data_bytes > _MAX_LABEL_BYTES:
        raise SourceError(f"has more than {_MAX_LABEL_BYTES >> 20} MiB of labels", where=str(path))
    try:
        values = _positions(rows.all(), path) if one_hot else _whole(rows.all().reshape(-1), path)
        distinct, codes = np.unique(values, return_inverse=True)
    except UnreadableInput as error:
        raise SourceError(f"cannot be read ({error.detail})", where=str(path)) from None
    try:
        names = [v.decode() if isinstance(v, bytes) else str(v) for v in distinct.tolist()]
        for name in names:
            name.encode()
    except UnicodeError:
        raise SourceError("has labels that are not UTF-8", where=str(path)) from None
    if "" in names:
        raise SourceError("has empty labels", where=str(path), hint="Label every image or none")
    ordered = EncodedLabels.of(names)
    return EncodedLabels(ordered.names, ordered.codes[codes])


def _positions(rows: NDArray[Any], path: Path) -> NDArray[np.int64]:
    """Where each row has its single one."""
    if not (((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all()):
        raise SourceError(
            f"has labels of shape {rows.shape} that are not one class an image",
            where=str(path),
            hint="Give one integer or one name per image, or rows with a single 1",
        )
    return np.asarray(rows.argmax(1), np.int64)


def _whole(labels: NDArray[Any], path: Path) -> NDArray[Any]:
    """Integers that were stored as floats, as integers."""
    if labels.dtype.kind != "f":
        return labels
    if not (np.isfinite(labels).all() and (labels == np.rint(labels)).all() and (np.abs(labels) < 2**31).all()):
        raise SourceError("has labels that are fractions", where=str(path), hint="Give one integer or name per image")
    return labels.astype(np.int64)


def _axes(header: Header, path: Path) -> Axes:
    shape, dtype = header.shape, header.dtype
    if dtype != np.uint8 and not (dtype.kind == "f" and dtype.itemsize in (4, 8)):
        raise SourceError(f"has images of type {dtype}", where=str(path), hint="Store uint8, or float32 in [0, 1]")
    if len(shape) not in (3, 4) or 0 in shape[1:]:
        raise SourceError(
            f"has shape {shape}, not a stack of images",
            where=str(path),
            hint="Store (N, H, W), (N, H, W, C) or (N, C, H, W)",
        )
    axes = _channel_axis(shape)
    if axes is None:
        raise SourceError(
            f"has shape {shape}, which does not tell the axis of the 1 or 3 channels",
            where=str(path),
            hint="Store (N, H, W, C) or (N, C, H, W) with no other axis after the first of length 1 or 3",
        )
    if int(np.prod(shape[1:], dtype=object)) > 3 * MAX_PIXELS:
        raise SourceError(f"has images of more than {MAX_PIXELS} pixels", where=str(path))
    return axes


def _channel_axis(shape: tuple[int, ...]) -> Axes | None:
    if len(shape) == 3:
        # (3, H, W) and (H, W, 3) are rather one colour image than a stack of grey ones.
        return None if shape[0] == 3 or shape[2] in (1, 3) else "HW"
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        return None
    return "CHW" if first else "HWC"


def _quantise(values: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):  # NaN fails both
        raise UnreadableInput("bad-values", f"floats from {low:g} to {high:g}, expected 0 to 1")
    scaled: NDArray[np.uint8] = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return scaled


def _probe_range(source: ArraySource) -> None:
    """Tell a wrong scale of all images from a few bad ones."""
    count = len(source.items)
    if count == 0 or source.rows.header.dtype == np.uint8:
        return
    problem = ""
    for index in sorted({round(i * (count - 1) / _PROBES) for i in range(_PROBES + 1)}):
        try:
            source.read(source.items[index])
        except UnreadableInput as error:
            problem = error.detail
        else:
            return
    raise SourceError(
        f"has images out of range ({problem})",
        where=str(source.root),
        hint="Store the pixels as they are before normalisation, as uint8 or as floats in [0, 1]",
    )
