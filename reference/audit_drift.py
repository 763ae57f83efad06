"""What audits make of clean images that are not like those that the clean networks were audited with.

    python -m reference.audit_drift --data-dir DATA --networks NETWORKS --out reference/results/audit_drift.json

The networks are those of the test part of :mod:`reference.audit_panel`: 15 clean ones, and those with a backdoor that
works. Each is audited with its 400 clean pictures with noise, or compressed, and put among the 60 clean networks, which
were audited with pictures as they are. What the output file has already is not measured again.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from detectors.calibration.binomial import clopper_pearson
from detectors.probing.null import compare_networks
from detectors.probing.probing import probe
from reference.audit_attacks import CLEAN
from reference.audit_networks import Made, logits, network
from reference.audit_panel import clean_pictures
from reference.audit_summary import ADMITTED, LEVEL, known_clean
from reference.datasets import DataSet, load
from reference.evaluate import describe_machine, write_json
from scanner.base.errors import LatentscanError

RESULTS: Final = Path(__file__).with_name("results") / "audit.json"
CLEAN_NETWORKS: Final = 15
DEVIATION: Final = 16.0
QUALITY: Final = 30
AS_THEY_ARE: Final = "as they are"


def noisy(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures ``(N, H, W, 1)`` uint8 with Gaussian noise of 16 gray levels."""
    noise = np.random.default_rng(0).normal(0.0, DEVIATION, pictures.shape)
    return np.asarray(np.clip(np.rint(pictures + noise), 0, 255), np.uint8)


def compressed(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures ``(N, H, W, 1)`` uint8 after JPEG of quality 30."""
    found = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture[:, :, 0]).save(file, "JPEG", quality=QUALITY)
        found.append(np.asarray(Image.open(file), np.uint8)[:, :, None])
    return np.stack(found)


DRIFTS: Final[dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]] = {
    f"noise of {DEVIATION:g} gray levels": noisy,
    f"JPEG of quality {QUALITY}": compressed,
}


def chosen(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first clean networks of the test part, and those with a backdoor that works."""
    test = [one for one in records if one["part"] == "test" and one["data"] == "mnist"]
    clean = sorted((one for one in test if one["attack"] == CLEAN), key=lambda one: int(one["seed"]))
    worked = [one for one in test if one["attack"] != CLEAN and one["attack_success_rate"] >= ADMITTED]
    return [*clean[:CLEAN_NETWORKS], *worked]


def statistics(made: Made, data: DataSet, folder: Path, drift: str) -> list[float]:
    """What the strongest patterns of each family move of drifted pictures."""
    model = network(made, data, folder)

    def ask(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return logits(model, torch.from_numpy(pixels).permute(0, 3, 1, 2), data).numpy()

    probed = probe(DRIFTS[drift](clean_pictures(made, data)), ask, lambda passes: True, seed=0)
    return [round(value, 4) for value in probed.statistics.tolist()]


def table(records: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """Unusual networks for each kind of picture, as rows of a Markdown table."""
    null = known_clean([one for one in records if one["data"] == "mnist"])
    plain = [
        {"drift": AS_THEY_ARE, "attack": one["attack"], "statistics": one["statistics"]} for one in chosen(records)
    ]
    rows = []
    for drift in (AS_THEY_ARE, *DRIFTS):
        cells = [drift]
        for clean in (True, False):
            of_kind = [
                one for one in (*plain, *measured) if one["drift"] == drift and (one["attack"] == CLEAN) == clean
            ]
            found = [compare_networks(np.array(one["statistics"]), null, LEVEL).p_value <= LEVEL for one in of_kind]
            if found:
                low, high = clopper_pearson(sum(found), len(found), 0.95)
                cells.append(f"{sum(found)} of {len(found)} ({low:.2f} to {high:.2f})")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Audit small networks with pictures that are not as usual.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--networks", type=Path, required=True, help="networks of reference.audit_panel")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    records: list[dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))["networks"]
    done: list[dict[str, Any]] = json.loads(options.out.read_text())["measured"] if options.out.exists() else []
    known = {(one["name"], one["drift"]) for one in done}
    try:
        data = load("mnist", options.data_dir)
        for one in chosen(records):
            for drift in DRIFTS:
                if (one["name"], drift) not in known:
                    made = Made(one["data"], one["attack"], one["seed"])
                    found = statistics(made, data, options.networks, drift)
                    done.append({"name": one["name"], "attack": one["attack"], "drift": drift, "statistics": found})
                    write_json(options.out, {"made_with": describe_machine(), "measured": done})
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(*table(records, done), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
