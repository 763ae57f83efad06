"""Fine-tune posteriors, and score every image that calibrates by one that did not see it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.bayesian.moped import MopedSettings
from detectors.bayesian.train import Epoch, TrainSettings, TrainState
from detectors.bayesian.uncertainty import BAYESIAN_KINDS
from detectors.calibration.plan import CalibrationPlan
from scanner.bayesian.checkpoint import Checkpoints
from scanner.bayesian.fit_posterior import TailData, bayesian_network, trained_posterior, untrained_posterior
from scanner.bayesian.posterior import Posterior
from scanner.bayesian.scorer import DrawScorer
from scanner.errors import UsageError
from scanner.graph.session import Device
from scanner.graph.weights import Tail
from scanner.options import BayesianOptions
from scanner.progress import Progress

CHUNK = 512


@dataclass(frozen=True)
class Outcome:
    """A posterior, the clean scores, the share that draws and network get right, and how training went."""

    posterior: Posterior
    scores: NDArray[np.float64]
    correct: NDArray[np.bool_]
    training: dict[str, object]


def untrained_outcome(
    tail: Tail,
    data: TailData,
    plan: CalibrationPlan,
    options: BayesianOptions,
    moped: MopedSettings,
    seed: int,
    device: Device,
    progress: Progress,
) -> Outcome:
    """The posterior as MOPED initialises it; arguments as for :func:`trained_outcome`."""
    initial, rows = untrained_posterior(tail, moped, options.samples, seed), plan.unseen()
    scores, correct = _score(initial, data, rows, device, progress.task("weight draws", len(rows)))
    return Outcome(initial, scores, correct, {})


def trained_outcome(
    tail: Tail,
    data: TailData,
    plan: CalibrationPlan,
    options: BayesianOptions,
    moped: MopedSettings,
    seed: int,
    device: Device,
    where: torch.device,
    progress: Progress,
) -> Outcome:
    """Train one posterior for scans, and where the plan cross-fits, one more without each fold.

    Args:
        tail: The network's tail.
        data: The reference as the tail sees it, with the classes to train on.
        plan: Roles of the images.
        options: Epochs, and where to save them.
        moped: Widths of prior and initial posterior.
        seed: Of batch order and noise.
        device: For the draws.
        where: For the training.
        progress: Told about every epoch.

    Raises:
        AccuracyDroppedError: If fine-tuning costs the network its accuracy.
        UsageError: If a checkpoint does not belong here.
    """
    initial = untrained_posterior(tail, moped, options.samples, seed)
    settings = TrainSettings(epochs=options.epochs, seed=seed)
    saved = _checkpoints(initial, data, plan, options, settings)
    jobs = list(_jobs(plan))
    step = progress.task("fine-tuning", len(jobs) * settings.epochs)
    posteriors: list[Posterior] = []
    histories: dict[str, tuple[Epoch, ...]] = {}
    for number, (name, rows, _) in enumerate(jobs):
        state = None if saved is None else saved.load(_state_name(name, moped))
        if state is not None and state.epoch > settings.epochs:
            raise UsageError(
                f"{state.epoch} epochs are trained already, {settings.epochs} are asked for",
                where=str(options.checkpoint),
                hint="Give --checkpoint another folder, or ask for as many epochs",
            )
        histories[name] = () if state is None else state.history

        def finished(epoch: Epoch, state: TrainState, name: str = name, number: int = number) -> None:
            if saved is not None:
                saved.save(_state_name(name, moped), state)
            step(number * settings.epochs + epoch.number)
            progress.say(
                f"fine-tuning {name}: epoch {epoch.number}/{settings.epochs}, cross-entropy {epoch.cross_entropy:.4f}, "
                f"KL per image {epoch.kl:.3g}, clean accuracy {epoch.accuracy:.2%}"
            )
            histories[name] = state.history

        posterior = trained_posterior(
            initial,
            bayesian_network(tail, moped),
            tail,
            data,
            rows,
            settings,
            device=where,
            state=state,
            finished=finished,
        )
        posteriors.append(posterior)
    unseen = plan.unseen()
    scores, correct = np.empty((len(data.classes), len(BAYESIAN_KINDS))), np.zeros(len(data.classes), bool)
    draws = progress.task("weight draws", len(unseen))
    done = 0
    for posterior, (_, _, scored) in zip(posteriors, jobs, strict=True):
        if len(scored):
            scores[scored], correct[scored] = _score(posterior, data, scored, device, _shifted(draws, done))
            done += len(scored)
    epochs = histories[jobs[0][0]]
    training = {**asdict(settings), "images": len(jobs[0][1]), "posteriors": len(jobs)}
    training |= {"cross_entropy": [epoch.cross_entropy for epoch in epochs], "kl": [epoch.kl for epoch in epochs]}
    return Outcome(posteriors[0], scores[unseen], correct[unseen], training)


def _state_name(name: str, moped: MopedSettings) -> str:
    """Of a posterior's training: each width has one of its own, so that one given up is not taken for the next."""
    return f"{name}-delta-{moped.delta}"


def _jobs(plan: CalibrationPlan) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.int64]]]:
    """Name, rows to train on, and rows to score, of every posterior; the first is for scans."""
    if plan.method == "split":
        yield "posterior", np.flatnonzero(plan.folds == 0), plan.unseen()
        return
    yield "posterior", np.arange(len(plan.folds)), np.empty(0, np.int64)
    for fold in range(int(plan.folds.max()) + 1):
        yield f"fold-{fold}", np.flatnonzero(plan.folds != fold), np.flatnonzero(plan.folds == fold)


def _score(
    posterior: Posterior, data: TailData, rows: NDArray[np.int64], device: Device, step: Callable[[int], None]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores ``(R, 4)`` of rows, and whether the mean over draws classifies each as its class."""
    scorer = DrawScorer(posterior, device)
    scores, correct = [], []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        statistics = scorer.run(data.batch(chunk), batch_size=64)
        scores.append(scorer.columns(statistics))
        correct.append(statistics.mean_probabilities().argmax(1) == data.classes[chunk])
        step(start + len(chunk))
    return np.concatenate(scores), np.concatenate(correct)


def _shifted(step: Callable[[int], None], before: int) -> Callable[[int], None]:
    return lambda count: step(before + count)


def _checkpoints(
    initial: Posterior, data: TailData, plan: CalibrationPlan, options: BayesianOptions, settings: TrainSettings
) -> Checkpoints | None:
    if options.checkpoint is None:
        return None
    # Not the number of epochs: training on is the same as having asked for more at first.
    same = {name: value for name, value in asdict(settings).items() if name != "epochs"}
    key = hashlib.sha256(json.dumps([same, options.prior_std, data.origin]).encode())
    for part in (initial.graph, initial.weights, initial.stds, data.classes, plan.folds):
        key.update(np.ascontiguousarray(np.frombuffer(part, np.uint8) if isinstance(part, bytes) else part).data)
    return Checkpoints(options.checkpoint, key.hexdigest())
