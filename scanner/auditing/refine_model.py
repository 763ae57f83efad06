"""Make what probing found as small as it can be, by gradients, where that was asked for. Alone here needs PyTorch."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from detectors.probing.probing import Probed
from scanner.auditing.open_audit import OpenedAudit
from scanner.auditing.options import AuditOptions
from scanner.base.errors import UsageError
from scanner.base.progress import Progress
from scanner.base.text import printable

if TYPE_CHECKING:
    import torch

    from detectors.inversion.optimise import Network
    from detectors.inversion.refine import Refined

_TRIED: Final = 4
_TOLERANCE: Final = 0.01
"""Of the largest logit: far above what single precision costs, far below what another operator would."""
_REASON_LENGTH: Final = 120


@dataclass(frozen=True)
class Refinement:
    """What refinement came to.

    Attributes:
        found: Two patterns for each class that was looked at.
        why_not: Why it could not be done, in a sentence; empty where it could.
        complete: Whether the budget lasted for all classes that were to be looked at.
    """

    found: tuple[Refined, ...] = ()
    why_not: str = ""
    complete: bool = True


def require_torch(options: AuditOptions) -> None:
    """Refuse, before anything else is done, what cannot be done without PyTorch.

    Raises:
        UsageError: It is not installed.
    """
    if options.refine and importlib.util.find_spec("torch") is None:
        raise UsageError(
            "needs PyTorch, which is not installed",
            where="--refine",
            hint="Install latentscan in full, or audit without --refine",
        )


def refine_model(opened: OpenedAudit, probed: Probed, options: AuditOptions, progress: Progress) -> Refinement:
    """Refine, for at most as many seconds as the search was given."""
    if not options.refine:
        return Refinement()
    from detectors.inversion.refine import Networks, refine
    from scanner.graph.torch_ops.arguments import UnsupportedNodeError

    progress.say("refining: the smallest patch and the weakest offset for each class, by gradients")
    began = time.monotonic()

    def may() -> bool:
        return options.budget is None or time.monotonic() - began < options.budget

    try:
        gradients = _gradients(opened)
        if not _agrees(gradients, opened):
            return Refinement(why_not="PyTorch and ONNX Runtime disagree about the logits")
        found = refine(opened.images.pixels, probed, Networks(gradients, opened.logits), may)
        return Refinement(found, complete=may())
    except UnsupportedNodeError as unsupported:
        return Refinement(why_not=printable(f"the graph has {unsupported}", _REASON_LENGTH))
    except Exception as failure:  # Whatever PyTorch raises about a node that it takes in another way.
        text = " ".join(str(failure).split())
        return Refinement(why_not=printable(f"{type(failure).__name__} in PyTorch: {text}", _REASON_LENGTH))


def _gradients(opened: OpenedAudit) -> Network:
    """The network from pixels between 0 and 1, its normalisation included."""
    import torch

    from scanner.graph.image_network import image_network

    spec, layout = opened.subject.spec, opened.subject.model.layout
    network = image_network(opened.subject.model.bundle).requires_grad_(False).eval()
    mean, std = (torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1) for values in (spec.mean, spec.std))
    scale = 255.0 * spec.scale

    def run(images: torch.Tensor) -> torch.Tensor:
        ordered = images.flip(1) if spec.channel_order == "BGR" and spec.channels == 3 else images
        normalised = (ordered * scale - mean) / std
        logits: torch.Tensor = network(normalised if layout == "NCHW" else normalised.permute(0, 2, 3, 1))
        return logits

    return run


def _agrees(gradients: Network, opened: OpenedAudit) -> bool:
    """Whether both compute the same for a few images."""
    import torch

    pixels = opened.images.pixels[:_TRIED]
    expected = opened.logits(pixels)
    with torch.no_grad():
        found = gradients(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).numpy()
    return found.shape == expected.shape and bool(
        (np.abs(found - expected) <= _TOLERANCE * np.abs(expected).max()).all()
    )
