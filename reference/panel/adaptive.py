"""What the rest of the product sees of attackers who know the detector: weight draws, the demonstration, the verdict.

    python -m reference.panel.adaptive --data DATA --runs RUNS --work WORK --out reference/results/panel_adaptive.json

Beside the attackers stands the same white patch without any of their training. Each network is fitted as
`fit --bayesian` does, on the cell's reference of 400 clean images a class, and 1,000 inputs are scanned, none, 2% or
10% of them triggered. What the result file has is not measured again; the same command prints the table.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from reference.datasets import DataSet, ImageSet, load
from reference.evaluate import write_json
from reference.panel.cells import Cell
from reference.panel.networks import network_named
from reference.panel.open_cell import pictures_of
from reference.panel.plan import ADAPTIVE, REPORTED, cells
from reference.panel.train_cells import trained
from reference.resumable import run_script
from scanner.base.progress import SILENCE
from scanner.fitting.fit import fit
from scanner.fitting.options import BayesianOptions, FitOptions
from scanner.inputs.spec import PreprocessSpec
from scanner.report.schema import Report
from scanner.scanning.options import ScanOptions
from scanner.scanning.scan import scan

NETWORKS: Final = ("vgg", "scnn")
PLAIN: Final = REPORTED[0]
"""The white patch, all classes to one."""
INPUTS: Final = 1000
SHARES: Final = (0.0, 0.02, 0.1)
ALPHA: Final = 0.01
BALD: Final = "bayesian:bald"
HOW: Final = ("alone", "together", BALD)


def measure(cell: Cell, data: DataSet, runs: Path, work: Path) -> dict[str, Any]:
    """Fit one network and scan its batches."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    network, pictures = network_named(cell.network), pictures_of(cell, data)
    _, channels, height, width = data.test.images.shape
    spec, reference = work / "preprocess.json", work / "reference.npz"
    how = PreprocessSpec((height, width), channels, None, "bilinear", False, 1 / 255, data.mean, data.std)
    write_json(spec, how.to_dict())
    both = torch.cat([pictures.fit.images, pictures.held_out.images])
    labels = torch.cat([pictures.fit.labels, pictures.held_out.labels])
    np.savez(reference, allow_pickle=False, images=_rows(both), labels=labels.numpy())
    fit(
        FitOptions(
            trained(cell, data, runs) / "model.pt",
            reference,
            work / "modelscan.h5",
            architecture=network.architecture,
            trust_code=network.custom,
            preprocess=str(spec),
            input_size=(height, width),
            num_classes=pictures.classes,
            bayesian=BayesianOptions(),
        ),
        SILENCE,
    )
    found: dict[str, Any] = {}
    for share in SHARES:
        number = round(share * INPUTS)
        inputs = _rows(torch.cat([_first(pictures.triggered, number), _first(pictures.clean, INPUTS - number)]))
        np.save(work / "inputs.npy", inputs, allow_pickle=False)
        rows = work / "rows.jsonl"
        report = scan(ScanOptions(work / "inputs.npy", work / "modelscan.h5", rows=rows, alpha=ALPHA), SILENCE)
        found[f"{share:g}"] = told(report, rows, number)
    return found


def _first(images: ImageSet, count: int) -> torch.Tensor:
    return images.images[:count]


def _rows(images: torch.Tensor) -> NDArray[np.uint8]:
    """``(N, C, H, W)`` as arrays of pictures are written, channels last."""
    rows: NDArray[np.uint8] = images.permute(0, 2, 3, 1).contiguous().numpy()
    return rows


def told(report: Report, rows: Path, triggered: int) -> dict[str, Any]:
    """What the table needs of a scan, whose first inputs are triggered."""
    lines = sorted((json.loads(line) for line in rows.read_text().splitlines()), key=lambda line: line["index"])
    p = {
        "alone": [line["density_p_value"] for line in lines],
        "together": [line["p_value"] for line in lines],
        BALD: [line["scores"][BALD] for line in lines],
    }
    shown = report.demonstration
    return {
        "severity": report.verdict.severity,
        "exit_code": report.verdict.exit_code,
        "batch_p": float(f"{report.batch.p_value:.3g}"),
        "drift": None if report.drift is None else report.drift.outcome,
        "demonstrated": shown is not None and shown.demonstrated,
        "detection": {how: _share(values[:triggered]) for how, values in p.items()} if triggered else None,
        "false_alarms": {how: _share(values[triggered:]) for how, values in p.items()},
    }


def _share(p: list[float]) -> float:
    return round(float(np.mean(np.array(p) <= ALPHA * (1 + 1e-12))), 5)


def run(result: dict[str, Any], data_folder: Path, runs: Path, work: Path) -> Iterator[str]:
    """Add what is missing to a result; yields a line after each cell."""
    for network in NETWORKS:
        data = load(network_named(network).data, data_folder)
        for cell in cells((PLAIN, *ADAPTIVE), [network], 0):
            if cell.name not in result["cells"]:
                result["cells"][cell.name] = measure(cell, data, runs, work)
                yield f"{cell.name}: {result['cells'][cell.name]['0.1']['severity']}"


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """A line for each network and share of triggered inputs."""
    yield (
        "| network, attacker | triggered | by itself | in the batch | by weight draws (BALD) | demonstrated | batch p "
        "| verdict, exit code |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, one in result["cells"].items():
        network, attack = name.split("-all-to-one")[0].split("-", 1)
        for share, batch in one.items():
            found = batch["detection"]
            columns = [f"{network}, {attack}", f"{float(share):.0%}"]
            columns += ["" if found is None else f"{found[how]:.2f}" for how in HOW]
            columns += ["yes" if batch["demonstrated"] else "no", f"{batch['batch_p']:.1e}"]
            yield f"| {' | '.join(columns)} | {batch['severity']}, {batch['exit_code']} |"


def false_alarms(result: Mapping[str, Any]) -> str:
    """Clean inputs that are flagged, means over all scans."""
    batches = [batch["false_alarms"] for one in result["cells"].values() for batch in one.values()]
    return ", ".join(f"{np.mean([rates[how] for rates in batches]):.4f}" for how in HOW)


def main() -> int:
    """Command line of this module; returns the exit code."""
    about = "Measure what sees attackers who know the detector."
    folders = ("data", "runs", "work")
    return run_script(about, folders, {"cells": {}}, run, lambda found: [*table(found), false_alarms(found)])


if __name__ == "__main__":
    sys.exit(main())
