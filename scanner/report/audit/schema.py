"""The report of an audit, and its JSON Schema."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, model_validator

from detectors.probing.pairs import MOST_CLASSES
from scanner.profile.header import Count, ModelInfo, Part, Sha256, Share, Text
from scanner.profile.picture import Picture
from scanner.report.schema import (
    CheckResult,
    FlipsOfClass,
    PolicySection,
    PreprocessSection,
    RulesInfo,
    RunSection,
    Suppression,
    ToolSection,
    TriggerExample,
)
from scanner.report.schema.fields import RuleId
from scanner.report.schema.taxonomy import Taxonomy
from scanner.verdict.audit_terms import About, AuditOutcome
from scanner.verdict.terms import Decision, ExitCode, FailOn, Severity

AUDIT_VERSION: Literal["1.0.0"] = "1.0.0"
AUDIT_URN: Literal["urn:latentscan:audit:1"] = "urn:latentscan:audit:1"
MAX_PATTERNS = 13
MAX_REFINED = 20

GrayLevel = Annotated[float, Field(ge=0, le=255)]
Family = Literal["patch", "wave", "cosine", "blend", "tint", "warp"]
RefinedKind = Literal["smallest patch", "weakest offset"]


class AuditedImages(Part):
    """The clean images."""

    name: Text = Field(description="Name of the folder or file.")
    images: Count = Field(description="Images that were used.")
    unreadable: Count = Field(description="Images that were met and could not be read.")
    digest: Sha256 = Field(description="SHA-256 over the sorted digests of the images that were used.")
    accuracy: Share | None = Field(description="Accuracy of the network on them; null without labels.")


class SearchSection(Part):
    """What was tried."""

    seed: Count = Field(description="Seed of the choice of images and of the halves.")
    budget_s: Annotated[float, Field(gt=0)] | None = Field(description="Budget in seconds; null without one.")
    budget_passes: Count | None = Field(description="Budget in passes; null without one.")
    passes: Count = Field(
        description="Images that the search ran through the network. The same number as budget gives the same result."
    )
    tried: Count = Field(description="Patterns that were tried.")
    complete: bool = Field(description="Whether the search came to its end before the budget did.")
    searched_on: Count = Field(description="Images that patterns and rules were chosen on.")
    verified_on: Count = Field(description="Other images, that they were counted on.")


class PatternSection(Part):
    """The strongest pattern of one family and one kind of rule, on images that neither was chosen on."""

    family: Family = Field(description="Family of patterns.")
    about: About = Field(
        description="Whether its rule is about all classes or about one; or, 'one pair', about the pair of classes "
        "that is most unusual among clean networks."
    )
    described: Text = Field(description="The pattern in words, with all that it takes to make it again.")
    parameters: dict[Text, int | float | Text | tuple[int, ...]] | None = Field(
        default=None, max_length=8, description="What makes it again, by name; null in reports before `scan --audit`."
    )
    area: Share = Field(description="Share of the picture that it hides; 0 where it hides nothing.")
    target: Count | None = Field(description="Class that images end in; null for a shift and where none moved.")
    target_name: Text | None = Field(description="Its name.")
    source: Count | None = Field(description="The one class that they come from; null for a rule about all.")
    source_name: Text | None = Field(description="Its name.")
    shift: Count | None = Field(description="By how much class indices are raised; null for a target.")
    images: Count = Field(description="Images that it was tried on.")
    eligible: Count = Field(description="Those of them that the rule is about.")
    moved: Count = Field(description="Those of these that do what it says.")
    low: Share = Field(description="Lower end of an exact 95% interval of their share.")
    high: Share = Field(description="Its upper end.")
    flipped: Count = Field(description="Of all images, those that change their class in any way.")
    by_class: tuple[FlipsOfClass, ...] = Field(max_length=1000, description="Changes by class, the most first.")
    statistic: Share = Field(
        description="What is compared with clean networks: the share of the eligible images that move; of a rule about "
        "one class, less the share of the others that change."
    )
    usual: Share | None = Field(
        description="Its median over clean networks, of one pair that of what it is compared with; null where there "
        "are none, and for rules about one class, which networks are not compared by."
    )
    largest: Share | None = Field(description="Its largest value on one of them.")
    bound: Share | None = Field(
        description="Above which value it alone would be unusual at the level; null where no value would be."
    )
    pattern: Sha256 | None = Field(description="Key of a picture of it, on gray, in `pictures`.")
    examples: tuple[TriggerExample, ...] = Field(max_length=3, description="Clean images before and after.")


class RefinedSection(Part):
    """The smallest pattern of a kind that gradients found for one class. It enters neither p-value nor verdict."""

    kind: RefinedKind = Field(description="What is small about it: the pixels that it hides, or its amplitude.")
    target: Count = Field(description="Class that it moves images to.")
    target_name: Text = Field(description="Its name.")
    size: Count = Field(description="Pixels that it hides, or the largest change of a pixel in gray levels.")
    area: Share = Field(description="Share of the picture that it hides; 0 for an offset.")
    reached: bool = Field(
        description="Whether it moves nine in ten of the images that it was made on; where not, none was found."
    )
    eligible: Count = Field(description="Other images, of other classes, that it was counted on.")
    moved: Count = Field(description="Those of them that end in the class.")
    low: Share = Field(description="Lower end of an exact 95% interval of their share.")
    high: Share = Field(description="Its upper end.")
    pattern: Sha256 | None = Field(description="Key of a picture of it, on gray, in `pictures`.")


class PairsSection(Part):
    """What patches move of each class to each other, for comparisons of other models with this one."""

    moved: tuple[tuple[Share, ...], ...] = Field(
        max_length=MOST_CLASSES,
        description="By source and target: the share of the source's images that the pair's best patch moves, less the "
        "share of the others that change, on images that it was not chosen on; 0 where it moved few.",
    )
    looks: tuple[tuple[GrayLevel, ...], ...] = Field(
        max_length=MOST_CLASSES,
        description="The mean picture of each class in 4x4 cells, by which classes are recognised in another order.",
    )

    @model_validator(mode="after")
    def _is_square(self) -> PairsSection:
        classes = len(self.moved)
        if any(len(row) != classes for row in self.moved) or len(self.looks) != classes:
            raise ValueError("a share for each pair of classes, and the looks of each class, are needed")
        if len({len(row) for row in self.looks}) != 1:
            raise ValueError("as many cells for each class are needed")
        return self


class NetworksSection(Part):
    """The network among clean ones."""

    source: Text = Field(description="Where the clean networks are from: shipped with the program, or given.")
    described: Text = Field(description="What they are.")
    sha256: Sha256 = Field(description="SHA-256 over their statistics.")
    networks: Count = Field(description="How many there are.")
    alpha: Share = Field(description="Significance level.")
    smallest_p: Share = Field(description="The smallest p-value that so many networks allow.")
    p_value: Share = Field(description="Share of the networks, this one included, that are at least as unusual.")
    loudest_family: Family = Field(description="Family in which this one is most unusual.")
    compared_by: Literal["families", "families and pairs", "families and the strongest pair"] = Field(
        default="families",
        description="What was compared: the families of patterns, and the pairs of classes too, each with the same one "
        "or, where classes look too much alike to be recognised, the strongest with the strongest.",
    )
    loudest: Literal["families", "pairs"] = Field(
        default="families", description="Which of the two this one is most unusual by."
    )


class AuditVerdictSection(Part):
    """What follows."""

    outcome: AuditOutcome = Field(description="The outcome in one or two words.")
    severity: Severity | None = Field(description="Severity that the evidence supports; null when it cannot be used.")
    decision: Decision = Field(description="What to do with the model.")
    reasons: tuple[Text, ...] = Field(min_length=1, description="Sentences, the decisive one first.")
    rule_ids: tuple[RuleId, ...] = Field(description="The rule that applied and the checks that failed.")
    fail_on: FailOn = Field(description="The severity from which on the exit code is 1.")
    exit_code: ExitCode = Field(description="0 below `fail_on` or accepted, 1 at or above it, 3 inconclusive.")
    accepted: Suppression | None = Field(
        default=None, description="Who accepted a finding that would have failed the gate, and why; null otherwise."
    )
    rules: RulesInfo = Field(description="The rules that the verdict follows.")


class AuditReport(Part):
    """The result of one audit."""

    model_config = ConfigDict(title="latentscan audit", validate_by_name=True, serialize_by_alias=True)

    schema_uri: Literal["urn:latentscan:audit:1"] = Field(
        default=AUDIT_URN, alias="$schema", description="Name of this schema."
    )
    schema_version: Literal["1.0.0"] = Field(default=AUDIT_VERSION, description="Version of this schema.")
    tool: ToolSection = Field(description="The program that made the report.")
    run: RunSection = Field(description="All values that differ between runs over the same files.")
    model: ModelInfo = Field(description="The audited model.")
    num_classes: Count = Field(description="Its number of classes.")
    input_shape: tuple[Count, Count, Count] = Field(description="Height, width and channels of its images.")
    clean: AuditedImages = Field(description="The clean images.")
    preprocess: PreprocessSection = Field(description="How images were preprocessed.")
    search: SearchSection = Field(description="What was tried.")
    patterns: tuple[PatternSection, ...] = Field(
        max_length=MAX_PATTERNS, description="The strongest patterns, by their statistics, the largest first."
    )
    pairs: PairsSection | None = Field(
        default=None,
        description="What patches move of each class to each other; null where there are too many classes, the budget "
        "ended before, or a class has no image.",
    )
    refined: tuple[RefinedSection, ...] = Field(
        default=(),
        max_length=MAX_REFINED,
        description="What gradients made of them, where that was asked for: not compared with clean networks.",
    )
    networks: NetworksSection | None = Field(description="The network among clean ones; null where not compared.")
    checks: tuple[CheckResult, ...] = Field(description="Every check of the verdict, passed or not.")
    policy: PolicySection | None = Field(
        default=None, description="The gate's settings; null where a program called the audit without any."
    )
    verdict: AuditVerdictSection = Field(description="What follows from all of it.")
    taxonomy: Taxonomy = Field(description="Where findings of this kind belong in published catalogues.")
    pictures: dict[Sha256, Picture] = Field(
        default_factory=dict, max_length=104, description="Thumbnails, by the SHA-256 of their content."
    )
    limitations: tuple[Text, ...] = Field(description="What the audit cannot tell, whatever its verdict.")
    warnings: tuple[Text, ...] = Field(description="What a person should know before relying on this report.")
    report_digest: Sha256 = Field(
        description="SHA-256 of the report as canonical JSON without `run`, `pictures` (whose keys are digests) and "
        "`report_digest`."
    )


def audit_json_schema() -> dict[str, JsonValue]:
    """The JSON Schema of an audit's report (draft 2020-12)."""
    schema: dict[str, Any] = AuditReport.model_json_schema(mode="serialization")
    # This version of the program writes no other fields; a later one may, and readers ignore what they do not know.
    for definition in (schema, *schema["$defs"].values()):
        definition.pop("additionalProperties", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": AUDIT_URN, **schema}


def audit_schema_text() -> str:
    """The content of ``docs/audit-1.schema.json``."""
    return json.dumps(audit_json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
