"""A cell from training to tables, what is kept of it, and the plan."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from reference.datasets import load_digits
from reference.panel.attacks.roster import ATTACKS
from reference.panel.bench import Bench, open_network
from reference.panel.command import write_tables
from reference.panel.estimate import Estimate
from reference.panel.figures import figures, judge
from reference.panel.labels import LABEL_MAPS
from reference.panel.networks import network_named
from reference.panel.peers import PEERS
from reference.panel.pictures import SIZES, choose_pictures
from reference.panel.plan import DEVELOPMENT, PEERS_SEED, REPORTED, development, quick, reported
from reference.panel.run import CELLS, RUNS, run_cells
from reference.panel.store import load_result, save_result
from reference.panel.tables import DETECTORS, tables_markdown
from reference.triggers import square
from scanner.base.errors import SourceError
from scanner.base.progress import SILENCE

CELL = quick()[0]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("panel")
    run_cells([CELL], Path(), folder, SILENCE)
    return folder


def test_a_cell_is_measured_by_every_detector(out: Path) -> None:
    result = json.loads((out / CELLS / f"{CELL.name}.json").read_text())
    assert result["counts"]
    found = result["backdoored"]
    assert found["clean_accuracy"] > 0.9
    assert found["attack_success_rate"] > 0.95
    assert list(found["detectors"]) == list(DETECTORS)
    assert found["detectors"]["ibd-psc"] is None  # SCNN has no batch normalisation
    for name, one in found["detectors"].items():
        if one is None:
            continue
        assert set(one) == {*map(str, SIZES), "passes", "milliseconds"}, name
        assert one["milliseconds"] > 0
        for size in map(str, SIZES):
            assert 0 <= one[size]["detection_at_0.01"] <= one[size]["detection_at_0.05"] <= 1
    passes = {name: one["passes"] for name, one in found["detectors"].items() if one is not None}
    assert passes == {
        "latentscan": 1, "latentscan-batch": 1, "confidence": 1,
        "strip": 16, "scale-up": 6, "teco": 56, "beatrix": 1, "ted": 1, "ted++": 1,
        "psbd": 4,
        "mahalanobis": 1,
    }  # fmt: skip
    assert found["detectors"]["latentscan"]["50"]["auroc"] > 0.99
    assert set(result["clean_network"]["detectors"]) == {
        "latentscan",
        "latentscan-batch",
        "confidence",
        "beatrix",
        "mahalanobis",
    }
    assert result["clean_network"]["attack_success_rate"] < 0.3
    assert result["machine"]["versions"]["torch"]


def test_confidence_is_what_the_network_itself_says(out: Path) -> None:
    """The whole way of one detector, without the bench: the torch network, its softmax, the figures."""
    import torch

    from reference.panel.training import load_network
    from reference.training import normalise

    data, network = load_digits(), load_network(network_named(CELL.network), out / RUNS / CELL.name)
    pictures = choose_pictures(data, square(8, 4), LABEL_MAPS[CELL.labels], CELL.seed)
    with torch.no_grad():
        parts = [network(normalise(part.images, data)).double().softmax(1).max(1) for part in
                 (pictures.held_out, pictures.clean, pictures.triggered)]  # fmt: skip
    succeeds = (parts[2].indices == pictures.aim).numpy()
    expected = figures(judge(*(part.values.numpy() for part in parts)), succeeds)
    measured = load_result(out / CELLS, CELL)
    assert measured is not None
    found = measured["backdoored"]["detectors"]["confidence"]["400"]
    for name in ("auroc", "aupr", "detection_at_0.05", "false_alarms_at_0.05"):
        assert found[name] == pytest.approx(expected[name], abs=0.02)


def test_a_finished_cell_is_not_measured_again(out: Path) -> None:
    path = out / CELLS / f"{CELL.name}.json"
    before = path.stat().st_mtime_ns
    assert len(run_cells([CELL], Path(), out, SILENCE)) == 1
    assert path.stat().st_mtime_ns == before


def test_the_default_is_measured_again_by_other_code_and_nothing_else(out: Path, tmp_path: Path) -> None:
    found = load_result(out / CELLS, CELL)
    assert found is not None
    other = tmp_path / "out"
    shutil.copytree(out, other)
    stale = {**found, "detectors_sha256": "another", "seconds": 1.5}
    stale["backdoored"] = {**found["backdoored"], "detectors": {**found["backdoored"]["detectors"], "strip": None}}
    stale["backdoored"]["detectors"]["latentscan"] = {"400": {"detection_at_0.01": 0.123}}
    save_result(other / CELLS, CELL, {key: value for key, value in stale.items() if key not in ("cell", "format")})
    (again,) = run_cells([CELL], Path(), other, SILENCE)
    assert again["backdoored"]["detectors"]["strip"] is None
    assert again["seconds"] == 1.5
    fresh = again["backdoored"]["detectors"]["latentscan"]
    for size, figures_of in found["backdoored"]["detectors"]["latentscan"].items():
        if isinstance(figures_of, dict):
            assert fresh[size] == figures_of
    assert again["detectors_sha256"] == found["detectors_sha256"]


def test_tables_and_picture(out: Path, tmp_path: Path) -> None:
    result = load_result(out / CELLS, CELL)
    assert result is not None
    failed = {**result, "counts": False}
    text = write_tables(tmp_path, [result, failed], 240)
    assert text == (tmp_path / "panel.md").read_text() == tables_markdown([result, failed], 240)
    assert "2 of 240 cells are measured, of 1 networks (digits-scnn); the attack counts in 1 of them." in text
    for title in (*DETECTORS.values(), "Attacks that do not count"):
        assert title in text or title == "IBD-PSC"
    rows = [line for line in text.splitlines() if line.startswith("| digits-scnn | patch-white")]
    success = f"{result['backdoored']['attack_success_rate']:.3f}"
    assert rows[0].split(" | ")[3:7] == ["10%", "0", success, f"{_default(result):.3f}"]
    picture = ElementTree.fromstring((tmp_path / "panel.svg").read_text())
    dots = [one for one in picture.iter("{http://www.w3.org/2000/svg}circle") if one.get("fill-opacity")]
    assert len(dots) == len([peer for peer in PEERS if peer.name != "ibd-psc"]) + 2
    assert "0 of 3 cells" in tables_markdown([], 3)


def test_a_second_seed_has_the_default_alone(out: Path) -> None:
    first = load_result(out / CELLS, CELL)
    assert first is not None
    alone = {**first, "cell": {**first["cell"], "seed": PEERS_SEED + 1}}
    for part in ("backdoored", "clean_network"):
        known = {name: found for name, found in first[part]["detectors"].items() if name.startswith("latentscan")}
        alone[part] = {**first[part], "detectors": known}
    text = tables_markdown([first, alone], 2)
    rows = [line for line in text.splitlines() if line.startswith("| digits-scnn | patch-white")]
    assert rows[1].split(" | ")[4:8] == ["1", *rows[0].split(" | ")[5:8]]
    assert rows[1].count(" - ") == len(PEERS)
    assert [line for line in text.splitlines() if line.startswith("| latentscan | 1 |")]  # the table beside peers


def _default(result: dict) -> float:
    return result["backdoored"]["detectors"]["latentscan"]["400"]["detection_at_0.01"]


def test_cells_of_other_settings_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    assert load_result(tmp_path, CELL) is None
    save_result(tmp_path, CELL, {"counts": True})
    with pytest.raises(SourceError, match="other settings"):
        load_result(tmp_path, replace(CELL, steps=CELL.steps + 1))
    (tmp_path / f"{CELL.name}.json").write_text('{"cell": []')
    with pytest.raises(SourceError, match="not a finished cell"):
        load_result(tmp_path, CELL)


def test_the_plan_has_every_attack_and_two_halves_that_share_nothing() -> None:
    cells = reported()
    assert {cell.attack for cell in cells} == set(ATTACKS)
    assert len({cell.name for cell in cells}) == len(cells) == 6 * 2 * len(REPORTED) + 6 * 3 + 3
    assert {cell.seed for cell in development()} & {cell.seed for cell in cells} == set()
    assert not {row[:2] for row in DEVELOPMENT} & {row[:2] for row in REPORTED}
    assert min(rate for _, _, rate in REPORTED) == 0.003


def test_the_time_left_is_that_of_cells_like_those() -> None:
    scnn, resnet = (replace(CELL, network=name) for name in ("scnn", "resnet20"))
    estimate = Estimate([scnn, scnn, resnet, resnet])
    assert estimate.left() == "4 cells left"
    estimate.finished(scnn, 60)
    estimate.finished(resnet, 600)
    assert estimate.left() == "2 cells left, about 11 min"
    estimate.finished(scnn, 60)
    estimate.finished(resnet, 600)
    assert estimate.left() == "done"


def test_activations_are_those_of_the_modules(out: Path) -> None:
    data, network = load_digits(), network_named(CELL.network)
    opened = open_network(network, out / RUNS / CELL.name, data)
    bench = Bench(opened, data, choose_pictures(data, square(8, 4), LABEL_MAPS[CELL.labels], CELL.seed))
    images = bench.pictures.clean.images[:130]
    parts = list(bench.activations(images, [opened.module.relu1, opened.module]))
    assert [len(part[0]) for part in parts] == [100, 30]
    assert bench.cost.passes == 130
    logits = np.concatenate([part[1].numpy() for part in parts])
    probabilities = bench.predict(np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy()))
    np.testing.assert_array_equal(logits.argmax(1), probabilities.argmax(1))
