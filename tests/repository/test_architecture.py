"""The order of the packages: contracts in pyproject.toml, and no module in a circle with another."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("latentscan", "scanner", "detectors", "reference")


@pytest.fixture(scope="module")
def imports():
    """Every import between modules, those inside functions included."""
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def test_no_module_is_in_a_circle(imports):
    direct = {module: imports.find_modules_directly_imported_by(module) for module in imports.modules}
    assert len(direct) > 200
    assert "scanner.graph.probe" in direct["scanner.cli.doctor"]  # which only a function imports
    try:
        TopologicalSorter(direct).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_nothing_is_loose_in_the_scanner():
    assert {path.name for path in (ROOT / "scanner").glob("*.py")} == {"__init__.py", "__main__.py"}


def test_every_package_is_explained():
    text = (ROOT / "docs" / "architecture.md").read_text()
    packages = [path.parent.name for path in (ROOT / "scanner").glob("*/__init__.py")]
    assert len(packages) == 14
    assert [name for name in packages if f"| `scanner/{name}/` |" not in text] == []
    for stages in ("fitting", "scanning"):
        tree = ast.parse((ROOT / "scanner" / stages / "stages.py").read_text())
        assert f"`scanner/{stages}/stages.py`" in text
        defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        named = set(re.findall(r"`([A-Z]\w+)`", text.partition("## Pipelines")[2].partition("## Adding")[0]))
        assert defined - named <= {"ChosenPreprocess", "Started"}


def test_the_contracts_hold():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
