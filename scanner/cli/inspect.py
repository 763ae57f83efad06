"""``modelscan inspect``: what a file is and what loading it would execute, without loading it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scanner.cli.fit import parse_size

if TYPE_CHECKING:
    from latentscan import LayerOptions
    from scanner.models.identify import ModelFile


def inspect(
    file: Annotated[Path, typer.Argument(help="Model file, a model's folder, or profile.")],
    arch: Annotated[str | None, typer.Option(help="Architecture of a state dict, to list its layers.")] = None,
    key: Annotated[str | None, typer.Option(help="Where in a checkpoint the weights are.")] = None,
    output_name: Annotated[str | None, typer.Option(help="Output of an ONNX file that holds the logits.")] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Load the model in a child process and list its layers.")
    ] = False,
    input_size: Annotated[str | None, typer.Option(help="Network input for --layers, as 224 or 224x320.")] = None,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds that loading the model may take.")] = 600.0,
) -> None:
    """Say what a file is, what loading it would execute, and which layers a model has."""
    from scanner.cli.lock import locked_inspection

    loads = timeout if layers or arch else None
    with locked_inspection(file, loads) as starter:
        found = _show_file(file, key)
        if found is not None and loads is not None:
            import latentscan

            size = parse_size(input_size)
            _show_layers(found, latentscan.LayerOptions(arch, size, timeout, key, output_name, starter))


def _show_file(file: Path, key: str | None) -> ModelFile | None:
    """Say what its bytes say, and return a model; None for a profile."""
    import latentscan
    from scanner.models.identify import FileKind

    found = latentscan.inspect(file)
    show("file", found.path.name)
    show("content", found.description)
    show("size", f"{found.size} bytes")
    show("sha256", found.sha256)
    if found.kind is FileKind.HDF5_PROFILE:
        _show_profile(file)
        return None
    if found.imports:
        show("imports", f"{len(found.imports)} names that loading would import: {', '.join(found.imports[:20])}")
    for heading, line in latentscan.details(found, key):
        show(heading, line)
    return found


def _show_layers(file: ModelFile, options: LayerOptions) -> None:
    import latentscan

    model = latentscan.layers(file, options)
    for note in model.notes:
        show("note", note)
    show("input", f"{'x'.join(map(str, model.input_shape))} (channels x height x width), {model.num_classes} classes")
    for layer in model.layers:
        mark = "*" if layer.tapped else " "
        show("layer", f"{mark} {layer.name:<32} {'x'.join(map(str, layer.shape)):<14} {layer.layout}")
    show("", "* tapped by default; --layers of 'fit' takes these names")


def _show_profile(path: Path) -> None:
    import latentscan

    profile = latentscan.read_profile(path)
    header = profile.header
    show("digest", profile.digest)
    show("model", f"{header.model.name} ({header.model.format}, sha256 {header.model.sha256})")
    show("made with", ", ".join(f"{name} {version}" for name, version in sorted(header.created_with.items())))
    show("preprocess", header.preprocess.source)
    accuracy = header.reference.clean_accuracy
    shown = "unknown accuracy" if accuracy is None else f"clean accuracy {accuracy:.2%}"
    show("reference", f"{header.reference.images} images, {len(header.reference.per_class)} classes, {shown}")
    show("calibration", f"{header.calibration.method}, {header.calibration.size} images")
    show("taps", ", ".join(tap.name for tap in header.taps))
    if (info := header.bayesian) is not None:
        show("bayesian", f"{info.posterior}, {info.samples} draws of {info.extent} ({info.layers})")
        for nodes in info.deterministic:
            show("", f"{nodes.count} {nodes.operator} stay deterministic: {nodes.reason}")
    for warning in header.warnings:
        show("warning", warning)


def show(name: str, text: str) -> None:
    """Print one line on standard output; names in files are an attacker's words."""
    from scanner.base.text import printable

    typer.echo(f"{name:<12} {printable(text)}")
