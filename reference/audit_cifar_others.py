"""Whether the clean networks for CIFAR-10 are like others: networks of the panel of scans, beside those shipped.

    python -m reference.audit_cifar_others --data-dir DATA --runs RUNS --out reference/results/audit_cifar_others.json

Their architectures, training and attacks are not those of :mod:`reference.audit_cifar`, so that nothing promises them a
p-value that holds. RUNS are finished networks of :mod:`reference.panel`. What the output file has already is not
measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from reference.audit_attacks import CLEAN
from reference.audit_cifar_summary import all_clean, compared, fails, strongest_pair
from reference.audit_networks import COLOUR, logits, panel_data
from reference.audit_one_class import probed_by_pairs
from reference.audit_panel import IMAGES
from reference.datasets import DataSet
from reference.evaluate import describe_machine, write_json
from reference.panel.attacks.roster import panel_attack
from reference.panel.labels import LABEL_MAPS
from reference.panel.networks import network_named
from reference.panel.training import load_network
from reference.training import read_record
from scanner.base.errors import LatentscanError

RUNS: Final = (
    "vgg-clean-seed0",
    "resnet18-clean-seed0",
    "vit-clean-seed0",
    "vgg-patch-random-all-to-last-10pc-seed100",
    "resnet18-patch-white-all-to-one-10pc-seed0",
    "vgg-blended-noise-all-to-last-10pc-seed100",
    "vgg-sig-all-to-last-10pc-seed100",
    "vgg-wanet-strong-all-to-last-10pc-seed100",
    "vit-patch-white-all-to-all-10pc-seed0",
)
MEASURED: Final = Path(__file__).with_name("results") / "audit_cifar.json"


def measure(name: str, runs: Path, data: DataSet) -> dict[str, Any]:
    """One network."""
    made = read_record(runs / name)["config"]
    model = load_network(network_named(made["network"]), runs / name)
    rows = torch.randperm(len(data.test) - 2000, generator=torch.Generator().manual_seed(0))[:IMAGES]
    pictures = data.test.images[rows].permute(0, 2, 3, 1).contiguous().numpy()
    images, labels = data.test.images[-2000:], data.test.labels[-2000:]
    accuracy, success = float((logits(model, images, data).argmax(1) == labels).double().mean()), None
    clean = name.split("-")[1] == CLEAN
    if not clean:
        _, channels, height, width = images.shape
        trigger = panel_attack(made["attack"], (channels, height, width), made["seed"]).trigger
        goals = LABEL_MAPS[made["labels"]].rule(labels, len(data.classes))
        about = goals != labels
        hits = logits(model, trigger.apply(images[about]), data).argmax(1) == goals[about]
        success = round(float(hits.double().mean()), 4)
    return {
        "part": "other",
        "name": name,
        "network": made["network"],
        "attack": CLEAN if clean else made["attack"],
        "accuracy": round(accuracy, 4),
        "attack_success_rate": success,
        **probed_by_pairs(model, pictures, data),
    }


def table(others: Sequence[Mapping[str, Any]], networks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Rows of a Markdown table: each network beside all clean ones of `audit_cifar.json`, which the program ships."""
    clean = all_clean(networks)
    for one in others:
        found = compared(one, clean)["program"]
        success = "" if one["attack_success_rate"] is None else f"{one['attack_success_rate']:.2f}"
        moves = " | ".join(f"{value:.2f}" for value in (*one["statistics"], strongest_pair(one)))
        code = 1 if fails(one, found) else 0
        yield f"| {one['name']} | {one['accuracy']:.2f} | {success} | {moves} | {found.p_value:.2f} | {code} |"


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Compare other networks for CIFAR-10 with the clean ones.")
    for option in ("data-dir", "runs", "out"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        data = panel_data(COLOUR, options.data_dir)
        result: dict[str, Any] = {"machine": describe_machine(), "data": data.title, "networks": []}
        if options.out.exists():
            result = json.loads(options.out.read_text(encoding="utf-8"))
        known = {one["name"] for one in result["networks"]}
        for name in RUNS:
            if name not in known:
                result["networks"].append(measure(name, options.runs, data))
                write_json(options.out, result)
                print(name, result["networks"][-1]["seconds"], flush=True)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(*table(result["networks"], json.loads(MEASURED.read_text(encoding="utf-8"))["networks"]), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
