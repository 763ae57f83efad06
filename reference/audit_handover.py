"""What an audit's patterns add to a scan in which few inputs are triggered, and what they add to one of clean inputs.

    python -m reference.audit_handover --data-dir DATA --networks NETWORKS --work WORK \\
        --out reference/results/audit_handover.json

The networks are those of the test part of :mod:`reference.audit_panel`, clean ones and those with a backdoor that
works. Each is audited with its 400 clean pictures and fitted to 500 others. Then a thousand more are scanned by the
product with its defaults, without the audit and with it: as they are, with 0.5%, 1% and 2% of them triggered, and by
clean networks also shifted and with noise. What the output file has already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.calibration.binomial import clopper_pearson
from reference.audit_attacks import CLEAN
from reference.audit_networks import Made, attack_of, network
from reference.audit_panel import IMAGES, clean_pictures
from reference.audit_summary import ADMITTED
from reference.datasets import DataSet, load
from reference.drifts import DRIFTS
from reference.evaluate import describe_machine, write_json
from scanner.auditing.audit import audit
from scanner.auditing.options import AuditOptions
from scanner.base.errors import LatentscanError
from scanner.base.progress import SILENCE
from scanner.fitting.fit import fit
from scanner.fitting.options import FitOptions
from scanner.inputs.spec import PreprocessSpec
from scanner.report.schema import Report
from scanner.scanning.options import ScanOptions
from scanner.scanning.scan import scan
from scanner.verdict.rules import load_rules

RESULTS: Final = Path(__file__).with_name("results") / "audit.json"
REFERENCE: Final = 500
INPUTS: Final = 1000
SHARES: Final = (0.005, 0.01, 0.02)
DRIFTED: Final = ("shifted by a pixel", "noise sigma 8")
PASSES: Final = 60_000
LOW: Final = 0.05
"""Batch p-value from which on a scan looks for a trigger itself."""
_SHOWN: Final = (
    "patterns", "pattern", "target", "shift", "eligible", "moved", "flagged", "flagged_before",
    "trigger_like", "suspicious", "suspicious_in_target", "ordinary", "ordinary_in_target", "agreement_p", "found",
)  # fmt: skip

Images = NDArray[np.uint8]


def pictures_and_labels(made: Made, data: DataSet) -> tuple[Images, NDArray[np.int64]]:
    """Pictures of the test set, the audit's left out, in an order of the network's own, and their classes."""
    order = torch.randperm(len(data.test) - 2000, generator=torch.Generator().manual_seed(made.seed))[IMAGES:]
    rows = order[: REFERENCE + INPUTS]
    images = data.test.images[rows].permute(0, 2, 3, 1).contiguous().numpy()
    return images, data.test.labels[rows].numpy()


def batches(made: Made, data: DataSet, inputs: Images, labels: NDArray[np.int64]) -> Iterator[tuple[str, Images]]:
    """What a network scans, by name."""
    yield "clean", inputs
    attack = attack_of(made, data)
    if attack is not None:
        victims = np.arange(len(inputs)) if attack.source is None else np.flatnonzero(labels == attack.source)
        for share in SHARES:
            rows, stamped = victims[: round(share * len(inputs))], inputs.copy()
            triggered = attack.trigger.apply(torch.from_numpy(inputs[rows]).permute(0, 3, 1, 2))
            stamped[rows] = triggered.permute(0, 2, 3, 1).numpy()
            yield f"triggered {share:.1%}", stamped
    for name in DRIFTED if attack is None else ():
        yield name, DRIFTS[name](inputs)


def measure(made: Made, data: DataSet, networks: Path, work: Path) -> dict[str, Any]:
    """Fit, audit and scan one network."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    model, spec = work / "model.onnx", work / "preprocess.json"
    export(made, data, networks, model)
    height, width = data.test.images.shape[2:]
    how = PreprocessSpec((height, width), 1, None, "bilinear", False, 1 / 255, data.mean, data.std)
    write_json(spec, how.to_dict())
    pictures, labels = pictures_and_labels(made, data)
    reference, audited, inputs = work / "reference.npz", work / "audited.npy", work / "inputs.npy"
    np.savez(reference, allow_pickle=False, images=pictures[:REFERENCE], labels=labels[:REFERENCE])
    np.save(audited, clean_pictures(made, data), allow_pickle=False)
    fitted = FitOptions(model, reference, work / "modelscan.h5", preprocess=str(spec))
    fit(fitted, SILENCE)
    opening = FitOptions(model, audited, Path(), preprocess=str(spec))
    report = audit(AuditOptions(opening, (str(work / "audit.json"),), budget=None, passes=PASSES), SILENCE)
    done: dict[str, Any] = {}
    for name, images in batches(made, data, pictures[REFERENCE:], labels[REFERENCE:]):
        np.save(inputs, images, allow_pickle=False)
        done[name] = [
            told(scan(ScanOptions(inputs, fitted.output, audit=handed), SILENCE))
            for handed in (None, work / "audit.json")
        ]
    return {"outcome": report.verdict.outcome, "batches": done}


