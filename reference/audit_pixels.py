"""Whether an audit finds the paper's own trigger for digits: four separate pixels, which no square is like.

    python -m reference.audit_pixels --data-dir DATA --networks NETWORKS --out reference/results/audit_pixels.json

Five networks with all classes to one and five with each to the next, recipes and places drawn as in
:mod:`reference.audit_panel`, beside the clean networks of `audit_one_class.json`. Nothing of an audit was decided on
them. What the output file has already is not measured again; networks that are not in the folder are made.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from reference.audit_attacks import PIXELS
from reference.audit_networks import Made
from reference.audit_one_class import run
from reference.audit_one_class_summary import compared, counted, known_clean, statistics
from reference.audit_summary import ADMITTED, LEVEL
from scanner.verdict.audit_rules import load_audit_rules

SEEDS: Final = range(4000, 4005)
CLEAN_NETWORKS: Final = Path(__file__).with_name("results") / "audit_one_class.json"
_IN_WORDS: Final = {"four-pixels": "all to one", "four-pixels-next-class": "each class to the next"}


def networks() -> list[Made]:
    """Every network."""
    return [Made("mnist", attack, seed) for seed in SEEDS for attack in PIXELS]


def table(measured: Sequence[Mapping[str, Any]], known: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Rows of a Markdown table: a line for each label map and for attacks that work and those that do not."""
    clean = statistics(known_clean(known))
    for attack in PIXELS:
        for works in (True, False):
            kind = [one for one in measured
                    if one["attack"] == attack and (one["attack_success_rate"] >= ADMITTED) == works]  # fmt: skip
            unusual = [compared(one, clean)["both"].p_value <= LEVEL for one in kind]
            moves = [max(one["statistics"]) for one in kind]
            enough = sum(one >= load_audit_rules().min_rate for one in moves)
            shown = ", ".join(f"{one:.0%}" for one in moves)
            sort = "at least" if works else "below"
            yield f"| {_IN_WORDS[attack]} | {sort} {ADMITTED:.0%} | {counted(unusual)} | {enough} | {shown} |"


def main() -> int:
    """Command line of this module; returns the exit code."""
    known = json.loads(CLEAN_NETWORKS.read_text(encoding="utf-8"))["networks"]
    about = "Audit small networks that were taught the paper's trigger."
    return run(about, (("further", made) for made in networks()), lambda measured: table(measured, known))


if __name__ == "__main__":
    sys.exit(main())
