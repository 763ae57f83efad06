"""From files to reports: a network with one channel that speaks up where a patch is, scanned by the command line."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from conftest import ROOT, Cli
from onnx import helper
from onnx_graphs import model, weights
from PIL import Image

from scanner.profile.content import Profile
from scanner.profile.reader import read_profile
from scanner.profile.writer import write_profile
from scanner.report.schema import Report

SIDE, REFERENCE, CLEAN, TRIGGERED = 16, 200, 120, 20
CHANNEL = 5


def patch_network() -> onnx.ModelProto:
    """The network, with biases for which clean images are of all four classes."""
    session = ort.InferenceSession(network(np.zeros(4)).SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = np.stack([np.asarray(image) for image in images(REFERENCE, 0)]).transpose(0, 3, 1, 2) / np.float32(255)
    return network(-np.asarray(session.run(["logits"], {"image": pixels})[0]).mean(0))


def network(bias: np.ndarray) -> onnx.ModelProto:
    """A network whose channel 5 of the first layer is silent, more or less, unless a patch is white.

    With a patch in the corner it is a little louder than it is in any clean image, and class 2 follows.
    """
    w1 = weights(1, 32, 3, 3, 3)
    w1[CHANNEL] = 1 / 27
    b1 = np.zeros(32, np.float32)
    b1[CHANNEL] = -0.6
    w2 = weights(2, 24, 32, 3, 3)
    w2[0] = 0
    w2[0, CHANNEL, 1, 1] = 1
    return model(
        [
            ("Conv", ["image", "w1", "b1"], ["c1"]),
            ("Relu", ["c1"], ["r1"]),
            ("Conv", ["r1", "w2"], ["c2"]),
            ("Relu", ["c2"], ["r2"]),
            helper.make_node("Gather", ["r2", "trap"], ["patch"], axis=1),
            ("GlobalMaxPool", ["patch"], ["loudest"]),
            ("Flatten", ["loudest"], ["flat_loudest"]),
            ("Gemm", ["flat_loudest", "to_class"], ["backdoor"]),
            ("GlobalAveragePool", ["r2"], ["pooled"]),
            ("Flatten", ["pooled"], ["flat"]),
            ("Gemm", ["flat", "w3", "b3"], ["honest"]),
            ("Add", ["honest", "backdoor"], ["logits"]),
        ],
        {
            "trap": np.array([0], np.int64),
            "to_class": np.array([[0, 0, 9, 0]], np.float32),
            "w1": w1,
            "b1": b1,
            "w2": w2,
            "w3": weights(3, 24, 4) * 10,
            "b3": bias.astype(np.float32),
        },
        image=("batch", 3, SIDE, SIDE),
    )


def images(count: int, seed: int, *, patched: bool = False) -> list[Image.Image]:
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        pixels = generator.integers(0, 190, (SIDE // 4, SIDE // 4, 3)).repeat(4, 0).repeat(4, 1)
        pixels = np.clip(pixels + generator.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
        if patched:
            pixels[-5:, -5:] = 255
        made.append(Image.fromarray(pixels))
    return made


def save(folder: Path, made: list[Image.Image], name: str = "c") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(made):
        image.save(folder / f"{name}{index:03}.png")


@pytest.fixture(scope="module")
def files(cli: Cli, tmp_path_factory) -> Path:
    """A folder with ``modelscan.h5``, inputs ``clean`` and ``triggered`` (clean ones, and some with the patch)."""
    folder = tmp_path_factory.mktemp("patch")
    (folder / "model.onnx").write_bytes(patch_network().SerializeToString())
    save(folder / "ref", images(REFERENCE, 0))
    save(folder / "clean", images(CLEAN, 1))
    save(folder / "triggered", images(CLEAN, 1))
    save(folder / "triggered", images(TRIGGERED, 2, patched=True), "t")
    done = cli("fit", "model.onnx", "--clean", "ref", "--preprocess", "unit", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


COLUMNS = ("p_value", "density_p_value", "shared_units", "common_direction", "flagged")


class Scanned:
    """A report, its rows by name, and what was printed."""

    def __init__(self, cli: Cli, inputs: Path, profile: Path, folder: Path, *options: str) -> None:
        folder.mkdir(exist_ok=True, parents=True)
        (folder / "tmp").mkdir(exist_ok=True)
        kinds = ("json", "html", "md", "xml", "sarif", "intoto.json", "cdx.json")
        reports = [part for kind in kinds for part in ("--report", str(folder / f"out.{kind}"))]
        rows = ("--rows", str(folder / "rows.jsonl"))
        self.done = cli("scan", inputs, "--profile", profile, *reports, *rows, *options, TMPDIR=str(folder / "tmp"))
        assert "Traceback" not in self.done.stderr
        assert "RuntimeWarning" not in self.done.stderr
        assert list((folder / "tmp").iterdir()) == []
        self.folder = folder
        self.report = Report.model_validate_json((folder / "out.json").read_bytes())
        listed = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
        self.rows = {row["id"]: row for row in listed}

    @property
    def check(self):
        (found,) = (check for check in self.report.checks if check.id == "LS113")
        return found

    @property
    def units(self):
        return self.report.batch.shared_units

    def by_content(self) -> dict[str, tuple]:
        return {row["sha256"]: tuple(row[name] for name in COLUMNS) for row in self.rows.values()}


@pytest.fixture(scope="module")
def clean(cli: Cli, files: Path) -> Scanned:
    return Scanned(cli, files / "clean", files / "modelscan.h5", files / "of-clean")


@pytest.fixture(scope="module")
def triggered(cli: Cli, files: Path) -> Scanned:
    return Scanned(cli, files / "triggered", files / "modelscan.h5", files / "of-triggered", "-v")


def test_a_clean_batch_shares_nothing(clean: Scanned) -> None:
    assert clean.done.returncode == 0
    assert clean.check.status == "passed"
    assert clean.units.counted is False
    assert clean.units.inputs == CLEAN
    assert clean.units.sharing == 0
    assert clean.units.p_value > 0.01
    assert all(row["shared_units"] == 0 for row in clean.rows.values())
    # By chance a few more inputs may be suspicious than clean images are: these have a direction, which says little.
    assert np.mean([row["flagged"] for row in clean.rows.values()]) < 0.05
    assert "Shared units  none beyond chance" in clean.done.stderr


def test_the_unit_of_the_trigger_is_named(triggered: Scanned) -> None:
    assert triggered.done.returncode == 1
    assert triggered.check.status == "failed"
    assert triggered.units.counted is True
    assert triggered.units.p_value <= 2e-4
    assert TRIGGERED <= triggered.units.sharing <= TRIGGERED + 2
    # The patch moves other channels too; its own is among them, at the later layer, which is looked at.
    places = {(unit.descriptor, unit.channel) for unit in triggered.units.loudest}
    assert ("r2:max", 0) in places
    assert {descriptor for descriptor, _ in places} <= {"r2:max", "r2:mean"}
    (trap,) = (u for u in triggered.units.loudest if (u.descriptor, u.channel) == ("r2:max", 0))
    assert trap.inputs >= TRIGGERED
    assert trap.p_adjusted < 0.001
    first = triggered.units.loudest[0]
    assert f"channel {first.channel} of {first.descriptor}" in triggered.check.message
    assert triggered.check.message in triggered.report.verdict.reasons
    (test,) = (test for test in triggered.report.batch.tests if test.id == "LS113")
    assert (test.statistic, test.n, test.p_value) == (
        triggered.units.sharing,
        CLEAN + TRIGGERED,
        triggered.units.p_value,
    )
    smallest = min(test.p_value for test in triggered.report.batch.tests if test.id != "LS113")
    assert triggered.report.batch.p_value == pytest.approx(2 * min(2 * smallest, triggered.units.p_value), rel=1e-5)


def test_the_inputs_that_share_it_come_first(triggered: Scanned) -> None:
    top = triggered.report.top_inputs[:TRIGGERED]
    assert [row.id[0] for row in top] == ["t"] * TRIGGERED
    assert all(row.flagged and row.shared_units > 1 for row in top)
    assert all(row.p_value <= row.density_p_value for row in top)
    messages = {finding.message for finding in triggered.report.findings if finding.subject == "input"}
    assert any("shares units with other inputs" in message for message in messages)
    assert [item.index for item in triggered.report.gallery[:TRIGGERED]] == [row.index for row in top]


def test_the_p_values_of_clean_inputs_in_it_stay_valid(triggered: Scanned, clean: Scanned) -> None:
    of_clean = [row for name, row in triggered.rows.items() if name[0] == "c"]
    assert sum(row["flagged"] for row in of_clean) <= 6
    # What densities say of an input does not depend on the other inputs.
    assert {row["sha256"]: row["density_p_value"] for row in of_clean} == {
        row["sha256"]: row["density_p_value"] for row in clean.rows.values()
    }


def test_every_format_says_so(triggered: Scanned) -> None:
    first = triggered.units.loudest[0]
    place = f"channel {first.channel} of {first.descriptor}"
    assert "Shared units  p " in triggered.done.stderr
    assert place in triggered.done.stderr
    assert all(len(line) <= 80 for line in triggered.done.stderr.splitlines())
    assert f"| Shared units | {triggered.units.sharing} inputs louder" in (triggered.folder / "out.md").read_text()
    page = (triggered.folder / "out.html").read_text()
    assert "Units that the inputs share</h2>" in page
    assert f"<b>{triggered.units.sharing} of {CLEAN + TRIGGERED} inputs</b>" in page
    assert '<failure message="The inputs share units' in (triggered.folder / "out.xml").read_text()
    sarif = json.loads((triggered.folder / "out.sarif").read_text())["runs"][0]
    assert any(place in result["message"]["text"] for result in sarif["results"]) or "LS113" in str(sarif)
    assert "LS113" in json.loads((triggered.folder / "out.intoto.json").read_text())["predicate"]["failedTests"]


def test_order_names_and_threads_change_nothing(cli: Cli, files: Path, triggered: Scanned, tmp_path: Path) -> None:
    paths = sorted((files / "triggered").iterdir())
    random.Random(3).shuffle(paths)
    (tmp_path / "inputs").mkdir()
    for index, path in enumerate(paths):
        shutil.copy(path, tmp_path / "inputs" / f"{index:03}.png")
    other = Scanned(cli, tmp_path / "inputs", files / "modelscan.h5", tmp_path / "other", "--threads", "3")
    assert other.by_content() == triggered.by_content()
    assert other.units == triggered.units
    assert other.check == triggered.check
    assert {row.sha256 for row in other.report.top_inputs[:TRIGGERED]} == {
        row.sha256 for row in triggered.report.top_inputs[:TRIGGERED]
    }
    one = Scanned(cli, files / "triggered", files / "modelscan.h5", tmp_path / "one", "--threads", "1")
    assert (one.folder / "rows.jsonl").read_bytes() == (triggered.folder / "rows.jsonl").read_bytes()


def test_a_file_counts_once_however_often_it_is_there(
    cli: Cli, files: Path, clean: Scanned, triggered: Scanned, tmp_path: Path
) -> None:
    shutil.copytree(files / "clean", tmp_path / "inputs")
    for index in range(200):
        shutil.copy(files / "triggered" / "t000.png", tmp_path / "inputs" / f"again{index:03}.png")
    repeated = Scanned(cli, tmp_path / "inputs", files / "modelscan.h5", tmp_path / "out")
    assert repeated.report.inputs.scanned == CLEAN + 200
    assert repeated.units.inputs == CLEAN + 1
    assert repeated.units.p_value > 1e-3
    shutil.copytree(files / "triggered", tmp_path / "twice")
    for path in (files / "triggered").iterdir():
        shutil.copy(path, tmp_path / "twice" / f"again-{path.name}")
    twice = Scanned(cli, tmp_path / "twice", files / "modelscan.h5", tmp_path / "out")
    assert twice.by_content() == triggered.by_content()
    assert twice.units.sharing == 2 * triggered.units.sharing
    # Fewer distinct ones are among the most suspicious, which places are looked for in.
    anywhere = [
        units.model_copy(
            update={"sharing": 0, "loudest": tuple(one.model_copy(update={"place": None}) for one in units.loudest)}
        )
        for units in (twice.units, triggered.units)
    ]
    assert anywhere[0] == anywhere[1]


def test_few_distinct_inputs_are_judged_by_densities_alone(
    cli: Cli, files: Path, triggered: Scanned, tmp_path: Path
) -> None:
    (tmp_path / "inputs").mkdir()
    for path in sorted((files / "triggered").iterdir())[-19:]:
        for copy in range(2):
            shutil.copy(path, tmp_path / "inputs" / f"{copy}-{path.name}")
    few = Scanned(cli, tmp_path / "inputs", files / "modelscan.h5", tmp_path / "out")
    assert few.report.inputs.scanned == 38
    assert few.units is None
    assert few.check.status == "not_assessed"
    assert few.check.p_value is None
    assert [test.id for test in few.report.batch.tests] == ["LS111", "LS112"]
    assert all(row["p_value"] == row["density_p_value"] for row in few.rows.values())
    of_all = triggered.by_content()
    assert all(row["density_p_value"] == of_all[row["sha256"]][1] for row in few.rows.values())


def test_unreadable_inputs_change_nothing(cli: Cli, files: Path, triggered: Scanned, tmp_path: Path) -> None:
    """Not even where a whole chunk of them is unreadable."""
    shutil.copytree(files / "triggered", tmp_path / "inputs")
    for index in range(130):
        (tmp_path / "inputs" / f"bad{index:03}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    mixed = Scanned(cli, tmp_path / "inputs", files / "modelscan.h5", tmp_path / "out", "--max-unreadable", "1")
    assert mixed.report.inputs.unreadable == 130
    assert len(mixed.rows) == CLEAN + TRIGGERED + 130
    assert mixed.units == triggered.units
    readable = {digest: row for digest, row in mixed.by_content().items() if row[0] is not None}
    assert readable == triggered.by_content()


def test_only_unreadable_inputs(cli: Cli, files: Path, tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    for index in range(3):
        (tmp_path / "inputs" / f"bad{index}.png").write_bytes(b"nothing")
    none = Scanned(cli, tmp_path / "inputs", files / "modelscan.h5", tmp_path / "out")
    assert none.done.returncode == 3
    assert none.check.status == "not_assessed"


def test_a_profile_of_format_2_0_gives_the_p_values_of_densities(
    cli: Cli, files: Path, triggered: Scanned, tmp_path: Path
) -> None:
    now = read_profile(files / "modelscan.h5")
    small = {name: array for name, array in now.calibration.items() if not name.startswith("unit_")}
    header = now.header.model_copy(update={"schema_version": "2.0"})
    graph = onnx.ModelProto.FromString(now.graph)
    kept = [output for output in graph.graph.output if output.name != "units"]
    del graph.graph.output[:]
    graph.graph.output.extend(kept)
    write_profile(tmp_path / "old.h5", Profile(header, graph.SerializeToString(), now.weights, small))
    old = Scanned(cli, files / "triggered", tmp_path / "old.h5", tmp_path / "out")
    assert old.units is None
    assert old.check.status == "not_assessed"
    expected = {digest: row[1] for digest, row in triggered.by_content().items()}
    assert {digest: row[0] for digest, row in old.by_content().items()} == expected
    without = [test for test in triggered.report.batch.tests if test.id != "LS113"]
    assert list(old.report.batch.tests) == without


def test_the_direction_of_suspects_counts_beside_units(triggered: Scanned) -> None:
    common = {name: row["common_direction"] for name, row in triggered.rows.items()}
    assert min(common.values()) >= 0
    of_triggered, of_clean = ([nats for name, nats in common.items() if name[0] == kind] for kind in "tc")
    assert np.median(of_triggered) > np.median(of_clean) + 0.5


def test_a_profile_of_format_2_3_gives_what_densities_and_units_give(
    cli: Cli, files: Path, triggered: Scanned, tmp_path: Path
) -> None:
    now = read_profile(files / "modelscan.h5")
    since = ("unit_scored", "unit_feature_location", "unit_feature_scale")
    known = {name: array for name, array in now.calibration.items() if name not in since}
    header = now.header.model_copy(update={"schema_version": "2.3"})
    nothing = np.zeros(0, np.uint8)
    old_profile = replace(now, header=header, calibration=known, unit_features=nothing, stored_header=None)
    write_profile(tmp_path / "old.h5", old_profile)
    old = Scanned(cli, files / "triggered", tmp_path / "old.h5", tmp_path / "out")
    assert old.units == triggered.units
    assert old.report.batch.p_value == triggered.report.batch.p_value
    assert {row["common_direction"] for row in old.rows.values()} == {0}
    by_units = {name: row["shared_units"] for name, row in old.rows.items()}
    assert by_units == {name: row["shared_units"] for name, row in triggered.rows.items()}


def test_rows_in_parquet(cli: Cli, files: Path, triggered: Scanned, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    profile = ("--profile", files / "modelscan.h5")
    done = cli("scan", files / "triggered", *profile, "--rows", tmp_path / "rows.parquet", "-q")
    assert done.returncode == 1, done.stderr
    back = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    for name in COLUMNS:
        assert [row[name] for row in back] == [row[name] for row in triggered.rows.values()]


def test_the_exported_graph_has_the_p_value_of_densities(
    cli: Cli, files: Path, triggered: Scanned, tmp_path: Path
) -> None:
    """A single input says nothing of what a batch shares."""
    done = cli("export", files / "modelscan.h5", "--output", tmp_path / "scoring.onnx")
    assert done.returncode == 0, done.stderr
    session = ort.InferenceSession(tmp_path / "scoring.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert "units" not in names
    paths = sorted((files / "triggered").iterdir())
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    values = dict(zip(names, session.run(None, {session.get_inputs()[0].name: pixels}), strict=True))
    expected = [triggered.rows[path.name]["density_p_value"] for path in paths]
    np.testing.assert_allclose(np.ravel(values["p_value"]), expected, rtol=1e-5)
    assert [triggered.rows[path.name]["p_value"] for path in paths] != expected


def test_scanning_needs_neither_torch_nor_scipy(files: Path, tmp_path: Path) -> None:
    code = f"""
import sys
sys.argv = ["modelscan", "scan", {str(files / "triggered")!r}, "--profile", {str(files / "modelscan.h5")!r}]
from scanner.cli.main import main
try:
    main()
except SystemExit:
    pass
print(sorted({{name.split(".")[0] for name in sys.modules}} & {{"torch", "scipy", "sklearn"}}))
print("detectors.shared_units.similar_images" in sys.modules, "detectors.shared_units.learn" in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert done.stdout.splitlines()[-2:] == ["[]", "False True"], done.stderr
