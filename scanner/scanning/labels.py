"""Labels that inputs come with: how often the network is right among flagged inputs and among the others.

A triggered input is classified wrongly, that is what the trigger is for; an honest outlier mostly is not. Labels are
only counted: no score, p-value or verdict knows them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from scanner.base.errors import SourceError
from scanner.base.progress import Progress
from scanner.base.text import portable
from scanner.inputs.items import Source
from scanner.inputs.source import KNOWN_SUFFIXES, open_source
from scanner.report.batch import labelled_group
from scanner.report.schema import MAX_LABELS_LISTED, LabelsSection
from scanner.scanning.options import ScanOptions
from scanner.scanning.scanned import ScannedInput, UnreadableRow

_MAX_DIGITS: Final = 18
_Key = TypeVar("_Key", str, int)


def open_labelled(options: ScanOptions, progress: Progress) -> Source:
    """The inputs, with the labels they come with. Labels that cannot be used are said, and no reason not to scan.

    Raises:
        SourceError: The inputs cannot be listed.
    """
    try:
        source = open_source(options.inputs, labels=True, follow_links=options.follow_links)
    except SourceError as error:
        # A reference has to be what it seems. Inputs need no labels: whatever is wrong with them, images remain.
        source = open_source(options.inputs, labels=False, follow_links=options.follow_links)
        progress.say(f"inputs: {source.layout} ({error.what})")
    else:
        progress.say(f"inputs: {source.layout}")
    if not len(source.items):
        other = f" among {source.ignored} entries" if source.ignored else ""
        known = " ".join(KNOWN_SUFFIXES)
        progress.say(f"inputs: no image{other}; known are {known}, and images without a suffix by their content")
    return source


class ClassLookup:
    """Which output of the network a label stands for: the one of that name, or of that number where names are numbers.

    A name that two outputs have stands for neither.

    Args:
        class_names: Name of every output: what the labels of the reference were, or ``"class 3"`` without one.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._names = _unique((name, index) for index, name in enumerate(class_names))
        self._numbers = _unique(
            (number, index) for index, name in enumerate(class_names) if (number := _number(name)) is not None
        )

    def find(self, label: str) -> int | None:
        """The output, or None where the label names none."""
        name = portable(label)
        if (found := self._names.get(name)) is not None:
            return found
        number = _number(name)
        return None if number is None else self._numbers.get(number)


class LabelTally:
    """Counts right and wrong predictions; a sink of `scanner.scanning.count_inputs.count_inputs`.

    Memory does not grow with the inputs. Those with something that is not finite are left out, as they are from all
    counts of the batch.

    Args:
        class_names: Name of every output of the network.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._lookup = ClassLookup(class_names)
        self._inputs: Counter[bool] = Counter()
        self._right: Counter[bool] = Counter()
        self._no_class = 0
        self._listed: dict[str, None] = {}

    def scanned(self, row: ScannedInput) -> None:
        """Count a judged input."""
        label = row.item.label
        if label is None or not row.finite:
            return
        wanted = self._lookup.find(label)
        if wanted is None:
            self._no_class += 1
            if len(self._listed) < MAX_LABELS_LISTED:
                self._listed[portable(label)] = None
            return
        self._inputs[row.flagged] += 1
        self._right[row.flagged] += row.predicted == wanted

    def unreadable(self, row: UnreadableRow) -> None:
        """An input without a prediction."""

    def section(self) -> LabelsSection | None:
        """What the report says; None where no input has a label."""
        if not self._no_class and not self._inputs.total():
            return None
        return LabelsSection(
            flagged=labelled_group(self._right[True], self._inputs[True]),
            others=labelled_group(self._right[False], self._inputs[False]),
            no_class=self._no_class,
            no_class_labels=tuple(self._listed),
        )


def _number(name: str) -> int | None:
    return int(name) if name.isascii() and name.isdecimal() and len(name) <= _MAX_DIGITS else None


def _unique(pairs: Iterable[tuple[_Key, int]]) -> dict[_Key, int]:
    """The keys that occur once, with their values."""
    listed = list(pairs)
    count = Counter(key for key, _ in listed)
    return {key: value for key, value in listed if count[key] == 1}
