"""What a profile says about itself: the model, the reference, the scores and how they were made.

The header is stored as JSON inside the profile and is read from files of unknown origin, so every string and every
list has a bound, unknown fields are errors, and names that one part gives and another part uses have to agree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from scanner.base.text import portable
from scanner.graph.structure.analyse import Structure

SCHEMA_VERSION: Literal["2.5"] = "2.5"

_MAX_JSON_BYTES = 64 * 1024
_MAX_CLASSES = 100_000


def _portable(value: object) -> object:
    return portable(value) if isinstance(value, str) else value


def _bounded_json(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    # Encoding also refuses NaN, infinities and lone surrogates, which JSON readers disagree about.
    if len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode()) > _MAX_JSON_BYTES:
        raise ValueError(f"larger than {_MAX_JSON_BYTES} bytes of JSON")
    return value


# Any text, made valid Unicode first: a name on disk may hold bytes that are not UTF-8.
Text = Annotated[str, BeforeValidator(_portable)]
Name = Annotated[str, BeforeValidator(_portable), StringConstraints(min_length=1, max_length=1024)]
Sentence = Annotated[str, BeforeValidator(_portable), StringConstraints(max_length=4096)]
Key = Annotated[str, BeforeValidator(_portable), StringConstraints(min_length=1, max_length=2048)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
JsonObject = Annotated[dict[str, JsonValue], Field(max_length=1000), AfterValidator(_bounded_json)]
Share = Annotated[float, Field(ge=0, le=1)]
# Bounded, so that no arithmetic on it can overflow a float.
Count = Annotated[int, Field(ge=0, le=2**64 - 1)]


class Part(BaseModel, defer_build=True):
    """Base of all parts of headers and reports: immutable, no unknown fields, no NaN and no infinity."""

    # No validator is built before its first use: most parts are used within others alone, or not in this process.
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, json_schema_serialization_defaults_required=True
    )


class ToolInfo(Part):
    """The program that wrote a profile."""

    name: Name = Field(description="Name of the distribution.")
    version: Name = Field(description="Its version.")


class IsolationLayer(Part):
    """One layer of isolation around a process that met what a stranger made."""

    name: Name = Field(description="Name of the layer, for example 'network namespace', 'landlock' or 'seccomp'.")
    active: bool = Field(description="Whether it held.")
    detail: Sentence = Field(description="What it covered, or why it was absent.")


class StructureInfo(Part):
    """How the model's graph is built, as far as pixels reach its logits."""

    fewest: Count | None = Field(
        description="Fewest operators with weights on a path from the image to the logits; null without a path."
    )
    bypass: tuple[Sentence, ...] = Field(
        max_length=100,
        description="Nodes between the image and where such a path of less than two meets the rest of the network.",
    )
    joins: tuple[Sentence, ...] = Field(
        max_length=100, description="Nodes that join pixels which no weights have seen to what weights have."
    )
    joined: Count = Field(description="Number of all such nodes.")
    selections: tuple[Sentence, ...] = Field(
        max_length=100, description="Nodes that compare or select by values of the pixels."
    )
    selected: Count = Field(description="Number of all such nodes.")
    ambiguous: Count = Field(description="Tensors whose values the model file stores more than once.")

    def known(self) -> Structure:
        """The same as what the analysis of a graph gives."""
        return Structure(**dict(self))


class ModelInfo(Part):
    """The suspect model, as it was when the profile was fitted."""

    name: Name = Field(description="File name of the model, without its folder.")
    sha256: Sha256 = Field(
        description="SHA-256 of the model file; where others beside it hold its weights, of what sha256sum prints for "
        "it and then for them."
    )
    size: Count = Field(description="Size of the model file in bytes.")
    format: Name = Field(description="What the content of the file is, for example 'onnx' or 'state-dict'.")
    architecture: Name | None = Field(description="Architecture the weights were loaded into; null for ONNX graphs.")
    description: Sentence = Field(description="One sentence on what the file is.")
    notes: tuple[Sentence, ...] = Field(
        max_length=1000, description="What loading did to the weights, for example a prefix that was stripped."
    )
    trusted_code: bool = Field(description="Whether code from outside this tool ran to load the model.")
    trusted_file: bool = Field(
        default=False, description="Whether loading ran code from the model file itself, as --trust allows."
    )
    isolation: tuple[IsolationLayer, ...] = Field(
        default=(), max_length=20, description="The layers of isolation around loading, and those that were absent."
    )
    structure: StructureInfo | None = Field(
        default=None, description="How its graph is built; null in profiles that do not say."
    )


