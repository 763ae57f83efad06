"""The clean reference as the model sees it: features, predictions and classes, spooled to disk.

Features of a large reference do not fit in memory, and the densities need several passes over them.
One pass through the network writes them to temporary files, which the densities read in chunks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.confidence import confidence, log_odds
from detectors.drift.appearance import WIDTH, appearance, shape_statistics
from detectors.rows import Rows
from scanner.base.errors import InconclusiveError, ModelError, SourceError
from scanner.fitting.feature_spool import FeatureSpool, SpooledFeatures
from scanner.graph.pool import Descriptor
from scanner.graph.session import GraphSession, images_per_run
from scanner.inputs.items import Item, Source, why_unreadable
from scanner.inputs.pipeline import Batch, run_pipeline
from scanner.inputs.preprocess import PreprocessSpec

MIN_IMAGES = 20
DIGEST_BYTES = hashlib.sha256().digest_size
LOGITS = "logits"
APPEARANCE = "appearance of the pictures"
"""Not a name of an output that a graph of ours has."""


@dataclass(frozen=True)
class ReferenceFeatures:
    """What one pass over the reference gave, for the ``N`` readable images.

    Attributes:
        spooled: Per descriptor key ``(N, D)`` float32, and the logits ``(N, C)``, on disk; what each image looks like,
            ``(N, WIDTH)``, likewise.
        predicted: ``(N,)`` int64, predicted class of each image.
        rows: ``(N,)`` int64, index of each image in the source.
        unreadable: Number of images that could not be read.
        digests: ``(N, 32)`` uint8, SHA-256 digest of each image's file.
        confidence: ``(N,)`` probability that the network gives to the class it predicts.
        log_odds: ``(N,)`` the same as log-odds, in nats.
    """

    spooled: SpooledFeatures
    predicted: NDArray[np.int64]
    rows: NDArray[np.int64]
    unreadable: int
    digests: NDArray[np.uint8]
    confidence: NDArray[np.float64]
    log_odds: NDArray[np.float64]

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted digests of the images: of the set, in whatever order it was read."""
        ordered = np.sort(self.digests.view(f"S{DIGEST_BYTES}"), axis=0)
        return hashlib.sha256(ordered.tobytes().hex("\n", DIGEST_BYTES).encode("ascii")).hexdigest()

    @property
    def appearance(self) -> Rows:
        """``(N, WIDTH)`` float32, what each image looks like."""
        return self.spooled[APPEARANCE]


@dataclass(frozen=True)
class Spooled:
    """Which outputs of the tapped graph are kept, and as what.

    Attributes:
        descriptors: Descriptors that the graph gives.
        num_classes: Number of logits ``C``.
        tail_inputs: Further outputs, flattened: their names, with the number of values an image has in each.
    """

    descriptors: Sequence[Descriptor]
    num_classes: int
    tail_inputs: Mapping[str, int] = field(default_factory=dict)

    @property
    def outputs(self) -> list[str]:
        """Names of the graph's outputs."""
        return [LOGITS, *(d.output for d in self.descriptors), *self.tail_inputs]

    @property
    def dims(self) -> dict[str, int]:
        """Number of values of an image under each name in the spool."""
        tail = {tail_key(name): dim for name, dim in self.tail_inputs.items()}
        return {d.key: d.dim for d in self.descriptors} | {LOGITS: self.num_classes, APPEARANCE: WIDTH} | tail

    @property
    def titles(self) -> dict[str, str]:
        """What to call each of them, in the order of depth, the logits last."""
        named = {d.key: f"layer {d.tap.name}" for d in self.descriptors}
        return named | {tail_key(name): f"tensor {name}" for name in self.tail_inputs} | {LOGITS: "the logits"}

    def of(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The graph's outputs by name in the spool."""
        named = {d.key: outputs[d.output] for d in self.descriptors}
        named |= {tail_key(name): outputs[name] for name in self.tail_inputs}
        return named | {name: outputs[name] for name in (LOGITS, APPEARANCE)}


def extract_features(
    session: GraphSession,
    source: Source,
    spec: PreprocessSpec,
    wanted: Spooled,
    folder: Path,
    progress: Callable[[int], None],
) -> ReferenceFeatures:
    """Run every reference image through the network once.

    Args:
        session: Session of the graph with ``pixels`` as input.
        source: The reference.
        spec: How to decode an image.
        wanted: What to keep of the graph's outputs.
        folder: An empty folder for the temporary files.
        progress: Called with the number of images done.

    Raises:
        SourceError: If no image can be read.
        InconclusiveError: If too few images can be read.
        ModelError: If the network's logits or features are not finite on an image.
    """
    finite, seen = _FiniteCheck(source, wanted.titles), _Seen()
    names, size = wanted.outputs, images_per_run(spec.size, session.provider)

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return {**session.run({"pixels": pixels}, names), APPEARANCE: appearance(pixels)}

    with FeatureSpool(folder, wanted.dims) as spool:
        for batch in run_pipeline(source, spec, run, batch_size=size):
            if len(batch.readable):
                batch.outputs[APPEARANCE][:, -2:] = shape_statistics(batch.sizes)
                outputs = wanted.of(batch.outputs)
                finite.look([batch.items[i] for i in batch.readable.tolist()], outputs)
                spool.append(outputs)
            seen.add(batch)
            progress(batch.start + len(batch.items))
        features = spool.finish()
    count = seen.count
    if count == 0:
        raise SourceError(f"none of the {len(source.items)} images can be read{seen.example}", where=str(source.root))
    finite.require()
    require_enough(count, source)
    return seen.finish(features, len(source.items))


@dataclass
class _Seen:
    """What is kept in memory of the images that were read."""

    rows: list[NDArray[np.int64]] = field(default_factory=list)
    predicted: list[NDArray[np.int64]] = field(default_factory=list)
    sure: list[NDArray[np.float64]] = field(default_factory=list)
    log_odds: list[NDArray[np.float64]] = field(default_factory=list)
    digests: bytearray = field(default_factory=bytearray)
    example: str = ""

    @property
    def count(self) -> int:
        return sum(map(len, self.rows))

    def add(self, batch: Batch) -> None:
        if len(batch.readable):
            logits = batch.outputs[LOGITS]
            self.rows.append(batch.start + batch.readable)
            self.predicted.append(logits.argmax(1))
            self.sure.append(confidence(logits.astype(np.float64)))
            self.log_odds.append(log_odds(logits.astype(np.float64)))
            for digest in (batch.digests[i] for i in batch.readable.tolist()):
                self.digests += bytes.fromhex(digest or "")  # a file that can be read has one
        if batch.unreadable and not self.example:
            self.example = f", for example {why_unreadable(*batch.unreadable[0])}"

    def finish(self, features: SpooledFeatures, total: int) -> ReferenceFeatures:
        return ReferenceFeatures(
            features,
            np.concatenate(self.predicted),
            np.concatenate(self.rows),
            total - self.count,
            np.frombuffer(self.digests, np.uint8).reshape(-1, DIGEST_BYTES),
            np.concatenate(self.sure),
            np.concatenate(self.log_odds),
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
