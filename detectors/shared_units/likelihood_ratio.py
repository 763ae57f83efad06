"""How strongly the loudest images of a unit are inputs rather than clean images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOOKED_AT = 2 / 3
"""Of the share of clean images that is kept of each unit, how much is looked at: the rest is for chance."""
SMALL_REFERENCE = 0.5
"""Share of the images that is looked at where all clean ones are kept."""
RARER = 0.1
"""Under the alternative, clean images are rarer among the loudest by this factor."""
GRAIN = 2.0**-32
"""Weights are multiples of this, so that sums are exact, and the same in whatever order equally loud images come."""


@dataclass(frozen=True)
class Ranking:
    """The loudest of ``M`` images in each of ``U`` units.

    Attributes:
        order: ``(m, U)`` int64, images from the loudest on.
        ends: ``(m, U)`` bool, whether the next image is quieter: images that are equally loud come all or not at all.
            False beyond what is looked at.

    References:
        docs/method.md, section Shared units.

    Example:
        >>> rank(np.array([[1.0], [3.0], [3.0], [0.0]], np.float32), 3).ends.T.tolist()
        [[False, True, True]]
    """

    order: NDArray[np.int64]
    ends: NDArray[np.bool_]


def rank(values: NDArray[np.float32], top: int) -> Ranking:
    """Rank ``M`` images in ``U`` units, down to the `top`-th and those that are as loud as it.

    Args:
        values: ``(M, U)`` float32; -inf is silence, and ranks nowhere.
        top: How many images to look at, at least 1. More are where equally loud ones go on: a trigger may drive a unit
            to where it saturates, in more inputs than that.

    Raises:
        ValueError: If there are fewer than two images or no unit, or `top` is not positive.

    Example:
        >>> rank(np.array([[1.0], [3.0], [2.0]], np.float32), 2).order.T.tolist()
        [[1, 2]]

    References:
        docs/method.md, section Shared units.
    """
    if values.ndim != 2 or len(values) < 2 or not values.shape[1] or top < 1:
        raise ValueError(
            f"values (M, U) of two images or more and a positive top are needed, got {values.shape}, {top}"
        )
    last = min(top, len(values) - 1)
    order, loudest = _loudest(values, last + 1)
    going_on = (loudest[last - 1] == loudest[last]) & (loudest[last] > -np.inf)
    if going_on.any():
        as_loud = (values[:, going_on] >= loudest[last, going_on]).sum(0)
        # Where all images are at least as loud, they say nothing.
        order, loudest = _loudest(values, 1 + max(last, int(as_loud[as_loud < len(values)].max(initial=0))))
    ends = loudest[:-1] > loudest[1:]
    ends[last:] &= loudest[last:-1] == loudest[last - 1]
    return Ranking(order[:-1].astype(np.int64), ends)


def join(rankings: Sequence[Ranking]) -> Ranking:
    """Rankings of the same images in some units and in others, as one of all units.

    Raises:
        ValueError: If there is none.

    Example:
        >>> one, other = (rank(np.array(values, np.float32)[:, None], 3) for values in ([3, 2, 1], [1, 1, 1]))
        >>> join([one, other]).ends.T.tolist()
        [[True, True], [False, False]]

    References:
        docs/method.md, section Shared units.
    """
    longest = max(len(ranking.order) for ranking in rankings)
    # Where one goes further than another, nothing of the other ends.
    parts = [
        [np.pad(part, ((0, longest - len(part)), (0, 0))) for part in (ranking.order, ranking.ends)]
        for ranking in rankings
    ]
    return Ranking(*(np.concatenate(part, axis=1) for part in zip(*parts, strict=True)))


def _loudest(values: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The `count` loudest images of each unit, and how loud they are, from the loudest on."""
    chosen = np.argpartition(-values, count - 1, axis=0)[:count]
    loudest = np.take_along_axis(values, chosen, 0)
    inner = np.argsort(-loudest, axis=0, kind="stable")
    return np.take_along_axis(chosen, inner, 0), np.take_along_axis(loudest, inner, 0)


