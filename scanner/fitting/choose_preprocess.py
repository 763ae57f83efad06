"""Find the preprocessing the model was trained with, or refuse to guess.

Wrong preprocessing is the main cause of false alarms: it makes every clean image look unusual. The
order of trust is flag, sidecar file, ONNX metadata, and last the candidate under which the model is
best on labelled clean images.
"""

from __future__ import annotations

from collections.abc import Sequence

from scanner.base.errors import ModelError, PreprocessError, UsageError
from scanner.base.progress import Progress
from scanner.fitting.open_files import load_at
from scanner.fitting.options import FitOptions
from scanner.fitting.rivals import announce, choose_network, rival_models
from scanner.fitting.search_preprocess import Search, TrialModel, TriedCandidate, search_preprocess
from scanner.fitting.session import open_session
from scanner.fitting.stages import ChosenPreprocess, OpenedFiles, Subject
from scanner.inputs.preprocess import NORMALISATIONS, from_onnx_metadata, from_sidecar, parse_flag
from scanner.inputs.sizes import sample_sizes
from scanner.models.identify import FileKind
from scanner.models.load import LoadedModel

SMALL_IMAGE = 160
SHOWN_RIVALS = 3
_PIXELS = "pixels"


def choose_preprocess(opened: OpenedFiles, options: FitOptions, progress: Progress) -> Subject:
    """Flag, then sidecar, then metadata, then the best candidate on labelled images.

    Args:
        opened: The model at its own input size, and the reference.
        options: Options of `fit`.
        progress: Where the choice is announced.

    Returns:
        The model at the input size that was chosen, with its preprocessing.

    Raises:
        PreprocessError: If nothing says how to preprocess and there are no labels to find out.
    """
    said = _said(opened, options, progress)
    if said is not None and opened.model.metadata.get(_PIXELS) == "uint8":
        _require_plain_pixels(said)
    if said is None:
        model, preprocess = _searched(opened, options, progress)
    else:
        model, preprocess = choose_network(opened, said, options, progress)
    return Subject(model, opened.source, opened.labels, preprocess)


def _said(opened: OpenedFiles, options: FitOptions, progress: Progress) -> ChosenPreprocess | None:
    """What a flag, a sidecar or the model's metadata say."""
    channels, height, width = opened.model.input_shape
    size = (height, width)
    if options.preprocess is not None:
        return ChosenPreprocess(parse_flag(options.preprocess, channels, size), "flag --preprocess")
    if (sidecar := from_sidecar(opened.model.file.path, channels, size)) is not None:
        progress.say(f"preprocessing: from {sidecar[1]}")
        return ChosenPreprocess(sidecar[0], f"file {sidecar[1]}")
    if (spec := from_onnx_metadata(opened.model.metadata, channels, size)) is not None:
        progress.say("preprocessing: from the model's metadata")
        return ChosenPreprocess(spec, "ONNX metadata")
    return None


def _require_plain_pixels(said: ChosenPreprocess) -> None:
    """A network that prepares pixels itself is given them as they are.

    Raises:
        PreprocessError: Something says otherwise.
    """
    spec = said.spec
    if spec.scale != 1.0 or any(spec.mean) or set(spec.std) != {1.0}:
        raise PreprocessError(
            "the model takes pixels from 0 to 255 and prepares them itself, so nothing may be done to them before",
            where=said.source,
            hint="Give --preprocess raw255",
        )


def _searched(opened: OpenedFiles, options: FitOptions, progress: Progress) -> tuple[LoadedModel, ChosenPreprocess]:
    """The candidate under which the model is best on labelled images, and the model at its input size."""
    source, labels = opened.source, opened.labels
    if labels is None:
        raise PreprocessError(
            f"nothing says how to preprocess images for {options.model.name}, and without labels of two or more "
            f"classes it cannot be found out (found: {source.layout})",
            where=str(options.clean),
            hint=f"Give --preprocess with a file or one of {', '.join(NORMALISATIONS)}; or labels: "
            "a folder for each class, CLEAN/<class>/<image>, or a manifest with file_name,label",
        )
    image_sizes = sample_sizes(source)
    fitting = [opened.model, *rival_models(opened.model, options, progress)]
    models = [size for model in fitting for size in (model, *_at_native_size(model, image_sizes, options, progress))]
    trials = [TrialModel(each, open_session(each.bundle, options)) for each in models]
    search = search_preprocess(trials, source, labels, image_sizes, options.seed)
    progress.say(f"preprocessing: {describe(search)}")
    chosen = search.best.model or opened.model
    announce(chosen, fitting, search.best.accuracy, progress)
    return chosen, ChosenPreprocess(search.best.spec, describe(search), ranking(search), search_warnings(search))


def describe(search: Search) -> str:
    """The choice and its margin over the runner-up, in one line."""
    best, other = search.best, search.runner_up
    p_value = search.p_value(other)
    said = "within noise, " if other in search.within_noise else ""
    return (
        f"{best.title}, best of {search.tried} candidates on {best.images} labelled images with {best.accuracy:.1%}; "
        f"{_margin(best, other)} {other.title} ({said}McNemar p = {p_value:.2g})"
    )


def search_warnings(search: Search) -> tuple[str, ...]:
    """What a person should know about a search that was not clear, in sentences."""
    rivals = search.within_noise
    if not rivals:
        return ()
    shown = ", ".join(f"{c.title} {c.accuracy:.1%}" for c in rivals[:SHOWN_RIVALS])
    more = f" and {len(rivals) - SHOWN_RIVALS} more" if len(rivals) > SHOWN_RIVALS else ""
    best, p_value = search.best, search.p_value(rivals[0])
    return (
        f"The preprocessing was searched for, and accuracy cannot tell {best.title} ({best.accuracy:.1%} of "
        f"{best.images} labelled images) from {shown}{more}: the margin is within noise (McNemar p = {p_value:.2g}), "
        "and the likelihood of the labels decided. Give --preprocess if it is known.",
    )


def ranking(search: Search) -> tuple[tuple[str, float], ...]:
    """Names and accuracies of all candidates: the leaders, best first, then those that were left out early."""
    leaders = tuple((c.title, c.accuracy) for c in search.leaders)
    return leaders + tuple((f"{c.title}, on {c.images} images alone", c.accuracy) for c in search.others)


def _margin(best: TriedCandidate, other: TriedCandidate) -> str:
    points = round(100.0 * (best.accuracy - other.accuracy), 1)
    return "level with" if points == 0.0 else f"{abs(points):.1f} points {'above' if points > 0.0 else 'below'}"


def _at_native_size(
    model: LoadedModel,
    image_sizes: Sequence[tuple[int, int]],
    options: FitOptions,
    progress: Progress,
) -> list[LoadedModel]:
    """The model once more at the size of the images, where they are small and all of one size.

    A network for 224x224 may have been trained anew on small images at their own size, and its
    weights do not tell.
    """
    native = image_sizes[0] if len(set(image_sizes)) == 1 else None
    if (
        native is None
        or options.input_size is not None
        or model.file.kind not in (FileKind.SAFETENSORS, FileKind.STATE_DICT)
        or max(native) > SMALL_IMAGE
        or native == model.input_shape[1:]
    ):
        return []
    try:
        return [load_at(model.file, options, native, model.architecture if model.rivals else None)]
    except (ModelError, UsageError):
        progress.say(f"input size: the network does not run at the images' {native[0]}x{native[1]}")
        return []
