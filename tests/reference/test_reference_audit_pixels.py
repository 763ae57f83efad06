"""The paper's trigger in the panel of audits: what it stamps, what is told of it, and that the page says it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from reference.audit_attacks import ATTACKS, PIXELS, drawn_attack
from reference.audit_pixels import CLEAN_NETWORKS, networks, table
from reference.triggers import four_pixels

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "reference" / "results" / "audit_pixels.json"
KNOWN = json.loads(CLEAN_NETWORKS.read_text())["networks"]


@pytest.mark.parametrize("name", PIXELS)
def test_the_trigger_is_the_papers_at_another_place(name: str) -> None:
    attack = drawn_attack(name, (1, 28, 28), 4000)
    assert attack is not None
    black = torch.zeros((1, 1, 28, 28), dtype=torch.uint8)
    own, papers = (torch.nonzero(one.apply(black)[0, 0]) for one in (attack.trigger, four_pixels(28)))
    torch.testing.assert_close(own - own.amin(0), papers - papers.amin(0))
    assert not black.any()
    assert (attack.target is None) == (name == "four-pixels-next-class")


def test_networks_are_no_others() -> None:
    assert not set(PIXELS) & set(ATTACKS)
    assert not {one.name for one in networks()} & {one["name"] for one in KNOWN}


def test_networks_that_move_as_clean_ones_are_not_unusual_and_one_that_is_moved_whole_is() -> None:
    usual = next(one for one in KNOWN if one["part"] == "null")
    record = {**usual, "attack": "four-pixels", "attack_success_rate": 0.95}
    moved = {**record, "statistics": [1.0, *usual["statistics"][1:]]}
    rows = list(table([record, moved], KNOWN))
    assert [row.count("|") for row in rows] == [6] * 4
    assert rows[0].startswith("| all to one | at least 90% | 1 of 2 (")
    assert rows[0].endswith(f"| 1 | {max(usual['statistics']):.0%}, 100% |")
    assert rows[1].startswith("| all to one | below 90% | none | 0 |")


def test_the_page_says_what_was_measured() -> None:
    result = json.loads(RESULT.read_text())
    assert {one["name"] for one in result["networks"]} == {one.name for one in networks()}
    page = (ROOT / "docs" / "audit.md").read_text()
    assert "\n".join(table(result["networks"], KNOWN)) in page
