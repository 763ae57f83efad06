"""Which images are compared with one another.

A batch of one class, or of one kind of picture, shares units without any trigger. So inputs are compared with clean
images of the same stratum alone: those that the network predicts as the same class, where the reference has a few of
it, and otherwise those that look alike to a late layer. A backdoor decides the prediction; it decides much less what a
picture looks like to the layers before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Strata:
    """The stratum of every image.

    Attributes:
        of_class: ``(C,)`` int64, stratum of the images predicted as a class; -1 where it has none of its own. Numbered
            after those of the centroids.
        first: The first of the columns that images are likened by.
        location: ``(D,)`` float32, mean of these columns over the clean images, on a logarithmic scale.
        scale: ``(D,)`` float32, their standard deviation; positive.
        centroids: ``(G, D)`` float32 in these units. Stratum ``g`` has the images nearest to centroid ``g``.

    Raises:
        ValueError: If the shapes do not fit together, or a scale is not positive.

    Example:
        >>> one = np.ones(1, np.float32)
        >>> strata = Strata(np.array([2, -1]), 0, 0 * one, one, np.array([[0.0], [2.0]], np.float32))
        >>> strata.of(np.array([0, 1, 1]), np.array([[9.0], [9.0], [0.1]], np.float32)).tolist()
        [2, 1, 0]

    References:
        docs/method.md, section Shared units.
    """

    of_class: NDArray[np.int64]
    first: int
    location: NDArray[np.float32]
    scale: NDArray[np.float32]
    centroids: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuse what cannot place every image."""
        width = self.location.shape
        if (
            self.of_class.ndim != 1
            or len(width) != 1
            or self.scale.shape != width
            or self.centroids.ndim != 2
            or self.centroids.shape[1:] != width
            or not len(self.centroids)
            or self.first < 0
        ):
            raise ValueError(
                "classes (C,), location and scale (D,) and centroids (G, D) are needed, got "
                f"{self.of_class.shape}, {width}, {self.scale.shape}, {self.centroids.shape} from column {self.first}"
            )
        if not (self.scale > 0).all() or self.of_class.min(initial=-1) < -1:
            raise ValueError("scales are positive, and strata are not negative, but for -1 where a class has none")

    def of(self, predicted: NDArray[np.int64], values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Strata ``(N,)`` of images.

        Args:
            predicted: ``(N,)`` predicted classes.
            values: ``(N, U)`` float32, every descriptor's channels side by side.

        Raises:
            ValueError: If lengths do not fit, or there is no such class.
        """
        last = self.first + len(self.location)
        if values.ndim != 2 or predicted.shape != values.shape[:1] or values.shape[1] < last:
            raise ValueError(
                f"predictions (N,) and {last} columns or more are needed, got {predicted.shape}, {values.shape}"
            )
        if predicted.min(initial=0) < 0 or predicted.max(initial=0) >= max(len(self.of_class), 1):
            raise ValueError(
                f"predictions are classes 0 to {len(self.of_class) - 1}, got {predicted.min()} to {predicted.max()}"
            )
        columns = (logarithmic(values[:, self.first : last]) - self.location) / self.scale
        # The nearest by scalar products: all differences at once would be as many as images, centroids and columns.
        distance = (self.centroids**2).sum(1) - 2 * columns @ self.centroids.T
        own = self.of_class[predicted]
        return np.asarray(np.where(own >= 0, own, distance.argmin(1)), np.int64)


def logarithmic(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """``sign(x) log(1 + |x|)``: activations have heavy tails, and a few large ones must not decide what is alike.

    Example:
        >>> logarithmic(np.array([-1.0, 0.0, 1.0], np.float32)).round(2).tolist()
        [-0.6899999976158142, 0.0, 0.6899999976158142]

    References:
        docs/method.md, section Shared units.
    """
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)), np.float32)
