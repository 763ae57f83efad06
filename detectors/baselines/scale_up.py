"""SCALE-UP: does the prediction survive brighter pixels?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.strip import Predict

FACTORS = (3, 5, 7, 9, 11)


@dataclass(frozen=True)
class Consistency:
    """What scaling left of predictions.

    Attributes:
        predicted: ``(N,)`` int64 predicted class of each image.
        share: ``(N,)`` share of the factors under which it stays, in [0, 1]; higher is more suspicious.

    Example:
        >>> Consistency(np.array([3]), np.array([0.8])).share
        array([0.8])

    References:
        Guo, Li, Chen, Guo, Sun and Liu (2023), SCALE-UP: an efficient black-box input-level backdoor detection via
        analyzing scaled prediction consistency, https://arxiv.org/abs/2302.03251.
    """

    predicted: NDArray[np.int64]
    share: NDArray[np.float64]


def scaled_prediction_consistency(images: NDArray[np.uint8], predict: Predict) -> Consistency:
    """Multiply all pixels by 3, 5, 7, 9 and 11, clip them, and see how often the predicted class stays.

    .. math:: \\frac1{|S|} \\sum_{n \\in S} [\\arg\\max f(\\min(n x, 255)) = \\arg\\max f(x)]

    This is the paper's data-free score. Six forward passes an image.

    Args:
        images: uint8 ``(N, ...)``.
        predict: The network's class probabilities.

    Example:
        >>> bright = lambda images: np.stack([images.mean((1, 2)) < 100, images.mean((1, 2)) >= 100], 1) * 1.0
        >>> pictures = np.array([[[20]], [[200]]], np.uint8)
        >>> scaled_prediction_consistency(pictures, bright).share
        array([0.2, 1. ])

    References:
        Guo, Li, Chen, Guo, Sun and Liu (2023), SCALE-UP: an efficient black-box input-level backdoor detection via
        analyzing scaled prediction consistency, https://arxiv.org/abs/2302.03251.
    """
    predicted = predict(images).argmax(1).astype(np.int64)
    kept = np.zeros(len(images))
    for factor in FACTORS:
        scaled = np.minimum(images.astype(np.uint16) * factor, 255).astype(np.uint8)
        kept += predict(scaled).argmax(1) == predicted
    return Consistency(predicted, kept / len(FACTORS))


def standardise_by_class(inputs: Consistency, clean: Consistency) -> NDArray[np.float64]:
    """The paper's data-limited score ``(N,)``: each input beside clean images of the same predicted class.

    .. math:: (s - \\mu_{\\hat y}) / \\sigma_{\\hat y}

    A class of fewer than two clean images, or whose shares do not vary, is compared with all clean images.

    Args:
        inputs: What is scored.
        clean: Clean images, at least one.

    Raises:
        ValueError: Without clean images.

    Example:
        >>> clean = Consistency(np.array([0, 0, 1, 1]), np.array([0.0, 0.4, 0.6, 1.0]))
        >>> standardise_by_class(Consistency(np.array([0, 1]), np.array([0.6, 0.6])), clean)
        array([ 2., -1.])

    References:
        Guo, Li, Chen, Guo, Sun and Liu (2023), SCALE-UP: an efficient black-box input-level backdoor detection via
        analyzing scaled prediction consistency, https://arxiv.org/abs/2302.03251.
    """
    if not len(clean.share):
        raise ValueError("at least one clean image is needed")
    scores = np.empty(len(inputs.share))
    for label in np.unique(inputs.predicted):
        own = clean.share[clean.predicted == label]
        if len(own) < 2 or own.std() == 0:
            own = clean.share
        rows = inputs.predicted == label
        scores[rows] = (inputs.share[rows] - own.mean()) / (own.std() or 1.0)
    return scores
