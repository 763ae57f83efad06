"""Write the tables of :mod:`scanner.models.architectures.fingerprints`: ``python -m`` this module, ``timm`` behind it.

Without an argument, torchvision's classifiers and this tool's own networks; with ``timm``, the models of timm that
take images of three channels. Nothing is downloaded: networks are built without weights.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from scanner.models.architectures.fingerprints import SKETCH, TABLES, Fingerprint, Shapes, fingerprint
from scanner.models.architectures.own import SMALL_IMAGE_NETWORKS
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.architectures.scnn import SCNN

_CLASSES = 1000
_OTHER_CLASSES = 7
_SMALL_SKETCH = 8


def torchvision_fingerprints(names: list[str] | None = None) -> Iterator[Fingerprint]:
    """Torchvision's classifiers; all of them by default."""
    for name in names or torchvision.models.list_models(module=torchvision.models):
        yield _of(name, lambda classes, name=name: _torchvision(name, classes))  # type: ignore[misc]


def own_fingerprints() -> Iterator[Fingerprint]:
    """This tool's own networks, in every spelling."""
    for name, spellings in SMALL_IMAGE_NETWORKS.items():
        for build in spellings:
            yield _of(name, lambda classes, build=build: build(num_classes=classes))  # type: ignore[misc]
    yield _of("resnet20", lambda classes: ResNet20(classes))
    # The first dense layer has the size of the images in its shape.
    yield _of("scnn", lambda classes: SCNN(classes, image_size=28 if classes == _CLASSES else 12), channels=1)


def pooled_fingerprints() -> Iterator[Fingerprint]:
    """Torchvision's ResNets with a first convolution for small images, and the pooling behind it kept.

    Their names and shapes are those of this tool's networks without the pooling, which are named before them.
    """
    for name in ("resnet18", "resnet34", "resnet50"):

        def build(classes: int, name: str = name) -> nn.Module:
            network = _torchvision(name, classes)
            with torch.device("meta"):
                network.conv1 = nn.Conv2d(3, 64, 3, 1, padding=1, bias=False)
            return network

        yield _of(name, build)


def timm_fingerprints() -> Iterator[Fingerprint]:
    """Timm's classifiers of images of three channels."""
    timm = importlib.import_module("timm")
    for name in timm.list_models():
        try:
            yield _of(f"timm/{name}", lambda classes, name=name: _timm(timm, name, classes))  # type: ignore[misc]
        except (RuntimeError, StopIteration, TypeError, AssertionError, ValueError, NotImplementedError) as error:
            print(f"{name}: left out ({type(error).__name__}: {str(error)[:80]})", file=sys.stderr)


def _of(name: str, build: Callable[[int], nn.Module], channels: int = 3) -> Fingerprint:
    shapes, others = _shapes(build(_CLASSES)), _shapes(build(_OTHER_CLASSES))
    changed = [key for key, shape in shapes.items() if others[key] != shape and not key.startswith(("aux", "Aux"))]
    head = dict.fromkeys(key.rpartition(".")[0] for key in changed)
    stem = next(key for key, shape in shapes.items() if len(shape) == 4 and shape[1] == channels)
    return fingerprint(name, shapes, tuple(head), stem)


def _shapes(module: nn.Module) -> Shapes:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def _torchvision(name: str, classes: int) -> nn.Module:
    options: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}

    def build() -> nn.Module:
        module: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
        return module

    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):  # RegNet reads its widths out of a tensor
        return build()


def _timm(timm: Any, name: str, classes: int) -> nn.Module:  # noqa: ANN401 - a module that may not be there
    with torch.device("meta"):
        module: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes)
    return module


def write_table(path: Path, source: str, fingerprints: Iterator[Fingerprint], sketch: int = SKETCH) -> None:
    """Write one table, a network a line, with sketches of so many hashes."""
    lines = ",\n".join(json.dumps(found.to_json(sketch), separators=(",", ":")) for found in fingerprints)
    path.write_text(f'{{"source": {json.dumps(source)}, "networks": [\n{lines}\n]}}\n', encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Write the table that is asked for beside this module."""
    warnings.simplefilter("ignore")
    folder = Path(__file__).parent
    if arguments == ["timm"]:
        version = importlib.import_module("timm").__version__
        write_table(folder / TABLES[1], f"timm {version}", timm_fingerprints(), _SMALL_SKETCH)
        return
    version = torchvision.__version__.partition("+")[0]

    def both() -> Iterator[Fingerprint]:
        yield from torchvision_fingerprints()
        yield from own_fingerprints()
        yield from pooled_fingerprints()

    write_table(folder / TABLES[0], f"torchvision {version}", both())


if __name__ == "__main__":
    main(sys.argv[1:])
