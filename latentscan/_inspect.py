"""What a file is and what loading it would execute; and, by loading it apart, which layers a model has.

Two functions and not one with a switch, because they differ in what they risk: `inspect` and `details` read bytes,
`layers` loads the model, although in a locked-down process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from latentscan._checks import checked_size, checked_timeout
from scanner.base.errors import ModelError
from scanner.base.text import printable
from scanner.models.identify import ModelFile

if TYPE_CHECKING:
    from scanner.models.starter import ChildStarter


@dataclass(frozen=True)
class LayerOptions:
    """Options of `layers`.

    Attributes:
        architecture: Named architecture of a file of weights; None to tell it from them, and for ONNX files.
        input_size: Height and width of the network's input; None to find out.
        timeout: Seconds that loading the model may take.
        key: Where in a checkpoint the weights are; None to find out.
        output_name: Which output of an ONNX graph the logits are; None to find out.
        starter: Who starts the process that loads the model; None for this process.
    """

    architecture: str | None = None
    input_size: tuple[int, int] | None = None
    timeout: float = 600.0
    key: str | None = None
    output_name: str | None = None
    starter: ChildStarter | None = None


@dataclass(frozen=True)
class Layer:
    """A layer that can be tapped.

    Attributes:
        name: The name that ``FitOptions.layers`` takes.
        shape: Shape of its output, without the batch.
        layout: Meaning of the axes, batch included.
        tapped: Whether `fit` taps it where it is not told which.
    """

    name: str
    shape: tuple[int, ...]
    layout: str
    tapped: bool


@dataclass(frozen=True)
class Layers:
    """A loaded model's shape, and its layers in order of depth.

    Attributes:
        notes: What was done to the file's content, and which layers of isolation were absent.
        input_shape: Channels, height and width of the input.
        num_classes: Number of outputs.
        layers: The layers.
    """

    notes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    num_classes: int
    layers: tuple[Layer, ...]


def inspect(path: str | os.PathLike[str]) -> ModelFile:
    """Say what a model file or profile is, and what loading it would execute. It is told from the bytes alone.

    Args:
        path: The file.

    Raises:
        ModelError: It is missing, no regular file, empty, unreadable, or larger than 16 GiB.

    Example:
        >>> file = latentscan.inspect("suspect.onnx")
        >>> file.description, file.imports
        ('an ONNX model', ())
    """
    from scanner.models.identify import identify

    return identify(Path(path))


def details(file: ModelFile, key: str | None = None) -> tuple[tuple[str, str], ...]:
    """Take a closer look at a file, still without loading it: the network and its tensors, operators, other files.

    Of an ONNX file, this includes what its graph says about a backdoor; see ``modelscan explain LS501``.

    Args:
        file: What `inspect` returned.
        key: Where in a checkpoint the weights are; None to find out.

    Returns:
        Pairs of a heading and a printable line.

    Raises:
        ModelError: It cannot be read.
        UsageError: There is nothing at `key`.

    Example:
        >>> dict(latentscan.details(latentscan.inspect("suspect.onnx")))["structure"]
        'no graphs within graphs, 0 functions'
    """
    from scanner.models.look import look_closer
    from scanner.models.structure import structure_of
    from scanner.verdict.structure import graph_findings

    lines = tuple(look_closer(file, key))
    try:
        structure = structure_of(file)
    except ModelError as error:  # such as functions that call themselves: a look has to tell what it can
        return (*lines, ("refused", printable(error.what, 1000)))
    return lines if structure is None else (*lines, *graph_findings(structure))


def layers(file: ModelFile, options: LayerOptions = LayerOptions()) -> Layers:
    """Load a model in a locked-down process and list its layers. A file that is a program is refused.

    Args:
        file: What `inspect` returned.
        options: How to load it.

    Raises:
        ModelError: It cannot be loaded.
        UnsafeModelError: Loading it would run code from it.
        UsageError: The options do not fit the file.

    Example:
        >>> found = latentscan.layers(latentscan.inspect("suspect.onnx"))
        >>> found.input_shape, found.num_classes
        ((3, 8, 8), 6)
        >>> [layer.name for layer in found.layers if layer.tapped]
        ['parts']
    """
    options = replace(
        options,
        input_size=checked_size(options.input_size, "LayerOptions.input_size"),
        timeout=checked_timeout(options.timeout, "LayerOptions.timeout"),
    )
    from scanner.graph.taps import choose_taps
    from scanner.models.load import LoadOptions, load_model
    from scanner.models.starter import StartHere
    from scanner.models.trust import absences

    model = load_model(
        file,
        LoadOptions(
            architecture=options.architecture,
            input_size=options.input_size,
            timeout=options.timeout,
            key=options.key,
            output=options.output_name,
            starter=options.starter or StartHere(),
        ),
    )
    tapped = {tap.name for tap in choose_taps(model.candidates)}
    found = tuple(Layer(tap.name, tap.shape, tap.layout, tap.name in tapped) for tap in model.candidates)
    return Layers((*model.notes, *absences(model.isolation)), model.input_shape, model.num_classes, found)
