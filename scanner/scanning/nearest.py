"""The clean image that the network finds most like an input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanner.base.errors import ProfileError
from scanner.profile.gallery import ReferencePicture, decode_features


@dataclass(frozen=True)
class Nearest:
    """The stored image that is nearest to an input, and how near."""

    image: ReferencePicture
    distance: float | None


class NearestClean:
    """Finds the clean image of a class that the network finds most like an input.

    Nearness is the root mean square difference of logits and class evidence, each in standard deviations over the
    stored images: class evidence is the distance of an input's deep features to every class, so two inputs with equal
    evidence look alike to the network.

    Raises:
        ProfileError: The stored features do not fit together.
    """

    def __init__(self, images: Sequence[ReferencePicture]) -> None:
        self._by_class: dict[int, list[int]] = {}
        for position, image in enumerate(images):
            self._by_class.setdefault(image.class_index, []).append(position)
        self._images = images
        features = [decode_features(image.features) for image in images]
        if len({len(row) for row in features}) > 1:
            raise ProfileError("the profile's gallery has features of several sizes", hint="Run 'modelscan fit' again")
        self._features = np.stack(features) if features else np.zeros((0, 0))
        scale = self._features.std(0) if len(features) else np.ones(0)
        self._scale = np.where(scale > 0, scale, 1.0)

    def find(self, class_index: int, features: NDArray[np.float64]) -> Nearest | None:
        """The nearest stored image of a class, or None where there is none of it.

        Args:
            class_index: The predicted class.
            features: The input's logits and class evidence, ``(F,)``.
        """
        positions = self._by_class.get(class_index, [])
        if not positions:
            return None
        if self._features.shape[1] != len(features) or not len(features):
            return Nearest(self._images[positions[0]], None)
        difference = (self._features[positions] - np.nan_to_num(features)) / self._scale
        distance = np.sqrt(np.square(np.clip(difference, -1e6, 1e6)).mean(1))
        best = int(distance.argmin())
        return Nearest(self._images[positions[best]], float(distance[best]))
