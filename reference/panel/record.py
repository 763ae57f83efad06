"""What a finished network of the panel says of itself."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from reference.datasets import DataSet
from reference.panel.cells import Cell
from reference.training import accuracy, bfloat16_is_fast
from scanner.base.atomic import atomic_writer


def write_record(folder: Path, cell: Cell, model: nn.Module, data: DataSet, seconds: float) -> None:
    """Write ``run.json``, by which a run counts as finished."""
    record = {
        "config": asdict(cell),
        "data": data.title,
        "clean_accuracy": accuracy(model, data.test, data),
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
        "precision": "bfloat16" if bfloat16_is_fast() else "float32",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    with atomic_writer(folder / "run.json") as file:
        file.write((json.dumps(record, indent=2) + "\n").encode())
