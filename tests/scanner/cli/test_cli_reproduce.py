"""``modelscan reproduce`` as a process: the whole pipeline on digits, again, and what goes wrong."""

import json

import pytest


@pytest.fixture(scope="module")
def finished(cli, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reproduce")
    out = folder / "out"
    (folder / "tmp").mkdir()
    done = cli("reproduce", "--quick", "--rates", "0,20", "--out", out, TMPDIR=str(folder / "tmp"))
    assert done.returncode == 0, done.stderr
    assert list((folder / "tmp").iterdir()) == []
    return out, done


def test_everything_is_measured_and_written(finished):
    out, done = finished
    assert "left" in done.stderr
    assert "Table 1" in done.stdout
    assert done.stdout == (out / "tables.md").read_text()
    content = json.loads((out / "tables.json").read_text())
    assert {cell["name"]: sorted(cell["rows"]) for cell in content["cells"]} == {
        "digits-0-seed0": ["dnn"],
        "digits-20-seed0": ["bnn", "bnn-clean", "default", "df", "dnn"],
    }
    rows = content["cells"][1]["rows"]
    assert rows["dnn"]["triggered_accuracy"] > 0.9
    assert rows["default"]["aupr"] > 0.99
    assert rows["default"]["aupr"] >= rows["df"]["aupr"] > rows["dnn"]["aupr"]
    assert rows["default"]["machine"]["versions"]["torch"]
    page = (out / "index.html").read_text()
    for part in ("Table 1", "Table 2", "Table 3", "data:image/png;base64,", "<polyline", "Content-Security-Policy"):
        assert part in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    names = {path.name for path in (out / "figures").iterdir()}
    assert names >= {"digits-trigger.png", "digits-20-seed0-roc.svg", "digits-20-seed0-precision-recall.svg"}
    assert names >= {f"digits-20-seed0-scores-{row}.svg" for row in rows}


def test_a_rerun_does_only_what_is_missing(finished, cli):
    out, _ = finished
    path = out / "cells" / "digits-20-seed0.json"
    before = json.loads(path.read_text())
    model = (out / "runs" / "digits-four-pixels-20-seed0" / "model.pt").read_bytes()
    removed = before["rows"].pop("df")
    path.write_text(json.dumps(before))
    done = cli("reproduce", "--quick", "--rates", "0,20", "--out", out)
    assert done.returncode == 0, done.stderr
    after = json.loads(path.read_text())
    again = after["rows"].pop("df")
    assert after == before
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in removed.items() if k != "seconds"}
    assert (out / "runs" / "digits-four-pixels-20-seed0" / "model.pt").read_bytes() == model
    assert "epoch" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mnist"], "--data"),
        (["mnist", "--data", "nowhere"], "nowhere"),
        (["cifar10", "--data", "nowhere"], "nowhere"),
        (["--quick", "--rates", "ten"], "--rates"),
        (["--quick", "--rates", "5,500"], "--rates"),
        (["svhn"], "svhn"),
        (["--quick", "--device", "cuda"], "cuda"),
        (["panel"], "--data"),
        (["panel", "--data", "nowhere"], "nowhere"),
        (["panel", "--data", ".", "--networks", "alexnet"], "alexnet"),
        (["panel", "--quick", "--rates", "10"], "--rates"),
        (["mnist", "--data", ".", "--networks", "scnn"], "--networks"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments, says, cli, tmp_path):
    done = cli("reproduce", *arguments, "--out", tmp_path / "out", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert says in errors[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_results_are_not_taken_over_by_accident(finished, cli):
    out, _ = finished
    done = cli("reproduce", "--quick", "--out", out, "--no-resume")
    assert done.returncode == 2
    assert "results already" in done.stderr
    done = cli("reproduce", "--quick", "--rates", "20", "--epochs", "3", "--out", out)
    assert done.returncode == 2
    assert "80 epochs" in done.stderr


def test_a_download_without_a_network_is_one_line(cli, tmp_path):
    closed = "http://127.0.0.1:9"
    done = cli(
        "reproduce", "mnist", "--data", tmp_path, "--download", "--out", tmp_path / "out",
        http_proxy=closed, https_proxy=closed, HTTP_PROXY=closed, HTTPS_PROXY=closed,
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot be fetched" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_panel_on_digits(cli, tmp_path):
    done = cli("reproduce", "panel", "--quick", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "1 cells left, about" in done.stderr
    assert done.stdout == (tmp_path / "out" / "panel.md").read_text()
    assert "2 of 2 cells are measured" in done.stdout
    assert "STRIP" in done.stdout
    assert (tmp_path / "out" / "panel.svg").read_text().startswith("<svg")
