"""The data sets of the experiments as uint8 tensors, from files the user points at.

Two layouts are read for each of the paper's sets, the first found wins:

* MNIST: IDX files ``MNIST/raw/*-ubyte`` or the same gzipped (torchvision's layout), or an image folder
  ``mnist/{train,test}/<digit>/<file>``.
* CIFAR-10: torchvision's ``cifar-10-batches-py`` (official, lossless), or an image folder
  ``cifar10/{train,test}/<class>/<file>``. A JPEG image folder is lossy and is named as such in
  every result.

``cifar10x64`` is CIFAR-10 enlarged to 64x64 pixels, for networks made for larger images than 32x32. ``mnistpairs`` is
two of MNIST's digits in one image of that size, a hundred classes from ``00`` to ``99``.

scikit-learn's digits need no file: they are the demo's, and those of quick tests.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from scanner.base.errors import SourceError, UsageError

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DATA_SETS = ("mnist", "cifar10", "cifar10x64", "mnistpairs", "digits")
DIGITS = tuple(str(digit) for digit in range(10))
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# MNIST's training images are 47 MB. A gzip bomb must not fill the memory before its header is looked at.
_MAX_IDX_BYTES = 256 * 2**20


@dataclass(frozen=True)
class ImageSet:
    """Images ``(N, C, H, W)`` uint8 with labels ``(N,)`` int64."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def take(self, index: torch.Tensor) -> ImageSet:
        """The images at ``index`` ``(M,)`` int64, in that order."""
        return ImageSet(self.images[index], self.labels[index])


@dataclass(frozen=True)
class DataSet:
    """A named data set with its official split and usual normalisation (mean and std in [0, 1])."""

    name: str
    title: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: ImageSet
    test: ImageSet


def load(name: str, root: Path) -> DataSet:
    """Load one of `DATA_SETS` by name; ``digits`` does not look at ``root``.

    Raises:
        UsageError: If there is no such data set.
        SourceError: If its files are missing or damaged.
    """
    if name == "mnist":
        return load_mnist(root)
    if name == "cifar10":
        return load_cifar10(root)
    if name == "cifar10x64":
        return enlarged(load_cifar10(root), 64)
    if name == "mnistpairs":
        return paired(load_mnist(root))
    if name == "digits":
        return load_digits()
    raise UsageError(f"unknown data set {name!r}", hint=f"Choose one of {', '.join(DATA_SETS)}")


def load_mnist(root: Path) -> DataSet:
    """Read MNIST from ``root``.

    Raises:
        SourceError: If an IDX file is neither there nor there gzipped, or is not what it should be, and there is
            no image folder.
    """
    raw, folder = root / "MNIST" / "raw", root / "mnist"
    mean, std = (0.1307,), (0.3081,)
    if not raw.is_dir() and (folder / "train").is_dir():
        train, lossy = _image_folder(folder / "train", DIGITS, 28, "L")
        test, _ = _image_folder(folder / "test", DIGITS, 28, "L")
        return DataSet("mnist", f"MNIST ({'JPEG' if lossy else 'image folder'})", DIGITS, mean, std, train, test)

    def split(prefix: str) -> ImageSet:
        images = _read_idx(raw / f"{prefix}-images-idx3-ubyte", rank=3)
        labels = _read_idx(raw / f"{prefix}-labels-idx1-ubyte", rank=1)
        if len(images) != len(labels):
            raise SourceError(f"{len(images)} {prefix} images but {len(labels)} labels", where=str(raw))
        return ImageSet(torch.from_numpy(images)[:, None], torch.from_numpy(labels).long())

    return DataSet("mnist", "MNIST", DIGITS, mean, std, split("train"), split("t10k"))


def _read_idx(path: Path, rank: int) -> NDArray[np.uint8]:
    """One IDX file of unsigned bytes: two zeros, type 8, rank, ``rank`` big-endian sizes, then the values."""
    with _readable(path):
        data = _plain_or_gzipped(path)
    if data[:4] != bytes((0, 0, 8, rank)) or len(data) < 4 + 4 * rank:
        raise SourceError(f"is not an IDX file of unsigned bytes with {rank} dimensions", where=str(path))
    shape = tuple(np.frombuffer(data, ">u4", count=rank, offset=4).tolist())
    if len(data) != 4 + 4 * rank + math.prod(shape):
        raise SourceError(f"holds {len(data)} bytes, which does not fit its shape {shape}", where=str(path))
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()


