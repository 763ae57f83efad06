"""Export clean classifiers of other people to ONNX, for measuring what structural checks say of them.

    python -m reference.structure_graphs --out FOLDER [--only torchvision-script]

Every image classifier of torchvision, under both of PyTorch's exporters; one of each family of timm; and one of each
type of Hugging Face's transformers with a head for image classification. Weights are random, since only the graph is
looked at, and are left out of the files: what is longer than a kilobyte is cut from a tensor. What is there is not done
again, and what fails is written down in ``NAME.failed``. timm and transformers are no dependencies: install them here.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import onnx
import torch
from torch import nn

OPSET: Final = 20
KEPT_BYTES: Final = 1024
MOST_PARAMETERS: Final = 400_000_000
SECONDS: Final = 420

GROUPS: Final = ("torchvision-script", "timm-script", "transformers-script", "torchvision-dynamo")
_SMALL: Final = (
    *("atto", "femto", "pico", "nano", "xxs", "xxtiny", "xtiny", "tiny", "xs", "mini", "small", "_s", "b0", "0", "18"),
    *("lite", "26", "34", "50", "base"),
)


class _Logits(nn.Module):
    """A model of transformers as a function from pixels to logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of pixels (N, 3, H, W)."""
        logits: torch.Tensor = self.model(pixel_values=pixels).logits
        return logits


def names(group: str) -> list[str]:
    """The models of a group, by the names that their libraries give them."""
    if group.startswith("torchvision"):
        import torchvision

        return sorted(torchvision.models.list_models(module=torchvision.models))
    if group.startswith("timm"):
        return sorted(_families_of_timm())
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

    return sorted(MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)


def _families_of_timm() -> Iterator[str]:
    """A small one of each family: the models of a module whose names start with the same word."""
    import timm

    families: dict[tuple[str, str], list[str]] = {}
    for module in timm.list_modules():
        for name in timm.list_models(module=module):
            start = re.match(r"[a-z]+", name)
            families.setdefault((module, start.group() if start else name), []).append(name)
    for members in families.values():
        yield min(members, key=_rank)


def _rank(name: str) -> tuple[int, int, str]:
    return next((index for index, word in enumerate(_SMALL) if word in name), len(_SMALL)), len(name), name


def build(group: str, name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    """A model of a group, and the shape of its images."""
    torch.manual_seed(0)
    if group.startswith("torchvision"):
        import torchvision

        options: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        size = 299 if name == "inception_v3" else 224
        return torchvision.models.get_model(name, weights=None, **options), (3, size, size)
    if group.startswith("timm"):
        import timm

        # Some are published without a head.
        model = timm.create_model(name, pretrained=False, exportable=True, num_classes=1000)
        return model, tuple(model.pretrained_cfg["input_size"])
    return _transformers(name)


def _transformers(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    from transformers import AutoConfig, AutoModelForImageClassification

    config = AutoConfig.for_model(name)
    for part in (config, getattr(config, "vision_config", None)):
        layers = getattr(part, "num_hidden_layers", None)
        if isinstance(layers, int):
            setattr(part, "num_hidden_layers", min(layers, 4))  # noqa: B010
    vision = getattr(config, "vision_config", config)
    size = getattr(vision, "image_size", None) or 224
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    model = AutoModelForImageClassification.from_config(config)
    return _Logits(model), (int(getattr(vision, "num_channels", 3) or 3), int(height), int(width))


def export(model: nn.Module, shape: tuple[int, int, int], *, dynamo: bool) -> onnx.ModelProto:
    """Export a network with a dynamic batch."""
    images = (torch.zeros(2, *shape),)
    if dynamo:
        program = torch.onnx.export(
            model,
            images,
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
        if program is None:
            raise RuntimeError("the exporter returned nothing")
        return program.model_proto
    file = io.BytesIO()
    torch.onnx.export(
        model,
        images,
        cast("str", file),  # any file object will do
        dynamo=False,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
    )
    return onnx.load_model_from_string(file.getvalue())


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph; what is longer than a kilobyte is cut from its initialisers, shapes stay."""
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > KEPT_BYTES:
            tensor.ClearField("raw_data")
    return model


def make(group: str, name: str, out: Path) -> None:
    """Export one model of a group to a folder."""
    model, shape = build(group, name)
    model = model.eval().requires_grad_(False)
    parameters = sum(value.numel() for value in model.parameters())
    if parameters > MOST_PARAMETERS:
        raise RuntimeError(f"{parameters} parameters are more than {MOST_PARAMETERS}")
    graph = without_weights(export(model, shape, dynamo=group.endswith("dynamo")))
    target = out / f"{group}+{name}.onnx"
    unfinished = target.with_suffix(".partial")
    unfinished.write_bytes(graph.SerializeToString())
    unfinished.rename(target)


def _apart(work: Callable[[], None], failed: Path) -> str:
    """Run something in a process of its own, for as long as is allowed; what it fails with goes to a file."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(SECONDS)
            work()
        except BaseException as error:
            failed.write_text(f"{type(error).__name__}: {str(error)[:1000]}\n", encoding="utf-8")
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0:
        failed.write_text(f"ended by signal {-status}\n", encoding="utf-8")
    return "exported" if status == 0 else "failed"


def main() -> None:
    """Export what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=GROUPS, action="append")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)  # it has an operator of its own, which is not exported
    warnings.simplefilter("ignore")
    for group in options.only or GROUPS:
        for name in names(group):
            base = options.out / f"{group}+{name}"
            failed = base.with_name(base.name + ".failed")
            if base.with_name(base.name + ".onnx").exists() or failed.exists():
                continue
            started = time.monotonic()
            outcome = _apart(partial(make, group, name, options.out), failed)
            sys.stderr.write(f"{group} {name}: {outcome} in {time.monotonic() - started:.1f} s\n")


if __name__ == "__main__":
    main()
