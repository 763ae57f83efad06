"""How well a pattern's effect on classes is told by one rule, from few images and without intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.demonstration.rule import Rule

MIN_OF_CLASS: Final = 3
"""Images of a class that a rule about it needs."""


@dataclass(frozen=True)
class Score:
    """The best rule of a kind, and how much speaks for it.

    Attributes:
        rule: The rule; None where no image follows any.
        value: Share of the images that the rule is about that do what it says; of a rule about one class, less the
            share of the other images that change.

    Example:
        >>> Score(None, 0.0).value
        0.0

    References:
        docs/audit.md, section Search.
    """

    rule: Rule | None
    value: float


def broad(before: NDArray[np.int64], after: NDArray[np.int64], num_classes: int) -> Score:
    """The best rule about all classes: all to one, or each to the one so many further.

    Args:
        before: ``(N,)`` predicted classes without the pattern.
        after: ``(N,)`` with it; -1 where there is none.
        num_classes: Number of classes.

    Raises:
        ValueError: If the lengths differ, or there is no image.

    Example:
        >>> before = np.arange(6) % 3
        >>> broad(before, np.zeros(6, int), 3)
        Score(rule=Rule(target=0, source=None, shift=None), value=1.0)
        >>> broad(before, (before + 1) % 3, 3).rule
        Rule(target=None, source=None, shift=1)

    References:
        Gu et al. (2017), BadNets, https://arxiv.org/abs/1708.06733.
    """
    changed = _changed(before, after)
    if not changed.any():
        return Score(None, 0.0)
    hits = np.bincount(after[changed], minlength=num_classes)
    # Where nearly all images are of one class already, few others say little.
    about = np.maximum(len(before) - np.bincount(before, minlength=num_classes), (len(before) + 1) // 2)
    shares = hits / about
    shifts = np.bincount((after[changed] - before[changed]) % num_classes, minlength=num_classes) / len(before)
    target, shift = int(shares.argmax()), int(shifts.argmax())
    if shifts[shift] > shares[target]:
        return Score(Rule(shift=shift), float(shifts[shift]))
    return Score(Rule(target=target), float(shares[target]))


def one_class(before: NDArray[np.int64], after: NDArray[np.int64], num_classes: int) -> Score:
    """The best rule about one class: its images to one other class, while the others stay what they are.

    Args:
        before: ``(N,)`` predicted classes without the pattern.
        after: ``(N,)`` with it; -1 where there is none.
        num_classes: Number of classes.

    Raises:
        ValueError: If the lengths differ, or there is no image.

    Example:
        >>> before = np.arange(9) % 3
        >>> one_class(before, np.where(before == 2, 0, before), 3)
        Score(rule=Rule(target=0, source=2, shift=None), value=1.0)

    References:
        Tang et al. (2021), Demon in the variant, USENIX Security, https://arxiv.org/abs/1908.00686.
    """
    changed = _changed(before, after)
    best = Score(None, 0.0)
    for source in np.unique(before[changed]).tolist():
        own = before == source
        if own.sum() < MIN_OF_CLASS:
            continue
        hits = np.bincount(after[changed & own], minlength=num_classes)
        target = int(hits.argmax())
        others = float(changed[~own].mean()) if (~own).any() else 0.0
        value = float(hits[target] / own.sum()) - others
        if value > best.value:
            best = Score(Rule(target=target, source=source), value)
    return best


def _changed(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.bool_]:
    if before.shape != after.shape or before.ndim != 1 or not len(before):
        raise ValueError(f"classes (N,) and (N,) of some images are needed, got {before.shape} and {after.shape}")
    return np.asarray((before != after) & (after >= 0), np.bool_)
