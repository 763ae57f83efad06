"""What a detector hands over: named scores, and a head that computes them inside the network's graph."""

from __future__ import annotations

from dataclasses import dataclass

from detectors.deep_features.scores import ScoreKind


@dataclass(frozen=True)
class ScoreName:
    """One named score.

    Attributes:
        descriptor: Key of the descriptor it is computed from, ``"<tap>:<pooling>"``.
        kind: What it measures (:mod:`detectors.deep_features.scores`).
    """

    descriptor: str
    kind: ScoreKind

    @property
    def key(self) -> str:
        """``"<tap>:<pooling>:<kind>"``."""
        return f"{self.descriptor}:{self.kind}"
