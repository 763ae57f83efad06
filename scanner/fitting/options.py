"""What `fit` was asked to do, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scanner.base.device import Device
from scanner.isolation.lockdown import Layer

if TYPE_CHECKING:
    from scanner.models.starter import ChildStarter

DEMONSTRATION_IMAGES = 300


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
        architecture: Named architecture or ``file.py:callable``; None to tell it from the weights, and for ONNX files.
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
        demonstration_images: Most clean images that the profile keeps, to try a trigger on.
        key: Where in a checkpoint the weights are, with dots between keys; None to find out.
        output_name: Which output of an ONNX graph the logits are; None to find out.
        follow_links: Whether links in the reference, and names in a manifest, may lead out of its folder.
        isolation: What the process had given up when the fit began, for the profile.
        starter: Who starts the process that loads the model; None for this process.
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
    demonstration_images: int = DEMONSTRATION_IMAGES
    key: str | None = None
    output_name: str | None = None
    follow_links: bool = False
    isolation: tuple[Layer, ...] = ()
    starter: ChildStarter | None = None
