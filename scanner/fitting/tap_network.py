"""Choose what detectors look at, and make it outputs of the network."""

from __future__ import annotations

from collections.abc import Sequence

from detectors.deep_features.recipe import Recipe
from scanner.base.progress import Progress
from scanner.fitting.options import BayesianOptions, FitOptions
from scanner.fitting.stages import Subject, TappedNetwork
from scanner.graph.bundle import GraphBundle
from scanner.graph.pool import add_descriptors, add_pixel_input
from scanner.graph.taps import Tap, choose_taps
from scanner.graph.weights import Tail, choose_weights, cut_tail, expose, require_finite, weight_tensors


def tap_network(subject: Subject, recipe: Recipe, options: FitOptions, progress: Progress) -> TappedNetwork:
    """Give the network ``pixels`` as its input, and its descriptors as further outputs.

    Raises:
        UsageError: If the choice of layers means nothing, or their weights are not finite.
    """
    model = subject.model
    taps = choose_taps(model.candidates, layers=options.layers)
    taps = taps[recipe.first_tap(len(taps)) :] if options.layers is None or recipe.taps == "deepest" else taps
    progress.say(f"taps: {', '.join(tap.name for tap in taps)}")
    graph, descriptors = add_descriptors(add_pixel_input(model.bundle, subject.spec), taps)
    wanted = tuple(descriptor for descriptor in descriptors if descriptor.pooling in recipe.poolings)
    tail = choose_tail(graph, model.candidates, options.bayesian, progress)
    return TappedNetwork(graph if tail is None else expose(graph, tail), wanted, tail)


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
