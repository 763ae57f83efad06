"""What weight draws disagree about: entropies, mutual information and votes. NumPy only.

For ``T`` draws with class probabilities ``p_t``, in nats (Subedar et al., equations 1 to 3; Houlsby et
al. 2011):

* ``predictive-entropy``: ``H(mean_t p_t)``
* ``expected-entropy``: ``mean_t H(p_t)``
* ``bald``: their difference, the mutual information between weights and prediction
* ``variation-ratio``: share of draws whose predicted class is not the most frequent one
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.confidence import log_softmax

BayesianKind = Literal["bald", "predictive-entropy", "expected-entropy", "variation-ratio"]
BAYESIAN_KINDS: tuple[BayesianKind, ...] = ("bald", "predictive-entropy", "expected-entropy", "variation-ratio")


class DrawStatistics:
    """Sums over weight draws, for ``N`` inputs; memory does not grow with the draws.

    Args:
        count: Number of inputs ``N``.
        num_classes: Number of classes ``C``.

    Raises:
        ValueError: There is no input or no class.
    """

    def __init__(self, count: int, num_classes: int) -> None:
        if count < 1 or num_classes < 1:
            raise ValueError(f"needs at least one input and one class, got {count} and {num_classes}")
        self.draws = 0
        self._probabilities = np.zeros((count, num_classes))
        self._entropies = np.zeros(count)
        self._votes = np.zeros((count, num_classes), np.int64)

    def add(self, logits: NDArray[np.floating]) -> None:
        """Add one draw's logits ``(N, C)``. Inputs whose logits are not finite get NaN for scores.

        Raises:
            ValueError: They have another shape.
        """
        if logits.shape != self._probabilities.shape:
            raise ValueError(f"logits must be {self._probabilities.shape}, got {logits.shape}")
        log_p = log_softmax(np.asarray(logits, np.float64))
        p = np.exp(log_p)
        self.draws += 1
        self._probabilities += p
        self._entropies -= (p * log_p).sum(1)
        # By the logits: probabilities of two close ones may round to the same number.
        self._votes[np.arange(len(p)), np.asarray(logits).argmax(1)] += 1

    def mean_probabilities(self) -> NDArray[np.float64]:
        """The predictive distribution ``(N, C)``.

        Raises:
            ValueError: No draw was added.
        """
        if not self.draws:
            raise ValueError("needs at least one weight draw, got none")
        return self._probabilities / self.draws

    def scores(self) -> dict[BayesianKind, NDArray[np.float64]]:
        """All four scores ``(N,)``; higher is more uncertain.

        Entropy is concave, so ``bald`` is never negative; a difference of rounding is reported as 0.

        Raises:
            ValueError: No draw was added.
        """
        mean = self.mean_probabilities()
        predictive = -(mean * np.log(np.maximum(mean, np.finfo(np.float64).tiny))).sum(1)
        expected = self._entropies / self.draws
        return {
            "bald": np.maximum(predictive - expected, 0.0),
            "predictive-entropy": predictive,
            "expected-entropy": np.minimum(expected, predictive),
            "variation-ratio": np.where(np.isfinite(expected), 1.0 - self._votes.max(1) / self.draws, np.nan),
        }
