"""What a detector hands over: named scores, and a head that computes them inside the network's graph."""

from __future__ import annotations

from dataclasses import dataclass

BAYESIAN = "bayesian"
BAYESIAN_UNTRAINED = "bayesian-untrained"


@dataclass(frozen=True)
class ScoreName:
    """One named score.

    Attributes:
        descriptor: What it is computed from: the key of a descriptor, ``"<tap>:<pooling>"``, or
            ``"bayesian"`` for the weight draws (``"bayesian-untrained"`` where they come from a posterior
            that no training has seen).
        kind: What it measures (:mod:`detectors.deep_features.scores`, :mod:`detectors.bayesian.uncertainty`).
    """

    descriptor: str
    kind: str

    @property
    def key(self) -> str:
        """``"<descriptor>:<kind>"``."""
        return f"{self.descriptor}:{self.kind}"
