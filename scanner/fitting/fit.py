"""`fit`: from a suspect model and clean images to a profile.

model -> taps -> descriptors -> features of the reference -> densities and calibration -> one graph
-> profile
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.confidence import overconfidence
from detectors.calibration.judge import Calibration
from detectors.calibration.plan import CalibrationPlan, calibrate_by_plan, plan_calibration
from detectors.class_order import Assignment, assign_classes
from detectors.deep_features.density import FAMILIES
from detectors.deep_features.detector import DeepFeatures, fit_deep_features
from detectors.deep_features.recipe import RECIPES, Recipe
from detectors.deep_features.scores import SCORE_KINDS, ScoreKind
from scanner.base.compiler_cache import temporary_compiler_cache
from scanner.base.errors import ModelError, UsageError
from scanner.base.leftovers import scratch_folder
from scanner.base.progress import Progress
from scanner.fitting.bayesian.fit_bayesian import LOWER_BOUND, BayesianFit, fit_bayesian
from scanner.fitting.bayesian.fit_posterior import TailData
from scanner.fitting.build_profile import ReferenceSummary, build_profile, class_names
from scanner.fitting.choose_preprocess import choose_preprocess
from scanner.fitting.fit_warnings import fit_warnings
from scanner.fitting.gallery import build_gallery, choose_rows
from scanner.fitting.options import BayesianOptions, FitOptions
from scanner.fitting.reference_labels import Labels, reference_labels
from scanner.fitting.reference_set import ReferenceFeatures, extract_features, require_enough, tail_key
from scanner.fitting.self_check import Rescan, sample_rows, self_checks
from scanner.graph.bundle import GraphBundle
from scanner.graph.head import merge_head
from scanner.graph.pool import add_descriptors, add_pixel_input
from scanner.graph.session import GraphSession
from scanner.graph.taps import Tap, choose_taps
from scanner.graph.weights import Tail, choose_weights, cut_tail, expose, require_finite, weight_tensors
from scanner.inputs.decode import decode
from scanner.inputs.items import Source
from scanner.inputs.preprocess import PreprocessSpec
from scanner.inputs.source import open_source, require_images
from scanner.models.identify import ModelFile, identify
from scanner.models.load import LoadedModel, load_model
from scanner.models.trust import absences, say_trust, trust_warnings
from scanner.profile.content import Profile
from scanner.profile.writer import write_profile

SMALL_PIXELS = 64 * 64


@dataclass(frozen=True)
class FitResult:
    """A written profile, and the size of its file in bytes."""

    profile: Profile
    path: Path
    size: int


def fit(options: FitOptions, progress: Progress) -> FitResult:
    """Fit a profile and write it.

    Raises:
        LatentscanError: For everything the user can do something about.
    """
    recipe = choose_recipe(options)
    file = identify(options.model)
    progress.say(f"model: {file.description}")
    source = open_source(options.clean, labels=options.labels)
    require_images(source)
    require_enough(len(source.items), source)
    progress.say(f"reference: {source.layout}")
    say_trust(file, options.trust, progress)
    model = _load(file, options, options.input_size)
    for note in (*model.notes, *absences(model.isolation)):
        progress.say(note)
    labels = reference_labels(source, model.num_classes) if options.labels else None
    model, preprocess = choose_preprocess(
        model,
        source,
        labels,
        options,
        lambda size: _load(file, options, size),
        lambda graph: _session(graph, options),
        progress,
    )
    taps = choose_taps(model.candidates, layers=options.layers)
    taps = taps[-1:] if recipe.taps == "deepest" else taps
    progress.say(f"taps: {', '.join(tap.name for tap in taps)}")
    tapped, descriptors = add_descriptors(add_pixel_input(model.bundle, preprocess.spec), taps)
    descriptors = tuple(d for d in descriptors if d.pooling in recipe.poolings)
    tail = choose_tail(tapped, model.candidates, options.bayesian, progress)
    tapped = tapped if tail is None else expose(tapped, tail)
    with temporary_compiler_cache(), scratch_folder() as folder:
        session = _session(tapped, options)
        tail_shapes = {} if tail is None else measure_tail(session, tail, preprocess.spec)
        reference = extract_features(
            session,
            source,
            preprocess.spec,
            descriptors,
            model.num_classes,
            folder,
            batch_size(preprocess.spec),
            progress.task("reference", len(source.items)),
            {name: math.prod(shape) for name, shape in tail_shapes.items()},
        )
        provider = session.provider
        classes, assignment = _classes(source, reference, labels, model.num_classes, progress)
        plan = plan_calibration(classes, options.seed)
        step = progress.task("densities", len(descriptors))
        names = [d.key for d in descriptors]
        try:
            detector = fit_deep_features(
                reference.spooled.only(names),
                classes,
                reference.predicted,
                model.num_classes,
                recipe,
                plan,
                options.seed,
                lambda key: step(names.index(key)),
            )
        except ValueError as error:
            raise ModelError(
                f"no density can be fitted: {error}", where=str(options.model), hint="Check the model and the images"
            ) from error
        step(len(descriptors))
        calibration, bayesian = detector.calibration, None
        if tail is not None and options.bayesian is not None:
            inputs = {name: reference.spooled[tail_key(name)] for name in tail_shapes}
            data = TailData(inputs, tail_shapes, classes, _origin(tapped, preprocess.spec, reference))
            bayesian = fit_bayesian(
                tail, data, reference.predicted, plan, options.bayesian, options.seed, options.device, progress
            )
            calibration = combine_scores(detector, bayesian, plan, recipe)
        graph = merge_head(tapped, detector, descriptors, tuple(tail_shapes))
        checks = self_checks(_rescan(graph, detector, reference, source, preprocess.spec, options), detector, plan)
    gallery = _gallery(graph, source, preprocess.spec, reference, classes, model.num_classes, options)
    summary = _summary(source, reference, classes, labels, assignment, model.num_classes)
    profile = build_profile(
        model,
        options.trust_code,
        preprocess,
        descriptors,
        detector,
        recipe,
        plan,
        summary,
        graph,
        provider,
        model.parity,
        options.seed,
        [
            *trust_warnings(model),
            *preprocess.warnings,
            *fit_warnings(
                summary,
                calibration,
                model.num_classes,
                detector,
                None if bayesian is None else bayesian.info,
            ),
        ],
        checks,
        calibration,
        bayesian,
    )
    profile = replace(profile, gallery=gallery)
    write_profile(options.output, profile)
    return FitResult(profile, options.output, options.output.stat().st_size)


def choose_tail(
    graph: GraphBundle, candidates: Sequence[Tap], options: BayesianOptions | None, progress: Progress
) -> Tail | None:
    """The part of the network that gets a posterior, or None without the Bayesian detector.

    Raises:
        UsageError: If the choice of layers means nothing, or their weights are not finite.
    """
    if options is None:
        return None
    tail = cut_tail(graph, choose_weights(graph.proto, candidates, options.layers))
    require_finite(tail)
    total = len(weight_tensors(graph.proto))
    progress.say(f"bayesian: a posterior over {len(tail.weights)} of {total} weight tensors ({options.layers})")
    return tail


def measure_tail(session: GraphSession, tail: Tail, spec: PreprocessSpec) -> dict[str, tuple[int, ...]]:
    """Shapes, without the batch, of what the tail reads."""
    blank = np.zeros((2, *spec.size, spec.channels), np.uint8)
    outputs = session.run({"pixels": blank}, [item.name for item in tail.inputs])
    return {name: value.shape[1:] for name, value in outputs.items()}


def _origin(graph: GraphBundle, spec: PreprocessSpec, reference: ReferenceFeatures) -> str:
    """Digest of all that the features of the reference depend on."""
    digest = hashlib.sha256(json.dumps([asdict(spec), reference.digests], sort_keys=True).encode())
    for part in graph.serialise():
        digest.update(part)
    return digest.hexdigest()


def combine_scores(detector: DeepFeatures, bayesian: BayesianFit, plan: CalibrationPlan, recipe: Recipe) -> Calibration:
    """One calibration for the scores of densities and of weight draws."""
    return calibrate_by_plan(
        np.concatenate((detector.clean_scores, bayesian.clean_scores), axis=1),
        np.concatenate((detector.bounds, np.full(len(bayesian.scores), LOWER_BOUND))),
        plan,
        recipe.sharpness,
        np.concatenate((detector.calibration.enters, bayesian.enters)),
    )


def choose_recipe(options: FitOptions) -> Recipe:
    """The named recipe with the user's overrides.

    Raises:
        UsageError: If a name is unknown.
    """
    if options.recipe not in RECIPES:
        raise UsageError(f"unknown recipe {options.recipe!r}", where="--recipe", hint=f"Known: {', '.join(RECIPES)}")
    recipe = RECIPES[options.recipe]
    if options.density is not None:
        if options.density not in FAMILIES:
            raise UsageError(
                f"unknown density {options.density!r}", where="--density", hint=f"Known: {', '.join(FAMILIES)}"
            )
        recipe = replace(recipe, family=options.density)
    if options.scores is not None:
        unknown = sorted(set(options.scores) - set(SCORE_KINDS))
        if unknown or not options.scores:
            raise UsageError(f"unknown score {unknown[:1]}", where="--scores", hint=f"Known: {', '.join(SCORE_KINDS)}")
        recipe = replace(recipe, kinds=cast(tuple[ScoreKind, ...], tuple(dict.fromkeys(options.scores))))
    return recipe


def batch_size(spec: PreprocessSpec) -> int:
    """Images per run: enough to keep a core busy on small images, little memory on large ones."""
    return 64 if spec.size[0] * spec.size[1] <= SMALL_PIXELS else 8


def _load(file: ModelFile, options: FitOptions, size: tuple[int, int] | None) -> LoadedModel:
    return load_model(
        file,
        architecture=options.architecture,
        trust=options.trust,
        trust_code=options.trust_code,
        input_size=size,
        num_classes=options.num_classes,
        probe=None,
        timeout=options.timeout,
    )


def _session(graph: GraphBundle, options: FitOptions) -> GraphSession:
    proto, weights = graph.serialise()
    return GraphSession(proto, weights, device=options.device)


def _classes(
    source: Source,
    reference: ReferenceFeatures,
    labels: Labels | None,
    num_classes: int,
    progress: Progress,
) -> tuple[NDArray[np.int64], Assignment | None]:
    """The class each image is fitted under: its label's output, or the prediction without labels."""
    if labels is None:
        return reference.predicted, None
    index = labels.of([source.items[row] for row in reference.rows.tolist()])
    assignment = assign_classes(index, reference.predicted, labels.given, num_classes)
    if assignment.solved:
        shown = ", ".join(f"{name} = output {out}" for name, out in zip(labels.names, assignment.outputs, strict=True))
        progress.say(f"class order: solved from the predictions ({shown[:300]})")
    return assignment.outputs[index], assignment


