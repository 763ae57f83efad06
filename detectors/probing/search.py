"""Search the library, coarse to fine: many patterns on few images, the best of each family on more.

every pattern on 12 images -> the best of each family on 36 -> their neighbours, twice -> the best on all
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from detectors.probing.network import Counted, predicted
from detectors.probing.probe import FAMILIES, Family, Probe, Shape
from detectors.probing.score import broad, one_class

Kind = Literal["all classes", "one class"]

FEW, SOME, ALL = 12, 36, 200
"""Images that patterns are tried on: all of the library, the best of it, the very best."""
ABOUT_ALL: Final = "all classes"
KINDS: Final[tuple[Kind, ...]] = (ABOUT_ALL, "one class")
"""Kinds of rules that a pattern may follow."""
_KEPT: Final[dict[Kind, float]] = {ABOUT_ALL: 0.15, "one class": 0.05}
"""Share of a family that goes on to more images."""
_FEWEST: Final = 3
_AROUND: Final = 3
_FINALISTS: Final = 2
_RULES: Final = 10
"""Rules about all classes whose best patch goes on. A patch near a trigger raises the target long before it flips any
image, but less than others raise what they resemble: so each target is followed by itself."""
_MOST: Final = 10.0
"""Gain of a log probability that counts at most, so that no image decides alone."""


@dataclass(frozen=True)
class Trial:
    """A pattern, and what the network made of the first images with it.

    Attributes:
        probe: The pattern.
        after: ``(n,)`` classes with it.
        gains: ``(2K,)`` mean gains of the log probability of each class, and of the class so many further than an
            image's own.

    Example:
        See :func:`search`.

        >>> Trial.__dataclass_fields__["after"].name
        'after'

    References:
        docs/audit.md, section Search.
    """

    probe: Probe
    after: NDArray[np.int64]
    gains: NDArray[np.float64]

    @property
    def gain(self) -> float:
        """The largest gain by one rule about all classes."""
        return float(self.gains.max())


@dataclass
class Searched:
    """What a search found.

    Attributes:
        best: The best pattern of each family and kind of rule, as far as there is one.
        complete: Whether the search came to its end before the budget did.
        tried: Patterns that were tried.
        passes: Images that the network was asked about.
        trials: All of them, each on as many images as it got.

    Example:
        See :func:`search`.

        >>> Searched().complete
        False

    References:
        docs/audit.md, section Search.
    """

    best: dict[tuple[Family, Kind], Trial] = field(default_factory=dict)
    complete: bool = False
    tried: int = 0
    passes: int = 0
    trials: tuple[Trial, ...] = ()


@dataclass
class _Search:
    """The images, what the network makes of them, and what was tried so far."""

    network: Counted
    images: NDArray[np.uint8]
    before: NDArray[np.float32]
    trials: dict[Probe, Trial] = field(default_factory=dict)

    @property
    def classes(self) -> NDArray[np.int64]:
        return predicted(self.before)

    def extend(self, probes: Sequence[Probe], count: int) -> None:
        """Try patterns on the first `count` images, those that they were tried on already left out."""
        for start in sorted({self._seen(probe) for probe in probes}):
            together = [probe for probe in probes if self._seen(probe) == start]
            if start < count:
                answers = self.network.stamped(together, self.images[start:count])
                for probe, logits in zip(together, answers, strict=False):
                    self._add(probe, logits, start)

    def _seen(self, probe: Probe) -> int:
        return len(self.trials[probe].after) if probe in self.trials else 0

    def _add(self, probe: Probe, logits: NDArray[np.float32], start: int) -> None:
        after, gains = predicted(logits), _gains(self.before[start : start + len(logits)], logits)
        if start:
            known = self.trials[probe]
            gains = (start * known.gains + len(logits) * gains) / (start + len(logits))
            after = np.concatenate([known.after, after])
        self.trials[probe] = Trial(probe, after, gains)

    def rank(self, family: Family, by: Kind, count: int) -> list[Probe]:
        """Patterns of a family that were tried on `count` images or more, the best first."""
        tried = [trial for trial in self.trials.values() if trial.probe.family == family and len(trial.after) >= count]
        keys = {id(trial): self._key(trial, by) for trial in tried}
        return [trial.probe for trial in sorted(tried, key=lambda trial: keys[id(trial)], reverse=True)]

    def _key(self, trial: Trial, by: Kind) -> tuple[float, float]:
        score = broad if by == ABOUT_ALL else one_class
        classes = self.classes[: len(trial.after)]
        return score(classes, trial.after, self.before.shape[1]).value, trial.gain

    def leaders(self, count: int, number: Callable[[int, Kind], int]) -> list[Probe]:
        """The best of every family by everything that is looked at, each once."""
        found: list[Probe] = []
        for family in FAMILIES:
            for by in KINDS:
                ranked = self.rank(family, by, count)
                found.extend(ranked[: number(len(ranked), by)])
        return list(dict.fromkeys([*found, *self._nearest(count)]))

    def _nearest(self, count: int) -> list[Probe]:
        """The patch that raises the target most, of each of the rules for which it is raised most."""
        tried = [trial for trial in self.trials.values() if trial.probe.family == "patch" and len(trial.after) >= count]
        if not tried:
            return []
        gains = np.stack([trial.gains for trial in tried])
        rules = np.argsort(-gains.max(0), kind="stable")[:_RULES]
        return [tried[row].probe for row in gains[:, rules].argmax(0).tolist()]


def search(
    images: NDArray[np.uint8], before: NDArray[np.float32], probes: Sequence[Probe], network: Counted
) -> Searched:
    """Find the pattern of every family that moves most images by a rule.

    Every step is decided by answers to the steps before it. A budget therefore cuts a search short and changes nothing
    of what came before: as many passes always end with the same result.

    Args:
        images: ``(N, H, W, C)`` uint8, at least 12, in an order in which the first hold all classes where they can; at
            most 200 are used.
        before: ``(N, K)`` their logits.
        probes: Where to begin.
        network: The network, with its budget.

    Raises:
        ValueError: If there are too few images, or not as many logits.

    Example:
        >>> from detectors.probing.catalogue import library
        >>> generator = np.random.default_rng(0)
        >>> images = generator.integers(0, 200, (40, 16, 16, 1), np.uint8)
        >>> def logits(images):
        ...     fires = images[:, 14:, 14:].min((1, 2, 3)) == 255
        ...     return np.stack([fires * 9.0, images[:, 0, 0, 0] / 100, images[:, 0, 1, 0] / 100], 1).astype("f4")
        >>> network = Counted(logits, lambda passes: True)
        >>> found = search(images, logits(images), library(Shape(16, 16, 1)), network)
        >>> found.best["patch", "all classes"].probe.texture, found.complete
        ('white', True)

    References:
        Jamieson and Talwalkar (2016), Non-stochastic best arm identification, AISTATS,
        https://arxiv.org/abs/1502.07943, for halving. docs/audit.md, section Search, for the counts.
    """
    if len(images) < FEW or len(images) != len(before):
        raise ValueError(f"logits of at least {FEW} images are needed, got {len(before)} of {len(images)}")
    images, before = images[:ALL], before[:ALL]
    run = _Search(network, images, before)
    shape = Shape(*images.shape[1:])
    count = FEW
    run.extend(probes, count)
    if not network.stopped:
        run.extend(run.leaders(FEW, lambda size, by: max(_FEWEST, round(_KEPT[by] * size))), SOME)
        count = min(SOME, len(images))
    for _ in range(_AROUND):
        if not network.stopped:
            around = [near for probe in run.leaders(count, lambda *_: _FINALISTS) for near in probe.neighbours(shape)]
            run.extend([probe for probe in dict.fromkeys(around) if probe not in run.trials], count)
    if not network.stopped:
        run.extend(run.leaders(count, lambda *_: _FINALISTS), len(images))
        count = len(images) if not network.stopped else count
    return _finish(run, count)


def _finish(run: _Search, count: int) -> Searched:
    """The best of those that were tried on most images."""
    found = Searched(
        complete=not run.network.stopped,
        tried=len(run.trials),
        passes=run.network.passes,
        trials=tuple(run.trials.values()),
    )
    for family in FAMILIES:
        for kind in KINDS:
            ranked = run.rank(family, kind, count)
            if ranked:
                found.best[family, kind] = run.trials[ranked[0]]
    return found


def _gains(before: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean gains of log probabilities, by class and by distance from an image's own class; 0 for one that it has."""
    rows, classes = np.arange(len(before)), before.argmax(1)
    gained = np.clip(np.nan_to_num(_log_softmax(after) - _log_softmax(before), nan=0.0), -_MOST, _MOST)
    gained[rows, classes] = 0.0
    number = before.shape[1]
    further = gained[rows[:, None], (classes[:, None] + np.arange(number)) % number]
    return np.concatenate([gained.mean(0), further.mean(0)])


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)), np.float64)
