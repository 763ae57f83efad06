"""Refinement and its peers on the panel: statistics by hand, and the committed figures in the documentation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reference.audit_panel import panel
from reference.audit_refine_summary import METHODS, anomaly_index, sizes, summarise, table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "reference/results/audit_refine.json"


def test_a_size_counts_by_its_logarithm_and_for_its_own_class():
    found = sizes(
        {
            "refined": [
                {"kind": "smallest patch", "target": 3, "soft": 28.0},
                {"kind": "weakest offset", "target": 0, "soft": 1.0},
                {"kind": "weakest offset", "target": 1, "soft": None},
            ]
        }
    )
    assert found[3] == pytest.approx(0.5)
    assert found[10] == 1.0
    assert np.count_nonzero(found) == 2


def test_the_anomaly_index_is_that_of_the_smallest_mask():
    # Median 50; absolute deviations 0, 10, 10, 20, 45: median 10.
    assert anomaly_index({"cleanse_norms": [50, 40, 60, 70, 5]}) == pytest.approx(45 / 14.826)
    assert anomaly_index({"cleanse_norms": [50, 50, 50, 5]}) == 0.0


def test_the_committed_figures_are_of_the_panel_and_in_the_documentation():
    result = json.loads(RESULTS.read_text())
    measured = [(one["part"], one["name"]) for one in result["networks"]]
    known = {(part, made.name) for part, made in panel("mnist")}
    assert len(set(measured)) == len(measured)
    assert set(measured) <= known
    assert f"on the {len(measured)} networks above" in (ROOT / "docs/audit.md").read_text()
    assert json.loads(json.dumps(summarise(result["networks"]))) == result["summary"]
    assert set(result["summary"]["alarms"]) == set(METHODS)
    text = (ROOT / "docs/audit.md").read_text()
    assert "\n".join(table(result["summary"])) in text
    for step, seconds in result["summary"]["seconds"].items():
        assert f"{seconds:.1f} ({step})" in text


def test_the_same_networks_are_probed_as_before():
    """Probing anew gives the statistics that were committed with the panel."""
    before = {
        one["name"]: one["statistics"] for one in json.loads((RESULTS.with_name("audit.json")).read_text())["networks"]
    }
    now = {one["name"]: one["probing"] for one in json.loads(RESULTS.read_text())["networks"]}
    assert now == {name: before[name] for name in now}
