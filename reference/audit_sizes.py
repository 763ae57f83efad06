"""Audits of few images and many, of one class and a thousand, of wide networks, and refinement of real ones.

    python -m reference.audit_sizes --data-dir DATA --small SMALL --photographs FOLDER --networks NETWORKS \\
        --work WORK --out reference/results/audit_sizes.json

Each is one command line: what it ends with, in which time, and the most memory of one of its processes. SMALL are the
networks of :mod:`reference.audit_panel`, FOLDER holds one photograph of each of ImageNet's classes, and NETWORKS are
finished runs of :mod:`reference.implant_network`. What the output file has already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, save

from reference.audit_handover import export
from reference.audit_networks import Made
from reference.datasets import load
from reference.evaluate import CLI, describe_machine, write_json
from reference.implant_network import split_photographs
from reference.photographs import find_photographs
from reference.real_models import efficientnet_lite0, open_nsfw, random_family
from scanner.base.errors import LatentscanError
from scanner.inputs.spec import PreprocessSpec

MADE: Final = Made("mnist", "clean", 2000)
PHOTOGRAPHS: Final = 300
_MEASURE: Final = """
import json, os, resource, subprocess, sys, time
started, environment = time.monotonic(), {**os.environ, "PYTHONPATH": os.getcwd()}
code = subprocess.run(sys.argv[2:], env=environment).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
found = {"exit_code": code, "seconds": round(time.monotonic() - started, 1)}
found |= {"cpu_seconds": round(used.ru_utime + used.ru_stime, 1), "largest_process_mib": used.ru_maxrss // 1024}
open(sys.argv[1], "w").write(json.dumps(found))
"""
STATISTICS: Final = 100
"""Photographs on which a network with random weights takes its normalisation's statistics."""


@dataclass(frozen=True)
class Case:
    """One audit.

    Attributes:
        name: What is special about it.
        model: The network.
        spec: Its preprocessing.
        clean: The clean images.
        options: Further arguments.
    """

    name: str
    model: Path
    spec: Path
    clean: Path
    options: tuple[str, ...]


def small_cases(options: argparse.Namespace) -> list[Case]:
    """Of a small network: 10 images and 5,000; and of one class."""
    data, work = load("mnist", options.data_dir), options.work
    model, spec = work / "small.onnx", work / "small.json"
    export(MADE, data, options.small, model)
    height, width = data.test.images.shape[2:]
    how = PreprocessSpec((height, width), 1, None, "bilinear", False, 1 / 255, data.mean, data.std)
    write_json(spec, how.to_dict())
    for count in (10, 5000):
        np.save(work / f"digits-{count}.npy", _pixels(data.test.images[:count]), allow_pickle=False)
    one = work / "one-class.onnx"
    one_class(one, height, width)
    return [
        Case("10 images", model, spec, work / "digits-10.npy", ()),
        Case("5,000 images, refined", model, spec, work / "digits-5000.npy", ("--passes", "60000", "--refine")),
        Case("one output", one, spec, work / "digits-5000.npy", ("--passes", "60000")),
    ]


def one_class(path: Path, height: int, width: int) -> None:
    """Write a network that knows a single class."""
    seen, weights = (
        np.full((4, 1, 3, 3), 0.1, np.float32),
        np.full((4 * (height - 2) * (width - 2), 1), 0.01, np.float32),
    )
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "seen"], ["parts"]),
            helper.make_node("Relu", ["parts"], ["positive"]),
            helper.make_node("Flatten", ["positive"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "one",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 1, height, width))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("n", 1))],
        [numpy_helper.from_array(seen, "seen"), numpy_helper.from_array(weights, "weights")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def large_cases(options: argparse.Namespace) -> list[Case]:
    """Of networks for photographs, as they were released, with a backdoor, and with 2,048 channels."""
    work, photographs = options.work, find_photographs(options.photographs)
    rows = split_photographs(len(photographs))[2].tolist()
    for count in (PHOTOGRAPHS, 10):
        folder = work / f"photographs-{count}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for index in rows[:count]:
            shutil.copyfile(photographs[index], folder / f"{index:06d}{photographs[index].suffix}")
    lite, nsfw = efficientnet_lite0(work), open_nsfw()
    wide = random_family("resnet50", work, [photographs[index] for index in rows[-STATISTICS:]], 0)
    for network in (lite, nsfw, wide):
        write_json(work / f"{network.name}-spec.json", network.preprocess.to_dict())
    implanted = options.networks / "efficientnet-lite0-patch-all-to-one-seed0" / "model.onnx"
    clean, refined = work / f"photographs-{PHOTOGRAPHS}", ("--passes", "1000", "--budget", "500", "--refine")
    specs = {network.name: work / f"{network.name}-spec.json" for network in (lite, nsfw, wide)}
    short = ("--budget", "60", *wide.options)
    return [
        Case("1,000 classes, 10 images", lite.model, specs[lite.name], work / "photographs-10", ()),
        Case("ResNet-50, 2,048 channels, random weights", wide.model, specs[wide.name], clean, short),
        Case("EfficientNet-Lite0, 1,000 classes, refined", lite.model, specs[lite.name], clean, refined),
        Case("the same with a white patch as backdoor, refined", implanted, specs[lite.name], clean, refined),
        Case("open-nsfw, two classes, refined", nsfw.model, specs[nsfw.name], clean, refined),
    ]


def measure(case: Case, work: Path) -> dict[str, Any]:
    """Run one audit, and read its report."""
    report = work / "report.json"
    report.unlink(missing_ok=True)
    arguments: list[str | Path] = [
        "audit",
        case.model,
        "--clean",
        case.clean,
        "--no-labels",
        "--preprocess",
        case.spec,
        *case.options,
    ]
    arguments += ["--report", report, "--quiet"]
    found = run(arguments, work)
    if report.exists():
        content = json.loads(report.read_text(encoding="utf-8"))
        found |= told(content)
    return {"arguments": list(case.options)} | found


def run(arguments: Sequence[str | Path], work: Path) -> dict[str, Any]:
    """Run the command line: exit code, seconds, the largest process, and the line of its error if it has one."""
    usage = work / "usage.json"
    # By way of a small process: what this one holds would count as the command's, which begins as a copy of it.
    command = [sys.executable, "-I", "-c", _MEASURE, str(usage), *CLI, *map(str, arguments)]
    # The arguments are this script's own.
    said = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False).stderr  # noqa: S603
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    used: dict[str, Any] = json.loads(usage.read_text(encoding="utf-8"))
    return used | {"error": errors[-1].replace(f"{work}{os.sep}", "") if errors else None}


