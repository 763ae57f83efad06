"""While fitting: choose the clean images that the profile keeps, and store them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scanner.fitting.options import FitOptions
from scanner.fitting.session import open_session
from scanner.fitting.stages import Reference, ScoringGraph, Subject
from scanner.graph.session import GraphSession
from scanner.inputs.items import Source
from scanner.inputs.pipeline import run_pipeline
from scanner.inputs.spec import PreprocessSpec
from scanner.profile.gallery import (
    FEATURES,
    MAX_FEATURES,
    MAX_IMAGES,
    ReferenceGallery,
    ReferencePicture,
    encode_features,
)
from scanner.profile.thumbnail import picture

_WANTED: Final = 320
_MOST_PER_CLASS: Final = 16
_BATCH: Final = 8


def choose_rows(classes: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Positions of the images to keep: of each class as many, spread over the reference, that the model agrees on.

    Args:
        classes: ``(N,)`` class of every reference image.
        predicted: ``(N,)`` what the model predicts.
        num_classes: Number of classes.
    """
    per_class = max(1, min(_MOST_PER_CLASS, _WANTED // num_classes))
    kept: list[NDArray[np.int64]] = []
    for label in range(min(num_classes, MAX_IMAGES)):
        agreed = np.flatnonzero((classes == label) & (predicted == label))
        if len(agreed):
            kept.append(agreed[np.linspace(0, len(agreed) - 1, min(per_class, len(agreed))).astype(int)])
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)


def build_gallery(
    session: GraphSession,
    source: Source,
    spec: PreprocessSpec,
    label: Mapping[int, int],
    num_classes: int,
) -> ReferenceGallery:
    """Thumbnails and features of the chosen images.

    Args:
        session: Session of the finished graph.
        source: The reference.
        spec: How to decode an image.
        label: The class of each, by its position in the source.
        num_classes: Number of classes.
    """
    with_features = 2 * num_classes <= MAX_FEATURES

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
        return {**session.run({"pixels": pixels}, FEATURES), "pixels": pixels}

    images = []
    items = [source.items[row] for row in label]
    for batch in run_pipeline(source, spec, run, batch_size=_BATCH, items=items):
        for position, which in enumerate(batch.readable.tolist()):
            item, digest = batch.items[which], batch.digests[which]
            if digest is None:  # a file that can be read has one
                continue
            features = np.concatenate([batch.outputs[name][position] for name in FEATURES])
            images.append(
                ReferencePicture(
                    id=item.id[-256:],
                    sha256=digest,
                    class_index=label[item.index],
                    features=encode_features(features) if with_features else "",
                    picture=picture(batch.outputs["pixels"][position]),
                )
            )
    return ReferenceGallery(images=tuple(images))


def keep_gallery(
    subject: Subject, reference: Reference, scoring: ScoringGraph, options: FitOptions
) -> NDArray[np.uint8]:
    """A few clean thumbnails of each class, for showing beside suspicious inputs; empty where none are wanted."""
    if not options.gallery:
        return np.zeros(0, np.uint8)
    num_classes, classes, features = subject.model.num_classes, reference.classes, reference.features
    kept = choose_rows(classes, features.predicted, num_classes)
    label = dict(zip(features.rows[kept].tolist(), classes[kept].tolist(), strict=True))
    session = open_session(scoring.graph, options)
    return build_gallery(session, subject.source, subject.spec, label, num_classes).to_bytes()
