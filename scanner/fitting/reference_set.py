"""The clean reference as the model sees it: features, predictions and classes, spooled to disk.

Features of a large reference do not fit in memory, and the densities need several passes over them.
One pass through the network writes them to temporary files, which the densities read in chunks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.confidence import confidence
from scanner.base.errors import InconclusiveError, ModelError, SourceError
from scanner.fitting.feature_spool import FeatureSpool, SpooledFeatures
from scanner.graph.pool import Descriptor
from scanner.graph.session import GraphSession
from scanner.inputs.items import Item, Source
from scanner.inputs.pipeline import run_pipeline
from scanner.inputs.preprocess import PreprocessSpec

MIN_IMAGES = 20
LOGITS = "logits"


@dataclass(frozen=True)
class ReferenceFeatures:
    """What one pass over the reference gave, for the ``N`` readable images.

    Attributes:
        spooled: Per descriptor key ``(N, D)`` float32, and the logits ``(N, C)``, on disk.
        predicted: ``(N,)`` int64, predicted class of each image.
        rows: ``(N,)`` int64, index of each image in the source.
        unreadable: Number of images that could not be read.
        digests: SHA-256 digest of each image's file.
        confidence: ``(N,)`` probability that the network gives to the class it predicts.
    """

    spooled: SpooledFeatures
    predicted: NDArray[np.int64]
    rows: NDArray[np.int64]
    unreadable: int
    digests: tuple[str, ...]
    confidence: NDArray[np.float64]

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted digests of the images: of the set, in whatever order it was read."""
        return hashlib.sha256("\n".join(sorted(self.digests)).encode("ascii")).hexdigest()

    @property
    def logits(self) -> NDArray[np.float32]:
        """Logits ``(N, C)``, mapped from disk."""
        return self.spooled[LOGITS]


def extract_features(
    session: GraphSession,
    source: Source,
    spec: PreprocessSpec,
    descriptors: Sequence[Descriptor],
    num_classes: int,
    folder: Path,
    batch_size: int,
    progress: Callable[[int], None],
    tail_inputs: Mapping[str, int] = MappingProxyType({}),
) -> ReferenceFeatures:
    """Run every reference image through the network once.

    Args:
        session: Session of the graph with ``pixels`` as input.
        source: The reference.
        spec: How to decode an image.
        descriptors: Descriptors that the graph gives.
        num_classes: Number of classes ``C``.
        folder: An empty folder for the temporary files.
        batch_size: Images per run.
        progress: Called with the number of images done.
        tail_inputs: Further outputs of the graph to spool, flattened, under their own names, with the
            number of values an image has in each.

    Raises:
        SourceError: If no image can be read.
        InconclusiveError: If too few images can be read.
        ModelError: If the network's logits or features are not finite on an image.
    """
    total = len(source.items)
    layers = {d.key: f"layer {d.tap.name}" for d in descriptors} | {tail_key(n): f"tensor {n}" for n in tail_inputs}
    layers[LOGITS] = "the logits"
    finite = _FiniteCheck(source, layers)
    names = [LOGITS, *(d.output for d in descriptors), *tail_inputs]
    dims = (
        {d.key: d.dim for d in descriptors} | {LOGITS: num_classes} | {tail_key(n): d for n, d in tail_inputs.items()}
    )
    rows: list[NDArray[np.int64]] = []
    predicted: list[NDArray[np.int64]] = []
    sure: list[NDArray[np.float64]] = []
    digests: list[str] = []
    example = ""
    with FeatureSpool(folder, dims) as spool:
        for batch in run_pipeline(
            source, spec, lambda pixels: session.run({"pixels": pixels}, names), batch_size=batch_size
        ):
            if len(batch.readable):
                outputs = {d.key: batch.outputs[d.output] for d in descriptors}
                outputs |= {tail_key(name): batch.outputs[name] for name in tail_inputs}
                outputs |= {LOGITS: batch.outputs[LOGITS]}
                finite.look([batch.items[i] for i in batch.readable.tolist()], outputs)
                spool.append(outputs)
                rows.append(batch.start + batch.readable)
                predicted.append(batch.outputs[LOGITS].argmax(1))
                sure.append(confidence(batch.outputs[LOGITS].astype(np.float64)))
                digests.extend(d for d in (batch.digests[i] for i in batch.readable) if d is not None)
            if batch.unreadable and not example:
                item, reason, _ = batch.unreadable[0]
                example = f", for example {item.id} ({reason})"
            progress(batch.start + len(batch.items))
        features = spool.finish()
    count = sum(map(len, rows))
    if count == 0:
        raise SourceError(f"none of the {total} images can be read{example}", where=str(source.root))
    finite.require()
    require_enough(count, source)
    return ReferenceFeatures(
        features,
        np.concatenate(predicted),
        np.concatenate(rows),
        total - count,
        tuple(digests),
        np.concatenate(sure),
    )


class _FiniteCheck:
    """Looks for values that are not finite, which no density can be fitted to and no clean input should lead to.

    Args:
        source: The reference.
        layers: What to call each output, in the order of depth, the logits last.
    """

    def __init__(self, source: Source, layers: Mapping[str, str]) -> None:
        self._source, self._layers = source, layers
        self._images, self._seen, self._example = 0, 0, ""

    def look(self, items: Sequence[Item], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Look at one run: outputs ``(n, ...)`` of ``n`` items."""
        bad = {key: ~np.isfinite(outputs[key]).reshape(len(items), -1).all(1) for key in self._layers}
        affected = np.logical_or.reduce(list(bad.values()))
        self._seen += len(items)
        self._images += int(affected.sum())
        if affected.any() and not self._example:
            row = int(affected.argmax())
            first = next(name for key, name in self._layers.items() if bad[key][row])
            self._example = f"{items[row].id}, first in {first}"

    def require(self) -> None:
        """Refuse a reference with such an image: nothing could be said of an input that is like it.

        Raises:
            ModelError: If there was one.
        """
        if self._images:
            raise ModelError(
                f"the network's values are not finite on {self._images} of {self._seen} clean images, for example "
                f"{self._example}",
                where=str(self._source.root),
                hint="Check --preprocess and these images; a network that overflows on clean images cannot be judged",
            )


def tail_key(tensor: str) -> str:
    """Name in the spool of a tensor that the Bayesian tail reads; never that of a descriptor."""
    return f"tail {tensor}"


def require_enough(count: int, source: Source) -> None:
    """Refuse a reference that no density can be fitted to.

    Raises:
        InconclusiveError: If there are fewer than :data:`MIN_IMAGES` images.
    """
    if count < MIN_IMAGES:
        raise InconclusiveError(
            f"only {count} reference images, at least {MIN_IMAGES} are needed",
            where=str(source.root),
            hint="Add clean labelled images; 100 or more give a scan at alpha = 0.01",
        )
