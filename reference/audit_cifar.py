"""Small networks for CIFAR-10, clean or with a backdoor: what they are compared with, and what that finds.

    python -m reference.audit_cifar --data-dir DATA --networks NETWORKS --out reference/results/audit_cifar.json

Clean networks of the part ``test``, of seeds of their own, are compared with the other clean ones, and networks with a
backdoor with all of them, which are what the program ships.
How an audit searches and compares was decided on networks for MNIST; on a few of the part ``development`` it was
decided how pairs of classes are compared whose pictures look too much alike to tell which is which. Kinds of networks
take turns, so that a run that is cut off has some of each. What the output file has already is not measured again;
networks that are not in the folder are made. :mod:`reference.audit_cifar_summary` tells what comes of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from reference.audit_attacks import ATTACKS, CLEAN
from reference.audit_cifar_summary import lines
from reference.audit_networks import COLOUR, Made
from reference.audit_one_class import run

CLEAN_NETWORKS: Final = {"null": range(10_000, 10_060), "test": range(20_000, 20_030)}
"""Seeds of clean networks by part."""
BACKDOORED: Final = range(20_000, 20_003)
"""Seeds of the networks of the test with a backdoor, for each attack."""
DEVELOPMENT: Final = {CLEAN: range(4), "patch-one-class": range(3)}
"""Seeds of the networks of the development part, which come before all others, by attack."""
FIRST: Final = {"null": 60, "test": 20, "backdoored": 2}
"""How many of each kind come before the rest of any."""


def networks() -> Iterator[tuple[str, Made]]:
    """Every network with its part, kinds in turns."""
    for attack, seeds in DEVELOPMENT.items():
        yield from (("development", Made(COLOUR, attack, seed)) for seed in seeds)
    kinds = [(part, CLEAN, seeds, FIRST[part]) for part, seeds in CLEAN_NETWORKS.items()]
    kinds += [("test", attack, BACKDOORED, FIRST["backdoored"]) for attack in ATTACKS]
    turns = [
        (row >= first, row / first, part, Made(COLOUR, attack, seed))
        for part, attack, seeds, first in kinds
        for row, seed in enumerate(seeds)
    ]
    turns.sort(key=lambda one: one[:2])
    yield from ((part, made) for _, _, part, made in turns)


def main() -> int:
    """Command line of this module; returns the exit code."""
    return run("Audit small networks for CIFAR-10.", networks(), lines, COLOUR)


if __name__ == "__main__":
    sys.exit(main())
