"""Show the network the reference, and decide which image is fitted under which class, and which ones calibrate."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.plan import plan_calibration
from detectors.class_order import Assignment, assign_classes
from scanner.base.progress import Progress
from scanner.fitting.options import FitOptions
from scanner.fitting.reference_features import ReferenceFeatures, Spooled, extract_features
from scanner.fitting.session import open_session
from scanner.fitting.stages import Reference, Subject, TappedNetwork
from scanner.graph.session import GraphSession
from scanner.graph.weights import Tail
from scanner.inputs.preprocess import PreprocessSpec
from scanner.profile.looks import ReferenceLooks


def see_reference(
    subject: Subject, network: TappedNetwork, options: FitOptions, folder: Path, progress: Progress
) -> Reference:
    """Run the reference through the network once.

    Args:
        subject: The model and the reference.
        network: The graph to run.
        options: Options of `fit`.
        folder: An empty folder for the features, which stay there.
        progress: Told about every image.

    Raises:
        SourceError: If no image can be read.
        InconclusiveError: If too few images can be read.
        ModelError: If the network's logits or features are not finite on an image.
    """
    source, spec = subject.source, subject.spec
    session = open_session(network.graph, options)
    tail_shapes = {} if network.tail is None else measure_tail(session, network.tail, spec)
    sizes = {name: math.prod(shape) for name, shape in tail_shapes.items()}
    wanted = Spooled(network.descriptors, subject.model.num_classes, sizes)
    step = progress.task("reference", len(source.items))
    features = extract_features(session, source, spec, wanted, folder, step)
    looks = ReferenceLooks.of(features.appearance, features.digests)
    classes, assignment = _classes(subject, features, progress)
    plan = plan_calibration(classes, options.seed)
    return Reference(features, looks, classes, assignment, plan, tail_shapes, session.provider)


def measure_tail(session: GraphSession, tail: Tail, spec: PreprocessSpec) -> dict[str, tuple[int, ...]]:
    """Shapes, without the batch, of what the tail reads."""
    blank = np.zeros((2, *spec.size, spec.channels), np.uint8)
    outputs = session.run({"pixels": blank}, [item.name for item in tail.inputs])
    return {name: value.shape[1:] for name, value in outputs.items()}


def _classes(
    subject: Subject, features: ReferenceFeatures, progress: Progress
) -> tuple[NDArray[np.int64], Assignment | None]:
    """The class each image is fitted under: its label's output, or the prediction without labels."""
    labels = subject.labels
    if labels is None:
        return features.predicted, None
    index = labels.of([subject.source.items[row] for row in features.rows.tolist()])
    assignment = assign_classes(index, features.predicted, labels.given, subject.model.num_classes)
    if assignment.solved:
        shown = ", ".join(f"{name} = output {out}" for name, out in zip(labels.names, assignment.outputs, strict=True))
        progress.say(f"class order: solved from the predictions ({shown[:300]})")
    return assignment.outputs[index], assignment
