"""What is behind an alarm: whether the inputs drifted, how many pictures they are, and a trigger that was shown."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scanner.profile.header import Count, Part, Sha256, Share, Text


class ScoreShiftSection(Part):
    """The score in which inputs that are not flagged differ most from clean images."""

    name: Text = Field(description="Key of the score; 'combined' is what p-values are of.")
    distance: Share = Field(description="Largest distance of the distribution functions.")
    p_value: Share = Field(description="Of that distance (Kolmogorov and Smirnov), times the number of scores.")


class LookSection(Part):
    """What inputs that are not flagged look like, beside clean images."""

    name: Text = Field(description="What was measured, for example 'brightness'.")
    distance: Share = Field(description="Largest distance of the distribution functions.")
    p_value: Share = Field(description="Of that distance (Kolmogorov and Smirnov), times the number of measures.")
    inputs: float = Field(description="Median over the inputs.")
    reference: float = Field(description="Median over the clean images.")


class DriftSection(Part):
    """Whether inputs that are not flagged are like the reference: a trigger is in a part of a batch, drift in all."""

    outcome: Literal["alike", "drifted", "looks different", "too few"] = Field(
        description="'drifted' where the network sees a difference, 'looks different' where only an eye does."
    )
    rest: Count = Field(description="Inputs that are not flagged, each picture once.")
    looked_at: Count = Field(description="Of so many; of more than 2,000 different inputs, those of least digest.")
    score: ScoreShiftSection | None = Field(description="The score that differs most; null for too few inputs.")
    looks: tuple[LookSection, ...] = Field(max_length=100, description="What they look like, what differs most first.")
    most_affected: tuple[Text, ...] = Field(
        max_length=10, description="Inputs that lie farthest off in what differs most, where the looks differ."
    )
    allowed: Text | None = Field(description="Why such inputs were allowed; null where nobody said so.")


class CopiesSection(Part):
    """How many different pictures the inputs are: copies count once in the tests of the batch."""

    inputs: Count = Field(description="Scanned inputs whose outputs are finite.")
    repeated: Count = Field(description="Those with the content of an earlier one.")
    contents: Count = Field(description="Inputs of different content that were compared with one another.")
    pictures: Count = Field(description="How many different pictures they are.")
    flagged: Count = Field(description="Different pictures that the densities flag: what the batch's test counts.")
    every: Count = Field(
        description="The batch's test is of one in so many inputs, chosen by digest; 1 unless 20,000 are flagged."
    )


class FlipsOfClass(Part):
    """Clean images of one class, and how many of them change it."""

    class_index: Count = Field(description="Class without the pattern.")
    class_name: Text = Field(description="Its name.")
    images: Count = Field(description="How many there are.")
    flipped: Count = Field(description="How many of them change their class.")


class TriggerExample(Part):
    """One clean image before and after."""

    before: Sha256 | None = Field(description="Key of its thumbnail in `pictures`; null without one.")
    after: Sha256 | None = Field(description="That of the image with the pattern.")
    predicted_before: Text | None = Field(description="Name of the class without the pattern.")
    predicted_after: Text | None = Field(description="Name of the class with it.")


class HandedOverSection(Part):
    """A pattern that an audit of the model found, tried on clean images, and the flagged inputs that end in its class.

    The control are the same images without it. Of the patterns that do what a trigger does, if any, it is the one
    whose class flagged inputs end in most clearly.
    """

    audit_digest: Sha256 = Field(description="Digest of the audit's report (its `report_digest`).")
    patterns: Count = Field(description="Patterns of the audit that were tried.")
    pattern: Text = Field(description="The pattern in words, as the audit described it.")
    does: Text = Field(description="What it does to classes, in words.")
    target: Count | None = Field(description="Class that it leads to; null for a shift of all classes.")
    target_name: Text | None = Field(description="Its name.")
    shift: Count | None = Field(description="By how much class indices are raised, modulo their number; or null.")
    images: Count = Field(description="Clean images that it was tried on.")
    eligible: Count = Field(description="Those of them that the rule is about.")
    moved: Count = Field(description="Those of these that do what the rule says.")
    low: Share = Field(description="Lower end of an exact 95% interval of their share.")
    high: Share = Field(description="Upper end.")
    flagged: Count = Field(description="Eligible images that are flagged once they carry it.")
    flagged_before: Count = Field(description="Eligible images that are flagged without it.")
    trigger_like: bool = Field(description="Whether it does what a trigger does, by the rules of the verdict.")
    suspicious: Count = Field(description="Flagged inputs, each picture once, at most 400.")
    suspicious_in_target: Count | None = Field(description="Those that end in its class; null without one class.")
    ordinary: Count = Field(description="Inputs that are not flagged, each picture once, at most 400.")
    ordinary_in_target: Count | None = Field(description="Those that end in it; null likewise.")
    agreement_p: Share | None = Field(
        description="Exact, that flagged inputs do so no more often than others (Fisher, one-sided), times the classes "
        "that were looked at; null likewise."
    )
    inputs: tuple[Text, ...] = Field(max_length=100, description="Flagged inputs that end in its class.")
    found: bool = Field(description="Whether it is a finding: rule LS121 applied.")


class DemonstrationSection(Part):
    """What flagged inputs share, tried on clean images that had no part in choosing it, beside a control.

    The control is what as many ordinary inputs share, by the same estimator.
    """

    demonstrated: bool = Field(description="Whether it does what a trigger does, by the rules of the verdict.")
    kind: Literal["patch", "pattern", "patch and pattern", "moving patch"] = Field(description="What they share.")
    strength: float = Field(description="How many times as strong as it was estimated it was tried.")
    target: Count | None = Field(description="Class that images end in; null for a shift, or where none changes.")
    target_name: Text | None = Field(description="Its name.")
    source: Count | None = Field(description="The only class that is moved; null where all are.")
    source_name: Text | None = Field(description="Its name.")
    shift: Count | None = Field(description="By how much class indices are raised, modulo their number; or null.")
    images: Count = Field(description="Clean images that it was judged on.")
    eligible: Count = Field(description="Those of them that the rule is about.")
    moved: Count = Field(description="Those of these that do what the rule says.")
    low: Share = Field(description="Lower end of an exact 95% interval of their share.")
    high: Share = Field(description="Upper end.")
    flagged: Count = Field(description="Eligible images that are flagged once they carry it.")
    flipped: Count = Field(description="Of all images, those that change their class in any way.")
    control_moved: Count = Field(description="Eligible images that do what the rule says under the control.")
    control_flagged: Count = Field(description="Eligible images that are flagged under the control.")
    control_flipped: Count = Field(description="Of all images, those that change their class under the control.")
    p_value: Share = Field(description="Exact, that it moves no more than the control (McNemar, one-sided).")
    by_class: tuple[FlipsOfClass, ...] = Field(max_length=1000, description="Changes by class, the most first.")
    suspicious: Count = Field(description="Flagged inputs that it was estimated from, each picture once.")
    passes: Count = Field(description="Images that were run through the network for all of this.")
    area: Share = Field(description="Share of the picture that does not depend on what is beneath; 0 for a pattern.")
    pattern: Sha256 | None = Field(description="Key of a picture of it, on gray, in `pictures`.")
    mask: Sha256 | None = Field(description="Key of a picture that is white where it changes an image.")
    examples: tuple[TriggerExample, ...] = Field(max_length=3, description="Clean images before and after.")
