"""The architectures a state dict can be loaded into, by name, and how their sizes follow from the weights."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os

import torchvision

from scanner.base.errors import UsageError
from scanner.models.architectures.custom import build_custom
from scanner.models.architectures.loading import Network, load_into
from scanner.models.architectures.own import SMALL_IMAGE_NETWORKS
from scanner.models.architectures.plans import TIMM, Wanted, plan_network, template_of
from scanner.models.checkpoint import strip_prefixes
from scanner.models.stored_tensors import State

_OWN = ("scnn", "resnet20", *SMALL_IMAGE_NETWORKS)


def architecture_names() -> tuple[str, ...]:
    """All names that ``--arch`` takes, without user-supplied files and without those of timm."""
    return (*_OWN, *torchvision.models.list_models(module=torchvision.models))


def expected_names(architecture: str | None) -> frozenset[str]:
    """Names of the weights of a network, in all its spellings; empty where that cannot be told without running code.

    Raises:
        UsageError: Unknown architecture.
    """
    if architecture is None or ".py:" in architecture:
        return frozenset()
    _require_known(architecture)
    if architecture in SMALL_IMAGE_NETWORKS:
        return frozenset(key for build in SMALL_IMAGE_NETWORKS[architecture] for key in build().state_dict())
    return frozenset(template_of(architecture, set()).state_dict())


def build_network(
    architecture: str,
    state: State,
    *,
    trust_code: bool = False,
    input_size: tuple[int, int] | None = None,
    num_classes: int | None = None,
) -> Network:
    """Build the named network in the sizes that the weights have, and load them.

    Args:
        architecture: A name of :func:`architecture_names`, ``timm/`` and one of timm's where that is installed, or
            ``file.py:callable`` with ``trust_code``.
        state: Weights by name; prefixes of wrappers are stripped as needed.
        trust_code: Whether Python code of the user may be run.
        input_size: Height and width; the architecture's usual ones by default.
        num_classes: To check against the weights.

    Raises:
        UsageError: Unknown architecture, or options that contradict the weights.
        ModelError: The weights do not fit the architecture.
    """
    if ".py:" in architecture:
        if not trust_code:
            raise UsageError(
                f"{architecture!r} names Python code, which would be run",
                where="--arch",
                hint="Allow it with --trust-code if you trust that file (the model file stays untrusted)",
            )
        return build_custom(architecture, state, input_size, num_classes)
    _require_known(architecture)
    stripped, notes = strip_prefixes(state, expected_names(architecture))
    template = template_of(architecture, set(stripped))
    plan = plan_network(architecture, template, stripped, Wanted(input_size, num_classes))
    module = load_into(plan.build, stripped, architecture)
    return Network(module, architecture, plan.input_shape, (*notes, *plan.notes))


def buildable(architecture: str) -> bool:
    """Whether what a network needs is installed."""
    return not architecture.startswith(TIMM) or importlib.util.find_spec("timm") is not None


def import_library(library: str) -> None:
    """Import timm or transformers where it is installed, so that neither asks the network or takes memory later."""
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"})
    if importlib.util.find_spec(library) is not None:
        importlib.import_module(library)


def _require_known(architecture: str) -> None:
    if architecture in architecture_names() or architecture.startswith(TIMM):
        return
    close = difflib.get_close_matches(architecture, architecture_names(), n=3)
    raise UsageError(
        f"unknown architecture {architecture[:80]!r}",
        where="--arch",
        hint=f"Did you mean {', '.join(close)}?"
        if close
        else f"Names are those of torchvision.models, {', '.join(_OWN)}, and with latentscan[timm] timm/<name>",
    )
