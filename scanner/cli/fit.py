"""``modelscan fit``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scanner.base.device import Device
from scanner.base.errors import UsageError
from scanner.cli.auditing import audit_after, leave_with_audit
from scanner.cli.lock import locked_fit
from scanner.fitting.options import DEMONSTRATION_IMAGES, BayesianOptions, FitOptions

if TYPE_CHECKING:
    from scanner.fitting.result import FitResult

DEFAULTS = BayesianOptions()
WIDEST = 10.0


def fit(
    model: Annotated[Path, typer.Argument(help="Suspect model: ONNX, weights, a Keras archive, or a model's folder.")],
    clean: Annotated[
        Path,
        typer.Option(help="Clean images: a folder per class, a folder, a manifest, an array, an archive or a table."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Profile to write.")] = Path("modelscan.h5"),
    arch: Annotated[
        str | None,
        typer.Option(
            help="Architecture of a state dict where the weights do not say it: scnn, resnet20, cifar_resnet18, a "
            "torchvision name, timm/<name>, or file.py:callable."
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Where in a checkpoint the weights are, as state_dict_ema or model.student.")
    ] = None,
    output_name: Annotated[
        str | None, typer.Option(help="Output of an ONNX file that holds the logits, where it has several.")
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Load TorchScript, .pt2 and pickled modules, which runs code from the model file, in a locked-down "
            "process; see docs/security.md.",
        ),
    ] = False,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Allow --arch file.py:callable, which runs that file.")
    ] = False,
    preprocess: Annotated[
        str | None,
        typer.Option(help="Preprocessing: a preset (imagenet, caffe, imagenet-bgr:crop, ...) or a JSON file."),
    ] = None,
    input_size: Annotated[str | None, typer.Option(help="Network input, as 224 or 224x320 (height x width).")] = None,
    num_classes: Annotated[
        int | None, typer.Option(min=2, help="Network outputs, when they cannot be inferred.")
    ] = None,
    labels: Annotated[bool, typer.Option(help="Use class folders or labels of the reference.")] = True,
    layers: Annotated[str | None, typer.Option(help="Layers to tap, comma-separated; 'inspect' lists them.")] = None,
    recipe: Annotated[str, typer.Option(help="Detector: default, or paper.")] = "default",
    density: Annotated[
        str | None, typer.Option(help="Density: tied, separate, tied-shrunk, separate-shrunk or mixture.")
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option(help="Scores, comma-separated: likelihood, max-likelihood, reconstruction, mismatch."),
    ] = None,
    bayesian: Annotated[
        bool, typer.Option("--bayesian/--no-bayesian", help="Score by weight draws (Flipout, MOPED, BALD) as well.")
    ] = False,
    bayesian_layers: Annotated[
        str, typer.Option(help="Layers with a posterior: last-stage, all, or a number from the end.")
    ] = DEFAULTS.layers,
    bayesian_samples: Annotated[
        int, typer.Option(min=2, max=10_000, help="Weight draws, shared by all inputs.")
    ] = DEFAULTS.samples,
    bayesian_epochs: Annotated[
        int, typer.Option(min=0, max=10_000, help="Fine-tuning on the clean images; 0 leaves the posterior untrained.")
    ] = DEFAULTS.epochs,
    bayesian_delta: Annotated[
        float | None,
        typer.Option(
            help="Initial posterior deviation, as a fraction of a weight's magnitude; default the widest "
            "that keeps clean accuracy."
        ),
    ] = DEFAULTS.delta,
    bayesian_prior_std: Annotated[
        float | None, typer.Option(help="Standard deviation of the prior around the model's weights.")
    ] = DEFAULTS.prior_std,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder to save the fine-tuning to after every epoch, and to resume it from.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of every random choice.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds that loading the model may take.")] = 600.0,
    audit: Annotated[
        list[str] | None,
        typer.Option(help="Audit the model as well, on the same clean images: a report of 'audit', repeatable."),
    ] = None,
    gallery: Annotated[
        bool, typer.Option(help="Keep a few clean thumbnails of each class in the profile, for the reports.")
    ] = True,
    demonstration_images: Annotated[
        int,
        typer.Option(
            min=0,
            max=DEMONSTRATION_IMAGES,
            help="Clean images that the profile keeps, at most 8 MiB of them, to try a trigger on; 0 keeps none.",
        ),
    ] = DEMONSTRATION_IMAGES,
    lockdown: Annotated[
        bool,
        typer.Option(help="Give up network, programs and all other files before anything of a stranger is read."),
    ] = True,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Follow links and manifest paths that lead out of the clean images.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Learn how the model sees clean images, and write a profile to scan with.

    With --audit, 'audit' follows, with its defaults, and its verdict decides about the exit code.
    """
    options = FitOptions(
        model=model,
        clean=clean,
        output=output,
        architecture=arch,
        trust=trust,
        trust_code=trust_code,
        preprocess=preprocess,
        input_size=parse_size(input_size),
        num_classes=num_classes,
        labels=labels,
        layers=tuple(split_names(layers)) if layers else None,
        recipe=recipe,
        density=density,
        scores=tuple(split_names(scores)) if scores else None,
        seed=seed,
        device=parse_device(device),
        timeout=timeout,
        bayesian=parse_bayesian(
            bayesian,
            BayesianOptions(
                layers=bayesian_layers,
                samples=bayesian_samples,
                epochs=bayesian_epochs,
                delta=bayesian_delta,
                prior_std=bayesian_prior_std,
                checkpoint=checkpoint,
            ),
        ),
        gallery=gallery,
        demonstration_images=demonstration_images,
        key=key,
        output_name=output_name,
        follow_links=follow_links,
    )
    also = audit_after(options, audit)
    # Before the libraries, which start threads when they are imported.
    with locked_fit(options, also, wanted=lockdown) as (starter, isolation):
        options = replace(options, starter=starter, isolation=isolation)
        result = _fit(options, quiet)
        if not quiet:
            from scanner.cli.fit_summary import print_fit_summary

            print_fit_summary(result)
        if also is not None:
            leave_with_audit(replace(also, opening=options), quiet)


