"""Reproducing the tables: figures, cells, tables and plots, and the rows against the product itself."""

import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from reference.datasets import ImageSet, load_digits
from reference.files import write_class_folders, write_flat
from reference.metrics import curves
from reference.reproduction import published
from reference.reproduction.cell import Cell, load_cell, load_cells, rows_at, save_cell
from reference.reproduction.estimate import Estimate
from reference.reproduction.measured import Measured, Truth, figures
from reference.reproduction.plots import example_png, histogram_svg, precision_recall_svg, roc_svg
from reference.reproduction.rows import measure_row, open_bench
from reference.reproduction.run import ReproduceOptions, parse_rates, plan
from reference.reproduction.tables import build_tables, markdown, tables_json, tables_markdown
from reference.training import TrainConfig
from scanner.base.errors import SourceError, UsageError
from scanner.fitting.fit import fit
from scanner.fitting.options import FitOptions
from scanner.inputs.spec import PreprocessSpec
from scanner.scoring.scorer import Scorer

CONFIG = TrainConfig("mnist", "four-pixels", 0.1, seed=0, epochs=6)


class Silent:
    def say(self, text):
        del text

    def task(self, name, total):
        del name, total
        return lambda done: None


def row(clean=0.99, triggered=0.4, aupr=0.9, auroc=0.95, seed=0):
    generator = np.random.default_rng(seed)
    measured = Measured(
        generator.normal(size=50), generator.normal(2, size=50), np.zeros(50, np.int64), np.ones(50, np.int64)
    )
    found = figures(measured, Truth(np.zeros(50, np.int64), np.ones(50, np.int64), np.ones(50, bool)))
    return found | {"clean_accuracy": clean, "triggered_accuracy": triggered, "aupr": aupr, "auroc": auroc}


def cell(config=CONFIG, **rows):
    training = {
        "config": {"data": config.data, "attack": config.attack, "rate": config.rate, "seed": config.seed,
                   "epochs": config.epochs},
        "data": "MNIST", "trigger": "four pixels", "clean_accuracy": 0.99, "attack_success_rate": 0.98,
        "seconds": 60.0, "precision": "float32", "machine": "test",
    }  # fmt: skip
    return Cell(config, training, rows)


scores = st.lists(st.floats(-5, 5).map(lambda v: round(v, 1)), min_size=1, max_size=30)


@given(scores, scores)
def test_curves_are_scikit_learns(clean, triggered):
    truth = np.array([False] * len(clean) + [True] * len(triggered))
    values = np.array(clean + triggered)
    false_alarms, recall, precision = curves(truth, values)
    theirs = roc_curve(truth, values, drop_intermediate=False)
    np.testing.assert_allclose(false_alarms, theirs[0][1:])
    np.testing.assert_allclose(recall, theirs[1][1:])
    theirs_precision, theirs_recall, _ = precision_recall_curve(truth, values, drop_intermediate=False)
    np.testing.assert_allclose(precision, theirs_precision[:-1][::-1])
    np.testing.assert_allclose(recall, theirs_recall[:-1][::-1])


def test_figures_are_scikit_learns_and_the_plots_lie_on_the_curves():
    generator = np.random.default_rng(0)
    clean, triggered = generator.normal(size=400), generator.normal(1, size=400)
    labels, attack = generator.integers(0, 3, 400), generator.integers(0, 3, 400)
    given_clean, given_triggered = generator.integers(0, 3, 400), generator.integers(0, 3, 400)
    succeeds = given_triggered == attack
    found = figures(Measured(clean, triggered, given_clean, given_triggered), Truth(labels, attack, succeeds))
    truth, values = np.repeat([False, True], 400), np.concatenate((clean, triggered))
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, values), abs=1e-6)
    assert found["aupr"] == pytest.approx(average_precision_score(truth, values), abs=1e-6)
    assert found["clean_accuracy"] == pytest.approx((given_clean == labels).mean(), abs=1e-6)
    assert found["triggered_accuracy"] == pytest.approx((given_triggered == attack).mean(), abs=1e-6)
    kept = np.concatenate((np.ones(400, bool), succeeds))
    assert found["aupr_where_the_attack_succeeds"] == pytest.approx(
        average_precision_score(truth[kept], values[kept]), abs=1e-6
    )
    whole = {(round(f, 4), round(r, 4)) for f, r, _ in zip(*curves(truth, values), strict=True)}
    plots = found["plots"]
    assert set(zip(*plots["roc"], strict=True)) <= whole
    assert plots["roc"][1][-1] == 1.0
    assert len(plots["roc"][0]) <= 210
    assert sum(plots["histogram"]["clean"]) == sum(plots["histogram"]["triggered"]) == 400


def test_the_published_tables_are_complete():
    for table in (published.ACCURACY, published.AUPR, published.AUROC):
        for key, series in table.items():
            assert len(series) == len(published.RATES)
            assert all(0 < value <= 100 for value in series if value is not None), key
    assert published.AUPR.keys() == published.AUROC.keys()
    assert {(name, method) for name, _, method in published.ACCURACY} == set(published.AUPR)
    assert published.at(published.AUPR["cifar10", "bnn"], 0.1) == 92.24
    assert published.at(published.AUPR["cifar10", "bnn"], 0.15) is None
    assert published.at(None, 0.1) is None


