"""The table of docs/formats.md: every kind, what happens with it, and the test that tries it with a real file.

The rows are in formats.tsv, the sizes of installations in a file of results. Both tables are written by
``LATENTSCAN_UPDATE_GOLDEN=1 pytest`` on this file.
"""

from __future__ import annotations

import ast
import json
import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "formats.md"
ROWS = Path(__file__).with_name("formats.tsv")


@dataclass(frozen=True)
class Kind:
    """A row: what is given, what happens, since when, with which file it is tried, and by which test."""

    given: str
    happens: str
    since: str
    file: str
    test: str


KINDS = tuple(Kind(*line.split("\t")) for line in ROWS.read_text(encoding="utf-8").splitlines()[1:])


def table() -> str:
    lines = ["| given | what happens | since | tried with |", "| --- | --- | --- | --- |"]
    for kind in KINDS:
        path, _, test = kind.test.partition("::")
        shown = f"[{test.removeprefix('test_').replace('_', ' ') or Path(path).stem}](../{path})"
        lines.append(f"| {kind.given} | {kind.happens} | {kind.since} | {kind.file}: {shown} |")
    return "\n".join(lines) + "\n"


def results(name: str) -> Any:
    return json.loads((ROOT / "reference" / "results" / f"{name}.json").read_text())


FOR = {
    "plain": "nothing: the tool itself",
    "scan only": "`scan` alone, as in its [image](docker.md)",
    "hf": "Hugging Face's folders",
    "timm": "timm's networks",
    "keras": "Keras archives",
    "parquet": "Parquet and Arrow, and rows as Parquet",
    "heif": "HEIC and AVIF",
}


def sizes() -> str:
    """Each extra by what it adds, and the whole of the environments that others are added to."""
    found = results("install_sizes")["installed"]
    lines = ["| extra | for | MiB | packages | the largest of them |", "| --- | --- | --- | --- | --- |"]
    for extra, use in FOR.items():
        one = found[extra]
        added = one.get("more_packages")
        if added is None:
            largest = ", ".join(f"{name} ({mib:,.0f})" for name, mib in list(one["largest_mib"].items())[:4])
            lines.append(f"| {extra} | {use} | {one['mib']:,.0f} | {len(one['packages'])} | {largest} |")
        else:
            named = [name for name in added if name.split()[0].replace("_", "-").lower() in DIRECT[extra]]
            lines.append(f"| `{extra}` | {use} | +{one['more_mib']:,.0f} | +{len(added)} | {', '.join(named)} |")
    return "\n".join(lines) + "\n"


DIRECT = {"hf": "transformers", "timm": "timm", "keras": "keras", "parquet": "pyarrow", "heif": "pillow-heif"}


@pytest.mark.parametrize(("name", "made"), [("table", table), ("sizes", sizes)])
def test_the_tables_are_those_of_the_page(name: str, made: Callable[[], str]) -> None:
    start, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(start)
    _, _, tail = rest.partition(end)
    written = f"{head}{start}{made()}{end}{tail}"
    if os.environ.get("LATENTSCAN_UPDATE_GOLDEN"):
        PAGE.write_text(written, encoding="utf-8")
    assert written == PAGE.read_text(encoding="utf-8")


def test_every_extra_was_enough_for_its_files_and_is_named_where_it_is_missing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # The others are about where a scan runs and where its inputs lie, not about kinds of files.
    extras = project["optional-dependencies"].keys() - {"test", "fuzz", "s3", "gs", "ray"}
    found = results("install_sizes")["installed"]
    assert found.keys() == extras | {"plain", "scan only"} == FOR.keys()
    assert all(found[extra]["fitted"] for extra in extras | {"plain"})
    assert found["scan only"]["scanned"]
    refused = found["plain"]["without_the_extra"]
    assert refused.keys() == extras
    assert all(f"latentscan[{extra}]" in said and "exit code 2" in said for extra, said in refused.items())


def test_what_is_converted_by_the_commands_gives_the_same_predictions() -> None:
    found = results("conversions")
    assert found.keys() == {"SavedModel", "TensorFlow Lite", "Keras 2", "Ultralytics"}
    assert all(each["largest_difference"] < 1e-6 for each in found.values())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.given)
def test_every_row_has_its_test(kind: Kind) -> None:
    path, _, test = kind.test.partition("::")
    names = {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}
    assert not test or test in names


def test_figures_of_torchvision_are_those_of_the_results() -> None:
    found = results("torchvision")
    summary, networks = found["summary"], found["networks"]
    assert summary["told"] == summary["equal"] == summary["networks"] == summary["fits_tried"] == 80
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert "All 80 are told, and give 40 images the logits that torchvision gives" in text
    assert f"{summary['fitted']} of {summary['fits_tried']} that were fitted" in text
    assert all(network["images"] == 40 for network in networks.values())
