"""What density is fitted to a descriptor's features."""

from __future__ import annotations

from dataclasses import dataclass

from detectors.deep_features.density import FAMILIES, Family
from detectors.deep_features.projection import RETAINED_VARIANCE


@dataclass(frozen=True)
class DensitySettings:
    """What to fit.

    Attributes:
        family: Density family.
        retained_variance: Share of variance that the projection keeps.
        images_per_component: Keep at most one component for so many images; None for no such limit.
        seed: Seeds the mixture family.

    Raises:
        ValueError: If there is no such family, or a number is out of range.

    Example:
        >>> DensitySettings(images_per_component=4).most_components(160)
        40

    References:
        Ahuja, Ndiour, Kalyanpur and Tickoo (2019), Probabilistic modeling of deep features for out-of-distribution
        and adversarial detection, https://arxiv.org/abs/1909.11786.
    """

    family: Family = "tied-shrunk"
    retained_variance: float = RETAINED_VARIANCE
    images_per_component: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that no density can have."""
        if self.family not in FAMILIES:
            raise ValueError(f"a family of {', '.join(FAMILIES)} is needed, got {self.family!r}")
        if not 0.0 < self.retained_variance <= 1.0:
            raise ValueError(f"retained_variance must lie in (0, 1], got {self.retained_variance}")
        if self.images_per_component is not None and self.images_per_component < 1:
            raise ValueError(f"images_per_component must be at least 1, got {self.images_per_component}")

    def most_components(self, images: int) -> int | None:
        """The limit for a density of so many images."""
        return None if self.images_per_component is None else max(1, images // self.images_per_component)
