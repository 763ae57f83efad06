"""How large a model is on the disk, for bounds: its file, and the files beside it that hold its weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
        file = model_file(path)
        with open_regular(file) as stream:
            size = os.fstat(stream.fileno()).st_size
            names = _beside(stream, size)
        for name in names:
            with open_named(file, name) as part:
                size += os.fstat(part.fileno()).st_size
    except (ModelError, OSError):
        return 0  # loading it says why
    return size


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
