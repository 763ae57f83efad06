"""The comparison of densities and weight draws: its figures against scikit-learn, and one small model through it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from reference import compare_bayesian as module
from reference.compare_bayesian import figures, measure, table
from reference.datasets import load_digits
from reference.evaluate import Case, open_case, write_case
from reference.files import read_truth
from reference.training import TrainConfig, train
from scanner.fitting.options import BayesianOptions
from scanner.profile.reader import read_profile

NAME = "digits-four-pixels-20-seed0"
VARIANT = "last 1, fine-tuned"
PAIRS = 60


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    triggered = rng.random(600) < 0.5
    successful = triggered & (rng.random(600) < 0.7)
    values = rng.normal(size=600) + 2.0 * successful
    p = rng.random(600)
    found = figures(values, p, triggered, successful)
    assert found["auroc"] == pytest.approx(roc_auc_score(triggered, values), abs=1e-6)
    assert found["aupr"] == pytest.approx(average_precision_score(triggered, values), abs=1e-6)
    clean = np.sort(values[~triggered])[::-1]
    limit = clean[int(0.01 * len(clean))]  # one more than may be found
    assert found["detection_at_1_percent"] == pytest.approx((values[triggered] > limit).mean(), abs=1e-6)
    assert found["detection_at_1_percent_where_the_attack_succeeds"] == pytest.approx(
        (values[successful] > limit).mean(), abs=1e-6
    )
    assert found["flagged_triggered"] == pytest.approx((p[triggered] <= module.ALPHA).mean(), abs=1e-6)
    assert found["flagged_clean"] == pytest.approx((p[~triggered] <= module.ALPHA).mean(), abs=1e-6)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("compare")
    train(TrainConfig("digits", "four-pixels", 0.2, 0, 2), load_digits(), folder / "runs", lambda _line: None)
    case = open_case(NAME, folder / "runs", folder, folder / "work", 0)
    write_case(case)
    return case


@pytest.fixture(scope="module")
def measured(case: Case) -> Mapping[str, object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "VARIANTS", {VARIANT: BayesianOptions(layers="1", samples=4, epochs=1)})
        return measure(case, VARIANT, PAIRS)


def test_a_model_is_fitted_scanned_and_compared(case: Case, measured: Mapping[str, object]) -> None:
    path = case.folder / "bayesian" / "last-1-fine-tuned.h5"
    profile = read_profile(path)
    assert profile.header.bayesian is not None
    assert (profile.header.bayesian.layers, len(profile.header.bayesian.weights)) == ("1", 1)
    assert set(measured["scores"]) == {"combined", "bald", "predictive-entropy", "expected-entropy", "variation-ratio"}
    assert measured["posterior"]["tensors"] == 1
    assert measured["profile_bytes"] == path.stat().st_size
    assert measured["cpu_seconds_per_1000_images"] > 0

    triggered, successful, correct, scores = module.scan(case, profile, PAIRS)
    assert (triggered.sum(), len(triggered), len(scores)) == (PAIRS, 2 * PAIRS, 2 * PAIRS)
    assert measured["clean_accuracy"] == pytest.approx(correct[~triggered].mean(), abs=1e-6)
    assert measured["attack_success_rate"] == pytest.approx(successful[triggered].mean(), abs=1e-6)
    bald = scores[:, 0, [score.kind for score in profile.header.scores].index("bald")]
    np.testing.assert_array_equal(scores[:, :, -4:], scores[:, :1, -4:].repeat(scores.shape[1], axis=1))
    assert measured["scores"]["bald"]["auroc"] == pytest.approx(roc_auc_score(triggered, bald), abs=1e-6)


@pytest.mark.usefixtures("measured")
def test_the_pictures_that_are_scanned_are_pairs_chosen_by_the_seed(case: Case, monkeypatch) -> None:
    seen: list[list[str]] = []
    run_pipeline = module.run_pipeline

    def watched(source, *arguments, items, **named):
        seen.append([item.id for item in items])
        return run_pipeline(source, *arguments, items=items, **named)

    monkeypatch.setattr(module, "run_pipeline", watched)
    profile = read_profile(case.folder / "bayesian" / "last-1-fine-tuned.h5")
    for _ in range(2):
        module.scan(case, profile, 10)
    assert seen[0] == seen[1]
    sources: dict[str, list[bool]] = {}
    for row in read_truth(case.images / "truth.csv"):
        if row.file_name in seen[0]:
            sources.setdefault(row.source, []).append(row.triggered)
    assert len(sources) == 10
    assert all(sorted(pair) == [False, True] for pair in sources.values())


def test_what_is_finished_is_read_back(case: Case, measured: Mapping[str, object], monkeypatch) -> None:
    monkeypatch.setattr(module, "_fit", None)
    assert measure(case, VARIANT, PAIRS) == measured


def test_a_fit_that_is_finished_is_not_repeated(case: Case, measured: Mapping[str, object], monkeypatch) -> None:
    (case.folder / "bayesian" / "last-1-fine-tuned.json").unlink()
    monkeypatch.setattr(module, "fit", None)
    again = measure(case, VARIANT, PAIRS)
    timed = "cpu_seconds_per_1000_images"
    assert {**again, timed: None} == {**measured, timed: None}


def test_a_row_of_the_table_is_a_variant() -> None:
    scores = {
        "auroc": 0.9,
        "aupr": 0.8,
        "detection_at_1_percent": 0.25,
        "detection_at_1_percent_where_the_attack_succeeds": 0.5,
    }
    plain = {"scores": {"combined": scores}, "cpu_seconds_per_1000_images": 1.0}
    drawn = {"scores": {"combined": scores, "bald": {**scores, "auroc": 0.6}}, "cpu_seconds_per_1000_images": 7.0}
    assert table({"variants": {"densities": plain, VARIANT: drawn}}) == [
        "| densities | 90.00 | 80.00 | 25.0% | 50.0% | 1.00 |",
        f"| BALD alone ({VARIANT}) | 60.00 | 80.00 | 25.0% | 50.0% | 7.00 |",
        f"| both combined ({VARIANT}) | 90.00 | 80.00 | 25.0% | 50.0% | 7.00 |",
    ]


def test_results_may_be_written_as_json(measured: Mapping[str, object], tmp_path: Path) -> None:
    assert json.loads(json.dumps(measured)) == measured
