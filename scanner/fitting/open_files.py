"""Open what `fit` was given: the suspect model, in a locked-down child, and the clean reference."""

from __future__ import annotations

from collections.abc import Callable

from scanner.base.progress import Progress
from scanner.fitting.options import FitOptions
from scanner.fitting.reference_features import require_enough
from scanner.fitting.reference_labels import reference_labels
from scanner.fitting.stages import OpenedFiles
from scanner.graph.structure.words import suspicions
from scanner.inputs.items import Source
from scanner.inputs.source import open_source, require_images
from scanner.models.identify import ModelFile, identify
from scanner.models.load import LoadedModel, LoadOptions, load_model
from scanner.models.starter import StartHere
from scanner.models.trust import absences, say_trust


def open_files(
    options: FitOptions, progress: Progress, enough: Callable[[int, Source], None] = require_enough
) -> OpenedFiles:
    """Identify and load the model, and list the reference.

    Args:
        options: Options of `fit`.
        progress: Told what happens.
        enough: Raises where a source has too few images for what comes next; for a fit by default.

    Raises:
        ModelError: The model cannot be loaded.
        UnsafeModelError: Loading it would run code from it.
        SourceError: The reference cannot be used.
        InconclusiveError: It has too few images.
    """
    file = identify(options.model)
    progress.say(f"model: {file.description}")
    source = open_source(options.clean, labels=options.labels, follow_links=options.follow_links)
    require_images(source)
    enough(len(source.items), source)
    progress.say(f"reference: {source.layout}")
    say_trust(file, options.trust, progress)
    model = load_at(file, options, options.input_size)
    for note in (*model.notes, *absences(model.isolation)):
        progress.say(note)
    for rule, sentence in suspicions(model.structure):
        progress.say(f"warning: the graph looks built to hide something ({rule}). {sentence}")
    labels = reference_labels(source, model.num_classes, model.class_names) if options.labels else None
    return OpenedFiles(model, source, labels)


def load_at(
    file: ModelFile, options: FitOptions, size: tuple[int, int] | None, architecture: str | None = None
) -> LoadedModel:
    """The model at a height and width, or at its own.

    Args:
        file: The file.
        options: Options of `fit`.
        size: Height and width, or None.
        architecture: Instead of that of the options.

    Raises:
        ModelError: It cannot be loaded, or does not run at this size.
        UnsafeModelError: Loading it would run code from it.
        UsageError: The options contradict the file.
    """
    wanted = LoadOptions(
        architecture or options.architecture,
        options.trust,
        options.trust_code,
        size,
        options.num_classes,
        options.timeout,
        options.key,
        options.output_name,
        options.starter or StartHere(),
    )
    return load_model(file, wanted)
