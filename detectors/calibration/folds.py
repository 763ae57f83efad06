"""How the reference is divided between fitting and calibrating."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stratified_folds(classes: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Assign every image to one of ``count`` folds, each class spread evenly.

    The folds of consecutive classes start where the last one ended, so that fold sizes differ by at
    most one even with fewer images a class than folds.

    Args:
        classes: ``(N,)`` int64.
        count: Number of folds.
        seed: Seeds the shuffle within classes.

    Returns:
        ``(N,)`` int64 fold numbers.

    Raises:
        ValueError: If there are fewer images than folds, or no fold.

    Example:
        >>> classes = np.array([0, 0, 0, 0, 1, 1])
        >>> folds = stratified_folds(classes, 2, seed=0)
        >>> np.bincount(folds[classes == 0]).tolist(), np.bincount(folds[classes == 1]).tolist()
        ([2, 2], [1, 1])

    References:
        Kohavi (1995), A study of cross-validation and bootstrap for accuracy estimation and model selection,
        International Joint Conference on Artificial Intelligence, section 2.
    """
    if classes.ndim != 1 or not 1 <= count <= len(classes):
        raise ValueError(f"{count} folds of classes of shape {classes.shape}: a fold needs an image")
    generator = np.random.default_rng(seed)
    folds = np.empty(len(classes), np.int64)
    position = 0
    for label in np.unique(classes):
        members = generator.permutation(np.flatnonzero(classes == label))
        folds[members] = (position + np.arange(len(members))) % count
        position += len(members)
    return folds
