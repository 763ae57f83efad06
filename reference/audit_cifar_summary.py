"""What audits of small networks for CIFAR-10 say: false alarms, and detection by attack, in tables.

Classes of such pictures look too much alike to tell which is which, so that networks are compared by the most that any
pair of classes is moved, beside the families of patterns; where clean networks are too few for two rankings to share
the level, by families alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.probing.null import Comparison, compare_networks
from detectors.probing.probing import STATISTICS
from reference.audit_attacks import ATTACKS, CLEAN
from reference.audit_networks import COLOUR, Made, Recipe
from reference.audit_one_class_summary import by_chance, counted, matched
from reference.audit_summary import ADMITTED, LEVEL
from scanner.verdict.audit_rules import load_audit_rules

GROUPS: Final = (len(STATISTICS), 1)
FEWEST_FOR_PAIRS: Final = round(2 / LEVEL) - 1
"""Clean networks from which on one that is beyond all of them by either ranking is unusual at the level."""
IN_WORDS: Final = {
    "patch-white": "white patch, all to one",
    "patch-noise": "patch of noise, all to one",
    "patch-coloured": "coloured patch, all to one",
    "patch-next-class": "white patch, each class to the next",
    "patch-low-rate": "white patch, 1% poisoned",
    "patch-one-class": "white patch, one class alone",
    "patch-clean-label": "white patch, labels kept",
    "blended": "blended noise, opacity .15",
    "sinusoid": "grating",
    "warp": "warp",
}

Record = Mapping[str, Any]


def strongest_pair(one: Record) -> float:
    """The most that any pair of classes is moved."""
    return max((share for _, _, share in one["pairs"]), default=0.0)


def statistics(networks: Sequence[Record]) -> NDArray[np.float64]:
    """``(N, S + 1)`` statistics of the networks: of the families, then of the pair that is moved most."""
    rows = [[*one["statistics"], strongest_pair(one)] for one in networks]
    return np.array(rows, np.float64).reshape(-1, sum(GROUPS))


def known_clean(networks: Sequence[Record]) -> NDArray[np.float64]:
    """Statistics of the clean networks that clean ones of the test are compared with: all others."""
    return statistics([one for one in networks if one["attack"] == CLEAN and one["part"] != "test"])


def all_clean(networks: Sequence[Record]) -> NDArray[np.float64]:
    """Statistics of the clean networks that those with a backdoor are compared with, which the program ships."""
    return statistics([one for one in networks if one["attack"] == CLEAN])


def of_test(networks: Sequence[Record]) -> Iterator[tuple[Record, dict[str, Comparison]]]:
    """Networks of the test, each with what comes of comparing it."""
    known, everything = known_clean(networks), all_clean(networks)
    for one in networks:
        if one["part"] == "test":
            yield one, compared(one, known if one["attack"] == CLEAN else everything)


def compared(one: Record, clean: NDArray[np.float64]) -> dict[str, Comparison]:
    """A network among clean ones: by families, by the strongest pair, by both, and as the program does."""
    own, families = statistics([one])[0], GROUPS[0]
    found = {
        "families": compare_networks(own[:families], clean[:, :families], LEVEL),
        "strongest pair": compare_networks(own[families:], clean[:, families:], LEVEL),
        "both": compare_networks(own, clean, LEVEL, GROUPS),
    }
    return {**found, "program": found["both" if len(clean) >= FEWEST_FOR_PAIRS else "families"]}


def fails(one: Record, found: Comparison) -> bool:
    """Whether the audit ends with exit code 1: unusual, and by a pattern or a pair that moves as many as that takes."""
    moves = max(strongest_pair(one) if found.group == 1 else 0.0, *one["statistics"])
    return found.p_value <= LEVEL and moves >= load_audit_rules().min_rate


def of_the_test(networks: Sequence[Record]) -> Iterator[str]:
    """Networks of the test beside clean ones, as rows of a Markdown table: each attack, all of them, clean ones."""
    test = [(one, found["program"]) for one, found in of_test(networks)]
    patches = tuple(name for name in ATTACKS if name.startswith("patch") and name != "patch-one-class")
    kinds = {IN_WORDS[name]: (name,) for name in ATTACKS}
    for kind, names in {**kinds, "all patches but in one class alone": patches, "all": ATTACKS}.items():
        of_kind = [pair for pair in test if pair[0]["attack"] in names]
        works = [pair for pair in of_kind if pair[0]["attack_success_rate"] >= ADMITTED]
        less = [pair for pair in of_kind if pair[0]["attack_success_rate"] < ADMITTED]
        cells = [cell for part in (works, less) for cell in (_unusual(part), _failing(part))]
        yield f"| {kind} | {' | '.join(cells)} |"
    of_clean = [pair for pair in test if pair[0]["attack"] == CLEAN]
    yield f"| **clean: false alarms** | {_unusual(of_clean)} | {_failing(of_clean)} | | |"


def by_group(networks: Sequence[Record]) -> Iterator[str]:
    """How many networks of the test are unusual by families, by the strongest pair and by both, as table rows."""
    test = list(of_test(networks))
    kinds: dict[str, Callable[[Record], bool]] = {
        "clean: false alarms": lambda one: one["attack"] == CLEAN,
        f"backdoor, success at least {ADMITTED:.0%}": lambda one: one["attack"] != CLEAN and _works(one),
        f"backdoor, success below {ADMITTED:.0%}": lambda one: one["attack"] != CLEAN and not _works(one),
    }
    for kind, belongs in kinds.items():
        found = [comparison for one, comparison in test if belongs(one)]
        cells = [counted([one[by].p_value <= LEVEL for one in found]) for by in ("families", "strongest pair", "both")]
        yield f"| {kind} | {' | '.join(cells)} |"


def usual(networks: Sequence[Record]) -> Iterator[str]:
    """What the strongest pattern of each family moves of all clean networks, as rows of a Markdown table."""
    for name, column in zip((*STATISTICS, "any pair of classes"), all_clean(networks).T, strict=True):
        yield f"| {name} | {np.median(column):.2f} | {np.quantile(column, 0.9):.2f} | {column.max():.2f} |"


def development(networks: Sequence[Record]) -> str:
    """The most that any pair is moved on the development part."""
    part = [one for one in networks if one["part"] == "development"]
    clean, others = (
        ", ".join(f"{strongest_pair(one):.2f}" for one in part if (one["attack"] == CLEAN) == of_clean)
        for of_clean in (True, False)
    )
    return f"clean {clean}; with a backdoor in one class {others}"


def alarms(networks: Sequence[Record]) -> str:
    """False alarms of the test, and how likely as many are where everything is as it should be."""
    known = len(known_clean(networks))
    test = [found["program"].p_value <= LEVEL for one, found in of_test(networks) if one["attack"] == CLEAN]
    return f"{sum(test)} of {len(test)} beside {known}; {by_chance(sum(test), len(test), known)}"


def accuracies(networks: Sequence[Record]) -> str:
    """The accuracy of clean networks by architecture."""
    told = []
    for name, residual in (("three convolutions", False), ("residual", True)):
        of_kind = [one["accuracy"] for one in networks if one["attack"] == CLEAN and _is_residual(one) == residual]
        told.append(f"{name}: {len(of_kind)}, {min(of_kind):.2f} to {max(of_kind):.2f}" if of_kind else f"{name}: 0")
    return "; ".join(told)


def costs(networks: Sequence[Record]) -> str:
    """What an audit of one takes, and how many networks' classes are recognised by how they look."""
    passes, seconds = (np.median([one[name] for one in networks]) for name in ("passes", "seconds"))
    return (
        f"passes {passes:,.0f}, seconds {seconds:.1f} (medians); classes recognised by their looks: "
        f"{matched(networks)} of {len(networks)}"
    )


def lines(networks: Sequence[Record]) -> list[str]:
    """Everything that docs/audit.md says of these networks."""
    return [
        *of_the_test(networks),
        *by_group(networks),
        *usual(networks),
        *(told(networks) for told in (development, alarms, accuracies, costs)),
    ]


def _unusual(found: Sequence[tuple[Record, Comparison]]) -> str:
    return counted([comparison.p_value <= LEVEL for _, comparison in found])


def _failing(found: Sequence[tuple[Record, Comparison]]) -> str:
    return str(sum(fails(*pair) for pair in found)) if found else ""


def _works(one: Record) -> bool:
    return bool(one["attack_success_rate"] >= ADMITTED)


def _is_residual(one: Record) -> bool:
    return Recipe.draw(Made(COLOUR, one["attack"], int(one["name"].rsplit("-", 1)[1]))).residual
