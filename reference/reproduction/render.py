"""Results as files: tables in JSON and Markdown, figures, and one page with all of it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import jinja2

from reference.datasets import DataSet
from reference.evaluate import write_json
from reference.reproduction.cell import ROWS, Cell
from reference.reproduction.plots import data_uri, example_png, histogram_svg, precision_recall_svg, roc_svg
from reference.reproduction.tables import METHODS, TITLES, build_tables, shown, tables_json, tables_markdown
from scanner import __version__
from scanner.base.atomic import atomic_writer, output_error

FIGURES = "figures"


def render(out: Path, cells: Sequence[Cell], data: DataSet) -> None:
    """Write ``tables.json``, ``tables.md``, ``figures/`` and ``index.html`` of finished cells.

    Args:
        out: Where to.
        cells: All finished cells.
        data: The data set of which an example of the trigger is drawn.

    Raises:
        OutputError: If a file cannot be written.
    """
    try:
        (out / FIGURES).mkdir(exist_ok=True)
    except OSError as error:
        raise output_error(error, out / FIGURES) from error
    write_json(out / "tables.json", tables_json(cells))
    _write(out / "tables.md", tables_markdown(cells).encode())
    attack = next((cell.config.attack for cell in cells if cell.config.data == data.name), None)
    if attack is not None:
        _write(out / FIGURES / f"{data.name}-trigger.png", example_png(data, attack))
    for cell in cells:
        if cell.config.rate and cell.rows:
            _write(out / FIGURES / f"{cell.name}-roc.svg", roc_svg(cell).encode())
            _write(out / FIGURES / f"{cell.name}-precision-recall.svg", precision_recall_svg(cell).encode())
            for row in ROWS:
                if row in cell.rows:
                    _write(out / FIGURES / f"{cell.name}-scores-{row}.svg", histogram_svg(cell, row).encode())
    _write(out / "index.html", _page(out, cells))


def _page(out: Path, cells: Sequence[Cell]) -> bytes:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["line_at"] = lambda rate, line: line.at(rate)
    template = environment.from_string(files("reference.reproduction").joinpath("page.html.jinja").read_text("utf-8"))
    examples = {}
    for name in dict.fromkeys(cell.config.data for cell in cells):
        picture = out / FIGURES / f"{name}-trigger.png"
        if picture.exists():
            training = next(cell.training for cell in cells if cell.config.data == name)
            examples[name] = (data_uri(picture.read_bytes()), (training or {}).get("trigger", ""))
    page = template.render(
        version=__version__,
        tables=[table for table in build_tables(cells) if table.lines],
        cells=cells,
        plotted=[cell for cell in cells if cell.config.rate and cell.config.seed == 0 and cell.rows],
        examples=examples,
        titles=TITLES,
        methods=METHODS,
        rows=ROWS,
        shown=shown,
        roc=roc_svg,
        precision_recall=precision_recall_svg,
        histogram=histogram_svg,
    )
    return page.encode()


def _write(path: Path, content: bytes) -> None:
    with atomic_writer(path) as file:
        file.write(content)