class PreprocessCandidate(Part):
    """One way of preprocessing that was tried on the labelled reference."""

    name: Name = Field(description="Name of the candidate.")
    accuracy: Share = Field(description="Share of the reference that the model classifies as labelled under it.")


class PreprocessInfo(Part):
    """How an image file becomes the tensor that the model expects."""

    spec: JsonObject = Field(description="The frozen specification: size, resize, crop, scale, mean, std, channels.")
    source: Name = Field(description="Where the specification came from: a flag, a sidecar file, metadata, a search.")
    candidates: tuple[PreprocessCandidate, ...] = Field(
        max_length=1000, description="The candidates of the search with their accuracies; empty where none was made."
    )


class ClassOrder(Part):
    """Which model output each reference label stands for."""

    source: Literal["given", "solved", "assumed"] = Field(
        description="'given' by the user, 'solved' from the confusion matrix, or 'assumed' to be the natural order."
    )
    assignment: tuple[Count, ...] = Field(
        max_length=_MAX_CLASSES,
        description="Element i is the model output index of the i-th reference label in natural order; "
        "empty without labels.",
    )


class TapInfo(Part):
    """One layer whose activations are looked at."""

    name: Name = Field(description="Name of the layer.")
    tensor: Name = Field(description="Name of its tensor in the ONNX graph.")
    shape: tuple[int, ...] = Field(max_length=8, description="Shape of the tensor without the batch dimension.")
    layout: Literal["NCHW", "NHWC", "NLC", "NC"] = Field(description="Order of the tensor's dimensions.")
    depth: Share = Field(description="Position in the network, from 0 (input) to 1 (output).")


class DescriptorInfo(Part):
    """One vector per input, pooled from a tap."""

    key: Key = Field(description="Identifier, '<tap>:<pooling>'.")
    tap: Name = Field(description="Name of the tap it is pooled from.")
    pooling: Name = Field(description="'mean' or 'max' over positions, 'token' or 'value'.")
    dim: int = Field(ge=1, description="Number of pooled features.")
    components: int = Field(
        ge=0,
        description="Number of principal components kept, the most of any fold; 0 where the features do not vary over "
        "the reference, so that there is no density and no score.",
    )


class ScoreInfo(Part):
    """One number per input; higher is more suspicious."""

    key: Key = Field(description="Identifier, '<tap>:<pooling>:<kind>'.")
    descriptor: Key = Field(
        description="Key of the descriptor it is computed from; 'bayesian' or 'bayesian-untrained' for weight draws."
    )
    kind: Name = Field(description="What it measures, for example 'likelihood' or 'reconstruction'.")
    combined: bool = Field(description="Whether it enters the combined score that decides.")


class DetectorInfo(Part):
    """The family of densities and its settings."""

    family: Name = Field(description="Density family.")
    parameters: JsonObject = Field(description="Settings it was fitted with.")
    own_densities: Count = Field(
        description="Classes that have a density of their own. The others share one, around the mean of all images."
    )


class GaussianWeights(Part):
    """One weight tensor with a posterior."""

    name: Name = Field(description="Name of the initialiser in the tail's graph.")
    offset: Count = Field(multiple_of=4, description="Where its means start in `bayesian_weights`, in bytes.")
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=2, max_length=5, description="Its shape; float32, little-endian, C order."
    )


class DeterministicNodes(Part):
    """Nodes with weights of their own that have no posterior."""

    operator: Name = Field(description="Their operator.")
    count: int = Field(ge=1, description="How many there are.")
    reason: Name = Field(description="Why they stay deterministic.")


