"""The paper's tables from finished cells: published and measured side by side, and the difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, Final

from reference.reproduction.cell import ROWS, Cell
from reference.reproduction.published import ACCURACY, AUPR, AUROC, at

TITLES: Final[Mapping[str, str]] = {"mnist": "MNIST", "cifar10": "CIFAR-10", "digits": "Digits"}
METHODS: Final[Mapping[str, str]] = {
    "dnn": "DNN",
    "df": "DF",
    "bnn": "BNN",
    "bnn-clean": "BNN, clean data only",
    "default": "default detector",
}
"""Rows as the tables name them."""


@dataclass(frozen=True)
class Entry:
    """One figure, in percent.

    Attributes:
        rate: Share of backdoored samples.
        published: The paper's figure, if it has one.
        measured: One figure for each seed.
    """

    rate: float
    published: float | None
    measured: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return mean(self.measured) if self.measured else None

    @property
    def difference(self) -> float | None:
        """Measured mean minus published."""
        return None if self.mean is None or self.published is None else self.mean - self.published


@dataclass(frozen=True)
class Line:
    """One method's figures over the rates."""

    data: str
    images: str | None
    method: str
    entries: tuple[Entry, ...]

    def at(self, rate: float) -> Entry:
        """The entry at a rate; an empty one where the line has none."""
        return next((entry for entry in self.entries if entry.rate == rate), Entry(rate, None, ()))


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        key: Short name.
        title: What it shows.
        lines: Its lines.
        compared: Whether the paper has it.
    """

    key: str
    title: str
    lines: tuple[Line, ...]
    compared: bool = True

    @property
    def rates(self) -> tuple[float, ...]:
        """Every rate that a line has, ascending: the table's columns."""
        return tuple(sorted({entry.rate for line in self.lines for entry in line.entries}))


Figure = Callable[[Mapping[str, Any]], float | None]
"""From a row of a cell to a figure, as a share."""

Published = Callable[[str, str, float], float | None]
"""From data set, method and rate to the paper's figure, in percent."""


@dataclass(frozen=True)
class _Wanted:
    """Lines of a table."""

    figure: Figure
    published: Published
    rates: Sequence[float]
    images: str | None = None
    methods: Sequence[str] = ROWS

    def of(self, cells: Sequence[Cell]) -> tuple[Line, ...]:
        """Those that were measured at some rate at least."""
        made = []
        for name in dict.fromkeys(cell.config.data for cell in cells):
            for method in self.methods:
                entries = tuple(
                    Entry(rate, self.published(name, method, rate), _measured(cells, name, method, rate, self.figure))
                    for rate in self.rates
                )
                if any(entry.measured for entry in entries):
                    made.append(Line(name, self.images, method, entries))
        return tuple(made)


def build_tables(cells: Sequence[Cell]) -> tuple[Table, ...]:
    """All tables, of the cells that are finished."""
    poisoned = tuple(rate for rate in _rates(cells) if rate)

    def lines(key: str, published: Published) -> tuple[Line, ...]:
        return _Wanted(_simple(key), published, poisoned).of(cells)

    accuracy = "Table 1: accuracy in percent; a triggered image is correct with the attacker's label"
    succeeds = "AUPR in percent, clean against the triggered images on which the attack succeeds"
    flagged = "Images flagged by the default detector at alpha = 0.01, in percent"
    own = {
        "detection_at_1_percent": "Detection rate in percent at 1% false alarms",
        "detection_at_5_percent": "Detection rate in percent at 5% false alarms",
        "aupr_where_the_attack_succeeds": succeeds,
    }
    return (
        Table("accuracy", accuracy, _accuracy(cells, poisoned)),
        Table("aupr", "Table 2: AUPR in percent, clean against triggered", lines("aupr", _aupr)),
        Table("auroc", "Table 3: AUROC in percent, clean against triggered", lines("auroc", _auroc)),
        *(Table(key, title, lines(key, _unpublished), compared=False) for key, title in own.items()),
        Table("flagged", flagged, _flagged(cells, poisoned), compared=False),
    )


def _rates(cells: Sequence[Cell]) -> tuple[float, ...]:
    return tuple(sorted({cell.config.rate for cell in cells}))


def _simple(key: str) -> Figure:
    return lambda row: row.get(key)


