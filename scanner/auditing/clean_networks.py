"""What plain patterns do to clean networks: shipped with the program, or from audits of a user's accepted models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.probing.class_looks import match_classes
from detectors.probing.pairs import MOST_CLASSES
from detectors.probing.probing import STATISTICS
from detectors.probing.search import ABOUT_ALL
from scanner.base.canonical import canonical
from scanner.base.errors import UsageError
from scanner.base.text import printable
from scanner.report.audit.read import read_audit
from scanner.report.audit.schema import AuditReport
from scanner.verdict.audit_rules import load_audit_rules

MOST_REPORTS: Final = 10_000
_VERSION: Final = 2
"""Of ``clean_networks.json``: since 2 with pairs of classes."""
_ACCURACY_MARGIN: Final = 0.05
_LOOK_MARGIN: Final = 0.2
_NOT_SEARCHED: Final = "The budget ended before pairs of classes were searched, or a class has no clean image."


@dataclass(frozen=True)
class Kind:
    """What a network has to have in common with others to be compared with them.

    Attributes:
        shape: Height, width and channels of its images.
        num_classes: Its number of classes.
        accuracy: Its accuracy on the clean images; None without labels.
        images: Clean images of the audit.
        look: Mean and standard deviation of their pixels, in gray levels.
        classes: ``(K, D)`` how its classes look; None where pairs of classes were not searched.
    """

    shape: tuple[int, int, int]
    num_classes: int
    accuracy: float | None
    images: int
    look: tuple[float, float]
    classes: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class KnownPairs:
    """What patches move of each class to each other on clean networks.

    Attributes:
        moved: ``(N, K, K)`` by network, source and target, classes in the order of the audited network's; None where
            the same pairs cannot be compared.
        why_not: Why nothing can be compared, in a sentence.
        strongest: ``(N,)`` the most that any pair is moved, where classes look too much alike to tell which is which.
    """

    moved: NDArray[np.float64] | None
    why_not: str = ""
    strongest: NDArray[np.float64] | None = None

    def beside(self, own: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """What is compared of the audited network's pairs ``(K, K)``: ``(P,)``, and ``(N, P)`` of the clean ones."""
        if self.moved is not None:
            return own.ravel(), self.moved.reshape(len(self.moved), -1)
        return None if self.strongest is None else (own.max(keepdims=True)[0], self.strongest[:, None])


@dataclass(frozen=True)
class CleanNetworks:
    """Clean networks of one kind.

    Attributes:
        source: Where they are from.
        described: What they are.
        statistics: ``(N, S)`` float64, one row a network.
        pairs: The same networks by pairs of classes.
    """

    source: str
    described: str
    statistics: NDArray[np.float64]
    pairs: KnownPairs

    @property
    def sha256(self) -> str:
        """SHA-256 over what is compared as canonical JSON."""
        compared = self.pairs.strongest if self.pairs.moved is None else self.pairs.moved
        pairs = None if compared is None else compared.tolist()
        return hashlib.sha256(canonical([self.statistics.tolist(), pairs])).hexdigest()


@dataclass(frozen=True)
class Accepted:
    """Reports of audits of a user's accepted models.

    Attributes:
        name: Name of their folder.
        reports: What is in it.
    """

    name: str
    reports: tuple[AuditReport, ...]


def read_accepted(folder: Path | None) -> Accepted | None:
    """All reports in a folder; None without one.

    Raises:
        UsageError: The folder cannot be read, or a file in it is no report of an audit.
    """
    if folder is None:
        return None
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")[:MOST_REPORTS]
    except OSError:
        raise UsageError("cannot be listed", where=str(folder), hint="Give a folder of reports of audits") from None
    return Accepted(printable(folder.absolute().name, 80), tuple(read_audit(path) for path in paths))


def find_clean_networks(kind: Kind, accepted: Accepted | None, model: str) -> tuple[CleanNetworks | None, str]:
    """Networks to compare with, or None and why there are none.

    Args:
        kind: What the audited network is like.
        accepted: Audits of a user's own models, or None for what the program ships.
        model: SHA-256 of the audited model, which is not compared with itself.
    """
    fewest = load_audit_rules().min_images
    if kind.images < fewest:
        return None, f"{kind.images} clean images are too few to compare with clean networks, which takes {fewest}."
    if accepted is not None:
        return _given(kind, accepted, model)
    for table in _shipped()["tables"]:
        if (tuple(table["shape"]), table["classes"]) == (kind.shape, kind.num_classes):
            lowest = table["accuracy"][0] - _ACCURACY_MARGIN
            if kind.accuracy is not None and kind.accuracy < lowest:
                return None, (
                    f"The clean networks for this kind of image classify {table['accuracy'][0]:.0%} or more correctly: "
                    "a network that does worse is of another kind. Give audits of accepted models with --null."
                )
            if not _looks_like(kind.look, table["look"]):
                return None, (
                    f"The clean networks for this size of image and number of classes are {table['described']}, and "
                    "these clean images look otherwise. Give audits of accepted models with --null."
                )
            rows = np.array(table["networks"], np.float64).reshape(-1, len(STATISTICS))
            return CleanNetworks("shipped with the program", table["described"], rows, _shipped_pairs(kind, table)), ""
    height, width, channels = kind.shape
    return None, (
        f"The program knows no clean networks for {height}x{width}x{channels} images and {kind.num_classes} classes. "
        "Give audits of accepted models of this kind with --null."
    )


