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
from scanner.base.device import Device
from scanner.base.errors import UsageError
from scanner.base.progress import Progress
from scanner.fitting.bayesian.checkpoint import Checkpoints
from scanner.fitting.bayesian.fit_posterior import (
    Training,
    bayesian_network,
    trained_posterior,
    untrained_posterior,
)
from scanner.fitting.bayesian.terms import TailData
from scanner.fitting.options import BayesianOptions
from scanner.graph.weights import Tail
from scanner.profile.posterior import Posterior
from scanner.scoring.draw_scorer import DrawScorer

CHUNK = 512


@dataclass(frozen=True, eq=False)
class Outcome:
    """What comes of fitting at one width.

    Attributes:
        posterior: For scans.
        scores: ``(M, 4)`` scores of the plan's unseen images, in its order.
        correct: ``(M,)`` bool, whether the mean over draws classifies each as its class.
        training: Settings and outcome of the fine-tuning; empty without.
    """

    posterior: Posterior
    scores: NDArray[np.float64]
    correct: NDArray[np.bool_]
    training: dict[str, object]


@dataclass(frozen=True, eq=False)
class _Job:
    """One posterior: its name, rows to train on, and rows to score."""

    name: str
    rows: NDArray[np.int64]
    scored: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PosteriorFitting:
    """Fits a network's posterior at any width.

    Attributes:
        tail: The network's tail.
        data: The reference as the tail sees it, with the classes to train on.
        plan: Roles of the images.
        options: Draws, width of the prior, epochs, and where to save them.
        seed: Of draws, batch order and noise.
        device: For the draws.
        training_device: For the fine-tuning.
        progress: Told about every epoch.
    """

    tail: Tail
    data: TailData
    plan: CalibrationPlan
    options: BayesianOptions
    seed: int
    device: Device
    training_device: torch.device
    progress: Progress

    def untrained(self, delta: float) -> Outcome:
        """The posterior as MOPED initialises it."""
        initial, rows = self._initial(self._moped(delta)), self.plan.unseen()
        scores, correct = self._score(initial, rows, self.progress.task("weight draws", len(rows)))
        return Outcome(initial, scores, correct, {})

    def fine_tuned(self, delta: float) -> Outcome:
        """One posterior trained for scans, and where the plan cross-fits, one more without each fold.

        Raises:
            AccuracyDroppedError: If fine-tuning costs the network its accuracy.
            UsageError: If a checkpoint does not belong here.
        """
        moped = self._moped(delta)
        initial, settings = self._initial(moped), TrainSettings(epochs=self.options.epochs, seed=self.seed)
        saved = self._checkpoints(initial, settings)
        jobs = list(_jobs(self.plan))
        step = self.progress.task("fine-tuning", len(jobs) * settings.epochs)
        trained = [
            self._train(initial, moped, job, settings, saved, _shifted(step, number * settings.epochs))
            for number, job in enumerate(jobs)
        ]
        unseen, total = self.plan.unseen(), len(self.data.classes)
        scores, correct = np.empty((total, len(BAYESIAN_KINDS))), np.zeros(total, bool)
        draws = self.progress.task("weight draws", len(unseen))
        done = 0
        for (posterior, _), job in zip(trained, jobs, strict=True):
            if len(job.scored):
                found = self._score(posterior, job.scored, _shifted(draws, done))
                scores[job.scored], correct[job.scored] = found
                done += len(job.scored)
        posterior, epochs = trained[0]
        training = {**asdict(settings), "images": len(jobs[0].rows), "posteriors": len(jobs)}
        training |= {"cross_entropy": [epoch.cross_entropy for epoch in epochs], "kl": [epoch.kl for epoch in epochs]}
        return Outcome(posterior, scores[unseen], correct[unseen], training)

    def _train(
        self,
        initial: Posterior,
        moped: MopedSettings,
        job: _Job,
        settings: TrainSettings,
        saved: Checkpoints | None,
        step: Callable[[int], None],
    ) -> tuple[Posterior, tuple[Epoch, ...]]:
        """One posterior, trained on some rows from its last saved state on, and every epoch of its training."""
        # Each width has states of its own, so that one given up is not taken for the next.
        file = f"{job.name}-delta-{moped.delta}"
        state = None if saved is None else saved.load(file)
        if state is not None and state.epoch > settings.epochs:
            raise UsageError(
                f"{state.epoch} epochs are trained already, {settings.epochs} are asked for",
                where=str(self.options.checkpoint),
                hint="Give --checkpoint another folder, or ask for as many epochs",
            )

        def finished(epoch: Epoch, state: TrainState) -> None:
            if saved is not None:
                saved.save(file, state)
            step(epoch.number)
            self.progress.say(
                f"fine-tuning {job.name}: epoch {epoch.number}/{settings.epochs}, "
                f"cross-entropy {epoch.cross_entropy:.4f}, KL per image {epoch.kl:.3g}, "
                f"clean accuracy {epoch.accuracy:.2%}"
            )

        return trained_posterior(
            initial,
            bayesian_network(self.tail, moped),
            self.tail,
            self.data,
            job.rows,
            Training(settings, self.training_device, state, finished),
        )

    def _moped(self, delta: float) -> MopedSettings:
        return MopedSettings(delta=delta, prior_std=self.options.prior_std)

    def _initial(self, moped: MopedSettings) -> Posterior:
        return untrained_posterior(self.tail, moped, self.options.samples, self.seed)

    def _score(
        self, posterior: Posterior, rows: NDArray[np.int64], step: Callable[[int], None]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Scores ``(R, 4)`` of rows, and whether the mean over draws classifies each as its class."""
        scorer = DrawScorer(posterior, self.device)
        scores, correct = [], []
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            statistics = scorer.run(self.data.batch(chunk), batch_size=64)
            scores.append(scorer.columns(statistics))
            correct.append(statistics.mean_probabilities().argmax(1) == self.data.classes[chunk])
            step(start + len(chunk))
        return np.concatenate(scores), np.concatenate(correct)

    def _checkpoints(self, initial: Posterior, settings: TrainSettings) -> Checkpoints | None:
        if self.options.checkpoint is None:
            return None
        # Not the number of epochs: training on is the same as having asked for more at first.
        same = {name: value for name, value in asdict(settings).items() if name != "epochs"}
        key = hashlib.sha256(json.dumps([same, self.options.prior_std, self.data.origin]).encode())
        for part in (initial.graph, initial.weights, initial.stds, self.data.classes, self.plan.folds):
            key.update(np.ascontiguousarray(np.frombuffer(part, np.uint8) if isinstance(part, bytes) else part).data)
        return Checkpoints(self.options.checkpoint, key.hexdigest())


def _jobs(plan: CalibrationPlan) -> Iterator[_Job]:
    """Every posterior; the first is for scans."""
    if plan.method == "split":
        yield _Job("posterior", np.flatnonzero(plan.folds == 0), plan.unseen())
        return
    yield _Job("posterior", np.arange(len(plan.folds)), np.empty(0, np.int64))
    for fold in range(int(plan.folds.max()) + 1):
        yield _Job(f"fold-{fold}", np.flatnonzero(plan.folds != fold), np.flatnonzero(plan.folds == fold))


def _shifted(step: Callable[[int], None], before: int) -> Callable[[int], None]:
    return lambda count: step(before + count)
