"""Fit every detector to the reference, and calibrate their scores together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.judge import Calibration
from detectors.calibration.plan import CalibrationPlan, calibrate_by_plan
from detectors.deep_features.detector import DeepFeatures, Fit, ImageClasses, fit_deep_features
from detectors.deep_features.fit import FittedDescriptor
from detectors.deep_features.recipe import Recipe
from detectors.shared_units.clean_scores import CleanScores
from detectors.shared_units.clean_scores import clean_scores as keep_clean_scores
from detectors.shared_units.detector import SharedUnits
from detectors.shared_units.similar_images import fit_shared_units
from scanner.base.errors import ModelError
from scanner.base.progress import Progress
from scanner.fitting.bayesian.terms import LOWER_BOUND, BayesianFit, TailData, TailReference
from scanner.fitting.options import FitOptions
from scanner.fitting.reference_features import tail_key
from scanner.fitting.stages import Detectors, Reference, Subject, TappedNetwork
from scanner.graph.pool import Descriptor
from scanner.inputs.threads import usable_cores
from scanner.profile.unit_arrays import MAX_FEATURE_BYTES, MAX_TABLE_BYTES

FITTED_AT_ONCE: Final = 4
"""Descriptors that are fitted at a time: each takes a few matrices of as many rows and columns as it has channels."""
LIKENED_DEPTH: Final = 0.8
"""Depth, as a share of the weighted operators, of the layer by which pictures are likened."""


def fit_detectors(
    subject: Subject,
    network: TappedNetwork,
    reference: Reference,
    recipe: Recipe,
    options: FitOptions,
    progress: Progress,
) -> Detectors:
    """Densities of the features, and a posterior over the tail's weights where one was asked for.

    Raises:
        ModelError: If no density can be fitted.
        UsageError: If fine-tuning costs the network its accuracy, or a checkpoint does not belong here.
    """
    deep = _fit_densities(subject, network, reference, recipe, options, progress)
    bayesian = _fit_posterior(subject, network, reference, options, progress)
    calibration, clean_scores = deep.calibration, deep.clean_scores
    if bayesian is not None:
        calibration = combine_scores(deep, bayesian, reference.plan, recipe)
        clean_scores = np.concatenate((deep.clean_scores, bayesian.clean_scores), axis=1)
    known = keep_clean_scores(reference.plan, calibration, clean_scores)
    units = _fit_units(subject, network, reference, known)
    return Detectors(recipe, deep, units, bayesian, calibration)


def _fit_densities(
    subject: Subject,
    network: TappedNetwork,
    reference: Reference,
    recipe: Recipe,
    options: FitOptions,
    progress: Progress,
) -> DeepFeatures:
    step = progress.task("densities", len(network.descriptors))
    names = [descriptor.key for descriptor in network.descriptors]

    def each(fit: Fit, keys: Iterable[str]) -> Iterator[FittedDescriptor | None]:
        with ThreadPoolExecutor(min(usable_cores(), FITTED_AT_ONCE)) as pool:
            for done, fitted in enumerate(pool.map(fit, keys)):
                step(done + 1)
                yield fitted

    try:
        return fit_deep_features(
            reference.features.spooled.only(names),
            ImageClasses(
                reference.classes,
                reference.features.predicted,
                subject.model.num_classes,
                reference.features.log_odds,
            ),
            recipe,
            reference.plan,
            options.seed,
            each,
        )
    except ValueError as error:
        raise ModelError(
            f"no density can be fitted: {error}", where=str(options.model), hint="Check the model and the images"
        ) from error


def _fit_units(subject: Subject, network: TappedNetwork, reference: Reference, scores: CleanScores) -> SharedUnits:
    """Keep the loudest clean images of every unit, and features of a last layer.

    Of a part of the images where the reference is very large.

    Args:
        subject: The model and the reference.
        network: What it looks at.
        reference: The features.
        scores: The densities' scores of the reference.
    """
    features = reference.features
    late = late_descriptors(network.descriptors)
    last = [d for d in late if d.tap == late[-1].tap]
    most = min(MAX_TABLE_BYTES // (4 * _width(late)), MAX_FEATURE_BYTES // (2 * _width(last)))
    rows = spread_over_folds(scores.folds, most)
    return fit_shared_units(
        features.spooled.only([d.key for d in late], rows),
        likened_by(network.descriptors).key,
        features.predicted[rows],
        subject.model.num_classes,
        scores.take(rows),
        [d.key for d in last],
    )


def _width(descriptors: Sequence[Descriptor]) -> int:
    return sum(descriptor.dim for descriptor in descriptors)


def spread_over_folds(folds: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Rows of at most so many images, in order: every fold's share, spread evenly over its images.

    Args:
        folds: ``(n,)`` fold of every image.
        most: How many; at least ten for every fold.
    """
    if len(folds) <= most:
        return np.arange(len(folds))
    by_fold = np.argsort(folds, kind="stable")
    return np.sort(by_fold[np.arange(most) * len(folds) // most])


def likened_by(descriptors: Sequence[Descriptor]) -> Descriptor:
    """The descriptor that tells which pictures are alike: of a late layer, but not of the last.

    Means over positions tell more of a whole picture than maxima; the very last layers tell the predicted class.
    """
    return min(descriptors, key=lambda d: (d.pooling == "max", abs(d.tap.depth - LIKENED_DEPTH)))


def late_descriptors(descriptors: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
    """The descriptors whose units are looked at: of the layer by which pictures are likened, and of all after it.

    Early layers see a mark on a picture whatever the network makes of it: a logo, a time stamp, noise. What it makes of
    it is seen late, and a mark that it ignores has died out there.
    """
    tap = likened_by(descriptors).tap
    first = next(index for index, descriptor in enumerate(descriptors) if descriptor.tap == tap)
    return tuple(descriptors[first:])


def _fit_posterior(
    subject: Subject, network: TappedNetwork, reference: Reference, options: FitOptions, progress: Progress
) -> BayesianFit | None:
    if network.tail is None or options.bayesian is None:
        return None
    # Of all of a fit, this alone needs PyTorch, which takes seconds and hundreds of megabytes to import.
    from scanner.fitting.bayesian.fit_bayesian import fit_bayesian

    features = reference.features
    inputs = {name: features.spooled.mapped(tail_key(name)) for name in reference.tail_shapes}
    data = TailData(inputs, reference.tail_shapes, reference.classes, _origin(subject, network, reference))
    seen = TailReference(network.tail, data, features.predicted, reference.plan)
    return fit_bayesian(seen, options.bayesian, options.seed, options.device, progress)


def _origin(subject: Subject, network: TappedNetwork, reference: Reference) -> str:
    """Digest of all that the features of the reference depend on."""
    digests = [row.tobytes().hex() for row in reference.features.digests]
    known = json.dumps([asdict(subject.spec), digests], sort_keys=True)
    digest = hashlib.sha256(known.encode())
    for part in network.graph.serialise():
        digest.update(part)
    return digest.hexdigest()


def combine_scores(detector: DeepFeatures, bayesian: BayesianFit, plan: CalibrationPlan, recipe: Recipe) -> Calibration:
    """One calibration for the scores of densities and of weight draws."""
    return calibrate_by_plan(
        np.concatenate((detector.clean_scores, bayesian.clean_scores), axis=1),
        np.concatenate((detector.bounds, np.full(len(bayesian.scores), LOWER_BOUND))),
        plan,
        recipe.sharpness,
        np.concatenate((detector.calibration.enters, bayesian.enters)),
        np.concatenate((detector.calibration.contradicts, np.zeros(len(bayesian.scores), bool))),
    )
