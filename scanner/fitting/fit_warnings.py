"""What a person should know before relying on a profile, in sentences."""

from __future__ import annotations

from math import log10

from detectors.calibration.binomial import binomial_tail
from detectors.calibration.judge import Calibration
from detectors.deep_features.detector import DeepFeatures
from detectors.deep_features.grouping import MIN_CLASS_IMAGES
from scanner.fitting.reference_summary import ReferenceSummary
from scanner.fitting.search_preprocess import MIN_SKILL
from scanner.profile.header import BayesianInfo

FEW_PER_CLASS = 10
FEW_FOR_ALPHA = 99
ACCURACY_DROP = 0.02
FAR_BELOW_P = 0.05
OVERCONFIDENT = 0.17


def fit_warnings(
    reference: ReferenceSummary,
    calibration: Calibration,
    num_classes: int,
    detector: DeepFeatures,
    bayesian: BayesianInfo | None = None,
) -> list[str]:
    """Warnings for the profile and every report made from it.

    Args:
        reference: The reference.
        calibration: Of all scores.
        num_classes: Number of network outputs.
        detector: Densities of the features.
        bayesian: The posterior, if there is one.
    """
    warnings = []
    if reference.labels is None:
        warnings.append(
            "The reference has no labels: the model's own predictions stood in for them, and clean accuracy is unknown."
        )
    warnings += _class_warnings(reference, num_classes, detector)
    warnings += _accuracy_warnings(reference, num_classes)
    if calibration.size < FEW_FOR_ALPHA:
        warnings.append(
            f"{calibration.size} calibration images support no alpha below "
            f"{1 / (calibration.size + 1):.3g}; 99 are needed for 0.01."
        )
    if detector.constant:
        warnings.append(
            f"{len(detector.constant)} descriptors do not vary over the reference and are not scored "
            f"({', '.join(detector.constant[:3])})."
        )
    warnings += [] if bayesian is None else _posterior_warnings(bayesian)
    if bayesian is not None and calibration.num_folds > 1:
        warnings.append(
            "Weight draws of a scan come from a posterior that was trained on all reference images, those that "
            "calibrate from posteriors that were not trained on their fold: the calibration's guarantee does not cover "
            "them."
        )
    if reference.unreadable:
        warnings.append(f"{reference.unreadable} reference images could not be read and were left out.")
    return warnings


def _class_warnings(reference: ReferenceSummary, num_classes: int, detector: DeepFeatures) -> list[str]:
    """Classes with few images, or none."""
    warnings = []
    smallest = min(reference.per_class.values())
    few = [name for name, count in reference.per_class.items() if count < FEW_PER_CLASS]
    if few:
        warnings.append(
            f"{len(few)} classes have fewer than {FEW_PER_CLASS} reference images (the smallest has {smallest}): "
            "their densities are rough."
        )
    shared = detector.groups.shared is not None
    own = int(detector.groups.own.sum())
    if shared and own:
        warnings.append(
            f"{own} of the model's {num_classes} classes have the {MIN_CLASS_IMAGES} reference images that a density "
            "of their own needs: inputs predicted as another are compared with all images at once, which sees less."
        )
    elif shared:
        warnings.append(
            f"Less than half of the reference images are of classes with {MIN_CLASS_IMAGES} of them or more: one "
            "density describes all images, whatever their class."
        )
    missing = num_classes - len(reference.per_class)
    if missing and not shared:
        warnings.append(
            f"{missing} of the model's {num_classes} classes have no reference image: inputs predicted as one of them "
            "are judged by the nearest class that has."
        )
    return warnings


def usual_accuracy(num_classes: int) -> float:
    """What a network with so many outputs reaches at the least, as a rule: 70% for 10, 60% for 100, 50% for 1,000.

    A rule of thumb, with the reasons for it in docs/method.md.
    """
    return max(0.0, 0.8 - 0.1 * log10(num_classes))


def _accuracy_warnings(reference: ReferenceSummary, num_classes: int) -> list[str]:
    """Signs that preprocessing, labels and model do not belong together."""
    accuracy, images = reference.clean_accuracy, reference.images
    if accuracy is None:
        return []
    if accuracy <= _hardly_above(1.0 / len(reference.per_class)):
        return [
            f"Clean accuracy is {accuracy:.1%}, near chance: preprocessing, labels or model do not "
            "belong together, and no verdict will be given."
        ]
    most_frequent = max(reference.per_class.values()) / images
    if accuracy <= _hardly_above(most_frequent):
        return [
            f"Clean accuracy is {accuracy:.1%}, and {most_frequent:.1%} of the reference have one and the same label: "
            "whether preprocessing, labels and model belong together cannot be told from that."
        ]
    warnings = []
    usual, wrong = usual_accuracy(num_classes), images - round(accuracy * images)
    if accuracy < usual and binomial_tail(wrong, images, 1.0 - usual) <= FAR_BELOW_P:
        warnings.append(
            f"Clean accuracy is {accuracy:.1%}, far below what a network with {num_classes} outputs usually reaches "
            f"(at least {usual:.0%}): if this one is better, preprocessing or labels are wrong, and scores mean little."
        )
    if reference.overconfidence is not None and reference.overconfidence > OVERCONFIDENT:
        warnings.append(
            f"The model gives its predictions {reference.mean_confidence:.1%} on average, and {accuracy:.1%} of them "
            "are right: a model is that much surer than right where preprocessing or labels are wrong."
        )
    return warnings


def _hardly_above(chance: float) -> float:
    """An accuracy up to which a network knows next to nothing."""
    return chance + MIN_SKILL * (1.0 - chance)


def _posterior_warnings(bayesian: BayesianInfo) -> list[str]:
    warnings = []
    if bayesian.posterior == "untrained":
        warnings.append(
            f"The Bayesian scores come from an untrained posterior around the model's weights ({bayesian.reason}): an "
            "approximation of the published method, which fine-tunes it."
        )
    if bayesian.network_accuracy - bayesian.clean_accuracy > ACCURACY_DROP:
        warnings.append(
            f"The posterior classifies {bayesian.clean_accuracy:.1%} of the calibration images correctly and the model "
            f"{bayesian.network_accuracy:.1%}: it is too wide, a smaller --bayesian-delta is better."
        )
    return warnings
