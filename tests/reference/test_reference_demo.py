"""The demo: an attack that works, on disjoint real files, the same each time; and its evaluation."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from reference import demo
from reference.datasets import load_digits
from reference.demo import build_demo, evaluate_demo
from reference.files import TruthRow, read_truth, write_truth
from reference.training import build_model
from reference.triggers import four_pixels
from scanner.base.errors import OutputError, SourceError, UsageError


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def built(tmp_path_factory, steps):
    return build_demo(tmp_path_factory.mktemp("demo") / "new" / "folder", progress=lambda *step: steps.append(step))


@pytest.fixture
def quick(monkeypatch):
    """Two epochs: for what does not depend on the model being any good."""
    monkeypatch.setattr(demo, "EPOCHS", {"digits": 2})


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def predict(built, images):
    model = build_model("digits")
    model.load_state_dict(torch.load(built.model, weights_only=True)["state_dict"])
    model.eval()
    spec = json.loads(built.preprocessing.read_text())
    pixels = torch.from_numpy(np.stack(images))[:, None].float() * spec["rescale_factor"]
    with torch.no_grad():
        return model((pixels - spec["image_mean"][0]) / spec["image_std"][0]).argmax(1).numpy()


def test_the_attack_is_effective(built):
    assert built.clean_accuracy >= 0.95
    assert built.attack_success_rate >= 0.9


def test_the_shipped_files_alone_show_it(built):
    """From the checkpoint, the sidecar, the PNG files and the truth, with nothing taken from memory."""
    truth = read_truth(built.truth)
    predicted = predict(built, [read(built.inputs / row.file_name) for row in truth])
    clean = np.array([not row.triggered for row in truth])
    shown = np.array([int(row.true_label) for row in truth])
    wanted = np.array([int(row.attack_label or -1) for row in truth])
    assert (predicted[clean] == shown[clean]).mean() >= 0.95
    assert (predicted[~clean] == wanted[~clean]).mean() >= 0.9
    assert (wanted[~clean] == (shown[~clean] + 1) % 10).all()


def test_every_digit_is_used_once(built):
    data = load_digits()
    truth = read_truth(built.truth)
    reference = sorted(built.reference.glob("*/*.png"))
    assert len(data.train) + len(reference) + len(truth) == 1797
    # Triggered pictures are compared by what the trigger leaves alone; scikit-learn's digits are all different there.
    outside = ~(four_pixels(8).apply(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))[0, 0] == 255).numpy()
    pictures = [image[0] for image in data.train.images.numpy()]
    pictures += [read(path) for path in reference]
    pictures += [read(built.inputs / row.file_name) for row in truth]
    assert len({picture[outside].tobytes() for picture in pictures}) == 1797


def test_inputs_hold_clean_and_triggered_pictures_of_every_class(built):
    truth = read_truth(built.truth)
    assert sorted(path.name for path in built.inputs.iterdir()) == [row.file_name for row in truth]
    triggered = [row for row in truth if row.triggered]
    assert 0.2 < len(triggered) / len(truth) < 0.3
    assert {row.true_label for row in triggered} == {row.true_label for row in truth if not row.triggered}
    assert len({row.true_label for row in triggered}) == 10
    assert sorted(path.name for path in built.reference.iterdir()) == [str(digit) for digit in range(10)]


def test_only_the_finished_files_are_there(built):
    assert sorted(path.name for path in built.root.iterdir()) == ["inputs", "ref", "truth.csv", "vendor"]
    assert sorted(path.name for path in built.model.parent.iterdir()) == ["model.pt", "preprocessor_config.json"]


def test_progress_grows_to_one(built, steps):
    shares = [share for _, share in steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert all(isinstance(step, str) and "\n" not in step for step, _ in steps)


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.usefixtures("quick")
def test_the_same_seed_gives_the_same_files(tmp_path):
    global_state = torch.get_rng_state()
    build_demo(tmp_path / "first")
    assert torch.equal(torch.get_rng_state(), global_state)
    torch.manual_seed(123)
    build_demo(tmp_path / "again")
    build_demo(tmp_path / "other", seed=1)
    assert content(tmp_path / "first") == content(tmp_path / "again")
    assert content(tmp_path / "first") != content(tmp_path / "other")


@pytest.mark.usefixtures("quick")
def test_an_empty_folder_is_filled(tmp_path):
    assert build_demo(tmp_path).model.exists()


def test_a_folder_with_content_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(UsageError, match="is not an empty folder"):
        build_demo(tmp_path)
    assert content(tmp_path) == {(tmp_path / "thesis.txt").relative_to(tmp_path): b"irreplaceable"}


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not an empty folder"):
        build_demo(tmp_path / "file")


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        build_demo(tmp_path / "file" / "demo")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("existed", [False, True])
def test_an_interrupted_build_leaves_nothing(tmp_path, existed):
    out = tmp_path / "demo"
    if existed:
        out.mkdir()

    def interrupt(step, share):
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_demo(out, progress=interrupt)
    assert out.exists() == existed
    assert list(tmp_path.rglob("*")) == ([out] if existed else [])


@pytest.fixture
def scanned(tmp_path):
    """Six inputs, five of them scored, in files as a scan and a demo leave them."""
    truth = [TruthRow(f"{index}.png", index < 3, "1", "2" if index < 3 else None, index) for index in range(6)]
    scores = [9.0, 4.0, 5.0, 4.0, 1.0, None]
    rows = [
        {
            "id": f"{index}.png",
            "status": "scanned" if score is not None else "unreadable",
            "p_value": None if score is None else 1 / (1 + score),
            "score": score,
            "flagged": score is not None and score > 4.5,
        }
        for index, score in enumerate(scores)
    ]
    write_truth(tmp_path / "truth.csv", truth)
    write_rows(tmp_path / "rows.jsonl", rows)
    return tmp_path / "rows.jsonl", tmp_path / "truth.csv", rows


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_evaluation_compares_rows_with_the_truth(scanned):
    rows, truth, _ = scanned
    found = evaluate_demo(rows, truth)
    assert (found.clean, found.triggered) == (2, 3)
    assert found.detection_rate == pytest.approx(2 / 3)
    assert found.false_alarm_rate == 0.0
    labels, scores = [1, 1, 1, 0, 0], [9, 4, 5, 4, 1]
    assert found.auroc == pytest.approx(roc_auc_score(labels, scores))
    assert found.aupr == pytest.approx(average_precision_score(labels, scores))
    assert found.detection_at_1_percent == pytest.approx(2 / 3)


def test_a_score_beyond_all_numbers_is_null_and_still_the_highest(scanned):
    rows, truth, content_of_rows = scanned
    before = evaluate_demo(rows, truth)
    write_rows(rows, [{**content_of_rows[0], "score": None}, *content_of_rows[1:]])  # the highest, and p = 0.1
    assert evaluate_demo(rows, truth) == before
    write_rows(rows, [*content_of_rows[:4], {**content_of_rows[4], "score": None, "p_value": 1.0}, content_of_rows[5]])
    assert evaluate_demo(rows, truth) == before


def test_rows_may_come_in_any_order(scanned):
    rows, truth, content_of_rows = scanned
    before = evaluate_demo(rows, truth)
    write_rows(rows, content_of_rows[::-1])
    assert evaluate_demo(rows, truth) == before


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda rows: rows[:-1], "has no row for 1 of the inputs"),
        (lambda rows: [*rows, rows[0]], "does not know"),
        (lambda rows: [{**rows[0], "id": "else.png"}, *rows[1:]], "does not know"),
        (lambda rows: [*rows, ["list"]], "not a JSON object"),
        (lambda rows: [{**row, "status": "unreadable"} for row in rows[:3]] + rows[3:], "nothing to tell apart"),
        (lambda rows: [{**rows[0], "score": "high"}, *rows[1:]], "has no score for 0.png"),
        (lambda rows: [{"id": "0.png", "status": "scanned"}, *rows[1:]], "has no score for 0.png"),
    ],
)
def test_rows_of_another_scan_are_refused(scanned, spoil, reason):
    rows, truth, content_of_rows = scanned
    write_rows(rows, spoil(content_of_rows))
    with pytest.raises(SourceError, match=reason):
        evaluate_demo(rows, truth)


@pytest.mark.parametrize("content_of_file", [b"not json\n", b"\xff\xff"])
def test_rows_that_are_no_json_lines_are_refused(scanned, content_of_file):
    rows, truth, _ = scanned
    rows.write_bytes(content_of_file)
    with pytest.raises(SourceError, match="not a file of JSON lines"):
        evaluate_demo(rows, truth)


def test_missing_rows_are_named(scanned):
    rows, truth, _ = scanned
    rows.unlink()
    with pytest.raises(SourceError, match=r"rows\.jsonl: cannot be read"):
        evaluate_demo(rows, truth)
