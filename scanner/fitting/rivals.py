"""Networks that weights fit equally well: the one with the best clean accuracy is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scanner.base.errors import ModelError, UsageError
from scanner.base.progress import Progress
from scanner.fitting.open_files import load_at
from scanner.fitting.options import FitOptions
from scanner.fitting.search_preprocess import TrialModel, rank_models
from scanner.fitting.session import open_session
from scanner.fitting.stages import ChosenPreprocess, OpenedFiles
from scanner.models.load import LoadedModel


def rival_models(model: LoadedModel, options: FitOptions, progress: Progress) -> list[LoadedModel]:
    """The same weights in the other networks that they fit; those that fail are said and left out."""
    found = []
    for name in model.rivals:
        try:
            rival = load_at(model.file, options, options.input_size, name)
        except (ModelError, UsageError) as error:
            progress.say(f"architecture: {name} fits the weights too, and is left out ({error.what})")
            continue
        note = f"inferred architecture {name!r}, which the weights fit as well as {model.architecture!r}"
        found.append(replace(rival, notes=(note, *rival.notes), rivals=model.rivals))
    return found


def choose_network(
    opened: OpenedFiles, said: ChosenPreprocess, options: FitOptions, progress: Progress
) -> tuple[LoadedModel, ChosenPreprocess]:
    """Of the networks that the weights fit, the one that is best on labelled images under a known preprocessing."""
    model = opened.model
    if not model.rivals:
        return model, said
    if opened.labels is None:
        doubt = (
            f"The weights fit {model.architecture} and {', '.join(model.rivals)} equally well, and without labels the "
            "first was taken. Give --arch if another is known."
        )
        return model, replace(said, warnings=(*said.warnings, doubt))
    rivals = rival_models(model, options, progress)
    fitting = [model, *(each for each in rivals if each.input_shape == model.input_shape)]
    trials = [TrialModel(each, open_session(each.bundle, options)) for each in fitting]
    best = rank_models(trials, said.spec, opened.source, opened.labels, options.seed)[0]
    chosen = best.model or model
    announce(chosen, fitting, best.accuracy, progress)
    return chosen, said


def announce(chosen: LoadedModel, fitting: Sequence[LoadedModel], accuracy: float, progress: Progress) -> None:
    """Say which network was chosen, where there was a choice."""
    if len(fitting) > 1:
        others = ", ".join(each.architecture for each in fitting if each.architecture != chosen.architecture)
        progress.say(
            f"architecture: {chosen.architecture}, of those that the weights fit the best with {accuracy:.1%} "
            f"(also tried: {others})"
        )
