"""What the inputs say together."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

from pydantic import Field, model_validator

from scanner.profile.header import Count, Part, Share, Text
from scanner.report.schema.fields import Finite

MAX_LABELS_LISTED = 10


class Interval(Part):
    """A confidence interval."""

    low: float = Field(description="Lower end.")
    high: float = Field(description="Upper end.")
    level: Share = Field(description="Confidence level, for example 0.95.")


class BatchTestResult(Part):
    """One exact test of the batch.

    The p-value of LS113 is of all units together; its count is of the inputs that they are about.
    """

    id: Text = Field(description="Stable identifier.")
    name: Text = Field(description="What it counts.")
    statistic: Count = Field(description="The count, in inputs.")
    expected: float = Field(ge=0, description="Its expectation among clean inputs, in inputs.")
    n: Count = Field(description="Number of scanned inputs whose outputs are finite.")
    p_value: Share = Field(description="Probability of this count or a larger one among clean inputs.")
    null: Text = Field(description="Distribution of the count among clean inputs.")


class TriggeredShare(Part):
    """Estimated share of triggered inputs."""

    estimate: Share = Field(description="Estimated share of the inputs that is flagged beyond false alarms.")
    low: Share = Field(description="Lower end of its confidence interval.")
    high: Share = Field(description="Upper end of its confidence interval.")
    level: Share = Field(description="Confidence level of the interval.")


class ClassCount(Part):
    """Flagged inputs among those predicted as one class, where the outputs are finite."""

    class_index: Count = Field(description="Index of the model's output.")
    class_name: Text = Field(description="Name of the class.")
    n: Count = Field(description="Scanned inputs predicted as the class.")
    flagged: Count = Field(description="Flagged ones among them.")


class TargetClass(ClassCount):
    """A class that the backdoor may lead to."""

    p_adjusted: Share = Field(
        description="Exact p-value of the count, multiplied by the number of predicted classes (Bonferroni)."
    )


class UnitPlace(Part):
    """Where in the picture most of the inputs that share a unit are loudest in it."""

    row: Share = Field(description="From 0 at the top to 1 at the bottom.")
    column: Share = Field(description="From 0 at the left to 1 at the right.")
    inputs: Count = Field(description="Inputs that are loudest there.")
    looked_at: Count = Field(description="Of how many that share units.")


class SharedUnit(Part):
    """A unit, one channel of one descriptor, that speaks up in inputs and not in clean images."""

    descriptor: Text = Field(description="Descriptor: the layer, and how it is pooled over positions.")
    channel: Count = Field(description="Channel of the layer, from 0.")
    inputs: Count = Field(description="Distinct inputs that are louder in it than every clean image.")
    p_adjusted: Share = Field(description="Exact p-value of this unit, multiplied by the number of units.")
    place: UnitPlace | None = Field(
        default=None,
        description="Where it is loudest; null for a unit that is no maximum over rows and columns, and where the "
        "batch shares no units.",
    )


class SharedUnitsSection(Part):
    """Whether the inputs share units: what a batch says and a single input does not."""

    inputs: Count = Field(description="Distinct inputs that were looked at; of more than 2,000, those of least digest.")
    comparable: Count = Field(description="Those of them with a clean image in their stratum.")
    compared: Count | None = Field(
        default=None,
        description="Those of them that p_value is of: within a stratum no more of a class than it has clean images of "
        "it, and one of a class without any; null in reports older than 1.4.",
    )
    strata: Count = Field(description="Strata that the inputs are in.")
    units: Count = Field(description="Units that were looked at.")
    p_value: Share = Field(description="P-value of the test, exact if inputs are like clean images of their stratum.")
    permutation_p: Share | None = Field(
        description="Its part that exchanges inputs and clean images at random; null where the other part says more."
    )
    exact_p: Share = Field(description="Its part in closed form, Bonferroni-adjusted for the number of units.")
    p_value_any_class: Share | None = Field(
        default=None,
        description="P-value of the same test of all comparable inputs, whatever their classes: small for a batch of a "
        "class that the reference hardly has, too, so it is no evidence by itself; null in reports older than 1.4.",
    )
    sharing: Count = Field(
        description="Scanned inputs that are louder, in the units that other inputs chose, than any clean image."
    )
    counted: bool = Field(
        description="Whether an input's units count in its p-value: where p_value_any_class is at most 0.01, and "
        "p_value or the p-value of the densities' tests is, too."
    )
    loudest: tuple[SharedUnit, ...] = Field(
        max_length=100, description="Units that speak up most in the inputs, the strongest first."
    )


class LabelledGroup(Part):
    """Inputs with labels, and how many of them the network classifies as labelled."""

    inputs: Count = Field(description="Inputs whose label names a class.")
    right: Count = Field(description="Those of them that are classified as labelled.")
    accuracy: Share | None = Field(description="Share of them that is; null without any.")
    interval: Interval | None = Field(
        description="Exact interval (Clopper and Pearson) for this share; null without any."
    )


class LabelsSection(Part):
    """Accuracy among inputs that come with labels.

    Triggered inputs are classified wrongly, honest outliers mostly right. Labels change no p-value and no verdict.
    """

    flagged: LabelledGroup = Field(description="Inputs that are flagged.")
    others: LabelledGroup = Field(description="Inputs that are not.")
    no_class: Count = Field(description="Inputs whose label names no class; they are in neither group.")
    no_class_labels: tuple[Text, ...] = Field(
        max_length=MAX_LABELS_LISTED, description="The first such labels, at most 10."
    )


class BatchSection(Part):
    """What the inputs say together, those left out whose outputs are not finite."""

    flagged: Count = Field(description="Inputs with a p-value of at most alpha.")
    flag_rate: Share | None = Field(description="Share of the inputs that is flagged; null without any.")
    flag_rate_interval: Interval | None = Field(
        description="Exact interval (Clopper and Pearson) for the rate of flagged inputs; null without any."
    )
    tests: tuple[BatchTestResult, ...] = Field(description="The tests, each exact on its own.")
    p_value: Share = Field(
        description="P-value of all tests together: twice the smallest of the densities' tests, and where units were "
        "looked at twice the smaller of that and theirs; at most 1."
    )
    smallest_attainable_p: Share = Field(
        description="What p_value would be if every input were above every calibration image."
    )
    shared_units: SharedUnitsSection | None = Field(
        default=None, description="What the units say; null where they were not looked at, as for few inputs."
    )
    labels: LabelsSection | None = Field(
        default=None,
        description="Accuracy by the inputs' labels; null where they have none, and in reports older than 1.4.",
    )
    share: TriggeredShare | None = Field(description="Share of triggered inputs; null when there are none.")
    target_classes: tuple[TargetClass, ...] = Field(
        description="Predicted classes flagged more often than chance explains (p_adjusted at most 0.01), the most "
        "striking first. Read them only together with the batch's p-value."
    )
    flagged_by_class: tuple[ClassCount, ...] = Field(description="Every predicted class with flagged inputs, by index.")
    by_class: tuple[ClassCount, ...] = Field(
        default=(), max_length=1000, description="Predicted classes by index; of more than 1000, the most striking."
    )


class Distributions(Part):
    """Scores and p-values of all scanned inputs whose outputs are finite, in bins."""

    edges: tuple[float, ...] = Field(
        min_length=2, max_length=1001, description="Edges of the bins of the combined score, ascending."
    )
    calibration: tuple[Count, ...] = Field(
        max_length=1000, description="Calibration images in each bin; what lies outside is in the first or the last."
    )
    scanned: tuple[Count, ...] = Field(max_length=1000, description="Scanned inputs in each bin, likewise.")
    threshold: Finite = Field(
        description="About where flagging begins, exactly with a split: the score of the calibration image of that "
        "rank. With folds each image and input is compared within its fold, and the p-value decides. Null where alpha "
        "flags nothing."
    )
    p_values: tuple[Count, ...] = Field(
        max_length=1000,
        description="Scanned inputs by p-value, in bins of equal width from 0 to 1, upper ends included.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        bins = len(self.edges) - 1
        if (len(self.calibration), len(self.scanned)) != (bins, bins):
            raise ValueError(f"{len(self.calibration)} and {len(self.scanned)} counts for {bins} bins")
        if any(low > high for low, high in pairwise(self.edges)):
            raise ValueError("edges that do not ascend")
        return self
