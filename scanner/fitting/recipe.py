"""The recipe of the detector that was asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from detectors.deep_features.density import FAMILIES
from detectors.deep_features.recipe import RECIPES, Recipe
from detectors.deep_features.scores import SCORE_KINDS, ScoreKind
from scanner.base.errors import UsageError
from scanner.fitting.options import FitOptions


def choose_recipe(options: FitOptions) -> Recipe:
    """The named recipe with the user's overrides.

    Raises:
        UsageError: If a name is unknown.
    """
    if options.recipe not in RECIPES:
        raise UsageError(f"unknown recipe {options.recipe!r}", where="--recipe", hint=f"Known: {', '.join(RECIPES)}")
    recipe = RECIPES[options.recipe]
    if options.density is not None:
        if options.density not in FAMILIES:
            raise UsageError(
                f"unknown density {options.density!r}", where="--density", hint=f"Known: {', '.join(FAMILIES)}"
            )
        recipe = replace(recipe, family=options.density)
    if options.scores is not None:
        unknown = sorted(set(options.scores) - set(SCORE_KINDS))
        if unknown or not options.scores:
            raise UsageError(f"unknown score {unknown[:1]}", where="--scores", hint=f"Known: {', '.join(SCORE_KINDS)}")
        recipe = replace(recipe, kinds=cast(tuple[ScoreKind, ...], tuple(dict.fromkeys(options.scores))))
    return recipe
