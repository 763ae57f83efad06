"""What the Bayesian detector is fitted to, and what comes of it.

Imports no PyTorch: a fit that has no posterior does without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import ScoreName
from detectors.calibration.plan import CalibrationPlan
from scanner.graph.weights import Tail
from scanner.profile.header import BayesianInfo
from scanner.profile.posterior import Posterior

LOWER_BOUND = 0.0
"""Of every score of weight draws."""


@dataclass(frozen=True)
class TailData:
    """What a tail is trained on.

    Attributes:
        inputs: The tail's inputs by name, ``(N, prod(shape))`` float32.
        shapes: Their shapes without the batch.
        classes: ``(N,)``, class to train each image on.
        origin: Digest of what ``inputs`` were computed from: images in order, trunk, preprocessing. Not of their
            values, whose last digits depend on the device.
    """

    inputs: Mapping[str, NDArray[np.float32]]
    shapes: Mapping[str, tuple[int, ...]]
    classes: NDArray[np.int64]
    origin: str

    def batch(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Some rows in the shape that the tail takes."""
        return {name: np.asarray(self.inputs[name][rows]).reshape(-1, *self.shapes[name]) for name in self.shapes}


@dataclass(frozen=True, eq=False)
class TailReference:
    """A tail, and what it is fitted to.

    Attributes:
        tail: The network's tail.
        data: The reference as the tail sees it, with the classes to train on.
        predicted: ``(N,)`` class the network predicts.
        plan: Roles of the images.
    """

    tail: Tail
    data: TailData
    predicted: NDArray[np.int64]
    plan: CalibrationPlan


@dataclass(frozen=True, eq=False)
class BayesianFit:
    """What is fitted.

    Attributes:
        posterior: For scans.
        info: For the profile's header.
        scores: Names of the scores.
        clean_scores: ``(M, 4)`` scores of the plan's unseen images, in its order.
        enters: ``(4,)`` bool, which scores enter the combined p-value.
    """

    posterior: Posterior
    info: BayesianInfo
    scores: tuple[ScoreName, ...]
    clean_scores: NDArray[np.float64]
    enters: NDArray[np.bool_]
