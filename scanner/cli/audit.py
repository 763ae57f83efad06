"""``modelscan audit``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from scanner.auditing.options import ALPHA, BUDGET_S, AuditOptions
from scanner.cli import judging
from scanner.cli.auditing import audit_policy, leave_with_audit
from scanner.cli.fit import parse_device, parse_size
from scanner.cli.lock import locked_audit
from scanner.fitting.options import FitOptions
from scanner.verdict.terms import FailOn


def audit(
    model: Annotated[Path, typer.Argument(help="Suspect model: ONNX, weights, a Keras archive, or a model's folder.")],
    clean: Annotated[
        Path,
        typer.Option(help="Clean images: a folder per class, a folder, a manifest, an array, an archive or a table."),
    ],
    report: judging.Reports = None,
    budget: Annotated[
        float | None, typer.Option(min=1.0, max=1e6, help=f"Seconds of the search. [default: {BUDGET_S:g}]")
    ] = None,
    passes: Annotated[
        int | None,
        typer.Option(min=0, max=10**12, help="Images that the search may run: the same number, the same result."),
    ] = None,
    null: Annotated[
        Path | None, typer.Option(help="Folder of JSON reports of audits of accepted models, to compare with.")
    ] = None,
    refine: Annotated[
        bool, typer.Option("--refine", help="Find the smallest patch and weakest offset of each class by gradients.")
    ] = False,
    alpha: Annotated[
        float, typer.Option(min=1e-6, max=0.5, help="Share of clean networks that are called unusual.")
    ] = ALPHA,
    fail_on: judging.FailOnLevel = None,
    ignore: Annotated[
        str | None, typer.Option(help="Ignore file (.toml): entries about the model, with a reason and an end.")
    ] = None,
    config: judging.Config = None,
    arch: Annotated[
        str | None, typer.Option(help="Architecture of a state dict where the weights do not say it, as for 'fit'.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Where in a checkpoint the weights are.")] = None,
    output_name: Annotated[
        str | None, typer.Option(help="Output of an ONNX file that holds the logits, where it has several.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load a model file that is a program, as for 'fit'; see docs/security.md.")
    ] = False,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Allow --arch file.py:callable, which runs that file.")
    ] = False,
    preprocess: Annotated[str | None, typer.Option(help="Preprocessing: a preset or a JSON file.")] = None,
    input_size: Annotated[str | None, typer.Option(help="Network input, as 224 or 224x320 (height x width).")] = None,
    num_classes: Annotated[
        int | None, typer.Option(min=2, help="Network outputs, when they cannot be inferred.")
    ] = None,
    labels: Annotated[bool, typer.Option(help="Use class folders or labels of the clean images.")] = True,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the choice and the halves of images.")] = 0,
    device: judging.DeviceName = None,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds that loading the model may take.")] = 600.0,
    lockdown: Annotated[
        bool,
        typer.Option(help="Give up network, programs and all other files before anything of a stranger is read."),
    ] = True,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Follow links and manifest paths that lead out of the clean images.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Look for triggers with clean images alone, and say whether plain patterns move the model unusually.

    `fail-on`, `ignore` and `device` are taken from the flag, else LATENTSCAN_NAME in the environment, else the
    configuration file, as for 'scan'.
    """
    policy = audit_policy({"fail-on": fail_on, "ignore": ignore, "device": device}, config, clean, model)
    opening = FitOptions(
        model=model,
        clean=clean,
        output=Path(),
        architecture=arch,
        trust=trust,
        trust_code=trust_code,
        preprocess=preprocess,
        input_size=parse_size(input_size),
        num_classes=num_classes,
        labels=labels,
        seed=seed,
        device=parse_device(str(policy.values["device"])),
        timeout=timeout,
        key=key,
        output_name=output_name,
        follow_links=follow_links,
    )
    options = AuditOptions(
        opening=opening,
        reports=tuple(report or ()),
        # A number of passes is a budget by itself: a clock beside it would make the result depend on the machine.
        budget=budget if budget is not None or passes is not None else BUDGET_S,
        passes=passes,
        null=null,
        refine=refine,
        alpha=alpha,
        fail_on=FailOn(str(policy.values["fail-on"])),
        ignore=policy.path("ignore"),
        policy=policy,
    )
    # Before the libraries, which start threads when they are imported.
    with locked_audit(options, wanted=lockdown) as (starter, isolation):
        leave_with_audit(replace(options, opening=replace(opening, starter=starter, isolation=isolation)), quiet)
