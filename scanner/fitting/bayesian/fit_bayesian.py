"""The Bayesian detector on a reference: posterior, and a clean score for every image that calibrates.

tail of the network + clean images -> MOPED -> fine-tuning without the images that are scored -> weight
draws -> scores
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch

from detectors.base import ScoreName
from detectors.bayesian.draws import draws_digest
from detectors.bayesian.layers import flipout_layers
from detectors.bayesian.moped import MopedSettings
from detectors.bayesian.train import AccuracyDroppedError
from detectors.bayesian.uncertainty import BAYESIAN_KINDS
from detectors.calibration.plan import CalibrationPlan
from scanner.base.device import Device
from scanner.base.errors import UsageError
from scanner.base.progress import Progress
from scanner.fitting.bayesian.fit_posterior import bayesian_network, untrained_posterior
from scanner.fitting.bayesian.terms import BayesianFit, TailData, TailReference
from scanner.fitting.bayesian.train_posteriors import Outcome, PosteriorFitting
from scanner.fitting.options import BayesianOptions
from scanner.graph.bundle import LOGITS
from scanner.graph.session import GraphSession
from scanner.graph.taps import WEIGHTY
from scanner.graph.torch_network import GraphNetwork
from scanner.graph.torch_ops.arguments import UnsupportedNodeError
from scanner.graph.weights import Tail
from scanner.profile.header import BayesianInfo, DeterministicNodes, GaussianWeights
from scanner.scoring.draw_scorer import DrawScorer

COMBINED_KIND = "bald"
"""The one score that enters the combined p-value: the paper's. The others get p-values of their own."""
DELTAS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
TRIED_DRAWS = 10
TRIED_IMAGES = 512
TRIED_DROP = 0.01
ROUNDING = 1e-12
"""Of a difference of two shares: five images in 500 are one point, and no more."""
TRIED_ROWS = 4
LOGITS_TOLERANCE = 0.01
"""Of the largest logit: far above what single precision costs, far below what another operator would."""
REASON_LENGTH = 120
_HAVE_WEIGHTS = WEIGHTY | {"BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization"}


def fit_bayesian(
    seen: TailReference, options: BayesianOptions, seed: int, device: Device, progress: Progress
) -> BayesianFit:
    """Fit the posterior and score the reference by posteriors that did not see the image.

    Args:
        seen: The tail, and the reference as it sees it.
        options: Layers, draws, widths, epochs, checkpoints.
        seed: Seed of training and draws.
        device: For training and for the draws.
        progress: Told about every epoch.

    Raises:
        UsageError: If fine-tuning costs the network its accuracy, or a checkpoint does not belong here.
    """
    tail, data, plan = seen.tail, seen.data, seen.plan
    if options.delta is not None:
        deltas: tuple[float, ...] = (options.delta,)
    else:
        deltas = _up_to(widest_delta(tail, data, plan, options, seed, device))
        progress.say(f"bayesian: delta {deltas[0]}, the widest of {DELTAS} that keeps clean accuracy")
    where = _training_device(device)
    fitting = PosteriorFitting(tail, data, plan, options, seed, device, where, progress)
    reason = _why_untrained(tail, data, options, where)
    if reason is None:
        delta, outcome = _fine_tuned(fitting, deltas)
    else:
        progress.say(f"bayesian: untrained posterior ({reason})")
        delta, outcome = deltas[0], fitting.untrained(deltas[0])
    info = _info(seen, options, seed, _Chosen(delta, outcome, reason))
    names = tuple(ScoreName(info.descriptor, kind) for kind in BAYESIAN_KINDS)
    enters = np.array([kind == COMBINED_KIND for kind in BAYESIAN_KINDS])
    return BayesianFit(outcome.posterior, info, names, outcome.scores, enters)


@dataclass(frozen=True)
class _Chosen:
    """The width, what came of it, and why it is not trained where it is not."""

    delta: float
    outcome: Outcome
    reason: str | None


def _info(seen: TailReference, options: BayesianOptions, seed: int, chosen: _Chosen) -> BayesianInfo:
    outcome, unseen = chosen.outcome, seen.plan.unseen()
    posterior = outcome.posterior
    return BayesianInfo(
        posterior="fine-tuned" if chosen.reason is None else "untrained",
        reason=chosen.reason,
        layers=options.layers,
        weights=tuple(GaussianWeights(name=b.name, offset=b.offset, shape=b.shape) for b in posterior.blocks),
        deterministic=_deterministic(seen.tail),
        inputs=posterior.inputs,
        samples=options.samples,
        seed=seed,
        draws_digest=draws_digest(posterior.means(), posterior.deviations(), seed),
        delta=chosen.delta,
        prior_std=options.prior_std,
        training=json.loads(json.dumps(outcome.training)),
        clean_accuracy=float(outcome.correct.mean()),
        network_accuracy=float((seen.predicted[unseen] == seen.data.classes[unseen]).mean()),
    )


