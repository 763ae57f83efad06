"""Finished cells on disk: one JSON file each, written whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from reference.evaluate import write_json
from reference.panel.cells import Cell
from scanner.base.errors import SourceError

FORMAT: Final = 1


def load_result(folder: Path, cell: Cell) -> dict[str, Any] | None:
    """What was measured on a cell; None where it is not finished.

    Raises:
        SourceError: If the file is damaged, or another cell's.
    """
    path = folder / f"{cell.name}.json"
    if not path.exists():
        return None
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        same = result["cell"] == asdict(cell) and result["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError("is not a finished cell", where=str(path), hint="Remove it, or give another --out") from error
    if not same:
        raise SourceError("was made with other settings", where=str(path), hint="Remove it, or give another --out")
    return result


def save_result(folder: Path, cell: Cell, result: Mapping[str, Any]) -> None:
    """Write a finished cell.

    Raises:
        OutputError: If it cannot be written.
    """
    write_json(folder / f"{cell.name}.json", {"format": FORMAT, "cell": asdict(cell), **result})


def load_results(folder: Path, cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """The finished ones of some cells, in their order."""
    return [result for cell in cells if (result := load_result(folder, cell)) is not None]
