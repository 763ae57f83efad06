"""Weight draws through ONNX Runtime: against PyTorch, over batch sizes and orders, and in little memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.bayesian.draws import draw_weights
from detectors.bayesian.moped import MopedSettings
from detectors.bayesian.uncertainty import BAYESIAN_KINDS, DrawStatistics
from scanner.fitting.bayesian.fit_posterior import (
    Training,
    bayesian_network,
    read_weights,
    trained_posterior,
    untrained_posterior,
)
from scanner.fitting.bayesian.terms import TailData
from scanner.graph.torch_network import GraphNetwork
from scanner.graph.weights import Tail, choose_weights, cut_tail, weight_values
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.export import export_network
from scanner.profile.posterior import Posterior
from scanner.scoring import draw_scorer as scorer_module
from scanner.scoring.draw_scorer import DrawScorer
from scanner.scoring.scorer import drawn_cost

MOPED = MopedSettings(delta=0.2)
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(12, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def tail() -> Tail:
    torch.manual_seed(0)
    network = export_network(ResNet20().eval(), (3, 32, 32), IMAGES[:4])
    return cut_tail(network.bundle, choose_weights(network.bundle.proto, network.candidates, "all"))


@pytest.fixture(scope="module")
def posterior(tail: Tail) -> Posterior:
    return untrained_posterior(tail, MOPED, 8, 3)


def in_torch(tail: Tail, posterior: Posterior, images: np.ndarray) -> np.ndarray:
    """The same draws as weights of the PyTorch network, scored in float64."""
    statistics = DrawStatistics(len(images), 10)
    network = GraphNetwork(tail)
    for draw in range(posterior.samples):
        drawn = draw_weights(posterior.means(), posterior.deviations(), posterior.seed, draw)
        with torch.no_grad():
            for number, weight in enumerate(tail.weights):
                value = drawn[number].T if weight.transposed else drawn[number]
                network.layers[str(number)].weight.copy_(torch.from_numpy(np.ascontiguousarray(value)))
            statistics.add(network(torch.from_numpy(images)).numpy())
    scores = statistics.scores()
    return np.stack([scores[kind] for kind in BAYESIAN_KINDS], axis=1)


def test_onnx_runtime_and_pytorch_agree_on_every_score(tail: Tail, posterior: Posterior) -> None:
    """The stated tolerance: 1e-5 nats, and 1e-3 of the mutual information."""
    ours = DrawScorer(posterior, "cpu").score({"image": IMAGES})
    np.testing.assert_allclose(ours, in_torch(tail, posterior, IMAGES), atol=1e-5)
    np.testing.assert_allclose(ours[:, 0], in_torch(tail, posterior, IMAGES)[:, 0], rtol=1e-3)
    assert ours[:, 0].min() > 1e-4, "draws that agree would make this test trivial"


def test_scores_depend_on_the_input_alone(posterior: Posterior) -> None:
    scorer = DrawScorer(posterior, "cpu")
    whole = scorer.score({"image": IMAGES})
    np.testing.assert_array_equal(scorer.score({"image": IMAGES}), whole)
    for size in (1, 5):
        np.testing.assert_allclose(scorer.score({"image": IMAGES}, size), whole, atol=1e-6)
    order = RNG.permutation(len(IMAGES))
    np.testing.assert_allclose(scorer.score({"image": IMAGES[order]}), whole[order], atol=1e-6)


def test_draws_made_anew_give_the_same_scores_as_draws_kept(
    posterior: Posterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = DrawScorer(posterior, "cpu")
    monkeypatch.setattr(scorer_module, "RESIDENT_BYTES", 0)
    streamed = DrawScorer(posterior, "cpu")
    assert (kept.resident, streamed.resident) == (True, False)
    np.testing.assert_array_equal(kept.score({"image": IMAGES}), streamed.score({"image": IMAGES}))


def test_the_first_draws_are_those_of_a_longer_run(posterior: Posterior) -> None:
    scorer = DrawScorer(posterior, "cpu")
    assert scorer.run({"image": IMAGES}, draws=3).draws == 3
    shorter = Posterior(
        posterior.graph, posterior.weights, posterior.stds, posterior.blocks, posterior.inputs, 3, posterior.seed
    )
    np.testing.assert_array_equal(
        DrawScorer.columns(scorer.run({"image": IMAGES}, draws=3)), DrawScorer(shorter, "cpu").score({"image": IMAGES})
    )


def test_the_posterior_of_a_graph_is_read_back_in_the_graphs_own_layout(tail: Tail, posterior: Posterior) -> None:
    network = bayesian_network(tail, MOPED)
    means, stds = read_weights(network, tail)
    for mean, std, value, deviation in zip(means, stds, weight_values(tail), posterior.deviations(), strict=True):
        np.testing.assert_array_equal(mean, value)
        np.testing.assert_allclose(std, deviation, rtol=1e-5)
    assert sum(std.size for std in stds) == posterior.stds.size


def test_fine_tuning_moves_the_posterior_and_nothing_else(tail: Tail, posterior: Posterior) -> None:
    from detectors.bayesian.train import TrainSettings

    data = TailData(
        {"image": IMAGES.reshape(len(IMAGES), -1)}, {"image": (3, 32, 32)}, np.arange(len(IMAGES)) % 10, "noise"
    )
    settings = TrainSettings(epochs=1, max_accuracy_drop=1.0, learning_rate=1e-2)
    rows = np.arange(len(IMAGES))
    trained, epochs = trained_posterior(posterior, bayesian_network(tail, MOPED), tail, data, rows, Training(settings))
    assert [epoch.number for epoch in epochs] == [1]
    assert trained.graph == posterior.graph
    moved = np.flatnonzero(trained.weights != posterior.weights)
    inside = np.zeros(len(posterior.weights), bool)
    for block in posterior.blocks:
        inside[block.offset : block.offset + 4 * block.size] = True
    assert inside[moved].all()
    assert len(moved) > 1000
    with np.errstate(all="raise"):
        assert (trained.stds > 0).all()


@pytest.mark.parametrize(("load", "run"), [(0.0, 2.0), (3.0, 2.0), (3.0, 0.0)])
def test_the_stated_cost_counts_a_load_once_for_a_chunk(load: float, run: float) -> None:
    """Eight images a run: a chunk of 128 takes one load and sixteen runs."""
    assert drawn_cost(load + run, load + 2 * run, 8, 128) == pytest.approx((load + 16 * run) / 128)


def test_the_stated_cost_is_never_negative_nor_beyond_a_load_for_every_run() -> None:
    """Timings jitter: two runs may measure as less than one, or as more than two."""
    assert drawn_cost(2.0, 1.0, 8, 128) == pytest.approx(2.0 / 128)
    assert drawn_cost(2.0, 9.0, 8, 128) == pytest.approx(2.0 / 8)