@dataclass(frozen=True)
class Weights:
    """What an image adds to a unit's log-likelihood ratio, ``(M,)`` float64 each, multiples of :data:`GRAIN`.

    Attributes:
        as_input: If it is an input.
        as_clean: If it is a clean image.

    References:
        docs/method.md, section Shared units.

    Example:
        >>> weights(np.array([True, False]), np.zeros(2, int)).as_input
        array([0.64185389, 0.64185389])
    """

    as_input: NDArray[np.float64]
    as_clean: NDArray[np.float64]


def weights(inputs: NDArray[np.bool_], strata: NDArray[np.int64]) -> Weights:
    """Weights of ``M`` images.

    With a share :math:`\\pi` of inputs in the stratum, an image among the loudest is an input with probability
    :math:`\\pi` if inputs are like clean images, and :math:`1 - \\delta (1 - \\pi)` if clean images are rarer there by
    the factor :math:`\\delta`. A stratum of inputs alone, or of clean images alone, says nothing.

    Raises:
        ValueError: If lengths differ.

    Example:
        >>> weights(np.array([True, True]), np.zeros(2, int)).as_input.tolist()
        [0.0, 0.0]

    References:
        docs/method.md, section Shared units.
    """
    if inputs.ndim != 1 or inputs.shape != strata.shape:
        raise ValueError(f"inputs and strata (M,) are needed, got {inputs.shape} and {strata.shape}")
    _, index = np.unique(strata, return_inverse=True)
    share = (np.bincount(index, inputs) / np.bincount(index))[index]
    mixed = (share > 0) & (share < 1)
    up = np.log((1 - RARER * (1 - share)) / np.where(mixed, share, 1.0))
    grains = [np.round(np.where(mixed, weight, 0.0) / GRAIN) * GRAIN for weight in (up, np.log(RARER))]
    return Weights(*grains)


def log_likelihood_ratios(ranking: Ranking, inputs: NDArray[np.bool_], by: Weights) -> NDArray[np.float64]:
    """Largest log-likelihood ratio of each unit, ``(U,)`` float64, at least 0.

    .. math:: \\Lambda_u = \\max\\Bigl(0, \\max_k \\sum_{i \\le k} w_i\\Bigr)

    over the ``k`` loudest images, with the weights of inputs and clean images. It grows as long as the loudest are
    inputs, and does not care how many triggered ones there are.

    Args:
        ranking: Of the images.
        inputs: ``(M,)`` bool, which of them are inputs.
        by: Their weights.

    Example:
        >>> values = np.array([[4.0], [3.0], [2.0], [1.0]], np.float32)
        >>> inputs = np.array([True, True, False, False])
        >>> log_likelihood_ratios(rank(values, 3), inputs, weights(inputs, np.zeros(4, int))).round(2).tolist()
        [1.28]

    References:
        Page (1954), Continuous inspection schemes, Biometrika 41, 100-115, for the largest of cumulative sums.
    """
    each = np.where(inputs, by.as_input, by.as_clean)
    total = np.zeros(ranking.order.shape[1])
    largest = np.zeros_like(total)
    # Ten times as fast as a cumulative sum over the whole array, and permutations are made of it.
    for images, ends in zip(ranking.order, ranking.ends, strict=True):
        total += each.take(images)
        np.maximum(largest, total, out=largest, where=ends)
    return largest


def top_of(images: int, clean: int, kept: int) -> int:
    """How many of `images` to look at in each unit, so that the clean ones among them are all known.

    Args:
        images: Clean images and inputs together.
        clean: Clean images.
        kept: Values that the reference keeps of each unit.

    Example:
        >>> top_of(750, 250, 38), top_of(7000, 5000, 128)
        (76, 119)

    References:
        docs/method.md, section Shared units.
    """
    share = LOOKED_AT * kept / clean if kept < clean else SMALL_REFERENCE
    return max(1, int(share * images))
