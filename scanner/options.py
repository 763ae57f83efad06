"""What `fit` and `scan` were asked to do, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scanner.gate_policy import Policy
from scanner.verdict.terms import Confidence, FailOn

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class BayesianOptions:
    """Options of the Bayesian detector.

    Attributes:
        layers: ``last-stage``, ``all``, or a number of layers from the end.
        samples: Weight draws.
        delta: Initial posterior deviation as a fraction of a weight's magnitude; None to find out.
        prior_std: Deviation of the prior.
        epochs: Passes over the clean images; 0 leaves the posterior untrained.
        checkpoint: Folder that training saves to after every epoch and resumes from, or None.
    """

    layers: str = "last-stage"
    samples: int = 40
    delta: float | None = None
    prior_std: float | None = 1.0
    epochs: int = 5
    checkpoint: Path | None = None


@dataclass(frozen=True)
class FitOptions:
    """Options of `fit`.

    Attributes:
        model: Suspect model file.
        clean: Clean reference: folder, manifest or array file.
        output: Where the profile goes.
        architecture: Named architecture or ``file.py:callable``; None for ONNX files.
        trust: Whether a model file that is a program may be loaded, which runs it.
        trust_code: Whether ``file.py:callable`` may run.
        preprocess: Preset name or file; None to find out.
        input_size: Height and width of the network's input; None to find out.
        num_classes: Number of network outputs; None to infer.
        labels: Whether the reference's labels are used.
        layers: Tap names; None to choose by topology.
        recipe: Name of the detector recipe.
        density: Density family instead of the recipe's.
        scores: Score kinds instead of the recipe's.
        seed: Seed of every random choice.
        device: Execution provider.
        timeout: Seconds that loading the model may take.
        bayesian: The Bayesian detector as well, or None for densities alone.
        gallery: Whether the profile keeps a few clean thumbnails of each class.
    """

    model: Path
    clean: Path
    output: Path
    architecture: str | None = None
    trust: bool = False
    trust_code: bool = False
    preprocess: str | None = None
    input_size: tuple[int, int] | None = None
    num_classes: int | None = None
    labels: bool = True
    layers: tuple[str, ...] | None = None
    recipe: str = "default"
    density: str | None = None
    scores: tuple[str, ...] | None = None
    seed: int = 0
    device: Device = "auto"
    timeout: float = 600.0
    bayesian: BayesianOptions | None = None
    gallery: bool = True


@dataclass(frozen=True)
class ScanOptions:
    """Options of `scan`.

    Attributes:
        inputs: Folder, manifest, array or image file to score.
        profile: Profile written by `fit`.
        reports: Report files, format by suffix; ``-`` is standard output.
        rows: File for the complete rows, or None.
        alpha: Flagging level: the share of clean inputs that is flagged on average.
        fail_on: Severity from which the exit code is 1.
        min_confidence: Least confidence at which the absence of findings counts.
        max_unreadable: Share of unreadable inputs above which there is no verdict.
        baseline: An earlier report, or None.
        ignore: The ignore file, or None.
        gallery: Number of the most suspicious inputs that are shown as pictures.
        policy: Where the gate's settings came from; None where nothing is known about it.
        top: Number of most suspicious inputs in the report.
        model: Model file that the profile must have been made for, or None.
        device: Execution provider.
        threads: Worker threads; None for one per core.
    """

    inputs: Path
    profile: Path
    reports: tuple[str, ...] = ()
    rows: Path | None = None
    alpha: float = 0.01
    fail_on: FailOn = FailOn.HIGH
    min_confidence: Confidence = Confidence.PROVISIONAL
    max_unreadable: float = 0.1
    baseline: Path | None = None
    ignore: Path | None = None
    gallery: int = 24
    policy: Policy | None = None
    top: int = 50
    model: Path | None = None
    device: Device = "auto"
    threads: int | None = None
