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

    Example:
        >>> statistics = DrawStatistics(count=1, num_classes=2)
        >>> for logits in ([[9.0, -9.0]], [[-9.0, 9.0]]):  # two draws that are sure of different classes
        ...     statistics.add(np.array(logits))
        >>> {kind: round(float(values[0]), 4) for kind, values in statistics.scores().items()}
        {'bald': 0.6931, 'predictive-entropy': 0.6931, 'expected-entropy': 0.0, 'variation-ratio': 0.5}

    References:
        Subedar, Ahuja, Krishnan, Ndiour and Tickoo (2019), Deep probabilistic models to detect data poisoning attacks,
        https://arxiv.org/abs/1912.01206, equations 1 to 3.
        Houlsby, Huszár, Ghahramani and Lengyel (2011), Bayesian active learning for classification and preference
        learning, https://arxiv.org/abs/1112.5745, equation 2. Gal (2016), Uncertainty in deep learning, University of
        Cambridge, section 3.3.1, for the variation ratio.
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

        .. math:: \\bar p = \\frac1T \\sum_t p_t

        Raises:
            ValueError: No draw was added.
        """
        if not self.draws:
            raise ValueError("needs at least one weight draw, got none")
        return self._probabilities / self.draws

    def scores(self) -> dict[BayesianKind, NDArray[np.float64]]:
        """All four scores ``(N,)``; higher is more uncertain.

        .. math::
            \\mathrm{predictive\\text{-}entropy} &= H(\\bar p) = -\\sum_c \\bar p_c \\log \\bar p_c \\\\
            \\mathrm{expected\\text{-}entropy} &= \\frac1T \\sum_t H(p_t) \\\\
            \\mathrm{bald} &= H(\\bar p) - \\frac1T \\sum_t H(p_t) \\\\
            \\mathrm{variation\\text{-}ratio} &= 1 - \\frac1T \\max_c \\#\\{t : \\arg\\max p_t = c\\}

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