def _looks_like(look: tuple[float, float], known: Sequence[float]) -> bool:
    """Whether brightness and contrast of images are those that networks were trained for."""
    return all(abs(one - other) <= _LOOK_MARGIN * other for one, other in zip(look, known, strict=True))


@cache
def _shipped() -> Mapping[str, Any]:
    """The content of ``clean_networks.json``, whose statistics are those that an audit has."""
    content: dict[str, Any] = json.loads((files("scanner.auditing") / "clean_networks.json").read_bytes())
    if content["version"] != _VERSION or tuple(content["statistics"]) != STATISTICS:
        raise ValueError("clean_networks.json is about other statistics")
    return content


def _shipped_pairs(kind: Kind, table: Mapping[str, Any]) -> KnownPairs:
    if "strongest_pairs" in table:
        if kind.classes is None:
            return KnownPairs(None, _NOT_SEARCHED)
        return KnownPairs(None, strongest=np.array(table["strongest_pairs"], np.float64))
    if "pairs" not in table:
        return KnownPairs(
            None,
            "The clean networks that the program ships for such images are too few to compare pairs of classes with.",
        )
    moved = np.zeros((len(table["pairs"]), kind.num_classes, kind.num_classes))
    for network, pairs in enumerate(table["pairs"]):
        for source, target, share in pairs:
            moved[network, source, target] = share
    return _in_order(kind, [(moved, np.array(table["looks"], np.float64))])


def _given(kind: Kind, accepted: Accepted, model: str) -> tuple[CleanNetworks | None, str]:
    known: dict[str, AuditReport] = {}
    for report in accepted.reports:
        if _is_like(report, kind) and report.model.sha256 != model:
            known[report.model.sha256] = report
    if not known:
        return None, (
            f"None of the {len(accepted.reports)} reports in {accepted.name} is a whole audit of another model with "
            "such images and as many classes."
        )
    reports = [known[sha256] for sha256 in sorted(known)]
    rows = np.stack([statistics_of(report) for report in reports])
    described = f"{len(rows)} accepted models"
    return CleanNetworks(f"reports in {accepted.name}", described, rows, _given_pairs(kind, reports)), ""


def _given_pairs(kind: Kind, reports: Sequence[AuditReport]) -> KnownPairs:
    found = [one.pairs for one in reports if one.pairs is not None]
    if len(found) < len(reports) and kind.num_classes <= MOST_CLASSES:
        return KnownPairs(
            None, f"{len(reports) - len(found)} of the accepted models were audited without pairs of classes."
        )
    return _in_order(kind, [(np.array([one.moved]), np.array(one.looks)) for one in found])


def _in_order(kind: Kind, known: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> KnownPairs:
    """Networks ``(N, K, K)`` with the looks of their classes, in the order of the audited network's classes."""
    if kind.num_classes > MOST_CLASSES:
        return KnownPairs(None, f"With more than {MOST_CLASSES} classes there are too many pairs.")
    if kind.classes is None:
        return KnownPairs(None, _NOT_SEARCHED)
    found = []
    for moved, looks in known:
        if looks.shape != kind.classes.shape or moved.shape[1:] != (kind.num_classes, kind.num_classes):
            return KnownPairs(None, "The pairs of classes of the clean networks do not fit those of this one.")
        order = match_classes(kind.classes, looks)
        if order is None:
            return KnownPairs(None, "The classes do not look like those of the clean networks, each like one of them.")
        found.append(moved[:, order][:, :, order])
    return KnownPairs(np.concatenate(found))


def _is_like(report: AuditReport, kind: Kind) -> bool:
    same = (report.input_shape, report.num_classes) == (kind.shape, kind.num_classes)
    return same and report.search.complete and report.clean.images >= load_audit_rules().min_images


def statistics_of(report: AuditReport) -> NDArray[np.float64]:
    """The statistics in a report, in the order of the program's; 0 where a kind of pattern was not reached."""
    known: Mapping[str, float] = {one.family: one.statistic for one in report.patterns if one.about == ABOUT_ALL}
    return np.array([known.get(key, 0.0) for key in STATISTICS])