class BayesianInfo(Part):
    """The posterior over weights behind the Bayesian scores."""

    posterior: Literal["fine-tuned", "untrained"] = Field(
        description="'fine-tuned' by the evidence lower bound on clean images, or as MOPED initialised it, 'untrained'."
    )
    reason: Sentence | None = Field(description="Why it is untrained; null where it is fine-tuned.")
    layers: Name = Field(description="Choice of layers: 'all', 'last-stage' or a number.")
    weights: tuple[GaussianWeights, ...] = Field(
        min_length=1, max_length=10_000, description="The weight tensors with a posterior, in the order of the graph."
    )
    deterministic: tuple[DeterministicNodes, ...] = Field(
        max_length=1000, description="What has weights and stays deterministic."
    )
    inputs: tuple[Name, ...] = Field(
        min_length=1, max_length=1000, description="Outputs of the scoring graph, or its input, that the tail reads."
    )
    samples: int = Field(ge=1, le=10_000, description="Number of weight draws, shared by all inputs.")
    seed: Count = Field(description="Seed of the draws.")
    draws_digest: Sha256 = Field(description="SHA-256 of the first draw's weights, to recognise another generator.")
    delta: float = Field(gt=0, description="Initial posterior deviation as a fraction of a weight's magnitude.")
    prior_std: Annotated[float, Field(gt=0)] | None = Field(
        description="Deviation of the prior; null where each weight's is its initial posterior's."
    )
    training: JsonObject = Field(description="Settings and outcome of the fine-tuning; empty where there was none.")
    clean_accuracy: Share = Field(
        description="Share of the calibration images that the mean over draws classifies as the network should."
    )
    network_accuracy: Share = Field(description="The same share for the network itself.")

    @property
    def descriptor(self) -> str:
        """What its scores are named after; an untrained posterior is called so in every name."""
        return "bayesian" if self.posterior == "fine-tuned" else "bayesian-untrained"

    @property
    def extent(self) -> str:
        """How many weight tensors have a posterior, in words."""
        return f"{len(self.weights)} weight tensor{'' if len(self.weights) == 1 else 's'}"


class ReferenceInfo(Part):
    """The clean images that the profile was fitted and calibrated on."""

    source: Name = Field(description="Kind of source: folder per class, folder, manifest, array, archive, table.")
    images: Count = Field(description="Number of images used.")
    unreadable: Count = Field(description="Number of images that could not be read and were left out.")
    labelled: bool = Field(
        description="Whether labels were given. Where not, the model's own predictions stood in for them."
    )
    per_class: dict[Name, Count] = Field(
        max_length=_MAX_CLASSES, description="Number of images of each class, by class name."
    )
    clean_accuracy: Share | None = Field(
        description="Share of the images that the model classifies as labelled; null without labels."
    )
    digest: Sha256 = Field(description="SHA-256 over the sorted SHA-256 digests of the images.")


class CalibrationInfo(Part):
    """Where the calibration scores came from."""

    method: Literal["cross-conformal", "split"] = Field(
        description="'cross-conformal': inputs are scored by the densities of every fold, fitted on the other folds, "
        "and compared with that fold's images alone. 'split': images that were held out of fitting."
    )
    folds: Annotated[int, Field(ge=2)] | None = Field(description="Number of folds; null for a split.")
    size: int = Field(ge=1, description="Number of calibration images.")
    smallest_alpha: float = Field(
        gt=0, le=1, description="Smallest significance level at which this many images can flag an input at all."
    )


class ParityInfo(Part):
    """How closely ONNX Runtime reproduces the original framework."""

    relative: Annotated[float, Field(ge=0)] | None = Field(
        description="Largest difference relative to the largest value, over logits and taps, on probe images; "
        "null where there was no original framework to compare with."
    )
    provider: Name = Field(description="ONNX Runtime execution provider that it was measured with.")


class SelfCheck(Part):
    """One thing that `fit` tried on the finished graph; a profile is only written where all hold."""

    name: Name = Field(description="Name of the check.")
    message: Sentence = Field(description="Its outcome in a sentence.")
    statistic: Annotated[float, Field(ge=0)] = Field(description="What was measured.")
    threshold: Annotated[float, Field(ge=0)] = Field(description="The most that is sound.")
    n: Count = Field(description="Images it was tried on.")


