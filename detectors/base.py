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

    Raises:
        ValueError: If one of them is empty, or the kind has a colon, of which the key could not be read back.

    Example:
        >>> ScoreName("layer4:mean", "likelihood").key
        'layer4:mean:likelihood'

    References:
        Subedar, Ahuja, Krishnan, Ndiour and Tickoo (2019), Deep probabilistic models to detect data poisoning attacks,
        https://arxiv.org/abs/1912.01206, section 2, for the two methods.
    """

    descriptor: str
    kind: str

    def __post_init__(self) -> None:
        """Refuse what has no key."""
        if not self.descriptor or not self.kind or ":" in self.kind:
            raise ValueError(f"names, the kind's without colon, are needed, got {self.descriptor!r} and {self.kind!r}")

    @property
    def key(self) -> str:
        """``"<descriptor>:<kind>"``."""
        return f"{self.descriptor}:{self.kind}"