def told(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the table needs of a report."""
    patterns = [one for one in report["patterns"] if one["about"] == "all classes"]
    most = max(patterns, key=lambda one: float(one["statistic"]), default=None)
    return {
        "outcome": report["verdict"]["outcome"],
        "reason": report["verdict"]["reasons"][0],
        "classes": report["num_classes"],
        "images": report["clean"]["images"],
        "search": {name: report["search"][name] for name in ("passes", "tried", "complete")},
        "strongest": None if most is None else {name: most[name] for name in ("described", "moved", "eligible")},
        "refined": [
            {name: one[name] for name in ("kind", "target", "size", "reached", "moved", "eligible")}
            for one in report["refined"]
        ],
        "warnings": report["warnings"],
    }


def table(result: Mapping[str, Any]) -> list[str]:
    """The audits as rows of a Markdown table."""
    rows = []
    for name, one in result["cases"].items():
        end = one["error"].removeprefix("error: ") if one["error"] else one["outcome"]
        search = one.get("search")
        tried = "" if search is None else f"{search['passes']:,}{'' if search['complete'] else ', cut short'}"
        rows.append(
            f"| {name} | {end} | {one['exit_code']} | {one['seconds']:.0f} | {one['cpu_seconds']:.0f} | "
            f"{one['largest_process_mib']:,} | {tried} | {_refined(one.get('refined', ()))} |"
        )
    return rows


def _refined(found: Sequence[Mapping[str, Any]]) -> str:
    """Of each kind the smallest that works."""
    told = []
    for kind, unit in (("smallest patch", "pixels"), ("weakest offset", "gray levels")):
        sizes = [one for one in found if one["kind"] == kind and one["reached"]]
        if sizes:
            least = min(sizes, key=lambda one: int(one["size"]))
            told.append(f"{least['size']} {unit} to class {least['target']} ({least['moved']} of {least['eligible']})")
    return "; ".join(told)


def _pixels(images: torch.Tensor) -> NDArray[np.uint8]:
    return images.permute(0, 2, 3, 1).contiguous().numpy()


def main() -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure audits of few images and many, and of large networks.")
    for name in ("data-dir", "small", "photographs", "networks", "work", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"machine": describe_machine(), "cases": {}}
    if options.out.exists():
        result = json.loads(options.out.read_text(encoding="utf-8"))
    groups: tuple[Callable[[argparse.Namespace], list[Case]], ...] = (small_cases, large_cases)
    try:
        for case in (case for group in groups for case in group(options)):
            if case.name not in result["cases"]:
                result["cases"][case.name] = measure(case, options.work)
                write_json(options.out, result)
                print(case.name, flush=True)
    except LatentscanError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(*table(result), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
