"""Patterns as plain values: what is written makes the same pattern again, and what makes none is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from detectors.probing.catalogue import library
from detectors.probing.parameters import parameters_of, probe_of
from detectors.probing.probe import FAMILIES, Family, Shape

SHAPES = (Shape(28, 28, 1), Shape(32, 48, 3), Shape(8, 9, 3))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_pattern_and_its_neighbours_come_back(shape: Shape) -> None:
    seen = set()
    for probe in library(shape)[:200]:
        for one in (probe, *probe.neighbours(shape)[:3]):
            stored = json.loads(json.dumps(parameters_of(one)))
            values = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
            assert probe_of(one.family, values, shape) == one
            seen.add(one.family)
    assert seen == set(FAMILIES)


PATCH: Mapping[str, Any] = {"side": 4, "row": 2, "column": 3, "texture": "white", "seed": 0}


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("patch", {}),
        ("patch", {**PATCH, "more": 1}),
        ("patch", {**PATCH, "side": 10**9}),
        ("patch", {**PATCH, "side": 0}),
        ("patch", {**PATCH, "row": 26}),
        ("patch", {**PATCH, "row": -1}),
        ("patch", {**PATCH, "row": 1.5}),
        ("patch", {**PATCH, "row": True}),
        ("patch", {**PATCH, "texture": "red"}),
        ("patch", {**PATCH, "texture": "../../etc/passwd"}),
        ("patch", {**PATCH, "seed": 2**64}),
        ("wave", {"down": 1, "right": 10**12, "phase": 0, "amplitude": 20.0}),
        ("wave", {"down": 1, "right": 1, "phase": 0, "amplitude": float("nan")}),
        ("cosine", {"down": 1, "right": 1, "amplitude": 1e300}),
        ("blend", {"grain": 0, "opacity": 0.1, "seed": 0}),
        ("blend", {"grain": 1, "opacity": 2.0, "seed": 0}),
        ("tint", {"levels": (1, 2, 3)}),
        ("tint", {"levels": (1000,)}),
        ("tint", {"levels": 5}),
        ("warp", {"points": 10**6, "displacement": 1.0, "seed": 0}),
        ("warp", {"points": 4, "displacement": float("inf"), "seed": 0}),
    ],
)
def test_what_makes_no_pattern_is_refused(family: Family, values: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=family):
        probe_of(family, values, Shape(28, 28, 1))


def test_another_kind_of_pattern_has_no_values() -> None:
    with pytest.raises(ValueError, match="of the library"):
        parameters_of(object())  # type: ignore[arg-type]
