"""Which network output each reference label stands for, solved from the confusion matrix.

Folders are sorted by name, networks number their outputs as their trainer did. Where the two differ
every label looks wrong, although the assignment can be read off the predictions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_IMAGES_PER_CLASS = 4
CLEAR_GAIN = 0.1


@dataclass(frozen=True)
class Assignment:
    """Output index of every label, and the accuracy under it.

    Attributes:
        outputs: ``(L,)`` int64, one output per label, all different.
        accuracy: Share of images predicted as their label's output.
        solved: Whether it differs from the given order and was solved from the predictions.

    Example:
        >>> Assignment(np.array([1, 0]), accuracy=0.9, solved=True).outputs.tolist()
        [1, 0]

    References:
        Kuhn (1955), The Hungarian method for the assignment problem, Naval Research Logistics Quarterly 2, 83-97.
        Crouse (2016), On implementing 2D rectangular assignment algorithms, IEEE Transactions on Aerospace and
        Electronic Systems 52, 1679-1696, as SciPy has it.
    """

    outputs: NDArray[np.int64]
    accuracy: float
    solved: bool


def assign_classes(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], given: NDArray[np.int64], num_outputs: int
) -> Assignment:
    """Keep the given order unless another one is clearly better on images it was not solved on.

    .. math:: \\max_\\pi \\#\\{i : \\pi(\\mathrm{label}_i) = \\mathrm{predicted}_i\\}, \\quad \\pi \\text{ one-to-one}

    Solving on few images overfits: with one image a class a perfect assignment always exists. The
    assignment is therefore solved on every other image of each class and has to win by
    ``CLEAR_GAIN`` on the remaining ones.

    Args:
        labels: ``(N,)`` int64 in [0, L), at least one.
        predicted: ``(N,)`` int64 predicted outputs.
        given: ``(L,)`` output of each label as its name or position says.
        num_outputs: Number of network outputs. Where L is larger, the given order is kept.

    Raises:
        ValueError: The arrays do not fit together, or hold labels or outputs that do not exist.

    Example:
        >>> labels = np.arange(20) % 2
        >>> found = assign_classes(labels, 1 - labels, given=np.array([0, 1]), num_outputs=2)
        >>> found.outputs.tolist(), found.accuracy
        ([1, 0], 1.0)

    References:
        Kuhn (1955), The Hungarian method for the assignment problem, Naval Research Logistics Quarterly 2, 83-97.
        Crouse (2016), On implementing 2D rectangular assignment algorithms, IEEE Transactions on Aerospace and
        Electronic Systems 52, 1679-1696, as SciPy has it.
    """
    _check(labels, predicted, given, num_outputs)
    as_given = Assignment(given, float((given[labels] == predicted).mean()), False)
    counts = np.bincount(labels, minlength=len(given))
    if counts.min() < MIN_IMAGES_PER_CLASS or len(given) > num_outputs:
        return as_given
    half = _alternate(labels)
    rest_labels, rest_predicted = labels[~half], predicted[~half]
    so_far = (given[rest_labels] == rest_predicted).mean()
    # No order is right about more images than each label's most frequent prediction is: often that settles it.
    most = _confusion(rest_labels, rest_predicted, len(given), num_outputs).max(1).sum() / len(rest_labels)
    if most - so_far <= CLEAR_GAIN:
        return as_given
    trial = _solve(labels[half], predicted[half], len(given), num_outputs)
    if (trial[rest_labels] == rest_predicted).mean() - so_far <= CLEAR_GAIN:
        return as_given
    outputs = _solve(labels, predicted, len(given), num_outputs)
    return Assignment(outputs, float((outputs[labels] == predicted).mean()), True)


def _check(labels: NDArray[np.int64], predicted: NDArray[np.int64], given: NDArray[np.int64], num_outputs: int) -> None:
    if labels.ndim != 1 or labels.shape != predicted.shape or not len(labels):
        raise ValueError(f"needs one prediction for each of at least one label, got {predicted.shape}, {labels.shape}")
    if given.ndim != 1 or not len(given):
        raise ValueError(f"needs the output of each of at least one label, got shape {given.shape}")
    for name, values, bound in (
        ("labels", labels, len(given)),
        ("predicted", predicted, num_outputs),
        ("given", given, num_outputs),
    ):
        if values.min() < 0 or values.max() >= bound:
            raise ValueError(f"{name} must lie in [0, {bound}), got {values.min()} to {values.max()}")


def _alternate(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Every other image of each class, ``(N,)`` bool."""
    half = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        half[np.flatnonzero(labels == label)[::2]] = True
    return half


def _solve(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], num_labels: int, num_outputs: int
) -> NDArray[np.int64]:
    from scipy.optimize import linear_sum_assignment  # which takes longer to import than most fits to need it

    confusion = _confusion(labels, predicted, num_labels, num_outputs)
    return np.asarray(linear_sum_assignment(confusion, maximize=True)[1], np.int64)


def _confusion(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], num_labels: int, num_outputs: int
) -> NDArray[np.float64]:
    """Images of each label ``(L,)`` that are predicted as each output, ``(L, C)``."""
    confusion = np.zeros((num_labels, num_outputs))
    np.add.at(confusion, (labels, predicted), 1)
    return confusion
