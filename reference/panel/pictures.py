"""Which test images play which part in a cell.

One stratified half of the official test set is for references, the other for inputs. References of several sizes are
nested: that of 50 images a class begins that of 400. Every second image of a class fits, the others decide thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from reference.datasets import DataSet, ImageSet, stratified_halves
from reference.panel.labels import LabelMap
from reference.triggers import Trigger

SIZES = (400, 50, 10)
"""Clean images a class."""
CLEAN, TRIGGERED = 1000, 900


@dataclass(frozen=True)
class Pictures:
    """The images of a cell.

    Attributes:
        fit: Clean images, all first ones of the classes, then all second ones, and so on.
        held_out: As many others, in the same order.
        clean: Clean inputs.
        triggered: Inputs with the trigger whose class the attack wants changed: the same pictures as `clean`, as far as
            there are enough of them. Labels are the pictures' own.
        aim: The attack's label of each of them, int64.
        classes: Number of classes.
    """

    fit: ImageSet
    held_out: ImageSet
    clean: ImageSet
    triggered: ImageSet
    aim: torch.Tensor
    classes: int

    def rows(self, size: int) -> int:
        """How many of `fit`, and of `held_out`, a reference of so many images a class has."""
        return min(size * self.classes // 2, len(self.fit))


def choose_pictures(data: DataSet, trigger: Trigger, aim: LabelMap, seed: int) -> Pictures:
    """Choose images from the official test set, and stamp the trigger on inputs."""
    references, inputs = stratified_halves(data.test.labels, seed)
    generator = torch.Generator().manual_seed(seed)
    references = references[torch.randperm(len(references), generator=generator)]
    inputs = inputs[torch.randperm(len(inputs), generator=generator)]
    fit, held_out = _alternately(data.test.labels, references)
    own = data.test.labels[inputs]
    wanted = aim.rule(own, len(data.classes))
    attacked = torch.nonzero(wanted != own).flatten()[:TRIGGERED]
    plain = data.test.take(inputs[attacked])
    return Pictures(
        fit=data.test.take(fit),
        held_out=data.test.take(held_out),
        clean=data.test.take(inputs[:CLEAN]),
        triggered=ImageSet(trigger.apply(plain.images), plain.labels),
        aim=wanted[attacked],
        classes=len(data.classes),
    )


def _alternately(labels: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two sets of rows with equal class counts, the classes in turn; the largest that every class allows, up to 400."""
    members = [rows[labels[rows] == label] for label in range(int(labels.max()) + 1)]
    each = min(max(SIZES), *(len(one) for one in members)) // 2
    fit, held_out = (torch.stack([one[start : 2 * each : 2] for one in members], 1).flatten() for start in (0, 1))
    return fit, held_out
