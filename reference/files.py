"""Image sets as real files, as a user of the scanner would have them.

File names are neutral numbers. What is behind them is written to a truth file, which belongs outside of the folder
that is scanned.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from reference.attacks import Attack
from reference.datasets import ImageSet
from scanner.base.errors import SourceError

_TRUTH_COLUMNS = ("file_name", "triggered", "true_label", "attack_label", "source")


@dataclass(frozen=True)
class TruthRow:
    """What one input file really is.

    Attributes:
        file_name: Name within the inputs folder.
        triggered: Whether the trigger is on the picture.
        true_label: Class of what the picture shows: for a triggered one, the class the attack starts from.
        attack_label: Class that the backdoor gives; none for a clean picture.
        source: Index of the picture within the image set it was taken from.
    """

    file_name: str
    triggered: bool
    true_label: str
    attack_label: str | None
    source: int


def write_png(path: Path, image: torch.Tensor) -> None:
    """Write one uint8 image ``(1 or 3, H, W)`` as a grey or RGB PNG."""
    pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    Image.fromarray(pixels.contiguous().numpy()).save(path, format="PNG")


def write_class_folders(folder: Path, images: ImageSet, classes: Sequence[str]) -> None:
    """Write ``<folder>/<class>/<index>.png``, a labelled reference; makes the folder."""
    for name in classes:
        (folder / name).mkdir(parents=True)
    for index, (image, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
        write_png(folder / classes[label] / f"{index:06d}.png", image)


def write_flat(folder: Path, images: torch.Tensor) -> list[str]:
    """Write uint8 images ``(N, C, H, W)`` as ``<folder>/<index>.png``; makes the folder and returns the names."""
    folder.mkdir(parents=True)
    names = [f"{index:06d}.png" for index in range(len(images))]
    for name, image in zip(names, images, strict=True):
        write_png(folder / name, image)
    return names


@dataclass(frozen=True)
class Mixture:
    """Clean and triggered pictures in random order, and what each of them is."""

    images: torch.Tensor
    truth: tuple[TruthRow, ...]

    def write(self, inputs: Path, truth: Path) -> None:
        """Write the pictures to a new folder, and what they are to a CSV file outside of it."""
        write_flat(inputs, self.images)
        write_truth(truth, self.truth)


def mix(
    images: ImageSet,
    clean: torch.Tensor,
    triggered: torch.Tensor,
    attack: Attack,
    classes: Sequence[str],
    seed: int,
) -> Mixture:
    """Shuffle clean pictures with triggered ones.

    Args:
        images: Where the pictures come from.
        clean: ``(M,)`` int64, the pictures to take as they are.
        triggered: ``(K,)`` int64, the pictures to put the trigger on; they may be among ``clean`` too.
        attack: The trigger, and the labels that it asks for.
        classes: Class names.
        seed: Of the order.
    """
    source = torch.cat((clean, triggered))
    attack_labels = attack.rule(images.labels[source], len(classes)).tolist()
    pixels = torch.cat((images.images[clean], attack.trigger.apply(images.images[triggered])))
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(seed))
    truth = tuple(
        TruthRow(
            file_name=f"{position:06d}.png",
            triggered=member >= len(clean),
            true_label=classes[int(images.labels[source[member]])],
            attack_label=classes[attack_labels[member]] if member >= len(clean) else None,
            source=int(source[member]),
        )
        for position, member in enumerate(order.tolist())
    )
    return Mixture(pixels[order], truth)


def write_truth(path: Path, rows: Sequence[TruthRow]) -> None:
    """Write a truth file: CSV with a header, ``triggered`` as ``yes`` or ``no``."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_TRUTH_COLUMNS)
        for row in rows:
            shown = "yes" if row.triggered else "no"
            writer.writerow((row.file_name, shown, row.true_label, row.attack_label or "", row.source))


def read_truth(path: Path) -> tuple[TruthRow, ...]:
    """Read a truth file.

    Raises:
        SourceError: If it is missing, or not a truth file.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="", strict=True)
            if tuple(reader.fieldnames or ()) != _TRUTH_COLUMNS:
                raise SourceError(f"is not a truth file: expected columns {', '.join(_TRUTH_COLUMNS)}", where=str(path))
            return tuple(_truth_row(line) for line in reader)
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, KeyError, csv.Error) as error:
        raise SourceError("is not a truth file", where=str(path)) from error


def _truth_row(line: dict[str, str]) -> TruthRow:
    return TruthRow(
        file_name=line["file_name"],
        triggered={"yes": True, "no": False}[line["triggered"]],
        true_label=line["true_label"],
        attack_label=line["attack_label"] or None,
        source=int(line["source"]),
    )
