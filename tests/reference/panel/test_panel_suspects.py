"""What a batch tells: the documented table is that of the result file, and a share of a batch is what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reference.batch import fit_batch
from reference.features import Features
from reference.panel.suspects import ALPHA, HOW, INPUTS, ROWS, SHARES, SIZES, clean_batches, judge, tables

ROOT = Path(__file__).parents[3]
RESULT = json.loads((ROOT / "reference" / "results" / "panel_suspects.json").read_text())


def features(count: int, seed: int, *, moved: float = 0.0) -> Features:
    """Two classes that a layer tells apart; moved features lie where no image of either class is."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    values = (6 * labels[:, None] + generator.normal(size=(count, 12))).astype(np.float32)
    values[:, :4] += np.float32(moved)
    logits = np.stack([3.0 - 6 * labels, 6 * labels - 3.0], axis=1) + generator.normal(size=(count, 2))
    return Features({"late:value": values}, logits.astype(np.float32), labels)


@pytest.mark.parametrize("share", SHARES)
def test_shares_count_what_they_say(share: float) -> None:
    reference = features(200, 0)
    fitted = fit_batch(reference, reference.labels, "late:value", 2, 0)
    found = judge(fitted, features(1000, 1), features(500, 2, moved=6.0), np.ones(500, bool), share, seed=0)
    assert ("detection_alone" in found) == (share > 0)
    for how in HOW:
        assert found[f"false_alarms_{how}"] <= 0.04
        if share:
            assert found[f"detection_{how}"] > 0.9
    if share != 0.01:
        assert (found["densities_p"] <= ALPHA) == (share > 0)
    assert INPUTS * min(one for one in SHARES if one) >= 10


def test_the_page_has_the_table_of_the_result() -> None:
    page = (ROOT / "docs" / "panel.md").read_text()
    assert "\n".join(tables(RESULT)) in page
    assert clean_batches(RESULT) in " ".join(page.split())
    assert len(RESULT["cells"]) == sum(len(rows) for rows in ROWS.values())
    assert {key for one in RESULT["cells"].values() for key in one} == {
        "attack_success_rate",
        *(f"{size}/{share:g}" for size in SIZES for share in SHARES),
    }
