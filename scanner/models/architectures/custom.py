"""A network of the user's own: Python code that builds it, run where the user allows that."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scanner.base.errors import ModelError, UsageError
from scanner.models.architectures.loading import Network, load_into
from scanner.models.architectures.siblings import SiblingFinder
from scanner.models.checkpoint import strip_prefixes
from scanner.models.stored_tensors import State


def build_custom(
    architecture: str, state: State, input_size: tuple[int, int] | None, num_classes: int | None
) -> Network:
    """Run the user's code, and load the weights into the network that it gives.

    Args:
        architecture: ``file.py:callable``.
        state: Weights by name.
        input_size: Height and width.
        num_classes: Passed to the callable where it takes that; by default the rows of the last matrix.

    Raises:
        UsageError: The size is missing, or the code fails or gives no network.
        ModelError: The weights do not fit.
    """
    if input_size is None:
        raise UsageError("the input size of your own architecture is needed", where="--input-size", hint="Give HxW")
    factory = _import_callable(architecture)
    options: dict[str, Any] = {}
    if "num_classes" in inspect.signature(factory).parameters:
        options["num_classes"] = num_classes or _last_matrix(state).shape[0]
    try:
        module = factory(**options)
    except Exception as error:  # the user's code
        raise UsageError(f"{architecture!r} failed ({type(error).__name__}: {error})", where="--arch") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"{architecture!r} returns {type(module).__name__}, not a torch.nn.Module", where="--arch")
    state, notes = strip_prefixes(state, module.state_dict())
    images = next((value for value in state.values() if value.ndim == 4), None)
    loaded = load_into(lambda: module, state, architecture, on_meta=False)
    if images is not None and images.shape[1] in (1, 3):
        channels = images.shape[1]
    else:
        channels = _channels_by_trial(loaded, input_size)
    ran = f"ran {architecture} to build the network, as --trust-code allows"
    return Network(loaded, architecture, (channels, *input_size), (ran, *notes))


def _channels_by_trial(module: nn.Module, size: tuple[int, int]) -> int:
    """Color or gray, whichever of the two gives one row of logits an image; color where neither does."""
    for channels in (3, 1):
        try:
            with torch.inference_mode():
                logits = module(torch.zeros(2, channels, *size))
        except Exception:  # noqa: S112 - whatever the network makes of images that it is not for
            continue
        if isinstance(logits, torch.Tensor) and logits.ndim == 2 and len(logits) == 2:
            return channels
    return 3


def _import_callable(architecture: str) -> Callable[..., object]:
    file, _, name = architecture.rpartition(":")
    path = Path(file)
    specification = importlib.util.spec_from_file_location("latentscan_custom_architecture", path)
    if not path.is_file() or specification is None or specification.loader is None:
        raise UsageError(f"no such Python file: {file}", where="--arch")
    module = importlib.util.module_from_spec(specification)
    sys.modules[module.__name__] = module
    sys.meta_path.insert(0, SiblingFinder(path.parent))
    try:
        specification.loader.exec_module(module)
    except Exception as error:  # the user's code
        raise UsageError(f"{file} cannot be imported ({type(error).__name__}: {error})", where="--arch") from error
    factory = getattr(module, name, None)
    if not callable(factory):
        raise UsageError(f"{file} has no callable {name!r}", where="--arch")
    return factory  # type: ignore[no-any-return]


def _last_matrix(state: State) -> torch.Tensor:
    matrices = [value for value in state.values() if value.ndim in (2, 4)]
    if not matrices:
        raise ModelError("the weights hold no matrix, so the number of classes cannot be told")
    return matrices[-1]
