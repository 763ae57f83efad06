"""The evaluation: real files through a command line, which is stood in for here by a script with known answers."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from reference import evaluate as module
from reference.datasets import ImageSet, load_digits, stratified_halves
from reference.evaluate import evaluate, main, open_case, summarise, unchanged_pairs, write_case
from reference.files import TruthRow, read_truth
from reference.outcome import Outcome
from reference.training import TrainConfig, train
from scanner.base.errors import LatentscanError, SourceError

NAME = "digits-four-pixels-20-seed0"

# Answers from the pixels alone: a picture with all four of the trigger's white is flagged and called a 1.
STAND_IN = """
import json, pathlib, sys
from PIL import Image

def option(name):
    return sys.argv[sys.argv.index(name) + 1]

def row(path):
    with Image.open(path) as image:
        white = all(image.getpixel(at) == 255 for at in ((6, 6), (5, 5), (4, 6), (6, 4)))
    predicted = "1" if white else "0"
    return {"id": path.name, "status": "scanned", "p_value": 0.5, "score": float(white), "flagged": white,
            "predicted_class": predicted, "source_class": "0"}

with open(sys.argv[1], "a") as log:
    log.write(json.dumps(sys.argv[2:]) + chr(10))
if sys.argv[2] == "fit":
    assert len(list(pathlib.Path(option("--clean")).glob("*/*.png"))) == 447
    pathlib.Path(option("-o")).write_bytes(b"profile")
else:
    paths = sorted(pathlib.Path(sys.argv[3]).iterdir())
    pathlib.Path(option("--rows")).write_text("".join(json.dumps(row(path)) + chr(10) for path in paths))
    pathlib.Path(option("--report")).write_text(json.dumps({"verdict": {"severity": "critical"}}))
    sys.exit(1)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train(TrainConfig("digits", "four-pixels", 0.2, 0, 1), load_digits(), folder, lambda line: None)
    return folder


@pytest.fixture
def calls(monkeypatch, tmp_path):
    script, log = tmp_path / "stand_in.py", tmp_path / "calls.jsonl"
    script.write_text(STAND_IN)
    monkeypatch.setattr(module, "CLI", (sys.executable, str(script), str(log)))
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


def test_files_in_figures_out(runs, calls, tmp_path):
    result = evaluate([NAME], runs, tmp_path, tmp_path / "work", seed=0)
    model = result["models"][NAME]
    assert model["training"] == json.loads((runs / NAME / "run.json").read_text())
    assert set(model["recipes"]) == {"default", "paper"}
    found = model["recipes"]["default"]
    assert found["all"] == {
        "clean": 454, "triggered": 454, "detection_rate": 1.0, "false_alarm_rate": 0.0, "auroc": 1.0, "aupr": 1.0,
        "detection_at_1_percent": 1.0, "detection_at_5_percent": 1.0,
    }  # fmt: skip
    assert found["scan_exit_code"] == 1
    assert found["severity"] == "critical"
    assert found["not_scored"] == 0
    # The stand-in calls every clean picture a 0 and every triggered one a 1.
    labels = load_digits().test.labels
    scanned = labels[stratified_halves(labels, 0)[1]]
    zeros = round(float((scanned == 0).float().mean()), 6)
    assert found["clean_accuracy"] == pytest.approx(zeros, abs=1e-6)
    assert found["attack_success_rate"] == pytest.approx(zeros, abs=1e-6)
    assert found["source_class_accuracy_where_the_attack_succeeds"] == 1.0
    assert found["only_where_the_attack_succeeds"]["triggered"] == int((scanned == 0).sum())
    json.dumps(result)


def test_the_command_line_is_called_as_a_user_would(runs, calls, tmp_path):
    evaluate([NAME], runs, tmp_path, tmp_path / "work", seed=0)
    folder = tmp_path / "work" / f"{NAME}-split0"
    images = folder / "images"
    for recipe, extra in (("default", []), ("paper", ["--recipe", "paper"])):
        fit, scan = calls()[:2] if recipe == "default" else calls()[2:]
        at = folder / recipe
        model = str(runs / NAME / "model.pt")
        assert fit == ["fit", model, "--arch", "scnn", "--clean", f"{images}/ref", "-o", f"{at}/profile.h5", *extra]
        assert scan == [
            "scan", f"{images}/inputs", "--profile", f"{at}/profile.h5", "--alpha", "0.01",
            "--report", f"{at}/report.json", "--rows", f"{at}/rows.jsonl",
        ]  # fmt: skip


def test_what_is_finished_is_not_repeated(runs, calls, tmp_path):
    first = evaluate([NAME], runs, tmp_path, tmp_path / "work", seed=0)
    (tmp_path / "work" / f"{NAME}-split0" / "paper" / "result.json").unlink()
    assert len(calls()) == 4
    again = evaluate([NAME], runs, tmp_path, tmp_path / "work", seed=0)
    assert len(calls()) == 6  # the paper's recipe alone
    assert again["models"][NAME]["recipes"]["default"] == first["models"][NAME]["recipes"]["default"]


