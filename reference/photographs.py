"""A thousand photographs, and which of them a run takes as reference and as inputs."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from scanner.base.errors import SourceError

PHOTOGRAPHS: Final = 1000
"""One for each of ImageNet's classes."""
PSEUDO_CLASSES: Final = 10
_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Setting:
    """One run.

    Attributes:
        network: Name of the network.
        references: Number of photographs in the reference.
        labels: ``none``; ``class``, each photograph's own; or ``pseudo``, ten stretches of the order of classes.
        seed: Of the choice of photographs.
        inputs: Number of photographs that are scanned; None for all the others.
    """

    network: str
    references: int
    labels: str
    seed: int
    inputs: int | None = None

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.network}-{self.references}-{self.labels}-seed{self.seed}"


def find_photographs(folder: Path) -> list[Path]:
    """The first photograph of every class, in the order of classes.

    Raises:
        SourceError: Unless there is one for each of `PHOTOGRAPHS` classes.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    found = [sorted(p for p in each.iterdir() if p.suffix.lower() in _SUFFIXES)[:1] for each in classes]
    photographs = [path for paths in found for path in paths]
    if len(photographs) != PHOTOGRAPHS:
        raise SourceError(
            f"holds {len(photographs)} classes with a photograph, not {PHOTOGRAPHS}",
            where=str(folder),
            hint="Give a folder with one photograph for each of ImageNet's classes, in a folder per class",
        )
    return photographs


def digest(photographs: Sequence[Path]) -> str:
    """SHA-256 over the photographs' contents, in their order."""
    whole = hashlib.sha256()
    for path in photographs:
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def split(count: int, setting: Setting) -> tuple[list[int], list[int], list[int]]:
    """Indices of the reference, of the inputs, and of the photographs that are neither."""
    order = np.random.default_rng(setting.seed).permutation(count).tolist()
    end = count if setting.inputs is None else setting.references + setting.inputs
    return order[: setting.references], order[setting.references : end], order[end:]


def write_images(folder: Path, photographs: Sequence[Path], setting: Setting) -> None:
    """Copy the photographs of a run to ``folder/ref`` and ``folder/inputs``."""
    if folder.exists():
        shutil.rmtree(folder)
    reference, inputs, _ = split(len(photographs), setting)
    (folder / "inputs").mkdir(parents=True)
    for index in inputs:
        shutil.copyfile(photographs[index], folder / "inputs" / f"{index:06d}{photographs[index].suffix}")
    for index in reference:
        label = {"none": "", "class": str(index), "pseudo": str(index * PSEUDO_CLASSES // len(photographs))}
        target = folder / "ref" / label[setting.labels]
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photographs[index], target / f"{index:06d}{photographs[index].suffix}")
