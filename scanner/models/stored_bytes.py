"""The files of a model on the disk, its own and those beside it that hold its weights, and how large they are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path

from scanner.base.errors import ModelError
from scanner.base.files import open_regular
from scanner.graph.onnx_outline import outline_file
from scanner.models.beside import open_named
from scanner.models.folder import model_file
from scanner.models.shards import read_index


def stored_bytes(path: Path) -> int:
    """Bytes of a model's file, or of the model in a folder, with what it refers to; 0 where that cannot be told."""
    try:
        return sum(os.fstat(stream.fileno()).st_size for stream in open_stored(path))
    except (ModelError, OSError):
        return 0  # loading it says why


def open_stored(path: Path) -> Iterator[BufferedReader]:
    """A model's file, or the one of the model in a folder, and then what it refers to, each open until the next one.

    Raises:
        ModelError: One of them is missing, or outside of the model's folder.
        OSError: One cannot be read.
    """
    file = model_file(path)
    with open_regular(file) as stream:
        names = _beside(stream, os.fstat(stream.fileno()).st_size)
        stream.seek(0)
        yield stream
    for name in names:
        with open_named(file, name) as part:
            yield part


def _beside(stream: BufferedReader, size: int) -> Sequence[str]:
    """Names of the files that an index of weights or an ONNX file refers to; none of other files."""
    index = read_index(stream)
    if index is not None:
        return index.files
    stream.seek(0)
    try:
        return outline_file(stream, size).external
    except ModelError:
        return ()
