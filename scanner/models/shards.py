"""Weights in several files: an index beside them, in JSON, names the file of every tensor.

``model.safetensors.index.json`` and ``pytorch_model.bin.index.json`` are what Hugging Face's libraries write for large
networks. Index and files have to agree on every tensor: where they do not, readers differ in what they take, and a
file could be one network for this tool and another for the next.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, Final, TypeVar

from scanner.base.errors import ModelError, UnsafeModelError
from scanner.base.text import printable

_MAX_INDEX: Final = 16 * 2**20
_MAX_FILES: Final = 1000
_OF_SEVERAL: Final = re.compile(r"-\d{5}-of-(?!00001\.)\d{5}\.")
_AGAIN: Final = "Save the weights again, or get all files of one version"

Tensor = TypeVar("Tensor")


@dataclass(frozen=True)
class Index:
    """Which file holds which tensor.

    Attributes:
        places: Name of the file, by name of the tensor.
    """

    places: Mapping[str, str]

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files, each once, in order."""
        return tuple(sorted(set(self.places.values())))


def one_of_several(name: str) -> bool:
    """Whether a file is called like a part of several."""
    return _OF_SEVERAL.search(name) is not None


def read_index(file: BufferedReader) -> Index | None:
    """The index in a file, or None where it is something else.

    Raises:
        UnsafeModelError: It names a file outside of its folder.
        ModelError: It is none that a library writes.
    """
    file.seek(0)
    head = file.read(1024).lstrip()
    if not head.startswith(b"{"):
        return None
    file.seek(0)
    text = file.read(_MAX_INDEX + 1)
    if b'"weight_map"' not in text or len(text) > _MAX_INDEX:
        return None
    try:
        places = json.loads(text, object_pairs_hook=_once).get("weight_map")
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the index of the weights is damaged ({printable(str(error), 100)})") from error
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise ModelError("the index of the weights names no file for every tensor", hint=_AGAIN)
    index = Index(places)
    for name in index.files:
        if not name or name in (".", "..") or {"/", "\\", "\0"} & set(name):
            shown = printable(name, 120)
            raise UnsafeModelError(f"the index of the weights names '{shown}', which lies outside of its folder")
    if len(index.files) > _MAX_FILES:
        raise ModelError(f"the index of the weights names {len(index.files)} files; at most {_MAX_FILES} are read")
    return index


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, of which readers agree what it says."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is in it twice")
    return found


def together(index: Index, held: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """All tensors of all files, by name.

    Args:
        index: Which file should hold which.
        held: Which file holds which.

    Raises:
        ModelError: They disagree.
    """
    for tensor, file in index.places.items():
        if tensor not in held[file]:
            raise _disagreement(tensor, f"should be in '{printable(file, 120)}', and is not")
    for file, tensors in held.items():
        for tensor in tensors:
            if index.places.get(tensor) != file:
                other = index.places.get(tensor)
                also = "is not in the index" if other is None else f"is in '{printable(other, 120)}' as well"
                raise _disagreement(tensor, f"is in '{printable(file, 120)}', and {also}")
    return {tensor: value for tensors in held.values() for tensor, value in tensors.items()}


def _disagreement(tensor: str, what: str) -> ModelError:
    return ModelError(
        f"the index of the weights disagrees with its files: '{printable(tensor, 120)}' {what}", hint=_AGAIN
    )


def digest_of(index: tuple[str, str], files: Mapping[str, str]) -> str:
    """SHA-256 of what ``sha256sum`` prints for an index, or a graph, and then its files in the order of their names.

    Args:
        index: Its name and digest.
        files: Digests by name.
    """
    lines = [index, *sorted(files.items())]
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in lines).encode()).hexdigest()


def tensors_of(content: object) -> dict[str, Any]:
    """What of a file's content are tensors, or descriptions of them, with names."""
    items = content.items() if isinstance(content, Mapping) else ()
    return {name: item for name, item in items if isinstance(name, str) and hasattr(item, "shape")}
