"""What else sees attackers who know the detector: what is read of a scan, and the documented table."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace as Some

from reference.panel.adaptive import ALPHA, BALD, HOW, NETWORKS, PLAIN, SHARES, false_alarms, table, told
from reference.panel.plan import ADAPTIVE, cells

ROOT = Path(__file__).parents[3]
RESULT = json.loads((ROOT / "reference" / "results" / "panel_adaptive.json").read_text())


def test_rows_are_told_apart_by_their_index_whatever_their_order(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    lines = [
        {"index": n, "density_p_value": 1.0, "p_value": ALPHA if n < 4 else 1.0, "scores": {BALD: n / 10}}
        for n in range(10)
    ]
    rows.write_text("".join(json.dumps(line) + "\n" for line in reversed(lines)))
    report = Some(verdict=Some(severity="high", exit_code=1), batch=Some(p_value=1e-5), drift=None, demonstration=None)
    found = told(report, rows, triggered=5)  # type: ignore[arg-type]
    assert found["detection"] == {"alone": 0.0, "together": 0.8, BALD: 0.2}
    assert found["false_alarms"] == {"alone": 0.0, "together": 0.0, BALD: 0.0}
    assert found["demonstrated"] is False
    assert told(report, rows, triggered=0)["detection"] is None  # type: ignore[arg-type]


def test_the_page_has_the_table_of_the_result() -> None:
    page = (ROOT / "docs" / "panel.md").read_text()
    assert "\n".join(table(RESULT)) in page
    assert false_alarms(RESULT) in page
    expected = [cell.name for network in NETWORKS for cell in cells((PLAIN, *ADAPTIVE), [network], 0)]
    assert list(RESULT["cells"]) == expected
    for one in RESULT["cells"].values():
        assert set(one) == {f"{share:g}" for share in SHARES}
        assert all(set(batch["false_alarms"]) == set(HOW) for batch in one.values())
