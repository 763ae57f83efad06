"""What a file of weights holds, for a person: the network, other weights beside, and tensors with their shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from scanner.base.errors import ModelError, UsageError
from scanner.base.files import open_regular
from scanner.base.text import printable
from scanner.models.architectures.fingerprints import find_networks
from scanner.models.beside import open_named
from scanner.models.folder import config_beside
from scanner.models.identify import ModelFile
from scanner.models.networks import describe, describe_unknown, grade
from scanner.models.select_state import select_state
from scanner.models.shards import read_index, tensors_of, together
from scanner.models.stored import StoredTensor, read_stored, read_stored_file

_SHOWN: Final = 40
_SHOWN_FILES: Final = 20
_NAME: Final = 80


def describe_weights(file: ModelFile, key: str | None = None) -> Iterator[tuple[str, str]]:
    """Pairs of a heading and a line. A damaged file gives one that says so.

    Args:
        file: A checkpoint or safetensors file, or the index of several.
        key: Where in it the weights are, or None to find out.

    Raises:
        UsageError: There is nothing at ``key``.
    """
    try:
        choice = select_state(_content(file), key, grade)
    except ModelError as error:
        yield "weights", error.what
        return
    except UsageError as error:
        if key is not None:
            raise
        yield "weights", f"{error.what}. {error.hint}"
        return
    state = choice.state
    yield from _files(file)
    for note in choice.notes:
        yield "weights", note
    config = config_beside(file.path)
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


def _files(file: ModelFile) -> Iterator[tuple[str, str]]:
    """The files that an index names."""
    for name in file.shards[:_SHOWN_FILES]:
        yield "weights", f"in the file '{printable(name, _NAME)}'"
    if len(file.shards) > _SHOWN_FILES:
        yield "weights", f"and in {len(file.shards) - _SHOWN_FILES} more"


def _content(file: ModelFile) -> object:
    """What the file holds, or all that its index names."""
    with open_regular(file.path) as stream:
        index = read_index(stream) if file.shards else None
    if index is None:
        return read_stored(file.path).content
    held = {}
    for name in index.files:
        with open_named(file.path, name) as stream:
            held[name] = tensors_of(read_stored_file(stream).content)
    return together(index, held)


def _elements(tensor: StoredTensor) -> int:
    product = 1
    for size in tensor.shape:
        product *= size
    return product
