"""What `fit` knows after each of its steps. Each stage is made once and never changed.

`OpenedFiles` -> `Subject` -> `TappedNetwork` -> `Reference` -> `Detectors` -> `ScoringGraph` -> profile
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.judge import Calibration
from detectors.calibration.plan import CalibrationPlan
from detectors.class_order import Assignment
from detectors.deep_features.detector import DeepFeatures
from detectors.deep_features.recipe import Recipe
from detectors.shared_units.detector import SharedUnits
from scanner.fitting.bayesian.terms import BayesianFit
from scanner.fitting.reference_features import ReferenceFeatures
from scanner.fitting.reference_labels import Labels
from scanner.graph.bundle import GraphBundle
from scanner.graph.pool import Descriptor
from scanner.graph.weights import Tail
from scanner.inputs.items import Source
from scanner.inputs.preprocess import PreprocessSpec
from scanner.models.load import LoadedModel
from scanner.profile.header import SelfCheck
from scanner.profile.looks import ReferenceLooks


@dataclass(frozen=True)
class ChosenPreprocess:
    """The preprocessing in use, where it came from, what else was tried (name and accuracy), and doubts about it."""

    spec: PreprocessSpec
    source: str
    tried: tuple[tuple[str, float], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class OpenedFiles:
    """The suspect model and the clean reference; no image was read yet.

    Attributes:
        model: The model at its own input size.
        source: The reference.
        labels: Its labels, or None without any or where they are not used.
    """

    model: LoadedModel
    source: Source
    labels: Labels | None


@dataclass(frozen=True)
class Subject:
    """What a profile is made of: the model as it is going to be used, and the reference that it is shown.

    Attributes:
        model: The model at the input size that was chosen.
        source: The reference.
        labels: Its labels, or None.
        preprocess: How an image becomes the model's input.
    """

    model: LoadedModel
    source: Source
    labels: Labels | None
    preprocess: ChosenPreprocess

    @property
    def spec(self) -> PreprocessSpec:
        """How an image is decoded."""
        return self.preprocess.spec


@dataclass(frozen=True)
class TappedNetwork:
    """The network with what detectors look at as further outputs.

    Attributes:
        graph: From ``pixels`` to logits, descriptors, and what the tail reads.
        descriptors: The pooled activations of every tap that the recipe looks at.
        tail: The part of the network that gets a posterior, or None without the Bayesian detector.
    """

    graph: GraphBundle
    descriptors: tuple[Descriptor, ...]
    tail: Tail | None


@dataclass(frozen=True)
class Reference:
    """What the network makes of the reference.

    Attributes:
        features: Features, predictions and digests of the ``N`` readable images.
        looks: What those images look like.
        classes: ``(N,)`` output that each image is fitted under: its label's, or the prediction without labels.
        assignment: What the labels stand for, or None without any.
        plan: Which images are fitted to, and which calibrate.
        tail_shapes: Shapes, without the batch, of what the tail reads; empty without one.
        provider: The execution provider that ran the network.
    """

    features: ReferenceFeatures
    looks: ReferenceLooks
    classes: NDArray[np.int64]
    assignment: Assignment | None
    plan: CalibrationPlan
    tail_shapes: dict[str, tuple[int, ...]]
    provider: str


@dataclass(frozen=True)
class Detectors:
    """Everything that was fitted.

    Attributes:
        recipe: What was to be fitted.
        deep: Densities of the features.
        units: The loudest clean images of every unit.
        bayesian: A posterior over the tail's weights, or None.
        calibration: Turns the scores of both into p-values.
    """

    recipe: Recipe
    deep: DeepFeatures
    units: SharedUnits
    bayesian: BayesianFit | None
    calibration: Calibration


@dataclass(frozen=True)
class ScoringGraph:
    """The finished graph, from ``pixels`` to scores, and what was tried on it.

    Attributes:
        graph: The graph.
        self_checks: The checks, which all hold.
    """

    graph: GraphBundle
    self_checks: tuple[SelfCheck, ...]