class ProfileHeader(Part):
    """All that a profile states in words and small numbers."""

    schema_version: Literal["2.0", "2.1", "2.2", "2.3", "2.4", "2.5"] = Field(
        default=SCHEMA_VERSION, description="Version of the profile format."
    )
    tool: ToolInfo = Field(description="The program that wrote the profile.")
    created_with: dict[Name, Name] = Field(max_length=100, description="Versions of the libraries used, by name.")
    model: ModelInfo = Field(description="The suspect model.")
    preprocess: PreprocessInfo = Field(description="How images are preprocessed.")
    class_names: tuple[Name, ...] = Field(
        max_length=_MAX_CLASSES, description="Name of each class, in the order of the model's outputs."
    )
    num_classes: int = Field(ge=1, le=_MAX_CLASSES, description="Number of the model's outputs.")
    class_order: ClassOrder = Field(description="Which model output each reference label stands for.")
    taps: tuple[TapInfo, ...] = Field(min_length=1, max_length=1000, description="The layers looked at.")
    descriptors: tuple[DescriptorInfo, ...] = Field(
        min_length=1, max_length=4000, description="The vectors pooled from the taps."
    )
    scores: tuple[ScoreInfo, ...] = Field(
        min_length=1,
        max_length=10_000,
        description="The scores, in the order of the graph's output `scores`; Bayesian ones follow.",
    )
    detector: DetectorInfo = Field(description="The densities.")
    bayesian: BayesianInfo | None = Field(
        default=None, description="The posterior behind the Bayesian scores; null without them."
    )
    reference: ReferenceInfo = Field(description="The clean reference.")
    calibration: CalibrationInfo = Field(description="The calibration.")
    parity: ParityInfo = Field(description="Agreement of ONNX Runtime with the original framework.")
    self_checks: tuple[SelfCheck, ...] = Field(
        max_length=100, description="What was tried on the finished graph with images of the reference."
    )
    seed: Count = Field(description="Seed of every random choice made while fitting.")
    isolation: tuple[IsolationLayer, ...] = Field(
        default=(), max_length=20, description="What the fitting process had given up before it read anything."
    )
    warnings: tuple[Sentence, ...] = Field(
        max_length=1000, description="What a person should know before relying on the profile."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.class_names) != self.num_classes:
            raise ValueError(f"{len(self.class_names)} class names for {self.num_classes} classes")
        assignment = self.class_order.assignment
        if len(set(assignment)) != len(assignment) or any(index >= self.num_classes for index in assignment):
            raise ValueError("class_order.assignment does not map labels one to one to model outputs")
        taps = _unique("tap", [tap.name for tap in self.taps])
        descriptors = _unique("descriptor", [descriptor.key for descriptor in self.descriptors])
        _unique("score", [score.key for score in self.scores])
        if unknown := {descriptor.tap for descriptor in self.descriptors} - taps:
            raise ValueError(f"descriptors of unknown taps: {sorted(unknown)[:3]}")
        if self.bayesian is not None:
            descriptors = descriptors | {self.bayesian.descriptor}
        if unknown := {score.descriptor for score in self.scores} - descriptors:
            raise ValueError(f"scores of unknown descriptors: {sorted(unknown)[:3]}")
        if not any(score.combined for score in self.scores):
            raise ValueError("no score enters the combined score")
        return self

    @property
    def smallest_class(self) -> int:
        """Reference images of the class that has fewest: 0 where the reference leaves a class out."""
        return min(self.reference.per_class.get(name, 0) for name in self.class_names)

    def to_json(self) -> bytes:
        """The header's one JSON text: keys sorted, no white space, ASCII only, floats in full."""
        return canonical_json(self.model_dump(mode="json"))


def canonical_json(document: JsonValue) -> bytes:
    """The one text of a JSON value: keys sorted, no white space, ASCII only, floats in full."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _unique(what: str, keys: Sequence[str]) -> set[str]:
    known = set(keys)
    if len(known) != len(keys):
        raise ValueError(f"two entries of one {what} name")
    return known
