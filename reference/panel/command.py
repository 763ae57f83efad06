"""The command line's way in: options checked, cells planned, tables and picture written at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference.panel.cells import Cell
from reference.panel.networks import network_named
from reference.panel.plan import PANEL_NETWORKS, development, quick, reported
from reference.panel.plot import detection_svg
from reference.panel.run import run_cells
from reference.panel.tables import tables_markdown
from scanner.base.atomic import atomic_writer, output_error
from scanner.base.compiler_cache import temporary_compiler_cache
from scanner.base.errors import UsageError
from scanner.base.progress import Progress


@dataclass(frozen=True)
class PanelRequest:
    """What a person asked for, not yet checked.

    Attributes:
        data: Folder with the data sets, or None.
        out: Folder for networks, cells and tables.
        seeds: Number of seeds.
        networks: Names separated by commas, or None for all.
        development: Whether the development half is meant.
        quick: Whether two cells on scikit-learn's digits are.
    """

    data: Path | None
    out: Path
    seeds: int
    networks: str | None
    development: bool
    quick: bool


def run_panel(request: PanelRequest, progress: Progress) -> str:
    """Measure what is missing of the panel.

    Returns:
        The tables of everything finished, in Markdown.

    Raises:
        LatentscanError: For everything the user can do something about.
    """
    if request.data is None and not request.quick:
        raise UsageError(
            "needs the data sets' folder",
            where="--data",
            hint="Give the folder that holds MNIST/raw and cifar-10-batches-py, or use --quick",
        )
    cells = planned(request)
    with temporary_compiler_cache():
        results = run_cells(cells, request.data or Path(), request.out, progress)
    return write_tables(request.out, results, len(cells))


def planned(request: PanelRequest) -> list[Cell]:
    """The cells that are meant.

    Raises:
        UsageError: If a network is unknown.
    """
    if request.quick:
        return quick()
    names = PANEL_NETWORKS if request.networks is None else tuple(request.networks.split(","))
    names = tuple(network_named(name).name for name in names)
    return (development if request.development else reported)(names, request.seeds)


def write_tables(out: Path, results: Sequence[dict[str, Any]], count: int) -> str:
    """Write ``panel.md`` and ``panel.svg``, and return the tables.

    Args:
        out: Where to.
        results: Finished cells.
        count: How many the panel has.

    Raises:
        OutputError: If they cannot be written.
    """
    tables = tables_markdown(results, count)
    for name, text in (("panel.md", tables), ("panel.svg", detection_svg(results))):
        try:
            with atomic_writer(out / name) as file:
                file.write(text.encode())
        except OSError as error:
            raise output_error(error, out / name) from error
    return tables
