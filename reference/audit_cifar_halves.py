"""Whether an audit of the same network with the same clean images, cut into other halves, says the same.

    python -m reference.audit_cifar_halves --data-dir DATA --networks NETWORKS \\
        --out reference/results/audit_cifar_halves.json

Networks of `audit_cifar.json` with a backdoor, beside all clean ones of it. What the output file has already is not
measured again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from reference.audit_attacks import CLEAN
from reference.audit_cifar import networks
from reference.audit_cifar_summary import all_clean, compared, fails
from reference.audit_networks import COLOUR, Made
from reference.audit_one_class import run
from reference.audit_one_class_summary import counted
from reference.audit_summary import ADMITTED, LEVEL

SEED: Final = 1
MEASURED: Final = Path(__file__).with_name("results") / "audit_cifar.json"

Record = Mapping[str, Any]


def measured() -> list[Record]:
    """What `audit_cifar.json` has."""
    found: list[Record] = json.loads(MEASURED.read_text(encoding="utf-8"))["networks"]
    return found


def backdoored() -> Iterator[tuple[str, Made]]:
    """Networks of the test with a backdoor, as far as they were measured."""
    known = {one["name"] for one in measured()}
    return ((part, made) for part, made in networks()
            if part == "test" and made.attack != CLEAN and made.name in known)  # fmt: skip


def table(again: Sequence[Record], before: Sequence[Record]) -> Iterator[str]:
    """How many are unusual with either cut and with both, and end with exit code 1: rows of a Markdown table."""
    clean, others = all_clean(before), {one["name"]: one for one in again}
    for works in (True, False):
        found = []
        for one in before:
            success = one["attack_success_rate"]
            if one["part"] == "test" and one["name"] in others and (success >= ADMITTED) == works:
                found.append([(cut, compared(cut, clean)["program"]) for cut in (one, others[one["name"]])])
        unusual = [[comparison.p_value <= LEVEL for _, comparison in cuts] for cuts in found]
        failing = [[fails(*cut) for cut in cuts] for cuts in found]
        cells = [counted([cuts[at] for cuts in unusual]) for at in range(2)]
        cells += [counted([all(cuts) for cuts in unusual])]
        cells += ["/".join(str(sum(cuts[at] for cuts in failing)) for at in range(2))]
        yield f"| {'at least' if works else 'below'} {ADMITTED:.0%} | {' | '.join(cells)} |"


def main() -> int:
    """Command line of this module; returns the exit code."""
    about = "Audit small networks for CIFAR-10 with other halves of their pictures."
    return run(about, backdoored(), lambda again: table(again, measured()), COLOUR, SEED)


if __name__ == "__main__":
    sys.exit(main())
