"""While fitting: clean images of the reference for the profile, to try a trigger on when inputs are suspicious."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scanner.fitting.options import FitOptions
from scanner.fitting.stages import Reference, Subject
from scanner.inputs.pipeline import run_pipeline
from scanner.profile.clean_images import MAX_BYTES, encode_image, join_images

_BATCH = 8


def keep_clean_images(subject: Subject, reference: Reference, options: FitOptions) -> NDArray[np.uint8]:
    """The store for the profile: at most as many images as wanted, and at most 8 MiB.

    They are taken class by class in turn, so that a rule about one class can be seen, and stored in the order of their
    digests, which has nothing to do with their classes.
    """
    rows = choose_rows(reference.classes, options.demonstration_images)
    items = [subject.source.items[row] for row in reference.features.rows[rows].tolist()]
    files: dict[str, bytes] = {}
    size = 0

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
        return {"pixels": pixels}

    for batch in run_pipeline(subject.source, subject.spec, run, batch_size=_BATCH, items=items):
        for position, which in enumerate(batch.readable.tolist()):
            digest, file = batch.digests[which], encode_image(batch.outputs["pixels"][position])
            if size + len(file) > MAX_BYTES:
                break
            if digest is not None and digest not in files:
                files[digest] = file
                size += len(file)
    return join_images([files[digest] for digest in sorted(files)])


def choose_rows(classes: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Rows of at most so many images: one of every class in turn, spread over the images of each.

    Args:
        classes: ``(N,)`` class of every image.
        most: How many.
    """
    turn = np.empty(len(classes), np.int64)
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        # In an order that takes the ends first and then what is between, the same for every class of that size.
        turn[members[_spread(len(members))]] = np.arange(len(members))
    return np.lexsort((np.arange(len(classes)), turn))[:most]


def _spread(count: int) -> NDArray[np.int64]:
    """Numbers below ``count`` so that any first few of them are spread over all: bits in reverse order."""
    bits = max(1, (count - 1).bit_length())
    numbers = np.arange(2**bits)
    reverse = np.zeros_like(numbers)
    for bit in range(bits):
        reverse |= (numbers >> bit & 1) << (bits - 1 - bit)
    return reverse[reverse < count]
