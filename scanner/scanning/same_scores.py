"""Does a GPU give the scores that a processor gives? Tried before a scan, as nobody sees it from the verdict."""

from __future__ import annotations

from typing import Final

import numpy as np

from scanner.base.errors import DeviceError
from scanner.graph.session import CPU, GraphSession
from scanner.profile.clean_images import clean_images
from scanner.scanning.stages import OpenedProfile
from scanner.scoring.agreement import LARGEST_DIFFERENCE, difference
from scanner.scoring.scorer import Scorer

TRIED: Final = 16
"""Clean images: they cost a processor less than a second."""


def require_same_scores(read: OpenedProfile, scorer: Scorer) -> None:
    """Score a few of the clean images that the profile keeps on both, if there are any and the scorer is on a GPU.

    Of the graph's scores: weight draws are sessions of the same kind.

    Raises:
        DeviceError: If scores differ by more than what counts as the same.
    """
    if scorer.provider == CPU:
        return
    images = clean_images(read.profile.clean_images, scorer.image_shape, TRIED)
    if not len(images):
        return
    found = np.asarray(scorer.run(images)["scores"], np.float64)
    processor = GraphSession(read.profile.graph, read.profile.weights, device="cpu")
    expected = found.copy()
    of_graph = processor.run({"pixels": images}, ["scores"])["scores"]
    expected[:, :, : of_graph.shape[2]] = of_graph
    apart = difference(found, expected, read.calibration.standardiser)
    worst = int(apart.argmax())
    if apart[worst] > LARGEST_DIFFERENCE:
        raise DeviceError(
            f"its scores differ from those of the processor by up to {apart[worst]:.2g} robust standard deviations "
            f"({read.profile.header.scores[worst].key}) on {len(images)} clean images, at most {LARGEST_DIFFERENCE} is "
            "the same",
            where="the GPU",
            hint="Use --device cpu",
        )
