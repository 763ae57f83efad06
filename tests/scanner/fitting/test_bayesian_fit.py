"""The detector on a reference: which images train, which are scored, and what is said where training cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.distributions import Normal, kl_divergence

from detectors.bayesian.train import AccuracyDroppedError, Epoch, TrainState
from detectors.calibration.plan import CalibrationPlan
from scanner.base.errors import UsageError
from scanner.fitting.bayesian import fit_bayesian as module
from scanner.fitting.bayesian import train_posteriors
from scanner.fitting.bayesian.fit_bayesian import fit_bayesian, widest_delta
from scanner.fitting.bayesian.terms import BayesianFit, TailData, TailReference
from scanner.fitting.bayesian.train_posteriors import PosteriorFitting
from scanner.fitting.options import BayesianOptions
from scanner.graph.bundle import GraphBundle
from scanner.graph.torch_ops import table
from scanner.graph.torch_ops.arguments import UnsupportedNodeError
from scanner.graph.weights import Tail, cut_tail, weight_tensors, weight_values

CLASSES, SIZE = 3, 4
OPTIONS = BayesianOptions(samples=5, epochs=1, delta=0.2)


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def task(self, name: str, total: int) -> Callable[[int], None]:
        return lambda _done: None


def small_tail(extra: onnx.NodeProto | None = None) -> Tail:
    """A linear classifier of three blobs, with another node before its weights."""
    weight = np.eye(CLASSES, SIZE, dtype=np.float32) * 3
    first = extra or helper.make_node("Relu", ["image"], ["hidden"])
    nodes = [
        first,
        helper.make_node("Flatten", ["hidden"], ["flat"]),
        helper.make_node("Gemm", ["flat", "first"], ["middle"], transB=1),
        helper.make_node("Relu" if extra is None else extra.op_type, ["middle"], ["more"], **_attributes(extra)),
        helper.make_node("Gemm", ["more", "w"], ["logits"], transB=1),
    ]
    return tail_of(nodes, "image", CLASSES, {"first": np.eye(SIZE, dtype=np.float32), "w": weight})


def tail_of(nodes: list[onnx.NodeProto], name: str, classes: int, weights: dict[str, np.ndarray]) -> Tail:
    """A graph from an input of ``SIZE`` features to logits, all of whose weights are Gaussian."""
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", SIZE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
            [numpy_helper.from_array(value, key) for key, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    bundle = GraphBundle.from_model_proto(model)
    return cut_tail(bundle, weight_tensors(bundle.proto))


def _attributes(node: onnx.NodeProto | None) -> dict[str, object]:
    return {} if node is None else {item.name: helper.get_attribute_value(item) for item in node.attribute}


def blobs(count: int = 90) -> TailData:
    rng = np.random.default_rng(0)
    classes = np.arange(count) % CLASSES
    images = np.eye(SIZE, dtype=np.float32)[classes] * 3 + rng.normal(size=(count, SIZE)).astype(np.float32) * 0.3
    return TailData({"flat": images}, {"flat": (SIZE,)}, classes, "blobs")


def cross(count: int = 90) -> CalibrationPlan:
    return CalibrationPlan("cross-conformal", np.arange(count) % 5)


def test_no_image_is_scored_by_a_posterior_that_trained_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[np.ndarray] = []
    scored: list[np.ndarray] = []
    train, score = train_posteriors.trained_posterior, PosteriorFitting._score

    def watched_train(*arguments, **named):
        trained.append(arguments[4])
        return train(*arguments, **named)

    def watched_score(*arguments):
        scored.append(arguments[2])
        return score(*arguments)

    monkeypatch.setattr(train_posteriors, "trained_posterior", watched_train)
    monkeypatch.setattr(PosteriorFitting, "_score", watched_score)
    data = blobs()
    fit_bayesian(TailReference(small_tail(), data, data.classes, cross()), OPTIONS, 0, "cpu", Listener())
    assert [len(rows) for rows in trained] == [90, 72, 72, 72, 72, 72]
    for seen, unseen in zip(trained[1:], scored, strict=True):
        assert not set(seen) & set(unseen)
    assert sorted(np.concatenate(scored)) == list(range(90))

    trained.clear(), scored.clear()
    split = CalibrationPlan("split", np.arange(90) % 3)
    found = fit_bayesian(TailReference(small_tail(), data, data.classes, split), OPTIONS, 0, "cpu", Listener())
    assert (len(trained), len(scored)) == (1, 1)
    assert not set(trained[0]) & set(scored[0])
    assert found.clean_scores.shape == (60, 4)
    assert found.enters.tolist() == [True, False, False, False]


def test_a_graph_that_cannot_be_trained_gets_an_untrained_posterior_and_says_so() -> None:
    foreign = helper.make_node("ThresholdedRelu", ["image"], ["hidden"], alpha=0.1)
    listener, data = Listener(), blobs()
    found = fit_bayesian(TailReference(small_tail(foreign), data, data.classes, cross()), OPTIONS, 0, "cpu", listener)
    assert found.info.posterior == "untrained"
    assert found.info.reason == "the graph cannot be trained: it has operator ThresholdedRelu"
    assert {name.descriptor for name in found.scores} == {"bayesian-untrained"}
    assert any("untrained posterior" in line for line in listener.said)
    assert found.clean_scores.shape == (90, 4)
    assert found.info.training == {}


def test_a_weight_that_two_nodes_share_is_trained_as_one() -> None:
    nodes = [
        helper.make_node("MatMul", ["flat", "w"], ["middle"]),
        helper.make_node("MatMul", ["middle", "w"], ["logits"]),
    ]
    data, tail = blobs(), tail_of(nodes, "flat", SIZE, {"w": np.eye(SIZE, dtype=np.float32)})
    found = fit_bayesian(TailReference(tail, data, data.classes, cross()), OPTIONS, 0, "cpu", Listener())
    assert found.info.posterior == "fine-tuned"
    assert [block.name for block in found.info.weights] == ["w"]
    assert (found.posterior.stds > 0).all()


def fitted_in(folder: Path, data: TailData | None = None, listener: Listener | None = None, **options) -> BayesianFit:
    data = data or blobs()
    chosen = replace(OPTIONS, checkpoint=folder, **options)
    return fit_bayesian(
        TailReference(small_tail(), data, data.classes, cross()), chosen, 0, "cpu", listener or Listener()
    )


def test_an_interrupted_training_ends_as_an_uninterrupted_one_does(tmp_path: Path) -> None:
    """Weights, clean scores and what the profile says of the training, the epochs before the break included."""
    whole = fitted_in(tmp_path / "whole", epochs=3)
    fitted_in(tmp_path / "broken", epochs=2)
    listener = Listener()
    resumed = fitted_in(tmp_path / "broken", listener=listener, epochs=3)
    assert [line for line in listener.said if "epoch" in line] == [
        line for line in listener.said if "epoch 3/3" in line
    ]
    assert len(whole.info.training["cross_entropy"]) == 3
    assert resumed.info == whole.info
    assert resumed.posterior.weights.tobytes() == whole.posterior.weights.tobytes()
    assert np.array_equal(resumed.clean_scores, whole.clean_scores)


def stopped_at(monkeypatch: pytest.MonkeyPatch, deltas: set[float], epoch: int) -> list[float]:
    """Makes cross-fitted trainings stop at these widths, after an epoch. Returns the widths that are trained."""
    tried: list[float] = []
    train = train_posteriors.trained_posterior

    def watched(*arguments):
        training = arguments[5]
        layer = next(iter(arguments[1].layers.values()))
        delta = round(float((layer.weight_std.max() / layer.weight_mean.abs().max()).detach()), 3)
        tried.append(delta)

        def stop(epoch_: Epoch, state: TrainState) -> None:
            if delta in deltas and len(arguments[4]) == 72 and epoch_.number == epoch:
                raise AccuracyDroppedError(1.0, 0.9, epoch)
            training.finished(epoch_, state)

        return train(*arguments[:5], replace(training, finished=stop))

    monkeypatch.setattr(train_posteriors, "trained_posterior", watched)
    return tried


def test_a_width_that_does_not_bear_training_gives_way_to_a_narrower_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener()
    expected = fitted_in(tmp_path / "narrow", delta=0.3)
    tried = stopped_at(monkeypatch, {0.8, 0.5}, 1)
    found = fitted_in(tmp_path / "states", listener=listener, delta=None)
    assert sorted(set(tried), reverse=True) == [0.8, 0.5, 0.3]
    assert found.info == expected.info
    assert found.info.delta == 0.3
    np.testing.assert_array_equal(found.clean_scores, expected.clean_scores)
    assert [line for line in listener.said if "too wide" in line] == [
        f"bayesian: delta {delta} is too wide to be fine-tuned: clean accuracy fell from 100.0% to 90.0% after 1 epochs"
        for delta in (0.8, 0.5)
    ]


def test_a_run_that_narrowed_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_at(monkeypatch, {0.8}, 2)
    first = fitted_in(tmp_path, delta=None, epochs=2)
    again = fitted_in(tmp_path, delta=None, epochs=2)
    assert first.info == again.info
    assert again.info.delta == 0.5


def test_a_width_that_was_asked_for_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_at(monkeypatch, {0.5}, 1)
    data, listener = blobs(), Listener()
    with pytest.raises(UsageError, match=r"fine-tuning was stopped: clean accuracy fell.*Lower --bayesian-delta"):
        fit_bayesian(
            TailReference(small_tail(), data, data.classes, cross()), replace(OPTIONS, delta=0.5), 0, "cpu", listener
        )
    assert not any("too wide" in line for line in listener.said)


def test_a_training_of_other_images_or_with_more_epochs_is_not_taken_for_this_one(tmp_path: Path) -> None:
    fitted_in(tmp_path, epochs=2)
    with pytest.raises(UsageError, match="belongs to a fit of another model, reference or setting"):
        fitted_in(tmp_path, data=replace(blobs(), origin="other images of the same classes"), epochs=2)
    with pytest.raises(UsageError, match="2 epochs are trained already, 1 are asked for"):
        fitted_in(tmp_path, epochs=1)


def untrained_reason(node: onnx.NodeProto) -> str:
    data = blobs()
    found = fit_bayesian(TailReference(small_tail(node), data, data.classes, cross()), OPTIONS, 0, "cpu", Listener())
    assert found.info.posterior == "untrained"
    assert np.isfinite(found.clean_scores).all()
    assert found.info.reason is not None
    return found.info.reason


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (UnsupportedNodeError("a cast to a small type"), "it has a cast to a small type"),
        (RuntimeError("sizes\nmust match"), "RuntimeError in PyTorch: sizes must match"),
    ],
)
def test_a_graph_that_fails_only_when_it_runs_gets_an_untrained_posterior(
    failure: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> torch.Tensor:
        raise failure

    monkeypatch.setitem(table.OPERATORS, "Abs", (refuse, ""))
    reason = untrained_reason(helper.make_node("Abs", ["image"], ["hidden"]))
    assert reason == f"the graph cannot be trained: {said}"


def test_a_graph_that_pytorch_computes_otherwise_gets_an_untrained_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table.OPERATORS, "Abs", (lambda inputs, _: 1.1 * inputs[0], ""))
    reason = untrained_reason(helper.make_node("Abs", ["image"], ["hidden"]))
    assert reason == "the graph cannot be trained: PyTorch and ONNX Runtime disagree about its logits"


def test_the_width_is_the_widest_that_keeps_clean_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    data = blobs()
    assert widest_delta(small_tail(), data, cross(), OPTIONS, 0, "cpu") == max(module.DELTAS)
    monkeypatch.setattr(module, "DELTAS", (0.1, 50.0))
    assert widest_delta(small_tail(), data, cross(), OPTIONS, 0, "cpu") == 0.1


def test_a_point_of_clean_accuracy_is_what_a_wider_posterior_may_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 500 images, a width of 0.2 loses 5 and one of 0.3 loses 6."""
    lost = {0.05: 0, 0.1: 3, 0.2: 5, 0.3: 6, 0.5: 4, 0.8: 80}
    data = blobs(500)

    class Statistics:
        def __init__(self, wrong: int) -> None:
            self.wrong = wrong

        def mean_probabilities(self) -> np.ndarray:
            predicted = data.classes.copy()
            predicted[: self.wrong] = (predicted[: self.wrong] + 1) % CLASSES
            return np.eye(CLASSES)[predicted]

    class Draws:
        def __init__(self, delta: float, _device: str) -> None:
            self.delta = delta

        def run(self, *_: object, **__: object) -> Statistics:
            return Statistics(lost.get(self.delta, 0))

    monkeypatch.setattr(module, "untrained_posterior", lambda _tail, settings, *_: settings.delta)
    monkeypatch.setattr(module, "DrawScorer", Draws)
    assert widest_delta(small_tail(), data, cross(500), OPTIONS, 0, "cpu") == 0.5
    lost[0.5] = 6
    assert widest_delta(small_tail(), data, cross(500), OPTIONS, 0, "cpu") == 0.2


