"""How the graph in a model file is built, told from its bytes."""

from __future__ import annotations

from dataclasses import replace

from scanner.graph.onnx_outline import outline_path
from scanner.graph.structure.analyse import Structure, analyse
from scanner.graph.structure.read import read_program_path
from scanner.models.identify import FileKind, ModelFile


def structure_of(file: ModelFile) -> Structure | None:
    """Look at an ONNX file before anything of it is expanded or run; None for other kinds of files.

    Raises:
        ModelError: It is damaged, or larger or more deeply nested than any network.
    """
    if file.kind is not FileKind.ONNX:
        return None
    ambiguous = len(outline_path(file.path).ambiguous)
    return replace(analyse(read_program_path(file.path)), ambiguous=ambiguous)
