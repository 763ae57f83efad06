"""Open what `audit` was given: the model and its preprocessing, as a fit does, and the clean images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.class_order import assign_classes
from detectors.probing.network import Logits, predicted
from scanner.auditing.clean_images import CleanImages, read_clean_images, require_enough
from scanner.auditing.clean_networks import Accepted, read_accepted
from scanner.auditing.network import network
from scanner.auditing.options import AuditOptions
from scanner.base.errors import ModelError
from scanner.base.progress import Progress
from scanner.fitting.choose_preprocess import choose_preprocess
from scanner.fitting.open_files import open_files
from scanner.fitting.reference_summary import class_names
from scanner.fitting.session import open_session
from scanner.fitting.stages import Subject

_SMALLEST = 8


@dataclass(frozen=True)
class OpenedAudit:
    """The model, ready to be asked, and the clean images.

    Attributes:
        subject: The model with its preprocessing, and where the images are from.
        images: The images.
        logits: The network as a function of pixels.
        provider: The execution provider that runs it.
        accuracy: Its accuracy on the images; None without labels.
        names: Names of its classes.
        accepted: Audits of accepted models; None where none were given.
    """

    subject: Subject
    images: CleanImages
    logits: Logits
    provider: str
    accuracy: float | None
    names: tuple[str, ...]
    accepted: Accepted | None


def open_audit(options: AuditOptions, progress: Progress) -> OpenedAudit:
    """Load the model and read the clean images.

    Raises:
        ModelError: The model cannot be loaded, takes images that no pattern fits on, or overflows on a clean one.
        UnsafeModelError: Loading it would run code from it.
        SourceError: The clean images cannot be used.
        PreprocessError: Nothing says how to preprocess them.
        InconclusiveError: There are too few.
        UsageError: The reports of accepted models cannot be read.
    """
    accepted = read_accepted(options.null)
    subject = choose_preprocess(open_files(options.opening, progress, require_enough), options.opening, progress)
    height, width, channels = *subject.spec.size, subject.spec.channels
    if min(height, width) < _SMALLEST or channels not in (1, 3):
        raise ModelError(
            f"takes images of {height}x{width} pixels with {channels} channels, and no pattern fits on them",
            where=str(options.opening.model),
            hint="An audit needs at least 8x8 pixels, and one channel or three",
        )
    images = read_clean_images(subject, options.opening.seed)
    session = open_session(subject.model.bundle, options.opening)
    logits = network(subject, session)
    before = logits(images.pixels)
    bad = np.flatnonzero(~np.isfinite(before).all(1))
    if len(bad):
        raise ModelError(
            f"the network's logits are not finite on {len(bad)} of {len(before)} clean images, for example "
            f"{images.items[int(bad[0])].id}",
            where=str(subject.source.root),
            hint="Check --preprocess and these images; a network that overflows on clean images cannot be judged",
        )
    labels, number, outputs, accuracy = subject.labels, subject.model.num_classes, None, None
    if labels is not None:
        assignment = assign_classes(labels.of(images.items), predicted(before), labels.given, number)
        outputs, accuracy = assignment.outputs, assignment.accuracy
    names = class_names(number, None if labels is None else labels.names, outputs, subject.model.class_names)
    return OpenedAudit(subject, images, logits, session.provider, accuracy, names, accepted)