class TestCells:
    def test_round_trip_and_what_is_missing(self, tmp_path):
        made = cell(dnn=row(), df=row())
        assert made.name == "mnist-10-seed0"
        save_cell(tmp_path, made)
        again = load_cell(tmp_path, CONFIG)
        assert (again.training, again.rows) == (made.training, json.loads(json.dumps(made.rows)))
        assert again.missing == ("bnn", "bnn-clean", "default")
        assert [found.name for found in load_cells(tmp_path)] == ["mnist-10-seed0"]

    def test_without_backdoored_samples_there_is_the_network_alone(self):
        assert rows_at(0.0) == ("dnn",)
        assert Cell(replace(CONFIG, rate=0.0)).missing == ("dnn",)

    def test_other_settings_and_damage_are_refused(self, tmp_path):
        save_cell(tmp_path, cell(dnn=row()))
        with pytest.raises(SourceError, match="6 epochs"):
            load_cell(tmp_path, replace(CONFIG, epochs=7))
        (tmp_path / "mnist-10-seed0.json").write_text("{")
        with pytest.raises(SourceError, match="not a finished cell"):
            load_cell(tmp_path, CONFIG)
        with pytest.raises(SourceError, match="not a finished cell"):
            list(load_cells(tmp_path))


class TestPlan:
    def test_rates(self):
        assert parse_rates("0,10, 50,10") == (0.0, 0.1, 0.5)
        assert all(rate in published.RATES for rate in parse_rates("0,10,20,30,40,50"))

    @pytest.mark.parametrize("text", ["", "ten", "10,", "-1", "101", "nan", "12.5", "inf"])
    def test_bad_rates(self, text):
        with pytest.raises(UsageError, match="no list of percentages"):
            parse_rates(text)

    def test_first_all_rates_of_the_first_seed(self, tmp_path):
        configs = plan(ReproduceOptions(("mnist",), (0.0, 0.1), 2, tmp_path, tmp_path, epochs=3))
        assert [(c.seed, c.rate) for c in configs] == [(0, 0.0), (0, 0.1), (1, 0.0), (1, 0.1)]
        assert {(c.attack, c.epochs) for c in configs} == {("four-pixels", 3)}


def test_the_estimate_counts_down_at_the_speed_seen_so_far():
    now = 0.0
    clean = replace(CONFIG, rate=0.0, epochs=2)
    estimate = Estimate([Cell(clean)], clock=lambda: now)
    assert estimate.left() == "time left unknown"
    now = 30.0
    estimate.epoch_finished(clean)
    # One more epoch of 30 s, and the network's own row at 0.3 of one.
    assert estimate.left() == "about 39 s left"
    estimate.training_finished(clean)
    assert estimate.left() == "about 9 s left"
    estimate.row_finished(clean, "dnn")
    assert estimate.left() == "done"
    assert Estimate([cell(clean, dnn=row())]).left() == "done"


class TestTables:
    def cells(self):
        second = replace(CONFIG, seed=1)
        return [cell(df=row(aupr=0.99, clean=0.98)), cell(second, df=row(aupr=0.97, clean=0.98))]

    def test_published_measured_and_difference(self):
        tables = {table.key: table for table in build_tables(self.cells())}
        (line,) = tables["aupr"].lines
        (entry,) = line.entries
        assert (line.data, line.method, entry.published) == ("mnist", "df", 99.43)
        assert entry.measured == (99.0, 97.0)
        assert entry.difference == pytest.approx(98.0 - 99.43)
        text = markdown(tables["aupr"])
        assert "| MNIST | DF | published | 99.43 |" in text
        assert "|  |  | measured | 98.00 ±1.00 |" in text
        assert "|  |  | difference | -1.43 |" in text
        accuracy = [(line.images, line.method) for line in tables["accuracy"].lines]
        assert accuracy == [("clean", "df"), ("triggered", "df")]

    def test_json_names_every_model(self):
        content = json.loads(json.dumps(tables_json(self.cells())))
        assert [c["name"] for c in content["cells"]] == ["mnist-10-seed0", "mnist-10-seed1"]
        assert "plots" not in content["cells"][0]["rows"]["df"]
        entry = content["tables"]["aupr"]["lines"][0]["entries"][0]
        assert entry == {"rate": 0.1, "published": 99.43, "measured": [99.0, 97.0], "difference": -1.43}

    def test_rows_that_the_paper_lacks_have_nothing_to_compare(self):
        text = markdown(build_tables([cell(default=row(aupr=1.0))])[1])
        assert "| MNIST | default detector | measured | 100.00 |" in text
        assert "published" not in text


def test_the_documented_tables_are_those_of_the_committed_models():
    root = Path(__file__).parents[2]
    results = root / "reference" / "results" / "reproduction"
    cells = list(load_cells(results / "cells"))
    assert json.loads((results / "tables.json").read_text()) == json.loads(json.dumps(tables_json(cells)))
    page = (root / "docs" / "reproduction.md").read_text()
    block = page.partition("<!-- tables: begin -->\n")[2].partition("<!-- tables: end -->")[0]
    assert block.strip() == tables_markdown(cells).strip()