def _plain_or_gzipped(path: Path) -> bytes:
    zipped = path.with_name(path.name + ".gz")
    if path.exists():
        with path.open("rb") as file:
            return file.read(_MAX_IDX_BYTES)
    if zipped.exists():
        with gzip.open(zipped) as file:
            return file.read(_MAX_IDX_BYTES)
    raise SourceError(
        f"neither {path.name} nor {zipped.name} is there",
        where=str(path.parent),
        hint="Give the folder that holds MNIST/raw",
    )


def load_cifar10(root: Path) -> DataSet:
    """Read CIFAR-10 from ``root``: the official batches, else an image folder.

    Raises:
        SourceError: If neither layout is there, or a file is damaged.
    """
    if (root / "cifar-10-batches-py").is_dir():
        title, train, test = "CIFAR-10", _cifar10_batches(root, True), _cifar10_batches(root, False)
    elif (root / "cifar10" / "train").is_dir():
        train, lossy = _image_folder(root / "cifar10" / "train", CIFAR10_CLASSES, 32, "RGB")
        test, _ = _image_folder(root / "cifar10" / "test", CIFAR10_CLASSES, 32, "RGB")
        title = "CIFAR-10 (JPEG)" if lossy else "CIFAR-10 (image folder)"
    else:
        raise SourceError(
            "neither cifar-10-batches-py nor cifar10/train is there",
            where=str(root),
            hint="Give the folder that holds CIFAR-10",
        )
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    return DataSet("cifar10", title, CIFAR10_CLASSES, mean, std, train, test)


def enlarged(data: DataSet, side: int, chunk: int = 1000) -> DataSet:
    """A data set with its images resized to ``side`` x ``side`` pixels, bilinearly, and rounded to uint8."""

    def resize(images: ImageSet) -> ImageSet:
        larger = torch.empty(*images.images.shape[:2], side, side, dtype=torch.uint8)
        for start in range(0, len(images), chunk):
            piece = F.interpolate(images.images[start : start + chunk].float(), size=side, mode="bilinear")
            larger[start : start + chunk] = piece.round().to(torch.uint8)
        return ImageSet(larger, images.labels)

    title = f"{data.title}, enlarged to {side}x{side}"
    return replace(data, name=f"{data.name}x{side}", title=title, train=resize(data.train), test=resize(data.test))


