"""Put a fitted detector, its model and its reference into a profile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, ValidationError

import scanner
from detectors.calibration.conformal import smallest_alpha
from detectors.calibration.judge import Calibration
from detectors.calibration.plan import CalibrationPlan
from detectors.class_order import Assignment
from detectors.deep_features.detector import DeepFeatures
from detectors.deep_features.recipe import Recipe
from scanner.base.errors import ProfileError
from scanner.base.versions import FIT_LIBRARIES, library_versions
from scanner.fitting.bayesian.fit_bayesian import BayesianFit
from scanner.graph.bundle import GraphBundle
from scanner.graph.pool import Descriptor
from scanner.inputs.preprocess import PreprocessSpec
from scanner.models.load import LoadedModel
from scanner.profile.calibration_arrays import calibration_to_arrays
from scanner.profile.content import Profile
from scanner.profile.header import (
    CalibrationInfo,
    ClassOrder,
    DescriptorInfo,
    DetectorInfo,
    IsolationLayer,
    ModelInfo,
    ParityInfo,
    PreprocessCandidate,
    PreprocessInfo,
    ProfileHeader,
    ReferenceInfo,
    ScoreInfo,
    SelfCheck,
    TapInfo,
    ToolInfo,
)


@dataclass(frozen=True)
class ChosenPreprocess:
    """The preprocessing in use, where it came from, what else was tried (name and accuracy), and doubts about it."""

    spec: PreprocessSpec
    source: str
    tried: tuple[tuple[str, float], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReferenceSummary:
    """What the header says of the reference.

    Attributes:
        kind: Kind of source.
        images: Readable images.
        unreadable: Images left out.
        digest: SHA-256 over the sorted digests of the images.
        per_class: Images of each class, by name.
        clean_accuracy: None without labels.
        labels: Label names with their outputs, or None without labels.
        assignment: What the labels stand for, or None without labels.
        mean_confidence: Mean probability that the network gives to what it predicts.
        overconfidence: By how much it is surer than right at least, on average; None without labels.
    """

    kind: str
    images: int
    unreadable: int
    digest: str
    per_class: dict[str, int]
    clean_accuracy: float | None
    labels: tuple[str, ...] | None
    assignment: Assignment | None
    mean_confidence: float | None = None
    overconfidence: float | None = None


def class_names(num_classes: int, labels: Sequence[str] | None, outputs: NDArray[np.int64] | None) -> tuple[str, ...]:
    """A name for every network output: its label, or its number."""
    names = [f"class {index}" for index in range(num_classes)]
    if labels is not None and outputs is not None:
        for label, output in zip(labels, outputs.tolist(), strict=True):
            names[output] = label
    return tuple(names)


def build_profile(
    model: LoadedModel,
    trusted_code: bool,
    preprocess: ChosenPreprocess,
    descriptors: Sequence[Descriptor],
    detector: DeepFeatures,
    recipe: Recipe,
    plan: CalibrationPlan,
    reference: ReferenceSummary,
    graph: GraphBundle,
    provider: str,
    parity: float | None,
    seed: int,
    warnings: Sequence[str],
    self_checks: Sequence[SelfCheck],
    calibration: Calibration,
    bayesian: BayesianFit | None = None,
) -> Profile:
    """Assemble the profile; see :mod:`scanner.profile.header` for the meaning of every field.

    Raises:
        ProfileError: If a name of the model or the reference is too long for a profile.
    """
    outputs = None if reference.assignment is None else reference.assignment.outputs
    names = (*detector.scores, *(() if bayesian is None else bayesian.scores))
    with _bounds_reported():
        header = ProfileHeader(
            tool=ToolInfo(name="latentscan", version=scanner.__version__),
            created_with=library_versions(FIT_LIBRARIES),
            model=ModelInfo(
                name=model.file.path.name,
                sha256=model.file.sha256,
                size=model.file.size,
                format=model.file.kind.value,
                architecture=model.architecture,
                description=model.file.description,
                notes=model.notes,
                trusted_code=trusted_code,
                trusted_file=model.ran_file,
                isolation=tuple(IsolationLayer(**asdict(layer)) for layer in model.isolation),
            ),
            preprocess=PreprocessInfo(
                spec=preprocess.spec.to_dict(),
                source=preprocess.source,
                candidates=tuple(PreprocessCandidate(name=name, accuracy=acc) for name, acc in preprocess.tried),
            ),
            class_names=class_names(model.num_classes, reference.labels, outputs),
            num_classes=model.num_classes,
            class_order=ClassOrder(
                source="solved" if reference.assignment is not None and reference.assignment.solved else "assumed",
                assignment=() if outputs is None else tuple(outputs.tolist()),
            ),
            taps=tuple(
                TapInfo(name=t.name, tensor=t.tensor, shape=t.shape, layout=t.layout, depth=t.depth)
                for t in dict.fromkeys(d.tap for d in descriptors)
            ),
            descriptors=tuple(
                DescriptorInfo(
                    key=d.key,
                    tap=d.tap.name,
                    pooling=d.pooling,
                    dim=d.dim,
                    components=max((fold.projection.dim for fold in detector.densities.get(d.key, ())), default=0),
                )
                for d in descriptors
            ),
            scores=tuple(
                ScoreInfo(key=name.key, descriptor=name.descriptor, kind=name.kind, combined=bool(combined))
                for name, combined in zip(names, calibration.enters, strict=True)
            ),
            bayesian=None if bayesian is None else bayesian.info,
            detector=DetectorInfo(
                family=recipe.family,
                parameters=_parameters(recipe, bayesian),
                own_densities=int(detector.groups.own.sum()),
            ),
            reference=ReferenceInfo(
                source=reference.kind,
                images=reference.images,
                unreadable=reference.unreadable,
                labelled=reference.labels is not None,
                per_class=reference.per_class,
                clean_accuracy=reference.clean_accuracy,
                digest=reference.digest,
            ),
            calibration=CalibrationInfo(
                method=plan.method,
                folds=None if plan.method == "split" else calibration.num_folds,
                size=calibration.size,
                smallest_alpha=smallest_alpha(calibration.size),
            ),
            parity=ParityInfo(relative=parity, provider=provider),
            self_checks=tuple(self_checks),
            seed=seed,
            warnings=tuple(warnings),
        )
    proto, weights = graph.serialise()
    return Profile(
        header,
        proto,
        np.frombuffer(weights, np.uint8),
        calibration_to_arrays(calibration),
        None if bayesian is None else bayesian.posterior,
    )


def _parameters(recipe: Recipe, bayesian: BayesianFit | None) -> dict[str, JsonValue]:
    """Settings that reports repeat; of the posterior, the whole story is in the header."""
    parameters: dict[str, JsonValue] = {
        "recipe": recipe.name,
        "poolings": list(recipe.poolings),
        "scores": list(recipe.kinds),
        "retained_variance": recipe.retained_variance,
        "images_per_component": recipe.images_per_component,
        "sharpness": recipe.sharpness,
    }
    if bayesian is not None:
        info = bayesian.info
        parameters["bayesian"] = {
            "posterior": info.posterior,
            "layers": info.layers,
            "weight_tensors": len(info.weights),
            "samples": info.samples,
            "seed": info.seed,
            "delta": info.delta,
            "prior_std": info.prior_std,
            "epochs": info.training.get("epochs", 0),
            "clean_accuracy": info.clean_accuracy,
        }
    return parameters


@contextmanager
def _bounds_reported() -> Iterator[None]:
    """A header holds what an attacker may have named, within bounds: exceeding one is the user's to know."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ProfileError(f"the profile cannot hold this ({field}: {first['msg']})", hint="Shorten it") from None
