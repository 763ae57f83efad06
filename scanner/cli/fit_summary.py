"""What a person wants to know when `fit` is done."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from scanner.base.text import printable
from scanner.cli.console import stderr_console
from scanner.fitting.result import FitResult
from scanner.profile.header import IsolationLayer, ProfileHeader


def fit_summary(result: FitResult) -> list[str]:
    """Lines of the summary."""
    header = result.profile.header
    reference, calibration = header.reference, header.calibration
    counts = list(reference.per_class.values())
    accuracy = "unknown (no labels)" if reference.clean_accuracy is None else f"{reference.clean_accuracy:.2%}"
    layers = f"{len(header.taps)} taps, {len(header.descriptors)} descriptors, {len(header.scores)} scores"
    if calibration.method == "cross-conformal":
        split = f"{calibration.size} images, cross-conformal in {calibration.folds} folds"
    else:
        split = f"{calibration.size} images held out of {reference.images}"
    parity = "not measured" if header.parity.relative is None else f"{header.parity.relative:.1e}"
    lines = [
        f"clean accuracy   {accuracy}",
        f"classes          {len(counts)} of {header.num_classes} with {min(counts)} to {max(counts)} images each",
        f"layers           {layers}",
        f"densities        {_densities(header)}",
        f"calibration      {split}; smallest alpha {calibration.smallest_alpha:.2g}",
        f"parity           {parity} (network, ONNX Runtime against torch or float64; {header.parity.provider})",
        *(f"{'' if index else 'self-checks':16} {check.message}" for index, check in enumerate(header.self_checks)),
    ]
    if (info := header.bayesian) is not None:
        lines.append(
            f"bayesian         {info.posterior} posterior over {info.extent} ({info.layers}), "
            f"{info.samples} draws; clean accuracy {info.clean_accuracy:.2%}, without draws {info.network_accuracy:.2%}"
        )
        lines += [
            f"                 {nodes.count} {nodes.operator} stay deterministic: {nodes.reason}"
            for nodes in info.deterministic
        ]
    lines += [f"{'' if index else 'isolation':16} {line}" for index, line in enumerate(_isolation(header.isolation))]
    lines += [f"warning: {warning}" for warning in header.warnings]
    lines.append(f"profile          {result.path} ({result.size / 1e6:.1f} MB, sha256 {result.profile.digest[:16]})")
    return lines


def _isolation(layers: Sequence[IsolationLayer]) -> list[str]:
    """What this process had given up, and each layer that was absent with the reason."""
    held = ", ".join(layer.name for layer in layers if layer.active)
    absent = [f"no {layer.name}: {layer.detail}" for layer in layers if not layer.active]
    return [*([f"{held} around this process"] if held else []), *absent]


def _densities(header: ProfileHeader) -> str:
    """Which classes have a density of their own."""
    own = header.detector.own_densities
    return f"{own} of {header.num_classes} classes have one of their own" if own else "one for all classes"


def print_fit_summary(result: FitResult) -> None:
    """Print the summary on standard error."""
    console = stderr_console()
    for line in fit_summary(result):
        console.print(escape(printable(line)))
