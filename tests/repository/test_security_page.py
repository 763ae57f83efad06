"""Every claim of isolation on the page on security names a test, and that test is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_each_claim_names_a_test_that_is_there() -> None:
    section = PAGE.partition("## Each claim of isolation")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20
    for row in rows:
        (found,) = NAMED.findall(row)
        assert re.search(rf"^ *def {found[1]}\(", (ROOT / found[0]).read_text(encoding="utf-8"), re.MULTILINE), row


def test_every_layer_is_tried() -> None:
    """Those that the table of layers has are those that a process states, and the fresh interpreter and the watch."""
    table = PAGE.partition("| layer |")[2].partition("\n\n")[0]
    layers = {line.split("|")[1].strip().lower() for line in table.splitlines()[2:]}
    stated = {"network namespace", "landlock", "seccomp", "privileges", "limits", "ends with parent"}
    assert layers == stated | {"a fresh interpreter", "watch"}


def test_every_file_that_the_page_names_is_there() -> None:
    for path, _ in NAMED.findall(PAGE):
        assert (ROOT / path).is_file(), path
