"""What a row is, by digests: as long as they are the same, what is done of it stays done."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from scanner import __version__
from scanner.base.canonical import canonical
from scanner.fleet.digest import digest_of_images, digest_of_model
from scanner.fleet.table import FIT_OPTIONS, SCAN_OPTIONS, FleetRow


@dataclass(frozen=True)
class Identity:
    """Digests of a row.

    Attributes:
        fit: Of all that its profile depends on.
        scan: Of all that its report depends on.
    """

    fit: str
    scan: str


def identify(row: FleetRow, gate: str) -> Identity:
    """Read what a row names.

    Args:
        row: The row.
        gate: Digest of the settings of judging.

    Raises:
        LatentscanError: Something that it names cannot be read.
    """
    fit = _digest(
        {
            "version": __version__,
            "model": digest_of_model(Path(row.model)),
            "places": [row.model, row.reference],
            "reference": digest_of_images(row.reference),
            "options": _chosen(row, FIT_OPTIONS),
        }
    )
    inputs = digest_of_images(row.inputs)
    return Identity(fit, _digest({"fit": fit, "inputs": [row.inputs, inputs, gate, _chosen(row, SCAN_OPTIONS)]}))


def _chosen(row: FleetRow, names: tuple[str, ...]) -> JsonValue:
    chosen: dict[str, JsonValue] = {name: row.options[name] for name in names if name in row.options}
    # A file of preprocessing is what it holds.
    if "preprocess" in chosen and Path(row.options["preprocess"]).is_file():
        chosen["preprocess_file"] = digest_of_images(row.options["preprocess"])
    return chosen


def _digest(values: dict[str, JsonValue]) -> str:
    return hashlib.sha256(canonical(values)).hexdigest()
