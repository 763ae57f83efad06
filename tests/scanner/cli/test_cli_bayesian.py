"""``fit --bayesian`` and ``scan`` of what it writes, as processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scanner.base.errors import ProfileError
from scanner.cli.fit_summary import fit_summary
from scanner.fitting.fit import FitResult
from scanner.profile.content import Profile
from scanner.profile.header import DeterministicNodes
from scanner.profile.reader import read_profile
from scanner.profile.writer import write_profile
from scanner.scanning import open_scan
from scanner.scanning.options import ScanOptions
from scanner.scoring import scorer as score
from scanner.scoring.scorer import Scorer

FEW = ("--bayesian-samples", "6", "--bayesian-epochs", "1")


@pytest.fixture(scope="module")
def fitted(cli, demo_files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A profile with a fine-tuned posterior, and what `fit` said."""
    path = tmp_path_factory.mktemp("bayesian") / "b.h5"
    done = cli(*fit_arguments(demo_files, path), *FEW, "--checkpoint", path.parent / "states")
    assert done.returncode == 0, done.stderr
    return path, done.stderr


def fit_arguments(demo_files: Path, path: Path) -> list[str | Path]:
    model = demo_files / "vendor" / "model.pt"
    return ["fit", model, "--arch", "scnn", "--clean", demo_files / "ref", "-o", path, "--bayesian"]


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_profile_says_what_its_posterior_is(cli, fitted) -> None:
    path, said = fitted
    info = read_profile(path).header.bayesian
    assert info is not None
    assert (info.posterior, info.reason, info.samples, info.layers) == ("fine-tuned", None, 6, "last-stage")
    assert info.training["epochs"] == 1
    assert abs(info.clean_accuracy - info.network_accuracy) < 0.05
    assert "bayesian: a posterior over 2 of 4 weight tensors (last-stage)" in said
    assert "epoch 1/1, cross-entropy" in said
    shown = cli("inspect", path)
    assert "fine-tuned, 6 draws of 2 weight tensors" in shown.stdout


def test_a_scan_finds_the_backdoor_states_its_cost_and_repeats_itself(cli, fitted, demo_files, tmp_path) -> None:
    path, _ = fitted
    contents = []
    for name, threads in (("a", "1"), ("b", "3")):
        rows = tmp_path / f"{name}.jsonl"
        report = tmp_path / f"{name}.json"
        arguments = ["scan", demo_files / "inputs", "--profile", path, "--report", report, "--rows", rows]
        done = cli(*arguments, "--threads", threads)
        assert done.returncode == 1, done.stderr
        assert "6 draws of 2 weight tensors (last-stage, fine-tuned); expected" in done.stderr
        contents.append(rows.read_bytes())
    assert contents[0] == contents[1]
    first = rows_of(tmp_path / "a.jsonl")[0]
    assert {key for key in first["scores"] if key.startswith("bayesian:")} == {
        "bayesian:bald",
        "bayesian:predictive-entropy",
        "bayesian:expected-entropy",
        "bayesian:variation-ratio",
    }
    report = json.loads((tmp_path / "a.json").read_text())
    named = {top["key"] for row in rows_of(tmp_path / "a.jsonl") for top in row["top_scores"]}
    assert not named & {key for key in first["scores"] if key.startswith("bayesian:") and key != "bayesian:bald"}
    assert report["detector"]["parameters"]["bayesian"]["posterior"] == "fine-tuned"
    entering = {score["key"]: score["combined"] for score in report["detector"]["scores"]}
    assert entering["bayesian:bald"]
    assert not entering["bayesian:predictive-entropy"]