def _accuracy(cells: Sequence[Cell], poisoned: Sequence[float]) -> tuple[Line, ...]:
    names = list(dict.fromkeys(cell.config.data for cell in cells))
    found: list[Line] = []
    for images, rates in (("clean", _rates(cells)), ("triggered", poisoned)):
        found += _Wanted(
            _simple(f"{images}_accuracy"),
            lambda name, method, rate, images=images: at(ACCURACY.get((name, images, method)), rate),  # type: ignore[misc]
            rates,
            images,
        ).of(cells)
    return tuple(sorted(found, key=lambda line: names.index(line.data)))


def _flagged(cells: Sequence[Cell], poisoned: Sequence[float]) -> tuple[Line, ...]:
    found: list[Line] = []
    for kind in ("clean", "triggered"):
        found += _Wanted(
            lambda row, kind=kind: (row.get("flagged_at_alpha_0.01") or {}).get(kind),  # type: ignore[misc]
            _unpublished,
            poisoned,
            kind,
            ("default",),
        ).of(cells)
    return tuple(found)


def _measured(
    cells: Sequence[Cell], name: str, method: str, rate: float, figure: Callable[[Mapping[str, Any]], float | None]
) -> tuple[float, ...]:
    found = []
    for cell in cells:
        if (cell.config.data, cell.config.rate) == (name, rate) and method in cell.rows:
            value = figure(cell.rows[method])
            if value is not None:
                found.append(100 * value)
    return tuple(found)


def _aupr(name: str, method: str, rate: float) -> float | None:
    return at(AUPR.get((name, method)), rate)


def _auroc(name: str, method: str, rate: float) -> float | None:
    return at(AUROC.get((name, method)), rate)


def _unpublished(name: str, method: str, rate: float) -> None:
    del name, method, rate


def tables_json(cells: Sequence[Cell]) -> dict[str, Any]:
    """Every table's figures, and what each model and row was made of."""
    return {
        "command": "modelscan reproduce",
        "tables": {
            table.key: {
                "title": table.title,
                "lines": [
                    {
                        "data": line.data,
                        "images": line.images,
                        "method": line.method,
                        "entries": [
                            {
                                "rate": entry.rate,
                                "published": entry.published,
                                "measured": [round(value, 4) for value in entry.measured],
                                "difference": None if entry.difference is None else round(entry.difference, 4),
                            }
                            for entry in line.entries
                        ],
                    }
                    for line in table.lines
                ],
            }
            for table in build_tables(cells)
        },
        "cells": [
            {
                "name": cell.name,
                "training": cell.training,
                "rows": {
                    name: {key: value for key, value in row.items() if key != "plots"}
                    for name, row in cell.rows.items()
                },
            }
            for cell in cells
        ],
    }


def markdown(table: Table) -> str:
    """One table in Markdown."""
    head = ["data", *(["images"] if any(line.images for line in table.lines) else []), "method"]
    if table.compared:
        head.append("")
    rows = [[*head, *(f"{100 * rate:.0f}%" for rate in table.rates)], ["---"] * len(head) + ["--:"] * len(table.rates)]
    for line in table.lines:
        start = [TITLES[line.data], *([line.images or ""] if "images" in head else []), METHODS[line.method]]
        entries = [line.at(rate) for rate in table.rates]
        if table.compared and any(entry.published is not None for entry in entries):
            rows.append([*start, "published", *(_plain(entry.published) for entry in entries)])
            rows.append([*([""] * len(start)), "measured", *(shown(e) for e in entries)])
            rows.append([*([""] * len(start)), "difference", *(_signed(e) for e in entries)])
        else:
            rows.append([*start, *(["measured"] if table.compared else []), *(shown(e) for e in entries)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def shown(entry: Entry) -> str:
    """The measured mean, with half the range over seeds where there are several."""
    if entry.mean is None:
        return "-"
    text = f"{entry.mean:.2f}"
    if len(entry.measured) > 1:
        text += f" ±{(max(entry.measured) - min(entry.measured)) / 2:.2f}"
    return text


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _signed(entry: Entry) -> str:
    return "-" if entry.difference is None else f"{entry.difference:+.2f}"


def tables_markdown(cells: Sequence[Cell]) -> str:
    """All tables in Markdown."""
    parts = []
    for table in build_tables(cells):
        if table.lines:
            parts.append(f"### {table.title}\n\n{markdown(table)}")
    return "\n".join(parts)