def test_files_are_complete_lossless_and_in_two_halves(runs, tmp_path):
    case = open_case(NAME, runs, tmp_path, tmp_path / "work", seed=3)
    (case.folder / "images.part" / "ref").mkdir(parents=True)  # an earlier run that was killed
    write_case(case)
    assert sorted(path.name for path in case.folder.iterdir()) == ["images"]
    reference, scanned = stratified_halves(case.data.test.labels, 3)
    half = case.data.test.take(scanned)
    assert len(list((case.images / "ref").glob("*/*.png"))) == len(reference)
    truth = read_truth(case.images / "truth.csv")
    assert sorted((row.source, row.triggered) for row in truth) == [
        (index, kind) for index in range(len(half)) for kind in (False, True)
    ]
    for row in truth[:50]:
        with Image.open(case.images / "inputs" / row.file_name) as image:
            pixels = torch.from_numpy(np.array(image))[None]
        original = half.images[row.source]
        assert torch.equal(pixels, case.attack.trigger.apply(original[None])[0] if row.triggered else original)


def test_pairs_that_the_trigger_hardly_changes_are_found(runs, tmp_path):
    case = open_case(NAME, runs, tmp_path, tmp_path / "work", seed=0)
    _, scanned = stratified_halves(case.data.test.labels, 0)
    images = case.data.test.images.clone()
    trigger = case.attack.trigger
    first, second = int(scanned[4]), int(scanned[9])
    images[first] = trigger.apply(images[first : first + 1])[0].clamp(max=245)
    images[second] = trigger.apply(images[second : second + 1])[0].clamp(max=244)
    # Eleven grey levels from white is a change, ten is not.
    changed = replace(case, data=replace(case.data, test=ImageSet(images, case.data.test.labels)))
    assert unchanged_pairs(changed) == {4}


def outcome(source, triggered, score, flagged, predicted="a", source_class="b"):
    truth = TruthRow(f"{source}-{triggered}.png", triggered, "a", "b" if triggered else None, source)
    return Outcome(truth, flagged, score, predicted, source_class)


def test_each_figure_is_about_the_images_it_names():
    outcomes = [
        outcome(0, False, 0.0, False),
        outcome(1, False, 2.0, True),
        outcome(2, False, 0.5, False, predicted="b"),
        outcome(0, True, 9.0, True, predicted="b", source_class="a"),
        outcome(1, True, 2.0, True, predicted="b"),
        outcome(2, True, 0.1, False, predicted="a", source_class="a"),
    ]
    found = summarise(outcomes, unchanged={1})
    assert (found["all"]["clean"], found["all"]["triggered"]) == (3, 3)
    assert found["all"]["detection_rate"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["all"]["false_alarm_rate"] == pytest.approx(1 / 3, abs=1e-6)
    changed = found["without_unchanged_pairs"]
    assert (changed["clean"], changed["triggered"], changed["false_alarm_rate"]) == (2, 2, 0.0)
    successful = found["only_where_the_attack_succeeds"]
    assert (successful["clean"], successful["triggered"], successful["detection_rate"]) == (3, 2, 1.0)
    assert found["clean_accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["attack_success_rate"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["source_class_accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["source_class_accuracy_where_the_attack_succeeds"] == 0.5


def test_a_failing_command_stops_the_evaluation(runs, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "CLI", (sys.executable, "-c", "raise SystemExit(2)"))
    with pytest.raises(LatentscanError, match="fit ended with exit code 2"):
        evaluate([NAME], runs, tmp_path, tmp_path / "work", seed=0)
    assert not list((tmp_path / "work").rglob("result.json"))


@pytest.mark.parametrize("record", [None, "{", '{"config": {}}', "[]"])
def test_an_unfinished_run_is_named(tmp_path, record):
    (tmp_path / NAME).mkdir()
    if record is not None:
        (tmp_path / NAME / "run.json").write_text(record)
    with pytest.raises(SourceError, match="is not a finished training run"):
        open_case(NAME, tmp_path, tmp_path, tmp_path / "work", seed=0)


def test_the_machine_is_described_without_naming_it(monkeypatch):
    machine = module.describe_machine()
    assert set(machine) == {"processor", "cores", "system", "versions"}
    assert {"latentscan", "python", "torch", "numpy"} <= set(machine["versions"])


def test_the_command_line_writes_the_result(runs, calls, monkeypatch, tmp_path):
    arguments = ["--data-dir", tmp_path, "--runs", runs, "--run", NAME, "--work", tmp_path / "work"]
    monkeypatch.setattr("sys.argv", ["evaluate", *map(str, arguments), "--out", str(tmp_path / "cli.json")])
    assert main() == 0
    written = json.loads((tmp_path / "cli.json").read_text())
    assert list(written["models"]) == [NAME]
    assert (tmp_path / "cli.json").stat().st_size < 20_000


def test_the_command_line_reports_a_missing_run_in_one_line(monkeypatch, tmp_path, capsys):
    arguments = ["--data-dir", tmp_path, "--runs", tmp_path, "--work", tmp_path, "--out", tmp_path / "cli.json"]
    monkeypatch.setattr("sys.argv", ["evaluate", *map(str, arguments)])
    assert main() == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'mnist-four-pixels-10-seed0'}: is not a finished")
    assert not (tmp_path / "cli.json").exists()
