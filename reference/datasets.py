"""MNIST and CIFAR-10 as uint8 tensors, from files the user points at.

Two layouts are read for each, the first found wins:

* MNIST: IDX files ``MNIST/raw/*-ubyte`` or the same gzipped (torchvision's layout).
* CIFAR-10: torchvision's ``cifar-10-batches-py`` (official, lossless), or an image folder
  ``cifar10/{train,test}/<class>/<file>``. A JPEG image folder is lossy and is named as such in
  every result.
"""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class ImageSet:
    """Images ``(N, C, H, W)`` uint8 with labels ``(N,)`` int64."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
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


def load_mnist(root: Path) -> DataSet:
    """Read MNIST from ``root``.

    Raises:
        FileNotFoundError: If an IDX file is neither there nor there gzipped.
        ValueError: If a file is not IDX.
    """
    raw = root / "MNIST" / "raw"

    def split(prefix: str) -> ImageSet:
        images = _read_idx(raw / f"{prefix}-images-idx3-ubyte")
        labels = _read_idx(raw / f"{prefix}-labels-idx1-ubyte")
        return ImageSet(torch.from_numpy(images)[:, None], torch.from_numpy(labels).long())

    return DataSet(
        "mnist", "MNIST", tuple(str(d) for d in range(10)), (0.1307,), (0.3081,), split("train"), split("t10k")
    )


def _read_idx(path: Path) -> np.ndarray:
    zipped = path.with_name(path.name + ".gz")
    if path.exists():
        data = path.read_bytes()
    elif zipped.exists():
        data = gzip.decompress(zipped.read_bytes())
    else:
        raise FileNotFoundError(f"neither {path} nor {zipped.name} exists")
    zeros, dtype, rank = struct.unpack(">HBB", data[:4])
    if zeros != 0 or dtype != 8:
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()


def load_cifar10(root: Path) -> DataSet:
    """Read CIFAR-10 from ``root``: the official batches, else an image folder.

    Raises:
        FileNotFoundError: If neither layout is there.
    """
    if (root / "cifar-10-batches-py").is_dir():
        title, train, test = "CIFAR-10", _cifar10_batches(root, True), _cifar10_batches(root, False)
    elif (root / "cifar10" / "train").is_dir():
        train, lossy = _image_folder(root / "cifar10" / "train")
        test, _ = _image_folder(root / "cifar10" / "test")
        title = "CIFAR-10 (JPEG)" if lossy else "CIFAR-10 (image folder)"
    else:
        raise FileNotFoundError(f"neither {root}/cifar-10-batches-py nor {root}/cifar10/train exists")
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    return DataSet("cifar10", title, CIFAR10_CLASSES, mean, std, train, test)


def _cifar10_batches(root: Path, train: bool) -> ImageSet:
    from torchvision.datasets import CIFAR10

    official = CIFAR10(root, train=train, download=False)
    images = torch.from_numpy(official.data).permute(0, 3, 1, 2).contiguous()
    return ImageSet(images, torch.tensor(official.targets))


def _image_folder(folder: Path) -> tuple[ImageSet, bool]:
    images, labels, lossy = [], [], False
    for label, name in enumerate(CIFAR10_CLASSES):
        for path in sorted((folder / name).iterdir()):
            if path.suffix.lower() in _IMAGE_SUFFIXES:
                lossy = lossy or path.suffix.lower() != ".png"
                with Image.open(path) as image:
                    images.append(np.asarray(image.convert("RGB")))
                labels.append(label)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return ImageSet(pixels, torch.tensor(labels)), lossy


def load(name: str, root: Path) -> DataSet:
    """Load ``mnist`` or ``cifar10`` by name."""
    loaders = {"mnist": load_mnist, "cifar10": load_cifar10}
    if name not in loaders:
        raise ValueError(f"unknown data set {name!r}, expected one of {sorted(loaders)}")
    return loaders[name](root)


def stratified_halves(labels: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split indices into two halves with equal class counts (up to one).

    Returns:
        Two disjoint, sorted ``(~N/2,)`` int64 index tensors.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = [], []
    for label in labels.unique().tolist():
        members = torch.nonzero(labels == label).flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        half = len(members) // 2
        first.append(members[:half])
        second.append(members[half:])
    return torch.cat(first).sort().values, torch.cat(second).sort().values
