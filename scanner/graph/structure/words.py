"""What a graph's structure says, in sentences; the rules' identifiers are those of the verdict's checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from scanner.base.text import printable
from scanner.graph.structure.analyse import MOST_LISTED, Structure

BYPASS: Final = "LS501"
SELECTION: Final = "LS502"
AMBIGUOUS: Final = "LS503"

_LONGEST: Final = 250


def suspicions(structure: Structure) -> list[tuple[str, str]]:
    """Rule and sentence of everything that no honest classifier was seen to have."""
    found = []
    if (sentence := bypass(structure)) is not None:
        found.append((BYPASS, sentence))
    if structure.selected:
        found.append((SELECTION, selection(structure)))
    return found


def bypass(structure: Structure) -> str | None:
    """What leads around the weights, or None where nothing does."""
    sentences = []
    if structure.fewest == 0:
        sentences.append(
            f"A path from the image to the logits leads around all weights, by {_joined(structure.bypass)}"
        )
    elif structure.fewest == 1:
        sentences.append(
            "A path from the image to the logits passes a single operator with weights, by " + _joined(structure.bypass)
        )
    if structure.joined:
        sentences.append(
            f"Pixels that no weights have seen are joined to what the network made of them, {structure.joined} "
            f"time{'s' * (structure.joined > 1)}, by {_joined(structure.joins, structure.joined)}"
        )
    return ". ".join(sentences) or None


def selection(structure: Structure) -> str:
    """What is compared or selected by values of the pixels."""
    count = structure.selected
    if not count:
        return "Nothing that the logits depend on is compared or selected by values of the pixels"
    nodes = "1 node compares or selects" if count == 1 else f"{count} nodes compare or select"
    return f"{nodes} by values of the pixels, and the logits depend on it: {_joined(structure.selections, count)}"


def _joined(names: Sequence[str], count: int | None = None) -> str:
    """Bounded and printable once more: a profile may have been made up."""
    shown = [printable(name, _LONGEST) for name in names[:MOST_LISTED]]
    more = (len(names) if count is None else count) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
