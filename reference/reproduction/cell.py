"""One trained model and what was measured on it, on disk: a cell is written whole after every row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from reference.evaluate import write_json
from reference.training import TrainConfig
from scanner.base.errors import SourceError

Row = Literal["dnn", "df", "bnn", "bnn-clean", "default"]
ROWS: Final[tuple[Row, ...]] = ("dnn", "df", "bnn", "bnn-clean", "default")
"""The softmax of the network itself; DeepFeatures; a Bayesian network trained on the poisoned set; one
fine-tuned on clean images alone; and what this tool does by default."""

ATTACKS: Final[Mapping[str, str]] = {"mnist": "four-pixels", "cifar10": "square", "digits": "four-pixels"}
FORMAT: Final = 1


def rows_at(rate: float) -> tuple[Row, ...]:
    """The rows that a table has at a rate: without backdoored samples, the network alone."""
    return ROWS if rate else ("dnn",)


@dataclass
class Cell:
    """A trained model and its finished rows.

    Attributes:
        config: What is trained.
        training: The training's record, once it is finished.
        rows: Figures by row, as :mod:`reference.reproduction.measured` makes them.
    """

    config: TrainConfig
    training: dict[str, Any] | None = None
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``<data>-<percent>-seed<seed>``."""
        return f"{self.config.data}-{round(100 * self.config.rate)}-seed{self.config.seed}"

    @property
    def missing(self) -> tuple[Row, ...]:
        """Rows still to be measured."""
        return tuple(row for row in rows_at(self.config.rate) if row not in self.rows)


def load_cell(folder: Path, config: TrainConfig) -> Cell:
    """The cell as far as it is finished.

    Raises:
        SourceError: If the file is damaged or was made with other settings.
    """
    cell = Cell(config)
    path = folder / f"{cell.name}.json"
    if not path.exists():
        return cell
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = TrainConfig(**content["training"]["config"])
        cell.training, cell.rows = content["training"], dict(content["rows"])
        version = content["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError("is not a finished cell", where=str(path), hint="Remove it, or give another --out") from error
    if found != config or version != FORMAT:
        raise SourceError(
            f"was made with {found.epochs} epochs, format {version}; now it is {config.epochs}, format {FORMAT}",
            where=str(path),
            hint="Give the same --epochs, another --out, or remove it",
        )
    return cell


def save_cell(folder: Path, cell: Cell) -> None:
    """Write the cell, whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    write_json(folder / f"{cell.name}.json", {"format": FORMAT, "training": cell.training, "rows": cell.rows})


def load_cells(folder: Path) -> Iterator[Cell]:
    """Every cell in a folder, in the order of data set, rate and seed.

    Raises:
        SourceError: If a file is damaged.
    """
    cells = []
    for path in folder.glob("*.json"):
        try:
            config = TrainConfig(**json.loads(path.read_text(encoding="utf-8"))["training"]["config"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SourceError("is not a finished cell", where=str(path), hint="Remove it") from error
        cells.append(load_cell(folder, config))
    order = list(ATTACKS)
    yield from sorted(cells, key=lambda c: (order.index(c.config.data), c.config.rate, c.config.seed))
