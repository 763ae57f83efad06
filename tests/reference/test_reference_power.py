"""Detection by the size of the reference: the product's own p-values, exact figures, and nothing measured twice."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Cli
from sklearn.metrics import average_precision_score, roc_auc_score

from reference import power as module
from reference.datasets import load_digits
from reference.evaluate import held_out, open_case
from reference.files import write_class_folders, write_flat
from reference.power import Judged, Subject, draw, figures, fit, judge, main, read_subject, tables, write_subject
from reference.training import TrainConfig, train
from scanner.inputs.preprocess import PreprocessSpec

ROOT = Path(__file__).parents[2]
NAME = "digits-four-pixels-20-seed0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("power")
    train(TrainConfig("digits", "four-pixels", 0.2, 0, 8), load_digits(), folder, lambda _line: None)
    return folder


@pytest.fixture(scope="module")
def subject(runs: Path) -> Subject:
    return module.extract_subject(open_case(NAME, runs, runs, runs, module.SPLIT_SEED), inputs=200)


def test_a_subject_is_pairs_of_inputs_of_the_other_half(subject: Subject, runs: Path) -> None:
    case = open_case(NAME, runs, runs, runs, module.SPLIT_SEED)
    ours, theirs = held_out(case)
    assert np.array_equal(subject.reference.labels, ours.labels)
    assert 190 <= len(subject.aim) <= 200 < len(theirs)
    assert np.array_equal(subject.clean.labels, subject.triggered.labels)
    assert np.array_equal(subject.aim, (subject.clean.labels + 1) % 10)
    assert np.array_equal(subject.succeeds, subject.triggered.predicted == subject.aim)
    assert not np.array_equal(subject.clean.logits, subject.triggered.logits)


def test_an_image_of_the_attacks_own_class_is_no_success(subject: Subject) -> None:
    to_zero = replace(subject, aim=np.zeros_like(subject.aim))
    assert np.array_equal(to_zero.attacked, subject.clean.labels != 0)
    assert np.array_equal(to_zero.succeeds, (subject.clean.labels != 0) & (subject.triggered.predicted == 0))


def test_p_values_are_those_of_the_command_line(subject: Subject, runs: Path, tmp_path: Path, cli: Cli) -> None:
    case = open_case(NAME, runs, runs, runs, module.SPLIT_SEED)
    # `fit` reads class by class, and which fold an image is in depends on the order.
    rows = draw(subject.reference.labels, 200, 10, seed=0)
    rows = rows[np.argsort(subject.reference.labels[rows], kind="stable")]
    write_class_folders(tmp_path / "ref", held_out(case)[0].take(torch.from_numpy(rows)), case.data.classes)
    scanned = held_out(case)[1]
    spec = PreprocessSpec((8, 8), 1, None, "bilinear", False, 1 / 255, case.data.mean, case.data.std)
    (tmp_path / "spec.json").write_text(json.dumps(spec.to_dict()))
    write_flat(tmp_path / "inputs", case.attack.trigger.apply(scanned.images[:100]))
    profile, rows_file = tmp_path / "profile.h5", tmp_path / "rows.jsonl"
    fitted = cli(
        "fit", case.model, "--arch", "scnn", "--clean", tmp_path / "ref", "-o", profile,
        "--preprocess", tmp_path / "spec.json",
    )  # fmt: skip
    assert fitted.returncode == 0, fitted.stderr
    done = cli("scan", tmp_path / "inputs", "--profile", profile, "--rows", rows_file)
    assert done.returncode in (0, 1), done.stderr
    lines = [json.loads(line) for line in rows_file.read_text().splitlines()]
    everything = module.extract_subject(case)
    ours = judge(fit(everything.reference.take(rows), 10), everything.triggered.take(np.arange(100)))
    assert len(set(ours.p_values.tolist())) > 5
    # Power is that of densities: a batch of nothing but triggers shares units as well.
    assert [line["density_p_value"] for line in lines] == pytest.approx(ours.p_values.tolist(), abs=1e-6)
    assert [line["score"] for line in lines] == pytest.approx(ours.combined.tolist(), rel=1e-3, abs=1e-3)


def test_a_draw_has_as_many_images_of_every_class() -> None:
    labels = np.repeat(np.arange(3), (50, 20, 30))
    rows = draw(labels, 60, 3, seed=1)
    assert np.array_equal(np.bincount(labels[rows]), [20, 20, 20])
    assert np.array_equal(rows, np.unique(rows))
    assert np.array_equal(rows, draw(labels, 60, 3, seed=1))
    assert not np.array_equal(rows, draw(labels, 60, 3, seed=2))
    assert np.array_equal(np.bincount(labels[draw(labels, 90, 3, seed=1)]), [30, 20, 30])
    assert np.array_equal(draw(labels, 100, 3, seed=1), np.arange(100))


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    succeeds = rng.random(300) < 0.7
    clean = Judged(rng.normal(size=400), rng.random(400) * 0.05)
    triggered = Judged(rng.normal(size=300) + 2 * succeeds, rng.random(300) * 0.02)
    found = figures(clean, triggered, succeeds)
    for ending, kept in (("", np.ones(300, bool)), ("_where_the_attack_succeeds", succeeds)):
        scores = np.concatenate([clean.combined, triggered.combined[kept]])
        truth = np.repeat([0, 1], (400, kept.sum()))
        assert found["auroc" + ending] == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
        assert found["aupr" + ending] == pytest.approx(average_precision_score(truth, scores), abs=1e-6)
        limit = np.sort(clean.combined)[-5]  # four of 400 may be above
        at_1_percent = (triggered.combined[kept] > limit).mean()
        assert found["detection_at_1_percent" + ending] == pytest.approx(at_1_percent, abs=1e-6)
        flagged = (triggered.p_values[kept] <= 0.01).mean()
        assert found["detection_at_alpha" + ending] == pytest.approx(flagged, abs=1e-6)
    assert found["false_alarms_at_alpha"] == pytest.approx((clean.p_values <= 0.01).mean(), abs=1e-6)


def test_features_are_kept_for_the_model_they_are_of(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "a.npz"
    assert read_subject(path, "a" * 64) is None
    write_subject(path, subject, "a" * 64)
    assert read_subject(path, "b" * 64) is None
    found = read_subject(path, "a" * 64)
    assert found is not None
    assert (found.title, found.num_classes) == (subject.title, subject.num_classes)
    assert np.array_equal(found.aim, subject.aim)
    for part in module.PARTS:
        ours, theirs = getattr(subject, part), getattr(found, part)
        assert list(theirs.values) == list(ours.values)
        assert all(np.array_equal(theirs.values[key], ours.values[key]) for key in ours.values)
        assert np.array_equal(theirs.logits, ours.logits)
        assert np.array_equal(theirs.labels, ours.labels)


@pytest.fixture
def command(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sets up a command line on the small run, with two draws; returns the output file."""
    out = tmp_path / "out.json"
    options = {"--data-dir": runs, "--runs": runs, "--run": NAME, "--cache": runs / "cache", "--out": out}
    monkeypatch.setattr("sys.argv", ["power", *(str(part) for pair in options.items() for part in pair)])
    monkeypatch.setattr(module, "DRAWS", {50: 2, 5000: 1})
    return out


