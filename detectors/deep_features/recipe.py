"""Named detector configurations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from detectors.calibration.combine import SHARPNESS
from detectors.deep_features.density import Family
from detectors.deep_features.projection import RETAINED_VARIANCE
from detectors.deep_features.scores import ScoreKind

LATE_SHARE: Final = 0.25
LEAST_LATE_TAPS: Final = 3

Pooling = Literal["mean", "max", "token", "value"]


@dataclass(frozen=True)
class Recipe:
    """What to compute at every tap and how to combine it.

    Attributes:
        name: Name on the command line.
        poolings: Descriptors to use at each tap that has them.
        family: Density family.
        kinds: Scores per descriptor; all of them enter the combined score.
        taps: All chosen taps, the late ones, or the deepest alone; see :meth:`first_tap`.
        retained_variance: Share of variance that the projection keeps.
        images_per_component: Images that a density needs for each component it keeps; None for no such limit.
        sharpness: Of the soft maximum that combines the standardised scores.
        given_confidence: Whether scores are compared with what they usually are at the network's confidence.

    Raises:
        ValueError: If there is no pooling or no score, or a number is out of range.

    Example:
        >>> from dataclasses import replace
        >>> replace(PAPER, family="mixture").kinds
        ('likelihood',)

    References:
        Subedar, Ahuja, Krishnan, Ndiour and Tickoo (2019), Deep probabilistic models to detect data poisoning attacks,
        https://arxiv.org/abs/1912.01206, section 2.
        Ahuja, Ndiour, Kalyanpur and Tickoo (2019), Probabilistic modeling of deep features for out-of-distribution
        and adversarial detection, https://arxiv.org/abs/1909.11786.
    """

    name: str
    poolings: tuple[Pooling, ...]
    family: Family
    kinds: tuple[ScoreKind, ...]
    taps: Literal["all", "late", "deepest"]
    retained_variance: float = RETAINED_VARIANCE
    images_per_component: int | None = None
    sharpness: float = SHARPNESS
    given_confidence: bool = False

    def __post_init__(self) -> None:
        """Refuse a recipe that scores nothing."""
        if not self.poolings or not self.kinds:
            raise ValueError(f"a pooling and a score are needed, got {self.poolings} and {self.kinds}")
        if not 0.0 < self.retained_variance <= 1.0 or not 0.0 < self.sharpness < math.inf:
            raise ValueError(
                "a retained variance in (0, 1] and a positive finite sharpness are needed, "
                f"got {self.retained_variance} and {self.sharpness}"
            )
        if self.images_per_component is not None and self.images_per_component < 1:
            raise ValueError(f"images_per_component must be at least 1, got {self.images_per_component}")

    def first_tap(self, count: int) -> int:
        """Number of the first of ``count`` taps, in order of depth, that the recipe looks at; all after it follow.

        The late ones are the last quarter, and three at least. An attack changes what the network decides, so that
        its last layers tell of it; earlier ones answer to anything that is unusual in a picture.

        Raises:
            ValueError: If there is no tap.
        """
        if count < 1:
            raise ValueError(f"at least one tap is needed, got {count}")
        late = max(0, count - max(LEAST_LATE_TAPS, math.floor(LATE_SHARE * count + 1e-9)))
        return {"all": 0, "late": late, "deepest": count - 1}[self.taps]


DEFAULT = Recipe(
    name="default",
    poolings=("mean", "max", "token", "value"),
    family="tied-shrunk",
    kinds=("likelihood", "reconstruction", "mismatch"),
    taps="late",
    images_per_component=4,
    given_confidence=True,
)

# Subedar et al. with Ahuja et al. 2019 for the details: average pooling, 0.995 of the variance,
# Gaussians with separate covariances, log-likelihood. Neither says which layer: the deepest hidden
# one is the best single layer on the models this project trains.
PAPER = Recipe(
    name="paper",
    poolings=("mean", "value"),
    family="separate",
    kinds=("likelihood",),
    taps="deepest",
)

RECIPES = {recipe.name: recipe for recipe in (DEFAULT, PAPER)}