def _fit(options: FitOptions, quiet: bool) -> FitResult:
    import latentscan
    from scanner.cli.console import TerminalProgress
    from scanner.cli.doctor import NAME_CLASH, name_clash

    with TerminalProgress(quiet) as progress:
        if name_clash():
            progress.say(f"warning: {NAME_CLASH}")
        return latentscan.fit(options, progress)


def parse_bayesian(wanted: bool, options: BayesianOptions) -> BayesianOptions | None:
    """The options of the Bayesian detector, or None without it.

    Raises:
        UsageError: If one is out of range, or set without ``--bayesian``.
    """
    for name, value in (("delta", options.delta), ("prior-std", options.prior_std)):
        if value is not None and not 0.0 < value <= WIDEST:
            raise UsageError(f"{value} is not between 0 and {WIDEST:g}", where=f"--bayesian-{name}")
    if not wanted and options != DEFAULTS:
        raise UsageError(
            "options of the Bayesian detector are set without it", where="--bayesian", hint="Add --bayesian"
        )
    return options if wanted else None


def parse_size(text: str | None) -> tuple[int, int] | None:
    """``"224"`` or ``"224x320"`` as height and width.

    Raises:
        UsageError: If it is neither.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and 1 <= int(part[:6]) <= 8192 for part in parts):
        raise UsageError(
            f"{text!r} is not a size", where="--input-size", hint="Write 224, or 224x320 for height x width"
        )
    return int(parts[0]), int(parts[-1])


def parse_device(text: str) -> Device:
    """The value of ``--device``.

    Raises:
        UsageError: If it is not one of auto, cpu, cuda.
    """
    devices: dict[str, Device] = {"auto": "auto", "cpu": "cpu", "cuda": "cuda"}
    if text in devices:
        return devices[text]
    raise UsageError(f"{text!r} is not a device", where="--device", hint="Use auto, cpu or cuda")


def split_names(text: str) -> list[str]:
    """Comma-separated names without blanks."""
    return [name.strip() for name in text.split(",") if name.strip()]