def test_what_is_measured_is_kept_and_an_interrupted_run_goes_on(
    command: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = module.measure
    done: list[tuple[int, int]] = []

    def until_killed(subject: Subject, count: int, seed: int) -> dict[str, float]:
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append((count, seed))
        return measure(subject, count, seed)

    monkeypatch.setattr(module, "measure", until_killed)
    with pytest.raises(KeyboardInterrupt):
        main()
    monkeypatch.setattr(module, "measure", measure)
    assert main() == 0
    result = json.loads(command.read_text())
    model = result["models"][NAME]
    assert [(len(draws), draws[0]["images"]) for draws in model["references"].values()] == [(2, 50), (1, 447)]
    assert [one["seed"] for one in model["references"]["50"]] == [0, 1]
    assert model["attack_success_rate"] > 0.5
    assert model["training"]["config"]["data"] == "digits"
    assert result["machine"]["versions"]["latentscan"]

    monkeypatch.setattr(module, "measure", None)
    capsys.readouterr()
    assert main() == 0
    assert capsys.readouterr().out.splitlines() == tables(result)
    assert json.loads(command.read_text()) == result


def test_figures_of_other_code_are_not_mixed(
    command: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "DRAWS", {50: 1})
    assert main() == 0
    capsys.readouterr()
    monkeypatch.setattr(module, "code_digest", lambda: "0" * 64)
    assert main() == 2
    assert "out.json: was measured with other code" in capsys.readouterr().err


def test_a_missing_run_is_one_line(
    command: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "RUNS", ("nowhere",))
    monkeypatch.setattr("sys.argv", [part for part in sys.argv if part not in ("--run", NAME)])
    assert main() == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert not command.exists()


def test_a_row_of_the_table_is_a_size() -> None:
    end = "_where_the_attack_succeeds"
    one = {
        "auroc": 0.99, "aupr": 0.98, "detection_at_alpha": 0.7, "false_alarms_at_alpha": 0.01,
        "auroc" + end: 0.995, "detection_at_alpha" + end: 0.8,
    }  # fmt: skip
    other = {**one, "detection_at_alpha" + end: 0.9, "false_alarms_at_alpha": 0.02}
    model = {"title": "digits", "clean_accuracy": 0.9, "attack_success_rate": 1.0, "references": {"1000": [one, other]}}
    lines = tables({"models": {"a": model, "b": {**model, "references": {}}}})
    assert lines[0] == lines[6] == "digits (clean accuracy 90.0%, attack success 100.0%):"
    assert lines[4] == "| 1,000 | 0.9900 | 0.9800 | 70.0% | 1.50% | 0.9950 | 85.0% | 80.0% |"
    assert [line.count("|") for line in lines] == [0, 0, 9, 9, 9, 0, 0, 0, 9, 9]


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "reference" / "results").glob("power*.json")))
def test_the_tables_in_the_documentation_are_those_of_the_result_files(name: str) -> None:
    result = json.loads((ROOT / "reference" / "results" / name).read_text())
    lines = (ROOT / "docs" / "measurements.md").read_text().splitlines()
    for model in result["models"].values():
        assert {int(count): len(draws) for count, draws in model["references"].items()} == module.DRAWS
    expected = tables(result)
    section = lines[next(i for i, line in enumerate(lines) if f"(../reference/results/{name}):" in line) :]
    assert section[2 : 2 + len(expected)] == expected