def paired(data: DataSet, side: int = 64, seed: int = 0) -> DataSet:
    """Two grey images beside each other, in three equal channels: the classes are pairs of the original ones.

    Every image is the left one of a pair, and some other the right one. Each is somewhere between the upper and the
    lower edge of its half, by chance.

    Args:
        data: A data set of grey images that fit twice into ``side`` pixels.
        side: Height and width of the new images.
        seed: Of the pairs and their heights.
    """

    def pair(images: ImageSet) -> ImageSet:
        count, _, height, width = images.images.shape
        generator = torch.Generator().manual_seed(seed)
        right = torch.randperm(count, generator=generator)
        tops = torch.randint(0, side - height + 1, (count, 2), generator=generator)
        canvas = torch.zeros(count, side, side, dtype=torch.uint8)
        margin = side // 4 - width // 2
        for column, chosen in ((0, torch.arange(count)), (1, right)):
            left = margin + column * (side // 2)
            rows = tops[:, column, None] + torch.arange(height)
            columns = torch.arange(left, left + width)
            canvas[torch.arange(count)[:, None, None], rows[:, :, None], columns] = images.images[chosen, 0]
        labels = images.labels * len(data.classes) + images.labels[right]
        return ImageSet(canvas[:, None].expand(-1, 3, -1, -1).contiguous(), labels)

    classes = tuple(one + other for one in data.classes for other in data.classes)
    title = f"pairs of {data.title}'s digits, {side}x{side}"
    train, test = pair(data.train), pair(data.test)
    height, width = data.test.images.shape[2:]
    share = 2 * height * width / side**2  # of the new image; black pixels are the rest
    mean = share * data.mean[0]
    deviation = math.sqrt(share * (data.std[0] ** 2 + data.mean[0] ** 2) - mean**2)
    return DataSet(f"{data.name}pairs", title, classes, (mean,) * 3, (deviation,) * 3, train, test)


def _cifar10_batches(root: Path, train: bool) -> ImageSet:
    from torchvision.datasets import CIFAR10

    # The batches are pickles. torchvision unpickles them only after their published MD5 sums have matched.
    with _readable(root / "cifar-10-batches-py"):
        official = CIFAR10(root, train=train, download=False)
    images = torch.from_numpy(official.data).permute(0, 3, 1, 2).contiguous()
    return ImageSet(images, torch.tensor(official.targets))


def _image_folder(folder: Path, classes: Sequence[str], side: int, mode: str) -> tuple[ImageSet, bool]:
    """Class folders of square images, and whether any of them is stored lossily."""
    images, labels, lossy = [], [], False
    for label, name in enumerate(classes):
        with _readable(folder / name):
            paths = sorted((folder / name).iterdir())
        for path in paths:
            if path.suffix.lower() in _IMAGE_SUFFIXES:
                lossy = lossy or path.suffix.lower() != ".png"
                images.append(_read_image(path, side, mode))
                labels.append(label)
    if not images:
        raise SourceError("no image in its class folders", where=str(folder))
    pixels = torch.from_numpy(np.stack(images).reshape(len(images), side, side, -1)).permute(0, 3, 1, 2).contiguous()
    return ImageSet(pixels, torch.tensor(labels)), lossy


def _read_image(path: Path, side: int, mode: str) -> NDArray[np.uint8]:
    with _readable(path), Image.open(path) as image:
        if image.size != (side, side):
            raise SourceError(f"is {image.width}x{image.height}, not {side}x{side}", where=str(path))
        return np.asarray(image.convert(mode))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever a library raises on a file that is missing or damaged becomes one `SourceError`."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise SourceError("is not an image", where=str(path)) from error
    except (OSError, EOFError, zlib.error, RuntimeError, ValueError, Image.DecompressionBombError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise SourceError(f"cannot be read: {lines[0].rstrip('.')}", where=str(path)) from error


def load_digits(seed: int = 0) -> DataSet:
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels, half for training and half for testing.

    The 17 grey levels 0 to 16 are spread over 0 to 255. The mean and standard deviation are those of all images.

    Args:
        seed: Of the stratified split.
    """
    from sklearn.datasets import load_digits as load_grey_levels

    levels = load_grey_levels()
    pixels = np.rint(levels.images * 255 / 16).astype(np.uint8)
    everything = ImageSet(torch.from_numpy(pixels)[:, None], torch.from_numpy(levels.target).long())
    train, test = stratified_halves(everything.labels, seed)
    return DataSet(
        "digits", "Digits (scikit-learn)", DIGITS, (0.3053,), (0.3759,), everything.take(train), everything.take(test)
    )


def stratified_halves(labels: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split indices into two halves with equal class counts (up to one).

    Returns:
        Two disjoint, sorted ``(~N/2,)`` int64 index tensors.
    """
    return stratified_split(labels, 0.5, seed)


def stratified_split(labels: torch.Tensor, share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split indices at random into two parts with the same class proportions.

    Args:
        labels: ``(N,)`` int64 class of each sample.
        share: Share of each class that goes into the first part, rounded down to whole samples.
        seed: Of the random choice.

    Returns:
        Two disjoint, sorted int64 index tensors that together hold ``0 .. N - 1``.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = [], []
    for label in torch.unique(labels).tolist():
        members = torch.nonzero(labels == label).flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        count = int(share * len(members))
        first.append(members[:count])
        second.append(members[count:])
    return torch.cat(first).sort().values, torch.cat(second).sort().values