def _rescan(
    graph: GraphBundle,
    detector: DeepFeatures,
    reference: ReferenceFeatures,
    source: Source,
    spec: PreprocessSpec,
    options: FitOptions,
) -> Rescan:
    """A sample of the reference through the finished graph, from its files on."""
    rows = sample_rows(len(reference.rows))
    session, size = _session(graph, options), batch_size(spec)
    parts = []
    for start in range(0, len(rows), size):
        items = [source.items[row] for row in reference.rows[rows[start : start + size]].tolist()]
        pixels = np.stack([decode(source.read(item), spec) for item in items])
        parts.append(session.run({"pixels": pixels}, ["scores"])["scores"])
    features = {key: reference.spooled[key][rows] for key in detector.densities}
    return Rescan(rows, np.concatenate(parts), detector.score(features, reference.predicted[rows]))


def _gallery(
    graph: GraphBundle,
    source: Source,
    spec: PreprocessSpec,
    reference: ReferenceFeatures,
    classes: NDArray[np.int64],
    num_classes: int,
    options: FitOptions,
) -> NDArray[np.uint8]:
    """A few clean thumbnails of each class, for showing beside suspicious inputs."""
    if not options.gallery:
        return np.zeros(0, np.uint8)
    kept = choose_rows(classes, reference.predicted, num_classes)
    rows = reference.rows[kept].tolist()
    return build_gallery(_session(graph, options), source, spec, rows, classes[kept].tolist(), num_classes).to_bytes()


def _summary(
    source: Source,
    reference: ReferenceFeatures,
    classes: NDArray[np.int64],
    labels: Labels | None,
    assignment: Assignment | None,
    num_classes: int,
) -> ReferenceSummary:
    names = class_names(
        num_classes,
        None if labels is None else labels.names,
        None if assignment is None else assignment.outputs,
    )
    counts = np.bincount(classes, minlength=num_classes)
    return ReferenceSummary(
        source.kind,
        len(reference.rows),
        reference.unreadable,
        reference.digest,
        {names[c]: int(counts[c]) for c in np.flatnonzero(counts)},
        None if assignment is None else assignment.accuracy,
        None if labels is None else labels.names,
        assignment,
        float(reference.confidence.mean()),
        None if labels is None else overconfidence(reference.confidence, reference.predicted == classes),
    )
