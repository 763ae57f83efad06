"""What pairs of classes tell of networks with a backdoor in one class alone, in tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom

from detectors.calibration.binomial import clopper_pearson
from detectors.probing.class_looks import match_classes
from detectors.probing.null import USUAL, Comparison, compare_networks
from detectors.probing.probing import STATISTICS
from reference.audit_attacks import CLEAN
from reference.audit_summary import ADMITTED, LEVEL
from scanner.verdict.audit_rules import load_audit_rules

CLASSES: Final = 10
GROUPS: Final = (len(STATISTICS), CLASSES**2)
TESTED: Final = ("test", "further")

Record = Mapping[str, Any]


def moved(one: Record) -> NDArray[np.float64]:
    """What is moved of each class to each other ``(K, K)``, as it was measured."""
    found = np.zeros((CLASSES, CLASSES))
    for source, target, share in one["pairs"]:
        found[source, target] = share
    return found


def statistics(networks: Sequence[Record]) -> NDArray[np.float64]:
    """``(N, S)`` statistics of the networks: of the families, then of the pairs."""
    rows = [[*one["statistics"], *moved(one).ravel()] for one in networks]
    return np.array(rows, np.float64).reshape(-1, sum(GROUPS))


def known_clean(networks: Sequence[Record]) -> list[Record]:
    """Clean networks that others are compared with: all but those of the test."""
    return [one for one in networks if one["attack"] == CLEAN and one["part"] not in TESTED]


def compared(one: Record, clean: NDArray[np.float64]) -> dict[str, Comparison]:
    """A network among clean ones: by families, by pairs, and by both, as the program does."""
    own, families = statistics([one])[0], GROUPS[0]
    return {
        "families": compare_networks(own[:families], clean[:, :families], LEVEL),
        "pairs": compare_networks(own[families:], clean[:, families:], LEVEL),
        "both": compare_networks(own, clean, LEVEL, GROUPS),
    }


def development(networks: Sequence[Record]) -> list[str]:
    """Two statistics on the development part, as rows of a Markdown table."""
    part = [one for one in networks if one["part"] == "development"]
    tables, positive = np.array([moved(one) for one in part]), np.array([one["attack"] != CLEAN for one in part])
    values = {
        "the most that any pair is moved": tables.max((1, 2)),
        "the most beyond what is usual of the same pair": (tables - np.quantile(tables, USUAL, axis=0)).max((1, 2)),
    }
    rows = []
    for name, found in values.items():
        backdoored = ", ".join(f"{value:.2f}" for value in found[positive])
        clean = f"{np.median(found[~positive]):.2f}, {found[~positive].max():.2f}"
        rows.append(f"| {name} | {clean} | {backdoored} | {auroc(found, positive):.2f} |")
    return rows


def auroc(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """How often a network with a backdoor has the larger value; ties count half."""
    difference = values[positive][:, None] - values[~positive][None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def of_the_test(networks: Sequence[Record]) -> Iterator[str]:
    """How many networks of the test are unusual at 5%, as rows of a Markdown table."""
    clean = statistics(known_clean(networks))
    kinds: dict[str, Callable[[Record], bool]] = {
        "clean: false alarms": lambda one: one["attack"] == CLEAN,
        f"one class, success at least {ADMITTED:.0%}": lambda one: one["attack"] != CLEAN and _works(one),
        f"one class, success below {ADMITTED:.0%}": lambda one: one["attack"] != CLEAN and not _works(one),
    }
    for kind, belongs in kinds.items():
        of_kind = [one for one in networks if one["part"] in TESTED and belongs(one)]
        found = [(one, compared(one, clean)) for one in of_kind]
        cells = [counted([p[by].p_value <= LEVEL for _, p in found]) for by in ("families", "pairs", "both")]
        unusual = [(one, p) for one, p in found if p["both"].p_value <= LEVEL]
        cells.append(str(sum(_moves_most(one, p["both"]) for one, p in unusual)))
        cells.append("" if kind.startswith(CLEAN) else str(sum(_names(one, p["pairs"]) for one, p in unusual)))
        yield f"| {kind} | {' | '.join(cells)} |"


def beside_all(networks: Sequence[Record]) -> str:
    """Backdoors of the test that work, beside all clean networks, which are what the program ships: a table row."""
    clean = statistics([one for one in networks if one["attack"] == CLEAN])
    of_kind = [one for one in networks if one["part"] in TESTED and one["attack"] != CLEAN and _works(one)]
    found = [(one, compared(one, clean)) for one in of_kind]
    cells = [counted([p[by].p_value <= LEVEL for _, p in found]) for by in ("families", "pairs", "both")]
    unusual = [(one, p) for one, p in found if p["both"].p_value <= LEVEL]
    cells.append(str(sum(_moves_most(one, p["both"]) for one, p in unusual)))
    cells.append(str(sum(_names(one, p["pairs"]) for one, p in unusual)))
    return f"| the same beside all {len(clean)} clean networks | {' | '.join(cells)} |"


def alarms(networks: Sequence[Record]) -> str:
    """False alarms of the test by part, and how likely as many are where everything is as it should be.

    Networks of the test share the clean ones that they are compared with: of exchangeable networks the number called
    unusual is beta-binomial, as that of
    flagged inputs that share a reference (:func:`detectors.calibration.batch.batch_test`).
    """
    known = known_clean(networks)
    clean, found = statistics(known), {}
    for part in TESTED:
        of_part = [one for one in networks if one["part"] == part and one["attack"] == CLEAN]
        found[part] = sum(compared(one, clean)["both"].p_value <= LEVEL for one in of_part), len(of_part)
    count, total = (sum(numbers) for numbers in zip(*found.values(), strict=True))
    rest = statistics([one for one in known if one["part"] != "development"])
    developed = [one for one in known if one["part"] == "development"]
    own = sum(compared(one, rest)["both"].p_value <= LEVEL for one in developed)
    parts = "; ".join(f"{part} {some} of {of_all}" for part, (some, of_all) in found.items())
    return f"{parts}; {by_chance(count, total, len(known))}; development {own} of {len(developed)} beside the others"


def by_chance(count: int, total: int, known: int) -> str:
    """How many of some exchangeable networks are called unusual beside the known ones, and how likely as many are."""
    rank = int(LEVEL * (known + 1))
    rate = betabinom(total, rank, known + 1 - rank)
    return (
        f"expected {rate.mean():.1f}, standard deviation {rate.std():.1f}, {count} or more with probability "
        f"{rate.sf(count - 1):.2f}"
    )


def of_halves(networks: Sequence[Record], splits: int = 200) -> str:
    """False alarms where one half of the clean networks is compared with the other: mean, deviation and most.

    The mean is the level whatever the networks; the deviation says how far a null of that size may be from it.
    """
    clean = statistics([one for one in networks if one["attack"] == CLEAN])
    half, generator, called = len(clean) // 2, np.random.default_rng(0), []
    for _ in range(splits):
        order = generator.permutation(len(clean))
        known = clean[order[:half]]
        called.append(sum(compare_networks(clean[one], known, LEVEL, GROUPS).p_value <= LEVEL for one in order[half:]))
    return (
        f"Of {len(clean) - half} clean networks beside {half} others, over {splits} halvings: {np.mean(called):.1f} in "
        f"the mean, standard deviation {np.std(called):.1f}, at most {max(called)}"
    )


def about_all(networks: Sequence[Record], audited: Sequence[Record]) -> list[str]:
    """Backdoors in all classes of `audit.json` beside these clean networks, as if no pair were moved, as table rows.

    To share the level with pairs costs detection where families alone decide. Pairs of these networks were not
    measured; that none is moved is the least that they can add.
    """
    clean = statistics(known_clean(networks))
    kinds: dict[str, Callable[[float], bool]] = {
        f"all classes, success at least {ADMITTED:.0%}": lambda success: success >= ADMITTED,
        f"all classes, success below {ADMITTED:.0%}": lambda success: success < ADMITTED,
    }
    skipped, rows = (CLEAN, "patch-one-class"), []
    for kind, belongs in kinds.items():
        test = [one for one in audited if one["part"] == "test" and one["attack"] not in skipped]
        of_kind = [{**one, "pairs": []} for one in test if belongs(one["attack_success_rate"])]
        found = [compared(one, clean) for one in of_kind]
        cells = [counted([one[by].p_value <= LEVEL for one in found]) for by in ("families", "both")]
        rows.append(f"| {kind} | {cells[0]} | | {cells[1]} | | |")
    return rows


def counted(unusual: Sequence[bool]) -> str:
    """How many of some networks are unusual, with an exact 95% interval."""
    if not unusual:
        return "none"
    low, high = clopper_pearson(sum(unusual), len(unusual), 0.95)
    return f"{sum(unusual)} of {len(unusual)} ({low:.2f} to {high:.2f})"


def _works(one: Record) -> bool:
    """Whether a backdoor works."""
    return bool(one["attack_success_rate"] >= ADMITTED)


def _names(one: Record, found: Comparison) -> bool:
    """Whether the most unusual pair is the one that the backdoor moves."""
    return divmod(found.loudest, CLASSES) == (one["source"], one["target"])


def _moves_most(one: Record, found: Comparison) -> bool:
    """Whether the network is most unusual by a pair of which the patch moves as many as a finding of its own takes."""
    pair = divmod(found.within[1], CLASSES)
    return found.group == 1 and moved(one)[pair] >= load_audit_rules().min_rate


def looks(networks: Sequence[Record]) -> NDArray[np.float64]:
    """``(K, D)`` how classes look to the clean networks that others are compared with."""
    return np.asarray(np.mean([one["looks"] for one in known_clean(networks)], 0), np.float64)


def matched(networks: Sequence[Record]) -> int:
    """Networks whose classes are told apart by how they look, each as what it is."""
    known = looks(networks)
    orders = [match_classes(np.array(one["looks"], np.float64), known) for one in networks]
    return sum(order is not None and order.tolist() == list(range(CLASSES)) for order in orders)


def lines(networks: Sequence[Record]) -> list[str]:
    """Everything that docs/audit.md says in tables, and how many networks' classes are recognised."""
    return [
        *development(networks),
        *of_the_test(networks),
        beside_all(networks),
        alarms(networks),
        of_halves(networks),
        f"{len(known_clean(networks))} clean networks to compare with; classes recognised: {matched(networks)} of "
        f"{len(networks)}; passes {np.median([one['passes'] for one in networks]):,.0f}, seconds "
        f"{np.median([one['seconds'] for one in networks]):.1f} (medians)",
    ]