@pytest.mark.parametrize("prior_std", [0.3, 1.0])
def test_the_stated_divergence_is_that_from_a_prior_of_the_chosen_width(prior_std: float) -> None:
    data, tail = blobs(), small_tail()
    options = replace(OPTIONS, prior_std=prior_std)
    found = fit_bayesian(TailReference(tail, data, data.classes, cross()), options, 0, "cpu", Listener())
    total = 0.0
    for value, mean, std in zip(
        weight_values(tail), found.posterior.means(), found.posterior.deviations(), strict=True
    ):
        posterior = Normal(torch.from_numpy(mean.copy()), torch.from_numpy(std.copy()))
        total += float(kl_divergence(posterior, Normal(torch.from_numpy(value.copy()), prior_std)).sum())
    assert found.info.prior_std == prior_std
    assert found.info.training["kl"][-1] == pytest.approx(total / len(data.classes), rel=1e-4)


def test_the_same_seed_gives_the_same_posterior_and_scores() -> None:
    data = blobs()
    first, again, other = (
        fit_bayesian(TailReference(small_tail(), data, data.classes, cross()), OPTIONS, seed, "cpu", Listener())
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.posterior.weights, again.posterior.weights)
    np.testing.assert_array_equal(first.posterior.stds, again.posterior.stds)
    np.testing.assert_array_equal(first.clean_scores, again.clean_scores)
    assert not np.array_equal(first.clean_scores, other.clean_scores)