class TestPlots:
    def test_long_tails_are_drawn_on_a_logarithmic_axis(self):
        truth = Truth(np.zeros(100, np.int64), np.ones(100, np.int64), np.ones(100, bool))
        classes = np.zeros(100, np.int64)

        def histogram(clean, triggered):
            return figures(Measured(clean, triggered, classes, classes), truth)["plots"]["histogram"]

        even = np.linspace(0, 1, 100)
        assert histogram(even, even)["scale"] == "linear"
        tailed = histogram(10.0 ** (-9 * even), 10.0 ** (-3 * even))
        assert tailed["scale"] == "log10"
        assert (round(tailed["edges"][0]), round(tailed["edges"][-1])) == (-9, 0)
        assert histogram(even - 0.5, 10.0 ** (9 * even))["scale"] == "signed log10"
        infinite = histogram(even, np.where(even > 0.5, np.inf, even))
        assert sum(infinite["triggered"]) == 100
        assert histogram(np.zeros(100), np.zeros(100))["clean"][0] == 100

    def test_svgs_are_well_formed_and_hold_no_script(self):
        made = cell(dnn=row(), default=row(seed=1))
        for picture in (roc_svg(made), precision_recall_svg(made), histogram_svg(made, "dnn")):
            root = ET.fromstring(picture)
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert not any(element.tag.endswith("script") for element in root.iter())
        assert roc_svg(made).count("<polyline") == 2

    def test_the_example_shows_the_trigger_and_nothing_else(self):
        data = load_digits()
        pixels = np.asarray(Image.open(io.BytesIO(example_png(data, "four-pixels"))))[3::6, 3::6]
        clean, triggered, difference = pixels[:8], pixels[10:18], pixels[20:28]
        assert clean.shape == triggered.shape == difference.shape
        tiles = slice(0, 8)
        np.testing.assert_array_equal(
            difference[:, tiles], np.abs(triggered[:, tiles].astype(int) - clean[:, tiles]).astype(np.uint8)
        )
        assert np.count_nonzero(difference[:, tiles]) == 4


@pytest.fixture(scope="module")
def bench(demo_files):
    """The demo's network, on digits in the order of their classes, as class folders have them."""
    data = load_digits()
    order = data.test.labels.argsort(stable=True)
    ordered = replace(data, test=data.test.take(order))
    config = TrainConfig("digits", "four-pixels", 0.2, seed=0, epochs=80)
    return open_bench(config, ordered, demo_files / "vendor", "cpu", Silent())


def test_the_default_row_is_what_fit_and_scan_find(bench, tmp_path):
    write_class_folders(tmp_path / "ref", bench.reference, bench.data.classes)
    options = FitOptions(
        bench.folder / "model.pt", tmp_path / "ref", tmp_path / "p.h5", architecture="scnn", device="cpu"
    )
    profile = fit(options, Silent()).profile
    scorer = Scorer(profile, "cpu")
    spec = PreprocessSpec.from_dict(profile.header.preprocess.spec)
    assert spec.channels == 1
    found = measure_row(bench, "default")
    from scanner.profile.calibration_arrays import calibration_from_arrays

    calibration = calibration_from_arrays(profile.calibration, profile.header.scores)
    for kind, images in (("clean", bench.clean), ("triggered", bench.triggered)):
        outputs = scorer.run(images.images.permute(0, 2, 3, 1).numpy())
        judged = calibration.judge(outputs["scores"].astype(np.float64))
        for alpha in (0.01, 0.05):
            flagged = float((judged.p_values <= alpha * (1 + 1e-12)).mean())
            # float32 against float64: an image may fall on the other side of a calibration score.
            assert found[f"flagged_at_alpha_{alpha:g}"][kind] == pytest.approx(flagged, abs=1.5 / len(images))
        if kind == "clean":
            classes = outputs["class_evidence"].argmin(1)
            accuracy = float((classes == images.labels.numpy()).mean())
            assert found["clean_accuracy"] == pytest.approx(accuracy, abs=1.5 / len(images))


def test_the_network_and_density_rows(bench):
    network, density = measure_row(bench, "dnn"), measure_row(bench, "df")
    assert network["clean_accuracy"] > 0.95
    assert network["triggered_accuracy"] > 0.9
    # The attack moves the network's class and not that of the features: the paper's table 1.
    assert density["clean_accuracy"] > 0.95
    assert density["triggered_accuracy"] < 0.5
    assert density["auroc"] > network["auroc"]


def test_images_are_written_losslessly(tmp_path):
    data = load_digits()
    few = ImageSet(data.test.images[:3], data.test.labels[:3])
    names = write_flat(tmp_path / "flat", few.images)
    back = [np.asarray(Image.open(tmp_path / "flat" / name)) for name in names]
    np.testing.assert_array_equal(np.stack(back), few.images[:, 0].numpy())
