"""Images in ``.npy`` and ``.npz`` files. Pickled objects are never read."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, overload

import numpy as np
from numpy.typing import NDArray

from scanner.errors import SourceError
from scanner.inputs.source import Item, natural_order

MAX_ARRAY_BYTES = 32 * 1024**3
MAX_COMPRESSION = 200
_LABEL_LIMIT = 100_000_000


@dataclass(frozen=True)
class _ArrayItems(Sequence[Item]):
    """Items made on demand: a million images cost no million objects."""

    name: str
    length: int
    labels: NDArray[np.int64] | None

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._item(i) for i in range(*index.indices(self.length))]
        if not -self.length <= index < self.length:
            raise IndexError(index)
        return self._item(index % self.length)

    def __iter__(self) -> Iterator[Item]:
        return (self._item(i) for i in range(self.length))

    def _item(self, index: int) -> Item:
        label = None if self.labels is None else str(int(self.labels[index]))
        return Item(index, f"{self.name}[{index}]", label)


@dataclass(frozen=True)
class ArraySource:
    """Images of one array; channels first arrays are transposed when read."""

    root: Path
    images: NDArray[np.uint8] | NDArray[np.float32]
    items: _ArrayItems
    class_names: tuple[str, ...] | None
    channels_first: bool
    kind: str = "array"
    ignored: int = 0

    def read(self, item: Item) -> NDArray[np.uint8]:
        """Pixels ``(H, W)`` or ``(H, W, C)`` uint8; float images in [0, 1] are scaled and rounded."""
        image = np.asarray(self.images[item.index])
        if image.dtype != np.uint8:
            with np.errstate(invalid="ignore"):
                image = np.nan_to_num(np.rint(np.clip(image, 0.0, 1.0) * 255.0)).astype(np.uint8)
        if self.channels_first:
            image = image.transpose(1, 2, 0)
        return np.ascontiguousarray(image)


def open_array(path: Path, *, labels: bool) -> ArraySource:
    """Open a ``.npy`` of images, or a ``.npz`` with ``images`` (or ``x``) and ``labels`` (or ``y``).

    Raises:
        SourceError: If it is damaged, holds Python objects, or its shape is not one of images.
    """
    target: NDArray[np.int64] | None = None
    if path.suffix.lower() == ".npy":
        images = _map_npy(path)
    else:
        arrays = _load_npz(path)
        images = _pick(arrays, ("images", "x"), path)
        if labels and (known := [key for key in ("labels", "y") if key in arrays]):
            target = _labels(arrays[known[0]], len(images), path)
    channels_first = _check_images(images, path)
    names = None if target is None else natural_order({str(int(label)) for label in np.unique(target)})
    return ArraySource(path, images, _ArrayItems(path.name, len(images), target), names, channels_first)


def _map_npy(path: Path) -> NDArray[np.uint8]:
    try:
        with path.open("rb") as file:
            _check_header(file, path, path.stat().st_size)
        mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise SourceError(f"is not a readable .npy file ({_short(error)})", where=str(path)) from None
    return mapped


def _load_npz(path: Path) -> dict[str, NDArray[np.uint8]]:
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                if key not in ("images", "x", "labels", "y"):
                    continue
                if info.file_size > max(info.compress_size, 1024) * MAX_COMPRESSION:
                    raise SourceError(
                        f"member {key!r} unpacks to over {MAX_COMPRESSION} times its size", where=str(path)
                    )
                with archive.open(info) as member:
                    _check_header(member, path, info.file_size)
                with archive.open(info) as member:
                    arrays[key] = np.lib.format.read_array(member, allow_pickle=False)
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"is not a readable .npz file ({_short(error)})", where=str(path)) from None
    return arrays


def _check_header(file: IO[bytes], path: Path, size: int) -> None:
    """Check shape and type before anything of that size is allocated."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read(file)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:  # a hostile header
        raise ValueError(str(error)) from None
    if dtype.hasobject:
        raise SourceError("holds Python objects, which would run code when loaded", where=str(path))
    claimed = int(dtype.itemsize)
    for length in shape:
        claimed *= int(length)
    if claimed > min(size, MAX_ARRAY_BYTES):
        raise SourceError(f"claims {claimed} bytes of data but holds {size}", where=str(path))


def _pick(arrays: dict[str, NDArray[np.uint8]], keys: tuple[str, ...], path: Path) -> NDArray[np.uint8]:
    for key in keys:
        if key in arrays:
            return arrays[key]
    raise SourceError("has no array named 'images' or 'x'", where=str(path))


def _labels(labels: NDArray[np.uint8], count: int, path: Path) -> NDArray[np.int64]:
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise SourceError(
            f"labels have shape {labels.shape} and type {labels.dtype}, expected {count} integers", where=str(path)
        )
    if len(labels) and (labels.min() < 0 or labels.max() > _LABEL_LIMIT):
        raise SourceError("labels are negative or absurdly large", where=str(path))
    return labels.astype(np.int64)


def _check_images(images: NDArray[np.uint8], path: Path) -> bool:
    """Whether channels come first; refuses what is not a stack of images."""
    if images.dtype not in (np.uint8, np.float32, np.float64):
        raise SourceError(f"images are {images.dtype}, expected uint8, or float32 in [0, 1]", where=str(path))
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise SourceError(f"shape {images.shape} is not a stack of images (N, H, W[, C])", where=str(path))
    if images.dtype != np.uint8 and not 0.0 <= float(np.max(images[:16])) <= 1.0:
        raise SourceError("float images are not in [0, 1]", where=str(path), hint="Scale them, or store uint8")
    if images.ndim == 3:
        return False
    first, last = images.shape[1] in (1, 3), images.shape[3] in (1, 3)
    if first == last:
        raise SourceError(f"shape {images.shape} does not tell which axis holds 1 or 3 channels", where=str(path))
    return first


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or ["damaged"])[0][:120]
