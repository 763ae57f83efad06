"""The documented tables and picture are those of the committed cells, and every attack names its source."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest

import reference.panel.attacks
from reference.panel.default import ALONE, BATCH
from reference.panel.plan import PEERS_SEED, reported
from reference.panel.plot import detection_svg
from reference.panel.store import load_results
from reference.panel.tables import DETECTION, DETECTORS, counted, tables_markdown, values
from reference.resumable import DIGEST

ROOT = Path(__file__).parents[3]
CELLS = ROOT / "reference" / "results" / "panel"
MODULES = sorted(Path(reference.panel.attacks.__path__[0]).glob("*.py"))


def test_the_documented_tables_are_those_of_the_committed_cells() -> None:
    results = load_results(CELLS, reported())
    assert len(results) == len(list(CELLS.glob("*.json")))
    page = (ROOT / "docs" / "panel.md").read_text()
    block = page.partition("<!-- tables: begin -->\n")[2].partition("<!-- tables: end -->")[0]
    assert block.strip() == tables_markdown(results, len(reported())).strip()
    assert (ROOT / "docs" / "pictures" / "panel.svg").read_text() == detection_svg(results)


def test_the_readme_says_what_the_panel_does() -> None:
    good = counted(load_results(CELLS, reported()))
    compared = [result for result in good if result["cell"]["seed"] == PEERS_SEED]
    alone, batch = (values(good, name, 400, DETECTION) for name in (ALONE, BATCH))
    peers = [fmean(values(compared, name, 400, DETECTION)) for name in DETECTORS if name not in (ALONE, BATCH)]
    text = " ".join((ROOT / "README.md").read_text().split())
    assert len(good) == 41
    assert (
        f"single inputs are found at {fmean(alone):.0%} in the mean at 1% false alarms (batches {fmean(batch):.0%}) "
        f"and at {min(alone):.0%} in the worst cell"
    ) in text
    own = fmean(values(compared, ALONE, 400, DETECTION))
    assert f"the best peer finds {max(peers):.0%} where this tool finds {own:.0%}" in text


def test_the_page_says_in_how_many_cells_suspects_did_not_count() -> None:
    results = load_results(CELLS, reported())
    by = json.loads((CELLS.parent / "panel_suspects.json").read_text())[DIGEST]
    before, of_good = (sum(one[DIGEST] != by for one in some) for some in (results, counted(results)))
    text = " ".join((ROOT / "docs" / "panel.md").read_text().split())
    assert (
        f"In {before} of the {len(results)} cells, {of_good} of those that count, the batch was measured before" in text
    )


def test_committed_cells_say_where_they_come_from() -> None:
    for path in CELLS.glob("*.json"):
        result = json.loads(path.read_text())
        assert result["counts"] == (result["backdoored"]["attack_success_rate"] >= 0.85), path.name
        assert result["machine"]["versions"]["torch"]
        assert result["training"]["config"] == result["cell"]
        assert "/" not in json.dumps(result["machine"]["versions"])


@pytest.mark.parametrize("path", [path for path in MODULES if path.stem not in ("__init__", "attack", "roster")])
def test_every_attack_names_its_source(path: Path) -> None:
    text = path.read_text()
    assert "Source: " in text
    assert "https://" in text