def widest_delta(
    tail: Tail, data: TailData, plan: CalibrationPlan, options: BayesianOptions, seed: int, device: Device
) -> float:
    """The widest initial posterior whose mean over draws classifies clean images as well as its centre does.

    Wider posteriors disagree more about unusual inputs, until they disagree about all of them. How wide
    that is depends on the network's depth, so it is found on the images that may be fitted to.

    Args:
        tail: The network's tail.
        data: The reference as the tail sees it.
        plan: Roles of the images.
        options: Width of the prior.
        seed: Seed of the draws.
        device: For the draws.
    """
    fitted = np.flatnonzero(plan.folds == 0) if plan.method == "split" else np.arange(len(plan.folds))
    rows = fitted[np.linspace(0, len(fitted) - 1, min(len(fitted), TRIED_IMAGES)).astype(int)]
    batch, classes = data.batch(rows), data.classes[rows]

    def accuracy(delta: float) -> float:
        posterior = untrained_posterior(tail, MopedSettings(delta=delta), TRIED_DRAWS, seed)
        mean = DrawScorer(posterior, device).run(batch, batch_size=64).mean_probabilities()
        return float((mean.argmax(1) == classes).mean())

    centre = accuracy(min(DELTAS) * 1e-3)
    for delta in sorted(DELTAS, reverse=True):
        if centre - accuracy(delta) <= TRIED_DROP + ROUNDING:
            return delta
    return min(DELTAS)


def _up_to(widest: float) -> tuple[float, ...]:
    """The widths that may be tried, the widest first."""
    return tuple(delta for delta in sorted(DELTAS, reverse=True) if delta <= widest)


def _fine_tuned(fitting: PosteriorFitting, deltas: Sequence[float]) -> tuple[float, Outcome]:
    """The first of the widths whose fine-tuning keeps clean accuracy, and what comes of it.

    Fine-tuning is noisier than draws: a width that draws bear may be too much for it.
    """
    delta, *narrower = deltas
    try:
        return delta, fitting.fine_tuned(delta)
    except AccuracyDroppedError as dropped:
        if not narrower:
            raise UsageError(
                f"fine-tuning was stopped: {dropped}",
                where="--bayesian",
                hint="Lower --bayesian-delta, or use --bayesian-epochs 0 for the untrained posterior",
            ) from None
        fitting.progress.say(f"bayesian: delta {delta} is too wide to be fine-tuned: {dropped}")
    return _fine_tuned(fitting, narrower)


def _why_untrained(tail: Tail, data: TailData, options: BayesianOptions, where: torch.device) -> str | None:
    if options.epochs == 0:
        return "no epochs were asked for"
    try:
        network = bayesian_network(tail, MopedSettings())  # whose means are tried, at no width
        agrees = _agrees(network, tail, data, where)
    except UnsupportedNodeError as unsupported:
        return f"the graph cannot be trained: it has {unsupported}"
    except Exception as failure:  # Whatever PyTorch raises about a node that it takes in another way.
        text = " ".join(str(failure).split())[:REASON_LENGTH]
        return f"the graph cannot be trained: {type(failure).__name__} in PyTorch: {text}"
    return None if agrees else "the graph cannot be trained: PyTorch and ONNX Runtime disagree about its logits"


def _agrees(network: GraphNetwork, tail: Tail, data: TailData, where: torch.device) -> bool:
    """Whether the means of a Flipout network compute for a few rows what the graph does."""
    batch = data.batch(np.arange(min(len(data.classes), TRIED_ROWS)))
    expected = GraphSession(*tail.bundle.serialise(), device="cpu").run(batch, (LOGITS,))[LOGITS]
    for _, layer in flipout_layers(network):
        layer.stochastic = False
    network.to(where)
    with torch.no_grad():
        logits = network(*(torch.from_numpy(batch[item.name]).to(where) for item in tail.inputs)).cpu().numpy()
    scale = np.abs(expected).max()
    return logits.shape == expected.shape and bool((np.abs(logits - expected) <= LOGITS_TOLERANCE * scale).all())


def _training_device(device: Device) -> torch.device:
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def _deterministic(tail: Tail) -> tuple[DeterministicNodes, ...]:
    """What in the tail multiplies by weights, or normalises with them, and has no posterior."""
    gaussian = {weight.name for weight in tail.weights}
    counts: Counter[tuple[str, str]] = Counter()
    for node in tail.bundle.proto.graph.node:
        if node.op_type in _HAVE_WEIGHTS and not gaussian & set(node.input):
            counts[node.op_type, _reason(node, tail.bundle.proto.graph)] += 1
    return tuple(
        DeterministicNodes(operator=operator, count=count, reason=reason)
        for (operator, reason), count in sorted(counts.items())
    )


def _reason(node: onnx.NodeProto, graph: onnx.GraphProto) -> str:
    if "Normalization" in node.op_type:
        return "normalisation has no Gaussian form"
    constants = {tensor.name for tensor in graph.initializer}
    if not constants & set(node.input):
        return "it multiplies activations with each other"
    return "its weights have no Gaussian form, or are used in another way too"
