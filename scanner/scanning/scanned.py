"""An input of a scan, judged or left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scanner.inputs.items import Item


@dataclass(frozen=True)
class ScannedInput:
    """One judged input.

    Attributes:
        item: The input.
        sha256: Digest of its bytes.
        finite: Whether logits, scores and class evidence are all finite.
        predicted: Predicted class; None where the logits are not finite.
        source_class: The other class it looks most like; None where something is not finite, or no other class has a
            density of its own.
        p_value: Combined conformal p-value; the smallest that there is where something is not finite.
        density_p_value: The same of densities and weight draws alone; equal to it where the batch has taught nothing.
        nats: What the units that the batch shares say of the input, in nats; 0 where it shares none.
        direction: What the direction in which suspects of the batch differ says of it, in nats; 0 where there is none.
        above: Whether the units that the batch shares are louder in it than in any clean image.
        evidence: What inputs are ordered by: the combined score, or where the batch has taught something the joint
            evidence in nats.
        score: Combined score, in robust standard deviations; infinite where something is not finite.
        flagged: Whether ``p_value <= alpha``, or something is not finite.
        scores: ``(K, S)`` raw scores, by the densities of each fold.
        score_p_values: ``(S,)``; None where only the most suspicious inputs need them.
        z: ``(S,)`` standardised scores.
        thumbnail: Its thumbnail ``(64,)``, by which copies are known; None where it is of no use.
        top_scores: Indices of the scores that contribute most to ``score``, the most first; none where the logits are
            not finite, as scores are then about no class.
    """

    item: Item
    sha256: str
    finite: bool
    predicted: int | None
    source_class: int | None
    p_value: float
    density_p_value: float
    nats: float
    direction: float
    above: bool
    evidence: float
    score: float
    flagged: bool
    scores: NDArray[np.float64]
    score_p_values: NDArray[np.float64] | None
    z: NDArray[np.float64]
    top_scores: tuple[int, ...]
    thumbnail: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class UnreadableRow:
    """One input that could not be read, with the reason."""

    item: Item
    sha256: str | None
    reason: str
    detail: str


class RowSink(Protocol):
    """Takes every row in order, scanned or not."""

    def scanned(self, row: ScannedInput) -> None:
        """A judged input."""

    def unreadable(self, row: UnreadableRow) -> None:
        """An input that was left out."""
