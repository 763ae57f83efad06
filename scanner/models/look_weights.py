"""What a file of weights holds, for a person: the network, other weights beside, and tensors with their shapes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from scanner.base.errors import ModelError, UsageError
from scanner.base.text import printable
from scanner.models.architectures.fingerprints import find_networks
from scanner.models.folder import config_beside
from scanner.models.networks import describe, describe_unknown, grade
from scanner.models.select_state import select_state
from scanner.models.stored import StoredTensor, read_stored

_SHOWN: Final = 40
_NAME: Final = 80


def describe_weights(path: Path, key: str | None = None) -> Iterator[tuple[str, str]]:
    """Pairs of a heading and a line. A damaged file gives one that says so.

    Args:
        path: A checkpoint or safetensors file.
        key: Where in it the weights are, or None to find out.

    Raises:
        UsageError: There is nothing at ``key``.
    """
    try:
        choice = select_state(read_stored(path).content, key, grade)
    except ModelError as error:
        yield "weights", error.what
        return
    except UsageError as error:
        if key is not None:
            raise
        yield "weights", f"{error.what}. {error.hint}"
        return
    state = choice.state
    for note in choice.notes:
        yield "weights", note
    config = config_beside(path)
    if config is not None:
        yield "network", f"{printable(config.architecture, _NAME)!r} of {config.framework}, as config.json says"
    matches = find_networks(state.shapes)
    for match in matches:
        place = f"below {printable(match.prefix, _NAME)!r}: " if match.prefix else ""
        yield "network", place + describe(match)
    if not matches and config is None:
        yield "network", describe_unknown(state.shapes)
    tensors = [(name, item) for name, item in state.tensors.items() if isinstance(item, StoredTensor)]
    values = sum(_elements(item) for _, item in tensors)
    yield "tensors", f"{len(tensors)} with {values} values"
    for name, item in tensors[:_SHOWN]:
        shape = "x".join(map(str, item.shape)) or "a scalar"
        yield "tensor", f"{printable(name, _NAME):<48} {shape:<16} {item.dtype}"
    if len(tensors) > _SHOWN:
        yield "tensor", f"and {len(tensors) - _SHOWN} more"


def _elements(tensor: StoredTensor) -> int:
    product = 1
    for size in tensor.shape:
        product *= size
    return product
