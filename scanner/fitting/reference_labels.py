"""What the labels of a reference mean in terms of the model's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanner.base.errors import SourceError
from scanner.inputs.items import Item, Source


@dataclass(frozen=True)
class Labels:
    """Labels of the reference in terms of network outputs.

    Attributes:
        names: ``L`` label names in natural order, two or more.
        given: ``(L,)`` output that each label stands for by name or position.
    """

    names: tuple[str, ...]
    given: NDArray[np.int64]

    def of(self, items: Sequence[Item]) -> NDArray[np.int64]:
        """Label index of every item, ``(N,)``.

        Raises:
            SourceError: If all have the same one: that is no supervision.
        """
        index = {name: i for i, name in enumerate(self.names)}
        found = np.array([index[item.label] for item in items if item.label is not None], np.int64)
        if len(found) and (found == found[0]).all():
            raise SourceError(
                f"all images that can be read have the label {self.names[found[0]][:60]!r}: that is the same as none",
                hint="Repair the images of the other classes, or fit with --no-labels",
            )
        return found


def reference_labels(source: Source, num_classes: int, own: Sequence[str] = ()) -> Labels | None:
    """Map label names to outputs; None without labels.

    By the model's own names where all labels are among them; else integers by value, and names by natural order.

    Args:
        source: The reference.
        num_classes: Outputs of the model.
        own: The model's own names of its outputs, or empty.

    Raises:
        SourceError: If there are more labels than outputs.
    """
    names = source.class_names
    if not names:
        return None
    outputs = {_plain(name): index for index, name in enumerate(own)}
    if len(outputs) == len(own) and all(_plain(name) in outputs for name in names):
        return Labels(names, np.array([outputs[_plain(name)] for name in names], np.int64))
    values = [int(name) for name in names if name.isdecimal()]
    if len(set(values)) == len(names) and max(values) < num_classes:
        return Labels(names, np.array(values, np.int64))
    if len(names) > num_classes:
        raise SourceError(
            f"the reference has {len(names)} classes, the model {num_classes} outputs",
            where=str(source.root),
            hint="Point --clean at images of the model's classes",
        )
    return Labels(names, np.arange(len(names), dtype=np.int64))


def _plain(name: str) -> str:
    """As folders spell what a model calls ``Golden retriever``."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")
