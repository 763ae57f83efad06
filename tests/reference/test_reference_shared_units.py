"""The measurement of shared units: that it measures what it says, and that the documents say what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from reference import shared_units
from reference.features import ARCHITECTURES, Features
from reference.shared_units import DRAWS, LIKENED, Network, draw, joined, one_kind
from reference.shared_units_tables import summary, tables
from reference.training import build_model
from scanner.fitting.fit_detectors import likened_by
from scanner.graph.pool import add_descriptors
from scanner.graph.taps import choose_taps
from scanner.models.identify import identify
from scanner.models.load import LoadOptions, load_model

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "reference" / "results" / "shared_units.json"


def features(seed: int, count: int, loud: float = 0.0) -> Features:
    """Two descriptors of pictures of four classes; in triggered ones three channels are louder."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    values = {
        name: np.maximum(rng.standard_t(4, (count, 24)) + np.eye(4, 24)[labels], 0).astype(np.float32)
        for name in ("early:max", "late:max", "late:mean")
    }
    values["late:max"][:, 10:13] += np.float32(loud)
    logits = (5 * np.eye(4)[labels] + rng.normal(size=(count, 4))).astype(np.float32)
    return Features(values, logits, labels)


@pytest.fixture(scope="module")
def network() -> Network:
    clean = features(1, 300)
    kinds = {"class 2": np.flatnonzero(clean.labels == 2)}
    return Network("made up", features(0, 200), clean, features(1, 300, 20.0), True, kinds, "late:mean", 4, {})


def test_triggered_inputs_are_found_and_clean_ones_are_not(network: Network) -> None:
    found = draw(network, 150, 0.2, 0)
    assert (found["inputs"], found["triggered"]) == (300, 60)
    assert found["units_p"] < 1e-3
    assert found["auroc"] > 0.99
    assert found["detection"] > 0.9
    clean = draw(network, 150, 0.0, 0)
    assert clean["detection"] is None
    assert clean["batch_p"] > 0.01
    assert clean["false_alarms"] < 0.05
    everything = draw(network, 150, 1.0, 0)
    assert everything["false_alarms"] is None
    assert everything["batch_p"] < 1e-3


def test_a_batch_of_one_kind_is_clean(network: Network) -> None:
    found = one_kind(network, 150, "class 2", 0)
    assert found["inputs"] == len(network.kinds["class 2"])
    assert found["units_p"] > 1e-3


def test_clean_and_triggered_inputs_are_mixed(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a crowded stratum the first inputs are compared: they must not be the clean ones."""
    seen = []
    monkeypatch.setattr(
        shared_units, "judge", lambda fitted, inputs, triggered, *rest: seen.append((inputs, triggered))
    )
    draw(network, 150, 0.5, 0)
    ((inputs, triggered),) = seen
    assert 0.4 < triggered[: len(triggered) // 2].mean() < 0.6
    # What is said to be triggered is.
    np.testing.assert_array_equal((inputs.values["late:max"][:, 10:13] >= 20).all(1), triggered)


def test_sets_are_joined_in_order() -> None:
    one, other = features(0, 3), features(1, 2)
    both = joined(one, other)
    np.testing.assert_array_equal(both.labels, [*one.labels, *other.labels])
    np.testing.assert_array_equal(both.values["early:max"][3:], other.values["early:max"])


def test_the_documents_say_what_was_measured() -> None:
    result = json.loads(RESULT.read_text())
    for page, expected in (("shared-units-tables.md", tables(result)), ("measurements.md", summary(result))):
        assert len(expected) > 20
        assert "\n".join(expected) in (ROOT / "docs" / page).read_text(), page


def test_the_summary_is_of_one_size_of_reference() -> None:
    draws = [{"batch_p": p, "auroc": 0.9, "detection_densities": 0.5, "detection": d, "false_alarms": 0.01}
             for p, d in ((0.1, 0.6), (0.3, 0.8))]  # fmt: skip
    shares = {f"{references}/{share}": draws for references in (100, 250) for share in (0.0, 0.05, 0.1, 0.5)}
    shares["100/0.5"] = [{**draws[0], "auroc": 0.1}]
    found = summary({"networks": {"a": {"title": "A", "attack_success_here": 0.987, "shares": shares, "kinds": {}}}})
    assert found[2:] == ["| A | 99% | 2.0e-01 | 2.0e-01 | 2.0e-01 | 0.900 | 50% | 70% | 1.0% |"]


def test_every_cell_has_its_draws() -> None:
    result = json.loads(RESULT.read_text())
    for network in result["networks"].values():
        assert network["shares"]
        for draws in (*network["shares"].values(), *network["kinds"].values()):
            assert len(draws) == DRAWS


@pytest.mark.parametrize(("data", "size"), [("mnist", 28), ("cifar10", 32), ("cifar10x64", 64), ("mnistpairs", 64)])
def test_small_networks_are_likened_by_what_fit_chooses(data: str, size: int, tmp_path: Path) -> None:
    torch.save(build_model(data).state_dict(), tmp_path / "model.pt")
    options = LoadOptions(architecture=ARCHITECTURES[data], input_size=(size, size))
    model = load_model(identify(tmp_path / "model.pt"), options)
    _, descriptors = add_descriptors(model.bundle, choose_taps(model.candidates))
    assert likened_by(descriptors).key == LIKENED[data]