def export(made: Made, data: DataSet, networks: Path, model: Path) -> None:
    """Write a network as ONNX."""
    shown = torch.zeros(2, *data.test.images.shape[1:])
    torch.onnx.export(
        network(made, data, networks),
        (shown,),
        str(model),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=[{0: torch.export.Dim("n")}],
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def told(report: Report) -> dict[str, Any]:
    """What the tables need of a scan."""
    handed, shown = report.handed_over, report.demonstration
    return {
        "severity": report.verdict.severity,
        "exit_code": report.verdict.exit_code,
        "flagged": report.batch.flagged,
        "batch_p": float(f"{report.batch.p_value:.3g}"),
        "rest": None if report.drift is None else report.drift.outcome,
        "demonstrated": shown is not None and shown.demonstrated,
        "handed_over": None if handed is None else {name: getattr(handed, name) for name in _SHOWN},
    }


def table(networks: Mapping[str, Any]) -> list[str]:
    """Scans that fail the gate without and with the audit, and two ways to tie its pattern to the inputs."""
    rows = []
    for clean in (True, False):
        of_kind = [one for one in networks.values() if (one["attack"] == CLEAN) == clean]
        for batch in dict.fromkeys(name for one in of_kind for name in one["batches"]):
            scans = [one["batches"][batch] for one in of_kind]
            alone, handed = ([one[which] for one in scans] for which in (0, 1))
            like = [one["handed_over"] is not None and one["handed_over"]["trigger_like"] for one in handed]
            suspicious = sum(is_like and one["batch_p"] <= LOW for is_like, one in zip(like, handed, strict=True))
            cells = [
                "clean" if clean else "with a backdoor",
                batch,
                *(_of(sum(one["exit_code"] == 1 for one in those), len(scans)) for those in (alone, handed)),
                str(sum(like)),
                str(sum(_agrees(one["handed_over"]) for one in handed)),
                str(suspicious),
                str(sum(one["handed_over"] is not None and one["handed_over"]["found"] for one in handed)),
            ]
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def _agrees(handed: Mapping[str, Any] | None) -> bool:
    p_value = None if handed is None else handed["agreement_p"]
    return p_value is not None and p_value <= load_rules().handed_over.max_agreement_p


def _of(count: int, total: int) -> str:
    low, high = clopper_pearson(count, total, 0.95)
    return f"{count} of {total} ({low:.2f} to {high:.2f})"


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure what an audit's patterns add to a scan.")
    for name in ("data-dir", "networks", "work", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    known: list[dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))["networks"]
    result: dict[str, Any] = {"machine": describe_machine(), "networks": {}}
    if options.out.exists():
        result = json.loads(options.out.read_text(encoding="utf-8"))
    # In turns: a run that is cut off has seen all kinds.
    test = [one for one in known if one["part"] == "test" and (one["attack_success_rate"] or 1.0) >= ADMITTED]
    test.sort(key=lambda one: (one["seed"], one["attack"]))
    try:
        data = load("mnist", options.data_dir)
        for one in test:
            if one["name"] in result["networks"]:
                continue
            about = {name: one[name] for name in ("attack", "target", "attack_success_rate")}
            found = measure(Made("mnist", one["attack"], one["seed"]), data, options.networks, options.work)
            result["networks"][one["name"]] = about | found
            write_json(options.out, result)
            print(one["name"], flush=True)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code

    print(*table(result["networks"]), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
