"""Audits with drifted pictures: what is done to pictures, which networks are audited, and the committed figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reference.audit_drift import CLEAN_NETWORKS, DEVIATION, DRIFTS, RESULTS, chosen, noisy, table

ROOT = Path(__file__).parents[2]


def test_pictures_are_changed_as_much_as_is_said():
    pictures = np.full((20, 28, 28, 1), 128, np.uint8)
    assert (noisy(pictures).astype(float) - 128).std() == pytest.approx(DEVIATION, rel=0.05)
    edges = np.where(np.arange(28)[None, :, None, None] < 13, 0, 255).astype(np.uint8) * np.ones(
        (2, 1, 28, 1), np.uint8
    )
    for drift in DRIFTS.values():
        changed = drift(edges)
        assert (changed.shape, changed.dtype) == (edges.shape, np.uint8)
        assert (changed != edges).any()


def test_the_committed_figures_are_of_all_networks_and_in_the_documentation():
    records = json.loads(RESULTS.read_text())["networks"]
    measured = json.loads((ROOT / "reference/results/audit_drift.json").read_text())["measured"]
    networks = chosen(records)
    assert sum(one["attack"] == "clean" for one in networks) == CLEAN_NETWORKS
    assert {(one["name"], one["drift"]) for one in measured} == {
        (one["name"], drift) for one in networks for drift in DRIFTS
    }
    assert "\n".join(table(records, measured)) in (ROOT / "docs/audit.md").read_text()
