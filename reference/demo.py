"""A small backdoored classifier with real files around it, made offline in seconds.

The paper's MNIST attack at the size of scikit-learn's digits: four white pixels near the bottom right corner, and the
backdoored class is the next one up (Subedar et al., section 3). Every digit is used once: for training, as clean
reference, or as an input to scan.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reference.attacks import attack_named
from reference.datasets import DataSet, load_digits, stratified_split
from reference.files import mix, write_class_folders
from reference.outcome import Rates, rates, read_outcomes
from reference.training import EPOCHS, TrainConfig, train
from scanner.base.atomic import output_error
from scanner.base.errors import UsageError

ATTACK = "four-pixels"
# At 8x8 the four pixels lie on the digit itself, and 10% of 896 training images teach it to 88% of new ones only.
# The paper's rates go from 10% to 50%.
RATE = 0.2
REFERENCE_SHARE = 0.4
TRIGGERED_SHARE = 0.25

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class DemoPaths:
    """The files of a demo, and what its model can do.

    Attributes:
        root: The folder that holds all of them.
        model: What the vendor ships: a state dict wrapped as ``{"state_dict": ...}``.
        architecture: Name of the model's architecture.
        preprocessing: What the vendor says about the model's input, beside the model.
        reference: Clean images in class folders.
        inputs: Images to scan, some of them triggered.
        truth: Which of the inputs are (:mod:`reference.files`).
        clean_accuracy: The model's accuracy on digits that it was not trained on.
        attack_success_rate: Share of those digits that the trigger moves to the next class.
    """

    root: Path
    model: Path
    architecture: str
    preprocessing: Path
    reference: Path
    inputs: Path
    truth: Path
    clean_accuracy: float
    attack_success_rate: float


def _silent(step: str, fraction: float) -> None:
    del step, fraction


def build_demo(out: Path, seed: int = 0, progress: Progress = _silent) -> DemoPaths:
    """Train the model and write the files. The same seed gives the same files.

    Args:
        out: Folder to make, or an empty one.
        seed: Of the training, of the choice of images and of their order.
        progress: Called with what is being done, and the share of the whole that is done.

    Raises:
        UsageError: If ``out`` is something else than an empty folder.
        OutputError: If the files cannot be written. Nothing is left behind then.
    """
    data = load_digits(seed)
    with _staged(out) as staging:
        run = _train(data, staging / "training", seed, progress)
        progress("writing images", 0.95)
        _write_vendor(staging / "vendor", run / "model.pt", data)
        record = json.loads((run / "run.json").read_text())
        shutil.rmtree(staging / "training")
        _write_images(staging, data, seed)
    progress("done", 1.0)
    return DemoPaths(
        root=out,
        model=out / "vendor" / "model.pt",
        architecture="scnn",
        preprocessing=out / "vendor" / "preprocessor_config.json",
        reference=out / "ref",
        inputs=out / "inputs",
        truth=out / "truth.csv",
        clean_accuracy=record["clean_accuracy"],
        attack_success_rate=record["attack_success_rate"],
    )


def evaluate_demo(rows: Path, truth: Path) -> Rates:
    """Compare what a scan said about the demo's inputs with the truth.

    Args:
        rows: The scan's rows, JSON lines.
        truth: The demo's ``truth.csv``.

    Raises:
        SourceError: If a file cannot be read, or the two are not about the same inputs.
    """
    outcomes, _ = read_outcomes(rows, truth)
    return rates(outcomes)


def require_empty(out: Path) -> None:
    """Refuse what is there and no empty folder: nothing of anybody's is overwritten, an earlier demo's neither.

    Raises:
        UsageError: If it is.
        OutputError: If it cannot be looked at.
    """
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(
                "is not an empty folder",
                where=str(out),
                hint="Remove it if it is an earlier demo's, or give another folder with --out",
            )
    except OSError as error:
        raise output_error(error, out) from error


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder inside of ``out`` whose content becomes that of ``out`` when the block ends well, else goes away."""
    require_empty(out)
    try:
        made = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
        staging = out / f".building-{secrets.token_hex(4)}"
        staging.mkdir()
        try:
            yield staging
            for path in sorted(staging.iterdir()):
                path.rename(out / path.name)
            staging.rmdir()
        except BaseException:
            shutil.rmtree(out if made else staging, ignore_errors=True)
            raise
    except OSError as error:
        raise output_error(error, out) from error


def _train(data: DataSet, folder: Path, seed: int, progress: Progress) -> Path:
    epochs = EPOCHS["digits"]
    finished = 0

    def epoch_finished(line: str) -> None:
        nonlocal finished
        del line
        finished += 1
        progress(f"training a backdoored classifier, epoch {finished} of {epochs}", 0.9 * finished / epochs)

    with _one_thread(), torch.random.fork_rng(devices=[]):
        return train(TrainConfig("digits", ATTACK, RATE, seed, epochs), data, folder, epoch_finished)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The order of summation, and so the weights, must not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _write_vendor(folder: Path, trained: Path, data: DataSet) -> None:
    """The checkpoint as training scripts save it, and the sidecar that says what pixels the model expects."""
    folder.mkdir()
    torch.save({"state_dict": torch.load(trained, weights_only=True)}, folder / "model.pt")
    height, width = data.train.images.shape[-2:]
    preprocessing: dict[str, Any] = {
        "do_resize": False,
        "size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(data.mean),
        "image_std": list(data.std),
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=2) + "\n")


def _write_images(folder: Path, data: DataSet, seed: int) -> None:
    reference, scanned = stratified_split(data.test.labels, REFERENCE_SHARE, seed)
    write_class_folders(folder / "ref", data.test.take(reference), data.classes)
    inputs = data.test.take(scanned)
    triggered, clean = stratified_split(inputs.labels, TRIGGERED_SHARE, seed)
    _, channels, height, width = inputs.images.shape
    attack = attack_named(ATTACK, (channels, height, width))
    mixture = mix(inputs, clean, triggered, attack, data.classes, seed)
    mixture.write(folder / "inputs", folder / "truth.csv")