def test_a_scan_with_a_posterior_never_imports_torch(fitted, demo_files) -> None:
    path, _ = fitted
    code = (
        "import sys\nfrom scanner.cli.main import run\n"
        f"run(['scan', {str(demo_files / 'inputs')!r}, '--profile', {str(path)!r}, '-q'])\n"
        "print(sorted({'torch', 'onnx', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_untrained_posterior_is_called_so_everywhere(cli, demo_files, tmp_path) -> None:
    path, rows, report = tmp_path / "u.h5", tmp_path / "u.jsonl", tmp_path / "u.json"
    others = [tmp_path / name for name in ("u.sarif", "u.xml", "u.md", "u.html")]
    arguments = ("--bayesian-epochs", "0", "--bayesian-layers", "all", "--bayesian-samples", "3")
    done = cli(*fit_arguments(demo_files, path), *arguments)
    assert done.returncode == 0, done.stderr
    assert "untrained posterior (no epochs were asked for)" in done.stderr
    assert "untrained posterior around the model's weights" in done.stderr
    reports = [argument for name in (report, *others) for argument in ("--report", name)]
    done = cli("scan", demo_files / "inputs", "--profile", path, "--rows", rows, *reports)
    assert done.returncode == 1, done.stderr
    assert "(all, untrained)" in done.stderr
    assert "bayesian-untrained:bald" in rows_of(rows)[0]["scores"]
    text = json.loads(report.read_text())
    assert text["detector"]["parameters"]["bayesian"]["posterior"] == "untrained"
    assert any("untrained posterior" in warning for warning in text["warnings"])
    for other in others:
        assert "an untrained posterior around the model" in other.read_text(), other.name


@pytest.mark.slow
def test_a_finished_training_is_resumed_and_a_foreign_one_refused(cli, fitted, demo_files, tmp_path) -> None:
    path, _ = fitted
    states = path.parent / "states"
    delta = read_profile(path).header.bayesian.delta
    names = ["posterior", *(f"fold-{k}" for k in range(5))]
    assert {item.name for item in states.iterdir()} == {f"{name}-delta-{delta}.pt" for name in names}
    again = tmp_path / "again.h5"
    done = cli(*fit_arguments(demo_files, again), *FEW, "--checkpoint", states)
    assert done.returncode == 0, done.stderr
    assert "epoch" not in done.stderr
    assert read_profile(again).digest == read_profile(path).digest
    done = cli(*fit_arguments(demo_files, again), *FEW, "--checkpoint", states, "--bayesian-prior-std", "0.2")
    assert done.returncode == 2
    assert "belongs to a fit of another model, reference or setting" in done.stderr
    others = tmp_path / "ref"  # as many images of as many classes, and one of them another one
    shutil.copytree(demo_files / "ref", others)
    image, other = sorted(others.rglob("*.png"))[:2]
    shutil.copy(other, image)
    arguments = fit_arguments(demo_files, again)
    arguments[arguments.index(demo_files / "ref")] = others
    done = cli(*arguments, *FEW, "--checkpoint", states)
    assert done.returncode == 2, done.stderr
    assert "belongs to a fit of another model, reference or setting" in done.stderr
    (states / f"posterior-delta-{delta}.pt").write_bytes(b"PK\x03\x04 nonsense")
    done = cli(*fit_arguments(demo_files, again), *FEW, "--checkpoint", states)
    assert done.returncode == 2
    assert "is not a training state" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bayesian", "--bayesian-layers", "half"), "is no choice of layers"),
        (("--bayesian", "--bayesian-delta", "0"), "is not between 0 and 10"),
        (("--bayesian", "--bayesian-prior-std", "nan"), "is not between 0 and 10"),
        (("--bayesian-prior-std", "0.5"), "are set without it"),
        (("--bayesian-samples", "10"), "are set without it"),
        pytest.param(
            ("--bayesian", "--bayesian-delta", "9"),
            "fine-tuning was stopped: clean accuracy fell",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_bad_options_give_one_line_and_no_profile(cli, demo_files, tmp_path, arguments, message) -> None:
    path = tmp_path / "none.h5"
    done = cli(*fit_arguments(demo_files, path)[:-1], *arguments)
    assert done.returncode == 2
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert not path.exists()


def test_a_fit_that_fails_early_leaves_no_folder_for_checkpoints(cli, demo_files, tmp_path) -> None:
    arguments = fit_arguments(demo_files, tmp_path / "none.h5")
    (tmp_path / "file").touch()
    done = cli(*arguments, "--checkpoint", tmp_path / "file" / "states")
    assert done.returncode == 2
    assert "a part of the path is a file" in done.stderr.replace("\n", " ")
    arguments[1] = tmp_path / "missing.pt"
    done = cli(*arguments, "--checkpoint", tmp_path / "states")
    assert done.returncode == 2
    assert "missing.pt" in done.stderr
    assert not (tmp_path / "states").exists()


def test_export_says_why_it_cannot(cli, fitted, tmp_path) -> None:
    done = cli("export", fitted[0], "-o", tmp_path / "out.onnx")
    assert done.returncode == 2
    assert "6 weight draws, which one ONNX graph does not hold" in done.stderr.replace("\n", " ")


def altered(profile: Profile, **changes: object) -> Profile:
    return replace(profile, header=profile.header.model_copy(update=changes), stored_header=None)


def test_the_summary_of_a_fit_says_what_stays_deterministic(fitted) -> None:
    profile = read_profile(fitted[0])
    assert profile.header.bayesian is not None
    nodes = DeterministicNodes(operator="MatMul", count=2, reason="it multiplies activations with each other")
    info = profile.header.bayesian.model_copy(update={"deterministic": (nodes,)})
    lines = fit_summary(FitResult(altered(profile, bayesian=info), fitted[0], 1_000_000))
    assert lines[10].strip() == "2 MatMul stay deterministic: it multiplies activations with each other"
    assert "posterior over" in lines[9]


def test_the_summary_of_a_fit_says_what_was_tried(fitted) -> None:
    profile = read_profile(fitted[0])
    tried = profile.header.self_checks
    lines = fit_summary(FitResult(profile, fitted[0], 1_000_000))
    assert lines[6] == f"self-checks      {tried[0].message}"
    assert lines[7:9] == [f"                 {check.message}" for check in tried[1:]]
    assert len(tried) == 3
    own, classes = profile.header.detector.own_densities, profile.header.num_classes
    assert lines[3] == f"densities        {own} of {classes} classes have one of their own"


class Clock:
    """Time that passes only by what is run."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_the_cost_is_measured_from_the_graph_and_a_few_draws(fitted, monkeypatch) -> None:
    """0.5 s for a run of the graph, and for a draw 0.2 s to load it and 0.1 s to run it."""
    clock = Clock()
    scorer = Scorer(read_profile(fitted[0]), "cpu")
    size, draws = scorer.batch_size, 6

    class Session:
        def run(self, *_: object) -> dict[str, np.ndarray]:
            clock.now += 0.5
            return {"tail": np.zeros((size, 1))}

    class Draws:
        def run(self, inputs: dict[str, np.ndarray], batch_size: int = size, draws: int = 0) -> None:
            clock.now += draws * (0.2 + 0.1 * len(inputs["tail"]) / batch_size)

    monkeypatch.setattr(score, "time", clock)
    monkeypatch.setattr(scorer, "_session", Session())
    monkeypatch.setattr(scorer, "_draws", Draws())
    monkeypatch.setattr(scorer, "chunk", 4 * size)
    plain, drawn = scorer.seconds_per_image() or (0.0, 0.0)
    assert plain == pytest.approx(0.5 / size)
    assert drawn == pytest.approx(draws * (0.2 + 4 * 0.1) / (4 * size))


def test_the_cost_is_stated_for_the_threads_and_inputs_of_the_scan(fitted, monkeypatch) -> None:
    said: list[str] = []

    class Listener:
        def say(self, text: str) -> None:
            said.append(text)

        def task(self, _name: str, _total: int) -> Callable[[int], None]:
            return lambda _done: None

    monkeypatch.setattr(Scorer, "seconds_per_image", lambda _self: (0.01, 0.03))
    options = ScanOptions(Path("inputs"), fitted[0], device="cpu", threads=2)
    open_scan._scorer(read_profile(fitted[0]), options, 50, Listener())
    assert said == [
        "bayesian: 6 draws of 2 weight tensors (last-stage, fine-tuned); expected 20 s per 1,000 images on 2 threads "
        "(4.0 times a plain scan), 1 s in all"
    ]


def test_a_profile_whose_posterior_does_not_fit_is_refused(fitted, cli, demo_files, tmp_path) -> None:
    profile = read_profile(fitted[0])
    info, posterior = profile.header.bayesian, profile.posterior
    assert info is not None
    assert posterior is not None
    path = tmp_path / "altered.h5"

    def refused(changed: Profile, message: str) -> None:
        write_profile(path, changed)
        with pytest.raises(ProfileError, match=message):
            read_profile(path)

    beyond = info.weights[0].model_copy(update={"offset": 4 * len(posterior.weights)})
    refused(
        altered(profile, bayesian=info.model_copy(update={"weights": (beyond, *info.weights[1:])})),
        "do not fit its buffers",
    )
    refused(altered(profile, bayesian=None, scores=profile.header.scores[:10]), "half of a Bayesian part")
    refused(replace(profile, posterior=None), "half of a Bayesian part")
    for value in (-1.0, np.nan, np.inf):
        stds = np.array(posterior.stds)
        stds[0] = value
        refused(replace(profile, posterior=replace(posterior, stds=stds)), "negative or not finite")

    for changes, message in (
        ({"draws_digest": "0" * 64}, "draws other weights"),
        ({"inputs": ("surprise",)}, "do not fit together"),
    ):
        write_profile(path, altered(profile, bayesian=info.model_copy(update=changes)))
        done = cli("scan", demo_files / "inputs", "--profile", path)
        assert done.returncode == 2
        assert message in done.stderr.replace("\n", " ")
