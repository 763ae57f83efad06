"""Put a fitted detector, its model and its reference into a profile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from pydantic import JsonValue, ValidationError

import scanner
from detectors.calibration.conformal import smallest_alpha
from scanner.base.errors import ProfileError
from scanner.base.versions import FIT_LIBRARIES, library_versions
from scanner.fitting.fit_warnings import fit_warnings
from scanner.fitting.model_info import layers_info, model_info, preprocess_info
from scanner.fitting.options import FitOptions
from scanner.fitting.reference_summary import ReferenceSummary, class_names, summarise
from scanner.fitting.stages import Detectors, Reference, ScoringGraph, Subject, TappedNetwork
from scanner.models.trust import trust_warnings
from scanner.profile.calibration_arrays import calibration_to_arrays
from scanner.profile.content import Profile
from scanner.profile.header import (
    CalibrationInfo,
    ClassOrder,
    DescriptorInfo,
    DetectorInfo,
    ParityInfo,
    ProfileHeader,
    ReferenceInfo,
    ScoreInfo,
    TapInfo,
    ToolInfo,
)
from scanner.profile.unit_arrays import units_to_arrays


def build_profile(
    subject: Subject,
    network: TappedNetwork,
    reference: Reference,
    detectors: Detectors,
    scoring: ScoringGraph,
    options: FitOptions,
) -> Profile:
    """Assemble the profile; see :mod:`scanner.profile.header` for the meaning of every field.

    Raises:
        ProfileError: If a name of the model or the reference is too long for a profile.
    """
    model, bayesian, summary = subject.model, detectors.bayesian, summarise(subject, reference)
    assignment = reference.assignment
    with _bounds_reported():
        header = ProfileHeader(
            tool=ToolInfo(name="latentscan", version=scanner.__version__),
            created_with=library_versions(FIT_LIBRARIES),
            model=model_info(model, options),
            preprocess=preprocess_info(subject.preprocess),
            class_names=class_names(
                model.num_classes,
                summary.labels,
                None if assignment is None else assignment.outputs,
                model.class_names,
            ),
            num_classes=model.num_classes,
            class_order=ClassOrder(
                source="solved" if assignment is not None and assignment.solved else "assumed",
                assignment=() if assignment is None else tuple(assignment.outputs.tolist()),
            ),
            taps=_taps(network),
            descriptors=_descriptors(network, detectors),
            scores=_scores(detectors),
            bayesian=None if bayesian is None else bayesian.info,
            detector=DetectorInfo(
                family=detectors.recipe.family,
                parameters=_parameters(detectors),
                own_densities=int(detectors.deep.groups.own.sum()),
            ),
            reference=_reference(summary),
            calibration=_calibration(reference, detectors),
            parity=ParityInfo(relative=model.parity, provider=reference.provider),
            self_checks=scoring.self_checks,
            seed=options.seed,
            isolation=layers_info(options.isolation),
            warnings=_warnings(subject, summary, detectors),
        )
    proto, weights = scoring.graph.serialise()
    units = units_to_arrays(detectors.units)
    return Profile(
        header,
        proto,
        np.frombuffer(weights, np.uint8),
        calibration_to_arrays(detectors.calibration) | units.small | reference.looks.to_arrays(),
        None if bayesian is None else bayesian.posterior,
        unit_values=units.values,
        unit_images=units.images,
        unit_features=units.features,
    )


def _taps(network: TappedNetwork) -> tuple[TapInfo, ...]:
    return tuple(
        TapInfo(name=t.name, tensor=t.tensor, shape=t.shape, layout=t.layout, depth=t.depth)
        for t in dict.fromkeys(d.tap for d in network.descriptors)
    )


def _descriptors(network: TappedNetwork, detectors: Detectors) -> tuple[DescriptorInfo, ...]:
    densities = detectors.deep.densities
    return tuple(
        DescriptorInfo(
            key=d.key,
            tap=d.tap.name,
            pooling=d.pooling,
            dim=d.dim,
            components=max((fold.projection.dim for fold in densities.get(d.key, ())), default=0),
        )
        for d in network.descriptors
    )


def _scores(detectors: Detectors) -> tuple[ScoreInfo, ...]:
    names = (*detectors.deep.scores, *(() if detectors.bayesian is None else detectors.bayesian.scores))
    return tuple(
        ScoreInfo(key=name.key, descriptor=name.descriptor, kind=name.kind, combined=bool(combined))
        for name, combined in zip(names, detectors.calibration.enters, strict=True)
    )


def _reference(summary: ReferenceSummary) -> ReferenceInfo:
    return ReferenceInfo(
        source=summary.kind,
        images=summary.images,
        unreadable=summary.unreadable,
        labelled=summary.labels is not None,
        per_class=summary.per_class,
        clean_accuracy=summary.clean_accuracy,
        digest=summary.digest,
    )


def _calibration(reference: Reference, detectors: Detectors) -> CalibrationInfo:
    method, calibration = reference.plan.method, detectors.calibration
    return CalibrationInfo(
        method=method,
        folds=None if method == "split" else calibration.num_folds,
        size=calibration.size,
        smallest_alpha=smallest_alpha(calibration.size),
    )


def _warnings(subject: Subject, summary: ReferenceSummary, detectors: Detectors) -> tuple[str, ...]:
    bayesian = detectors.bayesian
    return (
        *trust_warnings(subject.model),
        *subject.preprocess.warnings,
        *fit_warnings(
            summary,
            detectors.calibration,
            subject.model.num_classes,
            detectors.deep,
            None if bayesian is None else bayesian.info,
        ),
    )


def _parameters(detectors: Detectors) -> dict[str, JsonValue]:
    """Settings that reports repeat; of the posterior, the whole story is in the header."""
    recipe, bayesian = detectors.recipe, detectors.bayesian
    parameters: dict[str, JsonValue] = {
        "recipe": recipe.name,
        "poolings": list(recipe.poolings),
        "scores": list(recipe.kinds),
        "retained_variance": recipe.retained_variance,
        "images_per_component": recipe.images_per_component,
        "sharpness": recipe.sharpness,
        "taps": recipe.taps,
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
